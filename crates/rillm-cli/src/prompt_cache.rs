//! The file of `--prompt-cache`: what a session has computed, from one run of the command to the next.
//!
//! It is a saved session as `docs/format.md` has it, behind it the numbers of [`Chat::numbers`](rillm::Chat::numbers) if
//! it is a chat's (32 bits each, little-endian), and the CRC-32 of these numbers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rillm::{Chat, RestoreError, Session, WeightSource};
use rillm_convert::write::{NewFile, what_else};

/// Bytes read and written at a time: the session's own pieces are as short as two bytes.
const BUFFER: usize = 1 << 16;

/// What a saved session starts with.
const START: &[u8] = b"RILLS";
/// What helps where the file is of no use.
pub const REMEDY: &str = "name another file, or delete this one";

/// Opens the saved session at `path`; none where there is no file. One that is no saved
/// session, or no `what`, as the user knows it, is not to be replaced either.
fn open(path: &Path, what: &str) -> Result<Option<BufReader<File>>> {
    if path.is_dir() {
        bail!("{} is a directory; name a file in it, as in {}", path.display(), path.join("talk.cache").display());
    }
    // Before it is opened: a pipe would wait for somebody to write.
    if let Some(other) = what_else(path) {
        bail!("{} is {other} and no {what}; name a file", path.display());
    }
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(|| format!("cannot open {}", path.display()))?,
    };
    let mut file = BufReader::with_capacity(BUFFER, file);
    let start = file.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(start.starts_with(START), "{} is no {what}; name another file", path.display());
    Ok(Some(file))
}

/// Restores the session that is in the file, and gives the numbers behind it; none where there is no file yet. The file is
/// left alone, whatever is wrong with it.
///
/// That it could not be written afterwards is found out here, before the work.
pub fn load<S: WeightSource>(path: &Path, session: &mut Session<'_, S>) -> Result<Option<Vec<u32>>> {
    let file = open(path, "prompt cache")?;
    drop(NewFile::new(path)?);
    let Some(mut file) = file else { return Ok(None) };
    read(&mut file, session).map(Some).with_context(|| format!("cannot go on from {}", path.display()))
}

fn read<S: WeightSource>(file: &mut impl Read, session: &mut Session<'_, S>) -> Result<Vec<u32>> {
    let cut_off = "it ends in the middle";
    session.restore(|piece| file.read_exact(piece)).map_err(|error| match error {
        RestoreError::ContextTooSmall { tokens, context } => anyhow!(
            "it has {tokens} tokens and there is room for {context}; use --context {tokens} or more, and --ram where that \
             does not fit"
        ),
        RestoreError::Read(error) if error.kind() == ErrorKind::UnexpectedEof => anyhow!("{cut_off}; {REMEDY}"),
        RestoreError::Read(error) => error.into(),
        RestoreError::OtherModel => anyhow!("it is of another model file; {REMEDY}"),
        RestoreError::Version { found } => {
            anyhow!("its version is {found}, which this program does not go on from; {REMEDY}")
        }
        _ => anyhow!("it is damaged; {REMEDY}"),
    })?;
    // A chat's numbers at most, and the checksum.
    let most = 4 * (Chat::MAX_NUMBERS as u64 + 1);
    let mut rest = Vec::new();
    file.take(most + 1).read_to_end(&mut rest)?;
    ensure!(rest.len() as u64 <= most, "there is something behind it that does not belong there; {REMEDY}");
    let (numbers, []) = rest.as_chunks() else { bail!("{cut_off}; {REMEDY}") };
    let Some((stored, numbers)) = numbers.split_last() else { bail!("{cut_off}; {REMEDY}") };
    ensure!(
        u32::from_le_bytes(*stored) == crc32fast::hash(numbers.as_flattened()),
        "it is damaged at its end; {REMEDY}"
    );
    Ok(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
}

/// Writes the session, and `numbers`, at most [`Chat::MAX_NUMBERS`]. The file is whole or untouched, and one that is
/// no saved session stays.
pub fn store<S: WeightSource>(path: &Path, session: &Session<'_, S>, numbers: &[u32]) -> Result<()> {
    open(path, "saved session")?;
    let mut new = NewFile::new(path)?;
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut write = || -> io::Result<()> {
        let mut file = BufWriter::with_capacity(BUFFER, new.file());
        session.save(|piece| file.write_all(piece))?;
        file.write_all(&numbers)?;
        file.write_all(&crc32fast::hash(&numbers).to_le_bytes())?;
        file.flush()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(new.keep()?)
}

/// Puts the file's session in the place of the prompt's own, which nothing was computed of yet, as far as the two have the
/// same tokens.
pub fn reuse<S: WeightSource<Error: std::error::Error + Send + Sync + 'static>>(
    path: &Path,
    session: &mut Session<'_, S>,
) -> Result<()> {
    let prompt = session.tokens().to_vec();
    if let Some(numbers) = load(path, session)? {
        ensure!(
            numbers.is_empty(),
            "{} is a chat's; `rillm chat` goes on with it, or name another file",
            path.display()
        );
        let shared = session.tokens().iter().zip(&prompt).take_while(|(old, new)| old == new).count();
        session.truncate(shared);
        session.push(&prompt[shared..])?;
    }
    Ok(())
}
