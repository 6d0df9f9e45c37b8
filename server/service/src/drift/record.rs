//! What the end of a run makes of the items of its deployment.

use std::collections::BTreeSet;

use freehold_domain::{
    Result,
    access::Principal,
    deployments::{Deployment, DeploymentState},
    drift::{self, Check, DriftClass, DriftItem, DriftState, Findings, News, Remediation, Written},
    resource::Page,
    runs::{Run, RunOutcome, StepState},
    time::{Timestamp, Uid},
};
use freehold_store::{Tx, deployments, drift_exceptions, drift_items, runs};

use super::{Shown, announce, open, policy_of, seal};
use crate::{
    app::{App, Place},
    runs::{deployment_of, environment_of},
};

/// Runs that are looked through for the last one that changed something.
const RUNS: u32 = 20;

/// Takes over what a look for drift has found, if it came to its end; answers what each finding is.
pub(crate) async fn record(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    run: &Run,
    found: &Findings,
    now: Timestamp,
) -> Result<Vec<DriftClass>> {
    if !matches!(run.drift_check(), Some((DriftState::Clean | DriftState::Drifted, _))) {
        return Ok(Vec::new());
    }
    let mut deployment = deployment_of(tx, place, run).await?;
    let rows = drift_items::of_deployment(tx, place.scope, run.deployment).await?;
    if rows.is_empty() && found.items.is_empty() {
        return Ok(Vec::new());
    }
    let known = rows.into_iter().map(|row| open(place, row).map(|Shown { item, values }| (item, values)));
    let known = known.collect::<Result<Vec<_>>>()?;
    let exceptions = drift_exceptions::lasting(tx, place.scope, now).await?;
    let check = Check {
        deployment: &deployment,
        run: run.uid(),
        exceptions: &exceptions,
        cause: if found.items.is_empty() { None } else { cause(tx, place, run.deployment).await? },
        now,
    };
    let outcome = drift::reconcile(&check, found, known, || tx.uid());

    let before = deployment.clone();
    if outcome.remedy.is_empty() {
        // The same drift, should it come back, is another reason.
        deployment.drift.remedied.clear();
    } else if outcome.remedy != deployment.drift.remedied {
        let environment = environment_of(tx, place, &deployment.name).await?;
        deployment.drift.remedy_due = policy_of(&deployment, &environment).remediation != Remediation::None;
    }
    if deployment.drift != before.drift {
        deployment.meta.touch(now);
        deployments::update(tx, place.scope, &deployment).await?;
    }
    if deployment.drift.remedy_due {
        deployments::set_drift_due(tx, place.scope, run.deployment, Some(now)).await?;
    }
    for Written { item, values, seen, .. } in &outcome.written {
        let sealed = seal(app, place, item.uid(), values)?;
        match seen {
            Some(seen) => drift_items::update(tx, place.scope, *seen, item, &sealed).await?,
            None => drift_items::insert(tx, place.scope, item, &sealed).await?,
        }
    }
    for (news, kind) in [(News::Found, "drift.found"), (News::Reopened, "drift.reopened"), (News::Resolved, "drift.resolved")] {
        let told = outcome.written.iter().filter(|written| written.news == Some(news)).map(|written| &written.item);
        announce(tx, kind, &deployment, told);
    }
    let seen = outcome.written.iter().filter(|written| written.item.run == run.uid());
    Ok(seen.map(|written| written.item.class).collect())
}

/// The last run that changed something, if it did not reach its end, with the resources that it left in an unknown state.
async fn cause(tx: &mut Tx, place: &Place, deployment: Uid) -> Result<Option<(Uid, BTreeSet<String>)>> {
    let page = Page { size: RUNS, after: None, newest_first: true };
    let newest = runs::list(tx, place.scope, deployment, page).await?.items;
    let last =
        newest.into_iter().find(|run| run.kind.mutates() && run.steps.values().any(|step| step.state != StepState::Pending));
    let unknown = |state| matches!(state, StepState::Started | StepState::Failed | StepState::Unknown);
    Ok(last.filter(|run| !is_well(run)).map(|run| {
        let left = run.steps.iter().filter(|(_, step)| unknown(step.state)).map(|(address, _)| address.clone());
        (run.uid(), left.collect())
    }))
}

fn is_well(run: &Run) -> bool {
    matches!(run.outcome, Some(RunOutcome::Succeeded | RunOutcome::NoChanges))
}

/// Takes over the end of a run into the deployment, which the caller writes, and into its items.
pub(crate) async fn run_ended(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    run: &Run,
    deployment: &mut Deployment,
    now: Timestamp,
) -> Result<()> {
    if let Some((state, reason)) = run.drift_check() {
        deployment.drift.ended(state, reason, now);
        if state == DriftState::Skipped && run.creator == Principal::Server {
            let environment = environment_of(tx, place, &deployment.name).await?;
            let retry = policy_of(deployment, &environment).retry(run.deployment, now);
            deployments::set_drift_due(tx, place.scope, run.deployment, retry).await?;
        }
        return Ok(());
    }
    let mut resolved: Vec<DriftItem> = Vec::new();
    for row in drift_items::unresolved(tx, place.scope, run.deployment).await? {
        let Shown { mut item, values } = open(place, row)?;
        let seen = item.version;
        match () {
            () if is_well(run) => item.resolve(now),
            () if item.remedy == Some(run.uid()) => item.remedy_failed(now),
            () => continue,
        }
        let sealed = seal(app, place, item.uid(), &values)?;
        drift_items::update(tx, place.scope, seen, &item, &sealed).await?;
        resolved.extend(Some(item).filter(|_| is_well(run)));
    }
    announce(tx, "drift.resolved", deployment, &resolved);
    if is_well(run) {
        deployment.drift.applied(deployment.state, now);
        match deployment.state {
            DeploymentState::Active => deployments::begin_drift_due(tx, place.scope, run.deployment, now).await?,
            _ => deployments::set_drift_due(tx, place.scope, run.deployment, None).await?,
        }
    }
    Ok(())
}
