//! Environments: the places that deployments run in.

use std::{collections::BTreeMap, time::Duration};

use freehold_proto::tenants::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, fields, options, request, service, updates},
    channel::new_id,
    drift_policy::DriftPolicy,
    list::{List, list},
    names::Kind,
    wire::{duration, resource, values},
};

resource! {
    /// A place that deployments run in, for example `dev` or `prod`.
    Environment = pb::Environment {
        /// Resource name: `tenants/{tenant}/projects/{project}/environments/{environment}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// What it is for.
        kind: EnvironmentKind,
        /// Runner pool that works for it; absent means `runnerPools/default`.
        runner_pool: Option<String>,
        /// The author of a run may approve it.
        allow_self_approval: bool,
        /// Every apply needs an approval, also outside production.
        require_approval: bool,
        /// Runs wait until the deployments that theirs depends on are as they were made.
        require_undrifted_dependencies: bool,
        /// How long a new deployment lives when nobody says.
        #[serde(serialize_with = "crate::wire::in_seconds")]
        default_ttl: Option<Duration>,
        /// How long a deployment may live from the moment at which its end is set.
        #[serde(serialize_with = "crate::wire::in_seconds")]
        max_ttl: Option<Duration>,
        /// Policy that says whose approvals plans need; absent means the project's.
        approval_policy: Option<String>,
        /// How its deployments are looked at for drift; absent means once a day, at moments spread over it.
        drift_policy: Option<DriftPolicy>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

values! {
    /// What an environment is for.
    EnvironmentKind {
        /// Development.
        Dev = 1 "DEV",
        /// Tests.
        Test = 2 "TEST",
        /// Last stop before production.
        Staging = 3 "STAGING",
        /// Production: every apply needs an approval.
        Prod = 4 "PROD",
    }
}

service! {
    /// Environments; see [`Client::environments`](crate::Client::environments).
    Environments
}

impl Environments {
    /// Starts building an environment, `project/environment`.
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists), [`is_not_found`](crate::Error::is_not_found) for the project,
    /// [`is_quota_exceeded`](crate::Error::is_quota_exceeded).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use freehold::EnvironmentKind;
    ///
    /// freehold.environments().create("shop/prod", EnvironmentKind::Prod).send().await?;
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>, kind: EnvironmentKind) -> CreateEnvironment {
        let environment = pb::Environment { kind: kind.number(), ..Default::default() };
        let request = pb::CreateEnvironmentRequest { environment: Some(environment), request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request).new_name(Kind::Environment, name.as_ref(), |request, parent, id| {
            (request.parent, request.environment_id) = (parent, id);
        });
        CreateEnvironment { call }
    }

    /// Reads one environment.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetEnvironment {
        let call = Call::new(&self.core, pb::GetEnvironmentRequest::default());
        GetEnvironment { call: call.name(Kind::Environment, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the environments of a project by their creation, oldest first.
    pub fn list(&self, project: impl AsRef<str>) -> List<Environment> {
        let call = Call::new(&self.core, pb::ListEnvironmentsRequest::default()).name(
            Kind::Project,
            project.as_ref(),
            |request, parent| request.parent = parent,
        );
        list!(call, "/freehold.tenants.v1.EnvironmentService/ListEnvironments", pb::ListEnvironmentsResponse { environments })
    }

    /// Starts changing an environment: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateEnvironment {
        let request = pb::UpdateEnvironmentRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UpdateEnvironment {
            call: call
                .name(Kind::Environment, name.as_ref(), |request, name| request.environment.get_or_insert_default().name = name),
        }
    }

    /// Deletes an environment.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while it
    /// has deployments, [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteEnvironment {
        let request = pb::DeleteEnvironmentRequest { request_id: new_id(), ..Default::default() };
        DeleteEnvironment {
            call: Call::new(&self.core, request).name(Kind::Environment, name.as_ref(), |request, name| request.name = name),
        }
    }
}

request! {
    /// An environment to create; see [`Environments::create`].
    CreateEnvironment(pb::CreateEnvironmentRequest) -> Environment =
        "/freehold.tenants.v1.EnvironmentService/CreateEnvironment", pb::CreateEnvironmentResponse { environment }
}
options!(CreateEnvironment: request_id, validate_only);
fields! { CreateEnvironment.environment:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
    /// The author of a run may approve it.
    allow_self_approval: flag,
    /// Every apply needs an approval, also outside production.
    require_approval: flag,
    /// Runs wait until the deployments that theirs depends on are as they were made.
    require_undrifted_dependencies: flag,
}

impl CreateEnvironment {
    /// How long a new deployment lives when nobody says.
    pub fn default_ttl(mut self, ttl: Duration) -> Self {
        self.call.request.environment.get_or_insert_default().default_ttl = Some(duration(ttl));
        self
    }

    /// How long a deployment may live from the moment at which its end is set.
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.call.request.environment.get_or_insert_default().max_ttl = Some(duration(ttl));
        self
    }

    /// Policy that says whose approvals plans need, by its name: `careful`.
    pub fn approval_policy(mut self, policy: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::ApprovalPolicy, policy.as_ref(), |request, name| {
            request.environment.get_or_insert_default().approval_policy = name;
        });
        self
    }

    /// How its deployments are looked at for drift; if not said, once a day, at moments spread over it.
    pub fn drift_policy(mut self, policy: DriftPolicy) -> Self {
        self.call.request.environment.get_or_insert_default().drift_policy = Some(policy.message());
        self
    }

    /// Runner pool that works for it, `default` or `runnerPools/default`.
    pub fn runner_pool(mut self, pool: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::RunnerPool, pool.as_ref(), |request, name| {
            request.environment.get_or_insert_default().runner_pool = name;
        });
        self
    }
}

request! {
    /// An environment to read; see [`Environments::get`].
    GetEnvironment(pb::GetEnvironmentRequest) -> Environment =
        "/freehold.tenants.v1.EnvironmentService/GetEnvironment", pb::GetEnvironmentResponse { environment }
}

request! {
    /// An environment to change; see [`Environments::update`].
    UpdateEnvironment(pb::UpdateEnvironmentRequest) -> Environment =
        "/freehold.tenants.v1.EnvironmentService/UpdateEnvironment", pb::UpdateEnvironmentResponse { environment }
}
options!(UpdateEnvironment: request_id, validate_only);
updates! { UpdateEnvironment.environment:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Replaces all labels.
    labels: labels,
    /// Whether the author of a run may approve it.
    allow_self_approval: flag,
    /// Whether every apply needs an approval, also outside production.
    require_approval: flag,
    /// Whether runs wait until the deployments that theirs depends on are as they were made.
    require_undrifted_dependencies: flag,
}

impl UpdateEnvironment {
    /// How long a new deployment lives when nobody says; `None` takes that away.
    pub fn default_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.call.request.environment.get_or_insert_default().default_ttl = ttl.map(duration);
        self.mask("default_ttl");
        self
    }

    /// How long a deployment may live from the moment at which its end is set; `None` takes that away. Deployments that exist keep
    /// their ends.
    pub fn max_ttl(mut self, ttl: Option<Duration>) -> Self {
        self.call.request.environment.get_or_insert_default().max_ttl = ttl.map(duration);
        self.mask("max_ttl");
        self
    }

    /// Policy that says whose approvals plans need, by its name: `careful`.
    pub fn approval_policy(mut self, policy: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::ApprovalPolicy, policy.as_ref(), |request, name| {
            request.environment.get_or_insert_default().approval_policy = name;
        });
        self.mask("approval_policy");
        self
    }

    /// Names no policy any more.
    pub fn no_approval_policy(mut self) -> Self {
        self.call.request.environment.get_or_insert_default().approval_policy.clear();
        self.mask("approval_policy");
        self
    }

    /// How its deployments are looked at for drift; absent for once a day.
    pub fn drift_policy(mut self, policy: impl Into<Option<DriftPolicy>>) -> Self {
        let policy = policy.into().map(DriftPolicy::message);
        self.call.request.environment.get_or_insert_default().drift_policy = policy;
        self.mask("drift_policy");
        self
    }

    /// What it is for.
    pub fn kind(mut self, kind: EnvironmentKind) -> Self {
        self.call.request.environment.get_or_insert_default().kind = kind.number();
        self.mask("kind");
        self
    }

    /// Runner pool that works for it, `default` or `runnerPools/default`.
    pub fn runner_pool(mut self, pool: impl AsRef<str>) -> Self {
        self.call = self.call.reference(Kind::RunnerPool, pool.as_ref(), |request, name| {
            request.environment.get_or_insert_default().runner_pool = name;
        });
        self.mask("runner_pool");
        self
    }
}

request! {
    /// An environment to delete; see [`Environments::delete`].
    DeleteEnvironment(pb::DeleteEnvironmentRequest) -> () =
        "/freehold.tenants.v1.EnvironmentService/DeleteEnvironment", pb::DeleteEnvironmentResponse {}
}
options!(DeleteEnvironment: request_id, etag, allow_missing);
