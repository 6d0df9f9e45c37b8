//! The rules of Freehold: types, names, limits and state machines.
//!
//! Pure: nothing here reads a clock, draws a random number, or knows SQL or the wire. A value that exists is valid.

pub mod access;
pub mod approvals;
pub mod audit;
pub mod blueprints;
pub mod commands;
pub mod connection_accounts;
pub mod connections;
pub mod console;
pub mod cron;
pub mod dependencies;
pub mod deployments;
pub mod drift;
pub mod environments;
pub mod error;
pub mod events;
pub mod explain;
pub mod fault;
pub mod iam;
pub mod jobs;
pub mod lifetimes;
pub mod names;
pub mod network;
pub mod notification_rules;
pub mod notifications;
pub mod operations;
pub mod projects;
pub mod queue;
pub mod quotas;
pub mod receipts;
pub mod redact;
pub mod registration;
pub mod resource;
pub mod run_threads;
pub mod runners;
pub mod runs;
pub mod scrapes;
pub mod secret_stores;
pub mod secrets;
pub mod state;
pub mod tenants;
pub mod terraform_state;
pub mod time;
pub mod webhook_deliveries;
pub mod webhook_endpoints;

pub use error::{Error, Reason, Result, Violation, Violations};
