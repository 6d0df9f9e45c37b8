//! Events: how long one takes to those who watch, what somebody costs who watches while nothing happens, and webhooks.

use std::time::{Duration, SystemTime};

use freehold::Client;
use freehold_proto::events::v1::{WatchEventsRequest, WatchEventsResponse, event_service_client::EventServiceClient};
use freehold_tests::{Database, World};
use futures::future::try_join_all;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tonic::{Status, Streaming};

use crate::{Bench, Failure, resident};

/// Tenants; in each of them somebody with one connection watches.
const TENANTS: usize = 100;
/// Watchers of each tenant who get its events.
const WATCHERS: usize = 10;
/// Watchers of each tenant who wait.
const IDLE: usize = 100;
/// Events of all tenants together.
const PER_SECOND: usize = 1000;
/// How long whoever is behind may take for the rest.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for every idle watcher to be told once that nothing has happened.
const SETTLED: Duration = Duration::from_secs(12);

/// One tenant.
pub(crate) struct Tenant {
    name: String,
    /// Changes its one project.
    pub writer: Client,
    reader: Client,
}

impl Bench {
    /// All of it, on both databases.
    pub(crate) async fn events(&mut self) -> Result<(), Failure> {
        println!(
            "events: {TENANTS} tenants, {WATCHERS} watchers of each; each event goes to the {WATCHERS} of its tenant. Lags are from the time \
             in an event, which its transaction begins with, to its receipt, by the clock of this machine, which both processes read: more than \
             from its commit, as those after the answer are less."
        );
        for database in [Database::Sqlite, Database::Postgres] {
            let world = World::with(database, &["--connections-allow-private"]).await;
            let mut tenants = Vec::new();
            for number in 0..TENANTS {
                let id = format!("t{number}");
                let writer = world.tenant(&id).await;
                writer.projects().create("shop").send().await?;
                let reader = world.person(&id, "ada", &["tenant-admin"]).await;
                // Its connection is made, and is not what a watcher costs.
                reader.projects().get("shop").send().await?;
                tenants.push(Tenant { name: format!("tenants/{id}"), writer, reader });
            }
            self.idle(database, &world, &tenants).await?;
            self.lag(database, &tenants).await?;
            self.webhooks(database, &tenants).await?;
        }
        Ok(())
    }

    /// Memory of the server with all of them, beyond that with their connections and one watcher on each.
    async fn idle(&mut self, database: Database, world: &World, tenants: &[Tenant]) -> Result<(), Failure> {
        let pid = world.replica.process.id();
        let mut watchers = JoinSet::new();
        for tenant in tenants {
            wait(tenant, 1, &mut watchers).await?;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = resident(pid)?;
        let begun = Instant::now();
        for tenant in tenants {
            wait(tenant, IDLE, &mut watchers).await?;
        }
        let opened = begun.elapsed();
        tokio::time::sleep(SETTLED).await;
        let after = resident(pid)?;
        if let Some(ended) = watchers.try_join_next() {
            return Err(format!("a watch has ended: {ended:?}").into());
        }
        let count = TENANTS * IDLE;
        let each = (after as f64 - before as f64) / count as f64;
        let name = format!("idle watcher, {database:?}");
        println!(
            "{name:32} {each:10.1} KiB each: {:.1} MiB with {TENANTS} connections, {:.1} MiB with {count} watchers on them ({:.0} opened a second)",
            before as f64 / 1024.0,
            after as f64 / 1024.0,
            count as f64 / opened.as_secs_f64(),
        );
        self.rows.push((name, json!({ "kib": each, "before_kib": before, "after_kib": after, "watchers": count })));
        Ok(())
    }

    /// Real changes at a steady rate, and when each watcher of their tenants hears of them.
    async fn lag(&mut self, database: Database, tenants: &[Tenant]) -> Result<(), Failure> {
        let seconds = self.seconds.parse::<f64>().map_or(10, |seconds| seconds.ceil() as usize).max(1);
        let rounds = seconds * PER_SECOND / TENANTS;
        let mut watchers = JoinSet::new();
        for (number, tenant) in tenants.iter().enumerate() {
            for news in watch(tenant, WATCHERS).await? {
                watchers.spawn(async move { Ok::<_, Failure>((number, lags(news, rounds).await?)) });
            }
        }
        let begun = Instant::now();
        // Each tenant changes its project at its own pace, one change after the other: two at once would refuse each other.
        let writes = tenants.iter().enumerate().map(|(number, tenant)| async move {
            let pace = Duration::from_secs_f64(TENANTS as f64 / PER_SECOND as f64);
            let mut tick = interval_at(begun + pace.mul_f64(number as f64 / TENANTS as f64), pace);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut answered = Vec::with_capacity(rounds);
            for round in 0..rounds {
                tick.tick().await;
                let asked = Instant::now();
                tenant.writer.projects().update("shop").display_name(format!("{round}")).send().await?;
                answered.push((asked, Instant::now()));
            }
            Ok::<_, Failure>(answered)
        });
        let answered = try_join_all(writes).await?;
        let mut took: Vec<f64> = answered.iter().flatten().map(|(asked, answered)| millis(*answered - *asked)).collect();
        let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
        let (mut heard, mut after) = (Vec::new(), Vec::new());
        while let Some(lags) =
            timeout(PATIENCE, watchers.join_next()).await.map_err(|_| "watchers were not told of all events")?
        {
            let (number, lags) = lags??;
            // The events of a project come in the order in which it was changed.
            for ((lag, received), (_, answered)) in lags.iter().zip(&answered[number]) {
                heard.push(*lag);
                after.push(millis(received.saturating_duration_since(*answered)));
            }
        }
        let ([p50, p99], [after50, after99]) = (shares(&mut heard), shares(&mut after));
        let [write50, write99] = shares(&mut took);
        let name = format!("watchers, {database:?}");
        println!(
            "{name:32} p50 {p50:7.2} ms   p99 {p99:7.2} ms   of {} receipts of {} events, {rate:.0} events/s (after the answer to the write: p50 {after50:.2} ms, p99 {after99:.2} ms; writes: p50 {write50:.2} ms, p99 {write99:.2} ms)",
            heard.len(),
            took.len(),
        );
        let figures = json!({
            "latency_ms": { "p50": p50, "p99": p99 },
            "after_answer_ms": { "p50": after50, "p99": after99 },
            "write_ms": { "p50": write50, "p99": write99 },
            "events_per_second": rate,
            "receipts": heard.len(),
        });
        self.rows.push((name, figures));
        Ok(())
    }
}

/// Opens so many watches of a tenant that wait for what does not happen; each ends with the reason.
async fn wait(tenant: &Tenant, count: usize, watchers: &mut JoinSet<Result<(), Status>>) -> Result<(), Failure> {
    for mut news in watch(tenant, count).await? {
        news.message().await?.ok_or("a watch begins with a token")?;
        watchers.spawn(async move {
            while news.message().await?.is_some() {}
            Ok(())
        });
    }
    Ok(())
}

/// So many watches of a tenant, over one connection, from now on.
async fn watch(tenant: &Tenant, count: usize) -> Result<Vec<Streaming<WatchEventsResponse>>, Failure> {
    let channel = tenant.reader.raw().ok_or("there is a connection")?;
    let opened = (0..count).map(|_| {
        let request =
            WatchEventsRequest { parent: tenant.name.clone(), kinds: vec!["project.updated".to_owned()], ..Default::default() };
        let mut events = EventServiceClient::new(channel.clone());
        async move { Ok::<_, Failure>(events.watch_events(request).await?.into_inner()) }
    });
    try_join_all(opened).await
}

/// How long so many events took to here, in milliseconds, and when they came.
async fn lags(mut news: Streaming<WatchEventsResponse>, count: usize) -> Result<Vec<(f64, Instant)>, Failure> {
    let mut lags = Vec::with_capacity(count);
    while lags.len() < count {
        let message = news.message().await?.ok_or("the watch has ended")?;
        let (now, received) = (SystemTime::now(), Instant::now());
        for event in message.events {
            let time = SystemTime::try_from(event.time.ok_or("an event has a time")?)?;
            lags.push((millis(now.duration_since(time).unwrap_or_default()), received));
        }
    }
    Ok(lags)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The middle, and what only one in a hundred exceeds.
fn shares(figures: &mut [f64]) -> [f64; 2] {
    figures.sort_by(f64::total_cmp);
    [0.5, 0.99]
        .map(|share| figures.get(((figures.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN))
}
