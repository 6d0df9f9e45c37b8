//! Jobs as runners report on them: step by step under a lease, and ended once.
//!
//! Every report carries the fence of its lease. It is compared in the statement that writes, so a runner that was thought dead
//! and comes back changes nothing.

use std::collections::BTreeMap;

use freehold_domain::{
    Error, Reason, Result,
    drift::Findings,
    fault,
    names::{RunName, RunnerName},
    quotas::Dimension,
    runs::{ApplyEnd, PlanFacts, PlannedChange, Progress, Run, RunError, RunEvent, RunKind, RunPhase, StepState},
    time::{Timestamp, Uid},
};
use freehold_store::{
    Tx,
    payloads::Kind,
    runs::{self, StepRow},
};
use serde_json::Value;

use crate::{
    app::{App, Place},
    approvals::{self, sha256},
    drift,
    runs::{advance, advance_with, deployment_of, find, woken},
    seal::SealedPlace,
    state::{NewState, Writer, write_state},
};

/// Lines of log that are kept of one run.
const LOG_LINES: i64 = 200_000;
/// Bytes of a plan, at most: with the journal of its apply, which may be as large, it goes to a runner in one message.
const PLAN_BYTES: usize = 6 << 20;

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

pub(crate) fn step_place(place: &Place, run: &Run, step_id: &str) -> SealedPlace {
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
pub(crate) async fn leased(
    tx: &mut Tx,
    place: &Place,
    runner: &RunnerName,
    name: &RunName,
    epoch: i64,
) -> Result<(Run, Timestamp)> {
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
