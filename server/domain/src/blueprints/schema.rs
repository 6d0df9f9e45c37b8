//! Reads the schema of the inputs out of `blueprint.yaml`.

use super::{
    diagnostic::{Diagnostics, did_you_mean},
    document::check_name,
    fields::{self, Fields},
    formats::Format,
    inputs::{Input, InputSchema, Kind, Pattern, Rule, Schema},
    pattern::Patterns,
    resolve,
    template::Compiler,
    yaml::{Entry, Node, Yaml},
};
use crate::names::shown;

/// The most inputs of a blueprint, and properties of an object.
pub const MAX_INPUTS: usize = 200;

/// The most rules between inputs.
const MAX_RULES: usize = 100;

const MAX_DESCRIPTION: usize = 1000;

const COMMON: [&str; 4] = ["type", "description", "enum", "default"];
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// The names that are declared, known before anything else is read.
pub(super) fn declared(node: &Node) -> Vec<&str> {
    let Yaml::Map(entries) = &node.value else { return Vec::new() };
    let properties = entries.iter().find(|entry| entry.key == "properties").map(|entry| &entry.value.value);
    let Some(Yaml::Map(properties)) = properties else { return Vec::new() };
    properties.iter().map(|entry| entry.key.as_str()).collect()
}

/// Reads the map `inputs`.
pub(super) fn read(node: &Node, compiler: &mut Compiler<'_>, diagnostics: &mut Diagnostics) -> Option<InputSchema> {
    let allowed = ["type", "description", "required", "properties", "additionalProperties", "rules"];
    let fields = Fields::read(node, "`inputs`", &allowed, diagnostics)?;
    if let Some(kind) = fields.get("type")
        && !matches!(&kind.value, Yaml::String(text) if text == "object")
    {
        diagnostics.error("wrong-type", kind.range, "`inputs` is always of the type `object`");
    }
    closed(&fields, diagnostics);
    let properties = fields.get("properties").and_then(|node| fields::map(node, "`properties`", diagnostics)).unwrap_or_default();
    let patterns = compiler.vocabulary.patterns;
    let inputs = properties_of(properties, &fields, true, patterns, diagnostics);
    let mut rules = Vec::new();
    if let Some(items) = fields.get("rules").and_then(|node| fields::list(node, diagnostics)) {
        if items.len() > MAX_RULES {
            diagnostics.error("too-many-rules", items[MAX_RULES].range, format!("{} rules; {MAX_RULES} at most", items.len()));
        }
        rules = items.iter().take(MAX_RULES).filter_map(|item| rule(item, compiler, diagnostics)).collect();
    }
    Some(InputSchema { inputs, rules })
}

fn rule(node: &Node, compiler: &mut Compiler<'_>, diagnostics: &mut Diagnostics) -> Option<Rule> {
    let fields = Fields::read(node, "a rule", &["when", "require", "message"], diagnostics)?;
    let when = fields.get("when").map(|node| compiler.condition(node, diagnostics));
    let require = fields.require("require", diagnostics).map(|node| compiler.condition(node, diagnostics));
    let message = fields.require("message", diagnostics).map(|node| fields::string(node, diagnostics));
    let when = match when {
        None => None,
        Some(read) => Some(read?),
    };
    Some(Rule { when, require: require??, message: message??.to_owned() })
}

/// `additionalProperties` where all keys are named: only `false` makes sense, and it is the default.
fn closed(fields: &Fields<'_>, diagnostics: &mut Diagnostics) {
    if let Some(node) = fields.get("additionalProperties")
        && !matches!(node.value, Yaml::Bool(false))
    {
        let message = "keys are either all named by `properties` or all alike by `additionalProperties`; choose one";
        diagnostics.error("open-object", node.range, message);
    }
}

fn properties_of(
    entries: &[Entry],
    around: &Fields<'_>,
    top: bool,
    patterns: &Patterns,
    diagnostics: &mut Diagnostics,
) -> Vec<Input> {
    if entries.len() > MAX_INPUTS {
        let message = format!("{} inputs; {MAX_INPUTS} at most, so group some into an object", entries.len());
        diagnostics.error("too-many-inputs", entries[MAX_INPUTS].key_range, message);
    }
    let names = || entries.iter().map(|entry| entry.key.as_str());
    let mut required = Vec::new();
    for item in around.get("required").and_then(|node| fields::list(node, diagnostics)).unwrap_or_default() {
        let Some(name) = fields::string(item, diagnostics) else { continue };
        if !names().any(|known| known == name) {
            let message = format!("there is no input `{}`{}", shown(name), did_you_mean(name, names()));
            diagnostics.error("unknown-input", item.range, message);
        }
        required.push(name);
    }
    let mut inputs = Vec::new();
    for entry in entries.iter().take(MAX_INPUTS) {
        check_name(&entry.key, entry.key_range, diagnostics);
        inputs.extend(input(entry, required.contains(&entry.key.as_str()), top, patterns, diagnostics));
    }
    inputs
}

fn input(entry: &Entry, required: bool, top: bool, patterns: &Patterns, diagnostics: &mut Diagnostics) -> Option<Input> {
    let more: &[&str] = if top { &["immutable", "sensitive"] } else { &[] };
    let fields = Fields::open(&entry.value, "a schema", diagnostics)?;
    let immutable = top && fields.flag("immutable", diagnostics);
    let sensitive = top && fields.flag("sensitive", diagnostics);
    if sensitive && let Some(node) = fields.get("default") {
        let message = "a sensitive input cannot have a default: everybody who sees the blueprint could read it";
        diagnostics.error("sensitive-default", node.range, message);
    }
    let schema = schema(&entry.value, more, true, patterns, diagnostics)?;
    let default = fields.get("default").and_then(|node| default(node, &schema, diagnostics));
    Some(Input { name: entry.key.clone(), schema, required, default, immutable, sensitive, range: entry.key_range })
}

fn default(node: &Node, schema: &Schema, diagnostics: &mut Diagnostics) -> Option<serde_json::Value> {
    let mut violations = Vec::new();
    let value = resolve::value_of(schema, &node.to_json(), "default", &mut violations);
    for violation in violations {
        diagnostics.error("bad-default", node.range, format!("`{}` {}", violation.field, violation.description));
    }
    value
}

/// Reads a schema; `more` are keys that only inputs have.
fn schema(node: &Node, more: &[&str], with_default: bool, patterns: &Patterns, diagnostics: &mut Diagnostics) -> Option<Schema> {
    let fields = Fields::open(node, "a schema", diagnostics)?;
    let name = fields::string(fields.require("type", diagnostics)?, diagnostics)?;
    let keywords: &[&str] = match name {
        "string" => &["minLength", "maxLength", "pattern", "format"],
        "integer" | "number" => &["minimum", "maximum"],
        "boolean" => &[],
        "array" => &["items", "minItems", "maxItems"],
        "object" => &["properties", "required", "additionalProperties"],
        _ => {
            let range = fields.get("type").map_or(node.range, |node| node.range);
            let message =
                format!("there is no type `{}`{}; there are {}", shown(name), did_you_mean(name, TYPES), TYPES.join(", "));
            diagnostics.error("unknown-type", range, message);
            return None;
        }
    };
    let allowed: Vec<&str> = COMMON
        .into_iter()
        .filter(|key| with_default || *key != "default")
        .chain(more.iter().copied())
        .chain(keywords.iter().copied())
        .collect();
    Fields::read(node, "a schema of this type", &allowed, diagnostics);
    let kind = kind(name, &fields, patterns, diagnostics)?;
    let mut schema = Schema { description: description(&fields, diagnostics), kind, choices: None };
    if let Some(node) = fields.get("enum") {
        schema.choices = choices(node, &schema, diagnostics);
    }
    Some(schema)
}

fn kind(name: &str, fields: &Fields<'_>, patterns: &Patterns, diagnostics: &mut Diagnostics) -> Option<Kind> {
    Some(match name {
        "string" => {
            let (min_length, max_length) = (fields.length("minLength", diagnostics), fields.length("maxLength", diagnostics));
            ordered(min_length, max_length, "maxLength", fields, diagnostics);
            let pattern = fields.string("pattern", diagnostics).and_then(|source| {
                let regex =
                    patterns.compile(source).map_err(|message| report("bad-pattern", "pattern", message, fields, diagnostics));
                Some(Pattern { source: source.to_owned(), regex: regex.ok()? })
            });
            let format = fields.string("format", diagnostics).and_then(|name| {
                let known = Format::ALL.map(Format::as_str);
                let message = || {
                    format!("there is no format `{}`{}; there are {}", shown(name), did_you_mean(name, known), known.join(", "))
                };
                name.parse().map_err(|()| report("unknown-format", "format", message(), fields, diagnostics)).ok()
            });
            Kind::String { min_length, max_length, pattern, format }
        }
        "integer" => {
            let (minimum, maximum) = (fields.integer("minimum", diagnostics), fields.integer("maximum", diagnostics));
            ordered(minimum, maximum, "maximum", fields, diagnostics);
            Kind::Integer { minimum, maximum }
        }
        "number" => {
            let (minimum, maximum) = (fields.number("minimum", diagnostics), fields.number("maximum", diagnostics));
            ordered(minimum, maximum, "maximum", fields, diagnostics);
            Kind::Number { minimum, maximum }
        }
        "boolean" => Kind::Boolean,
        "array" => {
            let (min_items, max_items) = (fields.length("minItems", diagnostics), fields.length("maxItems", diagnostics));
            ordered(min_items, max_items, "maxItems", fields, diagnostics);
            let items = schema(fields.require("items", diagnostics)?, &[], false, patterns, diagnostics)?;
            Kind::List { items: Box::new(items), min_items, max_items }
        }
        _ => match (fields.get("properties"), fields.get("additionalProperties")) {
            (Some(node), _) => {
                closed(fields, diagnostics);
                let entries = fields::map(node, "`properties`", diagnostics)?;
                Kind::Object { properties: properties_of(entries, fields, false, patterns, diagnostics) }
            }
            (None, Some(node)) => Kind::Map { values: Box::new(schema(node, &[], false, patterns, diagnostics)?) },
            (None, None) => {
                fields.require("properties", diagnostics);
                return None;
            }
        },
    })
}

fn choices(node: &Node, schema: &Schema, diagnostics: &mut Diagnostics) -> Option<Vec<serde_json::Value>> {
    let items = fields::list(node, diagnostics)?;
    if items.is_empty() {
        diagnostics.error("bad-enum", node.range, "`enum` allows nothing; list the values that are allowed");
    }
    let mut choices = Vec::new();
    for item in items {
        let mut violations = Vec::new();
        let Some(value) = resolve::value_of(schema, &item.to_json(), "enum", &mut violations) else {
            for violation in violations {
                diagnostics.error("bad-enum", item.range, format!("this value {}", violation.description));
            }
            continue;
        };
        if choices.contains(&value) {
            diagnostics.error("bad-enum", item.range, "this value is listed twice; keep one");
        }
        choices.push(value);
    }
    Some(choices)
}

/// The description of anything.
pub(super) fn description(fields: &Fields<'_>, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = fields.string("description", diagnostics)?;
    if text.chars().count() > MAX_DESCRIPTION {
        let message = format!("the description has more than {MAX_DESCRIPTION} characters; shorten it");
        report("description-too-long", "description", message, fields, diagnostics);
    }
    Some(text.to_owned())
}

fn ordered<T: PartialOrd>(least: Option<T>, most: Option<T>, key: &str, fields: &Fields<'_>, diagnostics: &mut Diagnostics) {
    if let (Some(least), Some(most)) = (least, most)
        && least > most
    {
        report("bad-bounds", key, format!("`{key}` is below its minimum, so no value is right"), fields, diagnostics);
    }
}

fn report(code: &'static str, key: &str, message: String, fields: &Fields<'_>, diagnostics: &mut Diagnostics) {
    if let Some(node) = fields.get(key) {
        diagnostics.error(code, node.range, message);
    }
}
