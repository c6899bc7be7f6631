//! `/models`: the files that a board can open, and what is in them.

use core::fmt;

use embedded_io::{Read, ReadReady, Write};
use rillm::format::{Header, SectionKind, TensorKind};
use rillm::{Error, MemoryLen, Model, Plan, SECTOR_LEN, Sector, WeightSource};
use rillm_generate::number::Bytes;

use crate::Board;
use crate::files::{FileName, Files, LongName, find};
use crate::screen::Screen;
use crate::settings::CANDIDATES;

/// Columns of a name.
const NAME_COLUMNS: usize = 24;

/// Opens the model in `source`, and reads the file's last sector, so that an incomplete copy is noticed now and not in
/// the middle of a text.
///
/// # Errors
/// Those of [`Model::open`], or the source's.
pub async fn open_model<S: WeightSource>(source: &mut S) -> Result<Model, Error<S::Error>> {
    let model = Model::open(source).await?;
    let last = Sector((model.header().file_len() / SECTOR_LEN as u64) as u32 - 1);
    source.read(last, &mut [0; SECTOR_LEN]).await.map_err(Error::Source)?;
    Ok(model)
}

/// Prints the files, one a line: a star at the file that is `open`, number, name, length, and the kind of the model or
/// why it cannot be used with the `given` memory.
pub async fn list<C, F>(
    screen: &mut Screen<C>,
    board: &dyn Board,
    files: &mut F,
    open: Option<&str>,
    given: MemoryLen,
) -> Result<(), C::Error>
where
    C: Read + ReadReady + Write,
    F: Files,
{
    let mut name = FileName::new();
    for number in 1..=u16::MAX {
        let file = match find(files, number, &mut name).await {
            _ if screen.interrupted()? => return screen.print("stopped\n"),
            Ok(Some(file)) => file,
            Ok(None) if number == 1 => return screen.print("there is no model\n"),
            Ok(None) => break,
            Err(error) => {
                screen.say(format_args!("cannot list the models of the card: {error}\n"))?;
                break;
            }
        };
        let len = Bytes(file.len);
        let star = if open.is_some_and(|open| open.eq_ignore_ascii_case(&name)) { '*' } else { ' ' };
        screen.say(format_args!("{star}{number:>3}  {name:<NAME_COLUMNS$} {len:>11}  "))?;
        if !file.is_whole {
            unusable(screen, LongName)?;
            continue;
        }
        match files.open(&name).await {
            Ok((mut source, _)) => match open_model(&mut source).await {
                Ok(model) => {
                    let options = board.plan_options(&model).candidates(CANDIDATES);
                    match Plan::new(&model, &source, given, &options) {
                        Ok(_) => screen.say(format_args!("{}\n", Kind(&model)))?,
                        Err(error) => unusable(screen, error)?,
                    }
                }
                Err(error) => unusable(screen, error)?,
            },
            Err(error) => unusable(screen, error)?,
        }
    }
    screen.print("/model N opens one of them\n")
}

fn unusable<C>(screen: &mut Screen<C>, error: impl fmt::Display) -> Result<(), C::Error>
where
    C: Read + ReadReady + Write,
{
    screen.say(format_args!("cannot be used: {error}\n"))
}

/// What a model is for, and the bits of its weights: `chat, 4 and 8 bits`.
struct Kind<'a>(&'a Model);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.0;
        let int4 = model.int4_weights();
        let bits = match int4.layers + int4.head {
            0 => "8 bits",
            weights if weights == matrix_weights(model.header()) => "4 bits",
            _ => "4 and 8 bits",
        };
        let kind = if can_chat(model) { "chat" } else { "base" };
        write!(f, "{kind}, {bits}")
    }
}

/// Whether the model has a chat template.
pub fn can_chat(model: &Model) -> bool {
    model.header().section(SectionKind::Chat).is_ok()
}

/// The number of weights in all matrices of the tape.
fn matrix_weights(header: &Header) -> u64 {
    let matrices = TensorKind::tape(header).filter(|(kind, _)| !kind.is_vector());
    matrices.map(|(kind, _)| kind.shape(header)).map(|(rows, cols)| u64::from(rows) * u64::from(cols)).sum()
}
