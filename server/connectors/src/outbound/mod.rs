//! The one way out: every request of every connector goes through the [`Outbound`] of its connection.
//!
//! In this order: a dry run stops what would change something; the queue is bounded; the bucket keeps the pace; the bulkhead bounds
//! what is under way; the breaker refuses what failed all along; the request goes out with limits on time and size; the answer is
//! judged, and what failed is repeated where that does no harm, within a budget and before the deadline of the call.

mod breaker;
mod bucket;
mod client;
mod metrics;
mod request;
mod resolver;
mod retry;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use freehold_domain::{
    network::AddressPolicy,
    time::{Clock, Random},
};
use futures::future::{BoxFuture, FutureExt as _};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};

use crate::{ConnectorError, Context, Effect, ErrorKind, Halt};
use breaker::Breaker;
pub use breaker::{BreakerLimits, BreakerState};
use bucket::Bucket;
pub(crate) use bucket::{Reach, Window};
pub(crate) use client::{certificate, refused};
use metrics::Metrics;
pub use metrics::{LATENCY_BOUNDS, Snapshot};
pub(crate) use request::{Answer, Dialect, Request, by_status};
pub(crate) use resolver::{Checked, Unresolved};
pub use resolver::{Lookup, SystemLookup};
use retry::Budget;
pub use retry::RetryLimits;

/// The longest wait that anybody is told of.
pub(crate) const A_DAY: Duration = Duration::from_secs(86_400);

/// How much a connection does at once, how fast, and how patiently.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests a second, on average.
    pub rate: f64,
    /// Requests that may go at once.
    pub burst: u32,
    /// Requests under way at most.
    pub in_flight: usize,
    /// Calls that may wait for their turn; more are refused.
    pub waiting: usize,
    /// How long one request may take.
    pub request: Duration,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long an idle socket is kept.
    pub idle: Duration,
    /// Repetition.
    pub retry: RetryLimits,
    /// Giving up.
    pub breaker: BreakerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate: 20.0,
            burst: 40,
            in_flight: 8,
            waiting: 64,
            request: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            retry: RetryLimits::default(),
            breaker: BreakerLimits::default(),
        }
    }
}

/// What all connections of a process have in common.
#[derive(Clone)]
pub struct Environment {
    /// Where they may connect to. Plain HTTP and mail in the open are spoken only where private addresses may be reached.
    pub policy: Arc<AddressPolicy>,
    /// How they find addresses.
    pub lookup: Arc<dyn Lookup>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness of waits and of keys.
    pub random: Arc<dyn Random>,
}

/// The way out of one connection: its sockets, its pace, its breaker, its figures.
pub struct Outbound {
    pub(crate) environment: Environment,
    pub(crate) limits: Limits,
    connection: String,
    kind: &'static str,
    client: Client,
    bucket: Bucket,
    breaker: Breaker,
    budget: Budget,
    slots: Semaphore,
    /// Calls that wait or are under way.
    inside: AtomicUsize,
    metrics: Metrics,
    /// What a connector remembers of this connection.
    memory: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Outbound {
    /// The way out of a connection. `ca_bundle` holds authorities in PEM that are trusted besides the public ones.
    ///
    /// # Errors
    /// `Unconfigured` when the bundle cannot be read, or the machine has no trusted authorities.
    pub fn new(
        connection: &str,
        kind: &'static str,
        ca_bundle: Option<&str>,
        limits: Limits,
        environment: Environment,
    ) -> Result<Self, ConnectorError> {
        let client = client::build(ca_bundle, &limits, &environment)?;
        Ok(Self {
            client,
            bucket: Bucket::new(limits.rate, limits.burst),
            breaker: Breaker::new(limits.breaker),
            budget: Budget::new(),
            slots: Semaphore::new(limits.in_flight),
            inside: AtomicUsize::new(0),
            metrics: Metrics::default(),
            memory: OnceLock::new(),
            environment,
            limits,
            connection: connection.to_owned(),
            kind,
        })
    }

    /// Its figures as they are now.
    pub fn snapshot(&self) -> Snapshot {
        let in_flight = self.limits.in_flight.saturating_sub(self.slots.available_permits());
        Snapshot {
            connection: self.connection.clone(),
            kind: self.kind,
            breaker: self.breaker.state(),
            remaining: self.bucket.remaining(),
            in_flight,
            waiting: self.inside.load(Ordering::Relaxed).saturating_sub(in_flight),
            ..self.metrics.snapshot()
        }
    }

    /// What the connector remembers of this connection; made at the first call.
    pub(crate) fn memory<T: Any + Default + Send + Sync>(&self) -> Arc<T> {
        let memory = self.memory.get_or_init(|| Arc::new(T::default()));
        Arc::clone(memory).downcast().unwrap_or_default()
    }

    /// Sends a request, as often as that takes and may be.
    pub(crate) async fn send(&self, cx: &Context, dialect: &dyn Dialect, request: Request) -> Result<Answer, Halt> {
        client::check_url(&self.environment.policy, &request.url)?;
        self.make(cx, &Exchange { outbound: self, cx, dialect, request: &request }).await
    }

    /// Makes attempts under every limit of the connection. What an attempt is, the caller says: mail is none of HTTP's.
    pub(crate) async fn make<A: Attempt>(&self, cx: &Context, attempt: &A) -> Result<A::Answer, Halt> {
        let call = attempt.call();
        if cx.dry_run && call.effect != Effect::Read {
            return Err(Halt::Dry(json!({ "dry_run": true, "operation": call.operation, "request": attempt.shown() })));
        }
        let result = self.repeated(cx.deadline, &call, attempt).await;
        self.metrics.called(call.operation, result.as_ref().err().map(|error| error.kind));
        Ok(result?)
    }

    async fn repeated<A: Attempt>(&self, deadline: Instant, call: &Call<'_>, attempt: &A) -> Result<A::Answer, ConnectorError> {
        let (random, retry) = (self.environment.random.as_ref(), &self.limits.retry);
        self.budget.earn();
        let mut made = 0;
        let mut maybe_done = false;
        loop {
            let error = match self.admitted(deadline, call.resource, attempt).await {
                Ok(answer) => return Ok(answer),
                Err(mut error) => {
                    // What an earlier attempt may have done stays possible, whatever became of a later one.
                    maybe_done |= error.maybe_done;
                    error.maybe_done = maybe_done;
                    error
                }
            };
            made += 1;
            if made >= retry.attempts || !retry::repeatable(call.effect, call.keyed, &error) {
                return Err(error);
            }
            let Some(wait) = retry.wait(random, made, error.retry_after) else { return Err(error) };
            if Instant::now() + wait >= deadline || !self.budget.spend() {
                return Err(error);
            }
            self.metrics.retried();
            sleep(wait).await;
        }
    }

    /// One attempt, once queue, bucket, bulkhead and breaker let it through.
    async fn admitted<A: Attempt>(&self, deadline: Instant, resource: &str, attempt: &A) -> Result<A::Answer, ConnectorError> {
        let most = self.limits.in_flight + self.limits.waiting;
        let _place = Place::take(&self.inside, most).ok_or_else(|| busy("too many calls of this connection wait"))?;
        // Before the bulkhead, so that calls that wait for one limit of the vendor do not keep those of another from going.
        let _turn = self.bucket.take(resource, deadline).await.map_err(|wait| {
            let message = format!("the limit of the vendor leaves no call for {} s", wait.as_secs().max(1));
            ConnectorError::new(ErrorKind::Throttled, message).after(Some(wait))
        })?;
        let slot = timeout_at(deadline, self.slots.acquire()).await.map_err(|_| busy("the calls before it took too long"))?;
        let _slot = slot.map_err(|_| busy("the connection is closed"))?;
        // Asked last: a probe that waited for its turn would keep all others out meanwhile.
        let admission = self.breaker.admit().map_err(|wait| {
            let message = "not sent, because the calls before it failed; it is tried again by itself";
            ConnectorError::new(ErrorKind::CircuitOpen, message).after(Some(wait))
        })?;
        let begun = Instant::now();
        let result = attempt.once().await;
        self.metrics.requested(begun.elapsed());
        // A caller that was in a hurry says nothing about the vendor either.
        let hurried = Instant::now() >= deadline && begun.elapsed() < self.limits.request;
        match &result {
            Err(error) if error.kind == ErrorKind::Transient && hurried => {}
            Err(error) if error.kind == ErrorKind::Transient => admission.report(false),
            // It was never sent: that says nothing about the vendor.
            Err(error) if error.vendor_status.is_none() => {}
            _ => admission.report(true),
        }
        result
    }
}

fn busy(what: &str) -> ConnectorError {
    let wait = Duration::from_secs(1);
    ConnectorError::new(ErrorKind::Throttled, format!("not sent: {what}; call again later")).after(Some(wait))
}

/// What the layer must know of a call.
pub(crate) struct Call<'a> {
    pub operation: &'static str,
    pub effect: Effect,
    pub keyed: bool,
    pub resource: &'a str,
}

/// Something that is done once or more often.
pub(crate) trait Attempt: Sync {
    /// What comes of it.
    type Answer: Send;

    /// What the layer must know.
    fn call(&self) -> Call<'_>;

    /// What a person sees of it in a dry run.
    fn shown(&self) -> Value;

    /// Does it once.
    fn once(&self) -> BoxFuture<'_, Result<Self::Answer, ConnectorError>>;
}

/// A request over HTTP.
struct Exchange<'a> {
    outbound: &'a Outbound,
    cx: &'a Context,
    dialect: &'a dyn Dialect,
    request: &'a Request,
}

impl Attempt for Exchange<'_> {
    type Answer = Answer;

    fn call(&self) -> Call<'_> {
        let Request { operation, effect, keyed, resource, .. } = self.request;
        Call { operation, effect: *effect, keyed: *keyed, resource }
    }

    fn shown(&self) -> Value {
        self.request.shown()
    }

    fn once(&self) -> BoxFuture<'_, Result<Answer, ConnectorError>> {
        self.exchange().boxed()
    }
}

impl Exchange<'_> {
    /// Sends it, reads all of the answer, and learns what it says.
    async fn exchange(&self) -> Result<Answer, ConnectorError> {
        let Self { outbound, cx, dialect, request } = self;
        let limit = cx.deadline.min(Instant::now() + outbound.limits.request);
        let answer = match timeout_at(limit, client::exchange(&outbound.client, dialect.vendor(), request)).await {
            Ok(answer) => answer?,
            Err(_) => {
                let message = format!("{} did not answer in time", dialect.vendor());
                return Err(ConnectorError::new(ErrorKind::Transient, message).maybe_done(request.effect != Effect::Read));
            }
        };
        let now = outbound.environment.clock.now();
        if let Some(window) = dialect.window(&answer, now) {
            outbound.bucket.learn(&window);
        }
        let Some(mut error) = dialect.judge(request, &answer, now).or_else(|| client::garbage(*dialect, request, &answer)) else {
            return Ok(answer);
        };
        error.retry_after = error.retry_after.map(|wait| wait.min(A_DAY));
        error.vendor_status = Some(answer.status);
        error.vendor_request_id = answer.header(dialect.request_id()).map(Box::from);
        if let Some(wait) = error.retry_after.filter(|_| error.kind == ErrorKind::Throttled) {
            outbound.bucket.pause(request.resource, dialect.reach(&error), wait);
        }
        Err(error)
    }
}

/// A place among the calls that wait or are under way.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(inside: &'a AtomicUsize, most: usize) -> Option<Self> {
        let more = |now: usize| (now < most).then_some(now + 1);
        inside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok().then(|| Self(inside))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
