//! What attributes a resource type has, and whether given values fit.

use freehold_domain::blueprints::closest;
use serde_json::Value;

use crate::native::Attributes;

/// The attributes of one resource type.
pub(crate) struct Schema {
    /// Name of the resource type, for example `file`.
    pub kind: &'static str,
    /// In the order people read them.
    pub attributes: Vec<Attribute>,
}

/// One attribute.
#[derive(Clone)]
pub(crate) struct Attribute {
    pub name: &'static str,
    pub kind: Kind,
    /// Must be given.
    pub required: bool,
    /// Known only from the provider; cannot be given.
    pub computed: bool,
    /// A computed value that updates in place leave as it is.
    pub stable: bool,
    /// A computed value whose change outside is drift.
    pub tracked: bool,
    /// Its value is secret.
    pub sensitive: bool,
    /// Cannot be changed in place.
    pub replaces: bool,
    /// Says how to reach the resource, not what it is: the newest value is used to look at it and to destroy it.
    pub access: bool,
    /// Value when none is given.
    pub default: Option<Value>,
}

/// What values fit an attribute.
#[derive(Clone)]
pub(crate) enum Kind {
    /// Text of this many bytes.
    Text { min: usize, max: usize },
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number in this range.
    Whole { min: i64, max: i64 },
    /// True or false.
    Flag,
    /// Up to this many items.
    List { of: Box<Kind>, max: usize },
    /// Values by name.
    Map(Box<Kind>),
    /// These fields.
    Object(Vec<Attribute>),
    /// Any JSON.
    Any,
}

/// A value that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The attribute, with the way into it: `create.method`, `dns_names[2]`.
    pub path: String,
    /// Stable name of the rule, for example `unknown-attribute`.
    pub code: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    pub fn new(path: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.into(), code, message: message.into() }
    }

    /// A rule between attributes is broken.
    pub fn rule(path: &str, message: impl Into<String>) -> Self {
        Self::new(path, "attribute-invalid", message)
    }
}

impl Attribute {
    pub fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            required: false,
            computed: false,
            stable: false,
            tracked: false,
            sensitive: false,
            replaces: false,
            access: false,
            default: None,
        }
    }

    pub fn computed(name: &'static str, kind: Kind) -> Self {
        Self { computed: true, ..Self::new(name, kind) }
    }

    pub fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub fn sensitive(self) -> Self {
        Self { sensitive: true, ..self }
    }

    pub fn replaces(self) -> Self {
        Self { replaces: true, ..self }
    }

    pub fn access(self) -> Self {
        Self { access: true, ..self }
    }

    pub fn stable(self) -> Self {
        Self { stable: true, ..self }
    }

    pub fn tracked(self) -> Self {
        Self { tracked: true, ..self }
    }

    pub fn default(self, value: impl Into<Value>) -> Self {
        Self { default: Some(value.into()), ..self }
    }
}

impl Kind {
    /// Text that is not empty.
    pub fn text(max: usize) -> Self {
        Self::Text { min: 1, max }
    }

    pub fn list(of: Self, max: usize) -> Self {
        Self::List { of: Box::new(of), max }
    }

    pub fn map(of: Self) -> Self {
        Self::Map(Box::new(of))
    }

    /// Everything about a value that does not fit.
    pub fn problems(&self, path: &str, value: &Value) -> Vec<Problem> {
        let wrong = |message: String| vec![Problem::new(path, "attribute-invalid", message)];
        match (self, value) {
            (Self::Any, _) | (Self::Flag, Value::Bool(_)) => Vec::new(),
            (Self::Text { min, max }, Value::String(text)) if (*min..=*max).contains(&text.len()) => Vec::new(),
            (Self::Text { min, max }, Value::String(text)) => {
                wrong(format!("has {} bytes; {min} to {max} are allowed", text.len()))
            }
            (Self::Choice(choices), Value::String(text)) if choices.contains(&text.as_str()) => Vec::new(),
            (Self::Choice(choices), Value::String(_)) => wrong(format!("must be one of {}", quoted(choices))),
            (Self::Whole { min, max }, Value::Number(number)) => match number.as_i64() {
                Some(number) if (*min..=*max).contains(&number) => Vec::new(),
                _ => wrong(format!("must be a whole number from {min} to {max}")),
            },
            (Self::List { of, max }, Value::Array(items)) => {
                let mut problems: Vec<_> =
                    items.iter().enumerate().flat_map(|(index, item)| of.problems(&format!("{path}[{index}]"), item)).collect();
                if items.len() > *max {
                    problems.extend(wrong(format!("has {} items; at most {max} are allowed", items.len())));
                }
                problems
            }
            (Self::Map(of), Value::Object(fields)) => {
                fields.iter().flat_map(|(name, field)| of.problems(&format!("{path}.{name}"), field)).collect()
            }
            (Self::Object(attributes), Value::Object(fields)) => {
                let mut problems = names_problems(path, attributes, fields.keys().map(String::as_str));
                for attribute in attributes {
                    if let Some(field) = fields.get(attribute.name).filter(|field| !field.is_null()) {
                        problems.extend(attribute.kind.problems(&join(path, attribute.name), field));
                    } else if attribute.required {
                        problems.push(missing(&join(path, attribute.name)));
                    }
                }
                problems
            }
            _ => vec![Problem::new(path, "attribute-type", format!("must be {}, not {}", self.describe(), type_name(value)))],
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Text { .. } => "text".to_owned(),
            Self::Choice(choices) => format!("one of {}", quoted(choices)),
            Self::Whole { .. } => "a whole number".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::List { .. } => "a list".to_owned(),
            Self::Map(_) | Self::Object(_) => "a map".to_owned(),
            Self::Any => "a value".to_owned(),
        }
    }
}

impl Schema {
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Attributes that people give.
    pub fn given(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(|attribute| !attribute.computed)
    }

    /// Attributes that come from the provider.
    pub fn computed(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(|attribute| attribute.computed)
    }

    /// Unknown, computed and missing names among those given.
    pub fn names_problems<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> Vec<Problem> {
        let mut problems = names_problems("", &self.attributes, names.clone());
        for attribute in self.given().filter(|attribute| attribute.required) {
            if !names.clone().any(|name| name == attribute.name) {
                problems.push(missing(attribute.name));
            }
        }
        problems
    }

    /// Everything about known values that does not fit; nulls count as absent.
    pub fn value_problems(&self, known: &Attributes) -> Vec<Problem> {
        self.given()
            .flat_map(|attribute| match known.get(attribute.name) {
                Some(Value::Null) if attribute.required => vec![missing(attribute.name)],
                Some(value) if !value.is_null() => attribute.kind.problems(attribute.name, value),
                _ => Vec::new(),
            })
            .collect()
    }
}

fn names_problems<'a>(path: &str, attributes: &[Attribute], names: impl Iterator<Item = &'a str>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for name in names {
        match attributes.iter().find(|attribute| attribute.name == name) {
            Some(attribute) if attribute.computed => problems.push(Problem::new(
                join(path, name),
                "attribute-computed",
                "cannot be given: it is known only after the resource is made",
            )),
            Some(_) => {}
            None => {
                let known = attributes.iter().filter(|attribute| !attribute.computed).map(|attribute| attribute.name);
                let message = match closest(name, known.clone()) {
                    Some(close) => format!("is no attribute here; did you mean `{close}`?"),
                    None => format!("is no attribute here; there are {}", quoted(&known.collect::<Vec<_>>())),
                };
                problems.push(Problem::new(join(path, name), "unknown-attribute", message));
            }
        }
    }
    problems
}

fn missing(path: &str) -> Problem {
    Problem::new(path, "attribute-missing", "must be given")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        Schema {
            kind: "thing",
            attributes: vec![
                Attribute::new("length", Kind::Whole { min: 8, max: 128 }).required(),
                Attribute::new("names", Kind::list(Kind::text(4), 2)),
                Attribute::new("call", Kind::Object(vec![Attribute::new("method", Kind::Choice(&["GET", "PUT"])).required()])),
                Attribute::computed("id", Kind::text(9)),
            ],
        }
    }

    fn paths(problems: &[Problem]) -> Vec<(&str, &str)> {
        problems.iter().map(|problem| (problem.path.as_str(), problem.code)).collect()
    }

    #[test]
    fn every_wrong_value_is_named_with_its_path() {
        let known = [
            ("length".to_owned(), json!(7)),
            ("names".to_owned(), json!(["ok", "too long", 3])),
            ("call".to_owned(), json!({ "methd": "GET" })),
        ];

        let problems = schema().value_problems(&known.into());

        assert_eq!(
            paths(&problems),
            [
                ("length", "attribute-invalid"),
                ("names[1]", "attribute-invalid"),
                ("names[2]", "attribute-type"),
                ("names", "attribute-invalid"),
                ("call.methd", "unknown-attribute"),
                ("call.method", "attribute-missing"),
            ]
        );
        assert!(problems[4].message.contains("`method`"), "{}", problems[4].message);
    }

    #[test]
    fn names_are_checked_without_values() {
        let problems = schema().names_problems(["lenght", "id"].into_iter());

        assert_eq!(
            paths(&problems),
            [("lenght", "unknown-attribute"), ("id", "attribute-computed"), ("length", "attribute-missing")]
        );
        assert!(problems[0].message.contains("did you mean `length`?"), "{}", problems[0].message);
    }
}
