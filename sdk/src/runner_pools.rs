//! Runner pools and the runners in them.

use std::collections::BTreeMap;

use freehold_proto::runners::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, fields, options, request, service},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{resource, values},
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
    }
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
