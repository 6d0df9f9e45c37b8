//! `freehold runner`.

use std::{path::PathBuf, sync::Arc};

use freehold::Client;
use freehold_cli::GlobalArgs;
use freehold_engines::{Engine, Engines, NativeEngine, NativeSettings, Rules};
use freehold_runner::Runner;
use freehold_service::{SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::{Failure, args::RunnerArgs, serve::terminated};

/// Works until TERM or INT; then finishes what is under way.
pub async fn run(global: &GlobalArgs, args: RunnerArgs) -> Result<(), Failure> {
    let client = freehold_cli::client(global).await?;
    let runner = build(&client, vec![native(args.file_root, args.allow_private)?], args.capacity)?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        terminated().await;
        signal.cancel();
    });
    Ok(runner.run(stop).await?)
}

/// A runner of the server that the client reaches.
pub fn build(client: &Client, engines: Vec<Arc<dyn Engine>>, capacity: u16) -> Result<Runner, Failure> {
    let channel = client.raw().ok_or("a runner needs a server, not a stub")?;
    Ok(Runner { channel, engines: Engines::new(engines), capacity })
}

/// The native engine of a runner.
pub fn native(file_root: PathBuf, allow_private: bool) -> Result<Arc<dyn Engine>, Failure> {
    std::fs::create_dir_all(&file_root).map_err(|error| format!("{} cannot be made: {error}", file_root.display()))?;
    Ok(Arc::new(engine(NativeSettings { file_root, allow_private, allowed_hosts: Vec::new() })))
}

/// What the engines demand of blueprints, for a server, which makes nothing.
pub fn rules() -> Vec<Arc<dyn Rules>> {
    vec![Arc::new(engine(NativeSettings::default()))]
}

fn engine(settings: NativeSettings) -> NativeEngine {
    NativeEngine::new(settings, Arc::new(SystemClock), Arc::new(SystemRandom::new()))
}
