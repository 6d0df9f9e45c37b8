//! Environments of a project.

use std::{sync::Arc, time::Duration};

use freehold_domain::{
    Error, Result,
    access::Caller,
    drift::DriftPolicy,
    environments::{Environment, EnvironmentKind},
    events::Event,
    lifetimes::TtlPolicy,
    names::{ApprovalPolicyName, EnvironmentName, Id, ProjectName, RunnerPoolName},
    quotas::Dimension,
    resource::{Described, Labels, Listed, Meta, Page},
};
use freehold_store::{Session, Tx, access, approval_policies, deployments, environments, runners};

use crate::app::{App, Write};

/// The field that names the policy.
const POLICY: &str = "environment.approval_policy";

/// What a new environment is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateEnvironment {
    pub parent: ProjectName,
    pub id: Option<Id>,
    pub described: Described,
    pub kind: EnvironmentKind,
    pub runner_pool: RunnerPoolName,
    pub allow_self_approval: bool,
    pub require_approval: bool,
    pub require_undrifted_dependencies: bool,
    pub ttl: TtlPolicy,
    pub approval_policy: Option<ApprovalPolicyName>,
    pub drift_policy: Option<DriftPolicy>,
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateEnvironment {
    pub name: EnvironmentName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub kind: Option<EnvironmentKind>,
    pub runner_pool: Option<RunnerPoolName>,
    pub allow_self_approval: Option<bool>,
    pub require_approval: Option<bool>,
    pub require_undrifted_dependencies: Option<bool>,
    /// `Some(None)` takes it away.
    pub default_ttl: Option<Option<Duration>>,
    /// `Some(None)` takes it away.
    pub max_ttl: Option<Option<Duration>>,
    /// `Some(None)` names none any more.
    pub approval_policy: Option<Option<ApprovalPolicyName>>,
    pub drift_policy: Option<Option<DriftPolicy>>,
}

/// Creates an environment.
pub async fn create(app: &App, caller: &Caller, cmd: CreateEnvironment, write: &Write) -> Result<Environment> {
    let place = app.enter(caller, &cmd.parent.tenant_name(), &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    expect_pool(&mut tx, &cmd.runner_pool).await?;
    let uid = tx.uid();
    let ProjectName { tenant, project } = cmd.parent.clone();
    let environment = cmd.id.unwrap_or_else(|| Id::generated("environment", uid));
    let environment = Environment {
        name: EnvironmentName { tenant, project, environment },
        meta: Meta::new(uid, cmd.described, &caller.principal, tx.now()),
        kind: cmd.kind,
        runner_pool: cmd.runner_pool,
        allow_self_approval: cmd.allow_self_approval,
        require_approval: cmd.require_approval,
        require_undrifted_dependencies: cmd.require_undrifted_dependencies,
        ttl: cmd.ttl.check().map_err(wrong_ttl)?,
        approval_policy: cmd.approval_policy,
        drift_policy: cmd.drift_policy,
    };
    environments::insert(&mut tx, place.scope, &cmd.parent.to_string(), &environment).await?;
    if environment.approval_policy.is_some() {
        approval_policies::name(&mut tx, place.scope, &environment.name, environment.approval_policy.as_ref(), POLICY).await?;
    }
    tx.announce(Event::new("environment.created", &environment.name, uid, 1));
    tx.take(Dimension::Environments, 1);
    app.finish(tx, write, &environment).await?;
    Ok(environment)
}

/// Returns an environment.
pub async fn get(app: &App, caller: &Caller, name: &EnvironmentName) -> Result<Arc<Environment>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let find = async |db: &mut Session| environments::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name));
    app.store.newest(name, find).await
}

/// Lists the environments of a project.
pub async fn list(app: &App, caller: &Caller, parent: &ProjectName, page: Page) -> Result<Listed<Environment>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    environments::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Changes an environment.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateEnvironment, write: &Write) -> Result<Environment> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let found = environments::get(&mut tx, place.scope, &cmd.name).await?;
    let mut environment = found.ok_or_else(|| Error::not_found(&cmd.name))?;
    environment.meta.expect_etag(write.etag.as_deref())?;
    let before = environment.clone();
    environment.meta.describe(cmd.display_name, cmd.labels);
    environment.kind = cmd.kind.unwrap_or(environment.kind);
    environment.allow_self_approval = cmd.allow_self_approval.unwrap_or(environment.allow_self_approval);
    environment.require_approval = cmd.require_approval.unwrap_or(environment.require_approval);
    environment.require_undrifted_dependencies =
        cmd.require_undrifted_dependencies.unwrap_or(environment.require_undrifted_dependencies);
    let TtlPolicy { default, max } = environment.ttl;
    environment.ttl = TtlPolicy { default: cmd.default_ttl.unwrap_or(default), max: cmd.max_ttl.unwrap_or(max) };
    environment.ttl.check().map_err(wrong_ttl)?;
    environment.drift_policy = cmd.drift_policy.unwrap_or(environment.drift_policy);
    if let Some(pool) = cmd.runner_pool {
        expect_pool(&mut tx, &pool).await?;
        environment.runner_pool = pool;
    }
    if let Some(policy) = cmd.approval_policy {
        approval_policies::name(&mut tx, place.scope, &environment.name, policy.as_ref(), POLICY).await?;
        environment.approval_policy = policy;
    }
    if environment != before {
        environment.meta.touch(tx.now());
        environments::update(&mut tx, place.scope, &environment).await?;
        if environment.drift_policy != before.drift_policy {
            // When its deployments are due is not what it was.
            let now = tx.now();
            deployments::set_drift_due_in(&mut tx, place.scope, &environment.name, now).await?;
        }
        tx.announce(Event::new("environment.updated", &environment.name, environment.meta.uid, environment.meta.version));
    }
    app.finish(tx, write, &environment).await?;
    Ok(environment)
}

/// Deletes an environment without deployments, with the roles that were given on it.
pub async fn delete(app: &App, caller: &Caller, name: &EnvironmentName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let environment = match environments::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(environment) => environment,
    };
    environment.meta.expect_etag(write.etag.as_deref())?;
    environments::delete(&mut tx, place.scope, &environment).await?;
    approval_policies::name(&mut tx, place.scope, name, None, POLICY).await?;
    // A later environment of this name must not find roles that were given on this one.
    let bindings = access::delete_bindings_on(&mut tx, place.scope, name).await?;
    tx.announce(Event::new("environment.deleted", name, environment.meta.uid, environment.meta.version + 1));
    tx.take(Dimension::Environments, -1);
    app.finish(tx, write, &()).await?;
    bindings.iter().for_each(|binding| app.grants.forget(&binding.member));
    Ok(())
}

fn wrong_ttl(why: String) -> Error {
    Error::field("environment.default_ttl", why)
}

async fn expect_pool(tx: &mut Tx, pool: &RunnerPoolName) -> Result<()> {
    match runners::get_pool(tx, pool).await? {
        Some(_) => Ok(()),
        None => Err(Error::field(
            "environment.runner_pool",
            format!("{pool} does not exist; ask a platform administrator for its name"),
        )),
    }
}
