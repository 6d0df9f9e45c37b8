//! Wakes those who wait for a change, so that they need not ask the database again and again.
//!
//! A wake-up is a hint, never a message: it may come for nothing, and changes of other replicas give none, so every waiter also
//! looks by itself from time to time.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    time::Duration,
};

use tokio::sync::Notify;

/// How long a waiter sleeps before it looks by itself.
const PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Wakeups {
    shards: [Notify; 64],
}

impl Wakeups {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Notify::new()) }
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
            if now >= end {
                return Ok(None);
            }
            let _ = tokio::time::timeout_at(end.min(now + PATIENCE), notified).await;
        }
    }
}
