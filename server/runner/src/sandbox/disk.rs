//! What is in a folder, and whose it is.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, lchown},
    path::Path,
};

/// What every file counts for at least, so that very many empty ones are not free.
const LEAST: u64 = 4096;

/// Bytes that a folder takes. What vanishes while it is counted counts for nothing; links are not followed.
pub(super) fn usage(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: fs::DirEntry| {
        let Ok(file) = entry.metadata() else { return 0 };
        let below = if file.is_dir() { usage(&entry.path()) } else { 0 };
        below + (file.blocks() * 512).max(LEAST)
    };
    entries.flatten().map(size).sum()
}

/// Gives a folder and everything in it to a user. Nothing of it may be in use; links themselves are given, not what they name.
///
/// # Errors
/// When the machine does not let it.
pub(super) fn give(folder: &Path, user: u32) -> io::Result<()> {
    lchown(folder, Some(user), Some(user))?;
    if fs::symlink_metadata(folder)?.is_dir() {
        for entry in fs::read_dir(folder)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}
