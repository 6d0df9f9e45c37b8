//! Why a run waits, who or what can end that, when it will probably start, and what comes then: the present truth, from facts that
//! were just read.

mod hindrance;

use std::time::Duration;

use crate::{
    dependencies::Wait,
    deployments::Deployment,
    names::RunnerName,
    queue::{self, Waiting},
    quotas::Quota,
    runners::{Runner, RunnerState},
    runs::{Run, RunKind, RunOutcome, RunPhase, WaitingOn, WaitingReason},
    tenants::Tenant,
    time::Timestamp,
};

pub use hindrance::Hindrance;

/// What is true of a run and around it.
pub struct Facts {
    /// The run, under the rules of its environment as they are now.
    pub run: Run,
    /// Its tenant.
    pub tenant: Tenant,
    /// Its deployment.
    pub deployment: Deployment,
    /// The run that is changing the deployment, when it is another one.
    pub lock_holder: Option<Run>,
    /// What it waits for in other deployments.
    pub dependency: Option<Wait>,
    /// The quota of concurrent runs, and runs that hold a place of it.
    pub slots: Option<(Quota, Vec<String>)>,
    /// The runners of its pool.
    pub runners: Vec<Runner>,
    /// What the runners of the pool work on: which of them, and since when.
    pub jobs: Vec<(RunnerName, Timestamp)>,
    /// What the runners that could take it could take, it included; with the clock of the pool.
    pub queue: (Vec<Waiting>, i64),
    /// The queue is longer than what was read of it.
    pub queue_goes_on: bool,
    /// How long the last jobs of the pool took on average.
    pub job_time: Option<Duration>,
    /// Who may decide on its plan.
    pub deciders: Vec<String>,
    /// When its lease ends, and the time of the clock that decides about that.
    pub lease: Option<(Timestamp, Timestamp)>,
    /// Now.
    pub now: Timestamp,
}

/// Something or somebody that can end a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Blocker {
    pub kind: BlockerKind,
    pub resource: String,
    pub detail: String,
    pub action: String,
}

/// What a wait is ended by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum BlockerKind {
    Tenant,
    Quota,
    Run,
    Deployment,
    RunnerPool,
    Runner,
    Principal,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Explanation {
    pub waiting_on: Option<WaitingOn>,
    pub blockers: Vec<Blocker>,
    pub queue_position: Option<usize>,
    pub predicted_start_time: Option<Timestamp>,
    pub prediction: String,
    pub at_deadline: String,
    pub next: String,
    pub explain_time: Timestamp,
}

impl Explanation {
    /// Says what is to be said of these facts.
    pub fn of(facts: &Facts) -> Self {
        let mut answer = Self {
            at_deadline: at_deadline(&facts.run).to_owned(),
            next: next(facts),
            explain_time: facts.now,
            ..Self::default()
        };
        match facts.run.phase {
            RunPhase::Queued | RunPhase::ApplyQueued | RunPhase::Recovering => answer.waits_for_runner(facts),
            RunPhase::AwaitingApproval => answer.waits_for_people(facts),
            RunPhase::Preparing | RunPhase::Planning | RunPhase::Applying => answer.works(facts),
            RunPhase::Pending | RunPhase::Checking | RunPhase::Verifying | RunPhase::Done => {}
        }
        answer
    }

    /// Notes a reason; the first one is what it waits for, and all of them have to end.
    fn because(&mut self, facts: &Facts, reason: WaitingReason, detail: String, resource: String) {
        let since = facts.run.waiting_on.as_ref().map_or(facts.run.update_time, |on| on.since);
        self.waiting_on.get_or_insert(WaitingOn { reason, detail, resource, since });
    }

    fn blocks(&mut self, kind: BlockerKind, resource: impl ToString, detail: impl Into<String>, action: impl Into<String>) {
        self.blockers.push(Blocker { kind, resource: resource.to_string(), detail: detail.into(), action: action.into() });
    }

    fn waits_for_runner(&mut self, facts: &Facts) {
        let slots = facts.slots.as_ref().map(|(quota, _)| quota);
        for hindrance in Hindrance::all(&facts.run, &facts.tenant, slots, Some(&facts.deployment)) {
            let on = hindrance.waiting_on(&facts.run);
            self.because(facts, on.reason, on.detail, on.resource);
            self.hindered(facts, &hindrance);
        }
        if let (Some(until), Some(runner)) = (facts.run.held_until.filter(|until| facts.now < *until), &facts.run.runner) {
            let detail = format!("{runner} to come back, or until {until} for any other runner to look at what it left");
            self.because(facts, WaitingReason::Lease, detail, runner.to_string());
            self.blocks(
                BlockerKind::Runner,
                runner,
                format!("it was lost, and what it has started may go on without it until {until}"),
                "start this runner again with its data folder, or wait",
            );
        }
        if let Some(Wait { resource, detail }) = &facts.dependency {
            self.because(facts, WaitingReason::Dependency, detail.clone(), resource.clone());
            let (kind, action) = if resource.contains("/runs/") {
                (BlockerKind::Run, format!("freehold run explain {resource}"))
            } else {
                (BlockerKind::Deployment, format!("freehold deployment get {resource}"))
            };
            self.blocks(kind, resource, format!("it waits for {detail}"), action);
        }
        let can_start = self.waiting_on.is_none();
        let Some(pool) = self.runners(facts) else {
            self.prediction = "no runner that could take it is there, so nobody can say".to_owned();
            return;
        };
        if !can_start {
            self.prediction = "it is not in the queue before what it waits for has happened".to_owned();
            return;
        }
        self.predict(facts, &pool);
    }

    fn hindered(&mut self, facts: &Facts, hindrance: &Hindrance) {
        match hindrance {
            Hindrance::TenantStopped(tenant, state) => self.blocks(
                BlockerKind::Tenant,
                tenant,
                format!("it is {}: {}; a platform administrator can let it go on", state.as_str(), facts.tenant.suspend_reason),
                format!("freehold tenant resume {tenant}"),
            ),
            Hindrance::NoSlot { quota, limit } => {
                let action = format!("freehold quota set {quota} {}", limit + 1);
                self.blocks(BlockerKind::Quota, quota, "a platform administrator can raise the limit", action);
                for run in facts.slots.iter().flat_map(|(_, holders)| holders) {
                    self.blocks(BlockerKind::Run, run, "its place is free when it ends", format!("freehold run explain {run}"));
                }
            }
            Hindrance::Locked(holder) => {
                let detail = facts.lock_holder.as_ref().map_or_else(
                    || "it changes the deployment".to_owned(),
                    |run| match run.phase {
                        RunPhase::Recovering => {
                            "its runner was lost; another one has to find out what it has left behind".to_owned()
                        }
                        phase => format!("it is {} and has to end", phase.as_str()),
                    },
                );
                self.blocks(BlockerKind::Run, holder, detail, format!("freehold run explain {holder}"));
            }
            Hindrance::StateLocked(deployment, lock) => self.blocks(
                BlockerKind::Principal,
                &lock.principal,
                format!("it holds the state since {} with the lock {}", lock.create_time, lock.id),
                format!("freehold state break-lock {deployment} --lock {} --reason TEXT", lock.id),
            ),
            Hindrance::Protected(deployment) => self.protected(deployment),
        }
    }

    fn protected(&mut self, deployment: impl ToString) {
        let deployment = deployment.to_string();
        let action = format!("freehold deployment update {deployment} --deletion-protection false");
        self.blocks(
            BlockerKind::Deployment,
            deployment,
            "deletion protection is on; whoever may update it can switch it off",
            action,
        );
    }

    /// Says what is wrong with the runners; answers those that could take the run, if there are some.
    fn runners<'a>(&mut self, facts: &'a Facts) -> Option<Vec<&'a Runner>> {
        let (pool, engine) = (&facts.run.pool, &facts.run.engine);
        let live: Vec<&Runner> = facts.runners.iter().filter(|one| one.state(facts.now) != RunnerState::Offline).collect();
        let fit: Vec<&Runner> = live.iter().copied().filter(|one| one.engines.contains(engine)).collect();
        let online: Vec<&Runner> = fit.iter().copied().filter(|one| one.state(facts.now) == RunnerState::Online).collect();
        let start = "start one: freehold runner --help";
        if live.is_empty() {
            let detail = format!("a runner of {pool}: none of its {} runners is there", facts.runners.len());
            self.because(facts, WaitingReason::RunnersAbsent, detail, pool.to_string());
            self.blocks(BlockerKind::RunnerPool, pool, "whoever runs the installation can start a runner of it", start);
        } else if fit.is_empty() {
            let mut engines: Vec<&str> = live.iter().flat_map(|one| &one.engines).map(String::as_str).collect();
            engines.sort_unstable();
            engines.dedup();
            let detail =
                format!("a runner of {pool} with the engine `{engine}`; those that are there have {}", engines.join(", "));
            self.because(facts, WaitingReason::EngineMissing, detail, pool.to_string());
            let detail = format!("whoever runs the installation can start a runner of it that has `{engine}`");
            self.blocks(BlockerKind::RunnerPool, pool, detail, start);
        } else if online.is_empty() {
            let detail = format!("a runner of {pool} that takes work: all that could are told to drain");
            self.because(facts, WaitingReason::RunnersDraining, detail, pool.to_string());
            for one in &fit {
                let action = format!("freehold runner-pool resume {}", one.name);
                self.blocks(BlockerKind::Runner, &one.name, "it takes no more work until it is told to", action);
            }
        } else {
            return Some(online);
        }
        None
    }

    fn predict(&mut self, facts: &Facts, online: &[&Runner]) {
        let (run, pool) = (&facts.run, &facts.run.pool);
        let mut begun = Vec::new();
        let (mut free, mut places) = (0, 0);
        for one in online {
            let jobs: Vec<Timestamp> = facts.jobs.iter().filter(|(name, _)| *name == one.name).map(|(_, since)| *since).collect();
            let capacity = usize::try_from(one.capacity).unwrap_or(0);
            free += capacity.saturating_sub(jobs.len());
            places += capacity;
            begun.extend(jobs);
        }
        let (waiting, clock) = &facts.queue;
        self.queue_position = queue::position(waiting.iter().copied(), run.uid(), *clock, facts.now);
        let recovers = run.phase == RunPhase::Recovering;
        match self.queue_position {
            Some(position) if position <= free => {
                self.predicted_start_time = Some(facts.now);
                "a runner that is free takes it at once".clone_into(&mut self.prediction);
            }
            Some(position) => match facts.job_time.and_then(|time| queue::start(position, free, &begun, time, facts.now)) {
                Some(start) => {
                    let time = facts.job_time.unwrap_or_default();
                    self.predicted_start_time = Some(start);
                    self.prediction =
                        format!("if no other run comes and each job takes {:.0?}, as the last ones of {pool} did", round(time));
                }
                None => {
                    self.prediction = format!("no job of {pool} has ended yet, so nobody can say how long those before it take");
                }
            },
            None if facts.queue_goes_on => {
                self.prediction = format!("more than {} runs wait for {pool}; it is too far behind to say", waiting.len());
            }
            None => "it was just taken, or its turn has just changed; ask again".clone_into(&mut self.prediction),
        }
        if recovers {
            let lost = run.runner.as_ref().map_or_else(|| "the lost runner".to_owned(), ToString::to_string);
            let detail = format!("a runner to find out what {lost} has left behind and to finish it");
            self.because(facts, WaitingReason::Recovery, detail, pool.to_string());
        }
        if self.queue_position.is_some_and(|position| position <= free) {
            self.because(facts, WaitingReason::Runner, format!("a free runner of {pool} to take it"), pool.to_string());
        } else {
            let detail = format!("a free place on a runner of {pool}: {} of {places} are taken", places - free);
            self.because(facts, WaitingReason::RunnersBusy, detail, pool.to_string());
        }
        for one in online {
            let jobs = facts.jobs.iter().filter(|(name, _)| *name == one.name).count();
            if jobs > 0 {
                self.blocks(
                    BlockerKind::Runner,
                    &one.name,
                    format!("it works on {jobs} of {} jobs and takes the next one when one of them ends", one.capacity),
                    "wait, or start another runner: freehold runner --help",
                );
            }
        }
    }

    fn waits_for_people(&mut self, facts: &Facts) {
        let run = &facts.run;
        let detail = run.waiting_on.as_ref().map(|on| on.detail.clone()).unwrap_or_default();
        self.because(facts, WaitingReason::Approval, detail, run.name.deployment_name().environment_name().to_string());
        let (verb, role) = if run.needs_approval() { ("approve", "approver") } else { ("apply", "developer") };
        if facts.deciders.is_empty() {
            let tenant = &facts.tenant.name;
            let detail = format!("nobody in it may decide; a platform administrator may, or somebody is given the role `{role}`");
            let action = format!("freehold --tenant {} role-binding create {role} users/NAME", tenant.tenant);
            self.blocks(BlockerKind::Tenant, tenant, detail, action);
        }
        for one in &facts.deciders {
            let detail = format!("may {verb} or reject the plan, or leave it");
            self.blocks(BlockerKind::Principal, one, detail, format!("freehold run {verb} {}", run.name));
        }
        if let Some(hindrance) = Hindrance::stopped(&facts.tenant) {
            self.hindered(facts, &hindrance);
        }
        if run.kind == RunKind::Destroy && facts.deployment.deletion_protection {
            self.protected(&facts.deployment.name);
        }
        "it waits for somebody's decision, and nobody can say when that comes".clone_into(&mut self.prediction);
    }

    fn works(&mut self, facts: &Facts) {
        let run = &facts.run;
        let Some(name) = &run.runner else { return };
        let silent =
            facts.runners.iter().find(|one| one.name == *name).is_some_and(|one| one.state(facts.now) == RunnerState::Offline);
        let Some((ends, clock)) = facts.lease.filter(|(ends, clock)| silent || ends <= clock) else { return };
        let detail = format!("a sign of life of {name}, or the end of its lease at {ends}");
        self.waiting_on =
            Some(WaitingOn { reason: WaitingReason::Lease, detail, resource: name.to_string(), since: ends.min(clock) });
        let detail = "it is silent; if it stays so, the run is taken back from it and given to another runner";
        self.blocks(BlockerKind::Runner, name, detail, "start it again, or wait");
    }
}

/// To a tenth of a second, and not to nothing.
fn round(time: Duration) -> Duration {
    Duration::from_millis((u64::try_from(time.as_millis()).unwrap_or(u64::MAX) / 100).max(1) * 100)
}

/// What happens when the present phase has taken too long.
fn at_deadline(run: &Run) -> &'static str {
    match run.phase {
        RunPhase::Done => "",
        RunPhase::Preparing | RunPhase::Planning => "it ends as FAILED; nothing is changed",
        RunPhase::Applying | RunPhase::Verifying => "it is asked to stop: what has begun is finished, nothing new is begun",
        RunPhase::Recovering => "it goes on waiting, since only a runner can find out what became of it",
        RunPhase::Pending | RunPhase::Queued | RunPhase::Checking | RunPhase::AwaitingApproval | RunPhase::ApplyQueued => {
            "it ends as EXPIRED; nothing is changed"
        }
    }
}

/// What comes next.
fn next(facts: &Facts) -> String {
    let run = &facts.run;
    let stale = || {
        let moved = run.plan.as_ref().is_some_and(|plan| plan.base_serial != facts.deployment.state_serial);
        moved.then(|| "it will end as STALE: the deployment has changed since its plan was made; plan again".to_owned())
    };
    let planned = match run.kind {
        RunKind::Plan => "and it ends with the plan",
        RunKind::Drift => "and it ends with what was found",
        RunKind::Repair => "which somebody has to agree to before the state is written",
        _ if run.auto_apply && !run.needs_approval() => "which is then applied unless there is nothing to do",
        _ if run.needs_approval() => "which waits for an approval unless there is nothing to do",
        _ => "which somebody has to have applied unless there is nothing to do",
    };
    match run.phase {
        _ if run.cancel_requested && !run.is_done() => {
            "steps under way are finished, no new one is begun, and it ends as CANCELLED".to_owned()
        }
        RunPhase::Pending | RunPhase::Queued => format!("a runner makes a plan, {planned}"),
        RunPhase::Preparing | RunPhase::Planning | RunPhase::Checking => format!("its runner makes a plan, {planned}"),
        RunPhase::AwaitingApproval => {
            stale().unwrap_or_else(|| "when somebody agrees, a runner applies just this plan".to_owned())
        }
        RunPhase::ApplyQueued => stale().unwrap_or_else(|| "a runner applies just this plan".to_owned()),
        RunPhase::Applying | RunPhase::Verifying => {
            "its runner applies the plan step by step, and it ends with the last one".to_owned()
        }
        RunPhase::Recovering => "a runner looks up what became of the steps that had begun, and goes on with the plan".to_owned(),
        RunPhase::Done => ended(run),
    }
}

fn ended(run: &Run) -> String {
    let late = run.late_word().map(|late| format!("; {late}")).unwrap_or_default();
    outcome(run) + &late
}

fn outcome(run: &Run) -> String {
    let hint = run.error.as_ref().map(|error| error.hint.as_str()).filter(|hint| !hint.is_empty());
    match run.outcome {
        Some(RunOutcome::Succeeded | RunOutcome::NoChanges) | None => "nothing: it has ended well".to_owned(),
        Some(RunOutcome::Superseded) => "nothing: a newer run of the deployment took its place; follow that one".to_owned(),
        Some(RunOutcome::Rejected) => "nothing: somebody rejected the plan; change what they object to and plan again".to_owned(),
        Some(RunOutcome::Cancelled) => "nothing: it was stopped; start another run when it is wanted".to_owned(),
        Some(RunOutcome::Stale | RunOutcome::Expired) => "nothing: it changed nothing; plan again".to_owned(),
        Some(RunOutcome::QuotaBlocked | RunOutcome::Failed | RunOutcome::Lost) => match hint {
            Some(hint) => format!("nothing: it has ended badly; {hint}"),
            None => "nothing: it has ended badly; its error and its log say more".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
