//! Receivers of events over HTTP.

use std::{sync::Arc, time::Duration};

use freehold_domain::{
    Error, Reason, Result, Violations,
    access::Caller,
    events::{Announced, Event, Logged, Selection, is_below},
    names::{Id, TenantName, WebhookEndpointName},
    quotas::Dimension,
    resource::{Described, Labels, Listed, Meta, Page},
    webhook_deliveries::{Attempt, WebhookDelivery},
    webhook_endpoints::{GRACE, MAX_CA_BUNDLE, MAX_GRACE, Secrets, WebhookEndpoint, check_url},
};
use freehold_store::{RequestKey, Session, Tx, payloads, webhook_endpoints};

use crate::{
    app::{App, Place, Write},
    webhook_deliveries::{Message, Target},
};

/// What a new endpoint is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct CreateWebhookEndpoint {
    pub parent: TenantName,
    pub id: Option<Id>,
    pub described: Described,
    pub url: String,
    pub below: String,
    pub kinds: Vec<String>,
    pub filter: String,
    pub ordered: bool,
    pub ca_bundle: String,
}

/// What changes; `None` stays.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct UpdateWebhookEndpoint {
    pub name: WebhookEndpointName,
    pub display_name: Option<String>,
    pub labels: Option<Labels>,
    pub url: Option<String>,
    pub below: Option<String>,
    pub kinds: Option<Vec<String>>,
    pub filter: Option<String>,
    pub ordered: Option<bool>,
    pub ca_bundle: Option<String>,
    pub enabled: Option<bool>,
}

/// Creates an endpoint; answers it with the secret that its deliveries are signed with.
///
/// Fails with `SECRET_ALREADY_RETURNED` when the request is a repeat.
pub async fn create(app: &App, caller: &Caller, cmd: CreateWebhookEndpoint, write: &Write) -> Result<(WebhookEndpoint, String)> {
    let place = app.enter(caller, &cmd.parent, &cmd.parent.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(endpoint) = tx.replayed::<WebhookEndpoint>()? {
        return Err(already_returned(&endpoint));
    }
    let uid = tx.uid();
    let name = WebhookEndpointName {
        tenant: cmd.parent.tenant.clone(),
        webhook_endpoint: cmd.id.unwrap_or_else(|| Id::generated("webhook", uid)),
    };
    let endpoint = WebhookEndpoint {
        name,
        meta: Meta::new(uid, cmd.described, &caller.principal, tx.now()),
        url: cmd.url,
        below: if cmd.below.is_empty() { cmd.parent.to_string() } else { cmd.below },
        kinds: cmd.kinds,
        filter: cmd.filter,
        ordered: cmd.ordered,
        disabled: None,
        failing_since: None,
        previous_secret_expire_time: None,
        ca_bundle: cmd.ca_bundle,
        since: tx.now(),
    };
    expect_right(app, &endpoint)?;
    webhook_endpoints::insert(&mut tx, place.scope, &cmd.parent.to_string(), &endpoint).await?;
    let secret = app.webhooks.new_secret();
    put_secrets(app, &mut tx, &place, &endpoint, &Secrets { secret: secret.clone(), previous: None }).await?;
    tx.announce(Event::new("webhook_endpoint.created", &endpoint.name, uid, 1));
    tx.take(Dimension::WebhookEndpoints, 1);
    app.finish(tx, write, &endpoint).await?;
    Ok((endpoint, secret))
}

/// Returns an endpoint.
pub async fn get(app: &App, caller: &Caller, name: &WebhookEndpointName) -> Result<Arc<WebhookEndpoint>> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    app.store.newest(name, async |db: &mut Session| find(db, &place, name).await).await
}

/// Lists the endpoints of a tenant.
pub async fn list(app: &App, caller: &Caller, parent: &TenantName, page: Page) -> Result<Listed<WebhookEndpoint>> {
    let place = app.enter(caller, parent, &parent.to_string()).await?;
    webhook_endpoints::list(&mut app.store.read().await?, place.scope, &parent.to_string(), page).await
}

/// Changes an endpoint.
pub async fn update(app: &App, caller: &Caller, cmd: UpdateWebhookEndpoint, write: &Write) -> Result<WebhookEndpoint> {
    let place = app.enter(caller, &cmd.name.tenant_name(), &cmd.name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let mut endpoint = find(&mut tx, &place, &cmd.name).await?;
    endpoint.meta.expect_etag(write.etag.as_deref())?;
    let before = endpoint.clone();
    endpoint.meta.describe(cmd.display_name, cmd.labels);
    endpoint.url = cmd.url.unwrap_or(endpoint.url);
    endpoint.kinds = cmd.kinds.unwrap_or(endpoint.kinds);
    endpoint.filter = cmd.filter.unwrap_or(endpoint.filter);
    endpoint.ordered = cmd.ordered.unwrap_or(endpoint.ordered);
    endpoint.ca_bundle = cmd.ca_bundle.unwrap_or(endpoint.ca_bundle);
    if let Some(below) = cmd.below {
        endpoint.below = if below.is_empty() { cmd.name.tenant_name().to_string() } else { below };
    }
    match cmd.enabled {
        Some(true) => endpoint.enable(tx.now()),
        Some(false) => endpoint.disable(&format!("disabled by {}", caller.principal), tx.now()),
        None => {}
    }
    expect_right(app, &endpoint)?;
    if endpoint != before {
        let kind = match (&before.disabled, &endpoint.disabled) {
            (None, Some(_)) => "webhook_endpoint.disabled",
            (Some(_), None) => "webhook_endpoint.enabled",
            _ => "webhook_endpoint.updated",
        };
        touch(&mut tx, &place, &mut endpoint, kind).await?;
    }
    app.finish(tx, write, &endpoint).await?;
    Ok(endpoint)
}

/// Deletes an endpoint. What is on its way to it is given up.
pub async fn delete(app: &App, caller: &Caller, name: &WebhookEndpointName, allow_missing: bool, write: &Write) -> Result<()> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if tx.replayed::<()>()?.is_some() {
        return Ok(());
    }
    let endpoint = match webhook_endpoints::get(&mut tx, place.scope, name).await? {
        None if allow_missing => return app.finish(tx, write, &()).await,
        None => return Err(Error::not_found(name)),
        Some(endpoint) => endpoint,
    };
    endpoint.meta.expect_etag(write.etag.as_deref())?;
    webhook_endpoints::delete(&mut tx, place.scope, &endpoint).await?;
    payloads::delete_all(&mut tx, place.scope, endpoint.meta.uid).await?;
    tx.announce(Event::new("webhook_endpoint.deleted", name, endpoint.meta.uid, endpoint.meta.version + 1));
    tx.take(Dimension::WebhookEndpoints, -1);
    app.finish(tx, write, &()).await
}

/// Makes a new secret; the one before signs as well for so long.
///
/// Fails with `SECRET_ALREADY_RETURNED` when the request is a repeat.
pub async fn rotate(
    app: &App,
    caller: &Caller,
    name: &WebhookEndpointName,
    grace: Option<Duration>,
    write: &Write,
) -> Result<(WebhookEndpoint, String)> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let grace = grace.unwrap_or(GRACE);
    if grace > MAX_GRACE {
        return Err(Error::field("grace", "seven days at most"));
    }
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(endpoint) = tx.replayed::<WebhookEndpoint>()? {
        return Err(already_returned(&endpoint));
    }
    let mut endpoint = find(&mut tx, &place, name).await?;
    endpoint.meta.expect_etag(write.etag.as_deref())?;
    let until = tx.now().plus(grace);
    let secret = app.webhooks.new_secret();
    let secrets = secrets(app, &mut tx, &place, &endpoint).await?.rotated(secret.clone(), until);
    put_secrets(app, &mut tx, &place, &endpoint, &secrets).await?;
    endpoint.previous_secret_expire_time = Some(until);
    touch(&mut tx, &place, &mut endpoint, "webhook_endpoint.secret_rotated").await?;
    app.finish(tx, write, &endpoint).await?;
    Ok((endpoint, secret))
}

/// Sends something that means nothing, at once; answers what came of it.
pub async fn test(app: &App, caller: &Caller, name: &WebhookEndpointName) -> Result<Attempt> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let (target, message) = {
        let mut tx = app.store.begin(caller, place.scope, &RequestKey::NONE).await?;
        let endpoint = find(&mut tx, &place, name).await?;
        let secrets = secrets(app, &mut tx, &place, &endpoint).await?;
        let uid = tx.uid();
        // What happens elsewhere cannot be in a transaction here, so it is in the trail before it is sent.
        tx.announce(Event::new("webhook_endpoint.tested", name, endpoint.meta.uid, endpoint.meta.version));
        let event = Event::new("webhook_endpoint.test", name, endpoint.meta.uid, endpoint.meta.version);
        let announced = Announced {
            event,
            time: tx.now(),
            principal: caller.principal.to_string(),
            request_id: caller.call.request_id.clone(),
        };
        let logged = Logged { position: 0, uid, tenant: place.scope.0, announced };
        let delivery = WebhookDelivery::new(uid, name, &logged, tx.now());
        tx.commit(&()).await?;
        (Target { endpoint, secrets }, Message { id: uid.to_string(), body: delivery.body })
    };
    Ok(app.webhooks.send(&target, &message).await.0)
}

pub(crate) async fn find(db: &mut Session, place: &Place, name: &WebhookEndpointName) -> Result<WebhookEndpoint> {
    webhook_endpoints::get(db, place.scope, name).await?.ok_or_else(|| Error::not_found(name))
}

/// What its deliveries are signed with.
pub(crate) async fn secrets(app: &App, db: &mut Session, place: &Place, endpoint: &WebhookEndpoint) -> Result<Secrets> {
    let bytes = app.open(db, place, endpoint.meta.uid, payloads::Kind::Credentials, 0).await?;
    let bytes = bytes.ok_or_else(|| Error::internal(format!("{} has no secret", endpoint.name)))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::internal(format!("the secret of {} cannot be read", endpoint.name)))
}

async fn put_secrets(app: &App, tx: &mut Tx, place: &Place, endpoint: &WebhookEndpoint, secrets: &Secrets) -> Result<()> {
    let bytes = serde_json::to_vec(secrets).map_err(|_| Error::internal("a secret cannot be written"))?;
    app.put(tx, place, endpoint.meta.uid, payloads::Kind::Credentials, 0, &bytes).await
}

/// Writes the next version, and says why there is one.
pub(crate) async fn touch(tx: &mut Tx, place: &Place, endpoint: &mut WebhookEndpoint, kind: &str) -> Result<()> {
    endpoint.meta.touch(tx.now());
    webhook_endpoints::update(tx, place.scope, endpoint).await?;
    let event = Event::new(kind, &endpoint.name, endpoint.meta.uid, endpoint.meta.version);
    let facts = endpoint.disabled.as_ref().map(|disabled| serde_json::json!({ "reason": disabled.reason }));
    tx.announce(event.with(facts.unwrap_or_default()));
    Ok(())
}

/// Everything that is wrong with where it is and what it wants.
fn expect_right(app: &App, endpoint: &WebhookEndpoint) -> Result<()> {
    let mut wrong = Violations::new();
    wrong.check("webhook_endpoint.url", check_url(&endpoint.url, &app.address_policy));
    if endpoint.ca_bundle.len() > MAX_CA_BUNDLE
        || !(endpoint.ca_bundle.is_empty() || endpoint.ca_bundle.contains("-----BEGIN CERTIFICATE-----"))
    {
        wrong.add("webhook_endpoint.ca_bundle", "certificates in PEM, at most 64 KiB");
    }
    let tenant = endpoint.name.tenant_name().to_string();
    if !is_below(&endpoint.below, &tenant) {
        wrong.add("webhook_endpoint.below", format!("a resource of {tenant}, by its full name"));
    }
    Selection::new_in("webhook_endpoint.", endpoint.below.clone(), endpoint.kinds.clone(), &endpoint.filter, &mut wrong);
    wrong.finish()
}

fn already_returned(endpoint: &WebhookEndpoint) -> Error {
    let why =
        format!("the secret of {} was returned before and is not kept to be shown; rotate it to get another one", endpoint.name);
    Error::new(Reason::SecretAlreadyReturned, why).with("resource", &endpoint.name)
}
