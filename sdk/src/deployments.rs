//! Deployments: blueprint versions with inputs, made real by runs.

use std::{collections::BTreeMap, time::Duration};

use freehold_proto::deployments::v1 as pb;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    GetDependencyGraph,
    call::{Call, fields, options, request, service, updates},
    channel::new_id,
    drift::DriftState,
    drift_policy::DriftPolicy,
    list::{List, list},
    names::Kind,
    wire::{Lift, duration, json_value, resource, timestamp, values},
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
        /// Deployments that come first, beside those whose outputs are inputs of this one.
        depends_on: Vec<String>,
        /// When outputs that were taken as inputs change, an apply takes the new ones.
        apply_on_dependency_change: bool,
        /// Runs wait until the deployments that this one depends on are as they were made.
        require_undrifted_dependencies: bool,
        /// When it ends.
        expire_time: Option<Timestamp>,
        /// It ends when nobody has changed it or begun a run of it for so long.
        #[serde(serialize_with = "crate::wire::in_seconds")]
        max_idle: Option<Duration>,
        /// The earlier of the two ends, as far as it is known now.
        end_time: Option<Timestamp>,
        /// What is so beside the state.
        conditions: Vec<DeploymentCondition>,
        /// That it was abandoned.
        abandonment: Option<Abandonment>,
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
        /// Something, and nobody knows what: its state is missing, or is not what was written.
        Quarantined = 5 "QUARANTINED",
        /// Whatever there was is nobody's any more.
        Abandoned = 6 "ABANDONED",
    }
}

/// Something that is so beside the state of a deployment.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct DeploymentCondition {
    /// What.
    pub kind: DeploymentConditionType,
    /// In words, with what to do about it.
    pub message: String,
    /// Since when.
    pub since: Option<Timestamp>,
}

impl Lift<DeploymentCondition> for pb::DeploymentCondition {
    fn lift(self) -> DeploymentCondition {
        DeploymentCondition { kind: self.r#type.lift(), message: self.message, since: self.since.lift() }
    }
}

values! {
    /// Kinds of conditions.
    DeploymentConditionType {
        /// Outputs have changed since they were taken as inputs.
        DependencyChanged = 1 "DEPENDENCY_CHANGED",
        /// It ends within a day.
        TtlExpiring = 2 "TTL_EXPIRING",
        /// Its time to live has ended; the message says what becomes of it.
        TtlExpired = 3 "TTL_EXPIRED",
    }
}

resource! {
    /// That whatever a deployment has made was left to nobody.
    Abandonment = pb::Abandonment {
        /// Who did it.
        principal: String,
        /// Why.
        reason: String,
        /// When.
        abandon_time: Option<Timestamp>,
        /// When the deployment is forgotten.
        purge_time: Option<Timestamp>,
        /// Resources that were there, as the newest state knew them.
        addresses: Vec<String>,
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

    /// Leaves whatever a deployment has made to nobody; the answer lists it. The deployment is kept for 30 days and takes no run
    /// any more.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while it is
    /// protected, something needs it, or a run has not ended, [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn abandon(&self, name: impl AsRef<str>, reason: impl Into<String>) -> AbandonDeployment {
        let request = pb::AbandonDeploymentRequest { reason: reason.into(), request_id: new_id(), ..Default::default() };
        AbandonDeployment {
            call: Call::new(&self.core, request).name(Kind::Deployment, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Gives a deployment another end: [`until`](ExtendDeployment::until) a time, or [`ttl`](ExtendDeployment::ttl) from now. A
    /// run that was to remove it because its time was over is cancelled.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_invalid_argument`](crate::Error::is_invalid_argument) when the end is in
    /// the past, or later than the environment allows.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use std::time::Duration;
    ///
    /// freehold.deployments().extend("shop/dev/web").ttl(Duration::from_secs(3 * 86_400)).send().await?;
    /// # Ok(()) }
    /// ```
    pub fn extend(&self, name: impl AsRef<str>) -> ExtendDeployment {
        let request = pb::ExtendDeploymentRequest { request_id: new_id(), ..Default::default() };
        ExtendDeployment {
            call: Call::new(&self.core, request).name(Kind::Deployment, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Reads what deployments need of each other: in a tenant (an empty name is the client's), a project or an environment.
    ///
    /// # Errors
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) when there is more than is shown in one piece.
    pub fn graph(&self, scope: impl AsRef<str>) -> GetDependencyGraph {
        let call = Call::new(&self.core, pb::GetDependencyGraphRequest::default());
        GetDependencyGraph { call: call.name(Kind::Scope, scope.as_ref(), |request, parent| request.parent = parent) }
    }

    /// Deletes a deployment that is new, destroyed or abandoned.
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
    /// When outputs that were taken as inputs change, an apply takes the new ones.
    apply_on_dependency_change: flag,
    /// Runs wait until the deployments that this one depends on are as they were made.
    require_undrifted_dependencies: flag,
}

impl CreateDeployment {
    /// Adds a deployment that comes first. Those whose outputs are inputs of this one need not be named.
    pub fn depends_on(mut self, deployment: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::Deployment, deployment.as_ref(), |request, name| {
            request.deployment.get_or_insert_default().depends_on.push(name);
        });
        self
    }

    /// When it ends: a run removes it then.
    pub fn expire_time(mut self, time: Timestamp) -> Self {
        self.call.request.deployment.get_or_insert_default().expire_time = Some(timestamp(time));
        self
    }

    /// How long it lives, from now on.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.call.request.deployment.get_or_insert_default().ttl = Some(duration(ttl));
        self
    }

    /// It ends when nobody has changed it or begun a run of it for so long.
    pub fn max_idle(mut self, max_idle: Duration) -> Self {
        self.call.request.deployment.get_or_insert_default().max_idle = Some(duration(max_idle));
        self
    }

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
    /// Whether an apply takes the new ones when outputs that were taken as inputs change.
    apply_on_dependency_change: flag,
    /// Whether runs wait until the deployments that this one depends on are as they were made.
    require_undrifted_dependencies: flag,
}

impl UpdateDeployment {
    /// Replaces the deployments that come first, beside those whose outputs are inputs of this one.
    pub fn depends_on<N: AsRef<str>>(mut self, deployments: impl IntoIterator<Item = N>) -> Self {
        self.call.request.deployment.get_or_insert_default().depends_on.clear();
        for deployment in deployments {
            self.call = self.call.reference(Kind::Deployment, deployment.as_ref(), |request, name| {
                request.deployment.get_or_insert_default().depends_on.push(name);
            });
        }
        self.mask("depends_on");
        self
    }

    /// It ends when nobody has changed it or begun a run of it for so long; `None` takes that away.
    pub fn max_idle(mut self, max_idle: Option<Duration>) -> Self {
        self.call.request.deployment.get_or_insert_default().max_idle = max_idle.map(duration);
        self.mask("max_idle");
        self
    }

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

request! {
    /// A deployment to abandon; see [`Deployments::abandon`].
    AbandonDeployment(pb::AbandonDeploymentRequest) -> Deployment =
        "/freehold.deployments.v1.DeploymentService/AbandonDeployment", pb::AbandonDeploymentResponse { deployment }
}
options!(AbandonDeployment: request_id, validate_only, etag);

request! {
    /// A deployment to extend; see [`Deployments::extend`].
    ExtendDeployment(pb::ExtendDeploymentRequest) -> Deployment =
        "/freehold.deployments.v1.DeploymentService/ExtendDeployment", pb::ExtendDeploymentResponse { deployment }
}
options!(ExtendDeployment: request_id, validate_only, etag);

impl ExtendDeployment {
    /// It ends at this time.
    pub fn until(mut self, time: Timestamp) -> Self {
        self.call.request.expire_time = Some(timestamp(time));
        self
    }

    /// It ends so long from now.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.call.request.ttl = Some(duration(ttl));
        self
    }
}
