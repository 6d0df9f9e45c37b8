//! Resources that were read since the last commit, for a database that only this process writes.

use std::{
    any::Any,
    collections::HashMap,
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use freehold_domain::Result;

use crate::{Session, Store, store::Database};

/// Resources that are kept, at most.
const MANY: usize = 4096;

/// What was read since the last commit. Each commit empties it before it is acknowledged, so nobody reads what was before a
/// write that they know of.
#[derive(Clone, Default)]
pub(crate) struct Reads(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// Commits so far.
    commits: u64,
    /// By resource name.
    resources: HashMap<String, Arc<dyn Any + Send + Sync>>,
}

impl Reads {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has changed, or may have.
    pub(crate) fn forget(&self) {
        let mut kept = self.kept();
        kept.commits += 1;
        kept.resources.clear();
    }

    fn get<T: Send + Sync + 'static>(&self, name: &str) -> std::result::Result<Arc<T>, u64> {
        let kept = self.kept();
        let found = kept.resources.get(name).cloned().and_then(|found| found.downcast().ok());
        found.ok_or(kept.commits)
    }

    /// Keeps what was read after so many commits, unless there are more by now.
    fn put<T: Send + Sync + 'static>(&self, commits: u64, name: String, resource: &Arc<T>) {
        let mut kept = self.kept();
        if kept.commits == commits {
            if kept.resources.len() >= MANY {
                kept.resources.clear();
            }
            kept.resources.insert(name, Arc::clone(resource) as _);
        }
    }
}

impl Store {
    /// The newest committed version of a resource: a copy in memory where that cannot be outdated, or what `read` finds.
    ///
    /// Nothing is kept of a database that other replicas write, too.
    pub async fn newest<T: Send + Sync + 'static>(
        &self,
        name: &impl Display,
        read: impl AsyncFnOnce(&mut Session) -> Result<T>,
    ) -> Result<Arc<T>> {
        let Database::Sqlite { reads, .. } = &self.database else {
            return Ok(Arc::new(read(&mut self.read().await?).await?));
        };
        let name = name.to_string();
        let commits = match reads.get(&name) {
            Ok(kept) => return Ok(kept),
            Err(commits) => commits,
        };
        let resource = Arc::new(read(&mut self.read().await?).await?);
        reads.put(commits, name, &resource);
        Ok(resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_commit_is_not_kept_after_it() {
        let reads = Reads::default();
        let commits = reads.get::<u32>("a").expect_err("nothing is kept");
        reads.put(commits, "a".to_owned(), &Arc::new(1_u32));
        assert_eq!(reads.get::<u32>("a").as_deref(), Ok(&1));
        reads.forget();
        assert_eq!(reads.get::<u32>("a"), Err(commits + 1));
        reads.put(commits, "a".to_owned(), &Arc::new(1_u32));
        assert_eq!(reads.get::<u32>("a"), Err(commits + 1), "read before the commit, put after it");
    }
}
