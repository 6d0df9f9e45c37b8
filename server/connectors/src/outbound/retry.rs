//! When a call is made once more, and after how long.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use freehold_domain::time::Random;

use crate::{ConnectorError, Effect, ErrorKind};

/// How often a call is made, and how long it waits between.
#[derive(Clone, Copy, Debug)]
pub struct RetryLimits {
    /// Times that a call is made at most, the first one included.
    pub attempts: u32,
    /// The first wait is drawn from zero to this; each further one from zero to twice as much.
    pub base: Duration,
    /// No wait is drawn from more than this.
    pub cap: Duration,
    /// The longest wait that a vendor may ask for within one call; the caller is told of longer ones.
    pub longest: Duration,
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self { attempts: 4, base: Duration::from_millis(250), cap: Duration::from_secs(10), longest: Duration::from_secs(60) }
    }
}

/// Whether doing it again does no harm.
pub(crate) fn repeatable(effect: Effect, keyed: bool, error: &ConnectorError) -> bool {
    let passes = matches!(error.kind, ErrorKind::Throttled | ErrorKind::Transient);
    let harmless = match effect {
        Effect::Read | Effect::Idempotent => true,
        Effect::Keyed => keyed || !error.maybe_done,
        Effect::Unsafe => !error.maybe_done,
    };
    passes && harmless
}

impl RetryLimits {
    /// How long to wait after this many attempts: full jitter, on top of what the vendor asks for. Nothing when the vendor asks for
    /// too much.
    pub(crate) fn wait(&self, random: &dyn Random, made: u32, asked: Option<Duration>) -> Option<Duration> {
        let most = self.base.saturating_mul(1 << made.saturating_sub(1).min(20)).min(self.cap);
        match asked {
            Some(asked) if asked > self.longest => None,
            Some(asked) => Some(asked + draw(random, self.base)),
            None => Some(draw(random, most)),
        }
    }
}

/// Some time from zero to this.
fn draw(random: &dyn Random, most: Duration) -> Duration {
    let mut bytes = [0; 4];
    random.fill(&mut bytes);
    most.mul_f64(f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX))
}

/// Retries that a connection has left. An outage must not multiply the load on who is down: each call earns a fraction of a retry,
/// and a stock of a few lets rare failures be repeated at once.
pub(crate) struct Budget(Mutex<f64>);

const STOCK: f64 = 10.0;
const EARNED: f64 = 0.25;

impl Budget {
    pub fn new() -> Self {
        Self(Mutex::new(STOCK))
    }

    /// A call was made.
    pub fn earn(&self) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *left = (*left + EARNED).min(STOCK);
    }

    /// Takes one retry, if there is one.
    pub fn spend(&self) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *left >= 1.0;
        if enough {
            *left -= 1.0;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use freehold_domain::time::Uid;

    use super::*;

    /// Draws the same byte again and again.
    struct Always(u8);

    impl Random for Always {
        fn uid(&self) -> Uid {
            Uid(uuid::Uuid::nil())
        }

        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn waits_are_drawn_from_zero_to_twice_as_much_each_time() {
        let limits = RetryLimits { base: Duration::from_secs(1), cap: Duration::from_secs(5), ..RetryLimits::default() };
        for (made, most) in [(1, 1), (2, 2), (3, 4), (4, 5), (40, 5)] {
            assert_eq!(limits.wait(&Always(0), made, None), Some(Duration::ZERO));
            assert_eq!(limits.wait(&Always(255), made, None), Some(Duration::from_secs(most)));
        }
        let asked = |seconds| limits.wait(&Always(0), 1, Some(Duration::from_secs(seconds)));
        assert_eq!(asked(7), Some(Duration::from_secs(7)), "never sooner than the vendor asks");
        assert_eq!(asked(61), None);
    }

    #[test]
    fn only_what_does_no_harm_is_repeated() {
        use Effect::{Idempotent, Keyed, Read, Unsafe};
        let cases = [
            (Read, false, ErrorKind::Transient, true, true),
            (Idempotent, false, ErrorKind::Transient, true, true),
            (Keyed, true, ErrorKind::Transient, true, true),
            (Keyed, false, ErrorKind::Transient, true, false),
            (Keyed, false, ErrorKind::Throttled, false, true),
            (Unsafe, true, ErrorKind::Transient, true, false),
            (Unsafe, false, ErrorKind::Transient, false, true),
            (Unsafe, false, ErrorKind::Throttled, false, true),
            (Read, false, ErrorKind::Permanent, false, false),
            (Read, false, ErrorKind::Auth, false, false),
            (Read, false, ErrorKind::CircuitOpen, false, false),
        ];
        for (effect, keyed, kind, maybe_done, expected) in cases {
            let error = ConnectorError::new(kind, "").maybe_done(maybe_done);
            assert_eq!(
                repeatable(effect, keyed, &error),
                expected,
                "{effect:?} keyed: {keyed}, {kind}, maybe done: {maybe_done}"
            );
        }
    }

    #[test]
    fn an_outage_uses_up_the_budget_and_calls_earn_it_again() {
        let budget = Budget::new();
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
        (0..10).for_each(|_| budget.earn());
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 2);
    }
}
