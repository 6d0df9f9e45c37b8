//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use freehold_cli::GlobalArgs;
use freehold_domain::{console::Console, network::AddressPolicy};
use freehold_engines::ModuleSource;
use freehold_runner::sandbox::{Allowed, Limit, Mode};
use freehold_worker::nats;

use crate::telemetry::LogFormat;

/// The program.
#[derive(Parser)]
#[command(name = "freehold", version, about = "Freehold, a control plane for infrastructure", after_long_help = freehold_cli::AFTER_HELP)]
pub struct Program {
    /// How the client's commands reach the server and show their results.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Subcommand)]
pub enum Command {
    /// A whole system in one process: embedded database, own certificate authority, runner
    Dev(Box<DevArgs>),
    /// A replica of the server
    Serve(Box<ServeArgs>),
    /// A runner, anywhere; --endpoint names the runner listener, --cert a runner's certificate
    Runner(RunnerArgs),
    /// Brings a database to the schema of this version
    Migrate(DatabaseArgs),
    /// Certificates of the built-in authority
    #[command(subcommand)]
    Admin(AdminCommand),
    /// The commands of the client.
    #[command(flatten)]
    Client(freehold_cli::Command),
}

/// Addresses of the listeners; port 0 takes a free one.
#[derive(Args, Clone, Debug)]
pub struct ListenArgs {
    /// SDK, command line, grpcurl: mutual TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7443")]
    pub api_addr: SocketAddr,
    /// Browsers: gRPC-web over TLS with a bearer token
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7444")]
    pub web_addr: SocketAddr,
    /// Runners: mutual TLS
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7445")]
    pub runner_addr: SocketAddr,
    /// Health and reflection: plaintext, loopback only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7446")]
    pub admin_addr: SocketAddr,
    /// Where Terraform and OpenTofu find states, by their own protocol (TLS; a client certificate, or an API key as the password)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7447")]
    pub state_addr: SocketAddr,
    /// Origins whose pages may call the web listener, such as `https://console.example`; several separated by commas
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',')]
    pub web_origin: Vec<String>,
    /// Where people reach the console, such as `https://freehold.example`: messages to other systems link to it
    #[arg(long, value_name = "ORIGIN")]
    pub console_url: Option<Console>,
    /// Speaks TLS 1.2 too
    #[arg(long)]
    pub tls12: bool,
    /// How long a runner may be silent before its run is taken back, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub lease: Duration,
}

/// Where events are published, for programs that do not watch.
#[derive(Args, Clone, Debug)]
pub struct NatsArgs {
    /// Publishes events to a stream of NATS JetStream: tls://HOST:PORT; several servers of one cluster separated by commas
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub nats_url: Vec<nats::Server>,
    /// PEM file with the authorities of their certificates; those of the system without it
    #[arg(long, value_name = "FILE", requires = "nats_url")]
    pub nats_ca: Option<PathBuf>,
    /// PEM file with a certificate to prove oneself with
    #[arg(long, value_name = "FILE", requires = "nats_url", requires = "nats_key")]
    pub nats_cert: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, value_name = "FILE", requires = "nats_cert")]
    pub nats_key: Option<PathBuf>,
    /// File with a user's credentials, as `nsc generate creds` writes them
    #[arg(long, value_name = "FILE", requires = "nats_url")]
    pub nats_credentials: Option<PathBuf>,
    /// The stream; made if there is none of this name, and never changed
    #[arg(long, value_name = "NAME", requires = "nats_url", default_value = "freehold", value_parser = nats::stream_name)]
    pub nats_stream: String,
    /// What subjects begin with: PREFIX.TENANT.KIND
    #[arg(long, value_name = "PREFIX", requires = "nats_url", default_value = "freehold", value_parser = nats::prefix)]
    pub nats_subject_prefix: String,
    /// Bytes of a stream that is made; the oldest messages make room for new ones
    #[arg(long, value_name = "BYTES", requires = "nats_url", default_value_t = 1 << 30, value_parser = clap::value_parser!(i64).range(1 << 16..))]
    pub nats_max_bytes: i64,
}

impl NatsArgs {
    /// Where to publish; `None` when nobody asked for it.
    pub fn settings(self) -> Option<nats::Settings> {
        (!self.nats_url.is_empty()).then(|| nats::Settings {
            servers: self.nats_url,
            ca: self.nats_ca,
            certificate: self.nats_cert.zip(self.nats_key),
            credentials: self.nats_credentials,
            stream: self.nats_stream,
            prefix: self.nats_subject_prefix,
            max_bytes: self.nats_max_bytes,
        })
    }
}

/// Who knows people, so that they sign in to the console by OpenID Connect.
#[derive(Args, Clone, Debug, Default)]
pub struct OidcArgs {
    /// The identity provider: a URL, exactly as its tokens name it
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    pub oidc_issuer: Option<String>,
    /// What this installation is to it
    #[arg(long, value_name = "ID", requires = "oidc_issuer")]
    pub oidc_client_id: Option<String>,
    /// File with the client's secret; a public client has none
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    pub oidc_client_secret_file: Option<PathBuf>,
    /// PEM file with authorities that the provider's certificate may be of, besides those of the system
    #[arg(long, value_name = "FILE", requires = "oidc_issuer")]
    pub oidc_ca_file: Option<PathBuf>,
}

/// Which secrets a runner reads.
#[derive(Args, Clone, Debug)]
pub struct SecretsArgs {
    /// File in JSON that says which secrets of tenants this runner reads, and as whom; without it, none (deploy/secrets.md)
    #[arg(id = "secrets", long = "secrets", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    if (0.2..=3600.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err("0.2 to 3600 seconds".to_owned()) }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Options of `dev`.
#[derive(Args)]
pub struct DevArgs {
    /// Where data, keys and certificates are kept; without it they last only as long as the process
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Creates a tenant, publishes a blueprint and deploys it
    #[arg(long)]
    pub demo: bool,
    /// Where the listeners are.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Where events are published.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Who knows people.
    #[command(flatten)]
    pub oidc: OidcArgs,
    /// Whose secrets its runner reads.
    #[command(flatten)]
    pub secrets: SecretsArgs,
    /// Cost of calls that one caller may make each second in the long run; by default more than one machine makes
    #[arg(long, value_name = "COST", default_value_t = 100_000)]
    pub rate_limit: u32,
    /// How the log is written
    #[arg(long, value_enum, default_value = "warnings")]
    pub log: LogFormat,
}

/// Which database.
#[derive(Args, Clone)]
pub struct DatabaseArgs {
    /// postgres://user@host/database, or sqlite:PATH
    #[arg(long, value_name = "URL", env = "FREEHOLD_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Connections to Postgres, at most
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub database_connections: u32,
}

/// Options of `serve`.
#[derive(Args)]
pub struct ServeArgs {
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Trust domain of the identities of this installation
    #[arg(long, value_name = "DOMAIN", default_value = "freehold.local")]
    pub trust_domain: String,
    /// PEM file with the server's certificate and intermediates
    #[arg(long, value_name = "FILE")]
    pub tls_cert: PathBuf,
    /// PEM file with its key
    #[arg(long, value_name = "FILE")]
    pub tls_key: PathBuf,
    /// PEM file with the authorities whose client certificates are accepted. One whose certificate names a SPIFFE trust domain
    /// speaks for that domain, and nobody else does; the others speak for all other domains
    #[arg(long, value_name = "FILE")]
    pub client_ca: PathBuf,
    /// File with serial numbers and SPIFFE ids that are no longer accepted, one a line
    #[arg(long, value_name = "FILE")]
    pub revoked: Option<PathBuf>,
    /// File with the key that signs tokens; the same for all replicas. Made if it is missing
    #[arg(long, value_name = "FILE")]
    pub token_key: PathBuf,
    /// Folder of the built-in authority, as `freehold admin ca init` makes it: signs certificates of runners that register. Its
    /// certificate must be among those of --client-ca
    #[arg(long, value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,
    /// File with the key that all data keys are wrapped with: 32 random bytes, the same for all replicas and for ever; a server
    /// with another one does not start
    #[arg(long, value_name = "FILE")]
    pub master_key: PathBuf,
    /// Where the listeners are.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Where events are published.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Who knows people.
    #[command(flatten)]
    pub oidc: OidcArgs,
    /// Cost of calls that one caller may make each second in the long run
    #[arg(long, value_name = "COST", default_value_t = 500)]
    pub rate_limit: u32,
    /// Where connections may lead.
    #[command(flatten)]
    pub connections: ConnectionArgs,
    /// How long to go on taking calls after TERM, so that load balancers notice, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub drain_delay: u64,
    /// How the log is written
    #[arg(long, value_enum, default_value = "json")]
    pub log: LogFormat,
}

/// Where connections to other systems may lead. To addresses of the link, where clouds hand out credentials, they never do.
#[derive(Args, Clone, Debug, Default)]
pub struct ConnectionArgs {
    /// Lets webhooks and connections reach loopback and private addresses
    #[arg(id = "connections-allow-private", long = "connections-allow-private")]
    pub allow_private: bool,
    /// Lets them reach these hosts alone, such as `api.github.com` or `*.slack.com`; several separated by commas. Without it
    /// they may reach every host
    #[arg(id = "connections-allow-host", long = "connections-allow-host", value_name = "HOST", value_delimiter = ',')]
    pub allow_host: Vec<String>,
}

impl ConnectionArgs {
    /// What they say.
    pub fn policy(&self) -> AddressPolicy {
        AddressPolicy::new(&self.allow_host, self.allow_private)
    }
}

/// Options of `runner`. Its server is given as to the client's commands: `--endpoint` of the runner listener, `--ca`. So is its
/// certificate, by `--cert` and `--key`, unless it has a folder of its own for that.
#[derive(Args)]
pub struct RunnerArgs {
    /// Jobs at a time
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub capacity: u16,
    /// Folder for what outlives the runner: runs under way, and, without --cert, its key and a certificate that it gets by a
    /// registration token when it first starts and renews by itself. Of this runner alone, and the same at each start
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Folder that resources of the type `file` are made in; `files` in the data folder unless it is given
    #[arg(long, value_name = "DIR")]
    pub file_root: Option<PathBuf>,
    /// The engine `terraform`.
    #[command(flatten)]
    pub terraform: TerraformArgs,
    /// File with a registration token of `freehold runner-pool token POOL`; needed once
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The pool that the token is of
    #[arg(long, value_name = "POOL", default_value = "default")]
    pub pool: String,
    /// Its name in the pool; without it, one that nobody else has
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Labels to find it by; can be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Whose secrets it reads.
    #[command(flatten)]
    pub secrets: SecretsArgs,
    /// Lets blueprints reach loopback and private addresses
    #[arg(long)]
    pub allow_private: bool,
    /// How programs of engines are run.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
    /// How the log is written
    #[arg(long, value_enum, default_value = "json")]
    pub log: LogFormat,
}

/// How programs of engines are run.
#[derive(Args, Clone, Debug)]
pub struct SandboxArgs {
    /// Whether programs of engines are kept from the rest of this machine
    #[arg(long, value_enum, default_value = "preferred")]
    pub sandbox: SandboxMode,
    /// Where programs of engines may connect to, by HTTP proxy: `none`, `all`, or hosts and networks separated by commas:
    /// registry.opentofu.org, *.amazonaws.com:443, 10.1.0.0/16. Never to addresses of the link, where clouds hand out credentials. A
    /// port of this machine, as 127.0.0.1:4566, is there without a proxy, if it is given by its address
    #[arg(long, value_name = "HOSTS", default_value = "all")]
    pub egress: Allowed,
    /// Changes what each program of an engine may take: processes, memory, cpu-time, time, disk, output, open-files; for example
    /// memory=8GiB or time=12h. Can be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    pub limit: Vec<Limit>,
}

impl Default for SandboxArgs {
    fn default() -> Self {
        Self { sandbox: SandboxMode::Preferred, egress: Allowed::All, limit: Vec::new() }
    }
}

/// Whether programs of engines are kept from the rest of this machine.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SandboxMode {
    /// They are, or the runner does not start
    Required,
    /// They are, where the machine lets the runner do it; runs say what was in force
    Preferred,
    /// They are not; they have their limits all the same
    Off,
}

impl From<SandboxMode> for Mode {
    fn from(mode: SandboxMode) -> Self {
        match mode {
            SandboxMode::Required => Self::Required,
            SandboxMode::Preferred => Self::Preferred,
            SandboxMode::Off => Self::Off,
        }
    }
}

/// Options of the engine `terraform`.
#[derive(Args, Clone, Debug)]
pub struct TerraformArgs {
    /// OpenTofu or Terraform; without it `tofu` or else `terraform` of the search path, if there is one
    #[arg(long, value_name = "FILE")]
    pub terraform: Option<PathBuf>,
    /// Folder with providers, as `tofu providers mirror` makes it; nothing else is installed then. Without it they come from
    /// their registries
    #[arg(long, value_name = "DIR")]
    pub provider_mirror: Option<PathBuf>,
    /// Where modules in repositories may come from: beginnings of their addresses, separated by commas, as
    /// `https://git.example.com/platform/`. What is not encrypted, `http://`, must be named to be allowed
    #[arg(long, value_name = "URLS", value_delimiter = ',', default_value = "https://")]
    pub module_source: Vec<ModuleSource>,
    /// File with lines NAME=VALUE: the environment of programs that plan or look for drift, for example credentials that can read.
    /// git is given those that begin with GIT_CONFIG_, for repositories that ask for a password
    #[arg(long, value_name = "FILE")]
    pub read_env: Option<PathBuf>,
    /// File with lines NAME=VALUE: the environment of programs that make changes
    #[arg(long, value_name = "FILE")]
    pub write_env: Option<PathBuf>,
}

impl Default for TerraformArgs {
    fn default() -> Self {
        let module_source = vec![ModuleSource::default()];
        Self { terraform: None, provider_mirror: None, module_source, read_env: None, write_env: None }
    }
}

/// What can be done with the built-in authority.
#[derive(Subcommand)]
pub enum AdminCommand {
    /// Certificates
    #[command(subcommand)]
    Ca(CaCommand),
}

/// What can be done with certificates.
#[derive(Subcommand)]
pub enum CaCommand {
    /// Makes a new authority
    Init {
        /// Where it is kept
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Trust domain of its identities
        #[arg(long, value_name = "DOMAIN", default_value = "freehold.local")]
        trust_domain: String,
    },
    /// Issues a certificate, for example to platform/admin, tenants/acme/users/ada or runnerPools/default/runners/r1
    Issue {
        /// Where the authority is kept
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Whom it names: a principal, or server/NAME for a server
        identity: String,
        /// Host names and addresses of a server; several separated by commas
        #[arg(long, value_name = "HOST", value_delimiter = ',')]
        host: Vec<String>,
        /// How long it lasts, in hours
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        hours: u32,
        /// File for the certificate
        #[arg(id = "out-cert", long = "out-cert", value_name = "FILE")]
        cert: PathBuf,
        /// File for its key
        #[arg(id = "out-key", long = "out-key", value_name = "FILE")]
        key: PathBuf,
        /// Writes over a key that is in that file already
        #[arg(long)]
        force: bool,
    },
    /// Lists what was issued
    List {
        /// Where the authority is kept
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
    /// Revokes a certificate; servers that follow its file refuse it within a second
    Revoke {
        /// Where the authority is kept
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Serial number, as `list` shows it
        serial: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_may_be_measured_and_a_server_for_many_limits_each() {
        let dev = Program::try_parse_from(["freehold", "dev"]).map(|program| program.command);
        assert!(matches!(dev, Ok(Command::Dev(args)) if args.rate_limit == 100_000));
        let files = ["--tls-cert", "--tls-key", "--client-ca", "--token-key", "--master-key"].map(|option| [option, "x"]);
        let serve = ["freehold", "serve", "--database-url", "sqlite:x"].into_iter().chain(files.into_iter().flatten());
        let serve = Program::try_parse_from(serve).map(|program| program.command);
        assert!(matches!(serve, Ok(Command::Serve(args)) if args.rate_limit == 500));
    }
}
