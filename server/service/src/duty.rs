//! What duties that claim rows have in common: each claim is carried out in a task of its own.

use std::sync::Arc;

use freehold_domain::Result;

use crate::app::App;

/// Rows that are claimed in one go.
pub(crate) const CLAIMED: u32 = 16;

/// Carries out what was claimed; answers how much that was. A claim that is not reported comes back when its time is over.
pub(crate) fn carry_out<C, F>(
    app: &Arc<App>,
    claims: Vec<C>,
    name: impl Fn(&C) -> String,
    attempt: impl Fn(Arc<App>, C) -> F,
) -> usize
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let taken = claims.len();
    for claim in claims {
        let (claimed, attempt) = (name(&claim), attempt(Arc::clone(app), claim));
        tokio::spawn(async move {
            if let Err(error) = attempt.await {
                tracing::warn!(claimed, error = error.chain(), "what was claimed could not be done; it is claimed again later");
            }
        });
    }
    taken
}
