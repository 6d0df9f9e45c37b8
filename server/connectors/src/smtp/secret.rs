//! How a conversation becomes secret. Nothing that was said before is believed after: whoever is between could have said it.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use lettre::transport::smtp::client::AsyncTokioStream;
use rustls::{
    ClientConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Settings,
    reply::{Stage, broken, said},
};
use crate::{ConnectorError, ErrorKind, outbound::certificate};

/// Most bytes of a reply in the open.
const LONGEST: usize = 16 << 10;
/// What a relay would say first. After `STARTTLS` it says nothing first, and whoever leads the conversation waits for it.
const GREETING: &[u8] = b"220 secret\r\n";

/// A conversation that nobody between understands.
pub(super) struct Secret {
    stream: TlsStream<TcpStream>,
    /// What is read before anything that the relay says.
    first: &'static [u8],
}

/// Secret before a word is said.
pub(super) async fn from_the_beginning(settings: &Settings, stream: TcpStream) -> Result<Secret, ConnectorError> {
    Ok(Secret { stream: handshake(settings, stream).await?, first: &[] })
}

/// Secret after a few words in the open, of which the relay's last one is all that has come.
pub(super) async fn by_command(settings: &Settings, hello: &str, mut stream: TcpStream) -> Result<Secret, ConnectorError> {
    let mut heard = Vec::new();
    reply(&mut stream, &mut heard, 220).await?;
    say(&mut stream, &format!("EHLO {hello}\r\n")).await?;
    let offers = reply(&mut stream, &mut heard, 250).await?;
    if !offers.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS")) {
        let message = "the relay offers no STARTTLS on this port; set `tls` to `implicit`, or use another port";
        return Err(ConnectorError::unconfigured(message));
    }
    say(&mut stream, "STARTTLS\r\n").await?;
    reply(&mut stream, &mut heard, 220).await?;
    if !heard.is_empty() {
        let message = "the relay, or somebody between, has said more than was asked before the conversation was secret";
        return Err(ConnectorError::new(ErrorKind::Permanent, message).code("starttls_injection"));
    }
    Ok(Secret { stream: handshake(settings, stream).await?, first: GREETING })
}

async fn say(stream: &mut TcpStream, line: &str) -> Result<(), ConnectorError> {
    stream.write_all(line.as_bytes()).await.map_err(|error| broken(Stage::Hello, &error.to_string()))
}

/// The lines of a reply, without its code. What comes after it stays in `heard`.
async fn reply(stream: &mut TcpStream, heard: &mut Vec<u8>, expected: u16) -> Result<Vec<String>, ConnectorError> {
    let mut lines = Vec::new();
    loop {
        while let Some(end) = heard.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = heard.drain(..end + 2).take(end).collect();
            let line = String::from_utf8_lossy(&line).into_owned();
            let code: Option<u16> = line.get(..3).and_then(|code| code.parse().ok());
            let code = code.ok_or_else(|| broken(Stage::Hello, "it does not speak SMTP"))?;
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return if code == expected { Ok(lines) } else { Err(said(Stage::Hello, "", code, &lines.join(" "))) };
            }
        }
        if heard.len() > LONGEST {
            return Err(broken(Stage::Hello, "its reply has no end"));
        }
        match stream.read_buf(heard).await {
            Ok(0) => return Err(broken(Stage::Hello, "it hung up")),
            Ok(_) => {}
            Err(error) => return Err(broken(Stage::Hello, &error.to_string())),
        }
    }
}

async fn handshake(settings: &Settings, stream: TcpStream) -> Result<TlsStream<TcpStream>, ConnectorError> {
    let name = ServerName::try_from(settings.host.clone()).map_err(|_| ConnectorError::unconfigured("`host` is no name"))?;
    let connector = TlsConnector::from(Arc::new(config(settings)?));
    connector.connect(name, stream).await.map_err(|error| match certificate(&error) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let message =
                format!("the relay shows a certificate that is not trusted ({why:?}); give the connection its `ca_bundle`");
            ConnectorError::new(ErrorKind::Permanent, message)
        }
        _ => broken(Stage::Hello, &error.to_string()),
    })
}

fn config(settings: &Settings) -> Result<ClientConfig, ConnectorError> {
    let unusable = |error: &dyn fmt::Display| ConnectorError::unconfigured(format!("TLS cannot be used: {error}"));
    let mut authorities = Vec::new();
    if let Some(bundle) = &settings.ca_bundle {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bundle.as_bytes()).collect();
        authorities = found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
            ConnectorError::unconfigured("`ca_bundle` holds no certificates in PEM; paste them with their BEGIN lines")
        })?;
    }
    let provider = Arc::new(default_provider());
    let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider)).map_err(|error| unusable(&error))?;
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| unusable(&error))?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Ok(config.with_no_client_auth())
}

impl AsyncRead for Secret {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let (now, later) = self.first.split_at(self.first.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.first = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Secret {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl AsyncTokioStream for Secret {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.get_ref().0.peer_addr()
    }
}
