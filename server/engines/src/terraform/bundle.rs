//! What a plan of Terraform is to Freehold: everything that its apply needs, bound together by one digest.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::program::Version;
use crate::{DeploymentIdentity, Mode, StepError};

/// A plan with what it was made of. Holds secrets: it is kept sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct Bundle {
    /// Version of this form.
    pub format: u32,
    /// The engine that made it.
    pub engine: String,
    /// The program that made it, and the only one that may apply it.
    pub program: Version,
    /// Uid of the run.
    pub run: String,
    /// The deployment.
    pub deployment: DeploymentIdentity,
    /// What it reaches.
    pub mode: Mode,
    /// Serial of the state it was made against, by the server's count; 0 when there was none.
    pub base_serial: u64,
    /// Files of the blueprint.
    pub files: BTreeMap<String, Bytes>,
    /// Files of the repository that the module is in; absent when it is among those of the blueprint.
    pub repository: Option<BTreeMap<String, Bytes>>,
    /// Values of the variables.
    pub variables: Map<String, Value>,
    /// The values among them that nobody may see.
    pub secrets: Vec<Value>,
    /// `.terraform.lock.hcl` with the checksums of the providers; empty when there are none.
    pub lock: Bytes,
    /// The state it was made against; empty when there was none.
    pub state: Bytes,
    /// The file that `plan -out` wrote.
    pub plan: Bytes,
}

/// Bytes, in base64.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub Vec<u8>);

impl Bundle {
    /// The form that this version writes and reads.
    pub const FORMAT: u32 = 2;

    /// Reads a bundle.
    ///
    /// # Errors
    /// `plan-invalid` when it is none, or one of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StepError> {
        let invalid = |message: String| StepError::new("plan-invalid", message).hint("make a new plan");
        let bundle: Self = serde_json::from_slice(bytes).map_err(|error| invalid(format!("the plan cannot be read: {error}")))?;
        if bundle.format != Self::FORMAT {
            return Err(invalid(format!("the plan has form {}, and this runner reads form {}", bundle.format, Self::FORMAT)));
        }
        Ok(bundle)
    }

    /// The files that the program works on.
    pub fn module_files(&self) -> Vec<(&str, &[u8])> {
        let files = self.repository.as_ref().unwrap_or(&self.files);
        files.iter().map(|(path, content)| (path.as_str(), content.0.as_slice())).collect()
    }

    /// The bundle as JSON; what is approved is the digest of these bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps with text keys always have a JSON form")
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&base64::display::Base64Display::new(&self.0, &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| serde::de::Error::custom("bytes are not base64"))
    }
}
