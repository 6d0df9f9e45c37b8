//! Approval policies of a tenant.

use std::sync::Arc;

use freehold_domain::{
    Error, Result, Violations,
    access::Caller,
    approvals::{ApprovalPolicy, Rule, check},
    events::Event,
    names::{ApprovalPolicyName, Id, TenantName},
    resource::{Described, Labels, Listed, Meta, Page},
};
use freehold_store::{Session, approval_policies};

use crate::app::{App, Write};

/// What a new policy is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateApprovalPolicy {
    pub parent: TenantName,
    pub id: Option<Id>,
    pub described: Described,
    pub description: String,
    pub rules: Vec<Rule>,
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateApprovalPolicy {
    pub name: ApprovalPolicyName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub description: Option<String>,
    pub rules: Option<Vec<Rule>>,
}

/// Creates a policy.
pub async fn create(app: &App, caller: &Caller, cmd: CreateApprovalPolicy, write: &Write) -> Result<ApprovalPolicy> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    expect_right(&cmd.rules)?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let uid = tx.uid();
    let approval_policy = cmd.id.unwrap_or_else(|| Id::generated("policy", uid));
    let name = ApprovalPolicyName { tenant: cmd.parent.tenant.clone(), approval_policy };
    let meta = Meta::new(uid, cmd.described, &caller.principal, tx.now());
    let policy = ApprovalPolicy { name, meta, description: cmd.description, rules: cmd.rules };
    approval_policies::insert(&mut tx, place.scope, &cmd.parent.to_string(), &policy).await?;
    tx.announce(Event::new("approval_policy.created", &policy.name, uid, 1).with(facts(&policy)));
    app.finish(tx, write, &policy).await?;
    Ok(policy)
}

/// Returns a policy.
pub async fn get(app: &App, caller: &Caller, name: &ApprovalPolicyName) -> Result<Arc<ApprovalPolicy>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let find =
        async |db: &mut Session| approval_policies::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name));
    app.store.newest(name, find).await
}

/// Lists the policies of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<ApprovalPolicy>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    approval_policies::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Changes a policy. Runs that wait are held to the new rules when somebody decides on them, and before they are applied.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateApprovalPolicy, write: &Write) -> Result<ApprovalPolicy> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    if let Some(rules) = &cmd.rules {
        expect_right(rules)?;
    }
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let found = approval_policies::get(&mut tx, place.scope, &cmd.name).await?;
    let mut policy = found.ok_or_else(|| Error::not_found(&cmd.name))?;
    policy.meta.expect_etag(write.etag.as_deref())?;
    let before = policy.clone();
    policy.meta.describe(cmd.display_name, cmd.labels);
    policy.description = cmd.description.unwrap_or(policy.description);
    policy.rules = cmd.rules.unwrap_or(policy.rules);
    if policy != before {
        policy.meta.touch(tx.now());
        approval_policies::update(&mut tx, place.scope, &policy).await?;
        let event = Event::new("approval_policy.updated", &policy.name, policy.meta.uid, policy.meta.version);
        tx.announce(event.with(facts(&policy)));
    }
    app.finish(tx, write, &policy).await?;
    Ok(policy)
}

/// Deletes a policy that no environment and no project names.
pub async fn delete(app: &App, caller: &Caller, name: &ApprovalPolicyName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let policy = match approval_policies::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(policy) => policy,
    };
    policy.meta.expect_etag(write.etag.as_deref())?;
    approval_policies::delete(&mut tx, place.scope, &policy).await?;
    tx.announce(Event::new("approval_policy.deleted", name, policy.meta.uid, policy.meta.version + 1));
    app.finish(tx, write, &()).await
}

fn expect_right(rules: &[Rule]) -> Result<()> {
    let mut fields = Violations::new();
    check("approval_policy.rules", rules, &mut fields);
    fields.finish()
}

/// What the audit trail keeps of the rules: their digest, which receipts name.
fn facts(policy: &ApprovalPolicy) -> serde_json::Value {
    serde_json::json!({ "digest": policy.digest() })
}
