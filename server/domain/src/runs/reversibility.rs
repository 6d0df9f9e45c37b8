//! Whether changes can be undone.

use serde::{Deserialize, Serialize};

/// Whether a change can be undone by going back to the revision before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reversibility {
    /// A rollback makes it as it was.
    Reversible,
    /// A rollback makes it again, without some of the data that was in it.
    ReversibleWithDataLoss,
    /// What is lost cannot be made again.
    Irreversible,
    /// The engine cannot tell, or does not say.
    #[default]
    Unknown,
}

impl Reversibility {
    /// Its name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reversible => "REVERSIBLE",
            Self::ReversibleWithDataLoss => "REVERSIBLE_WITH_DATA_LOSS",
            Self::Irreversible => "IRREVERSIBLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// How many changes of a plan can be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "one for each value")]
pub struct ReversibilityCounts {
    pub reversible: i32,
    pub data_loss: i32,
    pub irreversible: i32,
    pub unknown: i32,
}

impl FromIterator<Reversibility> for ReversibilityCounts {
    fn from_iter<I: IntoIterator<Item = Reversibility>>(changes: I) -> Self {
        changes.into_iter().fold(Self::default(), |mut counts, change| {
            *match change {
                Reversibility::Reversible => &mut counts.reversible,
                Reversibility::ReversibleWithDataLoss => &mut counts.data_loss,
                Reversibility::Irreversible => &mut counts.irreversible,
                Reversibility::Unknown => &mut counts.unknown,
            } += 1;
            counts
        })
    }
}
