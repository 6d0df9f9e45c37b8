//! Connections to servers: only to where the policy allows, and with nothing that belongs to the runner.

use std::{
    env, fs, io,
    net::{Ipv4Addr, SocketAddr},
    ops::{Deref, DerefMut},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use reqwest::Url;
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgConnection, PgSslMode},
};
use tempfile::TempDir;
use tokio::{
    net::{TcpStream, UnixListener},
    task::JoinHandle,
};

use super::{
    super::{http::Policy, provider::text, shown},
    failure,
};
use crate::StepError;
use crate::native::Attributes;

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The port when a URL names none.
const PORT: u16 = 5432;
/// Variables that the database library reads and that cannot be overruled: an identity of the runner, and settings that it would
/// send to whatever server a blueprint names.
const REFUSED_VARIABLES: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// Opens connections within the policy of the runner.
#[derive(Clone)]
pub(crate) struct Servers(pub Arc<Policy>);

/// An open connection.
pub(crate) struct Session {
    connection: PgConnection,
    _bridge: Option<Bridge>,
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Servers {
    /// Connects to the database that the attribute `connection` names, or to another one on the same server.
    pub async fn connect(&self, attributes: &Attributes, database: Option<&str>) -> Result<Session, StepError> {
        let mut options = parse(text(attributes, "connection"))?;
        if let Some(database) = database {
            options = options.database(database);
        }
        let set: Vec<&str> = REFUSED_VARIABLES.into_iter().filter(|name| env::var_os(name).is_some()).collect();
        if !set.is_empty() {
            let why = format!("the environment of this runner has {}, which no blueprint may use", set.join(", "));
            return Err(StepError::new("postgres-environment", why).hint("start the runner without these variables"));
        }
        let options = options
            .application_name("freehold")
            .options([("statement_timeout", "60s"), ("lock_timeout", "15s")])
            .statement_cache_capacity(0)
            .disable_statement_logging();
        match tokio::time::timeout(CONNECT_TIMEOUT, self.open(&options)).await {
            Ok(opened) => opened,
            Err(_) => Err(unreachable(&options, "did not answer in time")),
        }
    }

    async fn open(&self, options: &PgConnectOptions) -> Result<Session, StepError> {
        if let Some(socket) = options.get_socket() {
            // A socket is as near as loopback.
            self.0.check_host(&socket.to_string_lossy())?;
            self.0.check_address("the socket", Ipv4Addr::LOCALHOST.into())?;
            return session(options, None).await;
        }
        let host = options.get_host();
        self.0.check_host(host)?;
        let addresses = self.0.resolve(host).await?;
        let addresses: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, options.get_port())).collect();
        through(options, &addresses).await
    }
}

/// Connects to one of these addresses, while TLS goes on to check the name of the host.
///
/// The library would look the name up once more, and might come to an address that nobody checked. It leaves the name alone for
/// a socket, so it gets one that leads to the connection made here.
async fn through(options: &PgConnectOptions, addresses: &[SocketAddr]) -> Result<Session, StepError> {
    let server =
        TcpStream::connect(addresses).await.map_err(|error| unreachable(options, &format!("cannot be reached: {error}")))?;
    let (folder, bridge) = Bridge::new(server, options.get_port()).map_err(|error| {
        StepError::new("postgres-bridge", format!("no socket can be made in the temporary folder of this runner: {error}"))
            .hint("give the runner a folder with a short path in TMPDIR that it can write to")
    })?;
    session(&options.clone().socket(folder), Some(bridge)).await
}

async fn session(options: &PgConnectOptions, bridge: Option<Bridge>) -> Result<Session, StepError> {
    let connection = options.connect().await.map_err(|error| StepError { uncertain: false, ..failure(&error) })?;
    Ok(Session { connection, _bridge: bridge })
}

/// Carries bytes between one client of a socket and a server, for as long as this value lives.
struct Bridge(JoinHandle<()>);

impl Bridge {
    /// Answers the folder of the socket too. Nobody else can enter it, and it goes away with the first client.
    fn new(mut server: TcpStream, port: u16) -> io::Result<(PathBuf, Self)> {
        let folder: TempDir =
            tempfile::Builder::new().prefix("freehold-").permissions(fs::Permissions::from_mode(0o700)).tempdir()?;
        let path = folder.path().to_owned();
        let socket = UnixListener::bind(path.join(format!(".s.PGSQL.{port}")))?;
        server.set_nodelay(true)?;
        let task = tokio::spawn(async move {
            let client = socket.accept().await;
            drop((socket, folder));
            if let Ok((mut client, _)) = client {
                // A broken connection shows on the other side as one that ends.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
        Ok((path, Self(task)))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn unreachable(options: &PgConnectOptions, what: &str) -> StepError {
    StepError::new("postgres-unreachable", format!("`{}` {what}", options.get_host()))
        .hint("look at the server and at the network")
        .retryable()
}

/// Reads a connection URL. It never shows in the error: it holds a password.
///
/// What the URL leaves out is not taken from the environment of the runner or its `.pgpass`, as the library would. Only the
/// certificate authorities in `PGSSLROOTCERT` count, which say whom the runner trusts and nothing about who it is.
pub(super) fn parse(text: &str) -> Result<PgConnectOptions, StepError> {
    let wrong =
        |message: &str| StepError::new("attribute-invalid", message).hint("write it like postgres://user:password@host/database");
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err(wrong("must be a URL that begins with postgres://"));
    }
    let mut url: Url = text.parse().map_err(|_| wrong("cannot be read as a connection URL"))?;
    let mut given: Vec<String> = Vec::new();
    for (key, _) in url.query_pairs() {
        if !matches!(&*key, "sslmode" | "ssl-mode" | "host" | "port" | "user" | "password" | "dbname" | "application_name") {
            // Others name files on the runner, or change what the server makes of our statements.
            return Err(wrong(&format!("has the parameter `{}`, which is not allowed", shown(&key))));
        }
        given.push(key.into_owned());
    }
    let given = |key: &str| given.iter().any(|given| given == key);
    if url.host_str().is_none_or(str::is_empty) && !given("host") {
        return Err(wrong("names no host"));
    }
    if url.username().is_empty() && !given("user") {
        return Err(wrong("names no user"));
    }
    if url.password().is_none() && !given("password") {
        // An empty password, `user:@host`, is one; the URL forgets it.
        let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if !authority.rsplit_once('@').is_some_and(|(user, _)| user.ends_with(':')) {
            return Err(wrong("holds no password; where the server asks for none, put a colon after the user"));
        }
        url.query_pairs_mut().append_pair("password", "");
    }
    let mut options = PgConnectOptions::from_url(&url).map_err(|_| wrong("cannot be read as a connection URL"))?;
    if url.port().is_none() && !given("port") {
        options = options.port(PORT);
    }
    if url.path().trim_start_matches('/').is_empty() && !given("dbname") {
        let user = options.get_username().to_owned();
        options = options.database(&user);
    }
    if !given("sslmode") && !given("ssl-mode") {
        options = options.ssl_mode(PgSslMode::Prefer);
    }
    if options.get_socket().is_some() {
        return Ok(options.host("localhost"));
    }
    // Addresses of IPv6 stand in brackets in URLs only.
    let host = options.get_host().to_owned();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    if host.starts_with('/') {
        // The library would take it for a socket.
        return Err(wrong("names no host"));
    }
    Ok(options.host(host))
}

#[cfg(test)]
mod tests;
