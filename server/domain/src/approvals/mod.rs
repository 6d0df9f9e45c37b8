//! Approvals: whose word a plan needs before it is applied, what that word is about, and when it stops to count.

mod demand;
pub(crate) mod judgement;
mod review;

use std::{fmt, str::FromStr, time::Duration};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{
    access::{Principal, Role},
    blueprints::{Condition, Subject},
    error::Violations,
    names::{ApprovalPolicyName, Id, text_serde},
    resource::Meta,
};

pub use demand::{Demand, Planned, facts};
pub use judgement::{Approval, Standing, Standings};
pub use review::Reviewed;

/// The permission that every approver needs.
pub const APPROVE: &str = "deployments.runs.approve";
/// The most rules of one policy.
pub const MAX_RULES: usize = 32;
/// The most approvals that a rule may ask for.
pub const MAX_APPROVALS: u32 = 10;
/// The most roles and principals that a rule may name.
pub const MAX_FROM: usize = 32;
/// The longest time that a rule may give.
pub const MAX_TIME: Duration = Duration::from_secs(366 * 86_400);

/// What conditions of rules are about.
const SUBJECTS: &[Subject] = &[
    (
        "plan",
        &[
            "create",
            "update",
            "replace",
            "delete",
            "unchanged",
            "drifted",
            "outputs_change",
            "reversible",
            "data_loss",
            "irreversible",
            "unknown",
            "changes",
        ],
    ),
    ("environment", &["name", "id", "project", "kind", "labels"]),
    ("deployment", &["name", "id", "labels", "blueprint", "version"]),
    ("author", &["principal", "kind"]),
    ("run", &["kind"]),
];

/// Whose approval which changes need: rules, of which the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct ApprovalPolicy {
    pub name: ApprovalPolicyName,
    pub meta: Meta,
    pub description: String,
    pub rules: Vec<Rule>,
}

/// What plans of one kind need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name in the policy.
    pub name: Id,
    /// The condition as it was written.
    pub when: String,
    /// What has to be there where it holds.
    pub require: Requirement,
}

/// What has to be there before a plan is applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// How many people have to approve it.
    pub approvals: u32,
    /// Whose approvals count; empty means everybody who may approve.
    pub from: Vec<Approver>,
    /// The author of the run may be one of them.
    pub allow_self_approval: bool,
    /// How old the plan may be.
    pub max_plan_age: Option<Duration>,
    /// How long an approval counts.
    pub expiry: Option<Duration>,
    /// Who approves has to say why.
    pub comment_required: bool,
}

/// Whose approval counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approver {
    /// Whoever holds this role on the deployment or above it.
    Role(&'static Role),
    /// This one.
    Principal(Principal),
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => f.write_str(&role.name()),
            Self::Principal(principal) => principal.fmt(f),
        }
    }
}

impl FromStr for Approver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("roles/") { Role::grantable(text).map(Self::Role) } else { text.parse().map(Self::Principal) }
    }
}

text_serde!(Approver);

impl ApprovalPolicy {
    /// The digest of the rules, `sha256:…`.
    pub fn digest(&self) -> String {
        let rules = serde_json::to_vec(&self.rules).expect("rules always have a JSON form");
        let hex: String = digest(&SHA256, &rules).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}

/// Notes everything that is wrong with the rules of a policy; `field` is the one that holds them.
pub fn check(field: &str, rules: &[Rule], violations: &mut Violations) {
    if rules.is_empty() || rules.len() > MAX_RULES {
        violations.add(field, format!("1 to {MAX_RULES} rules"));
    }
    for (index, rule) in rules.iter().enumerate().take(MAX_RULES) {
        let at = |part: &str| format!("{field}[{index}].{part}");
        if rules[..index].iter().any(|earlier| earlier.name == rule.name) {
            violations.add(at("name"), format!("`{}` is the name of an earlier rule", rule.name));
        }
        for wrong in Condition::parse(&rule.when, SUBJECTS).err().unwrap_or_default() {
            violations.add(at("when"), wrong.to_string());
        }
        let require = &rule.require;
        if require.approvals > MAX_APPROVALS {
            violations.add(at("require.approvals"), format!("0 to {MAX_APPROVALS}"));
        }
        if require.from.len() > MAX_FROM {
            violations.add(at("require.from"), format!("at most {MAX_FROM} roles and principals"));
        }
        let named = |from: &Approver| matches!(from, Approver::Principal(_));
        if !require.from.is_empty()
            && require.from.iter().all(named)
            && (require.from.len() as u64) < u64::from(require.approvals)
        {
            let why = format!("names {} principals and asks for {} approvals", require.from.len(), require.approvals);
            violations.add(at("require.from"), why);
        }
        for (part, time) in [("require.max_plan_age", require.max_plan_age), ("require.expiry", require.expiry)] {
            if time.is_some_and(|time| time < Duration::from_secs(1) || time > MAX_TIME) {
                violations.add(at(part), "one second to a year");
            }
        }
    }
}

#[cfg(test)]
mod tests;
