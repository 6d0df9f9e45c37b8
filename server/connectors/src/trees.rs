//! Files of repositories, at a commit.

use freehold_domain::blueprints::Folder;
use futures::future::BoxFuture;

use crate::{ConnectorError, Context};

/// What a vendor that keeps repositories can do.
pub trait Trees: Send + Sync {
    /// The commit that a branch, a tag or a commit is now, in full.
    ///
    /// # Errors
    /// `NotFound` when there is no such repository or revision; `Invalid` when it can be none.
    fn resolve<'a>(
        &'a self,
        cx: &'a Context,
        repository: &'a str,
        revision: &'a str,
    ) -> BoxFuture<'a, Result<String, ConnectorError>>;

    /// What is in these folders at a commit, in their order; an empty one is all of the repository.
    ///
    /// # Errors
    /// `Permanent` when the archive is too large, cannot be read, or holds what would lead out of it.
    fn folders<'a>(
        &'a self,
        cx: &'a Context,
        repository: &'a str,
        commit: &'a str,
        folders: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Folder>, ConnectorError>>;
}
