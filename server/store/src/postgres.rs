//! Postgres sessions that never carry an open transaction back into the pool.

use freehold_domain::{Error, Result, fault};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, PgPool, Postgres, pool::PoolConnection};
use uuid::Uuid;

use crate::session::Failure;

/// A pooled connection, perhaps inside a transaction.
///
/// sqlx 0.9.0 returns a connection to the pool inside an open transaction when the future of `Pool::begin` is dropped while
/// `BEGIN` is under way; the next borrower's acknowledged write is then lost. So `begin` is ours: the session knows that it may
/// be in a transaction before `BEGIN` is sent, and a session that is dropped like that rolls back before it is anybody else's.
pub(crate) struct PgSession {
    connection: Option<PoolConnection<Postgres>>,
    in_transaction: bool,
}

impl PgSession {
    pub(crate) async fn acquire(pool: &PgPool) -> Result<Self> {
        let connection = pool.acquire().await.map_err(Failure::from)?;
        Ok(Self { connection: Some(connection), in_transaction: false })
    }

    /// Opens a transaction. One that works for a tenant is shown the rows of no other by the policies of the schema.
    pub(crate) async fn begin(pool: &PgPool, tenant: Option<Uuid>) -> Result<Self> {
        let mut session = Self::acquire(pool).await?;
        session.in_transaction = true;
        let begun = match tenant {
            None => session.connection().execute("BEGIN").await,
            // One round trip for both, which has no place for arguments. A UUID is written in digits and dashes only.
            Some(tenant) => {
                let begin = format!("BEGIN; SET LOCAL freehold.tenant = '{}'", tenant.hyphenated());
                session.connection().execute(AssertSqlSafe(begin)).await
            }
        };
        begun.map_err(Failure::from)?;
        Ok(session)
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        let sent = self.connection().execute("COMMIT").await;
        // After an error nobody knows whether the transaction stands; the session rolls back, which is harmless if it does.
        sent.map_err(|error| Error::from(Failure::from(error)))?;
        self.in_transaction = false;
        Ok(())
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("taken only by drop")
    }
}

impl Drop for PgSession {
    fn drop(&mut self) {
        let unsafe_to_share = self.in_transaction && !fault::mutant("release");
        let Some(mut connection) = self.connection.take().filter(|_| unsafe_to_share) else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    if connection.execute("ROLLBACK").await.is_err() {
                        let _ = connection.close().await;
                    }
                });
            }
            Err(_) => drop(connection.leak()),
        }
    }
}
