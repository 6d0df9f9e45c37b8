//! How runners join a pool, keep their certificates, and are removed.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_domain::{
    Error, Reason, Result, Violations,
    access::{CallFacts, Caller, Principal, Proof},
    events::Event,
    names::{Id, RegistrationTokenName, RunnerName, RunnerPoolName},
    registration::{CERTIFICATE_LIFE, Certificate, Joined, RegistrationToken, TOKEN_LIFE, refused},
    resource::{Listed, Page},
    runners::Runner,
    time::Timestamp,
};
use freehold_store::{INSTALLATION, RequestKey, registration, runners};

use crate::{
    api_keys::digest,
    app::{App, Issuer, Write},
};

/// Secrets begin with this, so that people and scanners know what they have found.
const PREFIX: &str = "fhr_";
/// Characters of a secret that are shown to tell tokens apart.
const SHOWN: usize = 10;

/// What a new token is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateRegistrationToken {
    pub parent: RunnerPoolName,
    pub expire_time: Timestamp,
}

/// What a runner that joins says.
#[expect(missing_docs, reason = "as in the contract")]
pub struct Register {
    pub token: String,
    pub parent: RunnerPoolName,
    pub runner: Id,
    pub certificate_request: String,
}

/// Creates a token; answers it with its secret, which is not kept.
///
/// Fails with `SECRET_ALREADY_RETURNED` when the request is a repeat.
pub async fn create_token(
    app: &App,
    caller: &Caller,
    cmd: CreateRegistrationToken,
    write: &Write,
) -> Result<(RegistrationToken, String)> {
    caller.require(&cmd.parent.to_string(), app.now())?;
    let mut tx = app.store.begin(caller, INSTALLATION, &write.key).await?;
    if let Some(token) = tx.replayed::<RegistrationToken>()? {
        let name = token.name;
        let why =
            format!("this request made {name} before; its secret was in the first answer only. Revoke it and make a new one");
        return Err(Error::new(Reason::SecretAlreadyReturned, why).with("name", &name));
    }
    let now = tx.now();
    let mut fields = Violations::new();
    if cmd.expire_time <= now || cmd.expire_time > now.plus(TOKEN_LIFE) {
        fields.add("expire_time", format!("between now and {}, 30 days ahead", now.plus(TOKEN_LIFE)));
    }
    fields.finish()?;
    let mut bytes = [0; 32];
    app.random.fill(&mut bytes);
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let uid = tx.uid();
    let token = RegistrationToken {
        name: RegistrationTokenName { runner_pool: cmd.parent.runner_pool, registration_token: uid },
        prefix: secret[..SHOWN].to_owned(),
        create_time: now,
        expire_time: cmd.expire_time,
        revoke_time: None,
        used: None,
        creator: caller.principal.to_string(),
    };
    registration::insert(&mut tx, &digest(&secret), &token).await?;
    let facts = serde_json::json!({ "expire_time": token.expire_time.to_string() });
    tx.announce(Event::new("registration_token.created", &token.name, uid, 1).with(facts));
    app.finish(tx, write, &token).await?;
    Ok((token, secret))
}

/// Lists the tokens of a pool.
pub async fn list_tokens(app: &App, caller: &Caller, pool: &RunnerPoolName, page: Page) -> Result<Listed<RegistrationToken>> {
    caller.require(&pool.to_string(), app.now())?;
    let mut db = app.store.read().await?;
    if runners::get_pool(&mut db, pool).await?.is_none() {
        return Err(Error::not_found(pool));
    }
    registration::list(&mut db, pool, page).await
}

/// Ends a token; changes nothing when it was revoked before.
pub async fn revoke_token(app: &App, caller: &Caller, name: &RegistrationTokenName, write: &Write) -> Result<RegistrationToken> {
    caller.require(&name.to_string(), app.now())?;
    let mut tx = app.store.begin(caller, INSTALLATION, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let token = registration::hold(&mut tx, name.registration_token).await?.filter(|token| token.name == *name);
    let mut token = token.ok_or_else(|| Error::not_found(name))?;
    if token.revoke_time.is_none() {
        token.revoke_time = Some(tx.now());
        registration::update(&mut tx, &token).await?;
        tx.announce(Event::new("registration_token.revoked", name, name.registration_token, 2));
    }
    app.finish(tx, write, &token).await?;
    Ok(token)
}

/// Lets a runner join; answers its name and certificate. The token is the proof: whoever calls is nobody before.
///
/// The certificate is signed before the transaction that uses the token up, since that may wait for nothing else. One that is lost
/// in between was given to nobody.
pub async fn register(app: &App, cmd: Register, call: CallFacts) -> Result<(RunnerName, Certificate)> {
    let name = RunnerName { runner_pool: cmd.parent.runner_pool.clone(), runner: cmd.runner };
    let found = registration::by_digest(&mut app.store.read().await?, &digest(&cmd.token)).await?.ok_or_else(refused)?;
    let issuer = issuer(app, &name)?;
    let key_digest = issuer.key_digest(&cmd.certificate_request, &name)?;
    if let Some(joined) = found.join(&cmd.parent, &name, &key_digest, app.now())? {
        return Ok((name, joined.certificate.clone()));
    }
    let certificate = issued(issuer, cmd.certificate_request, &name).await?;

    let caller = Caller {
        principal: Principal::Runner(name.clone()),
        proof: Proof::Token,
        spiffe_id: None,
        expire_time: None,
        grants: Vec::new(),
        call,
    };
    let key = RequestKey { request_id: None, digest: digest(&cmd.token) };
    let mut tx = app.store.begin(&caller, INSTALLATION, &key).await?;
    let now = tx.now();
    let mut token = registration::hold(&mut tx, found.name.registration_token).await?.ok_or_else(refused)?;
    if let Some(joined) = token.join(&cmd.parent, &name, &key_digest, now)? {
        return Ok((name, joined.certificate.clone()));
    }
    // Who joins must not become who is there, nor who was removed.
    if runners::hold(&mut tx, &name).await?.is_some() || registration::is_removed(&mut tx, &name).await? {
        return Err(Error::exists(&name));
    }
    let runner = Runner {
        name: name.clone(),
        version: String::new(),
        engines: Vec::new(),
        capacity: 0,
        running: 0,
        sandbox: String::new(),
        platform: String::new(),
        engine_versions: Default::default(),
        labels: Default::default(),
        draining: false,
        last_seen_time: now,
        create_time: now,
    };
    runners::put(&mut tx, &runner).await?;
    let joined = Joined { runner: name.clone(), key_digest, certificate: certificate.clone(), time: now };
    token.used = Some(joined);
    registration::update(&mut tx, &token).await?;
    let facts = serde_json::json!({ "runner": name.to_string(), "certificate_until": certificate.expire_time.to_string() });
    tx.announce(Event::new("runner.registered", &name, token.name.registration_token, 2).with(facts));
    tx.commit(&()).await?;
    Ok((name, certificate))
}

/// Signs a new key of a runner.
pub async fn renew(app: &App, caller: &Caller, name: &RunnerName, certificate_request: String) -> Result<Certificate> {
    if caller.proof != Proof::Certificate {
        return Err(Error::new(Reason::PermissionMissing, "a certificate is renewed under the certificate itself, not a token")
            .with("permission", caller.call.permission));
    }
    let certificate = issued(issuer(app, name)?, certificate_request, name).await?;
    let key = RequestKey { request_id: None, digest: digest(&certificate.pem) };
    let mut tx = app.store.begin(caller, INSTALLATION, &key).await?;
    let facts = serde_json::json!({ "certificate_until": certificate.expire_time.to_string() });
    let uid = tx.uid();
    tx.announce(Event::new("runner.certificate_renewed", name, uid, 1).with(facts));
    tx.commit(&()).await?;
    Ok(certificate)
}

/// Removes a runner for good.
pub async fn delete_runner(app: &App, caller: &Caller, name: &RunnerName, write: &Write) -> Result<()> {
    caller.require(&name.to_string(), app.now())?;
    let mut tx = app.store.begin(caller, INSTALLATION, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    if !registration::remove(&mut tx, name).await? {
        return Err(Error::not_found(name));
    }
    let uid = tx.uid();
    tx.announce(Event::new("runner.deleted", name, uid, 1));
    app.finish(tx, write, &()).await?;
    app.removed_runners.forget(name);
    Ok(())
}

/// Whether a runner was removed. Known for as long as [`ACCESS_CACHE`](crate::app::ACCESS_CACHE).
pub(crate) async fn is_removed(app: &App, name: &RunnerName) -> Result<bool> {
    if let Some(removed) = app.removed_runners.get(name) {
        return Ok(removed);
    }
    let reading = app.removed_runners.reading();
    let removed = registration::is_removed(&mut app.store.read().await?, name).await?;
    app.removed_runners.put(reading, name.clone(), removed);
    Ok(removed)
}

fn issuer(app: &App, name: &RunnerName) -> Result<Arc<dyn Issuer>> {
    app.issuer.clone().ok_or_else(|| {
        Error::new(
            Reason::StateNotAllowed,
            format!(
                "this server has no authority to sign with: start it with `serve --ca-dir DIR`, or issue a certificate for \
                 spiffe://{}/{name} by the authority that it trusts",
                app.trust_domain
            ),
        )
    })
}

/// Signs away from the threads that answer calls: the authority writes down what it issues.
async fn issued(issuer: Arc<dyn Issuer>, request: String, name: &RunnerName) -> Result<Certificate> {
    let name = name.clone();
    let signed = tokio::task::spawn_blocking(move || issuer.issue(&request, &name, CERTIFICATE_LIFE)).await;
    signed.map_err(Error::internal)?
}
