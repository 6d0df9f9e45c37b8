//! Of the asks of one runner, one at a time looks for work.
//!
//! A runner asks once for each job that it could do beside others, and every run that comes to wait wakes all of its asks. What one
//! of them does not find, the others would not find either.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use freehold_domain::names::RunnerName;
use tokio::{sync::MutexGuard, time::Instant};

/// Who looks for work.
#[derive(Default)]
pub(crate) struct Looks(Mutex<HashMap<RunnerName, Arc<Asks>>>);

/// The asks of one runner.
#[derive(Default)]
pub(crate) struct Asks {
    /// When the last look began that found nothing.
    empty: tokio::sync::Mutex<Option<Instant>>,
}

impl Looks {
    /// The asks of this runner; those of runners that ask no more are forgotten.
    pub fn of(&self, runner: &RunnerName) -> Arc<Asks> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|name, asks| name == runner || Arc::strong_count(asks) > 1);
        Arc::clone(looks.entry(runner.clone()).or_default())
    }
}

impl Asks {
    /// Waits for the turn to look. Nothing when another ask has begun a look since, and there was nothing.
    pub async fn begin(&self) -> Option<Look<'_>> {
        let asked = Instant::now();
        let empty = self.empty.lock().await;
        if empty.is_some_and(|begun| begun > asked) {
            return None;
        }
        Some(Look { begun: Instant::now(), empty })
    }
}

/// A look for work.
pub(crate) struct Look<'a> {
    begun: Instant,
    empty: MutexGuard<'a, Option<Instant>>,
}

impl Look<'_> {
    /// There was no work when it began.
    pub fn found_nothing(mut self) {
        *self.empty = Some(self.begun);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{task::JoinSet, time::sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn asks_that_came_before_a_look_share_what_it_did_not_find() {
        let looks = Looks::default();
        let runner: RunnerName = "runnerPools/p/runners/r".parse().expect("a name");
        let first = looks.of(&runner);
        let first = first.begin().await.expect("nobody looks");
        let begun = Instant::now();
        let mut waiting = JoinSet::new();
        for _ in 0..10 {
            let asks = looks.of(&runner);
            waiting.spawn(async move {
                let Some(look) = asks.begin().await else { return 0 };
                sleep(Duration::from_secs(1)).await;
                look.found_nothing();
                1
            });
        }
        sleep(Duration::from_secs(1)).await;
        // It began no later than they asked, so it says nothing to them; the look of one of them tells the others.
        first.found_nothing();
        assert_eq!(waiting.join_all().await.iter().sum::<i32>(), 1);
        assert_eq!(begun.elapsed().as_secs(), 2);
        assert!(looks.of(&runner).begin().await.is_some(), "a later ask looks by itself");
    }
}
