//! Accepting connections: limits before and during the handshake, then HTTP until age, idleness, revocation or a drain
//! ends it.
//!
//! `tonic::transport::Server` is not used: it has no limit on connections or handshakes, spins when file descriptors run
//! out, and waits for open streams for ever when it should stop.

mod admission;
mod connection;
mod gathered;
mod registry;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use freehold_domain::time::Clock;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::Service;

use crate::{
    setup::{Result, SetupError},
    tls::ServerTls,
};
use admission::Addresses;
pub(crate) use admission::network;
pub use registry::Connections;

/// Limits of a listener.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections at one time; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Connections of one address (IPv6: of one /64) at one time; more are closed at once.
    pub max_connections_per_address: usize,
    /// TLS handshakes at one time.
    pub max_handshakes: usize,
    /// How long a handshake may take, waiting for its turn included.
    pub handshake_timeout: Duration,
    /// How long a connection may stand before its first request, and an HTTP/1 request's header may take.
    pub first_request_timeout: Duration,
    /// How long a connection may stand without a request in progress.
    pub idle_timeout: Duration,
    /// When a connection is asked to end, give or take a tenth; its client opens another.
    pub max_age: Duration,
    /// How long calls in progress may go on after a connection was asked to end, by age or by a drain.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_address: 1_000,
            max_handshakes: 256,
            handshake_timeout: Duration::from_secs(5),
            first_request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(15 * 60),
            max_age: Duration::from_secs(30 * 60),
            grace: Duration::from_secs(30),
        }
    }
}

/// What protects a listener.
#[derive(Clone, Debug)]
pub enum Security {
    /// TLS, whose files are followed.
    Tls(Arc<ServerTls>),
    /// Nothing; on a loopback address only.
    Plaintext,
}

/// A listener whose port is known and that accepts nothing yet.
pub struct Listener {
    tcp: TcpListener,
    local_addr: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections of a listener share.
struct Shared {
    security: Security,
    settings: Settings,
    clock: Arc<dyn Clock>,
    connections: Connections,
    handshakes: Semaphore,
    addresses: Addresses,
}

impl Listener {
    /// Takes the address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not of this machine, or is not a loopback address and has no TLS.
    pub async fn bind(addr: SocketAddr, security: Security, settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        if matches!(security, Security::Plaintext) && !addr.ip().is_loopback() {
            return Err(SetupError::new(format!(
                "{addr} has no TLS; give it a certificate, or a loopback address such as 127.0.0.1"
            )));
        }
        let taken = |e| SetupError::new(format!("cannot listen on {addr}")).caused_by(e);
        let tcp = TcpListener::bind(addr).await.map_err(taken)?;
        let local_addr = tcp.local_addr().map_err(taken)?;
        let shared = Shared {
            handshakes: Semaphore::new(settings.max_handshakes),
            addresses: Addresses::new(settings.max_connections_per_address),
            connections: Connections::default(),
            security,
            settings,
            clock,
        };
        Ok(Self { tcp, local_addr, shared: Arc::new(shared) })
    }

    /// The address, with the port that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The connections that are open, to count and to close them.
    pub fn connections(&self) -> Connections {
        self.shared.connections.clone()
    }

    /// Serves until `shutdown`, then drains: accepts nothing more, asks every connection to end (GOAWAY), and cuts those
    /// that have not within the grace time. Returns when the last is closed.
    pub async fn serve<S>(self, service: S, shutdown: CancellationToken)
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let tasks = TaskTracker::new();
        let follower = match &self.shared.security {
            Security::Plaintext => None,
            Security::Tls(tls) => {
                let (tls, connections, stop) = (tls.clone(), self.connections(), shutdown.clone());
                Some(tokio::spawn(async move {
                    tokio::join!(tls.follow(stop.clone()), close_revoked(&tls, &connections, stop));
                }))
            }
        };
        let places = Arc::new(Semaphore::new(self.shared.settings.max_connections));
        let mut failures = 0;
        while let Some(accepted) = shutdown.run_until_cancelled(self.accept(&places)).await {
            let (tcp, addr, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    failures += 1;
                    pause(&error, failures, &shutdown).await;
                    continue;
                }
            };
            failures = 0;
            let Some(admitted) = self.shared.addresses.admit(addr.ip()) else {
                tracing::debug!(%addr, "too many connections of one address");
                continue;
            };
            let (shared, service, shutdown) = (self.shared.clone(), service.clone(), shutdown.clone());
            tasks.spawn(async move {
                connection::run(&shared, tcp, addr, service, shutdown).await;
                drop((place, admitted));
            });
        }
        // From here the kernel refuses new connections, so that clients go elsewhere at once.
        drop(self.tcp);
        tasks.close();
        tasks.wait().await;
        if let Some(follower) = follower
            && let Err(error) = follower.await
        {
            tracing::error!(%error, "following the TLS files ended with a fault");
        }
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
        let place = places.clone().acquire_owned().await.expect("never closed");
        let (tcp, addr) = self.tcp.accept().await?;
        tcp.set_nodelay(true)?;
        Ok((tcp, addr, place))
    }
}

/// Closes what was open when its certificate was revoked.
async fn close_revoked(tls: &ServerTls, connections: &Connections, stop: CancellationToken) {
    let mut changes = tls.changes();
    while let Some(Ok(())) = stop.run_until_cancelled(changes.changed()).await {
        let revoked = changes.borrow_and_update().revoked.clone();
        let closed = connections.close(|peer| revoked.has(peer));
        if closed > 0 {
            tracing::info!(closed, "connections with revoked certificates were closed");
        }
    }
}

/// Waits after a failed accept: without file descriptors the next attempt would fail at once, and so on.
async fn pause(error: &io::Error, failures: u32, shutdown: &CancellationToken) {
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::InvalidInput) {
        return; // The client went away; the listener is well.
    }
    if failures == 1 {
        tracing::error!(%error, "no connection can be accepted; raise the limit of open files if this lasts");
    }
    let wait = Duration::from_millis(50) * 2_u32.pow(failures.min(5) - 1);
    shutdown.run_until_cancelled(sleep(wait.min(Duration::from_secs(1)))).await;
}
