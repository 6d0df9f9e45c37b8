//! What an ID token must be to be believed (OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};

use super::keys::{Algorithm, Keys, NoKey};

/// The longest ID token that is looked at, in bytes.
const LONGEST: usize = 16 << 10;
/// How far the provider's clock may be from ours, in seconds.
const LEEWAY: i64 = 60;
/// How old a token may be that is said to have just been made, in seconds.
const OLDEST: i64 = 600;
/// The longest name of an account, by the standard.
const LONGEST_SUBJECT: usize = 255;

/// What it must say.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    /// What the request of the browser said.
    pub nonce: &'a str,
    /// It answers that request; else it renews an earlier one, and need not repeat the nonce.
    pub first: bool,
    /// Seconds since 1970.
    pub now: i64,
}

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub subject: String,
    pub mail: Mail,
}

/// What is said of a mail address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mail {
    Verified(String),
    Unverified,
    Unsaid,
}

impl Mail {
    /// Verified is what is said to be so by the one value that the standard knows.
    pub fn of(email: Option<String>, verified: Option<&serde_json::Value>) -> Self {
        match email {
            Some(email) if verified == Some(&serde_json::Value::Bool(true)) => Self::Verified(email),
            Some(_) => Self::Unverified,
            None => Self::Unsaid,
        }
    }
}

/// Why it is not believed. No text of it is in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unproven {
    /// By a key that is not known. It may be new.
    UnknownKey,
    Because(&'static str),
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Body {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
    email: Option<String>,
    email_verified: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Proves an ID token with these keys.
pub(super) fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Claims, Unproven> {
    let no = Unproven::Because;
    if token.len() > LONGEST {
        return Err(no("it is too long"));
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(no("it is no token"))?;
    let (header, body) = signed.split_once('.').filter(|(_, body)| !body.contains('.')).ok_or(no("it is no token"))?;
    let header: Header = part(header).ok_or(no("its header cannot be read"))?;
    if header.crit.is_some() {
        return Err(no("its header asks for what is not known here"));
    }
    let algorithm = Algorithm::named(&header.alg).ok_or(no("it is signed by an algorithm that is not accepted"))?;
    let key = keys.find(algorithm, header.kid.as_deref()).map_err(|none| match none {
        NoKey::Unknown => Unproven::UnknownKey,
        NoKey::Unfit => no("the key that it names is not one for its algorithm"),
    })?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| no("its signature cannot be read"))?;
    if !key.verify(algorithm, signed.as_bytes(), &signature) {
        return Err(no("its signature is wrong"));
    }
    let body: Body = part(body).ok_or(no("its claims cannot be read"))?;
    body.check(expected).map_err(no)?;
    Ok(Claims { subject: body.sub, mail: Mail::of(body.email, body.email_verified.as_ref()) })
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

impl Body {
    fn check(&self, expected: &Expected<'_>) -> Result<(), &'static str> {
        let Expected { issuer, client_id, nonce, first, now } = *expected;
        let for_us = match &self.aud {
            Audience::One(audience) => audience == client_id,
            Audience::Many(audiences) => audiences.iter().any(|audience| audience == client_id),
        };
        let shared = matches!(&self.aud, Audience::Many(audiences) if audiences.len() > 1);
        let nonce_fits = match &self.nonce {
            Some(said) => said == nonce,
            None => !first,
        };
        let checks = [
            (self.iss == issuer, "it is of another issuer"),
            (for_us, "it is for another client"),
            (!shared || self.azp.is_some(), "it is for several clients and does not say for which"),
            (self.azp.as_deref().is_none_or(|party| party == client_id), "it was made for another client"),
            (now < self.exp.saturating_add(LEEWAY), "it has expired"),
            (self.iat <= now + LEEWAY, "it was made in the future"),
            (self.iat >= now - OLDEST, "it was made long ago"),
            (self.nbf.is_none_or(|begin| begin <= now + LEEWAY), "it is not good yet"),
            (nonce_fits, "it answers another request"),
            (!self.sub.is_empty() && self.sub.len() <= LONGEST_SUBJECT, "it names no account"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(why))
    }
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
    };
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn claims() -> Value {
        json!({ "iss": "https://id.example", "sub": "u-1", "aud": "console", "exp": NOW + 300, "iat": NOW, "nonce": "n-1",
                "email": "ada@acme.example", "email_verified": true })
    }

    fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = sign(signed.as_bytes());
        format!("{signed}.{}", encode(signature))
    }

    #[test]
    fn a_key_is_used_with_its_own_algorithm_alone_and_claims_are_what_was_asked_for() {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).expect("a key").as_ref()).expect("a key");
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).expect("a key");
        let point = ec.public_key().as_ref();
        let set = json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encode(ed.public_key()) },
            { "kty": "EC", "crv": "P-256", "kid": "ec", "x": encode(&point[1..33]), "y": encode(&point[33..]), "use": "sig" },
            { "kty": "EC", "crv": "P-256", "kid": "enc", "x": encode(&point[1..33]), "y": encode(&point[33..]), "use": "enc" },
            { "kty": "oct", "kid": "shared", "k": encode("secret") },
        ]});
        let keys = Keys::read(set.to_string().as_bytes()).expect("a set");
        let by_ed = |message: &[u8]| ed.sign(message).as_ref().to_vec();
        let by_ec = |message: &[u8]| ec.sign(&random, message).expect("signs").as_ref().to_vec();
        let expected = Expected { issuer: "https://id.example", client_id: "console", nonce: "n-1", first: true, now: NOW };
        let check = |token: &str| verify(token, &keys, &expected);

        let ada = Claims { subject: "u-1".to_owned(), mail: Mail::Verified("ada@acme.example".to_owned()) };
        for (header, right) in [
            (json!({ "alg": "EdDSA", "kid": "ed" }), true),
            (json!({ "alg": "EdDSA" }), true),
            (json!({ "alg": "EdDSA", "kid": "ec" }), false),
            (json!({ "alg": "ES256", "kid": "ed" }), false),
            (json!({ "alg": "EdDSA", "kid": "ed", "crit": ["exp"] }), false),
            (json!({ "alg": "HS256", "kid": "shared" }), false),
            (json!({ "alg": "none" }), false),
        ] {
            assert_eq!(check(&signed(&header, &claims(), by_ed)).ok().as_ref() == Some(&ada), right, "{header}");
        }
        assert_eq!(check(&signed(&json!({ "alg": "ES256", "kid": "ec" }), &claims(), by_ec)).as_ref(), Ok(&ada));
        for kid in ["enc", "shared", "new"] {
            let token = signed(&json!({ "alg": "ES256", "kid": kid }), &claims(), by_ec);
            assert_eq!(check(&token), Err(Unproven::UnknownKey), "{kid}");
        }

        let header = json!({ "alg": "EdDSA", "kid": "ed" });
        let with = |changes: Value| {
            let mut claims = claims();
            for (name, value) in changes.as_object().expect("an object") {
                claims[name] = value.clone();
            }
            check(&signed(&header, &claims, by_ed))
        };
        for right in [
            json!({ "aud": ["console"] }),
            json!({ "aud": ["other", "console"], "azp": "console" }),
            json!({ "exp": NOW - 59 }),
            json!({ "iat": NOW + 60 }),
        ] {
            assert!(with(right.clone()).is_ok(), "{right}");
        }
        for wrong in [
            json!({ "iss": "https://id.example/" }),
            json!({ "aud": "other" }),
            json!({ "aud": ["other", "console"] }),
            json!({ "azp": "other" }),
            json!({ "exp": NOW - 60 }),
            json!({ "exp": "soon" }),
            json!({ "iat": NOW + 61 }),
            json!({ "iat": NOW - 601 }),
            json!({ "nbf": NOW + 61 }),
            json!({ "nonce": "n-2" }),
            json!({ "nonce": null }),
            json!({ "sub": "" }),
            json!({ "sub": "u".repeat(256) }),
        ] {
            assert!(matches!(with(wrong.clone()), Err(Unproven::Because(_))), "{wrong}");
        }
        for unverified in
            [json!({ "email_verified": false }), json!({ "email_verified": "true" }), json!({ "email_verified": null })]
        {
            assert_eq!(with(unverified.clone()).expect("an account").mail, Mail::Unverified, "{unverified}");
        }
        assert_eq!(with(json!({ "email": null })).expect("an account").mail, Mail::Unsaid);
    }
}
