//! What a plan needs, by the rules as they are now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ApprovalPolicy, Requirement, SUBJECTS};
use crate::{
    access::Principal,
    blueprints::{Condition, Facts},
    deployments::Deployment,
    environments::Environment,
    names::{ApprovalPolicyName, VersionName},
    runs::{PlanFacts, PlannedChange, RunKind},
};

/// What a plan needs before it is applied, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// The policy; `None` when the environment's own settings decide.
    pub policy: Option<ApprovalPolicyName>,
    /// Digest of its rules.
    pub policy_digest: String,
    /// The rule that matched; empty when none did.
    pub rule: String,
    /// What it asks for.
    pub require: Requirement,
    /// Why that cannot be said; nothing is applied then.
    pub fault: Option<String>,
}

/// The strictest that is not impossible: of a run whose demand was never looked at.
impl Default for Demand {
    fn default() -> Self {
        let require = Requirement { approvals: 1, ..Requirement::default() };
        Self { policy: None, policy_digest: String::new(), rule: String::new(), require, fault: None }
    }
}

impl Demand {
    /// What an environment asks for by itself.
    pub fn of(environment: &Environment) -> Self {
        let require = Requirement {
            approvals: u32::from(environment.needs_approval()),
            allow_self_approval: environment.allow_self_approval,
            ..Requirement::default()
        };
        Self { require, ..Self::default() }
    }

    /// What a policy asks for in an environment, given what is known of a plan. The first rule that matches decides, and the
    /// environment where none does. A rule that cannot be evaluated ends the search: what comes after it might be laxer.
    pub fn by(policy: Option<&ApprovalPolicy>, environment: &Environment, facts: &Facts) -> Self {
        let Some(policy) = policy else { return Self::of(environment) };
        let named = Self { policy: Some(policy.name.clone()), policy_digest: policy.digest(), ..Self::of(environment) };
        for rule in &policy.rules {
            let holds = match Condition::parse(&rule.when, SUBJECTS) {
                Ok(condition) => condition.holds(facts),
                Err(wrong) => Err(wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
            };
            match holds {
                Ok(false) => {}
                Ok(true) => return Self { rule: rule.name.to_string(), require: rule.require.clone(), ..named },
                Err(why) => {
                    let require = Requirement { approvals: 1, ..Requirement::default() };
                    return Self { rule: rule.name.to_string(), require, fault: Some(why), ..named };
                }
            }
        }
        named
    }

    /// Somebody has to approve.
    pub fn needs_approval(&self) -> bool {
        self.require.approvals > 0 || self.fault.is_some()
    }
}

/// What rules can read of a plan and of what it is for.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Planned<'a> {
    pub environment: &'a Environment,
    pub deployment: &'a Deployment,
    pub version: &'a VersionName,
    pub kind: RunKind,
    pub author: &'a Principal,
    pub plan: &'a PlanFacts,
    pub changes: &'a BTreeMap<String, PlannedChange>,
}

/// The same as facts of conditions.
pub fn facts(of: Planned<'_>) -> Facts {
    let Planned { environment, deployment, version, kind, author, plan, changes } = of;
    let changes: Vec<Value> = changes
        .iter()
        .map(|(address, change)| {
            json!({
                "address": address,
                "type": change.kind,
                "action": change.action.as_str(),
                "reversibility": change.reversibility.as_str(),
            })
        })
        .collect();
    let author_kind = match author {
        Principal::Platform(_) => "PLATFORM",
        Principal::User(_) => "USER",
        Principal::ServiceAccount(_) => "SERVICE_ACCOUNT",
        Principal::Runner(_) => "RUNNER",
        Principal::Server => "SERVER",
    };
    let subjects = [
        (
            "plan",
            json!({
                "create": plan.create,
                "update": plan.update,
                "replace": plan.replace,
                "delete": plan.delete,
                "unchanged": plan.unchanged,
                "drifted": plan.drifted,
                "outputs_change": plan.outputs_change,
                "reversible": plan.reversibility.reversible,
                "data_loss": plan.reversibility.data_loss,
                "irreversible": plan.reversibility.irreversible,
                "unknown": plan.reversibility.unknown,
                "changes": changes,
            }),
        ),
        (
            "environment",
            json!({
                "name": environment.name,
                "id": environment.name.environment,
                "project": environment.name.project,
                "kind": environment.kind.as_str(),
                "labels": environment.meta.labels,
            }),
        ),
        (
            "deployment",
            json!({
                "name": deployment.name,
                "id": deployment.name.deployment,
                "labels": deployment.meta.labels,
                "blueprint": version.blueprint,
                "version": version.version.to_string(),
            }),
        ),
        ("author", json!({ "principal": author, "kind": author_kind })),
        ("run", json!({ "kind": kind.as_str() })),
    ];
    let object = |value: Value| if let Value::Object(fields) = value { fields } else { Map::new() };
    subjects.into_iter().map(|(name, fields)| (name.to_owned(), object(fields))).collect()
}
