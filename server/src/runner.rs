//! `freehold runner`.

use std::{path::PathBuf, sync::Arc};

use freehold::Client;
use freehold_cli::GlobalArgs;
use freehold_engines::{Engine, Engines, NativeEngine, NativeSettings};
use freehold_runner::Runner;
use freehold_service::{SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::{Failure, args::RunnerArgs, serve::terminated};

/// Works until TERM or INT; then finishes what is under way.
pub async fn run(global: &GlobalArgs, args: RunnerArgs) -> Result<(), Failure> {
    let client = freehold_cli::client(global).await?;
    let runner = build(&client, native(args.file_root, args.allow_private)?, args.capacity)?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        terminated().await;
        signal.cancel();
    });
    Ok(runner.run(stop).await?)
}

/// A runner of the server that the client reaches.
pub fn build(client: &Client, engine: Arc<dyn Engine>, capacity: u16) -> Result<Runner, Failure> {
    let channel = client.raw().ok_or("a runner needs a server, not a stub")?;
    Ok(Runner { channel, engines: Engines::new(vec![engine]), capacity })
}

/// The native engine of a runner.
pub fn native(file_root: PathBuf, allow_private: bool) -> Result<Arc<dyn Engine>, Failure> {
    std::fs::create_dir_all(&file_root).map_err(|error| format!("{} cannot be made: {error}", file_root.display()))?;
    Ok(engine(NativeSettings { file_root, allow_private, allowed_hosts: Vec::new() }))
}

/// The native engine of a server, which checks blueprints and makes nothing.
pub fn checks() -> Arc<dyn Engine> {
    engine(NativeSettings { file_root: PathBuf::new(), allow_private: false, allowed_hosts: Vec::new() })
}

fn engine(settings: NativeSettings) -> Arc<dyn Engine> {
    Arc::new(NativeEngine::new(settings, Arc::new(SystemClock), Arc::new(SystemRandom::new())))
}
