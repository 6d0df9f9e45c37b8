//! What an operator sees of one connection.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{ErrorKind, outbound::BreakerState};

/// Upper bounds of the buckets of latency, in seconds; what took longer is in none but the count.
pub const LATENCY_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// The figures of one connection since it was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Id of the connection.
    pub connection: String,
    /// Which connector it is of.
    pub kind: &'static str,
    /// Calls by operation and outcome: `ok`, or a name of [`ErrorKind`].
    pub calls: BTreeMap<(&'static str, &'static str), u64>,
    /// Requests that were sent again.
    pub retries: u64,
    /// How long requests took, each bucket with those that were no slower than its bound in [`LATENCY_BOUNDS`].
    pub latency: [u64; LATENCY_BOUNDS.len()],
    /// Requests that were sent.
    pub requests: u64,
    /// How long they took together.
    pub took: Duration,
    /// What the breaker does.
    pub breaker: BreakerState,
    /// Calls that the vendor says are left, in its smallest window.
    pub remaining: Option<u64>,
    /// Requests under way.
    pub in_flight: usize,
    /// Calls that wait for their turn.
    pub waiting: usize,
}

impl Snapshot {
    /// Adds what another connection has counted.
    pub fn add(&mut self, other: &Self) {
        for (call, count) in &other.calls {
            *self.calls.entry(*call).or_default() += count;
        }
        self.latency.iter_mut().zip(other.latency).for_each(|(sum, count)| *sum += count);
        self.retries += other.retries;
        self.requests += other.requests;
        self.took += other.took;
    }
}

#[derive(Default)]
pub(crate) struct Metrics(Mutex<Snapshot>);

impl Metrics {
    pub fn called(&self, operation: &'static str, failed: Option<ErrorKind>) {
        let outcome = failed.map_or("ok", ErrorKind::as_str);
        self.change(|snapshot| *snapshot.calls.entry((operation, outcome)).or_default() += 1);
    }

    pub fn requested(&self, took: Duration) {
        self.change(|snapshot| {
            snapshot.requests += 1;
            snapshot.took += took;
            for (count, bound) in snapshot.latency.iter_mut().zip(LATENCY_BOUNDS) {
                *count += u64::from(took.as_secs_f64() <= bound);
            }
        });
    }

    pub fn retried(&self) {
        self.change(|snapshot| snapshot.retries += 1);
    }

    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
