//! Drift: what is not as it was made. When it is looked for, what was found, who has it, and what is accepted.

mod exception;
mod glob;
mod item;
mod policy;
mod reconcile;

use serde::{Deserialize, Serialize};

use crate::{
    deployments::DeploymentState,
    runs::{Run, RunKind, RunOutcome},
    time::Timestamp,
};

pub use exception::{DriftException, Matcher, Seen, expiry};
pub use glob::checked as pattern;
pub use item::{DriftClass, DriftItem, DriftItemState, Drifted, Finding, Findings, Values};
pub use policy::{DriftPolicy, Remediation, Schedule};
pub use reconcile::{Check, Known, News, Outcome, Written, reconcile, remedy_set};

/// How a look for drift ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriftState {
    /// There was none yet.
    #[default]
    Unchecked,
    /// Reality is as it was made.
    Clean,
    /// It is not.
    Drifted,
    /// It could not be found out.
    Errored,
    /// It was left out, or stopped.
    Skipped,
}

/// The last look for drift at a deployment, and what its schedule needs to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftStatus {
    /// How it ended.
    pub state: DriftState,
    /// Why, in words; empty when it is as it was made.
    pub reason: String,
    /// When.
    pub time: Option<Timestamp>,
    /// When the schedule last had its turn.
    pub served: Option<Timestamp>,
    /// What was found has not been looked at for a remedy yet.
    pub remedy_due: bool,
    /// Digest of the set of items that a run was last begun to put right.
    pub remedied: String,
}

impl DriftStatus {
    /// Takes over how a look ended; answers whether that is news.
    pub fn ended(&mut self, state: DriftState, reason: String, now: Timestamp) -> bool {
        let news = self.state != state || self.reason != reason;
        (self.state, self.reason, self.time) = (state, reason, Some(now));
        news
    }

    /// Takes over that a run has made the deployment real, or removed it.
    pub fn applied(&mut self, state: DeploymentState, now: Timestamp) {
        match state {
            DeploymentState::Active => {
                self.served.get_or_insert(now);
                if self.state == DriftState::Drifted {
                    self.ended(DriftState::Clean, "an apply has made it as it should be".to_owned(), now);
                }
            }
            DeploymentState::Destroyed | DeploymentState::Abandoned => *self = Self::default(),
            DeploymentState::New | DeploymentState::Partial | DeploymentState::Quarantined => {}
        }
        self.remedy_due = false;
    }
}

impl Run {
    /// How the look for drift ended that this run is, and why; `None` for another kind of run, and before the end.
    pub fn drift_check(&self) -> Option<(DriftState, String)> {
        let outcome = self.outcome.filter(|_| self.kind == RunKind::Drift)?;
        let drifted = self.plan.as_ref().map_or(0, |plan| plan.drifted);
        let error = || self.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
        Some(match outcome {
            RunOutcome::Succeeded | RunOutcome::NoChanges if drifted == 0 => (DriftState::Clean, String::new()),
            RunOutcome::Succeeded | RunOutcome::NoChanges => {
                (DriftState::Drifted, format!("{drifted} resources are not as they were made"))
            }
            RunOutcome::Cancelled => (DriftState::Skipped, "it was stopped before its end".to_owned()),
            RunOutcome::Superseded => (DriftState::Skipped, "another run took its place".to_owned()),
            RunOutcome::Stale => (DriftState::Skipped, "another run was changing the deployment meanwhile".to_owned()),
            RunOutcome::Expired => (DriftState::Errored, "no runner took it".to_owned()),
            RunOutcome::QuotaBlocked => (DriftState::Errored, format!("a quota is used up{}", error())),
            RunOutcome::Failed | RunOutcome::Lost | RunOutcome::Rejected => {
                (DriftState::Errored, format!("it failed{}", error()))
            }
        })
    }
}

#[cfg(test)]
mod tests;
