//! `freehold runner`.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

use freehold::Client;
use freehold_cli::GlobalArgs;
use freehold_engines::{
    Engine, Engines, Launcher, NativeEngine, NativeSettings, Rules, TerraformEngine, TerraformProgram, TerraformRules,
    TerraformSettings,
};
use freehold_runner::{
    Folder, Runner,
    sandbox::{Egress, Limits, ORPHAN, Sandbox, SandboxSettings},
};
use freehold_service::{SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure,
    args::{RunnerArgs, SandboxArgs, TerraformArgs},
    serve::terminated,
};

/// Works until TERM or INT; then finishes what is under way.
pub async fn run(global: &GlobalArgs, args: RunnerArgs) -> Result<(), Failure> {
    let client = freehold_cli::client(global).await?;
    let folder = Folder::open(&args.data_dir)?;
    let files = args.file_root.unwrap_or_else(|| folder.path().join("files"));
    let engines = engines(&folder, files, args.allow_private, &args.terraform, &args.sandbox).await?;
    let runner = build(&client, engines, args.capacity, folder)?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    tokio::spawn(async move {
        terminated().await;
        signal.cancel();
    });
    Ok(runner.run(stop).await?)
}

/// A runner of the server that the client reaches.
pub fn build(client: &Client, engines: Engines, capacity: u16, folder: Folder) -> Result<Runner, Failure> {
    let channel = client.raw().ok_or("a runner needs a server, not a stub")?;
    Ok(Runner { channel, engines, capacity, folder })
}

/// The engines of a runner: the native one, and `terraform` if its program is there.
pub async fn engines(
    folder: &Folder,
    file_root: PathBuf,
    allow_private: bool,
    terraform: &TerraformArgs,
    sandbox: &SandboxArgs,
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
                read_environment: environment(terraform.read_env.as_deref())?,
                write_environment: environment(terraform.write_env.as_deref())?,
            };
            engines.push(Arc::new(TerraformEngine::new(settings, launcher(allow_private, sandbox).await?)?));
        }
        None => tracing::info!("neither tofu nor terraform is on the search path: there is no engine terraform"),
    }
    Ok(Engines::new(engines))
}

/// What starts the programs of engines.
async fn launcher(allow_private: bool, sandbox: &SandboxArgs) -> Result<Arc<dyn Launcher>, Failure> {
    let settings = SandboxSettings {
        binary: std::env::current_exe()?,
        mode: sandbox.sandbox.into(),
        limits: Limits::default().with(&sandbox.limit),
        egress: Egress { allowed: sandbox.egress.clone(), private: allow_private },
        orphan: ORPHAN,
    };
    let sandbox = Sandbox::new(settings).await?;
    tracing::info!(confinement = %sandbox.confinement(), "programs of engines are run in a sandbox");
    Ok(Arc::new(sandbox))
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
