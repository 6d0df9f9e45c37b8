//! Who is let in: whoever has a token that is good, or proves to be an app.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::{PrivatePkcs1KeyDer, pem::PemObject as _};
use serde_json::Value;

use super::{FakeGithub, Out, World, failed};
use crate::Recorded;

/// Who asks.
#[derive(PartialEq)]
pub(crate) enum Who {
    App,
    Installation,
    Person,
}

impl World {
    pub(super) fn who(&self, request: &Recorded) -> Result<Who, Out> {
        let bad = || failed(401, "Bad credentials");
        let token =
            request.header("authorization").strip_prefix("Bearer ").ok_or_else(|| failed(401, "Requires authentication"))?;
        if let Some(expires) = self.tokens.get(token) {
            let who = if token.starts_with("ghs_") { Who::Installation } else { Who::Person };
            return if self.now < *expires { Ok(who) } else { Err(bad()) };
        }
        if token.split('.').count() == 3 && self.minted != u64::MAX {
            return self.app(token).map(|()| Who::App).map_err(|message| failed(401, message));
        }
        Err(bad())
    }

    /// Proves an app by its signature and its times.
    fn app(&self, token: &str) -> Result<(), &'static str> {
        let unreadable = "A JSON web token could not be decoded";
        let (signed, signature) = token.rsplit_once('.').ok_or(unreadable)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| unreadable)?;
        let key = PrivatePkcs1KeyDer::from_pem_slice(FakeGithub::APP.2.as_bytes()).map_err(|_| unreadable)?;
        let key = RsaKeyPair::from_der(key.secret_pkcs1_der()).map_err(|_| unreadable)?;
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
        public.verify(signed.as_bytes(), &signature).map_err(|_| unreadable)?;
        let claims = signed.split_once('.').and_then(|(_, claims)| URL_SAFE_NO_PAD.decode(claims).ok()).ok_or(unreadable)?;
        let claims: Value = serde_json::from_slice(&claims).map_err(|_| unreadable)?;
        let number = |name: &str| claims[name].as_i64().unwrap_or_default();
        if claims["iss"].as_str().and_then(|id| id.parse().ok()) != Some(FakeGithub::APP.0) {
            return Err("Integration not found");
        }
        if number("iat") > self.now {
            return Err("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued");
        }
        if number("exp") <= self.now || number("exp") - number("iat") > 600 {
            return Err("'Expiration time' claim ('exp') is too far in the future");
        }
        Ok(())
    }
}
