//! State: what deployments have made, version by version, and their outputs.

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    call::{Call, request, service},
    list::{List, list},
    names::Kind,
    wire::{Lift, resource},
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
        /// The run that wrote it.
        run: String,
        /// Fence it was written with.
        epoch: i64,
        /// The resources in it.
        addresses: Vec<String>,
        /// When it was written.
        create_time: Option<Timestamp>,
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
