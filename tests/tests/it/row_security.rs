//! The second line between tenants: what the database itself refuses, whatever a statement says.

use freehold_tests::{Database::Postgres, World};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_one_tenant_reaches_no_rows_of_another() {
    let world = World::new(Postgres).await;
    let other = world.tenant("other").await;
    world.admin.projects().create("ours").send().await.expect("a project");
    other.projects().create("theirs").send().await.expect("a project");
    let options: PgConnectOptions = world.installation.database_url.parse().expect("a URL");
    let mut db = options.connect().await.expect("a session as the server has it");

    // Every table with rows of tenants has the policy, also for the owner of the tables, which the server is.
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT columns.table_name::text FROM information_schema.columns JOIN pg_class ON relname = columns.table_name
         WHERE column_name = 'tenant_id' AND table_schema = 'public'
         AND NOT (relrowsecurity AND relforcerowsecurity AND EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = pg_class.oid))",
    )
    .fetch_all(&mut db)
    .await
    .expect("the catalogue");
    assert!(open.is_empty(), "without a policy: {open:?}");

    let ours = tenant(&mut db, "acme").await;
    let theirs = tenant(&mut db, "other").await;
    let mut tx = db.begin().await.expect("a transaction");
    sqlx::query("SELECT set_config('freehold.tenant', $1, true)").bind(ours.to_string()).execute(&mut *tx).await.expect("set");
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM projects").fetch_all(&mut *tx).await.expect("rows");
    assert_eq!(names, ["tenants/acme/projects/ours"]);
    for statement in ["UPDATE projects SET body = '{}'", "DELETE FROM quotas WHERE max = 0", "DELETE FROM audit_records"] {
        tx.execute(statement).await.expect("it touches what is ours only");
    }
    let moved = "UPDATE quotas SET tenant_id = $1 WHERE dimension = 'users'";
    let refused = sqlx::query(moved).bind(theirs).execute(&mut *tx).await.expect_err("a row cannot be given away");
    assert!(refused.to_string().contains("row-level security"), "{refused}");
    tx.rollback().await.expect("the end");

    // What the server commits stays inside as well, and the setting ends with its transaction.
    let seen: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM projects").fetch_one(&mut db).await.expect("a count");
    assert_eq!(seen, 2);
    assert_eq!(other.projects().get("theirs").send().await.expect("untouched").name, "tenants/other/projects/theirs");
}

async fn tenant(db: &mut PgConnection, id: &str) -> Uuid {
    let find = sqlx::query_scalar("SELECT uid FROM tenants WHERE name = $1").bind(format!("tenants/{id}"));
    find.fetch_one(db).await.expect("the tenant")
}
