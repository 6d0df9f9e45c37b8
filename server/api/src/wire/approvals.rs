//! Approvals of a run, and what they are measured by.

use freehold_domain::runs::{Approval, Run};
use freehold_proto::deployments::v1 as pb;

use super::render;

/// What the plan of a run needs, and how much of it is there.
pub(super) fn demand(run: &Run) -> pb::ApprovalDemand {
    let (demand, require) = (&run.demand, &run.demand.require);
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    pb::ApprovalDemand {
        approval_policy: demand.policy.as_ref().map(ToString::to_string).unwrap_or_default(),
        policy_digest: demand.policy_digest.clone(),
        rule: demand.rule.clone(),
        approvals: number(require.approvals),
        satisfied: number(run.satisfied()),
        from: require.from.iter().map(ToString::to_string).collect(),
        allow_self_approval: require.allow_self_approval,
        comment_required: require.comment_required,
        plan_expire_time: run.plan_expires().map(render::time),
        fault: demand.fault.clone().unwrap_or_default(),
    }
}

/// A decision on the plan of a run.
pub(super) fn approval(run: &Run, approval: &Approval) -> pb::Approval {
    let expires = run.demand.require.expiry.filter(|_| approval.approved);
    pb::Approval {
        decision: if approval.approved { pb::ApprovalDecision::Approve } else { pb::ApprovalDecision::Reject }.into(),
        principal: approval.principal.to_string(),
        plan_digest: approval.plan_digest.clone(),
        comment: approval.comment.clone(),
        create_time: Some(render::time(approval.create_time)),
        review_digest: approval.review_digest.clone(),
        channel: approval.channel.clone(),
        expire_time: expires.map(|expiry| render::time(approval.create_time.plus(expiry))),
        withdraw_time: approval.withdraw_time.map(render::time),
        void_reason: approval.void.clone().unwrap_or_default(),
    }
}
