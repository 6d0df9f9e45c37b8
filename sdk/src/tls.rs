//! TLS settings that follow their files.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::time::Instant;

use crate::{
    Code, Credentials, Error,
    credentials::Pem,
    error::{Result, Started},
};

/// How often files are looked at while calls are made.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The TLS settings in use, replaced when the files they were read from change.
pub(crate) struct Tls {
    ca: Pem,
    identity: Option<(Pem, Pem)>,
    loaded: ArcSwap<Loaded>,
    looked: Mutex<Instant>,
}

/// One reading of the files.
pub(crate) struct Loaded {
    pub(crate) config: Arc<ClientConfig>,
    /// Counts readings; a connection of an older one is replaced.
    pub(crate) generation: u64,
    stamps: Stamps,
}

type Stamps = Vec<Option<(SystemTime, u64)>>;

impl Tls {
    /// Reads the files for the first time; here a fault is an error.
    pub(crate) fn load(credentials: &Credentials) -> Result<Self> {
        let Some(ca) = credentials.ca.clone() else {
            return Err(Error::new(
                Code::InvalidArgument,
                "the CA of the server's certificate is not known; name its PEM file with FREEHOLD_CA or Credentials::ca_file",
            ));
        };
        let identity = credentials.identity.clone();
        let stamps = stamps(&ca, identity.as_ref());
        let config = Arc::new(config(&ca, identity.as_ref())?);
        let loaded = ArcSwap::from_pointee(Loaded { config, generation: 0, stamps });
        Ok(Self { ca, identity, loaded, looked: Mutex::new(Instant::now()) })
    }

    /// The settings for a connection made now.
    pub(crate) fn fresh(&self) -> Arc<Loaded> {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let current = self.loaded.load_full();
        let stamps = stamps(&self.ca, self.identity.as_ref());
        if stamps == current.stamps {
            return current;
        }
        match config(&self.ca, self.identity.as_ref()) {
            Ok(config) => {
                tracing::info!("certificates read again");
                let next = Arc::new(Loaded { config: Arc::new(config), generation: current.generation + 1, stamps });
                self.loaded.store(next.clone());
                next
            }
            // Two files are seldom replaced at once: the next look finds both.
            Err(error) => {
                tracing::warn!(%error, "certificates have changed and cannot be used yet; the last good ones stay in use");
                current
            }
        }
    }

    /// The settings for a call made now; the files are looked at every few seconds only.
    pub(crate) fn current(&self) -> Arc<Loaded> {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() >= LOOK_EVERY { self.fresh() } else { self.loaded.load_full() }
    }

    pub(crate) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }
}

/// When each file was changed, and its size; nothing for what is not a file.
fn stamps(ca: &Pem, identity: Option<&(Pem, Pem)>) -> Stamps {
    let all = [Some(ca), identity.map(|(certificate, _)| certificate), identity.map(|(_, key)| key)];
    let stamp = |pem: Option<&Pem>| match pem {
        Some(Pem::File(path)) => fs::metadata(path).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len()))),
        _ => None,
    };
    all.map(stamp).to_vec()
}

fn config(ca: &Pem, identity: Option<&(Pem, Pem)>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|error| unusable(ca, "a CA certificate", error))?;
    }
    // Named here, because a process default could be missing or another one.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(Code::Internal, error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let private = PrivateKeyDer::from_pem_slice(&key.read()?).map_err(|error| unusable(key, "a private key", error))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(|error| unusable(certificate, "the certificate of the key given with it", error))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(&pem.read()?)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(pem, "a list of certificates", error))?;
    if all.is_empty() {
        return Err(unusable(pem, "a list of certificates", "it holds none"));
    }
    Ok(all)
}

fn unusable(pem: &Pem, wanted: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidArgument, format!("{} is not {wanted} in PEM form: {why}", pem.origin())).started(Started::Never)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn write(dir: &std::path::Path) {
        let key = KeyPair::generate().expect("a key");
        let certificate =
            CertificateParams::new(vec!["client".to_owned()]).expect("a name").self_signed(&key).expect("a certificate");
        fs::write(dir.join("ca.pem"), certificate.pem()).expect("a file");
        fs::write(dir.join("client.pem"), certificate.pem()).expect("a file");
        fs::write(dir.join("client.key"), key.serialize_pem()).expect("a file");
    }

    #[tokio::test(start_paused = true)]
    async fn changed_files_make_a_new_generation_once_they_are_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name);
        write(dir.path());
        let credentials = Credentials::new().ca_file(path("ca.pem")).certificate_files(path("client.pem"), path("client.key"));
        let tls = Tls::load(&credentials).expect("good files");
        assert_eq!(tls.fresh().generation, 0, "nothing has changed");

        fs::write(path("client.key"), "-----BEGIN").expect("a file");
        assert_eq!(tls.fresh().generation, 0, "half a file is not used");
        write(dir.path());
        assert_eq!(tls.current().generation, 0, "calls look every few seconds only");
        tokio::time::advance(LOOK_EVERY).await;
        assert_eq!(tls.current().generation, 1);
        assert_eq!(tls.fresh().generation, 1, "and then it is used");
    }
}
