//! What an engine remembers of the resources it made.

use std::{collections::BTreeMap, fmt};

use freehold_domain::deployments::ManagedResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{OutputValue, Snapshot, StepError};

/// Attributes of a resource by name. An absent attribute and a null one are the same.
pub type Attributes = BTreeMap<String, Value>;

/// The resources of one deployment. Holds secrets: it is kept sealed and never shown.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Grows by one with each change.
    pub serial: u64,
    /// Stays the same for the life of the deployment.
    pub lineage: String,
    /// What exists, in the order of addresses.
    pub resources: BTreeMap<String, Resource>,
    /// Outputs as of the last apply.
    #[serde(default)]
    pub outputs: BTreeMap<String, OutputValue>,
}

/// One resource that exists.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// `type.name`.
    pub address: String,
    /// Kind of resource, for example `file`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name in the blueprint.
    pub name: String,
    /// What its provider calls it.
    pub id: String,
    /// As it was made.
    pub attributes: Attributes,
    /// Attributes whose values are secret.
    #[serde(default)]
    pub sensitive: Vec<String>,
    /// Addresses it was made from; they are destroyed after it.
    #[serde(default)]
    pub depends_on: Vec<String>,
}

impl State {
    /// Most bytes a state may take as JSON.
    pub const MAX_BYTES: usize = 4 << 20;

    /// A state without resources.
    pub fn empty(lineage: impl Into<String>) -> Self {
        Self { lineage: lineage.into(), ..Self::default() }
    }

    /// Reads a state from its JSON.
    ///
    /// # Errors
    /// `state-invalid` when it is none, or is larger than [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StepError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(invalid(format!("the state has {} bytes, more than {}", bytes.len(), Self::MAX_BYTES)));
        }
        serde_json::from_slice(bytes).map_err(|error| invalid(format!("the state cannot be read: {error}")))
    }

    /// The state as JSON; equal states give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps with text keys always have a JSON form")
    }

    /// The state as engines hand it over.
    pub fn snapshot(&self) -> Snapshot {
        let managed = |resource: &Resource| ManagedResource {
            address: resource.address.clone(),
            kind: resource.kind.clone(),
            id: resource.id.clone(),
            depends_on: resource.depends_on.clone(),
        };
        Snapshot { bytes: self.to_bytes(), resources: self.resources.values().map(managed).collect() }
    }
}

fn invalid(message: String) -> StepError {
    StepError::new("state-invalid", message).hint("restore an earlier state version of the deployment")
}

/// Names what is there, never what is in it.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("serial", &self.serial)
            .field("lineage", &self.lineage)
            .field("resources", &self.resources.keys())
            .finish_non_exhaustive()
    }
}

/// Names the resource, never what is in it.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource").field("address", &self.address).finish_non_exhaustive()
    }
}
