//! Runs as callers see them: begun, approved, cancelled, watched.

mod decisions;

use std::collections::BTreeSet;

use freehold_domain::quotas::Dimension;
use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, Principal},
    approvals::Demand,
    dependencies::{Dependency, takes_outputs},
    deployments::{Deployment, DeploymentState, Revision},
    environments::Environment,
    events::Event,
    names::{DeploymentName, RunName, VersionName},
    resource::{Listed, Page},
    runs::{Displaced, Effect, NewRun, Run, RunEvent, RunKind, RunOutcome, RunPhase},
    time::{Timestamp, Uid},
};
use freehold_store::{Session, Tx, blueprint_versions, deployments, environments, payloads::Kind, runs};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::{
    app::{App, Place, Write},
    dependencies, deployments as desired, drift, explain, receipts,
    resolution::{self, Made},
    state,
};

pub use decisions::{Review, Verdict, cancel, decide, withdraw};

/// How a run is begun.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct StartRun {
    pub name: DeploymentName,
    pub kind: RunKind,
    /// For a rollback the revision to go back to, for a repair the version of the state.
    pub target: i64,
    pub auto_apply: bool,
    /// Leaves older runs that wait where they are, instead of taking their place.
    pub keep_queued: bool,
    pub message: String,
}

/// Begins a run.
pub async fn start(app: &App, caller: &Caller, cmd: StartRun, write: &Write) -> Result<Run> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    if cmd.auto_apply {
        caller.require_permission("deployments.runs.apply", &cmd.name.to_string(), app.now())?;
    }
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let deployment = desired::find(&mut tx, &place, &cmd.name).await?;
    if cmd.kind == RunKind::Destroy {
        dependencies::expect_no_dependants(&mut tx, &place, &deployment, "destroy").await?;
    }
    if cmd.kind == RunKind::Repair {
        state::expect_restorable(&mut tx, &place, &deployment, cmd.target).await?;
    }
    let environment = environment_of(&mut tx, &place, &cmd.name).await?;
    let beginning = Beginning { cmd, creator: caller.principal.clone(), mends: None };
    let begun = begin(app, &mut tx, &place, deployment, &environment, beginning).await?;
    app.finish(tx, write, &begun.run).await?;
    begun.wake(app);
    Ok(begun.run)
}

/// A run to begin, when it has been decided that it may be.
pub(crate) struct Beginning {
    /// What kind of run.
    pub cmd: StartRun,
    /// Who begins it.
    pub creator: Principal,
    /// Makes the last revision real again, and applies by itself only what changes nothing but these resources.
    pub mends: Option<BTreeSet<String>>,
}

/// A run that was begun, with those that it took the place of.
pub(crate) struct Begun {
    /// The run.
    pub run: Run,
    displaced: Vec<Run>,
}

impl Begun {
    /// Wakes whoever waits for these runs, once they are committed.
    pub fn wake(&self, app: &App) {
        app.wakeups.wake(self.run.pool.to_string());
        self.displaced.iter().for_each(|older| woken(app, older));
    }
}

/// Begins a run of a deployment as it was read, in the caller's transaction. Nobody is asked whether others need it. Whoever commits
/// it wakes who waits.
pub(crate) async fn begin(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    mut deployment: Deployment,
    environment: &Environment,
    Beginning { cmd, creator, mends }: Beginning,
) -> Result<Begun> {
    deployment.expect_runnable(cmd.kind)?;
    let subject = subject(app, tx, place, &deployment, &cmd, mends.is_some()).await?;
    let version = blueprint_versions::get(tx, place.scope, &subject.version).await?;
    let version = version.ok_or_else(|| Error::not_found(&subject.version))?;
    let dependencies = match subject.dependencies {
        Some(dependencies) => dependencies,
        None => resolution::of_run(app, tx, place, &deployment, &version, &subject.inputs).await?,
    };
    let (uid, now) = (tx.uid(), tx.now());
    let mut run = Run::new(
        NewRun {
            name: deployment.run_name(uid),
            kind: cmd.kind,
            deployment: deployment.meta.uid,
            pool: environment.runner_pool.clone(),
            blueprint_version: version.name.clone(),
            blueprint_version_uid: version.uid(),
            inputs: subject.shown,
            engine: version.engine,
            target_revision: if cmd.kind == RunKind::Rollback { cmd.target } else { 0 },
            generation: deployment.generation,
            auto_apply: cmd.auto_apply || deployment.auto_apply && cmd.kind == RunKind::Apply && mends.is_none(),
            demand: Demand::of(environment),
            dependencies,
            resolved: subject.resolved.is_some(),
            creator,
            message: cmd.message,
        },
        now,
    );
    run.limited_to = mends;
    if run.kind == RunKind::Repair {
        run.target_state = cmd.target;
    }
    // The deployment comes before its runs, as everywhere: who holds the one and wants the other never waits in a circle.
    deployment.last_run = Some(uid);
    if run.creator != Principal::Server && cmd.kind != RunKind::Drift {
        deployment.lifetime.active(now);
    }
    deployment.meta.touch(now);
    deployments::update(tx, place.scope, &deployment).await?;
    deployments::schedule(tx, place.scope, &deployment).await?;
    let displaced = displace(app, tx, place, &run, cmd.keep_queued).await?;
    if cmd.kind == RunKind::Destroy {
        tx.lift(Dimension::StorageBytes);
    }
    if cmd.kind == RunKind::Drift {
        tx.take(Dimension::DriftChecksPerDay, 1);
    }
    runs::insert(tx, place.scope, &run).await?;
    tx.reserve(Dimension::QueuedRuns, 1, uid, &run.name);
    app.put(tx, place, uid, Kind::Inputs, desired::WISHED, &desired::bytes(&subject.inputs)?).await?;
    if let Some(resolved) = &subject.resolved {
        app.put(tx, place, uid, Kind::Inputs, desired::RESOLVED, &desired::bytes(resolved)?).await?;
    }
    tx.announce(Event::new("run.created", &run.name, uid, run.version).with(json!({ "kind": run.kind.as_str() })));
    Ok(Begun { run, displaced })
}

/// Ends the older runs of the deployment that this one takes the place of; answers them.
async fn displace(app: &App, tx: &mut Tx, place: &Place, newer: &Run, keep_queued: bool) -> Result<Vec<Run>> {
    let mut displaced = Vec::new();
    for older in runs::unfinished(tx, place.scope, newer.deployment).await? {
        let event = match newer.kind.displaces(older.kind) {
            Some(Displaced::Superseded) if older.phase.is_waiting() && !keep_queued => RunEvent::Superseded,
            Some(Displaced::Cancelled) => RunEvent::CancelRequested,
            Some(Displaced::Superseded) | None => continue,
        };
        let now = tx.now();
        displaced.push(advance(app, tx, place, older, event, now, None).await?);
    }
    Ok(displaced)
}

/// What a run works with.
struct Subject {
    version: VersionName,
    /// As they were said, sensitive ones too.
    inputs: Map<String, Value>,
    /// Those of them that may be shown.
    shown: Map<String, Value>,
    /// With the outputs that were taken before; `None` when there were none, or when they are to be taken anew.
    resolved: Option<Map<String, Value>>,
    /// What they were taken from; `None` when that follows from the inputs.
    dependencies: Option<Vec<Dependency>>,
}

/// What a run of this kind works with; one that mends works with what was made.
async fn subject(app: &App, tx: &mut Tx, place: &Place, deployment: &Deployment, cmd: &StartRun, mends: bool) -> Result<Subject> {
    let number = match cmd.kind {
        RunKind::Apply | RunKind::Plan => mends.then_some(deployment.observed_revision),
        RunKind::Rollback => Some(cmd.target),
        RunKind::Destroy => {
            deployment.expect_unprotected()?;
            Some(deployment.observed_revision)
        }
        RunKind::Drift | RunKind::Repair => Some(deployment.observed_revision),
    };
    let revision = match number {
        Some(number) => deployments::get_revision(tx, place.scope, deployment.meta.uid, number).await?,
        None => None,
    };
    if let Some(revision) = revision {
        let Made { inputs, resolved, dependencies } = resolution::made_by(app, tx, place, revision.run).await?;
        let (version, shown) = (revision.blueprint_version, revision.inputs);
        return Ok(Subject { version, inputs, shown, resolved, dependencies: Some(dependencies) });
    }
    if cmd.kind == RunKind::Rollback {
        let why = format!("a revision from 1 to {}; list them to choose one", deployment.observed_revision);
        return Err(Error::field("revision", why));
    }
    // What was begun and never came to its end was made of what its run worked with, whatever is wanted by now.
    if number.is_some()
        && let Some(state) = deployments::get_state(tx, place.scope, deployment.meta.uid, deployment.state_serial).await?
        && let Some(run) = state.run
        && let Some(run) = runs::get(tx, place.scope, run).await?
    {
        let Made { inputs, resolved, dependencies } = resolution::made_by(app, tx, place, run.uid()).await?;
        let (version, shown) = (run.blueprint_version, run.inputs);
        return Ok(Subject { version, inputs, shown, resolved, dependencies: Some(dependencies) });
    }
    Ok(Subject {
        version: deployment.blueprint_version.clone(),
        inputs: desired::inputs_of(app, tx, place, deployment.meta.uid).await?,
        shown: deployment.inputs.clone(),
        resolved: None,
        dependencies: (!takes_outputs(cmd.kind)).then(Vec::new),
    })
}

/// Returns a run.
pub async fn get(app: &App, caller: &Caller, name: &RunName) -> Result<Run> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let run = find(&mut db, &place, name).await?;
    present(app, &mut db, &place, run).await
}

/// A run with what it waits for at present.
async fn present(app: &App, db: &mut Session, place: &Place, mut run: Run) -> Result<Run> {
    explain::present(app, db, place, run.deployment, std::slice::from_mut(&mut run)).await?;
    Ok(run)
}

/// Lists the runs of a deployment.
pub async fn list(app: &App, caller: &Caller, parent: &DeploymentName, page: Page) -> Result<Listed<Run>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let deployment = desired::find(&mut db, &place, parent).await?;
    let mut listed = runs::list(&mut db, place.scope, deployment.meta.uid, page).await?;
    explain::present(app, &mut db, &place, deployment.meta.uid, &mut listed.items).await?;
    Ok(listed)
}

/// Waits until the run has left these phases, or has ended when there are none; answers it as it is at the end.
pub async fn wait(app: &App, caller: &Caller, name: &RunName, while_in: &[RunPhase], end: Instant) -> Result<Run> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let look = || async {
        let run = find(&mut app.store.read().await?, &place, name).await?;
        let waits = if while_in.is_empty() { !run.is_done() } else { while_in.contains(&run.phase) && !run.is_done() };
        Ok::<_, Error>((!waits).then_some(run))
    };
    let left = app.wakeups.wait_for(name.run, end, look).await?;
    let mut db = app.store.read().await?;
    let run = match left {
        Some(run) => run,
        None => find(&mut db, &place, name).await?,
    };
    present(app, &mut db, &place, run).await
}

/// Waits for a version of the run that is newer than this one; `None` when there was none until the end.
pub async fn next(app: &App, caller: &Caller, name: &RunName, seen: i64, end: Instant) -> Result<Option<Run>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let look = || async {
        let mut db = app.store.read().await?;
        let run = find(&mut db, &place, name).await?;
        Ok::<_, Error>(if run.version > seen { Some(present(app, &mut db, &place, run).await?) } else { None })
    };
    app.wakeups.wait_for(name.run, end, look).await
}

/// The plan for people, as the runner wrote it.
pub async fn plan_summary(app: &App, caller: &Caller, name: &RunName) -> Result<(Run, Vec<u8>)> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let run = find(&mut db, &place, name).await?;
    let summary = app.open(&mut db, &place, run.uid(), Kind::PlanSummary, 0).await?;
    let summary = summary.ok_or_else(|| {
        Error::new(Reason::StateNotAllowed, format!("the run is {} and has no plan", run.phase.as_str()))
            .with("state", run.phase.as_str())
    })?;
    Ok((run, summary))
}

/// Log of a run from an offset on: lines as JSON values, the offset after them, and whether more can come.
pub async fn log(
    app: &App,
    caller: &Caller,
    name: &RunName,
    from: i64,
    follow: bool,
    end: Instant,
) -> Result<(Vec<Value>, i64, bool)> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let look = || async {
        let mut db = app.store.read().await?;
        let run = find(&mut db, &place, name).await?;
        let mut lines = Vec::new();
        let mut next = from;
        for (first, body) in runs::read_log(&mut db, place.scope, run.uid(), from, 16).await? {
            let piece: Vec<Value> = serde_json::from_str(&body).map_err(Error::internal)?;
            let skip = usize::try_from(next - first).unwrap_or(0);
            next = first + i64::try_from(piece.len()).unwrap_or(0);
            lines.extend(piece.into_iter().skip(skip));
        }
        let more = !lines.is_empty() || (follow && !run.is_done());
        Ok::<_, Error>((!lines.is_empty() || !more).then_some((lines, next, more)))
    };
    let found = app.wakeups.wait_for(name.run, if follow { end } else { Instant::now() }, look).await?;
    Ok(found.unwrap_or((Vec::new(), from, true)))
}

pub(crate) async fn find(db: &mut Session, place: &Place, name: &RunName) -> Result<Run> {
    let run = runs::get(db, place.scope, name.run).await?;
    run.filter(|run| run.name == *name).ok_or_else(|| Error::not_found(name))
}

pub(crate) async fn environment_of(db: &mut Session, place: &Place, name: &DeploymentName) -> Result<Environment> {
    let environment = name.environment_name();
    environments::get(db, place.scope, &environment).await?.ok_or_else(|| Error::not_found(environment))
}

/// Wakes whoever waits for the run, and the runners unless one of them has it: it wants one, or has given up its place. What has
/// ended is counted.
pub(crate) fn woken(app: &App, run: &Run) {
    if let Some(outcome) = run.outcome.filter(|_| run.kind.mutates()) {
        app.metrics.deployment_ended(&run.engine, outcome);
    }
    app.wakeups.wake(run.uid());
    if !run.phase.is_leased() {
        app.wakeups.wake(run.pool.to_string());
    }
}

/// Takes a run one step on and carries out what follows, in the caller's transaction.
pub(crate) async fn advance(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    run: Run,
    event: RunEvent,
    now: Timestamp,
    lease: Option<Timestamp>,
) -> Result<Run> {
    advance_with(app, tx, place, run, None, event, now, lease).await
}

/// The same where the deployment, as it was read, has had a say in what the event is. Fails with `ETAG_MISMATCH` when what follows
/// changes it and somebody else was first.
#[expect(clippy::too_many_arguments, reason = "what a step is made of, each of its own kind")]
pub(crate) async fn advance_with(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    run: Run,
    seen_deployment: Option<Deployment>,
    event: RunEvent,
    now: Timestamp,
    lease: Option<Timestamp>,
) -> Result<Run> {
    let (seen, phase) = (run.version, run.phase);
    let (run, effects) = run.step(event, now)?;
    if run.version == seen {
        return Ok(run);
    }
    let uid = run.uid();
    let (slots, others): (Vec<_>, Vec<_>) =
        effects.into_iter().partition(|effect| matches!(effect, Effect::TakeSlot | Effect::FreeSlot | Effect::LeaveQueue));
    for slot in slots {
        match slot {
            Effect::TakeSlot => tx.reserve(Dimension::ConcurrentRuns, 1, uid, &run.name),
            Effect::LeaveQueue => tx.free(Dimension::QueuedRuns, uid),
            _ => tx.free(Dimension::ConcurrentRuns, uid),
        }
    }
    let ended = run.is_done() && phase != RunPhase::Done && run.kind != RunKind::Plan;
    if !others.is_empty() || ended {
        let before = match seen_deployment {
            Some(deployment) => deployment,
            None => deployment_of(tx, place, &run).await?,
        };
        let mut deployment = before.clone();
        for effect in others {
            follow(app, tx, place, &run, &mut deployment, effect, now).await?;
        }
        if ended {
            drift::run_ended(app, tx, place, &run, &mut deployment, now).await?;
        }
        if deployment != before {
            deployment.meta.touch(now);
            deployments::update(tx, place.scope, &deployment).await?;
        }
        if deployment.observed_revision != before.observed_revision {
            resolution::spread(app, tx, place, &run, &deployment, now).await?;
        }
    }
    runs::update(tx, place.scope, seen, &run, lease.filter(|_| run.phase.is_leased())).await?;
    if run.phase != phase {
        let data = json!({
            "phase": run.phase.as_str(),
            "outcome": run.outcome.map(RunOutcome::as_str),
            "epoch": run.epoch,
            "kind": run.kind.as_str(),
            "deployment": run.name.deployment_name().to_string(),
        });
        tx.announce(Event::new("run.moved", &run.name, uid, run.version).with(data));
        receipts::sign(app, tx, place, phase, &run).await?;
    }
    Ok(run)
}

async fn follow(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    run: &Run,
    deployment: &mut Deployment,
    effect: Effect,
    now: Timestamp,
) -> Result<()> {
    match effect {
        Effect::TakeSlot | Effect::FreeSlot | Effect::LeaveQueue => {}
        Effect::Lock => match deployment.active_run {
            Some(holder) if holder != run.uid() => {
                return Err(Error::new(Reason::OperationInProgress, "another run is changing this deployment")
                    .with("operation", deployment.run_name(holder)));
            }
            _ => deployment.active_run = Some(run.uid()),
        },
        Effect::Unlock => {
            if deployment.active_run == Some(run.uid()) {
                deployment.active_run = None;
            }
        }
        Effect::DeploymentIs(state) => {
            deployment.state = state;
            if matches!(state, DeploymentState::Active | DeploymentState::Destroyed) {
                deployment.drifted = false;
            }
        }
        Effect::DriftFound(drifted) => {
            deployment.drifted = drifted;
            deployment.drift_check_time = Some(now);
        }
        Effect::CommitRevision => commit_revision(app, tx, place, run, deployment, now).await?,
        Effect::ConfirmRevision => {
            if !is_observed(app, tx, place, run, deployment).await? {
                commit_revision(app, tx, place, run, deployment, now).await?;
            }
        }
    }
    Ok(())
}

async fn commit_revision(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    run: &Run,
    deployment: &mut Deployment,
    now: Timestamp,
) -> Result<()> {
    deployment.observed_revision += 1;
    // What was rolled back to is what is wanted now, else the next run would undo the rollback; unless somebody has said
    // meanwhile what is wanted.
    if run.kind == RunKind::Rollback && deployment.generation == run.generation {
        deployment.blueprint_version = run.blueprint_version.clone();
        deployment.inputs = run.inputs.clone();
        deployment.generation += 1;
        let inputs = desired::inputs_of(app, tx, place, run.uid()).await?;
        app.put(tx, place, deployment.meta.uid, Kind::Inputs, desired::WISHED, &desired::bytes(&inputs)?).await?;
    }
    let revision = Revision {
        number: deployment.observed_revision,
        blueprint_version: run.blueprint_version.clone(),
        inputs: run.inputs.clone(),
        run: run.uid(),
        create_time: now,
    };
    let uid: Uid = tx.uid();
    deployments::insert_revision(tx, place.scope, deployment.meta.uid, uid, &revision).await?;
    resolution::settle(app, tx, place, run, deployment, now).await
}

/// Whether the last revision is what this run works with.
async fn is_observed(app: &App, db: &mut Session, place: &Place, run: &Run, deployment: &Deployment) -> Result<bool> {
    let last = deployments::get_revision(db, place.scope, deployment.meta.uid, deployment.observed_revision).await?;
    let Some(last) = last.filter(|last| last.blueprint_version == run.blueprint_version) else { return Ok(false) };
    let (made, now) =
        (resolution::made_by(app, db, place, last.run).await?, resolution::made_by(app, db, place, run.uid()).await?);
    Ok((made.inputs, made.resolved) == (now.inputs, now.resolved))
}

/// The deployment of a run.
pub(crate) async fn deployment_of(db: &mut Session, place: &Place, run: &Run) -> Result<Deployment> {
    let deployment = deployments::get_by_uid(db, place.scope, run.deployment).await?;
    deployment.ok_or_else(|| Error::internal(format!("{} has no deployment", run.name)))
}
