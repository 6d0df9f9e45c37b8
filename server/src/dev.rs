//! `freehold dev`: a whole system in one process.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use freehold::{Client, Credentials};
use freehold_api::authority::Authority;
use freehold_runner::Folder;
use freehold_service::{StoreSettings, SystemClock, SystemRandom};
use tokio_util::sync::CancellationToken;

use crate::{
    Failure, admin,
    args::{ConnectionArgs, DevArgs, SandboxArgs, TerraformArgs},
    demo, keys, runner,
    serve::{Addresses, KeyFiles, Server, ServerSettings, terminated},
};

/// Trust domain of a development installation.
const TRUST_DOMAIN: &str = "freehold.local";
/// Certificates last this long, in hours, and are renewed at a start when less than a month is left.
const HOURS: u32 = 365 * 24;
const RENEW: Duration = Duration::from_secs(30 * 86_400);
/// The administrator of a development installation, by certificate and by the link to its console.
const ADMIN: &str = "platform/admin";
/// How long that link is good.
const SIGN_IN: Duration = Duration::from_secs(12 * 3600);

/// Serves until TERM or INT.
pub async fn run(args: DevArgs) -> Result<(), Failure> {
    let begun = Instant::now();
    let temporary = match &args.data_dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("freehold-").tempdir()?),
    };
    let dir = args.data_dir.clone().or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned())).unwrap_or_default();
    let demo = args.demo;
    let system = System::start(&dir, args).await?;
    println!("Freehold is ready after {:.3} s. Its data is in {}.", begun.elapsed().as_secs_f64(), system.dir.display());
    if temporary.is_some() {
        println!("That folder is removed when it ends; give --data-dir DIR to keep it.");
    }
    let ended = async {
        if demo {
            demo::run(&system.dir, system.addresses(), begun).await?;
        }
        demo::invite(&system.dir, system.addresses(), &system.server.token(ADMIN, SIGN_IN)?, demo);
        Ok::<_, Failure>(())
    };
    let failed = tokio::select! {
        failed = ended => failed.err(),
        () = terminated() => None,
    };
    if failed.is_none() {
        terminated().await;
    }
    system.stop().await;
    failed.map_or(Ok(()), Err)
}

/// Server and runner in one process.
struct System {
    dir: PathBuf,
    server: Server,
    stop: CancellationToken,
    runner: tokio::task::JoinHandle<()>,
    _lock: fs::File,
}

impl System {
    async fn start(dir: &Path, args: DevArgs) -> Result<Self, Failure> {
        let DevArgs { mut listen, nats, oidc, secrets, rate_limit, .. } = args;
        let secrets = runner::secrets(&secrets)?;
        let unusable = |error: std::io::Error| format!("the data directory {} cannot be used: {error}", dir.display());
        fs::create_dir_all(dir.join("pki")).map_err(unusable)?;
        let dir = dir.canonicalize().map_err(unusable)?;
        let lock = fs::File::create(dir.join("lock"))?;
        if lock.try_lock().is_err() {
            return Err(
                format!("another process is using the data directory {}; stop it or choose another one", dir.display()).into()
            );
        }
        if listen.console_url.is_none() && listen.web_addr.port() != 0 {
            listen.console_url = format!("https://{}", listen.web_addr).parse().ok();
        }
        let ready = dir.join("ready");
        let _ = fs::remove_file(&ready);

        let pki = dir.join("pki");
        let authority = certificates(&pki)?;
        let (database, master_key) = (dir.join("freehold.db"), pki.join("master.key"));
        // A new key would open nothing in a database that is there.
        let master_key = if database.exists() {
            keys::read_master_key(&master_key)?
        } else {
            keys::master_key(&master_key, &SystemRandom::new())?
        };
        let server = Server::start(ServerSettings {
            store: StoreSettings::Sqlite(database),
            trust_domain: TRUST_DOMAIN.to_owned(),
            files: KeyFiles {
                cert: pki.join("server.crt"),
                key: pki.join("server.key"),
                client_ca: authority.ca_path(),
                revoked: Some(authority.revoked_path()),
                token_key: pki.join("token.key"),
                ca_dir: Some(pki.clone()),
            },
            master_key,
            listen,
            nats: nats.settings(),
            rate_limit,
            token_life: SIGN_IN,
            engines: runner::rules(),
            connections: ConnectionArgs { allow_private: true, allow_host: Vec::new() },
            oidc,
        })
        .await?;
        let endpoint = format!("https://{}", server.addresses().runner);
        let credentials =
            Credentials::new().ca_file(pki.join("ca.crt")).certificate_files(pki.join("runner.crt"), pki.join("runner.key"));
        let client = Client::builder(endpoint).credentials(credentials).build().await?;
        let stop = CancellationToken::new();
        // Looking for the programs of engines takes a moment that nobody has to wait for.
        let (told, files) = (stop.clone(), dir.join("files"));
        let folder = Folder::open(&dir.join("runner"))?;
        let runner = tokio::spawn(async move {
            let work = async {
                let sandbox = runner::sandbox(&SandboxArgs::default(), true).await?;
                let engines = runner::engines(&folder, files, true, &TerraformArgs::default(), &sandbox).await?;
                runner::build(&client, engines, 4, folder, &sandbox, BTreeMap::new(), secrets)?.run(told).await?;
                Ok::<_, Failure>(())
            };
            if let Err(error) = work.await {
                tracing::error!(%error, "there is no runner");
            }
        });
        let Addresses { api, web, runner: runners, admin, state } = server.addresses();
        fs::write(&ready, format!("api={api}\nweb={web}\nrunner={runners}\nadmin={admin}\nstate={state}\n"))?;
        Ok(Self { dir, server, stop, runner, _lock: lock })
    }

    fn addresses(&self) -> Addresses {
        self.server.addresses()
    }

    async fn stop(self) {
        let _ = fs::remove_file(self.dir.join("ready"));
        self.stop.cancel();
        // A run under way is finished by the runner of the next start, so it need not hold up this end for long.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.runner).await;
        self.server.stop(Duration::ZERO).await;
    }
}

/// The authority, and certificates for server, administrator and runner that last for a while.
fn certificates(pki: &Path) -> Result<Authority, Failure> {
    let authority = if pki.join("ca.crt").exists() {
        Authority::open(pki, Arc::new(SystemClock))?
    } else {
        Authority::create(pki, TRUST_DOMAIN, Arc::new(SystemClock))?
    };
    let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let issued = authority.list()?;
    let soon = freehold_domain::time::Clock::now(&SystemClock).plus(RENEW);
    for (file, identity, hosts) in
        [("server", "server/dev", &hosts[..]), ("admin", ADMIN, &[]), ("runner", "runnerPools/default/runners/dev", &[])]
    {
        let (cert, key) = (pki.join(format!("{file}.crt")), pki.join(format!("{file}.key")));
        let lasts = issued
            .iter()
            .any(|record| record.spiffe_id.ends_with(&format!("/{identity}")) && !record.revoked && record.not_after > soon);
        if !(lasts && cert.exists() && key.exists()) {
            authority.issue(&admin::profile(&authority, identity, hosts, HOURS)?)?.save(&cert, &key)?;
        }
    }
    Ok(authority)
}
