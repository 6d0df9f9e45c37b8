//! A connection to either database, and the macros that run one statement text on both.

use freehold_domain::{Error, Reason, Result};
use sqlx::{PgConnection, SqliteConnection};

use crate::{postgres::PgSession, sqlite::SqliteSession};

/// A connection that statements run on: a reader's of its own, or that of a [`Tx`](crate::Tx).
pub struct Session(pub(crate) Backend);

pub(crate) enum Backend {
    Postgres(PgSession),
    Sqlite(SqliteSession),
}

pub(crate) enum Connection<'a> {
    Postgres(&'a mut PgConnection),
    Sqlite(&'a mut SqliteConnection),
}

impl Session {
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match &mut self.0 {
            Backend::Postgres(session) => Connection::Postgres(session.connection()),
            Backend::Sqlite(session) => Connection::Sqlite(session.connection()),
        }
    }

    /// Undoes what was written, and answers when everything that was read is durable: a writer of SQLite sees what others have
    /// finished and not flushed yet.
    pub(crate) async fn confirm(self) -> Result<()> {
        match self.0 {
            Backend::Sqlite(SqliteSession::Writer(turn)) => turn.confirm().await,
            Backend::Sqlite(SqliteSession::Reader(_)) | Backend::Postgres(_) => Ok(()),
        }
    }
}

/// Runs a statement; answers how many rows it touched.
macro_rules! execute {
    ($db:expr, $sql:expr $(, $arg:expr)* $(,)?) => {
        match $db.connection() {
            $crate::session::Connection::Postgres(c) => sqlx::query($sql)$(.bind($arg))*.execute(c).await.map(|done| done.rows_affected()),
            $crate::session::Connection::Sqlite(c) => sqlx::query($sql)$(.bind($arg))*.execute(c).await.map(|done| done.rows_affected()),
        }
        .map_err($crate::session::Failure::from)
    };
}

/// Reads all rows as this type.
macro_rules! fetch_all {
    ($row:ty, $db:expr, $sql:expr $(, $arg:expr)* $(,)?) => {
        match $db.connection() {
            $crate::session::Connection::Postgres(c) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_all(c).await,
            $crate::session::Connection::Sqlite(c) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_all(c).await,
        }
        .map_err($crate::session::Failure::from)
    };
}

/// Reads one row, if there is one, as this type.
macro_rules! fetch_optional {
    ($row:ty, $db:expr, $sql:expr $(, $arg:expr)* $(,)?) => {
        match $db.connection() {
            $crate::session::Connection::Postgres(c) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_optional(c).await,
            $crate::session::Connection::Sqlite(c) => sqlx::query_as::<_, $row>($sql)$(.bind($arg))*.fetch_optional(c).await,
        }
        .map_err($crate::session::Failure::from)
    };
}

/// A statement that failed. What a clash of keys means is known to the statement only, so each says it.
#[derive(Debug)]
pub(crate) struct Failure(sqlx::Error);

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl Failure {
    fn is(&self, kind: fn(&dyn sqlx::error::DatabaseError) -> bool) -> bool {
        matches!(&self.0, sqlx::Error::Database(error) if kind(error.as_ref()))
    }

    /// Two rows with one key.
    pub(crate) fn is_unique(&self) -> bool {
        self.is(|error| error.is_unique_violation())
    }

    /// A row that another one refers to, or the other way round.
    pub(crate) fn is_reference(&self) -> bool {
        self.is(|error| error.is_foreign_key_violation())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        let down = match &failure.0 {
            Io(_) | Tls(_) | PoolTimedOut | PoolClosed | WorkerCrashed | Protocol(_) => true,
            // Postgres: connection trouble, resources, operator; serialisation and deadlock. SQLite: busy, full, I/O.
            Database(error) => error.code().is_some_and(|code| {
                ["08", "53", "57", "40"].iter().any(|class| code.len() == 5 && code.starts_with(class))
                    || code.parse::<u32>().is_ok_and(|code| code < 10_000 && matches!(code & 0xff, 5 | 6 | 10 | 13 | 14))
            }),
            _ => false,
        };
        if down {
            Self::new(Reason::DependencyDown, "the database does not answer; try again")
                .retry_after(std::time::Duration::from_secs(1))
                .caused_by(failure.0)
        } else {
            Self::internal(failure.0)
        }
    }
}

/// What a statement's clash of keys means.
pub(crate) trait OrExists<T> {
    /// A taken name is `RESOURCE_EXISTS`.
    fn or_exists(self, name: impl std::fmt::Display) -> Result<T>;
}

impl<T> OrExists<T> for Result<T, Failure> {
    fn or_exists(self, name: impl std::fmt::Display) -> Result<T> {
        self.map_err(|failure| if failure.is_unique() { Error::exists(name) } else { failure.into() })
    }
}

/// Reads the document of a row. A row that cannot be read is a fault of ours, and names itself in the log.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(table: &'static str, body: &str) -> Result<T> {
    serde_json::from_str(body).map_err(|error| Error::internal(format!("a row of `{table}` cannot be read: {error}")))
}

/// Writes the document of a row.
pub(crate) fn encode<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(Error::internal)
}

impl Session {
    /// The clock of the database, which alone decides about leases.
    pub async fn database_now(&mut self) -> Result<freehold_domain::time::Timestamp> {
        let row = match self.connection() {
            Connection::Postgres(c) => {
                sqlx::query_as::<_, (i64,)>("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)")
                    .fetch_one(c)
                    .await
            }
            Connection::Sqlite(c) => {
                sqlx::query_as::<_, (i64,)>("SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)").fetch_one(c).await
            }
        };
        let (micros,) = row.map_err(Failure::from)?;
        Ok(freehold_domain::time::Timestamp::from_micros(micros))
    }
}
