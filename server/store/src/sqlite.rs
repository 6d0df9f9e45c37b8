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
            Self::Writer(turn) => &mut turn.batch().connection,
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

impl Shared {
    /// Nobody will come after the turn that ends now.
    fn nobody_waits(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }
}

struct Batch {
    connection: SqliteConnection,
    state: State,
    /// Who waits for the flush.
    finished: Vec<oneshot::Sender<bool>>,
    /// What was read from the rows that are being changed.
    reads: Reads,
}

enum State {
    /// There is no transaction.
    Closed,
    /// Turns have finished in the open transaction, and the savepoint of the next one is there, with nothing in it.
    Ready,
    /// Somebody's turn began and has not come to its end.
    Taken,
}

impl Writer {
    pub(crate) fn new(connection: SqliteConnection, reads: Reads) -> Self {
        let batch = Batch { connection, state: State::Closed, finished: Vec::new(), reads };
        Self { shared: Arc::new(Shared { batch: Arc::new(Mutex::new(batch)), waiting: AtomicUsize::new(0) }) }
    }

    /// Waits for a turn.
    pub(crate) async fn begin(&self) -> Result<Turn> {
        let waiting = Waiting::new(&self.shared);
        let guard = Arc::clone(&self.shared.batch).lock_owned().await;
        waiting.has_turn();
        // A caller that goes away from here on drops the turn, which ends it.
        let mut turn = Turn { shared: Arc::clone(&self.shared), guard: Some(guard) };
        turn.batch().take().await?;
        Ok(turn)
    }
}

impl Batch {
    async fn run(&mut self, sql: &'static str) -> Result<()> {
        self.connection.execute(sql).await.map(drop).map_err(|error| Failure::from(error).into())
    }

    /// Puts a turn into its savepoint. Dropped half way, it leaves a transaction that nobody has finished in.
    async fn take(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Taken) {
            State::Ready => return Ok(()),
            State::Closed => {}
            // The runtime stopped before the end of the last turn.
            State::Taken => {
                self.close("ROLLBACK").await;
                self.state = State::Taken;
            }
        }
        self.run("BEGIN IMMEDIATE; SAVEPOINT turn").await
    }

    /// Ends a turn, and the transaction when nobody comes after it.
    async fn end_turn(&mut self, shared: &Shared, ending: Ending) {
        let full = self.finished.len() >= BATCH;
        let next = match ending {
            Ending::Keep if full || shared.nobody_waits() => return self.close("COMMIT").await,
            Ending::Keep => "RELEASE turn; SAVEPOINT turn",
            Ending::Undo if self.finished.is_empty() => return self.close("ROLLBACK").await,
            Ending::Undo => "ROLLBACK TO turn",
        };
        if self.run(next).await.is_err() {
            // The database itself has rolled everything back: the disk is full or broken.
            return self.close("ROLLBACK").await;
        }
        self.state = State::Ready;
        // Whoever waited may be gone by now; then nobody else would flush.
        if full || shared.nobody_waits() {
            self.close("COMMIT").await;
        }
    }

    /// Ends the transaction and tells everybody who finished in it.
    async fn close(&mut self, sql: &'static str) {
        let commits = sql == "COMMIT";
        let done = self.connection.execute(sql).await.is_ok() && commits;
        if commits {
            if !done {
                let _ = self.connection.execute("ROLLBACK").await;
            }
            self.reads.forget();
        }
        self.state = State::Closed;
        for waiter in self.finished.drain(..) {
            let _ = waiter.send(done);
        }
    }
}

/// What becomes of what a turn has written.
enum Ending {
    Keep,
    Undo,
}

/// One writer's turn, inside its savepoint. Dropped, it is undone.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    guard: Option<OwnedMutexGuard<Batch>>,
}

impl Turn {
    fn batch(&mut self) -> &mut Batch {
        self.guard.as_mut().expect("taken only at the end")
    }

    /// Answers when everything of this turn is on the disk.
    pub(crate) async fn commit(self) -> Result<()> {
        self.end_told(Ending::Keep).await
    }

    /// Undoes the turn, and answers when everything that it has seen is on the disk.
    pub(crate) async fn confirm(mut self) -> Result<()> {
        // Nobody waits for a flush: it has seen nothing that is not there.
        if self.batch().finished.is_empty() { Ok(()) } else { self.end_told(Ending::Undo).await }
    }

    async fn end_told(mut self, ending: Ending) -> Result<()> {
        let (told, flushed) = oneshot::channel();
        self.batch().finished.push(told);
        self.end(ending);
        if flushed.await.unwrap_or(false) { Ok(()) } else { Err(not_durable()) }
    }

    /// Ends the turn in a task of its own: others depend on it, so it must not stop half way when the caller goes away.
    fn end(&mut self, ending: Ending) {
        if let (Some(mut batch), Ok(runtime)) = (self.guard.take(), tokio::runtime::Handle::try_current()) {
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move { batch.end_turn(&shared, ending).await });
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end(Ending::Undo);
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
            let mut batch = shared.batch.lock().await;
            if matches!(batch.state, State::Ready) && shared.nobody_waits() {
                batch.close("COMMIT").await;
            }
        });
    }
}

fn not_durable() -> Error {
    Error::new(Reason::DependencyDown, "the database could not write to its disk; nothing of this call was kept")
        .retry_after(std::time::Duration::from_secs(1))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        future::{Future, poll_fn},
        sync::atomic::AtomicBool,
        task::Poll,
        time::{Duration, SystemTime, UNIX_EPOCH},
    };

    use freehold_domain::time::{Clock, Random, Timestamp, Uid};
    use tempfile::TempDir;
    use tokio::{task::JoinSet, time::timeout};

    use super::*;
    use crate::{INSTALLATION, Session, Store, StoreSettings};

    /// Longer than anything here takes, even on a busy machine.
    pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

    struct Machine;

    impl Clock for Machine {
        fn now(&self) -> Timestamp {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            Timestamp::from_micros(i64::try_from(since.as_micros()).expect("before 294246"))
        }
    }

    impl Random for Machine {
        fn uid(&self) -> Uid {
            Uid(uuid::Uuid::now_v7())
        }

        fn fill(&self, _: &mut [u8]) {
            unreachable!("the store draws ids only");
        }
    }

    /// An empty database with a table for tests.
    pub(crate) async fn store() -> (Store, TempDir) {
        let files = tempfile::tempdir().expect("a directory");
        let settings = StoreSettings::Sqlite(files.path().join("freehold.db"));
        let store = Store::open(&settings, Arc::new(Machine), Arc::new(Machine)).await.expect("opens");
        let mut tx = store.begin_as("test", INSTALLATION).await.expect("a turn");
        execute!(tx, "CREATE TABLE marks (id BIGINT PRIMARY KEY)").expect("made");
        tx.commit(&()).await.expect("committed");
        (store, files)
    }

    /// Writes a mark; `commits` tells when it begins to commit. Answers how many there are.
    async fn mark(store: &Store, id: i64, commits: &AtomicBool) -> Result<i64> {
        let mut tx = store.begin_as("test", INSTALLATION).await?;
        execute!(tx, "INSERT INTO marks (id) VALUES ($1)", id)?;
        let count = count(&mut tx).await?;
        commits.store(true, Ordering::SeqCst);
        tx.commit(&()).await?;
        Ok(count)
    }

    async fn count(db: &mut Session) -> Result<i64> {
        Ok(fetch_optional!((i64,), db, "SELECT count(*) FROM marks")?.expect("a count").0)
    }

    pub(crate) async fn is_marked(store: &Store, id: i64) -> bool {
        let mut db = store.read().await.expect("a reader");
        fetch_optional!((i64,), db, "SELECT id FROM marks WHERE id = $1", id).expect("read").is_some()
    }

    /// Polls so often at most, then drops it wherever it is; `None` when it has not come to its end.
    async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
        let (mut future, mut left) = (Box::pin(future), times);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                left -= 1;
                if left == 0 { Poll::Ready(None) } else { Poll::Pending }
            }
        })
        .await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn writers_that_are_dropped_harm_no_others() {
        let (store, _files) = store().await;
        for round in 0..10 {
            let mut writers = JoinSet::new();
            for id in round * 100..(round + 1) * 100 {
                let store = store.clone();
                let drop_after = (id % 2 == 0).then(|| usize::try_from(id / 2 % 12).expect("small") + 1);
                writers.spawn(async move {
                    let commits = AtomicBool::new(false);
                    let written = match drop_after {
                        Some(times) => polled(times, mark(&store, id, &commits)).await,
                        None => Some(mark(&store, id, &commits).await),
                    };
                    let written = written.map(|count| count.expect("an error of somebody else's doing"));
                    if let Some(count) = written {
                        assert!(is_marked(&store, id).await, "{id} was acknowledged and is not there");
                        let newest = store.newest(&"marks", async |db: &mut Session| self::count(db).await).await.expect("read");
                        assert!(*newest >= count, "{newest} marks remembered after {count} were acknowledged");
                    }
                    (id, written.is_some(), commits.into_inner())
                });
            }
            let outcomes = timeout(PATIENCE, writers.join_all()).await.expect("somebody waits for ever");

            assert!(outcomes.iter().any(|(_, written, _)| !written), "nobody was dropped");
            for (id, written, commits) in outcomes {
                let marked = is_marked(&store, id).await;
                assert!(marked || !written, "{id} was acknowledged and is gone");
                assert!(commits || !marked, "{id} never came to its commit and is there");
            }
        }
    }
}
