//! How a program proves who it is, and whom it believes.

use std::{env, fmt, path::PathBuf};

use crate::{Code, Error, Violation, error::Result};

/// How a program proves who it is, and whose word it takes for the server.
///
/// Parts can be combined: a client certificate for the connection and a token for the person that it acts for. What is read
/// from files is read again when the files change, so that certificates can be renewed under a running program; a file that
/// cannot be read or does not fit leaves the last good ones in use.
///
/// ```no_run
/// # use freehold::Credentials;
/// let workload = Credentials::new().ca_file("ca.pem").certificate_files("client.pem", "client.key");
/// let person = Credentials::new().ca_file("ca.pem").bearer_token("eyJhbGciOi…");
/// ```
///
/// `Debug` shows no secret.
#[derive(Clone, Default)]
pub struct Credentials {
    pub(crate) ca: Option<Pem>,
    pub(crate) identity: Option<(Pem, Pem)>,
    pub(crate) token: Option<TokenSource>,
}

/// PEM text, or where to read it.
#[derive(Clone)]
pub(crate) enum Pem {
    File(PathBuf),
    Text(Vec<u8>),
}

#[derive(Clone)]
pub(crate) enum TokenSource {
    Bearer(String),
    ApiKey(String),
}

impl Credentials {
    /// No credentials: enough for public methods of a server without TLS.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads `FREEHOLD_CA`, `FREEHOLD_CERT` and `FREEHOLD_KEY` (paths of PEM files), `FREEHOLD_TOKEN` (a bearer token) and
    /// `FREEHOLD_API_KEY`. What is not set is left out.
    ///
    /// # Errors
    /// [`Error::is_invalid_argument`] when the certificate is given without its key, the key without its certificate, or both
    /// a token and an API key.
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    pub(crate) fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let mut violations = Vec::new();
        let mut credentials = Self::new();
        if let Some(ca) = set("FREEHOLD_CA") {
            credentials = credentials.ca_file(ca);
        }
        match (set("FREEHOLD_CERT"), set("FREEHOLD_KEY")) {
            (Some(cert), Some(key)) => credentials = credentials.certificate_files(cert, key),
            (Some(_), None) => {
                violations.push(Violation::new("FREEHOLD_KEY", "set it too: the certificate of FREEHOLD_CERT needs its key"))
            }
            (None, Some(_)) => {
                violations.push(Violation::new("FREEHOLD_CERT", "set it too: the key of FREEHOLD_KEY needs its certificate"))
            }
            (None, None) => {}
        }
        match (set("FREEHOLD_TOKEN"), set("FREEHOLD_API_KEY")) {
            (Some(_), Some(_)) => violations.push(Violation::new("FREEHOLD_TOKEN", "set it or FREEHOLD_API_KEY, not both")),
            (Some(token), None) => credentials = credentials.bearer_token(token),
            (None, Some(key)) => credentials = credentials.api_key(key),
            (None, None) => {}
        }
        if violations.is_empty() { Ok(credentials) } else { Err(Error::invalid(violations)) }
    }

    /// Believes servers whose certificate is signed by a CA of this PEM file.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(Pem::File(path.into()));
        self
    }

    /// Believes servers whose certificate is signed by a CA of this PEM text.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(Pem::Text(pem.into()));
        self
    }

    /// Shows the client certificate of these PEM files: the chain, leaf first, and its private key.
    pub fn certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// Shows the client certificate of this PEM text: the chain, leaf first, and its private key.
    pub fn certificate_pem(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((Pem::Text(certificate.into()), Pem::Text(key.into())));
        self
    }

    /// Sends this token with every call, as it is. Replaces an API key.
    pub fn bearer_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(TokenSource::Bearer(token.into()));
        self
    }

    /// Exchanges this API key for short tokens, renews them in time, and sends them with every call. Replaces a bearer token.
    pub fn api_key(mut self, secret: impl Into<String>) -> Self {
        self.token = Some(TokenSource::ApiKey(secret.into()));
        self
    }
}

impl Pem {
    pub(crate) fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => std::fs::read(path).map_err(|error| {
                Error::new(
                    Code::InvalidArgument,
                    format!("cannot read {}: {error}; check the path and its permissions", path.display()),
                )
            }),
        }
    }

    /// What to call it in an error.
    pub(crate) fn origin(&self) -> String {
        match self {
            Self::Text(_) => "the PEM text given".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("ca", &self.ca.as_ref().map(Pem::origin))
            .field("certificate", &self.identity.as_ref().map(|(certificate, _)| certificate.origin()))
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<Credentials> {
        Credentials::from_lookup(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_names_every_contradiction() {
        let error =
            from(&[("FREEHOLD_CERT", "a"), ("FREEHOLD_TOKEN", "b"), ("FREEHOLD_API_KEY", "c")]).expect_err("two mistakes");
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["FREEHOLD_KEY", "FREEHOLD_TOKEN"]);
        assert!(from(&[("FREEHOLD_CERT", ""), ("FREEHOLD_KEY", "")]).expect("empty is not set").identity.is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", Credentials::new().api_key("fh_secret").certificate_pem("cert", "key-material"));
        assert!(!text.contains("fh_secret") && !text.contains("key-material"), "{text}");
    }
}
