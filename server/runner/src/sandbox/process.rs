//! A program under its supervisor, as its runner sees it: through its record.

use std::time::Duration;

use freehold_engines::{Confinement, Exit, Process};
use futures::future::BoxFuture;
use tokio::task::JoinHandle;

use super::record::Record;

/// The longest time between two looks at a record.
const LOOK: Duration = Duration::from_millis(100);

/// A program under its supervisor. As long as this value is there, the program is claimed.
pub(super) struct Supervised {
    record: Record,
    confinement: Confinement,
    claims: JoinHandle<()>,
}

impl Supervised {
    /// The program of this record, which nobody may leave unclaimed for that long.
    pub fn new(record: Record, confinement: Confinement, orphan: Duration) -> Self {
        // In time, should the machine be slow.
        let claims = tokio::spawn(claim(record.clone(), orphan / 10));
        Self { record, confinement, claims }
    }

    fn order(&self, word: &str) {
        if let Err(error) = self.record.order(word) {
            tracing::error!(%error, word, "a program cannot be told to end; it will when nobody claims it");
            self.claims.abort();
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.claims.abort();
    }
}

async fn claim(record: Record, pause: Duration) {
    while record.exit().is_none() {
        if let Err(error) = record.claim() {
            tracing::warn!(%error, "a program cannot be claimed");
        }
        tokio::time::sleep(pause).await;
    }
}

impl Process for Supervised {
    fn ended(&self) -> BoxFuture<'_, Exit> {
        Box::pin(async move {
            let mut pause = Duration::from_millis(5);
            loop {
                // In this order: a supervisor writes the end down and then lets go.
                let supervised = self.record.is_supervised();
                if let Some(exit) = self.record.exit() {
                    return exit;
                }
                if !supervised {
                    return Exit::Unknown;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LOOK);
            }
        })
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
