//! What becomes of a run whose runner was lost.

use std::time::Duration;

use super::{APPLY_TIME, ATTEMPTS, QUEUE_WAIT, Run, RunError, RunOutcome, RunPhase, WaitingOn, WaitingReason, step::Effect};
use crate::{
    access::Principal,
    deployments::DeploymentState,
    error::{Error, Reason, Result},
    names::RunnerName,
    time::{Timestamp, Uid},
};

/// Most seconds that a run is held for the runner that was lost.
pub(super) const LONGEST_HOLD: i64 = 3600;

impl Run {
    /// Why this runner cannot have the run yet; nothing when it can.
    ///
    /// What an apply has started may go on without its runner. As long as nobody can know that it has ended, nobody else may look at
    /// what it made, and nothing else may change the deployment.
    pub fn hold(&self, runner: &RunnerName, now: Timestamp) -> Option<String> {
        if self.phase != RunPhase::Recovering {
            return None;
        }
        let holder = self.runner.as_ref()?;
        if holder == runner {
            return None;
        }
        let until = self.held_until.filter(|until| now < *until)?;
        Some(format!(
            "{holder} to come back: what it has started may go on without it until {until}; then any other runner can look"
        ))
    }

    pub(super) fn lease_expired(&mut self, now: Timestamp, effects: &mut Vec<Effect>) -> Result<()> {
        self.expect(&[RunPhase::Preparing, RunPhase::Planning, RunPhase::Applying])?;
        let applying = self.phase == RunPhase::Applying;
        let outlives = if applying { self.outlives_seconds } else { 0 };
        let last = self.attempt >= ATTEMPTS;
        if last && outlives == 0 {
            self.give_up(now, effects);
            return Ok(());
        }
        self.epoch += 1;
        self.phase = if applying { RunPhase::Recovering } else { RunPhase::Queued };
        let hold = Duration::from_secs(outlives.unsigned_abs());
        self.held_until = (outlives > 0).then(|| now.plus(hold));
        self.deadline = Some(now.plus(if last { hold } else { QUEUE_WAIT }));
        match (self.held_until, &self.runner) {
            (Some(until), Some(runner)) => {
                self.waiting_on = Some(WaitingOn {
                    reason: WaitingReason::Lease,
                    detail: format!("{runner} to come back, or until {until} for any other runner to look at what it left"),
                    resource: runner.to_string(),
                    since: now,
                });
            }
            _ => self.wait_for_runner(now),
        }
        effects.push(Effect::FreeSlot);
        Ok(())
    }

    /// A runner that was started anew within its lease goes on where its earlier incarnation was. That one may have sent reports
    /// that are still on their way; and the numbers of those of the new one begin again, so that they need a fence of their own.
    pub(super) fn taken_over(&mut self, incarnation: Uid) -> Result<()> {
        self.expect(&[RunPhase::Preparing, RunPhase::Planning, RunPhase::Applying])?;
        self.incarnation = Some(incarnation);
        self.epoch += 1;
        if let Some(runner) = self.runner.clone().filter(|_| self.phase == RunPhase::Applying) {
            self.held_by(runner);
        }
        self.reported = 0;
        Ok(())
    }

    /// The runner that was thought lost goes on with what it never stopped doing.
    pub(super) fn resume(&mut self, runner: &RunnerName, epoch: i64, now: Timestamp, effects: &mut Vec<Effect>) -> Result<()> {
        let its_own = self.phase == RunPhase::Recovering && self.runner.as_ref() == Some(runner) && self.epoch == epoch + 1;
        if !its_own {
            return Err(
                Error::new(Reason::LeaseLost, "this run is not held for you any more; stop work on it").with("epoch", self.epoch)
            );
        }
        self.phase = RunPhase::Applying;
        self.deadline = Some(now.plus(APPLY_TIME));
        self.waiting_on = None;
        self.held_until = None;
        self.epoch += 1;
        self.held_by(runner.clone());
        self.reported = 0;
        effects.push(Effect::TakeSlot);
        Ok(())
    }

    /// Somebody knows better than to wait for what it is doing. Whoever holds its lease is told with its next call.
    pub(super) fn lock_broken(&mut self, by: &Principal, now: Timestamp, effects: &mut Vec<Effect>) -> Result<()> {
        self.expect(&[RunPhase::Applying, RunPhase::Verifying, RunPhase::Recovering])?;
        let why = format!("{by} has broken its lock on the state");
        let hint = "make sure that its programs have ended: their runner ends them and says what they made when it can (`freehold run \
                    late-result`); the steps say what is known, and a new plan looks at what is there";
        self.error = Some(RunError::new("lock-broken", why, hint, true));
        self.give_up_steps();
        effects.push(Effect::DeploymentIs(DeploymentState::Partial));
        self.end(RunOutcome::Lost, now, effects);
        Ok(())
    }

    /// Nobody tries again.
    pub(super) fn give_up(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let applying = matches!(self.phase, RunPhase::Applying | RunPhase::Recovering);
        let why = format!("{ATTEMPTS} runners in a row were lost while they worked on it");
        self.error = Some(RunError::new(
            "runner-lost",
            why,
            "look at the runners' logs; the steps say what is known, and what a runner offers later is kept with the run",
            true,
        ));
        if applying {
            self.give_up_steps();
            effects.push(Effect::DeploymentIs(DeploymentState::Partial));
        }
        self.end(if applying { RunOutcome::Lost } else { RunOutcome::Failed }, now, effects);
    }
}
