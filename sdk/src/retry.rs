//! When a call is made again.

use std::time::Duration;

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

/// Makes the attempt until it succeeds, fails for good, or the deadline is near.
///
/// An attempt is given the time that is left. When a token has expired, `renew` is asked once for another; it says whether it
/// could.
pub(crate) async fn run<T, F, A>(
    policy: Policy,
    kind: MethodKind,
    deadline: Instant,
    renew: impl Fn() -> bool,
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
        if !again || failures >= policy.attempts || Instant::now() + pause >= deadline {
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
        let result: Result<()> = run(Policy::default(), MethodKind::Read, deadline, || false, |_| std::future::pending()).await;
        assert!(result.expect_err("it hangs").is_deadline_exceeded());
        assert_eq!(Instant::now(), deadline);
    }
}
