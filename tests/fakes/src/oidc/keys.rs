//! What a provider signs with: RSA, P-256 and Ed25519.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use rustls_pki_types::{PrivatePkcs1KeyDer, pem::PemObject as _};
use serde_json::{Value, json};

/// A key, its name, and the algorithm that it is for.
pub struct SigningKey {
    id: String,
    algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

/// The keys of a provider.
pub(super) struct Ring {
    keys: Vec<SigningKey>,
    signing: usize,
}

pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
    bytes
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token whose signature is an HMAC with this secret, as by a library that lets the header decide.
pub fn hmac_with(secret: &[u8], header: &Value, claims: &Value) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", encode(tag))
}

impl SigningKey {
    fn new(id: &str, algorithm: &'static str) -> Self {
        let random = SystemRandom::new();
        let pair = match algorithm {
            "ES256" => {
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("keys can be made");
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random);
                Pair::P256(Box::new(pair.expect("a key is a key")))
            }
            "EdDSA" => {
                let made = Ed25519KeyPair::generate_pkcs8(&random).expect("keys can be made");
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).expect("a key is a key"))
            }
            _ => {
                // ring makes no RSA keys; this one is known to everybody and good for fakes only.
                let pem = include_str!("../github/app.pem");
                let der = PrivatePkcs1KeyDer::from_pem_slice(pem.as_bytes()).expect("a key in PEM");
                Pair::Rsa(Box::new(RsaKeyPair::from_der(der.secret_pkcs1_der()).expect("a key is a key")))
            }
        };
        Self { id: id.to_owned(), algorithm, pair }
    }

    /// The header of a token of this key.
    pub fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "kid": self.id, "typ": "JWT" })
    }

    /// A token with this header and these claims, signed by this key as its own algorithm says, whatever the header does.
    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let (message, random) = (signed.as_bytes(), SystemRandom::new());
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &'static dyn ring::signature::RsaEncoding =
                    if self.algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signature).expect("a key signs");
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message).expect("a key signs").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        };
        format!("{signed}.{}", encode(signature))
    }

    /// Its public half, as bytes that are told to everybody.
    pub fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => PublicKeyComponents::<Vec<u8>>::from(pair.public()).n,
            Pair::P256(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn published(&self) -> Value {
        let public = self.public();
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let exponent = PublicKeyComponents::<Vec<u8>>::from(pair.public()).e;
                json!({ "kty": "RSA", "n": encode(&public), "e": encode(exponent) })
            }
            Pair::P256(_) => json!({ "kty": "EC", "crv": "P-256", "x": encode(&public[1..33]), "y": encode(&public[33..]) }),
            Pair::Ed25519(_) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&public) }),
        };
        jwk["kid"] = json!(self.id);
        jwk["alg"] = json!(self.algorithm);
        jwk["use"] = json!("sig");
        jwk
    }
}

impl Ring {
    pub fn new() -> Self {
        let keys = ["RS256", "PS256", "ES256", "EdDSA"];
        Self { keys: keys.map(|algorithm| SigningKey::new(&format!("{algorithm}-1"), algorithm)).into(), signing: 0 }
    }

    pub fn signing(&self) -> &SigningKey {
        &self.keys[self.signing]
    }

    pub fn rotate(&mut self) {
        let algorithm = self.signing().algorithm;
        let id = format!("{algorithm}-{}", self.keys.len());
        self.keys.push(SigningKey::new(&id, algorithm));
        self.signing = self.keys.len() - 1;
    }

    pub fn sign_with(&mut self, algorithm: &str) {
        self.signing = self.keys.iter().rposition(|key| key.algorithm == algorithm).expect("there is a key of each");
    }

    pub fn published(&self) -> Value {
        json!({ "keys": self.keys.iter().map(SigningKey::published).collect::<Vec<_>>() })
    }
}
