//! What other systems could not deliver to us: looked for every few minutes, and asked for again as far as it is not here.

use std::{sync::Arc, time::Duration};

use freehold_domain::{
    Error, Result, access::TenantScope, connections::Connection, fault, scrapes::Scrape, tenants::TenantState, time::Uid,
};
use freehold_store::{INSTALLATION, Tx, connections, inbound_messages, scrapes as rows};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    app::App,
    chat::passes,
    connections::target,
    duty::{CLAIMED, carry_out},
    webhook_deliveries::chance,
};

/// The time between two looks.
const EVERY: Duration = Duration::from_secs(300);
/// The longest time between them, for a system that wants to be left alone.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long a look may take, and how long whoever claims it has it.
const LOOK: Duration = Duration::from_secs(90);
const LEASE: Duration = Duration::from_secs(180);
/// Deliveries that one look asks for at most.
const ASKED: usize = 100;
/// Calls that are left to others: who waits for an answer comes first.
const SPARE: u64 = 200;

/// Takes connections that are due to be looked at and asks their systems, each in a task of its own; answers how many were taken.
pub async fn scrape(app: &Arc<App>) -> Result<usize> {
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    let claims = rows::claim(&mut tx, fault::time("scrapes.lease", LEASE), CLAIMED).await?;
    if claims.is_empty() {
        return Ok(0);
    }
    tx.commit(&()).await?;
    let attempt = |app: Arc<App>, claim| async move { attempt(&app, claim).await };
    Ok(carry_out(app, claims, |claim| format!("the deliveries of connection {}", claim.connection), attempt))
}

/// Has a connection looked after from now on, or not any more, after it was made or changed. What came while it was disabled was to be
/// left alone, and is not asked for afterwards.
pub(crate) async fn follow(
    app: &App,
    tx: &mut Tx,
    tenant: TenantScope,
    before: Option<&Connection>,
    connection: &Connection,
) -> Result<()> {
    let (was, is) = (before.is_some_and(|before| is_told(app, before)), is_told(app, connection));
    let enabled = before.is_none_or(|before| before.disabled.is_some()) && connection.disabled.is_none();
    if !enabled && was == is {
        return Ok(());
    }
    let due = if is { Some(tx.database_now().await?.plus(every())) } else { None };
    if enabled {
        rows::begin(tx, tenant, connection.meta.uid, due).await
    } else {
        rows::set_due(tx, tenant, connection.meta.uid, due).await
    }
}

fn every() -> Duration {
    fault::time("scrapes.every", EVERY)
}

/// Whether there is somebody to ask, something may be asked for, and what comes can be proven.
fn is_told(app: &App, connection: &Connection) -> bool {
    let settings = Value::Object(connection.settings.clone());
    let known = app.connectors.catalogue().iter().find(|known| known.kind == connection.connector);
    let proves = known.and_then(|known| known.inbound).is_some_and(|inbound| connection.slots.contains_key(inbound.slot));
    let may = connection.disabled.is_none() && !connection.dry_run && proves;
    may && app.connectors.tells_missed(&connection.connector, &settings)
}

async fn attempt(app: &App, mut claim: rows::Claim) -> Result<()> {
    let again = match look(app, &mut claim).await {
        Ok(again) => again,
        Err(error) => {
            tell(&mut claim.scrape, claim.connection, &error);
            Some(every().max(error.retry_delay().unwrap_or_default()).min(LONGEST))
        }
    };
    // Those that were made at the same time are not looked at at the same time for ever.
    let again = again.map(|pause| pause.mul_f64(0.9 + 0.2 * chance(app.random.as_ref())));
    let mut tx = app.store.begin_as("server", claim.tenant).await?;
    rows::report(&mut tx, &claim, again).await?;
    tx.commit(&()).await
}

/// A failure that stays is told of once.
fn tell(scrape: &mut Scrape, connection: Uid, error: &Error) {
    if scrape.error != error.message() {
        let why = error.chain();
        tracing::warn!(%connection, why, "a system could not be asked what it could not deliver; it is asked again later");
        scrape.error = error.message().to_owned();
    }
}

/// Asks for what is missing; answers after which time it is looked again.
async fn look(app: &App, claim: &mut rows::Claim) -> Result<Option<Duration>> {
    let mut db = app.store.read().await?;
    let Some((_, connection)) = connections::find(&mut db, claim.connection).await? else { return Ok(None) };
    let place = app.place_by_scope(&mut db, claim.tenant).await?;
    drop(db);
    if !is_told(app, &connection) {
        return Ok(None);
    }
    if place.tenant.state != TenantState::Active || is_short(app, claim.connection) {
        return Ok(Some(every()));
    }
    let (_, target) = target(app, &place, &connection.name).await?;
    let (begun, end) = (app.now(), Instant::now() + LOOK);
    let missed = app.connectors.missed(&target, claim.scrape.since(begun), LOOK).await?;
    claim.scrape.found(missed, begun);
    let mut db = app.store.read().await?;
    for id in claim.scrape.ids() {
        if inbound_messages::has(&mut db, claim.tenant, claim.connection, &id).await? {
            claim.scrape.arrived(&id);
        }
    }
    drop(db);
    for missed in claim.scrape.due(begun).into_iter().take(ASKED) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || is_short(app, claim.connection) {
            break;
        }
        let (connection, delivery) = (connection.name.to_string(), &missed.delivery_id);
        match app.connectors.redeliver(&target, &missed, left).await {
            Ok(()) => {
                fault::point("scrapes.asked");
                tracing::info!(connection, delivery, kind = missed.kind, "what did not arrive was asked for again");
            }
            Err(error) if passes(&error) => return Err(error),
            Err(error) => tracing::warn!(connection, delivery, why = error.chain(), "what did not arrive cannot be had again"),
        }
        if claim.scrape.asked(delivery, every(), app.now()) {
            tracing::warn!(connection, delivery, kind = missed.kind, "what never arrived is asked for no more");
        }
    }
    Ok(Some(every()))
}

/// Whether a connection should be left to those who wait for answers.
fn is_short(app: &App, connection: Uid) -> bool {
    let few = |left: Option<u64>| left.is_some_and(|left| left < SPARE);
    app.connectors.health(connection).is_some_and(|health| health.breaker == "open" || few(health.remaining))
}
