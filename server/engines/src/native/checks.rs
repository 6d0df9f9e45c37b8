//! What can be said of a blueprint's resources without knowing inputs or the world.

use std::collections::{BTreeMap, BTreeSet};

use freehold_domain::blueprints::{
    DOCUMENT_PATH, DeploymentFacts, Diagnostic, Document, Output, Resource, Scope, Template, closest,
};
use serde_json::{Map, Value};

use super::{NativeEngine, evaluation::normal, provider::Provider, schema::Problem, shown};
use crate::native::Attributes;

/// Everything wrong with the resources of a document and with what refers to them. The document may have errors of its own, which
/// are not repeated.
pub(super) fn validate(engine: &NativeEngine, document: &Document) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(module) = document.module() {
        let message = "the engine `native` runs no modules; write `resources`, or name the engine that runs it";
        found.push(Diagnostic::error("not-here", DOCUMENT_PATH, module.range(), message));
    }
    for resource in document.resources() {
        match engine.provider(&resource.kind) {
            Ok(provider) => found.extend(attributes(document, resource, provider)),
            // It has no type, or one that is no name.
            Err(_) if resource.kind.is_empty() => {}
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
        let secret = secret(engine, document, output)
            .map(|attribute| ("sensitive-output", format!("this shows {attribute}, which is secret; add `sensitive: true`")));
        for (code, why) in wrong.chain(secret) {
            let message = format!("output `{}`: {why}", output.name);
            found.push(Diagnostic::error(code, DOCUMENT_PATH, output.value_range(), message));
        }
    }
    found
}

/// Names, and the values of attributes that read nothing.
fn attributes(document: &Document, resource: &Resource, provider: &dyn Provider) -> Vec<Diagnostic> {
    let schema = provider.schema();
    let mut known: Attributes =
        schema.given().filter_map(|attribute| Some((attribute.name.to_owned(), attribute.default.clone()?))).collect();
    let mut unknown: BTreeSet<&str> = BTreeSet::new();
    let mut names: Vec<&str> = Vec::new();
    for (name, template) in &resource.attributes {
        let value = constant(document, template);
        // Null is the same as nothing, where something may be given.
        if value != Some(Value::Null) || schema.get(name).is_none_or(|attribute| attribute.computed) {
            names.push(name);
        }
        match value {
            Some(Value::Null) => {}
            Some(value) => {
                known.insert(name.clone(), normal(schema, name, value));
            }
            None => {
                known.remove(name);
                unknown.insert(name);
            }
        }
    }
    let mut problems = schema.names_problems(names.into_iter());
    problems.extend(schema.value_problems(&known));
    // A rule must not speak once more of a value that does not fit, nor of one that is missing.
    let unfit = problems.iter().filter_map(|problem| known.remove_entry(&problem.path)).map(|(name, _)| name).collect::<Vec<_>>();
    unknown.extend(unfit.iter().map(String::as_str));
    let broken = provider.rules(&known, &unknown.into_iter().collect::<Vec<_>>());
    let news = |rule: &Problem| problems.iter().all(|problem| problem.path != rule.path);
    let broken: Vec<_> = broken.into_iter().filter(news).collect();
    problems.extend(broken);
    problems.iter().map(|problem| diagnostic(resource, problem)).collect()
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
            let hint = match closest(&read.name, names.clone()) {
                Some(close) => format!("did you mean `{close}`?"),
                None => format!("it has {}", names.collect::<Vec<_>>().join(", ")),
            };
            wrong.push(format!("a `{}` has no attribute `{}`; {hint}", schema.kind, shown(&read.name)));
        }
    }
    wrong
}

/// The first attribute that an output shows although it is secret by its type. Nothing when the output shows a sensitive input
/// as well, which is reported already and has the same cure.
fn secret(engine: &NativeEngine, document: &Document, output: &Output) -> Option<String> {
    let uses = output.value.uses();
    if output.sensitive || uses.inputs.iter().any(|name| document.inputs().sensitive(name)) {
        return None;
    }
    uses.attributes.iter().find_map(|read| {
        let provider = engine.provider(&document.resource(&read.resource)?.kind).ok()?;
        provider.schema().get(&read.name).filter(|attribute| attribute.sensitive).map(|_| read.to_string())
    })
}
