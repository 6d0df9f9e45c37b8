//! What a run's plan is.

use serde::{Deserialize, Serialize};

use super::{Reversibility, ReversibilityCounts};
use crate::{approvals::Reviewed, time::Timestamp};

/// What the server needs to know of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct PlanFacts {
    pub digest: String,
    pub base_serial: i64,
    pub create: i32,
    pub update: i32,
    pub replace: i32,
    pub delete: i32,
    pub unchanged: i32,
    pub drifted: i32,
    /// Outputs would change.
    pub outputs_change: bool,
    /// How many of the changes can be undone.
    #[serde(default)]
    pub reversibility: ReversibilityCounts,
    /// How firmly an apply keeps to it.
    #[serde(default)]
    pub binding: PlanBinding,
    /// What was reviewed beside its bytes.
    #[serde(default)]
    pub reviewed: Reviewed,
    /// When it was made.
    #[serde(default)]
    pub create_time: Timestamp,
}

/// How firmly an apply keeps to its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlanBinding {
    /// Just these steps.
    Exact,
    /// These steps after another look.
    Revalidated,
    /// What the engine then finds; also where an engine does not say.
    #[default]
    IntentOnly,
}

impl PlanBinding {
    /// Its name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "EXACT",
            Self::Revalidated => "REVALIDATED",
            Self::IntentOnly => "INTENT_ONLY",
        }
    }
}

impl PlanFacts {
    /// There is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.create + self.update + self.replace + self.delete == 0 && !self.outputs_change
    }
}

/// What a plan does to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedChange {
    /// What is done.
    pub action: ChangeAction,
    /// Kind of the resource, for example `file`.
    pub kind: String,
    /// Whether it can be undone.
    pub reversibility: Reversibility,
}

/// What a plan does to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum ChangeAction {
    Create,
    Update,
    Replace,
    Delete,
    Noop,
}

impl ChangeAction {
    /// Its name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Replace => "REPLACE",
            Self::Delete => "DELETE",
            Self::Noop => "NOOP",
        }
    }
}
