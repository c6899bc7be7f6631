//! The file of `--prompt-cache`: the KV cache of a session, kept between runs of the command.
//!
//! The file is a saved session as [the file format] describes it. For a chat, the numbers of
//! [`Chat::numbers`](rillm::Chat::numbers) follow (32 bits each, little-endian), and the CRC-32 of these numbers.
//!
//! [the file format]: https://github.com/rillm/rillm/blob/main/docs/format.md

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use rillm::{Chat, RestoreError, Session, WeightSource};
use rillm_convert::write::{NewFile, what_else};

/// Buffer length in bytes. The session reads and writes pieces as short as two bytes.
const BUFFER: usize = 1 << 16;

/// Signature of a saved session.
const START: &[u8] = b"RILLS";
/// What to do about an unusable file.
pub const REMEDY: &str = "name another file, or delete this one";

/// Opens the saved session at `path`. Returns none if there is no file. A file that is not a saved session, or not a
/// `what` in the user's terms, is an error, so that it is not overwritten either.
fn open(path: &Path, what: &str) -> Result<Option<BufReader<File>>> {
    if path.is_dir() {
        bail!("{} is a directory; name a file in it, as in {}", path.display(), path.join("talk.cache").display());
    }
    // Checked before opening: opening a pipe waits for a writer.
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

/// Restores the session from the file and returns the numbers behind it. Returns none if there is no file yet. The file
/// itself is not changed.
///
/// Fails if the file could not be written later, so that the error comes before the work.
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
            anyhow!("its format version is {found}, which this program does not read; {REMEDY}")
        }
        _ => anyhow!("it is damaged; {REMEDY}"),
    })?;
    // At most a chat's numbers, and the checksum.
    let most = 4 * (Chat::MAX_NUMBERS as u64 + 1);
    let mut rest = Vec::new();
    file.take(most + 1).read_to_end(&mut rest)?;
    ensure!(rest.len() as u64 <= most, "unexpected bytes follow its end; {REMEDY}");
    let (numbers, []) = rest.as_chunks() else { bail!("{cut_off}; {REMEDY}") };
    let Some((stored, numbers)) = numbers.split_last() else { bail!("{cut_off}; {REMEDY}") };
    ensure!(
        u32::from_le_bytes(*stored) == crc32fast::hash(numbers.as_flattened()),
        "its checksum is wrong: it is damaged; {REMEDY}"
    );
    Ok(numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
}

/// Writes the session and `numbers`, at most [`Chat::MAX_NUMBERS`]. The file is replaced as a whole or not at all. A
/// file that is not a saved session is left alone, and an error.
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

/// Replaces the prompt's session, of which nothing is computed yet, by the session in the file, as far as both start
/// with the same tokens.
pub fn reuse<S: WeightSource<Error: std::error::Error + Send + Sync + 'static>>(
    path: &Path,
    session: &mut Session<'_, S>,
) -> Result<()> {
    let prompt = session.tokens().to_vec();
    if let Some(numbers) = load(path, session)? {
        ensure!(
            numbers.is_empty(),
            "{} is the saved session of a chat; continue it with `rillm chat`, or name another file",
            path.display()
        );
        let shared = session.tokens().iter().zip(&prompt).take_while(|(old, new)| old == new).count();
        session.truncate(shared);
        session.push(&prompt[shared..])?;
    }
    Ok(())
}
