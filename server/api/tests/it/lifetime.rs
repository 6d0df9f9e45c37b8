//! Connections end: by a drain, by age, by idleness.

use std::time::Duration;

use freehold_api::{layers::Rate, listener::Settings, policy::Surface};
use freehold_proto::meta::v1::{GetServerInfoRequest, server_info_service_client::ServerInfoServiceClient};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt as _;

use crate::support::{ADA, Installation, PATIENCE, eventually};

#[tokio::test]
async fn a_drain_lets_calls_finish_ends_streams_and_waits_for_nothing_else() {
    let here = Installation::new();
    // A drain that waited for the grace time would not end in time.
    let settings = Settings { grace: 10 * PATIENCE, ..Settings::default() };
    let server = here.serve_with(Surface::Api, settings, Rate::default()).await;
    server.readiness.set(true);
    let channel = server.channel(&here.authority, Some(&here.client(ADA))).await;
    let mut endless = HealthClient::new(channel.clone()).watch(HealthCheckRequest::default()).await.expect("open").into_inner();
    let serving = endless.message().await.expect("a status").expect("a status").status();
    assert_eq!(serving, ServingStatus::Serving);
    let mut calls = freehold_proto::iam::v1::token_service_client::TokenServiceClient::new(channel);
    let call = tokio::spawn(async move {
        calls
            .exchange_token(freehold_proto::iam::v1::ExchangeTokenRequest { api_key: "wait".to_owned(), ..Default::default() })
            .await
    });
    timeout(PATIENCE, server.handlers.begun.notified()).await.expect("begun");

    server.readiness.set(false);
    server.shutdown.cancel();
    let last = endless.message().await.expect("what it had to say").expect("a status").status();
    assert_eq!(last, ServingStatus::NotServing);
    let cut = endless.message().await.expect_err("ended by the server");
    let reason = cut.get_details_error_info().expect("a reason").reason;
    assert_eq!((cut.code(), reason.as_str()), (tonic::Code::Unavailable, "SERVER_DRAINING"));
    eventually("nothing more is accepted", || async { TcpStream::connect(server.addr).await.is_err() }).await;
    server.handlers.go_on.notify_one();

    timeout(PATIENCE, call).await.expect("in time").expect("no panic").expect("a call in progress finishes");
    timeout(PATIENCE, server.serving).await.expect("the drain ends").expect("no panic");
    assert!(server.connections.is_empty());
}

#[tokio::test]
async fn an_old_connection_is_asked_to_end_and_then_cut() {
    let here = Installation::new();
    let settings = Settings { max_age: Duration::from_secs(1), grace: Duration::from_millis(500), ..Settings::default() };
    let server = here.serve_with(Surface::Api, settings, Rate::default()).await;
    let channel = server.channel(&here.authority, Some(&here.client(ADA))).await;
    let mut endless = HealthClient::new(channel).watch(HealthCheckRequest::default()).await.expect("open").into_inner();
    endless.message().await.expect("a status").expect("a status");

    timeout(PATIENCE, endless.message()).await.expect("cut").expect_err("cut");

    eventually("the connection is gone", || async { server.connections.is_empty() }).await;
    let mut calls = ServerInfoServiceClient::new(server.channel(&here.authority, Some(&here.client(ADA))).await);
    calls.get_server_info(GetServerInfoRequest {}).await.expect("a new connection is welcome");
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_and_one_with_a_stream_is_not() {
    let here = Installation::new();
    let settings =
        Settings { idle_timeout: Duration::from_secs(1), first_request_timeout: Duration::from_secs(1), ..Settings::default() };
    let server = here.serve_with(Surface::Api, settings, Rate::default()).await;
    let busy = server.channel(&here.authority, Some(&here.client(ADA))).await;
    let mut watch = HealthClient::new(busy).watch(HealthCheckRequest::default()).await.expect("open").into_inner();
    watch.message().await.expect("a status").expect("a status");
    let mut silent = server.tls(&here.authority, Some(&here.client(ADA)), b"h2").await.expect("connected");
    let idle = server.channel(&here.authority, Some(&here.client(ADA))).await;
    HealthClient::new(idle.clone()).check(HealthCheckRequest::default()).await.expect("open");

    // It never spoke HTTP, so it is cut without ceremony: an end or an error are the same to it.
    let _ = timeout(PATIENCE, silent.read_to_end(&mut Vec::new())).await.expect("the server ends it");
    eventually("only the one with a stream is left", || async { server.connections.len() == 1 }).await;

    drop(idle);
    server.readiness.set(true);
    watch.message().await.expect("still open").expect("a status");
}
