//! Connectors: how Freehold talks to other systems.
//!
//! A [`Connector`] is one vendor: what a connection to it needs, what can be asked of it, what it calls us for. It has no state. A
//! [`Registry`] keeps the way out of each connection ([`Outbound`]), and a [`Context`] is one call on it:
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use freehold_connectors::{Connector, ConnectorError, Credentials, Registry};
//! # async fn example(registry: Registry, settings: serde_json::Value) -> Result<(), ConnectorError> {
//! let secrets = Arc::new(Credentials::none().with("bot_token", "xoxb-…"));
//! let cx = registry.context("connections/ops", 3, "slack", &settings, secrets)?.within(Duration::from_secs(20)).keyed("run-7");
//! let slack = Arc::clone(registry.connector("slack").expect("there is one"));
//! let sent = slack.invoke(&cx, "messages.post", serde_json::json!({ "channel": "C1", "text": "applied" })).await?;
//! # Ok(()) }
//! ```
//!
//! Nothing here stores anything or knows who asks; whoever calls decides both. Every failure is a [`ConnectorError`] of one of ten
//! kinds, without secrets.

mod archive;
mod connector;
mod context;
mod credentials;
mod error;
pub mod github;
mod inbound;
mod oauth;
pub mod oidc;
mod outbound;
mod registry;
pub mod schema;
mod signature;
pub mod slack;
pub mod smtp;
pub mod standard_webhooks;
mod trees;
pub mod webhook;

use std::sync::Arc;

pub use connector::{CheckReport, Connector, CredentialSlot, Effect, InboundManifest, Manifest, Operation};
pub use context::Context;
pub use credentials::{CredentialSource, Credentials};
pub use error::{ConnectorError, ErrorKind, Halt};
pub use inbound::{Inbound, InboundRequest, Reason, Refused, Replays};
pub use oauth::{DeviceCode, Grant, OAuth, Polled};
pub use outbound::{
    BreakerLimits, BreakerState, Environment, LATENCY_BOUNDS, Limits, Lookup, Outbound, RetryLimits, Snapshot, SystemLookup,
};
pub use registry::{Registry, Totals};
pub use trees::Trees;

/// Every connector that there is.
pub fn all() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(github::GitHub::new()),
        Arc::new(slack::Slack::new()),
        Arc::new(smtp::Smtp::new()),
        Arc::new(webhook::Webhook::new()),
    ]
}
