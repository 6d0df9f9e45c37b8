//! Deliveries on their way to webhook endpoints, until they arrive.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use freehold_domain::{
    Error, Reason, Result,
    access::Caller,
    events::Event,
    fault,
    names::{WebhookDeliveryName, WebhookEndpointName},
    resource::{Listed, Page},
    time::{Random, Uid},
    webhook_deliveries::{Attempt, DeliveryState, Verdict, WebhookDelivery},
    webhook_endpoints::{Secrets, WebhookEndpoint},
};
use freehold_store::{INSTALLATION, webhook_deliveries, webhook_endpoints as endpoints};
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    app::{App, Write},
    duty::{CLAIMED, carry_out},
    webhook_endpoints::{find, secrets, touch},
};

/// How long whoever claims a delivery has it. An attempt takes a minute at most.
const LEASE: Duration = Duration::from_secs(120);
/// Deliveries to one endpoint that one replica has under way.
const AT_ONCE: usize = 4;
/// A delivery that found its endpoint busy looks again after this.
const BUSY: Duration = Duration::from_secs(1);
/// How long a delivery is kept after it is over.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// Sends deliveries. It is given by whoever runs the server: HTTP is no business of use cases.
pub trait WebhookSender: Send + Sync + 'static {
    /// Makes a secret to sign with.
    fn new_secret(&self) -> String;

    /// Sends a message once, within a minute; answers what came of it and what that means.
    fn send<'a>(&'a self, target: &'a Target, message: &'a Message) -> BoxFuture<'a, (Attempt, Verdict)>;
}

/// Where something is sent.
#[derive(Clone, Debug)]
pub struct Target {
    /// The endpoint.
    pub endpoint: WebhookEndpoint,
    /// What it is signed with.
    pub secrets: Secrets,
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// By which the receiver knows a repeat.
    pub id: String,
    /// `type`, `timestamp` and `data`.
    pub body: Value,
}

/// What this replica has under way.
#[derive(Default)]
pub(crate) struct Deliveries {
    under_way: Mutex<HashMap<Uid, usize>>,
    due: Notify,
}

/// Lists deliveries of an endpoint, newest first.
pub async fn list(
    app: &App,
    caller: &Caller,
    parent: &WebhookEndpointName,
    state: Option<DeliveryState>,
    page: Page,
) -> Result<Listed<WebhookDelivery>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let endpoint = find(&mut db, &place, parent).await?;
    webhook_deliveries::list(&mut db, place.scope, endpoint.meta.uid, state, page).await
}

/// Returns a delivery.
pub async fn get(app: &App, caller: &Caller, name: &WebhookDeliveryName) -> Result<WebhookDelivery> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let endpoint = find(&mut db, &place, &name.webhook_endpoint_name()).await?;
    let found = webhook_deliveries::get(&mut db, place.scope, endpoint.meta.uid, name.delivery).await?;
    found.ok_or_else(|| Error::not_found(name))
}

/// Has a delivery sent again, whatever has become of it.
pub async fn redeliver(app: &App, caller: &Caller, name: &WebhookDeliveryName, write: &Write) -> Result<WebhookDelivery> {
    let place = app.enter(caller, &name.tenant_name(), &name.to_string()).await?;
    let mut tx = app.store.begin(caller, place.scope, &write.key).await?;
    if let Some(done) = tx.replayed()? {
        return Ok(done);
    }
    let endpoint = find(&mut tx, &place, &name.webhook_endpoint_name()).await?;
    if let Some(disabled) = &endpoint.disabled {
        let why = format!("{} is disabled: {}; enable it first", endpoint.name, disabled.reason);
        return Err(Error::new(Reason::StateNotAllowed, why).with("state", "DISABLED").with("allowed_states", "ENABLED"));
    }
    let held = webhook_deliveries::hold(&mut tx, place.scope, endpoint.meta.uid, name).await?;
    let mut delivery = held.ok_or_else(|| Error::not_found(name))?;
    delivery.again(tx.now());
    webhook_deliveries::update(&mut tx, place.scope, &delivery).await?;
    let version = i64::from(delivery.attempt_count);
    tx.announce(Event::new("webhook_delivery.repeated", name, name.delivery, version));
    app.finish(tx, write, &delivery).await?;
    app.deliveries.wake();
    Ok(delivery)
}

/// Takes what is due and sends it, each in a task of its own; answers how many were taken.
pub async fn deliver(app: &Arc<App>) -> Result<usize> {
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    let claims = webhook_deliveries::claim(&mut tx, fault::time("webhooks.lease", LEASE), CLAIMED).await?;
    if claims.is_empty() {
        return Ok(0);
    }
    tx.commit(&()).await?;
    let attempt = |app: Arc<App>, claim| async move { attempt(&app, claim).await };
    Ok(carry_out(app, claims, |claim| claim.delivery.name.to_string(), attempt))
}

/// Waits until this replica knows of something that is due, since the last wait.
pub async fn due(app: &App) {
    app.deliveries.due.notified().await;
}

async fn attempt(app: &App, mut claim: webhook_deliveries::Claim) -> Result<()> {
    let place = {
        let mut db = app.store.read().await?;
        app.place_by_scope(&mut db, claim.tenant).await?
    };
    let target = {
        let mut db = app.store.read().await?;
        match endpoints::by_uid(&mut db, claim.tenant, claim.endpoint).await? {
            Some(endpoint) if endpoint.disabled.is_none() => {
                let secrets = secrets(app, &mut db, &place, &endpoint).await?;
                Some(Target { endpoint, secrets })
            }
            _ => None,
        }
    };
    let Some(target) = target else {
        claim.delivery.end(DeliveryState::Failed);
        let mut tx = app.store.begin_as("server", claim.tenant).await?;
        webhook_deliveries::report(&mut tx, &claim).await?;
        return tx.commit(&()).await;
    };
    let (attempt, verdict) = match app.deliveries.turn(claim.endpoint) {
        None => (Attempt::default(), Verdict::NotSent(Some(BUSY))),
        Some(_turn) => {
            let message = Message { id: claim.delivery.event.to_string(), body: claim.delivery.body.clone() };
            app.webhooks.send(&target, &message).await
        }
    };
    fault::point("webhooks.delivered");
    let mut tx = app.store.begin_as("server", claim.tenant).await?;
    let now = tx.now();
    claim.delivery.tried(attempt, verdict, chance(app.random.as_ref()), now);
    if !webhook_deliveries::report(&mut tx, &claim).await? {
        return Ok(());
    }
    if let Some(mut endpoint) = endpoints::by_uid(&mut tx, claim.tenant, claim.endpoint).await? {
        let changed = match verdict {
            Verdict::Delivered => endpoint.tried(true, now),
            Verdict::Later(_) => endpoint.tried(false, now),
            Verdict::Gone if endpoint.disabled.is_none() => {
                endpoint.disable("its receiver answered 410: it wants no more deliveries", now);
                true
            }
            Verdict::Gone | Verdict::NotSent(_) => false,
        };
        if changed {
            let kind = if endpoint.disabled.is_some() {
                "webhook_endpoint.disabled"
            } else if endpoint.failing_since.is_some() {
                "webhook_endpoint.failing"
            } else {
                "webhook_endpoint.recovered"
            };
            touch(&mut tx, &place, &mut endpoint, kind).await?;
        }
    }
    tx.commit(&()).await?;
    if claim.delivery.due.is_none() {
        // The next one of an endpoint that wants them in order is due.
        app.deliveries.wake();
    }
    Ok(())
}

impl Deliveries {
    /// Something is due.
    pub(crate) fn wake(&self) {
        self.due.notify_one();
    }

    /// A place among what is under way to an endpoint, or over a connection, until it is dropped.
    pub(crate) fn turn(&self, endpoint: Uid) -> Option<Turn<'_>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(endpoint).or_default();
        (*count < AT_ONCE).then(|| {
            *count += 1;
            Turn { of: self, endpoint }
        })
    }
}

pub(crate) struct Turn<'a> {
    of: &'a Deliveries,
    endpoint: Uid,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut under_way = self.of.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.endpoint) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.endpoint);
            }
        }
    }
}

/// A number from 0 up to 1.
pub(crate) fn chance(random: &dyn Random) -> f64 {
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
