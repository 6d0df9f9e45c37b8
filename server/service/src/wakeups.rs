//! Wakes those who wait for a change, so that they need not ask the database again and again.
//!
//! A wake-up is a hint, never a message: it may come for nothing, and changes of other replicas give none, so every waiter also
//! looks by itself from time to time.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// How long a waiter sleeps before it looks by itself.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Wakeups {
    shards: [Notify; 64],
    closed: AtomicBool,
}

impl Wakeups {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Notify::new()), closed: AtomicBool::new(false) }
    }

    fn shard(&self, topic: impl Hash) -> &Notify {
        let mut hasher = DefaultHasher::new();
        topic.hash(&mut hasher);
        &self.shards[hasher.finish() as usize % self.shards.len()]
    }

    /// Wakes all who wait for this.
    pub(crate) fn wake(&self, topic: impl Hash) {
        self.shard(topic).notify_waiters();
    }

    /// Ends all waits, also those that begin later, as if their end had come.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.shards.iter().for_each(Notify::notify_waiters);
    }

    /// Whether all waits have ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Looks until there is something, or until the end; looks once more at the end.
    pub(crate) async fn wait_for<T, E, F>(
        &self,
        topic: impl Hash,
        end: tokio::time::Instant,
        look: impl Fn() -> F,
    ) -> Result<Option<T>, E>
    where
        F: Future<Output = Result<Option<T>, E>>,
    {
        let shard = self.shard(topic);
        loop {
            // Registered before looking, so that a change between look and sleep is not missed.
            let mut notified = std::pin::pin!(shard.notified());
            notified.as_mut().enable();
            if let Some(found) = look().await? {
                return Ok(Some(found));
            }
            let now = tokio::time::Instant::now();
            if now >= end || self.is_closed() {
                return Ok(None);
            }
            let _ = tokio::time::timeout_at(end.min(now + PATIENCE), notified).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::time::Instant;

    use super::*;

    async fn wait(wakeups: Arc<Wakeups>) -> Option<()> {
        let end = Instant::now() + Duration::from_secs(60);
        wakeups.wait_for("run", end, || async { Ok::<_, ()>(None) }).await.expect("it does not fail")
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_waits_at_once_and_those_that_come_later() {
        let wakeups = Arc::new(Wakeups::new());
        let begun = Instant::now();
        let waiter = tokio::spawn(wait(Arc::clone(&wakeups)));
        tokio::task::yield_now().await;
        wakeups.close();
        assert_eq!(waiter.await.expect("no panic"), None);
        assert_eq!(wait(wakeups).await, None);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
