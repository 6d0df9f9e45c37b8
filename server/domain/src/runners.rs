//! Runner pools and the runners in them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    names::{RunnerName, RunnerPoolName},
    resource::Meta,
    time::Timestamp,
};

/// How often a runner says that it lives.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// The pool of environments for which none was chosen.
pub const DEFAULT_POOL: &str = "runnerPools/default";

/// A group of runners that work for the same environments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct RunnerPool {
    pub name: RunnerPoolName,
    pub meta: Meta,
}

/// A process that runs jobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Runner {
    pub name: RunnerName,
    pub version: String,
    pub engines: Vec<String>,
    pub capacity: i32,
    pub running: i32,
    pub draining: bool,
    pub last_seen_time: Timestamp,
    pub create_time: Timestamp,
}

/// Whether a runner takes jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum RunnerState {
    Online,
    Draining,
    Offline,
}

impl Runner {
    /// Whether it takes jobs now: three heartbeats may be missed.
    pub fn state(&self, now: Timestamp) -> RunnerState {
        if now.since(self.last_seen_time) > HEARTBEAT * 3 {
            RunnerState::Offline
        } else if self.draining {
            RunnerState::Draining
        } else {
            RunnerState::Online
        }
    }
}
