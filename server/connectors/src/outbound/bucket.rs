//! How often a vendor may be called: our own pace, and what the vendor says of its limits.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// What a vendor said about one of its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which of its limits: `core`, `search`, the name of a method.
    pub resource: String,
    /// Calls that are left.
    pub remaining: u64,
    /// When there are as many as ever again.
    pub reset: Duration,
}

/// How far a vendor's refusal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Calls of the same resource.
    Resource,
    /// Every call of the connection.
    Connection,
}

/// The longest time that a vendor can keep us from calling, whatever it says: no limit that we know of lasts longer.
const LONGEST: Duration = Duration::from_secs(2 * 3600);
/// Windows of one vendor that are about the same moment differ by no more.
const SAME: Duration = Duration::from_secs(2);

pub(crate) struct Bucket {
    rate: f64,
    burst: f64,
    inner: Mutex<Inner>,
}

struct Inner {
    tokens: f64,
    filled: Instant,
    /// Calls that are left in a window, as the vendor said last, and when that window ends.
    windows: HashMap<String, (u64, Instant)>,
    /// Calls that are under way, which the vendor has not counted in what it said.
    under_way: HashMap<String, u64>,
    paused: HashMap<String, Instant>,
    all_paused: Option<Instant>,
}

/// A call's turn, until it has ended.
pub(crate) struct Taken<'a> {
    bucket: &'a Bucket,
    resource: &'a str,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut inner = self.bucket.lock();
        if let Some(count) = inner.under_way.get_mut(self.resource) {
            *count = count.saturating_sub(1);
        }
    }
}

impl Bucket {
    pub fn new(rate: f64, burst: u32) -> Self {
        let inner = Inner {
            tokens: burst.into(),
            filled: Instant::now(),
            windows: HashMap::new(),
            under_way: HashMap::new(),
            paused: HashMap::new(),
            all_paused: None,
        };
        Self { rate, burst: burst.into(), inner: Mutex::new(inner) }
    }

    /// Waits for the next call's turn, or says how long that would be when it comes too late.
    pub async fn take<'a>(&'a self, resource: &'a str, deadline: Instant) -> Result<Taken<'a>, Duration> {
        loop {
            let Some(wait) = self.try_take(resource) else { return Ok(Taken { bucket: self, resource }) };
            if Instant::now() + wait > deadline {
                return Err(wait);
            }
            sleep(wait).await;
        }
    }

    /// Takes a turn, or says how long until there may be one.
    fn try_take(&self, resource: &str) -> Option<Duration> {
        let now = Instant::now();
        let mut inner = self.lock();
        let Inner { tokens, filled, windows, under_way, paused, all_paused } = &mut *inner;
        paused.retain(|_, until| *until > now);
        windows.retain(|_, (_, reset)| *reset > now);
        let counted = under_way.get(resource).copied().unwrap_or_default();
        let empty = windows.get(resource).filter(|(remaining, _)| *remaining <= counted).map(|(_, reset)| *reset);
        let until = [all_paused.filter(|until| *until > now), paused.get(resource).copied(), empty].into_iter().flatten().max();
        if let Some(until) = until {
            return Some(until - now);
        }
        *tokens = (*tokens + (now - *filled).as_secs_f64() * self.rate).min(self.burst);
        *filled = now;
        if *tokens < 1.0 {
            // A nanosecond more, so that rounding never makes it come back for nothing.
            return Some(Duration::from_secs_f64((1.0 - *tokens) / self.rate) + Duration::from_nanos(1));
        }
        *tokens -= 1.0;
        *under_way.entry(resource.to_owned()).or_default() += 1;
        None
    }

    /// Learns what is left. Answers come in any order, so that of one window the smallest number counts.
    pub fn learn(&self, window: &Window) {
        let reset = Instant::now() + window.reset.min(LONGEST);
        let mut inner = self.lock();
        match inner.windows.get_mut(&window.resource) {
            Some((remaining, known)) if reset <= *known + SAME => {
                if *known <= reset + SAME {
                    *remaining = window.remaining.min(*remaining);
                }
            }
            _ => {
                inner.windows.insert(window.resource.clone(), (window.remaining, reset));
            }
        }
    }

    /// Makes no call for a while.
    pub fn pause(&self, resource: &str, reach: Reach, wait: Duration) {
        let until = Instant::now() + wait.min(LONGEST);
        let mut inner = self.lock();
        match reach {
            Reach::Connection => inner.all_paused = inner.all_paused.max(Some(until)),
            Reach::Resource => {
                let known = inner.paused.entry(resource.to_owned()).or_insert(until);
                *known = until.max(*known);
            }
        }
    }

    /// The smallest number of calls that are left in any window that is not over.
    pub fn remaining(&self) -> Option<u64> {
        let now = Instant::now();
        self.lock().windows.values().filter(|(_, reset)| *reset > now).map(|(remaining, _)| *remaining).min()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// How long a call waits for its turn, which ends at once.
    async fn waited(bucket: &Bucket, resource: &str) -> Duration {
        let begun = Instant::now();
        bucket.take(resource, begun + 10 * HOUR).await.expect("there is time");
        begun.elapsed()
    }

    fn about(duration: Duration, seconds: f64) -> bool {
        (duration.as_secs_f64() - seconds).abs() < 0.01
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let bucket = Bucket::new(2.0, 3);
        for expected in [0.0, 0.0, 0.0, 0.5, 0.5] {
            let waited = waited(&bucket, "core").await;
            assert!(about(waited, expected), "{waited:?} instead of {expected}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_window_holds_up_its_resource_until_it_is_reset() {
        let bucket = Bucket::new(100.0, 100);
        bucket.learn(&Window { resource: "core".into(), remaining: 1, reset: Duration::from_secs(60) });

        let last = bucket.take("core", Instant::now()).await.expect("one is left");
        let late = bucket.take("core", Instant::now()).await.err();
        assert_eq!(late, Some(Duration::from_secs(60)), "what is under way is not there twice");
        assert!(about(waited(&bucket, "search").await, 0.0), "another resource has its own");
        drop(last);
        assert!(about(waited(&bucket, "core").await, 0.0), "it has cost nothing, says the vendor");
        bucket.learn(&Window { resource: "core".into(), remaining: 0, reset: Duration::from_secs(60) });
        assert!(about(waited(&bucket, "core").await, 60.0));
        assert_eq!(bucket.remaining(), None, "the window is over");
    }

    #[tokio::test(start_paused = true)]
    async fn late_answers_do_not_bring_calls_back() {
        let bucket = Bucket::new(100.0, 100);
        let window = |remaining, reset| Window { resource: "core".into(), remaining, reset: Duration::from_secs(reset) };
        for (seen, left) in
            [(window(5, 60), 5), (window(7, 60), 5), (window(4, 61), 4), (window(90, 10), 4), (window(99, 120), 99)]
        {
            bucket.learn(&seen);
            assert_eq!(bucket.remaining(), Some(left), "{seen:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_reaches_as_far_as_it_says_and_no_call_waits_past_its_deadline() {
        let bucket = Bucket::new(100.0, 100);
        bucket.pause("chat.postMessage", Reach::Resource, Duration::from_secs(30));
        assert!(about(waited(&bucket, "chat.update").await, 0.0));
        let late = bucket.take("chat.postMessage", Instant::now() + Duration::from_secs(5)).await.err();
        assert_eq!(late, Some(Duration::from_secs(30)));

        bucket.pause("chat.postMessage", Reach::Connection, Duration::from_secs(7));
        assert!(about(waited(&bucket, "chat.update").await, 7.0));
        assert!(about(waited(&bucket, "chat.postMessage").await, 23.0));
    }
}
