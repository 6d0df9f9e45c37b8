//! The store: one of two databases, opened and brought to the newest schema.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use freehold_domain::{
    Error, Reason, Result,
    access::TenantScope,
    time::{Clock, Random},
};
use sqlx::{
    ConnectOptions as _, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use tokio::sync::Notify;

use crate::{
    Session, migrate,
    postgres::PgSession,
    reads::Reads,
    session::{Backend, Failure},
    sqlite::{SqliteSession, Writer},
    turns::Turns,
    tx::INSTALLATION,
};

/// Where the data is.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// A file of this process alone.
    Sqlite(PathBuf),
    /// A Postgres database that any number of replicas share, as `postgres://user@host/database`.
    Postgres {
        /// The URL.
        url: String,
        /// Connections, at most.
        connections: u32,
    },
}

/// The database.
#[derive(Clone)]
pub struct Store {
    pub(crate) database: Database,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) turns: Turns,
    /// Told when this process has committed events.
    pub(crate) announced: Arc<Notify>,
}

#[derive(Clone)]
pub(crate) enum Database {
    Postgres(PgPool),
    Sqlite { readers: SqlitePool, writer: Arc<Writer>, reads: Reads, _lock: Arc<File> },
}

impl Store {
    /// Opens the database and brings it to the newest schema.
    ///
    /// Fails when it cannot be reached, or when a newer version of Freehold has written it.
    pub async fn open(settings: &StoreSettings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self> {
        let database = match settings {
            StoreSettings::Sqlite(path) => {
                let lock = Arc::new(lock(path)?);
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    // Each turn of a writer is a savepoint, for which a file would be made otherwise.
                    .pragma("temp_store", "MEMORY")
                    .busy_timeout(Duration::from_secs(5))
                    .statement_cache_capacity(256)
                    .disable_statement_logging();
                let mut connection = options.connect().await.map_err(|error| unreachable(&path.display().to_string(), error))?;
                migrate::sqlite(&mut connection).await?;
                let readers = SqlitePoolOptions::new()
                    .max_connections(8)
                    .test_before_acquire(false)
                    .acquire_timeout(Duration::from_secs(5))
                    .connect_with(options.read_only(true))
                    .await
                    .map_err(Failure::from)?;
                let reads = Reads::default();
                Database::Sqlite { readers, writer: Arc::new(Writer::new(connection, reads.clone())), reads, _lock: lock }
            }
            StoreSettings::Postgres { url, connections } => {
                let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
                    Error::field("database-url", "not of the form postgres://user@host/database").caused_by(error)
                })?;
                let place = format!("{}:{}", options.get_host(), options.get_port());
                let pool = PgPoolOptions::new()
                    .max_connections(*connections)
                    .test_before_acquire(false)
                    .acquire_timeout(Duration::from_secs(5))
                    .connect_with(options.disable_statement_logging())
                    .await
                    .map_err(|error| unreachable(&place, error))?;
                migrate::postgres(&pool).await?;
                Database::Postgres(pool)
            }
        };
        Ok(Self { database, random, clock, turns: Turns::default(), announced: Arc::default() })
    }

    /// A connection to read with. Every statement sees the newest committed rows.
    pub async fn read(&self) -> Result<Session> {
        Ok(Session(match &self.database {
            Database::Postgres(pool) => Backend::Postgres(PgSession::acquire(pool).await?),
            Database::Sqlite { readers, .. } => {
                Backend::Sqlite(SqliteSession::Reader(readers.acquire().await.map_err(Failure::from)?))
            }
        }))
    }

    /// A connection inside a transaction that works for this tenant, or for all of them when it is the installation.
    pub(crate) async fn write(&self, tenant: TenantScope) -> Result<Session> {
        Ok(Session(match &self.database {
            Database::Postgres(pool) => {
                Backend::Postgres(PgSession::begin(pool, Some(tenant.0.0).filter(|_| tenant != INSTALLATION)).await?)
            }
            Database::Sqlite { writer, .. } => Backend::Sqlite(SqliteSession::Writer(writer.begin().await?)),
        }))
    }

    /// Finds out whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        self.read().await?.database_now().await.map(drop)
    }

    /// Several replicas may share this database.
    pub fn is_shared(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    /// Waits until this process has committed events since the last wait.
    pub async fn announced(&self) {
        self.announced.notified().await;
    }

    /// Closes all connections, after what is under way.
    pub async fn close(&self) {
        match &self.database {
            Database::Postgres(pool) => pool.close().await,
            Database::Sqlite { readers, .. } => readers.close().await,
        }
    }
}

/// Keeps every other process away for as long as the answer lives.
fn lock(database: &Path) -> Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push("-lock");
    let place = Path::new(&path).display().to_string();
    let refused = |why: String| Error::new(Reason::DependencyDown, format!("the database {} {why}", database.display()));
    let file = File::create(&path).map_err(|error| refused(format!("cannot be opened: {place}: {error}")).caused_by(error))?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            refused("is in use by another process; stop that one, or let several share a Postgres".to_owned())
        }
        TryLockError::Error(error) => refused(format!("cannot be locked: {place}: {error}")).caused_by(error),
    })?;
    Ok(file)
}

fn unreachable(place: &str, error: sqlx::Error) -> Error {
    Error::new(Reason::DependencyDown, format!("the database at {place} cannot be opened: {error}")).caused_by(error)
}
