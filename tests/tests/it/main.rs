//! Stories through the front door: the built binary, real TLS, the SDK, both databases.

/// Tells a story on both databases, each as a test of its own.
macro_rules! both_databases {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn on_sqlite() {
                $crate::told(super::$name($crate::Sqlite)).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_postgres() {
                $crate::told(super::$name($crate::Postgres)).await;
            }
        }
    };
}

mod apply_faults;
mod approval_policies;
mod approvals;
mod audit;
mod bad_luck;
mod blueprints;
mod calls_per_day;
mod canaries;
mod cancel;
mod chat;
mod chat_github;
mod cli;
mod clocks;
mod conformance;
mod connections;
mod dependencies;
mod drain;
mod drift;
mod events;
mod explain;
mod faults;
mod foreign_identity;
mod hidden_output;
mod hostile_runner;
mod iam;
mod import;
mod inbound;
mod infrastructure;
mod late_results;
mod later;
mod life;
mod lifetimes;
mod metrics;
mod misuse;
mod nats;
mod notifications;
mod poison;
mod privacy;
mod queue;
mod quota_race;
mod receipts;
mod registration;
mod replays;
mod reports;
mod repositories;
mod requests;
mod retention;
mod rotation;
mod row_security;
mod rubbish;
mod runner_drain;
mod runs;
mod sandbox;
mod scrapes;
mod scripted_runner;
mod secret_stores;
mod secrets;
mod sign_in;
mod sources;
mod state;
mod superseding;
mod suspension;
mod sweep;
mod tenants;
mod terraform;
mod webhooks;

use freehold_tests::{
    Database::{Postgres, Sqlite},
    told,
};
