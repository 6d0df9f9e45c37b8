//! Deployments that are left to nobody: what they made stays, and the list of it with them.

use freehold_domain::{
    Result,
    access::{Caller, TenantScope},
    deployments::{Abandonment, Deployment},
    events::Event,
    names::DeploymentName,
    quotas::Dimension,
    time::Uid,
};
use freehold_store::{Tx, dependencies, deployments, managed_resources};

use crate::{
    app::{App, Place, Write},
    dependencies::expect_no_dependants,
    deployments::{expect_no_run, find, remove},
};

/// The permission to leave what is real to nobody.
pub const PERMISSION: &str = "deployments.deployments.abandon";
/// Deployments that are forgotten in one go.
const MANY: u32 = 50;

/// Leaves whatever a deployment has made to nobody. It gives its place among deployments back, and is kept for a while, with its
/// revisions and its last state, for whoever looks after what it made.
///
/// Fails with `STATE_NOT_ALLOWED` when it is protected or there is nothing to leave, with `RESOURCE_IN_USE` while others need it or a
/// run has not ended.
pub async fn abandon(app: &App, caller: &Caller, name: &DeploymentName, reason: String, write: &Write) -> Result<Deployment> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut deployment = find(&mut tx, &place, name).await?;
    deployment.meta.expect_etag(write.etag.as_deref())?;
    deployment.expect_kept()?;
    let (now, before) = (tx.now(), deployment.state);
    let addresses = left_behind(&mut tx, &place, &deployment).await?;
    let facts = serde_json::json!({ "reason": reason, "state": before.as_str(), "addresses": addresses });
    deployment.abandon(Abandonment { principal: caller.principal.clone(), reason, time: now, addresses })?;
    expect_no_run(&mut tx, &place, &deployment).await?;
    expect_no_dependants(&mut tx, &place, &deployment, "abandon").await?;
    deployment.depends_on.clear();
    deployment.meta.touch(now);
    deployments::update(&mut tx, place.scope, &deployment).await?;
    deployments::schedule(&mut tx, place.scope, &deployment).await?;
    dependencies::replace(&mut tx, place.scope, deployment.meta.uid, &[]).await?;
    managed_resources::replace(&mut tx, place.scope, deployment.meta.uid, &managed_resources::Counts::new()).await?;
    tx.announce(Event::new("deployment.abandoned", name, deployment.meta.uid, deployment.meta.version).with(facts));
    tx.take(Dimension::Deployments, -1);
    app.finish(tx, write, &deployment).await?;
    Ok(deployment)
}

/// Resources that the newest state of a deployment knows.
pub(crate) async fn left_behind(tx: &mut Tx, place: &Place, deployment: &Deployment) -> Result<Vec<String>> {
    let state = deployments::get_state(tx, place.scope, deployment.meta.uid, deployment.state_serial).await?;
    Ok(state.map(|state| state.resources.into_iter().map(|resource| resource.address).collect()).unwrap_or_default())
}

/// Forgets abandoned deployments that were kept for long enough; answers whether there may be more.
pub async fn purge(app: &App) -> Result<bool> {
    let due = deployments::abandoned(&mut app.store.read().await?, app.now(), MANY).await?;
    for (scope, uid) in &due {
        forget(app, *scope, *uid).await?;
    }
    Ok(due.len() == MANY as usize)
}

async fn forget(app: &App, scope: TenantScope, uid: Uid) -> Result<()> {
    let mut tx = app.store.begin_as("server", scope).await?;
    let place = app.place_by_scope(&mut tx, scope).await?;
    let Some(found) = deployments::get_by_uid(&mut tx, scope, uid).await? else { return Ok(()) };
    // Held against the other replicas, which do the same.
    if !deployments::hold(&mut tx, scope, &found.name).await? {
        return Ok(());
    }
    let Some(deployment) = deployments::get_by_uid(&mut tx, scope, uid).await? else { return Ok(()) };
    dependencies::release(&mut tx, scope, uid).await?;
    remove(&mut tx, &place, &deployment).await?;
    tx.announce(Event::new("deployment.purged", &deployment.name, uid, deployment.meta.version + 1));
    tx.commit(&()).await
}
