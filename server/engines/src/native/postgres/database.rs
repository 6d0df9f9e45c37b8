//! `postgres_database`: a database of a PostgreSQL server.

use freehold_domain::runs::Reversibility;
use futures::future::{BoxFuture, FutureExt};
use serde_json::json;
use sqlx::{Row, postgres::PgConnection};

use super::{
    super::{
        provider::{Intent, Made, Owner, Provider, Recovered, optional, text, whole},
        schema::{Attribute, Kind, Problem, Schema},
    },
    Found, Servers, connection, execute, execute_all, failure, literal, look, name, quoted, shared_rules, strangers,
};
use crate::{
    Action, StepError,
    native::{Attributes, Operation, Resource},
};

const COMMENT: &str = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1";

/// Keeps databases.
pub(crate) struct PostgresDatabase {
    schema: Schema,
    servers: Servers,
}

impl PostgresDatabase {
    pub fn new(servers: Servers) -> Self {
        let attributes = vec![
            connection(),
            name("name").required().replaces(),
            name("owner"),
            name("template").replaces(),
            Attribute::new("connection_limit", Kind::Whole { min: -1, max: 100_000 }).default(-1),
        ];
        Self { schema: Schema { kind: "postgres_database", attributes }, servers }
    }
}

impl Provider for PostgresDatabase {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, known: &Attributes, _unknown: &[&str]) -> Vec<Problem> {
        shared_rules(known, &["name"])
    }

    /// What others have put into a database goes with it, and nobody here has a copy.
    fn reversibility(&self, action: Action) -> Reversibility {
        match action {
            Action::Replace | Action::Delete => Reversibility::Irreversible,
            Action::Create | Action::Update | Action::Noop => Reversibility::Reversible,
        }
    }

    fn observe<'a>(&'a self, prior: &'a Resource, owner: &'a Owner) -> BoxFuture<'a, Result<Option<Attributes>, StepError>> {
        async move {
            let database = text(&prior.attributes, "name");
            let mut connection = self.servers.connect(&prior.attributes, None).await?;
            match look(&mut connection, COMMENT, database, owner).await? {
                Found::Nothing => return Ok(None),
                Found::Strangers => return Err(strangers("database", database, owner)),
                Found::Ours => {}
            }
            let row =
                sqlx::query("SELECT pg_get_userbyid(datdba)::text, datconnlimit::bigint FROM pg_database WHERE datname = $1")
                    .bind(database)
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(|error| failure(&error))?;
            let mut found = prior.attributes.clone();
            if found.contains_key("owner") {
                found.insert("owner".to_owned(), json!(row.try_get::<String, _>(0).map_err(|error| failure(&error))?));
            }
            found.insert("connection_limit".to_owned(), json!(row.try_get::<i64, _>(1).map_err(|error| failure(&error))?));
            Ok(Some(found))
        }
        .boxed()
    }

    fn create<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let database = text(&intent.desired, "name");
            let mut connection = self.servers.connect(&intent.desired, None).await?;
            match look(&mut connection, COMMENT, database, &intent.owner).await? {
                Found::Strangers => return Err(strangers("database", database, &intent.owner)),
                Found::Ours => execute_all(&mut connection, alter(&intent.desired, database)).await?,
                Found::Nothing => make(&mut connection, intent, database).await?,
            }
            Ok(intent.made(database, []))
        }
        .boxed()
    }

    fn update<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let database = text(&intent.desired, "name");
            let mut connection = self.servers.connect(&intent.desired, None).await?;
            if !matches!(look(&mut connection, COMMENT, database, &intent.owner).await?, Found::Ours) {
                return Err(strangers("database", database, &intent.owner));
            }
            execute_all(&mut connection, alter(&intent.desired, database)).await?;
            Ok(intent.made(database, []))
        }
        .boxed()
    }

    fn delete<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            let prior = &intent.prior()?.attributes;
            let database = text(prior, "name");
            let mut connection = self.servers.connect(prior, None).await?;
            match look(&mut connection, COMMENT, database, &intent.owner).await? {
                Found::Nothing => Ok(()),
                Found::Strangers => Err(strangers("database", database, &intent.owner)),
                Found::Ours => execute(&mut connection, format!("DROP DATABASE {}", quoted(database))).await,
            }
        }
        .boxed()
    }

    fn recover<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Recovered> {
        async move {
            let attributes = match (intent.operation, &intent.prior) {
                (Operation::Update, _) => return Recovered::Repeatable,
                (Operation::Delete, Some(prior)) => &prior.attributes,
                _ => &intent.desired,
            };
            let database = text(attributes, "name");
            let found = async {
                let mut connection = self.servers.connect(attributes, None).await?;
                look(&mut connection, COMMENT, database, &intent.owner).await
            };
            super::recovered(intent, found.await, || intent.made(database, []))
        }
        .boxed()
    }
}

/// Makes a database under a name of its step and gives it mark and name at once: `CREATE DATABASE` cannot be part of a
/// transaction, and a crash after it would leave a database that nobody could tell from a stranger's.
async fn make(connection: &mut PgConnection, intent: &Intent, database: &str) -> Result<(), StepError> {
    let desired = &intent.desired;
    let own = format!("freehold_{}", &intent.key);
    if matches!(look(connection, COMMENT, &own, &intent.owner).await?, Found::Nothing) {
        let template =
            optional(desired, "template").map(|template| format!(" TEMPLATE {}", quoted(template))).unwrap_or_default();
        execute(connection, format!("CREATE DATABASE {}{template}", quoted(&own))).await?;
    }
    let mut statements = alter(desired, &own);
    statements.push(format!("COMMENT ON DATABASE {} IS {}", quoted(&own), literal(&intent.owner.to_string())));
    statements.push(format!("ALTER DATABASE {} RENAME TO {}", quoted(&own), quoted(database)));
    let named = execute_all(connection, statements).await;
    if named.as_ref().is_err_and(|error| !error.uncertain) {
        // The failure is what matters; what cannot be removed now is found under its own name by the next attempt.
        let _ = execute(connection, format!("DROP DATABASE IF EXISTS {}", quoted(&own))).await;
    }
    named
}

fn alter(desired: &Attributes, database: &str) -> Vec<String> {
    let database = quoted(database);
    let mut statements = vec![format!("ALTER DATABASE {database} CONNECTION LIMIT {}", whole(desired, "connection_limit"))];
    if let Some(owner) = optional(desired, "owner") {
        statements.push(format!("ALTER DATABASE {database} OWNER TO {}", quoted(owner)));
    }
    statements
}
