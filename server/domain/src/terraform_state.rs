//! Terraform's state, as far as it has to be understood: version 4 of the format, which OpenTofu writes too.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::deployments::ManagedResource;

/// What is read of a state.
#[derive(Deserialize)]
pub struct TerraformState {
    version: u32,
    /// Grows with each change that the program makes.
    #[serde(default)]
    pub serial: u64,
    /// Identity of the history.
    #[serde(default)]
    pub lineage: String,
    /// Its outputs.
    #[serde(default)]
    pub outputs: BTreeMap<String, TerraformOutput>,
    #[serde(default)]
    resources: Vec<Resource>,
}

/// An output in a state.
#[derive(Deserialize)]
pub struct TerraformOutput {
    /// Its value.
    pub value: Value,
    /// Nobody may see it.
    #[serde(default)]
    pub sensitive: bool,
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
    #[serde(default)]
    dependencies: Vec<String>,
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
    /// Says why it is none, or that it is of a version that this cannot read.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let state: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("this is no state of Terraform or OpenTofu: {error}"))?;
        if state.version != 4 {
            return Err(format!("the state has version {} of its format; only 4 can be read", state.version));
        }
        Ok(state)
    }

    /// The same state with another serial; nothing else of it is touched, since what this does not know may matter.
    pub fn with_serial(bytes: &[u8], serial: u64) -> Option<Vec<u8>> {
        let (mut depth, mut in_text, mut escaped, mut begin) = (0_u32, false, false, 0);
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => {
                    in_text = !in_text;
                    if in_text {
                        begin = at;
                    }
                }
                _ if in_text => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                b':' if depth == 1 && bytes.get(begin..)?.starts_with(b"\"serial\"") => {
                    let rest = bytes.get(at + 1..)?;
                    let from = rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
                    let digits = rest.get(from..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let (before, after) = (bytes.get(..at + 1 + from)?, rest.get(from + digits..)?);
                    return (digits > 0).then(|| [before, serial.to_string().as_bytes(), after].concat());
                }
                _ => {}
            }
        }
        None
    }

    /// The managed resources in it, in the order of their addresses.
    pub fn managed(&self) -> Vec<ManagedResource> {
        let managed = self.resources.iter().filter(|resource| resource.mode == "managed");
        let mut all: Vec<ManagedResource> =
            managed.flat_map(|resource| resource.instances.iter().map(|i| resource.managed(i))).collect();
        all.sort_by(|a, b| a.address.cmp(&b.address));
        all.dedup_by(|a, b| a.address == b.address);
        all
    }

    /// Every value that is marked as secret.
    pub fn secrets(&self) -> Vec<&Value> {
        let outputs = self.outputs.values().filter(|output| output.sensitive).map(|output| &output.value);
        let instances = self.resources.iter().flat_map(|resource| &resource.instances);
        let attributes = instances
            .flat_map(|instance| instance.sensitive_attributes.iter().filter_map(|path| find(&instance.attributes, path)));
        outputs.chain(attributes).collect()
    }
}

impl Resource {
    fn managed(&self, instance: &Instance) -> ManagedResource {
        ManagedResource {
            address: self.address(instance),
            kind: self.kind.clone(),
            id: instance.attributes.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            depends_on: instance.dependencies.clone(),
        }
    }

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_serial_of_the_state_itself_is_another() {
        let text = r#"{"lineage": "\"serial\": 1", "outputs": {"serial": 2}, "serial" : 17, "x": 1.10}"#;
        let changed = TerraformState::with_serial(text.as_bytes(), 99).expect("it has one");
        assert_eq!(String::from_utf8(changed).expect("text"), text.replace("17", "99"));
        for text in ["{}", r#"{"a": {"serial": 1}}"#, r#"{"serial": "1"}"#, "}", "[1"] {
            assert_eq!(TerraformState::with_serial(text.as_bytes(), 99), None, "{text}");
        }
    }

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
        let addresses: Vec<String> = state.managed().into_iter().map(|resource| resource.address).collect();
        assert_eq!(addresses, ["module.net[0].aws_vpc.main", "terraform_data.b[\"k\"]", "terraform_data.b[0] (deposed abc)"]);
        assert!(state.outputs["closed"].sensitive && !state.outputs["open"].sensitive);
        assert_eq!(state.secrets(), [&json!({ "a": "outputsecret" }), &json!("nestedsecret")]);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for text in ["", "{}", "[]", r#"{"version":3,"serial":1}"#, r#"{"version":4,"resources":[{}]}"#] {
            assert!(TerraformState::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
