//! Duties of each replica of the server, besides answering calls. Every replica does all of them; rows decide who was first.

pub mod nats;
mod webhooks;

use std::{sync::Arc, time::Duration};

use freehold_domain::Result;
use freehold_service::{
    App, commands, drift, events, fan_out, jobs, lifetimes, notifications, retention, run_threads, scrapes, updates,
    webhook_deliveries,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use webhooks::Sender;

/// How often leases and deadlines are looked at.
const REAP: Duration = Duration::from_millis(500);
/// How often it is looked for outputs that have changed and for deployments whose end is near.
const ATTEND: Duration = Duration::from_millis(500);
/// How often it is looked for what is not kept any longer.
const SWEEP: Duration = Duration::from_secs(600);
/// How often it is looked for deployments that are due to be checked for drift, and for connections that are due to be looked at.
const CHECK: Duration = Duration::from_secs(1);
/// How often it is looked for events that nobody told of.
const LOOK: Duration = Duration::from_millis(250);
/// Pause between two batches of that, in which others write.
const BREATH: Duration = Duration::from_millis(100);

/// Takes runs back whose runners were lost, ends what waited too long, follows changes of outputs, sees to deployments that end,
/// looks for drift when that is due, passes events on, does what is asked for elsewhere and shows what came of it, asks for what others
/// could not deliver, and removes what is not kept any longer, until it is stopped.
pub async fn run(app: Arc<App>, lease: Duration, nats: Option<nats::Settings>, stop: CancellationToken) {
    tokio::join!(
        reap(&app, lease, &stop),
        attend(&app, &stop),
        check_drift(&app, &stop),
        sweep(&app, &stop),
        follow_events(&app, &stop),
        hear_events(&app, &stop),
        tell_outside(&app, &stop),
        deliver(&app, &stop),
        attend_to_commands(&app, &stop),
        show_runs(&app, &stop),
        scrape(&app, &stop),
        tell_gathered(&app, &stop),
        notify(&app, &stop),
        publish_events(&app, nats, &stop),
    );
}

/// Does a duty again and again: at once while there is more to do, and else when it is woken, or after a while.
async fn keep_doing<W, N>(duty: &str, every: Duration, stop: &CancellationToken, work: impl Fn() -> W, woken: impl Fn() -> N)
where
    W: Future<Output = Result<bool>>,
    N: Future<Output = ()>,
{
    while !stop.is_cancelled() {
        match work().await {
            Ok(true) => {}
            Ok(false) => tokio::select! {
                () = woken() => {}
                () = pause(every, stop) => {}
            },
            Err(error) => {
                tracing::warn!(duty, error = error.chain(), "a duty could not be done; it is tried again");
                pause(Duration::from_secs(1), stop).await;
            }
        }
    }
}

/// Finds out who wants what has happened.
async fn tell_outside(app: &App, stop: &CancellationToken) {
    keep_doing("telling of what happens", REAP, stop, || fan_out::fan_out(app), || fan_out::news(app)).await;
}

/// Sends what is due to webhooks.
async fn deliver(app: &Arc<App>, stop: &CancellationToken) {
    let work = || async { Ok(webhook_deliveries::deliver(app).await? > 0) };
    keep_doing("deliveries to webhooks", REAP, stop, work, || webhook_deliveries::due(app)).await;
}

/// Does what people ask for in other systems.
async fn attend_to_commands(app: &Arc<App>, stop: &CancellationToken) {
    let work = || async { Ok(commands::attend(app).await? > 0) };
    keep_doing("what is asked for elsewhere", REAP, stop, work, || commands::asked(app)).await;
}

/// Makes notifications of what rules have gathered, when it is time.
async fn tell_gathered(app: &App, stop: &CancellationToken) {
    keep_doing("what rules have gathered", REAP, stop, || notifications::tell(app), || notifications::gathered(app)).await;
}

/// Shows in other systems what has become of runs.
async fn show_runs(app: &Arc<App>, stop: &CancellationToken) {
    let work = || async { Ok(run_threads::show(app).await? > 0) };
    keep_doing("showing runs", REAP, stop, work, || run_threads::due(app)).await;
}

/// Asks other systems for what they could not deliver.
async fn scrape(app: &Arc<App>, stop: &CancellationToken) {
    let work = || async { Ok(scrapes::scrape(app).await? > 0) };
    keep_doing("what others could not deliver", CHECK, stop, work, std::future::pending).await;
}

/// Passes notifications on.
async fn notify(app: &Arc<App>, stop: &CancellationToken) {
    let work = || async { Ok(notifications::deliver(app).await? > 0) };
    keep_doing("notifications", REAP, stop, work, || notifications::due(app)).await;
}

/// Reads the log of events for all who watch it: when this process has committed some, when another replica says so, and from time
/// to time, for what one left behind that died.
async fn follow_events(app: &App, stop: &CancellationToken) {
    keep_doing("reading events", LOOK, stop, || events::follow(app), || app.store().announced()).await;
}

async fn hear_events(app: &App, stop: &CancellationToken) {
    while let Some(heard) = stop.run_until_cancelled(events::listen(app)).await {
        if let Err(error) = heard {
            tracing::debug!(error = error.chain(), "other replicas cannot be heard; their events are looked for instead");
        }
        pause(Duration::from_secs(1), stop).await;
    }
}

async fn publish_events(app: &Arc<App>, nats: Option<nats::Settings>, stop: &CancellationToken) {
    if let Some(settings) = nats {
        nats::publish(app, settings, stop).await;
    }
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
