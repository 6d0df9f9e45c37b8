//! What was reviewed beside the bytes of a plan.

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::names::VersionName;

/// Begins every encoding, so that another encoding never gives the same digest.
const DOMAIN: &[u8] = b"freehold.review.v1\0";

/// What was reviewed beside the bytes of a plan, by digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reviewed {
    /// Content digest of the blueprint version.
    pub blueprint_digest: String,
    /// Digest of all inputs, sensitive ones too, under a key of the tenant.
    pub inputs_digest: String,
}

impl Reviewed {
    /// One digest of all that, and of which version it is, `sha256:…`: each part after its length in 64 bits, big-endian.
    pub fn digest(&self, version: &VersionName) -> String {
        let mut hash = Context::new(&SHA256);
        hash.update(DOMAIN);
        for part in [&version.to_string(), &self.blueprint_digest, &self.inputs_digest] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let hex: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }
}
