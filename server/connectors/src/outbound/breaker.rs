//! Stops calls to what does not answer, and asks one at a time whether it does again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// When to open.
#[derive(Clone, Copy, Debug)]
pub struct BreakerLimits {
    /// As many failures in a row open it.
    pub failures: u32,
    /// How long it stays open at first; each probe that fails doubles that.
    pub open: Duration,
    /// How long it stays open at most.
    pub longest: Duration,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_secs(15), longest: Duration::from_secs(300) }
    }
}

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets them through.
    #[default]
    Closed,
    /// Refuses them.
    Open,
    /// Lets one through, to see.
    HalfOpen,
}

impl BreakerState {
    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

pub(crate) struct Breaker {
    limits: BreakerLimits,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    in_a_row: u32,
    /// How often it has opened without closing since.
    openings: u32,
    until: Option<Instant>,
    probing: bool,
    /// Counts openings and closings, so that what was admitted before one says nothing after it.
    era: u64,
}

/// Leave to make one call. Dropped without a verdict, it says nothing about the vendor.
pub(crate) struct Admission<'a> {
    breaker: &'a Breaker,
    era: u64,
    probe: bool,
}

impl Breaker {
    pub fn new(limits: BreakerLimits) -> Self {
        Self { limits, inner: Mutex::default() }
    }

    pub fn state(&self) -> BreakerState {
        let inner = self.lock();
        match inner.until {
            None => BreakerState::Closed,
            Some(until) if Instant::now() < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Lets a call through, or says when to come back.
    pub fn admit(&self) -> Result<Admission<'_>, Duration> {
        let mut inner = self.lock();
        let probe = match inner.until {
            None => false,
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                if inner.probing {
                    return Err(Duration::from_secs(1));
                }
                inner.probing = true;
                true
            }
        };
        Ok(Admission { breaker: self, era: inner.era, probe })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admission<'_> {
    /// The vendor answered, or did not.
    pub fn report(&self, answered: bool) {
        let mut inner = self.breaker.lock();
        if inner.era != self.era {
            return;
        }
        if answered {
            let era = inner.era + u64::from(inner.until.is_some());
            *inner = Inner { era, ..Inner::default() };
            return;
        }
        inner.in_a_row += 1;
        if self.probe || inner.in_a_row >= self.breaker.limits.failures {
            let limits = self.breaker.limits;
            let wait = limits.open.saturating_mul(1 << inner.openings.min(16)).min(limits.longest);
            *inner = Inner {
                in_a_row: 0,
                openings: inner.openings + 1,
                until: Some(Instant::now() + wait),
                probing: false,
                era: inner.era + 1,
            };
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let mut inner = self.breaker.lock();
        if self.probe && inner.era == self.era {
            inner.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn breaker() -> Breaker {
        let (open, longest) = (Duration::from_secs(10), Duration::from_secs(35));
        Breaker::new(BreakerLimits { failures: 3, open, longest })
    }

    fn fail(breaker: &Breaker) {
        breaker.admit().expect("admitted").report(false);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_closes_by_one_probe() {
        let breaker = breaker();
        fail(&breaker);
        fail(&breaker);
        breaker.admit().expect("admitted").report(true);
        fail(&breaker);
        fail(&breaker);
        assert_eq!(breaker.state(), BreakerState::Closed, "an answer between them starts the count anew");
        fail(&breaker);

        assert_eq!(breaker.state(), BreakerState::Open);
        assert_eq!(breaker.admit().err(), Some(Duration::from_secs(10)));
        advance(Duration::from_secs(10)).await;
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let probe = breaker.admit().expect("one may look");
        assert!(breaker.admit().is_err(), "and only one");
        probe.report(true);
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.admit().is_ok() && breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn each_failed_probe_doubles_the_wait_up_to_the_longest() {
        let breaker = breaker();
        (0..3).for_each(|_| fail(&breaker));
        for wait in [10, 20, 35, 35] {
            assert_eq!(breaker.admit().err(), Some(Duration::from_secs(wait)));
            advance(Duration::from_secs(wait)).await;
            fail(&breaker);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_dropped_makes_room_for_the_next() {
        let breaker = breaker();
        (0..3).for_each(|_| fail(&breaker));
        advance(Duration::from_secs(10)).await;
        drop(breaker.admit());
        assert!(breaker.admit().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_admitted_before_it_opened_does_not_close_it() {
        let breaker = breaker();
        let slow = breaker.admit().expect("admitted");
        (0..3).for_each(|_| fail(&breaker));
        slow.report(true);
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}
