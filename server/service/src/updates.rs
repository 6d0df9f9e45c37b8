//! What follows for deployments when outputs that they have taken change: an apply of those that want one, a word on the others.
//!
//! Each edge of the graph that leads from a new revision is due in the transaction that commits it. Whoever takes it up, of all
//! replicas one, does so in the transaction that begins the run, so that a change is followed once, whoever dies in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use freehold_domain::{
    Result,
    access::{Principal, TenantScope},
    dependencies::{Needs, ancestors, listed},
    deployments::{ConditionKind, Deployment, DeploymentState},
    events::Event,
    fault,
    names::DeploymentName,
    runs::{Run, RunKind, RunPhase},
    tenants::TenantState,
    time::Uid,
};
use freehold_store::{Session, Tx, dependencies, deployments, runs};

use crate::{
    app::{App, Place},
    dependencies::edges_of,
    resolution::{note, outdated},
    runs::{Beginning, StartRun, begin, environment_of},
};

/// Tenants of one look.
const TENANTS: u32 = 16;
/// Deployments of one look at a tenant.
const MANY: usize = 100;
/// How long what waits for others is let alone.
const LATER: Duration = Duration::from_secs(1);
/// How long what failed, or belongs to a tenant that is not active, is let alone.
const MUCH_LATER: Duration = Duration::from_secs(60);

/// Follows changes of outputs; answers how many deployments were seen to.
pub async fn follow(app: &App) -> Result<usize> {
    let tenants = dependencies::due(&mut app.store.read().await?, app.now(), TENANTS).await?;
    let mut seen_to = 0;
    for scope in tenants {
        seen_to += follow_in(app, scope).await?;
    }
    Ok(seen_to)
}

async fn follow_in(app: &App, scope: TenantScope) -> Result<usize> {
    let now = app.now();
    let mut db = app.store.read().await?;
    let place = app.place_by_scope(&mut db, scope).await?;
    let edges = edges_of(&mut db, &place).await?;
    let mut needs = Needs::<Uid>::new();
    for edge in &edges {
        needs.entry(edge.deployment).or_default().insert(edge.upstream);
    }
    let pending: BTreeSet<Uid> = edges.iter().filter(|edge| edge.due.is_some()).map(|edge| edge.deployment).collect();
    let due: BTreeSet<Uid> =
        edges.iter().filter(|edge| edge.due.is_some_and(|due| due <= now)).map(|edge| edge.deployment).collect();
    let mut changing = BTreeMap::new();
    let mut seen_to = 0;
    for deployment in due.into_iter().take(MANY) {
        // In the order of the graph: as long as anything above may still change, so may what would be taken.
        let mut waits = false;
        for ancestor in ancestors(&needs, deployment) {
            waits |= pending.contains(&ancestor) || is_changing(&mut db, scope, ancestor, &mut changing).await?;
        }
        match follow_one(app, &place, deployment, waits).await {
            Ok(done) => seen_to += usize::from(done),
            // One that cannot be followed must not keep the others.
            Err(error) => {
                tracing::warn!(%deployment, error = error.chain(), "a change of outputs cannot be followed yet");
                let mut tx = app.store.begin_as("server", scope).await?;
                let until = tx.now().plus(MUCH_LATER);
                dependencies::postpone(&mut tx, scope, deployment, until).await?;
                tx.commit(&()).await?;
            }
        }
    }
    Ok(seen_to)
}

async fn is_changing(db: &mut Session, scope: TenantScope, deployment: Uid, known: &mut BTreeMap<Uid, bool>) -> Result<bool> {
    if let Some(changing) = known.get(&deployment) {
        return Ok(*changing);
    }
    let changing = runs::unfinished(db, scope, deployment).await?.iter().any(|run| run.kind.mutates());
    known.insert(deployment, changing);
    Ok(changing)
}

/// Takes up what is due of one deployment; answers whether that was done now, by this one.
async fn follow_one(app: &App, place: &Place, uid: Uid, waits: bool) -> Result<bool> {
    let mut tx = app.store.begin_as("server", place.scope).await?;
    let now = tx.now();
    fault::point("update.begun");
    let suspended = place.tenant.state != TenantState::Active;
    if waits || suspended {
        let until = now.plus(if suspended { MUCH_LATER } else { LATER });
        dependencies::postpone(&mut tx, place.scope, uid, until).await?;
        tx.commit(&()).await?;
        return Ok(false);
    }
    let Some(found) = deployments::get_by_uid(&mut tx, place.scope, uid).await? else { return Ok(false) };
    // The deployment is held first, as everywhere, and read again as it is then.
    deployments::hold(&mut tx, place.scope, &found.name).await?;
    let Some(mut deployment) = deployments::get_by_uid(&mut tx, place.scope, uid).await? else { return Ok(false) };
    if !dependencies::take_due(&mut tx, place.scope, uid, now).await? {
        return Ok(false);
    }
    let before = deployment.clone();
    let changed = match made_real_by(&mut tx, place, &deployment).await? {
        Some(run) => outdated(app, &mut tx, place, &run).await?,
        None => Vec::new(),
    };
    note(&mut deployment, &changed, now);
    let begun = if changed.is_empty() {
        None
    } else {
        match next(&mut tx, place, &deployment).await? {
            Next::Later => {
                dependencies::mark_all(&mut tx, place.scope, uid, now.plus(LATER)).await?;
                tx.commit(&()).await?;
                return Ok(false);
            }
            Next::Nothing => None,
            Next::Apply => {
                let names: Vec<&DeploymentName> = changed.iter().collect();
                let cmd = StartRun {
                    name: deployment.name.clone(),
                    kind: RunKind::Apply,
                    target: 0,
                    auto_apply: true,
                    keep_queued: false,
                    message: format!("outputs of {} have changed", listed(&names)),
                };
                let environment = environment_of(&mut tx, place, &deployment.name).await?;
                let beginning = Beginning { cmd, creator: Principal::Server, mends: None };
                Some(begin(app, &mut tx, place, deployment.clone(), &environment, beginning).await?)
            }
        }
    };
    if begun.is_none() && deployment != before {
        deployment.meta.touch(now);
        deployments::update(&mut tx, place.scope, &deployment).await?;
    }
    if !changed.is_empty() && !before.conditions.contains_key(&ConditionKind::DependencyChanged) {
        announce(&mut tx, &deployment, &changed, begun.as_ref().map(|begun| &begun.run));
    }
    fault::point("update.written");
    tx.commit(&()).await?;
    fault::point("update.committed");
    if let Some(begun) = &begun {
        begun.wake(app);
    }
    Ok(true)
}

fn announce(tx: &mut Tx, deployment: &Deployment, changed: &[DeploymentName], begun: Option<&Run>) {
    let version = deployment.meta.version + i64::from(begun.is_some());
    let facts = serde_json::json!({ "changed": changed, "run": begun.map(|run| run.name.to_string()) });
    tx.announce(Event::new("deployment.dependency_changed", &deployment.name, deployment.meta.uid, version).with(facts));
}

/// The run that made what is real of a deployment.
async fn made_real_by(tx: &mut Tx, place: &Place, deployment: &Deployment) -> Result<Option<Run>> {
    if !matches!(deployment.state, DeploymentState::Active | DeploymentState::Partial) {
        return Ok(None);
    }
    let revision = deployments::get_revision(tx, place.scope, deployment.meta.uid, deployment.observed_revision).await?;
    match revision {
        Some(revision) => runs::get(tx, place.scope, revision.run).await,
        None => Ok(None),
    }
}

/// What is done about a deployment whose outputs from others have changed.
enum Next {
    /// An apply is begun.
    Apply,
    /// It is only said.
    Nothing,
    /// A run is at work on it, whose end comes first.
    Later,
}

async fn next(tx: &mut Tx, place: &Place, deployment: &Deployment) -> Result<Next> {
    let unfinished = runs::unfinished(tx, place.scope, deployment.meta.uid).await?;
    for run in unfinished.iter().filter(|run| run.kind.mutates()) {
        match (run.kind, run.phase) {
            // It has not taken any outputs yet, and will take the new ones.
            (RunKind::Apply, RunPhase::Pending | RunPhase::Queued) => return Ok(Next::Nothing),
            // Its plan is of the past, and the new run takes its place.
            (RunKind::Apply, RunPhase::AwaitingApproval | RunPhase::ApplyQueued) => {}
            // Somebody wants something else of it, and has not decided.
            (_, RunPhase::Pending | RunPhase::Queued | RunPhase::AwaitingApproval | RunPhase::ApplyQueued) => {
                return Ok(Next::Nothing);
            }
            _ => return Ok(Next::Later),
        }
    }
    let wanted = deployment.apply_on_dependency_change && deployment.state == DeploymentState::Active;
    Ok(if wanted && deployment.expect_runnable(RunKind::Apply).is_ok() { Next::Apply } else { Next::Nothing })
}
