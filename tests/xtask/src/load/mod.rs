//! `cargo xtask load`: one method of any gRPC server, called again and again.
//!
//! Requests are encoded once, and travel as bytes over HTTP/2 on one thread, so that the tool takes little of the machine that
//! it shares with the server. It believes its figures only when nothing else ran meanwhile.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::Failure;

mod cpu;
mod drive;
mod payload;
mod reflect;
mod report;
mod target;

pub use report::Report;

/// Exit code of a run whose figures mean nothing because other processes took part of the machine.
pub const REJECTED: u8 = 3;

/// What is called, how, and how often.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Server, host:port
    #[arg(long, value_name = "HOST:PORT")]
    pub address: String,
    /// Method, package.Service/Method
    #[arg(long, value_name = "METHOD")]
    pub call: String,
    /// Request as JSON; {{uuid}} and {{n}} (ten digits, counting up) inside of strings are new for every call
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub data: String,
    /// PEM file with the authority of the server
    #[arg(long, value_name = "FILE", required_unless_present = "plaintext", conflicts_with = "plaintext")]
    pub ca: Option<PathBuf>,
    /// PEM file with the client certificate
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "plaintext")]
    pub cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Without TLS
    #[arg(long)]
    pub plaintext: bool,
    /// HTTP/2 connections
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Calls under way at a time, over all connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// How long it is measured
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    pub seconds: Duration,
    /// How long calls are made before it is measured
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    pub warm_up: Duration,
    /// Calls begun each second, whether earlier ones have ended or not; latency counts from the moment a call was due
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: Option<u32>,
    /// Header of every call; can be given several times
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = pair)]
    pub headers: Vec<(String, String)>,
    /// File with an encoded FileDescriptorSet, for servers without reflection
    #[arg(long, value_name = "FILE")]
    pub descriptor_set: Option<PathBuf>,
    /// A process of the server: it and its children may use the machine, and what they use is reported; can be given several times
    #[arg(long = "pid", value_name = "PID")]
    pub pids: Vec<u32>,
    /// As it was built, even if that was without optimisation; for its own tests
    #[arg(long, hide = true)]
    pub unoptimized: bool,
    /// File for the figures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Calls, prints the figures, and returns them; they mean nothing when they say that they are rejected.
///
/// # Errors
/// When the server cannot be reached, or does not have the method, or the data are not its request.
pub fn run(options: &Options) -> Result<Report, Failure> {
    // One thread: the tool has to be cheaper than any server, and should not take part in what it measures.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(tokio::task::LocalSet::new().run_until(measure(options)))?;
    print!("{report}");
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", report.to_json()))
            .map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    }
    Ok(report)
}

async fn measure(options: &Options) -> Result<Report, Failure> {
    let target = target::Target::new(options)?;
    let method = match &options.descriptor_set {
        Some(file) => reflect::from_file(file, &options.call)?,
        None => reflect::from_server(&target, &options.call).await?,
    };
    let payload = payload::Payload::encode(&method, &options.data)?;
    drive::drive(options, target, &method, payload).await
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    if (0.0..=86_400.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err("0 to 86400 seconds".to_owned()) }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it KEY=VALUE")?;
    Ok((key.to_lowercase(), value.to_owned()))
}
