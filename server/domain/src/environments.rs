//! Environments: places that deployments run in, with the rules for their runs.

use serde::{Deserialize, Serialize};

use crate::{
    drift::DriftPolicy,
    lifetimes::TtlPolicy,
    names::{ApprovalPolicyName, EnvironmentName, RunnerPoolName},
    resource::Meta,
};

/// A place that deployments run in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Environment {
    pub name: EnvironmentName,
    pub meta: Meta,
    pub kind: EnvironmentKind,
    pub runner_pool: RunnerPoolName,
    pub allow_self_approval: bool,
    pub require_approval: bool,
    #[serde(default)]
    pub require_undrifted_dependencies: bool,
    #[serde(default)]
    pub ttl: TtlPolicy,
    /// Whose approvals plans need; `None` means the project's policy.
    #[serde(default)]
    pub approval_policy: Option<ApprovalPolicyName>,
    /// How its deployments are looked at for drift; without one, [`DriftPolicy::default`] counts.
    #[serde(default)]
    pub drift_policy: Option<DriftPolicy>,
}

/// What an environment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum EnvironmentKind {
    Dev,
    Test,
    Staging,
    Prod,
}

impl EnvironmentKind {
    /// Its name in the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "DEV",
            Self::Test => "TEST",
            Self::Staging => "STAGING",
            Self::Prod => "PROD",
        }
    }
}

impl Environment {
    /// Whether every apply in it needs an approval.
    pub fn needs_approval(&self) -> bool {
        self.require_approval || self.kind == EnvironmentKind::Prod
    }
}
