//! A small installation: an authority, token keys, and listeners with handlers that do as little as a test needs.

use std::{
    future::Future,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use freehold_api::{
    authority::{Authority, Issued, Profile, Usage},
    console_http::console,
    health::Readiness,
    identity::{Caller, Credentials, Identify},
    layers::Rate,
    listener::{Connections, Listener, Security, Settings},
    policy::Surface,
    reflection,
    stack::Edge,
    tls::{ClientFiles, ServerTls, TlsFiles},
    tokens::{Claims, TokenKeys},
};
use freehold_domain::time::{Clock, Random, Timestamp, Uid};
use freehold_proto::{
    iam::v1::{
        CallerIdentity, ExchangeTokenRequest, ExchangeTokenResponse, GetCallerIdentityRequest, GetCallerIdentityResponse,
        GetSignInOptionsRequest, GetSignInOptionsResponse, RevokeRefreshTokenRequest, RevokeRefreshTokenResponse,
        token_service_server::{TokenService, TokenServiceServer},
    },
    meta::v1::{
        GetServerInfoRequest, GetServerInfoResponse,
        server_info_service_server::{ServerInfoService, ServerInfoServiceServer},
    },
};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, crypto::ring::default_provider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{
    Request, Response, Status,
    body::Body,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

pub const TRUST_DOMAIN: &str = "test.example";
pub const ADA: &str = "tenants/acme/users/ada";
pub const ORIGIN: &str = "https://console.example";
/// Longer than anything a sound server needs here, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const MAX_MESSAGE: usize = 64 << 10;

/// A clock that is off by this many seconds.
pub struct Skewed(pub i64);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        Timestamp::from_micros(i64::try_from(since.as_micros()).expect("before 294246") + self.0 * 1_000_000)
    }
}

struct Uuids;

impl Random for Uuids {
    fn uid(&self) -> Uid {
        Uid(uuid::Uuid::now_v7())
    }

    fn fill(&self, _: &mut [u8]) {
        unreachable!("the edge draws ids only");
    }
}

/// Files, an authority and token keys.
pub struct Installation {
    dir: TempDir,
    pub authority: Authority,
    pub tokens: Arc<TokenKeys>,
}

impl Installation {
    pub fn new() -> Self {
        LazyLock::force(&LOG);
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::create(&dir.path().join("ca"), TRUST_DOMAIN, Arc::new(Skewed(0))).expect("made");
        let tokens = TokenKeys::load_or_create(&dir.path().join("tokens.key"), TRUST_DOMAIN, Arc::new(Skewed(0))).expect("made");
        let installation = Self { dir, authority, tokens: Arc::new(tokens) };
        server_certificate(&installation.authority).save(&installation.cert(), &installation.key()).expect("saved");
        std::fs::copy(installation.authority.ca_path(), installation.client_ca()).expect("copied");
        installation
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn cert(&self) -> PathBuf {
        self.path("server.crt")
    }

    pub fn key(&self) -> PathBuf {
        self.path("server.key")
    }

    /// The authorities that listeners trust; a copy, so that a test can change it.
    pub fn client_ca(&self) -> PathBuf {
        self.path("clients.crt")
    }

    /// A client certificate of this principal.
    pub fn client(&self, principal: &str) -> Issued {
        client_certificate(&self.authority, principal, Duration::from_secs(3600))
    }

    /// A token for Ada, bound to this certificate or to none.
    pub fn token(&self, certificate: Option<[u8; 32]>) -> String {
        let now = Skewed(0).now();
        let claims = Claims {
            principal: ADA.to_owned(),
            tenant: Some("acme".to_owned()),
            exchanged: None,
            certificate,
            token_id: "t-1".to_owned(),
            issue_time: now,
            expire_time: now.plus(Duration::from_secs(300)),
        };
        self.tokens.issue(&claims).expect("issued")
    }

    pub async fn serve(&self, surface: Surface) -> Server {
        self.serve_with(surface, Settings { grace: Duration::from_millis(500), ..Settings::default() }, Rate::default()).await
    }

    pub async fn serve_with(&self, surface: Surface, settings: Settings, rate: Rate) -> Server {
        let security = match surface {
            Surface::Admin => Security::Plaintext,
            _ => Security::Tls(Arc::new(ServerTls::load(self.tls_files(surface)).expect("they fit"))),
        };
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::bind(local, security, settings, Arc::new(Skewed(0))).await.expect("a free port");
        let handlers = Handlers::default();
        let (readiness, tasks, shutdown) = (Readiness::new(), TaskTracker::new(), CancellationToken::new());
        let routes = Routes::new(ServerInfoServiceServer::new(handlers.clone()))
            .add_service(TokenServiceServer::new(handlers.clone()))
            .add_service(readiness.service());
        let edge = Edge {
            surface,
            identity: Arc::new(Names),
            tokens: self.tokens.clone(),
            random: Arc::new(Uuids),
            tasks: tasks.clone(),
            drain: shutdown.clone(),
            rate,
            max_message_bytes: MAX_MESSAGE,
            origins: vec![ORIGIN.parse().expect("valid")],
        };
        let stack = edge.stack(reflection::add(routes, surface).expect("the contract is sound"));
        let stack = if surface == Surface::Web { console(stack) } else { stack };
        Server {
            addr: listener.local_addr(),
            connections: listener.connections(),
            serving: tokio::spawn(listener.serve(stack, shutdown.clone())),
            shutdown,
            readiness,
            tasks,
            handlers,
        }
    }

    fn tls_files(&self, surface: Surface) -> TlsFiles {
        let clients = ClientFiles { ca: self.client_ca(), optional: false, revoked: Some(self.authority.revoked_path()) };
        TlsFiles {
            cert: self.cert(),
            key: self.key(),
            clients: surface.wants_certificate().then_some(clients),
            tls12: false,
            http1: surface == Surface::Web,
        }
    }
}

pub fn server_certificate(authority: &Authority) -> Issued {
    let profile = Profile {
        spiffe_id: format!("spiffe://{TRUST_DOMAIN}/server").parse().expect("valid"),
        dns_names: vec!["localhost".to_owned()],
        ips: Vec::new(),
        lifetime: Duration::from_secs(3600),
        usage: Usage::Server,
    };
    authority.issue(&profile).expect("issued")
}

pub fn client_certificate(authority: &Authority, principal: &str, lifetime: Duration) -> Issued {
    let profile = Profile {
        spiffe_id: format!("spiffe://{TRUST_DOMAIN}/{principal}").parse().expect("valid"),
        dns_names: Vec::new(),
        ips: Vec::new(),
        lifetime,
        usage: Usage::Client,
    };
    authority.issue(&profile).expect("issued")
}

/// A listener that serves.
pub struct Server {
    pub addr: SocketAddr,
    pub connections: Connections,
    pub shutdown: CancellationToken,
    pub serving: JoinHandle<()>,
    pub readiness: Readiness,
    pub tasks: TaskTracker,
    pub handlers: Handlers,
}

impl Server {
    /// A connection with this certificate, trusting this authority. Nothing is sent before the first call.
    pub async fn channel(&self, authority: &Authority, client: Option<&Issued>) -> Channel {
        let (addr, config) = (self.addr, client_config(authority, client, &[b"h2"]));
        let connector = service_fn(move |_: http::Uri| {
            let config = config.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(tls_with(addr, config).await?)) }
        });
        Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
    }

    /// A connection of HTTP/2 for calls of one's own making. The client of gRPC keeps deadlines by itself; this does not.
    pub async fn http2(&self, authority: &Authority, client: &Issued) -> SendRequest<Body> {
        let tls = self.tls(authority, Some(client), b"h2").await.expect("connected");
        let (calls, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.expect("HTTP/2");
        tokio::spawn(connection);
        calls
    }

    /// A TLS connection for bytes of one's own.
    pub async fn tls(&self, authority: &Authority, client: Option<&Issued>, alpn: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        tls_with(self.addr, client_config(authority, client, &[alpn])).await
    }

    /// What the server makes of a certificate: `Ok` when it answers the HTTP/2 preface, else the text of the alert.
    pub async fn handshake(&self, authority: &Authority, client: Option<&Issued>) -> Result<(), String> {
        let attempt = async { preface(&mut self.tls(authority, client, b"h2").await?).await };
        let result = timeout(PATIENCE, attempt).await.expect("an answer or an alert");
        result.map_err(|error| error.to_string())
    }
}

/// A call of `ExchangeToken` with this deadline and these bytes.
pub fn exchange_within(
    deadline: &str,
    body: impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static,
) -> http::Request<Body> {
    http::Request::post("https://localhost/freehold.iam.v1.TokenService/ExchangeToken")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", deadline)
        .body(Body::new(body))
        .expect("valid")
}

/// Begins HTTP/2 and waits for the answer. TLS 1.3 clients learn of a refused certificate at their first read only.
pub async fn preface(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    stream.read_u8().await.map(drop)
}

/// What a client trusts and shows; it may resume sessions, as rustls does by itself.
pub fn client_config(authority: &Authority, client: Option<&Issued>, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority.ca_pem())).expect("an authority");
    let start = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots);
    let mut config = match client {
        None => start.with_no_client_auth(),
        Some(issued) => {
            let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("a key");
            start.with_client_auth_cert(vec![certificate(&issued.cert_pem)], key).expect("they fit")
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

pub fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

pub async fn tls_with(addr: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(addr).await?;
    TlsConnector::from(config).connect(ServerName::try_from("localhost").expect("valid"), tcp).await
}

/// Waits until it holds, and fails the test when it never does.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let wait = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

pub fn write(path: &Path, content: &str) {
    // As one step, the way certificates are rotated.
    let next = path.with_extension("next");
    std::fs::write(&next, content).expect("written");
    std::fs::rename(next, path).expect("renamed");
}

/// Who calls, by its name alone.
#[derive(Clone, Debug)]
pub struct Named {
    pub principal: String,
    pub trace_id: String,
}

impl Caller for Named {
    fn principal(&self) -> std::borrow::Cow<'_, str> {
        self.principal.as_str().into()
    }

    fn tenant(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some("tenants/acme".into())
    }
}

/// Takes every proven name for a caller.
struct Names;

impl Identify for Names {
    type Caller = Named;

    async fn identify(&self, credentials: Credentials) -> freehold_domain::Result<Named> {
        let by_token = credentials.token.map(|token| token.principal);
        let by_peer = || {
            let id = credentials.peer.as_ref().and_then(|peer| peer.spiffe_id())?;
            Some(if id.trust_domain() == TRUST_DOMAIN { id.path().to_owned() } else { id.to_string() })
        };
        let principal = by_token.or_else(by_peer).expect("the edge lets nobody through without a proof");
        Ok(Named { principal, trace_id: credentials.request.trace_id })
    }
}

/// Handlers of two services.
#[derive(Clone, Default)]
pub struct Handlers {
    /// Told when `ExchangeToken` of the key `wait` has begun.
    pub begun: Arc<Notify>,
    /// Lets it go on.
    pub go_on: Arc<Notify>,
    /// Whether it came to its end.
    pub done: Arc<AtomicBool>,
}

#[tonic::async_trait]
impl ServerInfoService for Handlers {
    async fn get_server_info(&self, _: Request<GetServerInfoRequest>) -> Result<Response<GetServerInfoResponse>, Status> {
        Ok(Response::new(GetServerInfoResponse::default()))
    }
}

#[tonic::async_trait]
impl TokenService for Handlers {
    async fn exchange_token(&self, request: Request<ExchangeTokenRequest>) -> Result<Response<ExchangeTokenResponse>, Status> {
        match request.into_inner().api_key.as_str() {
            "panic" => panic!("as asked"),
            "wait" => {
                self.begun.notify_one();
                self.go_on.notified().await;
                self.done.store(true, Ordering::SeqCst);
            }
            _ => {}
        }
        Ok(Response::new(ExchangeTokenResponse::default()))
    }

    async fn get_sign_in_options(
        &self,
        _: Request<GetSignInOptionsRequest>,
    ) -> Result<Response<GetSignInOptionsResponse>, Status> {
        Ok(Response::new(GetSignInOptionsResponse::default()))
    }

    async fn revoke_refresh_token(
        &self,
        _: Request<RevokeRefreshTokenRequest>,
    ) -> Result<Response<RevokeRefreshTokenResponse>, Status> {
        Ok(Response::new(RevokeRefreshTokenResponse {}))
    }

    async fn get_caller_identity(
        &self,
        request: Request<GetCallerIdentityRequest>,
    ) -> Result<Response<GetCallerIdentityResponse>, Status> {
        let caller = request.extensions().get::<Named>().expect("not reached without a caller");
        let identity = CallerIdentity {
            principal: caller.principal.clone(),
            // The contract has no better place to show a test what arrived.
            spiffe_id: caller.trace_id.clone(),
            ..CallerIdentity::default()
        };
        Ok(Response::new(GetCallerIdentityResponse { caller_identity: Some(identity) }))
    }
}

/// Everything the process logs, as JSON lines.
static LOG: LazyLock<()> = LazyLock::new(|| {
    tracing_subscriber::fmt().json().with_env_filter("info,freehold::access=debug").with_writer(|| Sink).init();
});
static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Sink;

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().expect("sound").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log lines that hold this text.
pub fn logged(text: &str) -> Vec<serde_json::Value> {
    let lines = String::from_utf8(LINES.lock().expect("sound").clone()).expect("JSON is text");
    lines.lines().filter(|line| line.contains(text)).map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
