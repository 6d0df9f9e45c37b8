//! What a blueprint asks of the people who deploy it: the schema of its inputs.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::{diagnostic::Range, expression::Expression, formats::Format};
use crate::secrets::is_reserved;

/// The inputs of a blueprint and the rules between them.
#[derive(Clone, Debug, Default)]
pub struct InputSchema {
    pub(super) inputs: Vec<Input>,
    pub(super) rules: Vec<Rule>,
}

/// One input, or one property of an input that is an object.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// What values it takes.
    pub schema: Schema,
    /// Whether it must be given; one with a default never needs to be.
    pub required: bool,
    /// The value when none is given.
    pub default: Option<Value>,
    /// Whether it stays as it was when the deployment was created. Not for properties.
    pub immutable: bool,
    /// Whether nobody may read it. Not for properties.
    pub sensitive: bool,
    pub(super) range: Range,
}

/// A set of values.
#[derive(Clone, Debug)]
pub struct Schema {
    /// What they mean, for people.
    pub description: Option<String>,
    /// Their type and its bounds.
    pub kind: Kind,
    /// The only ones that are allowed; `None` when all are.
    pub choices: Option<Vec<Value>>,
}

/// A type and its bounds; both ends are included.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the keywords of JSON Schema, in snake case")]
pub enum Kind {
    /// Text; lengths are in characters.
    String { min_length: Option<i64>, max_length: Option<i64>, pattern: Option<Pattern>, format: Option<Format> },
    /// A whole number of 64 bits.
    Integer { minimum: Option<i64>, maximum: Option<i64> },
    /// Any finite number.
    Number { minimum: Option<f64>, maximum: Option<f64> },
    /// True or false.
    Boolean,
    /// A list whose items are alike.
    List { items: Box<Schema>, min_items: Option<i64>, max_items: Option<i64> },
    /// Any keys, with values that are alike: `additionalProperties`.
    Map { values: Box<Schema> },
    /// The keys that are named and no other.
    Object { properties: Vec<Input> },
}

/// A regular expression that a string must match somewhere.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub(super) source: String,
    pub(super) regex: Regex,
}

impl Pattern {
    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// Something that must hold between inputs.
#[derive(Clone, Debug)]
pub struct Rule {
    /// When it must hold; always, if `None`.
    pub when: Option<Expression>,
    /// What must hold.
    pub require: Expression,
    /// What to tell who breaks it.
    pub message: String,
}

impl InputSchema {
    /// The inputs in the order of the document.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The rules in the order of the document.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// One input.
    pub fn get(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.name == name)
    }

    /// Whether nobody may read the input of this name.
    pub fn sensitive(&self, name: &str) -> bool {
        self.get(name).is_some_and(|input| input.sensitive)
    }

    /// Names of the inputs that nobody may read.
    pub fn sensitive_names(&self) -> BTreeSet<String> {
        self.inputs.iter().filter(|input| input.sensitive).map(|input| input.name.clone()).collect()
    }

    /// The values that may be shown: sensitive ones, and those that the schema does not know, are left out. Where a secret is to be
    /// found is none itself.
    pub fn masked(&self, values: &Map<String, Value>) -> Map<String, Value> {
        let is_shown = |name: &str, value: &Value| self.get(name).is_some_and(|input| !input.sensitive || is_reserved(value));
        let shown = values.iter().filter(|(name, value)| is_shown(name, value));
        shown.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The schema as JSON Schema with our keywords `immutable`, `sensitive` and `rules`.
    pub fn to_json_schema(&self) -> Value {
        let mut schema = object_schema(&self.inputs);
        if !self.rules.is_empty() {
            let rules = self.rules.iter().map(|rule| {
                let mut json = Map::new();
                if let Some(when) = &rule.when {
                    json.insert("when".to_owned(), when.source().into());
                }
                json.insert("require".to_owned(), rule.require.source().into());
                json.insert("message".to_owned(), rule.message.as_str().into());
                Value::Object(json)
            });
            schema.insert("rules".to_owned(), rules.collect());
        }
        Value::Object(schema)
    }
}

impl Input {
    /// Whether somebody has to give a value.
    pub fn must_be_given(&self) -> bool {
        self.required && self.default.is_none()
    }

    pub(super) fn to_json_schema(&self) -> Value {
        let mut json = self.schema.to_map();
        if let Some(default) = &self.default {
            json.insert("default".to_owned(), default.clone());
        }
        for (keyword, set) in [("immutable", self.immutable), ("sensitive", self.sensitive)] {
            if set {
                json.insert(keyword.to_owned(), true.into());
            }
        }
        Value::Object(json)
    }
}

impl Schema {
    /// The schema as JSON Schema.
    pub fn to_json_schema(&self) -> Value {
        Value::Object(self.to_map())
    }

    fn to_map(&self) -> Map<String, Value> {
        let mut json = match &self.kind {
            Kind::Object { properties } => object_schema(properties),
            kind => Map::from_iter([("type".to_owned(), Value::from(kind.type_name()))]),
        };
        let mut set = |keyword: &str, value: Option<Value>| {
            if let Some(value) = value {
                json.insert(keyword.to_owned(), value);
            }
        };
        match &self.kind {
            Kind::String { min_length, max_length, pattern, format } => {
                set("minLength", min_length.map(Value::from));
                set("maxLength", max_length.map(Value::from));
                set("pattern", pattern.as_ref().map(|pattern| pattern.source.as_str().into()));
                set("format", format.map(|format| format.as_str().into()));
            }
            Kind::Integer { minimum, maximum } => {
                set("minimum", minimum.map(Value::from));
                set("maximum", maximum.map(Value::from));
            }
            Kind::Number { minimum, maximum } => {
                set("minimum", minimum.map(Value::from));
                set("maximum", maximum.map(Value::from));
            }
            Kind::List { items, min_items, max_items } => {
                set("items", Some(items.to_json_schema()));
                set("minItems", min_items.map(Value::from));
                set("maxItems", max_items.map(Value::from));
            }
            Kind::Map { values } => set("additionalProperties", Some(values.to_json_schema())),
            Kind::Boolean | Kind::Object { .. } => {}
        }
        set("enum", self.choices.as_ref().map(|choices| choices.as_slice().into()));
        set("description", self.description.as_ref().map(|text| text.as_str().into()));
        json
    }
}

impl Kind {
    /// The `type` of JSON Schema.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String { .. } => "string",
            Self::Integer { .. } => "integer",
            Self::Number { .. } => "number",
            Self::Boolean => "boolean",
            Self::List { .. } => "array",
            Self::Map { .. } | Self::Object { .. } => "object",
        }
    }
}

fn object_schema(properties: &[Input]) -> Map<String, Value> {
    let required: Vec<&str> = properties.iter().filter(|input| input.required).map(|input| input.name.as_str()).collect();
    let inner: Map<String, Value> = properties.iter().map(|input| (input.name.clone(), input.to_json_schema())).collect();
    let mut json = Map::from_iter([("type".to_owned(), json!("object"))]);
    if !required.is_empty() {
        json.insert("required".to_owned(), json!(required));
    }
    json.insert("properties".to_owned(), Value::Object(inner));
    json.insert("additionalProperties".to_owned(), json!(false));
    json
}
