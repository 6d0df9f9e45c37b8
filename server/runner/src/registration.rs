//! How a runner gets its certificate, and the next ones.
//!
//! Its folder has `runner.pem`, certificate and key in one file, so that both change as one; before there is one,
//! `registration.key`, so that a repeat of a registration whose answer was lost is recognised by its key. Keys never leave it.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use freehold::{
    Code, Error,
    raw::{
        RawChannel,
        proto::runners::v1::{RegisterRunnerRequest, RenewCertificateRequest, runner_service_client::RunnerServiceClient},
    },
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Between two tries of a renewal.
const RETRY: Duration = Duration::from_secs(60);

/// The folder of a runner's identity.
#[derive(Clone, Debug)]
pub struct Identity {
    dir: PathBuf,
}

impl Identity {
    /// In this folder, which is made if need be, for nobody else to read.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// The file with certificate and key.
    pub fn file(&self) -> PathBuf {
        self.dir.join("runner.pem")
    }

    /// Whether there is a certificate.
    pub fn is_registered(&self) -> bool {
        self.file().exists()
    }

    /// Joins a pool, `runnerPools/default`, by the secret of a token; answers the runner's name. The channel needs no certificate.
    ///
    /// # Errors
    /// What the server refuses it for, and files that cannot be written.
    pub async fn register(&self, channel: RawChannel, pool: &str, name: Option<String>, token: &str) -> Result<String, Error> {
        let (key, id) = self.pending(name)?;
        let ask = RegisterRunnerRequest {
            token: token.to_owned(),
            parent: pool.to_owned(),
            runner_id: id,
            certificate_request: request(&key)?,
        };
        let answer = RunnerServiceClient::new(channel).register_runner(ask).await.map_err(freehold::raw::error)?.into_inner();
        self.keep(&answer.certificate, &key)?;
        let _ = fs::remove_file(self.dir.join("registration.key"));
        Ok(answer.name)
    }

    /// Renews the certificate at half of its life, again and again, until it is stopped. Connections take the new one over when
    /// they see the file change.
    pub async fn renew(self, channel: RawChannel, stop: CancellationToken) {
        loop {
            let wait = match self.half_life() {
                Ok(half) => half.duration_since(SystemTime::now()).unwrap_or_default(),
                Err(error) => {
                    tracing::error!(%error, file = %self.file().display(), "the certificate cannot be read");
                    RETRY
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
            let pause = match self.renew_now(channel.clone()).await {
                Ok(()) => {
                    tracing::info!("the certificate was renewed");
                    Duration::ZERO
                }
                Err(error) => {
                    tracing::warn!(%error, "the certificate could not be renewed");
                    RETRY
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    async fn renew_now(&self, channel: RawChannel) -> Result<(), Error> {
        let key = KeyPair::generate().map_err(internal)?;
        let ask = RenewCertificateRequest { certificate_request: request(&key)? };
        let answer = RunnerServiceClient::new(channel).renew_certificate(ask).await.map_err(freehold::raw::error)?;
        self.keep(&answer.into_inner().certificate, &key)
    }

    /// The key and name of a registration that has no answer yet, made when there are none.
    fn pending(&self, name: Option<String>) -> Result<(KeyPair, String), Error> {
        let path = self.dir.join("registration.key");
        let (pem, id) = match fs::read_to_string(&path) {
            Ok(text) => {
                let (id, pem) = text.split_once('\n').unwrap_or_default();
                (pem.to_owned(), id.to_owned())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let digits = uuid::Uuid::now_v7().simple().to_string();
                let id = format!("runner-{}", &digits[digits.len() - 10..]);
                (KeyPair::generate().map_err(internal)?.serialize_pem(), id)
            }
            Err(error) => return Err(unusable(&path, &error)),
        };
        let id = name.unwrap_or(id);
        write(&path, format!("{id}\n{pem}").as_bytes()).map_err(|error| unusable(&path, &error))?;
        Ok((KeyPair::from_pem(&pem).map_err(internal)?, id))
    }

    fn keep(&self, certificate: &str, key: &KeyPair) -> Result<(), Error> {
        let content = format!("{certificate}{}", key.serialize_pem());
        write(&self.file(), content.as_bytes()).map_err(|error| unusable(&self.file(), &error))
    }

    /// When half of the life of the present certificate is over.
    fn half_life(&self) -> Result<SystemTime, String> {
        let pem = fs::read(self.file()).map_err(|error| error.to_string())?;
        let der = CertificateDer::from_pem_slice(&pem).map_err(|error| error.to_string())?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        let validity = certificate.validity();
        let (begin, end) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let half = u64::try_from(begin + (end - begin) / 2).map_err(|error| error.to_string())?;
        Ok(UNIX_EPOCH + Duration::from_secs(half))
    }
}

/// A request of a certificate that names nothing: the server knows who asks.
fn request(key: &KeyPair) -> Result<String, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(key).and_then(|request| request.pem()).map_err(internal)
}

/// Replaces a file as one step, readable by its owner only from the first byte.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::new(Code::FailedPrecondition, format!("{} cannot be used: {error}", path.display()))
}

fn internal(error: rcgen::Error) -> Error {
    Error::new(Code::Internal, format!("no key could be made: {error}"))
}
