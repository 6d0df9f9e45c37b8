//! Deployments: nothing becomes real before a run.

use std::{sync::Arc, time::Duration};

use freehold_domain::{
    Error, Reason, Result, Violation,
    access::Caller,
    blueprints::{BlueprintVersion, InputSchema},
    deployments::{Deployment, DeploymentState, Revision},
    drift::DriftPolicy,
    events::Event,
    names::{DeploymentName, EnvironmentName, Id, VersionName},
    quotas::Dimension,
    resource::{Described, Labels, Listed, Meta, Page},
    secrets::is_reserved,
    time::{Timestamp, Uid},
};
use freehold_store::{
    Session, Tx, blueprint_versions, deployments, environments,
    payloads::{self, Kind},
    runs,
};
use serde_json::{Map, Value};

use crate::{
    abandonment,
    app::{App, Place, Write},
    blueprints, dependencies, lifetimes, secret_stores,
};

/// Serial of inputs as they were said.
pub(crate) const WISHED: i64 = 0;
/// Serial of the inputs of a run with the outputs of other deployments filled in.
pub(crate) const RESOLVED: i64 = 1;

/// What a new deployment is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateDeployment {
    pub parent: EnvironmentName,
    pub id: Option<Id>,
    pub described: Described,
    pub blueprint_version: VersionName,
    pub inputs: Map<String, Value>,
    pub deletion_protection: bool,
    pub auto_apply: bool,
    pub drift_policy: Option<DriftPolicy>,
    pub depends_on: Vec<DeploymentName>,
    pub apply_on_dependency_change: bool,
    pub require_undrifted_dependencies: bool,
    pub expire: Option<Expiry>,
    pub max_idle: Option<Duration>,
}

/// When a deployment is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At this time.
    At(Timestamp),
    /// So long from now.
    In(Duration),
}

impl Expiry {
    /// The time.
    pub(crate) fn time(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            Self::In(ttl) => now.plus(ttl),
        }
    }

    /// The field that says so.
    pub(crate) const fn field(self) -> &'static str {
        match self {
            Self::At(_) => "expire_time",
            Self::In(_) => "ttl",
        }
    }
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateDeployment {
    pub name: DeploymentName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub blueprint_version: Option<VersionName>,
    pub inputs: Option<Map<String, Value>>,
    pub deletion_protection: Option<bool>,
    pub auto_apply: Option<bool>,
    pub depends_on: Option<Vec<DeploymentName>>,
    pub apply_on_dependency_change: Option<bool>,
    pub require_undrifted_dependencies: Option<bool>,
    /// `Some(None)` takes it away.
    pub max_idle: Option<Option<Duration>>,
    pub drift_policy: Option<Option<DriftPolicy>>,
}

/// Creates a deployment.
pub async fn create(app: &App, caller: &Caller, cmd: CreateDeployment, write: &Write) -> Result<Deployment> {
    let place = app.enter(caller, &cmd.parent.tenant_name(), &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let environment = environments::get(&mut tx, place.scope, &cmd.parent).await?;
    let environment = environment.ok_or_else(|| Error::not_found(&cmd.parent))?;
    let version = usable_version(&mut tx, &place, &cmd.blueprint_version).await?;
    let document = blueprints::document(app, &mut tx, &place, &version).await?;
    let (inputs, shown) = resolve(document.inputs(), &cmd.inputs, None)?;
    secret_stores::expect_known(&mut tx, &place, &inputs).await?;
    let (uid, now) = (tx.uid(), tx.now());
    let EnvironmentName { tenant, project, environment: place_id } = cmd.parent.clone();
    let id = cmd.id.unwrap_or_else(|| Id::generated("deployment", uid));
    let name = DeploymentName { tenant, project, environment: place_id, deployment: id };
    if cmd.apply_on_dependency_change {
        caller.require_permission("deployments.runs.apply", &name.to_string(), now)?;
    }
    let lifetime = lifetimes::given(&environment.ttl, cmd.expire, cmd.max_idle, now)?;
    let deployment = Deployment {
        drift_policy: cmd.drift_policy,
        deletion_protection: cmd.deletion_protection,
        auto_apply: cmd.auto_apply,
        depends_on: cmd.depends_on,
        apply_on_dependency_change: cmd.apply_on_dependency_change,
        require_undrifted_dependencies: cmd.require_undrifted_dependencies,
        lifetime,
        ..Deployment::new(name, Meta::new(uid, cmd.described, &caller.principal, now), cmd.blueprint_version, shown)
    };
    deployments::insert(&mut tx, place.scope, &cmd.parent.to_string(), &deployment).await?;
    deployments::schedule(&mut tx, place.scope, &deployment).await?;
    dependencies::declare(app, &mut tx, &place, caller, &deployment, document.inputs(), &inputs).await?;
    app.put(&mut tx, &place, uid, Kind::Inputs, WISHED, &bytes(&inputs)?).await?;
    tx.announce(Event::new("deployment.created", &deployment.name, uid, 1));
    tx.take(Dimension::Deployments, 1);
    app.finish(tx, write, &deployment).await?;
    Ok(deployment)
}

/// Returns a deployment.
pub async fn get(app: &App, caller: &Caller, name: &DeploymentName) -> Result<Arc<Deployment>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    app.store.newest(name, async |db: &mut Session| find(db, &place, name).await).await
}

/// Lists the deployments of an environment.
pub async fn list(app: &App, caller: &Caller, parent: &EnvironmentName, page: Page) -> Result<Listed<Deployment>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    deployments::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Changes what is desired; nothing is applied.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateDeployment, write: &Write) -> Result<Deployment> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut deployment = find(&mut tx, &place, &cmd.name).await?;
    deployment.meta.expect_etag(write.etag.as_deref())?;
    deployment.expect_kept()?;
    let seen = deployment.clone();
    deployment.meta.describe(cmd.display_name, cmd.labels);
    deployment.deletion_protection = cmd.deletion_protection.unwrap_or(deployment.deletion_protection);
    deployment.auto_apply = cmd.auto_apply.unwrap_or(deployment.auto_apply);
    deployment.drift_policy = cmd.drift_policy.unwrap_or(deployment.drift_policy);
    deployment.require_undrifted_dependencies =
        cmd.require_undrifted_dependencies.unwrap_or(deployment.require_undrifted_dependencies);
    if let Some(automatic) = cmd.apply_on_dependency_change {
        if automatic && !deployment.apply_on_dependency_change {
            caller.require_permission("deployments.runs.apply", &cmd.name.to_string(), tx.now())?;
        }
        deployment.apply_on_dependency_change = automatic;
    }
    if let Some(max_idle) = cmd.max_idle {
        let environment = environments::get(&mut tx, place.scope, &cmd.name.environment_name()).await?;
        let environment = environment.ok_or_else(|| Error::not_found(&cmd.name))?;
        deployment.lifetime.max_idle = lifetimes::idle(&environment.ttl, max_idle)?;
    }
    let mut declared = None;
    if cmd.blueprint_version.is_some() || cmd.inputs.is_some() || cmd.depends_on.is_some() {
        deployment.depends_on = cmd.depends_on.unwrap_or(deployment.depends_on);
        if let Some(version) = cmd.blueprint_version {
            if version.blueprint_name() != deployment.blueprint_version.blueprint_name() {
                return Err(Error::field(
                    "deployment.blueprint_version",
                    "a version of the same blueprint; create a new deployment for another one",
                ));
            }
            deployment.blueprint_version = version;
        }
        let version = usable_version(&mut tx, &place, &deployment.blueprint_version).await?;
        let before = inputs_of(app, &mut tx, &place, deployment.meta.uid).await?;
        let mut given = cmd.inputs.unwrap_or_else(|| deployment.inputs.clone());
        // Sensitive inputs are never returned, so whoever reads, changes and writes would lose them. One that names its secret stays as
        // well where it is left out: nobody has to know which of both it is. Those that the version does not have are not wanted any
        // more, and nobody but this could take them away.
        let document = blueprints::document(app, &mut tx, &place, &version).await?;
        let mut kept = before.clone();
        kept.retain(|name, value| {
            let hidden = !deployment.inputs.contains_key(name) || is_reserved(value);
            hidden && given.get(name).is_none_or(Value::is_null) && document.inputs().get(name).is_some()
        });
        for (name, value) in &kept {
            given.entry(name).or_insert_with(|| value.clone());
        }
        let made = deployment.observed_revision > 0;
        let (inputs, shown) = resolve(document.inputs(), &given, made.then_some(&before))?;
        expect_hidden(&kept, &shown)?;
        if inputs != before {
            secret_stores::expect_known(&mut tx, &place, &inputs).await?;
        }
        deployment.inputs = shown;
        if inputs != before || deployment.blueprint_version != seen.blueprint_version {
            deployment.generation += 1;
            app.put(&mut tx, &place, deployment.meta.uid, Kind::Inputs, WISHED, &bytes(&inputs)?).await?;
        }
        declared = Some((document, inputs));
    }
    if deployment != seen {
        let now = tx.now();
        lifetimes::needed(&mut deployment, &seen, now);
        deployment.meta.touch(now);
        deployments::update(&mut tx, place.scope, &deployment).await?;
        deployments::schedule(&mut tx, place.scope, &deployment).await?;
        if let Some((document, inputs)) = declared {
            dependencies::declare(app, &mut tx, &place, caller, &deployment, document.inputs(), &inputs).await?;
        }
        if deployment.drift_policy != seen.drift_policy {
            // When it is due is not what it was.
            deployments::set_drift_due(&mut tx, place.scope, deployment.meta.uid, Some(now)).await?;
        }
        tx.announce(Event::new("deployment.updated", &deployment.name, deployment.meta.uid, deployment.meta.version));
    }
    app.finish(tx, write, &deployment).await?;
    Ok(deployment)
}

/// Deletes a deployment of which nothing is real, or forgets what is.
pub async fn delete(
    app: &App,
    caller: &Caller,
    name: &DeploymentName,
    allow_missing: bool,
    force: bool,
    write: &Write,
) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let deployment = match deployments::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(deployment) => deployment,
    };
    deployment.meta.expect_etag(write.etag.as_deref())?;
    deployment.expect_deletable(force)?;
    let mut facts = serde_json::json!({ "forgotten": deployment.state.as_str() });
    if deployment.state.is_real() {
        caller.require_permission(abandonment::PERMISSION, &name.to_string(), tx.now())?;
        facts["addresses"] = abandonment::left_behind(&mut tx, &place, &deployment).await?.into();
    }
    expect_no_run(&mut tx, &place, &deployment).await?;
    dependencies::expect_nobody_needs(&mut tx, &place, &deployment).await?;
    remove(&mut tx, &place, &deployment).await?;
    tx.announce(Event::new("deployment.deleted", name, deployment.meta.uid, deployment.meta.version + 1).with(facts));
    app.finish(tx, write, &()).await
}

/// Fails while a run of it has not ended.
pub(crate) async fn expect_no_run(tx: &mut Tx, place: &Place, deployment: &Deployment) -> Result<()> {
    match runs::unfinished(tx, place.scope, deployment.meta.uid).await?.first() {
        Some(run) => {
            Err(Error::new(Reason::ResourceInUse, format!("{} has not ended; cancel it first", run.name))
                .with("resource", &run.name))
        }
        None => Ok(()),
    }
}

/// Removes a deployment with everything that belongs to it. An abandoned one has given its place back already.
pub(crate) async fn remove(tx: &mut Tx, place: &Place, deployment: &Deployment) -> Result<()> {
    let uid = deployment.meta.uid;
    payloads::delete_of_runs(tx, place.scope, uid).await?;
    payloads::delete_all(tx, place.scope, uid).await?;
    deployments::delete(tx, place.scope, deployment).await?;
    if deployment.state != DeploymentState::Abandoned {
        tx.take(Dimension::Deployments, -1);
    }
    Ok(())
}

/// Lists what was made real.
pub async fn list_revisions(
    app: &App,
    caller: &Caller,
    parent: &DeploymentName,
    page: Page,
) -> Result<(Deployment, Listed<(Uid, Revision)>)> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let deployment = find(&mut db, &place, parent).await?;
    let listed = deployments::list_revisions(&mut db, place.scope, deployment.meta.uid, page).await?;
    Ok((deployment, listed))
}

pub(crate) async fn find(db: &mut Session, place: &Place, name: &DeploymentName) -> Result<Deployment> {
    deployments::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name))
}

/// All inputs that belong to a deployment or a run, sensitive ones too.
pub(crate) async fn inputs_of(app: &App, db: &mut Session, place: &Place, owner: Uid) -> Result<Map<String, Value>> {
    let sealed = app.open(db, place, owner, Kind::Inputs, WISHED).await?;
    let bytes = sealed.ok_or_else(|| Error::internal(format!("the inputs of {owner} are gone")))?;
    serde_json::from_slice(&bytes).map_err(Error::internal)
}

pub(crate) fn bytes(inputs: &Map<String, Value>) -> Result<Vec<u8>> {
    serde_json::to_vec(inputs).map_err(Error::internal)
}

async fn usable_version(db: &mut Session, place: &Place, name: &VersionName) -> Result<BlueprintVersion> {
    if name.tenant != place.tenant.name.tenant {
        return Err(Error::field("deployment.blueprint_version", "a blueprint version of the same tenant"));
    }
    blueprint_versions::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name))
}

/// Checks that no value that was kept because nobody could read it would show from now on.
fn expect_hidden(kept: &Map<String, Value>, shown: &Map<String, Value>) -> Result<()> {
    let exposed = kept.iter().filter(|(name, value)| shown.get(*name) == Some(value) && !is_reserved(value));
    let why = "is no longer sensitive in this blueprint version, which would show its secret value to everybody who reads the \
               deployment; give a value that may be seen, or use a version in which the input is sensitive";
    let violations: Vec<_> = exposed.map(|(name, _)| Violation::new(format!("deployment.inputs.{name}"), why)).collect();
    if violations.is_empty() { Ok(()) } else { Err(Error::invalid(violations)) }
}

/// Fills in defaults and checks all inputs; answers all of them, and those that may be shown.
fn resolve(
    schema: &InputSchema,
    given: &Map<String, Value>,
    previous: Option<&Map<String, Value>>,
) -> Result<(Map<String, Value>, Map<String, Value>)> {
    let resolved = schema.resolve(given, previous).map_err(|violations| {
        let at = |v: Violation| Violation::new(format!("deployment.{}", v.field), v.description);
        Error::invalid(violations.into_iter().map(at).collect())
    })?;
    let shown = schema.masked(&resolved);
    Ok((resolved, shown))
}
