//! How much each caller may ask: a token bucket for each principal, or address when nobody is named (GCRA).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use freehold_domain::{Error, Reason};
use freehold_proto::{Method, common::v1::ServiceClass};
use tokio::time::Instant;

use super::{Next, Request, RequestId, Response, Step, refuse, trace::Who};
use crate::{listener::network, peer::SourceAddr};

/// Callers that are remembered at one time. All further ones share one bucket, so that memory is bounded and inventing
/// callers gains nothing.
const MAX_CALLERS: usize = 100_000;

/// How much a caller may ask. A call costs what its method's policy says, mostly 1 or 2.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Cost for each second in the long run.
    pub per_second: u32,
    /// Cost at once after a pause.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 500, burst: 2_000 }
    }
}

pub(crate) struct LimitRate {
    interval: Duration,
    tolerance: Duration,
    /// When each caller's bucket will be full again.
    full_at: Mutex<HashMap<String, Instant>>,
}

impl LimitRate {
    pub(crate) fn new(rate: Rate) -> Self {
        let interval = Duration::from_secs(1) / rate.per_second.max(1);
        Self { interval, tolerance: interval * rate.burst.max(1), full_at: Mutex::default() }
    }

    /// Takes the cost from the caller's bucket, or says how long until it has enough.
    pub(crate) fn take(&self, caller: String, cost: u32, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MAX_CALLERS && !full_at.contains_key(&caller) {
            full_at.retain(|_, at| *at > now);
        }
        let crowded = full_at.len() >= MAX_CALLERS && !full_at.contains_key(&caller);
        let slot = full_at.entry(if crowded { String::new() } else { caller }).or_insert(now);
        // A cost above the burst could never be paid; it takes the whole bucket.
        let next = (*slot).max(now) + (self.interval * cost).min(self.tolerance);
        let wait = next.saturating_duration_since(now + self.tolerance);
        if wait.is_zero() {
            *slot = next;
            Ok(())
        } else {
            Err(wait)
        }
    }
}

impl Step for LimitRate {
    async fn run(&self, request: Request, next: &impl Next) -> Response {
        let extensions = request.extensions();
        let method = *extensions.get::<&'static Method>().expect("found by the policy layer");
        // Heartbeats and results are the last thing to refuse: a runner that cannot report loses its lease.
        if method.service_class != ServiceClass::Essential {
            let named = extensions.get::<Who>().and_then(Who::principal);
            let address = || extensions.get::<SourceAddr>().map(|source| network(source.0.ip()).to_string());
            let caller = named.or_else(address).unwrap_or_default();
            if let Err(wait) = self.take(caller, method.cost, Instant::now()) {
                // Whole milliseconds, rounded up, so that who waits that long is let in.
                let wait = wait + Duration::from_millis(1);
                let error = Error::new(Reason::RateLimited, format!("too many calls; come back in {} ms", wait.as_millis()))
                    .retry_after(wait);
                return refuse(extensions.get::<RequestId>(), &error);
            }
        }
        next.run(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_callers_do_not_share() {
        let limit = LimitRate::new(Rate { per_second: 10, burst: 3 });
        let start = Instant::now();
        let take = |who: &str, cost, ms| limit.take(who.to_owned(), cost, start + Duration::from_millis(ms));
        for _ in 0..3 {
            take("ada", 1, 0).expect("within the burst");
        }
        assert_eq!(take("ada", 1, 0), Err(Duration::from_millis(100)));
        take("bob", 3, 0).expect("another bucket");
        take("ada", 1, 100).expect("one more each 100 ms");
        take("ada", 1, 100).expect_err("but not two");
        take("eve", 1000, 0).expect("a cost above the burst takes the whole bucket");
        assert_eq!(take("eve", 1, 0), Err(Duration::from_millis(100)));
    }

    #[test]
    fn callers_beyond_the_bound_share_one_bucket() {
        let limit = LimitRate::new(Rate { per_second: 1, burst: 1 });
        let now = Instant::now();
        for n in 0..MAX_CALLERS {
            limit.take(n.to_string(), 1, now).expect("its own bucket");
        }
        limit.take("new".to_owned(), 1, now).expect("the shared bucket");
        limit.take("newer".to_owned(), 1, now).expect_err("the same bucket");
        limit.take("newest".to_owned(), 1, now + Duration::from_secs(1)).expect("full buckets are forgotten");
        assert!(limit.full_at.lock().expect("sound").len() < 3);
    }
}
