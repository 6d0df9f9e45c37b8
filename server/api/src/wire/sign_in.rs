//! Sign-in by the identity provider: what TokenService has of it.

use freehold_domain::{Error, Reason, Result};
use freehold_proto::iam::v1 as pb;
use freehold_service::sign_in::{self, AuthorizationCode, LONGEST_REFRESH_TOKEN};
use http::Extensions;
use tokio::time::Instant;

use super::{Wire, parse};
use crate::{
    layers::{LimitRate, Rate},
    listener::network,
    peer::SourceAddr,
};

/// Sign-ins of one address: each makes us ask somebody else. An office behind one address begins its day with the burst.
const RATE: Rate = Rate { per_second: 5, burst: 50 };
/// The longest code of a provider, and the longest address to come back to, in characters.
const LONGEST_CODE: usize = 4096;
const LONGEST_REDIRECT: usize = 2048;

/// What a call gives to be exchanged.
pub(super) enum Given {
    Certificate,
    ApiKey(String),
    Code(AuthorizationCode),
    RefreshToken(String),
}

/// Counts the sign-ins of each address.
pub(super) fn limit() -> LimitRate {
    LimitRate::new(RATE)
}

impl Given {
    pub(super) fn read(body: pb::ExchangeTokenRequest) -> Result<Self> {
        let pb::ExchangeTokenRequest { api_key, authorization_code, refresh_token } = body;
        match (api_key.is_empty(), authorization_code, refresh_token.is_empty()) {
            (true, None, true) => Ok(Self::Certificate),
            (false, None, true) => Ok(Self::ApiKey(api_key)),
            (true, Some(code), true) => code_of(code).map(Self::Code),
            (true, None, false) if refresh_token.len() > LONGEST_REFRESH_TOKEN => {
                Err(Error::field("refresh_token", format!("at most {LONGEST_REFRESH_TOKEN} characters")))
            }
            (true, None, false) => Ok(Self::RefreshToken(refresh_token)),
            _ => Err(Error::field("api_key", "send an API key, an authorization code or a refresh token, and not two of them")),
        }
    }
}

impl Wire {
    /// Takes a sign-in from the bucket of its address.
    pub(super) fn admit(&self, extensions: &Extensions) -> Result<()> {
        let address = |source: &SourceAddr| network(source.0.ip()).to_string();
        let address = extensions.get::<SourceAddr>().map(address).unwrap_or_default();
        self.sign_ins.take(address, 1, Instant::now()).map_err(|wait| {
            Error::new(Reason::RateLimited, "too many sign-ins from this address; try again in a while").retry_after(wait)
        })
    }

    pub(super) async fn options(&self) -> Result<pb::GetSignInOptionsResponse> {
        let options = sign_in::options(&self.app).await?;
        Ok(pb::GetSignInOptionsResponse {
            sign_in_options: options.map(|options| pb::SignInOptions {
                issuer: options.issuer,
                client_id: options.client_id,
                authorization_endpoint: options.authorization_endpoint,
                scopes: options.scopes.iter().map(ToString::to_string).collect(),
            }),
        })
    }
}

/// No error repeats what was sent: it may be a secret in the wrong field.
fn code_of(given: pb::AuthorizationCode) -> Result<AuthorizationCode> {
    let pb::AuthorizationCode { tenant, code, code_verifier, redirect_uri, nonce } = given;
    let mut fields = parse::Fields::new();
    let tenant = fields.text("authorization_code.tenant", &tenant);
    let mut long = |field: &str, text: &str, least: usize, most: usize| {
        if !(least..=most).contains(&text.len()) {
            fields.wrong(&format!("authorization_code.{field}"), format!("{least} to {most} characters"));
        }
    };
    long("code", &code, 1, LONGEST_CODE);
    long("code_verifier", &code_verifier, 43, 128);
    long("redirect_uri", &redirect_uri, 1, LONGEST_REDIRECT);
    long("nonce", &nonce, 16, 256);
    fields.finish(|| Some(AuthorizationCode { tenant: tenant?, code, code_verifier, redirect_uri, nonce }))
}
