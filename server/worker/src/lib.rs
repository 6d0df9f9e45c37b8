//! Duties of each replica of the server, besides answering calls. Every replica does all of them; rows decide who was first.

use std::{sync::Arc, time::Duration};

use freehold_service::{App, INSTALLATION, jobs};
use freehold_store::forget_answers;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often leases and deadlines are looked at.
const REAP: Duration = Duration::from_millis(500);
/// How often old answers are forgotten.
const SWEEP: Duration = Duration::from_secs(600);

/// Takes runs back whose runners were lost, ends what waited too long, and forgets old answers, until it is stopped.
///
/// It takes nothing back before server and database have been up for a whole lease: while one of them was away no runner could
/// keep its lease, and none of them is to be blamed for that.
pub async fn run(app: Arc<App>, lease: Duration, stop: CancellationToken) {
    let mut sweep = Instant::now();
    let mut healthy_since = None;
    while !stop.is_cancelled() {
        match app.store().ping().await {
            Ok(()) => {
                healthy_since.get_or_insert_with(Instant::now);
            }
            Err(_) => healthy_since = None,
        }
        if healthy_since.is_some_and(|since: Instant| since.elapsed() >= lease) {
            match jobs::reap(&app).await {
                Ok(0) => {}
                Ok(moved) => tracing::info!(moved, "runs whose runner or deadline was lost have moved on"),
                Err(error) => tracing::warn!(error = %error, "leases could not be looked at"),
            }
        }
        if Instant::now() >= sweep {
            sweep = Instant::now() + SWEEP;
            if let Err(error) = forget(&app).await {
                tracing::warn!(error = %error, "old answers could not be forgotten");
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(REAP) => {}
        }
    }
}

async fn forget(app: &App) -> freehold_domain::Result<()> {
    let mut tx = app.store().begin_as("server", INSTALLATION).await?;
    forget_answers(&mut tx).await?;
    tx.commit(&()).await
}
