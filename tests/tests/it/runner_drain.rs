//! Runners that are told to take no more work.

use freehold::raw::proto::runners::v1::{HeartbeatRequest, runner_service_client::RunnerServiceClient};
use freehold_tests::{Database, World};
use tokio::task::JoinSet;

both_databases!(a_runner_that_is_told_to_drain_stays_so_however_many_heartbeats_cross);

async fn a_runner_that_is_told_to_drain_stays_so_however_many_heartbeats_cross(database: Database) {
    let world = World::new(database).await;
    let beat = || HeartbeatRequest { version: "1".to_owned(), capacity: 1, ..Default::default() };
    for number in 0..10 {
        let (name, file) = (format!("runnerPools/default/runners/d{number}"), format!("d{number}"));
        world.installation.pki.issue(&file, &name);
        let credentials = world.installation.pki.credentials(&file);
        let client = world.installation.client(&[world.replica.runner], credentials, "acme").await;
        let runner = RunnerServiceClient::new(client.raw().expect("a channel"));
        runner.clone().heartbeat(beat()).await.expect("it is known now");

        let mut beats = JoinSet::new();
        for _ in 0..8 {
            let mut runner = runner.clone();
            beats.spawn(async move { while !runner.heartbeat(beat()).await.expect("an answer").into_inner().drain {} });
        }
        world.admin.runner_pools().drain_runner(&name).send().await.expect("drained");
        let told = tokio::time::timeout(std::time::Duration::from_secs(30), beats.join_all());
        told.await.unwrap_or_else(|_| panic!("{name} has forgotten that it drains"));
        assert!(runner.clone().heartbeat(beat()).await.expect("an answer").into_inner().drain, "{name}");
    }
}
