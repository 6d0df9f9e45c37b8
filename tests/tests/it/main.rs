//! Stories through the front door: the built binary, real TLS, the SDK, both databases.

mod life;

use freehold_tests::Database::{Postgres, Sqlite};
