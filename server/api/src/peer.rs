//! Who is at the other end of a connection, read from its certificate once.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

use freehold_domain::{iam, time::Timestamp};
use ring::digest::{SHA256, digest};
use rustls_pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

/// Identity of a workload, `spiffe://trust-domain/path` (SPIFFE-ID standard).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The installation that vouches for it.
    pub fn trust_domain(&self) -> &str {
        self.parts().0
    }

    /// What follows the trust domain, without the slash: in the server's own trust domain, the name of a principal.
    pub fn path(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.trim_start_matches("spiffe://").split_once('/').expect("checked when it was made")
    }
}

impl FromStr for SpiffeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        iam::spiffe_id(text).map(Self)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The client certificate of a connection. Copies are cheap; each request carries one in its extensions.
#[derive(Clone, Debug)]
pub struct Peer(Arc<Facts>);

#[derive(Debug)]
struct Facts {
    spiffe_id: Option<SpiffeId>,
    cert_sha256: [u8; 32],
    serial: String,
    not_after: Timestamp,
    addr: SocketAddr,
}

impl Peer {
    /// Reads a certificate that TLS has verified already.
    ///
    /// Its identity is the one URI among its alternative names, if that is a SPIFFE id, of whatever trust domain; a certificate
    /// with another number of URIs identifies nobody (SPIFFE X.509-SVID, section 2).
    ///
    /// # Errors
    /// When it is not a certificate.
    pub fn read(cert: &CertificateDer<'_>, addr: SocketAddr) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(cert).map_err(|e| format!("the client certificate cannot be read: {e}"))?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, cert).as_ref());
        Ok(Self(Arc::new(Facts {
            spiffe_id: identity(&parsed),
            cert_sha256: sha256,
            serial: serial(&parsed),
            not_after: Timestamp::from_micros(parsed.validity().not_after.timestamp().saturating_mul(1_000_000)),
            addr,
        })))
    }

    /// Its identity, if it has exactly one. In the server's own trust domain the path is a principal; of other domains only the
    /// whole means something.
    pub fn spiffe_id(&self) -> Option<&SpiffeId> {
        self.0.spiffe_id.as_ref()
    }

    /// SHA-256 of the certificate, the `x5t#S256` of RFC 8705.
    pub fn cert_sha256(&self) -> &[u8; 32] {
        &self.0.cert_sha256
    }

    /// Serial number in lower-case hex without leading zeros.
    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    /// End of the certificate's validity.
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// Address at the other end.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr
    }
}

/// The address a request came from; in the extensions of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAddr(pub SocketAddr);

/// The one SPIFFE id of a certificate.
pub(crate) fn identity(cert: &X509Certificate<'_>) -> Option<SpiffeId> {
    uri(cert)?.parse().ok()
}

/// The trust domain that an authority names as its own: its SPIFFE id has no path (SPIFFE X.509-SVID, section 2).
pub(crate) fn trust_domain<'a>(cert: &'a X509Certificate<'_>) -> Option<&'a str> {
    uri(cert)?.strip_prefix("spiffe://").map(|domain| domain.trim_end_matches('/')).filter(|domain| !domain.contains('/'))
}

/// The URI among the alternative names, if there is exactly one.
fn uri<'a>(cert: &'a X509Certificate<'_>) -> Option<&'a str> {
    let names = cert.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    uris.next().filter(|_| uris.next().is_none())
}

/// Serial number in lower-case hex without leading zeros.
pub(crate) fn serial(cert: &X509Certificate<'_>) -> String {
    let hex: String = cert.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.trim_start_matches('0').to_owned()
}
