//! StateService.

use std::pin::Pin;

use freehold_domain::{
    Error, Reason, Result,
    deployments::{ManagedResource, StateVersion},
    names::DeploymentName,
    runs::RunKind,
    state::{GraphFormat, StateLock},
};
use freehold_proto::deployments::v1 as pb;
use freehold_service::{runs, state};
use futures::{Stream, stream};
use tonic::{Request, Response, Status};

use super::{
    Wire, parse, render,
    runs::{message, start},
    write,
};

/// Bytes of one piece of a state.
const PIECE: usize = 256 << 10;

#[tonic::async_trait]
impl pb::state_service_server::StateService for Wire {
    async fn get_state_version(
        &self,
        request: Request<pb::GetStateVersionRequest>,
    ) -> Result<Response<pb::GetStateVersionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (deployment, version) = state::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetStateVersionResponse { state_version: Some(version_message(&deployment.name, &version)) })
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
                state_versions: versions.iter().map(|version| version_message(&deployment.name, version)).collect(),
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

    type DownloadStateStream = Pin<Box<dyn Stream<Item = Result<pb::DownloadStateResponse, Status>> + Send>>;

    async fn download_state(
        &self,
        request: Request<pb::DownloadStateRequest>,
    ) -> Result<Response<Self::DownloadStateStream>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let parent = fields.text::<DeploymentName>("parent", &body.parent);
            if body.serial < 0 {
                fields.wrong("serial", "0 or more");
            }
            let parent = fields.finish(|| parent)?;
            let found = state::download(&self.app, &caller, &parent, body.serial).await?;
            let pieces = found.map(|(version, content)| pieces(&parent, &version, &content)).unwrap_or_default();
            let stream: Self::DownloadStateStream = Box::pin(stream::iter(pieces.into_iter().map(Ok)));
            Ok(stream)
        })
        .await
    }

    async fn list_managed_resources(
        &self,
        request: Request<pb::ListManagedResourcesRequest>,
    ) -> Result<Response<pb::ListManagedResourcesResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let parent = fields.text::<DeploymentName>("parent", &body.parent);
            let page = fields.page(body.page_size, "", false, "")?;
            // Addresses are unique and sorted, so the token is the last one seen.
            let (_, resources) = state::resources(&self.app, &caller, &fields.finish(|| parent)?).await?;
            let mut after = resources.iter().filter(|resource| resource.address > body.page_token);
            let this: Vec<_> = after.by_ref().take(page.size as usize).map(resource).collect();
            let next = this.last().filter(|_| after.next().is_some()).map(|last| last.address.clone()).unwrap_or_default();
            Ok(pb::ListManagedResourcesResponse { managed_resources: this, next_page_token: next })
        })
        .await
    }

    async fn get_resource_graph(
        &self,
        request: Request<pb::GetResourceGraphRequest>,
    ) -> Result<Response<pb::GetResourceGraphResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let format = match body.format() {
                pb::GraphFormat::Unspecified | pb::GraphFormat::Json => GraphFormat::Json,
                pb::GraphFormat::Dot => GraphFormat::Dot,
                pb::GraphFormat::Mermaid => GraphFormat::Mermaid,
            };
            let parent = parse::name("parent", &body.parent)?;
            let graph = state::resource_graph(&self.app, &caller, &parent, format).await?;
            Ok(pb::GetResourceGraphResponse { graph })
        })
        .await
    }

    async fn import_state(&self, request: Request<pb::ImportStateRequest>) -> Result<Response<pb::ImportStateResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, "")?;
            let parent: DeploymentName = parse::name("parent", &body.parent)?;
            let version = state::import(&self.app, &caller, &parent, body.content, &write).await?;
            Ok(pb::ImportStateResponse { state_version: Some(version_message(&parent, &version)) })
        })
        .await
    }

    async fn lock_state(&self, request: Request<pb::LockStateRequest>) -> Result<Response<pb::LockStateResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, "")?;
            let parent = parse::name("parent", &body.parent)?;
            let lock = body.lock.unwrap_or_default();
            let lock = state::lock(&self.app, &caller, &parent, lock.id, lock.info, &write).await?;
            Ok(pb::LockStateResponse { lock: Some(lock_message(lock)) })
        })
        .await
    }

    async fn unlock_state(&self, request: Request<pb::UnlockStateRequest>) -> Result<Response<pb::UnlockStateResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, "")?;
            let parent = parse::name("parent", &body.parent)?;
            state::unlock(&self.app, &caller, &parent, &body.lock_id, &write).await?;
            Ok(pb::UnlockStateResponse {})
        })
        .await
    }

    async fn restore_state(
        &self,
        request: Request<pb::RestoreStateRequest>,
    ) -> Result<Response<pb::RestoreStateResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(
                write(&body, &body.request_id, false, ""),
                start(&body.parent, RunKind::Repair, body.serial, body.auto_apply, body.keep_queued, body.message),
            )?;
            let run = runs::start(&self.app, &caller, cmd, &write).await?;
            Ok(pb::RestoreStateResponse { run: Some(message(&run)) })
        })
        .await
    }

    async fn break_state_lock(
        &self,
        request: Request<pb::BreakStateLockRequest>,
    ) -> Result<Response<pb::BreakStateLockResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, "")?;
            let mut fields = parse::Fields::new();
            let parent = fields.text::<DeploymentName>("parent", &body.parent);
            if body.reason.trim().is_empty() {
                fields.wrong("reason", "required: why its holder will not let go by itself");
            }
            let reason = fields.prose("reason", body.reason, 500);
            let parent = fields.finish(|| parent)?;
            let broken = state::break_lock(&self.app, &caller, &parent, &body.lock_id, &reason, &write).await?;
            let run = broken.run.map(|run| run.to_string()).unwrap_or_default();
            Ok(pb::BreakStateLockResponse { lock: broken.lock.map(lock_message), run })
        })
        .await
    }

    async fn write_state(&self, request: Request<pb::WriteStateRequest>) -> Result<Response<pb::WriteStateResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, "")?;
            let parent: DeploymentName = parse::name("parent", &body.parent)?;
            let version = state::write(&self.app, &caller, &parent, &body.lock_id, body.content, &write).await?;
            Ok(pb::WriteStateResponse { state_version: Some(version_message(&parent, &version)) })
        })
        .await
    }
}

/// The content of a state in pieces; the first one names the version.
fn pieces(deployment: &DeploymentName, version: &StateVersion, content: &[u8]) -> Vec<pb::DownloadStateResponse> {
    let piece = |(place, content): (usize, &[u8])| pb::DownloadStateResponse {
        state_version: (place == 0).then(|| version_message(deployment, version)),
        content: content.to_vec(),
    };
    content.chunks(PIECE).enumerate().map(piece).collect()
}

fn lock_message(lock: StateLock) -> pb::StateLock {
    pb::StateLock {
        id: lock.id,
        info: lock.info,
        principal: lock.principal.to_string(),
        create_time: Some(render::time(lock.create_time)),
    }
}

fn resource(resource: &ManagedResource) -> pb::ManagedResource {
    pb::ManagedResource {
        address: resource.address.clone(),
        r#type: resource.kind.clone(),
        id: resource.id.clone(),
        depends_on: resource.depends_on.clone(),
    }
}

fn version_message(deployment: &DeploymentName, version: &StateVersion) -> pb::StateVersion {
    pb::StateVersion {
        name: format!("{deployment}/stateVersions/{}", version.serial),
        serial: version.serial,
        lineage: version.lineage.clone(),
        digest: version.digest.clone(),
        size_bytes: version.size_bytes,
        run: version.run.map(|run| format!("{deployment}/runs/{run}")).unwrap_or_default(),
        epoch: version.epoch,
        addresses: version.resources.iter().map(|resource| resource.address.clone()).collect(),
        create_time: Some(render::time(version.create_time)),
        create_principal: version.creator.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}
