//! Long work that is not a run.

use serde::{Deserialize, Serialize};

use crate::{
    names::{OperationName, TenantName},
    time::{Timestamp, Uid},
};

/// Long work that is not a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Operation {
    pub name: OperationName,
    pub kind: String,
    pub target: String,
    pub done: bool,
    /// Reason and text of a failure.
    pub error: Option<(String, String)>,
    pub result_names: Vec<String>,
    pub create_time: Timestamp,
    pub update_time: Timestamp,
}

impl Operation {
    /// Work that was done within the call that asked for it.
    pub fn done(kind: &str, target: impl ToString, tenant: &TenantName, uid: Uid, now: Timestamp) -> Self {
        Self {
            name: OperationName { tenant: tenant.tenant.clone(), operation: uid },
            kind: kind.to_owned(),
            target: target.to_string(),
            done: true,
            error: None,
            result_names: Vec::new(),
            create_time: now,
            update_time: now,
        }
    }
}
