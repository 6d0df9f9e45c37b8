//! The runner: takes jobs from a server, has an engine do them, and reports every step.
//!
//! It talks to RunnerService only, and knows nothing of a database. `freehold dev` has one in its own process, over the same
//! protocol.

mod folder;
mod job;
mod late;
mod patience;
pub mod registration;
pub mod sandbox;
mod secrets;
mod sink;
mod summary;
mod turns;

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use freehold::{
    Code, Error,
    raw::{
        RawChannel,
        proto::runners::v1::{
            AcquireJobRequest, HeartbeatRequest, HeartbeatResponse, runner_service_client::RunnerServiceClient,
        },
    },
};
use freehold_domain::fault;
use freehold_engines::{Confinement, Engines};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    patience::{Patience, Troubles},
    turns::Turns,
};
pub use folder::Folder;
pub use secrets::Secrets;

/// Largest message of a job: a plan with its state.
const MESSAGE: usize = 16 << 20;
/// Between two heartbeats, when the server does not say.
const BEAT: Duration = Duration::from_millis(500);

pub(crate) type Server = RunnerServiceClient<RawChannel>;

/// What a runner is made of.
pub struct Runner {
    /// The server, over a runner's certificate.
    pub channel: RawChannel,
    /// The engines it has.
    pub engines: Engines,
    /// Jobs at a time.
    pub capacity: u16,
    /// What outlives it.
    pub folder: Folder,
    /// Which secrets of tenants it reads.
    pub secrets: Secrets,
    /// What keeps programs of engines from its machine.
    pub confinement: Confinement,
    /// Labels that its operator gave it.
    pub labels: BTreeMap<String, String>,
}

/// What all tasks of a runner share.
#[derive(Clone)]
struct Shared {
    server: Server,
    engines: Engines,
    capacity: u16,
    /// Tells this life of the runner from those before.
    incarnation: Uuid,
    folder: Folder,
    secrets: Secrets,
    confinement: Confinement,
    labels: BTreeMap<String, String>,
    running: Arc<AtomicI32>,
    turns: Turns,
    troubles: Arc<Troubles>,
    stop: CancellationToken,
}

impl Runner {
    /// Takes and does jobs until it is told to stop; then finishes what it has. A server that is away is waited for.
    ///
    /// # Errors
    /// When the server refuses it for good before it has ever accepted it: the address is no runner listener, or the certificate
    /// is not a runner's.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let server = RunnerServiceClient::new(self.channel).max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE);
        let shared = Shared {
            server,
            engines: self.engines,
            capacity: self.capacity,
            incarnation: Uuid::now_v7(),
            folder: self.folder,
            secrets: self.secrets,
            confinement: self.confinement,
            labels: self.labels,
            running: Arc::default(),
            turns: Turns::default(),
            troubles: Arc::default(),
            stop,
        };
        // What is begun from now on is this life's own.
        let left = shared.folder.applies();
        let Some(wait) = register(shared.clone()).await? else { return Ok(()) };
        let (engines, sandbox) = (shared.names().join(","), shared.confinement);
        tracing::info!(engines, capacity = shared.capacity, %sandbox, "registered; waiting for work");
        let mut tasks = JoinSet::new();
        tasks.spawn(heartbeats(shared.clone(), wait));
        for place in 0..shared.capacity.max(1) {
            tasks.spawn(work(shared.clone(), place));
        }
        for apply in left {
            let Shared { server, engines, turns, folder, stop, .. } = shared.clone();
            tasks.spawn(async move {
                stop.run_until_cancelled(late::leftover(server, engines, turns, folder, apply.run)).await;
            });
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    }
}

impl Shared {
    fn names(&self) -> Vec<String> {
        self.engines.names().into_iter().map(str::to_owned).collect()
    }

    /// Says that this runner is there; answers when to say so again.
    async fn beat(&mut self) -> Result<Duration, Error> {
        let beat = HeartbeatRequest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engines: self.names(),
            capacity: self.capacity.into(),
            running: self.running.load(Ordering::Relaxed),
            sandbox: self.confinement.to_string(),
            platform: format!("{}/{}", env::consts::OS, env::consts::ARCH),
            engine_versions: self.engines.versions(),
            labels: self.labels.clone(),
        };
        let answer = self.server.heartbeat(beat).await.map_err(freehold::raw::error)?;
        self.troubles.over();
        let HeartbeatResponse { drain, interval, .. } = answer.into_inner();
        if drain && !self.stop.is_cancelled() {
            tracing::info!("told to drain: finishing what is under way");
            self.stop.cancel();
        }
        Ok(interval.and_then(|interval| Duration::try_from(interval).ok()).unwrap_or(BEAT))
    }
}

/// The first heartbeat; answers when the next one is due, or nothing when it is told to stop before.
async fn register(mut shared: Shared) -> Result<Option<Duration>, Error> {
    let stop = shared.stop.clone();
    let mut patience = Patience::default();
    loop {
        let beat = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            beat = shared.beat() => beat,
        };
        match beat {
            Ok(wait) => return Ok(Some(wait)),
            Err(error) => {
                if let Some(refusal) = refusal(&error) {
                    return Err(refusal);
                }
                shared.troubles.note(&error);
                patience.pause(&error, &stop).await;
            }
        }
    }
}

/// What a person has to mend before this server takes this runner; nothing for what may pass.
fn refusal(error: &Error) -> Option<Error> {
    let what = match error.code() {
        Code::Unimplemented => {
            "this address takes no runners: it is the api listener, or no Freehold at all; --endpoint must name the runner \
             listener, port 7445 unless `serve --runner-addr` says otherwise"
                .to_owned()
        }
        Code::PermissionDenied => format!("{}: one that names runnerPools/POOL/runners/NAME", error.message()),
        Code::Unauthenticated => error.message().to_owned(),
        _ => return None,
    };
    Some(Error::new(error.code(), what))
}

/// Asks for work and does it, one job after the other.
async fn work(mut shared: Shared, place: u16) {
    let (names, stop) = (shared.names(), shared.stop.clone());
    // What an earlier life of this runner was given, it goes on with.
    let mut last = shared.folder.last_ask(place);
    while !stop.is_cancelled() {
        // The same id until there is an answer: a job whose answer was lost comes again.
        let id = last.take().unwrap_or_else(Uuid::now_v7);
        shared.folder.remember_ask(place, id);
        let ask = AcquireJobRequest {
            request_id: id.to_string(),
            engines: names.clone(),
            incarnation_id: shared.incarnation.to_string(),
        };
        let mut patience = Patience::default();
        let job = loop {
            let answer = tokio::select! {
                () = stop.cancelled() => return,
                answer = shared.server.acquire_job(ask.clone()) => answer,
            };
            match answer {
                Ok(answer) => break answer.into_inner().job,
                Err(status) => {
                    let error = freehold::raw::error(status);
                    shared.troubles.note(&error);
                    patience.pause(&error, &stop).await;
                    if stop.is_cancelled() {
                        return;
                    }
                }
            }
        };
        shared.troubles.over();
        if let Some(job) = job {
            fault::point("runner.acquired");
            shared.running.fetch_add(1, Ordering::Relaxed);
            job::execute(&shared.server, &shared.engines, &shared.secrets, &shared.turns, &shared.folder, job).await;
            shared.running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

async fn heartbeats(mut shared: Shared, mut wait: Duration) {
    let stop = shared.stop.clone();
    let mut patience = Patience::default();
    while stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        match shared.beat().await {
            Ok(next) => (wait, patience) = (next, Patience::default()),
            Err(error) => {
                shared.troubles.note(&error);
                wait = patience.next(&error);
            }
        }
    }
}
