//! Runs: one change of a deployment, or one look at it, from plan to end.
//!
//! The life of a run is the pure function [`Run::step`]: state and event in, new state and effects out. Whoever stores the new
//! state carries out the effects in the same transaction.

mod decisions;
mod late;
mod plan;
mod recovery;
mod reversibility;
mod step;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    access::Principal,
    approvals::Demand,
    dependencies::Dependency,
    deployments::Deployment,
    names::{RunName, RunnerName, RunnerPoolName, VersionName},
    time::{Timestamp, Uid},
};

pub use crate::approvals::Approval;
pub use late::{Holder, LateResult, unrecorded};
pub use plan::{ChangeAction, PlanBinding, PlanFacts, PlannedChange};
pub use reversibility::{Reversibility, ReversibilityCounts};
pub use step::{ApplyEnd, Ask, Decision, Effect, Progress, RunEvent};

/// How long a run waits for an approval.
pub const APPROVAL_WAIT: Duration = Duration::from_secs(72 * 3600);
/// How long a run waits for a runner.
pub const QUEUE_WAIT: Duration = Duration::from_secs(24 * 3600);
/// How long a plan may take.
pub const PLAN_TIME: Duration = Duration::from_secs(2 * 3600);
/// How long an apply may take before it is asked to stop.
pub const APPLY_TIME: Duration = Duration::from_secs(6 * 3600);
/// How long a lease lasts after each extension, unless the server is told otherwise.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a job is given to a runner before it counts as poison.
pub const ATTEMPTS: i32 = 3;

/// One change of a deployment, or one look at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub name: RunName,
    /// Grows with every step; part of the `WHERE` of the next one.
    pub version: i64,
    /// What it is for.
    pub kind: RunKind,
    /// Where it is.
    pub phase: RunPhase,
    /// How it ended.
    pub outcome: Option<RunOutcome>,
    /// What it waits for.
    pub waiting_on: Option<WaitingOn>,
    /// The deployment.
    pub deployment: Uid,
    /// The runners that may take it.
    pub pool: RunnerPoolName,
    /// The version it works with.
    pub blueprint_version: VersionName,
    /// Uid of that version.
    pub blueprint_version_uid: Uid,
    /// Its inputs, without the sensitive ones.
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// The engine that does it.
    pub engine: String,
    /// The revision that a rollback goes back to; 0 for other kinds.
    pub target_revision: i64,
    /// The version of the state that a repair writes again; 0 for other kinds.
    #[serde(default)]
    pub target_state: i64,
    /// Generation of the deployment when the run was begun.
    #[serde(default)]
    pub generation: i64,
    /// Applies without an approval where none is needed.
    pub auto_apply: bool,
    /// When there are some: it applies by itself only a plan that changes nothing but these resources.
    #[serde(default)]
    pub limited_to: Option<BTreeSet<String>>,
    /// What its plan needs, by the rules as they were last looked at.
    #[serde(default)]
    pub demand: Demand,
    /// The plan, once there is one.
    pub plan: Option<PlanFacts>,
    /// The last decision on the plan that counts.
    pub approval: Option<Approval>,
    /// Every approval of the plan, oldest first, also those that do not count.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// What went wrong.
    pub error: Option<RunError>,
    /// Fencing number of its lease; grows with every holder and every loss.
    pub epoch: i64,
    /// The runner that works or worked on it.
    pub runner: Option<RunnerName>,
    /// The ask that was answered with the present job, so that a repeated ask gets it again.
    pub ask: Option<Uid>,
    /// The incarnation of the runner that has the present job.
    #[serde(default)]
    pub incarnation: Option<Uid>,
    /// How often the present job was begun.
    pub attempt: i32,
    /// Number of the last report of steps under the present lease.
    #[serde(default)]
    pub reported: i64,
    /// What its apply has started may go on for so many seconds without the runner that started it.
    #[serde(default)]
    pub outlives_seconds: i64,
    /// Until then only the runner that was lost may go on with it.
    #[serde(default)]
    pub held_until: Option<Timestamp>,
    /// When the present or last job was taken.
    #[serde(default)]
    pub job_begin_time: Option<Timestamp>,
    /// When its runner reported its end; absent while it works, and when it was lost.
    #[serde(default)]
    pub job_end_time: Option<Timestamp>,
    /// Steps of the apply, by address.
    pub steps: BTreeMap<String, RunStep>,
    /// Somebody asked it to stop.
    pub cancel_requested: bool,
    /// It changed something real.
    pub changed: bool,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it last moved.
    pub update_time: Timestamp,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// When the present phase ends by itself.
    pub deadline: Option<Timestamp>,
    /// Who created it.
    pub creator: Principal,
    /// Why, in the words of who created it.
    pub message: String,
    /// What kept the programs of its engine from the runner's machine, in the runner's words; empty when there were none.
    #[serde(default)]
    pub sandbox: String,
    /// What it takes from other deployments, or took.
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
    /// Outputs of other deployments are filled into its inputs.
    #[serde(default)]
    pub resolved: bool,
    /// Who was given its apply, under which fence; the last few.
    #[serde(default)]
    pub holders: Vec<Holder>,
    /// What those offered of it that had lost it by then, oldest first.
    #[serde(default)]
    pub late_results: Vec<LateResult>,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunKind {
    /// A plan to look at.
    Plan,
    /// Makes the desired state real.
    Apply,
    /// Removes everything.
    Destroy,
    /// Makes an earlier revision real again.
    Rollback,
    /// Looks whether reality still is as it was made.
    Drift,
    /// Writes an earlier version of the state again.
    Repair,
}

impl RunKind {
    /// Its name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "PLAN",
            Self::Apply => "APPLY",
            Self::Destroy => "DESTROY",
            Self::Rollback => "ROLLBACK",
            Self::Drift => "DRIFT",
            Self::Repair => "REPAIR",
        }
    }

    /// Whether it is to change something real in the end, or what is known of it.
    pub const fn mutates(self) -> bool {
        matches!(self, Self::Apply | Self::Destroy | Self::Rollback | Self::Repair)
    }

    /// What a new run of this kind does to an older one of the same deployment that waits, or, of a check for drift, works.
    ///
    /// It takes the place of those that would do the same: change it, show a plan, or look for drift. And whoever wants
    /// something of a deployment does not wait behind a check for drift.
    pub const fn displaces(self, older: Self) -> Option<Displaced> {
        match (self, older) {
            (Self::Drift, Self::Drift) | (Self::Plan, Self::Plan) => Some(Displaced::Superseded),
            (Self::Drift, _) => None,
            (_, Self::Drift) => Some(Displaced::Cancelled),
            _ if self.mutates() && older.mutates() => Some(Displaced::Superseded),
            _ => None,
        }
    }
}

/// What becomes of an older run when a newer one of the same deployment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Displaced {
    /// The newer one takes its place, if it waits.
    Superseded,
    /// It is stopped, also while it works.
    Cancelled,
}

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum RunPhase {
    Pending,
    Queued,
    Preparing,
    Planning,
    Checking,
    AwaitingApproval,
    ApplyQueued,
    Applying,
    Verifying,
    Recovering,
    Done,
}

impl RunPhase {
    /// Its name in the contract and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Queued => "QUEUED",
            Self::Preparing => "PREPARING",
            Self::Planning => "PLANNING",
            Self::Checking => "CHECKING",
            Self::AwaitingApproval => "AWAITING_APPROVAL",
            Self::ApplyQueued => "APPLY_QUEUED",
            Self::Applying => "APPLYING",
            Self::Verifying => "VERIFYING",
            Self::Recovering => "RECOVERING",
            Self::Done => "DONE",
        }
    }

    /// A runner holds a lease on it.
    pub const fn is_leased(self) -> bool {
        matches!(self, Self::Preparing | Self::Planning | Self::Applying)
    }

    /// It waits for a runner to take it.
    pub const fn is_claimable(self) -> bool {
        matches!(self, Self::Queued | Self::ApplyQueued | Self::Recovering)
    }

    /// It has a place among what waits, for a runner or for a person, and nothing of it is under way.
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Pending | Self::Queued | Self::AwaitingApproval | Self::ApplyQueued)
    }

    /// Its apply has begun, so the deployment is locked.
    pub const fn holds_lock(self) -> bool {
        matches!(self, Self::Applying | Self::Verifying | Self::Recovering)
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum RunOutcome {
    Succeeded,
    NoChanges,
    Rejected,
    QuotaBlocked,
    Expired,
    Cancelled,
    Superseded,
    Stale,
    Failed,
    Lost,
}

impl RunOutcome {
    /// Its name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "SUCCEEDED",
            Self::NoChanges => "NO_CHANGES",
            Self::Rejected => "REJECTED",
            Self::QuotaBlocked => "QUOTA_BLOCKED",
            Self::Expired => "EXPIRED",
            Self::Cancelled => "CANCELLED",
            Self::Superseded => "SUPERSEDED",
            Self::Stale => "STALE",
            Self::Failed => "FAILED",
            Self::Lost => "LOST",
        }
    }
}

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct WaitingOn {
    pub reason: WaitingReason,
    pub detail: String,
    pub resource: String,
    pub since: Timestamp,
}

/// Kinds of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum WaitingReason {
    Runner,
    Approval,
    Lock,
    Quota,
    Lease,
    RunnersAbsent,
    RunnersBusy,
    RunnersDraining,
    EngineMissing,
    TenantSuspended,
    Protection,
    Recovery,
    Dependency,
}

/// What went wrong in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct RunError {
    pub code: String,
    pub message: String,
    pub address: String,
    pub hint: String,
    pub retryable: bool,
}

impl RunError {
    /// An error of the run as a whole.
    pub fn new(code: &str, message: impl Into<String>, hint: &str, retryable: bool) -> Self {
        Self { code: code.to_owned(), message: message.into(), address: String::new(), hint: hint.to_owned(), retryable }
    }
}

/// One step of an apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct RunStep {
    pub action: ChangeAction,
    /// Kind of the resource.
    #[serde(default)]
    pub kind: String,
    /// Whether it can be undone.
    #[serde(default)]
    pub reversibility: Reversibility,
    pub state: StepState,
    pub error: String,
    pub start_time: Option<Timestamp>,
    pub end_time: Option<Timestamp>,
}

impl RunStep {
    /// A step that has not begun.
    pub fn pending(change: PlannedChange) -> Self {
        let PlannedChange { action, kind, reversibility } = change;
        Self { action, kind, reversibility, state: StepState::Pending, error: String::new(), start_time: None, end_time: None }
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum StepState {
    Pending,
    Started,
    Done,
    Failed,
    Unknown,
    Skipped,
}

/// What [`Run::new`] needs.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields of the run that it begins with")]
pub struct NewRun {
    pub name: RunName,
    pub kind: RunKind,
    pub deployment: Uid,
    pub pool: RunnerPoolName,
    pub blueprint_version: VersionName,
    pub blueprint_version_uid: Uid,
    pub inputs: serde_json::Map<String, serde_json::Value>,
    pub engine: String,
    pub target_revision: i64,
    pub generation: i64,
    pub auto_apply: bool,
    /// What the environment asks for, until there is a plan to ask for more.
    pub demand: Demand,
    pub creator: Principal,
    pub message: String,
    pub dependencies: Vec<Dependency>,
    pub resolved: bool,
}

impl Run {
    /// A new run, waiting for a runner to plan it.
    pub fn new(new: NewRun, now: Timestamp) -> Self {
        let mut run = Self {
            name: new.name,
            version: 1,
            kind: new.kind,
            phase: RunPhase::Queued,
            outcome: None,
            waiting_on: None,
            deployment: new.deployment,
            pool: new.pool,
            blueprint_version: new.blueprint_version,
            blueprint_version_uid: new.blueprint_version_uid,
            inputs: new.inputs,
            engine: new.engine,
            target_revision: new.target_revision,
            target_state: 0,
            generation: new.generation,
            auto_apply: new.auto_apply,
            limited_to: None,
            demand: new.demand,
            plan: None,
            approval: None,
            approvals: Vec::new(),
            error: None,
            epoch: 0,
            runner: None,
            ask: None,
            incarnation: None,
            attempt: 0,
            reported: 0,
            outlives_seconds: 0,
            held_until: None,
            job_begin_time: None,
            job_end_time: None,
            steps: BTreeMap::new(),
            cancel_requested: false,
            changed: false,
            create_time: now,
            update_time: now,
            end_time: None,
            deadline: Some(now.plus(QUEUE_WAIT)),
            creator: new.creator,
            message: new.message,
            sandbox: String::new(),
            dependencies: new.dependencies,
            resolved: new.resolved,
            holders: Vec::new(),
            late_results: Vec::new(),
        };
        run.wait_for_runner(now);
        run
    }

    /// Its uid.
    pub fn uid(&self) -> Uid {
        self.name.run
    }

    /// Changes with every step.
    pub fn etag(&self) -> String {
        crate::resource::etag(self.uid(), self.version)
    }

    /// Whether a plan that was just made says nothing true any more: the state has moved on since it was read, or another run is
    /// moving it while this plan would be taken for the end.
    pub fn is_outdated(&self, plan: &PlanFacts, deployment: &Deployment) -> bool {
        let moved = plan.base_serial != deployment.state_serial;
        let moving = deployment.active_run.is_some_and(|holder| holder != self.uid());
        match self.kind {
            RunKind::Plan => false,
            RunKind::Drift => moved || moving,
            RunKind::Apply | RunKind::Destroy | RunKind::Rollback | RunKind::Repair => moved || moving && plan.is_empty(),
        }
    }

    /// It has ended.
    pub fn is_done(&self) -> bool {
        self.phase == RunPhase::Done
    }

    /// Says that it waits for nothing but a runner.
    pub fn waits_for_runner(&mut self, now: Timestamp) {
        let since = self.waiting_on.as_ref().map_or(now, |on| on.since);
        self.wait_for_runner(since);
    }

    fn wait_for_runner(&mut self, now: Timestamp) {
        self.waiting_on = Some(WaitingOn {
            reason: WaitingReason::Runner,
            detail: format!("a free runner of {} with the engine `{}`", self.pool, self.engine),
            resource: self.pool.to_string(),
            since: now,
        });
    }
}
