//! Deployments: a blueprint version with inputs in an environment.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    access::Principal,
    drift::{DriftPolicy, DriftStatus},
    error::{Error, Reason, Result},
    lifetimes::Lifetime,
    names::{DeploymentName, RunName, VersionName},
    resource::Meta,
    runs::RunKind,
    state::StateLock,
    time::{Timestamp, Uid},
};

/// How long an abandoned deployment is kept, with its revisions and its last state.
pub const ABANDONED_RETENTION: Duration = Duration::from_secs(30 * 86_400);

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
    /// Id of the hold that was broken last; nobody takes one with it again.
    #[serde(default)]
    pub broken_lock: Option<String>,
    /// What it needs beside the deployments whose outputs are its inputs.
    #[serde(default)]
    pub depends_on: Vec<DeploymentName>,
    #[serde(default)]
    pub apply_on_dependency_change: bool,
    #[serde(default)]
    pub require_undrifted_dependencies: bool,
    #[serde(default)]
    pub lifetime: Lifetime,
    #[serde(default)]
    pub conditions: BTreeMap<ConditionKind, Condition>,
    #[serde(default)]
    pub abandonment: Option<Abandonment>,
}

/// Something that is so beside the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum ConditionKind {
    DependencyChanged,
    TtlExpiring,
    TtlExpired,
}

/// What it is about, in words, and since when it is so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Condition {
    pub message: String,
    pub since: Timestamp,
}

/// That what it made was left to nobody, by whom, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Abandonment {
    pub principal: Principal,
    pub reason: String,
    pub time: Timestamp,
    /// Resources that were there, as the newest state knew them.
    pub addresses: Vec<String>,
}

impl Abandonment {
    /// When the deployment is forgotten.
    pub fn purge_time(&self) -> Timestamp {
        self.time.plus(ABANDONED_RETENTION)
    }
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
    /// Something, and nobody knows what: its state is missing, or is not what was written.
    Quarantined,
    /// Whatever there was is nobody's any more.
    Abandoned,
}

impl DeploymentState {
    /// Its name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Active => "ACTIVE",
            Self::Partial => "PARTIAL",
            Self::Destroyed => "DESTROYED",
            Self::Quarantined => "QUARANTINED",
            Self::Abandoned => "ABANDONED",
        }
    }

    /// Something of it exists, and this installation answers for it.
    pub const fn is_real(self) -> bool {
        matches!(self, Self::Active | Self::Partial | Self::Quarantined)
    }
}

impl Deployment {
    /// One of which nothing is real yet.
    pub fn new(name: DeploymentName, meta: Meta, blueprint_version: VersionName, inputs: Map<String, Value>) -> Self {
        Self {
            name,
            meta,
            blueprint_version,
            inputs,
            state: DeploymentState::New,
            generation: 1,
            observed_revision: 0,
            last_run: None,
            active_run: None,
            drifted: false,
            drift_check_time: None,
            deletion_protection: false,
            auto_apply: false,
            state_serial: 0,
            state_lock: None,
            broken_lock: None,
            drift: DriftStatus::default(),
            drift_policy: None,
            depends_on: Vec::new(),
            apply_on_dependency_change: false,
            require_undrifted_dependencies: false,
            lifetime: Lifetime::default(),
            conditions: BTreeMap::new(),
            abandonment: None,
        }
    }

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
            DeploymentState::New | DeploymentState::Destroyed | DeploymentState::Abandoned => Ok(()),
            _ if force => Ok(()),
            state => Err(Error::new(
                Reason::StateNotAllowed,
                "what it made still exists; destroy it first, or delete with `force` to forget it",
            )
            .with("state", state.as_str())
            .with("allowed_states", "NEW, DESTROYED, ABANDONED")),
        }
    }

    /// Fails when it was abandoned, so that nothing of it changes any more.
    pub fn expect_kept(&self) -> Result<()> {
        match self.state {
            DeploymentState::Abandoned => Err(Error::new(
                Reason::StateNotAllowed,
                "it was abandoned, and nothing may be done to it; create a new deployment",
            )
            .with("state", self.state.as_str())
            .with("allowed_states", "NEW, ACTIVE, PARTIAL, DESTROYED, QUARANTINED")),
            _ => Ok(()),
        }
    }

    /// Fails when no run of this kind may begin on it.
    pub fn expect_runnable(&self, kind: RunKind) -> Result<()> {
        self.expect_kept()?;
        let makes = matches!(kind, RunKind::Apply | RunKind::Rollback);
        if makes && self.conditions.contains_key(&ConditionKind::TtlExpired) {
            return Err(Error::new(Reason::StateNotAllowed, "its time to live has ended; extend it first")
                .with("state", "TTL_EXPIRED")
                .with("allowed_states", "an end that is still to come"));
        }
        let (why, allowed) = match self.state {
            DeploymentState::Quarantined if kind != RunKind::Repair => (
                "its state is missing or is not what was written, so nobody knows what exists; restore or import the state, or \
                 abandon the deployment",
                "NEW, ACTIVE, PARTIAL, DESTROYED",
            ),
            DeploymentState::New | DeploymentState::Destroyed if kind == RunKind::Drift => {
                ("nothing of it is real, so nothing can have drifted", "ACTIVE, PARTIAL")
            }
            _ => return Ok(()),
        };
        Err(Error::new(Reason::StateNotAllowed, why).with("state", self.state.as_str()).with("allowed_states", allowed))
    }

    /// Leaves whatever it made to nobody.
    ///
    /// Fails while a run is changing it or it is protected, and when there is nothing to leave.
    pub fn abandon(&mut self, abandonment: Abandonment) -> Result<()> {
        self.expect_deletable(true)?;
        if !self.state.is_real() {
            return Err(Error::new(Reason::StateNotAllowed, "nothing of it is real, so there is nothing to abandon; delete it")
                .with("state", self.state.as_str())
                .with("allowed_states", "ACTIVE, PARTIAL, QUARANTINED"));
        }
        self.state = DeploymentState::Abandoned;
        self.conditions.clear();
        self.lifetime = Lifetime::default();
        self.abandonment = Some(abandonment);
        Ok(())
    }

    /// Notes that something is so; the beginning of what was so already stays.
    pub fn set_condition(&mut self, kind: ConditionKind, message: String, now: Timestamp) {
        let since = self.conditions.get(&kind).map_or(now, |known| known.since);
        self.conditions.insert(kind, Condition { message, since });
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

/// The value of one output.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct OutputValue {
    pub value: Value,
    pub sensitive: bool,
}

/// Outputs by their names.
pub type Outputs = BTreeMap<String, OutputValue>;

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

impl ManagedResource {
    /// What its type is one of: the provider in a type of Terraform's naming (`aws` of `aws_vpc`), else the type itself.
    pub fn type_group(&self) -> &str {
        self.kind.split_once('_').map_or(&self.kind, |(provider, _)| provider)
    }
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
