//! The only code that sees SQL. One text of each statement runs on Postgres and on SQLite.
//!
//! One file per entity, one function per statement. The tenant comes first, absent is `None`, and the version that a writer has
//! seen is part of the `WHERE`.

#[macro_use]
mod session;
#[macro_use]
mod entity;

pub mod access;
pub mod approval_policies;
pub mod audit;
pub mod blueprint_versions;
pub mod blueprints;
pub mod connection_accounts;
pub mod connections;
pub mod dependencies;
pub mod deployments;
pub mod drift_exceptions;
pub mod drift_items;
pub mod environments;
pub mod event_consumers;
pub mod events;
pub mod inbound_messages;
pub mod managed_resources;
pub mod master_key;
mod migrate;
pub mod notification_groups;
pub mod notification_rules;
pub mod notifications;
pub mod operations;
pub mod payloads;
mod postgres;
pub mod projects;
pub mod queue;
pub mod quotas;
mod reads;
pub mod receipts;
pub mod registration;
pub mod retention;
pub mod run_threads;
pub mod runners;
pub mod runs;
pub mod scrapes;
pub mod secret_stores;
pub mod service_accounts;
mod sqlite;
mod store;
pub mod tenants;
mod turns;
mod tx;
pub mod users;
pub mod webhook_deliveries;
pub mod webhook_endpoints;

pub use session::Session;
pub use store::{Store, StoreSettings};
pub use tx::{INSTALLATION, RequestKey, Tx};
