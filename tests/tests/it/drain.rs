//! A replica that is told to end does so at once, whatever is open on it, and those who follow a run do not notice.

use std::time::{Duration, Instant};

use freehold::{Client, LogLine, Run, RunPhase};
use freehold_tests::{Database, World, eventually};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::task::JoinHandle;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Far below the 30 seconds that calls in progress may go on, far above what a busy machine needs.
const SOON: Duration = Duration::from_secs(10);

both_databases!(a_server_ends_at_once_with_streams_and_waits_open);

async fn a_server_ends_at_once_with_streams_and_waits_open(database: Database) {
    let mut world = World::new(database).await.with_sample().await;
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    ada.deployments().create("shop/dev/hello", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    let run = ada.runs().plan("shop/dev/hello").send().await.expect("a run");
    // The run awaits an approval: nothing moves any more, and every runner asks for work.
    let _runner = world.runner();
    let run = run.wait_until(RunPhase::AwaitingApproval).await.expect("planned");
    let mut watch = run.watch();
    watch.next().await.expect("a state").expect("a state");
    let mut logs = run.logs();
    logs.next().await.expect("a line").expect("a line");
    let waits = tokio::spawn(run.wait_done());
    let admin = tonic::transport::Endpoint::from_shared(format!("http://{}", world.replica.admin)).expect("an address");
    let mut health = HealthClient::new(admin.connect().await.expect("the admin listener"));
    let mut health = health.watch(HealthCheckRequest::default()).await.expect("health").into_inner();
    health.message().await.expect("a status").expect("a status");

    let begun = Instant::now();
    world.replica.process.signal("TERM");
    let status = world.replica.process.wait().await;
    let took = begun.elapsed();
    assert!(status.success(), "{status}: {}", world.replica.process.said());
    assert!(took < SOON, "it took {took:?} to end");
    assert!(!waits.is_finished(), "whoever waits goes on to do so");
    waits.abort();
}

/// Follows a run in three ways, to its end.
struct Followers {
    watch: JoinHandle<Vec<RunPhase>>,
    logs: JoinHandle<Vec<String>>,
    wait: JoinHandle<RunPhase>,
}

impl Followers {
    async fn new(client: &Client, run: &str) -> Self {
        let run = client.runs().get(run).send().await.expect("the run");
        let mut watch = run.watch();
        let first = watch.next().await.expect("a state").expect("a state").phase;
        let logs = run.logs();
        let wait = tokio::spawn(async move { run.wait_done().await.expect("it ends").run().phase });
        Self { watch: tokio::spawn(phases(first, watch)), logs: tokio::spawn(lines(logs)), wait }
    }
}

async fn phases(first: RunPhase, states: impl Stream<Item = freehold::Result<Run>>) -> Vec<RunPhase> {
    let later: Vec<_> = states.map_ok(|run| run.phase).try_collect().await.expect("a drain is no failure");
    let mut all = [vec![first], later].concat();
    all.dedup();
    all
}

async fn lines(lines: impl Stream<Item = freehold::Result<LogLine>>) -> Vec<String> {
    lines.map_ok(|line| line.text).try_collect().await.expect("a drain is no failure")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_follows_a_run_notices_that_all_replicas_are_replaced() {
    let world = World::new(Database::Postgres).await.with_sample().await;
    let World { installation, replica: mut first, admin } = world;
    let mut second = installation.replica(&[]).await;
    admin.deployments().create("shop/dev/hello", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    let run = admin.runs().plan("shop/dev/hello").auto_apply().send().await.expect("a run").into_run();
    let servers = [first.api, second.api];
    let client = installation.client(&servers, installation.pki.credentials("admin"), "acme").await;
    let followers = Followers::new(&client, &run.name).await;

    // Each replica is replaced by one at the same address, one after the other; each follower was on one of them.
    for replica in [&mut first, &mut second] {
        let address = replica.api.to_string();
        replica.process.signal("TERM");
        let begun = Instant::now();
        let status = replica.process.wait().await;
        assert!(status.success() && begun.elapsed() < SOON, "{status} after {:?}", begun.elapsed());
        *replica = installation.replica(&["--api-addr", &address]).await;
    }
    let _runner = installation.runner(&[first.runner, second.runner], "runner", &[]);

    let seen = eventually("the followers to reach the end", || {
        let over = followers.watch.is_finished() && followers.logs.is_finished() && followers.wait.is_finished();
        async move { over.then_some(()).ok_or("they go on") }
    });
    seen.await;
    assert_eq!(followers.wait.await.expect("no panic"), RunPhase::Done);
    let phases = followers.watch.await.expect("no panic");
    assert_eq!((phases.first(), phases.last()), (Some(&RunPhase::Queued), Some(&RunPhase::Done)), "{phases:?}");
    let run = client.runs().get(&run.name).send().await.expect("the run");
    assert_eq!(followers.logs.await.expect("no panic"), lines(run.logs_so_far()).await, "no line twice, none left out");
}
