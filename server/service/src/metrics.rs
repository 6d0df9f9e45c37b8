//! What is counted, for Prometheus: in the text form of OpenMetrics 1.0.
//!
//! No tenant, project or deployment is a label: there are too many, and whoever may scrape may not see them.

use std::{fmt, sync::OnceLock};

use freehold_domain::{Result, drift::DriftClass, notifications::SendState, runs::RunOutcome};
use freehold_store::{event_consumers, managed_resources};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, NoLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::{app::App, connectors::Figures, events::relay};

/// What a scraper is told the text is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<const N: usize> = [(&'static str, String); N];

/// Counters of this replica since its start.
pub(crate) struct Metrics {
    registry: Registry,
    renders: Family<Labels<2>, Counter>,
    deployments: Family<Labels<2>, Counter>,
    drift: Family<Labels<1>, Counter>,
    inbound: Family<Labels<2>, Counter>,
    notifications: Family<Labels<1>, Counter>,
    /// Of the one who passes events on, by its name, where there is one.
    relay: OnceLock<(&'static str, relay::Figures)>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let renders = Family::default();
        registry.register("iac_renders", "Blueprints that an engine has made a plan of, or could not", renders.clone());
        let deployments = Family::default();
        registry.register("deployments", "Runs that change deployments, by how they ended", deployments.clone());
        let drift = Family::default();
        registry.register("drift_detected", "Findings of checks for drift, by what is known of them", drift.clone());
        let inbound = Family::default();
        registry.register("inbound_messages", "Calls of other systems, by what became of them", inbound.clone());
        let notifications = Family::default();
        registry.register("notification_attempts", "Messages of rules, by where they stood after a try", notifications.clone());
        Self { registry, renders, deployments, drift, inbound, notifications, relay: OnceLock::new() }
    }

    /// Counts one who passes events on, from now on.
    pub(crate) fn relayed(&self, name: &'static str) -> relay::Figures {
        self.relay.get_or_init(|| (name, relay::Figures::default())).1.clone()
    }

    pub(crate) fn rendered(&self, engine: &str, well: bool) {
        let result = if well { "ok" } else { "failed" };
        self.renders.get_or_create(&[("engine", engine.to_owned()), ("result", result.to_owned())]).inc();
    }

    pub(crate) fn deployment_ended(&self, engine: &str, outcome: RunOutcome) {
        let outcome = outcome.as_str().to_ascii_lowercase();
        self.deployments.get_or_create(&[("engine", engine.to_owned()), ("outcome", outcome)]).inc();
    }

    /// `outcome` is `accepted`, `repeated`, or why it was refused.
    pub(crate) fn message_came(&self, connector: &str, outcome: &str) {
        self.inbound.get_or_create(&[("connector", connector.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    pub(crate) fn notification_tried(&self, state: SendState) {
        self.notifications.get_or_create(&[("state", state.as_str().to_ascii_lowercase())]).inc();
    }

    pub(crate) fn drift_detected(&self, classes: &[DriftClass]) {
        for class in classes {
            self.drift.get_or_create(&[("class", class.as_str().to_ascii_lowercase())]).inc();
        }
    }
}

/// What connections come to, by connector.
fn add_connectors(sums: &mut Registry, connectors: Vec<Figures>) {
    let calls = Family::<Labels<3>, Counter>::default();
    sums.register("connector_calls", "Calls of operations, by what came of them", calls.clone());
    let retries = Family::<Labels<1>, Counter>::default();
    sums.register("connector_retries", "Requests that were sent again", retries.clone());
    let gauges = [
        ("connector_open_breakers", "Connections whose calls are refused, because those before them failed"),
        ("connector_in_flight", "Requests under way"),
        ("connector_waiting", "Calls that wait for their turn"),
    ]
    .map(|(name, help)| {
        let gauge = Family::<Labels<1>, Gauge>::default();
        sums.register(name, help, gauge.clone());
        gauge
    });
    for figures in &connectors {
        let label = || ("connector", figures.connector.to_owned());
        for (operation, outcome, count) in &figures.calls {
            let labels = [label(), ("operation", (*operation).to_owned()), ("outcome", (*outcome).to_owned())];
            calls.get_or_create(&labels).inc_by(*count);
        }
        retries.get_or_create(&[label()]).inc_by(figures.retries);
        for (gauge, value) in gauges.iter().zip([figures.open_breakers, figures.in_flight, figures.waiting]) {
            gauge.get_or_create(&[label()]).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
    if !connectors.is_empty() {
        sums.register_collector(Box::new(Latency(connectors)));
    }
}

/// How long requests took.
#[derive(Debug)]
struct Latency(Vec<Figures>);

impl Collector for Latency {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "How long requests to other systems took";
        let mut family = encoder.encode_descriptor("connector_request", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for figures in &self.0 {
            let labels: Labels<1> = [("connector", figures.connector.to_owned())];
            let mut one = family.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(figures.took.as_secs_f64(), figures.requests, &figures.latency, None)?;
        }
        Ok(())
    }
}

/// Everything that is counted, as text of the type [`CONTENT_TYPE`].
///
/// # Errors
/// Fails with `DEPENDENCY_DOWN` when the database does not answer.
pub async fn text(app: &App) -> Result<String> {
    let totals = managed_resources::totals(&mut app.store.read().await?).await?;
    // Made anew for each answer, because scrapers may come at the same time.
    let mut sums = Registry::default();
    let resources = Family::<Labels<2>, Gauge>::default();
    sums.register("managed_resources", "Resources in the states of all deployments", resources.clone());
    for ((engine, group), count) in totals {
        resources.get_or_create(&[("engine", engine), ("type_group", group)]).set(count);
    }
    if let Some((name, figures)) = app.metrics.relay.get() {
        let lag = Gauge::<i64>::default();
        lag.set(event_consumers::behind(&mut app.store.read().await?, name).await?);
        sums.register(format!("{name}_events_published"), "Events that were taken", figures.published.clone());
        sums.register(format!("{name}_events_behind"), "Events that wait to be taken", lag);
        sums.register(format!("{name}_connected"), "Whether there is a connection", figures.connected.clone());
    }
    add_connectors(&mut sums, app.connectors.figures());
    let mut text = String::new();
    // Nothing that is written to a string fails.
    let _ = encode_registry(&mut text, &app.metrics.registry)
        .and_then(|()| encode_registry(&mut text, &sums))
        .and_then(|()| encode_eof(&mut text));
    Ok(text)
}
