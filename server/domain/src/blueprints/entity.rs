//! Blueprints as resources: a draft that changes, and versions that never do.

use serde::{Deserialize, Serialize};

use super::Source;
use crate::{
    names::{BlueprintName, VersionName},
    resource::{Meta, etag},
    time::{Timestamp, Uid},
};

/// A reviewed description of infrastructure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Blueprint {
    pub name: BlueprintName,
    pub meta: Meta,
    pub description: String,
    /// Highest published version without a pre-release, as text; empty before the first.
    pub latest_version: String,
    pub draft: Option<Draft>,
}

/// What is known of a draft without reading its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Draft {
    pub version: i64,
    pub digest: String,
    pub update_time: Timestamp,
    /// Where all of its files come from; none when somebody has written them.
    #[serde(default)]
    pub sources: Vec<Source>,
}

impl Blueprint {
    /// Etag of the draft; empty when there is none.
    pub fn draft_etag(&self) -> String {
        self.draft.as_ref().map(|draft| format!("draft-{}", etag(self.meta.uid, draft.version))).unwrap_or_default()
    }
}

/// Published files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct BlueprintVersion {
    pub name: VersionName,
    pub meta: Meta,
    pub digest: String,
    pub engine: String,
    pub input_schema: String,
    pub outputs: Vec<String>,
    pub notes: String,
    /// Where all of its files come from; none when somebody has written them.
    #[serde(default)]
    pub sources: Vec<Source>,
}

impl BlueprintVersion {
    /// Its uid.
    pub fn uid(&self) -> Uid {
        self.meta.uid
    }
}
