//! Blueprints: the language in which infrastructure is described, and what may be said about two versions of a description.
//!
//! A blueprint is a set of [`Files`]. `blueprint.yaml` among them is read into a [`Document`], with every problem at once;
//! [`InputSchema::resolve`] checks what a deployment gives to it, and [`Template::evaluate`] turns its resources into plain JSON.

mod condition;
mod cost;
mod diagnostic;
mod diff;
mod digest;
mod document;
mod entity;
mod evaluate;
mod expression;
mod fact_template;
mod fields;
mod files;
mod formats;
mod graph;
mod inputs;
mod locate;
mod module;
mod pattern;
mod resolve;
mod schema;
mod source;
mod template;
mod version;
mod yaml;

pub use condition::{Condition, Facts, Misreading};
pub use diagnostic::{Diagnostic, Position, Range, Severity, closest, did_you_mean};
pub use diff::{Change, ChangeKind, Impact, diff};
pub use digest::digest;
pub(crate) use document::is_name;
pub use document::{API_VERSION, Document, MAX_OUTPUTS, MAX_RESOURCES, Output, Resource};
pub use entity::{Blueprint, BlueprintVersion, Draft};
pub use evaluate::{DeploymentFacts, EvalError, MAX_TEXT, Scope};
pub use expression::{Attribute, Expression, MAX_EXPRESSION, Subject, Uses};
pub use fact_template::FactTemplate;
pub use files::{DOCUMENT_PATH, File, Files, MAX_BYTES, MAX_FILES};
pub use formats::Format;
pub use graph::Graph;
pub use inputs::{Input, InputSchema, Kind, Pattern, Rule, Schema};
pub use module::{GitSource, Module};
pub use resolve::MAX_INPUTS_BYTES;
pub use schema::MAX_INPUTS;
pub use source::{Folder, MAX_SOURCES, Source};
pub use template::{Evaluated, MAX_EXPRESSIONS, Marks, Partial, Reference, Template};
pub use version::{check_step, required_version};
pub use yaml::{MAX_DEPTH, MAX_NODES};

#[cfg(test)]
mod tests;
