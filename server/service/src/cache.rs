//! What was read from the database not long ago.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::app::ACCESS_CACHE;

/// Entries from which on old ones are removed when one is added.
const MANY: usize = 10_000;

/// Values read within [`ACCESS_CACHE`]. What this replica changes, it forgets at once.
pub(crate) struct Recent<K, V>(Mutex<Entries<K, V>>);

struct Entries<K, V> {
    found: HashMap<K, (Instant, V)>,
    forgotten: u64,
}

/// Taken before a read from the database, so that a value that changes meanwhile is not kept.
pub(crate) struct Reading(u64);

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Entries { found: HashMap::new(), forgotten: 0 }))
    }

    fn entries(&self) -> MutexGuard<'_, Entries<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, if it is recent.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.entries().found.get(key).filter(|(since, _)| since.elapsed() < ACCESS_CACHE).map(|(_, value)| value.clone())
    }

    /// Begins to read what [`put`](Self::put) keeps.
    pub(crate) fn reading(&self) -> Reading {
        Reading(self.entries().forgotten)
    }

    /// Keeps what was read, unless something was forgotten since.
    pub(crate) fn put(&self, reading: Reading, key: K, value: V) {
        let mut entries = self.entries();
        if entries.forgotten != reading.0 {
            return;
        }
        if entries.found.len() >= MANY {
            entries.found.retain(|_, (since, _)| since.elapsed() < ACCESS_CACHE);
        }
        entries.found.insert(key, (Instant::now(), value));
    }

    /// Forgets a value that has changed.
    pub(crate) fn forget<Q>(&self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut entries = self.entries();
        entries.found.remove(key);
        entries.forgotten += 1;
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut entries = self.entries();
        entries.found.clear();
        entries.forgotten += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_changes_while_it_is_read_is_not_kept() {
        let cache = Recent::<String, u32>::new();
        cache.put(cache.reading(), "a".to_owned(), 1);
        assert_eq!(cache.get("a"), Some(1));
        let reading = cache.reading();
        cache.forget("a");
        cache.put(reading, "a".to_owned(), 1);
        assert_eq!(cache.get("a"), None, "read before the change, put after it");
        cache.put(cache.reading(), "a".to_owned(), 2);
        assert_eq!(cache.get("a"), Some(2));
    }
}
