//! Why a run waits: reads what is true around it, and lets the domain say it.

use freehold_domain::{
    Result,
    access::{Caller, Principal, Role, allows},
    approvals::{APPROVE, Standing},
    deployments::Deployment,
    explain::{Explanation, Facts, Hindrance},
    names::RunName,
    queue::Waiting,
    quotas::Dimension,
    resource::Page,
    runners::{Runner, RunnerState},
    runs::{Run, RunPhase, WaitingReason},
    time::Uid,
};
use freehold_store::{Session, access, queue, quotas, runs, tenants};

use crate::{
    app::{App, Place},
    approvals, identify, resolution,
    runs::{deployment_of, find},
};

/// Runs of a queue that are read to find out about a place in it, at most.
const QUEUE: u32 = 5000;
/// Runners and jobs of a pool that are read, at most.
const POOL: u32 = 1000;
/// People and runs that are named, at most.
const NAMED: usize = 10;
/// Role bindings that are looked through for people, in pages of 500.
const BINDING_PAGES: usize = 4;

/// Answers a run, and why it waits.
pub async fn explain(app: &App, caller: &Caller, name: &RunName) -> Result<(Run, Explanation)> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let run = find(&mut db, &place, name).await?;
    let deployment = deployment_of(&mut db, &place, &run).await?;
    let run = approvals::under(app, &mut db, &place, run, &deployment, app.now()).await?;
    let tenant =
        tenants::get_by_uid(&mut db, place.scope.0.0).await?.map_or_else(|| (*place.tenant).clone(), |(tenant, _)| tenant);
    let mut facts = Facts {
        tenant,
        lock_holder: None,
        dependency: None,
        slots: None,
        runners: Vec::new(),
        jobs: Vec::new(),
        queue: (Vec::new(), 0),
        queue_goes_on: false,
        job_time: None,
        deciders: Vec::new(),
        lease: None,
        now: app.now(),
        deployment,
        run,
    };
    if facts.run.phase.is_claimable() {
        waiting(app, &mut db, &place, &mut facts).await?;
    }
    if facts.run.phase.is_claimable() || facts.run.phase.is_leased() {
        facts.runners = queue::runners(&mut db, &facts.run.pool.to_string(), POOL).await?;
    }
    if facts.run.phase.is_claimable() {
        line(&mut db, &mut facts).await?;
    }
    if facts.run.phase.is_leased() {
        let ends = runs::lease_until(&mut db, place.scope, facts.run.uid()).await?;
        let clock = db.database_now().await?;
        facts.lease = ends.map(|ends| (ends, clock));
    }
    if facts.run.phase == RunPhase::AwaitingApproval {
        drop(db);
        facts.deciders = deciders(app, &place, &facts).await?;
    }
    let answer = Explanation::of(&facts);
    Ok((facts.run, answer))
}

/// What may keep the run from being taken.
async fn waiting(app: &App, db: &mut Session, place: &Place, facts: &mut Facts) -> Result<()> {
    facts.dependency = resolution::wait(app, db, place, &facts.run).await?;
    if let Some(quota) = quotas::get(db, place.scope, Dimension::ConcurrentRuns).await? {
        let holders = queue::holders(db, place.scope, Dimension::ConcurrentRuns, NAMED as u32).await?;
        facts.slots = Some((quota, holders));
    }
    if let Some(holder) = facts.deployment.active_run.filter(|holder| *holder != facts.run.uid()) {
        facts.lock_holder = runs::get(db, place.scope, holder).await?;
    }
    Ok(())
}

/// What is ahead of the run, and what the runners do that could take it.
async fn line(db: &mut Session, facts: &mut Facts) -> Result<()> {
    let pool = facts.run.pool.to_string();
    let fits = |runner: &&Runner| runner.engines.contains(&facts.run.engine) && runner.state(facts.now) == RunnerState::Online;
    let mut engines: Vec<&String> = facts.runners.iter().filter(fits).flat_map(|runner| &runner.engines).collect();
    engines.sort_unstable();
    engines.dedup();
    let (mut all, mut clock): (Vec<Waiting>, i64) = (Vec::new(), 0);
    for engine in engines {
        let (waiting, time) = queue::waiting(db, &pool, engine, QUEUE).await?;
        facts.queue_goes_on |= waiting.len() >= QUEUE as usize;
        all.extend(waiting);
        clock = clock.max(time);
    }
    facts.queue = (all, clock);
    let under_way = queue::under_way(db, &pool, POOL).await?;
    facts.jobs = under_way.into_iter().filter_map(|run| Some((run.runner?, run.job_begin_time?))).collect();
    facts.job_time = queue::job_time(db, &pool).await?;
    Ok(())
}

/// Members of the tenant that may decide on the plan of a run.
async fn deciders(app: &App, place: &Place, facts: &Facts) -> Result<Vec<String>> {
    let run = &facts.run;
    let permission = if run.needs_approval() { APPROVE } else { "deployments.runs.apply" };
    let mut found: Vec<Principal> = Vec::new();
    let mut page = Page { size: 500, after: None, newest_first: false };
    for _ in 0..BINDING_PAGES {
        let listed = access::list_bindings(&mut app.store.read().await?, place.scope, page).await?;
        for binding in listed.items {
            let promising = Role::find(&binding.role).is_some_and(|role| role.allows(permission));
            if !promising || found.contains(&binding.member) {
                continue;
            }
            let standing = Standing { grants: identify::grants(app, &binding.member).await?.unwrap_or_default() };
            let may = if run.needs_approval() {
                run.would_count(&binding.member, &standing, facts.now)
            } else {
                allows(&standing.grants, permission, &run.name.to_string(), facts.now)
            };
            if may {
                found.push(binding.member);
            }
            if found.len() == NAMED {
                return Ok(found.iter().map(ToString::to_string).collect());
            }
        }
        match listed.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    Ok(found.iter().map(ToString::to_string).collect())
}

/// Puts into runs of one deployment what they wait for at present, where it is not what it was when they began to.
pub(crate) async fn present(app: &App, db: &mut Session, place: &Place, deployment: Uid, of: &mut [Run]) -> Result<()> {
    if !of.iter().any(|run| run.phase.is_claimable()) {
        return Ok(());
    }
    let tenant = tenants::get_by_uid(db, place.scope.0.0).await?.map(|(tenant, _)| tenant);
    let slots = quotas::get(db, place.scope, Dimension::ConcurrentRuns).await?;
    let applies = of.iter().any(|run| run.phase == RunPhase::ApplyQueued);
    let deployment: Option<Deployment> =
        if applies { freehold_store::deployments::get_by_uid(db, place.scope, deployment).await? } else { None };
    let tenant = tenant.as_ref().unwrap_or(&place.tenant);
    for run in of.iter_mut().filter(|run| run.phase.is_claimable()) {
        if let Some(hindrance) = Hindrance::first(run, tenant, slots.as_ref(), deployment.as_ref()) {
            run.waiting_on = Some(hindrance.waiting_on(run));
        } else if let Some(wait) = resolution::wait(app, db, place, run).await? {
            run.waits_for(wait, app.now());
        } else if run.waiting_on.as_ref().is_some_and(|on| on.reason == WaitingReason::Dependency) {
            run.waits_for_runner(app.now());
        }
    }
    Ok(())
}
