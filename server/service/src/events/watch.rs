//! One watch: what a reader has seen, and what comes next for it.

use std::{sync::Arc, time::Duration};

use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, TenantScope},
    events::{Logged, Selection},
};
use freehold_store::events::{self, Cursor};
use tokio::{
    sync::watch::Receiver,
    time::{Instant, timeout_at},
};

use super::{
    Parent, Start, expired,
    feed::{Found, Open},
    follow, is_visible, locate, token,
};
use crate::{app::App, identify};

/// Events of one message, at most.
const BATCH: usize = 500;
/// A watcher that nothing was told for so long is told where the log is.
const BOOKMARK: Duration = Duration::from_secs(10);

/// An open watch.
pub struct Watch {
    app: Arc<App>,
    caller: Caller,
    parent: Parent,
    scope: TenantScope,
    selection: Selection,
    at: Cursor,
    wake: Receiver<()>,
    /// It has seen everything once: from here on the feed has what it needs, unless it is too slow.
    live: bool,
    told: bool,
    open: Open,
}

/// What a watcher is told at once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Oldest first; none in a bookmark.
    pub events: Vec<Arc<Logged>>,
    /// Where to go on after these.
    pub token: String,
}

/// Opens a watch.
pub async fn watch(app: &Arc<App>, caller: &Caller, parent: &str, selection: Selection, start: &Start) -> Result<Watch> {
    let parent = Parent::new(parent)?;
    let scope = parent.enter(app, caller).await?;
    let open = app.feed.admit(&caller.principal)?;
    // Before its place is found, so that what happens from then on wakes it.
    let wake = app.feed.subscribe(scope);
    follow(app).await?;
    let at = locate(app, scope, start).await?;
    let (app, caller) = (Arc::clone(app), caller.clone());
    Ok(Watch { app, caller, parent, scope, selection, at, wake, live: false, told: false, open })
}

impl Watch {
    /// Who watches.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Waits for what happens next. The first answer comes at once, and one without events when nothing has happened for a while.
    ///
    /// Fails with `WATCH_SLOW_CONSUMER` when so much has happened since the last call that it has left memory, and with whatever
    /// keeps the caller from watching now.
    pub async fn next(&mut self) -> Result<Batch> {
        let end = Instant::now() + if self.told { BOOKMARK } else { Duration::ZERO };
        loop {
            self.wake.mark_unchanged();
            let (found, at, all) = self.look().await?;
            let wanted: Vec<_> = found.into_iter().filter(|logged| self.selection.admits(logged)).collect();
            let over = all && (Instant::now() >= end || self.app.is_draining());
            if !wanted.is_empty() || over {
                // Events that it may not see any more are not shown, so who it is comes first.
                self.authorise().await?;
                let now = self.app.now();
                let events: Vec<_> = wanted.into_iter().filter(|logged| is_visible(&self.caller, logged, now)).collect();
                self.at = at;
                if !events.is_empty() || over {
                    self.told = true;
                    let token = token::seal(&self.app.master_key, self.app.random.as_ref(), self.scope, at)?;
                    return Ok(Batch { events, token });
                }
            }
            self.at = at;
            if all {
                let _ = timeout_at(end, self.wake.changed()).await;
            }
        }
    }

    /// Events after its place, the place after them, and whether that is all for now.
    async fn look(&mut self) -> Result<(Vec<Arc<Logged>>, Cursor, bool)> {
        match self.app.feed.after(self.scope, self.at, BATCH) {
            Found::Here(events, at) => {
                let all = events.len() < BATCH;
                self.live |= all;
                Ok((events, at, all))
            }
            Found::Behind(_) if self.live => Err(self.slow()?),
            Found::Behind(last) => {
                let mut db = self.app.store.read().await?;
                let read = events::between(&mut db, self.scope, self.at.position, last.position, BATCH as u32).await?;
                if events::ends(&mut db).await?.forgotten > self.at.position {
                    return Err(expired(events::oldest(&mut db).await?));
                }
                let full = read.len() == BATCH;
                let at = read.last().filter(|_| full).map_or(last, |last| Cursor { position: last.position, uid: last.uid.0 });
                Ok((read.into_iter().map(Arc::new).collect(), at, false))
            }
        }
    }

    fn slow(&self) -> Result<Error> {
        let token = token::seal(&self.app.master_key, self.app.random.as_ref(), self.scope, self.at)?;
        let why = "more has happened than is kept in memory since the last message was taken; read faster, narrow the watch by kinds \
                   or a filter, and go on with the last token";
        Ok(Error::new(Reason::WatchSlowConsumer, why).with("resume_token", token))
    }

    /// Asks again whether the caller may watch, with the roles of now.
    async fn authorise(&mut self) -> Result<()> {
        let _turn = self.open.turn().await;
        self.caller = identify::again(&self.app, &self.caller).await?;
        self.parent.enter(&self.app, &self.caller).await.map(drop)
    }
}
