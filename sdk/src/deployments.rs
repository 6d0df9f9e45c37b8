//! Deployments: blueprint versions with inputs, made real by runs.

use std::collections::BTreeMap;

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    call::{Call, fields, options, request, service, updates},
    channel::new_id,
    drift::DriftState,
    drift_policy::DriftPolicy,
    list::{List, list},
    names::Kind,
    wire::{json_value, resource, values},
};

resource! {
    /// A blueprint version with inputs in an environment.
    Deployment = pb::Deployment {
        /// Resource name: `tenants/{tenant}/projects/{project}/environments/{environment}/deployments/{deployment}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// The version, `tenants/{tenant}/blueprints/{blueprint}/versions/{version}`.
        blueprint_version: String,
        /// Inputs by name; sensitive ones are not returned.
        inputs: Map<String, Value>,
        /// What is there.
        state: DeploymentState,
        /// Counts changes of the desired state, from 1.
        generation: i64,
        /// The revision that is real; 0 before the first apply.
        observed_revision: i64,
        /// The newest run.
        last_run: Option<String>,
        /// The run that holds the lock, if any.
        active_run: Option<String>,
        /// The last drift check found differences.
        drifted: bool,
        /// When drift was last looked for.
        drift_check_time: Option<Timestamp>,
        /// Refuses destroy and delete while set.
        deletion_protection: bool,
        /// Runs apply without an approval where the environment needs none.
        auto_apply: bool,
        /// Somebody holds the state to change it by hand; applies wait for the end of that.
        state_locked: bool,
        /// How it is looked at for drift; absent means as its environment says.
        drift_policy: Option<DriftPolicy>,
        /// How the last look for drift ended.
        drift_state: DriftState,
        /// Why: what kept it from looking, or the last error.
        drift_reason: Option<String>,
        /// When it ended; `drift_check_time` is that of the last one that came to a result.
        drift_state_time: Option<Timestamp>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

values! {
    /// What is there.
    DeploymentState {
        /// Nothing yet.
        New = 1 "NEW",
        /// What the observed revision says.
        Active = 2 "ACTIVE",
        /// Some of it: the last apply or destroy did not reach its end.
        Partial = 3 "PARTIAL",
        /// Nothing any more.
        Destroyed = 4 "DESTROYED",
    }
}

resource! {
    /// What was made real by one successful run; the unit of rollback.
    Revision = pb::Revision {
        /// From 1.
        number: i64,
        /// The version.
        blueprint_version: String,
        /// The inputs; sensitive ones are left out.
        inputs: Map<String, Value>,
        /// The run that made it real.
        run: String,
        /// When.
        create_time: Option<Timestamp>,
    }
}

service! {
    /// Deployments; see [`Client::deployments`](crate::Client::deployments).
    Deployments
}

impl Deployments {
    /// Starts building a deployment, `project/environment/deployment`, of a blueprint version, `greeting@1.0.0`. Nothing becomes
    /// real before a run; see [`Runs::plan`](crate::Runs::plan).
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists), [`is_quota_exceeded`](crate::Error::is_quota_exceeded),
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) naming every input that does not fit the blueprint.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// freehold.deployments().create("shop/dev/web", "greeting@1.0.0").input("size", "small").input("count", 2).send().await?;
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>, blueprint_version: impl AsRef<str>) -> CreateDeployment {
        let request = pb::CreateDeploymentRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request)
            .new_name(Kind::Deployment, name.as_ref(), |request, parent, id| {
                (request.parent, request.deployment_id) = (parent, id)
            })
            .reference(Kind::BlueprintVersion, blueprint_version.as_ref(), |request, version| {
                request.deployment.get_or_insert_default().blueprint_version = version;
            });
        CreateDeployment { call }
    }

    /// Reads one deployment.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetDeployment {
        let call = Call::new(&self.core, pb::GetDeploymentRequest::default());
        GetDeployment { call: call.name(Kind::Deployment, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the deployments of an environment by their creation, oldest first.
    pub fn list(&self, environment: impl AsRef<str>) -> List<Deployment> {
        let call = Call::new(&self.core, pb::ListDeploymentsRequest::default()).name(
            Kind::Environment,
            environment.as_ref(),
            |request, parent| request.parent = parent,
        );
        list!(call, "/freehold.deployments.v1.DeploymentService/ListDeployments", pb::ListDeploymentsResponse { deployments })
    }

    /// Starts changing what a deployment should be: only what is set is written, and nothing becomes real before a run.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateDeployment {
        let request = pb::UpdateDeploymentRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UpdateDeployment {
            call: call
                .name(Kind::Deployment, name.as_ref(), |request, name| request.deployment.get_or_insert_default().name = name),
        }
    }

    /// Deletes a deployment that is new or destroyed.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while
    /// something of it is real and [`force`](DeleteDeployment::force) is not set,
    /// [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteDeployment {
        let request = pb::DeleteDeploymentRequest { request_id: new_id(), ..Default::default() };
        DeleteDeployment {
            call: Call::new(&self.core, request).name(Kind::Deployment, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Lists what was made real, oldest first.
    pub fn list_revisions(&self, deployment: impl AsRef<str>) -> List<Revision> {
        let call = Call::new(&self.core, pb::ListRevisionsRequest::default()).name(
            Kind::Deployment,
            deployment.as_ref(),
            |request, parent| request.parent = parent,
        );
        list!(call, "/freehold.deployments.v1.DeploymentService/ListRevisions", pb::ListRevisionsResponse { revisions })
    }
}

request! {
    /// A deployment to create; see [`Deployments::create`].
    CreateDeployment(pb::CreateDeploymentRequest) -> Deployment =
        "/freehold.deployments.v1.DeploymentService/CreateDeployment", pb::CreateDeploymentResponse { deployment }
}
options!(CreateDeployment: request_id, validate_only);
fields! { CreateDeployment.deployment:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
    /// Refuses destroy and delete while set.
    deletion_protection: flag,
    /// Runs apply without an approval where the environment needs none.
    auto_apply: flag,
}

impl CreateDeployment {
    /// Sets one input of the blueprint.
    pub fn input(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let inputs = self.call.request.deployment.get_or_insert_default().inputs.get_or_insert_default();
        inputs.fields.insert(name.into(), json_value(value.into()));
        self
    }

    /// How it is looked at for drift; if not said, as its environment says.
    pub fn drift_policy(mut self, policy: DriftPolicy) -> Self {
        self.call.request.deployment.get_or_insert_default().drift_policy = Some(policy.message());
        self
    }
}

request! {
    /// A deployment to read; see [`Deployments::get`].
    GetDeployment(pb::GetDeploymentRequest) -> Deployment =
        "/freehold.deployments.v1.DeploymentService/GetDeployment", pb::GetDeploymentResponse { deployment }
}

request! {
    /// A deployment to change; see [`Deployments::update`].
    UpdateDeployment(pb::UpdateDeploymentRequest) -> Deployment =
        "/freehold.deployments.v1.DeploymentService/UpdateDeployment", pb::UpdateDeploymentResponse { deployment }
}
options!(UpdateDeployment: request_id, validate_only);
updates! { UpdateDeployment.deployment:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Replaces all labels.
    labels: labels,
    /// Whether destroy and delete are refused.
    deletion_protection: flag,
    /// Whether runs apply without an approval where the environment needs none.
    auto_apply: flag,
}

impl UpdateDeployment {
    /// The blueprint version, `greeting@1.1.0`.
    pub fn blueprint_version(mut self, version: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::BlueprintVersion, version.as_ref(), |request, version| {
            request.deployment.get_or_insert_default().blueprint_version = version;
        });
        self.mask("blueprint_version");
        self
    }

    /// Replaces all inputs.
    pub fn inputs(mut self, inputs: Map<String, Value>) -> Self {
        let fields = inputs.into_iter().map(|(name, value)| (name, json_value(value))).collect();
        self.call.request.deployment.get_or_insert_default().inputs = Some(prost_types::Struct { fields });
        self.mask("inputs");
        self
    }

    /// How it is looked at for drift; absent for as its environment says.
    pub fn drift_policy(mut self, policy: impl Into<Option<DriftPolicy>>) -> Self {
        let policy = policy.into().map(DriftPolicy::message);
        self.call.request.deployment.get_or_insert_default().drift_policy = policy;
        self.mask("drift_policy");
        self
    }
}

request! {
    /// A deployment to delete; see [`Deployments::delete`].
    DeleteDeployment(pb::DeleteDeploymentRequest) -> () =
        "/freehold.deployments.v1.DeploymentService/DeleteDeployment", pb::DeleteDeploymentResponse {}
}
options!(DeleteDeployment: request_id, etag, allow_missing);

impl DeleteDeployment {
    /// Forgets a deployment that is not destroyed; what it made stays and is nobody's.
    pub fn force(mut self) -> Self {
        self.call.request.force = true;
        self
    }
}
