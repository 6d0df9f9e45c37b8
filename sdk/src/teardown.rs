//! A whole environment removed in order.

use freehold_proto::deployments::v1 as pb;

use crate::{
    RunHandle, Runs,
    call::{Call, options, request},
    channel::new_id,
    names::Kind,
    wire::Lift,
};

impl Runs {
    /// Starts a run for each deployment of an environment that removes it, with its own plan and approvals, in the order in which
    /// they can be applied; each waits before its apply for the deployments that need its own. Asked again, it starts those that
    /// are missing, and answers the others.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while
    /// a deployment is protected, or something outside of the environment needs one.
    pub fn destroy_environment(&self, environment: impl AsRef<str>) -> DestroyEnvironment {
        let request = pb::DestroyEnvironmentRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        DestroyEnvironment { call: call.name(Kind::Environment, environment.as_ref(), |request, name| request.name = name) }
    }
}

request! { @builder
    /// An environment to empty; see [`Runs::destroy_environment`].
    DestroyEnvironment(pb::DestroyEnvironmentRequest) -> Vec<RunHandle> =
        "/freehold.deployments.v1.RunService/DestroyEnvironment"
}
options!(DestroyEnvironment: request_id);

impl DestroyEnvironment {
    async fn run(self) -> crate::Result<Vec<RunHandle>> {
        let core = self.call.core.clone();
        let answer: pb::DestroyEnvironmentResponse =
            self.call.send("/freehold.deployments.v1.RunService/DestroyEnvironment").await?;
        Ok(answer.runs.into_iter().map(|run| RunHandle::new(core.clone(), run.lift())).collect())
    }
}

impl DestroyEnvironment {
    /// Applies at once where the environment needs no approval.
    pub fn auto_apply(mut self) -> Self {
        self.call.request.auto_apply = true;
        self
    }

    /// Why, at most 500 characters.
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.call.request.message = message.into();
        self
    }
}
