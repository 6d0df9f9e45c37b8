//! What is known of each step of an apply, kept by the server so that another runner can go on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The latest word on one step.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The resource, `type.name`.
    pub address: String,
    /// Identity of the step in its run; the same in every attempt.
    pub step_id: String,
    /// How far it is.
    pub state: JournalState,
    /// What the engine needs to go on, as JSON; may hold secrets.
    pub data: Vec<u8>,
    /// Why it failed; empty otherwise.
    pub error: String,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JournalState {
    /// Its effect may have begun.
    Intended,
    /// Its effect is there.
    Done,
    /// It failed.
    Failed,
    /// Nobody can tell whether its effect is there.
    Unknown,
    /// Not begun, because a step before it is not done.
    Skipped,
}

impl JournalState {
    /// The name used in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }

    /// From the name used in the contract.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Intended, Self::Done, Self::Failed, Self::Unknown, Self::Skipped].into_iter().find(|state| state.as_str() == name)
    }
}

/// Says which step, never its data.
impl fmt::Debug for JournalEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalEntry")
            .field("address", &self.address)
            .field("step_id", &self.step_id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
