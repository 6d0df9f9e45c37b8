//! Stories through the front door: the built binary, real TLS, the SDK, both databases.

mod audit;
mod blueprints;
mod calls_per_day;
mod iam;
mod faults;
mod life;
mod tenants;
mod requests;
mod quota_race;

use freehold_tests::Database::{Postgres, Sqlite};
