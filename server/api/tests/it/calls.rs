//! What a call passes on its way, and what it takes along.

use std::{sync::atomic::Ordering, time::Duration};

use freehold_api::{layers::Rate, listener::Settings, policy::Surface};
use freehold_proto::{
    iam::v1::{ExchangeTokenRequest, GetCallerIdentityRequest, token_service_client::TokenServiceClient},
    meta::v1::{GetServerInfoRequest, server_info_service_client::ServerInfoServiceClient},
    runners::v1::{HeartbeatRequest, runner_service_client::RunnerServiceClient},
};
use futures::stream;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};
use tonic_types::StatusExt as _;

use crate::support::{ADA, Installation, MAX_MESSAGE, PATIENCE, eventually, exchange_within, logged};

#[tokio::test]
async fn a_call_is_named_in_its_answer_and_in_one_line_of_the_log() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let mut calls = TokenServiceClient::new(server.channel(&here.authority, Some(&here.client(ADA))).await);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mut request = Request::new(GetCallerIdentityRequest {});
    request.metadata_mut().insert("x-request-id", "call-is-named-1".parse().expect("valid"));
    request.metadata_mut().insert("traceparent", format!("00-{trace}-00f067aa0ba902b7-01").parse().expect("valid"));

    let answer = calls.get_caller_identity(request).await.expect("answered");

    assert_eq!(answer.metadata().get("x-request-id").expect("echoed"), "call-is-named-1");
    assert_eq!(answer.into_inner().caller_identity.expect("there").spiffe_id, trace, "the handler's caller knows the trace");
    eventually("the line is written", || async { !logged("call-is-named-1").is_empty() }).await;
    let lines = logged("call-is-named-1");
    let fields = &lines[0]["fields"];
    assert_eq!(lines.len(), 1);
    for (name, value) in [
        ("trace_id", trace),
        ("principal", ADA),
        ("tenant", "tenants/acme"),
        ("method", "/freehold.iam.v1.TokenService/GetCallerIdentity"),
        ("listener", "api"),
        ("code", "OK"),
    ] {
        assert_eq!(fields[name], value);
    }
    assert!(fields["duration_us"].as_u64().is_some_and(|duration| duration > 0));

    let mut bad = Request::new(GetCallerIdentityRequest {});
    bad.metadata_mut().insert("x-freehold-tenant", "Not An Id".parse().expect("valid"));
    let error = calls.get_caller_identity(bad).await.expect_err("no id");
    assert_eq!(error.get_details_bad_request().expect("there").field_violations[0].field, "x-freehold-tenant");
    let minted = error.metadata().get("x-request-id").expect("minted").to_str().expect("text");
    assert_eq!(error.get_details_request_info().expect("there").request_id, minted);
}

#[tokio::test]
async fn what_a_listener_does_not_have_is_unimplemented() {
    let here = Installation::new();
    let (api, runner) = (here.serve(Surface::Api).await, here.serve(Surface::Runner).await);
    let client = here.client("runnerPools/default/runners/r1");
    let mut wrong = RunnerServiceClient::new(api.channel(&here.authority, Some(&client)).await);
    assert_eq!(wrong.heartbeat(HeartbeatRequest::default()).await.expect_err("not here").code(), Code::Unimplemented);

    let channel = runner.channel(&here.authority, Some(&client)).await;
    let mut wrong = ServerInfoServiceClient::new(channel.clone());
    assert_eq!(wrong.get_server_info(GetServerInfoRequest {}).await.expect_err("not here").code(), Code::Unimplemented);
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.expect("everywhere");
}

#[tokio::test]
async fn a_deadline_cuts_a_stream() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let channel = server.channel(&here.authority, Some(&here.client(ADA))).await;
    let with_deadline = |value: &str| {
        let mut request = Request::new(HealthCheckRequest::default());
        request.metadata_mut().insert("grpc-timeout", value.parse().expect("valid"));
        request
    };

    let mut watch = HealthClient::new(channel.clone()).watch(with_deadline("1S")).await.expect("open").into_inner();
    watch.message().await.expect("a status").expect("a status");
    let cut = timeout(PATIENCE, watch.message()).await.expect("cut").expect_err("by the deadline");
    assert_eq!(cut.code(), Code::DeadlineExceeded);
    assert_eq!(cut.get_details_error_info().expect("there").reason, "DEADLINE_EXCEEDED");

    let wrong = HealthClient::new(channel).check(with_deadline("soon")).await.expect_err("not a timeout");
    assert_eq!(wrong.get_details_bad_request().expect("there").field_violations[0].field, "grpc-timeout");
}

#[tokio::test]
async fn a_handler_that_writes_goes_on_when_its_caller_hangs_up() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let mut calls = TokenServiceClient::new(server.channel(&here.authority, Some(&here.client(ADA))).await);
    let call = tokio::spawn(async move {
        calls.exchange_token(ExchangeTokenRequest { api_key: "wait".to_owned(), ..Default::default() }).await
    });
    timeout(PATIENCE, server.handlers.begun.notified()).await.expect("begun");

    call.abort();
    eventually("the connection is gone", || async { server.connections.is_empty() }).await;
    assert!(!server.handlers.done.load(Ordering::SeqCst));
    server.handlers.go_on.notify_one();

    server.tasks.close();
    timeout(PATIENCE, server.tasks.wait()).await.expect("a drain waits for it");
    assert!(server.handlers.done.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_handler_that_writes_goes_on_when_its_deadline_passes() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let mut calls = server.http2(&here.authority, &here.client(ADA)).await;
    let message = ExchangeTokenRequest { api_key: "wait".to_owned(), ..Default::default() }.encode_to_vec();
    let frame = [&[0, 0, 0, 0, u8::try_from(message.len()).expect("short")], message.as_slice()].concat();
    let body = Full::from(frame).map_err(|never| match never {});
    let call = tokio::spawn(calls.send_request(exchange_within("2S", body)));
    timeout(PATIENCE, server.handlers.begun.notified()).await.expect("begun");

    let late = timeout(PATIENCE, call).await.expect("at the deadline").expect("no panic").expect("answered");
    assert_eq!(late.headers()[Status::GRPC_STATUS], "4");
    assert!(!server.handlers.done.load(Ordering::SeqCst));
    server.handlers.go_on.notify_one();

    eventually("it came to its end", || async { server.handlers.done.load(Ordering::SeqCst) }).await;
}

#[tokio::test]
async fn a_panic_is_internal_and_harms_no_other_call() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let mut calls = TokenServiceClient::new(server.channel(&here.authority, Some(&here.client(ADA))).await);

    let fault = calls
        .exchange_token(ExchangeTokenRequest { api_key: "panic".to_owned(), ..Default::default() })
        .await
        .expect_err("it panics");

    assert_eq!(fault.code(), Code::Internal);
    assert!(!fault.message().contains("as asked"), "{}", fault.message());
    let id = fault.get_details_request_info().expect("there").request_id;
    assert!(logged(&id).iter().any(|line| line["fields"]["error"].as_str().is_some_and(|error| error.contains("as asked"))));
    calls.get_caller_identity(GetCallerIdentityRequest {}).await.expect("the same connection");
    assert_eq!(server.connections.len(), 1);
}

#[tokio::test]
async fn too_large_a_message_is_refused_by_its_name() {
    let here = Installation::new();
    let server = here.serve(Surface::Api).await;
    let mut calls = TokenServiceClient::new(server.channel(&here.authority, Some(&here.client(ADA))).await);

    let error = calls
        .exchange_token(ExchangeTokenRequest { api_key: "a".repeat(MAX_MESSAGE), ..Default::default() })
        .await
        .expect_err("too large");

    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(error.get_details_error_info().expect("there").reason, "MESSAGE_TOO_LARGE");
    calls
        .exchange_token(ExchangeTokenRequest { api_key: "a".repeat(MAX_MESSAGE / 2), ..Default::default() })
        .await
        .expect("the connection is sound");
}

#[tokio::test]
async fn who_asks_too_much_hears_when_to_come_back() {
    let here = Installation::new();
    let server = here.serve_with(Surface::Api, Settings::default(), Rate { per_second: 1, burst: 2 }).await;
    let mut ada = TokenServiceClient::new(server.channel(&here.authority, Some(&here.client(ADA))).await);
    let mut bob = TokenServiceClient::new(server.channel(&here.authority, Some(&here.client("tenants/acme/users/bob"))).await);
    let refused = async {
        loop {
            if let Err(error) = ada.get_caller_identity(GetCallerIdentityRequest {}).await {
                return error;
            }
        }
    };

    let error = timeout(PATIENCE, refused).await.expect("refused");

    assert_eq!(error.get_details_error_info().expect("there").reason, "RATE_LIMITED");
    let wait = error.get_details_retry_info().expect("there").retry_delay.expect("there");
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(2), "{wait:?}");
    bob.get_caller_identity(GetCallerIdentityRequest {}).await.expect("another bucket");
}

#[tokio::test]
async fn health_follows_readiness_and_is_patient_with_unknown_names() {
    let here = Installation::new();
    let server = here.serve(Surface::Admin).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr)).expect("valid");
    let addr = server.addr;
    let connector = tower::service_fn(move |_: http::Uri| async move {
        tokio::net::TcpStream::connect(addr).await.map(hyper_util::rt::TokioIo::new)
    });
    let mut health = HealthClient::new(endpoint.connect_with_connector(connector).await.expect("connected"));
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };

    let mut watch = health.watch(of("freehold.meta.v1.ServerInfoService")).await.expect("open").into_inner();
    let mut next = async || watch.message().await.expect("open").expect("a status").status();
    assert_eq!(next().await, ServingStatus::NotServing);
    server.readiness.set(true);
    assert_eq!(next().await, ServingStatus::Serving);
    server.readiness.set(false);
    assert_eq!(next().await, ServingStatus::NotServing);

    assert_eq!(health.check(of("")).await.expect("known").into_inner().status(), ServingStatus::NotServing);
    assert_eq!(health.check(of("freehold.liveness")).await.expect("known").into_inner().status(), ServingStatus::Serving);
    assert_eq!(health.check(of("nobody")).await.expect_err("unknown").code(), Code::NotFound);
    let mut unknown = health.watch(of("nobody")).await.expect("open").into_inner();
    assert_eq!(unknown.message().await.expect("open").expect("a status").status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn reflection_lists_what_the_listener_serves_and_needs_a_caller() {
    let here = Installation::new();
    let (api, web) = (here.serve(Surface::Api).await, here.serve(Surface::Web).await);
    let ask = |request| stream::iter([ServerReflectionRequest { host: String::new(), message_request: Some(request) }]);
    let mut reflection = ServerReflectionClient::new(api.channel(&here.authority, Some(&here.client(ADA))).await);
    let mut answer = async |request| {
        let mut answers = reflection.server_reflection_info(ask(request)).await.expect("open").into_inner();
        answers.message().await.expect("open").expect("an answer").message_response.expect("there")
    };

    let MessageResponse::ListServicesResponse(list) = answer(MessageRequest::ListServices(String::new())).await else {
        panic!("another answer");
    };
    let mut listed: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    listed.sort();
    let mut expected = Surface::Api.services();
    expected.extend(["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]);
    expected.sort_unstable();
    assert_eq!(listed, expected);
    for service in expected {
        let found = answer(MessageRequest::FileContainingSymbol(service.to_owned())).await;
        assert!(matches!(found, MessageResponse::FileDescriptorResponse(_)), "{service}");
    }

    let mut elsewhere = ServerReflectionClient::new(web.channel(&here.authority, None).await);
    let refused =
        elsewhere.server_reflection_info(ask(MessageRequest::ListServices(String::new()))).await.expect_err("not on web");
    assert_eq!(refused.code(), Code::Unimplemented);
}
