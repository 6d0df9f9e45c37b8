//! The server's own duty: begins looks for drift when they are due, and what puts drift right.
//!
//! Every replica does it. `drift_due` says when a deployment is to be looked at; whoever moves it on from the value that was read
//! has the turn, and nobody else does.

use std::{collections::BTreeSet, time::Duration};

use freehold_domain::{
    Reason, Result,
    access::{Principal, TenantScope},
    deployments::{Deployment, DeploymentState},
    drift::{DriftException, DriftItem, DriftState, Remediation, Seen, remedy_set},
    environments::Environment,
    runs::{RunKind, RunPhase},
    tenants::TenantState,
    time::{Timestamp, Uid},
};
use freehold_store::{
    Tx,
    deployments::{self, DriftDue},
    drift_exceptions, drift_items, runs,
};

use super::{Shown, announce, open, policy_of, seal};
use crate::{
    app::{App, Place},
    runs::{Beginning, Begun, StartRun, begin, environment_of},
};

/// Deployments that one call looks at: the checks that a long absence has left wait for their turn, and so do not come all at once.
const BATCH: u32 = 16;
/// Items that are opened again in one transaction.
const ITEMS: u32 = 200;
/// How long a deployment waits that could not be looked at.
const AGAIN: Duration = Duration::from_secs(3600);

/// Looks at deployments whose time has come, and at exceptions that have ended; answers how many there were.
pub async fn tick(app: &App) -> Result<usize> {
    let now = app.now();
    let mut db = app.store.read().await?;
    let due = deployments::drift_due(&mut db, now, BATCH).await?;
    let ended = drift_exceptions::ended(&mut db, now, BATCH).await?;
    drop(db);
    for due in &due {
        match look(app, due).await {
            Ok(()) => {}
            // Somebody else was first.
            Err(error) if matches!(error.reason(), Reason::EtagMismatch | Reason::OperationInProgress) => {}
            Err(error) if error.reason() == Reason::DependencyDown => return Err(error),
            // One that cannot be looked at must not keep the others waiting.
            Err(error) => {
                tracing::warn!(deployment = %due.deployment, error = error.chain(), "a deployment cannot be looked at for drift");
                later(app, due).await?;
            }
        }
    }
    for (tenant, exception) in &ended {
        match reopen(app, *tenant, *exception).await {
            Ok(()) => {}
            // Somebody has just changed one of the items; the next look finds what is left.
            Err(error) if error.reason() == Reason::EtagMismatch => {}
            Err(error) if error.reason() == Reason::DependencyDown => return Err(error),
            Err(error) => {
                tracing::warn!(%exception, error = error.chain(), "what an exception covered cannot be opened again");
                let mut tx = app.store.begin_as("server", *tenant).await?;
                let again = tx.now().plus(AGAIN);
                drift_exceptions::set_end(&mut tx, *tenant, *exception, Some(again)).await?;
                tx.commit(&()).await?;
            }
        }
    }
    Ok(due.len() + ended.len())
}

async fn later(app: &App, due: &DriftDue) -> Result<()> {
    let mut tx = app.store.begin_as("server", due.tenant).await?;
    let again = tx.now().plus(AGAIN);
    if deployments::move_drift_due(&mut tx, due, Some(again)).await? {
        tx.commit(&()).await?;
    }
    Ok(())
}

/// What becomes of a turn.
enum Turn {
    /// The deployment is looked at then, or not at all.
    At(Option<Timestamp>),
    /// A run has been begun, and the next turn is then.
    Begun(Box<Begun>, Option<Timestamp>),
    /// It was left out for this reason, and is tried again then.
    Skipped(String, Option<Timestamp>),
}

async fn look(app: &App, due: &DriftDue) -> Result<()> {
    let mut tx = app.store.begin_as("server", due.tenant).await?;
    let place = app.place_by_scope(&mut tx, due.tenant).await?;
    let Some(deployment) = deployments::get_by_uid(&mut tx, due.tenant, due.deployment).await? else { return Ok(()) };
    let environment = environment_of(&mut tx, &place, &deployment.name).await?;
    let retry = policy_of(&deployment, &environment).retry(due.deployment, tx.now());
    match turn(app, &mut tx, &place, deployment, &environment).await? {
        Turn::At(next) => {
            if deployments::move_drift_due(&mut tx, due, next).await? {
                tx.commit(&()).await?;
            }
        }
        Turn::Begun(begun, next) => {
            if !deployments::move_drift_due(&mut tx, due, next).await? {
                return Ok(());
            }
            match tx.commit(&()).await {
                Ok(()) => begun.wake(app),
                Err(refused) if refused.reason() == Reason::QuotaExceeded => {
                    return skip(app, due, refused.message().to_owned(), retry).await;
                }
                Err(error) => return Err(error),
            }
        }
        Turn::Skipped(why, next) => {
            drop(tx);
            skip(app, due, why, next).await?;
        }
    }
    Ok(())
}

/// Notes that a look was left out, and when it is tried again.
async fn skip(app: &App, due: &DriftDue, why: String, next: Option<Timestamp>) -> Result<()> {
    let mut tx = app.store.begin_as("server", due.tenant).await?;
    let now = tx.now();
    let Some(mut deployment) = deployments::get_by_uid(&mut tx, due.tenant, due.deployment).await? else { return Ok(()) };
    if !deployments::move_drift_due(&mut tx, due, next).await? {
        return Ok(());
    }
    if deployment.drift.ended(DriftState::Skipped, why, now) {
        deployment.meta.touch(now);
        deployments::update(&mut tx, due.tenant, &deployment).await?;
    }
    tx.commit(&()).await
}

async fn turn(app: &App, tx: &mut Tx, place: &Place, mut deployment: Deployment, environment: &Environment) -> Result<Turn> {
    let now = tx.now();
    let uid = deployment.meta.uid;
    if place.tenant.state != TenantState::Active {
        return Ok(Turn::At(Some(now.plus(AGAIN))));
    }
    if deployment.state != DeploymentState::Active {
        return Ok(Turn::At(None));
    }
    let policy = policy_of(&deployment, environment);
    let next = policy.next_check(uid, now, now);
    if deployment.drift.remedy_due {
        return remedy(app, tx, place, deployment, environment, next).await;
    }
    let last = deployment.drift.served.unwrap_or(deployment.meta.update_time);
    match policy.next_check(uid, last, now) {
        Some(due) if due <= now => {}
        later => return Ok(Turn::At(later)),
    }
    // Nobody is kept waiting by a look, and no look is made of what is being changed. A plan that waits for a person changes nothing.
    let unfinished = runs::unfinished(tx, place.scope, uid).await?;
    if let Some(run) = unfinished.iter().find(|run| run.phase != RunPhase::AwaitingApproval) {
        return Ok(Turn::Skipped(format!("{} is under way", run.name), policy.retry(uid, now)));
    }
    deployment.drift.served = Some(now);
    let cmd = StartRun {
        name: deployment.name.clone(),
        kind: RunKind::Drift,
        target: 0,
        auto_apply: false,
        keep_queued: false,
        message: "on schedule".to_owned(),
    };
    let beginning = Beginning { cmd, creator: Principal::Server, mends: None };
    let begun = begin(app, tx, place, deployment, environment, beginning).await?;
    Ok(Turn::Begun(Box::new(begun), next))
}

/// Begins a run that puts right what was found, as the policy says, once for each set of items.
async fn remedy(
    app: &App,
    tx: &mut Tx,
    place: &Place,
    mut deployment: Deployment,
    environment: &Environment,
    next: Option<Timestamp>,
) -> Result<Turn> {
    let (uid, now) = (deployment.meta.uid, tx.now());
    let policy = policy_of(&deployment, environment);
    let rows = drift_items::unresolved(tx, place.scope, uid).await?;
    let items: Vec<DriftItem> = rows.into_iter().map(|(item, _)| item).collect();
    let set = remedy_set(&items);
    let unfinished = runs::unfinished(tx, place.scope, uid).await?;
    // A run that a person has begun is about to put it right, or shows them that it would.
    let taken = unfinished.iter().any(|run| run.kind.mutates() && run.limited_to.is_none());
    deployment.drift.remedy_due = false;
    if taken || set.is_empty() || policy.remediation == Remediation::None {
        deployment.meta.touch(now);
        deployments::update(tx, place.scope, &deployment).await?;
        return Ok(Turn::At(next));
    }
    let mended: BTreeSet<String> = items.iter().filter(|item| item.is_mendable()).map(|item| item.address.clone()).collect();
    // An apply puts everything right, also what somebody has accepted or is looking at; only a person may say that it shall.
    let safe = items.iter().all(|item| item.is_mendable() && policy.is_safe(&item.kind));
    deployment.drift.remedied = set;
    let cmd = StartRun {
        name: deployment.name.clone(),
        kind: RunKind::Apply,
        target: 0,
        auto_apply: policy.remediation == Remediation::AutoSafe && safe,
        keep_queued: false,
        message: format!("puts right what drifted: {}", some_of(&mended)),
    };
    let beginning = Beginning { cmd, creator: Principal::Server, mends: Some(mended) };
    let begun = begin(app, tx, place, deployment, environment, beginning).await?;
    // An earlier proposal has just been replaced by this one, and its items with it.
    for row in drift_items::unresolved(tx, place.scope, uid).await? {
        let Shown { mut item, values } = open(place, row)?;
        if item.is_mendable() {
            let seen = item.version;
            item.remedy_begun(begun.run.uid(), now);
            drift_items::update(tx, place.scope, seen, &item, &seal(app, place, item.uid(), &values)?).await?;
        }
    }
    Ok(Turn::Begun(Box::new(begun), next))
}

fn some_of(addresses: &BTreeSet<String>) -> String {
    const SOME: usize = 5;
    let mut text = addresses.iter().take(SOME).cloned().collect::<Vec<_>>().join(", ");
    if addresses.len() > SOME {
        text += &format!(" and {} more", addresses.len() - SOME);
    }
    text
}

/// Opens a batch of what an exception that has ended covered.
async fn reopen(app: &App, tenant: TenantScope, exception: Uid) -> Result<()> {
    let mut tx = app.store.begin_as("server", tenant).await?;
    let place = app.place_by_scope(&mut tx, tenant).await?;
    let now = tx.now();
    if !drift_exceptions::set_end(&mut tx, tenant, exception, Some(now)).await? {
        return Ok(());
    }
    if uncover(app, &mut tx, &place, exception, now).await? < ITEMS as usize {
        drift_exceptions::set_end(&mut tx, tenant, exception, None).await?;
    }
    tx.commit(&()).await
}

/// Takes an exception from a batch of the items that it covers, and opens those that no other one does; answers how many it was
/// taken from.
pub(super) async fn uncover(app: &App, tx: &mut Tx, place: &Place, exception: Uid, now: Timestamp) -> Result<usize> {
    let mut lasting = drift_exceptions::lasting(tx, place.scope, now).await?;
    lasting.retain(|other| other.uid() != exception);
    let rows = drift_items::covered(tx, place.scope, exception, ITEMS).await?;
    let mut count = 0;
    let mut deployment: Option<Deployment> = None;
    let mut reopened: Vec<DriftItem> = Vec::new();
    let mut shown = rows.into_iter().map(|row| open(place, row)).collect::<Result<Vec<_>>>()?;
    shown.sort_by_key(|shown| shown.item.deployment);
    for Shown { mut item, values } in shown {
        if deployment.as_ref().is_none_or(|of| of.meta.uid != item.deployment) {
            if let Some(of) = &deployment {
                announce(tx, "drift.reopened", of, &std::mem::take(&mut reopened));
            }
            deployment = deployments::get_by_uid(tx, place.scope, item.deployment).await?;
        }
        let Some(of) = &deployment else { continue };
        let seen = item.version;
        let other = DriftException::covering(&lasting, &Seen::before(&of.name, &of.meta.labels, &item, &values), now);
        match other.map(DriftException::uid) {
            Some(other) => item.cover(other, now),
            None => item.uncover(now),
        }
        drift_items::update(tx, place.scope, seen, &item, &seal(app, place, item.uid(), &values)?).await?;
        count += 1;
        reopened.extend(Some(item).filter(|item| item.exception.is_none()));
    }
    if let Some(of) = &deployment {
        announce(tx, "drift.reopened", of, &reopened);
    }
    Ok(count)
}
