//! Short tokens that say for whom a caller acts: JWT (RFC 7519, RFC 9068) signed with Ed25519.
//!
//! A token is read as narrowly as it is written: one algorithm, one header, every claim required and typed.

mod ring_provider;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use freehold_domain::{
    Error, Reason, fault,
    time::{Clock, Timestamp},
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};

use crate::{
    files::{self, Readers},
    setup::{Result, SetupError},
};

/// The longest life of a token.
pub const MAX_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// The longest token that is looked at, in bytes.
pub const MAX_BYTES: usize = 4096;
/// How far clocks of replicas may be apart.
const LEEWAY: i64 = 5;
const TYPE: &str = "at+jwt";
const AUDIENCE: &str = "freehold";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Name of the principal it stands for, such as `tenants/acme/users/ada`.
    pub principal: String,
    /// Id of the principal's tenant; none for those of the whole installation.
    pub tenant: Option<String>,
    /// Name of what was exchanged for it, such as `tenants/acme/apiKeys/{uid}`; none for a certificate and for a
    /// sign-in.
    pub exchanged: Option<String>,
    /// SHA-256 of the client certificate it is bound to (RFC 8705).
    pub certificate: Option<[u8; 32]>,
    /// Identity of this token.
    pub token_id: String,
    /// When it was made; to the second.
    pub issue_time: Timestamp,
    /// When it ends, 15 minutes later at most unless the keys say otherwise; to the second.
    pub expire_time: Timestamp,
}

/// The keys that sign and verify tokens, and the installation they speak for.
pub struct TokenKeys {
    keys: Vec<Key>,
    issuer: String,
    clock: Arc<dyn Clock>,
    longest: Duration,
}

struct Key {
    id: String,
    sign: EncodingKey,
    verify: DecodingKey,
}

impl TokenKeys {
    /// Reads the keys of a PEM file, or makes the file with one new key. The first key signs, all verify: to rotate, put a
    /// new key in front and remove the old one 15 minutes later. `installation` is the trust domain; it is the issuer.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else than Ed25519 keys.
    pub fn load_or_create(path: &Path, installation: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        if files::read_if_any(path)?.is_none() {
            let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                .map_err(|_| SetupError::new("the system gives no random numbers"))?;
            // Whoever of two replicas comes second uses the key of the first.
            files::create(path, pem(document.as_ref()).as_bytes(), Readers::Owner)?;
        }
        Self::parse(&files::read(path)?, installation, clock).map_err(|why| {
            SetupError::file(path, format!("{why}; it must hold Ed25519 keys in PEM (PKCS #8 with the public key)"))
        })
    }

    fn parse(content: &[u8], installation: &str, clock: Arc<dyn Clock>) -> Result<Self, String> {
        ring_provider::install();
        let mut keys = Vec::new();
        for der in PrivatePkcs8KeyDer::pem_slice_iter(content) {
            let der = der.map_err(|e| e.to_string())?;
            let der = der.secret_pkcs8_der();
            let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|e| e.to_string())?;
            let public = pair.public_key().as_ref();
            let id = URL_SAFE_NO_PAD.encode(&digest(&SHA256, public).as_ref()[..16]);
            keys.push(Key { id, sign: EncodingKey::from_ed_der(der), verify: DecodingKey::from_ed_der(public) });
        }
        if keys.is_empty() {
            return Err("it holds no key".to_owned());
        }
        Ok(Self { keys, issuer: installation.to_owned(), clock, longest: MAX_LIFETIME })
    }

    /// Signs and takes tokens that live so long, for an installation that nobody else can reach: what is taken away from a principal
    /// is, with such a token, still theirs for as long.
    #[must_use]
    pub fn lasting(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// Signs a token.
    ///
    /// # Errors
    /// `Internal` when it would live longer than 15 minutes, or what [`lasting`](Self::lasting) says, or not at all: a fault of the
    /// caller's code.
    pub fn issue(&self, claims: &Claims) -> Result<String, Error> {
        let life = claims.expire_time.since(claims.issue_time);
        if life.is_zero() || life > self.longest {
            return Err(Error::internal(format!("a token of {} s", life.as_secs())));
        }
        let key = &self.keys[0];
        let body = Body {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            sub: claims.principal.clone(),
            iat: seconds(claims.issue_time),
            nbf: seconds(claims.issue_time),
            exp: seconds(claims.expire_time),
            jti: claims.token_id.clone(),
            tenant: claims.tenant.clone(),
            exchanged: claims.exchanged.clone(),
            cnf: claims.certificate.map(|sha256| Confirmation { x5t_s256: URL_SAFE_NO_PAD.encode(sha256) }),
        };
        jsonwebtoken::encode(&header(&key.id), &body, &key.sign).map_err(Error::internal)
    }

    /// Reads a token that this installation signed and that is valid now.
    ///
    /// # Errors
    /// `TokenExpired` for one of ours that is over, `TokenInvalid` for everything else.
    pub fn verify(&self, token: &str) -> Result<Claims, Error> {
        let body = self.signed(token).map_err(|why| invalid().caused_by(why))?;
        let claims = body.read().map_err(|why| invalid().caused_by(why))?;
        let now = seconds(self.clock.now());
        let (iat, exp) = (seconds(claims.issue_time), seconds(claims.expire_time));
        if exp <= iat || exp - iat > self.longest.as_secs().cast_signed() {
            return Err(invalid().caused_by("it lives too long"));
        }
        if fault::mutant("window") {
            return Ok(claims);
        }
        if now < iat - LEEWAY {
            return Err(invalid().caused_by("it was made in the future"));
        }
        if now >= exp + LEEWAY {
            return Err(Error::new(
                Reason::TokenExpired,
                "the token has expired; exchange your API key or certificate for a new one",
            ));
        }
        Ok(claims)
    }

    /// Signature, header, issuer and audience. Time is checked by [`verify`](Self::verify) against the injected clock.
    fn signed(&self, token: &str) -> Result<Body, String> {
        if token.len() > MAX_BYTES {
            return Err("it is too long".to_owned());
        }
        let found = jsonwebtoken::decode_header(token).map_err(|e| e.to_string())?;
        let id = found.kid.as_deref().ok_or("it names no key")?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or("it names an unknown key")?;
        // Equality leaves no room for `jku`, `jwk`, `x5u`, `crit` or another type.
        if found != header(&key.id) {
            return Err("its header is not ours".to_owned());
        }
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[AUDIENCE]);
        rules.validate_exp = false;
        jsonwebtoken::decode::<Body>(token, &key.verify, &rules).map(|read| read.claims).map_err(|e| e.to_string())
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        f.debug_struct("TokenKeys").field("issuer", &self.issuer).field("keys", &ids).finish_non_exhaustive()
    }
}

/// The claims as they are sent. Every type is exact: a number in quotes, or a list of audiences, is no token of ours.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exchanged: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    x5t_s256: String,
}

impl Body {
    fn read(self) -> Result<Claims, &'static str> {
        if self.sub.is_empty() || self.jti.is_empty() {
            return Err("`sub` or `jti` is empty");
        }
        if self.nbf != self.iat {
            return Err("`nbf` is not `iat`");
        }
        let certificate = match &self.cnf {
            None => None,
            Some(cnf) => {
                let bytes = URL_SAFE_NO_PAD.decode(&cnf.x5t_s256).map_err(|_| "`x5t#S256` is not base64url")?;
                Some(bytes.try_into().map_err(|_| "`x5t#S256` is not 32 bytes")?)
            }
        };
        Ok(Claims {
            principal: self.sub,
            tenant: self.tenant,
            exchanged: self.exchanged,
            certificate,
            token_id: self.jti,
            issue_time: time(self.iat)?,
            expire_time: time(self.exp)?,
        })
    }
}

fn header(key: &str) -> Header {
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(key.to_owned());
    header
}

fn invalid() -> Error {
    Error::new(
        Reason::TokenInvalid,
        "the token is not one that this server accepts; exchange your API key or certificate for a new one",
    )
}

fn seconds(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(1_000_000)
}

fn time(seconds: i64) -> Result<Timestamp, &'static str> {
    // Year 1970 to 9999: sums with it cannot overflow.
    if !(0..=253_402_300_799).contains(&seconds) {
        return Err("a time is out of range");
    }
    Ok(Timestamp::from_micros(seconds * 1_000_000))
}

fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests;
