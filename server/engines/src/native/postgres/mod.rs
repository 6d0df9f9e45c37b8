//! `postgres_*`: what a PostgreSQL server keeps.
//!
//! Roles, databases and schemas carry a comment that names their owner, so that a stranger's is never taken over and what became
//! of a step can be told after a crash.

mod connect;
mod database;
mod grant;
mod role;
mod schema;
mod scram;

use sqlx::{AssertSqlSafe, Connection, Row, postgres::PgConnection};

use super::{
    provider::{Intent, Made, Owner, Recovered, optional},
    schema::{Attribute, Kind, Problem},
};
use crate::StepError;
use crate::native::{Attributes, Operation};

pub(crate) use connect::Servers;
pub(crate) use database::PostgresDatabase;
pub(crate) use grant::PostgresGrant;
pub(crate) use role::PostgresRole;
pub(crate) use schema::PostgresSchema;

/// Longest name PostgreSQL keeps; it cuts longer ones silently.
const MAX_NAME: usize = 63;
/// Key of the lock that makes the changes of all runners to one database come one after another: two changes to the rights of
/// one object at the same time fail.
const LOCK: i64 = 0x6672_6565_686f_6c64;

/// Whose an object is that was found.
enum Found {
    Nothing,
    Ours,
    Strangers,
}

/// The attribute all of these types have.
fn connection() -> Attribute {
    Attribute::new("connection", Kind::text(4096)).required().sensitive().access()
}

fn name(attribute: &'static str) -> Attribute {
    Attribute::new(attribute, Kind::text(MAX_NAME))
}

/// Rules that all of these types share.
fn shared_rules(known: &Attributes, names: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(Err(error)) = optional(known, "connection").map(connect::parse) {
        problems.push(Problem::rule("connection", error.message));
    }
    for name in names {
        if optional(known, name).is_some_and(|value| value.contains('\0')) {
            problems.push(Problem::rule(name, "must not hold a null character"));
        }
        if optional(known, name).is_some_and(|value| value.to_lowercase().starts_with("pg_")) {
            problems.push(Problem::rule(name, "begins with `pg_`, which PostgreSQL keeps for itself"));
        }
    }
    problems
}

/// A name in SQL, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL, whatever is in it and whatever the server makes of backslashes.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Runs one statement whose dynamic parts are quoted names and literals.
async fn execute(connection: &mut PgConnection, sql: String) -> Result<(), StepError> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ()).map_err(|error| failure(&error))
}

/// Runs statements so that all of them take effect or none.
async fn execute_all(connection: &mut PgConnection, statements: Vec<String>) -> Result<(), StepError> {
    let mut transaction = connection.begin().await.map_err(|error| failure(&error))?;
    execute(&mut transaction, format!("SELECT pg_advisory_xact_lock({LOCK})")).await?;
    for statement in statements {
        execute(&mut transaction, statement).await?;
    }
    transaction.commit().await.map_err(|error| failure(&error))
}

/// Looks for an object by its name with a query that gives its comment.
async fn look(connection: &mut PgConnection, query: &'static str, name: &str, owner: &Owner) -> Result<Found, StepError> {
    let row = sqlx::query(query).bind(name).fetch_optional(connection).await.map_err(|error| failure(&error))?;
    let Some(row) = row else { return Ok(Found::Nothing) };
    let comment: Option<String> = row.try_get(0).map_err(|error| failure(&error))?;
    Ok(if comment == Some(owner.to_string()) { Found::Ours } else { Found::Strangers })
}

fn strangers(what: &str, name: &str, owner: &Owner) -> StepError {
    StepError::new("postgres-not-ours", format!("the {what} `{name}` exists and does not belong to {}", owner.address))
        .hint(format!("choose another name; or hand it over by COMMENT ON {} {} IS '{owner}'", what.to_uppercase(), quoted(name)))
}

/// What became of making or removing an object, by what was found of it.
fn recovered(intent: &Intent, found: Result<Found, StepError>, made: impl FnOnce() -> Made) -> Recovered {
    match (found, intent.operation) {
        (Ok(Found::Ours), Operation::Create) => Recovered::Done(Some(made())),
        (Ok(Found::Nothing), Operation::Delete) => Recovered::Done(None),
        // A stranger's object is refused when the step begins anew.
        (Ok(_), _) => Recovered::NotDone,
        (Err(error), _) => Recovered::Unknown(error.to_string()),
    }
}

/// What an error of the server means. Messages of the server name objects, never passwords.
fn failure(error: &sqlx::Error) -> StepError {
    let sqlx::Error::Database(told) = error else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                StepError::new("postgres-unreachable", format!("the connection to PostgreSQL failed: {error}"))
                    .hint("look at the server and at the network")
                    .retryable()
                    .uncertain()
            }
            sqlx::Error::Tls(_) => StepError::new("postgres-tls", format!("no TLS connection to PostgreSQL: {error}"))
                .hint("look at `sslmode` and at the certificate of the server"),
            _ => StepError::new("postgres-failed", format!("PostgreSQL could not be used: {error}")).hint("look at `connection`"),
        };
    };
    let state = told.code().unwrap_or_default();
    let text = format!("PostgreSQL says: {} (SQLSTATE {state})", told.message());
    match state.as_ref() {
        "42501" => StepError::new("postgres-denied", text).hint("give the user of `connection` this right"),
        "2BP01" => StepError::new("postgres-in-use", text).hint("remove what depends on it first"),
        "3D000" => StepError::new("postgres-no-database", text).hint("look at the database that `connection` names"),
        "55006" => StepError::new("postgres-in-use", text).hint("close the connections to it").retryable(),
        "XX000" | "40001" | "40P01" | "55P03" | "57014" => StepError::new("postgres-busy", text).hint("try again").retryable(),
        state if state.starts_with("28") => {
            StepError::new("postgres-denied", text).hint("look at user and password in `connection`")
        }
        state if state.starts_with("53") || state.starts_with("57") || state.starts_with("08") => {
            StepError::new("postgres-unreachable", text).hint("look at the server").retryable().uncertain()
        }
        _ => StepError::new("postgres-failed", text).hint("look at the attributes of this resource"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(quoted("a\"; DROP ROLE x; --"), "\"a\"\"; DROP ROLE x; --\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("\\'; --"), " E'\\\\''; --'");
    }
}
