//! Drift: looked for on schedule, kept as items, put right, and excepted.

mod exceptions;
mod items;
mod record;
mod schedule;

use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, Principal},
    deployments::Deployment,
    drift::{DriftException, DriftItem, DriftPolicy, Values},
    environments::Environment,
    events::Event,
    names::{DriftItemName, TenantName},
    time::{Timestamp, Uid},
};
use freehold_store::{Session, Tx, drift_exceptions, drift_items};
use serde_json::json;

use crate::{
    app::{App, Place},
    seal::SealedPlace,
};

pub use exceptions::{
    AcceptDriftItem, CreateDriftException, accept, create as create_exception, delete as delete_exception, get as get_exception,
    list as list_exceptions,
};
pub use items::{AssignDriftItem, Filter, Of, acknowledge, assign, get, list};
pub use schedule::tick;

pub(crate) use record::{record, run_ended};

/// Exceptions that last at the same time in one tenant, at most: each check compares with all of them.
const EXCEPTIONS: usize = 500;
/// Items that one event names.
const TOLD: usize = 50;

/// An item with its values.
pub struct Shown {
    /// The item.
    pub item: DriftItem,
    /// Its values.
    pub values: Values,
}

fn sealed_place(place: &Place, item: Uid) -> SealedPlace {
    SealedPlace { tenant: place.scope, owner: item, kind: "drift_item", serial: String::new() }
}

fn open(place: &Place, (item, sealed): drift_items::Row) -> Result<Shown> {
    let values = place.key.open(&sealed_place(place, item.uid()), &sealed)?;
    Ok(Shown { values: serde_json::from_slice(&values).map_err(Error::internal)?, item })
}

fn seal(app: &App, place: &Place, item: Uid, values: &Values) -> Result<Vec<u8>> {
    let values = serde_json::to_vec(values).map_err(Error::internal)?;
    place.key.seal(app.random.as_ref(), &sealed_place(place, item), &values)
}

/// The item of this name.
async fn find(db: &mut Session, place: &Place, name: &DriftItemName) -> Result<drift_items::Row> {
    let row = drift_items::get(db, place.scope, name.drift_item).await?;
    row.filter(|(item, _)| item.name == *name).ok_or_else(|| Error::not_found(name))
}

/// Fails unless one more exception may be made.
async fn lasting(tx: &mut Tx, place: &Place, now: Timestamp) -> Result<Vec<DriftException>> {
    let lasting = drift_exceptions::lasting(tx, place.scope, now).await?;
    if lasting.len() >= EXCEPTIONS {
        return Err(Error::new(
            Reason::StateNotAllowed,
            format!("there are {EXCEPTIONS} exceptions that last, the most there can be; delete some, or let one cover more"),
        ));
    }
    Ok(lasting)
}

/// Tells what has become of items of one deployment, without their values.
fn announce<'a>(tx: &mut Tx, kind: &str, deployment: &Deployment, items: impl IntoIterator<Item = &'a DriftItem>) {
    let items: Vec<&DriftItem> = items.into_iter().collect();
    if items.is_empty() {
        return;
    }
    let told = |item: &&DriftItem| {
        json!({
            "name": item.name, "address": item.address, "path": item.path, "class": item.class.as_str(),
            "fingerprint": item.fingerprint,
        })
    };
    let data = json!({ "count": items.len(), "items": items.iter().take(TOLD).map(told).collect::<Vec<_>>() });
    tx.announce(Event::new(kind, &deployment.name, deployment.meta.uid, deployment.meta.version).with(data));
}

/// Fails unless this is somebody of the tenant.
fn expect_member(field: &str, tenant: &TenantName, principal: &Principal) -> Result<()> {
    if principal.tenant().as_ref() == Some(tenant) {
        return Ok(());
    }
    Err(Error::field(field, format!("a user or service account of {tenant}")))
}

/// Who answers for something when nobody is named: the caller, also an administrator of the platform.
fn owner_or_caller(owner: Option<Principal>, field: &str, tenant: &TenantName, caller: &Caller) -> Result<Principal> {
    match owner {
        Some(owner) => expect_member(field, tenant, &owner).map(|()| owner),
        None => Ok(caller.principal.clone()),
    }
}

/// The policy that counts for a deployment.
fn policy_of(deployment: &Deployment, environment: &Environment) -> DriftPolicy {
    deployment.drift_policy.clone().or_else(|| environment.drift_policy.clone()).unwrap_or_default()
}
