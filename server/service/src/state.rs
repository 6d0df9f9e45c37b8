//! What deployments have made, version by version, and their outputs.

use freehold_domain::{
    Error, Result,
    access::Caller,
    audit::Event,
    deployments::{Deployment, OutputValue, Outputs, StateVersion},
    names::{DeploymentName, StateVersionName},
};
use freehold_store::{RequestKey, deployments, payloads::Kind};
use serde_json::Value;

use crate::{app::App, deployments as desired};

/// The permission to see sensitive outputs.
pub const REVEAL: &str = "deployments.state.reveal";

/// One output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its value; `None` when it is hidden.
    pub value: Option<Value>,
    /// Shown only on demand.
    pub sensitive: bool,
}

/// Returns one state version and its deployment.
pub async fn get(app: &App, caller: &Caller, name: &StateVersionName) -> Result<(Deployment, StateVersion)> {
    let parent = name.deployment_name();
    let place = app.enter(caller, &freehold_domain::names::TenantName { tenant: name.tenant.clone() }, &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let deployment = desired::find(&mut db, &place, &parent).await?;
    let version = deployments::get_state(&mut db, place.scope, deployment.meta.uid, name.serial).await?;
    Ok((deployment, version.ok_or_else(|| Error::not_found(name))?))
}

/// Lists up to `size + 1` state versions after a serial.
pub async fn list(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    after: i64,
    size: u32,
) -> Result<(Deployment, Vec<StateVersion>)> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let deployment = desired::find(&mut db, &place, parent).await?;
    let versions = deployments::list_states(&mut db, place.scope, deployment.meta.uid, after, size + 1).await?;
    Ok((deployment, versions))
}

/// Lists the outputs of the newest state. To reveal sensitive ones takes a permission of its own and is audited.
pub async fn outputs(app: &App, caller: &Caller, parent: &DeploymentName, reveal: bool) -> Result<Vec<Output>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    if reveal {
        caller.require_permission(REVEAL, &parent.to_string(), app.now())?;
    }
    let mut db = app.store.read().await?;
    let deployment = desired::find(&mut db, &place, parent).await?;
    let Some(bytes) = app.open(&mut db, &place, deployment.meta.uid, Kind::Outputs, 0).await? else { return Ok(Vec::new()) };
    drop(db);
    if reveal {
        // No audit, no secret.
        let mut tx = app.store.begin(caller, place.scope, &RequestKey { request_id: None, digest: [0; 32] }).await?;
        tx.announce(Event::new("deployment.outputs-revealed", parent, deployment.meta.uid, deployment.meta.version));
        tx.commit(&()).await?;
    }
    let stored: Outputs = serde_json::from_slice(&bytes).map_err(Error::internal)?;
    let shown = |(name, output): (String, OutputValue)| {
        let hidden = output.sensitive && !reveal;
        Output { name, value: (!hidden).then_some(output.value), sensitive: output.sensitive }
    };
    Ok(stored.into_iter().map(shown).collect())
}
