//! A small Freehold server with mutual TLS whose answers a test scripts.

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use freehold::{Client, Credentials};
use freehold_proto::deployments::v1::{
    GetRunRequest, GetRunResponse, LogLine, Run, RunPhase, TailRunLogsRequest, TailRunLogsResponse,
};
use freehold_proto::iam::v1::{
    CallerIdentity, ExchangeTokenRequest, ExchangeTokenResponse, GetCallerIdentityRequest, GetCallerIdentityResponse,
    GetSignInOptionsRequest, GetSignInOptionsResponse, RevokeRefreshTokenRequest, RevokeRefreshTokenResponse,
    token_service_server::{TokenService, TokenServiceServer},
};
use futures::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;
use tonic::{
    Request, Response, Status,
    body::Body,
    metadata::MetadataMap,
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
    service::Routes,
};
use tonic_prost::ProstCodec;

/// A certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Ca {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key, as PEM.
    pub fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).expect("a name").signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    pub fn credentials(&self) -> Credentials {
        let (certificate, key) = self.issue("client");
        Credentials::new().ca_pem(self.pem.clone()).certificate_pem(certificate, key)
    }

    /// The same in files of a directory.
    pub fn write(&self, dir: &std::path::Path) -> [PathBuf; 3] {
        let (certificate, key) = self.issue("client");
        [("ca.pem", &self.pem), ("client.pem", &certificate), ("client.key", &key)].map(|(name, text)| {
            std::fs::write(dir.join(name), text).expect("a file");
            dir.join(name)
        })
    }
}

/// What the server is to answer and what it saw.
#[derive(Clone, Default)]
pub struct Script(Arc<Inner>);

#[derive(Default)]
struct Inner {
    answers: Mutex<VecDeque<Status>>,
    seen: Mutex<Vec<MetadataMap>>,
    pub exchanges: AtomicUsize,
    pub connections: AtomicUsize,
    /// Connections to come on which no call is taken.
    turned_away: AtomicUsize,
}

impl Script {
    /// Fails the next calls like this; the ones after succeed.
    pub fn fail(&self, answers: impl IntoIterator<Item = Status>) {
        self.0.answers.lock().expect("a lock").extend(answers);
    }

    /// Headers of all calls but exchanges.
    pub fn seen(&self) -> MutexGuard<'_, Vec<MetadataMap>> {
        self.0.seen.lock().expect("a lock")
    }

    pub fn exchanges(&self) -> usize {
        self.0.exchanges.load(Ordering::SeqCst)
    }

    /// Takes no call on so many connections to come.
    pub fn turn_away(&self, connections: usize) {
        self.0.turned_away.store(connections, Ordering::SeqCst);
    }

    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }
}

#[tonic::async_trait]
impl TokenService for Script {
    async fn exchange_token(&self, request: Request<ExchangeTokenRequest>) -> Result<Response<ExchangeTokenResponse>, Status> {
        assert!(request.metadata().get("authorization").is_none(), "an exchange needs no token");
        let number = self.0.exchanges.fetch_add(1, Ordering::SeqCst);
        // Long enough for callers that do not wait for each other to be caught.
        tokio::task::yield_now().await;
        let end = freehold::Timestamp::now().as_second() + 900;
        let expire_time = Some(prost_types::Timestamp { seconds: end, nanos: 0 });
        Ok(Response::new(ExchangeTokenResponse { token: format!("token-{number}"), expire_time, ..Default::default() }))
    }

    async fn get_caller_identity(
        &self,
        request: Request<GetCallerIdentityRequest>,
    ) -> Result<Response<GetCallerIdentityResponse>, Status> {
        self.seen().push(request.metadata().clone());
        if let Some(status) = self.0.answers.lock().expect("a lock").pop_front() {
            return Err(status);
        }
        let identity = CallerIdentity { principal: "tenants/acme/users/ada".to_owned(), ..Default::default() };
        Ok(Response::new(GetCallerIdentityResponse { caller_identity: Some(identity) }))
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
}

/// A run that never ends; of its log, each stream that is opened shows one line more and then stays open.
#[derive(Clone)]
struct Logs;

impl NamedService for Logs {
    const NAME: &'static str = "freehold.deployments.v1.RunService";
}

impl ServerStreamingService<TailRunLogsRequest> for Logs {
    type Response = TailRunLogsResponse;
    type ResponseStream = BoxStream<'static, Result<TailRunLogsResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<TailRunLogsRequest>) -> Self::Future {
        let offset = request.into_inner().offset;
        let lines = vec![LogLine { text: format!("line {offset}"), ..Default::default() }];
        let message = TailRunLogsResponse { lines, next_offset: offset + 1 };
        Box::pin(async move { Ok(Response::new(stream::iter([Ok(message)]).chain(stream::pending()).boxed())) })
    }
}

impl UnaryService<GetRunRequest> for Logs {
    type Response = GetRunResponse;
    type Future = BoxFuture<'static, Result<Response<GetRunResponse>, Status>>;

    fn call(&mut self, request: Request<GetRunRequest>) -> Self::Future {
        let run = Run { name: request.into_inner().name, phase: RunPhase::Applying.into(), ..Default::default() };
        Box::pin(async move { Ok(Response::new(GetRunResponse { run: Some(run) })) })
    }
}

impl tower::Service<http::Request<Body>> for Logs {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/freehold.deployments.v1.RunService/GetRun" => Grpc::new(ProstCodec::default()).unary(this, request).await,
                _ => Grpc::new(ProstCodec::default()).server_streaming(this, request).await,
            })
        })
    }
}

/// A server that was about to stop when the call came: GOAWAY without an error, and none of the streams was begun.
async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
    const HEADERS: u8 = 1;
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&SETTINGS).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await?;
        if head[3] == HEADERS {
            break;
        }
    }
    stream.write_all(&GOAWAY).await?;
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

/// A server that runs until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub script: Script,
    goaway: watch::Sender<u32>,
    stop: tokio::task::AbortHandle,
}

impl Server {
    /// Shows a certificate of `shows`, and takes clients of `trusts`.
    pub async fn start(shows: &Ca, trusts: &Ca) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusts.pem.as_bytes()).expect("PEM")).expect("a root");
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().expect("a verifier");
        let (certificate, key) = shows.issue("localhost");
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"),
            )
            .expect("a certificate");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let script = Script::default();
        let (goaway, turns) = watch::channel(0);
        let served = script.clone();
        let stop = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, served, mut turns) = (acceptor.clone(), served.clone(), turns.clone());
                turns.mark_unchanged();
                connections.spawn(async move {
                    served.0.connections.fetch_add(1, Ordering::SeqCst);
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let away = &served.0.turned_away;
                    if away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                        let _ = turn_away(stream).await;
                        return;
                    }
                    let routes = Routes::new(TokenServiceServer::new(served)).add_service(Logs);
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let mut connection =
                        std::pin::pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)));
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        _ = turns.changed() => connection.as_mut().graceful_shutdown(),
                    }
                    let _ = connection.await;
                });
            }
        })
        .abort_handle();
        Self { address, script, goaway, stop }
    }

    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    pub async fn client(&self, credentials: Credentials) -> Client {
        Client::builder(self.endpoint()).credentials(credentials).tenant("acme").build().await.expect("a client")
    }

    /// Asks all clients to leave their connections.
    pub fn send_goaway(&self) {
        self.goaway.send_modify(|turn| *turn += 1);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.abort();
    }
}
