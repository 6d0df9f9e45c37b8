//! The life of one connection.

use std::{
    convert::Infallible,
    error::Error,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt as _, service_fn};

use super::{Security, Settings, Shared, gathered::Gathered, registry::Entry};
use crate::{
    peer::{Peer, SourceAddr},
    tls::ServerTls,
};

/// How long a client without calls in progress may take to answer a GOAWAY. One that never spoke HTTP does not answer, and
/// hyper would wait for it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Handshake, then HTTP, until the connection ends or must end.
pub(super) async fn run<S>(shared: &Shared, tcp: TcpStream, addr: SocketAddr, service: S, shutdown: CancellationToken)
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let tls = match &shared.security {
        Security::Plaintext => {
            let entry = shared.connections.enter(None);
            return http(shared, tcp, true, addr, None, entry, service, shutdown).await;
        }
        Security::Tls(tls) => tls,
    };
    let Some(Some((stream, peer))) = shutdown.run_until_cancelled(handshake(shared, tls, tcp, addr)).await else { return };
    let entry = shared.connections.enter(peer.clone());
    // A revocation between the handshake and the entry closed nothing, so look again.
    if peer.as_ref().is_some_and(|peer| tls.current().revoked.has(peer)) {
        return;
    }
    http(shared, Gathered(stream), tls.http1(), addr, peer, entry, service, shutdown).await;
}

/// `None` when it failed or took too long.
async fn handshake(
    shared: &Shared,
    tls: &ServerTls,
    tcp: TcpStream,
    addr: SocketAddr,
) -> Option<(TlsStream<TcpStream>, Option<Peer>)> {
    let shake = async {
        let _turn = shared.handshakes.acquire().await.expect("never closed");
        TlsAcceptor::from(tls.current().config.clone()).accept(tcp).into_fallible().await
    };
    let stream = match timeout(shared.settings.handshake_timeout, shake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, tcp))) => {
            tracing::debug!(%addr, %error, "a TLS handshake failed");
            linger(tcp).await;
            return None;
        }
        Err(_) => {
            tracing::debug!(%addr, "a TLS handshake took too long");
            return None;
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = match certificate.map(|certificate| Peer::read(certificate, addr)).transpose() {
        Ok(peer) => peer,
        Err(error) => {
            tracing::debug!(%addr, error, "a client certificate was refused");
            return None;
        }
    };
    Some((stream, peer))
}

/// Ends a connection whose last word is a TLS alert. In TLS 1.3 a client that will be refused is sending already, and closing a
/// socket with unread input makes the kernel reset the connection: the client would lose the alert that says why.
async fn linger(mut tcp: TcpStream) {
    const UNREAD: u64 = 64 << 10;
    let farewell = async {
        tcp.shutdown().await?;
        tokio::io::copy(&mut tcp.take(UNREAD), &mut tokio::io::sink()).await
    };
    // Whatever comes of it, the connection is at its end.
    let _ = timeout(FAREWELL, farewell).await;
}

#[expect(clippy::too_many_arguments, reason = "called in two places, each argument of its own kind")]
async fn http<S, IO>(
    shared: &Shared,
    io: IO,
    http1: bool,
    addr: SocketAddr,
    peer: Option<Peer>,
    entry: Entry,
    service: S,
    shutdown: CancellationToken,
) where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let settings = &shared.settings;
    let end = Instant::now() + age(shared, peer.as_ref(), entry.number);
    let activity = Activity::new();
    let service = service_fn({
        let activity = activity.clone();
        move |request: http::Request<Incoming>| {
            let busy = activity.begin();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(SourceAddr(addr));
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            let answer = service.clone().oneshot(request);
            async move { answer.await.map(|response| response.map(|body| Tracked { body, _busy: busy })) }
        }
    });
    let builder = builder(settings, http1);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(service)));

    loop {
        let idle_at = activity.idle_at(settings);
        tokio::select! {
            result = connection.as_mut() => return ended(addr, result),
            () = entry.close.cancelled() => return,
            () = sleep_until(end) => break,
            () = shutdown.cancelled() => break,
            () = sleep_until(idle_at) => if activity.idle_at(settings) <= Instant::now() { break },
        }
    }
    connection.as_mut().graceful_shutdown(); // GOAWAY: what is in progress goes on, nothing new begins.
    let cut_at = Instant::now() + settings.grace;
    let mut look_at = cut_at.min(Instant::now() + FAREWELL);
    loop {
        tokio::select! {
            result = connection.as_mut() => return ended(addr, result),
            () = entry.close.cancelled() => return,
            () = sleep_until(look_at) => {
                if look_at == cut_at || !activity.is_busy() {
                    return;
                }
                look_at = cut_at;
            }
        }
    }
}

fn ended(addr: SocketAddr, result: Result<(), Box<dyn Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(%addr, %error, "a connection ended with an error");
    }
}

fn builder(settings: &Settings, http1: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if !http1 {
        builder = builder.http2_only();
    }
    builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.first_request_timeout).max_buf_size(64 << 10);
    // The limits on resets stay as hyper and h2 have them (1024 and 20); tonic would switch one off.
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(16 << 10)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}

/// When a connection is asked to end: spread over a fifth, so that a fleet that came at once does not return at once, and not
/// after its certificate.
fn age(shared: &Shared, peer: Option<&Peer>, number: u64) -> Duration {
    let spread = 900 + u32::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 201).expect("below 201");
    let age = shared.settings.max_age * spread / 1000;
    match peer {
        Some(peer) => age.min(peer.not_after().since(shared.clock.now())),
        None => age,
    }
}

/// How many requests are in progress, and since when none is.
#[derive(Clone)]
struct Activity(Arc<State>);

struct State {
    busy: AtomicUsize,
    /// Since when, and whether there was a request before.
    idle: Mutex<(Instant, bool)>,
}

impl Activity {
    fn new() -> Self {
        Self(Arc::new(State { busy: AtomicUsize::new(0), idle: Mutex::new((Instant::now(), false)) }))
    }

    fn begin(&self) -> Busy {
        self.0.busy.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    fn is_busy(&self) -> bool {
        self.0.busy.load(Ordering::Acquire) > 0
    }

    /// The earliest time at which the connection can have been idle for too long.
    fn idle_at(&self, settings: &Settings) -> Instant {
        if self.is_busy() {
            return Instant::now() + settings.idle_timeout;
        }
        let (since, used) = *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        since + if used { settings.idle_timeout } else { settings.first_request_timeout }
    }
}

/// A request in progress, until its answer is sent or given up.
struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.0.idle.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), true);
        self.0.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer, which is in progress until the last byte.
struct Tracked {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
