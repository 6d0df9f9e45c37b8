//! Items of drift as people see and take them.

use freehold_domain::{
    Error, Result,
    access::{Caller, Principal},
    drift::{DriftClass, DriftItem, DriftItemState},
    events::Event,
    names::{DeploymentName, DriftItemName, EnvironmentName, TenantName},
    resource::{Listed, Page},
    time::Uid,
};
use freehold_store::{Tx, drift_items};

use super::{Shown, expect_member, find, open};
use crate::{
    app::{App, Place, Write},
    deployments as desired,
};

/// Whose items.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum Of {
    Tenant(TenantName),
    Environment(EnvironmentName),
    Deployment(DeploymentName),
}

/// Which of them; none means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Filter {
    pub states: Vec<DriftItemState>,
    pub classes: Vec<DriftClass>,
}

/// What changes in whose hands an item is; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct AssignDriftItem {
    pub name: DriftItemName,
    pub owner: Option<Option<Principal>>,
    pub ticket: Option<String>,
}

/// Lists items.
pub async fn list(app: &App, caller: &Caller, of: &Of, filter: &Filter, page: Page) -> Result<Listed<Shown>> {
    let (tenant, resource) = match of {
        Of::Tenant(name) => (name.clone(), name.to_string()),
        Of::Environment(name) => (name.tenant_name(), name.to_string()),
        Of::Deployment(name) => (name.tenant_name(), name.to_string()),
    };
    let place = app.enter(caller, &tenant, &resource).await?;
    let mut db = app.store.read().await?;
    let whose = match of {
        Of::Tenant(_) => drift_items::Place::Tenant,
        Of::Environment(name) => drift_items::Place::Environment(name.clone()),
        Of::Deployment(name) => drift_items::Place::Deployment(desired::find(&mut db, &place, name).await?.meta.uid),
    };
    let states = between_commas(filter.states.iter().map(|state| state.as_str()));
    let classes = between_commas(filter.classes.iter().map(|class| class.as_str()));
    let Listed { items, next } = drift_items::list(&mut db, place.scope, &whose, &states, &classes, page).await?;
    Ok(Listed { items: items.into_iter().map(|row| open(&place, row)).collect::<Result<_>>()?, next })
}

fn between_commas<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { String::new() } else { format!(",{},", names.join(",")) }
}

/// Returns an item.
pub async fn get(app: &App, caller: &Caller, name: &DriftItemName) -> Result<Shown> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    open(&place, find(&mut app.store.read().await?, &place, name).await?)
}

/// Says that somebody knows of an item.
pub async fn acknowledge(app: &App, caller: &Caller, name: &DriftItemName, note: String, write: &Write) -> Result<Shown> {
    let change = |_: &Place, item: &mut DriftItem, tx: &Tx| item.acknowledge(&caller.principal, note.clone(), tx.now());
    write_item(app, caller, name, write, "drift_item.acknowledged", change).await
}

/// Gives an item to somebody.
pub async fn assign(app: &App, caller: &Caller, cmd: AssignDriftItem, write: &Write) -> Result<Shown> {
    let AssignDriftItem { name, owner, ticket } = cmd;
    let change = |place: &Place, item: &mut DriftItem, tx: &Tx| {
        if let Some(Some(owner)) = &owner {
            expect_member("owner", &place.tenant.name, owner)?;
        }
        item.assign(owner.clone(), ticket.clone(), tx.now());
        Ok(())
    };
    write_item(app, caller, &name, write, "drift_item.assigned", change).await
}

async fn write_item(
    app: &App,
    caller: &Caller,
    name: &DriftItemName,
    write: &Write,
    kind: &str,
    change: impl Fn(&Place, &mut DriftItem, &Tx) -> Result<()>,
) -> Result<Shown> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed::<Uid>()? {
        return again(&mut tx, &place, done).await;
    }
    let (mut item, sealed) = find(&mut tx, &place, name).await?;
    item.expect_etag(write.etag.as_deref())?;
    let seen = item.version;
    change(&place, &mut item, &tx)?;
    if item.version != seen {
        drift_items::update(&mut tx, place.scope, seen, &item, &sealed).await?;
        tx.announce(Event::new(kind, name, item.uid(), item.version));
    }
    app.finish(tx, write, &item.uid()).await?;
    open(&place, (item, sealed))
}

/// The answer to a repeat. Answers are kept without values, so it is the item as it is now.
pub(super) async fn again(tx: &mut Tx, place: &Place, uid: Uid) -> Result<Shown> {
    let row = drift_items::get(tx, place.scope, uid).await?;
    open(place, row.ok_or_else(|| Error::not_found("the item"))?)
}
