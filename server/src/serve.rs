//! A replica of the server: listeners, services, duties, and its end.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use freehold_api::{
    authority::Authority,
    console_http::console,
    health::Readiness,
    hooks_http::hooks,
    layers::Rate,
    listener::{Listener, Security, Settings},
    metrics_http::scraped,
    policy::Surface,
    reflection,
    stack::Edge,
    state_http::{MAX_STATE, state_backend},
    tls::{ClientFiles, ServerTls, TlsFiles},
    tokens::{Claims, MAX_LIFETIME, TokenKeys},
    wire::{MESSAGE, RUNNER_MESSAGE, Wire},
};
use freehold_connectors::{Environment, Registry, SystemLookup};
use freehold_domain::{
    blueprints::{Diagnostic, Document},
    time::{Clock, Random},
};
use freehold_engines::Rules;
use freehold_service::{
    App, AppSettings, Issuer, MasterKey, Store, StoreSettings, SystemClock, SystemRandom, Validator, master_key, receipts,
    runners, sign_in::IdentityProvider,
};
use freehold_worker::{Sender, nats};
use http::HeaderValue;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Failure,
    args::{ConnectionArgs, DatabaseArgs, ListenArgs, OidcArgs, ServeArgs},
    bootstrap,
    connectors::Registered,
    identity_provider::Provider,
    keys,
};

/// How long handlers that write may go on after the listeners have drained.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// Where certificates and keys are.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// The server's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Authorities of clients.
    pub client_ca: PathBuf,
    /// Certificates that are no longer accepted.
    pub revoked: Option<PathBuf>,
    /// Signs tokens.
    pub token_key: PathBuf,
    /// The built-in authority, which signs certificates of runners.
    pub ca_dir: Option<PathBuf>,
}

/// What a replica is made of.
pub struct ServerSettings {
    /// The database.
    pub store: StoreSettings,
    /// Trust domain of the identities of this installation.
    pub trust_domain: String,
    /// Certificates and keys.
    pub files: KeyFiles,
    /// The key that wraps data keys.
    pub master_key: Vec<u8>,
    /// The listeners.
    pub listen: ListenArgs,
    /// Cost of calls that one caller may make each second in the long run.
    pub rate_limit: u32,
    /// How long tokens may live.
    pub token_life: Duration,
    /// Where events are published.
    pub nats: Option<nats::Settings>,
    /// The engines that blueprints may name.
    pub engines: Vec<Arc<dyn Rules>>,
    /// Where connections may lead.
    pub connections: ConnectionArgs,
    /// Who knows people.
    pub oidc: OidcArgs,
}

/// Addresses of the listeners, with the ports that were taken.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// SDK, command line, grpcurl.
    pub api: SocketAddr,
    /// Browsers.
    pub web: SocketAddr,
    /// Runners.
    pub runner: SocketAddr,
    /// Health and reflection.
    pub admin: SocketAddr,
    /// States, for Terraform and OpenTofu.
    pub state: SocketAddr,
}

/// A replica that serves.
pub struct Server {
    addresses: Addresses,
    readiness: Readiness,
    stop: CancellationToken,
    listeners: JoinSet<()>,
    duties: JoinSet<()>,
    tasks: TaskTracker,
    app: Arc<App>,
    tokens: Arc<TokenKeys>,
    random: Arc<dyn Random>,
}

/// Lets the rules of an engine check blueprints for the service.
struct EngineValidator(Arc<dyn Rules>);

impl Validator for EngineValidator {
    fn engine(&self) -> &'static str {
        self.0.engine()
    }

    fn runs_modules(&self) -> bool {
        self.0.runs_modules()
    }

    fn validate(&self, document: &Document) -> Vec<Diagnostic> {
        self.0.validate(document)
    }
}

/// Serves until TERM or INT, then drains.
pub async fn run(args: ServeArgs) -> Result<(), Failure> {
    let ServeArgs {
        database,
        trust_domain,
        tls_cert,
        tls_key,
        client_ca,
        revoked,
        token_key,
        ca_dir,
        master_key,
        listen,
        nats,
        oidc,
        rate_limit,
        drain_delay,
        connections,
        ..
    } = args;
    let keys: Vec<_> = [master_key.clone(), token_key.clone()].into_iter().chain(oidc.oidc_client_secret_file.clone()).collect();
    let server = Server::start(ServerSettings {
        store: store_settings(&database),
        trust_domain,
        files: KeyFiles { cert: tls_cert, key: tls_key, client_ca, revoked, token_key, ca_dir },
        master_key: keys::read_master_key(&master_key)?,
        listen,
        nats: nats.settings(),
        rate_limit,
        token_life: MAX_LIFETIME,
        engines: crate::runner::rules(),
        connections,
        oidc,
    })
    .await?;
    keys.iter().for_each(|key| keys::warn_if_open(key));
    let Addresses { api, web, runner, admin, state } = server.addresses();
    tracing::info!(%api, %web, %runner, %admin, %state, "serving");
    terminated().await;
    tracing::info!("draining");
    server.stop(Duration::from_millis(drain_delay)).await;
    Ok(())
}

/// The database that an option names.
pub fn store_settings(database: &DatabaseArgs) -> StoreSettings {
    match database.database_url.strip_prefix("sqlite:") {
        Some(path) => StoreSettings::Sqlite(path.into()),
        None => StoreSettings::Postgres { url: database.database_url.clone(), connections: database.database_connections },
    }
}

/// Waits for TERM or INT.
pub async fn terminated() {
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut term), Ok(mut int)) => {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        }
        _ => std::future::pending().await,
    }
}

impl Server {
    /// Opens the database, takes the addresses, and serves.
    pub async fn start(settings: ServerSettings) -> Result<Self, Failure> {
        let ServerSettings {
            store,
            trust_domain,
            files,
            master_key: wraps,
            listen,
            nats,
            rate_limit,
            token_life,
            engines,
            connections,
            oidc,
        } = settings;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom::new());

        // Addresses first: a port that is taken is the most likely fault, and costs nothing to find.
        let tls = |clients: Option<bool>, http1: bool| -> Result<Security, Failure> {
            let (ca, revoked) = (&files.client_ca, &files.revoked);
            let clients = clients.map(|optional| ClientFiles { ca: ca.clone(), optional, revoked: revoked.clone() });
            let files = TlsFiles { cert: files.cert.clone(), key: files.key.clone(), clients, tls12: listen.tls12, http1 };
            Ok(Security::Tls(Arc::new(ServerTls::load(files)?)))
        };
        let bind = async |address, security| Listener::bind(address, security, Settings::default(), Arc::clone(&clock)).await;
        let api = bind(listen.api_addr, tls(Some(false), false)?).await?;
        let web = bind(listen.web_addr, tls(None, true)?).await?;
        let runner = bind(listen.runner_addr, tls(Some(true), false)?).await?;
        let admin = bind(listen.admin_addr, Security::Plaintext).await?;
        let state = bind(listen.state_addr, tls(Some(true), true)?).await?;
        let addresses = Addresses {
            api: api.local_addr(),
            web: web.local_addr(),
            runner: runner.local_addr(),
            admin: admin.local_addr(),
            state: state.local_addr(),
        };

        let issuer = files.ca_dir.as_ref().map(|dir| issuer(dir, &trust_domain, &clock)).transpose()?;
        let store = Store::open(&store, Arc::clone(&clock), Arc::clone(&random)).await?;
        let address_policy = connections.policy();
        let environment = Environment {
            policy: Arc::new(address_policy.clone()),
            lookup: Arc::new(SystemLookup),
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
        };
        let provider = Provider::new(oidc, address_policy.allows_private(), environment.clone())?;
        let registry = Arc::new(Registry::new(environment));
        let app = Arc::new(App::new(AppSettings {
            store,
            clock: Arc::clone(&clock),
            random: Arc::clone(&random),
            master_key: MasterKey::new(&wraps)?,
            trust_domain,
            lease: listen.lease,
            validators: engines.into_iter().map(|engine| Arc::new(EngineValidator(engine)) as Arc<dyn Validator>).collect(),
            issuer,
            connectors: Arc::new(Registered::new(Arc::clone(&registry), Arc::clone(&clock))),
            webhooks: Arc::new(Sender::new(registry, Arc::clone(&clock), Arc::clone(&random))),
            address_policy,
            console: listen.console_url.clone().unwrap_or_default(),
            identity_provider: provider.map(|provider| Arc::new(provider) as Arc<dyn IdentityProvider>),
        }));
        master_key::check(&app).await?;
        runners::ensure_default_pool(&app).await?;
        receipts::ensure_key(&app).await?;
        bootstrap::connections(&app).await?;
        let first = !files.token_key.exists();
        let tokens = TokenKeys::load_or_create(&files.token_key, app.trust_domain(), Arc::clone(&clock))?;
        let tokens = Arc::new(tokens.lasting(token_life));
        if first {
            let file = files.token_key.display();
            tracing::info!(%file, "there was no key to sign tokens with; a new one is in this file, which all replicas need");
        }

        let wire = Wire::new(Arc::clone(&app), Arc::clone(&tokens), MESSAGE);
        let readiness = Readiness::new();
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let origins = listen.web_origin.iter().map(|origin| HeaderValue::from_str(origin)).collect::<Result<Vec<_>, _>>()?;
        let mut listeners = JoinSet::new();
        for (surface, listener) in [
            (Surface::Api, api),
            (Surface::Web, web),
            (Surface::Runner, runner),
            (Surface::State, state),
            (Surface::Admin, admin),
        ] {
            let routes = wire.routes(surface).add_service(readiness.service());
            let routes =
                if matches!(surface, Surface::Api | Surface::Admin) { reflection::add(routes, surface)? } else { routes };
            let stack = Edge {
                surface,
                identity: Arc::new(wire.clone()),
                tokens: Arc::clone(&tokens),
                random: Arc::clone(&random),
                tasks: tasks.clone(),
                drain: stop.clone(),
                rate: Rate { per_second: rate_limit, burst: rate_limit.saturating_mul(4) },
                max_message_bytes: surface_limit(surface),
                origins: origins.clone(),
            }
            .stack(routes);
            let answers = match surface {
                Surface::Web => console(hooks(Arc::clone(&app), tasks.clone(), stack)),
                Surface::State => state_backend(stack),
                Surface::Admin => scraped(Arc::clone(&app), stack),
                Surface::Api | Surface::Runner => stack,
            };
            listeners.spawn(listener.serve(answers, stop.clone()));
        }
        let mut duties = JoinSet::new();
        duties.spawn(freehold_worker::run(Arc::clone(&app), listen.lease, nats, stop.clone()));
        duties.spawn(watch_database(Arc::clone(&app), readiness.clone(), stop.clone()));
        readiness.set(true);
        Ok(Self { addresses, readiness, stop, listeners, duties, tasks, app, tokens, random })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// A token for a principal of the whole installation, bound to no certificate: whoever has it is that principal.
    ///
    /// # Errors
    /// When it would live longer than this server lets tokens live.
    pub fn token(&self, principal: &str, life: Duration) -> Result<String, Failure> {
        let now = self.app.now();
        Ok(self.tokens.issue(&Claims {
            principal: principal.to_owned(),
            tenant: None,
            exchanged: None,
            certificate: None,
            token_id: self.random.uid().to_string(),
            issue_time: now,
            expire_time: now.plus(life),
        })?)
    }

    /// Says that it is not ready, waits for load balancers to see it, ends streams and waits, lets other calls finish, and closes
    /// the database.
    pub async fn stop(mut self, delay: Duration) {
        self.readiness.set(false);
        tokio::time::sleep(delay).await;
        self.stop.cancel();
        self.app.drain();
        while self.listeners.join_next().await.is_some() {}
        self.tasks.close();
        if tokio::time::timeout(LAST_WRITES, self.tasks.wait()).await.is_err() {
            tracing::warn!("some writes had not finished at the end");
        }
        while self.duties.join_next().await.is_some() {}
        self.app.store().close().await;
    }
}

/// The authority that signs certificates of runners.
fn issuer(dir: &Path, trust_domain: &str, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Issuer>, Failure> {
    let authority = Authority::open(dir, Arc::clone(clock))?;
    if authority.trust_domain() != trust_domain {
        let dir = dir.display();
        let own = authority.trust_domain();
        return Err(format!(
            "the authority in {dir} is of the trust domain {own}, not of {trust_domain}; give that by --trust-domain"
        )
        .into());
    }
    Ok(Arc::new(authority))
}

/// Bytes of the largest message of a request.
fn surface_limit(surface: Surface) -> usize {
    match surface {
        Surface::Runner => RUNNER_MESSAGE,
        Surface::State => MAX_STATE + MESSAGE,
        _ => MESSAGE,
    }
}

/// Says that the server is ready while its database answers.
async fn watch_database(app: Arc<App>, readiness: Readiness, stop: CancellationToken) {
    let mut answers = true;
    while stop.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await.is_some() {
        let now = matches!(tokio::time::timeout(Duration::from_secs(3), app.store().ping()).await, Ok(Ok(())));
        if now != answers && !stop.is_cancelled() {
            tracing::warn!(ready = now, "the database {}", if now { "answers again" } else { "does not answer" });
            readiness.set(now);
            answers = now;
        }
    }
}
