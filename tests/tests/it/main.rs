//! Stories through the front door: the built binary, real TLS, the SDK, both databases.

mod audit;
mod blueprints;
mod calls_per_day;
mod faults;
mod iam;
mod life;
mod quota_race;
mod requests;
mod tenants;

use freehold_tests::Database::{Postgres, Sqlite};
