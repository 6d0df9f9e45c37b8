//! The folder of a runner: what outlives it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The folder of one runner, which nobody else uses at the same time.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    instance: Uuid,
    _lock: Arc<fs::File>,
}

impl Folder {
    /// Opens the folder, making it if need be.
    ///
    /// # Errors
    /// When another process uses it, or it cannot be read and written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let explained = |error: io::Error| io::Error::new(error.kind(), format!("the data folder {}: {error}", path.display()));
        for folder in ["asks", "applies", "keys"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path.join(folder)).map_err(explained)?;
        }
        let path = path.canonicalize().map_err(explained)?;
        let lock = fs::File::create(path.join("lock")).map_err(explained)?;
        if lock.try_lock().is_err() {
            let why = format!("another runner uses the data folder {}; stop it, or choose another folder", path.display());
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
        }
        let named = path.join("instance");
        let instance = match fs::read_to_string(&named).map(|text| text.trim().parse()) {
            Ok(Ok(instance)) => instance,
            _ => {
                let instance = Uuid::now_v7();
                write(&named, instance.to_string())?;
                instance
            }
        };
        Ok(Self { path, instance, _lock: Arc::new(lock) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells this folder from that of every other runner.
    pub fn instance(&self) -> String {
        self.instance.to_string()
    }

    /// The ask for work that this place of the runner made last, so that a job that was its answer is found again.
    pub(crate) fn last_ask(&self, place: u16) -> Option<Uuid> {
        fs::read_to_string(self.ask(place)).ok()?.trim().parse().ok()
    }

    /// Remembers an ask, before it is made.
    pub(crate) fn remember_ask(&self, place: u16, ask: Uuid) {
        if let Err(error) = write(&self.ask(place), ask.to_string()) {
            // Without it a job is found again only when its lease has ended.
            tracing::warn!(folder = %self.path.display(), %error, "the data folder cannot be written");
        }
    }

    /// Applies that were begun, and whose end the server has not taken yet.
    pub(crate) fn applies(&self) -> Vec<Apply> {
        let files = fs::read_dir(self.path.join("applies")).into_iter().flatten().flatten();
        files.filter_map(|file| read_apply(&file.path())).collect()
    }

    /// What is known of the apply of this run; nothing when its end was taken, or it was never begun.
    pub(crate) fn apply(&self, run: &str) -> Option<Apply> {
        read_apply(&self.of_apply(run)?)
    }

    /// Remembers an apply before it is begun.
    pub(crate) fn remember_apply(&self, apply: &Apply) {
        let Some(path) = self.of_apply(&apply.run) else { return };
        let text = serde_json::to_string(apply).unwrap_or_default();
        if let Err(error) = write(&path, &text) {
            // Without it a later life of this runner cannot tell what this one made of a run that it lost.
            tracing::warn!(folder = %self.path.display(), %error, "the data folder cannot be written");
        }
    }

    /// The server has taken the end of the apply of this run.
    pub(crate) fn forget_apply(&self, run: &str) {
        for path in [self.of_apply(run), self.of_key(run)].into_iter().flatten() {
            let _ = fs::remove_file(path);
        }
    }

    /// The key of the plan of this run, if this runner has begun to apply it.
    pub(crate) fn plan_key(&self, run: &str) -> Option<[u8; 32]> {
        fs::read(self.of_key(run)?).ok()?.try_into().ok()
    }

    /// Remembers the key of a plan before its apply is begun.
    pub(crate) fn remember_plan_key(&self, run: &str, key: &[u8; 32]) {
        let Some(path) = self.of_key(run) else { return };
        if let Err(error) = write(&path, key) {
            // Without it a later life of this runner has to read the secrets of the plan again.
            tracing::warn!(folder = %self.path.display(), %error, "the data folder cannot be written");
        }
    }

    /// The file of an apply. Runs are named by a server, which may mean harm.
    fn of_apply(&self, run: &str) -> Option<PathBuf> {
        self.of_run("applies", run)
    }

    /// The file of the key of a plan.
    fn of_key(&self, run: &str) -> Option<PathBuf> {
        self.of_run("keys", run)
    }

    fn of_run(&self, folder: &str, run: &str) -> Option<PathBuf> {
        let uid: Uuid = run.rsplit('/').next()?.parse().ok()?;
        Some(self.path.join(folder).join(uid.to_string()))
    }

    fn ask(&self, place: u16) -> PathBuf {
        self.path.join("asks").join(place.to_string())
    }
}

/// An apply that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Apply {
    /// The run, by its resource name.
    pub run: String,
    /// The fence of the newest lease under which this runner had it.
    pub epoch: i64,
    /// The engine that does it.
    pub engine: String,
}

fn read_apply(path: &Path) -> Option<Apply> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

/// Writes a small file so that it is whole or as before.
fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(new, path)
}
