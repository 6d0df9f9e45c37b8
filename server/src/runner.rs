//! `freehold runner`.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use freehold::Client;
use freehold_cli::GlobalArgs;
use freehold_domain::fault;
use freehold_engines::{
    Engine, Engines, Git, NativeEngine, NativeSettings, Rules, TerraformEngine, TerraformProgram, TerraformRules,
    TerraformSettings,
};
use freehold_runner::{
    Folder, Runner, Secrets,
    registration::Identity,
    sandbox::{Egress, Limits, ORPHAN, Sandbox, SandboxSettings},
};
use freehold_service::{SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure,
    args::{RunnerArgs, SandboxArgs, SecretsArgs, TerraformArgs},
    keys,
    serve::terminated,
};

/// Works until TERM or INT; then finishes what is under way.
pub async fn run(global: &GlobalArgs, args: RunnerArgs) -> Result<(), Failure> {
    let folder = Folder::open(&args.data_dir)?;
    let mut global = global.clone();
    // With a certificate of somebody else's making there is nothing to register or to renew.
    let identity = global.cert.is_none().then(|| Identity::open(folder.path())).transpose()?;
    if let Some(identity) = &identity {
        if !identity.is_registered() {
            register(&global, identity, &args).await?;
        }
        let file = identity.file();
        keys::warn_if_open(&file);
        (global.cert, global.key) = (Some(file.display().to_string()), Some(file.display().to_string()));
    }
    let client = freehold_cli::client(&global).await?;
    let sandbox = sandbox(&args.sandbox, args.allow_private).await?;
    let files = args.file_root.unwrap_or_else(|| folder.path().join("files"));
    let engines = engines(&folder, files, args.allow_private, &args.terraform, &sandbox).await?;
    let secrets = secrets(&args.secrets)?;
    let runner = build(&client, engines, args.capacity, folder, &sandbox, args.label.into_iter().collect(), secrets)?;
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
        orphan: fault::time("orphan", ORPHAN),
    };
    Ok(Arc::new(Sandbox::new(settings).await?))
}

/// Which secrets it reads.
pub fn secrets(args: &SecretsArgs) -> Result<Secrets, Failure> {
    Ok(args.file.as_deref().map(Secrets::open).transpose()?.unwrap_or_default())
}

/// A runner of the server that the client reaches.
pub fn build(
    client: &Client,
    engines: Engines,
    capacity: u16,
    folder: Folder,
    sandbox: &Sandbox,
    labels: BTreeMap<String, String>,
    secrets: Secrets,
) -> Result<Runner, Failure> {
    let channel = client.raw().ok_or("a runner needs a server, not a stub")?;
    Ok(Runner { channel, engines, capacity, folder, secrets, confinement: sandbox.confinement(), labels })
}

/// The engines of a runner: the native one, and `terraform` if its program is there.
pub async fn engines(
    folder: &Folder,
    file_root: PathBuf,
    allow_private: bool,
    terraform: &TerraformArgs,
    sandbox: &Arc<Sandbox>,
) -> Result<Engines, Failure> {
    std::fs::create_dir_all(&file_root).map_err(|error| format!("{} cannot be made: {error}", file_root.display()))?;
    let native = native(NativeSettings { file_root, allow_private, allowed_hosts: Vec::new() });
    let mut engines: Vec<Arc<dyn Engine>> = vec![Arc::new(native)];
    match TerraformProgram::find(terraform.terraform.as_deref()).await? {
        Some(program) => {
            tracing::info!(%program, "the engine terraform has a program");
            let settings = TerraformSettings {
                program,
                folder: folder.path().join("terraform"),
                instance: folder.instance(),
                provider_mirror: terraform.provider_mirror.as_deref().map(Path::canonicalize).transpose()?,
                git: Git::find(),
                module_sources: terraform.module_source.clone(),
                read_environment: environment(terraform.read_env.as_deref())?,
                write_environment: environment(terraform.write_env.as_deref())?,
            };
            engines.push(Arc::new(TerraformEngine::new(settings, Arc::<Sandbox>::clone(sandbox))?));
        }
        None => tracing::info!("neither tofu nor terraform is on the search path: there is no engine terraform"),
    }
    Ok(Engines::new(engines))
}

/// What the engines demand of blueprints, for a server, which makes nothing.
pub fn rules() -> Vec<Arc<dyn Rules>> {
    vec![Arc::new(native(NativeSettings::default())), Arc::new(TerraformRules)]
}

fn native(settings: NativeSettings) -> NativeEngine {
    NativeEngine::new(settings, Arc::new(SystemClock), Arc::new(SystemRandom::new()))
}

/// Lines `NAME=VALUE`; empty ones and those that begin with `#` are passed over.
fn environment(file: Option<&Path>) -> Result<BTreeMap<String, OsString>, Failure> {
    let Some(file) = file else { return Ok(BTreeMap::new()) };
    let text = std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let read = |(at, line): (usize, &str)| match line.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.trim().to_owned(), OsString::from(value))),
        _ => Err(format!("{}:{at}: a line is NAME=VALUE", file.display()).into()),
    };
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(read).collect()
}
