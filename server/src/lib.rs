//! The binary `freehold`, as a library, so that tests start the same server that ships.

pub mod admin;
pub mod args;
mod bootstrap;
mod connectors;
pub mod demo;
pub mod dev;
mod identity_provider;
mod keys;
pub mod runner;
pub mod serve;
mod telemetry;

pub use telemetry::{LogFormat, init as init_telemetry};

/// What ends a command with an error: one line for a person.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A mistake on the command line, which gives the exit code 2.
#[derive(Debug)]
pub struct Mistake(pub String);

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mistake {}
