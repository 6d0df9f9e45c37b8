//! An installation: replicas and runners as processes, and clients of everybody in it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use freehold::{Client, Credentials};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use tokio::net::TcpSocket;

use crate::{
    Pki, Process, binary, eventually,
    people::{furnish, publish, shop},
    pki::TRUST_DOMAIN,
    postgres,
};

/// Which database an installation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// What replicas and runners of one installation share.
pub struct Installation {
    /// Everything of it is in this folder.
    pub dir: tempfile::TempDir,
    /// Its authority; `admin` is a platform administrator.
    pub pki: Pki,
    /// `postgres://…` or `sqlite:…`.
    pub database_url: String,
    /// Keep the addresses of its replicas for them.
    reserved: Mutex<Vec<TcpSocket>>,
}

/// A replica of the server.
pub struct Replica {
    /// The process.
    pub process: Process,
    /// SDK, command line, grpcurl.
    pub api: SocketAddr,
    /// Browsers.
    pub web: SocketAddr,
    /// Runners.
    pub runner: SocketAddr,
    /// Health and reflection, plaintext.
    pub admin: SocketAddr,
    /// States, for Terraform.
    pub state: SocketAddr,
}

/// A runner.
pub struct RunnerProcess {
    /// The process.
    pub process: Process,
    /// Folder of the resources of type `file` of the tenant `acme`.
    pub files: PathBuf,
}

impl Installation {
    /// A new one, with an empty database and certificates for a server, a runner and a platform administrator.
    pub async fn new(database: Database) -> Self {
        let dir = tempfile::Builder::new().prefix("freehold-test-").tempdir().expect("a temporary folder");
        let pki = Pki::create(&dir.path().join("pki"));
        pki.issue("server", "server/test");
        pki.issue("admin", "platform/admin");
        pki.issue("runner", "runnerPools/default/runners/r1");
        std::fs::write(dir.path().join("master.key"), [42; 32]).expect("the folder can be written");
        let database_url = match database {
            Database::Sqlite => format!("sqlite:{}", dir.path().join("freehold.db").display()),
            Database::Postgres => postgres::database().await,
        };
        Self { dir, pki, database_url, reserved: Mutex::default() }
    }

    /// Starts a replica, with further options, and waits until it serves.
    pub async fn replica(&self, options: &[&str]) -> Replica {
        self.start(self.serve(options)).await
    }

    /// Starts a replica by a command that [`serve`](Self::serve) made, and waits until it serves.
    pub async fn start(&self, command: Command) -> Replica {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let log = self.dir.path().join(format!("server-{}.log", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)));
        let process = Process::start(command, &log);
        let mut replica = Replica { process, api: NOWHERE, web: NOWHERE, runner: NOWHERE, admin: NOWHERE, state: NOWHERE };
        let line = eventually("a server", || {
            let said = replica.process.said();
            let ended = replica.process.ended();
            async move {
                assert!(ended.is_none(), "the server ended: {said}");
                said.lines().find(|line| line.contains("\"message\":\"serving\"")).map(str::to_owned).ok_or(said)
            }
        })
        .await;
        let line: serde_json::Value = serde_json::from_str(&line).expect("the log is JSON");
        let address = |name: &str| line[name].as_str().and_then(|text| text.parse().ok()).expect("an address");
        (replica.api, replica.web) = (address("api"), address("web"));
        (replica.runner, replica.admin) = (address("runner"), address("admin"));
        replica.state = address("state");
        replica
    }

    /// The command that starts a replica.
    pub fn serve(&self, options: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(["serve", "--trust-domain", TRUST_DOMAIN, "--database-url", &self.database_url]);
        for name in ["api", "web", "runner", "admin", "state"] {
            if !options.contains(&format!("--{name}-addr").as_str()) {
                command.arg(format!("--{name}-addr")).arg(self.address().to_string());
            }
        }
        for (option, file) in [("--tls-cert", "server.crt"), ("--tls-key", "server.key"), ("--client-ca", "ca.crt")] {
            command.arg(option).arg(self.pki.path(file));
        }
        command.arg("--ca-dir").arg(self.pki.path(""));
        command.arg("--revoked").arg(self.pki.authority.revoked_path());
        command.arg("--token-key").arg(self.dir.path().join("token.key"));
        command.arg("--master-key").arg(self.dir.path().join("master.key"));
        if !options.contains(&"--rate-limit") {
            command.args(["--rate-limit", "1000000"]);
        }
        command.args(options).env_remove("RUST_LOG");
        command
    }

    /// An address that nobody else is given as long as this installation lives, so that a replica which comes back finds its own.
    /// Beside a socket that does not listen, one that does can be bound (`SO_REUSEADDR`, socket(7)).
    fn address(&self) -> SocketAddr {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let address = socket.local_addr().expect("an address");
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
        address
    }

    /// Starts a runner of these servers with the certificate of this file name.
    pub fn runner(&self, servers: &[SocketAddr], certificate: &str, options: &[&str]) -> RunnerProcess {
        let process = Process::start(self.run(servers, certificate, options), &self.path(&format!("{certificate}.log")));
        RunnerProcess { process, files: self.path("files/acme") }
    }

    /// The command that starts a runner.
    pub fn run(&self, servers: &[SocketAddr], certificate: &str, options: &[&str]) -> Command {
        let files = self.path("files");
        let endpoints: Vec<String> = servers.iter().map(|address| format!("https://{address}")).collect();
        let mut command = Command::new(binary());
        command.arg("runner");
        if !options.contains(&"--terraform") {
            command.arg("--terraform").arg(crate::terraform());
        }
        command.args(["--endpoint", &endpoints.join(","), "--allow-private", "--file-root"]).arg(&files);
        if !options.contains(&"--data-dir") {
            command.arg("--data-dir").arg(self.path(&format!("runner-{certificate}")));
        }
        command.arg("--ca").arg(self.pki.path("ca.crt"));
        command.arg("--cert").arg(self.pki.path(&format!("{certificate}.crt")));
        command.arg("--key").arg(self.pki.path(&format!("{certificate}.key")));
        command.args(options).env_remove("RUST_LOG");
        command
    }

    /// A client with these credentials, of these replicas.
    pub async fn client(&self, servers: &[SocketAddr], credentials: Credentials, tenant: &str) -> Client {
        let mut builder = Client::builder(endpoint(servers[0])).credentials(credentials).tenant(tenant);
        for address in &servers[1..] {
            builder = builder.endpoint(endpoint(*address));
        }
        builder.build().await.expect("a client of a server that serves")
    }

    /// Carries out a statement as only the owner of the database could.
    pub async fn execute(&self, statement: &'static str) {
        match self.database_url.strip_prefix("sqlite:") {
            Some(path) => {
                let mut session = SqliteConnectOptions::new().filename(path).connect().await.expect("a session");
                session.execute(statement).await.expect("it is carried out");
                session.close().await.expect("an end");
            }
            None => {
                let options: PgConnectOptions = self.database_url.parse().expect("a URL");
                options.connect().await.expect("a session").execute(statement).await.expect("it is carried out");
            }
        }
    }

    /// A folder of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The URL of a listener.
pub fn endpoint(address: SocketAddr) -> String {
    format!("https://{address}")
}

/// An installation with one replica and one tenant, `acme`, which is where most stories begin.
pub struct World {
    /// What they share.
    pub installation: Installation,
    /// The replica.
    pub replica: Replica,
    /// A platform administrator, whose short names are those of `acme`.
    pub admin: Client,
}

impl World {
    /// A server on this database, with the tenant `acme`.
    pub async fn new(database: Database) -> Self {
        Self::with(database, &[]).await
    }

    /// The same with further options of the server.
    pub async fn with(database: Database, options: &[&str]) -> Self {
        let installation = Installation::new(database).await;
        let replica = installation.replica(options).await;
        let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
        admin.tenants().create("acme").send().await.expect("a platform administrator creates tenants");
        Self { installation, replica, admin }
    }

    /// Adds project `shop` and environment `shop/dev`.
    pub async fn shop(self) -> Self {
        shop(&self.admin).await;
        self
    }

    /// Publishes these files as `{name}@1.0.0`.
    pub async fn publish(&self, name: &str, files: Vec<freehold::BlueprintFile>) {
        publish(&self.admin, name, files).await;
    }

    /// Adds `shop/dev` and the sample as `greeting@1.0.0`.
    pub async fn with_sample(self) -> Self {
        furnish(&self.admin).await;
        self
    }

    /// Starts the runner `r1`.
    pub fn runner(&self) -> RunnerProcess {
        self.installation.runner(&[self.replica.runner], "runner", &[])
    }

    /// A client of this replica with other credentials.
    pub async fn client(&self, credentials: Credentials) -> Client {
        self.installation.client(&[self.replica.api], credentials, "acme").await
    }

    /// A client that proves with a certificate to be this principal.
    pub async fn client_of(&self, principal: &str) -> Client {
        let file = principal.replace('/', "-");
        self.installation.pki.issue(&file, principal);
        self.client(self.installation.pki.credentials(&file)).await
    }

    /// A file that a runner has made.
    pub fn made(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.installation.path("files/acme").join(Path::new(path))).ok()
    }
}
