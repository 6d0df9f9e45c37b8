//! Who a person of another system is here: proven from both sides, by a code that was given over there and is redeemed here.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, Principal},
    commands::ExternalAccount,
    connection_accounts::{CODE_LIFE, ConnectionAccount},
    connections::Connection,
    events::Event,
    names::{ConnectionAccountName, ConnectionName},
    resource::{Listed, Page},
    time::Random,
};
use freehold_store::{connection_accounts as rows, users};
use serde_json::json;

use crate::{
    api_keys::digest,
    app::{App, Place, Write},
    connections::find,
};

/// Codes begin with this, so that people and scanners know what they have found.
const PREFIX: &str = "fhl_";
/// Who has this on a connection manages the accounts of others.
const MANAGE: &str = "integrations.connections.update";

/// Makes a code for an account of the other system; only its digest is kept. One that was made before is good no more.
pub(crate) async fn new_code(app: &App, place: &Place, connection: &Connection, account: &ExternalAccount) -> Result<String> {
    let code = draw(app.random.as_ref());
    let mut tx = app.store.begin_as("server", place.scope).await?;
    let expires = tx.now().plus(CODE_LIFE);
    rows::put_code(&mut tx, place.scope, connection.meta.uid, account, &digest(&code), expires).await?;
    tx.commit(&()).await?;
    Ok(code)
}

/// 128 random bits.
fn draw(random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// Redeems a code: the account of the other system that it was given to acts as the caller from now on.
///
/// # Errors
/// `RESOURCE_NOT_FOUND` for a code that is unknown, used or over; `RESOURCE_EXISTS` when the account is somebody else's;
/// `STATE_NOT_ALLOWED` for callers that are no users of the tenant.
pub async fn link(app: &App, caller: &Caller, parent: &ConnectionName, code: &str, write: &Write) -> Result<ConnectionAccount> {
    let tenant = parent.tenant_name();
    let place = app.enter_as_member(caller, &tenant, &parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let connection = find(&mut tx, &place, parent).await?;
    let Principal::User(user) = &caller.principal else {
        let why = format!("only users of {tenant} have accounts elsewhere; redeem the code as one of them");
        return Err(Error::new(Reason::StateNotAllowed, why).with("resource", &caller.principal));
    };
    // Held, so that nobody who is deleted at this moment leaves an account behind.
    if !users::hold(&mut tx, place.scope, user).await? {
        return Err(Error::not_found(user));
    }
    let uid = connection.meta.uid;
    let Some(external) = rows::take_code(&mut tx, place.scope, uid, &digest(code.trim())).await? else {
        let why =
            format!("there is no such code of {parent}: it is good once, and for ten minutes; write `link` again for a new one");
        return Err(Error::new(Reason::ResourceNotFound, why).with("resource", parent));
    };
    let account = ConnectionAccount {
        name: ConnectionAccountName { tenant: tenant.tenant, connection: parent.connection.clone(), account: tx.uid() },
        external_id: external.id,
        display_name: external.display_name,
        principal: caller.principal.clone(),
        create_time: tx.now(),
    };
    if !rows::insert(&mut tx, place.scope, uid, &account).await? {
        let there = rows::by_external_id(&mut tx, place.scope, uid, &account.external_id).await?;
        let there = there.ok_or_else(|| Error::internal("an account is there and is not"))?;
        if there.principal != caller.principal {
            let why = format!(
                "the account {} is linked to {} already; delete {} first",
                there.display_name, there.principal, there.name
            );
            return Err(Error::new(Reason::ResourceExists, why).with("resource", &there.name));
        }
        app.finish(tx, write, &there).await?;
        return Ok(there);
    }
    let facts = json!({ "account": account.name.to_string(), "external_id": account.external_id,
                        "display_name": account.display_name, "principal": account.principal.to_string() });
    tx.announce(Event::new("connection.account_linked", parent, uid, connection.meta.version).with(facts));
    app.finish(tx, write, &account).await?;
    Ok(account)
}

/// Lists the caller's accounts of a connection; whoever manages those of others sees all.
pub async fn list(app: &App, caller: &Caller, parent: &ConnectionName, page: Page) -> Result<Listed<ConnectionAccount>> {
    let place = app.enter_as_member(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let connection = find(&mut db, &place, parent).await?;
    let all = caller.may(MANAGE, &parent.to_string(), app.now());
    let of = (!all).then_some(&caller.principal);
    rows::list(&mut db, place.scope, connection.meta.uid, of, page).await
}

/// Removes one of the caller's accounts; whoever manages those of others removes any. It acts for nobody from then on.
///
/// # Errors
/// `RESOURCE_NOT_FOUND`, also for those of others.
pub async fn delete(app: &App, caller: &Caller, name: &ConnectionAccountName, allow_missing: bool, write: &Write) -> Result<()> {
    let parent = name.connection_name();
    let place = app.enter_as_member(caller, &parent.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let connection = find(&mut tx, &place, &parent).await?;
    let found = rows::get(&mut tx, place.scope, connection.meta.uid, name.account).await?;
    let own =
        |account: &ConnectionAccount| account.principal == caller.principal || caller.may(MANAGE, &name.to_string(), app.now());
    let Some(account) = found.filter(own) else {
        return if allow_missing { app.finish(tx, write, &()).await } else { Err(Error::not_found(name)) };
    };
    rows::delete(&mut tx, place.scope, name.account).await?;
    let facts = json!({ "account": name.to_string(), "external_id": account.external_id,
                        "principal": account.principal.to_string() });
    let event = Event::new("connection.account_unlinked", &parent, connection.meta.uid, connection.meta.version);
    tx.announce(event.with(facts));
    app.finish(tx, write, &()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemRandom;

    #[test]
    fn codes_have_128_random_bits_and_are_new_each_time() {
        let random = SystemRandom::new();
        let (one, two) = (draw(&random), draw(&random));
        assert_ne!(one, two);
        let bytes = URL_SAFE_NO_PAD.decode(one.strip_prefix(PREFIX).expect("the beginning")).expect("base64");
        assert_eq!(bytes.len(), 16);
    }
}
