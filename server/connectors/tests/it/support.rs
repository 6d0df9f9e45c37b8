//! What the tests have in common: a clock that they set, limits that do not keep them waiting, and calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use freehold_connectors::{
    BreakerLimits, Connector, ConnectorError, Context, CredentialSource, Credentials, Environment, Limits, Outbound, RetryLimits,
    SystemLookup,
};
use freehold_domain::{
    network::AddressPolicy,
    time::{Clock, Random, Timestamp, Uid},
};
use freehold_fakes::Server;
use serde_json::Value;

/// Sunday, 2025-06-15 15:06:40 UTC, until a test moves it.
pub const NOW: i64 = 1_750_000_000;

pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(NOW)))
    }

    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        at(self.0.load(Ordering::SeqCst))
    }
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Draws in the middle.
pub struct TestRandom;

impl Random for TestRandom {
    fn uid(&self) -> Uid {
        Uid(uuid::Uuid::now_v7())
    }

    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0x80);
    }
}

pub fn environment(clock: Arc<dyn Clock>) -> Environment {
    Environment {
        policy: Arc::new(AddressPolicy::new(&[], true)),
        lookup: Arc::new(SystemLookup),
        clock,
        random: Arc::new(TestRandom),
    }
}

/// Patient enough for a busy machine where an answer comes, and short where none does.
pub fn limits() -> Limits {
    Limits {
        rate: 10_000.0,
        burst: 10_000,
        request: Duration::from_secs(20),
        retry: RetryLimits { base: Duration::from_millis(1), longest: Duration::from_secs(5), ..RetryLimits::default() },
        breaker: BreakerLimits { failures: 1000, ..BreakerLimits::default() },
        ..Limits::default()
    }
}

/// A connection to a fake.
pub struct Connection {
    pub connector: Arc<dyn Connector>,
    pub outbound: Arc<Outbound>,
    pub settings: Value,
    pub credentials: Arc<dyn CredentialSource>,
    pub clock: Arc<TestClock>,
}

impl Connection {
    pub fn new(connector: impl Connector + 'static, server: &Server, settings: Value, credentials: Credentials) -> Self {
        Self::with(connector, server, settings, credentials, limits())
    }

    pub fn with(
        connector: impl Connector + 'static,
        server: &Server,
        mut settings: Value,
        credentials: Credentials,
        limits: Limits,
    ) -> Self {
        settings["ca_bundle"] = server.ca().into();
        assert_eq!(connector.check(&settings), [], "the settings of a test are right");
        let clock = TestClock::new();
        let kind = connector.manifest().kind;
        let outbound = Outbound::new("connections/test", kind, Some(server.ca()), limits, environment(Arc::clone(&clock) as _));
        let outbound = Arc::new(outbound.expect("a client can be made"));
        Self { connector: Arc::new(connector), outbound, settings, credentials: Arc::new(credentials), clock }
    }

    pub fn cx(&self) -> Context {
        Context::new(Arc::clone(&self.outbound), self.settings.clone(), Arc::clone(&self.credentials))
            .within(Duration::from_secs(60))
    }

    pub async fn invoke(&self, operation: &str, input: Value) -> Result<Value, ConnectorError> {
        self.connector.invoke(&self.cx(), operation, input).await
    }

    /// Calls an operation that must work.
    pub async fn call(&self, operation: &str, input: Value) -> Value {
        self.invoke(operation, input).await.unwrap_or_else(|error| panic!("{operation} failed: {error:?}"))
    }
}
