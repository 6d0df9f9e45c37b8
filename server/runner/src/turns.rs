//! Of one run, a runner does one job at a time.
//!
//! A runner that was silent for longer than its lease may be given the run again while it still works on what it was given before.
//! The earlier work learns that its lease is lost, and leaves; the later one waits for that, with its lease kept.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::OwnedMutexGuard;

/// The runs that this runner works on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<String, Arc<Turn>>>>);

/// One run.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    work: Arc<tokio::sync::Mutex<()>>,
    waiting: AtomicUsize,
}

impl Turns {
    /// The turn of this run; those that nobody has any more are forgotten.
    pub fn of(&self, run: &str) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|name, turn| name == run || Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(run.to_owned()).or_default())
    }
}

impl Turn {
    /// Waits until nobody else in this runner works on the run.
    pub async fn begin(&self) -> OwnedMutexGuard<()> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let turn = Arc::clone(&self.work).lock_owned().await;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        turn
    }

    /// Whether somebody waits for who works on it.
    pub fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }
}
