//! What is not kept any longer, and goes by itself: answers to repeats, old events and messages, deleted tenants, abandoned deployments.

use std::time::Duration;

use freehold_domain::{
    Error, Result,
    connections::MESSAGES,
    events::Event,
    tenants::{RETENTION, Tenant},
};
use freehold_store::{
    INSTALLATION, connection_accounts, drift_items, events, inbound_messages, notification_groups, notifications, retention,
    run_threads, tenants, webhook_deliveries,
};

use crate::{abandonment, app::App, fan_out, notifications as told, webhook_deliveries::KEPT};

/// How long an event is kept in the outbox.
pub const EVENTS: Duration = Duration::from_secs(7 * 86_400);

/// How long an item of drift is kept after it was resolved; one that comes back later is a new one.
pub const RESOLVED_DRIFT: Duration = Duration::from_secs(90 * 86_400);

/// Rows of one batch: a few milliseconds of work, behind which other writers wait.
const BATCH: u32 = 500;
/// Tenants that are purged side by side, so that one that cannot be does not keep the others.
const TENANTS: u32 = 16;

/// Removes a batch of everything whose time is over; answers whether there may be more.
///
/// What it removes, it removes for good: a deleted tenant goes with every row of it, its audit trail and its data key. That it did
/// stays in the audit trail of the installation.
pub async fn sweep(app: &App) -> Result<bool> {
    let seen = fan_out::catch_up(app).await?;
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    if let Some(seen) = seen {
        fan_out::note(&mut tx, seen).await?;
    }
    let answers = retention::forget_answers(&mut tx, BATCH).await?;
    let forgotten_events = events::forget(&mut tx, app.now().minus(EVENTS), BATCH).await?;
    let deliveries = webhook_deliveries::forget(&mut tx, app.now().minus(KEPT), BATCH).await?;
    let notifications = notifications::forget(&mut tx, app.now().minus(told::KEPT), BATCH).await?;
    let groups = notification_groups::forget(&mut tx, app.now().minus(told::KEPT), BATCH).await?;
    let messages = inbound_messages::forget(&mut tx, app.now().minus(MESSAGES), BATCH).await?;
    let codes = connection_accounts::forget_codes(&mut tx, BATCH).await?;
    let threads = run_threads::forget(&mut tx, app.now().minus(MESSAGES), BATCH).await?;
    let items = drift_items::forget(&mut tx, app.now().minus(RESOLVED_DRIFT), BATCH).await?;
    tx.commit(&()).await?;

    let due = tenants::deleted(&mut app.store.read().await?, app.now().minus(RETENTION), TENANTS).await?;
    let mut failed: Option<Error> = None;
    let mut purged = false;
    for tenant in &due {
        match purge(app, tenant).await {
            Ok(()) => purged = true,
            Err(error) => failed = Some(error),
        }
    }
    let forgotten = abandonment::purge(app).await?;
    match failed {
        Some(error) if !purged => Err(error),
        _ => {
            let most = [answers, forgotten_events, deliveries, notifications, groups, messages, codes, threads, items]
                .into_iter()
                .max()
                .unwrap_or_default();
            Ok(purged || forgotten || most == u64::from(BATCH))
        }
    }
}

/// Removes a batch of the rows of a tenant, or the tenant itself when there are none left.
async fn purge(app: &App, tenant: &Tenant) -> Result<()> {
    let mut tx = app.store.begin_as("server", INSTALLATION).await?;
    // Held against the other replicas, which do the same.
    if !tenants::hold(&mut tx, tenant.meta.uid.0).await? {
        return Ok(());
    }
    let gone = retention::purge(&mut tx, tenant.scope(), BATCH).await? == 0;
    if gone {
        tenants::purge(&mut tx, tenant.meta.uid.0).await?;
        tx.announce(Event::new("tenant.purged", &tenant.name, tenant.meta.uid, tenant.meta.version + 1));
    }
    tx.commit(&()).await?;
    if gone {
        app.forget_tenant(&tenant.name);
    }
    Ok(())
}
