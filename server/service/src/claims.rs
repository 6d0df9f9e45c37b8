//! How runners come to jobs: a run that waits is claimed under a lease, and is given with everything that is needed for it.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::{
    Error, Result,
    deployments::Deployment,
    explain::Hindrance,
    fault,
    jobs::PlanWork,
    names::RunnerName,
    queue::Waiting,
    quotas::Dimension,
    runs::{Ask, Run, RunEvent, RunKind, RunPhase},
    time::Uid,
};
use freehold_store::{Session, blueprint_versions, payloads::Kind, quotas, runners, runs, tenants};
use tokio::time::Instant;

use crate::{
    app::{App, Place},
    approvals, blueprints,
    deployments::inputs_of,
    jobs::{Entry, leased, step_place},
    queue, resolution,
    runners::expect_fit,
    runs::{advance, advance_with, deployment_of, woken},
    secret_stores, state,
};

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

/// Waits for work until the end. The same ask gets the same job for as long as its lease lasts, of another incarnation under a fence
/// of its own.
///
/// No ask waits for longer than half a lease. A lease that is extended in time outlasts its last extension by more than that, so
/// a run that is taken back from a runner that was lost or frozen is not given to another ask that is left of that runner.
pub async fn acquire(app: &App, runner: &RunnerName, engines: &[String], ask: Ask, end: Instant) -> Result<Option<Job>> {
    let end = end.min(Instant::now() + app.lease / 2);
    if let Some((place, run)) = given(app, runner, ask.uid).await? {
        let known = run.incarnation == Some(ask.incarnation) || fault::mutant("incarnation");
        let run = if known { run } else { take_over(app, &place, runner, run, ask.incarnation).await? };
        // Only now: what the earlier incarnation has reported until it lost its fence is in the journal.
        return job(app, &mut app.store.read().await?, &place, run).await.map(Some);
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

/// The run that the runner was given by this ask.
async fn given(app: &App, runner: &RunnerName, ask: Uid) -> Result<Option<(Place, Run)>> {
    let mut db = app.store.read().await?;
    let Some((scope, uid)) = runs::asked(&mut db, ask).await? else { return Ok(None) };
    let place = app.place_by_scope(&mut db, scope).await?;
    let run = runs::get(&mut db, scope, uid).await?.filter(|run| run.runner.as_ref() == Some(runner));
    Ok(run.map(|run| (place, run)))
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
        let wished = inputs_of(app, db, place, run.uid()).await?;
        // What was named when the inputs were written, and not what has the form of a name among outputs that were taken since.
        let secrets = secret_stores::reads(db, place, &wished).await?;
        let mut inputs = if run.resolved { resolution::inputs_for(app, db, place, &run).await? } else { wished };
        inputs.retain(|name, _| !secrets.contains_key(name));
        Work::Plan(Box::new(PlanWork {
            destroy: run.kind == RunKind::Destroy,
            files: blueprints::encoded_files(app, db, place, version.uid()).await?,
            inputs,
            secrets,
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
