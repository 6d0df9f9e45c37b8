//! Which approvals count, by the rules and the people as they are now.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{APPROVE, Approver, Demand};
use crate::{
    access::{Grant, Principal},
    runs::Run,
    time::Timestamp,
};

/// A decision on one plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Approval {
    pub approved: bool,
    pub principal: Principal,
    pub plan_digest: String,
    pub comment: String,
    pub create_time: Timestamp,
    /// Digest of what else was reviewed.
    #[serde(default)]
    pub review_digest: String,
    /// How who decided was proven.
    #[serde(default)]
    pub channel: String,
    #[serde(default)]
    pub withdraw_time: Option<Timestamp>,
    /// Why it does not count; `None` while it does.
    #[serde(default)]
    pub void: Option<String>,
}

/// What somebody who decided may do in the tenant now, past its cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Roles, and where they hold.
    pub grants: Vec<Grant>,
}

/// Of everybody who decided; who is not in it may not sign in any more.
pub type Standings = HashMap<Principal, Standing>;

impl Standing {
    /// Why an approval of this one cannot count for a run, whatever it says; `None` when it can.
    fn refusal(&self, who: &Principal, demand: &Demand, resource: &str, now: Timestamp) -> Option<String> {
        let mut held = self.grants.iter().filter(|grant| grant.holds(resource, now));
        if !held.clone().any(|grant| grant.role.allows(APPROVE)) {
            return Some(format!("{who} does not have `{APPROVE}` here"));
        }
        let from = &demand.require.from;
        let named = from.iter().any(|approver| match approver {
            Approver::Principal(principal) => principal == who,
            Approver::Role(role) => held.any(|grant| grant.role == *role),
        });
        if from.is_empty() || named {
            return None;
        }
        let from: Vec<String> = from.iter().map(ToString::to_string).collect();
        Some(format!("{who} is none of {}", from.join(", ")))
    }
}

/// Why an approval of somebody cannot count for a run; `None` when it can.
pub(crate) fn refusal(run: &Run, who: &Principal, standing: Option<&Standing>, now: Timestamp) -> Option<String> {
    if run.demand.require.approvals == 0 {
        return None;
    }
    if !run.demand.require.allow_self_approval && *who == run.creator {
        return Some("it is the author's own".to_owned());
    }
    match standing {
        None => Some(format!("{who} may not sign in any more")),
        Some(standing) => standing.refusal(who, &run.demand, &run.name.to_string(), now),
    }
}

/// Why an approval does not count for a run; `None` when it does.
pub(crate) fn void(run: &Run, approval: &Approval, standing: Option<&Standing>, now: Timestamp) -> Option<String> {
    if let Some(time) = approval.withdraw_time {
        return Some(format!("it was withdrawn at {time}"));
    }
    let digest = run.plan.as_ref().map(|plan| plan.digest.as_str());
    if digest != Some(approval.plan_digest.as_str()) || run.review_digest() != approval.review_digest {
        return Some("it is of another plan".to_owned());
    }
    let require = &run.demand.require;
    if let Some(end) = require.expiry.map(|expiry| approval.create_time.plus(expiry)).filter(|end| *end <= now) {
        return Some(format!("it expired at {end}"));
    }
    if require.approvals > 0 && require.comment_required && approval.comment.trim().is_empty() {
        return Some("it does not say why".to_owned());
    }
    refusal(run, &approval.principal, standing, now)
}
