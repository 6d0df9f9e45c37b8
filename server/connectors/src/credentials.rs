//! Secrets of a connection, by the names of their slots.

use std::{collections::BTreeMap, fmt};

use freehold_domain::redact::Redactor;
use futures::future::{BoxFuture, FutureExt as _, ready};

use crate::ConnectorError;

/// Secrets by slot. Nothing shows them but [`get`](Self::get).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// None.
    pub const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds or replaces one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        self.0.insert(name.into(), secret.into());
        self
    }

    /// The secret of a slot. An empty one is as good as none.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|secret| !secret.is_empty())
    }

    /// The secret of a slot that must be there.
    ///
    /// # Errors
    /// `Unconfigured`, with the name of the slot.
    pub fn require(&self, name: &str) -> Result<&str, ConnectorError> {
        self.get(name).ok_or_else(|| {
            ConnectorError::unconfigured(format!(
                "the connection has no credential `{name}`; give it one and test the connection"
            ))
        })
    }

    /// Names of the slots that are filled.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Names and secrets, for whoever stores them.
    pub fn reveal(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret.as_str()))
    }

    /// Teaches a redactor all of them.
    pub(crate) fn teach(&self, redactor: &mut Redactor) {
        for secret in self.0.values() {
            redactor.learn_text(secret);
            // The value of a header: what follows its scheme is the secret.
            if let Some((_, bare)) = secret.split_once(' ').filter(|(_, bare)| !bare.contains(char::is_whitespace)) {
                redactor.learn_text(bare);
            }
        }
    }
}

impl<N: Into<String>, S: Into<String>> FromIterator<(N, S)> for Credentials {
    fn from_iter<I: IntoIterator<Item = (N, S)>>(secrets: I) -> Self {
        Self(secrets.into_iter().map(|(name, secret)| (name.into(), secret.into())).collect())
    }
}

/// Names only.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|name| (name, "(hidden)"))).finish()
    }
}

/// Where the secrets of a connection come from.
pub trait CredentialSource: Send + Sync {
    /// The secrets as they are now. `fresh` asks for them anew: the vendor has just refused those that were given before.
    ///
    /// # Errors
    /// When they cannot be had.
    fn get(&self, fresh: bool) -> BoxFuture<'_, Result<Credentials, ConnectorError>>;
}

/// Secrets that do not change.
impl CredentialSource for Credentials {
    fn get(&self, _fresh: bool) -> BoxFuture<'_, Result<Credentials, ConnectorError>> {
        ready(Ok(self.clone())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_shown() {
        let credentials = Credentials::none().with("token", "xoxb-very-secret").with("empty", "");

        assert_eq!(format!("{credentials:?}"), r#"{"empty": "(hidden)", "token": "(hidden)"}"#);
        assert_eq!(credentials.get("token"), Some("xoxb-very-secret"));
        assert_eq!(credentials.get("empty"), None);
        let missing = credentials.require("empty").expect_err("it is empty");
        assert!(missing.message.contains("`empty`"), "{missing}");
    }
}
