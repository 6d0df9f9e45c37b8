//! A whole environment removed in order: what needs others goes before them.

use std::collections::{BTreeMap, BTreeSet};

use freehold_domain::{
    Error, Reason, Result,
    access::Caller,
    dependencies::{Needs, in_need, listed, order},
    deployments::{Deployment, DeploymentState},
    names::{DeploymentName, EnvironmentName},
    resource::Page,
    runs::{Run, RunKind},
};
use freehold_store::{Tx, dependencies, deployments, environments, runs};

use crate::{
    app::{App, Place, Write},
    dependencies::edges_of,
    runs::{Beginning, StartRun, begin},
};

/// Deployments of one environment that are removed in one go.
const MANY: usize = 500;

/// How an environment is removed.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct DestroyEnvironment {
    pub name: EnvironmentName,
    pub auto_apply: bool,
    pub message: String,
}

/// Begins a run for each deployment of an environment that removes it, with its own plan and approvals. Each run waits before its
/// apply for those that need its deployment. Asked again, it answers the runs that have not ended and begins those that are missing.
///
/// Fails with `STATE_NOT_ALLOWED` naming every deployment that is protected or quarantined, with `RESOURCE_IN_USE` when something
/// outside of the environment needs what is in it.
pub async fn destroy(app: &App, caller: &Caller, cmd: DestroyEnvironment, write: &Write) -> Result<Vec<Run>> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    if cmd.auto_apply {
        caller.require_permission("deployments.runs.apply", &cmd.name.to_string(), app.now())?;
    }
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let environment = environments::get(&mut tx, place.scope, &cmd.name).await?;
    let environment = environment.ok_or_else(|| Error::not_found(&cmd.name))?;
    let mut wanted = present(&mut tx, &place, &cmd.name).await?;
    expect_removable(&mut tx, &place, &wanted).await?;
    let names = in_order(&mut tx, &place, &wanted).await?;
    let (mut all, mut woken) = (Vec::new(), Vec::new());
    for name in names.iter().rev() {
        let Some((deployment, removed_by)) = wanted.remove(name) else { continue };
        if let Some(run) = removed_by {
            all.push(run);
            continue;
        }
        let cmd = StartRun {
            name: deployment.name.clone(),
            kind: RunKind::Destroy,
            target: 0,
            auto_apply: cmd.auto_apply,
            keep_queued: false,
            message: cmd.message.clone(),
        };
        let beginning = Beginning { cmd, creator: caller.principal.clone(), mends: None };
        let begun = begin(app, &mut tx, &place, deployment, &environment, beginning).await?;
        all.push(begun.run.clone());
        woken.push(begun);
    }
    app.finish(tx, write, &all).await?;
    woken.iter().for_each(|begun| begun.wake(app));
    Ok(all)
}

/// Deployments by name of which something is real or may become so, and the run that removes each already.
async fn present(
    tx: &mut Tx,
    place: &Place,
    environment: &EnvironmentName,
) -> Result<BTreeMap<String, (Deployment, Option<Run>)>> {
    let mut found = BTreeMap::new();
    let mut page = Page { size: 100, after: None, newest_first: false };
    loop {
        let listed = deployments::list(tx, place.scope, &environment.to_string(), page).await?;
        for deployment in listed.items {
            let unfinished = runs::unfinished(tx, place.scope, deployment.meta.uid).await?;
            let (removes, others): (Vec<Run>, Vec<Run>) = unfinished
                .into_iter()
                .filter(|run| run.kind.mutates())
                .partition(|run| run.kind == RunKind::Destroy && !run.cancel_requested);
            if deployment.state.is_real() || !removes.is_empty() || !others.is_empty() {
                found.insert(deployment.name.to_string(), (deployment, removes.into_iter().last()));
            }
        }
        if found.len() > MANY {
            let why = format!("{environment} has more than {MANY} deployments; destroy some of them by themselves first");
            return Err(Error::field("name", why));
        }
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return Ok(found),
        }
    }
}

async fn expect_removable(tx: &mut Tx, place: &Place, wanted: &BTreeMap<String, (Deployment, Option<Run>)>) -> Result<()> {
    let deployments = || wanted.values().map(|(deployment, _)| deployment);
    let named = |keeps: fn(&Deployment) -> bool| -> Vec<&DeploymentName> {
        deployments().filter(|deployment| keeps(deployment)).map(|deployment| &deployment.name).collect()
    };
    let protected = named(|deployment| deployment.deletion_protection);
    let quarantined = named(|deployment| deployment.state == DeploymentState::Quarantined);
    let mut why = Vec::new();
    if !protected.is_empty() {
        why.push(format!("switch off the deletion protection of {}", listed(&protected)));
    }
    if !quarantined.is_empty() {
        why.push(format!("restore the state of {}, or abandon them", listed(&quarantined)));
    }
    if !why.is_empty() {
        return Err(Error::new(Reason::StateNotAllowed, format!("first {}", why.join("; ")))
            .with("state", if protected.is_empty() { "QUARANTINED" } else { "deletion_protection" }));
    }
    let mut outside: BTreeSet<DeploymentName> = BTreeSet::new();
    for deployment in deployments() {
        let dependants = dependencies::dependants(tx, place.scope, deployment.meta.uid).await?;
        outside.extend(in_need(&dependants).into_iter().filter(|name| !wanted.contains_key(&name.to_string())).cloned());
    }
    let names: Vec<&DeploymentName> = outside.iter().collect();
    match names.first() {
        None => Ok(()),
        Some(first) => {
            let why = format!(
                "{} outside of it need what is in it; destroy them first, or have them need it no longer",
                listed(&names)
            );
            Err(Error::new(Reason::ResourceInUse, why).with("resource", first))
        }
    }
}

/// Their names, each after all that it needs.
async fn in_order(tx: &mut Tx, place: &Place, wanted: &BTreeMap<String, (Deployment, Option<Run>)>) -> Result<Vec<String>> {
    let mut needs: Needs<String> = wanted.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
    for edge in edges_of(tx, place).await? {
        if let Some(needed) = needs.get_mut(&edge.name) {
            needed.insert(edge.upstream_name);
        }
    }
    order(&needs).map_err(|circle| Error::internal(format!("dependencies are a circle: {circle}")))
}
