//! A program under its supervisor, as its runner sees it: through its record.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use freehold_engines::{Confinement, Exit, Process};
use futures::future::BoxFuture;

use super::record::Record;

/// The shortest and the longest time between two looks at a record. In between it is a share of the time that the program has
/// taken, so that a short one is not made longer, and a long one is not looked at all the time.
const LOOK: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(100)];
const SHARE: u32 = 20;

/// A program under its supervisor.
pub(super) struct Supervised {
    record: Record,
    confinement: Confinement,
    since: Instant,
    /// Between two claims; in time, should the machine be slow.
    pause: Duration,
    claims: Mutex<Claims>,
}

/// What was said of wanting the program.
#[derive(Default)]
struct Claims {
    last: Option<Instant>,
    /// Nobody does any more.
    over: bool,
}

impl Supervised {
    /// The program of this record, which nobody may leave unclaimed for that long.
    pub fn new(record: Record, confinement: Confinement, orphan: Duration) -> Self {
        Self { record, confinement, since: Instant::now(), pause: orphan / 10, claims: Mutex::default() }
    }

    fn order(&self, word: &str) {
        if let Err(error) = self.record.order(word) {
            tracing::error!(%error, word, "a program cannot be told to end; it will when nobody claims it");
            self.claims.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        }
    }
}

impl Process for Supervised {
    fn ended(&self) -> BoxFuture<'_, Exit> {
        Box::pin(async move {
            loop {
                // In this order: a supervisor writes the end down and then lets go.
                let supervised = self.record.is_supervised();
                if let Some(exit) = self.record.exit() {
                    return exit;
                }
                if !supervised {
                    return Exit::Unknown;
                }
                let [shortest, longest] = LOOK;
                tokio::time::sleep((self.since.elapsed() / SHARE).clamp(shortest, longest)).await;
            }
        })
    }

    fn claim(&self) {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claims.over || claims.last.is_some_and(|last| last.elapsed() < self.pause) {
            return;
        }
        claims.last = Some(Instant::now());
        if let Err(error) = self.record.claim() {
            tracing::warn!(%error, "a program cannot be claimed");
        }
    }

    fn interrupt(&self) {
        self.order("interrupt");
    }

    fn kill(&self) {
        self.order("kill");
    }

    fn confinement(&self) -> Confinement {
        self.confinement
    }
}
