//! Terraform's state, as far as it has to be understood: version 4 of the format, which OpenTofu writes too.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{OutputValue, Redactor, Snapshot, StepError};

/// What is read of a state.
#[derive(Deserialize)]
pub(super) struct TerraformState {
    version: u32,
    #[serde(default)]
    pub serial: u64,
    #[serde(default)]
    outputs: BTreeMap<String, Output>,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Output {
    value: Value,
    #[serde(default)]
    sensitive: bool,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    module: String,
    #[serde(default)]
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    #[serde(default)]
    index_key: Option<Value>,
    #[serde(default)]
    deposed: String,
    #[serde(default)]
    attributes: Value,
    #[serde(default)]
    sensitive_attributes: Vec<Vec<PathStep>>,
}

#[derive(Deserialize)]
struct PathStep {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    value: Value,
}

impl TerraformState {
    /// Reads a state.
    ///
    /// # Errors
    /// `state-invalid` when it is none, or of a version that this cannot read.
    pub fn read(bytes: &[u8]) -> Result<Self, StepError> {
        let invalid =
            |why: String| StepError::new("state-invalid", why).hint("restore an earlier state version of the deployment");
        let state: Self = serde_json::from_slice(bytes).map_err(|error| invalid(format!("the state cannot be read: {error}")))?;
        if state.version != 4 {
            return Err(invalid(format!("the state has version {} of the format; only 4 can be read", state.version)));
        }
        Ok(state)
    }

    /// The managed resources in it, sorted.
    pub fn addresses(&self) -> Vec<String> {
        let managed = self.resources.iter().filter(|resource| resource.mode == "managed");
        let mut addresses: Vec<String> =
            managed.flat_map(|resource| resource.instances.iter().map(|i| resource.address(i))).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// Its outputs.
    pub fn outputs(&self) -> BTreeMap<String, OutputValue> {
        let output = |(name, output): (&String, &Output)| {
            (name.clone(), OutputValue { value: output.value.clone(), sensitive: output.sensitive })
        };
        self.outputs.iter().map(output).collect()
    }

    /// Teaches the redactor every value that is marked as secret.
    pub fn learn_secrets(&self, redactor: &mut Redactor) {
        self.outputs.values().filter(|output| output.sensitive).for_each(|output| redactor.learn(&output.value));
        for instance in self.resources.iter().flat_map(|resource| &resource.instances) {
            for path in &instance.sensitive_attributes {
                if let Some(secret) = find(&instance.attributes, path) {
                    redactor.learn(secret);
                }
            }
        }
    }
}

impl Resource {
    fn address(&self, instance: &Instance) -> String {
        let module = if self.module.is_empty() { String::new() } else { format!("{}.", self.module) };
        let index = instance.index_key.as_ref().map(|key| format!("[{key}]")).unwrap_or_default();
        let deposed = if instance.deposed.is_empty() { String::new() } else { format!(" (deposed {})", instance.deposed) };
        format!("{module}{}.{}{index}{deposed}", self.kind, self.name)
    }
}

/// The value at a path of attributes; that of the deepest step that is there. Values of unknown type are wrapped into `value`.
fn find<'v>(value: &'v Value, path: &[PathStep]) -> Option<&'v Value> {
    let mut at = value;
    for step in path {
        let key = match (step.kind.as_str(), &step.value) {
            ("index", Value::Object(key)) => key.get("value")?,
            (_, key) => key,
        };
        let next = |at: &'v Value| match key {
            Value::String(name) => at.get(name.as_str()),
            Value::Number(index) => at.get(usize::try_from(index.as_u64()?).ok()?),
            _ => None,
        };
        match next(at).or_else(|| at.get("value").and_then(next)) {
            Some(found) => at = found,
            None => return Some(at),
        }
    }
    Some(at)
}

/// A state as the server keeps it.
///
/// # Errors
/// `state-invalid` when it is none.
pub(super) fn snapshot(bytes: Vec<u8>) -> Result<Snapshot, StepError> {
    let addresses = TerraformState::read(&bytes)?.addresses();
    Ok(Snapshot { bytes, addresses })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_outputs_and_secrets_are_found() {
        let state = json!({
            "version": 4, "serial": 7, "lineage": "l",
            "outputs": {
                "open": { "value": 3, "type": "number" },
                "closed": { "value": { "a": "outputsecret" }, "type": ["object", {"a": "string"}], "sensitive": true },
            },
            "resources": [
                { "mode": "managed", "type": "terraform_data", "name": "b", "instances": [
                    { "index_key": "k", "attributes": { "input": { "value": { "v": "nestedsecret" }, "type": [] } },
                      "sensitive_attributes": [[{ "type": "get_attr", "value": "input" }, { "type": "get_attr", "value": "v" }]] },
                    { "index_key": 0, "deposed": "abc", "attributes": {} },
                ] },
                { "module": "module.net[0]", "mode": "managed", "type": "aws_vpc", "name": "main", "instances": [{ "attributes": {} }] },
                { "mode": "data", "type": "aws_ami", "name": "x", "instances": [{ "attributes": {} }] },
            ],
        });
        let state = TerraformState::read(state.to_string().as_bytes()).expect("a state");
        assert_eq!(
            state.addresses(),
            ["module.net[0].aws_vpc.main", "terraform_data.b[\"k\"]", "terraform_data.b[0] (deposed abc)"]
        );
        assert!(state.outputs()["closed"].sensitive && !state.outputs()["open"].sensitive);
        let mut redactor = Redactor::default();
        state.learn_secrets(&mut redactor);
        assert_eq!(redactor.redact("nestedsecret outputsecret"), "(hidden) (hidden)");
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for text in ["", "{}", "[]", r#"{"version":3,"serial":1}"#, r#"{"version":4,"resources":[{}]}"#] {
            assert_eq!(
                TerraformState::read(text.as_bytes()).err().map(|error| error.code).as_deref(),
                Some("state-invalid"),
                "{text}"
            );
        }
    }
}
