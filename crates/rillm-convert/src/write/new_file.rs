//! A temporary file that replaces its target as a whole.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::WriteError;

/// A temporary file in its target's directory. It is removed on drop unless it is kept.
#[derive(Debug)]
pub struct NewFile {
    /// The output's name, for messages.
    out: PathBuf,
    /// The target, with symbolic links resolved.
    place: PathBuf,
    temporary: NamedTempFile,
}

impl NewFile {
    /// Creates an empty file that will replace `out`. If `out` is a symbolic link, the link stays and the file that it
    /// leads to is replaced.
    ///
    /// # Errors
    /// [`WriteError::IsDirectory`], [`WriteError::NoFile`], [`WriteError::NoDirectory`] or [`WriteError::Io`].
    pub fn new(out: &Path) -> Result<Self, WriteError> {
        let io_error = |source| WriteError::Io { path: out.to_owned(), source };
        if out.is_dir() {
            return Err(WriteError::IsDirectory { path: out.to_owned() });
        }
        // Renaming over it would remove a device or a pipe.
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
        // Opened here instead of by `tempfile`, so that the umask applies and errors do not name the temporary file.
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

    /// Where the file is until it is kept.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Syncs the file to disk and renames it to its target.
    ///
    /// # Errors
    /// [`WriteError::Io`]; the target is untouched then.
    pub fn keep(self) -> Result<(), WriteError> {
        let Self { out, place, temporary } = self;
        let kept = temporary.as_file().sync_all().and_then(|()| temporary.persist(place).map_err(|error| error.error));
        kept.map(|_| ()).map_err(|source| WriteError::Io { path: out, source })
    }
}

/// The kind of what exists at a path and is neither a file nor a directory.
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
