//! Approvals in the transaction that they count in: the rules, the people and the bytes as they are at that moment.

use std::collections::BTreeMap;

use freehold_domain::{
    Error, Reason, Result,
    access::Principal,
    approvals::{Demand, Planned, Reviewed, Standing, Standings, facts},
    deployments::Deployment,
    fault,
    runs::{PlanFacts, PlannedChange, Run, RunEvent},
    time::Timestamp,
};
use freehold_store::{Session, Tx, approval_policies, blueprint_versions, payloads::Kind, projects};
use ring::digest::{SHA256, digest};

use crate::{
    app::{App, Place},
    deployments::{RESOLVED, WISHED},
    identify::present_grants,
    runs::environment_of,
};

/// SHA-256 of bytes, `sha256:…`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, bytes).as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a plan needs, by the policy of its environment or project.
pub(crate) async fn demand(
    db: &mut Session,
    place: &Place,
    run: &Run,
    deployment: &Deployment,
    plan: &PlanFacts,
    changes: &BTreeMap<String, PlannedChange>,
) -> Result<Demand> {
    let environment = environment_of(db, place, &run.name.deployment_name()).await?;
    let named = match &environment.approval_policy {
        Some(policy) => Some(policy.clone()),
        None => {
            let project = environment.name.project_name();
            let project = projects::get(db, place.scope, &project).await?.ok_or_else(|| Error::not_found(project))?;
            project.approval_policy
        }
    };
    let policy = match &named {
        Some(name) => {
            let policy = approval_policies::get(db, place.scope, name).await?;
            Some(policy.ok_or_else(|| Error::internal(format!("{name} is named and does not exist")))?)
        }
        None => return Ok(Demand::of(&environment)),
    };
    let known = facts(Planned {
        environment: &environment,
        deployment,
        version: &run.blueprint_version,
        kind: run.kind,
        author: &run.creator,
        plan,
        changes,
    });
    Ok(Demand::by(policy.as_ref(), &environment, &known))
}

/// The run under the rules, and with the people, as they are now.
pub(crate) async fn under(
    app: &App,
    db: &mut Session,
    place: &Place,
    run: Run,
    deployment: &Deployment,
    now: Timestamp,
) -> Result<Run> {
    let Some(plan) = run.plan.clone() else { return Ok(run) };
    let change = |step: &freehold_domain::runs::RunStep| PlannedChange {
        action: step.action,
        kind: step.kind.clone(),
        reversibility: step.reversibility,
    };
    let changes = run.steps.iter().map(|(address, step)| (address.clone(), change(step))).collect();
    let demand = demand(db, place, &run, deployment, &plan, &changes).await?;
    let mut standings = Standings::new();
    for approval in &run.approvals {
        if !standings.contains_key(&approval.principal)
            && let Some(standing) = standing(app, db, place, &approval.principal).await?
        {
            standings.insert(approval.principal.clone(), standing);
        }
    }
    Ok(run.under(demand, &standings, now))
}

/// What somebody may do in the tenant, as the database says now; `None` when they may not sign in.
pub(crate) async fn standing(app: &App, db: &mut Session, place: &Place, principal: &Principal) -> Result<Option<Standing>> {
    let grants = present_grants(app, db, place, principal).await?;
    Ok(grants.map(|grants| Standing { grants }))
}

/// What was reviewed beside the bytes of a run's plan, as it is stored now.
pub(crate) async fn reviewed(app: &App, db: &mut Session, place: &Place, run: &Run) -> Result<Reviewed> {
    let version = blueprint_versions::get(db, place.scope, &run.blueprint_version).await?;
    let version = version.ok_or_else(|| Error::internal(format!("{} is gone", run.blueprint_version)))?;
    let serial = if run.resolved { RESOLVED } else { WISHED };
    let inputs = app.open(db, place, run.uid(), Kind::Inputs, serial).await?;
    let inputs = inputs.ok_or_else(|| Error::internal(format!("the inputs of {} are gone", run.name)))?;
    Ok(Reviewed { blueprint_digest: version.digest, inputs_digest: place.key.digest("inputs", &inputs) })
}

/// What keeps the apply of a run from beginning, once nothing else does: approvals that do not suffice by the rules that it was
/// put under, a plan that is too old, or bytes that are not those that were approved.
pub(crate) async fn hindrance(app: &App, tx: &mut Tx, place: &Place, run: &Run) -> Result<Option<RunEvent>> {
    if fault::mutant("approval") {
        return Ok(None);
    }
    if let Some(event) = run.hindrance(tx.now()) {
        return Ok(Some(event));
    }
    match altered(app, tx, place, run).await {
        Ok(why) => Ok(why.map(RunEvent::Altered)),
        // What does not open was sealed for another place, or was written by somebody else.
        Err(error) if error.reason() == Reason::Internal => {
            tracing::error!(run = %run.name, error = error.chain(), "what was approved cannot be read");
            Ok(Some(RunEvent::Altered("what was approved cannot be read any more".to_owned())))
        }
        Err(error) => Err(error),
    }
}

/// What of a run is not as it was approved.
async fn altered(app: &App, db: &mut Session, place: &Place, run: &Run) -> Result<Option<String>> {
    let plan = run.plan.as_ref().ok_or_else(|| Error::internal(format!("{} is to be applied without a plan", run.name)))?;
    let bytes = app.open(db, place, run.uid(), Kind::Plan, 0).await?;
    let bytes = bytes.ok_or_else(|| Error::internal(format!("the plan of {} is gone", run.name)))?;
    if sha256(&bytes) != plan.digest {
        return Ok(Some(format!("the bytes of the plan do not have the digest {} that was approved", plan.digest)));
    }
    if reviewed(app, db, place, run).await? != plan.reviewed {
        return Ok(Some("blueprint version or inputs are not those that were reviewed".to_owned()));
    }
    Ok(None)
}
