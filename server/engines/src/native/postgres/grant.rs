//! `postgres_grant`: rights of a role on an object.
//!
//! A grant can carry no mark. Rights that were there before become part of it, and are taken away with it.

use freehold_domain::runs::Reversibility;
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use sqlx::{Row, postgres::PgConnection};

use super::{
    super::{
        provider::{Intent, Made, Owner, Provider, Recovered, optional, text, texts},
        schema::{Attribute, Kind, Problem, Schema},
    },
    Servers, connection, execute_all, failure, name, quoted, shared_rules,
};
use crate::{
    Action, StepError,
    native::{Attributes, Operation, Resource},
};

/// Rights that each kind of object knows.
const PRIVILEGES: [(&str, &[&str]); 4] = [
    ("database", &["CONNECT", "CREATE", "TEMPORARY"]),
    ("schema", &["CREATE", "USAGE"]),
    ("sequence", &["SELECT", "UPDATE", "USAGE"]),
    ("table", &["DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"]),
];
const ALL: &[&str] =
    &["CONNECT", "CREATE", "DELETE", "INSERT", "REFERENCES", "SELECT", "TEMPORARY", "TRIGGER", "TRUNCATE", "UPDATE", "USAGE"];
/// Stands for every table or sequence of a schema that is there at that time.
const EVERY: &str = "*";

/// Keeps grants.
pub(crate) struct PostgresGrant {
    schema: Schema,
    servers: Servers,
}

impl PostgresGrant {
    pub fn new(servers: Servers) -> Self {
        let attributes = vec![
            connection(),
            name("database").replaces(),
            name("role").required().replaces(),
            Attribute::new("object_type", Kind::Choice(&["database", "schema", "sequence", "table"])).required().replaces(),
            name("schema").replaces(),
            name("object").required().replaces(),
            Attribute::new("privileges", Kind::list(Kind::Choice(ALL), ALL.len())).required(),
        ];
        Self { schema: Schema { kind: "postgres_grant", attributes }, servers }
    }

    /// Rights that are there; nothing when the database, the object or the role is gone.
    async fn look(&self, attributes: &Attributes) -> Result<Option<Vec<String>>, StepError> {
        match self.servers.connect(attributes, optional(attributes, "database")).await {
            Ok(mut connection) => held(&mut connection, attributes).await,
            Err(error) if error.code == "postgres-no-database" => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Provider for PostgresGrant {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, known: &Attributes, unknown: &[&str]) -> Vec<Problem> {
        let mut problems = shared_rules(known, &[]);
        let Some(kind) = optional(known, "object_type") else { return problems };
        let inside = matches!(kind, "sequence" | "table");
        let schema_given = optional(known, "schema").is_some() || unknown.contains(&"schema");
        if inside && !schema_given {
            problems.push(Problem::new("schema", "attribute-missing", format!("must be given for a {kind}")));
        }
        if !inside && schema_given {
            problems.push(Problem::rule("schema", format!("cannot be given for a {kind}; its name goes into `object`")));
        }
        let allowed = PRIVILEGES.iter().find(|(name, _)| *name == kind).map_or(ALL, |(_, allowed)| allowed);
        for (index, privilege) in
            texts(known, "privileges").iter().enumerate().filter(|(_, privilege)| !allowed.contains(privilege))
        {
            let why = format!("a {kind} knows no right {privilege}; it knows {}", allowed.join(", "));
            problems.push(Problem::rule(&format!("privileges[{index}]"), why));
        }
        if known.contains_key("privileges") && texts(known, "privileges").is_empty() && !unknown.contains(&"privileges") {
            problems.push(Problem::rule("privileges", "must name at least one right"));
        }
        problems
    }

    /// Rights that were there before become part of a grant, and nobody can tell them from those that it gave.
    fn reversibility(&self, action: Action) -> Reversibility {
        if action == Action::Create { Reversibility::Unknown } else { Reversibility::Reversible }
    }

    fn observe<'a>(&'a self, prior: &'a Resource, _owner: &'a Owner) -> BoxFuture<'a, Result<Option<Attributes>, StepError>> {
        async move {
            let Some(held) = self.look(&prior.attributes).await? else { return Ok(None) };
            // Rights given by others are theirs.
            let left: Vec<&str> = texts(&prior.attributes, "privileges")
                .into_iter()
                .filter(|privilege| held.iter().any(|have| have == privilege))
                .collect();
            if left.is_empty() {
                return Ok(None);
            }
            let mut found = prior.attributes.clone();
            found.insert("privileges".to_owned(), json!(left));
            Ok(Some(found))
        }
        .boxed()
    }

    fn create<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let mut connection = self.servers.connect(&intent.desired, optional(&intent.desired, "database")).await?;
            execute_all(&mut connection, vec![statement("GRANT", "TO", &intent.desired, &texts(&intent.desired, "privileges"))])
                .await?;
            Ok(made(intent))
        }
        .boxed()
    }

    fn update<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let wanted = texts(&intent.desired, "privileges");
            let mut statements = vec![statement("GRANT", "TO", &intent.desired, &wanted)];
            let surplus: Vec<&str> = texts(&intent.prior()?.attributes, "privileges")
                .into_iter()
                .filter(|privilege| !wanted.contains(privilege))
                .collect();
            if !surplus.is_empty() {
                statements.push(statement("REVOKE", "FROM", &intent.desired, &surplus));
            }
            let mut connection = self.servers.connect(&intent.desired, optional(&intent.desired, "database")).await?;
            execute_all(&mut connection, statements).await?;
            Ok(made(intent))
        }
        .boxed()
    }

    fn delete<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            let prior = &intent.prior()?.attributes;
            match self.look(prior).await? {
                Some(held) if !held.is_empty() => {
                    let mut connection = self.servers.connect(prior, optional(prior, "database")).await?;
                    execute_all(&mut connection, vec![statement("REVOKE", "FROM", prior, &texts(prior, "privileges"))]).await
                }
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn recover<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Recovered> {
        async move {
            if intent.operation == Operation::Update {
                return Recovered::Repeatable;
            }
            let attributes = intent
                .prior
                .as_ref()
                .filter(|_| intent.operation == Operation::Delete)
                .map_or(&intent.desired, |prior| &prior.attributes);
            let wanted = texts(attributes, "privileges");
            let has = |held: &[String], privilege: &&&str| held.iter().any(|have| have == **privilege);
            match (self.look(attributes).await, intent.operation) {
                (Err(error), _) => Recovered::Unknown(error.to_string()),
                (Ok(None), Operation::Delete) => Recovered::Done(None),
                (Ok(Some(held)), Operation::Delete) if !wanted.iter().any(|privilege| has(&held, &privilege)) => {
                    Recovered::Done(None)
                }
                (Ok(Some(held)), Operation::Create) if wanted.iter().all(|privilege| has(&held, &privilege)) => {
                    Recovered::Done(Some(made(intent)))
                }
                _ => Recovered::NotDone,
            }
        }
        .boxed()
    }
}

fn made(intent: &Intent) -> Made {
    let named = |name| text(&intent.desired, name);
    intent.made(format!("{} {} {}", named("role"), named("object_type"), named("object")), [])
}

fn statement(verb: &str, preposition: &str, attributes: &Attributes, privileges: &[&str]) -> String {
    let object = quoted(text(attributes, "object"));
    let schema = quoted(text(attributes, "schema"));
    let on = match (text(attributes, "object_type"), text(attributes, "object")) {
        ("database", _) => format!("DATABASE {object}"),
        ("schema", _) => format!("SCHEMA {object}"),
        ("sequence", EVERY) => format!("ALL SEQUENCES IN SCHEMA {schema}"),
        ("sequence", _) => format!("SEQUENCE {schema}.{object}"),
        (_, EVERY) => format!("ALL TABLES IN SCHEMA {schema}"),
        _ => format!("TABLE {schema}.{object}"),
    };
    // Rights are from the fixed list that the schema allows.
    format!("{verb} {} ON {on} {preposition} {}", privileges.join(", "), quoted(text(attributes, "role")))
}

/// Rights that a role has been given itself; of every object of a schema, those it has on all of them.
async fn held(connection: &mut PgConnection, attributes: &Attributes) -> Result<Option<Vec<String>>, StepError> {
    let role = text(attributes, "role");
    let object = text(attributes, "object");
    let query = match text(attributes, "object_type") {
        "database" => {
            "SELECT ARRAY(SELECT a.privilege_type FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                           WHERE a.grantee = r.oid)
               FROM pg_database d, pg_roles r WHERE r.rolname = $1 AND d.datname = $2 AND $3 = ''"
        }
        "schema" => {
            "SELECT ARRAY(SELECT a.privilege_type FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
                           WHERE a.grantee = r.oid)
               FROM pg_namespace n, pg_roles r WHERE r.rolname = $1 AND n.nspname = $2 AND $3 = ''"
        }
        "sequence" => {
            "SELECT ARRAY(SELECT a.privilege_type FROM aclexplode(coalesce(c.relacl, acldefault('s', c.relowner))) a
                           WHERE a.grantee = r.oid)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
              WHERE r.rolname = $1 AND ($2 = '*' OR c.relname = $2) AND n.nspname = $3 AND c.relkind = 'S'"
        }
        _ => {
            "SELECT ARRAY(SELECT a.privilege_type FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
                           WHERE a.grantee = r.oid)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
              WHERE r.rolname = $1 AND ($2 = '*' OR c.relname = $2) AND n.nspname = $3 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
        }
    };
    let rows = sqlx::query(query)
        .bind(role)
        .bind(object)
        .bind(text(attributes, "schema"))
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| failure(&error))?;
    let mut sets: Vec<Vec<String>> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| failure(&error))?;
    if let Some(first) = sets.pop() {
        return Ok(Some(first.into_iter().filter(|privilege| sets.iter().all(|set| set.contains(privilege))).collect()));
    }
    if object != EVERY {
        return Ok(None);
    }
    // In a schema without tables nothing is missing.
    let there = sqlx::query("SELECT 1 FROM pg_namespace n, pg_roles r WHERE n.nspname = $1 AND r.rolname = $2")
        .bind(text(attributes, "schema"))
        .bind(role)
        .fetch_optional(connection)
        .await
        .map_err(|error| failure(&error))?;
    Ok(there.map(|_| {
        attributes
            .get("privileges")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|p| p.as_str().map(str::to_owned))
            .collect()
    }))
}
