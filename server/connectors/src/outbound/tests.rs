//! The layer without a network, in time that a test makes.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use freehold_domain::time::{Timestamp, Uid};
use futures::future::join_all;

use super::*;
use crate::Credentials;

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(0)
    }
}

/// Draws all that can be drawn.
struct Most;

impl Random for Most {
    fn uid(&self) -> Uid {
        Uid(uuid::Uuid::nil())
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(255);
    }
}

fn limits() -> Limits {
    let breaker = BreakerLimits { failures: 1000, ..BreakerLimits::default() };
    let retry = RetryLimits { base: Duration::from_secs(1), cap: Duration::from_secs(3), ..RetryLimits::default() };
    Limits { rate: 1000.0, burst: 1000, breaker, retry, ..Limits::default() }
}

fn cx(limits: Limits) -> Context {
    let environment = Environment {
        policy: Arc::new(AddressPolicy::default()),
        lookup: Arc::new(SystemLookup),
        clock: Arc::new(Still),
        random: Arc::new(Most),
    };
    let outbound = Outbound::new("connections/test", "test", None, limits, environment).expect("a client can be made");
    Context::new(Arc::new(outbound), Value::Null, Arc::new(Credentials::none()))
}

/// Fails as it is told, then works; each try takes a second.
struct Script {
    effect: Effect,
    failures: Mutex<Vec<ConnectorError>>,
    tries: AtomicU32,
}

impl Script {
    fn new(effect: Effect, mut failures: Vec<ConnectorError>) -> Self {
        failures.reverse();
        Self { effect, failures: Mutex::new(failures), tries: AtomicU32::new(0) }
    }

    fn tries(&self) -> u32 {
        self.tries.load(Ordering::SeqCst)
    }
}

impl Attempt for Script {
    type Answer = ();

    fn call(&self) -> Call<'_> {
        Call { operation: "test", effect: self.effect, keyed: false, resource: "all" }
    }

    fn shown(&self) -> Value {
        json!("what would be sent")
    }

    fn once(&self) -> BoxFuture<'_, Result<(), ConnectorError>> {
        async move {
            self.tries.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_secs(1)).await;
            self.failures.lock().unwrap_or_else(PoisonError::into_inner).pop().map_or(Ok(()), Err)
        }
        .boxed()
    }
}

fn outage() -> ConnectorError {
    ConnectorError::new(ErrorKind::Transient, "an outage")
}

fn seconds(begun: Instant) -> u64 {
    begun.elapsed().as_secs_f64().round() as u64
}

#[tokio::test(start_paused = true)]
async fn waits_grow_up_to_their_cap_and_end_with_the_attempts() {
    let (cx, begun) = (cx(limits()), Instant::now());
    let script = Script::new(Effect::Read, vec![outage(); 3]);
    cx.outbound.make(&cx, &script).await.expect("the fourth try works");
    assert_eq!((script.tries(), seconds(begun)), (4, 4 + 1 + 2 + 3));

    let script = Script::new(Effect::Read, vec![outage(); 9]);
    cx.outbound.make(&cx, &script).await.expect_err("four tries are all");
    assert_eq!(script.tries(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_asks_for_time_gets_it_unless_there_is_none() {
    let throttled = |wait| ConnectorError::new(ErrorKind::Throttled, "slow down").after(Some(Duration::from_secs(wait)));
    let (cx, begun) = (cx(limits()), Instant::now());
    let script = Script::new(Effect::Unsafe, vec![throttled(20)]);
    cx.outbound.make(&cx, &script).await.expect("the second try works");
    assert_eq!((script.tries(), seconds(begun)), (2, 2 + 20 + 1));

    let (cx, begun) = (cx.within(Duration::from_secs(10)), Instant::now());
    let script = Script::new(Effect::Unsafe, vec![throttled(20)]);
    let halt = cx.outbound.make(&cx, &script).await.expect_err("there is no time");
    assert_eq!((script.tries(), seconds(begun)), (1, 1));
    assert_eq!(halt.failure().and_then(|error| error.retry_after), Some(Duration::from_secs(20)));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_happened_once_stays_possible() {
    let cx = cx(limits());
    let refused = ConnectorError::new(ErrorKind::Permanent, "no");
    let script = Script::new(Effect::Idempotent, vec![outage().maybe_done(true), refused.clone()]);
    let halt = cx.outbound.make(&cx, &script).await.expect_err("refused");
    assert_eq!(halt.failure().map(|error| (error.kind, error.maybe_done)), Some((ErrorKind::Permanent, true)));

    let script = Script::new(Effect::Unsafe, vec![outage().maybe_done(true), refused]);
    cx.outbound.make(&cx, &script).await.expect_err("nobody knows");
    assert_eq!(script.tries(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_multiplied() {
    let cx = cx(limits());
    let mut tries = 0;
    for _ in 0..40 {
        let script = Script::new(Effect::Read, vec![outage(); 9]);
        let cx = Context::new(Arc::clone(&cx.outbound), Value::Null, Arc::new(Credentials::none()));
        cx.outbound.make(&cx, &script).await.expect_err("an outage");
        tries += script.tries();
    }
    assert!((50..=60).contains(&tries), "40 calls made {tries} tries, of 160 that they could have made");
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_one_call_looks_and_the_others_are_told() {
    let breaker = BreakerLimits { failures: 2, open: Duration::from_secs(30), ..BreakerLimits::default() };
    let retry = RetryLimits { attempts: 1, ..RetryLimits::default() };
    let cx = cx(Limits { breaker, retry, ..limits() });
    for _ in 0..2 {
        cx.outbound.make(&cx, &Script::new(Effect::Read, vec![outage()])).await.expect_err("an outage");
    }
    sleep(Duration::from_secs(30)).await;
    let scripts: Vec<_> = (0..5).map(|_| Script::new(Effect::Read, Vec::new())).collect();
    let results = join_all(scripts.iter().map(|script| cx.outbound.make(&cx, script))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(scripts.iter().map(Script::tries).sum::<u32>(), 1);
    cx.outbound.make(&cx, &Script::new(Effect::Read, Vec::new())).await.expect("it is over");
    let figures = cx.outbound.snapshot();
    assert_eq!((figures.calls[&("test", "transient")], figures.calls[&("test", "circuit_open")]), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn callers_in_a_hurry_open_no_breaker() {
    let breaker = BreakerLimits { failures: 2, ..BreakerLimits::default() };
    let retry = RetryLimits { attempts: 1, ..RetryLimits::default() };
    let cx = cx(Limits { breaker, retry, ..limits() });
    let call = async |time| {
        let cx = Context::new(Arc::clone(&cx.outbound), Value::Null, Arc::new(Credentials::none())).within(time);
        cx.outbound.make(&cx, &Script::new(Effect::Read, vec![outage()])).await.expect_err("an outage");
        cx.outbound.snapshot().breaker
    };
    for _ in 0..5 {
        assert_eq!(call(Duration::from_millis(500)).await, BreakerState::Closed);
    }
    assert_eq!(call(Duration::from_secs(60)).await, BreakerState::Closed);
    assert_eq!(call(Duration::from_secs(60)).await, BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_reads_and_changes_nothing() {
    let cx = cx(limits()).dry_run();
    for effect in [Effect::Idempotent, Effect::Keyed, Effect::Unsafe] {
        let script = Script::new(effect, Vec::new());
        assert!(matches!(cx.outbound.make(&cx, &script).await, Err(Halt::Dry(_))), "{effect:?}");
        assert_eq!(script.tries(), 0);
    }
    let script = Script::new(Effect::Read, Vec::new());
    cx.outbound.make(&cx, &script).await.expect("it reads");
    assert_eq!(script.tries(), 1);
}
