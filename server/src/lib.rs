//! The binary `freehold`, as a library, so that tests start the same server that ships.

pub mod admin;
pub mod args;
pub mod demo;
pub mod dev;
mod keys;
pub mod runner;
pub mod serve;
mod telemetry;

pub use telemetry::{LogFormat, init as init_telemetry};

/// What ends a command with an error: one line for a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
