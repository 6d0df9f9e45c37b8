//! The identity provider for the service: its port on the library that talks to other systems.

use std::{fs, path::PathBuf, time::Duration};

use freehold_connectors::{
    ConnectorError, Environment, ErrorKind,
    oidc::{self, Failure as Denial, Settings},
};
use freehold_domain::{Error, Reason};
use freehold_service::{
    connectors::Answer,
    sign_in::{AuthorizationCode, Granted, IdentityProvider},
};

use crate::{Failure, args::OidcArgs};

/// When to come back where the provider does not say.
const SOON: Duration = Duration::from_secs(5);

/// The provider of this installation.
pub struct Provider(oidc::IdentityProvider);

impl Provider {
    /// The one that the options name, if they do. `plain_on_loopback` lets it be asked without TLS on this machine.
    ///
    /// # Errors
    /// When a file cannot be read, or the issuer is no URL.
    pub fn new(args: OidcArgs, plain_on_loopback: bool, environment: Environment) -> Result<Option<Self>, Failure> {
        let (Some(issuer), Some(client_id)) = (args.oidc_issuer, args.oidc_client_id) else { return Ok(None) };
        let read = |option: &str, path: PathBuf| {
            fs::read_to_string(&path).map_err(|error| format!("{option}: {} cannot be read: {error}", path.display()))
        };
        let client_secret = args.oidc_client_secret_file.map(|path| read("--oidc-client-secret-file", path)).transpose()?;
        let client_secret = client_secret.map(|secret| secret.trim_end_matches(['\r', '\n']).to_owned());
        if client_secret.as_deref() == Some("") {
            return Err("--oidc-client-secret-file: the file is empty".into());
        }
        let ca_bundle = args.oidc_ca_file.map(|path| read("--oidc-ca-file", path)).transpose()?;
        let settings = Settings { issuer, client_id, client_secret, ca_bundle, plain_on_loopback };
        let provider = oidc::IdentityProvider::new(settings, environment);
        Ok(Some(Self(provider.map_err(|error| format!("the identity provider: {}", error.message))?)))
    }
}

impl IdentityProvider for Provider {
    fn issuer(&self) -> &str {
        self.0.issuer()
    }

    fn client_id(&self) -> &str {
        self.0.client_id()
    }

    fn authorization(&self) -> Answer<'_, Result<(String, Vec<&'static str>), Error>> {
        Box::pin(async move { self.0.authorization().await.map_err(failed) })
    }

    fn redeem<'a>(&'a self, code: &'a AuthorizationCode) -> Answer<'a, Result<Granted, Error>> {
        Box::pin(async move {
            let AuthorizationCode { code, code_verifier, redirect_uri, nonce, .. } = code;
            let granted = self.0.redeem(code, code_verifier, redirect_uri, nonce).await.map_err(failed)?;
            let oidc::Granted { subject, email, refresh_token } = granted;
            Ok(Granted { subject, email, refresh_token })
        })
    }

    fn refresh<'a>(
        &'a self,
        refresh_token: &'a str,
        subject: &'a str,
        nonce: &'a str,
    ) -> Answer<'a, Result<Option<String>, Error>> {
        Box::pin(async move { self.0.refresh(refresh_token, subject, nonce).await.map_err(failed) })
    }

    fn revoke<'a>(&'a self, refresh_token: &'a str) -> Answer<'a, Result<(), Error>> {
        Box::pin(async move { self.0.revoke(refresh_token).await.map_err(failed) })
    }
}

/// The caller is anybody, so it learns whose fault it is and what to do next; the rest is for the log.
fn failed(denial: Denial) -> Error {
    match denial {
        Denial::Refused(why) => {
            tracing::info!(why, "the identity provider's proof was not accepted");
            Error::new(Reason::TokenInvalid, "the identity provider did not confirm this sign-in; sign in again").caused_by(why)
        }
        Denial::Failed(error) => {
            tracing::warn!(%error, "the identity provider cannot be asked");
            unavailable(&error)
        }
    }
}

fn unavailable(error: &ConnectorError) -> Error {
    let wait = error.retry_after.unwrap_or(SOON);
    match error.kind {
        ErrorKind::Throttled => {
            Error::new(Reason::VendorThrottled, "too many people sign in at this moment; try again in a while")
        }
        ErrorKind::Transient | ErrorKind::CircuitOpen => Error::new(
            Reason::VendorUnavailable,
            "the identity provider does not answer; try again in a while, or use an API key",
        ),
        _ => {
            let text = "the identity provider does not accept this server as its client, or is not what its operator has named; \
                        the operator finds the reason in the server's log";
            return Error::new(Reason::VendorRefused, text);
        }
    }
    .with("maybe_done", error.maybe_done)
    .retry_after(wait)
}
