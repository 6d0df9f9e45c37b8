//! Deployments: a blueprint version with inputs in an environment.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    drift::{DriftPolicy, DriftStatus},
    error::{Error, Reason, Result},
    names::{DeploymentName, RunName, VersionName},
    resource::Meta,
    time::{Timestamp, Uid},
};

/// A blueprint version with inputs in an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Deployment {
    pub name: DeploymentName,
    pub meta: Meta,
    pub blueprint_version: VersionName,
    /// Without the sensitive ones; all of them are kept sealed.
    pub inputs: Map<String, Value>,
    pub state: DeploymentState,
    pub generation: i64,
    pub observed_revision: i64,
    pub last_run: Option<Uid>,
    pub active_run: Option<Uid>,
    pub drifted: bool,
    pub drift_check_time: Option<Timestamp>,
    /// The last look for drift, and what the schedule needs to know.
    #[serde(default)]
    pub drift: DriftStatus,
    /// Its own policy; without one, that of its environment counts.
    #[serde(default)]
    pub drift_policy: Option<DriftPolicy>,
    pub deletion_protection: bool,
    pub auto_apply: bool,
    /// Serial of the newest state version; 0 before the first.
    pub state_serial: i64,
}

/// What of a deployment is real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeploymentState {
    /// Nothing yet.
    New,
    /// What the observed revision says.
    Active,
    /// Some of it.
    Partial,
    /// Nothing any more.
    Destroyed,
}

impl DeploymentState {
    /// Its name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Active => "ACTIVE",
            Self::Partial => "PARTIAL",
            Self::Destroyed => "DESTROYED",
        }
    }
}

impl Deployment {
    /// Name of one of its runs.
    pub fn run_name(&self, run: Uid) -> RunName {
        let DeploymentName { tenant, project, environment, deployment } = self.name.clone();
        RunName { tenant, project, environment, deployment, run }
    }

    /// Fails while something of it is protected or real, unless what is real shall be forgotten.
    pub fn expect_deletable(&self, force: bool) -> Result<()> {
        self.expect_unprotected()?;
        if let Some(run) = self.active_run {
            return Err(Error::new(Reason::OperationInProgress, "a run is changing it; wait for its end or cancel it")
                .with("operation", self.run_name(run)));
        }
        match self.state {
            DeploymentState::New | DeploymentState::Destroyed => Ok(()),
            _ if force => Ok(()),
            state => Err(Error::new(
                Reason::StateNotAllowed,
                "what it made still exists; destroy it first, or delete with `force` to forget it",
            )
            .with("state", state.as_str())
            .with("allowed_states", "NEW, DESTROYED")),
        }
    }

    /// Fails while it is protected from destruction.
    pub fn expect_unprotected(&self) -> Result<()> {
        if self.deletion_protection {
            return Err(Error::new(Reason::StateNotAllowed, "deletion protection is on; switch it off first")
                .with("state", "deletion_protection"));
        }
        Ok(())
    }
}

/// What was made real by one successful run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Revision {
    pub number: i64,
    pub blueprint_version: VersionName,
    pub inputs: Map<String, Value>,
    pub run: Uid,
    pub create_time: Timestamp,
}

/// One version of the state of a deployment, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct StateVersion {
    pub serial: i64,
    pub lineage: Uid,
    pub digest: String,
    pub size_bytes: i64,
    pub run: Uid,
    pub epoch: i64,
    pub addresses: Vec<String>,
    pub create_time: Timestamp,
}
