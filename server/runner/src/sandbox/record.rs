//! What is kept of a program in its record, and by which runner and supervisor speak to each other.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `lock` | | a supervisor holds it as long as it lives |
//! | `supervisor.json` | supervisor | the program was started, and how it is confined |
//! | `stdout`, `stderr` | supervisor | what the program said |
//! | `exit.json` | supervisor | how it ended, and that everything has |
//! | `claim` | runner | by its time: somebody still wants it |
//! | `interrupt`, `kill` | runner | ask it to end; end it |

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use freehold_engines::{Confinement, Exit};

/// The record of one program.
#[derive(Clone, Debug)]
pub(super) struct Record(PathBuf);

impl Record {
    pub fn new(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// The file that a supervisor locks.
    pub fn lock_file(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(self.path("lock"))
    }

    /// Whether a supervisor lives.
    pub fn is_supervised(&self) -> bool {
        let Ok(lock) = File::open(self.path("lock")) else { return false };
        matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Whether a program was started with this record.
    pub fn is_used(&self) -> bool {
        self.path("supervisor.json").exists()
    }

    pub fn write_supervisor(&self, confinement: &Confinement, durable: bool) -> io::Result<()> {
        self.write("supervisor.json", &serde_json::to_vec(confinement)?, durable)
    }

    /// How the program is confined, once it was started.
    pub fn confinement(&self) -> Option<Confinement> {
        serde_json::from_slice(&fs::read(self.path("supervisor.json")).ok()?).ok()
    }

    pub fn write_exit(&self, exit: &Exit, durable: bool) -> io::Result<()> {
        self.write("exit.json", &serde_json::to_vec(exit)?, durable)
    }

    /// How the program ended, once it has.
    pub fn exit(&self) -> Option<Exit> {
        serde_json::from_slice(&fs::read(self.path("exit.json")).ok()?).ok()
    }

    /// Says that somebody wants the program.
    pub fn claim(&self) -> io::Result<()> {
        File::options().create(true).append(true).open(self.path("claim"))?.set_modified(SystemTime::now())
    }

    /// When somebody last said so.
    pub fn claimed(&self) -> Option<SystemTime> {
        fs::metadata(self.path("claim")).and_then(|file| file.modified()).ok()
    }

    /// Leaves a word for the supervisor: `interrupt` or `kill`.
    pub fn order(&self, word: &str) -> io::Result<()> {
        File::create(self.path(word)).map(drop)
    }

    pub fn is_ordered(&self, word: &str) -> bool {
        self.path(word).exists()
    }

    /// Takes away what a start that failed has left, all but the lock.
    pub fn clear(&self) {
        for file in ["supervisor.json", "stdout", "stderr", "claim", "interrupt", "kill"] {
            let _ = fs::remove_file(self.path(file));
        }
        for dir in ["root", "tmp"] {
            let _ = fs::remove_dir_all(self.path(dir));
        }
    }

    /// Writes a file so that it is whole or not there; a durable one also after a loss of power.
    fn write(&self, file: &str, content: &[u8], durable: bool) -> io::Result<()> {
        let new = self.path(&format!("{file}.new"));
        let mut written = File::create(&new)?;
        written.write_all(content)?;
        if durable {
            written.sync_all()?;
        }
        fs::rename(&new, self.path(file))?;
        if durable { File::open(&self.0)?.sync_all() } else { Ok(()) }
    }
}
