//! Reads the keys of a map, and reports those that are missing, unknown or of the wrong type.

use super::{
    diagnostic::{Diagnostics, Range, did_you_mean},
    yaml::{Entry, Node, Yaml},
};
use crate::names::shown;

/// A map whose keys are fixed.
pub(super) struct Fields<'n> {
    entries: &'n [Entry],
    range: Range,
    what: &'static str,
}

impl<'n> Fields<'n> {
    /// Reads a map; `what` names it with an article. Keys that are not `allowed` are reported.
    pub(super) fn read(node: &'n Node, what: &'static str, allowed: &[&str], diagnostics: &mut Diagnostics) -> Option<Self> {
        let fields = Self::open(node, what, diagnostics)?;
        for entry in fields.entries.iter().filter(|entry| !allowed.contains(&entry.key.as_str())) {
            let hint = did_you_mean(&entry.key, allowed.iter().copied());
            let message = format!("{what} has no `{}`{hint}; it has {}", shown(&entry.key), allowed.join(", "));
            diagnostics.error("unknown-key", entry.key_range, message);
        }
        Some(fields)
    }

    /// Reads a map whose other keys are somebody else's affair.
    pub(super) fn open(node: &'n Node, what: &'static str, diagnostics: &mut Diagnostics) -> Option<Self> {
        let entries = map(node, what, diagnostics)?;
        Some(Self { entries, range: node.range, what })
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The value of a key that must be there.
    pub(super) fn require(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<&'n Node> {
        let found = self.get(key);
        if found.is_none() {
            let at = Range { start: self.range.start, end: self.range.start };
            diagnostics.error("missing-key", at, format!("{} needs the key `{key}`", self.what));
        }
        found
    }

    /// The text of a key.
    pub(super) fn string(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<&'n str> {
        string(self.get(key)?, diagnostics)
    }

    /// The truth of a key; false when it is missing.
    pub(super) fn flag(&self, key: &str, diagnostics: &mut Diagnostics) -> bool {
        match self.get(key) {
            None => false,
            Some(Node { value: Yaml::Bool(value), .. }) => *value,
            Some(node) => wrong_type(node, "true or false", diagnostics).unwrap_or(false),
        }
    }

    /// The whole number of a key.
    pub(super) fn integer(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<i64> {
        match self.get(key)? {
            Node { value: Yaml::Int(value), .. } => Some(*value),
            node => wrong_type(node, "a whole number", diagnostics),
        }
    }

    /// The length of a key: a whole number from 0.
    pub(super) fn length(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<i64> {
        let length = self.integer(key, diagnostics)?;
        if length < 0 {
            let range = self.get(key).map_or(self.range, |node| node.range);
            diagnostics.error("bad-bounds", range, format!("`{key}` counts from 0"));
            return None;
        }
        Some(length)
    }

    /// The number of a key.
    pub(super) fn number(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<f64> {
        match self.get(key)? {
            Node { value: Yaml::Int(value), .. } => Some(*value as f64),
            Node { value: Yaml::Float(value), .. } => Some(*value),
            node => wrong_type(node, "a number", diagnostics),
        }
    }
}

/// The entries of a map.
pub(super) fn map<'n>(node: &'n Node, what: &str, diagnostics: &mut Diagnostics) -> Option<&'n [Entry]> {
    match &node.value {
        Yaml::Map(entries) => Some(entries),
        _ => wrong_type(node, &format!("{what} is a map, which"), diagnostics),
    }
}

/// The items of a list.
pub(super) fn list<'n>(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<&'n [Node]> {
    match &node.value {
        Yaml::List(items) => Some(items),
        _ => wrong_type(node, "a list", diagnostics),
    }
}

/// The text of a string.
pub(super) fn string<'n>(node: &'n Node, diagnostics: &mut Diagnostics) -> Option<&'n str> {
    match &node.value {
        Yaml::String(text) => Some(text),
        _ => wrong_type(node, "a string", diagnostics),
    }
}

fn wrong_type<T>(node: &Node, wanted: &str, diagnostics: &mut Diagnostics) -> Option<T> {
    let hint = if wanted == "a string" && matches!(node.value, Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_)) {
        "; quote it if it is text"
    } else {
        ""
    };
    diagnostics.error("wrong-type", node.range, format!("{wanted} is needed here, and this is {}{hint}", node.kind()));
    None
}
