//! People of a tenant.

use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, Principal, TenantScope},
    events::Event,
    iam::{User, UserState, user_id},
    names::{Id, TenantName, UserName},
    quotas::Dimension,
    resource::{Described, Listed, Meta, Page},
};
use freehold_store::{Tx, access, connection_accounts, users};

use crate::app::{App, Write};

/// Who is invited.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct InviteUser {
    pub parent: TenantName,
    pub id: Option<Id>,
    pub described: Described,
    pub email: String,
}

/// Adds a person to the tenant.
pub async fn invite(app: &App, caller: &Caller, cmd: InviteUser, write: &Write) -> Result<User> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    if let Some(user) = users::get_by_email(&mut tx, place.scope, &cmd.email).await? {
        return Err(email_taken(&user));
    }
    let meta = Meta::new(tx.uid(), cmd.described, &caller.principal, tx.now());
    let name = match cmd.id {
        Some(user) => UserName { tenant: cmd.parent.tenant.clone(), user },
        None => suggested(&mut tx, place.scope, &cmd.parent, &cmd.email).await?,
    };
    let user = User { name, meta, email: cmd.email, state: UserState::Invited, identity: None };
    users::insert(&mut tx, place.scope, &cmd.parent.to_string(), &user).await?;
    tx.announce(Event::new("user.invited", &user.name, user.meta.uid, 1));
    tx.take(Dimension::Users, 1);
    app.finish(tx, write, &user).await?;
    Ok(user)
}

/// Returns a user.
pub async fn get(app: &App, caller: &Caller, name: &UserName) -> Result<User> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    users::get(&mut app.store.read().await?, place.scope, name).await?.ok_or_else(|| Error::not_found(name))
}

/// Lists the users of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<User>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    users::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Ends all access of a user; bindings and keys are kept. Changes nothing when that has happened.
pub async fn deactivate(app: &App, caller: &Caller, name: &UserName, write: &Write) -> Result<User> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut user = users::get(&mut tx, place.scope, name).await?.ok_or_else(|| Error::not_found(name))?;
    user.meta.expect_etag(write.etag.as_deref())?;
    if user.state != UserState::Deactivated {
        user.state = UserState::Deactivated;
        user.meta.touch(tx.now());
        users::update(&mut tx, place.scope, &user).await?;
        tx.announce(Event::new("user.deactivated", name, user.meta.uid, user.meta.version));
    }
    app.finish(tx, write, &user).await?;
    app.grants.forget(&Principal::User(name.clone()));
    Ok(user)
}

/// Unbinds a user from the account at the identity provider. Changes nothing when there is none.
pub async fn unlink(app: &App, caller: &Caller, name: &UserName, write: &Write) -> Result<User> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut user = users::get(&mut tx, place.scope, name).await?.ok_or_else(|| Error::not_found(name))?;
    user.meta.expect_etag(write.etag.as_deref())?;
    if user.identity.take().is_some() {
        user.meta.touch(tx.now());
        users::update(&mut tx, place.scope, &user).await?;
        users::unlink(&mut tx, place.scope, &user).await?;
        tx.announce(Event::new("user.unlinked", name, user.meta.uid, user.meta.version));
    }
    app.finish(tx, write, &user).await?;
    Ok(user)
}

/// Deletes a user with bindings and keys.
pub async fn delete(app: &App, caller: &Caller, name: &UserName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let user = match users::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(user) => user,
    };
    user.meta.expect_etag(write.etag.as_deref())?;
    let member = Principal::User(name.clone());
    users::unlink(&mut tx, place.scope, &user).await?;
    // The user before the rest: who gives it a role or a key at this moment holds its row, and what they gave is then removed too.
    users::delete(&mut tx, place.scope, &user).await?;
    access::delete_member(&mut tx, place.scope, &member).await?;
    connection_accounts::delete_of(&mut tx, place.scope, &member).await?;
    tx.announce(Event::new("user.deleted", name, user.meta.uid, user.meta.version + 1));
    tx.take(Dimension::Users, -1);
    app.finish(tx, write, &()).await?;
    app.grants.forget(&member);
    Ok(())
}

/// The name that a mail address suggests, with a random end when it is taken.
async fn suggested(tx: &mut Tx, tenant: TenantScope, parent: &TenantName, email: &str) -> Result<UserName> {
    let id = user_id(email);
    if let Some(user) = id.clone() {
        let name = UserName { tenant: parent.tenant.clone(), user };
        if users::get(tx, tenant, &name).await?.is_none() {
            return Ok(name);
        }
    }
    let user = Id::generated(id.as_ref().map_or("user", Id::as_str), tx.uid());
    Ok(UserName { tenant: parent.tenant.clone(), user })
}

fn email_taken(user: &User) -> Error {
    Error::new(Reason::ResourceExists, format!("{} has the mail address {} already", user.name, user.email))
        .with("resource", &user.name)
        .with("email", &user.email)
}

/// An invited user becomes active with the first sign-in.
pub(crate) async fn signed_in(app: &App, name: &UserName) -> Result<()> {
    let Some(place) = app.place(&name.tenant_name()).await? else { return Ok(()) };
    let invited = users::get(&mut app.store.read().await?, place.scope, name).await?;
    let Some(mut user) = invited.filter(|user| user.state == UserState::Invited) else { return Ok(()) };
    let mut tx = app.store.begin_as(&name.to_string(), place.scope).await?;
    user.state = UserState::Active;
    user.meta.touch(tx.now());
    match users::update(&mut tx, place.scope, &user).await {
        Ok(()) => {
            tx.announce(Event::new("user.activated", name, user.meta.uid, user.meta.version));
            tx.commit(&()).await
        }
        // Another call of the same user was first.
        Err(error) if error.reason() == Reason::EtagMismatch => Ok(()),
        Err(error) => Err(error),
    }
}
