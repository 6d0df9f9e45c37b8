use freehold_engines::{Action, Outcome};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use crate::{
    postgres::Server,
    support::{Death, TestSink, World, die_and_resume},
};

/// A role that may log in to its own database and use one schema of it.
fn shop(server: &Server) -> String {
    let url = server.url("postgres", "postgres");
    format!(
        r#"
inputs: {{properties: {{limit: {{type: integer, default: 5}}}}}}
resources:
  pw: {{type: random_password, length: 20}}
  readers: {{type: postgres_role, connection: "{url}", name: readers, login: false}}
  app:
    type: postgres_role
    connection: "{url}"
    name: 'the "app"'
    password: ${{resources.pw.value}}
    connection_limit: ${{inputs.limit}}
    member_of: ["${{resources.readers.name}}"]
  db: {{type: postgres_database, connection: "{url}", name: shop, owner: "${{resources.app.name}}"}}
  schema: {{type: postgres_schema, connection: "{url}", database: "${{resources.db.name}}", name: sales}}
  usage:
    type: postgres_grant
    connection: "{url}"
    database: ${{resources.db.name}}
    role: ${{resources.readers.name}}
    object_type: schema
    object: ${{resources.schema.name}}
    privileges: [USAGE, CREATE]
  tables:
    type: postgres_grant
    connection: "{url}"
    database: ${{resources.db.name}}
    role: ${{resources.readers.name}}
    object_type: table
    schema: ${{resources.schema.name}}
    object: "*"
    privileges: [SELECT]
"#
    )
}

async fn assert_is_there(server: &Server, world: &World, outcome: &Outcome, place: &str) {
    assert!(outcome.failed.is_none() && outcome.unknown.is_empty(), "{:?} {place}", outcome.failed);
    let password = world.attribute("random_password.pw", "value");
    let encoded: String = password.as_str().expect("text").bytes().map(|byte| format!("%{byte:02X}")).collect();
    let url = server.url(&format!("the%20%22app%22:{encoded}"), "shop");
    let connection = PgConnection::connect(&url).await.unwrap_or_else(|error| panic!("{error} {place}"));
    connection.close().await.expect("a clean end");
    let comment =
        server.column("postgres", "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'shop'").await;
    assert_eq!(comment, [world.marker("postgres_database.db")], "{place}");
    let databases = server.column("postgres", "SELECT datname::text FROM pg_database ORDER BY 1").await;
    assert_eq!(databases, ["postgres", "shop", "template0", "template1"], "{place}");
    let groups = "SELECT pg_get_userbyid(roleid)::text FROM pg_auth_members WHERE pg_get_userbyid(member) = 'the \"app\"'";
    assert_eq!(server.column("postgres", groups).await, ["readers"], "{place}");
    let rights = "SELECT string_agg(privilege_type, ',' ORDER BY privilege_type) FROM pg_namespace, aclexplode(nspacl)
                   WHERE nspname = 'sales' AND pg_get_userbyid(grantee) = 'readers'";
    assert_eq!(server.column("shop", rights).await, ["CREATE,USAGE"], "{place}");
}

async fn assert_is_gone(server: &Server, outcome: &Outcome, place: &str) {
    assert!(outcome.failed.is_none() && outcome.state.addresses().is_empty(), "{outcome:?} {place}");
    assert_eq!(
        server.column("postgres", "SELECT datname::text FROM pg_database WHERE datname ~ 'shop|freehold'").await,
        [""; 0],
        "{place}"
    );
    assert_eq!(
        server.column("postgres", "SELECT rolname::text FROM pg_roles WHERE rolname ~ 'app|readers'").await,
        [""; 0],
        "{place}"
    );
}

#[tokio::test]
async fn a_database_with_its_roles_is_made_once_wherever_the_runner_dies() {
    let server = Server::start().await;
    let body = shop(&server);
    for death in [Death::RecordLost, Death::Killed] {
        let mut at = 0;
        loop {
            let mut world = World::new();
            world.inputs.insert("limit".to_owned(), json!(5));
            let plan = world.plan(&body).await;
            let (died, outcome, sink) = die_and_resume(&mut world, &plan, at, death).await;
            let place = format!("{death:?} at record {at}: {:#?}", sink.lines());
            assert_is_there(&server, &world, &outcome, &place).await;
            assert!(world.plan(&body).await.is_empty(), "{place}");

            let plan = world.plan_destroy(&body).await;
            let (_, outcome, sink) = die_and_resume(&mut world, &plan, at, death).await;
            assert_is_gone(&server, &outcome, &format!("{death:?} at record {at}: {:#?}", sink.lines())).await;
            if !died {
                break;
            }
            at += 1;
        }
        assert_eq!(at, 14);
    }
}

#[tokio::test]
async fn a_database_whose_creation_was_cut_before_its_mark_is_finished() {
    let server = Server::start().await;
    let body = format!(
        "resources:\n  db: {{type: postgres_database, connection: \"{}\", name: shop}}\n",
        server.url("postgres", "postgres")
    );
    let mut world = World::new();
    let plan = world.plan(&body).await;
    let first = TestSink::dying(0, Death::AnswerLost);
    world.apply_plan(&plan, &first).await;
    let second = TestSink::after(&first);
    let key = second.inherited("postgres_database.db", "/key").expect("its intent is recorded");
    server.run("postgres", &format!("CREATE DATABASE \"freehold_{}\"", key.as_str().expect("text"))).await;

    let outcome = world.apply_plan(&plan, &second).await;

    assert!(outcome.failed.is_none(), "{:?}", outcome.failed);
    let databases = server.column("postgres", "SELECT datname::text FROM pg_database WHERE datname ~ 'shop|freehold'").await;
    assert_eq!(databases, ["shop"]);
    assert!(world.plan(&body).await.is_empty(), "it carries its mark");
}

#[tokio::test]
async fn drift_and_changes_are_seen_in_the_catalog_and_strangers_are_left_alone() {
    let server = Server::start().await;
    let body = shop(&server);
    let mut world = World::new();
    world.inputs.insert("limit".to_owned(), json!(5));
    world.apply(&body).await;
    server.run("shop", "CREATE TABLE sales.orders (id int); REVOKE CREATE ON SCHEMA sales FROM readers").await;
    server
        .run("postgres", "ALTER ROLE \"the \"\"app\"\"\" CREATEDB; CREATE ROLE other; GRANT other TO \"the \"\"app\"\"\"")
        .await;

    let report = world.drift(&body).await;
    let drifted: Vec<_> = report.changes.values().filter(|change| change.drifted).map(|change| change.address.as_str()).collect();
    assert_eq!(drifted, ["postgres_grant.tables", "postgres_grant.usage", "postgres_role.app"]);
    assert!(
        report.changes["postgres_role.app"].reason.contains("`createdb`, `member_of`")
            || report.changes["postgres_role.app"].reason.contains("`member_of`, `createdb`")
    );

    world.inputs.insert("limit".to_owned(), json!(7));
    let sink = TestSink::default();
    let plan = world.plan(&body).await;
    assert_eq!(plan.changes["postgres_role.app"].action, Action::Update);
    let outcome = world.apply_plan(&plan, &sink).await;
    assert_is_there(&server, &world, &outcome, "after drift").await;
    let role = "SELECT rolconnlimit::text || rolcreatedb::text FROM pg_roles WHERE rolname = 'the \"app\"'";
    assert_eq!(server.column("postgres", role).await, ["7false"]);
    assert!(world.plan(&body).await.is_empty());
    let password = world.attribute("random_password.pw", "value");
    assert!(!sink.lines().join("\n").contains(password.as_str().expect("text")));
    assert_eq!(
        server.column("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'the \"app\"'").await[0][..14],
        *"SCRAM-SHA-256$"
    );

    // Somebody else's role of the same name is neither taken over nor removed.
    let url = server.url("postgres", "postgres");
    let theirs = format!("resources:\n  r: {{type: postgres_role, connection: \"{url}\", name: other}}\n");
    let mut second = World::new();
    let plan = second.plan(&theirs).await;
    let error = second.apply_plan(&plan, &TestSink::default()).await.failed.expect("it is not ours");
    assert_eq!(error.code, "postgres-not-ours");
    assert!(error.hint.contains(&second.marker("postgres_role.r")), "{error}");

    // A table keeps its schema: the removal says so and stops what comes after it.
    let outcome = world.destroy(&body).await;
    let error = outcome.failed.expect("a schema with tables stays");
    assert_eq!((error.code.as_str(), error.address.as_str()), ("postgres-in-use", "postgres_schema.schema"));
    server.run("shop", "DROP TABLE sales.orders").await;
    let outcome = world.destroy(&body).await;
    assert_is_gone(&server, &outcome, "in the end").await;
}

#[tokio::test]
async fn a_server_out_of_reach_is_told_without_its_password() {
    let mut world = World::with(false, &[]);
    let body = "resources:\n  r: {type: postgres_role, connection: \"postgres://me:s3cr3t-word@localhost:1/db\", name: x}\n";
    for (allow, code) in [(false, "host-refused"), (true, "postgres-unreachable")] {
        if allow {
            world = World::new();
        }
        let sink = TestSink::default();
        let plan = world.plan(body).await;
        let error = world.apply_plan(&plan, &sink).await.failed.expect("nobody is there");
        assert_eq!(error.code, code, "{error}");
        assert!(!format!("{error:?} {:?}", sink.lines()).contains("s3cr3t-word"));
    }
}
