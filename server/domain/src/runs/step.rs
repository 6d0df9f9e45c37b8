//! The state machine of runs.

use std::collections::BTreeMap;

use super::{
    APPLY_TIME, ATTEMPTS, ChangeAction, LateResult, PLAN_TIME, PlanFacts, PlannedChange, QUEUE_WAIT, Reversibility, Run,
    RunError, RunKind, RunOutcome, RunPhase, RunStep, StepState, WaitingOn, WaitingReason, recovery::LONGEST_HOLD,
};
use crate::{
    access::Principal,
    approvals::Standing,
    dependencies::Wait,
    deployments::DeploymentState,
    error::{Error, Reason, Result},
    names::RunnerName,
    time::{Timestamp, Uid},
};

/// A runner's ask for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its id; a repeat has the same.
    pub uid: Uid,
    /// The incarnation of the runner: its process, from start to end.
    pub incarnation: Uid,
}

/// Something that happens to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// A runner takes its next job.
    Claimed {
        /// Who.
        runner: RunnerName,
        /// The ask it answers.
        ask: Ask,
    },
    /// Another incarnation of the runner takes over what an earlier one was given.
    TakenOver(Uid),
    /// It cannot be taken before something outside of its deployment is otherwise.
    WaitsFor(Wait),
    /// It can never be planned, or nobody knows what it would plan for: it ends before a runner has it.
    Refused(RunError),
    /// The state that it is to work with is gone, or is another one than was written.
    StateLost(RunError),
    /// The runner has read blueprint and state.
    Prepared,
    /// The plan is there, with what it does to each resource that it changes.
    Planned(PlanFacts, BTreeMap<String, PlannedChange>),
    /// A quota does not allow the plan.
    QuotaBlocked(String),
    /// Somebody approves the plan with this digest.
    Approved(Decision),
    /// Somebody who may apply where no approval is needed wants the plan with this digest applied.
    Confirmed(Decision),
    /// Somebody rejects the plan with this digest.
    Rejected(Decision),
    /// Somebody takes their approval back.
    Withdrawn(Principal),
    /// Somebody asks it to stop.
    CancelRequested,
    /// Steps of the apply moved, by the report with this number.
    Progressed(i64, Vec<(String, Progress)>),
    /// The apply came to its end.
    Applied(ApplyEnd),
    /// What the apply has started may go on for so many seconds without its runner.
    Outlives(i64),
    /// The runner whose lease with this fence was taken back is there again, and goes on.
    Resumed(RunnerName, i64),
    /// The job failed as a whole.
    Failed(RunError),
    /// The runner was silent for longer than its lease.
    LeaseExpired,
    /// Somebody has taken the state from it, in spite of what it may still be doing.
    LockBroken(Principal),
    /// A runner that has lost its apply says what it came to.
    LateResult(LateResult),
    /// The state that it was to write again is written.
    Restored,
    /// The phase took too long.
    DeadlinePassed,
    /// A newer run took its place.
    Superseded,
    /// The state moved after the plan was made.
    WentStale,
    /// What it was to be applied on does not suffice any more.
    ApprovalVoided,
    /// Its plan is older than the rules let it be.
    PlanExpired,
    /// What is stored is not what was planned, in words.
    Altered(String),
}

/// A decision on a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Decision {
    pub by: Principal,
    pub plan_digest: String,
    /// Digest of what else was reviewed, where the reader says it.
    pub review_digest: Option<String>,
    pub comment: String,
    /// How who decides was proven.
    pub channel: String,
    /// What who decides may do.
    pub standing: Option<Standing>,
}

/// How far a step has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How far.
    pub state: StepState,
    /// Why it failed; empty otherwise.
    pub error: String,
}

/// How an apply ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApplyEnd {
    /// Something real was changed.
    pub changed: bool,
    /// Resources whose fate could not be found out.
    pub unknown: Vec<String>,
    /// Resources that exist now.
    pub remaining: usize,
    /// Why it did not reach its end.
    pub error: Option<RunError>,
    /// It stopped because it was asked to.
    pub cancelled: bool,
}

/// What must be done in the transaction that stores the new state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Take a place among concurrent runs.
    TakeSlot,
    /// Give it back.
    FreeSlot,
    /// Give its place among runs that wait to begin back.
    LeaveQueue,
    /// Make this run the only one that changes the deployment.
    Lock,
    /// Let others change it.
    Unlock,
    /// What of the deployment is real now.
    DeploymentIs(DeploymentState),
    /// The desired state has become real: a new revision.
    CommitRevision,
    /// The desired state turned out to be real: a new revision, unless the last one is the same.
    ConfirmRevision,
    /// Result of a drift check.
    DriftFound(bool),
}

impl Run {
    /// What the event makes of the run, and what follows.
    ///
    /// Fails with `STATE_NOT_ALLOWED` when the event has no place in the present phase, and with the reason of the rule that is
    /// broken otherwise. Events that repeat themselves change nothing.
    pub fn step(mut self, event: RunEvent, now: Timestamp) -> Result<(Self, Vec<Effect>)> {
        let mut effects = Vec::new();
        let before = self.clone();
        let is_lost = event == RunEvent::LeaseExpired;
        match event {
            RunEvent::Claimed { runner, ask } => self.claim(runner, ask, now, &mut effects)?,
            RunEvent::TakenOver(incarnation) => self.taken_over(incarnation)?,
            RunEvent::WaitsFor(wait) => self.waits_for(wait, now),
            RunEvent::Refused(error) => self.refused(error, now, &mut effects)?,
            RunEvent::StateLost(error) => {
                effects.push(Effect::DeploymentIs(DeploymentState::Quarantined));
                self.refused(error, now, &mut effects)?;
            }
            RunEvent::Prepared => match self.phase {
                RunPhase::Preparing => self.phase = RunPhase::Planning,
                RunPhase::Planning | RunPhase::Applying => {}
                _ => return Err(self.not_allowed("PREPARING")),
            },
            RunEvent::Planned(plan, changes) => self.planned(plan, changes, now, &mut effects)?,
            RunEvent::QuotaBlocked(why) => {
                self.expect(&[RunPhase::Preparing, RunPhase::Planning])?;
                self.error = Some(RunError::new("quota-exceeded", why, "free some of it or ask for a higher limit", false));
                self.end(RunOutcome::QuotaBlocked, now, &mut effects);
            }
            RunEvent::Approved(decision) => self.approve(decision, now)?,
            RunEvent::Confirmed(decision) => self.confirm(decision, now)?,
            RunEvent::Rejected(decision) => self.reject(decision, now, &mut effects)?,
            RunEvent::Withdrawn(by) => self.withdraw(&by, now)?,
            RunEvent::CancelRequested => self.cancel(now, &mut effects),
            RunEvent::Progressed(number, steps) => {
                self.expect(&[RunPhase::Applying])?;
                if number > self.reported {
                    self.reported = number;
                    for (address, step) in steps {
                        self.progress(address, step, now);
                    }
                }
            }
            RunEvent::Applied(end) => self.applied(end, now, &mut effects)?,
            RunEvent::Failed(error) => self.failed(error, now, &mut effects)?,
            RunEvent::Outlives(seconds) => {
                self.expect(&[RunPhase::Applying])?;
                self.outlives_seconds = seconds.clamp(0, LONGEST_HOLD);
            }
            RunEvent::Resumed(runner, epoch) => self.resume(&runner, epoch, now, &mut effects)?,
            RunEvent::LeaseExpired => self.lease_expired(now, &mut effects)?,
            RunEvent::LockBroken(by) => self.lock_broken(&by, now, &mut effects)?,
            RunEvent::LateResult(late) => self.offered(late)?,
            RunEvent::Restored => {
                self.expect(if self.kind == RunKind::Repair { &[RunPhase::ApplyQueued] } else { &[] })?;
                // What is real is as it was; whether it is what that state says, the next plan tells.
                effects.push(Effect::DeploymentIs(DeploymentState::Partial));
                self.end(RunOutcome::Succeeded, now, &mut effects);
            }
            RunEvent::DeadlinePassed => self.deadline_passed(now, &mut effects),
            RunEvent::Superseded => {
                self.expect(&[RunPhase::Pending, RunPhase::Queued, RunPhase::AwaitingApproval, RunPhase::ApplyQueued])?;
                self.end(RunOutcome::Superseded, now, &mut effects);
            }
            RunEvent::WentStale => {
                self.expect(&[RunPhase::Preparing, RunPhase::Planning, RunPhase::AwaitingApproval, RunPhase::ApplyQueued])?;
                self.end(RunOutcome::Stale, now, &mut effects);
            }
            RunEvent::ApprovalVoided => {
                self.expect(&[RunPhase::ApplyQueued])?;
                self.await_approval(now);
            }
            RunEvent::PlanExpired => {
                self.expect(&[RunPhase::AwaitingApproval, RunPhase::ApplyQueued])?;
                self.error = Some(self.too_old());
                self.end(RunOutcome::Expired, now, &mut effects);
            }
            RunEvent::Altered(why) => {
                self.expect(&[RunPhase::ApplyQueued])?;
                let hint = "nothing was applied; ask the operator who has written to the database, then plan again";
                self.error = Some(RunError::new("plan-altered", why, hint, false));
                self.end(RunOutcome::Failed, now, &mut effects);
            }
        }
        if before.phase.is_leased() && !self.phase.is_leased() && !is_lost {
            self.job_end_time = Some(now);
        }
        if self != before {
            self.version += 1;
            self.update_time = now;
        }
        Ok((self, effects))
    }

    fn claim(&mut self, runner: RunnerName, ask: Ask, now: Timestamp, effects: &mut Vec<Effect>) -> Result<()> {
        self.expect(&[RunPhase::Queued, RunPhase::ApplyQueued, RunPhase::Recovering])?;
        if let Some(why) = self.hold(&runner, now) {
            return Err(Error::new(Reason::StateNotAllowed, why).with("state", self.phase.as_str()));
        }
        let planning = self.phase == RunPhase::Queued;
        if self.phase == RunPhase::ApplyQueued {
            effects.push(Effect::Lock);
            self.attempt = 0;
        }
        if planning {
            effects.push(Effect::LeaveQueue);
        }
        self.phase = if planning { RunPhase::Preparing } else { RunPhase::Applying };
        self.epoch += 1;
        if !planning {
            self.held_by(runner.clone());
        }
        self.deadline = Some(now.plus(if planning { PLAN_TIME } else { APPLY_TIME }));
        self.waiting_on = None;
        self.held_until = None;
        self.runner = Some(runner);
        self.ask = Some(ask.uid);
        self.incarnation = Some(ask.incarnation);
        self.attempt += 1;
        self.reported = 0;
        self.job_begin_time = Some(now);
        self.job_end_time = None;
        effects.push(Effect::TakeSlot);
        Ok(())
    }

    /// Says what it waits for; the same wait keeps its beginning.
    pub fn waits_for(&mut self, Wait { resource, detail }: Wait, now: Timestamp) {
        let same = |on: &WaitingOn| on.reason == WaitingReason::Dependency && on.detail == detail;
        if self.phase.is_claimable() && !self.waiting_on.as_ref().is_some_and(same) {
            self.waiting_on = Some(WaitingOn { reason: WaitingReason::Dependency, detail, resource, since: now });
        }
    }

    fn refused(&mut self, error: RunError, now: Timestamp, effects: &mut Vec<Effect>) -> Result<()> {
        self.expect(&[RunPhase::Queued, RunPhase::ApplyQueued])?;
        self.error = Some(error);
        self.end(RunOutcome::Failed, now, effects);
        Ok(())
    }

    fn planned(
        &mut self,
        plan: PlanFacts,
        changes: BTreeMap<String, PlannedChange>,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Result<()> {
        self.expect(&[RunPhase::Preparing, RunPhase::Planning])?;
        self.phase = RunPhase::Checking;
        let (empty, drifted) = (plan.is_empty(), plan.drifted > 0);
        self.plan = Some(PlanFacts { create_time: now, ..plan });
        self.auto_apply &= self.limited_to.as_ref().is_none_or(|only| {
            // What is made again or put back in place loses what somebody did outside, as its policy says that it may; what is
            // removed or replaced may lose more.
            let safe = |(address, change): (&String, &PlannedChange)| {
                only.contains(address)
                    && matches!(change.action, ChangeAction::Create | ChangeAction::Update | ChangeAction::Noop)
                    && change.reversibility != Reversibility::Irreversible
            };
            changes.iter().all(safe)
        });
        if self.kind.mutates() && self.kind != RunKind::Repair {
            self.steps = changes.into_iter().map(|(address, change)| (address, RunStep::pending(change))).collect();
        }
        match self.kind {
            RunKind::Plan => self.end(RunOutcome::Succeeded, now, effects),
            RunKind::Drift => {
                effects.push(Effect::DriftFound(drifted));
                self.end(RunOutcome::Succeeded, now, effects);
            }
            RunKind::Destroy if empty => {
                effects.push(Effect::DeploymentIs(DeploymentState::Destroyed));
                self.end(RunOutcome::NoChanges, now, effects);
            }
            // A state that leaves nothing to do is just the one to go back to.
            _ if empty && self.kind != RunKind::Repair => {
                effects.push(Effect::DeploymentIs(DeploymentState::Active));
                effects.push(Effect::ConfirmRevision);
                self.end(RunOutcome::NoChanges, now, effects);
            }
            _ => {
                effects.push(Effect::FreeSlot);
                if self.is_approved() {
                    self.queue_apply(now);
                } else {
                    self.await_approval(now);
                }
            }
        }
        Ok(())
    }

    pub(super) fn queue_apply(&mut self, now: Timestamp) {
        self.phase = RunPhase::ApplyQueued;
        self.deadline = Some(now.plus(QUEUE_WAIT));
        self.wait_for_runner(now);
    }

    fn cancel(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match self.phase {
            RunPhase::Done => {}
            // Steps under way are finished first: a step that was cut has an effect nobody knows of.
            RunPhase::Applying | RunPhase::Verifying | RunPhase::Recovering => self.cancel_requested = true,
            _ => {
                self.cancel_requested = true;
                self.end(RunOutcome::Cancelled, now, effects);
            }
        }
    }

    fn progress(&mut self, address: String, progress: Progress, now: Timestamp) {
        self.changed |= progress.state == StepState::Done;
        let step = self.steps.entry(address).or_insert_with(|| {
            let (action, kind) = (ChangeAction::Noop, String::new());
            RunStep::pending(PlannedChange { action, kind, reversibility: Reversibility::Unknown })
        });
        step.start_time.get_or_insert(now);
        step.end_time = (progress.state != StepState::Started).then_some(now);
        step.state = progress.state;
        step.error = progress.error;
    }

    fn applied(&mut self, end: ApplyEnd, now: Timestamp, effects: &mut Vec<Effect>) -> Result<()> {
        self.expect(&[RunPhase::Applying])?;
        self.is_reported();
        self.phase = RunPhase::Verifying;
        self.changed |= end.changed;
        let whole = end.error.is_none() && end.unknown.is_empty() && !end.cancelled;
        if whole && self.kind == RunKind::Destroy && end.remaining > 0 {
            let why = format!("{} resources still exist after the destroy", end.remaining);
            self.error =
                Some(RunError::new("destroy-incomplete", why, "look at the steps, mend the cause and destroy again", true));
            effects.push(Effect::DeploymentIs(DeploymentState::Partial));
            self.end(RunOutcome::Failed, now, effects);
        } else if whole {
            match self.kind {
                RunKind::Destroy => effects.push(Effect::DeploymentIs(DeploymentState::Destroyed)),
                _ => {
                    effects.push(Effect::DeploymentIs(DeploymentState::Active));
                    effects.push(Effect::CommitRevision);
                }
            }
            self.end(RunOutcome::Succeeded, now, effects);
        } else {
            if self.changed || !end.unknown.is_empty() {
                effects.push(Effect::DeploymentIs(DeploymentState::Partial));
            }
            self.give_up_steps();
            self.error = end.error;
            let outcome = if !end.unknown.is_empty() {
                self.error.get_or_insert_with(|| unknown(&end.unknown));
                RunOutcome::Lost
            } else if self.error.is_some() {
                RunOutcome::Failed
            } else {
                RunOutcome::Cancelled
            };
            self.end(outcome, now, effects);
        }
        Ok(())
    }

    fn failed(&mut self, error: RunError, now: Timestamp, effects: &mut Vec<Effect>) -> Result<()> {
        self.expect(&[RunPhase::Preparing, RunPhase::Planning, RunPhase::Applying])?;
        self.is_reported();
        self.give_up_steps();
        let touched = self.changed || self.steps.values().any(|step| step.state == StepState::Unknown);
        if self.phase == RunPhase::Applying && touched {
            effects.push(Effect::DeploymentIs(DeploymentState::Partial));
        }
        self.error = Some(error);
        self.end(RunOutcome::Failed, now, effects);
        Ok(())
    }

    /// Nobody will tell what becomes of the steps under way.
    pub(super) fn give_up_steps(&mut self) {
        for step in self.steps.values_mut().filter(|step| step.state == StepState::Started) {
            step.state = StepState::Unknown;
        }
    }

    fn deadline_passed(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            RunPhase::Done => {}
            RunPhase::Preparing | RunPhase::Planning => {
                self.error = Some(RunError::new("timeout", "the plan took too long", "make the blueprint smaller", true));
                self.end(RunOutcome::Failed, now, effects);
            }
            RunPhase::Applying | RunPhase::Verifying => {
                self.cancel_requested = true;
                self.deadline = Some(now.plus(APPLY_TIME));
            }
            RunPhase::Recovering if self.attempt >= ATTEMPTS => self.give_up(now, effects),
            // The apply had begun: only a runner can find out what became of it, so it goes on waiting for one.
            RunPhase::Recovering => self.deadline = Some(now.plus(QUEUE_WAIT)),
            _ => self.end(RunOutcome::Expired, now, effects),
        }
    }

    pub(super) fn end(&mut self, outcome: RunOutcome, now: Timestamp, effects: &mut Vec<Effect>) {
        let had_slot = self.phase.is_leased() || matches!(self.phase, RunPhase::Checking | RunPhase::Verifying);
        if had_slot {
            effects.push(Effect::FreeSlot);
            // Whoever held the lease is told with its next call.
            self.epoch += 1;
        }
        if self.phase == RunPhase::Queued {
            effects.push(Effect::LeaveQueue);
        }
        if self.phase.holds_lock() {
            effects.push(Effect::Unlock);
        }
        self.phase = RunPhase::Done;
        self.outcome = Some(outcome);
        self.waiting_on = None;
        self.deadline = None;
        self.end_time = Some(now);
    }

    pub(super) fn expect(&self, phases: &[RunPhase]) -> Result<()> {
        if phases.contains(&self.phase) {
            return Ok(());
        }
        let names: Vec<&str> = phases.iter().map(|phase| phase.as_str()).collect();
        Err(self.not_allowed(&names.join(", ")))
    }

    fn not_allowed(&self, allowed: &str) -> Error {
        Error::new(Reason::StateNotAllowed, format!("the run is {}; this needs {allowed}", self.phase.as_str()))
            .with("state", self.phase.as_str())
            .with("allowed_states", allowed)
    }
}

fn unknown(addresses: &[String]) -> RunError {
    let shown: Vec<&str> = addresses.iter().take(5).map(String::as_str).collect();
    RunError::new(
        "effects-unknown",
        format!("a runner was lost and it cannot be told what became of {}", shown.join(", ")),
        "look at these resources by hand, then plan again",
        false,
    )
}

#[cfg(test)]
mod tests;
