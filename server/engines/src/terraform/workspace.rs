//! Folders of runs: what a program works in, and what is kept of it outside of its reach.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

use crate::StepError;

/// What an apply left that nobody came back for is removed after this time.
const FORGOTTEN: Duration = Duration::from_secs(14 * 24 * 3600);

/// The folder of one phase of a run.
#[derive(Clone, Debug)]
pub(super) struct Workspace {
    root: PathBuf,
    /// Folder of the module, relative to the files.
    module: String,
}

impl Workspace {
    /// The folder of this phase (`plan`, `apply`, `recover`) of a run; it may not exist.
    pub fn new(folder: &Path, run: &str, phase: &str, module: &str) -> Self {
        Self { root: folder.join("runs").join(run).join(phase), module: module.to_owned() }
    }

    /// Makes it anew, empty.
    pub fn create(&self) -> Result<(), StepError> {
        let made = remove_tree(&self.root)
            .and_then(|()| make(&self.files()))
            .and_then(|()| make(&self.module()))
            .and_then(|()| make(&self.own()));
        made.map_err(|error| unusable(&self.root, &error))
    }

    /// Everything below it is gone.
    pub fn remove(&self) {
        if let Err(error) = remove_tree(&self.root) {
            // The next sweep tries again.
            let _ = error;
        }
    }

    /// The files of the blueprint, and the only folder that the program may write to.
    pub fn files(&self) -> PathBuf {
        self.root.join("work")
    }

    /// The folder that the program works in.
    pub fn module(&self) -> PathBuf {
        if self.module.is_empty() { self.files() } else { self.files().join(&self.module) }
    }

    /// The engine's own files, which the program reads and writes.
    pub fn own(&self) -> PathBuf {
        self.files().join(".freehold")
    }

    /// Whether the program keeps this file by itself: what it installed, and states. None of it is taken from who wrote the module.
    pub fn is_kept(&self, path: &str) -> bool {
        let file = self.files().join(path);
        path.split('/').any(|part| matches!(part, ".terraform" | ".freehold"))
            || file == self.state()
            || file == self.errored_state()
    }

    /// Where the program keeps its state.
    pub fn state(&self) -> PathBuf {
        self.module().join("terraform.tfstate")
    }

    /// Where the program leaves a state that it could not write.
    pub fn errored_state(&self) -> PathBuf {
        self.module().join("errored.tfstate")
    }

    /// Output and end of the program that was started as this.
    pub fn record(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file of the blueprint, or one of the engine's; readable by nobody else.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), StepError> {
        let written = path.parent().map_or(Ok(()), make).and_then(|()| {
            let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
            io::Write::write_all(&mut file, content)
        });
        written.map_err(|error| unusable(path, &error))
    }

    /// Reads a file that the program wrote; nothing when there is none.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StepError> {
        let unusable = |error: io::Error| unusable(path, &error);
        let inside = path.strip_prefix(&self.root).map_err(|_| unusable(io::Error::other("it is not of this run")))?;
        // A link, which the program could put anywhere on the way, would lead out of what it may reach.
        let opened = rustix::fs::open(&self.root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).and_then(|root| {
            rustix::fs::openat2(root, inside, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        });
        let file = match opened {
            Ok(file) => fs::File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(unusable(errno.into())),
        };
        if !file.metadata().is_ok_and(|found| found.is_file()) {
            return Err(unusable(io::Error::other("it is no file")));
        }
        let mut content = Vec::new();
        io::Read::read_to_end(&mut io::BufReader::new(file), &mut content).map_err(unusable)?;
        Ok(Some(content))
    }
}

/// Removes what earlier lives of the runner left: plans, and applies that were forgotten.
///
/// # Errors
/// `folder-unusable` when the folder cannot be made or read.
pub(super) fn sweep(folder: &Path) -> Result<(), StepError> {
    let runs = folder.join("runs");
    make(&runs).map_err(|error| unusable(&runs, &error))?;
    for run in fs::read_dir(&runs).map_err(|error| unusable(&runs, &error))?.flatten() {
        let old = |meta: fs::Metadata| meta.modified().is_ok_and(|time| older(time, FORGOTTEN));
        let apply = run.path().join("apply");
        let left = if apply.exists() && !fs::metadata(&apply).is_ok_and(old) { run.path().join("plan") } else { run.path() };
        let _ = remove_tree(&left);
    }
    Ok(())
}

/// Removes everything of a run.
pub(super) fn remove(folder: &Path, run: &str) {
    let _ = remove_tree(&folder.join("runs").join(run));
}

fn older(time: SystemTime, than: Duration) -> bool {
    time.elapsed().is_ok_and(|age| age > than)
}

fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn unusable(path: &Path, error: &io::Error) -> StepError {
    StepError::new("folder-unusable", format!("{}: {error}", path.display()))
        .hint("look at the disk and the rights of the runner's data folder")
        .retryable()
}
