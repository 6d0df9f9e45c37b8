//! Signatures of webhooks as <https://www.standardwebhooks.com> describes them.
//!
//! A delivery has an id that stays the same when it is sent again, the time of this attempt, and one signature for each key that is
//! valid: two while a key is being replaced, so that a receiver may change its own at any moment between.

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use freehold_domain::time::{Random, Timestamp};

use crate::{
    inbound::{InboundRequest, Reason, Refused},
    signature,
};

/// Header of the id.
pub const ID: &str = "webhook-id";
/// Header of the time, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// Header of the signatures, with spaces between.
pub const SIGNATURE: &str = "webhook-signature";
/// How far the clocks of sender and receiver may differ, with the way in between.
pub const TOLERANCE: Duration = Duration::from_secs(300);

const PREFIX: &str = "whsec_";

/// A key to sign with.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// From `whsec_` and base64, or base64 alone.
    ///
    /// # Errors
    /// When it is neither, or not of 24 to 64 bytes as the specification asks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let encoded = text.trim().strip_prefix(PREFIX).unwrap_or(text.trim()).trim_end_matches('=');
        let bytes = STANDARD_NO_PAD.decode(encoded).map_err(|_| "the secret is not `whsec_` and base64".to_owned())?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(format!("the secret has {} bytes; it must have 24 to 64", bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// A new one, as text.
    pub fn generate(random: &dyn Random) -> String {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        format!("{PREFIX}{}", STANDARD.encode(bytes))
    }
}

/// Nothing of it is shown.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// The value of the header of signatures, one for each secret.
pub fn sign(secrets: &[Secret], id: &str, sent: Timestamp, body: &[u8]) -> String {
    let seconds = seconds(sent);
    let one = |secret: &Secret| format!("v1,{}", STANDARD.encode(signature::sign(&secret.0, &parts(id, &seconds, body))));
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Proves that a delivery was signed with one of the secrets, not long before it came. Its id is then as good as its body.
///
/// # Errors
/// When it was not.
pub fn verify(secrets: &[Secret], request: &InboundRequest) -> Result<String, Refused> {
    let (id, seconds) = (request.require(ID)?, request.require(TIMESTAMP)?);
    let signatures = request.require(SIGNATURE)?;
    if secrets.is_empty() {
        return Err(Refused::new(Reason::Unconfigured, "there is no secret to prove a delivery with"));
    }
    let given = signatures.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
    let parts = parts(id, seconds, &request.body);
    let proven = given.into_iter().any(|given| secrets.iter().any(|secret| signature::verify(&secret.0, &parts, &given)));
    if !proven {
        return Err(Refused::forged());
    }
    request.timely(seconds, TOLERANCE)?;
    Ok(id.to_owned())
}

/// Whole seconds since 1970, as they stand in the header.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.as_micros().div_euclid(1_000_000).to_string()
}

fn parts<'a>(id: &'a str, seconds: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", seconds.as_bytes(), b".", body]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const EXPECTED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn delivery(signature: &str, seconds: i64, body: &[u8]) -> InboundRequest {
        let headers = [("Webhook-Id", MESSAGE), ("WEBHOOK-TIMESTAMP", &AT.to_string()), ("webhook-signature", signature)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        InboundRequest { headers, body: body.to_vec(), received: at(seconds) }
    }

    #[test]
    fn the_published_example_is_signed_and_proven() {
        let secret = Secret::parse(SECRET).expect("a secret");
        assert_eq!(sign(std::slice::from_ref(&secret), MESSAGE, at(AT), BODY), EXPECTED);
        assert_eq!(verify(&[secret], &delivery(EXPECTED, AT + 299, BODY)), Ok(MESSAGE.to_owned()));
    }

    #[test]
    fn either_key_proves_while_one_is_replaced() {
        let old = Secret::parse(SECRET).expect("a secret");
        let new = Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").expect("a secret");
        let both = sign(&[new.clone(), old.clone()], MESSAGE, at(AT), BODY);
        for secret in [old, new] {
            assert!(verify(&[secret], &delivery(&format!("v2,ignored {both}"), AT, BODY)).is_ok());
        }
    }

    #[test]
    fn whatever_is_not_proven_is_refused() {
        let secret = [Secret::parse(SECRET).expect("a secret")];
        let cases = [
            (delivery(EXPECTED, AT, b"{}"), Reason::Forged),
            (delivery("v1,AAAA", AT, BODY), Reason::Forged),
            (delivery("v1,", AT, BODY), Reason::Forged),
            (delivery("", AT, BODY), Reason::Forged),
            (delivery(&EXPECTED.replace("v1", "v2"), AT, BODY), Reason::Forged),
            (delivery(EXPECTED, AT + 301, BODY), Reason::Late),
            (delivery(EXPECTED, AT - 301, BODY), Reason::Late),
        ];
        for (request, reason) in cases {
            assert_eq!(verify(&secret, &request).expect_err("not proven").reason, reason, "{request:?}");
        }
        let mut doubled = delivery(EXPECTED, AT, BODY);
        doubled.headers.push(("webhook-id".into(), MESSAGE.into()));
        assert_eq!(verify(&secret, &doubled).expect_err("which one?").reason, Reason::Missing);
        assert_eq!(verify(&[], &delivery(EXPECTED, AT, BODY)).expect_err("no key").reason, Reason::Unconfigured);
        assert!(Secret::parse("whsec_c2hvcnQ=").is_err() && Secret::parse("whsec_*").is_err());
    }
}
