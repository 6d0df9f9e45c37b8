//! StateService.

use freehold_domain::{
    Error, Reason, Result,
    deployments::{Deployment, StateVersion},
    names::DeploymentName,
};
use freehold_proto::deployments::v1 as pb;
use freehold_service::state;
use tonic::{Request, Response, Status};

use super::{Wire, parse, render};

#[tonic::async_trait]
impl pb::state_service_server::StateService for Wire {
    async fn get_state_version(
        &self,
        request: Request<pb::GetStateVersionRequest>,
    ) -> Result<Response<pb::GetStateVersionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (deployment, version) = state::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetStateVersionResponse { state_version: Some(message(&deployment, &version)) })
        })
        .await
    }

    async fn list_state_versions(
        &self,
        request: Request<pb::ListStateVersionsRequest>,
    ) -> Result<Response<pb::ListStateVersionsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let parent = fields.text::<DeploymentName>("parent", &body.parent);
            // Serials have no gaps, so the token is the last one seen.
            let page = fields.page(body.page_size, "", false, "")?;
            let after = match body.page_token.as_str() {
                "" => 0,
                token => token.parse().map_err(|_| {
                    Error::new(Reason::PageTokenInvalid, "this page token is not one of this list; begin again without a token")
                })?,
            };
            let (deployment, mut versions) =
                state::list(&self.app, &caller, &fields.finish(|| parent)?, after, page.size).await?;
            let more = versions.len() > page.size as usize;
            versions.truncate(page.size as usize);
            let next = versions.last().filter(|_| more).map(|last| last.serial.to_string()).unwrap_or_default();
            Ok(pb::ListStateVersionsResponse {
                state_versions: versions.iter().map(|version| message(&deployment, version)).collect(),
                next_page_token: next,
            })
        })
        .await
    }

    async fn list_outputs(&self, request: Request<pb::ListOutputsRequest>) -> Result<Response<pb::ListOutputsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let parent = parse::name("parent", &body.parent)?;
            let outputs = state::outputs(&self.app, &caller, &parent, body.reveal_sensitive).await?;
            let message = |output: state::Output| pb::DeploymentOutput {
                name: output.name,
                value: output.value.map(|value| value.to_string()).unwrap_or_default(),
                sensitive: output.sensitive,
            };
            Ok(pb::ListOutputsResponse { outputs: outputs.into_iter().map(message).collect() })
        })
        .await
    }
}

fn message(deployment: &Deployment, version: &StateVersion) -> pb::StateVersion {
    pb::StateVersion {
        name: format!("{}/stateVersions/{}", deployment.name, version.serial),
        serial: version.serial,
        lineage: version.lineage.to_string(),
        digest: version.digest.clone(),
        size_bytes: version.size_bytes,
        run: deployment.run_name(version.run).to_string(),
        epoch: version.epoch,
        addresses: version.resources.iter().map(|resource| resource.address.clone()).collect(),
        create_time: Some(render::time(version.create_time)),
    }
}
