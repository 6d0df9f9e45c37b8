//! The transaction of one request: rows, quota, idempotency, audit and events together, or nothing.

use std::time::Duration;

use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, TenantScope},
    audit::AuditRecord,
    events::{self, Announced, Event},
    fault,
    quotas::Dimension,
    time::{Timestamp, Uid},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    Session, Store, events as log, quotas,
    session::{Backend, encode},
    sqlite::SqliteSession,
    turns::Turn,
};

/// How long a request id is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// The rows of the installation itself belong to this tenant.
pub const INSTALLATION: TenantScope = TenantScope(Uid(Uuid::nil()));

/// What makes the repeat of a request harmless.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// Chosen by the caller; without it a repeat is a new request.
    pub request_id: Option<Uid>,
    /// SHA-256 of the body.
    pub digest: [u8; 32],
}

impl RequestKey {
    /// Of a call that may be repeated without harm, or whose repeat is another call.
    pub const NONE: Self = Self { request_id: None, digest: [0; 32] };
}

/// An open transaction. Dropped without [`commit`](Self::commit), it never was.
pub struct Tx {
    session: Session,
    random: std::sync::Arc<dyn freehold_domain::time::Random>,
    now: Timestamp,
    tenant: TenantScope,
    record: AuditRecord,
    request_id: Option<Uid>,
    replayed: Option<String>,
    events: Vec<Event>,
    /// Wakes who waits for events, when some were written.
    wake: std::sync::Arc<tokio::sync::Notify>,
    announces: bool,
    moves: Vec<Move>,
    lifted: Option<Dimension>,
    turn: Turn,
}

/// A change of a counter, carried out by `commit`.
enum Move {
    Use(Dimension, i64),
    Reserve { dimension: Dimension, amount: i64, owner: Uid, owner_name: String },
    Free { dimension: Dimension, owner: Uid },
}

impl std::ops::Deref for Tx {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl std::ops::DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Store {
    /// Opens the transaction of a caller's request.
    ///
    /// Fails with `REQUEST_ID_REUSED` when the id came with another body within 24 hours.
    pub async fn begin(&self, caller: &Caller, tenant: TenantScope, request: &RequestKey) -> Result<Tx> {
        let mut tx = self.begin_as(&caller.principal.to_string(), tenant).await?;
        let call = &caller.call;
        tx.record = AuditRecord {
            proof: caller.proof.to_string(),
            method: call.method.to_owned(),
            permission: call.permission.to_owned(),
            request_id: call.request_id.clone(),
            trace_id: call.trace_id.clone(),
            source_address: call.source_address.clone(),
            ..tx.record
        };
        if let Some(id) = request.request_id {
            tx.claim(id, &request.digest).await?;
            tx.request_id = Some(id);
            if tx.replayed.is_some() && !self.is_shared() {
                // Nobody may have acknowledged the first answer yet: its flush can still fail.
                tx.session.confirm().await?;
                tx.session = self.write(tenant).await?;
            }
        }
        Ok(tx)
    }

    /// Opens a transaction of the server's own duties.
    pub async fn begin_as(&self, principal: &str, tenant: TenantScope) -> Result<Tx> {
        let session = self.write(tenant).await?;
        let now = self.clock.now();
        let record = AuditRecord {
            uid: self.random.uid(),
            time: now,
            principal: principal.to_owned(),
            proof: String::new(),
            method: String::new(),
            permission: String::new(),
            resource: String::new(),
            denied: None,
            request_id: String::new(),
            trace_id: String::new(),
            source_address: String::new(),
            change: String::new(),
            receipt_digest: String::new(),
        };
        let random = std::sync::Arc::clone(&self.random);
        Ok(Tx {
            session,
            random,
            now,
            tenant,
            record,
            request_id: None,
            replayed: None,
            events: Vec::new(),
            wake: std::sync::Arc::clone(&self.announced),
            announces: false,
            moves: Vec::new(),
            lifted: None,
            turn: self.turns.of(tenant),
        })
    }
}

impl Tx {
    /// The answer to the first request with this id, if this one repeats it.
    pub fn replayed<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.replayed.as_deref().map(|answer| serde_json::from_str(answer).map_err(Error::internal)).transpose()
    }

    /// Tells audit and watchers what this transaction does. The last one told names the resource in the audit.
    pub fn announce(&mut self, event: Event) {
        debug_assert!(events::permission(&event.kind).is_some(), "it is not said who may see `{}`", event.kind);
        self.events.push(event);
    }

    /// Takes this much of a quota, or gives it back when it is negative. What counts in the end is the sum.
    pub fn take(&mut self, dimension: Dimension, amount: i64) {
        let sum = self.moves.iter_mut().find_map(|change| match change {
            Move::Use(of, sum) if *of == dimension => Some(sum),
            _ => None,
        });
        match sum {
            Some(sum) => *sum += amount,
            None => self.moves.push(Move::Use(dimension, amount)),
        }
    }

    /// What this transaction takes of a quota is counted and not refused: it tells of what is real already, or makes room.
    pub fn lift(&mut self, dimension: Dimension) {
        self.lifted = Some(dimension);
    }

    /// Puts this much of a quota aside for its owner.
    pub fn reserve(&mut self, dimension: Dimension, amount: i64, owner: Uid, owner_name: impl ToString) {
        self.moves.push(Move::Reserve { dimension, amount, owner, owner_name: owner_name.to_string() });
    }

    /// Gives back what was put aside for the owner; nothing when there is nothing.
    pub fn free(&mut self, dimension: Dimension, owner: Uid) {
        self.moves.push(Move::Free { dimension, owner });
    }

    /// Uid of the audit record that this transaction leaves.
    pub fn record(&self) -> Uid {
        self.record.uid
    }

    /// Has the audit record name the receipt that is signed in this transaction.
    pub fn receipt(&mut self, digest: &str) {
        self.record.receipt_digest = digest.to_owned();
    }

    /// The time that this transaction stamps its rows with.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A new identity.
    pub fn uid(&self) -> Uid {
        self.random.uid()
    }

    /// Makes everything durable, and keeps the answer for a repeat of the request.
    ///
    /// Fails with `QUOTA_EXCEEDED` when a quota does not allow it; then nothing happened.
    pub async fn commit<T: Serialize>(mut self, answer: &T) -> Result<()> {
        self.write_down(answer).await?;
        fault::point("commit.written");
        match self.session.0 {
            Backend::Postgres(session) => session.commit().await?,
            Backend::Sqlite(SqliteSession::Writer(turn)) => turn.commit().await?,
            Backend::Sqlite(SqliteSession::Reader(_)) => return Err(Error::internal("a reader cannot commit")),
        }
        if self.announces {
            self.wake.notify_one();
        }
        fault::point("commit.done");
        Ok(())
    }

    /// Changes nothing, and answers when everything that this transaction has read is durable. Whoever tells a caller that its
    /// request took effect earlier must know that.
    pub async fn confirm(self) -> Result<()> {
        self.session.confirm().await
    }

    /// Finds out whether [`commit`](Self::commit) would succeed, and changes nothing.
    pub async fn rehearse<T: Serialize>(mut self, answer: &T) -> Result<()> {
        self.write_down(answer).await
    }

    async fn write_down<T: Serialize>(&mut self, answer: &T) -> Result<()> {
        if let Some(id) = self.request_id {
            self.remember(id, encode(answer)?).await?;
        }
        for event in std::mem::take(&mut self.events) {
            let uid = self.random.uid();
            let announced = Announced {
                event,
                time: self.now,
                principal: self.record.principal.clone(),
                request_id: self.record.request_id.clone(),
            };
            log::insert(&mut self.session, self.tenant, uid, &announced).await?;
            self.announces = true;
            let event = announced.event;
            self.record.resource = event.resource;
            self.record.change = event.kind;
            if !event.data.is_null() {
                self.record.change = format!("{} {}", self.record.change, event.data);
            }
        }
        if !self.record.change.is_empty() {
            let record = self.record.clone();
            crate::audit::insert(&mut self.session, self.tenant, &record).await?;
        }
        // Counters are the rows that others wait for: they come last, always in the same order.
        let mut moves = std::mem::take(&mut self.moves);
        moves.sort_by_key(|change| match change {
            Move::Use(dimension, _) | Move::Reserve { dimension, .. } | Move::Free { dimension, .. } => *dimension,
        });
        let (tenant, now) = (self.tenant, self.now);
        // SQLite has one writer, which is turn enough.
        if !moves.is_empty() && matches!(self.session.0, Backend::Postgres(_)) {
            self.turn.take().await;
        }
        for change in moves {
            match change {
                Move::Use(_, 0) => {}
                Move::Use(dimension, amount) => {
                    let limited = self.lifted != Some(dimension);
                    if dimension.is_window() {
                        quotas::begin_window(&mut self.session, tenant, dimension, now).await?;
                    }
                    quotas::take(&mut self.session, tenant, dimension, amount, limited, now).await?;
                }
                Move::Reserve { dimension, amount, owner, owner_name } => {
                    let uid = self.random.uid();
                    quotas::reserve(&mut self.session, tenant, dimension, amount, owner, &owner_name, uid, now).await?;
                }
                Move::Free { dimension, owner } => quotas::free(&mut self.session, tenant, dimension, owner, now).await?,
            }
        }
        Ok(())
    }

    /// Claims the id for this request. While another one holds it, waits for how that one ends.
    async fn claim(&mut self, id: Uid, digest: &[u8; 32]) -> Result<()> {
        let row = fetch_optional!(
            (Vec<u8>, String),
            self.session,
            "INSERT INTO idempotency (tenant_id, principal, method, request_id, digest, response, expires)
             VALUES ($1, $2, $3, $4, $5, '', $6)
             ON CONFLICT (tenant_id, principal, method, request_id) DO UPDATE
             SET digest = CASE WHEN idempotency.expires <= $7 THEN excluded.digest ELSE idempotency.digest END,
                 response = CASE WHEN idempotency.expires <= $7 THEN excluded.response ELSE idempotency.response END,
                 expires = CASE WHEN idempotency.expires <= $7 THEN excluded.expires ELSE idempotency.expires END
             RETURNING digest, response",
            self.tenant.0.0,
            &self.record.principal,
            &self.record.method,
            id.0,
            &digest[..],
            self.now.plus(REMEMBERED).as_micros(),
            self.now.as_micros(),
        )?;
        match row {
            Some((seen, _)) if seen != digest => Err(Error::new(
                Reason::RequestIdReused,
                "this request id was used within 24 hours with another body; use a new one for a new request",
            )),
            Some((_, answer)) if !answer.is_empty() => {
                self.replayed = Some(answer);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn remember(&mut self, id: Uid, answer: String) -> Result<()> {
        execute!(
            self.session,
            "UPDATE idempotency SET response = $5
             WHERE tenant_id = $1 AND principal = $2 AND method = $3 AND request_id = $4",
            self.tenant.0.0,
            &self.record.principal,
            &self.record.method,
            id.0,
            answer,
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use freehold_domain::access::{CallFacts, Principal, Proof};
    use tokio::{sync::Notify, time::timeout};

    use super::*;
    use crate::sqlite::tests::{PATIENCE, is_marked, store};

    fn caller() -> Caller {
        Caller {
            principal: Principal::Platform("admin".parse().expect("valid")),
            proof: Proof::Certificate,
            spiffe_id: None,
            expire_time: None,
            grants: Vec::new(),
            call: CallFacts {
                request_id: String::new(),
                trace_id: String::new(),
                source_address: String::new(),
                method: "test.Service/Mark",
                permission: "",
                reads: false,
                tenant: None,
            },
        }
    }

    /// Marks, or answers that the request did so before.
    async fn mark(store: &Store, id: i64, request: Uid) -> Result<bool> {
        let key = RequestKey { request_id: Some(request), digest: [0; 32] };
        let mut tx = store.begin(&caller(), INSTALLATION, &key).await?;
        if let Some(repeated) = tx.replayed()? {
            return Ok(repeated);
        }
        execute!(tx, "INSERT INTO marks (id) VALUES ($1)", id)?;
        tx.commit(&true).await?;
        Ok(false)
    }

    /// Looks whether it is marked, and answers when that is certain.
    async fn look(store: &Store, id: i64) -> Result<bool> {
        let mut tx = store.begin_as("test", INSTALLATION).await?;
        let marked = fetch_optional!((i64,), tx, "SELECT id FROM marks WHERE id = $1", id)?.is_some();
        tx.confirm().await?;
        Ok(marked)
    }

    #[tokio::test]
    async fn a_repeat_is_answered_when_the_first_request_is_durable() {
        for flushes in [false, true] {
            let (store, _files) = store().await;
            let request = store.random.uid();
            let (all_wait, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let first_in_line = store.begin_as("test", INSTALLATION).await.expect("a turn");
            // Turns are taken in the order in which they are asked for, and tasks begin in the order in which they are spawned.
            let first = tokio::spawn({
                let store = store.clone();
                async move { mark(&store, 1, request).await }
            });
            let repeat = tokio::spawn({
                let store = store.clone();
                async move {
                    let repeated = mark(&store, 1, request).await?;
                    assert!(is_marked(&store, 1).await, "answered before it was there");
                    Ok::<_, Error>(repeated)
                }
            });
            let looker = tokio::spawn({
                let store = store.clone();
                async move {
                    let marked = look(&store, 1).await?;
                    assert!(is_marked(&store, 1).await, "certain before it was there");
                    Ok::<_, Error>(marked)
                }
            });
            let last_in_line = tokio::spawn({
                let (store, all_wait, go_on) = (store.clone(), all_wait.clone(), go_on.clone());
                async move {
                    let begin = store.begin_as("test", INSTALLATION);
                    all_wait.notify_one();
                    let mut tx = begin.await?;
                    go_on.notified().await;
                    if !flushes {
                        // What SQLite does by itself when its disk is full.
                        execute!(tx, "ROLLBACK")?;
                    }
                    tx.commit(&()).await
                }
            });
            all_wait.notified().await;
            drop(first_in_line);
            go_on.notify_one();

            let outcomes = async { tokio::join!(first, repeat, looker, last_in_line) };
            let (first, repeat, looker, last) = timeout(PATIENCE, outcomes).await.expect("somebody waits for ever");

            let (first, last) = (first.expect("no panic"), last.expect("no panic"));
            let (repeat, looker) = (repeat.expect("no panic"), looker.expect("no panic"));
            if flushes {
                assert!(!first.expect("marked") && repeat.expect("repeated") && looker.expect("seen"));
                last.expect("committed");
            } else {
                for lost in [first.err(), repeat.err(), looker.err(), last.err()] {
                    assert_eq!(lost.expect("told a caller what was never kept").reason(), Reason::DependencyDown);
                }
                assert!(!mark(&store, 1, request).await.expect("marked"), "nothing of the first one was kept");
            }
            assert!(mark(&store, 1, request).await.expect("repeated"));
            assert!(look(&store, 1).await.expect("seen"));
        }
    }
}
