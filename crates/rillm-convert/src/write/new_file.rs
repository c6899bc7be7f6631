//! A file in the making, which takes its place as a whole.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::WriteError;

/// A file in the directory of the one that it will be. It removes itself unless it is kept.
#[derive(Debug)]
pub struct NewFile {
    /// The name that was asked for, for messages.
    out: PathBuf,
    /// Where that leads.
    place: PathBuf,
    temporary: NamedTempFile,
}

impl NewFile {
    /// An empty file that will be `out`, in place of an older file of that name. Where `out` is a symbolic link, the file that
    /// it leads to is replaced, and the link stays.
    ///
    /// # Errors
    /// [`WriteError::IsDirectory`], [`WriteError::NoFile`], [`WriteError::NoDirectory`] or [`WriteError::Io`].
    pub fn new(out: &Path) -> Result<Self, WriteError> {
        let io_error = |source| WriteError::Io { path: out.to_owned(), source };
        if out.is_dir() {
            return Err(WriteError::IsDirectory { path: out.to_owned() });
        }
        // A device, or a pipe that somebody reads, would be gone.
        if let Some(what) = what_else(out) {
            return Err(WriteError::NoFile { path: out.to_owned(), what });
        }
        let place = match fs::canonicalize(out) {
            Err(_) if fs::symlink_metadata(out).is_ok_and(|metadata| metadata.is_symlink()) => {
                return Err(WriteError::NoFile { path: out.to_owned(), what: "a link that leads nowhere" });
            }
            place => place.unwrap_or_else(|_| out.to_owned()),
        };
        let directory = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Opened here, and not by `tempfile`, so that it is readable by whom the user's settings say, and that errors do not
        // name it.
        let temporary = tempfile::Builder::new()
            .prefix(".")
            .suffix(".part")
            .make_in(directory, |path| File::options().read(true).write(true).create_new(true).open(path))
            .map_err(|source| match source.kind() {
                ErrorKind::NotFound if !directory.exists() => {
                    WriteError::NoDirectory { path: out.to_owned(), directory: directory.to_owned() }
                }
                _ => io_error(source),
            })?;
        Ok(Self { out: out.to_owned(), place, temporary })
    }

    /// The file.
    pub fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Puts the file in its place, once all of it is on the disk.
    ///
    /// # Errors
    /// [`WriteError::Io`]; what was in its place is untouched then.
    pub fn keep(self) -> Result<(), WriteError> {
        let Self { out, place, temporary } = self;
        let kept = temporary.as_file().sync_all().and_then(|()| temporary.persist(place).map_err(|error| error.error));
        kept.map(|_| ()).map_err(|source| WriteError::Io { path: out, source })
    }
}

/// What a path leads to that is there, and neither a file nor a directory.
pub fn what_else(path: &Path) -> Option<&'static str> {
    let kind = fs::metadata(path).ok()?.file_type();
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a pipe");
        } else if kind.is_socket() {
            return Some("a socket");
        }
    }
    (!kind.is_file() && !kind.is_dir()).then_some("a device")
}
