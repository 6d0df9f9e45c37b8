//! Many want the few places that are left.

use std::sync::Arc;

use freehold::{Client, EnvironmentKind, Error};
use freehold_tests::{Database, World, sample};
use tokio::{sync::Barrier, task::JoinSet};

const ROUNDS: usize = 20;
const CALLERS: usize = 64;
const LIMIT: i64 = 10;

both_databases!(sixty_four_callers_get_exactly_the_ten_places_that_there_are);

async fn sixty_four_callers_get_exactly_the_ten_places_that_there_are(database: Database) {
    let world = World::new(database).await;
    for round in 0..ROUNDS {
        one_round(&world, std::slice::from_ref(&world.admin), round).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_give_away_exactly_ten_places_between_them() {
    let world = World::new(Database::Postgres).await;
    let second = world.installation.replica(&[]).await;
    let credentials = world.installation.pki.credentials("admin");
    let other = world.installation.client(&[second.api], credentials, "acme").await;
    for round in 0..ROUNDS {
        one_round(&world, &[world.admin.clone(), other.clone()], round).await;
    }
}

/// In a new tenant: all want a project, then all want a deployment. The callers are spread over these clients.
async fn one_round(world: &World, clients: &[Client], round: usize) {
    let tenant = format!("round-{round}");
    let own = world.tenant(&tenant).await;
    own.quotas().set_limit("projects", LIMIT).send().await.expect("a limit");
    race(&own, clients, "projects", |client, n| {
        let name = format!("tenants/{tenant}/projects/p-{n}");
        async move { client.projects().create(name).send().await.map(drop) }
    })
    .await;
    let project = own.projects().list().send().await.expect("a list").items.swap_remove(0).name;

    own.environments().create(format!("{project}/environments/dev"), EnvironmentKind::Dev).send().await.expect("an environment");
    own.blueprints().create("greeting").send().await.expect("a blueprint");
    let draft = own.blueprints().write_draft("greeting", sample()).send().await.expect("a draft").blueprint_draft;
    own.blueprints().publish("greeting@1.0.0", &draft.etag).send().await.expect("a version");
    own.quotas().set_limit("deployments", LIMIT).send().await.expect("a limit");
    race(&own, clients, "deployments", |client, n| {
        let name = format!("{project}/environments/dev/deployments/d-{n}");
        let version = format!("tenants/{tenant}/blueprints/greeting/versions/1.0.0");
        async move { client.deployments().create(name, version).input("name", "world").send().await.map(drop) }
    })
    .await;
}

/// Lets all callers go at once. Exactly as many succeed as there are places, and every other learns why it does not.
async fn race<F>(own: &Client, clients: &[Client], dimension: &str, ask: impl Fn(Client, usize) -> F)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let start = Arc::new(Barrier::new(CALLERS));
    let mut callers = JoinSet::new();
    for n in 0..CALLERS {
        let (start, call) = (start.clone(), ask(clients[n % clients.len()].clone(), n));
        callers.spawn(async move {
            start.wait().await;
            call.await
        });
    }
    let (won, lost): (Vec<_>, Vec<_>) = callers.join_all().await.into_iter().partition(Result::is_ok);
    for error in lost.into_iter().filter_map(Result::err) {
        assert!(error.is_quota_exceeded(), "{error:?}");
        let facts = ["dimension", "limit", "used", "reserved", "requested"].map(|key| error.metadata(key));
        assert_eq!(facts, [Some(dimension), Some("10"), Some("10"), Some("0"), Some("1")], "{error:?}");
    }
    assert_eq!(won.len(), 10);
    let quota = own.quotas().get(dimension).send().await.expect("a quota");
    assert_eq!((quota.used, quota.reserved, quota.available), (LIMIT, 0, Some(0)));
    let recount = own.quotas().recount(dimension).send().await.expect("a recount");
    assert_eq!(recount.difference, 0, "the counter of {dimension} is the count of the rows");
}
