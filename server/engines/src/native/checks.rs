//! What can be said of a blueprint's resources without knowing inputs or the world.

use std::collections::BTreeMap;

use freehold_domain::blueprints::{
    DOCUMENT_PATH, DeploymentFacts, Diagnostic, Document, Range, Resource, Scope, Template, closest, did_you_mean,
};
use serde_json::{Map, Value};

use super::{
    NativeEngine,
    evaluation::{check, normal},
    provider::Provider,
    schema::Problem,
    shown,
};
use crate::Planned;

/// Everything wrong with the resources of a document and with what refers to them.
pub(super) fn validate(engine: &NativeEngine, document: &Document) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for resource in document.resources() {
        match engine.provider(&resource.kind) {
            Ok(provider) => found.extend(attributes(document, resource, provider)),
            Err(error) => {
                let hint = match closest(&resource.kind, engine.providers.keys().copied()) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => error.hint.clone(),
                };
                let message = format!("{}; {hint}", error.message);
                found.push(Diagnostic::error("unknown-type", DOCUMENT_PATH, resource.type_range(), message));
            }
        }
        for (name, template) in &resource.attributes {
            let range = resource.attribute_range(name);
            found.extend(
                references(engine, document, template)
                    .into_iter()
                    .map(|why| Diagnostic::error("unknown-attribute", DOCUMENT_PATH, range, why)),
            );
        }
    }
    for output in document.outputs() {
        let wrong = references(engine, document, &output.value).into_iter().map(|why| ("unknown-attribute", why));
        let secret = (!output.sensitive).then(|| secret(engine, document, &output.value)).flatten();
        let secret = secret
            .map(|attribute| ("sensitive-output", format!("this shows {attribute}, which is secret; add `sensitive: true`")));
        for (code, why) in wrong.chain(secret) {
            let message = format!("output `{}`: {why}", output.name);
            found.push(Diagnostic::error(code, DOCUMENT_PATH, Range::WHOLE, message));
        }
    }
    found
}

/// Names, and the values of attributes that read nothing.
fn attributes(document: &Document, resource: &Resource, provider: &dyn Provider) -> Vec<Diagnostic> {
    let schema = provider.schema();
    let mut values: BTreeMap<String, Planned> = schema
        .given()
        .filter_map(|attribute| Some((attribute.name.to_owned(), Planned::Known(attribute.default.clone()?))))
        .collect();
    for (name, template) in &resource.attributes {
        match constant(document, template) {
            Some(Value::Null) => {}
            Some(value) => {
                values.insert(name.clone(), Planned::Known(normal(schema, name, value)));
            }
            None => {
                values.insert(name.clone(), Planned::Unknown);
            }
        }
    }
    let names = schema.names_problems(resource.attributes.iter().map(|(name, _)| name.as_str()));
    let known_names = names.iter().all(|problem| problem.code != "attribute-missing");
    let mut problems = names;
    problems.extend(check(provider, &values).into_iter().filter(|problem| known_names || problem.code != "attribute-missing"));
    problems.into_iter().map(|problem| diagnostic(resource, &problem)).collect()
}

fn diagnostic(resource: &Resource, problem: &Problem) -> Diagnostic {
    let attribute = problem.path.split(['.', '[']).next().unwrap_or_default();
    let range = match problem.code {
        "unknown-attribute" | "attribute-computed" => resource.attribute_name_range(attribute),
        _ => resource.attribute_range(attribute),
    };
    let message = format!("`{}` {}", shown(&problem.path), problem.message);
    Diagnostic::error(problem.code, DOCUMENT_PATH, range, message)
}

/// The value of a template that reads nothing but files.
fn constant(document: &Document, template: &Template) -> Option<Value> {
    let (inputs, resources, facts) = (Map::new(), BTreeMap::new(), DeploymentFacts::default());
    let scope = Scope { inputs: &inputs, resources: &resources, deployment: &facts, files: document.files() };
    if template.references().is_empty() { template.evaluate(&scope).ok() } else { None }
}

/// Attributes that a template reads and that their resource type does not have.
fn references(engine: &NativeEngine, document: &Document, template: &Template) -> Vec<String> {
    let mut wrong = Vec::new();
    for read in &template.uses().attributes {
        let Some(provider) = document.resource(&read.resource).and_then(|resource| engine.provider(&resource.kind).ok()) else {
            continue;
        };
        let schema = provider.schema();
        if schema.get(&read.name).is_none() {
            let names = schema.attributes.iter().map(|attribute| attribute.name);
            let hint = did_you_mean(&read.name, names);
            wrong.push(format!("a `{}` has no attribute `{}`{hint}", schema.kind, shown(&read.name)));
        }
    }
    wrong
}

/// The first attribute among those a template reads that is secret by its type.
fn secret(engine: &NativeEngine, document: &Document, template: &Template) -> Option<String> {
    template.uses().attributes.iter().find_map(|read| {
        let provider = engine.provider(&document.resource(&read.resource)?.kind).ok()?;
        provider.schema().get(&read.name).filter(|attribute| attribute.sensitive).map(|_| read.to_string())
    })
}
