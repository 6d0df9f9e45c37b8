//! Files that hold a key: made once, readable by their owner only.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use freehold_domain::time::Random;

use crate::Failure;

/// Bytes of the master key.
const BYTES: usize = 32;

/// Reads the master key.
pub fn read_master_key(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = fs::read(path).map_err(|error| format!("the master key {} cannot be read: {error}", path.display()))?;
    if bytes.len() == BYTES {
        return Ok(bytes);
    }
    Err(format!("the master key {} has {} bytes instead of {BYTES}; restore it from your backup", path.display(), bytes.len())
        .into())
}

/// Reads the master key, or draws one when there is none yet.
pub fn master_key(path: &Path, random: &dyn Random) -> Result<Vec<u8>, Failure> {
    if path.exists() {
        return read_master_key(path);
    }
    let mut bytes = vec![0; BYTES];
    random.fill(&mut bytes);
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.map_err(|error| format!("the master key {} cannot be written: {error}", path.display()))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

/// Warns of a file with a key that everybody on this machine can read. A group may: that is how orchestrators hand out secrets.
pub fn warn_if_open(path: &Path) {
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o007 != 0) {
        tracing::warn!(file = %path.display(), "everybody on this machine can read this key; run `chmod o= FILE`");
    }
}
