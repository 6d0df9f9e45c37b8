//! Webhooks: how many deliveries one replica makes in a second.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use freehold_tests::Database;
use futures::future::try_join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{Bench, Failure, events::Tenant};

/// Events of each tenant: what its endpoint is sent without a pause, which is forty at once and twenty a second from then on.
const EVENTS: usize = 40;
/// How long all deliveries may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Bench {
    /// Every tenant has an endpoint, of one receiver; their projects change as fast as the server takes it.
    pub(crate) async fn webhooks(&mut self, database: Database, tenants: &[Tenant]) -> Result<(), Failure> {
        let mut receiver = Receiver::start().await?;
        for tenant in tenants {
            tenant.writer.webhooks().create("bench", &receiver.url).kind("project.updated").send().await?;
        }
        let begun = Instant::now();
        let writes = tenants.iter().map(|tenant| async move {
            for change in 0..EVENTS {
                tenant.writer.projects().update("shop").display_name(format!("told {change}")).send().await?;
            }
            Ok::<_, Failure>(())
        });
        try_join_all(writes).await?;
        let written = begun.elapsed().as_secs_f64();
        let count = tenants.len() * EVENTS;
        let all = timeout(PATIENCE, receiver.count.wait_for(|received| *received >= count)).await.map(drop);
        let received = *receiver.count.borrow();
        all.map_err(|_| format!("{received} of {count} deliveries came in {PATIENCE:?}"))?;
        let delivered = begun.elapsed().as_secs_f64();
        for tenant in tenants {
            tenant.writer.webhooks().delete("bench").send().await?;
        }
        let (rate, writes) = (count as f64 / delivered, count as f64 / written);
        let name = format!("webhooks, {database:?}");
        println!(
            "{name:32} {rate:10.0} deliveries/s by one replica, of {count} events of {} endpoints ({writes:.0} events/s; the last one came \
             {:.1} s after the last write)",
            tenants.len(),
            delivered - written,
        );
        self.rows.push((name, json!({ "deliveries_per_second": rate, "events_per_second": writes, "deliveries": count })));
        Ok(())
    }
}

/// Answers 200 at once, and counts deliveries by their ids.
struct Receiver {
    url: String,
    count: watch::Receiver<usize>,
    accepting: JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}/", listener.local_addr()?);
        let seen: Arc<Mutex<HashSet<String>>> = Arc::default();
        let (told, count) = watch::channel(0);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, told) = (Arc::clone(&seen), told.clone());
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (seen, told) = (Arc::clone(&seen), told.clone());
                    async move {
                        let id =
                            request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
                        if request.into_body().collect().await.is_ok() {
                            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                            seen.insert(id);
                            told.send_replace(seen.len());
                        }
                        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        Ok(Self { url, count, accepting })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
