//! Runner pools and the runners in them.

use std::collections::BTreeMap;

use freehold_proto::runners::v1 as pb;
use jiff::Timestamp;

use crate::{
    api_keys::Secret,
    call::{Call, fields, options, present, request, service, updates},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift as _, resource, timestamp, values},
};

resource! {
    /// A group of runners that work for the same environments.
    RunnerPool = pb::RunnerPool {
        /// Resource name: `runnerPools/{runner_pool}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
        /// What keeps programs of engines from the machines of its runners, at least.
        required_sandbox: Option<SandboxLevel>,
    }
}

resource! {
    /// A secret by which one runner joins a pool, once; the secret itself is shown once, when it is created.
    RegistrationToken = pb::RegistrationToken {
        /// Resource name: `runnerPools/{runner_pool}/registrationTokens/{uid}`.
        name: String,
        /// First characters of the secret, to tell tokens apart.
        prefix: String,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it ends.
        expire_time: Option<Timestamp>,
        /// When it was revoked.
        revoke_time: Option<Timestamp>,
        /// When a runner joined by it.
        use_time: Option<Timestamp>,
        /// The runner that joined by it.
        runner: Option<String>,
        /// Who created it.
        create_principal: String,
    }
}

/// A new token with its secret, which nobody can show again.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewRegistrationToken {
    /// The token.
    pub registration_token: RegistrationToken,
    /// Its secret.
    pub secret: Secret,
}

resource! {
    /// A process that runs jobs.
    Runner = pb::Runner {
        /// Resource name: `runnerPools/{runner_pool}/runners/{runner}`.
        name: String,
        /// Its version.
        version: String,
        /// Engines it has.
        engines: Vec<String>,
        /// Jobs at a time.
        capacity: i32,
        /// Jobs now.
        running: i32,
        /// Whether it takes jobs.
        state: RunnerState,
        /// Its last heartbeat.
        last_seen_time: Option<Timestamp>,
        /// When it first came.
        create_time: Option<Timestamp>,
        /// What keeps programs of engines from its machine, for example `user,mount,pid,ipc,uts,net,cgroup,pids,memory,cpu`, or
        /// `none`.
        sandbox: String,
        /// Its operating system and processor, for example `linux/x86_64`.
        platform: String,
        /// Versions of its engines, by engine.
        engine_versions: BTreeMap<String, String>,
        /// Labels that its operator gave it.
        labels: BTreeMap<String, String>,
    }
}

values! {
    /// What keeps programs of engines from the machine of a runner.
    SandboxLevel {
        /// User, file system, processes and network of their own.
        Isolated = 1 "ISOLATED",
    }
}

values! {
    /// Whether a runner takes jobs.
    RunnerState {
        /// Takes jobs.
        Online = 1 "ONLINE",
        /// Finishes what it has.
        Draining = 2 "DRAINING",
        /// Not heard of for a while.
        Offline = 3 "OFFLINE",
    }
}

service! {
    /// Runner pools; see [`Client::runner_pools`](crate::Client::runner_pools).
    RunnerPools
}

impl RunnerPools {
    /// Starts building a runner pool.
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists).
    pub fn create(&self, name: impl AsRef<str>) -> CreateRunnerPool {
        let request = pb::CreateRunnerPoolRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request)
            .new_name(Kind::RunnerPool, name.as_ref(), |request, _, id| request.runner_pool_id = id);
        CreateRunnerPool { call }
    }

    /// Reads one runner pool.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetRunnerPool {
        let call = Call::new(&self.core, pb::GetRunnerPoolRequest::default());
        GetRunnerPool { call: call.name(Kind::RunnerPool, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists runner pools by their creation, oldest first.
    pub fn list(&self) -> List<RunnerPool> {
        list!(
            &self.core,
            pb::ListRunnerPoolsRequest::default(),
            "/freehold.runners.v1.RunnerPoolService/ListRunnerPools",
            pb::ListRunnerPoolsResponse { runner_pools }
        )
    }

    /// Changes a runner pool: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateRunnerPool {
        let request = pb::UpdateRunnerPoolRequest { request_id: new_id(), ..Default::default() };
        UpdateRunnerPool {
            call: Call::new(&self.core, request)
                .name(Kind::RunnerPool, name.as_ref(), |request, name| request.runner_pool.get_or_insert_default().name = name),
        }
    }

    /// Creates a token by which one runner can join a pool, once, until a time at most 30 days ahead.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found) for the pool. When the answer of a first try was lost, the repeat fails with the
    /// reason `SECRET_ALREADY_RETURNED`: revoke that token and create another.
    pub fn create_token(&self, pool: impl AsRef<str>, expire_time: Timestamp) -> CreateRegistrationToken {
        let request = pb::CreateRegistrationTokenRequest {
            expire_time: Some(timestamp(expire_time)),
            request_id: new_id(),
            ..Default::default()
        };
        CreateRegistrationToken {
            call: Call::new(&self.core, request).name(Kind::RunnerPool, pool.as_ref(), |request, parent| request.parent = parent),
        }
    }

    /// Lists the registration tokens of a pool, never their secrets.
    pub fn list_tokens(&self, pool: impl AsRef<str>) -> List<RegistrationToken> {
        let call = Call::new(&self.core, pb::ListRegistrationTokensRequest::default()).name(
            Kind::RunnerPool,
            pool.as_ref(),
            |request, parent| request.parent = parent,
        );
        list!(
            call,
            "/freehold.runners.v1.RunnerPoolService/ListRegistrationTokens",
            pb::ListRegistrationTokensResponse { registration_tokens }
        )
    }

    /// Ends a registration token, `pool/uid`; no error when it has ended already.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn revoke_token(&self, name: impl AsRef<str>) -> RevokeRegistrationToken {
        let request = pb::RevokeRegistrationTokenRequest { request_id: new_id(), ..Default::default() };
        RevokeRegistrationToken {
            call: Call::new(&self.core, request)
                .name(Kind::RegistrationToken, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Removes a runner, `pool/runner`, for good: its certificate is refused from now on, and no other gets its name.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn delete_runner(&self, name: impl AsRef<str>) -> DeleteRunner {
        let request = pb::DeleteRunnerRequest { request_id: new_id(), ..Default::default() };
        DeleteRunner {
            call: Call::new(&self.core, request).name(Kind::Runner, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Lists the runners of a pool.
    pub fn list_runners(&self, pool: impl AsRef<str>) -> List<Runner> {
        let call =
            Call::new(&self.core, pb::ListRunnersRequest::default())
                .name(Kind::RunnerPool, pool.as_ref(), |request, parent| request.parent = parent);
        list!(call, "/freehold.runners.v1.RunnerPoolService/ListRunners", pb::ListRunnersResponse { runners })
    }

    /// Lets a runner, `pool/runner`, finish what it has and take no more, also after a restart, until it is resumed.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn drain_runner(&self, name: impl AsRef<str>) -> DrainRunner {
        let request = pb::DrainRunnerRequest { request_id: new_id(), ..Default::default() };
        DrainRunner {
            call: Call::new(&self.core, request).name(Kind::Runner, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Lets a runner, `pool/runner`, that was told to drain take work again, once it runs.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn resume_runner(&self, name: impl AsRef<str>) -> ResumeRunner {
        let request = pb::ResumeRunnerRequest { request_id: new_id(), ..Default::default() };
        ResumeRunner {
            call: Call::new(&self.core, request).name(Kind::Runner, name.as_ref(), |request, name| request.name = name),
        }
    }
}

request! {
    /// A runner pool to create; see [`RunnerPools::create`].
    CreateRunnerPool(pb::CreateRunnerPoolRequest) -> RunnerPool =
        "/freehold.runners.v1.RunnerPoolService/CreateRunnerPool", pb::CreateRunnerPoolResponse { runner_pool }
}
options!(CreateRunnerPool: request_id, validate_only);
fields! { CreateRunnerPool.runner_pool:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
}

request! {
    /// A runner pool to read; see [`RunnerPools::get`].
    GetRunnerPool(pb::GetRunnerPoolRequest) -> RunnerPool =
        "/freehold.runners.v1.RunnerPoolService/GetRunnerPool", pb::GetRunnerPoolResponse { runner_pool }
}

request! {
    /// A runner to drain; see [`RunnerPools::drain_runner`].
    DrainRunner(pb::DrainRunnerRequest) -> Runner =
        "/freehold.runners.v1.RunnerPoolService/DrainRunner", pb::DrainRunnerResponse { runner }
}
options!(DrainRunner: request_id);

request! {
    /// A runner that takes work again; see [`RunnerPools::resume_runner`].
    ResumeRunner(pb::ResumeRunnerRequest) -> Runner =
        "/freehold.runners.v1.RunnerPoolService/ResumeRunner", pb::ResumeRunnerResponse { runner }
}
options!(ResumeRunner: request_id);

request! {
    /// A runner pool to change; see [`RunnerPools::update`].
    UpdateRunnerPool(pb::UpdateRunnerPoolRequest) -> RunnerPool =
        "/freehold.runners.v1.RunnerPoolService/UpdateRunnerPool", pb::UpdateRunnerPoolResponse { runner_pool }
}
options!(UpdateRunnerPool: request_id, validate_only);
updates! { UpdateRunnerPool.runner_pool:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Replaces all labels.
    labels: labels,
}

impl CreateRunnerPool {
    /// What keeps programs of engines from the machines of its runners, at least; a runner that offers less gets no work.
    pub fn required_sandbox(mut self, level: SandboxLevel) -> Self {
        self.call.request.runner_pool.get_or_insert_default().required_sandbox = level.number();
        self
    }
}

impl UpdateRunnerPool {
    /// What keeps programs of engines from the machines of its runners, at least; nothing demands nothing.
    pub fn required_sandbox(mut self, level: Option<SandboxLevel>) -> Self {
        self.call.request.runner_pool.get_or_insert_default().required_sandbox = level.map_or(0, |level| level.number());
        self.mask("required_sandbox");
        self
    }
}

request! {
    /// A registration token to create; see [`RunnerPools::create_token`].
    CreateRegistrationToken(pb::CreateRegistrationTokenRequest) -> NewRegistrationToken =
        "/freehold.runners.v1.RunnerPoolService/CreateRegistrationToken",
        |answer: pb::CreateRegistrationTokenResponse| Ok(NewRegistrationToken {
            registration_token: present(answer.registration_token, "registration_token")?.lift(),
            secret: Secret(answer.secret),
        })
}
options!(CreateRegistrationToken: request_id);

request! {
    /// A registration token to end; see [`RunnerPools::revoke_token`].
    RevokeRegistrationToken(pb::RevokeRegistrationTokenRequest) -> RegistrationToken =
        "/freehold.runners.v1.RunnerPoolService/RevokeRegistrationToken",
        pb::RevokeRegistrationTokenResponse { registration_token }
}
options!(RevokeRegistrationToken: request_id);

request! {
    /// A runner to remove; see [`RunnerPools::delete_runner`].
    DeleteRunner(pb::DeleteRunnerRequest) -> () =
        "/freehold.runners.v1.RunnerPoolService/DeleteRunner", pb::DeleteRunnerResponse {}
}
options!(DeleteRunner: request_id);
