//! What changed between two versions of a blueprint, and what that means to those who deployed the first.
//!
//! | Change | Impact |
//! |---|---|
//! | the engine | major |
//! | an input removed, of another type, narrower, or one that has to be given now | major |
//! | an input immutable now; no longer sensitive, so that its value is shown | major |
//! | a rule added; an output removed or sensitive now | major |
//! | an input added that may be left out, wider, of another default, no longer immutable, or sensitive now | minor |
//! | a rule removed; an output added or no longer sensitive | minor |
//! | a resource added, removed or of another type: something is made or destroyed, but nobody has to change a thing | minor |
//! | attributes, conditions, order of resources; values of outputs; files; all text for people | patch |

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    digest::content_digest,
    document::{Document, Output, Resource},
    files::DOCUMENT_PATH,
    inputs::{Input, Kind, Rule, Schema},
};

/// One difference between two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, for example `inputs.size.enum` or `resources.web.url`.
    pub path: String,
    /// What happened.
    pub kind: ChangeKind,
    /// JSON before; `None` when it was added.
    pub before: Option<String>,
    /// JSON after; `None` when it was removed.
    pub after: Option<String>,
    /// The least version step that it needs.
    pub impact: Impact,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is different.
    Changed,
}

/// The least version step that a change needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Impact {
    /// Nobody has to notice.
    Patch,
    /// Something new that nobody needs to use.
    Minor,
    /// A user may have to change something.
    Major,
}

use Impact::{Major, Minor, Patch};

/// All differences, in the order engine, description, inputs, rules, resources, outputs, files; none between equal documents.
pub fn diff(old: &Document, new: &Document) -> Vec<Change> {
    let mut diff = Diff(Vec::new());
    diff.compare("engine", Some(old.engine().into()), Some(new.engine().into()), |_| Major);
    diff.text("description", old.description(), new.description());
    diff.inputs("inputs", old.inputs().inputs(), new.inputs().inputs());
    diff.rules(old.inputs().rules(), new.inputs().rules());
    for (name, old, new) in pairs(old.resources(), new.resources(), |resource| &resource.name) {
        diff.resource(&format!("resources.{name}"), old, new);
    }
    for (name, old, new) in pairs(old.outputs(), new.outputs(), |output| &output.name) {
        diff.output(&format!("outputs.{name}"), old, new);
    }
    let paths: BTreeSet<&str> = old.files().iter().chain(new.files().iter()).map(|(path, _)| path).collect();
    for path in paths.into_iter().filter(|path| *path != DOCUMENT_PATH) {
        let digest = |document: &Document| document.files().get(path).map(|content| content_digest(content).into());
        diff.compare(&format!("files[\"{path}\"]"), digest(old), digest(new), |_| Patch);
    }
    diff.0
}

struct Diff(Vec<Change>);

impl Diff {
    /// Notes a difference, if there is one; the impact follows from what happened.
    fn compare(&mut self, path: &str, before: Option<Value>, after: Option<Value>, impact: impl Fn(ChangeKind) -> Impact) {
        let kind = match (&before, &after) {
            (None, None) => return,
            (None, Some(_)) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (Some(before), Some(after)) if before == after => return,
            (Some(_), Some(_)) => ChangeKind::Changed,
        };
        let text = |value: Option<Value>| value.map(|value| value.to_string());
        self.0.push(Change { path: path.to_owned(), kind, before: text(before), after: text(after), impact: impact(kind) });
    }

    fn text(&mut self, path: &str, before: Option<&str>, after: Option<&str>) {
        self.compare(path, before.map(Value::from), after.map(Value::from), |_| Patch);
    }

    /// A switch that is off unless it is written.
    fn flag(&mut self, path: &str, before: bool, after: bool, on: Impact, off: Impact) {
        self.compare(path, Some(before.into()), Some(after.into()), |_| if after { on } else { off });
    }

    fn inputs(&mut self, path: &str, old: &[Input], new: &[Input]) {
        for (name, old, new) in pairs(old, new, |input| &input.name) {
            let path = format!("{path}.{name}");
            match (old, new) {
                (Some(old), Some(new)) => self.input(&path, old, new),
                (old, new) => {
                    let impact = if new.is_some_and(|new| !new.must_be_given()) { Minor } else { Major };
                    self.compare(&path, old.map(Input::to_json_schema), new.map(Input::to_json_schema), |_| impact);
                }
            }
        }
    }

    fn input(&mut self, path: &str, old: &Input, new: &Input) {
        let given = if new.must_be_given() && !old.must_be_given() { Major } else { Minor };
        self.compare(&format!("{path}.required"), Some(old.required.into()), Some(new.required.into()), |_| given);
        self.compare(&format!("{path}.default"), old.default.clone(), new.default.clone(), |_| given);
        self.flag(&format!("{path}.immutable"), old.immutable, new.immutable, Major, Minor);
        self.flag(&format!("{path}.sensitive"), old.sensitive, new.sensitive, Minor, Major);
        self.schema(path, &old.schema, &new.schema);
    }

    fn schema(&mut self, path: &str, old: &Schema, new: &Schema) {
        self.text(&format!("{path}.description"), old.description.as_deref(), new.description.as_deref());
        self.kind(path, &old.kind, &new.kind);
        let (before, after) = (&old.choices, &new.choices);
        let wider = match (before, after) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(before), Some(after)) => before.iter().all(|choice| after.contains(choice)),
        };
        // The order of choices is for the eye only.
        let same = wider && before.as_ref().map(Vec::len) == after.as_ref().map(Vec::len);
        let impact = if same {
            Patch
        } else if wider {
            Minor
        } else {
            Major
        };
        let json = |choices: &Option<Vec<Value>>| choices.clone().map(Value::Array);
        self.compare(&format!("{path}.enum"), json(before), json(after), |_| impact);
    }

    fn kind(&mut self, path: &str, old: &Kind, new: &Kind) {
        let at = |keyword: &str| format!("{path}.{keyword}");
        match (old, new) {
            (
                Kind::String { min_length, max_length, pattern, format },
                Kind::String { min_length: min_now, max_length: max_now, pattern: pattern_now, format: format_now },
            ) => {
                self.least(&at("minLength"), *min_length, *min_now);
                self.most(&at("maxLength"), *max_length, *max_now);
                // Whether one pattern allows all that another does cannot be told.
                let source = |pattern: &Option<super::Pattern>| pattern.as_ref().map(|pattern| Value::from(pattern.source()));
                self.compare(&at("pattern"), source(pattern), source(pattern_now), wider_when_removed);
                let name = |format: &Option<super::Format>| format.map(|format| Value::from(format.as_str()));
                self.compare(&at("format"), name(format), name(format_now), wider_when_removed);
            }
            (Kind::Integer { minimum, maximum }, Kind::Integer { minimum: min_now, maximum: max_now }) => {
                self.least(&at("minimum"), *minimum, *min_now);
                self.most(&at("maximum"), *maximum, *max_now);
            }
            (Kind::Number { minimum, maximum }, Kind::Number { minimum: min_now, maximum: max_now }) => {
                self.least(&at("minimum"), *minimum, *min_now);
                self.most(&at("maximum"), *maximum, *max_now);
            }
            (Kind::Boolean, Kind::Boolean) => {}
            (
                Kind::List { items, min_items, max_items },
                Kind::List { items: items_now, min_items: min_now, max_items: max_now },
            ) => {
                self.least(&at("minItems"), *min_items, *min_now);
                self.most(&at("maxItems"), *max_items, *max_now);
                self.schema(&at("items"), items, items_now);
            }
            (Kind::Map { values }, Kind::Map { values: values_now }) => {
                self.schema(&at("additionalProperties"), values, values_now);
            }
            (Kind::Object { properties }, Kind::Object { properties: properties_now }) => {
                self.inputs(&at("properties"), properties, properties_now);
            }
            (old, new) => {
                let name = |kind: &Kind| match kind {
                    Kind::Map { .. } => "object with keys that are alike",
                    kind => kind.type_name(),
                };
                self.compare(&at("type"), Some(name(old).into()), Some(name(new).into()), |_| Major);
            }
        }
    }

    /// A lower bound: wider when it falls or goes.
    fn least<T: PartialOrd + Copy + Into<Value>>(&mut self, path: &str, before: Option<T>, after: Option<T>) {
        let narrower = after.is_some_and(|after| before.is_none_or(|before| after > before));
        self.compare(path, before.map(Into::into), after.map(Into::into), |_| if narrower { Major } else { Minor });
    }

    /// An upper bound: wider when it rises or goes.
    fn most<T: PartialOrd + Copy + Into<Value>>(&mut self, path: &str, before: Option<T>, after: Option<T>) {
        let narrower = after.is_some_and(|after| before.is_none_or(|before| after < before));
        self.compare(path, before.map(Into::into), after.map(Into::into), |_| if narrower { Major } else { Minor });
    }

    /// Rules are known by what they say; they have no names.
    fn rules(&mut self, old: &[Rule], new: &[Rule]) {
        let says = |rule: &Rule| {
            let require = rule.require.source();
            rule.when.as_ref().map_or_else(|| require.to_owned(), |when| format!("{} => {require}", when.source()))
        };
        let all: BTreeSet<String> = old.iter().chain(new).map(says).collect();
        for rule in all {
            let message =
                |rules: &[Rule]| rules.iter().find(|other| says(other) == rule).map(|found| Value::from(found.message.as_str()));
            self.compare(&format!("inputs.rules[\"{rule}\"]"), message(old), message(new), |kind| match kind {
                ChangeKind::Added => Major,
                ChangeKind::Removed => Minor,
                ChangeKind::Changed => Patch,
            });
        }
    }

    fn resource(&mut self, path: &str, old: Option<&Resource>, new: Option<&Resource>) {
        let (Some(old), Some(new)) = (old, new) else {
            let kind = |resource: &Resource| Value::from(resource.kind.as_str());
            return self.compare(path, old.map(kind), new.map(kind), |_| Minor);
        };
        self.compare(&format!("{path}.type"), Some(old.kind.as_str().into()), Some(new.kind.as_str().into()), |_| Minor);
        let when = |resource: &Resource| resource.when.as_ref().map(|when| Value::from(when.source()));
        self.compare(&format!("{path}.when"), when(old), when(new), |_| Patch);
        let needs =
            |resource: &Resource| (!resource.depends_on.is_empty()).then(|| resource.depends_on.iter().cloned().collect());
        self.compare(&format!("{path}.dependsOn"), needs(old), needs(new), |_| Patch);
        for (name, old, new) in pairs(&old.attributes, &new.attributes, |(name, _)| name) {
            let written =
                |attribute: Option<&(String, super::Template)>| attribute.map(|(_, template)| template.written().clone());
            self.compare(&format!("{path}.{name}"), written(old), written(new), |_| Patch);
        }
    }

    fn output(&mut self, path: &str, old: Option<&Output>, new: Option<&Output>) {
        let (Some(old), Some(new)) = (old, new) else {
            let value = |output: &Output| output.value.written().clone();
            let impact = if new.is_some() { Minor } else { Major };
            return self.compare(path, old.map(value), new.map(value), |_| impact);
        };
        self.compare(&format!("{path}.value"), Some(old.value.written().clone()), Some(new.value.written().clone()), |_| Patch);
        self.text(&format!("{path}.description"), old.description.as_deref(), new.description.as_deref());
        self.flag(&format!("{path}.sensitive"), old.sensitive, new.sensitive, Major, Minor);
    }
}

fn wider_when_removed(kind: ChangeKind) -> Impact {
    if kind == ChangeKind::Removed { Minor } else { Major }
}

/// What has the same name in both, in the order of the old and then of the new.
fn pairs<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&'a T) -> &'a String,
) -> Vec<(&'a String, Option<&'a T>, Option<&'a T>)> {
    let find = |list: &'a [T], wanted: &String| list.iter().find(|one| name(one) == wanted);
    let kept = old.iter().map(|one| (name(one), Some(one), find(new, name(one))));
    let added = new.iter().filter(|one| find(old, name(one)).is_none()).map(|one| (name(one), None, Some(one)));
    kept.chain(added).collect()
}
