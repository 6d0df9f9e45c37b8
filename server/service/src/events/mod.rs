//! What happened: read once for all who watch, shown to each as far as it may see.

mod feed;
pub mod relay;
mod token;
mod watch;

use std::sync::Arc;

use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, TenantScope},
    events::{Logged, Selection, permission},
    names::{TenantName, shown},
    time::Timestamp,
};
use freehold_store::{INSTALLATION, events};

use crate::{app::App, retention::EVENTS};

pub(crate) use feed::Feed;
pub use feed::{follow, listen};
pub use watch::{Batch, Watch, watch};

/// Where a reader begins.
#[derive(Clone, Debug)]
pub enum Start {
    /// With what happens from now on.
    Now,
    /// With the oldest event that is kept.
    Oldest,
    /// After what a token stands for.
    Token(String),
    /// With the first event at or after this time.
    Time(Timestamp),
}

/// A part of the log.
#[derive(Clone, Debug)]
pub struct Page {
    /// Oldest first.
    pub events: Vec<Arc<Logged>>,
    /// Where to go on after these.
    pub token: String,
    /// There was more when it was read.
    pub more: bool,
}

/// Below which resource events are read, and whose they are.
#[derive(Clone, Debug)]
pub(crate) struct Parent {
    name: String,
    tenant: Option<TenantName>,
}

impl Parent {
    fn new(name: &str) -> Result<Self> {
        let well = name.is_empty() || (name.split('/').count().is_multiple_of(2) && name.split('/').all(|part| !part.is_empty()));
        let tenant = TenantName::of(name);
        if !well || (tenant.is_none() && name.starts_with("tenants")) {
            let why = format!("`{}` is not a resource name; write `tenants/acme`, or a resource of it", shown(name));
            return Err(Error::field("parent", why));
        }
        Ok(Self { name: name.to_owned(), tenant })
    }

    /// Enters it; fails when the caller may not read events there.
    async fn enter(&self, app: &App, caller: &Caller) -> Result<TenantScope> {
        match &self.tenant {
            Some(tenant) => Ok(app.enter(caller, tenant, &self.name).await?.scope),
            None => caller.require(&self.name, app.now()).map(|()| INSTALLATION),
        }
    }
}

/// Whether the caller may see it: whoever may read a resource may see what happens to it.
pub(crate) fn is_visible(caller: &Caller, logged: &Logged, now: Timestamp) -> bool {
    let event = &logged.announced.event;
    permission(&event.kind).is_some_and(|permission| caller.may(permission, &event.resource, now))
}

/// Finds the place where a reader begins.
async fn locate(app: &App, scope: TenantScope, start: &Start) -> Result<events::Cursor> {
    app.store.place_events().await?;
    let mut db = app.store.read().await?;
    let ends = events::ends(&mut db).await?;
    let found = match start {
        Start::Now => Some(ends.last),
        Start::Oldest => Some(events::oldest_cursor(ends)),
        Start::Time(time) if ends.forgotten > 0 && *time < app.now().minus(EVENTS) => None,
        Start::Time(time) => Some(events::at(&mut db, *time, ends).await?),
        Start::Token(token) => {
            let cursor = token::open(&app.master_key, scope, token)?;
            events::knows(&mut db, cursor, ends).await?.then_some(cursor)
        }
    };
    match found {
        Some(cursor) => Ok(cursor),
        None => Err(expired(events::oldest(&mut db).await?)),
    }
}

fn expired(oldest: Option<Timestamp>) -> Error {
    let error = Error::new(
        Reason::ResumeTokenExpired,
        "what happened since then is not kept any longer; take a new cursor, list the resources again, and go on from there",
    );
    match oldest {
        Some(oldest) => error.with("oldest_time", oldest),
        None => error,
    }
}

/// Reads a page of the log. With a selection there may be fewer events than asked for, also none, before the last page.
pub async fn list(app: &App, caller: &Caller, parent: &str, selection: &Selection, start: &Start, size: u32) -> Result<Page> {
    let scope = Parent::new(parent)?.enter(app, caller).await?;
    let from = locate(app, scope, start).await?;
    let mut db = app.store.read().await?;
    let to = events::ends(&mut db).await?.last;
    let read = events::between(&mut db, scope, from.position, to.position, size).await?;
    let more = read.len() == size as usize;
    // After a page that is not full comes the end of the log, also when its last events are of others.
    let at = read.last().filter(|_| more).map_or(to, |last| events::Cursor { position: last.position, uid: last.uid.0 });
    let now = app.now();
    let events = read.into_iter().filter(|logged| selection.admits(logged) && is_visible(caller, logged, now)).map(Arc::new);
    Ok(Page { events: events.collect(), token: token::seal(&app.master_key, app.random.as_ref(), scope, at)?, more })
}

/// The token for now, or for a time, and the time of the oldest event that is kept.
pub async fn cursor(app: &App, caller: &Caller, parent: &str, time: Option<Timestamp>) -> Result<(String, Option<Timestamp>)> {
    let scope = Parent::new(parent)?.enter(app, caller).await?;
    let at = locate(app, scope, &time.map_or(Start::Now, Start::Time)).await?;
    let oldest = events::oldest(&mut app.store.read().await?).await?;
    Ok((token::seal(&app.master_key, app.random.as_ref(), scope, at)?, oldest))
}
