//! Approvals of runs, and what they are measured by.

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;

use crate::wire::{resource, values};

resource! {
    /// A decision on one plan.
    Approval = pb::Approval {
        /// Yes or no.
        decision: ApprovalDecision,
        /// Who.
        principal: String,
        /// The plan it is about.
        plan_digest: String,
        /// Why.
        comment: Option<String>,
        /// When.
        create_time: Option<Timestamp>,
        /// Digest of what else was reviewed: blueprint version and inputs.
        review_digest: Option<String>,
        /// How who approved was proven: `certificate`, `token`, or the connector of a linked account, such as `slack`.
        channel: Option<String>,
        /// When it stops to count; absent when it counts for as long as the run waits.
        expire_time: Option<Timestamp>,
        /// When it was withdrawn.
        withdraw_time: Option<Timestamp>,
        /// Why it does not count; absent when it does.
        void_reason: Option<String>,
    }
}

impl Approval {
    /// It is a yes that counts.
    pub fn counts(&self) -> bool {
        self.decision == ApprovalDecision::Approve && self.void_reason.is_none()
    }
}

values! {
    /// Yes or no.
    ApprovalDecision {
        /// Yes.
        Approve = 1 "APPROVE",
        /// No.
        Reject = 2 "REJECT",
    }
}

resource! {
    /// What has to be there before a plan is applied, and how much of it is.
    ApprovalDemand = pb::ApprovalDemand {
        /// The policy that asks for it; absent when the environment itself does.
        approval_policy: Option<String>,
        /// Digest of that policy's rules.
        policy_digest: Option<String>,
        /// The rule that matched; absent when the environment itself asks for it.
        rule: Option<String>,
        /// How many people have to approve it.
        approvals: i32,
        /// How many of them have.
        satisfied: i32,
        /// Whose approvals count; empty means everybody who may approve.
        from: Vec<String>,
        /// The author may be one of them.
        allow_self_approval: bool,
        /// Who approves has to say why.
        comment_required: bool,
        /// When the plan is too old to be applied; absent when it never is.
        plan_expire_time: Option<Timestamp>,
        /// Why the policy cannot be evaluated for this plan; nothing is applied then.
        fault: Option<String>,
    }
}
