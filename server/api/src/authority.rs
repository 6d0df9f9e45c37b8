//! The built-in certificate authority, for `freehold dev` and for installations that have no other.
//!
//! One directory: `ca.crt`, `ca.key` (0600), `issued.jsonl`, `revoked.txt`. Servers watch `revoked.txt`; nothing but this
//! module writes there.

use std::{
    fmt,
    fs::{self, File},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use freehold_domain::time::{Clock, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use ring::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use crate::{
    files::{self, Readers},
    peer::{self, SpiffeId},
    setup::{Result, SetupError},
};

/// How long the authority's own certificate lasts: ten years.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3652 * 86_400);
/// The longest life of a certificate it issues: one year.
pub const MAX_LIFETIME: Duration = Duration::from_secs(366 * 86_400);
/// Validity begins this much earlier, so that a client whose clock is a little behind accepts it.
const SKEW: Duration = Duration::from_secs(300);
/// Records of certificates are kept this long after their end.
const KEPT: Duration = Duration::from_secs(90 * 86_400);

/// A certificate authority in a directory.
pub struct Authority {
    dir: PathBuf,
    trust_domain: String,
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    not_after: Timestamp,
    clock: Arc<dyn Clock>,
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Proves a client.
    Client,
    /// Proves a server.
    Server,
    /// Both: a server that calls its replicas.
    Both,
}

/// What a new certificate says.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Whom it names; in the authority's trust domain.
    pub spiffe_id: SpiffeId,
    /// Host names of a server.
    pub dns_names: Vec<String>,
    /// Addresses of a server.
    pub ips: Vec<IpAddr>,
    /// How long it lasts, at most [`MAX_LIFETIME`].
    pub lifetime: Duration,
    /// What it is for.
    pub usage: Usage,
}

/// A certificate of a key that somebody else keeps.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate in PEM.
    pub cert_pem: String,
    /// Serial number in lower-case hex.
    pub serial: String,
    /// End of its validity.
    pub not_after: Timestamp,
}

/// A certificate with its key.
pub struct Issued {
    /// The certificate in PEM.
    pub cert_pem: String,
    /// Its private key in PEM (PKCS #8).
    pub key_pem: String,
    /// Serial number in lower-case hex.
    pub serial: String,
    /// End of its validity.
    pub not_after: Timestamp,
}

impl Issued {
    /// Writes both files, each as one step; the key is readable by the owner only.
    pub fn save(&self, cert: &Path, key: &Path) -> Result<()> {
        files::replace(key, self.key_pem.as_bytes(), Readers::Owner)?;
        files::replace(cert, self.cert_pem.as_bytes(), Readers::All)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("serial", &self.serial).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// What the authority remembers of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Serial number in lower-case hex.
    pub serial: String,
    /// Whom it names.
    pub spiffe_id: String,
    /// End of its validity.
    pub not_after: Timestamp,
    /// Whether it was revoked; not in the file, but read from `revoked.txt`.
    #[serde(skip)]
    pub revoked: bool,
}

impl Authority {
    /// Makes a new authority for this trust domain, for example `freehold.example`. The directory is made if need be.
    ///
    /// # Errors
    /// When the directory holds an authority already, or cannot be written.
    pub fn create(dir: &Path, trust_domain: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        format!("spiffe://{trust_domain}/x")
            .parse::<SpiffeId>()
            .map_err(|_| SetupError::new(format!("`{trust_domain}` is not a trust domain: use a-z, 0-9, '.', '-' and '_'")))?;
        fs::create_dir_all(dir).map_err(|e| SetupError::file(dir, "cannot be made").caused_by(e))?;
        let _lock = lock(dir)?;
        let key = KeyPair::generate().map_err(|e| SetupError::new("no key could be made").caused_by(e))?;
        let mut params = parameters(clock.now(), AUTHORITY_LIFETIME, &format!("Freehold {trust_domain}"))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into().map_err(unusable)?)];
        let cert = params.self_signed(&key).map_err(unusable)?;
        // The key first: a directory that has a certificate is complete.
        if files::read_if_any(&dir.join("ca.crt"))?.is_some() {
            return Err(SetupError::file(dir, "holds an authority already; open it, or choose another directory"));
        }
        files::replace(&dir.join("revoked.txt"), b"", Readers::All)?;
        files::replace(&dir.join("ca.key"), key.serialize_pem().as_bytes(), Readers::Owner)?;
        files::replace(&dir.join("ca.crt"), cert.pem().as_bytes(), Readers::All)?;
        Self::open(dir, clock)
    }

    /// Opens the authority of a directory.
    ///
    /// # Errors
    /// When there is none, or its files do not fit together.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        let ca_pem = text(&cert_path)?;
        let key =
            KeyPair::from_pem(&text(&key_path)?).map_err(|e| SetupError::file(&key_path, "is no private key").caused_by(e))?;
        let der = CertificateDer::from_pem_slice(ca_pem.as_bytes())
            .map_err(|e| SetupError::file(&cert_path, "is no certificate").caused_by(e))?;
        let (_, cert) =
            X509Certificate::from_der(&der).map_err(|e| SetupError::file(&cert_path, "is no certificate").caused_by(e))?;
        if cert.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(SetupError::file(dir, "ca.key is not the key of ca.crt"));
        }
        let trust_domain = trust_domain(&cert).ok_or_else(|| SetupError::file(&cert_path, "names no trust domain"))?;
        let not_after = Timestamp::from_micros(cert.validity().not_after.timestamp().saturating_mul(1_000_000));
        let issuer =
            Issuer::from_ca_cert_der(&der, key).map_err(|e| SetupError::file(&cert_path, "is no authority").caused_by(e))?;
        Ok(Self { dir: dir.to_owned(), trust_domain, issuer, ca_pem, not_after, clock })
    }

    /// The trust domain of every identity it issues.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Its certificate in PEM, which clients and servers trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// File of its certificate.
    pub fn ca_path(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// File of revoked serial numbers, one a line.
    pub fn revoked_path(&self) -> PathBuf {
        self.dir.join("revoked.txt")
    }

    /// Issues a certificate and records it.
    ///
    /// # Errors
    /// When the profile is not one this authority signs, or the record cannot be written; then nothing was issued.
    pub fn issue(&self, profile: &Profile) -> Result<Issued> {
        let key = KeyPair::generate().map_err(unusable)?;
        let Signed { cert_pem, serial, not_after } = self.sign(profile, &key)?;
        Ok(Issued { cert_pem, key_pem: key.serialize_pem(), serial, not_after })
    }

    /// Signs a key that somebody else keeps, and records the certificate.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn sign(&self, profile: &Profile, key: &impl PublicKeyData) -> Result<Signed> {
        let now = self.clock.now();
        self.check(profile, now)?;
        let mut params = parameters(now, profile.lifetime, "Freehold")?;
        params.serial_number = Some(serial_number(key, now));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match profile.usage {
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names.push(SanType::URI(profile.spiffe_id.as_str().try_into().map_err(unusable)?));
        for name in &profile.dns_names {
            params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into().map_err(unusable)?));
        }
        params.subject_alt_names.extend(profile.ips.iter().copied().map(SanType::IpAddress));

        let cert = params.signed_by(key, &self.issuer).map_err(unusable)?;
        let (_, parsed) = X509Certificate::from_der(cert.der()).expect("it was just made");
        let signed = Signed {
            cert_pem: cert.pem(),
            serial: peer::serial(&parsed),
            not_after: Timestamp::from_micros(parsed.validity().not_after.timestamp().saturating_mul(1_000_000)),
        };
        self.record(&signed, &profile.spiffe_id, now)?;
        Ok(signed)
    }

    /// Every certificate that has not been over for 90 days, oldest first.
    pub fn list(&self) -> Result<Vec<Record>> {
        let _lock = lock(&self.dir)?;
        let revoked = self.revoked()?;
        let mut records = self.records()?;
        for record in &mut records {
            record.revoked = revoked.contains(&record.serial);
        }
        Ok(records)
    }

    /// Revokes a certificate by its serial number. Servers refuse it, and close what it holds open, within seconds.
    /// Revoking again changes nothing.
    ///
    /// # Errors
    /// When no such certificate was issued.
    pub fn revoke(&self, serial: &str) -> Result<()> {
        let serial = serial.to_ascii_lowercase();
        let _lock = lock(&self.dir)?;
        let records = self.records()?;
        if !records.iter().any(|record| record.serial == serial) {
            return Err(SetupError::new(format!("no certificate has the serial number {serial}; list them to find it")));
        }
        let mut revoked = self.revoked()?;
        if !revoked.contains(&serial) {
            revoked.push(serial);
            files::replace(&self.revoked_path(), (revoked.join("\n") + "\n").as_bytes(), Readers::All)?;
        }
        Ok(())
    }

    fn check(&self, profile: &Profile, now: Timestamp) -> Result<()> {
        let mut wrong = Vec::new();
        if profile.spiffe_id.trust_domain() != self.trust_domain {
            wrong.push(format!("{} is not of the trust domain {}", profile.spiffe_id, self.trust_domain));
        }
        if profile.lifetime.is_zero() || profile.lifetime > MAX_LIFETIME {
            wrong.push("a certificate lasts at least a second and at most 366 days".to_owned());
        }
        if now.plus(profile.lifetime) > self.not_after {
            wrong.push(format!("the authority itself ends at {}; make a new one", self.not_after));
        }
        if profile.usage != Usage::Client && profile.dns_names.is_empty() && profile.ips.is_empty() {
            wrong.push("a server's certificate needs a host name or an address".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(SetupError::new(wrong.join("; "))) }
    }

    fn record(&self, issued: &Signed, spiffe_id: &SpiffeId, now: Timestamp) -> Result<()> {
        let _lock = lock(&self.dir)?;
        let mut records = self.records()?;
        records.retain(|record| now.since(record.not_after) < KEPT);
        records.push(Record {
            serial: issued.serial.clone(),
            spiffe_id: spiffe_id.to_string(),
            not_after: issued.not_after,
            revoked: false,
        });
        let mut lines = String::new();
        for record in &records {
            lines += &serde_json::to_string(record).expect("a record is plain text and numbers");
            lines.push('\n');
        }
        files::replace(&self.dir.join("issued.jsonl"), lines.as_bytes(), Readers::All)
    }

    fn records(&self) -> Result<Vec<Record>> {
        let path = self.dir.join("issued.jsonl");
        let content = files::read_if_any(&path)?.unwrap_or_default();
        let lines = content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| {
                serde_json::from_slice(line).map_err(|e| SetupError::file(&path, "has a line that is no record").caused_by(e))
            })
            .collect()
    }

    fn revoked(&self) -> Result<Vec<String>> {
        Ok(text(&self.revoked_path())?.lines().map(str::to_owned).collect())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("dir", &self.dir).field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

/// Keeps other processes out of the directory until it is dropped.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("ca.lock");
    let open = || {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        file.lock().map(|()| file)
    };
    open().map_err(|e| SetupError::file(&path, "cannot be locked").caused_by(e))
}

fn text(path: &Path) -> Result<String> {
    String::from_utf8(files::read(path)?).map_err(|_| SetupError::file(path, "is not text"))
}

fn unusable(error: rcgen::Error) -> SetupError {
    SetupError::new("the certificate cannot be made").caused_by(error)
}

/// Drawn from key and time: a key that is signed again gets another one. Positive, and at most 20 bytes (RFC 5280).
fn serial_number(key: &impl PublicKeyData, now: Timestamp) -> SerialNumber {
    let mut content = key.der_bytes().to_vec();
    content.extend_from_slice(&now.as_micros().to_be_bytes());
    let mut serial = digest(&SHA256, &content).as_ref()[..20].to_vec();
    serial[0] = serial[0] & 0x7f | 0x40;
    SerialNumber::from(serial)
}

/// Names and validity.
fn parameters(now: Timestamp, lifetime: Duration, name: &str) -> Result<CertificateParams> {
    let seconds = u64::try_from(now.as_micros() / 1_000_000).map_err(|_| SetupError::new("the clock is before 1970"))?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = epoch + Duration::from_secs(seconds);
    let mut params = CertificateParams::default();
    params.not_before = now - SKEW;
    params.not_after = now + lifetime;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn trust_domain(cert: &X509Certificate<'_>) -> Option<String> {
    let names = cert.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://").map(str::to_owned),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct At(i64);
    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0 * 1_000_000)
        }
    }

    fn client(name: &str) -> Profile {
        Profile {
            spiffe_id: format!("spiffe://test.example/{name}").parse().expect("valid"),
            dns_names: Vec::new(),
            ips: Vec::new(),
            lifetime: Duration::from_secs(3600),
            usage: Usage::Client,
        }
    }

    #[test]
    fn issued_certificates_are_listed_revoked_and_survive_reopening() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock: Arc<dyn Clock> = Arc::new(At(1_700_000_000));
        let made = Authority::create(dir.path(), "test.example", clock.clone()).expect("made");
        let first = made.issue(&client("platform/admin")).expect("issued");
        made.issue(&client("tenants/acme/users/ada")).expect("issued");

        let opened = Authority::open(dir.path(), clock.clone()).expect("opened");
        assert_eq!(opened.trust_domain(), "test.example");
        opened.revoke(&first.serial.to_uppercase()).expect("revoked");
        opened.revoke(&first.serial).expect("again is nothing");
        let listed: Vec<_> = opened.list().expect("listed").into_iter().map(|r| (r.spiffe_id, r.revoked)).collect();
        assert_eq!(
            listed,
            [
                ("spiffe://test.example/platform/admin".to_owned(), true),
                ("spiffe://test.example/tenants/acme/users/ada".to_owned(), false)
            ]
        );
        assert!(opened.revoke("12ab").is_err(), "a serial that was never issued");
        assert!(Authority::create(dir.path(), "other.example", clock).is_err(), "an authority is never overwritten");

        let mode = |name| fs::metadata(dir.path().join(name)).expect("exists").permissions().mode() & 0o777;
        assert_eq!((mode("ca.key"), mode("ca.crt")), (0o600, 0o644));
    }

    #[test]
    fn a_profile_it_does_not_sign_names_every_fault() {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::create(dir.path(), "test.example", Arc::new(At(1_700_000_000))).expect("made");
        let wrong = Profile {
            spiffe_id: "spiffe://elsewhere.example/x".parse().expect("valid"),
            lifetime: MAX_LIFETIME + Duration::from_secs(1),
            usage: Usage::Server,
            ..client("x")
        };
        let text = authority.issue(&wrong).expect_err("refused").to_string();
        for part in ["trust domain", "366 days", "host name"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(authority.list().expect("listed").is_empty());
    }
}
