//! Duties of each replica of the server, besides answering calls. Every replica does all of them; rows decide who was first.

use std::{sync::Arc, time::Duration};

use freehold_service::{App, drift, jobs, lifetimes, retention, updates};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often leases and deadlines are looked at.
const REAP: Duration = Duration::from_millis(500);
/// How often it is looked for outputs that have changed and for deployments whose end is near.
const ATTEND: Duration = Duration::from_millis(500);
/// How often it is looked for what is not kept any longer.
const SWEEP: Duration = Duration::from_secs(600);
/// How often it is looked for deployments that are due to be checked for drift.
const CHECK: Duration = Duration::from_secs(1);
/// Pause between two batches of that, in which others write.
const BREATH: Duration = Duration::from_millis(100);

/// Takes runs back whose runners were lost, ends what waited too long, follows changes of outputs, sees to deployments that end,
/// looks for drift when that is due, and removes what is not kept any longer, until it is stopped.
pub async fn run(app: Arc<App>, lease: Duration, stop: CancellationToken) {
    tokio::join!(reap(&app, lease, &stop), attend(&app, &stop), check_drift(&app, &stop), sweep(&app, &stop));
}

async fn attend(app: &App, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match updates::follow(app).await {
            Ok(0) => {}
            Ok(deployments) => tracing::info!(deployments, "changes of outputs were followed"),
            Err(error) => tracing::warn!(error = error.chain(), "changes of outputs could not be followed"),
        }
        match lifetimes::attend(app).await {
            Ok(0) => {}
            Ok(deployments) => tracing::info!(deployments, "deployments whose end is near were seen to"),
            Err(error) => tracing::warn!(error = error.chain(), "deployments whose end is near could not be seen to"),
        }
        pause(ATTEND, stop).await;
    }
}

/// Takes nothing back before server and database have been up for a whole lease: while one of them was away no runner could keep
/// its lease, and none of them is to be blamed for that.
async fn reap(app: &App, lease: Duration, stop: &CancellationToken) {
    let mut healthy_since = None;
    while !stop.is_cancelled() {
        match app.store().ping().await {
            Ok(()) => {
                healthy_since.get_or_insert_with(Instant::now);
            }
            Err(_) => healthy_since = None,
        }
        if healthy_since.is_some_and(|since: Instant| since.elapsed() >= lease) {
            match jobs::reap(app).await {
                Ok(0) => {}
                Ok(moved) => tracing::info!(moved, "runs whose runner or deadline was lost have moved on"),
                Err(error) => tracing::warn!(error = error.chain(), "leases could not be looked at"),
            }
        }
        pause(REAP, stop).await;
    }
}

async fn check_drift(app: &App, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = drift::tick(app).await {
            tracing::warn!(error = error.chain(), "it could not be looked for deployments that are due to be checked for drift");
        }
        pause(CHECK, stop).await;
    }
}

async fn sweep(app: &App, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let wait = match retention::sweep(app).await {
            Ok(more) => {
                if more {
                    BREATH
                } else {
                    SWEEP
                }
            }
            Err(error) => {
                tracing::warn!(error = error.chain(), "what is not kept any longer could not be removed");
                SWEEP
            }
        };
        pause(wait, stop).await;
    }
}

async fn pause(time: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(time) => {}
    }
}
