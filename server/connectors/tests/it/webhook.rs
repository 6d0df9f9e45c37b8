//! Deliveries out and calls in.

use std::time::Duration;

use freehold_connectors::{Connector as _, Credentials, ErrorKind, InboundRequest, Limits, Reason, Replays, webhook::Webhook};
use freehold_fakes::{Fault, Receiver, Reply, Server};
use futures::future::FutureExt as _;
use serde_json::json;

use crate::{
    support::{Connection, NOW, at, limits},
    table::{Again, Bench, Page, Row, Token, run},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn connection(receiver: &Receiver, limits: Limits) -> Connection {
    let settings = json!({ "url": format!("{}/hooks?team=ops", receiver.server.url()), "headers": { "X-Team": "ops" } });
    Connection::with(Webhook::new(), &receiver.server, settings, Credentials::none().with("secret", SECRET), limits)
}

fn event(id: &str) -> serde_json::Value {
    json!({ "type": "run.applied", "id": id, "data": { "run": "runs/7" } })
}

#[tokio::test]
async fn a_delivery_is_proven_and_its_answer_kept_without_secrets() {
    let receiver = Receiver::start(SECRET).await;
    let connection = connection(&receiver, limits());

    let sent = connection.call("deliver", event("evt_1")).await;

    assert_eq!((&sent["id"], &sent["status"], &sent["outcome"]), (&json!("evt_1"), &json!(202), &json!("delivered")));
    assert_eq!(sent["body"], r#"{"accepted":"evt_1"}"#);
    assert_eq!(sent["headers"]["set-cookie"], "(hidden)");
    assert_eq!(
        receiver.deliveries(),
        [json!({ "type": "run.applied", "timestamp": at(NOW).to_string(), "data": { "run": "runs/7" } })]
    );
    let request = &receiver.server.requests()[0];
    assert_eq!((request.query("team"), request.header("x-team")), ("ops", "ops"));
    assert_eq!(request.header("webhook-timestamp"), NOW.to_string());
}

#[tokio::test]
async fn what_fails_is_repeated_under_its_id_so_that_it_arrives_once() {
    let receiver = Receiver::start(SECRET).await;
    let connection = connection(&receiver, Limits { request: Duration::from_secs(2), ..limits() });
    receiver.server.fail_next(Fault::status(503));
    receiver.server.fail_next(Fault::Silent);
    receiver.server.fail_next(Fault::Reply(Reply::text(429, "slow down").with("retry-after", 0)));

    let sent = connection.call("deliver", event("evt_1")).await;

    assert_eq!(sent["status"], 202);
    assert_eq!(receiver.server.requests().len(), 4);
    assert_eq!(receiver.deliveries().len(), 1, "the silent one had arrived already");
    assert_eq!(connection.outbound.snapshot().retries, 3);
}

#[tokio::test]
async fn answers_mean_what_they_say() {
    let receiver = Receiver::start(SECRET).await;
    let connection =
        connection(&receiver, Limits { retry: freehold_connectors::RetryLimits { attempts: 1, ..limits().retry }, ..limits() });
    let cases = [
        (410, ErrorKind::Permanent, Some("gone"), false),
        (400, ErrorKind::Invalid, None, false),
        (401, ErrorKind::Auth, None, false),
        (404, ErrorKind::NotFound, None, false),
        (302, ErrorKind::Permanent, None, false),
        (429, ErrorKind::Throttled, None, false),
        (500, ErrorKind::Transient, None, true),
        (501, ErrorKind::Transient, None, true),
    ];
    for (status, kind, code, maybe_done) in cases {
        let refusal = Reply::text(status, "no").with("x-request-id", "r-1").with("location", "/else");
        // Secrets that are refused are asked for once more.
        for _ in 0..if kind == ErrorKind::Auth { 2 } else { 1 } {
            receiver.server.fail_next(Fault::Reply(refusal.clone()));
        }
        let error = connection.invoke("deliver", event("evt_1")).await.expect_err("it fails");
        assert_eq!((error.kind, error.vendor_code.as_deref(), error.maybe_done), (kind, code, maybe_done), "{status}: {error}");
        assert_eq!((error.vendor_status, error.vendor_request_id.as_deref()), (Some(status), Some("r-1")));
        let answer = error.answer.expect("it is kept");
        assert_eq!(
            (&answer["status"], &answer["body"], &answer["headers"]["location"]),
            (&json!(status), &json!("no"), &json!("(hidden)"))
        );
    }
    assert_eq!(receiver.server.requests().len(), cases.len() + 1, "no redirect was followed");
}

#[tokio::test]
async fn a_key_is_replaced_without_losing_a_delivery() {
    let receiver = Receiver::start(SECRET).await;
    let mut connection = connection(&receiver, limits());
    connection.credentials = std::sync::Arc::new(Credentials::none().with("secret", NEXT).with("previous_secret", SECRET));

    connection.call("deliver", event("evt_1")).await;
    receiver.change_secret(NEXT);
    connection.call("deliver", event("evt_2")).await;

    assert_eq!(receiver.deliveries().len(), 2);
}

#[tokio::test]
async fn a_dry_run_sends_nothing_and_says_what_it_would() {
    let receiver = Receiver::start(SECRET).await;
    let connection = connection(&receiver, limits());

    let cx = connection.cx().dry_run();
    let would = connection.connector.invoke(&cx, "deliver", event("evt_1")).await.expect("a dry run is an answer");

    assert_eq!((&would["dry_run"], &would["request"]["method"]), (&json!(true), &json!("POST")));
    assert_eq!(would["request"]["body"]["data"]["run"], "runs/7");
    assert_eq!(receiver.server.requests(), []);
}

#[tokio::test]
async fn a_test_says_whether_it_works() {
    let receiver = Receiver::start(SECRET).await;
    let mut connection = connection(&receiver, limits());
    let report = connection.connector.test(&connection.cx()).await;
    assert!(report.ok, "{report:?}");

    connection.credentials = std::sync::Arc::new(Credentials::none().with("secret", NEXT));
    let report = connection.connector.test(&connection.cx()).await;
    assert_eq!((report.ok, report.error.map(|error| error.kind)), (false, Some(ErrorKind::Auth)));
}

#[test]
fn settings_are_told_everything_that_is_wrong_with_them() {
    let settings = json!({
        "url": "ftp://x", "headers": { "Authorization": "secret", "X Y": "z" }, "receive": { "scheme": "hmac" }, "surplus": 1,
    });
    let found = Webhook::new().check(&settings);
    let fields: Vec<_> = found.iter().map(|one| one.field.as_str()).collect();
    assert_eq!(fields, ["url", "surplus", "receive.header", "headers.Authorization", "headers.X Y"], "{found:#?}");
}

/// As GitLab, Stripe and others sign: HMAC-SHA256 in hex of the time, a dot and the body.
fn signed(secret: &str, seconds: i64, body: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = ring::hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn forged_late_and_repeated_calls_do_nothing() {
    let settings = json!({ "receive": {
        "scheme": "hmac", "header": "X-Signature", "prefix": "sha256=", "timestamp_header": "X-Time", "id_header": "X-Id",
        "kind_from": "$.event.name", "tolerance_seconds": 60,
    } });
    let webhook = Webhook::new();
    assert_eq!(webhook.check(&settings), []);
    let credentials = Credentials::none().with("receive_secret", "open sesame");
    let call = |secret: &str, signed_at: i64, received: i64, id: &str, body: &str, sent: &str| InboundRequest {
        headers: [
            ("x-signature", format!("sha256={}", signed(secret, signed_at, body))),
            ("x-time", signed_at.to_string()),
            ("x-id", id.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec(),
        body: sent.as_bytes().to_vec(),
        received: at(received),
    };
    let body = r#"{"event":{"name":"pushed"}}"#;
    let replays = Replays::new(Duration::from_secs(120));
    let accepted = |request: &InboundRequest| {
        webhook.verify(&settings, &credentials, request).map(|inbound| replays.first(&inbound, request.received))
    };

    let good = call("open sesame", NOW, NOW + 5, "d-1", body, body);
    assert_eq!(accepted(&good), Ok(true));
    assert_eq!(webhook.verify(&settings, &credentials, &good).expect("good").kind, "pushed");

    assert_eq!(accepted(&good), Ok(false), "the same once more");
    assert_eq!(accepted(&call("open sesame", NOW, NOW + 6, "d-2", body, body)), Ok(false), "the same under another id");
    let refused = [
        (call("guessed", NOW, NOW, "d-3", body, body), Reason::Forged),
        (call("open sesame", NOW, NOW, "d-3", body, "{}"), Reason::Forged),
        (call("open sesame", NOW, NOW + 61, "d-3", body, body), Reason::Late),
        (call("open sesame", NOW + 61, NOW, "d-3", body, body), Reason::Late),
        (InboundRequest { headers: Vec::new(), ..good.clone() }, Reason::Missing),
    ];
    for (request, reason) in refused {
        assert_eq!(accepted(&request).map_err(|refused| refused.reason), Err(reason), "{request:?}");
    }
    let changed = Credentials::none().with("receive_secret", "next").with("previous_receive_secret", "open sesame");
    assert!(webhook.verify(&settings, &changed, &good).is_ok(), "the one before it");
    let none = webhook.verify(&settings, &Credentials::none(), &good).expect_err("there is no secret");
    assert_eq!(none.reason, Reason::Unconfigured);
}

struct ReceiverBench(Receiver, Connection);

impl Bench for ReceiverBench {
    fn connection(&self) -> &Connection {
        &self.1
    }
    fn server(&self) -> &Server {
        &self.0.server
    }
    fn revoke(&self) {
        self.0.change_secret(NEXT);
    }
    fn throttled(&self) -> Fault {
        Fault::Reply(Reply::text(429, "slow down").with("retry-after", 0))
    }
    fn fill(&self) {}
}

#[tokio::test]
async fn every_operation_under_every_answer() {
    let make = || {
        async {
            let receiver = Receiver::start(SECRET).await;
            let connection = connection(&receiver, limits());
            Box::new(ReceiverBench(receiver, connection)) as Box<dyn Bench>
        }
        .boxed()
    };
    let row = Row {
        operation: "deliver",
        input: event("evt_1"),
        path: "POST /hooks",
        page: Page::No("it changes something, and has no pages"),
        again: Again::Works,
        token: Token::Needed,
    };
    let tally = run(make, vec![row]).await;
    assert_eq!((tally.run, tally.senseless.len()), (6, 1), "{tally:#?}");
}
