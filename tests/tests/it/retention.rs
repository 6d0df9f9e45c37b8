//! What is not kept any longer: a deleted tenant goes with every row of it, and nothing else goes.

use std::{collections::BTreeMap, time::Duration};

use freehold::{Timestamp, raw::proto::runners::v1 as pb};
use freehold_service::retention;
use freehold_tests::{Database, World};
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use uuid::Uuid;

use crate::{later::open, scripted_runner::asks};

/// How many rows a tenant has in each table, by the schema's own word on which tables there are.
async fn rows(database_url: &str, tenant: &str) -> BTreeMap<String, i64> {
    let tenant: Uuid = tenant.parse().expect("a UUID");
    macro_rules! count {
        ($session:expr, $tables:literal) => {{
            let mut session = $session.expect("a session");
            let tables: Vec<String> = sqlx::query_scalar($tables).fetch_all(&mut session).await.expect("the tables");
            let mut counts = BTreeMap::new();
            for table in tables {
                let key = if table == "tenants" { "uid" } else { "tenant_id" };
                let count = AssertSqlSafe(format!("SELECT COUNT(*) FROM {table} WHERE {key} = $1"));
                let count: i64 = sqlx::query_scalar(count).bind(tenant).fetch_one(&mut session).await.expect("a count");
                counts.insert(table, count);
            }
            counts
        }};
    }
    match database_url.strip_prefix("sqlite:") {
        Some(path) => count!(
            sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await,
            "SELECT t.name FROM sqlite_master AS t, pragma_table_info(t.name) AS c
             WHERE t.type = 'table' AND (c.name = 'tenant_id' OR t.name = 'tenants' AND c.name = 'uid')"
        ),
        None => count!(
            database_url.parse::<sqlx::postgres::PgConnectOptions>().expect("a URL").connect().await,
            "SELECT CAST(table_name AS TEXT) FROM information_schema.columns
             WHERE table_schema = 'public' AND (column_name = 'tenant_id' OR table_name = 'tenants' AND column_name = 'uid')"
        ),
    }
}

both_databases!(a_deleted_tenant_goes_with_every_row_when_its_time_is_over_and_nothing_else_does);

async fn a_deleted_tenant_goes_with_every_row_when_its_time_is_over_and_nothing_else_does(database: Database) {
    let idp = crate::sign_in::Idp::start().await;
    let options = [crate::connections::PRIVATE, &idp.options()].concat();
    let mut world = World::with(database, &options).await.with_sample().await;
    crate::sign_in::signed_in(&world, &idp).await;
    let rival = world.tenant("rival").await;
    rival.projects().create("shop").send().await.expect("a project");
    fill(&world).await;
    let uid = world.admin.tenants().get("acme").send().await.expect("a tenant").uid;
    let rival = rival.tenants().get("rival").send().await.expect("a tenant").uid;
    world.admin.tenants().delete("acme").force().send().await.expect("deleted");
    world.replica.process.signal("TERM");
    world.replica.process.wait().await;
    let url = world.installation.database_url.as_str();
    let (before, of_rival) = (rows(url, &uid).await, rows(url, &rival).await);
    assert!(before.len() > 20 && before.values().all(|count| *count > 0), "the story fills every table: {before:?}");

    let (app, clock) = open(url).await;
    let sweep = async |days: u64| {
        clock.set(days * 86_400);
        loop {
            // Every replica does this at the same time.
            let (one, other) = tokio::join!(retention::sweep(&app), retention::sweep(&app));
            if !one.expect("swept") && !other.expect("swept") {
                return;
            }
        }
    };
    let kept_for_less = |counts: &BTreeMap<String, i64>| {
        let short = |table: &str| ["idempotency", "link_codes", "outbox"].contains(&table);
        counts.iter().map(|(table, count)| (table.clone(), if short(table) { 0 } else { *count })).collect::<BTreeMap<_, _>>()
    };
    sweep(6).await;
    assert_eq!(rows(url, &uid).await["outbox"], before["outbox"], "events are kept for a week");
    sweep(29).await;
    assert_eq!(rows(url, &uid).await, kept_for_less(&before), "a deleted tenant is kept for 30 days");
    sweep(31).await;
    let left = rows(url, &uid).await;
    assert!(left.values().all(|count| *count == 0), "nothing is left: {left:?}");
    assert_eq!(rows(url, &rival).await, kept_for_less(&of_rival), "nothing of another tenant goes");
    app.store().close().await;
    drop(app);

    let replica = world.installation.replica(&[]).await;
    let admin = world.installation.client(&[replica.api], world.installation.pki.credentials("admin"), "acme").await;
    let again = admin.tenants().create("acme").send().await.expect("the name is free");
    assert_ne!(again.uid, uid);
    assert!(admin.projects().list().send().await.expect("a list").items.is_empty());
}

/// Puts rows of `acme` into every table.
async fn fill(world: &World) {
    let acme = &world.admin;
    acme.service_accounts().create("ci").send().await.expect("a service account");
    acme.service_accounts().create_identity("ci", "spiffe://mesh.example/ci").send().await.expect("an identity");
    let end = Timestamp::now() + Duration::from_secs(3600);
    acme.api_keys().create("serviceAccounts/ci", end).send().await.expect("a key");
    let rule = freehold::ApprovalRule::new("never", "false", 1);
    acme.approval_policies().create("careful").rule(rule).send().await.expect("an approval policy");
    acme.secret_stores().create("vault", freehold::SecretDriver::environment("ACME_")).send().await.expect("a store");
    acme.projects().update("shop").approval_policy("careful").send().await.expect("named");
    acme.deployments().create("shop/dev/hello", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    crate::inbound::message(world).await;
    crate::webhooks::undelivered(acme).await;
    crate::notifications::untold(acme).await;
    crate::chat::linked(world, "shop/dev/hello").await;
    let needs = acme.deployments().create("shop/dev/next", "greeting@1.0.0").depends_on("shop/dev/hello").input("name", "all");
    needs.send().await.expect("a deployment that needs another one");
    let runner = world.runner();
    let run = acme.runs().plan("shop/dev/hello").auto_apply().send().await.expect("a run");
    run.wait_done().await.expect("it ends").into_result().expect("well");
    std::fs::write(world.installation.path("files/acme/shop/dev/hello.txt"), "vandalised").expect("a vandal");
    let look = acme.runs().detect_drift("shop/dev/hello").send().await.expect("a run").wait_done().await.expect("it ends");
    look.into_result().expect("well");
    let item = acme.drift().items("shop/dev/hello").list().send().await.expect("a list").items.remove(0);
    acme.drift().accept(item.name, "the story needs one", end).send().await.expect("accepted");
    drop(runner);
    // A run under way keeps a place among the concurrent ones reserved.
    acme.runs().detect_drift("shop/dev/hello").send().await.expect("a run");
    let credentials = world.installation.pki.credentials("runner");
    let runner = world.installation.client(&[world.replica.runner], credentials, "acme").await;
    let mut runner = pb::runner_service_client::RunnerServiceClient::new(runner.raw().expect("a channel"));
    let ask = asks(Uuid::now_v7(), "native");
    runner.acquire_job(ask).await.expect("an answer").into_inner().job.expect("a job");
}
