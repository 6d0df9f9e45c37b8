//! TLS of a listener: certificate, trusted authority and revocations, read again when their files change.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ring::digest::{SHA256, digest};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring::default_provider},
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    files,
    peer::{self, Peer, SpiffeId},
    setup::{Result, SetupError},
};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Where TLS comes from. All files are PEM but `revoked`.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate, followed by intermediates.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// How clients prove themselves; `None` when they do not.
    pub clients: Option<ClientFiles>,
    /// Whether TLS 1.2 is spoken besides 1.3.
    pub tls12: bool,
    /// Whether HTTP/1.1 is spoken besides HTTP/2.
    pub http1: bool,
}

/// How clients prove themselves.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// Authorities whose certificates are accepted. One that names a trust domain, as those of SPIFFE do, speaks for that domain,
    /// and no other does; those that name none speak for all other domains.
    pub ca: PathBuf,
    /// Whether there may be clients without one. What they may call is for the layers to say.
    pub optional: bool,
    /// One line for each certificate that is not: a serial number in hex, or a SPIFFE id. `#` begins a comment.
    pub revoked: Option<PathBuf>,
}

/// TLS of a listener, always as of the last files that fit together.
pub struct ServerTls {
    files: TlsFiles,
    current: watch::Sender<Arc<Current>>,
}

/// One consistent reading of the files.
pub(crate) struct Current {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) revoked: Arc<Revoked>,
    content: [u8; 32],
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or they do not fit together.
    pub fn load(files: TlsFiles) -> Result<Self> {
        let current = Content::read(&files)?.build(&files)?;
        Ok(Self { files, current: watch::Sender::new(Arc::new(current)) })
    }

    /// Whether HTTP/1.1 is spoken.
    pub fn http1(&self) -> bool {
        self.files.http1
    }

    /// What holds now.
    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.borrow().clone()
    }

    /// Tells of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Current>> {
        self.current.subscribe()
    }

    /// Looks at the files each second until stopped. A fault is logged once, not each second.
    pub(crate) async fn follow(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        let mut last_fault = String::new();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.refresh().await {
                Ok(changed) => {
                    last_fault.clear();
                    if changed {
                        tracing::info!(cert = %self.files.cert.display(), "TLS files changed; new connections use them");
                    }
                }
                Err(fault) => {
                    let fault = fault.to_string();
                    if fault != last_fault {
                        tracing::error!(error = fault, "TLS files changed but cannot be used; the old ones stay in force");
                        last_fault = fault;
                    }
                }
            }
        }
    }

    /// Takes the files over if they changed and fit together. Returns whether it did; on an error, what was good before stays.
    async fn refresh(&self) -> Result<bool> {
        let files = self.files.clone();
        let before = self.current().content;
        // Small local files; still, a directory on a network must not hold up the runtime.
        let look = tokio::task::spawn_blocking(move || {
            let content = Content::read(&files)?;
            if content.digest() == before { Ok(None) } else { content.build(&files).map(Some) }
        });
        let new = look.await.map_err(|e| SetupError::new("the TLS files could not be looked at").caused_by(e))??;
        Ok(new.map(|new| self.current.send_replace(Arc::new(new))).is_some())
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Certificates that are refused although their authority is trusted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Revoked {
    serials: HashSet<String>,
    identities: HashSet<SpiffeId>,
}

impl Revoked {
    /// Whether a connection of this peer must end.
    pub(crate) fn has(&self, peer: &Peer) -> bool {
        self.serials.contains(peer.serial()) || peer.spiffe_id().is_some_and(|id| self.identities.contains(id))
    }

    fn has_cert(&self, cert: &CertificateDer<'_>) -> std::result::Result<bool, TlsError> {
        let (_, cert) = X509Certificate::from_der(cert).map_err(|_| CertificateError::BadEncoding)?;
        let by_identity = || peer::identity(&cert).is_some_and(|id| self.identities.contains(&id));
        Ok(self.serials.contains(&peer::serial(&cert)) || by_identity())
    }

    fn parse(path: &Path, content: &[u8]) -> Result<Self> {
        let text = str::from_utf8(content).map_err(|_| SetupError::file(path, "is not text"))?;
        let mut revoked = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            let serial = entry.to_ascii_lowercase().replace(':', "");
            if serial.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                revoked.serials.insert(serial.trim_start_matches('0').to_owned());
            } else if let Ok(id) = entry.parse() {
                revoked.identities.insert(id);
            } else {
                return Err(SetupError::file(path, format!("line {number} is neither a serial number in hex nor a SPIFFE id")));
            }
        }
        Ok(revoked)
    }
}

/// The bytes of all files.
struct Content {
    cert: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
    revoked: Vec<u8>,
}

impl Content {
    fn read(files: &TlsFiles) -> Result<Self> {
        let ca = files.clients.as_ref().map(|clients| files::read(&clients.ca)).transpose()?;
        let revoked = files.clients.as_ref().and_then(|clients| clients.revoked.as_deref()).map(files::read).transpose()?;
        Ok(Self {
            cert: files::read(&files.cert)?,
            key: files::read(&files.key)?,
            ca: ca.unwrap_or_default(),
            revoked: revoked.unwrap_or_default(),
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut joined = Vec::new();
        for part in [&self.cert, &self.key, &self.ca, &self.revoked] {
            joined.extend_from_slice(digest(&SHA256, part).as_ref());
        }
        let mut result = [0; 32];
        result.copy_from_slice(digest(&SHA256, &joined).as_ref());
        result
    }

    fn build(&self, files: &TlsFiles) -> Result<Current> {
        let chain: Vec<_> = certificates(&files.cert, &self.cert)?;
        if !chain.first().is_none_or(may_serve) {
            let why =
                "is a client's certificate, which every client refuses; give one for servers (extended key usage serverAuth)";
            return Err(SetupError::file(&files.cert, why));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|e| SetupError::file(&files.key, "holds no private key").caused_by(e))?;
        let provider = Arc::new(default_provider());
        let versions: &[_] = if files.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
        let start = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|e| SetupError::new("TLS cannot be set up").caused_by(e))?;

        let mut revoked = Arc::default();
        let start = match &files.clients {
            None => start.with_no_client_auth(),
            Some(clients) => {
                if let Some(path) = &clients.revoked {
                    revoked = Arc::new(Revoked::parse(path, &self.revoked)?);
                }
                start.with_client_cert_verifier(verifier(clients, &self.ca, provider, &revoked)?)
            }
        };
        let mut config = start
            .with_single_cert(chain, key)
            .map_err(|e| SetupError::file(&files.cert, format!("does not fit the key {}", files.key.display())).caused_by(e))?;
        config.alpn_protocols = if files.http1 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"h2".to_vec()] };
        if files.clients.is_some() {
            // A resumed session would skip the check of the certificate's validity and revocation.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Current { config: Arc::new(config), revoked, content: self.digest() })
    }
}

fn certificates(path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(content)
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| SetupError::file(path, "holds something that is no certificate").caused_by(e))?;
    if all.is_empty() { Err(SetupError::file(path, "holds no certificate")) } else { Ok(all) }
}

/// What a certificate may be used for is whatever it does not restrict. One that cannot be read is told of by rustls.
fn may_serve(cert: &CertificateDer<'_>) -> bool {
    let Ok((_, cert)) = X509Certificate::from_der(cert) else { return true };
    let usage = cert.extended_key_usage().ok().flatten();
    usage.is_none_or(|usage| usage.value.server_auth || usage.value.any)
}

fn verifier(
    clients: &ClientFiles,
    ca: &[u8],
    provider: Arc<CryptoProvider>,
    revoked: &Arc<Revoked>,
) -> Result<Arc<dyn ClientCertVerifier>> {
    let path = &clients.ca;
    let mut all = RootCertStore::empty();
    let mut by_domain: HashMap<Option<String>, RootCertStore> = HashMap::new();
    for cert in certificates(path, ca)? {
        let (_, parsed) = X509Certificate::from_der(&cert)
            .map_err(|e| SetupError::file(path, "holds a certificate that cannot be read").caused_by(e))?;
        let domain = by_domain.entry(peer::trust_domain(&parsed).map(str::to_owned));
        for roots in [&mut all, domain.or_insert_with(RootCertStore::empty)] {
            roots
                .add(cert.clone())
                .map_err(|e| SetupError::file(path, "holds a certificate that is no authority").caused_by(e))?;
        }
    }
    let chain = |roots: RootCertStore| -> Result<Arc<dyn ClientCertVerifier>> {
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|e| SetupError::file(path, "cannot be trusted").caused_by(e))
    };
    let by_domain =
        by_domain.into_iter().map(|(domain, roots)| Ok((domain, chain(roots)?))).collect::<Result<HashMap<_, _>>>()?;
    Ok(Arc::new(Trusted { all: chain(all)?, by_domain, mandatory: !clients.optional, revoked: revoked.clone() }))
}

/// What webpki accepts from whoever speaks for the trust domain, less what was revoked.
#[derive(Debug)]
struct Trusted {
    all: Arc<dyn ClientCertVerifier>,
    /// By the trust domain that authorities name; `None` has those that name none.
    by_domain: HashMap<Option<String>, Arc<dyn ClientCertVerifier>>,
    mandatory: bool,
    revoked: Arc<Revoked>,
}

impl Trusted {
    /// The authorities that speak for the identity of a certificate. One that identifies nobody may be of any of them.
    fn chain(&self, end_entity: &CertificateDer<'_>) -> std::result::Result<&dyn ClientCertVerifier, TlsError> {
        let (_, cert) = X509Certificate::from_der(end_entity).map_err(|_| CertificateError::BadEncoding)?;
        let Some(id) = peer::identity(&cert) else { return Ok(self.all.as_ref()) };
        let own = self.by_domain.get(&Some(id.trust_domain().to_owned()));
        let chain = own.or_else(|| self.by_domain.get(&None)).ok_or(CertificateError::UnknownIssuer)?;
        Ok(chain.as_ref())
    }
}

impl ClientCertVerifier for Trusted {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.all.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, TlsError> {
        let verified = self.chain(end_entity)?.verify_client_cert(end_entity, intermediates, now)?;
        for cert in [end_entity].into_iter().chain(intermediates) {
            if self.revoked.has_cert(cert)? {
                return Err(CertificateError::Revoked.into());
            }
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.all.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.all.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.all.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use freehold_domain::time::{Clock, Timestamp};

    use super::*;
    use crate::authority::{Authority, Profile, Usage};

    struct At(i64);
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0 * 1_000_000)
        }
    }

    #[tokio::test]
    async fn files_that_do_not_fit_together_leave_the_old_ones_in_force() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let authority = Authority::create(&at("ca"), "test.example", Arc::new(At(1_700_000_000))).expect("made");
        let profile = Profile {
            spiffe_id: "spiffe://test.example/server".parse().expect("valid"),
            dns_names: vec!["localhost".to_owned()],
            ips: Vec::new(),
            lifetime: Duration::from_secs(3600),
            usage: Usage::Server,
        };
        authority.issue(&profile).expect("issued").save(&at("crt"), &at("key")).expect("saved");
        let clients = ClientFiles { ca: authority.ca_path(), optional: false, revoked: Some(authority.revoked_path()) };
        let files = TlsFiles { cert: at("crt"), key: at("key"), clients: Some(clients), tls12: false, http1: false };
        let tls = ServerTls::load(files).expect("they fit");
        let first = tls.current();
        assert!(!tls.refresh().await.expect("they fit"), "nothing changed");

        let second = authority.issue(&profile).expect("issued");
        std::fs::write(at("crt"), &second.cert_pem).expect("written");
        let fault = tls.refresh().await.expect_err("the key is the old one").to_string();
        assert!(fault.contains("does not fit the key"), "{fault}");
        assert!(Arc::ptr_eq(&first, &tls.current()));
        std::fs::remove_file(at("key")).expect("removed");
        tls.refresh().await.expect_err("there is no key");
        assert!(Arc::ptr_eq(&first, &tls.current()));

        second.save(&at("crt"), &at("key")).expect("saved");
        assert!(tls.refresh().await.expect("they fit"));
        assert!(!Arc::ptr_eq(&first, &tls.current()));
    }

    #[test]
    fn a_revocation_file_has_serials_and_identities_and_names_its_wrong_line() {
        let path = Path::new("revoked.txt");
        let read = Revoked::parse(path, b"# lost laptop\n0A:BC\n\nspiffe://x.example/tenants/a/users/b # left\n").expect("valid");
        assert!(read.serials.contains("abc"));
        assert_eq!(read.identities.len(), 1);
        let fault = Revoked::parse(path, b"abc\nnobody\n").expect_err("no serial").to_string();
        assert!(fault.contains("line 2"), "{fault}");
    }
}
