//! When a call is made again.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use freehold_proto::common::v1::MethodKind;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    Code, Error,
    error::{Result, Started},
};

/// How often, and with what pauses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) attempts: u32,
    pub(crate) first: Duration,
    pub(crate) factor: f64,
    pub(crate) longest: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { attempts: 5, first: Duration::from_millis(100), factor: 1.6, longest: Duration::from_secs(10) }
    }
}

impl Policy {
    /// The pause after this many failures: full jitter, so that clients that failed together do not come back together, on top
    /// of what the server asked for.
    pub(crate) fn pause(&self, failures: u32, error: &Error) -> Duration {
        error.retry_after().unwrap_or_default() + self.jitter(failures)
    }

    fn jitter(&self, turns: u32) -> Duration {
        let grown = self.first.as_secs_f64() * self.factor.powi(turns.saturating_sub(1).min(64) as i32);
        Duration::from_secs_f64(grown.min(self.longest.as_secs_f64()) * random())
    }
}

/// Keeps repeats from burying a server that is in trouble: gRPC's retry throttling (gRFC A6) with its 10 tokens. A failure takes
/// one, a success gives a tenth back, and with half of them gone there are no repeats.
///
/// Each server has its own, so that calls go on at another one at once.
pub(crate) struct Budget(AtomicU32);

impl Budget {
    /// In tenths of a token.
    const FULL: u32 = 100;
    const FAILURE: u32 = 10;
    const SUCCESS: u32 = 1;

    /// A call succeeded.
    pub(crate) fn earn(&self) {
        self.change(|tokens| (tokens + Self::SUCCESS).min(Self::FULL));
    }

    /// A call failed. What a repeat cannot mend takes nothing; nor does what costs the server nothing, or comes with a time to
    /// wait that is the caller's own: calls that were not sent, that a server sent elsewhere, or that are over a rate limit.
    pub(crate) fn spend(&self, error: &Error) {
        if error.is_transient() && error.is_burden() {
            self.change(|tokens| tokens.saturating_sub(Self::FAILURE));
        }
    }

    /// Whether a call that failed like this may be repeated.
    pub(crate) fn allows(&self, error: &Error) -> bool {
        !error.is_burden() || self.0.load(Ordering::Relaxed) > Self::FULL / 2
    }

    fn change(&self, change: impl Fn(u32) -> u32) {
        // Never refused: the closure always has an answer.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| Some(change(tokens)));
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(Self::FULL))
    }
}

/// Makes the attempt until it succeeds, fails for good, or the deadline is near.
///
/// An attempt is given the time that is left. When a token has expired, `renew` is asked once for another; it says whether it
/// could. `allows` says whether the server that would be called next can be asked again after this error.
pub(crate) async fn run<T, F, A>(
    policy: Policy,
    kind: MethodKind,
    deadline: Instant,
    renew: impl Fn() -> bool,
    allows: impl Fn(&Error) -> bool,
    mut attempt: F,
) -> Result<T>
where
    F: FnMut(Duration) -> A,
    A: Future<Output = Result<T>>,
{
    let mut failures = 0;
    let mut renewed = false;
    let mut last: Option<Error> = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let error = match timeout_at(deadline, attempt(left)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => return Err(too_late(last)),
        };
        if error.is_token_expired() && !renewed && renew() {
            renewed = true;
            continue;
        }
        failures += 1;
        let again = error.is_transient() && (kind != MethodKind::Call || error.is_not_started());
        let pause = policy.pause(failures, &error);
        if !again || failures >= policy.attempts || !allows(&error) || Instant::now() + pause >= deadline {
            return Err(error);
        }
        tracing::debug!(%error, failures, ?pause, "the call is made again");
        sleep(pause).await;
        last = Some(error);
    }
}

fn too_late(last: Option<Error>) -> Error {
    match last {
        Some(error) => Error::new(
            Code::DeadlineExceeded,
            format!("no answer within the deadline; the try before failed: {}", error.message()),
        ),
        None => Error::new(Code::DeadlineExceeded, "no answer within the deadline; the call may still take effect"),
    }
    .started(Started::Maybe)
}

/// A number in `0.0..1.0`; the random bits of a UUID are good enough to spread calls.
pub(crate) fn random() -> f64 {
    let bits = uuid::Uuid::now_v7().as_u128() as u32;
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// For waits and streams that outlive single calls: goes on through a long outage, and gives up when there was no answer at
/// all for five minutes.
pub(crate) struct Patience {
    policy: Policy,
    failures: u32,
    since: Option<Instant>,
    /// Streams in a row that ended well and brought nothing.
    quiet: u32,
}

impl Patience {
    const LIMIT: Duration = Duration::from_secs(300);

    pub(crate) fn new(policy: Policy) -> Self {
        Self { policy, failures: 0, since: None, quiet: 0 }
    }

    /// There was an answer.
    pub(crate) fn restored(&mut self) {
        (self.failures, self.since) = (0, None);
    }

    /// A stream has ended well. One that brought nothing is opened again after a pause, so that a server that ends streams at
    /// once is not asked without end.
    pub(crate) async fn rest(&mut self, news: bool) {
        self.quiet = if news { 0 } else { self.quiet + 1 };
        if self.quiet > 0 {
            sleep(self.policy.jitter(self.quiet)).await;
        }
    }

    /// Waits before the next try, or returns the error when there is no sense in one.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let again = error.is_transient() || error.is_deadline_exceeded();
        if !again || since.elapsed() >= Self::LIMIT {
            return Err(error);
        }
        self.failures += 1;
        sleep(self.policy.pause(self.failures, &error)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn unavailable() -> Error {
        Error::new(Code::Unavailable, "down")
    }

    async fn outcome(kind: MethodKind, script: Vec<Error>) -> (u32, Result<()>, Duration) {
        let script = RefCell::new(script.into_iter());
        let calls = Cell::new(0);
        let begin = Instant::now();
        let result = run(
            Policy::default(),
            kind,
            begin + Duration::from_secs(30),
            || true,
            |_| true,
            |_| {
                calls.set(calls.get() + 1);
                let next = script.borrow_mut().next();
                async move { next.map_or(Ok(()), Err) }
            },
        )
        .await;
        (calls.get(), result, begin.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn reads_and_writes_are_repeated_and_calls_only_when_they_did_not_start() {
        for kind in [MethodKind::Read, MethodKind::Write] {
            let (calls, result, _) = outcome(kind, vec![unavailable(), unavailable()]).await;
            assert_eq!((calls, result.is_ok()), (3, true), "{kind:?}");
        }
        let (calls, result, _) = outcome(MethodKind::Call, vec![unavailable()]).await;
        assert_eq!((calls, result.is_ok()), (1, false));
        for error in [unavailable().started(Started::No), unavailable().with_reason("SERVER_DRAINING")] {
            let (calls, result, _) = outcome(MethodKind::Call, vec![error]).await;
            assert_eq!((calls, result.is_ok()), (2, true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_repeat_cannot_mend_is_returned_at_once() {
        let refused = [
            Error::new(Code::DeadlineExceeded, ""),
            Error::new(Code::Aborted, "").with_reason("ETAG_MISMATCH"),
            Error::new(Code::Internal, ""),
            Error::new(Code::ResourceExhausted, "").with_reason("QUOTA_EXCEEDED"),
            unavailable().started(Started::Never),
        ];
        for error in refused {
            let (calls, result, elapsed) = outcome(MethodKind::Read, vec![error.clone()]).await;
            assert_eq!((calls, elapsed), (1, Duration::ZERO), "{error}");
            assert_eq!(result.expect_err("it fails").code(), error.code());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_after_five_tries_and_waits_as_long_as_the_server_asks() {
        let (calls, result, _) = outcome(MethodKind::Read, vec![unavailable(); 9]).await;
        assert_eq!((calls, result.is_err()), (5, true));

        let limited = Error::new(Code::ResourceExhausted, "").with_reason("RATE_LIMITED");
        let (calls, result, elapsed) =
            outcome(MethodKind::Write, vec![limited.clone().with_retry_after(Duration::from_secs(3))]).await;
        assert_eq!((calls, result.is_ok()), (2, true));
        assert!((3.0..3.2).contains(&elapsed.as_secs_f64()), "{elapsed:?}");

        let (calls, _, elapsed) = outcome(MethodKind::Read, vec![limited.with_retry_after(Duration::from_secs(60))]).await;
        assert_eq!((calls, elapsed), (1, Duration::ZERO), "a wait beyond the deadline is not begun");
    }

    #[test]
    fn half_the_budget_is_for_repeats_and_success_earns_it_back() {
        let budget = Budget::default();
        for _ in 0..4 {
            budget.spend(&unavailable());
            assert!(budget.allows(&unavailable()));
        }
        budget.spend(&Error::new(Code::Internal, ""));
        budget.spend(&unavailable().started(Started::No));
        assert!(budget.allows(&unavailable()), "these took nothing");
        budget.spend(&unavailable());
        assert!(!budget.allows(&unavailable()), "5 of 10 are left");
        assert!(budget.allows(&unavailable().started(Started::No)), "what was not sent is no burden");
        assert!(budget.allows(&unavailable().with_reason("SERVER_DRAINING")), "it goes to another server");
        budget.earn();
        assert!(budget.allows(&unavailable()), "5.1 are left");
        (0..20).for_each(|_| budget.spend(&unavailable()));
        (0..50).for_each(|_| budget.earn());
        assert!(!budget.allows(&unavailable()), "it has no debts, and 5 tokens");
        (0..1000).for_each(|_| budget.earn());
        (0..5).for_each(|_| budget.spend(&unavailable()));
        assert!(!budget.allows(&unavailable()), "it saves no more than 10");
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_token_is_renewed_once() {
        let expired = Error::new(Code::Unauthenticated, "").with_reason("TOKEN_EXPIRED");
        let (calls, result, elapsed) = outcome(MethodKind::Call, vec![expired.clone()]).await;
        assert_eq!((calls, result.is_ok(), elapsed), (2, true, Duration::ZERO));
        let (calls, result, _) = outcome(MethodKind::Read, vec![expired.clone(), expired]).await;
        assert_eq!((calls, result.is_err()), (2, true));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_ends_an_attempt_that_hangs() {
        let deadline = Instant::now() + Duration::from_secs(2);
        let result: Result<()> =
            run(Policy::default(), MethodKind::Read, deadline, || false, |_| true, |_| std::future::pending()).await;
        assert!(result.expect_err("it hangs").is_deadline_exceeded());
        assert_eq!(Instant::now(), deadline);
    }
}
