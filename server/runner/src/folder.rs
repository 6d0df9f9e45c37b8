//! The folder of a runner: what outlives it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

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
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path.join("asks")).map_err(explained)?;
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
                write(&named, &instance.to_string())?;
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
        if let Err(error) = write(&self.ask(place), &ask.to_string()) {
            // Without it a job is found again only when its lease has ended.
            tracing::warn!(folder = %self.path.display(), %error, "the data folder cannot be written");
        }
    }

    fn ask(&self, place: u16) -> PathBuf {
        self.path.join("asks").join(place.to_string())
    }
}

/// Writes a small file so that it is whole or as before.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(new, path)
}
