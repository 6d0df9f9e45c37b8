//! Projects: groups of environments inside one tenant, the unit that roles are given on.

use serde::{Deserialize, Serialize};

use crate::{
    names::{ApprovalPolicyName, ProjectName},
    resource::Meta,
};

/// A group of environments inside one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Project {
    pub name: ProjectName,
    pub meta: Meta,
    pub description: String,
    /// Policy of environments that name none.
    #[serde(default)]
    pub approval_policy: Option<ApprovalPolicyName>,
}
