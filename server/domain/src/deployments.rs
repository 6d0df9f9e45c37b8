//! Deployments: a blueprint version with inputs in an environment.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    access::Principal,
    drift::{DriftPolicy, DriftStatus},
    error::{Error, Reason, Result},
    names::{DeploymentName, RunName, VersionName},
    resource::Meta,
    state::StateLock,
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
    /// Who holds its state to change it by hand.
    #[serde(default)]
    pub state_lock: Option<StateLock>,
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

/// Something that a deployment has made and looks after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedResource {
    /// `type.name`, with the path of its module and its key where the engine has them.
    pub address: String,
    /// Kind of resource, for example `file` or `aws_vpc`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What its provider calls it; may be empty.
    pub id: String,
    /// Addresses it was made from.
    pub depends_on: Vec<String>,
}

/// One version of the state of a deployment, without its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct StateVersion {
    pub serial: i64,
    /// The engine's own name of the history; of the native engine the deployment's uid.
    pub lineage: String,
    pub digest: String,
    pub size_bytes: i64,
    /// The run that wrote it; nothing when a person did.
    pub run: Option<Uid>,
    /// The person that wrote it.
    #[serde(default)]
    pub creator: Option<Principal>,
    pub epoch: i64,
    /// What is in it.
    #[serde(default)]
    pub resources: Vec<ManagedResource>,
    pub create_time: Timestamp,
}
