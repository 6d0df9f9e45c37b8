//! From the log of events to those who are told of them outside: webhook endpoints, notification rules, and places where runs are shown.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use freehold_domain::{
    Result,
    access::TenantScope,
    events::Logged,
    fault,
    notification_rules::{Compiled, NotificationRule},
    time::Uid,
    webhook_deliveries::WebhookDelivery,
    webhook_endpoints::WebhookEndpoint,
};
use freehold_store::{
    INSTALLATION, Session, Tx, event_consumers,
    events::{self, Cursor},
    notification_rules, webhook_deliveries, webhook_endpoints,
};
use tokio::sync::{Mutex, watch};

use crate::{
    app::App,
    events::Feed,
    notifications,
    run_threads::{self, Begun},
};

/// Its name among the consumers of events.
const CONSUMER: &str = "fan_out";
/// Events that are looked at in one go.
const READ: u32 = 500;
/// Places behind the last one that was seen after which that is written down, although nobody wanted what was there.
const BEHIND: i64 = 1000;

/// Where this replica is in the log.
pub(crate) struct FanOut {
    seen: Mutex<Option<Cursor>>,
    news: Mutex<watch::Receiver<()>>,
}

impl FanOut {
    pub(crate) fn of(feed: &Feed) -> Self {
        Self { seen: Mutex::default(), news: Mutex::new(feed.subscribe(INSTALLATION)) }
    }
}

/// Waits until something has happened since the last wait.
pub async fn news(app: &App) {
    // The sender stays for as long as somebody listens.
    if app.fan_out.news.lock().await.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Looks at what has happened since the last look, and writes down who has to be told; answers whether there may be more.
///
/// Every replica does so. Which was first, the row of the consumer decides: what is before its place was done.
pub async fn fan_out(app: &App) -> Result<bool> {
    let mut seen = app.fan_out.seen.lock().await;
    let mut db = app.store.read().await?;
    let from = match *seen {
        Some(cursor) => cursor,
        None => {
            let last = events::ends(&mut db).await?.last;
            drop(db);
            let mut tx = app.store.begin_as("server", INSTALLATION).await?;
            event_consumers::ensure(&mut tx, CONSUMER, last).await?;
            let from = hold(&mut tx).await?.unwrap_or(last);
            tx.commit(&()).await?;
            db = app.store.read().await?;
            *seen.insert(from)
        }
    };
    let read = events::between(&mut db, INSTALLATION, from.position, i64::MAX, READ).await?;
    let Some(last) = read.last() else { return Ok(false) };
    let to = Cursor { position: last.position, uid: last.uid.0 };
    let full = read.len() == READ as usize;
    let wanted = Wanted::of(&mut db, &read).await?;
    drop(db);
    // What nobody wants needs no write; from time to time it is said how far it was looked.
    if !wanted.is_empty() || full || to.position / BEHIND > from.position / BEHIND {
        let mut tx = app.store.begin_as("server", INSTALLATION).await?;
        let stored = hold(&mut tx).await?.unwrap_or(from);
        wanted.write_down(&mut tx, stored.position).await?;
        if stored.position < to.position {
            event_consumers::advance(&mut tx, CONSUMER, to).await?;
        }
        fault::point("webhooks.decided");
        tx.commit(&()).await?;
    }
    *seen = Some(to);
    if !wanted.deliveries.is_empty() {
        app.deliveries.wake();
    }
    if !wanted.notices.is_empty() {
        app.notifications.wake();
    }
    if !wanted.shown.is_empty() || !wanted.begun.is_empty() {
        run_threads::touched(app);
    }
    Ok(full)
}

/// The place before which it was found out who is told; nobody else moves it, nor tells of anything, before this transaction ends.
pub(crate) async fn hold(tx: &mut Tx) -> Result<Option<Cursor>> {
    event_consumers::hold(tx, CONSUMER).await
}

/// Looks at everything there is, and answers how far that was.
pub(crate) async fn catch_up(app: &App) -> Result<Option<Cursor>> {
    while fan_out(app).await? {}
    Ok(*app.fan_out.seen.lock().await)
}

/// Writes down how far it was looked, so that what came before can be forgotten.
pub(crate) async fn note(tx: &mut Tx, seen: Cursor) -> Result<()> {
    match hold(tx).await? {
        Some(stored) if stored.position < seen.position => event_consumers::advance(tx, CONSUMER, seen).await,
        _ => Ok(()),
    }
}

/// Who wants which event. They are read after the events: who was there before an event is not missed.
struct Wanted<'a> {
    deliveries: Vec<(Arc<WebhookEndpoint>, &'a Logged)>,
    notices: Vec<(Arc<(NotificationRule, Compiled)>, &'a Logged)>,
    /// Runs that are shown somewhere, which something has happened to.
    shown: Vec<(TenantScope, Uid)>,
    /// Runs that begin, and are shown without being asked for.
    begun: Vec<Begun>,
}

/// Those of one tenant who may want something.
struct Readers {
    endpoints: Vec<(freehold_domain::events::Selection, Arc<WebhookEndpoint>)>,
    rules: Vec<Arc<(NotificationRule, Compiled)>>,
}

impl Readers {
    async fn of(db: &mut Session, tenant: TenantScope) -> Result<Self> {
        let endpoints = webhook_endpoints::all(db, tenant).await?.into_iter().filter(|endpoint| endpoint.disabled.is_none());
        let rules = notification_rules::all(db, tenant).await?.into_iter().filter(|rule| !rule.disabled);
        Ok(Self {
            endpoints: endpoints.map(|endpoint| (endpoint.selection(), Arc::new(endpoint))).collect(),
            rules: rules
                .map(|rule| {
                    let compiled = rule.compiled();
                    Arc::new((rule, compiled))
                })
                .collect(),
        })
    }
}

impl<'a> Wanted<'a> {
    async fn of(db: &mut Session, read: &'a [Logged]) -> Result<Self> {
        let shown = run_threads::followed(db, read).await?;
        let begun = run_threads::begun(db, read).await?;
        let mut wanted = Self { deliveries: Vec::new(), notices: Vec::new(), shown, begun };
        let mut tenants: HashMap<Uid, Readers> = HashMap::new();
        for logged in read.iter().filter(|logged| TenantScope(logged.tenant) != INSTALLATION) {
            let readers = match tenants.entry(logged.tenant) {
                Entry::Occupied(read) => read.into_mut(),
                Entry::Vacant(unread) => unread.insert(Readers::of(db, TenantScope(logged.tenant)).await?),
            };
            for (selection, endpoint) in &readers.endpoints {
                if endpoint.wants(selection, logged) {
                    wanted.deliveries.push((Arc::clone(endpoint), logged));
                }
            }
            for rule in &readers.rules {
                if rule.0.is_about(logged) && rule.1.wants(logged) {
                    wanted.notices.push((Arc::clone(rule), logged));
                }
            }
        }
        Ok(wanted)
    }

    fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.notices.is_empty() && self.shown.is_empty() && self.begun.is_empty()
    }

    /// Writes down what comes after this place; what is before it was done.
    async fn write_down(&self, tx: &mut Tx, done: i64) -> Result<()> {
        let now = tx.now();
        for (endpoint, logged) in self.deliveries.iter().filter(|(_, logged)| logged.position > done) {
            let delivery = WebhookDelivery::new(tx.uid(), &endpoint.name, logged, now);
            webhook_deliveries::insert(tx, TenantScope(logged.tenant), endpoint, logged.position, &delivery).await?;
        }
        let notices: Vec<_> = self.notices.iter().filter(|(_, logged)| logged.position > done).cloned().collect();
        notifications::gather(tx, &notices).await?;
        run_threads::follow(tx, &self.begun).await?;
        run_threads::touch(tx, &self.shown).await
    }
}
