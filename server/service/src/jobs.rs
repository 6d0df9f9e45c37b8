//! Jobs as runners see them: taken under a lease, reported step by step, ended once.
//!
//! Every report carries the fence of its lease. It is compared in the statement that writes, so a runner that was thought dead
//! and comes back changes nothing.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::{
    Error, Reason, Result,
    deployments::Deployment,
    drift::Findings,
    explain::Hindrance,
    fault,
    jobs::PlanWork,
    names::{RunName, RunnerName},
    queue::Waiting,
    quotas::Dimension,
    runs::{ApplyEnd, Ask, PlanFacts, PlannedChange, Progress, Run, RunError, RunEvent, RunKind, RunPhase, StepState},
    time::{Timestamp, Uid},
};
use freehold_store::{
    Session, Tx, blueprint_versions,
    payloads::Kind,
    quotas, runners,
    runs::{self, StepRow},
    tenants,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    app::{App, Place},
    approvals::{self, sha256},
    blueprints, drift, queue, resolution,
    runners::expect_fit,
    runs::{advance, advance_with, deployment_of, find, woken},
    seal::SealedPlace,
    state::{self, NewState, Writer, write_state},
};

/// Lines of log that are kept of one run.
const LOG_LINES: i64 = 200_000;
/// Bytes of a plan, at most: with the journal of its apply, which may be as large, it goes to a runner in one message.
const PLAN_BYTES: usize = 6 << 20;

/// Work for a runner, under a lease.
pub struct Job {
    /// The run, as it was when the job was taken.
    pub run: Run,
    /// How long the lease lasts after each extension.
    pub lease: Duration,
    /// What to do.
    pub work: Work,
    /// What earlier attempts did.
    pub journal: Vec<Entry>,
    /// Lines of log that are there.
    pub log_lines: i64,
}

/// What a runner is to do.
pub enum Work {
    /// Make a plan, or look for drift.
    Plan(Box<PlanWork>),
    /// Apply a plan.
    Apply {
        /// The bytes that its digest was taken of.
        plan: Vec<u8>,
        /// The newest state, when it is another one than that of the plan.
        state: Option<Vec<u8>>,
    },
}

/// How the try to give a run to a runner ended.
pub(crate) enum Claim {
    /// The runner has it.
    Taken(Box<Run>),
    /// It waits no more, or another runner was faster.
    Gone,
    /// It has to wait; what comes after it of the same tenant need not.
    Waits,
    /// Every run of the tenant has to wait.
    TenantWaits,
}

/// What is known of one step of an apply.
#[derive(Clone)]
pub struct Entry {
    /// The resource.
    pub address: String,
    /// Identity of the step in its run.
    pub step_id: String,
    /// `intended`, `done`, `failed`, `unknown` or `skipped`.
    pub state: String,
    /// What the engine needs to go on.
    pub data: Vec<u8>,
    /// Why it failed.
    pub error: String,
}

/// What a runner reports while it works.
pub struct Report {
    /// Number of the report among those of its lease, from 1.
    pub number: i64,
    /// Steps that moved.
    pub entries: Vec<Entry>,
    /// The state after them, when it changed.
    pub state: Option<NewState>,
    /// What was started may go on for so many seconds without the runner; nothing when it is as before.
    pub outlives: Option<i64>,
}

/// How a job ended.
pub enum Ended {
    /// A plan was made: its bytes, the same for people as the wire wants to show it, and its numbers.
    Planned {
        /// As the engine wrote it.
        plan: Vec<u8>,
        /// For people; kept as it is.
        summary: Vec<u8>,
        /// Its numbers; the digest in it is taken here.
        facts: PlanFacts,
        /// What it does to each resource that it changes.
        changes: BTreeMap<String, PlannedChange>,
        /// What a look for drift has found.
        drifted: Findings,
    },
    /// An apply came to its end.
    Applied {
        /// How.
        end: ApplyEnd,
        /// The final state.
        state: NewState,
        /// Outputs as JSON.
        outputs: Vec<u8>,
    },
    /// It failed as a whole.
    Failed(RunError),
}

/// Waits for work until the end. The same ask gets the same job for as long as its lease lasts, of another incarnation under a fence
/// of its own.
///
/// No ask waits for longer than half a lease. A lease that is extended in time outlasts its last extension by more than that, so
/// a run that is taken back from a runner that was lost or frozen is not given to another ask that is left of that runner.
pub async fn acquire(app: &App, runner: &RunnerName, engines: &[String], ask: Ask, end: Instant) -> Result<Option<Job>> {
    let end = end.min(Instant::now() + app.lease / 2);
    let asked = runs::asked(&mut app.store.read().await?, ask.uid).await?;
    if let Some((scope, uid)) = asked {
        let mut db = app.store.read().await?;
        let place = app.place_by_scope(&mut db, scope).await?;
        let run = runs::get(&mut db, scope, uid).await?.filter(|run| run.runner.as_ref() == Some(runner));
        if let Some(run) = run {
            let known = run.incarnation == Some(ask.incarnation) || fault::mutant("incarnation");
            let run = if known { run } else { take_over(app, &place, runner, run, ask.incarnation).await? };
            return job(app, &mut db, &place, run).await.map(Some);
        }
    }
    expect_fit(app, runner).await?;
    let pool = runner.runner_pool_name().to_string();
    let looks = app.looks.of(runner);
    let look = async || {
        let Some(look) = looks.begin().await else { return Ok(None) };
        if runners::get(&mut app.store.read().await?, runner).await?.is_some_and(|runner| runner.draining) {
            return Ok(None);
        }
        let Some((place, run)) = queue::take(app, &pool, runner, engines, ask).await? else {
            look.found_nothing();
            return Ok(None);
        };
        drop(look);
        job(app, &mut app.store.read().await?, &place, run).await.map(Some)
    };
    app.wakeups.wait_for(pool.clone(), end, look).await
}

/// Gives a run that waits to a runner, unless something keeps it from being taken now.
pub(crate) async fn claim(
    app: &App,
    place: &Place,
    waiting: &Waiting,
    clock: i64,
    runner: &RunnerName,
    ask: Ask,
) -> Result<Claim> {
    let mut tx = app.store.begin_as(&runner.to_string(), place.scope).await?;
    let run = runs::get(&mut tx, place.scope, waiting.run).await?.filter(|run| run.phase.is_claimable());
    let Some(run) = run else { return Ok(Claim::Gone) };
    let now = tx.now();
    let (mut run, deployment) = if run.phase == RunPhase::ApplyQueued {
        let deployment = deployment_of(&mut tx, place, &run).await?;
        (approvals::under(app, &mut tx, place, run, &deployment, now).await?, Some(deployment))
    } else {
        (run, None)
    };
    let tenant = tenants::get_by_uid(&mut tx, place.scope.0.0).await?.map(|(tenant, _)| tenant);
    let slots = quotas::get(&mut tx, place.scope, Dimension::ConcurrentRuns).await?;
    if let Some(tenant) = &tenant
        && let Some(hindrance) = Hindrance::first(&run, tenant, slots.as_ref(), deployment.as_ref())
    {
        return Ok(if hindrance.is_of_tenant() { Claim::TenantWaits } else { Claim::Waits });
    }
    let clock_of_leases = tx.database_now().await?;
    if run.hold(runner, clock_of_leases).is_some() {
        return Ok(Claim::Waits);
    }
    let seen = run.version;
    let mut refusal = turned(&run, deployment.as_ref())?;
    if refusal.is_none() {
        refusal = resolution::look(app, &mut tx, place, &mut run).await?;
    }
    if refusal.is_none() && deployment.is_some() {
        refusal = approvals::hindrance(app, &mut tx, place, &run).await?;
    }
    let mut deployment = deployment;
    if refusal.is_none() && run.kind == RunKind::Repair && deployment.is_some() {
        // There is nothing to do outside, so no runner is needed for it.
        refusal = Some(state::restore(app, &mut tx, place, &run).await?);
        deployment = Some(deployment_of(&mut tx, place, &run).await?);
    }
    let waits = matches!(refusal, Some(RunEvent::WaitsFor(_)));
    let event = refusal.unwrap_or_else(|| RunEvent::Claimed { runner: runner.clone(), ask });
    let claimed = matches!(event, RunEvent::Claimed { .. });
    fault::point("claim.begun");
    let lease = clock_of_leases.plus(app.lease);
    let run = advance_with(app, &mut tx, place, run, deployment, event, clock_of_leases, Some(lease)).await?;
    if waits {
        // What it waits for is written once, and is no news for runners.
        if run.version != seen {
            tx.commit(&()).await?;
            app.wakeups.wake(run.uid());
        }
        return Ok(Claim::Waits);
    }
    if claimed {
        queue::charge(&mut tx, waiting, clock, &runner.runner_pool_name().to_string()).await?;
    }
    fault::point("claim.written");
    tx.commit(&()).await?;
    fault::point("claim.committed");
    woken(app, &run);
    Ok(if claimed { Claim::Taken(Box::new(run)) } else { Claim::Gone })
}

/// Gives what an earlier incarnation of a runner has to another one.
async fn take_over(app: &App, place: &Place, runner: &RunnerName, run: Run, incarnation: Uid) -> Result<Run> {
    let mut tx = app.store.begin_as(&runner.to_string(), place.scope).await?;
    let (run, _) = leased(&mut tx, place, runner, &run.name, run.epoch).await?;
    let (now, lease) = (tx.now(), tx.database_now().await?.plus(app.lease));
    let run = advance(app, &mut tx, place, run, RunEvent::TakenOver(incarnation), now, Some(lease)).await?;
    tx.commit(&()).await?;
    woken(app, &run);
    Ok(run)
}

/// What has become of an apply while it waited: its plan is of the past, or its approval does not suffice any more.
fn turned(run: &Run, deployment: Option<&Deployment>) -> Result<Option<RunEvent>> {
    let Some(deployment) = deployment else { return Ok(None) };
    let plan = run.plan.as_ref().ok_or_else(|| Error::internal(format!("{} is to be applied without a plan", run.name)))?;
    Ok((plan.base_serial != deployment.state_serial).then_some(RunEvent::WentStale))
}

async fn job(app: &App, db: &mut Session, place: &Place, run: Run) -> Result<Job> {
    let work = if run.phase == RunPhase::Applying {
        let plan = app.open(db, place, run.uid(), Kind::Plan, 0).await?;
        let plan = plan.ok_or_else(|| Error::internal(format!("the plan of {} is gone", run.name)))?;
        let serial = deployment_of(db, place, &run).await?.state_serial;
        let moved = run.plan.as_ref().is_some_and(|plan| plan.base_serial != serial);
        let state = if moved { app.open(db, place, run.deployment, Kind::State, serial).await? } else { None };
        Work::Apply { plan, state }
    } else {
        let deployment = deployment_of(db, place, &run).await?;
        let version = blueprint_versions::get(db, place.scope, &run.blueprint_version).await?;
        let version = version.ok_or_else(|| Error::internal(format!("{} is gone", run.blueprint_version)))?;
        let base = if run.kind == RunKind::Repair { run.target_state } else { deployment.state_serial };
        let state = app.open(db, place, run.deployment, Kind::State, base).await?;
        Work::Plan(Box::new(PlanWork {
            destroy: run.kind == RunKind::Destroy,
            files: blueprints::encoded_files(app, db, place, version.uid()).await?,
            inputs: resolution::inputs_for(app, db, place, &run).await?,
            deployment_uid: run.deployment.to_string(),
            deployment: deployment.name.to_string(),
            state: state.map(|bytes| STANDARD.encode(bytes)),
            serial: deployment.state_serial,
        }))
    };
    let mut journal = Vec::new();
    let steps = if fault::mutant("requeue") { Vec::new() } else { runs::steps(db, place.scope, run.uid()).await? };
    for row in steps {
        let data = place.key.open(&step_place(place, &run, &row.step_id), &row.data)?;
        journal.push(Entry { address: row.address, step_id: row.step_id, state: row.state, data, error: row.error });
    }
    let log_lines = runs::log_lines(db, place.scope, run.uid()).await?;
    Ok(Job { lease: app.lease, work, journal, log_lines, run })
}

fn step_place(place: &Place, run: &Run, step_id: &str) -> SealedPlace {
    SealedPlace { tenant: place.scope, owner: run.uid(), kind: "step", serial: step_id.to_owned() }
}

/// Keeps the lease; answers whether the run should stop.
pub async fn extend(app: &App, runner: &RunnerName, name: &RunName, epoch: i64) -> Result<bool> {
    let place = place_of(app, name).await?;
    let mut tx = app.store.begin_as(&runner.to_string(), place.scope).await?;
    let (run, _) = leased(&mut tx, &place, runner, name, epoch).await?;
    let now = tx.database_now().await?;
    if !runs::extend_lease(&mut tx, place.scope, run.uid(), epoch, now, app.lease).await? && !fault::mutant("fence") {
        return Err(lease_lost(&run));
    }
    tx.commit(&()).await?;
    Ok(run.cancel_requested)
}

/// Adds lines of log; answers how many there are now. Lines that are there already are passed over.
pub async fn append_log(
    app: &App,
    runner: &RunnerName,
    name: &RunName,
    epoch: i64,
    offset: i64,
    lines: Vec<Value>,
) -> Result<i64> {
    let place = place_of(app, name).await?;
    let mut tx = app.store.begin_as(&runner.to_string(), place.scope).await?;
    let run = held_by(&mut tx, &place, runner, name).await?;
    if run.epoch != epoch && !fault::mutant("fence") {
        return Err(lease_lost(&run));
    }
    let committed = runs::log_lines(&mut tx, place.scope, run.uid()).await?;
    if offset > committed || offset < 0 {
        return Err(Error::new(Reason::LogOffsetInvalid, format!("the log has {committed} lines; go on from there"))
            .with("committed_offset", committed));
    }
    let known = usize::try_from(committed - offset).unwrap_or(usize::MAX);
    let room = usize::try_from((LOG_LINES - committed).max(0)).unwrap_or(0);
    let new: Vec<Value> = lines.into_iter().skip(known).take(room).collect();
    let count = i64::try_from(new.len()).unwrap_or(0);
    if count == 0 {
        tx.confirm().await?;
        return Ok(committed);
    }
    let body = serde_json::to_string(&new).map_err(Error::internal)?;
    let taken = runs::append_log(&mut tx, place.scope, run.uid(), epoch, committed, count, &body).await?;
    if !taken {
        return if fault::mutant("fence") { Ok(committed) } else { Err(lease_lost(&run)) };
    }
    tx.commit(&()).await?;
    app.wakeups.wake(run.uid());
    Ok(committed + count)
}

/// Records steps, and the state after them; answers whether the run should stop. Of one lease, a report whose number is not above
/// the last one changes nothing: it was taken already, or it was overtaken.
pub async fn progress(app: &App, runner: &RunnerName, name: &RunName, epoch: i64, report: Report) -> Result<bool> {
    let Report { number, entries, state, outlives } = report;
    let place = place_of(app, name).await?;
    let mut tx = app.store.begin_as(&runner.to_string(), place.scope).await?;
    let (run, lease) = leased(&mut tx, &place, runner, name, epoch).await?;
    let now = tx.now();
    fault::point("progress.begun");
    if entries.is_empty() && state.is_none() {
        let run = advance(app, &mut tx, &place, run, RunEvent::Prepared, now, Some(lease)).await?;
        fault::point("progress.written");
        tx.commit(&()).await?;
        fault::point("progress.committed");
        woken(app, &run);
        return Ok(run.cancel_requested);
    }
    if number < 1 {
        return Err(Error::field("sequence", "counts the reports of a lease, from 1"));
    }
    if number <= run.reported && !fault::mutant("fence") {
        tx.confirm().await?;
        return Ok(run.cancel_requested);
    }
    // What is real already is kept whatever the quota says.
    tx.lift(Dimension::StorageBytes);
    if let Some(state) = state {
        write_state(app, &mut tx, &place, run.deployment, &state, &Writer::Run(&run)).await?;
    }
    for entry in &entries {
        let data = place.key.seal(app.random.as_ref(), &step_place(&place, &run, &entry.step_id), &entry.data)?;
        let row = StepRow {
            step_id: entry.step_id.clone(),
            address: entry.address.clone(),
            state: entry.state.clone(),
            data,
            error: entry.error.clone(),
        };
        runs::put_step(&mut tx, place.scope, run.uid(), &row).await?;
    }
    // What concerns the apply as a whole is for engines alone.
    let steps = entries.iter().filter(|entry| !entry.address.is_empty());
    let steps = steps.map(|entry| Ok((entry.address.clone(), step(entry)?))).collect::<Result<Vec<_>>>()?;
    let run = match outlives.filter(|seconds| *seconds != run.outlives_seconds) {
        Some(seconds) => advance(app, &mut tx, &place, run, RunEvent::Outlives(seconds), now, Some(lease)).await?,
        None => run,
    };
    let run = advance(app, &mut tx, &place, run, RunEvent::Progressed(number, steps), now, Some(lease)).await?;
    fault::point("progress.written");
    tx.commit(&()).await?;
    fault::point("progress.committed");
    woken(app, &run);
    Ok(run.cancel_requested)
}

fn step(entry: &Entry) -> Result<Progress> {
    let state = match entry.state.as_str() {
        "intended" => StepState::Started,
        "done" => StepState::Done,
        "failed" => StepState::Failed,
        "unknown" => StepState::Unknown,
        "skipped" => StepState::Skipped,
        other => {
            return Err(Error::field(
                "entries.state",
                format!("`{}` is not a state of a step", freehold_domain::names::shown(other)),
            ));
        }
    };
    Ok(Progress { state, error: entry.error.clone() })
}

/// Gives an apply back to the runner that it was taken from; answers the new fence, and whether the run should stop.
pub async fn resume(app: &App, runner: &RunnerName, name: &RunName, epoch: i64) -> Result<(i64, bool)> {
    let place = place_of(app, name).await?;
    let mut tx = app.store.begin_as(&runner.to_string(), place.scope).await?;
    let run = held_by(&mut tx, &place, runner, name).await?;
    // The answer to the first try was lost on its way.
    if run.phase == RunPhase::Applying && run.epoch == epoch + 2 && run.reported == 0 {
        tx.confirm().await?;
        return Ok((run.epoch, run.cancel_requested));
    }
    let (now, lease) = (tx.now(), tx.database_now().await?.plus(app.lease));
    let run = advance(app, &mut tx, &place, run, RunEvent::Resumed(runner.clone(), epoch), now, Some(lease)).await?;
    tx.commit(&()).await?;
    woken(app, &run);
    Ok((run.epoch, run.cancel_requested))
}

/// Ends a job, whose programs were confined so. A repeat of the report that ended it succeeds and changes nothing.
pub async fn complete(app: &App, runner: &RunnerName, name: &RunName, epoch: i64, ended: Ended, sandbox: String) -> Result<()> {
    let place = place_of(app, name).await?;
    let mut tx = app.store.begin_as(&runner.to_string(), place.scope).await?;
    let (mut run, lease) = match leased(&mut tx, &place, runner, name, epoch).await {
        Ok(leased) => leased,
        Err(lost) => {
            // The end of a job raises the fence by one at most, and nobody else has taken the run since.
            let run = held_by(&mut tx, &place, runner, name).await?;
            let ended_by_this =
                !run.phase.is_leased() && run.phase != RunPhase::Recovering && (run.epoch == epoch || run.epoch == epoch + 1);
            return if ended_by_this && !run.cancel_requested { tx.confirm().await } else { Err(lost) };
        }
    };
    let now = tx.now();
    if !sandbox.is_empty() {
        run.sandbox = sandbox;
    }
    fault::point("complete.begun");
    let mut deployment = None;
    if matches!(ended, Ended::Planned { .. }) {
        deployment = Some(deployment_of(&mut tx, &place, &run).await?);
    }
    let mut found = None;
    let outdated = |facts: &PlanFacts| deployment.as_ref().is_some_and(|deployment| run.is_outdated(facts, deployment));
    let event = match ended {
        Ended::Planned { facts, .. } if outdated(&facts) => RunEvent::WentStale,
        Ended::Planned { plan, .. } if plan.len() > PLAN_BYTES => {
            let why = format!("the plan has {} bytes; {PLAN_BYTES} are possible", plan.len());
            RunEvent::Failed(RunError::new("plan-too-large", why, "split the blueprint, or put less into its resources", false))
        }
        Ended::Planned { plan, summary, mut facts, changes, drifted } => {
            found = Some(drifted).filter(|_| run.kind == RunKind::Drift);
            if run.kind == RunKind::Destroy {
                tx.lift(Dimension::StorageBytes);
            }
            facts.digest = sha256(&plan);
            facts.reviewed = approvals::reviewed(app, &mut tx, &place, &run).await?;
            if let Some(deployment) = &deployment {
                run.demand = approvals::demand(&mut tx, &place, &run, deployment, &facts, &changes).await?;
            }
            app.put(&mut tx, &place, run.uid(), Kind::Plan, 0, &plan).await?;
            app.put(&mut tx, &place, run.uid(), Kind::PlanSummary, 0, &summary).await?;
            RunEvent::Planned(facts, changes)
        }
        Ended::Applied { end, state, outputs } => {
            tx.lift(Dimension::StorageBytes);
            write_state(app, &mut tx, &place, run.deployment, &state, &Writer::Run(&run)).await?;
            app.put(&mut tx, &place, run.deployment, Kind::Outputs, 0, &outputs).await?;
            RunEvent::Applied(end)
        }
        Ended::Failed(error) => RunEvent::Failed(error),
    };
    let planning = matches!(event, RunEvent::Planned(..));
    let rendered = (run.phase == RunPhase::Planning).then_some(planning);
    let run = advance_with(app, &mut tx, &place, run, deployment, event, now, Some(lease)).await?;
    let classes = match found {
        Some(found) => drift::record(app, &mut tx, &place, &run, &found, now).await?,
        None => Vec::new(),
    };
    fault::point("complete.written");
    match tx.commit(&()).await {
        Ok(()) => {
            fault::point("complete.committed");
            if let Some(well) = rendered {
                app.metrics.rendered(&run.engine, well);
            }
            app.metrics.drift_detected(&classes);
            woken(app, &run);
            Ok(())
        }
        Err(refused) if planning && refused.reason() == Reason::QuotaExceeded => {
            block(app, &place, runner, name, epoch, &refused).await
        }
        Err(error) => Err(error),
    }
}

/// Ends a run whose plan does not fit into a quota. Nothing has been changed.
async fn block(app: &App, place: &Place, runner: &RunnerName, name: &RunName, epoch: i64, refused: &Error) -> Result<()> {
    let mut tx = app.store.begin_as(&runner.to_string(), place.scope).await?;
    let (run, lease) = leased(&mut tx, place, runner, name, epoch).await?;
    let now = tx.now();
    let event = RunEvent::QuotaBlocked(refused.message().to_owned());
    let run = advance(app, &mut tx, place, run, event, now, Some(lease)).await?;
    tx.commit(&()).await?;
    woken(app, &run);
    Ok(())
}

/// Takes runs back whose runner was silent for longer than its lease; answers how many.
pub async fn reap(app: &App) -> Result<usize> {
    let mut db = app.store.read().await?;
    let now = db.database_now().await?;
    let expired = runs::expired(&mut db, now, 100).await?;
    let overdue = runs::overdue(&mut db, app.now(), 100).await?;
    drop(db);
    let expired = expired.into_iter().map(|run| (run, RunEvent::LeaseExpired));
    let overdue = overdue.into_iter().map(|run| (run, RunEvent::DeadlinePassed));
    let mut moved = 0;
    for ((scope, uid), event) in expired.chain(overdue) {
        match move_on(app, scope, uid, event).await {
            Ok(has_moved) => moved += usize::from(has_moved),
            // One that cannot be read must not keep the others where they are.
            Err(error) if error.reason() == Reason::Internal => {
                tracing::error!(run = %uid, error = error.chain(), "a run cannot be moved on");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}

async fn move_on(app: &App, scope: freehold_domain::access::TenantScope, uid: Uid, event: RunEvent) -> Result<bool> {
    let mut tx = app.store.begin_as("server", scope).await?;
    let place = app.place_by_scope(&mut tx, scope).await?;
    let Some(run) = runs::get(&mut tx, scope, uid).await? else { return Ok(false) };
    let lease = runs::lease_until(&mut tx, scope, uid).await?;
    let clock = tx.database_now().await?;
    let over = lease.is_some_and(|until| until <= clock);
    if event == RunEvent::LeaseExpired && !(over && run.phase.is_leased()) {
        return Ok(false);
    }
    // Until when it is held for who lost it is compared with the database's clock, and so is told by that one.
    let now = if event == RunEvent::LeaseExpired && !fault::mutant("clock") { clock } else { tx.now() };
    let seen = run.version;
    let moved = advance(app, &mut tx, &place, run, event, now, lease).await;
    match moved {
        Ok(run) if run.version == seen => Ok(false),
        Ok(run) => {
            tx.commit(&()).await?;
            woken(app, &run);
            Ok(true)
        }
        // A report came first.
        Err(error) if error.reason() == Reason::EtagMismatch => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) async fn place_of(app: &App, name: &RunName) -> Result<Place> {
    app.place(&name.tenant_name()).await?.ok_or_else(|| Error::not_found(name))
}

/// The run, if this runner holds or held it. For every other runner it does not exist.
async fn held_by(tx: &mut Tx, place: &Place, runner: &RunnerName, name: &RunName) -> Result<Run> {
    let run = find(tx, place, name).await?;
    if run.runner.as_ref() == Some(runner) || fault::mutant("fence") { Ok(run) } else { Err(Error::not_found(name)) }
}

/// The run under the lease with this fence, and when that ends.
///
/// The fence decides, not the clock: a lease that is over holds until the run is taken back, which raises the fence. So a runner
/// that could not extend it because this server or its database was away goes on with its work.
async fn leased(tx: &mut Tx, place: &Place, runner: &RunnerName, name: &RunName, epoch: i64) -> Result<(Run, Timestamp)> {
    let run = held_by(tx, place, runner, name).await?;
    let until = runs::lease_until(tx, place.scope, run.uid()).await?;
    if fault::mutant("fence") {
        let now = tx.now();
        return Ok((run, until.unwrap_or(now)));
    }
    match until.filter(|_| run.epoch == epoch && run.phase.is_leased()) {
        Some(until) => Ok((run, until)),
        None => Err(lease_lost(&run)),
    }
}

fn lease_lost(run: &Run) -> Error {
    Error::new(Reason::LeaseLost, "this lease is over; stop work on the run").with("epoch", run.epoch)
}
