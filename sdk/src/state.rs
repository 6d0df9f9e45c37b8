//! State: what deployments have made, version by version, and their outputs.

use freehold_proto::deployments::v1 as pb;
use futures::StreamExt as _;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Result,
    call::{Call, request, service},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift, resource, values},
};

resource! {
    /// One version of the state of a deployment; its content is sealed and not part of this.
    StateVersion = pb::StateVersion {
        /// Resource name:
        /// `tenants/{tenant}/projects/{project}/environments/{environment}/deployments/{deployment}/stateVersions/{serial}`.
        name: String,
        /// From 1, without gaps.
        serial: i64,
        /// Identity of the history; never changes.
        lineage: String,
        /// Digest of the content, `sha256:…`.
        digest: String,
        /// Size of the content.
        size_bytes: i64,
        /// The run that wrote it; absent when a person did.
        run: Option<String>,
        /// Fence it was written with.
        epoch: i64,
        /// The resources in it.
        addresses: Vec<String>,
        /// When it was written.
        create_time: Option<Timestamp>,
        /// The person that wrote it; absent when a run did.
        create_principal: Option<String>,
    }
}

resource! {
    /// Something that a deployment has made and looks after.
    ManagedResource = pb::ManagedResource {
        /// `type.name`, with the path of its module and its key where the engine has them.
        address: String,
        /// Kind of resource, for example `file` or `aws_vpc`.
        r#type: String,
        /// What its provider calls it.
        id: Option<String>,
        /// Addresses it was made from.
        depends_on: Vec<String>,
    }
}

resource! {
    /// Somebody's hold on a state.
    StateLock = pb::StateLock {
        /// Chosen by the holder.
        id: String,
        /// What the holder says of itself.
        info: String,
        /// Who took it.
        principal: String,
        /// When.
        create_time: Option<Timestamp>,
    }
}

values! {
    /// How a graph is written.
    GraphFormat {
        /// `{"nodes": [{"address", "type", "id"}], "edges": [{"from", "to"}]}`; an edge goes to what is needed.
        Json = 1 "JSON",
        /// The language of Graphviz.
        Dot = 2 "DOT",
        /// The language of Mermaid.
        Mermaid = 3 "MERMAID",
    }
}

resource! {
    /// One output of a deployment.
    DeploymentOutput = pb::DeploymentOutput {
        /// Its name.
        name: String,
        /// Its value; absent when it is hidden.
        value: Option<Value>,
        /// Shown only on demand.
        sensitive: bool,
    }
}

service! {
    /// State and outputs; see [`Client::state`](crate::Client::state).
    State
}

impl State {
    /// Reads one version, `project/environment/deployment/serial`.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get_version(&self, name: impl AsRef<str>) -> GetStateVersion {
        let call = Call::new(&self.core, pb::GetStateVersionRequest::default());
        GetStateVersion { call: call.name(Kind::StateVersion, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the versions of a deployment, oldest first.
    pub fn list_versions(&self, deployment: impl AsRef<str>) -> List<StateVersion> {
        let call = Call::new(&self.core, pb::ListStateVersionsRequest::default()).name(
            Kind::Deployment,
            deployment.as_ref(),
            |request, parent| request.parent = parent,
        );
        list!(call, "/freehold.deployments.v1.StateService/ListStateVersions", pb::ListStateVersionsResponse { state_versions })
    }

    /// Lists the outputs of the newest state of a deployment.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn outputs(&self, deployment: impl AsRef<str>) -> ListOutputs {
        let call = Call::new(&self.core, pb::ListOutputsRequest::default());
        ListOutputs { call: call.name(Kind::Deployment, deployment.as_ref(), |request, parent| request.parent = parent) }
    }

    /// Lists what the newest state of a deployment holds.
    pub fn resources(&self, deployment: impl AsRef<str>) -> List<ManagedResource> {
        let call = Call::new(&self.core, pb::ListManagedResourcesRequest::default()).name(
            Kind::Deployment,
            deployment.as_ref(),
            |request, parent| request.parent = parent,
        );
        list!(
            call,
            "/freehold.deployments.v1.StateService/ListManagedResources",
            pb::ListManagedResourcesResponse { managed_resources }
        )
    }

    /// Reads the same as a graph of what was made from what.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn graph(&self, deployment: impl AsRef<str>, format: GraphFormat) -> GetResourceGraph {
        let request = pb::GetResourceGraphRequest { format: format.number(), ..Default::default() };
        let call = Call::new(&self.core, request);
        GetResourceGraph { call: call.name(Kind::Deployment, deployment.as_ref(), |request, parent| request.parent = parent) }
    }

    /// Downloads the newest state of a deployment, which holds secrets; nothing when there is none yet. It is audited.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_permission_denied`](crate::Error::is_permission_denied).
    pub fn download(&self, deployment: impl AsRef<str>) -> DownloadState {
        let call = Call::new(&self.core, pb::DownloadStateRequest::default());
        DownloadState { call: call.name(Kind::Deployment, deployment.as_ref(), |request, parent| request.parent = parent) }
    }

    /// Gives a state of Terraform or OpenTofu to a deployment that has none.
    ///
    /// # Errors
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when it has one, or its blueprint is of another engine.
    pub fn import(&self, deployment: impl AsRef<str>, content: Vec<u8>) -> ImportState {
        let request = pb::ImportStateRequest { content, request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        ImportState { call: call.name(Kind::Deployment, deployment.as_ref(), |request, parent| request.parent = parent) }
    }

    /// Takes the hold on a state, to change it by hand; the answer has the id of the lock, which is a new one unless you choose it.
    ///
    /// # Errors
    /// [`is_aborted`](crate::Error::is_aborted) while a run or somebody else holds it.
    pub fn lock(&self, deployment: impl AsRef<str>) -> LockState {
        let lock = pb::StateLock { id: new_id(), ..Default::default() };
        let request = pb::LockStateRequest { lock: Some(lock), request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        LockState { call: call.name(Kind::Deployment, deployment.as_ref(), |request, parent| request.parent = parent) }
    }

    /// Lets go of a state; a repeat succeeds.
    ///
    /// # Errors
    /// [`is_aborted`](crate::Error::is_aborted) when somebody else holds it.
    pub fn unlock(&self, deployment: impl AsRef<str>, id: impl Into<String>) -> UnlockState {
        let request = pb::UnlockStateRequest { lock_id: id.into(), request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UnlockState { call: call.name(Kind::Deployment, deployment.as_ref(), |request, parent| request.parent = parent) }
    }

    /// Writes a state of Terraform or OpenTofu by hand, under the lock with this id.
    ///
    /// # Errors
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when the lock is not held any more, or the state is of
    /// something else or older than the one before it.
    pub fn write(&self, deployment: impl AsRef<str>, lock_id: impl Into<String>, content: Vec<u8>) -> WriteState {
        let request = pb::WriteStateRequest { lock_id: lock_id.into(), content, request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        WriteState { call: call.name(Kind::Deployment, deployment.as_ref(), |request, parent| request.parent = parent) }
    }

    /// Takes the hold on a state from whoever has it: what that one still writes is refused. A run that is changing the deployment
    /// loses its lease, and ends as lost.
    ///
    /// # Errors
    /// [`is_permission_denied`](crate::Error::is_permission_denied).
    pub fn break_lock(&self, deployment: impl AsRef<str>, reason: impl Into<String>) -> BreakStateLock {
        let request = pb::BreakStateLockRequest { reason: reason.into(), request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        BreakStateLock { call: call.name(Kind::Deployment, deployment.as_ref(), |request, parent| request.parent = parent) }
    }
}

request! {
    /// A graph to read; see [`State::graph`].
    GetResourceGraph(pb::GetResourceGraphRequest) -> String =
        "/freehold.deployments.v1.StateService/GetResourceGraph", |answer: pb::GetResourceGraphResponse| Ok(answer.graph)
}

request! {
    /// A state to give; see [`State::import`].
    ImportState(pb::ImportStateRequest) -> StateVersion =
        "/freehold.deployments.v1.StateService/ImportState", pb::ImportStateResponse { state_version }
}

request! {
    /// A hold to take; see [`State::lock`].
    LockState(pb::LockStateRequest) -> StateLock =
        "/freehold.deployments.v1.StateService/LockState", pb::LockStateResponse { lock }
}

impl LockState {
    /// With this id, of up to 128 printable characters; a repeat with it succeeds.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.call.request.lock.get_or_insert_default().id = id.into();
        self
    }
}

request! {
    /// A hold to let go; see [`State::unlock`].
    UnlockState(pb::UnlockStateRequest) -> () =
        "/freehold.deployments.v1.StateService/UnlockState", |_answer: pb::UnlockStateResponse| Ok(())
}

request! {
    /// A state to write; see [`State::write`].
    WriteState(pb::WriteStateRequest) -> StateVersion =
        "/freehold.deployments.v1.StateService/WriteState", pb::WriteStateResponse { state_version }
}

resource! {
    /// What was taken from whoever had it.
    BrokenLock = pb::BreakStateLockResponse {
        /// The lock; absent when nobody held one.
        lock: Option<StateLock>,
        /// The run that was ended; absent when none was changing the deployment.
        run: Option<String>,
    }
}

request! {
    /// A hold to break; see [`State::break_lock`].
    BreakStateLock(pb::BreakStateLockRequest) -> BrokenLock =
        "/freehold.deployments.v1.StateService/BreakStateLock", |answer: pb::BreakStateLockResponse| Ok(answer.lift())
}

impl BreakStateLock {
    /// Only the lock with this id, and no run.
    pub fn only(mut self, lock_id: impl Into<String>) -> Self {
        self.call.request.lock_id = lock_id.into();
        self
    }
}

/// A state to download; see [`State::download`].
#[must_use = "nothing is sent before `send`"]
pub struct DownloadState {
    call: Call<pb::DownloadStateRequest>,
}

impl DownloadState {
    /// This version; without it the newest.
    pub fn serial(mut self, serial: i64) -> Self {
        self.call.request.serial = serial;
        self
    }

    /// Downloads it.
    ///
    /// # Errors
    /// See [`State::download`].
    pub async fn send(self) -> Result<Option<Vec<u8>>> {
        let mut pieces =
            self.call.stream::<pb::DownloadStateResponse>("/freehold.deployments.v1.StateService/DownloadState").await?;
        let mut state = Vec::new();
        while let Some(piece) = pieces.next().await {
            state.extend_from_slice(&piece?.content);
        }
        Ok(Some(state).filter(|state| !state.is_empty()))
    }
}

request! {
    /// A version to read; see [`State::get_version`].
    GetStateVersion(pb::GetStateVersionRequest) -> StateVersion =
        "/freehold.deployments.v1.StateService/GetStateVersion", pb::GetStateVersionResponse { state_version }
}

request! {
    /// Outputs to list; see [`State::outputs`].
    ListOutputs(pb::ListOutputsRequest) -> Vec<DeploymentOutput> =
        "/freehold.deployments.v1.StateService/ListOutputs", |answer: pb::ListOutputsResponse| Ok(answer.outputs.lift())
}

impl ListOutputs {
    /// Shows sensitive values; needs the permission `deployments.state.reveal`, and is audited.
    pub fn reveal_sensitive(mut self) -> Self {
        self.call.request.reveal_sensitive = true;
        self
    }
}
