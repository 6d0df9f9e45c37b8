//! Writing files so that a reader sees the old or the new content, and nobody but the owner ever sees a key.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use tempfile::NamedTempFile;

use crate::setup::{Result, SetupError};

/// Who may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Readers {
    /// The owner only: 0600 from the first byte.
    Owner,
    /// Everybody: 0644.
    All,
}

/// Replaces the file as one step; after a crash it has the old content or the new.
pub(crate) fn replace(path: &Path, content: &[u8], readers: Readers) -> Result<()> {
    let write = || {
        prepared(path, content, readers)?.persist(path).map_err(|e| e.error)?;
        sync_directory(path)
    };
    write().map_err(|e| SetupError::file(path, "cannot be written").caused_by(e))
}

/// Writes the file unless it exists. Returns whether it was written.
pub(crate) fn create(path: &Path, content: &[u8], readers: Readers) -> Result<bool> {
    let write = || match prepared(path, content, readers)?.persist_noclobber(path) {
        Ok(_) => sync_directory(path).map(|()| true),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e.error),
    };
    write().map_err(|e| SetupError::file(path, "cannot be written").caused_by(e))
}

/// Reads a file whole.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| SetupError::file(path, "cannot be read").caused_by(e))
}

/// Reads a file whole; `None` when there is none.
pub(crate) fn read_if_any(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(SetupError::file(path, "cannot be read").caused_by(e)),
    }
}

fn prepared(path: &Path, content: &[u8], readers: Readers) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(directory(path))?;
    if let Readers::All = readers {
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    }
    file.write_all(content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// A rename is durable only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
