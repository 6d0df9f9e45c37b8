//! Long-lived secrets of users and service accounts.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_domain::{
    Error, Reason, Result, Violations,
    access::{Caller, Principal},
    events::Event,
    iam::{API_KEY_LIFE, ApiKey},
    names::{ApiKeyName, TenantName},
    resource::{Listed, Page},
    time::{Random, Timestamp},
};
use freehold_store::access;

use crate::{
    access::{hold_member, require_roles_of},
    app::{App, Write},
};

/// Secrets begin with this, so that people and scanners know what they have found.
const PREFIX: &str = "fhk_";
/// Characters of a secret that are shown to tell keys apart; the rest still has more than 200 random bits.
const SHOWN: usize = 10;

/// What a new key is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateApiKey {
    pub parent: TenantName,
    pub display_name: String,
    pub principal: Principal,
    pub expire_time: Timestamp,
}

/// Creates a key; answers it with its secret, which is not kept. Who does so needs all that the principal may do.
///
/// Fails with `SECRET_ALREADY_RETURNED` when the request is a repeat.
pub async fn create(app: &App, caller: &Caller, cmd: CreateApiKey, write: &Write) -> Result<(ApiKey, String)> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(key) = tx.replayed::<ApiKey>()? {
        return Err(already_returned(&key));
    }
    let now = tx.now();
    let mut fields = Violations::new();
    if !hold_member(&mut tx, place.scope, &cmd.parent, &cmd.principal).await? {
        fields.add("api_key.principal", format!("{} is not a user or service account of {}", cmd.principal, cmd.parent));
    }
    if cmd.expire_time <= now || cmd.expire_time > now.plus(API_KEY_LIFE) {
        fields.add("api_key.expire_time", format!("between now and {}, 400 days ahead", now.plus(API_KEY_LIFE)));
    }
    fields.finish()?;
    require_roles_of(&mut tx, caller, place.scope, &cmd.principal).await?;
    let secret = new_secret(app.random.as_ref());
    let uid = tx.uid();
    let key = ApiKey {
        name: ApiKeyName { tenant: cmd.parent.tenant, api_key: uid },
        display_name: cmd.display_name,
        principal: cmd.principal,
        prefix: secret[..SHOWN].to_owned(),
        create_time: now,
        expire_time: cmd.expire_time,
        revoke_time: None,
        last_used_time: None,
        creator: caller.principal.to_string(),
    };
    access::insert_key(&mut tx, place.scope, &digest(&secret), &key).await?;
    let facts = serde_json::json!({ "principal": key.principal, "expire_time": key.expire_time.to_string() });
    tx.announce(Event::new("api_key.created", &key.name, uid, 1).with(facts));
    app.finish(tx, write, &key).await?;
    Ok((key, secret))
}

/// Lists the keys of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<ApiKey>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    access::list_keys(&mut app.store.read().await?, place.scope, page).await
}

/// Ends a key; changes nothing when it was revoked before.
pub async fn revoke(app: &App, caller: &Caller, name: &ApiKeyName, write: &Write) -> Result<ApiKey> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut key = access::hold_key(&mut tx, place.scope, name.api_key).await?.ok_or_else(|| Error::not_found(name))?;
    if key.revoke_time.is_none() {
        key.revoke_time = Some(tx.now());
        access::update_key(&mut tx, place.scope, &key).await?;
        tx.announce(Event::new("api_key.revoked", name, name.api_key, 2));
    }
    app.finish(tx, write, &key).await?;
    Ok(key)
}

/// What the store keeps of a secret: its SHA-256. A secret of 256 random bits needs no salt.
pub(crate) fn digest(secret: &str) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, secret.as_bytes()).as_ref());
    digest
}

fn new_secret(random: &dyn Random) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn already_returned(key: &ApiKey) -> Error {
    Error::new(
        Reason::SecretAlreadyReturned,
        format!(
            "this request made {} before; its secret was in the first answer only. Revoke that key and make a new one",
            key.name
        ),
    )
    .with("name", &key.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemRandom;

    #[test]
    fn secrets_are_new_each_time_and_the_shown_part_gives_little_away() {
        let random = SystemRandom::new();
        let (one, two) = (new_secret(&random), new_secret(&random));
        assert_ne!(one, two);
        assert_ne!(digest(&one), digest(&two));
        assert_eq!(one.len(), PREFIX.len() + 43);
        assert!(one.starts_with(PREFIX) && one.is_ascii());
        assert!((one.len() - SHOWN) * 6 > 200);
    }
}
