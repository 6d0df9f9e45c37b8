//! What server and runner say to each other inside a job, as JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a plan is made of.
#[derive(Clone, Serialize, Deserialize)]
pub struct PlanWork {
    /// Everything is to be removed.
    pub destroy: bool,
    /// Files of the blueprint: path, and base64 of the content.
    pub files: Vec<(String, String)>,
    /// Inputs, complete and checked; may hold secrets.
    pub inputs: Map<String, Value>,
    /// Uid of the deployment.
    pub deployment_uid: String,
    /// Name of the deployment.
    pub deployment: String,
    /// Newest state in base64, as the engine wrote it; absent before the first.
    pub state: Option<String>,
    /// Serial of that state; 0 before the first.
    pub serial: i64,
}
