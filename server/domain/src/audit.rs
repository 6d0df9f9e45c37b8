//! What is kept of who did what.

use serde::{Deserialize, Serialize};

use crate::time::{Timestamp, Uid};

/// One thing that somebody did or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct AuditRecord {
    pub uid: Uid,
    pub time: Timestamp,
    pub principal: String,
    pub proof: String,
    pub method: String,
    pub permission: String,
    pub resource: String,
    /// Why it was denied; `None` when it was allowed.
    pub denied: Option<String>,
    pub request_id: String,
    pub trace_id: String,
    pub source_address: String,
    /// What changed, as JSON, without secrets.
    pub change: String,
    /// Digest of the receipt that was signed in the same transaction; empty when none was.
    #[serde(default)]
    pub receipt_digest: String,
}

/// Something that happened to a resource, announced in the transaction that made it happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened, for example `project.created`.
    pub kind: String,
    /// The resource.
    pub resource: String,
    /// Its uid; events of one uid are in the order of their versions.
    pub uid: Uid,
    /// Its version after the change.
    pub version: i64,
    /// Facts for readers, as JSON, without secrets.
    pub data: serde_json::Value,
}

impl Event {
    /// An event without further facts.
    pub fn new(kind: &str, resource: impl ToString, uid: Uid, version: i64) -> Self {
        Self { kind: kind.to_owned(), resource: resource.to_string(), uid, version, data: serde_json::Value::Null }
    }

    /// Adds facts.
    #[must_use]
    pub fn with(mut self, data: serde_json::Value) -> Self {
        self.data = data;
        self
    }
}
