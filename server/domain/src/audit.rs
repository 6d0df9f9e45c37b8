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
