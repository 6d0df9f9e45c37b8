//! What server and runner say to each other inside a job, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::secrets::SecretRead;

/// What a plan is made of.
#[derive(Clone, Serialize, Deserialize)]
pub struct PlanWork {
    /// Everything is to be removed.
    pub destroy: bool,
    /// Files of the blueprint: path, and base64 of the content.
    pub files: Vec<(String, String)>,
    /// Inputs, complete and checked but for those in `secrets`; may hold secrets.
    pub inputs: Map<String, Value>,
    /// Inputs that the runner reads from stores of the tenant, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRead>,
    /// Uid of the deployment.
    pub deployment_uid: String,
    /// Name of the deployment.
    pub deployment: String,
    /// Newest state in base64, as the engine wrote it; absent before the first.
    pub state: Option<String>,
    /// Serial of that state; 0 before the first.
    pub serial: i64,
}
