//! Deployments that end by themselves: reminded of, extended, and removed by a run when their time is over.

use std::time::Duration;

use freehold_domain::{
    Error, Reason, Result, Violations,
    access::{Caller, Principal, TenantScope},
    dependencies::{in_need, listed},
    deployments::{ConditionKind, Deployment, DeploymentState},
    events::Event,
    lifetimes::{Lifetime, TRY_AGAIN, Told, TtlPolicy},
    names::DeploymentName,
    runs::{Run, RunEvent, RunKind, RunOutcome, RunPhase},
    tenants::TenantState,
    time::{Timestamp, Uid},
};
use freehold_store::{Tx, dependencies, deployments, runs};

use crate::{
    app::{App, Place, Write},
    deployments::{Expiry, find},
    runs::{Beginning, Begun, StartRun, advance, begin, environment_of, woken},
};

/// Deployments of one look.
const MANY: u32 = 100;

/// The lifetime that a new deployment is given.
pub(crate) fn given(policy: &TtlPolicy, expire: Option<Expiry>, max_idle: Option<Duration>, now: Timestamp) -> Result<Lifetime> {
    let mut wrong = Violations::new();
    let field = format!("deployment.{}", expire.map_or("expire_time", Expiry::field));
    let expire_time = wrong.check(&field, policy.end(expire.map(|expire| expire.time(now)), now)).flatten();
    let max_idle = max_idle.and_then(|idle| wrong.check("deployment.max_idle", policy.idle(idle)));
    wrong.finish()?;
    let mut lifetime = Lifetime { expire_time, max_idle, active_time: now, ..Lifetime::default() };
    lifetime.begin(now);
    Ok(lifetime)
}

/// How long a deployment may be left alone from now on.
pub(crate) fn idle(policy: &TtlPolicy, wish: Option<Duration>) -> Result<Option<Duration>> {
    wish.map(|wish| policy.idle(wish).map_err(|why| Error::field("deployment.max_idle", why))).transpose()
}

/// Somebody has changed a deployment, which is to need it.
pub(crate) fn needed(deployment: &mut Deployment, before: &Deployment, now: Timestamp) {
    let lifetime = &mut deployment.lifetime;
    lifetime.active(now);
    if lifetime.told == Told::End && before.deletion_protection && !deployment.deletion_protection {
        lifetime.next_try = Some(now);
    }
    tell_less(deployment);
}

/// A reminder of an end that has moved away is none any more.
fn tell_less(deployment: &mut Deployment) {
    if deployment.lifetime.told == Told::Nothing {
        deployment.conditions.remove(&ConditionKind::TtlExpiring);
    }
}

/// Gives a deployment another end.
///
/// Fails with `FIELD_INVALID` when that is in the past, or later than its environment allows, with `OPERATION_IN_PROGRESS` when it
/// is being removed already.
pub async fn extend(app: &App, caller: &Caller, name: &DeploymentName, expire: Expiry, write: &Write) -> Result<Deployment> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut deployment = find(&mut tx, &place, name).await?;
    deployment.meta.expect_etag(write.etag.as_deref())?;
    deployment.expect_kept()?;
    let now = tx.now();
    let policy = environment_of(&mut tx, &place, name).await?.ttl;
    let end = policy.end(Some(expire.time(now)), now).map_err(|why| Error::field(expire.field(), why))?;
    let cancelled = withdraw(app, &mut tx, &place, &deployment, now).await?;
    // A run that ends may have changed the row.
    deployment = find(&mut tx, &place, name).await?;
    let before = deployment.lifetime.expire_time;
    deployment.lifetime.expire_time = end;
    deployment.lifetime.active_time = now;
    deployment.lifetime.begin(now);
    deployment.conditions.remove(&ConditionKind::TtlExpired);
    deployment.conditions.remove(&ConditionKind::TtlExpiring);
    deployment.meta.touch(now);
    deployments::update(&mut tx, place.scope, &deployment).await?;
    deployments::schedule(&mut tx, place.scope, &deployment).await?;
    let facts = serde_json::json!({
        "before": before.map(|time| time.to_string()),
        "expire_time": end.map(|time| time.to_string()),
    });
    tx.announce(Event::new("deployment.extended", name, deployment.meta.uid, deployment.meta.version).with(facts));
    app.finish(tx, write, &deployment).await?;
    cancelled.iter().for_each(|run| woken(app, run));
    Ok(deployment)
}

/// Stops runs by which the server is to remove the deployment, as long as nothing was removed.
async fn withdraw(app: &App, tx: &mut Tx, place: &Place, deployment: &Deployment, now: Timestamp) -> Result<Vec<Run>> {
    let mut cancelled = Vec::new();
    for run in runs::unfinished(tx, place.scope, deployment.meta.uid).await? {
        if run.kind != RunKind::Destroy || run.creator != Principal::Server {
            continue;
        }
        if run.phase.holds_lock() {
            return Err(Error::new(
                Reason::OperationInProgress,
                format!("{} is removing it already; cancel that first", run.name),
            )
            .with("operation", &run.name));
        }
        cancelled.push(advance(app, tx, place, run, RunEvent::CancelRequested, now, None).await?);
    }
    Ok(cancelled)
}

/// Sees to deployments whose end is near or has come; answers how many.
pub async fn attend(app: &App) -> Result<usize> {
    let due = deployments::attended(&mut app.store.read().await?, app.now(), MANY).await?;
    let mut attended = 0;
    for (scope, uid) in due {
        match attend_to(app, scope, uid).await {
            Ok(done) => attended += usize::from(done),
            // One that cannot be seen to must not keep the others; it is looked at again later.
            Err(error) => {
                tracing::warn!(deployment = %uid, error = error.chain(), "the end of a deployment cannot be seen to");
                let mut tx = app.store.begin_as("server", scope).await?;
                let now = tx.now();
                deployments::attend(&mut tx, scope, uid, now, now.plus(TRY_AGAIN)).await?;
                tx.commit(&()).await?;
            }
        }
    }
    Ok(attended)
}

async fn attend_to(app: &App, scope: TenantScope, uid: Uid) -> Result<bool> {
    let mut tx = app.store.begin_as("server", scope).await?;
    let now = tx.now();
    if !deployments::attend(&mut tx, scope, uid, now, now.plus(TRY_AGAIN)).await? {
        return Ok(false);
    }
    let place = app.place_by_scope(&mut tx, scope).await?;
    let Some(mut deployment) = deployments::get_by_uid(&mut tx, scope, uid).await? else { return Ok(false) };
    let before = deployment.clone();
    if place.tenant.state != TenantState::Active {
        tx.commit(&()).await?;
        return Ok(false);
    }
    let mut begun = None;
    match deployment.lifetime.due(now) {
        None | Some(Told::Nothing) => {}
        Some(step @ (Told::Day | Told::Hour)) => remind(&mut tx, &mut deployment, step, now),
        Some(Told::End) => begun = expire(app, &mut tx, &place, &mut deployment, now).await?,
    }
    if begun.is_none() && deployment != before {
        deployment.meta.touch(now);
        deployments::update(&mut tx, scope, &deployment).await?;
        deployments::schedule(&mut tx, scope, &deployment).await?;
    } else if begun.is_none() && deployment.lifetime.told != Told::End {
        deployments::schedule(&mut tx, scope, &deployment).await?;
    }
    tx.commit(&()).await?;
    if let Some(begun) = &begun {
        begun.wake(app);
    }
    Ok(true)
}

fn remind(tx: &mut Tx, deployment: &mut Deployment, step: Told, now: Timestamp) {
    let end = deployment.lifetime.end().unwrap_or(now);
    deployment.lifetime.told = step;
    deployment.set_condition(ConditionKind::TtlExpiring, format!("it ends at {end}; extend it to keep it"), now);
    let left = if step == Told::Day { "24h" } else { "1h" };
    let facts = serde_json::json!({ "expire_time": end.to_string(), "within": left });
    let version = deployment.meta.version + 1;
    tx.announce(Event::new("deployment.expiring", &deployment.name, deployment.meta.uid, version).with(facts));
}

/// Its time is over: a run removes it, unless something keeps it, which is said. What is kept is tried again from time to time.
async fn expire(app: &App, tx: &mut Tx, place: &Place, deployment: &mut Deployment, now: Timestamp) -> Result<Option<Begun>> {
    let end = deployment.lifetime.end().unwrap_or(now);
    let first = deployment.lifetime.told != Told::End;
    let what = removal(tx, place, deployment).await?;
    let (message, again) = match &what {
        Removal::Begins => (format!("it has ended at {end}, and a run removes it"), true),
        Removal::Goes => (format!("it has ended at {end}; nothing of it is real"), false),
        Removal::Kept(why) => (format!("it has ended at {end}, and {why}"), true),
        Removal::Refused(why) => (format!("it has ended at {end}, and {why}"), false),
    };
    if first {
        deployment.lifetime.told = Told::End;
        let facts = serde_json::json!({ "expire_time": end.to_string(), "message": message });
        let version = deployment.meta.version + 1;
        tx.announce(Event::new("deployment.expired", &deployment.name, deployment.meta.uid, version).with(facts));
    }
    deployment.conditions.remove(&ConditionKind::TtlExpiring);
    deployment.set_condition(ConditionKind::TtlExpired, message, now);
    deployment.lifetime.next_try = again.then(|| match deployment.lifetime.next_try {
        // As long as nothing else changes, only the column says when.
        Some(known) if !first && !matches!(what, Removal::Begins) => known,
        _ => now.plus(TRY_AGAIN),
    });
    if !matches!(what, Removal::Begins) {
        return Ok(None);
    }
    let cmd = StartRun {
        name: deployment.name.clone(),
        kind: RunKind::Destroy,
        target: 0,
        auto_apply: true,
        keep_queued: false,
        message: format!("its time to live has ended at {end}"),
    };
    let environment = environment_of(tx, place, &deployment.name).await?;
    let beginning = Beginning { cmd, creator: Principal::Server, mends: None };
    begin(app, tx, place, deployment.clone(), &environment, beginning).await.map(Some)
}

/// What becomes of a deployment whose time is over.
enum Removal {
    /// A run is begun.
    Begins,
    /// There is nothing to remove.
    Goes,
    /// Something keeps it for now.
    Kept(String),
    /// Somebody does not want it removed.
    Refused(String),
}

async fn removal(tx: &mut Tx, place: &Place, deployment: &Deployment) -> Result<Removal> {
    let uid = deployment.meta.uid;
    let unfinished = runs::unfinished(tx, place.scope, uid).await?;
    if let Some(run) = unfinished.iter().find(|run| run.kind.mutates()) {
        let waits = matches!(run.phase, RunPhase::Queued | RunPhase::AwaitingApproval | RunPhase::ApplyQueued);
        if run.kind == RunKind::Destroy {
            return Ok(Removal::Kept(format!("{} removes it", run.name)));
        }
        if !waits {
            return Ok(Removal::Kept(format!("the end of {} comes first", run.name)));
        }
    }
    match deployment.state {
        DeploymentState::New | DeploymentState::Destroyed | DeploymentState::Abandoned => return Ok(Removal::Goes),
        DeploymentState::Quarantined => {
            return Ok(Removal::Kept("nobody knows what exists of it; restore its state, or abandon it".to_owned()));
        }
        DeploymentState::Active | DeploymentState::Partial => {}
    }
    if deployment.deletion_protection {
        return Ok(Removal::Kept("its deletion protection keeps it; switch that off, or extend it".to_owned()));
    }
    let dependants = dependencies::dependants(tx, place.scope, uid).await?;
    let names = in_need(&dependants);
    if !names.is_empty() {
        return Ok(Removal::Kept(format!("{} still need it; destroy them, or extend it", listed(&names))));
    }
    let last = match deployment.last_run {
        Some(run) => runs::get(tx, place.scope, run).await?,
        None => None,
    };
    let refused = |run: &Run| {
        let by_somebody = matches!(run.outcome, Some(RunOutcome::Rejected | RunOutcome::Cancelled));
        run.kind == RunKind::Destroy && run.creator == Principal::Server && by_somebody
    };
    if let Some(run) = last.filter(refused) {
        return Ok(Removal::Refused(format!("{} was stopped by somebody; extend it, or destroy it", run.name)));
    }
    Ok(Removal::Begins)
}
