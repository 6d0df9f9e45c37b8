//! How often a server that does not help is asked again, and how often that is told.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use freehold::{Code, Error};
use tokio_util::sync::CancellationToken;

/// The first pause.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause while the server is away: it is back soon, and there is work.
const AWAY: Duration = Duration::from_secs(2);
/// The longest pause while it refuses: that takes a person to mend.
const REFUSED: Duration = Duration::from_secs(30);

/// Pauses that grow with each failure in a row.
#[derive(Default)]
pub(crate) struct Patience(u32);

impl Patience {
    /// The pause after this failure.
    pub(crate) fn next(&mut self, error: &Error) -> Duration {
        let longest = match error.code() {
            Code::Unimplemented | Code::PermissionDenied | Code::Unauthenticated | Code::NotFound => REFUSED,
            _ => AWAY,
        };
        let pause = FIRST.saturating_mul(1 << self.0.min(10)).min(longest);
        self.0 += 1;
        pause
    }

    pub(crate) async fn pause(&mut self, error: &Error, stop: &CancellationToken) {
        let _ = stop.run_until_cancelled(tokio::time::sleep(self.next(error))).await;
    }
}

/// What keeps the server from helping, told once and not at every try of every task.
#[derive(Default)]
pub(crate) struct Troubles(Mutex<Option<(Code, Option<String>)>>);

impl Troubles {
    /// A call has failed.
    pub(crate) fn note(&self, error: &Error) {
        let now = Some((error.code(), error.reason().map(str::to_owned)));
        if self.change(now.clone()) != now {
            tracing::warn!(%error, "the server does not help; trying on");
        }
    }

    /// A call has succeeded.
    pub(crate) fn over(&self) {
        if self.change(None).is_some() {
            tracing::info!("the server helps again");
        }
    }

    /// Answers what was before.
    fn change(&self, now: Option<(Code, Option<String>)>) -> Option<(Code, Option<String>)> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_what_the_trouble_deserves() {
        let pauses = |code: Code| {
            let mut patience = Patience::default();
            (0..8).map(|_| patience.next(&Error::new(code, "")).as_millis()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(Code::Unavailable), [500, 1000, 2000, 2000, 2000, 2000, 2000, 2000]);
        assert_eq!(pauses(Code::PermissionDenied), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
    }
}
