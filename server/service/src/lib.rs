//! Use cases: who may, what is decided by the domain, what is written in one transaction.

pub mod abandonment;
pub mod access;
pub mod api_keys;
mod app;
pub mod approval_policies;
mod approvals;
pub mod audit;
pub mod blueprints;
mod cache;
pub mod claims;
pub mod connections;
pub mod connectors;
pub mod dependencies;
pub mod deployments;
pub mod drift;
pub mod environments;
pub mod events;
pub mod explain;
pub mod identify;
pub mod inbound;
pub mod jobs;
pub mod late_results;
pub mod lifetimes;
mod looks;
pub mod master_key;
pub mod metrics;
pub mod operations;
pub mod projects;
mod queue;
pub mod quotas;
pub mod receipts;
pub mod registration;
mod resolution;
pub mod retention;
pub mod runners;
pub mod runs;
mod seal;
pub mod service_accounts;
pub mod state;
mod system;
pub mod teardown;
pub mod tenants;
pub mod tokens;
pub mod updates;
pub mod users;
mod wakeups;
pub mod webhook_deliveries;
pub mod webhook_endpoints;

pub use freehold_store::{INSTALLATION, RequestKey, Store, StoreSettings};

pub use connectors::{Connectors, NoConnectors};

pub use app::{ACCESS_CACHE, App, AppSettings, Issuer, Place, Validator, Write};
pub use seal::{DataKey, MasterKey};
pub use system::{SystemClock, SystemRandom};
