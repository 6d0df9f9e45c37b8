//! `freehold runner`.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use freehold::Client;
use freehold_cli::GlobalArgs;
use freehold_engines::{Engine, Engines, NativeEngine, NativeSettings};
use freehold_runner::{
    Runner,
    registration::Identity,
    sandbox::{Egress, Limits, ORPHAN, Sandbox, SandboxSettings},
};
use freehold_service::{SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure,
    args::{RunnerArgs, SandboxArgs},
    keys,
    serve::terminated,
};

/// Works until TERM or INT; then finishes what is under way.
pub async fn run(global: &GlobalArgs, args: RunnerArgs) -> Result<(), Failure> {
    let sandbox = sandbox(&args.sandbox, args.allow_private).await?;
    let identity = args.data_dir.as_deref().map(Identity::open).transpose()?;
    let mut global = global.clone();
    if let Some(identity) = &identity {
        if !identity.is_registered() {
            register(&global, identity, &args).await?;
        }
        let file = identity.file();
        keys::warn_if_open(&file);
        (global.cert, global.key) = (Some(file.display().to_string()), Some(file.display().to_string()));
    }
    let client = freehold_cli::client(&global).await?;
    let native = native(args.file_root, args.allow_private)?;
    let runner = build(&client, native, args.capacity, &sandbox, args.label.into_iter().collect())?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        terminated().await;
        signal.cancel();
    });
    if let Some(identity) = identity {
        tokio::spawn(identity.renew(runner.channel.clone(), stop.clone()));
    }
    Ok(runner.run(stop).await?)
}

/// Joins a pool by the token that the options name.
async fn register(global: &GlobalArgs, identity: &Identity, args: &RunnerArgs) -> Result<(), Failure> {
    let Some(file) = &args.token_file else {
        let file = identity.file();
        let file = file.display();
        return Err(format!(
            "there is no certificate in {file} yet: give --token-file FILE with a token of `freehold runner-pool token {}`",
            args.pool
        )
        .into());
    };
    let token = std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    keys::warn_if_open(file);
    let channel = freehold_cli::client(global).await?.raw().ok_or("a runner needs a server, not a stub")?;
    let pool = if args.pool.contains('/') { args.pool.clone() } else { format!("runnerPools/{}", args.pool) };
    let name = identity.register(channel, &pool, args.name.clone(), token.trim()).await?;
    tracing::info!(name, file = %identity.file().display(), "registered; the token is used up and needed no more");
    Ok(())
}

/// The sandbox of the runner of this process.
pub async fn sandbox(args: &SandboxArgs, allow_private: bool) -> Result<Arc<Sandbox>, Failure> {
    let settings = SandboxSettings {
        binary: std::env::current_exe()?,
        mode: args.sandbox.into(),
        limits: Limits::default().with(&args.limit),
        egress: Egress { allowed: args.egress.clone(), private: allow_private },
        orphan: ORPHAN,
    };
    Ok(Arc::new(Sandbox::new(settings).await?))
}

/// A runner of the server that the client reaches.
pub fn build(
    client: &Client,
    engine: Arc<dyn Engine>,
    capacity: u16,
    sandbox: &Sandbox,
    labels: BTreeMap<String, String>,
) -> Result<Runner, Failure> {
    let channel = client.raw().ok_or("a runner needs a server, not a stub")?;
    Ok(Runner { channel, engines: Engines::new(vec![engine]), capacity, confinement: sandbox.confinement(), labels })
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
