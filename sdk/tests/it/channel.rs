//! Connections, headers, repeats and several servers.

use std::{collections::HashMap, time::Duration};

use freehold::Client;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::server::{Ca, Server};

fn refused(code: Code, reason: &str) -> Status {
    Status::with_error_details(code, "no", ErrorDetails::with_error_info(reason, "freehold.dev", HashMap::new()))
}

#[tokio::test]
async fn a_call_carries_its_headers_and_is_repeated_under_the_same_id() {
    let ca = Ca::new();
    let server = Server::start(&ca, &ca).await;
    let freehold = server.client(ca.credentials()).await;
    server.script.fail([refused(Code::Unavailable, "SERVER_DRAINING"), refused(Code::ResourceExhausted, "RATE_LIMITED")]);

    let caller = freehold.whoami().send().await.expect("the third try succeeds");

    assert_eq!(caller.principal, "tenants/acme/users/ada");
    let seen = server.script.seen();
    assert_eq!(seen.len(), 3);
    let header = |call: usize, name: &str| seen[call].get(name).and_then(|value| value.to_str().ok()).expect(name).to_owned();
    assert_eq!(header(0, "x-request-id"), header(2, "x-request-id"));
    assert_eq!(header(0, "x-freehold-tenant"), "acme");
    assert!(header(0, "x-freehold-client").starts_with("rust/"));
    assert!(header(0, "user-agent").starts_with("freehold-rust/"));
    assert!(seen[0].contains_key("grpc-timeout"));
    assert_eq!(server.script.connections(), 1, "one connection serves them all");
}

#[tokio::test]
async fn a_refusal_that_a_repeat_cannot_mend_is_returned_with_its_id() {
    let ca = Ca::new();
    let server = Server::start(&ca, &ca).await;
    let freehold = server.client(ca.credentials()).await;
    server.script.fail([refused(Code::PermissionDenied, "PERMISSION_MISSING")]);

    let error = freehold.whoami().send().await.expect_err("refused");

    assert!(error.is_permission_denied());
    assert_eq!(error.reason(), Some("PERMISSION_MISSING"));
    let sent = server.script.seen()[0].get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    assert_eq!(error.request_id(), sent.as_deref());
}

#[tokio::test]
async fn a_server_that_sends_its_clients_away_fails_no_call() {
    let ca = Ca::new();
    let server = Server::start(&ca, &ca).await;
    let freehold = server.client(ca.credentials()).await;
    for turn in 0..20 {
        let calls: Vec<_> = (0..8).map(|_| tokio::spawn(freehold.whoami().send())).collect();
        if turn % 2 == 1 {
            server.send_goaway();
        }
        for call in calls {
            call.await.expect("no panic").unwrap_or_else(|error| panic!("turn {turn}: {error}"));
        }
    }
    assert!(server.script.connections() > 3);
}

#[tokio::test]
async fn a_call_that_a_server_has_not_begun_because_it_stops_is_made_again() {
    let ca = Ca::new();
    let server = Server::start(&ca, &ca).await;
    // The exchange of a key is no call that could be repeated if it had been begun.
    let freehold = server.client(ca.credentials().api_key("fh_key")).await;
    server.script.turn_away(1);
    freehold.whoami().send().await.expect("it goes to the next connection");
    assert_eq!((server.script.connections(), server.script.exchanges(), server.script.seen().len()), (2, 1, 1));
    let freehold = server.client(ca.credentials()).await;
    server.script.turn_away(2);
    freehold.whoami().send().await.expect("it goes to the third connection");
}

#[tokio::test]
async fn with_several_servers_one_that_is_away_is_passed_over() {
    let ca = Ca::new();
    let (one, two) = (Server::start(&ca, &ca).await, Server::start(&ca, &ca).await);
    let endpoints = format!("{},{}", one.endpoint(), two.endpoint());
    let freehold = Client::builder(endpoints).credentials(ca.credentials()).build().await.expect("a client");
    freehold.whoami().send().await.expect("one of them answers");
    let (used, other) = if one.script.connections() == 1 { (one, two) } else { (two, one) };
    let gone = used.address;
    drop(used);
    // Wait until the port is closed, so that the next call meets a server that is away.
    let closed = async {
        while tokio::net::TcpStream::connect(gone).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("the port closes");

    for _ in 0..10 {
        freehold.whoami().send().await.expect("the other one answers");
    }
    assert_eq!(other.script.seen().len(), 10);
}

#[tokio::test]
async fn a_stream_goes_on_at_another_server_where_it_broke() {
    use futures::TryStreamExt as _;

    let ca = Ca::new();
    let (one, two) = (Server::start(&ca, &ca).await, Server::start(&ca, &ca).await);
    let endpoints = format!("{},{}", one.endpoint(), two.endpoint());
    let freehold = Client::builder(endpoints).credentials(ca.credentials()).tenant("acme").build().await.expect("a client");
    let run = freehold.runs().get("shop/dev/web/0199").send().await.expect("a run");
    let mut lines = run.logs();

    let mut next =
        async || tokio::time::timeout(Duration::from_secs(20), lines.try_next()).await.expect("in time").expect("no failure");
    assert_eq!(next().await.expect("a line").text, "line 0");
    let used = if one.script.connections() > 0 { one } else { two };
    drop(used);
    assert_eq!(next().await.expect("a line").text, "line 1");
}

#[tokio::test]
async fn a_server_in_trouble_is_not_asked_again_and_again() {
    let ca = Ca::new();
    let server = Server::start(&ca, &ca).await;
    let freehold = server.client(ca.credentials()).await;
    let tries = async |failures: usize| {
        let before = server.script.seen().len();
        server.script.fail(std::iter::repeat_n(refused(Code::Unavailable, "OVERLOADED"), failures));
        let answer = freehold.whoami().send().await;
        (server.script.seen().len() - before, answer.is_ok())
    };
    assert_eq!(tries(5).await, (5, false), "half the budget is for repeats");
    assert_eq!(tries(1).await, (1, false), "the other half is not");
    // 4 tokens are left; a failure must leave more than 5 for a repeat.
    for _ in 0..21 {
        assert_eq!(tries(0).await, (1, true));
    }
    assert_eq!(tries(1).await, (2, true), "success earns repeats");
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_address() {
    let ca = Ca::new();
    let server = Server::start(&ca, &ca).await;
    let (endpoint, client) = (server.endpoint(), server.client(ca.credentials()).await);
    drop(server);
    let error = client.whoami().deadline(Duration::from_millis(300)).send().await.expect_err("nobody there");
    assert!(error.is_unavailable() || error.is_deadline_exceeded());
    assert!(error.message().contains(&endpoint), "{error}");
}

#[cfg(feature = "raw")]
#[tokio::test]
async fn the_raw_channel_serves_generated_clients_with_and_without_repeats() {
    use freehold::raw::proto::iam::v1::{GetCallerIdentityRequest, token_service_client::TokenServiceClient};

    let ca = Ca::new();
    let server = Server::start(&ca, &ca).await;
    let channel = server.client(ca.credentials()).await.raw().expect("a channel");
    let call = async |repeats| {
        server.script.fail([refused(Code::Unavailable, "OVERLOADED")]);
        let mut client = TokenServiceClient::new(channel.clone().retries(repeats));
        client.get_caller_identity(GetCallerIdentityRequest {}).await.map_err(freehold::raw::error)
    };

    let answer = call(true).await.expect("the second try succeeds").into_inner();
    assert_eq!(answer.caller_identity.expect("an identity").principal, "tenants/acme/users/ada");
    assert_eq!(call(false).await.expect_err("one try").reason(), Some("OVERLOADED"));
    assert!(
        server
            .script
            .seen()
            .iter()
            .all(|headers| headers.contains_key("grpc-timeout") && headers.contains_key("x-freehold-tenant"))
    );
}
