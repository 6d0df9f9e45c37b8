//! Exchange of API keys and certificates for short tokens. What is here decides; signing is the edge's.

use std::time::Duration;

use freehold_domain::{
    Error, Reason, Result,
    access::{CallFacts, Caller, Principal, Proof, TenantScope},
    iam::ApiKey,
    names::ApiKeyName,
    time::{Timestamp, Uid},
};
use freehold_store::{INSTALLATION, Tx, access};

use crate::{
    api_keys,
    app::App,
    audit,
    identify::{self, Proven, identify},
};

/// How long a token lives.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// How exactly the last use of a key is kept: each exchange would otherwise write the key's row.
const USE_KEPT: Duration = Duration::from_secs(60);

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// Whom it stands for.
    pub principal: Principal,
    /// The key that was exchanged; `None` for a certificate and for a sign-in.
    pub exchanged: Option<ApiKeyName>,
    /// Identity of the token.
    pub token_id: Uid,
    /// From when, to the second.
    pub issue_time: Timestamp,
    /// Until when, to the second.
    pub expire_time: Timestamp,
}

/// Exchanges the secret of an API key for a token of 15 minutes, or until the key ends.
///
/// Fails with `TOKEN_INVALID`, and the same words, for a key that is unknown, over or revoked, or whose principal may not sign in.
pub async fn for_key(app: &App, secret: &str, call: CallFacts) -> Result<Ticket> {
    let found = access::key_by_digest(&mut app.store.read().await?, &api_keys::digest(secret)).await?;
    let (scope, key) = found.filter(|(_, key)| key.is_live(app.now())).ok_or_else(refused)?;
    let grants = identify::grants(app, &key.principal).await?.ok_or_else(refused)?;
    app.count_call(&key.name.tenant_name()).await?;
    let caller = Caller {
        principal: key.principal.clone(),
        proof: Proof::Token,
        spiffe_id: None,
        expire_time: Some(key.expire_time),
        grants,
        call,
    };
    issue(app, &caller, scope, Some(key)).await
}

/// Exchanges a client certificate for a token of 15 minutes. Fails as [`identify()`] does.
pub async fn for_certificate(app: &App, spiffe_id: String, expire_time: Timestamp, call: CallFacts) -> Result<Ticket> {
    let caller = identify(app, Proven::Certificate { spiffe_id, expire_time }, call).await?;
    let place = match caller.principal.tenant() {
        Some(tenant) => app.place(&tenant).await?,
        None => None,
    };
    issue(app, &caller, place.map_or(INSTALLATION, |place| place.scope), None).await
}

/// Keeps on the key that it was used, and gives a token.
async fn issue(app: &App, caller: &Caller, scope: TenantScope, key: Option<ApiKey>) -> Result<Ticket> {
    let mut tx = app.store.begin_as(&caller.principal.to_string(), scope).await?;
    let now = tx.now();
    let ticket = ticket(&tx, caller, key.as_ref());
    if ticket.expire_time <= ticket.issue_time {
        return Err(refused());
    }
    if let Some(name) = &ticket.exchanged {
        // Read once more: between the look-up and this, the key may have been revoked.
        let held = access::hold_key(&mut tx, scope, name.api_key).await?;
        let mut key = held.filter(|key| key.is_live(now)).ok_or_else(refused)?;
        if key.last_used_time.is_none_or(|last| now.since(last) >= USE_KEPT) {
            key.last_used_time = Some(now);
            access::update_key(&mut tx, scope, &key).await?;
        }
    }
    give(tx, caller, scope, &ticket).await?;
    Ok(ticket)
}

/// What a token for this caller says.
pub(crate) fn ticket(tx: &Tx, caller: &Caller, key: Option<&ApiKey>) -> Ticket {
    let now = tx.now();
    Ticket {
        principal: caller.principal.clone(),
        exchanged: key.map(|key| key.name.clone()),
        token_id: tx.uid(),
        issue_time: second(now),
        expire_time: second(key.map_or(now.plus(LIFE), |key| now.plus(LIFE).min(key.expire_time))),
    }
}

/// Keeps in the audit trail that a token is given, and commits.
pub(crate) async fn give(mut tx: Tx, caller: &Caller, scope: TenantScope, ticket: &Ticket) -> Result<()> {
    let resource = ticket.exchanged.as_ref().map_or_else(|| ticket.principal.to_string(), ToString::to_string);
    let record = audit::record(caller, tx.uid(), tx.now(), resource);
    freehold_store::audit::insert(&mut tx, scope, &record).await?;
    tx.commit(&()).await
}

/// Tokens know whole seconds only (RFC 7519, NumericDate).
fn second(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.as_micros().div_euclid(1_000_000) * 1_000_000)
}

fn refused() -> Error {
    Error::new(Reason::TokenInvalid, "the API key is not one that this server accepts: it is unknown, has ended or was revoked")
}
