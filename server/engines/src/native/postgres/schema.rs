//! `postgres_schema`: a schema in a database.

use freehold_domain::runs::Reversibility;
use futures::future::{BoxFuture, FutureExt};
use serde_json::json;
use sqlx::Row;

use super::{
    super::{
        provider::{Intent, Made, Owner, Provider, Recovered, optional, text},
        schema::{Problem, Schema},
    },
    Found, Servers, connection, execute_all, failure, literal, look, name, quoted, shared_rules, strangers,
};
use crate::{
    Action, StepError,
    native::{Attributes, Operation, Resource},
};

const COMMENT: &str = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1";

/// Keeps schemas.
pub(crate) struct PostgresSchema {
    schema: Schema,
    servers: Servers,
}

impl PostgresSchema {
    pub fn new(servers: Servers) -> Self {
        let attributes = vec![connection(), name("name").required().replaces(), name("database").replaces(), name("owner")];
        Self { schema: Schema { kind: "postgres_schema", attributes }, servers }
    }
}

impl Provider for PostgresSchema {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, known: &Attributes, _unknown: &[&str]) -> Vec<Problem> {
        shared_rules(known, &["name"])
    }

    /// Only an empty one can be removed.
    fn reversibility(&self, _action: Action) -> Reversibility {
        Reversibility::Reversible
    }

    fn observe<'a>(&'a self, prior: &'a Resource, owner: &'a Owner) -> BoxFuture<'a, Result<Option<Attributes>, StepError>> {
        async move {
            let schema = text(&prior.attributes, "name");
            let mut connection = match self.servers.connect(&prior.attributes, optional(&prior.attributes, "database")).await {
                Ok(connection) => connection,
                // A schema goes with its database.
                Err(error) if error.code == "postgres-no-database" => return Ok(None),
                Err(error) => return Err(error),
            };
            match look(&mut connection, COMMENT, schema, owner).await? {
                Found::Nothing => return Ok(None),
                Found::Strangers => return Err(strangers("schema", schema, owner)),
                Found::Ours => {}
            }
            let mut found = prior.attributes.clone();
            if found.contains_key("owner") {
                let row = sqlx::query("SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = $1")
                    .bind(schema)
                    .fetch_one(&mut *connection)
                    .await
                    .map_err(|error| failure(&error))?;
                found.insert("owner".to_owned(), json!(row.try_get::<String, _>(0).map_err(|error| failure(&error))?));
            }
            Ok(Some(found))
        }
        .boxed()
    }

    fn create<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let schema = text(&intent.desired, "name");
            let mut connection = self.servers.connect(&intent.desired, optional(&intent.desired, "database")).await?;
            let mut statements = match look(&mut connection, COMMENT, schema, &intent.owner).await? {
                Found::Strangers => return Err(strangers("schema", schema, &intent.owner)),
                Found::Ours => Vec::new(),
                Found::Nothing => vec![
                    format!("CREATE SCHEMA {}", quoted(schema)),
                    format!("COMMENT ON SCHEMA {} IS {}", quoted(schema), literal(&intent.owner.to_string())),
                ],
            };
            statements.extend(hand_over(&intent.desired));
            execute_all(&mut connection, statements).await?;
            Ok(intent.made(schema, []))
        }
        .boxed()
    }

    fn update<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let schema = text(&intent.desired, "name");
            let mut connection = self.servers.connect(&intent.desired, optional(&intent.desired, "database")).await?;
            if !matches!(look(&mut connection, COMMENT, schema, &intent.owner).await?, Found::Ours) {
                return Err(strangers("schema", schema, &intent.owner));
            }
            execute_all(&mut connection, hand_over(&intent.desired)).await?;
            Ok(intent.made(schema, []))
        }
        .boxed()
    }

    fn delete<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            let prior = &intent.prior()?.attributes;
            let schema = text(prior, "name");
            let mut connection = match self.servers.connect(prior, optional(prior, "database")).await {
                Ok(connection) => connection,
                Err(error) if error.code == "postgres-no-database" => return Ok(()),
                Err(error) => return Err(error),
            };
            match look(&mut connection, COMMENT, schema, &intent.owner).await? {
                Found::Nothing => Ok(()),
                Found::Strangers => Err(strangers("schema", schema, &intent.owner)),
                Found::Ours => execute_all(&mut connection, vec![format!("DROP SCHEMA {}", quoted(schema))]).await,
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
            let schema = text(attributes, "name");
            let found = async {
                match self.servers.connect(attributes, optional(attributes, "database")).await {
                    Ok(mut connection) => look(&mut connection, COMMENT, schema, &intent.owner).await,
                    Err(error) if error.code == "postgres-no-database" => Ok(Found::Nothing),
                    Err(error) => Err(error),
                }
            };
            super::recovered(intent, found.await, || intent.made(schema, []))
        }
        .boxed()
    }
}

fn hand_over(desired: &Attributes) -> Vec<String> {
    let schema = quoted(text(desired, "name"));
    optional(desired, "owner").map(|owner| format!("ALTER SCHEMA {schema} OWNER TO {}", quoted(owner))).into_iter().collect()
}
