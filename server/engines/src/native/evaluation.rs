//! Values of a blueprint, as far as they are known.

use std::collections::{BTreeMap, BTreeSet};

use freehold_domain::blueprints::{
    Attribute, DOCUMENT_PATH, DeploymentFacts, Document, EvalError, Evaluated, Files, Marks, Partial, Resource, Scope, Severity,
    Template,
};
use serde_json::{Map, Value};

use super::{
    provider::Provider,
    schema::{Kind, Problem, Schema},
};
use crate::{
    DeploymentIdentity, StepError,
    native::{Attributes, Planned},
};

/// Largest whole number that a floating-point number holds exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// What expressions of one deployment can read at the moment.
pub(super) struct Evaluation<'a> {
    document: &'a Document,
    inputs: &'a Map<String, Value>,
    facts: DeploymentFacts,
    resources: BTreeMap<String, Map<String, Value>>,
    marks: Marks,
}

/// What a blueprint wants one resource to be.
#[derive(Default)]
pub(super) struct Desired {
    /// Given attributes with their defaults, without nulls.
    pub values: BTreeMap<String, Planned>,
    /// Attributes that are secret by their type or by where their value comes from.
    pub sensitive: BTreeSet<String>,
}

/// Reads the document of a blueprint.
pub(super) fn parse(files: &Files) -> Result<Document, StepError> {
    let (document, diagnostics) = Document::parse(files);
    document.ok_or_else(|| {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
        invalid(errors.map(|error| format!("{DOCUMENT_PATH}:{}: {}", error.line, error.message)).collect())
    })
}

/// One error that names every problem of a blueprint.
pub(super) fn invalid(problems: Vec<String>) -> StepError {
    StepError::new("blueprint-invalid", problems.join("; ")).hint("mend the blueprint or the inputs, and plan again")
}

impl<'a> Evaluation<'a> {
    /// Nothing is known yet but inputs and the deployment.
    pub fn new(document: &'a Document, inputs: &'a Map<String, Value>, deployment: &DeploymentIdentity) -> Self {
        let marks = Marks { sensitive_inputs: document.inputs().sensitive_names(), ..Marks::default() };
        Self { document, inputs, facts: deployment.facts(), resources: BTreeMap::new(), marks }
    }

    /// Whether a resource is to be there.
    pub fn is_wanted(&self, resource: &Resource) -> Result<bool, EvalError> {
        let Some(when) = &resource.when else { return Ok(true) };
        match when.evaluate(&self.scope())? {
            Value::Bool(wanted) => Ok(wanted),
            _ => Err(EvalError { expression: when.source().to_owned(), message: "must give true or false".to_owned() }),
        }
    }

    /// Learns what is known of a resource.
    pub fn learn(&mut self, name: &str, values: &BTreeMap<String, Planned>, sensitive: impl IntoIterator<Item = String>) {
        let mut known = Map::new();
        for (attribute, value) in values {
            match value {
                Planned::Known(value) => {
                    known.insert(attribute.clone(), value.clone());
                }
                Planned::Unknown => {
                    self.marks.unknown.insert(Attribute::new(name, attribute));
                }
            }
        }
        self.resources.insert(name.to_owned(), known);
        self.marks.sensitive.extend(sensitive.into_iter().map(|attribute| Attribute::new(name, attribute)));
    }

    /// Learns a resource as it is.
    pub fn learn_known(&mut self, name: &str, attributes: &Attributes, sensitive: impl IntoIterator<Item = String>) {
        let values = attributes.iter().map(|(name, value)| (name.clone(), Planned::Known(value.clone()))).collect();
        self.learn(name, &values, sensitive);
    }

    /// The value of a template, as far as it is known.
    pub fn value(&self, template: &Template) -> Result<Evaluated, EvalError> {
        template.evaluate_partial(&self.scope(), &self.marks)
    }

    /// What a resource should be.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn desired(&self, resource: &Resource, provider: &dyn Provider) -> Result<Desired, Vec<String>> {
        let schema = provider.schema();
        let address = resource.address();
        let mut problems = schema.names_problems(resource.attributes.iter().map(|(name, _)| name.as_str()));
        let mut desired = Desired::default();
        let mut failed = Vec::new();
        for (name, template) in &resource.attributes {
            match self.value(template) {
                Ok(Evaluated { value, sensitive }) => {
                    if sensitive {
                        desired.sensitive.insert(name.clone());
                    }
                    match value {
                        Partial::Known(Value::Null) => {}
                        Partial::Known(value) => {
                            desired.values.insert(name.clone(), Planned::Known(normal(schema, name, value)));
                        }
                        Partial::Unknown => {
                            desired.values.insert(name.clone(), Planned::Unknown);
                        }
                    }
                }
                Err(error) => failed.push(format!("{address}: {name}: {error}")),
            }
        }
        desired
            .sensitive
            .extend(schema.attributes.iter().filter(|attribute| attribute.sensitive).map(|attribute| attribute.name.to_owned()));
        for attribute in schema.given() {
            if let Some(default) = &attribute.default {
                desired.values.entry(attribute.name.to_owned()).or_insert_with(|| Planned::Known(default.clone()));
            }
        }
        if failed.is_empty() {
            let missing = schema.given().filter(|attribute| attribute.required && !desired.values.contains_key(attribute.name));
            let nulls = missing.filter(|attribute| resource.attribute(attribute.name).is_some());
            problems.extend(nulls.map(|attribute| Problem::new(attribute.name, "attribute-missing", "has no value")));
            problems.extend(check(provider, &desired.values));
        }
        failed.extend(problems.into_iter().map(|problem| format!("{address}: {}: {}", problem.path, problem.message)));
        if failed.is_empty() { Ok(desired) } else { Err(failed) }
    }

    fn scope(&self) -> Scope<'_> {
        Scope { inputs: self.inputs, resources: &self.resources, deployment: &self.facts, files: self.document.files() }
    }
}

/// Everything wrong with values, as far as they are known.
pub(super) fn check(provider: &dyn Provider, values: &BTreeMap<String, Planned>) -> Vec<Problem> {
    let known: Attributes = values.iter().filter_map(|(name, value)| Some((name.clone(), value.known()?.clone()))).collect();
    let unknown: Vec<&str> = values.iter().filter(|(_, value)| value.known().is_none()).map(|(name, _)| name.as_str()).collect();
    let mut problems = provider.schema().value_problems(&known);
    if problems.is_empty() {
        problems.extend(provider.rules(&known, &unknown));
    }
    problems
}

/// A value as it is kept: whole numbers that went through a floating-point number become whole again.
pub(super) fn normal(schema: &Schema, name: &str, value: Value) -> Value {
    match (schema.get(name).map(|attribute| &attribute.kind), value.as_f64()) {
        (Some(Kind::Whole { .. }), Some(number)) if value.is_f64() && number.fract() == 0.0 && number.abs() <= EXACT => {
            Value::from(number as i64)
        }
        _ => value,
    }
}
