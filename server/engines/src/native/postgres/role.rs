//! `postgres_role`: a user or group of a PostgreSQL server.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_domain::{runs::Reversibility, time::Random};
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use sqlx::{Row, postgres::PgConnection};

use super::{
    super::{
        provider::{Intent, Made, Owner, Provider, Recovered, flag, optional, text, texts, whole},
        schema::{Attribute, Kind, Problem, Schema},
    },
    Found, Servers, connection, execute_all, failure, literal, look, name, quoted, scram, shared_rules, strangers,
};
use crate::{
    Action, StepError,
    native::{Attributes, Operation, Resource},
};

const COMMENT: &str = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1";
/// Attributes that are a word of `CREATE ROLE`, or that word after `NO`.
const FLAGS: [(&str, &str, bool); 4] = [
    ("login", "LOGIN", true),
    ("createdb", "CREATEDB", false),
    ("createrole", "CREATEROLE", false),
    ("inherit", "INHERIT", true),
];

/// Keeps roles.
pub(crate) struct PostgresRole {
    schema: Schema,
    servers: Servers,
    random: Arc<dyn Random>,
}

impl PostgresRole {
    pub fn new(servers: Servers, random: Arc<dyn Random>) -> Self {
        let mut attributes = vec![
            connection(),
            name("name").required().replaces(),
            Attribute::new("password", Kind::text(1024)).sensitive(),
            Attribute::new("connection_limit", Kind::Whole { min: -1, max: 100_000 }).default(-1),
            Attribute::new("member_of", Kind::list(Kind::text(63), 100)),
        ];
        attributes.extend(FLAGS.map(|(flag, _, default)| Attribute::new(flag, Kind::Flag).default(default)));
        Self { schema: Schema { kind: "postgres_role", attributes }, servers, random }
    }
}

impl Provider for PostgresRole {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, known: &Attributes, _unknown: &[&str]) -> Vec<Problem> {
        let mut problems = shared_rules(known, &["name"]);
        if optional(known, "password").is_some_and(|password| !password.bytes().all(|byte| (b' '..=b'~').contains(&byte))) {
            problems.push(Problem::rule("password", "must be of printable ASCII characters"));
        }
        problems
    }

    fn draw(&self, _desired: &Attributes) -> Result<Attributes, StepError> {
        let mut salt = [0; 16];
        self.random.fill(&mut salt);
        Ok([("salt".to_owned(), Value::String(STANDARD.encode(salt)))].into())
    }

    /// Settings and memberships that others have given to a role go with it.
    fn reversibility(&self, action: Action) -> Reversibility {
        match action {
            Action::Replace | Action::Delete => Reversibility::ReversibleWithDataLoss,
            Action::Create | Action::Update | Action::Noop => Reversibility::Reversible,
        }
    }

    fn observe<'a>(&'a self, prior: &'a Resource, owner: &'a Owner) -> BoxFuture<'a, Result<Option<Attributes>, StepError>> {
        async move {
            let role = text(&prior.attributes, "name");
            let mut connection = self.servers.connect(&prior.attributes, None).await?;
            match look(&mut connection, COMMENT, role, owner).await? {
                Found::Nothing => return Ok(None),
                Found::Strangers => return Err(strangers("role", role, owner)),
                Found::Ours => {}
            }
            let row = sqlx::query(
                "SELECT rolcanlogin, rolcreatedb, rolcreaterole, rolinherit, rolconnlimit::bigint FROM pg_roles WHERE rolname = $1",
            )
            .bind(role)
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| failure(&error))?;
            let mut found = prior.attributes.clone();
            for (index, (flag, ..)) in FLAGS.iter().enumerate() {
                found.insert((*flag).to_owned(), json!(row.try_get::<bool, _>(index).map_err(|error| failure(&error))?));
            }
            found.insert("connection_limit".to_owned(), json!(row.try_get::<i64, _>(4).map_err(|error| failure(&error))?));
            let groups = groups(&mut connection, role).await?;
            let mut made = texts(&prior.attributes, "member_of");
            made.sort_unstable();
            if groups != made {
                found.insert("member_of".to_owned(), json!(groups));
            }
            Ok(Some(found))
        }
        .boxed()
    }

    fn create<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let role = text(&intent.desired, "name");
            let mut connection = self.servers.connect(&intent.desired, None).await?;
            let mut statements = match look(&mut connection, COMMENT, role, &intent.owner).await? {
                Found::Strangers => return Err(strangers("role", role, &intent.owner)),
                Found::Ours => Vec::new(),
                Found::Nothing => vec![
                    format!("CREATE ROLE {}", quoted(role)),
                    format!("COMMENT ON ROLE {} IS {}", quoted(role), literal(&intent.owner.to_string())),
                ],
            };
            statements.extend(alter(intent, &groups(&mut connection, role).await?)?);
            execute_all(&mut connection, statements).await?;
            Ok(intent.made(role, []))
        }
        .boxed()
    }

    fn update<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let role = text(&intent.desired, "name");
            let mut connection = self.servers.connect(&intent.desired, None).await?;
            if !matches!(look(&mut connection, COMMENT, role, &intent.owner).await?, Found::Ours) {
                return Err(strangers("role", role, &intent.owner));
            }
            let statements = alter(intent, &groups(&mut connection, role).await?)?;
            execute_all(&mut connection, statements).await?;
            Ok(intent.made(role, []))
        }
        .boxed()
    }

    fn delete<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            let prior = &intent.prior()?.attributes;
            let role = text(prior, "name");
            let mut connection = self.servers.connect(prior, None).await?;
            match look(&mut connection, COMMENT, role, &intent.owner).await? {
                Found::Nothing => Ok(()),
                Found::Strangers => Err(strangers("role", role, &intent.owner)),
                Found::Ours => execute_all(&mut connection, vec![format!("DROP ROLE {}", quoted(role))]).await,
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
            let role = text(attributes, "name");
            let found = async {
                let mut connection = self.servers.connect(attributes, None).await?;
                look(&mut connection, COMMENT, role, &intent.owner).await
            };
            super::recovered(intent, found.await, || intent.made(role, []))
        }
        .boxed()
    }
}

/// Statements that give a role everything that is desired; harmless when it has it.
fn alter(intent: &Intent, groups: &[String]) -> Result<Vec<String>, StepError> {
    let desired = &intent.desired;
    let role = quoted(text(desired, "name"));
    let mut words: Vec<String> =
        FLAGS.iter().map(|(name, word, _)| if flag(desired, name) { (*word).to_owned() } else { format!("NO{word}") }).collect();
    words.push(format!("CONNECTION LIMIT {}", whole(desired, "connection_limit")));
    words.push(match optional(desired, "password") {
        Some(password) => {
            let salt = STANDARD
                .decode(text(&intent.drawn, "salt"))
                .map_err(|_| StepError::new("journal-invalid", "the salt in the journal cannot be read"))?;
            format!("PASSWORD {}", literal(&scram::verifier(password, &salt)))
        }
        None => "PASSWORD NULL".to_owned(),
    });
    let mut statements = vec![format!("ALTER ROLE {role} {}", words.join(" "))];
    let wanted = texts(desired, "member_of");
    for group in wanted.iter().filter(|group| !groups.iter().any(|have| have == *group)) {
        statements.push(format!("GRANT {} TO {role}", quoted(group)));
    }
    for group in groups.iter().filter(|group| !wanted.contains(&group.as_str())) {
        statements.push(format!("REVOKE {} FROM {role}", quoted(group)));
    }
    Ok(statements)
}

/// Roles that a role is a member of, sorted by their bytes.
async fn groups(connection: &mut PgConnection, role: &str) -> Result<Vec<String>, StepError> {
    let rows = sqlx::query(
        "SELECT DISTINCT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
           JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = $1",
    )
    .bind(role)
    .fetch_all(connection)
    .await
    .map_err(|error| failure(&error))?;
    let mut groups: Vec<String> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| failure(&error))?;
    groups.sort_unstable();
    Ok(groups)
}
