//! Runner pools and the runners in them.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Reason, Result},
    names::{RunnerName, RunnerPoolName},
    resource::{Labels, Meta},
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
    #[serde(default)]
    pub required_sandbox: SandboxLevel,
}

/// What keeps programs of engines from the machine of a runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxLevel {
    /// Nothing that could be relied on; as a demand, none.
    #[default]
    None,
    /// User, file system, processes and network of their own.
    Isolated,
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
    #[serde(default)]
    pub sandbox: String,
    #[serde(default)]
    pub platform: String,
    #[serde(default)]
    pub engine_versions: BTreeMap<String, String>,
    #[serde(default)]
    pub labels: Labels,
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

impl RunnerPool {
    /// Fails with `STATE_NOT_ALLOWED` unless a runner, as it last described itself, offers what the pool demands.
    ///
    /// It is the runner's own word: this keeps away those that were set up in a wrong way, not those that lie.
    pub fn expect_sandbox(&self, runner: Option<&Runner>) -> Result<()> {
        let offered = runner.map_or(SandboxLevel::None, Runner::sandbox_level);
        if self.required_sandbox == SandboxLevel::None || offered == self.required_sandbox {
            return Ok(());
        }
        Err(Error::new(
            Reason::StateNotAllowed,
            format!(
                "{} gives work to runners that isolate programs only; start this one with `--sandbox required` on a machine with user namespaces",
                self.name
            ),
        ))
    }
}

impl Runner {
    /// What its description of its sandbox amounts to.
    pub fn sandbox_level(&self) -> SandboxLevel {
        let stands = |wall: &str| self.sandbox.split(',').any(|standing| standing == wall);
        if ["user", "mount", "pid", "ipc", "uts", "net"].into_iter().all(stands) {
            SandboxLevel::Isolated
        } else {
            SandboxLevel::None
        }
    }

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
