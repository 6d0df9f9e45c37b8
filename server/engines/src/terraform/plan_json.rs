//! A plan as `show -json` prints it, made into a summary for people.
//!
//! The form is described at <https://developer.hashicorp.com/terraform/internals/json-format>; OpenTofu has the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::reversibility;
use crate::{Action, AttributeChange, Mode, OutputChange, PlanSummary, Redactor, ResourceChange, Summary};

/// What stands for a value that is secret.
const SECRET: &str = "(sensitive)";
/// What stands for a value that is known only after the apply.
const UNKNOWN: &str = "(known after apply)";

/// What is read of a plan.
#[derive(Deserialize)]
pub(super) struct PlanJson {
    #[serde(default)]
    resource_changes: Vec<Resource>,
    #[serde(default)]
    resource_drift: Vec<Resource>,
    #[serde(default)]
    output_changes: BTreeMap<String, Change>,
}

#[derive(Deserialize)]
struct Resource {
    address: String,
    #[serde(default)]
    previous_address: Option<String>,
    #[serde(default)]
    mode: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    deposed: Option<String>,
    #[serde(default)]
    action_reason: Option<String>,
    change: Change,
}

#[derive(Deserialize)]
struct Change {
    actions: Vec<String>,
    #[serde(default)]
    before: Value,
    #[serde(default)]
    after: Value,
    #[serde(default)]
    after_unknown: Value,
    #[serde(default)]
    before_sensitive: Value,
    #[serde(default)]
    after_sensitive: Value,
    #[serde(default)]
    replace_paths: Vec<Vec<Value>>,
    #[serde(default)]
    importing: Option<Value>,
}

impl PlanJson {
    /// The plan for people. Values that are marked as secret are left out, and what the redactor knows is replaced wherever else it
    /// stands.
    pub fn summary(&self, base_serial: u64, mode: Mode, redactor: &Redactor) -> Summary {
        let drift: Vec<&Resource> = self.resource_drift.iter().filter(|resource| resource.change.differs()).collect();
        let drifted: BTreeSet<&str> = drift.iter().map(|resource| resource.address.as_str()).collect();
        let shown = if mode == Mode::Drift { drift } else { self.resource_changes.iter().collect() };
        let managed = shown.into_iter().filter(|resource| resource.mode == "managed");
        let mut changes: Vec<ResourceChange> =
            managed.map(|resource| resource.shown(drifted.contains(resource.address.as_str()), mode, redactor)).collect();
        changes.sort_by(|a, b| a.address.cmp(&b.address));
        let mut counts = PlanSummary::default();
        for change in &changes {
            *match change.action {
                Action::Create => &mut counts.create,
                Action::Update => &mut counts.update,
                Action::Replace => &mut counts.replace,
                Action::Delete => &mut counts.delete,
                Action::Noop => &mut counts.unchanged,
            } += 1;
            counts.drifted += usize::from(change.drifted);
            counts.count(change.action, change.reversibility);
        }
        let outputs = if mode == Mode::Drift { Vec::new() } else { self.outputs(redactor) };
        Summary { base_serial, changes, counts, outputs }
    }

    /// Teaches the redactor every value that the plan marks as secret.
    pub fn learn_secrets(&self, redactor: &mut Redactor) {
        let resources = self.resource_changes.iter().chain(&self.resource_drift).map(|resource| &resource.change);
        for change in resources.chain(self.output_changes.values()) {
            learn(&change.before, &change.before_sensitive, redactor);
            learn(&change.after, &change.after_sensitive, redactor);
        }
    }

    fn outputs(&self, redactor: &Redactor) -> Vec<OutputChange> {
        let shown = |(name, change): (&String, &Change)| {
            let sensitive = change.before_sensitive == true || change.after_sensitive == true;
            let text = |value: &Value| if sensitive || value.is_null() { String::new() } else { redacted(value, redactor) };
            OutputChange {
                name: name.clone(),
                before: text(&change.before),
                after: text(&change.after),
                unknown_after: change.after_unknown == true,
                sensitive,
                action: change.action(),
            }
        };
        self.output_changes.iter().map(shown).collect()
    }
}

impl Change {
    /// Whether it is more than a turn from nothing to something empty. Many providers write one and read the other, where nobody
    /// has changed anything.
    fn differs(&self) -> bool {
        bare(&self.before) != bare(&self.after)
    }

    fn action(&self) -> Action {
        let actions: Vec<&str> = self.actions.iter().map(String::as_str).collect();
        match actions.as_slice() {
            ["create"] => Action::Create,
            ["delete"] => Action::Delete,
            ["delete", "create"] | ["create", "delete"] => Action::Replace,
            ["no-op" | "read"] => Action::Noop,
            // `update`, `forget`, and whatever a later version invents: something will be done.
            _ => Action::Update,
        }
    }
}

impl Resource {
    fn shown(&self, drifted: bool, mode: Mode, redactor: &Redactor) -> ResourceChange {
        let moved = self.previous_address.as_ref().filter(|previous| **previous != self.address);
        let mut action = self.change.action();
        let mut reasons = Vec::new();
        if let Some(previous) = moved {
            reasons.push(format!("it was {previous} before"));
        }
        if self.change.importing.is_some() {
            reasons.push("it is imported: it exists, and is managed from now on".to_owned());
        }
        if self.change.actions == ["forget"] {
            reasons.push("it is forgotten: it goes on existing, and is not managed any more".to_owned());
        }
        // These change the state even where they change nothing real.
        if action == Action::Noop && !reasons.is_empty() {
            action = Action::Update;
        }
        reasons.extend(self.action_reason.as_deref().map(told));
        if mode == Mode::Drift {
            reasons.push(if action == Action::Delete { "it was removed outside" } else { "it was changed outside" }.to_owned());
        }
        let deposed = self.deposed.as_ref().map(|key| format!(" (deposed {key})")).unwrap_or_default();
        ResourceChange {
            address: format!("{}{deposed}", self.address),
            kind: self.kind.clone(),
            action,
            attributes: if action == Action::Noop { Vec::new() } else { self.attributes(mode, redactor) },
            depends_on: Vec::new(),
            reason: reasons.join("; "),
            drifted,
            reversibility: reversibility::of(&self.kind, action),
        }
    }

    fn attributes(&self, mode: Mode, redactor: &Redactor) -> Vec<AttributeChange> {
        let Change { before, after, after_unknown, before_sensitive, after_sensitive, replace_paths, .. } = &self.change;
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for value in [before, after, after_unknown] {
            names.extend(value.as_object().into_iter().flat_map(Map::keys).map(String::as_str));
        }
        let replacing = |name: &str| replace_paths.iter().any(|path| path.first().is_some_and(|first| first == name));
        let change = |name: &str| {
            let (old, new) = (part(before, name), part(after, name));
            let unknown = part(after_unknown, name);
            let pending = holds_true(unknown);
            let same = old == new || (mode == Mode::Drift && bare(old) == bare(new));
            if same && !pending {
                return None;
            }
            let (old_secret, new_secret) = (part(before_sensitive, name), part(after_sensitive, name));
            let sensitive = *old_secret == true || *new_secret == true;
            let text = |value: &Value, secret: &Value, unknown: &Value| {
                let masked = masked(value, secret, unknown);
                if sensitive || masked.is_null() { String::new() } else { redacted(&masked, redactor) }
            };
            Some(AttributeChange {
                path: name.to_owned(),
                before: text(old, old_secret, &Value::Null),
                after: if *unknown == true { String::new() } else { text(new, new_secret, unknown) },
                unknown_after: *unknown == true,
                sensitive,
                forces_replacement: replacing(name),
            })
        };
        names.into_iter().filter_map(change).collect()
    }
}

/// The value without what is empty.
fn bare(value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) => items.iter().map(bare).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.clone(), bare(field)));
            let fields: Map<String, Value> = fields.filter(|(_, field)| !field.is_null()).collect();
            if fields.is_empty() { Value::Null } else { Value::Object(fields) }
        }
        other => other.clone(),
    }
}

fn part<'v>(value: &'v Value, name: &str) -> &'v Value {
    // Marks of a whole value are `true` instead of a map.
    if *value == true { value } else { value.get(name).unwrap_or(&Value::Null) }
}

fn holds_true(value: &Value) -> bool {
    match value {
        Value::Bool(known) => *known,
        Value::Array(items) => items.iter().any(holds_true),
        Value::Object(fields) => fields.values().any(holds_true),
        _ => false,
    }
}

/// The value with words in place of what is secret or not known yet.
fn masked(value: &Value, secret: &Value, unknown: &Value) -> Value {
    if *secret == true {
        return Value::from(SECRET);
    }
    if *unknown == true {
        return Value::from(UNKNOWN);
    }
    let at = |marks: &Value, index: usize| marks.get(index).cloned().unwrap_or_default();
    match value {
        Value::Array(items) => items.iter().enumerate().map(|(i, item)| masked(item, &at(secret, i), &at(unknown, i))).collect(),
        Value::Object(fields) => {
            let mut shown = Map::new();
            // What is not known yet is missing in the value.
            let coming = unknown.as_object().into_iter().flat_map(Map::keys).filter(|name| !fields.contains_key(*name));
            for name in fields.keys().chain(coming) {
                let unknown = unknown.get(name).unwrap_or(&Value::Null);
                if fields.contains_key(name) || holds_true(unknown) {
                    let field = fields.get(name).unwrap_or(&Value::Null);
                    shown.insert(name.clone(), masked(field, secret.get(name).unwrap_or(&Value::Null), unknown));
                }
            }
            Value::Object(shown)
        }
        other => other.clone(),
    }
}

fn redacted(value: &Value, redactor: &Redactor) -> String {
    redactor.redact(&value.to_string())
}

fn learn(value: &Value, secret: &Value, redactor: &mut Redactor) {
    match (value, secret) {
        (_, Value::Bool(true)) => redactor.learn(value),
        (Value::Array(items), Value::Array(marks)) => items.iter().zip(marks).for_each(|(v, s)| learn(v, s, redactor)),
        (Value::Object(fields), Value::Object(marks)) => {
            marks.iter().filter_map(|(name, mark)| Some((fields.get(name)?, mark))).for_each(|(v, s)| learn(v, s, redactor));
        }
        _ => {}
    }
}

/// Why, in words; a reason of a later version is told as it is.
fn told(reason: &str) -> String {
    match reason {
        "replace_because_tainted" => "its creation failed half-way",
        "replace_because_cannot_update" => "it cannot be changed in place",
        "replace_by_request" => "its replacement was asked for",
        "replace_by_triggers" => "something that triggers its replacement changed",
        "delete_because_no_resource_config" => "it is not in the module any more",
        "delete_because_no_module" => "its module is not called any more",
        "delete_because_wrong_repetition" => "`count` or `for_each` came or went",
        "delete_because_count_index" => "`count` is lower now",
        "delete_because_each_key" => "its key is not in `for_each` any more",
        "delete_because_no_move_target" => "it was moved to a place that is not in the module",
        other => other,
    }
    .replace('_', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(value: Value) -> PlanJson {
        serde_json::from_value(value).expect("a plan")
    }

    #[test]
    fn each_change_is_told_and_secrets_are_not() {
        let plan = plan(json!({
            "resource_changes": [
                { "address": "x.new", "mode": "managed", "type": "x", "change": { "actions": ["create"], "before": null,
                  "after": { "size": 3, "key": "topsecret", "deep": { "a": "innersecret", "b": 1 }, "echo": "say echoed" },
                  "after_unknown": { "id": true, "deep": { "c": true } }, "before_sensitive": false,
                  "after_sensitive": { "key": true, "deep": { "a": true } } } },
                { "address": "x.old", "mode": "managed", "type": "x", "action_reason": "replace_because_cannot_update",
                  "change": { "actions": ["delete", "create"], "before": { "zone": "a", "same": 1 }, "after": { "zone": "b", "same": 1 },
                  "after_unknown": {}, "before_sensitive": {}, "after_sensitive": {}, "replace_paths": [["zone"]] } },
                { "address": "x.moved", "previous_address": "x.before", "mode": "managed", "type": "x",
                  "change": { "actions": ["no-op"], "before": {}, "after": {} } },
                { "address": "x.same", "mode": "managed", "type": "x", "change": { "actions": ["no-op"], "before": {}, "after": {} } },
                { "address": "data.x.read", "mode": "data", "type": "x", "change": { "actions": ["read"] } },
            ],
            "resource_drift": [
                { "address": "x.old", "mode": "managed", "type": "x", "change": { "actions": ["update"], "before": { "t": 1, "d": null }, "after": { "t": 2, "d": "" } } },
                { "address": "x.same", "mode": "managed", "type": "x", "change": { "actions": ["update"],
                  "before": { "rules": [{ "note": null, "port": 1 }], "list": [] }, "after": { "rules": [{ "note": "", "port": 1 }], "list": null } } },
            ],
            "output_changes": {
                "url": { "actions": ["create"], "before": null, "after_unknown": true, "before_sensitive": false, "after_sensitive": false },
                "password": { "actions": ["update"], "before": "oldsecret", "after": "newsecret", "before_sensitive": true, "after_sensitive": true },
            },
        }));
        let mut redactor = Redactor::default();
        redactor.learn_text("echoed");
        plan.learn_secrets(&mut redactor);
        let summary = plan.summary(4, Mode::Apply, &redactor);

        let PlanSummary { create, update, replace, delete, unchanged, drifted, .. } = summary.counts;
        assert_eq!((create, update, replace, delete, unchanged, drifted), (1, 1, 1, 0, 1, 1));
        let change = |address: &str| summary.changes.iter().find(|change| change.address == address).expect("it is there");
        assert_eq!(change("x.moved").reason, "it was x.before before");
        assert_eq!(change("x.old").reason, "it cannot be changed in place");
        let paths: Vec<_> = change("x.old").attributes.iter().map(|a| (a.path.as_str(), a.forces_replacement)).collect();
        assert_eq!(paths, [("zone", true)]);
        let new = |path: &str| change("x.new").attributes.iter().find(|a| a.path == path).expect("it is there");
        assert!(new("id").unknown_after && new("id").after.is_empty());
        assert!(new("key").sensitive && new("key").after.is_empty());
        assert_eq!(new("deep").after, r#"{"a":"(sensitive)","b":1,"c":"(known after apply)"}"#);
        assert_eq!(new("echo").after, r#""say (hidden)""#);
        assert_eq!(summary.outputs[0].action, Action::Update);
        let all = format!("{summary:?}");
        for secret in ["topsecret", "innersecret", "oldsecret", "newsecret"] {
            assert!(!all.contains(secret), "{secret} in {all}");
            assert_eq!(redactor.redact(secret), "(hidden)");
        }

        let drift = plan.summary(4, Mode::Drift, &redactor);
        assert_eq!((drift.changes.len(), drift.counts.drifted, drift.outputs.len()), (1, 1, 0), "empty is like nothing");
        assert_eq!(drift.changes[0].attributes.len(), 1);
        assert_eq!(
            (drift.changes[0].reason.as_str(), drift.changes[0].attributes[0].after.as_str()),
            ("it was changed outside", "2")
        );
    }
}
