//! Projects of a tenant.

use std::sync::Arc;

use freehold_domain::{
    Error, Result,
    access::Caller,
    events::Event,
    names::{ApprovalPolicyName, Id, ProjectName, TenantName},
    projects::Project,
    quotas::Dimension,
    resource::{Described, Labels, Listed, Meta, Page},
};
use freehold_store::{Session, access, approval_policies, projects};

use crate::app::{App, Write};

/// The field that names the policy.
const POLICY: &str = "project.approval_policy";

/// What a new project is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateProject {
    pub parent: TenantName,
    pub id: Option<Id>,
    pub described: Described,
    pub description: String,
    pub approval_policy: Option<ApprovalPolicyName>,
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateProject {
    pub name: ProjectName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub description: Option<String>,
    /// `Some(None)` names none any more.
    pub approval_policy: Option<Option<ApprovalPolicyName>>,
}

/// Creates a project.
pub async fn create(app: &App, caller: &Caller, cmd: CreateProject, write: &Write) -> Result<Project> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let uid = tx.uid();
    let name =
        ProjectName { tenant: cmd.parent.tenant.clone(), project: cmd.id.unwrap_or_else(|| Id::generated("project", uid)) };
    let meta = Meta::new(uid, cmd.described, &caller.principal, tx.now());
    let project = Project { name, meta, description: cmd.description, approval_policy: cmd.approval_policy };
    projects::insert(&mut tx, place.scope, &cmd.parent.to_string(), &project).await?;
    if project.approval_policy.is_some() {
        approval_policies::name(&mut tx, place.scope, &project.name, project.approval_policy.as_ref(), POLICY).await?;
    }
    tx.announce(Event::new("project.created", &project.name, uid, 1));
    tx.take(Dimension::Projects, 1);
    app.finish(tx, write, &project).await?;
    Ok(project)
}

/// Returns a project.
pub async fn get(app: &App, caller: &Caller, name: &ProjectName) -> Result<Arc<Project>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let find = async |db: &mut Session| projects::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name));
    app.store.newest(name, find).await
}

/// Lists the projects of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<Project>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    projects::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Changes a project.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateProject, write: &Write) -> Result<Project> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut project = projects::get(&mut tx, place.scope, &cmd.name).await?.ok_or_else(|| Error::not_found(&cmd.name))?;
    project.meta.expect_etag(write.etag.as_deref())?;
    let before = project.clone();
    project.meta.describe(cmd.display_name, cmd.labels);
    if let Some(description) = cmd.description {
        project.description = description;
    }
    if let Some(policy) = cmd.approval_policy {
        approval_policies::name(&mut tx, place.scope, &project.name, policy.as_ref(), POLICY).await?;
        project.approval_policy = policy;
    }
    if project != before {
        project.meta.touch(tx.now());
        projects::update(&mut tx, place.scope, &project).await?;
        tx.announce(Event::new("project.updated", &project.name, project.meta.uid, project.meta.version));
    }
    app.finish(tx, write, &project).await?;
    Ok(project)
}

/// Deletes a project without environments, with the roles that were given on it.
pub async fn delete(app: &App, caller: &Caller, name: &ProjectName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let project = match projects::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(project) => project,
    };
    project.meta.expect_etag(write.etag.as_deref())?;
    projects::delete(&mut tx, place.scope, &project).await?;
    approval_policies::name(&mut tx, place.scope, name, None, POLICY).await?;
    // A later project of this name must not find roles that were given on this one.
    let bindings = access::delete_bindings_on(&mut tx, place.scope, name).await?;
    tx.announce(Event::new("project.deleted", name, project.meta.uid, project.meta.version + 1));
    tx.take(Dimension::Projects, -1);
    app.finish(tx, write, &()).await?;
    bindings.iter().for_each(|binding| app.grants.forget(&binding.member));
    Ok(())
}
