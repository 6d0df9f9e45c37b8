//! Checks the inputs that were given against the schema, and fills in what was left out.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::{
    diagnostic::did_you_mean,
    evaluate::{DeploymentFacts, Scope},
    files::Files,
    inputs::{Input, InputSchema, Kind, Rule, Schema},
};
use crate::{
    Violation,
    names::shown,
    secrets::{KEY as SECRET, SecretRef, is_reserved},
};

/// The most bytes of all inputs together, as JSON.
pub const MAX_INPUTS_BYTES: usize = 256 << 10;

/// Integers up to here survive a journey as a double.
const MAX_SAFE: f64 = 9_007_199_254_740_992.0;

impl InputSchema {
    /// The complete inputs: those given, in the order of the schema, and defaults for the rest.
    ///
    /// `previous` are the complete inputs of the deployment as it is: an immutable input that is left out keeps its value, and
    /// one that is given must not differ. `null` counts as left out. Numbers such as `3.0` count as integers, since JSON that
    /// went through `google.protobuf.Struct` has no others, and values of the type `number` are always given as doubles, so that
    /// expressions find the same type every time. Resolving a result again gives the same.
    ///
    /// A sensitive input may name a secret instead of holding it ([`SecretRef`]). What follows from its value, rules between inputs
    /// among it, is checked by [`with_secrets`](Self::with_secrets).
    ///
    /// # Errors
    /// Everything that is wrong, with fields such as `inputs.size` or `inputs.tags["team"]`. Values are never repeated.
    pub fn resolve(
        &self,
        given: &Map<String, Value>,
        previous: Option<&Map<String, Value>>,
    ) -> Result<Map<String, Value>, Vec<Violation>> {
        let mut violations = Vec::new();
        let bytes = serde_json::to_string(given).map_or(usize::MAX, |json| json.len());
        if bytes > MAX_INPUTS_BYTES {
            let why = format!("{bytes} bytes as JSON; {MAX_INPUTS_BYTES} at most");
            return Err(vec![Violation::new("inputs", why)]);
        }
        let mut given = given.clone();
        let before = |input: &Input| previous.filter(|_| input.immutable).and_then(|previous| previous.get(&input.name));
        for input in &self.inputs {
            if let Some(before) = before(input)
                && given.get(&input.name).is_none_or(Value::is_null)
            {
                given.insert(input.name.clone(), before.clone());
            }
        }
        let resolved = properties(&self.inputs, &given, "inputs", &mut violations);
        for input in &self.inputs {
            let (Some(now), Some(before)) = (resolved.get(&input.name), before(input)) else { continue };
            if now != before {
                let why = "cannot change once the deployment exists; make a new deployment for another value";
                violations.push(Violation::new(format!("inputs.{}", input.name), why));
            }
        }
        if violations.is_empty() {
            let decided = self.rules.iter().filter(|rule| !rule.reads(|name| resolved.get(name).is_some_and(is_reserved)));
            let broken = decided.filter_map(|rule| rule.broken(&resolved));
            violations.extend(broken.map(|why| Violation::new("inputs", why)));
        }
        if violations.is_empty() { Ok(resolved) } else { Err(violations) }
    }

    /// Complete inputs with the secrets that they name, which `inputs` does not have. Text for an input of another type than `string`
    /// is read as JSON, since most stores keep nothing but text.
    ///
    /// # Errors
    /// Everything that is wrong with the secrets, and the rules that they break. Values are never repeated.
    pub fn with_secrets(
        &self,
        mut inputs: Map<String, Value>,
        secrets: BTreeMap<String, Value>,
    ) -> Result<Map<String, Value>, Vec<Violation>> {
        let mut violations = Vec::new();
        let names: Vec<String> = secrets.keys().cloned().collect();
        for (name, value) in secrets {
            let field = format!("inputs.{name}");
            let Some(input) = self.get(&name).filter(|input| input.sensitive) else {
                violations.push(Violation::new(field, "is not an input that the blueprint calls sensitive"));
                continue;
            };
            let is_text = matches!(input.schema.kind, Kind::String { .. });
            let read = match &value {
                Value::String(text) if !is_text => serde_json::from_str(text).ok(),
                _ => None,
            };
            if let Some(value) = value_of(&input.schema, read.as_ref().unwrap_or(&value), &field, &mut violations) {
                inputs.insert(name, value);
            }
        }
        if violations.is_empty() {
            let bytes = serde_json::to_string(&inputs).map_or(usize::MAX, |json| json.len());
            if bytes > MAX_INPUTS_BYTES {
                let why = format!("with the secrets they have {bytes} bytes as JSON; {MAX_INPUTS_BYTES} at most");
                violations.push(Violation::new("inputs", why));
            }
            let undecided = self.rules.iter().filter(|rule| rule.reads(|name| names.iter().any(|known| known == name)));
            violations.extend(undecided.filter_map(|rule| rule.broken(&inputs)).map(|why| Violation::new("inputs", why)));
        }
        if violations.is_empty() { Ok(inputs) } else { Err(violations) }
    }
}

impl Rule {
    /// Whether it reads an input of which this holds.
    fn reads(&self, is_meant: impl Fn(&str) -> bool) -> bool {
        self.when.iter().chain([&self.require]).any(|expression| expression.uses().inputs.iter().any(|name| is_meant(name)))
    }

    /// What is wrong when the rule does not hold.
    fn broken(&self, inputs: &Map<String, Value>) -> Option<String> {
        let (resources, deployment, files) = (BTreeMap::new(), DeploymentFacts::default(), Files::default());
        let scope = Scope { inputs, resources: &resources, deployment: &deployment, files: &files };
        let undecided = |why: &dyn std::fmt::Display| format!("{} (the rule could not be decided: {why})", self.message);
        for (expression, is_condition) in self.when.iter().map(|when| (when, true)).chain([(&self.require, false)]) {
            match expression.evaluate(&scope) {
                Ok(Value::Bool(false)) if is_condition => return None,
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Some(self.message.clone()),
                Ok(_) => return Some(undecided(&format!("`{}` is neither true nor false", expression.source()))),
                Err(error) => return Some(undecided(&error)),
            }
        }
        None
    }
}

/// Checks an object whose keys are all named.
fn properties(known: &[Input], given: &Map<String, Value>, path: &str, violations: &mut Vec<Violation>) -> Map<String, Value> {
    for name in given.keys().filter(|name| !known.iter().any(|input| input.name == **name)) {
        let hint = did_you_mean(name, known.iter().map(|input| input.name.as_str()));
        violations.push(Violation::new(format!("{path}.{}", shown(name)), format!("is not known{hint}")));
    }
    let mut resolved = Map::new();
    for input in known {
        let field = format!("{path}.{}", input.name);
        match given.get(&input.name).filter(|value| !value.is_null()) {
            Some(value) if input.sensitive && is_reserved(value) => match SecretRef::read(value) {
                Ok(reference) => {
                    resolved.insert(input.name.clone(), reference.to_value());
                }
                Err(wrong) => violations.extend(wrong.into_iter().map(|why| Violation::new(&field, why))),
            },
            Some(value) => {
                if let Some(value) = value_of(&input.schema, value, &field, violations) {
                    resolved.insert(input.name.clone(), value);
                }
            }
            None => match &input.default {
                Some(default) => {
                    resolved.insert(input.name.clone(), default.clone());
                }
                None if input.required => violations.push(Violation::new(field, "is required")),
                None => {}
            },
        }
    }
    resolved
}

/// Checks one value and gives it in its normal form; `None` when it is wrong.
pub(super) fn value_of(schema: &Schema, value: &Value, path: &str, violations: &mut Vec<Violation>) -> Option<Value> {
    let before = violations.len();
    if is_reserved(value) {
        let why = format!(
            "the key `{SECRET}` is reserved: it names the secret of a whole input that the blueprint calls sensitive, and of nothing else"
        );
        violations.push(Violation::new(path, why));
        return None;
    }
    let normal = typed(&schema.kind, value, path, violations)?;
    if let Some(choices) = &schema.choices
        && !choices.contains(&normal)
    {
        let known: Vec<String> =
            choices.iter().map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)).collect();
        violations.push(Violation::new(path, format!("must be one of {}", known.join(", "))));
    }
    (violations.len() == before).then_some(normal)
}

fn typed(kind: &Kind, value: &Value, path: &str, violations: &mut Vec<Violation>) -> Option<Value> {
    let mut wrong = |why: String| violations.push(Violation::new(path, why));
    match (kind, value) {
        (Kind::String { min_length, max_length, pattern, format }, Value::String(text)) => {
            let characters = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
            bounds(characters, *min_length, *max_length, "characters").into_iter().for_each(&mut wrong);
            if let Some(pattern) = pattern.as_ref().filter(|pattern| !pattern.regex.is_match(text)) {
                wrong(format!("must match the pattern {}", pattern.source));
            }
            if let Some(Err(why)) = format.map(|format| format.check(text)) {
                wrong(why);
            }
            Some(value.clone())
        }
        (Kind::Integer { minimum, maximum }, Value::Number(number)) => {
            let Some(integer) = integer(number) else {
                wrong("must be a whole number of 64 bits".to_owned());
                return None;
            };
            range(integer, *minimum, *maximum).into_iter().for_each(wrong);
            Some(Value::from(integer))
        }
        (Kind::Number { minimum, maximum }, Value::Number(number)) => {
            let number = number.as_f64()?;
            range(number, *minimum, *maximum).into_iter().for_each(wrong);
            Some(Value::from(number))
        }
        (Kind::Boolean, Value::Bool(_)) => Some(value.clone()),
        (Kind::List { items, min_items, max_items }, Value::Array(list)) => {
            let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
            bounds(length, *min_items, *max_items, "items").into_iter().for_each(wrong);
            let each = list.iter().enumerate();
            let checked: Vec<_> =
                each.map(|(index, item)| value_of(items, item, &format!("{path}[{index}]"), violations)).collect();
            checked.into_iter().collect::<Option<_>>().map(Value::Array)
        }
        (Kind::Map { values }, Value::Object(entries)) => {
            let each = entries.iter();
            let checked: Vec<_> = each
                .map(|(key, value)| {
                    let path = format!("{path}[\"{}\"]", shown(key));
                    value_of(values, value, &path, violations).map(|value| (key.clone(), value))
                })
                .collect();
            checked.into_iter().collect::<Option<_>>().map(Value::Object)
        }
        (Kind::Object { properties: known }, Value::Object(entries)) => {
            Some(Value::Object(properties(known, entries, path, violations)))
        }
        _ => {
            let wanted = match kind {
                Kind::String { .. } => "a string",
                Kind::Integer { .. } => "a whole number",
                Kind::Number { .. } => "a number",
                Kind::Boolean => "true or false",
                Kind::List { .. } => "a list",
                Kind::Map { .. } | Kind::Object { .. } => "an object",
            };
            wrong(format!("must be {wanted}"));
            None
        }
    }
}

fn integer(number: &Number) -> Option<i64> {
    let whole = |value: &f64| value.fract() == 0.0 && value.abs() <= MAX_SAFE;
    number.as_i64().or_else(|| number.as_f64().filter(|_| number.is_f64()).filter(whole).map(|value| value as i64))
}

fn bounds(length: i64, least: Option<i64>, most: Option<i64>, what: &str) -> Option<String> {
    match (least, most) {
        (Some(least), _) if length < least => Some(format!("must have at least {least} {what}, and has {length}")),
        (_, Some(most)) if length > most => Some(format!("must have at most {most} {what}, and has {length}")),
        _ => None,
    }
}

fn range<T: PartialOrd + std::fmt::Display>(value: T, least: Option<T>, most: Option<T>) -> Option<String> {
    match (least, most) {
        (Some(least), _) if value < least => Some(format!("must be at least {least}")),
        (_, Some(most)) if value > most => Some(format!("must be at most {most}")),
        _ => None,
    }
}
