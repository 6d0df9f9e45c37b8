//! A caller that hangs up, or a deadline that passes, does not drop a handler half way through a write.

use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use freehold_domain::{Error, fault};
use freehold_proto::{Method, common::v1::MethodKind};

use super::{Next, Request, RequestId, Response, Step, refuse};

/// Is cancelled when nobody waits for the answer any more, in the extensions of shielded calls. A handler that only waits should
/// end then.
#[derive(Clone, Debug)]
pub(crate) struct HungUp(pub(crate) CancellationToken);

pub(crate) struct Shield {
    /// Counts the handlers that run, so that a drain can wait for them.
    pub(crate) tasks: TaskTracker,
}

impl Step for Shield {
    async fn run(&self, mut request: Request, next: &impl Next) -> Response {
        let method = *request.extensions().get::<&'static Method>().expect("found by the policy layer");
        if method.kind == MethodKind::Read || fault::mutant("shield") {
            // A read that nobody waits for is best dropped.
            return next.run(request).await;
        }
        let id = request.extensions().get::<RequestId>().cloned();
        let hung_up = CancellationToken::new();
        request.extensions_mut().insert(HungUp(hung_up.clone()));
        let _told_when_dropped = hung_up.drop_guard();
        let next = next.clone();
        match self.tasks.spawn(async move { next.run(request).await }.in_current_span()).await {
            Ok(response) => response,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(stopped) => refuse(id.as_ref(), &Error::internal(stopped)),
            },
        }
    }
}
