//! Decisions of people on plans: approved, applied, rejected, withdrawn; and whether they suffice.

use super::{APPROVAL_WAIT, Approval, Decision, Effect, Run, RunError, RunEvent, RunOutcome, RunPhase, WaitingOn, WaitingReason};
use crate::{
    access::Principal,
    approvals::{APPROVE, Demand, Standing, Standings, judgement},
    error::{Error, Reason, Result},
    time::Timestamp,
};

/// Approvals that are kept of one run. Who approves again and again has the oldest that does not count forgotten.
const KEPT: usize = 64;

impl Run {
    /// The run under the rules, and with the people, as they are now: what its plan needs, and which of its approvals count.
    #[must_use]
    pub fn under(mut self, demand: Demand, standings: &Standings, now: Timestamp) -> Self {
        self.demand = demand;
        let void = |approval: &Approval| judgement::void(&self, approval, standings.get(&approval.principal), now);
        let judged: Vec<_> = self.approvals.iter().map(void).collect();
        for (approval, void) in self.approvals.iter_mut().zip(judged) {
            approval.void = void;
        }
        self
    }

    /// Digest of what was reviewed beside the plan's bytes; empty before there is a plan.
    pub fn review_digest(&self) -> String {
        self.plan.as_ref().map(|plan| plan.reviewed.digest(&self.blueprint_version)).unwrap_or_default()
    }

    /// How many people have approved its plan in a way that counts; nobody counts twice.
    pub fn satisfied(&self) -> u32 {
        let mut who: Vec<&Principal> = Vec::new();
        for approval in self.approvals.iter().filter(|approval| approval.void.is_none()) {
            if !who.contains(&&approval.principal) {
                who.push(&approval.principal);
            }
        }
        u32::try_from(who.len()).unwrap_or(u32::MAX)
    }

    /// Somebody has to approve its plan before it is applied.
    pub fn needs_approval(&self) -> bool {
        self.demand.fault.is_some() || self.demand.require.approvals > 0
    }

    /// Whether one more approval, by this one, would count.
    pub fn would_count(&self, who: &Principal, standing: &Standing, now: Timestamp) -> bool {
        let has_approved = self.approvals.iter().any(|approval| approval.principal == *who && approval.void.is_none());
        !has_approved && judgement::refusal(self, who, Some(standing), now).is_none()
    }

    /// Whether its plan may be applied: it was approved as the rules demand, or nobody has to approve it.
    pub fn is_approved(&self) -> bool {
        match self.demand.require.approvals {
            _ if self.demand.fault.is_some() => false,
            0 => self.auto_apply || self.satisfied() > 0,
            needed => self.satisfied() >= needed,
        }
    }

    /// When its plan is too old to be applied; `None` when it never is.
    pub fn plan_expires(&self) -> Option<Timestamp> {
        Some(self.plan.as_ref()?.create_time.plus(self.demand.require.max_plan_age?))
    }

    /// What its apply cannot begin for, by the rules that it was last put [`under`](Self::under); `None` when it can.
    pub fn hindrance(&self, now: Timestamp) -> Option<RunEvent> {
        if self.plan_expires().is_some_and(|end| end <= now) {
            return Some(RunEvent::PlanExpired);
        }
        (!self.is_approved()).then_some(RunEvent::ApprovalVoided)
    }

    pub(super) fn too_old(&self) -> RunError {
        let end = self.plan_expires().map(|end| format!(" since {end}")).unwrap_or_default();
        let why = format!("the plan is older{end} than {} lets it be", self.rule());
        RunError::new("plan-too-old", why, "plan again, and have that plan approved", true)
    }

    /// The rule that decides, in words.
    fn rule(&self) -> String {
        match &self.demand.policy {
            Some(policy) if !self.demand.rule.is_empty() => format!("rule `{}` of {policy}", self.demand.rule),
            _ => self.name.deployment_name().environment_name().to_string(),
        }
    }

    pub(super) fn await_approval(&mut self, now: Timestamp) {
        self.phase = RunPhase::AwaitingApproval;
        let wait = now.plus(APPROVAL_WAIT);
        self.deadline = Some(self.plan_expires().map_or(wait, |end| end.min(wait)));
        self.approval = self.approvals.iter().rev().find(|approval| approval.void.is_none()).cloned();
        self.say_what_is_missing(now);
    }

    fn say_what_is_missing(&mut self, now: Timestamp) {
        let require = &self.demand.require;
        let missing = require.approvals.saturating_sub(self.satisfied());
        let mut detail = match (&self.demand.fault, missing) {
            (Some(fault), _) => format!("{} to be mended, which cannot be evaluated: {fault}", self.rule()),
            (None, 0) => "somebody with `deployments.runs.apply` to have it applied".to_owned(),
            (None, missing) => {
                let many = if missing == 1 { "an approval".to_owned() } else { format!("{missing} approvals") };
                let other = if require.allow_self_approval { "somebody" } else { "somebody else than its author" };
                let from: Vec<String> = require.from.iter().map(ToString::to_string).collect();
                let from = if from.is_empty() { String::new() } else { format!(" of {}", from.join(", ")) };
                format!("{many} by {other}{from} with `{APPROVE}`")
            }
        };
        if self.demand.fault.is_none() && !self.demand.rule.is_empty() {
            detail += &format!(" ({} asks for {})", self.rule(), require.approvals);
        }
        for approval in self.approvals.iter().rev().take(3) {
            if let Some(void) = &approval.void {
                detail += &format!("; the approval by {} does not count: {void}", approval.principal);
            }
        }
        let since = match &self.waiting_on {
            Some(on) if on.reason == WaitingReason::Approval => on.since,
            _ => now,
        };
        let resource = match &self.demand.policy {
            Some(policy) => policy.to_string(),
            None => self.name.deployment_name().environment_name().to_string(),
        };
        self.waiting_on = Some(WaitingOn { reason: WaitingReason::Approval, detail, resource, since });
    }

    /// The decision as it is kept. Fails when it is about something else than the present plan.
    fn decided(&self, decision: Decision, approved: bool, now: Timestamp) -> Result<Approval> {
        self.expect(&[RunPhase::AwaitingApproval])?;
        let digest = self.plan.as_ref().map(|plan| plan.digest.as_str()).unwrap_or_default();
        let review_digest = self.review_digest();
        if decision.plan_digest != digest || decision.review_digest.is_some_and(|reviewed| reviewed != review_digest) {
            return Err(Error::new(Reason::PlanStale, "this is not the digest of the current plan; review the plan again")
                .with("plan_digest", digest)
                .with("review_digest", review_digest));
        }
        Ok(Approval {
            approved,
            principal: decision.by,
            plan_digest: decision.plan_digest,
            comment: decision.comment,
            create_time: now,
            review_digest,
            channel: decision.channel,
            withdraw_time: None,
            void: None,
        })
    }

    /// Fails when nobody can have the plan applied, whatever they decide.
    fn expect_appliable(&self, now: Timestamp) -> Result<()> {
        if let Some(fault) = &self.demand.fault {
            let why = format!("{} cannot be evaluated for this plan: {fault}; mend the policy first", self.rule());
            return Err(Error::new(Reason::StateNotAllowed, why).with("state", self.phase.as_str()));
        }
        if self.plan_expires().is_some_and(|end| end <= now) {
            let old = self.too_old();
            return Err(Error::new(Reason::PlanStale, format!("{}; {}", old.message, old.hint)));
        }
        Ok(())
    }

    fn keep(&mut self, approval: Approval) {
        if self.approvals.len() >= KEPT
            && let Some(oldest) = self.approvals.iter().position(|approval| approval.void.is_some())
        {
            self.approvals.remove(oldest);
        }
        self.approval = Some(approval.clone());
        self.approvals.push(approval);
    }

    /// Goes on when the approvals suffice, and says what is missing otherwise.
    fn go_on(&mut self, now: Timestamp) {
        if self.is_approved() { self.queue_apply(now) } else { self.say_what_is_missing(now) }
    }

    pub(super) fn approve(&mut self, decision: Decision, now: Timestamp) -> Result<()> {
        let same = |a: &Approval| a.void.is_none() && a.principal == decision.by && a.plan_digest == decision.plan_digest;
        if self.approvals.iter().any(same) {
            // The rules may have become laxer since.
            if self.phase == RunPhase::AwaitingApproval {
                self.go_on(now);
            }
            return Ok(());
        }
        let standing = decision.standing.clone();
        let approval = self.decided(decision, true, now)?;
        self.expect_appliable(now)?;
        let require = &self.demand.require;
        if let Some(why) = judgement::refusal(self, &approval.principal, standing.as_ref(), now) {
            let own = approval.principal == self.creator && !require.allow_self_approval;
            let why = if own {
                "the author of a run cannot approve it in this environment; ask somebody else to review it".to_owned()
            } else {
                format!("{why}, so {} takes no approval of them; ask somebody else to review it", self.rule())
            };
            return Err(Error::new(Reason::PermissionMissing, why).with("permission", APPROVE).with("resource", &self.name));
        }
        if require.approvals > 0 && require.comment_required && approval.comment.trim().is_empty() {
            return Err(Error::field("comment", format!("required: {} asks who approves to say why", self.rule())));
        }
        self.keep(approval);
        self.go_on(now);
        Ok(())
    }

    pub(super) fn confirm(&mut self, decision: Decision, now: Timestamp) -> Result<()> {
        let approval = self.decided(decision, true, now)?;
        self.expect_appliable(now)?;
        if self.demand.needs_approval() && !self.is_approved() {
            return Err(Error::new(
                Reason::ApprovalRequired,
                "every apply in this environment needs an approval; ask somebody to review the plan",
            )
            .with("plan_digest", &approval.plan_digest));
        }
        if self.demand.require.approvals == 0 {
            self.keep(approval);
        }
        self.queue_apply(now);
        Ok(())
    }

    pub(super) fn reject(&mut self, decision: Decision, now: Timestamp, effects: &mut Vec<Effect>) -> Result<()> {
        self.approval = Some(self.decided(decision, false, now)?);
        self.end(RunOutcome::Rejected, now, effects);
        Ok(())
    }

    pub(super) fn withdraw(&mut self, by: &Principal, now: Timestamp) -> Result<()> {
        self.expect(&[RunPhase::AwaitingApproval, RunPhase::ApplyQueued])?;
        let mut withdrawn = false;
        for approval in self.approvals.iter_mut().filter(|a| a.principal == *by && a.void.is_none()) {
            withdrawn = true;
            approval.withdraw_time = Some(now);
            approval.void = Some(format!("it was withdrawn at {now}"));
        }
        if !withdrawn {
            return Err(Error::new(
                Reason::StateNotAllowed,
                format!("there is no approval by {by} that counts, so none to withdraw"),
            )
            .with("state", self.phase.as_str()));
        }
        if !self.is_approved() {
            self.await_approval(now);
        }
        Ok(())
    }
}
