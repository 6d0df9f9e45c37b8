//! `freehold runner`.

use std::{path::PathBuf, sync::Arc};

use freehold::{Client, Credentials};
use freehold_engines::{Engine, Engines, NativeEngine, NativeSettings};
use freehold_runner::Runner;
use freehold_service::{SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::{Failure, args::RunnerArgs, serve::terminated};

/// Works until TERM or INT; then finishes what is under way.
pub async fn run(args: RunnerArgs) -> Result<(), Failure> {
    let credentials = Credentials::new().ca_file(args.ca).certificate_files(args.cert, args.key);
    let runner = build(&args.server, credentials, native(args.file_root, args.allow_private)?, args.capacity).await?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        terminated().await;
        signal.cancel();
    });
    runner.run(stop).await;
    Ok(())
}

/// A runner of a server, with the native engine.
pub async fn build(endpoint: &str, credentials: Credentials, engine: Arc<dyn Engine>, capacity: u16) -> Result<Runner, Failure> {
    let client = Client::builder(endpoint).credentials(credentials).build().await?;
    let channel = client.raw().ok_or("a runner needs a server, not a stub")?;
    Ok(Runner { channel, engines: Engines::new(vec![engine]), capacity })
}

/// The native engine of a runner.
pub fn native(file_root: PathBuf, allow_private: bool) -> Result<Arc<dyn Engine>, Failure> {
    std::fs::create_dir_all(&file_root).map_err(|error| format!("{} cannot be made: {error}", file_root.display()))?;
    engine(NativeSettings { file_root, allow_private, allowed_hosts: Vec::new() })
}

/// The native engine of a server, which checks blueprints and makes nothing.
pub fn checks() -> Result<Arc<dyn Engine>, Failure> {
    engine(NativeSettings { file_root: PathBuf::new(), allow_private: false, allowed_hosts: Vec::new() })
}

fn engine(settings: NativeSettings) -> Result<Arc<dyn Engine>, Failure> {
    Ok(Arc::new(NativeEngine::new(settings, Arc::new(SystemClock), Arc::new(SystemRandom::new()))?))
}
