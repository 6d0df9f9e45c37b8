//! `blueprint.yaml`, read and checked: inputs, resources, outputs and how they hang together.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    diagnostic::{Diagnostic, Diagnostics, Position, Range},
    expression::{Expression, Uses, Vocabulary},
    fields::{self, Fields},
    files::{DOCUMENT_PATH, Files},
    graph::Graph,
    inputs::InputSchema,
    locate::Lines,
    module::Module,
    pattern::Patterns,
    schema,
    template::{Compiler, Template},
    yaml::{self, Entry, Node},
};
use crate::names::shown;

/// The language that this module reads.
pub const API_VERSION: &str = "freehold.dev/v1";

/// The most resources of a blueprint.
pub const MAX_RESOURCES: usize = 500;

/// The most outputs of a blueprint.
pub const MAX_OUTPUTS: usize = 200;

const KEYS: [&str; 7] = ["apiVersion", "engine", "description", "inputs", "module", "resources", "outputs"];
const OWN_KEYS: [&str; 3] = ["type", "when", "dependsOn"];

/// A blueprint without errors. Whether the engine knows its resource types is the engine's to say.
#[derive(Clone, Debug)]
pub struct Document {
    engine: String,
    engine_range: Range,
    description: Option<String>,
    inputs: InputSchema,
    module: Option<Module>,
    resources: Vec<Resource>,
    outputs: Vec<Output>,
    graph: Graph,
    files: Files,
}

/// Something that the engine makes.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its name, unique in the blueprint.
    pub name: String,
    /// Its type, which the engine knows.
    pub kind: String,
    /// A condition over inputs; without it, or when it gives true, the resource is made.
    pub when: Option<Expression>,
    /// Its attributes in the order of the document.
    pub attributes: Vec<(String, Template)>,
    /// Names of the resources that it was said to depend on; [`Document::graph`] has those that it refers to as well.
    pub depends_on: BTreeSet<String>,
    range: Range,
    kind_range: Range,
    attribute_ranges: BTreeMap<String, (Range, Range)>,
}

/// A value that a deployment shows.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: Template,
    /// What it means, for people.
    pub description: Option<String>,
    /// Whether nobody may read it.
    pub sensitive: bool,
    value_range: Range,
}

impl Output {
    /// Where its value stands.
    pub fn value_range(&self) -> Range {
        self.value_range
    }
}

impl Resource {
    /// `type.name`, for example `file.note`.
    pub fn address(&self) -> String {
        format!("{}.{}", self.kind, self.name)
    }

    /// One attribute.
    pub fn attribute(&self, name: &str) -> Option<&Template> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, template)| template)
    }

    /// All attributes as they were written, expressions as text.
    pub fn written(&self) -> Map<String, Value> {
        self.attributes.iter().map(|(name, template)| (name.clone(), template.written().clone())).collect()
    }

    /// Where its name stands.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Where its type stands.
    pub fn type_range(&self) -> Range {
        self.kind_range
    }

    /// Where the value of an attribute stands; where the resource's name stands if there is no such attribute.
    pub fn attribute_range(&self, name: &str) -> Range {
        self.attribute_ranges.get(name).map_or(self.range, |(_, value)| *value)
    }

    /// Where the name of an attribute stands; where the resource's name stands if there is no such attribute.
    pub fn attribute_name_range(&self, name: &str) -> Range {
        self.attribute_ranges.get(name).map_or(self.range, |(key, _)| *key)
    }
}

impl Document {
    /// Reads the document out of a blueprint's files.
    ///
    /// Every problem is reported at once. There is a document only when none of them is an error.
    pub fn parse(files: &Files) -> (Option<Self>, Vec<Diagnostic>) {
        Self::parse_with(files, |_| Vec::new())
    }

    /// The same, and adds what `engine` finds. It is shown a document with errors too, as far as that could be read: a name that
    /// could not be read is empty, an expression that could not has no value, and what is not right is reported already.
    pub fn parse_with(files: &Files, engine: impl FnOnce(&Self) -> Vec<Diagnostic>) -> (Option<Self>, Vec<Diagnostic>) {
        let mut diagnostics = Diagnostics::new(DOCUMENT_PATH);
        let read = Self::read(files, &mut diagnostics);
        let is_whole = !diagnostics.has_errors();
        if let Some(document) = &read {
            document.advise(&mut diagnostics);
            diagnostics.extend(engine(document));
        }
        (read.filter(|_| is_whole), diagnostics.finish())
    }

    fn read(files: &Files, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Some(content) = files.get(DOCUMENT_PATH) else {
            diagnostics.error("missing-file", Range::WHOLE, format!("there is no `{DOCUMENT_PATH}`; it describes the blueprint"));
            return None;
        };
        let root = yaml::parse(content, diagnostics);
        if root.is_none() && !diagnostics.has_errors() {
            let at = Position { line: 1, column: 1 };
            diagnostics.error(
                "empty-document",
                Range { start: at, end: at },
                "the file is empty; begin with `apiVersion: freehold.dev/v1`",
            );
        }
        let root = root?;
        let top = Fields::read(&root, "a blueprint", &KEYS, diagnostics)?;
        let module = top.get("module");
        let resources = if module.is_some() { module_only(&top, diagnostics) } else { top.require("resources", diagnostics) };
        let resources = resources.and_then(|node| fields::map(node, "`resources`", diagnostics)).unwrap_or_default();
        let patterns = Patterns::default();
        let vocabulary = Vocabulary {
            inputs: top.get("inputs").map(schema::declared).unwrap_or_default().into_iter().collect(),
            resources: Some(resources.iter().map(|entry| entry.key.as_str()).collect()),
            deployment: true,
            files: Some(files),
            patterns: &patterns,
            subjects: &[],
        };
        let mut compiler = Compiler::new(Lines::new(std::str::from_utf8(content).ok()?), vocabulary);

        version(&top, diagnostics);
        let engine = top.require("engine", diagnostics);
        let engine_range = engine.map_or(Range::WHOLE, |node| node.range);
        let engine = engine.and_then(|node| self::engine(node, diagnostics)).unwrap_or_default();
        let description = schema::description(&top, diagnostics);
        let inputs = match top.get("inputs") {
            Some(node) => schema::read(node, &mut compiler, diagnostics),
            None => Some(InputSchema::default()),
        };
        let module = module.and_then(|node| Module::read(node, files, &mut compiler, diagnostics));
        let resources = read_resources(resources, &mut compiler, diagnostics);
        let outputs = top.get("outputs").and_then(|node| fields::map(node, "`outputs`", diagnostics)).unwrap_or_default();
        let outputs = read_outputs(outputs, inputs.as_ref(), &mut compiler, diagnostics);
        let graph = graph(&resources, diagnostics);
        let inputs = inputs.unwrap_or_default();
        Some(Self { engine, engine_range, description, inputs, module, resources, outputs, graph, files: files.clone() })
    }

    /// The engine that deploys it, for example `native`.
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// Where the name of the engine stands.
    pub fn engine_range(&self) -> Range {
        self.engine_range
    }

    /// What it makes, for people.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// What it asks for.
    pub fn inputs(&self) -> &InputSchema {
        &self.inputs
    }

    /// What its engine runs, if that has a language of its own; then there are no resources and outputs here.
    pub fn module(&self) -> Option<&Module> {
        self.module.as_ref()
    }

    /// What it makes, in the order of the document.
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// One resource by its name.
    pub fn resource(&self, name: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.name == name)
    }

    /// What it shows, in the order of the document.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Which resource needs which, by what was said and by what is referred to.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// All files of the blueprint.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Warns about inputs that may be missing when they are read, and about those that nothing reads. Beside errors nobody is told
    /// of the latter: a name that is mistyped where it is read would seem unused.
    fn advise(&self, diagnostics: &mut Diagnostics) {
        let mut used = Uses::default();
        let mut risky: BTreeSet<&str> = BTreeSet::new();
        let rules = self.inputs.rules().iter().flat_map(|rule| rule.when.iter().chain([&rule.require])).map(Expression::uses);
        let conditions = self.resources.iter().filter_map(|resource| resource.when.as_ref()).map(Expression::uses);
        let attributes = self.resources.iter().flat_map(|resource| &resource.attributes).map(|(_, template)| template.uses());
        let outputs = self.outputs.iter().map(|output| output.value.uses());
        let variables = self.module.iter().flat_map(|module| module.variables.iter().flatten()).map(|(_, value)| value.uses());
        let all: Vec<&Uses> = rules.chain(conditions).chain(attributes).chain(outputs).chain(variables).collect();
        let all_are_variables = self.module.as_ref().is_some_and(|module| module.variables.is_none());
        for uses in all {
            used.extend(uses);
            let untested = uses.inputs.difference(&uses.tested);
            risky.extend(untested.map(String::as_str));
        }
        for input in self.inputs.inputs() {
            if !used.inputs.contains(&input.name) {
                if diagnostics.has_errors() || all_are_variables {
                    continue;
                }
                let message = format!("nothing uses the input `{}`; remove it, or use it", input.name);
                diagnostics.warning("unused-input", input.range, message);
            } else if risky.contains(input.name.as_str()) && !input.required && input.default.is_none() {
                let name = &input.name;
                let message = format!(
                    "`{name}` may be left out, and is read without has(inputs.{name}); test it, require it, or give a default"
                );
                diagnostics.warning("optional-input", input.range, message);
            }
        }
    }
}

/// Reports what cannot stand beside a module.
fn module_only<'n>(top: &Fields<'n>, diagnostics: &mut Diagnostics) -> Option<&'n Node> {
    for (key, why) in [("resources", "what it makes is said in the module"), ("outputs", "they are those of the module")] {
        if let Some(node) = top.get(key) {
            diagnostics.error("not-here", node.range, format!("`{key}` cannot stand beside `module`: {why}"));
        }
    }
    None
}

fn version(top: &Fields<'_>, diagnostics: &mut Diagnostics) {
    let Some(node) = top.require("apiVersion", diagnostics) else { return };
    if let Some(version) = fields::string(node, diagnostics)
        && version != API_VERSION
    {
        let message = format!("`{}` is not a language that this server reads; write `{API_VERSION}`", shown(version));
        diagnostics.error("unknown-api-version", node.range, message);
    }
}

fn engine(node: &Node, diagnostics: &mut Diagnostics) -> Option<String> {
    let name = fields::string(node, diagnostics)?;
    if name.parse::<crate::names::Id>().is_err() {
        diagnostics.error("bad-name", node.range, "the name of an engine is made of a-z, 0-9 and -, for example `native`");
        return None;
    }
    Some(name.to_owned())
}

fn read_resources(entries: &[Entry], compiler: &mut Compiler<'_>, diagnostics: &mut Diagnostics) -> Vec<Resource> {
    if entries.len() > MAX_RESOURCES {
        let message = format!("{} resources; {MAX_RESOURCES} at most, so split the blueprint", entries.len());
        diagnostics.error("too-many-resources", entries[MAX_RESOURCES].key_range, message);
    }
    entries.iter().take(MAX_RESOURCES).filter_map(|entry| resource(entry, compiler, diagnostics)).collect()
}

/// Reads a resource as far as it can be read, so that dependencies are known even if an attribute is wrong.
fn resource(entry: &Entry, compiler: &mut Compiler<'_>, diagnostics: &mut Diagnostics) -> Option<Resource> {
    check_name(&entry.key, entry.key_range, diagnostics);
    let fields = Fields::open(&entry.value, "a resource", diagnostics)?;
    let kind_node = fields.require("type", diagnostics);
    let kind =
        kind_node.and_then(|node| fields::string(node, diagnostics).filter(|kind| check_name(kind, node.range, diagnostics)));
    let when = fields.get("when").and_then(|node| compiler.condition(node, diagnostics));
    let mut depends_on = BTreeSet::new();
    for item in fields.get("dependsOn").and_then(|node| fields::list(node, diagnostics)).unwrap_or_default() {
        let Some(name) = fields::string(item, diagnostics) else { continue };
        let known = compiler.vocabulary.resources.iter().flatten().copied();
        if !known.clone().any(|resource| resource == name) {
            let hint = super::diagnostic::did_you_mean(name, known);
            let message = format!("there is no resource `{}`{hint}; name resources without their type", shown(name));
            diagnostics.error("unknown-resource", item.range, message);
        }
        depends_on.insert(name.to_owned());
    }
    let mut attributes = Vec::new();
    let mut attribute_ranges = BTreeMap::new();
    for attribute in fields::map(&entry.value, "a resource", diagnostics)?.iter().filter(|e| !OWN_KEYS.contains(&e.key.as_str()))
    {
        let template = compiler.template(&attribute.value, diagnostics);
        if !is_attribute(&attribute.key) {
            let message = format!(
                "`{}` is no name of an attribute: use letters, digits and _, beginning with a letter",
                shown(&attribute.key)
            );
            diagnostics.error("bad-name", attribute.key_range, message);
            continue;
        }
        attribute_ranges.insert(attribute.key.clone(), (attribute.key_range, attribute.value.range));
        attributes.push((attribute.key.clone(), template));
    }
    Some(Resource {
        name: entry.key.clone(),
        kind: kind.unwrap_or_default().to_owned(),
        when,
        attributes,
        depends_on,
        range: entry.key_range,
        kind_range: kind_node.map_or(entry.key_range, |node| node.range),
        attribute_ranges,
    })
}

fn read_outputs(
    entries: &[Entry],
    inputs: Option<&InputSchema>,
    compiler: &mut Compiler<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<Output> {
    if entries.len() > MAX_OUTPUTS {
        let message = format!("{} outputs; {MAX_OUTPUTS} at most", entries.len());
        diagnostics.error("too-many-outputs", entries[MAX_OUTPUTS].key_range, message);
    }
    let mut outputs = Vec::new();
    for entry in entries.iter().take(MAX_OUTPUTS) {
        check_name(&entry.key, entry.key_range, diagnostics);
        let Some(fields) = Fields::read(&entry.value, "an output", &["value", "description", "sensitive"], diagnostics) else {
            continue;
        };
        let description = schema::description(&fields, diagnostics);
        let sensitive = fields.flag("sensitive", diagnostics);
        let Some(node) = fields.require("value", diagnostics) else { continue };
        let value = compiler.template(node, diagnostics);
        let secret = value.uses().inputs.iter().find(|name| inputs.is_some_and(|inputs| inputs.sensitive(name)));
        if let Some(secret) = secret.filter(|_| !sensitive) {
            let message = format!("this shows the sensitive input `{secret}`; add `sensitive: true` to the output");
            diagnostics.error("sensitive-output", node.range, message);
        }
        outputs.push(Output { name: entry.key.clone(), value, description, sensitive, value_range: node.range });
    }
    outputs
}

/// The graph of the resources; an empty one when they need each other.
fn graph(resources: &[Resource], diagnostics: &mut Diagnostics) -> Graph {
    let needs = |resource: &Resource| {
        let referred = resource.attributes.iter().flat_map(|(_, template)| &template.uses().attributes);
        let referred = referred.map(|attribute| attribute.resource.clone());
        (resource.name.clone(), resource.depends_on.iter().cloned().chain(referred).collect())
    };
    match Graph::new(resources.iter().map(needs).collect()) {
        Ok(graph) => graph,
        Err(cycles) => {
            for cycle in cycles {
                let range =
                    resources.iter().find(|resource| resource.name == cycle[0]).map_or(Range::WHOLE, |resource| resource.range);
                let message =
                    format!("resources need each other: {} -> {}; remove one of these references", cycle.join(" -> "), cycle[0]);
                diagnostics.error("cyclic-reference", range, message);
            }
            Graph::default()
        }
    }
}

/// Whether a text is a name inside a blueprint: `[a-z][a-z0-9_]{0,62}`, and no word of CEL.
pub(crate) fn is_name(text: &str) -> bool {
    is_attribute(text) && !text.bytes().any(|b| b.is_ascii_uppercase()) && !matches!(text, "in" | "true" | "false" | "null")
}

pub(super) fn is_attribute(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Reports a text that is not a name; whether it is one.
pub(super) fn check_name(name: &str, range: Range, diagnostics: &mut Diagnostics) -> bool {
    let right = is_name(name);
    if !right {
        let message = format!(
            "`{}` is not a name: use 1 to 63 of a-z, 0-9 and _, beginning with a letter, and no word of CEL",
            shown(name)
        );
        diagnostics.error("bad-name", range, message);
    }
    right
}
