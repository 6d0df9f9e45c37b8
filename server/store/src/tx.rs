//! The transaction of one request: rows, quota, idempotency, audit and events together, or nothing.

use std::time::Duration;

use freehold_domain::{
    Error, Reason, Result,
    access::{Caller, TenantScope},
    audit::{AuditRecord, Event},
    fault,
    quotas::Dimension,
    time::{Timestamp, Uid},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{
    Session, Store, quotas,
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
    moves: Vec<Move>,
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
            moves: Vec::new(),
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
        self.events.push(event);
    }

    /// Takes this much of a quota, or gives it back when it is negative.
    pub fn take(&mut self, dimension: Dimension, amount: i64) {
        if amount != 0 {
            self.moves.push(Move::Use(dimension, amount));
        }
    }

    /// Puts this much of a quota aside for its owner.
    pub fn reserve(&mut self, dimension: Dimension, amount: i64, owner: Uid, owner_name: impl ToString) {
        self.moves.push(Move::Reserve { dimension, amount, owner, owner_name: owner_name.to_string() });
    }

    /// Gives back what was put aside for the owner; nothing when there is nothing.
    pub fn free(&mut self, dimension: Dimension, owner: Uid) {
        self.moves.push(Move::Free { dimension, owner });
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
        fault::point("commit.done");
        Ok(())
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
            execute!(
                self.session,
                "INSERT INTO outbox (uid, tenant_id, resource, version, body) VALUES ($1, $2, $3, $4, $5)",
                uid.0,
                self.tenant.0.0,
                event.uid.0,
                event.version,
                encode(&event)?,
            )?;
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
                Move::Use(dimension, amount) => quotas::take(&mut self.session, tenant, dimension, amount, now).await?,
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
