//! A plan: everything that an apply needs, and nothing it may still decide.

use std::{collections::BTreeMap, fmt};

use freehold_domain::{
    blueprints::{DeploymentFacts, File, Files},
    runs::Reversibility,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Resource, State};
use crate::{Action, DeploymentIdentity, Mode, OutputValue, StepError};

/// What an apply does, in every detail. Holds secrets: it is kept sealed; people see its [`Summary`](crate::Summary).
#[derive(Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this form.
    pub format: u32,
    /// The engine that made it.
    pub engine: String,
    /// Uid of the run.
    pub run: String,
    /// The deployment.
    pub deployment: DeploymentIdentity,
    /// What it reaches.
    pub mode: Mode,
    /// Serial of the state it was made against; 0 when there was none.
    pub base_serial: u64,
    /// Lineage of that state.
    pub base_lineage: String,
    /// Files of the blueprint version, for values that are known only during the apply.
    #[serde(with = "files")]
    pub files: Files,
    /// Inputs.
    pub inputs: Map<String, Value>,
    /// That state, with what was found when the plan was made.
    pub state: State,
    /// One for each resource, in the order of addresses.
    pub changes: BTreeMap<String, Change>,
    /// Effects on the world, each after those it needs.
    pub steps: Vec<Step>,
    /// Outputs.
    pub outputs: BTreeMap<String, PlannedOutput>,
}

/// What becomes of one resource.
#[derive(Clone, Serialize, Deserialize)]
pub struct Change {
    /// `type.name`.
    pub address: String,
    /// Kind of resource.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name in the blueprint.
    pub name: String,
    /// Identity of the step in its run.
    pub step_id: String,
    /// What is done; in a report on drift, what happened.
    pub action: Action,
    /// As it is; nothing when it does not exist.
    pub before: Option<Resource>,
    /// As it will be; empty when it is removed.
    pub after: BTreeMap<String, Planned>,
    /// Attributes whose values are secret.
    pub sensitive: Vec<String>,
    /// Attributes that cannot be changed in place, and change.
    pub replaced_by: Vec<String>,
    /// Addresses that come first.
    pub depends_on: Vec<String>,
    /// Why it is replaced, or what happened to it outside; may be empty.
    pub reason: String,
    /// It is not as it was made.
    pub drifted: bool,
    /// Whether it can be undone by going back to the revision before.
    #[serde(default)]
    pub reversibility: Reversibility,
}

/// A value, as far as it is known.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Planned {
    /// This value.
    Known(Value),
    /// It is known only during the apply.
    Unknown,
}

/// One effect on the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Identity of the change in its run; both halves of a replacement have the same.
    pub step_id: String,
    /// The resource.
    pub address: String,
    /// The effect.
    pub operation: Operation,
    /// Places in the list of steps that must be done before.
    pub after: Vec<usize>,
}

/// Kinds of effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Makes a resource.
    Create,
    /// Changes it in place.
    Update,
    /// Removes it.
    Delete,
}

/// What becomes of one output.
#[derive(Clone, Serialize, Deserialize)]
pub struct PlannedOutput {
    /// As it was.
    pub before: Option<OutputValue>,
    /// As it will be; nothing when it goes away.
    pub after: Option<Planned>,
    /// Its value is secret.
    pub sensitive: bool,
}

impl Plan {
    /// The form that this version writes and reads.
    pub const FORMAT: u32 = 1;

    /// Reads a plan from its JSON.
    ///
    /// # Errors
    /// `plan-invalid` when it is none, or one of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StepError> {
        let invalid = |message: String| StepError::new("plan-invalid", message).hint("make a new plan");
        let plan: Self = serde_json::from_slice(bytes).map_err(|error| invalid(format!("the plan cannot be read: {error}")))?;
        if plan.format != Self::FORMAT {
            return Err(invalid(format!("the plan has form {}, and this runner reads form {}", plan.format, Self::FORMAT)));
        }
        Ok(plan)
    }

    /// The plan as JSON; what is approved is the digest of these bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps with text keys always have a JSON form")
    }

    /// An apply of it would change nothing, not even an output.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.outputs.values().all(|output| output.action() == Action::Noop)
    }
}

impl PlannedOutput {
    /// What becomes of it. A value that is not known yet counts as another one.
    pub fn action(&self) -> Action {
        match (&self.before, &self.after) {
            (None, None) => Action::Noop,
            (None, Some(_)) => Action::Create,
            (Some(_), None) => Action::Delete,
            (Some(before), Some(Planned::Known(after))) if before.value == *after && before.sensitive == self.sensitive => {
                Action::Noop
            }
            (Some(_), Some(_)) => Action::Update,
        }
    }
}

impl DeploymentIdentity {
    /// What expressions may read of it.
    pub(crate) fn facts(&self) -> DeploymentFacts {
        DeploymentFacts {
            name: self.name.clone(),
            id: self.name.rsplit('/').next().unwrap_or_default().to_owned(),
            tenant: self.tenant.clone(),
            project: self.project.clone(),
            environment: self.environment.clone(),
        }
    }
}

impl Planned {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&Value> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown => None,
        }
    }
}

/// Names what it is about, never values.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("run", &self.run)
            .field("deployment", &self.deployment)
            .field("base_serial", &self.base_serial)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

/// Names what it is about, never values.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("address", &self.address).field("action", &self.action).finish_non_exhaustive()
    }
}

/// Files as a map from their paths to their bytes in base64.
mod files {
    use std::collections::BTreeMap;

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::{File, Files};

    pub(super) fn serialize<S: Serializer>(files: &Files, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(files.iter().map(|(path, content)| (path, STANDARD.encode(content))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Files, D::Error> {
        let mut files = Vec::new();
        for (path, encoded) in BTreeMap::<String, String>::deserialize(deserializer)? {
            let content = STANDARD.decode(encoded).map_err(|_| D::Error::custom(format!("the file `{path}` is not base64")))?;
            files.push(File { path, content });
        }
        Files::new(files).map_err(|wrong| {
            D::Error::custom(wrong.iter().map(|one| format!("{}: {}", one.field, one.description)).collect::<Vec<_>>().join("; "))
        })
    }
}
