//! SQLite: many readers, one writer, and group commit below `begin` and `commit`.
//!
//! The writers take turns on one connection. Each works inside a savepoint of one open transaction; whoever finishes while
//! others wait leaves the `COMMIT`, which costs a flush of the disk, to the last of them, and is answered when that is done.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use freehold_domain::{Error, Reason, Result};
use sqlx::{Executor as _, Sqlite, SqliteConnection, pool::PoolConnection};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use crate::{reads::Reads, session::Failure};

/// Writers that share one flush, at most.
const BATCH: usize = 64;

/// A reader's connection, or the turn of a writer.
pub(crate) enum SqliteSession {
    Reader(PoolConnection<Sqlite>),
    Writer(Turn),
}

impl SqliteSession {
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Reader(connection) => connection,
            Self::Writer(turn) => &mut turn.guard.as_mut().expect("taken only by commit and drop").connection,
        }
    }
}

/// The one connection that writes.
pub(crate) struct Writer {
    shared: Arc<Shared>,
}

struct Shared {
    batch: Arc<Mutex<Batch>>,
    waiting: AtomicUsize,
}

struct Batch {
    connection: SqliteConnection,
    /// `BEGIN` was sent and neither `COMMIT` nor `ROLLBACK` since.
    open: bool,
    /// A turn ended without a commit; its savepoint is still there.
    abandoned: bool,
    /// Turns that have finished and wait for the flush.
    finished: Vec<oneshot::Sender<bool>>,
    /// What was read from the rows that are being changed.
    reads: Reads,
}

impl Writer {
    pub(crate) fn new(connection: SqliteConnection, reads: Reads) -> Self {
        let batch = Batch { connection, open: false, abandoned: false, finished: Vec::new(), reads };
        Self { shared: Arc::new(Shared { batch: Arc::new(Mutex::new(batch)), waiting: AtomicUsize::new(0) }) }
    }

    /// Waits for a turn.
    pub(crate) async fn begin(&self) -> Result<Turn> {
        let waiting = Waiting::new(&self.shared);
        let guard = Arc::clone(&self.shared.batch).lock_owned().await;
        waiting.has_turn();
        let mut turn = Turn { shared: Arc::clone(&self.shared), guard: Some(guard) };
        let batch = turn.guard.as_mut().expect("just put there");
        batch.forget_abandoned().await?;
        if !batch.open {
            batch.open = true;
            batch.run("BEGIN IMMEDIATE").await.inspect_err(|_| batch.open = false)?;
        }
        batch.run("SAVEPOINT turn").await?;
        Ok(turn)
    }
}

impl Batch {
    async fn run(&mut self, sql: &'static str) -> Result<()> {
        self.connection.execute(sql).await.map(drop).map_err(|error| Failure::from(error).into())
    }

    async fn forget_abandoned(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.abandoned) || !self.open {
            return Ok(());
        }
        if self.connection.execute("ROLLBACK TO turn; RELEASE turn").await.is_err() {
            // The database itself has rolled everything back: the disk is full or broken.
            self.end("ROLLBACK").await;
        }
        Ok(())
    }

    /// Ends the transaction and tells everybody who finished in it.
    async fn end(&mut self, sql: &'static str) -> bool {
        let mut done = true;
        if std::mem::take(&mut self.open) {
            done = self.connection.execute(sql).await.is_ok() && sql == "COMMIT";
            if !done && sql == "COMMIT" {
                let _ = self.connection.execute("ROLLBACK").await;
            }
            self.reads.forget();
        }
        for waiter in self.finished.drain(..) {
            let _ = waiter.send(done);
        }
        done
    }
}

/// One writer's turn, inside its savepoint.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    guard: Option<OwnedMutexGuard<Batch>>,
}

impl Turn {
    /// Answers when everything of this turn is on the disk.
    pub(crate) async fn commit(mut self) -> Result<()> {
        let batch = self.guard.as_mut().expect("taken only here and by drop");
        batch.run("RELEASE turn").await?;
        let full = batch.finished.len() + 1 >= BATCH;
        if full || self.shared.waiting.load(Ordering::SeqCst) == 0 {
            let mut guard = self.guard.take().expect("checked above");
            return if guard.end("COMMIT").await { Ok(()) } else { Err(not_durable()) };
        }
        let (done, flushed) = oneshot::channel();
        batch.finished.push(done);
        self.guard = None;
        // Whoever had been waiting may be gone by now; then nobody else would flush.
        if self.shared.waiting.load(Ordering::SeqCst) == 0 {
            flush(&self.shared);
        }
        if flushed.await.unwrap_or(false) { Ok(()) } else { Err(not_durable()) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            guard.abandoned = true;
            drop(guard);
            flush(&self.shared);
        }
    }
}

/// Counts as waiting for as long as it lives.
struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    gives_up: bool,
}

impl<'a> Waiting<'a> {
    fn new(shared: &'a Arc<Shared>) -> Self {
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        Self { shared, gives_up: true }
    }

    fn has_turn(mut self) {
        self.gives_up = false;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let last = self.shared.waiting.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.gives_up {
            // Others may have left the flush to this one.
            flush(self.shared);
        }
    }
}

/// Ends an open batch that nobody is going to end.
fn flush(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            let mut batch = Arc::clone(&shared.batch).lock_owned().await;
            let _ = batch.forget_abandoned().await;
            if shared.waiting.load(Ordering::SeqCst) == 0 {
                batch.end("COMMIT").await;
            }
        });
    }
}

fn not_durable() -> Error {
    Error::new(Reason::DependencyDown, "the database could not write to its disk; nothing of this call was kept")
        .retry_after(std::time::Duration::from_secs(1))
}
