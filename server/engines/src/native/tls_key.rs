//! `tls_key`: a private key and its public key.

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::{
    drawn::Drawn,
    file::hex,
    provider::text,
    schema::{Attribute, Kind, Problem, Schema},
};
use crate::StepError;
use crate::native::Attributes;

/// Draws keys. The key is drawn by ring itself, which takes no other source.
pub(crate) struct TlsKey(Schema);

impl TlsKey {
    pub fn new() -> Self {
        let attributes = vec![
            Attribute::new("algorithm", Kind::Choice(&["ecdsa-p256", "ecdsa-p384", "ed25519"])).default("ecdsa-p256").replaces(),
            Attribute::new("keepers", Kind::map(Kind::Any)).replaces(),
            Attribute::computed("private_key_pem", Kind::text(4096)).sensitive(),
            Attribute::computed("public_key_pem", Kind::text(4096)),
            Attribute::computed("public_key_sha256", Kind::text(64)),
        ];
        Self(Schema { kind: "tls_key", attributes })
    }
}

impl Drawn for TlsKey {
    fn schema(&self) -> &Schema {
        &self.0
    }

    fn rules(&self, _known: &Attributes, _unknown: &[&str]) -> Vec<Problem> {
        Vec::new()
    }

    fn draw(&self, desired: &Attributes) -> Result<Attributes, StepError> {
        let algorithm = match text(desired, "algorithm") {
            "ecdsa-p384" => &PKCS_ECDSA_P384_SHA384,
            "ed25519" => &PKCS_ED25519,
            _ => &PKCS_ECDSA_P256_SHA256,
        };
        let key = KeyPair::generate_for(algorithm)
            .map_err(|error| StepError::new("tls-key-failed", format!("no key could be made: {error}")).retryable())?;
        let fingerprint = hex(digest(&SHA256, &key.subject_public_key_info()).as_ref());
        Ok([
            ("private_key_pem".to_owned(), Value::String(key.serialize_pem())),
            ("public_key_pem".to_owned(), Value::String(key.public_key_pem())),
            ("public_key_sha256".to_owned(), Value::String(fingerprint)),
        ]
        .into())
    }

    fn id(&self, drawn: &Attributes) -> String {
        text(drawn, "public_key_sha256").to_owned()
    }
}
