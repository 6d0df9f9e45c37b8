//! The blueprint that a root module becomes.

use std::path::PathBuf;

use freehold::BlueprintFile;
use serde_json::{Map, Value, json};

use super::{RootModule, Variable, constraint::Constraint, values::Values};
use crate::{failure::Failure, input::DOCUMENT, yaml::yaml};

const HEAD: &str = "# Made of the variables of the module by `freehold import terraform`; yours to change.\n";

/// What a module becomes.
pub(crate) struct Adopted {
    /// Its own files and `blueprint.yaml`.
    pub files: Vec<BlueprintFile>,
    /// Inputs of the deployment: the values that are not the variables' defaults.
    pub inputs: Map<String, Value>,
}

impl Adopted {
    /// Text of its `blueprint.yaml`.
    pub fn document(&self) -> &[u8] {
        self.files.iter().find(|file| file.path == DOCUMENT).map(|file| file.content.as_slice()).unwrap_or_default()
    }
}

/// What becomes of a variable.
enum Fate {
    /// People say what it is.
    Input(Input),
    /// It stays what it was, since no schema could say what else it may be.
    Constant(Value),
    /// The module's own default.
    Default,
}

struct Input {
    name: String,
    schema: Map<String, Value>,
    required: bool,
    /// It has a value even if nobody gives one.
    is_there: bool,
    value: Option<Value>,
}

impl RootModule {
    /// Makes a blueprint of it, and inputs of what its own files, these files and these values say.
    pub fn adopt(self, var_files: &[PathBuf], vars: &[(String, String)]) -> Result<Adopted, Failure> {
        let given = Values::read(&self.dir, var_files, vars, &self.variables)?;
        let missing: Vec<_> = self.variables.iter().filter(|it| it.default.is_none() && given.of(it).is_none()).collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|variable| format!("`{}`", variable.name)).collect();
            return Err(Failure::usage(format!(
                "no value is known of {}: put it into terraform.tfvars, or give it with --var NAME=VALUE or --var-file FILE",
                names.join(", ")
            )));
        }
        let (mut properties, mut required, mut inputs, mut mapped) = (Map::new(), Vec::new(), Map::new(), Map::new());
        let mut is_plain = true;
        for variable in &self.variables {
            match variable.fate(given.of(variable).cloned())? {
                Fate::Default => {}
                Fate::Constant(value) => {
                    is_plain = false;
                    mapped.insert(variable.name.clone(), literal(value));
                }
                Fate::Input(input) => {
                    is_plain &= input.name == variable.name;
                    mapped.insert(variable.name.clone(), input.expression().into());
                    if input.required {
                        required.push(Value::from(input.name.as_str()));
                    }
                    if properties.insert(input.name.clone(), input.schema.into()).is_some() {
                        let why = format!("several variables would be the input `{}`; rename `{}`", input.name, variable.name);
                        return Err(Failure::usage(why));
                    }
                    inputs.extend(input.value.map(|value| (input.name, value)));
                }
            }
        }
        let module = if is_plain { json!(".") } else { json!({ "path": ".", "variables": mapped }) };
        let mut document = json!({ "apiVersion": "freehold.dev/v1", "engine": "terraform", "module": module });
        if !properties.is_empty() {
            document["inputs"] = json!({ "type": "object", "required": required, "properties": properties });
        }
        let mut files = self.files;
        files.retain(|file| file.path != DOCUMENT);
        files.push(BlueprintFile::new(DOCUMENT, format!("{HEAD}{}", yaml(&document))));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Adopted { files, inputs })
    }
}

impl Variable {
    fn fate(&self, given: Option<Value>) -> Result<Fate, Failure> {
        let is_value = |value: &&Value| !value.is_null();
        let sample = given.as_ref().filter(is_value).or(self.default.as_ref().filter(is_value));
        let Some(constraint) = self.constraint.clone().or_else(|| Constraint::of(sample?)) else {
            return match given {
                Some(_) if self.sensitive => Err(Failure::usage(format!(
                    "the sensitive variable `{}` has no type that an input could have; give it one",
                    self.name
                ))),
                Some(value) => Ok(Fate::Constant(value)),
                None => Ok(Fate::Default),
            };
        };
        let mut schema = constraint.schema();
        if !self.description.is_empty() {
            schema.insert("description".to_owned(), self.description.chars().take(1000).collect::<String>().into());
        }
        let default = self.default.clone().filter(|default| !default.is_null()).map(|default| constraint.fit(default));
        let mut value = given.filter(|given| !given.is_null()).map(|given| constraint.fit(given));
        // A sensitive input has no default: one in a blueprint could be read by everybody.
        let required = self.default.is_none() || self.sensitive && default.is_some();
        let is_there = required || default.is_some();
        if self.sensitive {
            schema.insert("sensitive".to_owned(), true.into());
            value = value.or(default);
        } else if let Some(default) = default {
            value = value.filter(|value| *value != default);
            schema.insert("default".to_owned(), default);
        }
        Ok(Fate::Input(Input { name: input_name(&self.name), schema, required, is_there, value }))
    }
}

impl Input {
    fn expression(&self) -> String {
        let name = &self.name;
        if self.is_there { format!("${{inputs.{name}}}") } else { format!("${{has(inputs.{name}) ? inputs.{name} : null}}") }
    }
}

/// The name of the input for a variable: inputs have small letters, digits and `_`, and begin with a letter.
fn input_name(variable: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let mut name: String = variable.to_lowercase().chars().map(|c| if is_plain(c) { c } else { '_' }).take(60).collect();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || ["in", "true", "false", "null"].contains(&name.as_str()) {
        name.insert_str(0, "v_");
    }
    name
}

/// A value that holds no expressions.
fn literal(value: Value) -> Value {
    match value {
        Value::String(text) => text.replace("${", "$${").into(),
        Value::Array(items) => items.into_iter().map(literal).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, literal(value))).collect::<Map<_, _>>().into(),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::document;

    const MODULE: &str = r#"
variable "plain" { type = string }
variable "Big-Name" {
  type        = set(number)
  description = <<-TEXT
    Two
    lines
  TEXT
}
variable "optional" {
  type    = map(string)
  default = null
}
variable "nested" {
  type = object({ cpu = number, tags = optional(list(string), []) })
}
variable "secret" {
  type      = string
  sensitive = true
  default   = "changeme"
}
variable "pair" {
  type    = tuple([string, number])
  default = ["a", 1]
}
variable "guess" { default = -1 }
"#;

    #[test]
    fn each_variable_finds_its_place() {
        let dir = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("a file");
        write("main.tf", MODULE);
        write("terraform.tfvars", "plain = 5\nnested = { cpu = \"2\", more = 1 }\npair = [\"$${x}\", 2]\n");
        write("b.auto.tfvars.json", r#"{"Big-Name": ["1", 2], "plain": "from json"}"#);
        let vars = [("guess".to_owned(), "7".to_owned())];
        let adopted = RootModule::read(dir.path()).expect("a module").adopt(&[], &vars).expect("a blueprint");
        let inputs = json!({
            "big_name": [1, 2], "guess": "7", "nested": { "cpu": 2 }, "plain": "from json", "secret": "changeme",
        });
        assert_eq!(Value::Object(adopted.inputs.clone()), inputs);
        let document = document::read(std::str::from_utf8(adopted.document()).expect("text")).expect("YAML");
        let variables = json!({
            "Big-Name": "${inputs.big_name}", "guess": "${inputs.guess}", "nested": "${inputs.nested}",
            "optional": "${has(inputs.optional) ? inputs.optional : null}", "pair": ["$${x}", 2],
            "plain": "${inputs.plain}", "secret": "${inputs.secret}",
        });
        assert_eq!(document["module"], json!({ "path": ".", "variables": variables }));
        assert_eq!(document["inputs"]["required"], json!(["big_name", "nested", "plain", "secret"]));
        let of = |name: &str| document["inputs"]["properties"][name].clone();
        assert_eq!(of("big_name"), json!({ "type": "array", "items": { "type": "number" }, "description": "Two\nlines\n" }));
        assert_eq!(of("secret"), json!({ "type": "string", "sensitive": true }));
        assert_eq!(of("optional"), json!({ "type": "object", "additionalProperties": { "type": "string" } }));
        assert!(!adopted.files.iter().any(|file| file.path.contains("tfvars")));

        write("c.auto.tfvars", "plain = file(\"x\")\n");
        let refused = RootModule::read(dir.path()).expect("a module").adopt(&[], &[]).err().expect("no constant");
        assert!(refused.to_string().contains("c.auto.tfvars"), "{refused}");
    }
}
