//! The newest part of the log, read by one task for all watchers of this replica.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use freehold_domain::{
    Error, Reason, Result,
    access::{Principal, TenantScope},
    events::Logged,
};
use freehold_store::{
    INSTALLATION,
    events::{self, Cursor},
};
use tokio::sync::watch;

use crate::app::App;

/// Events that are kept in memory, at most. Watchers that are further behind read the database.
const KEPT: usize = 4096;
/// Events that are read at once.
const READ: u32 = 1000;
/// Watches that one principal may hold open on one replica.
const MOST_OF_ONE: usize = 1000;

/// The newest part of the log, and who waits for more.
#[derive(Default)]
pub(crate) struct Feed {
    newest: Mutex<Newest>,
    reading: tokio::sync::Mutex<()>,
    /// Wakes the watchers of a tenant; those of the installation by its scope.
    wakes: Mutex<HashMap<TenantScope, watch::Sender<()>>>,
    open: Arc<Mutex<Opened>>,
}

/// How many watches each principal has, and whose turn it is to read what that one may.
type Opened = HashMap<Principal, (usize, Arc<tokio::sync::Mutex<()>>)>;

#[derive(Default)]
struct Newest {
    events: VecDeque<Arc<Logged>>,
    /// Whatever comes after this place and up to `last` is in `events`.
    from: i64,
    last: Option<Cursor>,
}

/// What the feed has for a watcher.
pub(super) enum Found {
    /// Events of its tenant after its place, and the place after them.
    Here(Vec<Arc<Logged>>, Cursor),
    /// Some of what comes after its place is in the database only; this is the end of the log.
    Behind(Cursor),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// Events after a place, at most so many.
    pub(super) fn after(&self, scope: TenantScope, at: Cursor, most: usize) -> Found {
        let newest = lock(&self.newest);
        let last = newest.last.unwrap_or_default();
        if at.position < newest.from {
            return Found::Behind(last);
        }
        let begin = newest.events.partition_point(|logged| logged.position <= at.position);
        let mut found = Vec::new();
        for logged in newest.events.range(begin..) {
            if scope == INSTALLATION || logged.tenant == scope.0 {
                found.push(Arc::clone(logged));
                if found.len() == most {
                    return Found::Here(found, Cursor { position: logged.position, uid: logged.uid.0 });
                }
            }
        }
        // A watcher may have been told of a later end by the database than this task has read.
        Found::Here(found, if last.position > at.position { last } else { at })
    }

    /// Is told whenever something has happened in this tenant.
    pub(crate) fn subscribe(&self, scope: TenantScope) -> watch::Receiver<()> {
        lock(&self.wakes).entry(scope).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Counts one more watch of a principal, until the answer is dropped.
    ///
    /// Fails with `TOO_MANY_STREAMS`.
    pub(super) fn admit(&self, principal: &Principal) -> Result<Open> {
        let mut open = lock(&self.open);
        let (count, turn) = open.entry(principal.clone()).or_default();
        if *count >= MOST_OF_ONE {
            let why = format!("{principal} holds {MOST_OF_ONE} watches open on this server; close some, or share one");
            return Err(Error::new(Reason::TooManyStreams, why).with("limit", MOST_OF_ONE));
        }
        *count += 1;
        Ok(Open { of: Arc::clone(&self.open), turn: Arc::clone(turn), principal: principal.clone() })
    }

    fn add(&self, read: Vec<Logged>) {
        let mut scopes = Vec::new();
        {
            let mut newest = lock(&self.newest);
            for logged in read {
                let scope = TenantScope(logged.tenant);
                if scopes.last() != Some(&scope) {
                    scopes.push(scope);
                }
                newest.last = Some(Cursor { position: logged.position, uid: logged.uid.0 });
                newest.events.push_back(Arc::new(logged));
            }
            while newest.events.len() > KEPT {
                newest.from = newest.events.pop_front().map_or(newest.from, |oldest| oldest.position);
            }
        }
        if scopes.is_empty() {
            return;
        }
        scopes.push(INSTALLATION);
        let mut wakes = lock(&self.wakes);
        for scope in scopes {
            // Nobody listens: the last watcher of this tenant has gone.
            if wakes.get(&scope).is_some_and(|wake| wake.send(()).is_err()) {
                wakes.remove(&scope);
            }
        }
    }
}

/// An open watch, which counts until it is dropped.
pub(super) struct Open {
    of: Arc<Mutex<Opened>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    principal: Principal,
}

impl Open {
    /// Waits for the other watches of this principal that ask what it may: they are all woken at once, and what the first one reads
    /// of the database is then known to the others.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = lock(&self.of);
        if let Some((count, _)) = open.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.principal);
            }
        }
    }
}

/// Gives places to what was committed, reads on, and tells the watchers; answers whether there may be more at once.
pub async fn follow(app: &App) -> Result<bool> {
    let more = app.store.place_events().await?;
    let _one = app.feed.reading.lock().await;
    let mut db = app.store.read().await?;
    let last = lock(&app.feed.newest).last;
    let Some(last) = last else {
        let ends = events::ends(&mut db).await?;
        let mut newest = lock(&app.feed.newest);
        (newest.from, newest.last) = (ends.last.position, Some(ends.last));
        return Ok(more);
    };
    let read = events::between(&mut db, INSTALLATION, last.position, i64::MAX, READ).await?;
    let full = read.len() == READ as usize;
    app.feed.add(read);
    Ok(more || full)
}

/// Passes on what other replicas tell of their events, for as long as the database can be heard.
pub async fn listen(app: &App) -> Result<()> {
    app.store.hear_events().await
}

#[cfg(test)]
mod tests {
    use freehold_domain::{
        events::{Announced, Event},
        time::{Timestamp, Uid},
    };
    use serde_json::Value;
    use uuid::Uuid;

    use super::*;

    fn logged(position: i64, tenant: u128) -> Logged {
        let uid = Uid(Uuid::from_u128(u128::try_from(position).expect("positive")));
        let event = Event { kind: "project.created".to_owned(), resource: String::new(), uid, version: 1, data: Value::Null };
        let announced = Announced { event, time: Timestamp::default(), principal: String::new(), request_id: String::new() };
        Logged { position, uid, tenant: Uid(Uuid::from_u128(tenant)), announced }
    }

    fn positions(found: Found) -> (Vec<i64>, i64) {
        match found {
            Found::Here(events, at) => (events.iter().map(|logged| logged.position).collect(), at.position),
            Found::Behind(last) => (vec![-1], last.position),
        }
    }

    #[test]
    fn each_tenant_finds_its_own_events_and_the_end_of_all() {
        let feed = Feed::default();
        let at = |position| Cursor { position, uid: Uuid::nil() };
        let [acme, rival] = [1, 2].map(|number| TenantScope(Uid(Uuid::from_u128(number))));
        feed.add([(1, 1), (3, 2), (4, 1), (9, 2)].map(|(position, tenant)| logged(position, tenant)).into());
        assert_eq!(positions(feed.after(acme, at(0), 10)), (vec![1, 4], 9));
        assert_eq!(positions(feed.after(acme, at(0), 1)), (vec![1], 1));
        assert_eq!(positions(feed.after(acme, at(4), 10)), (vec![], 9));
        assert_eq!(positions(feed.after(rival, at(3), 10)), (vec![9], 9));
        assert_eq!(positions(feed.after(INSTALLATION, at(2), 10)), (vec![3, 4, 9], 9));
        assert_eq!(positions(feed.after(acme, at(20), 10)), (vec![], 20), "it never goes back");

        feed.add((10..10 + KEPT as i64).map(|position| logged(position, 1)).collect());
        assert_eq!(positions(feed.after(acme, at(8), 1)), (vec![-1], 9 + KEPT as i64), "the oldest are in the database only");
        assert_eq!(positions(feed.after(acme, at(9), 1)), (vec![10], 10));
    }

    #[test]
    fn one_principal_holds_so_many_watches_and_no_more() {
        let feed = Feed::default();
        let [ada, bob] = ["ada", "bob"].map(|id| format!("tenants/acme/users/{id}").parse::<Principal>().expect("valid"));
        let mut held: Vec<Open> = (0..MOST_OF_ONE).map(|_| feed.admit(&ada).expect("fits")).collect();
        assert_eq!(feed.admit(&ada).err().map(|error| error.reason()), Some(Reason::TooManyStreams));
        feed.admit(&bob).expect("somebody else");
        held.pop();
        feed.admit(&ada).expect("fits again");
    }
}
