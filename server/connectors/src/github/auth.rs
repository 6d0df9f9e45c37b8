//! Who we are to GitHub: a token that was given, or one that an app makes for its installation and that lasts an hour.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_domain::time::Timestamp;
use reqwest::Method as Verb;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde_json::json;
use tokio::{sync::Mutex, time::timeout_at};

use super::{Settings, call, dialect::GitHub as Dialect};
use crate::{ConnectorError, Context, Effect, ErrorKind, Halt, outbound::Request};

/// A token that is good for less is not used any more.
const SPARE: std::time::Duration = std::time::Duration::from_secs(300);

/// The token of an installation, kept for all calls of a connection. Who waits for the lock finds it made.
#[derive(Default)]
pub(super) struct Installation(Mutex<Option<(String, Timestamp)>>);

/// The token to call with. One that GitHub has just refused is replaced, by whoever comes first.
pub(super) async fn token(cx: &Context, refused: Option<&str>) -> Result<String, Halt> {
    let settings: Settings = cx.settings()?;
    if settings.app_id.is_none() {
        return Ok(cx.credentials(refused.is_some()).await?.require("token")?.to_owned());
    }
    let memory = cx.outbound.memory::<call::Memory>();
    let late = |_| ConnectorError::new(ErrorKind::Transient, "GitHub takes too long to give a token");
    let mut kept = timeout_at(cx.deadline, memory.installation.0.lock()).await.map_err(late)?;
    if let Some((token, expires)) = kept.as_ref()
        && refused != Some(token)
        && cx.now().plus(SPARE) < *expires
    {
        cx.learn(token);
        return Ok(token.clone());
    }
    *kept = None;
    let installation = settings.installation_id.unwrap_or_default();
    let url = call::url(&settings, &format!("/app/installations/{installation}/access_tokens"));
    // It changes nothing that anybody sees, so that it is made in a dry run as well, and again when no answer comes.
    let request = Request::new("token", Effect::Read, Verb::POST, url);
    let request = call::headers(request)?.bearer(&jwt(cx, refused.is_some()).await?)?;
    let made = cx.send(&Dialect, request).await?.value();
    let token = made["token"].as_str().unwrap_or_default().to_owned();
    cx.learn(&token);
    let expires = made["expires_at"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let expires = expires.map_or_else(|| cx.now(), |time| Timestamp::from_micros(time.as_microsecond()));
    *kept = Some((token.clone(), expires));
    Ok(token)
}

/// What an app proves itself by: good for ten minutes at most, and a minute old already, in case the clocks differ.
pub(super) async fn jwt(cx: &Context, fresh: bool) -> Result<String, Halt> {
    let settings: Settings = cx.settings()?;
    let app = settings.app_id.ok_or_else(|| ConnectorError::unconfigured("the connection is no app; set `app_id`"))?;
    let credentials = cx.credentials(fresh).await?;
    let key = key(credentials.require("private_key")?)?;
    let now = cx.now().as_micros().div_euclid(1_000_000);
    let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encode(&json!({ "alg": "RS256", "typ": "JWT" }));
    let claims = encode(&json!({ "iat": now - 60, "exp": now + 540, "iss": app.to_string() }));
    let signed = format!("{head}.{claims}");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| ConnectorError::unconfigured("the private key of the app does not sign; make another one"))?;
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    cx.learn(&token);
    Ok(token)
}

fn key(pem: &str) -> Result<RsaKeyPair, ConnectorError> {
    let wrong = || {
        ConnectorError::unconfigured(
            "the credential `private_key` is no RSA key in PEM; paste the file that GitHub gave, with its BEGIN and END lines",
        )
    };
    match PrivateKeyDer::from_pem_slice(pem.trim().as_bytes()) {
        Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| wrong()),
        Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}
