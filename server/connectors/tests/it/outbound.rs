//! The one way out, over real sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use freehold_connectors::{
    BreakerLimits, BreakerState, ConnectorError, CredentialSource, Credentials, ErrorKind, Limits, Registry, RetryLimits,
    webhook::Webhook,
};
use freehold_fakes::{Fault, Receiver, Reply};
use futures::future::{BoxFuture, FutureExt as _, join_all};
use serde_json::{Value, json};

use crate::support::{Connection, TestClock, environment, limits};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn event(id: usize) -> Value {
    json!({ "type": "t", "id": format!("evt_{id}"), "data": {} })
}

async fn with(limits: Limits) -> (Receiver, Connection) {
    let receiver = Receiver::start(SECRET).await;
    let settings = json!({ "url": receiver.server.url() });
    let connection =
        Connection::with(Webhook::new(), &receiver.server, settings, Credentials::none().with("secret", SECRET), limits);
    (receiver, connection)
}

#[tokio::test]
async fn a_hundred_calls_share_a_few_sockets() {
    let (receiver, connection) = with(Limits { in_flight: 4, waiting: 100, ..limits() }).await;

    let sent = join_all((0..100).map(|id| connection.invoke("deliver", event(id)))).await;

    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(receiver.deliveries().len(), 100);
    assert!(receiver.server.sockets() <= 4, "{} sockets", receiver.server.sockets());
    let figures = connection.outbound.snapshot();
    assert_eq!((figures.requests, figures.calls[&("deliver", "ok")], figures.in_flight, figures.waiting), (100, 100, 0, 0));
    assert!(figures.latency.is_sorted() && figures.latency[figures.latency.len() - 1] <= 100);
}

#[tokio::test]
async fn who_finds_the_queue_full_is_told_so_at_once() {
    let (receiver, connection) = with(Limits { in_flight: 1, waiting: 1, retry: once(), ..limits() }).await;
    for _ in 0..2 {
        receiver.server.fail_next(Fault::Slow(Duration::from_millis(200)));
    }

    let sent = join_all((0..5).map(|id| connection.invoke("deliver", event(id)))).await;

    let refused: Vec<_> = sent.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|error| error.kind == ErrorKind::Throttled && !error.maybe_done), "{refused:?}");
}

fn once() -> RetryLimits {
    RetryLimits { attempts: 1, ..limits().retry }
}

#[tokio::test]
async fn an_outage_opens_the_breaker_and_its_end_closes_it() {
    let breaker = BreakerLimits { failures: 3, open: Duration::from_secs(1), longest: Duration::from_secs(5) };
    let (receiver, connection) = with(Limits { breaker, retry: once(), ..limits() }).await;
    for id in 0..3 {
        receiver.server.fail_next(Fault::status(503));
        assert_eq!(connection.invoke("deliver", event(id)).await.expect_err("an outage").kind, ErrorKind::Transient);
    }
    assert_eq!(connection.outbound.snapshot().breaker, BreakerState::Open);
    let refused = connection.invoke("deliver", event(3)).await.expect_err("not sent");
    assert_eq!((refused.kind, refused.maybe_done), (ErrorKind::CircuitOpen, false));
    assert!(refused.retry_after.is_some_and(|wait| wait <= breaker.open));
    assert_eq!(receiver.server.requests().len(), 3);

    while connection.outbound.snapshot().breaker != BreakerState::HalfOpen {
        tokio::task::yield_now().await;
    }
    connection.call("deliver", event(4)).await;
    assert_eq!(connection.outbound.snapshot().breaker, BreakerState::Closed);
}

#[tokio::test]
async fn an_answer_that_is_too_long_cut_or_not_trusted_is_no_answer() {
    let (receiver, mut connection) = with(Limits { retry: once(), ..limits() }).await;
    receiver.server.fail_next(Fault::Reply(Reply::text(200, vec![b'x'; (1 << 20) + 1])));
    let long = connection.invoke("deliver", event(1)).await.expect_err("too long");
    assert_eq!((long.kind, long.maybe_done), (ErrorKind::Permanent, true));

    receiver.server.fail_next(Fault::Cut);
    let cut = connection.invoke("deliver", event(2)).await.expect_err("cut");
    assert_eq!((cut.kind, cut.maybe_done), (ErrorKind::Transient, true));

    let stranger = Receiver::start(SECRET).await;
    connection.settings["url"] = stranger.server.url().into();
    let error = connection.invoke("deliver", event(3)).await.expect_err("nobody knows its authority");
    assert_eq!((error.kind, error.maybe_done), (ErrorKind::Permanent, false), "{error}");
    assert!(error.message.contains("ca_bundle"), "{error}");
    assert_eq!(stranger.server.requests(), []);
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_whatever_it_waits_for() {
    let (receiver, connection) = with(limits()).await;
    connection.call("deliver", event(0)).await;
    receiver.server.fail_next(Fault::Silent);
    let cx = connection.cx().within(Duration::from_secs(1));
    let error = connection.connector.invoke(&cx, "deliver", event(1)).await.expect_err("nobody answers");
    assert_eq!((error.kind, error.maybe_done), (ErrorKind::Transient, true));

    receiver.server.fail_next(Fault::Reply(Reply::text(429, "").with("retry-after", 300)));
    let cx = connection.cx().within(Duration::from_secs(20));
    let error = connection.connector.invoke(&cx, "deliver", event(2)).await.expect_err("too late");
    assert_eq!((error.kind, error.retry_after), (ErrorKind::Throttled, Some(Duration::from_secs(300))));

    let error =
        connection.connector.invoke(&connection.cx(), "deliver", event(3)).await.expect_err("the vendor asked for a pause");
    assert_eq!((error.kind, receiver.server.requests().len()), (ErrorKind::Throttled, 3), "it is not even asked");
}

#[tokio::test]
async fn no_vendor_keeps_us_away_for_ever() {
    let (receiver, connection) = with(Limits { retry: once(), ..limits() }).await;
    for wait in [u64::MAX.to_string(), "Fri, 31 Dec 9999 23:59:59 GMT".to_owned(), "-1".to_owned(), "soon".to_owned()] {
        receiver.server.fail_next(Fault::Reply(Reply::text(503, "").with("retry-after", wait)));
        let error = connection.invoke("deliver", event(1)).await.expect_err("an outage");
        assert!(error.retry_after.is_none_or(|wait| wait <= Duration::from_secs(86_400)), "{error:?}");
    }
    receiver.server.fail_next(Fault::Reply(Reply::text(429, "").with("retry-after", u64::MAX)));
    connection.invoke("deliver", event(1)).await.expect_err("too many");
    let paused = connection.invoke("deliver", event(2)).await.expect_err("a pause");
    assert!(paused.retry_after.is_some_and(|wait| wait <= Duration::from_secs(2 * 3600)), "{paused:?}");
}

#[tokio::test]
async fn no_secret_is_in_an_error_whatever_the_vendor_repeats() {
    let (receiver, mut connection) = with(Limits { retry: once(), ..limits() }).await;
    let credentials = Credentials::none().with("secret", SECRET).with("authorization", "Bearer hunter2hunter2");
    connection.credentials = Arc::new(credentials);
    let echo = json!({ "message": "no access for Bearer hunter2hunter2", "request": "hunter2hunter2" });
    receiver.server.fail_next(Fault::Reply(Reply::json(403, &echo).with("x-request-id", "Bearer hunter2hunter2")));

    let error = connection.invoke("deliver", event(1)).await.expect_err("refused");

    assert_eq!(error.kind, ErrorKind::Permission);
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("hunter2hunter2") && text.contains("(hidden)"), "{text}");
    }
}

#[tokio::test]
async fn input_is_told_everything_that_is_wrong_with_it_and_nothing_is_sent() {
    let (receiver, connection) = with(limits()).await;
    let error = connection.invoke("deliver", json!({ "id": "no spaces", "data": [] })).await.expect_err("wrong");
    let fields: Vec<_> = error.violations.iter().map(|one| one.field.as_str()).collect();
    assert_eq!((error.kind, fields), (ErrorKind::Invalid, vec!["type", "id", "data"]));
    let error = connection.invoke("levitate", json!({})).await.expect_err("there is no such thing");
    assert!(error.message.contains("there are deliver"), "{error}");
    assert_eq!(receiver.server.requests(), []);
}

/// Gives another secret whenever it is asked for a fresh one.
struct Rotating(AtomicUsize);

impl CredentialSource for Rotating {
    fn get(&self, fresh: bool) -> BoxFuture<'_, Result<Credentials, ConnectorError>> {
        async move {
            let asked = self.0.fetch_add(usize::from(fresh), Ordering::SeqCst) + usize::from(fresh);
            Ok(Credentials::none().with("secret", if asked == 0 { "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" } else { SECRET }))
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_secret_that_has_changed_meanwhile_is_asked_for_once_more() {
    let (receiver, mut connection) = with(limits()).await;
    let source = Arc::new(Rotating(AtomicUsize::new(0)));
    connection.credentials = Arc::clone(&source) as _;

    connection.call("deliver", event(1)).await;

    assert_eq!((source.0.load(Ordering::SeqCst), receiver.server.requests().len()), (1, 2));
}

#[tokio::test]
async fn there_is_one_way_out_for_each_connection_and_version() {
    let registry = Registry::new(environment(TestClock::new()));
    let settings = json!({ "url": "https://hooks.example" });
    let open = |version| registry.open("connections/a", version, "webhook", &settings);
    let first = open(1).expect("opens");
    assert!(Arc::ptr_eq(&first, &open(1).expect("opens")));
    let second = open(2).expect("opens");
    assert!(!Arc::ptr_eq(&first, &second));
    assert_eq!(open(1).err().map(|error| error.kind), Some(ErrorKind::Conflict), "a version that was replaced");
    assert_eq!(registry.snapshots().len(), 1);
    registry.close("connections/a");
    assert!(registry.snapshots().is_empty());

    let unknown = registry.open("connections/b", 1, "telegraph", &settings).err().expect("there is none");
    assert_eq!(unknown.kind, ErrorKind::Unconfigured);
    let wrong = registry.open("connections/b", 1, "webhook", &json!({ "url": 7 })).err().expect("wrong");
    assert_eq!((wrong.kind, wrong.violations.len()), (ErrorKind::Unconfigured, 1));
}
