//! How the log is written.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt};

/// How the log is written, to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, with request id, trace id and tenant.
    Json,
    /// Lines for people.
    Text,
    /// Warnings and errors only, for people.
    Warnings,
}

/// Begins to write the log. `RUST_LOG` says more precisely what is in it.
pub fn init(format: LogFormat) {
    // What Postgres notes about statements that had nothing to do is no news to an operator, and that NATS is away is said once.
    let default =
        if format == LogFormat::Warnings { "warn,async_nats=off" } else { "info,sqlx::postgres::notice=warn,async_nats=off" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = fmt().with_env_filter(filter).with_ansi(colours).with_writer(io::stderr);
    let begun = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        LogFormat::Text | LogFormat::Warnings => lines.compact().try_init(),
    };
    if begun.is_err() {
        tracing::debug!("the log is being written already");
    }
}
