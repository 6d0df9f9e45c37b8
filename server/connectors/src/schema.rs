//! JSON Schema as far as connectors need it: written down in Rust, shown to people, and checked with every error at once.
//!
//! The keywords are those of the builders here; a value is never changed by being checked.

use freehold_domain::Violation;
use regex::Regex;
use serde_json::{Map, Value, json};

/// A schema under construction.
#[derive(Clone, Debug)]
pub struct Schema(Value);

/// A field of an object.
pub struct Field(&'static str, Schema, bool);

/// A field that must be there.
pub fn req(name: &'static str, schema: Schema) -> Field {
    Field(name, schema, true)
}

/// A field that may be missing.
pub fn opt(name: &'static str, schema: Schema) -> Field {
    Field(name, schema, false)
}

/// An object with these fields and no others.
pub fn object(fields: impl IntoIterator<Item = Field>) -> Schema {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for Field(name, schema, must) in fields {
        properties.insert(name.to_owned(), schema.0);
        if must {
            required.push(json!(name));
        }
    }
    Schema(json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false }))
}

/// An object with any fields.
pub fn open_object() -> Schema {
    Schema(json!({ "type": "object" }))
}

/// An object with any keys, whose values are all alike.
pub fn map(values: Schema) -> Schema {
    Schema(json!({ "type": "object", "additionalProperties": values.0 }))
}

/// A text.
pub fn text() -> Schema {
    Schema(json!({ "type": "string" }))
}

/// A text that is not empty.
pub fn word() -> Schema {
    text().min(1)
}

/// One of these texts.
pub fn choice(of: &[&str]) -> Schema {
    Schema(json!({ "type": "string", "enum": of }))
}

/// A whole number.
pub fn integer() -> Schema {
    Schema(json!({ "type": "integer" }))
}

/// Yes or no.
pub fn flag() -> Schema {
    Schema(json!({ "type": "boolean" }))
}

/// A list of things that are alike.
pub fn list(items: Schema) -> Schema {
    Schema(json!({ "type": "array", "items": items.0 }))
}

/// Anything.
pub fn any() -> Schema {
    Schema(json!({}))
}

impl Schema {
    /// The schema as JSON.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// The least: of a number, of the characters of a text, of the items of a list.
    #[must_use]
    pub fn min(self, least: u64) -> Self {
        let key = self.bound("minimum", "minLength", "minItems");
        self.with(key, json!(least))
    }

    /// The most, as for [`min`](Self::min).
    #[must_use]
    pub fn max(self, most: u64) -> Self {
        let key = self.bound("maximum", "maxLength", "maxItems");
        self.with(key, json!(most))
    }

    /// What a text looks like, as a regular expression.
    #[must_use]
    pub fn pattern(self, pattern: &str) -> Self {
        self.with("pattern", json!(pattern))
    }

    /// `uri` or `email`.
    #[must_use]
    pub fn format(self, format: &str) -> Self {
        self.with("format", json!(format))
    }

    /// What it is for.
    #[must_use]
    pub fn describe(self, description: &str) -> Self {
        self.with("description", json!(description))
    }

    /// What it is when it is not given. For people: the type that reads it knows itself.
    #[must_use]
    pub fn default(self, value: impl Into<Value>) -> Self {
        self.with("default", value.into())
    }

    fn bound(&self, number: &'static str, text: &'static str, list: &'static str) -> &'static str {
        match self.0["type"].as_str() {
            Some("string") => text,
            Some("array") => list,
            _ => number,
        }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }
}

/// Everything that is wrong with a value. Fields are told by their path below `at`, which may be empty.
pub fn check(schema: &Value, value: &Value, at: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    walk(schema, value, at, &mut found);
    found
}

fn walk(schema: &Value, value: &Value, at: &str, found: &mut Vec<Violation>) {
    let mut wrong = |description: String| found.push(Violation::new(if at.is_empty() { "(root)" } else { at }, description));
    if let Some(name) = schema["type"].as_str()
        && !is(name, value)
    {
        return wrong(format!("is {}; give it {}", told(value), article(name)));
    }
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        let choices: Vec<_> = choices.iter().map(Value::to_string).collect();
        wrong(format!("is none of {}", choices.join(", ")));
    }
    let within = |least: &str, most: &str, size: f64, what: &str, wrong: &mut dyn FnMut(String)| {
        if let Some(least) = schema[least].as_f64().filter(|least| size < *least) {
            wrong(format!("has {size}{what}; {least} at least"));
        }
        if let Some(most) = schema[most].as_f64().filter(|most| size > *most) {
            wrong(format!("has {size}{what}; {most} at most"));
        }
    };
    match value {
        Value::String(text) => {
            let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            within("minLength", "maxLength", length.into(), " characters", &mut wrong);
            if let Some(pattern) = schema["pattern"].as_str()
                && !Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
            {
                wrong(format!("does not match {pattern}"));
            }
            match schema["format"].as_str() {
                Some("uri") if !is_http_url(text) => wrong("is not a URL that begins with https:// or http://".to_owned()),
                Some("email") if text.parse::<lettre::Address>().is_err() => wrong("is not an address of mail".to_owned()),
                _ => {}
            }
        }
        Value::Number(number) => within("minimum", "maximum", number.as_f64().unwrap_or_default(), "", &mut wrong),
        Value::Array(items) => {
            let length = u32::try_from(items.len()).unwrap_or(u32::MAX);
            within("minItems", "maxItems", length.into(), " items", &mut wrong);
            for (index, item) in items.iter().enumerate() {
                walk(&schema["items"], item, &format!("{at}[{index}]"), found);
            }
        }
        Value::Object(fields) => walk_object(schema, fields, at, found),
        Value::Null | Value::Bool(_) => {}
    }
}

fn walk_object(schema: &Value, fields: &Map<String, Value>, at: &str, found: &mut Vec<Violation>) {
    let path = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            found.push(Violation::new(path(name), "is missing"));
        }
    }
    for (name, value) in fields {
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => walk(schema, value, &path(name), found),
            (None, Value::Bool(false)) => {
                let known =
                    schema["properties"].as_object().into_iter().flat_map(Map::keys).cloned().collect::<Vec<_>>().join(", ");
                found.push(Violation::new(path(name), format!("is not known here; there are {known}")));
            }
            (None, schema) if schema.is_object() => walk(schema, value, &path(name), found),
            (None, _) => {}
        }
    }
}

fn is(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => value.is_number(),
    }
}

fn told(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn article(name: &str) -> String {
    let article = if name.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {name}")
}

fn is_http_url(text: &str) -> bool {
    text.parse::<url::Url>().is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_told_at_once_with_its_path() {
        let schema = object([
            req("name", word().max(5)),
            req("url", text().format("uri")),
            opt("tags", list(text().pattern("^[a-z]+$")).max(2)),
            opt("level", choice(&["low", "high"])),
            opt("size", integer().min(1).max(10)),
            opt("labels", map(text())),
            opt("inner", object([req("flag", flag())])),
        ])
        .into_value();
        let cases = [
            (json!({ "name": "ok", "url": "https://x.example" }), vec![]),
            (
                json!({ "name": "", "url": "ftp://x", "tags": ["A", "b", 3], "level": "mid", "size": 11, "labels": { "a": 1 },
                        "inner": { "flag": "yes", "more": 1 }, "surplus": null }),
                vec![
                    "name",
                    "url",
                    "tags",
                    "tags[0]",
                    "tags[2]",
                    "level",
                    "size",
                    "labels.a",
                    "inner.flag",
                    "inner.more",
                    "surplus",
                ],
            ),
            (json!({}), vec!["name", "url"]),
            (json!([]), vec!["(root)"]),
        ];
        for (value, fields) in cases {
            let found = check(&schema, &value, "");
            assert_eq!(found.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), fields, "{value}: {found:#?}");
        }
    }
}
