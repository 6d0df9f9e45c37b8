use ring::{hmac, signature::Ed25519KeyPair};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_700_000_000;

struct At(i64);
impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0 * 1_000_000)
    }
}

struct Forge {
    pair: Ed25519KeyPair,
    keys: TokenKeys,
    content: String,
}

impl Forge {
    fn new() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("random");
        let content = pem(der.as_ref());
        let keys = TokenKeys::parse(content.as_bytes(), "test.example", Arc::new(At(NOW))).expect("a key");
        Self { pair: Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("a key"), keys, content }
    }

    /// The same keys at another time.
    fn at(&self, now: i64) -> TokenKeys {
        TokenKeys::parse(self.content.as_bytes(), "test.example", Arc::new(At(now))).expect("a key")
    }

    fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": "EdDSA", "kid": self.keys.keys[0].id})
    }

    /// A token with the true signature over whatever it says.
    fn sign(&self, header: &Value, body: &str) -> String {
        let message = message(header, body);
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

fn message(header: &Value, body: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(body))
}

fn body() -> Value {
    json!({
        "iss": "test.example", "aud": "freehold", "sub": "tenants/acme/users/ada",
        "iat": NOW, "nbf": NOW, "exp": NOW + 600, "jti": "t-1",
    })
}

/// The object with one member set, or removed by null.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    let members = object.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    object
}

fn claims() -> Claims {
    let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    Claims {
        principal: "tenants/acme/users/ada".to_owned(),
        tenant: Some("acme".to_owned()),
        exchanged: Some("tenants/acme/apiKeys/1".to_owned()),
        certificate: Some([7; 32]),
        token_id: "t-1".to_owned(),
        issue_time: at(NOW),
        expire_time: at(NOW + 600),
    }
}

#[test]
fn a_token_says_what_was_put_in_and_ends_in_time() {
    let forge = Forge::new();
    let token = forge.keys.issue(&claims()).expect("issued");
    assert_eq!(forge.keys.verify(&token).expect("ours"), claims());
    assert_eq!(forge.at(NOW - 4).verify(&token).expect("clocks may differ a little"), claims());

    let over = forge.at(NOW + 600 + LEEWAY).verify(&token).expect_err("over");
    assert_eq!(over.reason(), Reason::TokenExpired);
    let long = Claims { expire_time: claims().issue_time.plus(MAX_LIFETIME + Duration::from_secs(1)), ..claims() };
    assert_eq!(forge.keys.issue(&long).expect_err("too long").reason(), Reason::Internal);
}

#[test]
fn every_forgery_is_refused() {
    let forge = Forge::new();
    let good = forge.sign(&forge.header(), &body().to_string());
    forge.keys.verify(&good).expect("what the forger builds on is a good token");

    let mut forged = Vec::new();
    let none = with(forge.header(), "alg", json!("none"));
    forged.push(("alg none", format!("{}.", message(&none, &body().to_string()))));
    let hs256 = message(&with(forge.header(), "alg", json!("HS256")), &body().to_string());
    let public = hmac::Key::new(hmac::HMAC_SHA256, forge.pair.public_key().as_ref());
    forged.push((
        "HS256 with the public key",
        format!("{hs256}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&public, hs256.as_bytes()))),
    ));
    forged.push(("another key", Forge::new().sign(&forge.header(), &body().to_string())));
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    forged.push(("no signature", format!("{signed}.")));
    forged.push(("two parts", signed.to_owned()));
    forged.push(("empty", String::new()));
    let twice = body().to_string().replacen('{', "{\"sub\":\"platform/admin\",", 1);
    forged.push(("a claim twice", forge.sign(&forge.header(), &twice)));
    forged.push(("huge", forge.sign(&forge.header(), &with(body(), "tenant", json!("a".repeat(MAX_BYTES))).to_string())));

    for (why, name, value) in [
        ("unknown kid", "kid", json!("other")),
        ("kid as a path", "kid", json!("../../etc/passwd")),
        ("no kid", "kid", Value::Null),
        ("another typ", "typ", json!("JWT")),
        ("no typ", "typ", Value::Null),
        ("jku", "jku", json!("https://evil.example/keys")),
        ("x5u", "x5u", json!("https://evil.example/cert")),
        ("crit", "crit", json!(["exp"])),
        ("unknown header", "b64", json!(false)),
    ] {
        forged.push((why, forge.sign(&with(forge.header(), name, value), &body().to_string())));
    }
    for name in ["iss", "aud", "sub", "iat", "nbf", "exp", "jti"] {
        forged.push(("a missing claim", forge.sign(&forge.header(), &with(body(), name, Value::Null).to_string())));
    }
    for (why, name, value) in [
        ("wrong iss", "iss", json!("evil.example")),
        ("list of iss", "iss", json!(["test.example", "evil.example"])),
        ("wrong aud", "aud", json!("other")),
        ("list of aud", "aud", json!(["freehold"])),
        ("empty sub", "sub", json!("")),
        ("number as sub", "sub", json!(7)),
        ("string exp", "exp", json!((NOW + 600).to_string())),
        ("string nbf", "nbf", json!(NOW.to_string())),
        ("fractional exp", "exp", json!(1_700_000_600.5)),
        ("huge exp", "exp", json!(u64::MAX)),
        ("negative exp", "exp", json!(-1)),
        ("long life", "exp", json!(NOW + 901)),
        ("long life by iat", "iat", json!(NOW - 400)),
        ("far future nbf", "nbf", json!(NOW + 3600)),
        ("unknown claim", "admin", json!(true)),
        ("cnf without digest", "cnf", json!({})),
        ("cnf of another kind", "cnf", json!({"jwk": {}})),
        ("short cnf", "cnf", json!({"x5t#S256": "AAAA"})),
    ] {
        forged.push((why, forge.sign(&forge.header(), &with(body(), name, value).to_string())));
    }
    let later = with(with(with(body(), "iat", json!(NOW + 60)), "nbf", json!(NOW + 60)), "exp", json!(NOW + 120));
    forged.push(("from the future", forge.sign(&forge.header(), &later.to_string())));

    for (why, token) in forged {
        let error = forge.keys.verify(&token).expect_err(why);
        assert_eq!(error.reason(), Reason::TokenInvalid, "{why}");
        assert!(!format!("{error}").contains("kid"), "the caller is not told how close it was: {error}");
    }
}

#[test]
fn a_new_key_in_front_signs_and_the_old_one_still_verifies() {
    let (old, new) = (Forge::new(), Forge::new());
    let both = format!("{}{}", new.content, old.content);
    let rotated = TokenKeys::parse(both.as_bytes(), "test.example", Arc::new(At(NOW))).expect("two keys");
    rotated.verify(&old.keys.issue(&claims()).expect("issued")).expect("the old key verifies");
    let token = rotated.issue(&claims()).expect("issued");
    new.keys.verify(&token).expect("the new key signs");
    assert_eq!(old.keys.verify(&token).expect_err("a key it does not know").reason(), Reason::TokenInvalid);
}

#[test]
fn the_key_file_is_made_once_and_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tokens.key");
    let load = || TokenKeys::load_or_create(&path, "test.example", Arc::new(At(NOW)));
    let token = load().expect("made").issue(&claims()).expect("issued");
    load().expect("read").verify(&token).expect("the same key");
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(!format!("{:?}", load().expect("read")).contains("PRIVATE"));

    std::fs::write(&path, "no key").expect("written");
    let error = load().expect_err("no key in it").to_string();
    assert!(error.contains("tokens.key") && error.contains("Ed25519"), "{error}");
}

#[test]
fn keys_of_a_development_installation_take_tokens_that_last_and_others_do_not() {
    let forge = Forge::new();
    let half_a_day = Duration::from_secs(12 * 3600);
    let claims = Claims {
        principal: "platform/admin".to_owned(),
        tenant: None,
        exchanged: None,
        certificate: None,
        token_id: "t-1".to_owned(),
        issue_time: Timestamp::from_micros(NOW * 1_000_000),
        expire_time: Timestamp::from_micros(NOW * 1_000_000).plus(half_a_day),
    };
    assert!(forge.keys.issue(&claims).is_err());
    let token = forge.at(NOW).lasting(half_a_day).issue(&claims).expect("issued");
    let late = NOW + 12 * 3600 - 1;
    assert_eq!(forge.at(late).lasting(half_a_day).verify(&token).expect("taken"), claims);
    let refused = forge.at(NOW).verify(&token).expect_err("another server with the same key");
    assert_eq!(refused.reason(), Reason::TokenInvalid);
    let over = forge.at(late + 6).lasting(half_a_day).verify(&token).expect_err("over");
    assert_eq!(over.reason(), Reason::TokenExpired);
}
