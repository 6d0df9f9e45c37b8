//! Connections: TCP, TLS with the settings of the moment, and a watch on how they end.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::AlertDescription;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use crate::{
    Code, Error,
    error::{Result, Started},
    tls::Tls,
};

/// Makes the connections to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) patience: Duration,
    pub(crate) watch: Arc<Watch>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Link>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let this = self.clone();
        async move {
            match timeout(this.patience, this.connect()).await {
                Ok(link) => link.map(TokioIo::new),
                Err(_) => Err(this.unreachable(&format!("no connection within {:?}", this.patience))),
            }
        }
        .boxed()
    }
}

impl Connector {
    async fn connect(&self) -> Result<Link> {
        self.watch.set(None);
        let tcp =
            TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| self.unreachable(&error.to_string()))?;
        // Calls are small and wait for their answer; Nagle's algorithm would only delay them.
        tcp.set_nodelay(true).map_err(|error| self.unreachable(&error.to_string()))?;
        let Some(tls) = &self.tls else {
            return Ok(Link { io: Io::Plain(tcp), watch: self.watch.clone(), answered: false });
        };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| Error::new(Code::InvalidArgument, format!("{}: {error}", self.host)).started(Started::Never))?;
        let stream = TlsConnector::from(tls.fresh().config.clone()).connect(name, tcp).await;
        let stream = stream.map_err(|error| self.handshake_failed(tls, &error))?;
        Ok(Link { io: Io::Tls(Box::new(stream)), watch: self.watch.clone(), answered: false })
    }

    fn handshake_failed(&self, tls: &Tls, error: &io::Error) -> Error {
        match tls_error(error) {
            Some(rustls::Error::AlertReceived(alert)) if refuses_identity(*alert) => {
                refused(&self.to_string(), tls.has_identity(), Refusal::Identity(*alert))
            }
            Some(error @ (rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)) => Error::new(
                Code::Unavailable,
                format!(
                    "the certificate of {self} is not trusted: {error}; check the address, and that the CA file is this server's"
                ),
            )
            .started(Started::Never),
            _ => self.unreachable(&format!("TLS handshake failed: {error}")),
        }
    }

    fn unreachable(&self, why: &str) -> Error {
        Error::new(Code::Unavailable, format!("cannot reach {self}: {why}")).started(Started::No)
    }
}

impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}:{}", self.port)
    }
}

/// Why a server refused a connection.
#[derive(Clone, Copy)]
pub(crate) enum Refusal {
    /// It does not take the client's certificate, or misses one.
    Identity(AlertDescription),
    /// It speaks TLS, and the client did not.
    Plaintext,
}

/// The error when the server refused the connection.
pub(crate) fn refused(server: &str, has_identity: bool, refusal: Refusal) -> Error {
    let alert = match refusal {
        Refusal::Identity(alert) => alert,
        Refusal::Plaintext => {
            let better = server.replacen("http://", "https://", 1);
            let message = format!("{server} speaks TLS; use https:// for it: {better}");
            return Error::new(Code::Unavailable, message).started(Started::Never);
        }
    };
    let message = if has_identity {
        format!(
            "the server refused the client certificate ({server} sent the TLS alert {alert:?}); check that it is of a CA that \
             the server trusts, has not expired and was not revoked"
        )
    } else {
        format!(
            "{server} wants a client certificate ({alert:?}); give one with FREEHOLD_CERT and FREEHOLD_KEY, or \
             Credentials::certificate_files"
        )
    };
    Error::new(Code::Unauthenticated, message).started(Started::Never)
}

fn refuses_identity(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::NoCertificate
            | A::BadCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::CertificateRequired
            | A::UnknownCA
            | A::AccessDenied
            | A::DecryptError
    )
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What the last connection to a server ended with.
///
/// With TLS 1.3 the client's handshake is over before the server has looked at the client's certificate. A refusal comes as an
/// alert on what looks like a working connection, and the first call fails as if it had been cancelled. The alert is the only
/// sign of the true cause, and it passes by here.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Option<Refusal>>);

impl Watch {
    fn set(&self, refusal: Option<Refusal>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// How the server refused the connection, if that is what happened last.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a TLS alert begins with (RFC 8446, 5.1): its type and the version of the record. No HTTP/2 does.
const TLS_ALERT: [u8; 2] = [21, 3];

/// A connection.
pub(crate) struct Link {
    io: Io,
    watch: Arc<Watch>,
    /// The server has sent something, so it has accepted the client's identity.
    answered: bool,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Link {
    fn observe(&mut self, result: &Poll<io::Result<()>>, bytes: &[u8]) {
        if self.answered {
            return;
        }
        match result {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                self.answered = true;
                let refused = matches!(self.io, Io::Plain(_)) && bytes.starts_with(&TLS_ALERT);
                self.watch.set(refused.then_some(Refusal::Plaintext));
            }
            Poll::Ready(Err(error)) => {
                if let Some(rustls::Error::AlertReceived(alert)) = tls_error(error)
                    && refuses_identity(*alert)
                {
                    self.watch.set(Some(Refusal::Identity(*alert)));
                }
            }
        }
    }
}

impl Link {
    /// Looks for an alert that came before the write failed, and that nobody would read any more.
    fn last_words(&mut self, cx: &mut Context<'_>) {
        if !self.answered {
            let mut scratch = [0; 64];
            let _ = Pin::new(self).poll_read(cx, &mut ReadBuf::new(&mut scratch));
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Io::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        self.observe(&result, buf.filled().get(before..).unwrap_or_default());
        result
    }
}

impl AsyncWrite for Link {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Io::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        };
        if matches!(result, Poll::Ready(Err(_))) {
            self.last_words(cx);
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Io::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        if matches!(result, Poll::Ready(Err(_))) {
            self.last_words(cx);
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
