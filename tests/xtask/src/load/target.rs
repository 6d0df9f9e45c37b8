//! A server, and connections to it.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::Options;
use crate::Failure;

/// Bytes that may be on the way to us unread, on one stream and on one connection: never what limits a server.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// A server, and as whom it is called.
pub struct Target {
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: HeaderMap,
}

impl Target {
    /// Reads certificates and headers.
    pub fn new(options: &Options) -> Result<Self, Failure> {
        let address = options.address.clone();
        let (host, port) = address.rsplit_once(':').ok_or_else(|| format!("`{address}` is not host:port"))?;
        port.parse::<u16>().map_err(|_| format!("`{address}` is not host:port"))?;
        let host = host.trim_matches(['[', ']']);
        let tls = match &options.ca {
            None => None,
            Some(ca) => {
                let name =
                    ServerName::try_from(host.to_owned()).map_err(|_| format!("`{host}` is neither a name nor an address"))?;
                let identity = options.cert.as_deref().zip(options.key.as_deref());
                Some((TlsConnector::from(Arc::new(config(ca, identity)?)), name))
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("user-agent", HeaderValue::from_static("freehold-xtask-load"));
        for (name, value) in &options.headers {
            let name = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not the name of a header"))?;
            let value = HeaderValue::try_from(value).map_err(|_| format!("the value of the header `{name}` cannot be sent"))?;
            headers.append(name, value);
        }
        Ok(Self { address, tls, headers })
    }

    /// A new connection, which the current local set drives.
    pub async fn connect(&self) -> Result<SendRequest<Bytes>, Failure> {
        let unreachable = |error: &dyn std::fmt::Display| format!("cannot reach {}: {error}", self.address);
        let tcp = TcpStream::connect(&self.address).await.map_err(|error| unreachable(&error))?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => handshake(tcp).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), tcp).await.map_err(|error| unreachable(&error))?;
                if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(unreachable(&"it does not speak HTTP/2 (no ALPN h2)").into());
                }
                handshake(stream).await
            }
        }
    }

    /// The head of a call of `/package.Service/Method`.
    pub fn request(&self, path: &str) -> Result<Request<()>, Failure> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(self.address.as_str()).path_and_query(path).build()?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }
}

async fn handshake<T: AsyncRead + AsyncWrite + Unpin + 'static>(io: T) -> Result<SendRequest<Bytes>, Failure> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW).enable_push(false);
    let (sender, connection) = builder.handshake(io).await?;
    // How a connection ends is seen by the calls on it.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}

fn config(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let text = fs::read(key).map_err(|error| format!("{} cannot be read: {error}", key.display()))?;
            let private = PrivateKeyDer::from_pem_slice(&text).map_err(|error| format!("{}: {error}", key.display()))?;
            builder.with_client_auth_cert(certificates(cert)?, private)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| format!("{}: {error}", file.display()))?;
    if found.is_empty() { Err(format!("{} holds no certificate", file.display()).into()) } else { Ok(found) }
}
