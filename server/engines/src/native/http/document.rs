//! How the attributes of an `http` resource are read.

use std::collections::BTreeMap;

use freehold_domain::redact::percent_encoded;
use serde_json::{Map, Value};

use super::super::{provider::optional, schema::Problem};
use crate::native::Attributes;

/// The request of this name, if it is given.
pub(super) fn call<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a Map<String, Value>> {
    attributes.get(name).and_then(Value::as_object)
}

/// A text of a request; empty when absent.
pub(super) fn field<'a>(call: &'a Map<String, Value>, name: &str) -> &'a str {
    call.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The method of a request.
pub(super) fn method<'a>(name: &str, call: &'a Map<String, Value>) -> &'a str {
    let usual = match name {
        "create" => "POST",
        "update" => "PUT",
        "delete" => "DELETE",
        _ => "GET",
    };
    match field(call, "method") {
        "" => usual,
        given => given,
    }
}

/// Statuses that say that a request did what it should.
pub(super) fn expected(name: &str, call: &Map<String, Value>) -> Vec<i64> {
    match call.get("statuses").and_then(Value::as_array) {
        Some(given) => given.iter().filter_map(Value::as_i64).collect(),
        None if matches!(name, "read" | "lookup") => vec![200],
        None => vec![200, 201, 202, 204],
    }
}

/// The body of a request. An update without one sends that of `create`.
pub(super) fn body<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a Value> {
    let given = call(attributes, name).and_then(|call| call.get("body"));
    match (given, name) {
        (None, "update") => body(attributes, "create"),
        _ => given,
    }
}

/// Headers of all requests and of this one, which win.
pub(super) fn headers<'a>(attributes: &'a Attributes, call: &'a Map<String, Value>) -> Vec<(&'a str, &'a str)> {
    let mut merged = BTreeMap::new();
    for source in [attributes.get("headers"), call.get("headers")] {
        for (name, value) in source.and_then(Value::as_object).into_iter().flatten() {
            merged.insert(name.to_lowercase(), (name.as_str(), value.as_str().unwrap_or_default()));
        }
    }
    merged.into_values().collect()
}

/// What the resource should look like: the body that was sent last.
pub(super) fn wanted(attributes: &Attributes) -> Value {
    let name = if call(attributes, "update").is_some() { "update" } else { "create" };
    body(attributes, name).cloned().unwrap_or_default()
}

/// What `seen` says about the fields of `wanted`; null when they cannot be compared. Fields that a service does not show, such
/// as passwords, are left out.
pub(super) fn subset(wanted: &Value, seen: &Value) -> Value {
    match (wanted, seen) {
        (Value::Object(wanted), Value::Object(seen)) => wanted
            .iter()
            .filter_map(|(name, value)| {
                let seen = seen.get(name)?;
                let part = if value.is_object() { subset(value, seen) } else { seen.clone() };
                Some((name.clone(), part))
            })
            .collect::<Map<_, _>>()
            .into(),
        _ => Value::Null,
    }
}

/// Whether what is seen has every field that was sent, with the value that was sent.
pub(super) fn fulfils(sent: Option<&Value>, seen: &Value) -> bool {
    match (sent, seen) {
        (Some(Value::Object(sent)), Value::Object(seen)) => {
            !sent.is_empty()
                && sent
                    .iter()
                    .all(|(name, value)| seen.get(name).is_some_and(|found| found == value || fulfils(Some(value), found)))
        }
        _ => false,
    }
}

/// An id as text; ids are texts or whole numbers.
pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    }
}

/// A URL with `{id}` filled in; whatever is in the id stays inside its path segment.
pub(super) fn with_id(url: &str, id: &str) -> String {
    // URL parsers take a lone `.` or `..` for a step up, even when it is encoded.
    let encoded = if matches!(id, "." | "..") { String::new() } else { percent_encoded(id, false) };
    url.replace("{id}", &encoded)
}

/// Whether any later request cannot do without the id.
pub(super) fn needs_id(attributes: &Attributes) -> bool {
    ["read", "update", "delete"].iter().any(|name| call(attributes, name).is_some_and(|call| field(call, "url").contains("{id}")))
}

/// Rules between attributes.
pub(super) fn rules(known: &Attributes) -> Vec<Problem> {
    let mut problems = Vec::new();
    for name in ["create", "read", "update", "delete", "lookup"] {
        let Some(url) = call(known, name).map(|call| field(call, "url")).filter(|url| !url.is_empty()) else { continue };
        let path = format!("{name}.url");
        match reqwest::Url::parse(url) {
            Ok(parsed) if !matches!(parsed.scheme(), "http" | "https") => {
                problems.push(Problem::rule(&path, "must begin with https:// or http://"));
            }
            Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
                problems.push(Problem::rule(&path, "must not hold credentials; give them in `headers`"));
            }
            Ok(_) => {}
            Err(error) => problems.push(Problem::rule(&path, format!("is not a URL: {error}"))),
        }
        if url.contains("{id}") && matches!(name, "create" | "lookup") {
            problems.push(Problem::rule(&path, "cannot hold {id}: it is not known yet"));
        }
    }
    if let Some(pointer) = optional(known, "id_pointer")
        && !pointer.starts_with('/')
    {
        problems.push(Problem::rule("id_pointer", "must be a JSON pointer such as /id (RFC 6901)"));
    }
    if call(known, "lookup").is_some_and(|call| !field(call, "pointer").starts_with('/')) {
        problems.push(Problem::rule("lookup.pointer", "must be a JSON pointer such as /items/0/id (RFC 6901)"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_cannot_leave_its_path_segment() {
        assert_eq!(with_id("https://h/things/{id}/x", "a/../b?c#d"), "https://h/things/a%2F..%2Fb%3Fc%23d/x");
        assert_eq!(with_id("https://h/things/{id}/x", ".."), "https://h/things//x");
    }

    #[test]
    fn only_fields_that_were_sent_and_are_shown_are_compared() {
        let wanted = json!({ "name": "a", "secret": "s", "size": { "cpu": 1, "ram": 2 } });
        let seen = json!({ "id": 7, "name": "b", "size": { "cpu": 1, "ram": 4, "gpu": 0 } });

        assert_eq!(subset(&wanted, &seen), json!({ "name": "b", "size": { "cpu": 1, "ram": 4 } }));
        assert!(!fulfils(Some(&wanted), &seen));
        assert!(fulfils(Some(&json!({ "size": { "cpu": 1 } })), &seen));
        assert!(!fulfils(Some(&json!({})), &seen), "an empty body shows nothing");
    }
}
