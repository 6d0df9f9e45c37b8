//! The runner: takes jobs from a server, has an engine do them, and reports every step.
//!
//! It talks to RunnerService only, and knows nothing of a database. `freehold dev` has one in its own process, over the same
//! protocol.

mod job;
mod sink;
mod summary;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use freehold::raw::{
    RawChannel,
    proto::runners::v1::{AcquireJobRequest, HeartbeatRequest, runner_service_client::RunnerServiceClient},
};
use freehold_domain::fault;
use freehold_engines::Engines;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Largest message of a job: a plan with its state.
const MESSAGE: usize = 16 << 20;
/// Pause after a call that failed, so that a server that is down is not asked without end.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) type Server = RunnerServiceClient<RawChannel>;

/// What a runner is made of.
pub struct Runner {
    /// The server, over a runner's certificate.
    pub channel: RawChannel,
    /// The engines it has.
    pub engines: Engines,
    /// Jobs at a time.
    pub capacity: u16,
}

impl Runner {
    /// Takes and does jobs until it is told to stop; then finishes what it has.
    pub async fn run(self, stop: CancellationToken) {
        let server = RunnerServiceClient::new(self.channel).max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE);
        let running = Arc::new(AtomicI32::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(heartbeats(server.clone(), self.engines.clone(), self.capacity, Arc::clone(&running), stop.clone()));
        for _ in 0..self.capacity.max(1) {
            tasks.spawn(work(server.clone(), self.engines.clone(), Arc::clone(&running), stop.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// Asks for work and does it, one job after the other.
async fn work(mut server: Server, engines: Engines, running: Arc<AtomicI32>, stop: CancellationToken) {
    let names: Vec<String> = engines.names().into_iter().map(str::to_owned).collect();
    while !stop.is_cancelled() {
        // The same id until there is an answer: a job whose answer was lost comes again.
        let ask = AcquireJobRequest { request_id: uuid::Uuid::now_v7().to_string(), engines: names.clone() };
        let job = loop {
            let answer = tokio::select! {
                () = stop.cancelled() => return,
                answer = server.acquire_job(ask.clone()) => answer,
            };
            match answer {
                Ok(answer) => break answer.into_inner().job,
                Err(status) => {
                    tracing::warn!(error = %freehold::raw::error(status), "no answer to the ask for work");
                    pause(&stop).await;
                    if stop.is_cancelled() {
                        return;
                    }
                }
            }
        };
        if let Some(job) = job {
            fault::point("runner.acquired");
            running.fetch_add(1, Ordering::Relaxed);
            job::execute(&server, &engines, job).await;
            running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

async fn heartbeats(mut server: Server, engines: Engines, capacity: u16, running: Arc<AtomicI32>, stop: CancellationToken) {
    let names: Vec<String> = engines.names().into_iter().map(str::to_owned).collect();
    loop {
        let beat = HeartbeatRequest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engines: names.clone(),
            capacity: capacity.into(),
            running: running.load(Ordering::Relaxed),
        };
        let wait = match server.heartbeat(beat).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                if answer.drain && !stop.is_cancelled() {
                    tracing::info!("told to drain: finishing what is under way");
                    stop.cancel();
                }
                answer.interval.and_then(|interval| Duration::try_from(interval).ok()).unwrap_or(PAUSE)
            }
            Err(status) => {
                tracing::warn!(error = %freehold::raw::error(status), "heartbeat failed");
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(PAUSE) => {}
    }
}
