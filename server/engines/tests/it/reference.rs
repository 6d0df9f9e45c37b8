//! The reference for who writes blueprints says what the language and the engine say of themselves, and its examples work.
//!
//! Nothing here knows an attribute: the engine is asked, by mistakes that its messages answer with all that would be right.

use std::collections::{BTreeMap, BTreeSet};

use freehold_domain::blueprints::{Diagnostic, Document, File, Files, Severity};
use freehold_engines::{
    Mode, PlanRequest, Rules,
    native::{Plan, Planned, Resource, State},
};
use serde_json::{Map, Value, json};

use crate::support::{TestSink, World};

const REFERENCE: &str = include_str!("../../../../deploy/blueprints.md");
/// A name that is near no other.
const NONE: &str = "qqqqqqqqqqqqqqqq";
/// The most that a probe may have: a document cannot hold values beyond its own limit.
const MOST: usize = 200_000;

/// What the reference says of one resource type.
struct Section {
    kind: &'static str,
    rows: Vec<Row>,
    example: &'static str,
}

/// What it says of one attribute, or of a field of one.
struct Row {
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    rules: BTreeSet<&'static str>,
}

fn sections() -> Vec<Section> {
    let types = REFERENCE.split_once("\n## Resource types\n").expect("it has a part on types").1;
    let sections = types.split("\n### `").skip(1).map(|text| {
        let (kind, text) = text.split_once('`').expect("headings are names of types");
        let (_, table) = text.split_once("\n| Attribute |").expect("each type has a table");
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|')).map(row).collect();
        Section { kind, rows, example: blocks(text)[0] }
    });
    sections.collect()
}

fn row(line: &'static str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split(" |").map(str::trim).collect();
    let [name, value, default, rules, _] = cells.as_slice() else { panic!("five cells: {line}") };
    let default = Some(default.trim_matches('`')).filter(|default| !default.is_empty());
    let rules = rules.split(", ").filter(|rule| !rule.is_empty()).collect();
    Row { name: name.trim_matches('`'), value, default, rules }
}

/// Every example in a text.
fn blocks(text: &'static str) -> Vec<&'static str> {
    text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// An example as a whole blueprint, with the file that the complete one reads.
fn blueprint(example: &str) -> Files {
    let mut text = example.to_owned();
    if !text.starts_with("apiVersion") {
        text = format!("apiVersion: freehold.dev/v1\nengine: native\n{text}");
    }
    if !text.contains("\nresources:") {
        text.push_str("resources: {}\n");
    }
    let files = [("blueprint.yaml", text.as_str()), ("page.html", "<!doctype html>\n")];
    Files::new(files.map(|(path, text)| File { path: path.to_owned(), content: text.into() }).into())
        .expect("the paths are right")
}

/// What is said about an example.
fn found(world: &World, example: &str) -> Vec<Diagnostic> {
    Document::parse_with(&blueprint(example), |document| world.engine.validate(document)).1
}

/// The one message with this code.
fn message(world: &World, example: &str, code: &str) -> String {
    let found = found(world, example);
    let hit = found.iter().find(|one| one.code == code);
    hit.unwrap_or_else(|| panic!("no {code} in {found:#?}\n{example}")).message.clone()
}

/// The names at the end of a message.
fn names(message: &str) -> BTreeSet<String> {
    let list = ["; there are ", "; it has "].iter().find_map(|intro| message.split_once(intro)).expect("it ends with a list").1;
    list.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

/// The names of all attributes and of the fields in them, as the engine knows them.
fn attributes(world: &World, kind: &str) -> BTreeSet<String> {
    let reads = format!("resources: {{ x: {{ type: {kind} }} }}\noutputs: {{ o: {{ value: \"${{resources.x.{NONE}}}\" }} }}\n");
    let mut all = names(&message(world, &reads, "unknown-attribute"));
    for attribute in all.clone() {
        let inside = format!("resources: {{ x: {{ type: {kind}, {attribute}: {{ {NONE}: 1 }} }} }}\n");
        let fields =
            found(world, &inside).into_iter().find(|one| one.message.starts_with(&format!("`{attribute}.{NONE}` is no ")));
        all.extend(fields.iter().flat_map(|one| names(&one.message)).map(|field| format!("{attribute}.{field}")));
    }
    all
}

/// A resource with one attribute, or one field of an attribute.
fn with(kind: &str, name: &str, value: &str) -> String {
    let given = match name.split_once('.') {
        Some((attribute, field)) => format!("{attribute}: {{ {field}: {value} }}"),
        None => format!("{name}: {value}"),
    };
    format!("resources: {{ x: {{ type: {kind}, {given} }} }}\n")
}

/// A value that does not fit what a row says, and what the engine must answer; nothing where everything fits.
fn probe(row: &Row) -> Option<(String, String)> {
    let bounds = |text: &'static str| text.split_once(" to ").expect("bounds are `least to most`");
    Some(match row.value {
        "anything" => return None,
        "map" => ("5".to_owned(), "must be a map, not a number".to_owned()),
        "true or false" => ("5".to_owned(), "must be true or false, not a number".to_owned()),
        choices if choices.starts_with('`') => (NONE.to_owned(), format!("must be one of {choices}")),
        value => match value.split_once(", ").expect("what it is, and its bounds") {
            ("text", range) => {
                let (least, most) = bounds(range);
                let most: usize = most.parse().expect("a number");
                let text = if least == "0" { "x".repeat(most + 1) } else { String::new() };
                if text.len() > MOST {
                    return None;
                }
                (format!("\"{text}\""), format!("{range} are allowed"))
            }
            ("number", range) => ("1000000000000".to_owned(), {
                let (least, most) = bounds(range);
                format!("must be a whole number from {least} to {most}")
            }),
            ("list", most) => {
                let items: usize = most.strip_prefix("at most ").expect("a most").parse().expect("a number");
                (format!("[{}]", vec!["5"; items + 1].join(",")), format!("{most} are allowed"))
            }
            _ => panic!("{}: `{value}` is no kind of value", row.name),
        },
    })
}

#[test]
fn every_type_and_attribute_is_described_as_the_engine_has_it() {
    let world = World::new();
    let sections = sections();
    let described: BTreeSet<String> = sections.iter().map(|section| section.kind.to_owned()).collect();
    let nothing = format!("resources: {{ x: {{ type: {NONE} }} }}\n");
    assert_eq!(described, names(&message(&world, &nothing, "unknown-type")));

    let mut wrong = Vec::new();
    for Section { kind, rows, .. } in &sections {
        let named: BTreeSet<String> = rows.iter().map(|row| row.name.to_owned()).collect();
        let there = attributes(&world, kind);
        wrong.extend(there.difference(&named).map(|name| format!("{kind}: {name} is not described")));
        wrong.extend(named.difference(&there).map(|name| format!("{kind}: {name} does not exist")));
        for row in rows.iter().filter(|row| there.contains(row.name)) {
            let mut check = |rule: &str, is: bool| {
                if row.rules.contains(rule) != is {
                    wrong.push(format!("{kind}: {} is {}{rule}", row.name, if is { "" } else { "not " }));
                }
            };
            let bare = match row.name.split_once('.') {
                Some((attribute, _)) => with(kind, attribute, "{}"),
                None => format!("resources: {{ x: {{ type: {kind} }} }}\n"),
            };
            let missing = format!("`{}` must be given", row.name);
            check("required", found(&world, &bare).iter().any(|one| one.message == missing));
            let given = found(&world, &with(kind, row.name, "x"));
            let computed = given.iter().any(|one| one.code == "attribute-computed");
            check("computed", computed);
            let shown = format!("{bare}outputs: {{ o: {{ value: \"${{resources.x.{}}}\" }} }}\n", row.name);
            if !row.name.contains('.') {
                check("secret", found(&world, &shown).iter().any(|one| one.code == "sensitive-output"));
            }
            if let Some((value, answer)) = (!computed).then(|| probe(row)).flatten() {
                let said = found(&world, &with(kind, row.name, &value));
                if !said.iter().any(|one| one.message.starts_with(&format!("`{}`", row.name)) && one.message.ends_with(&answer)) {
                    wrong.push(format!("{kind}: {} is not `{}`", row.name, row.value));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "deploy/blueprints.md differs from the engine:\n  {}", wrong.join("\n  "));
}

#[test]
fn the_language_is_described_as_it_is() {
    let world = World::new();
    let with_value = |value: &str| format!("resources: {{ x: {{ type: file, content: \"{value}\" }} }}\n");
    let with_input = |input: &str| format!("inputs: {{ properties: {{ a: {input} }} }}\n");
    let cases = [
        ("unknown-key", format!("{NONE}: 1\n"), "| `{}` |"),
        ("unknown-type", with_input(&format!("{{ type: {NONE} }}")), "| `{}`"),
        ("unknown-format", with_input(&format!("{{ type: string, format: {NONE} }}")), "| `{}` |"),
        ("unknown-deployment-field", with_value(&format!("${{deployment.{NONE}}}")), "`deployment.{}`"),
        ("unknown-function", with_value(&format!("${{{NONE}()}}")), "{}("),
    ];
    for (code, example, pattern) in cases {
        let message = message(&world, &example, code).replace("; it has", "; there are");
        for name in names(&message) {
            assert!(REFERENCE.contains(&pattern.replace("{}", &name)), "{name}, of {code}, is not described");
        }
    }
}

/// Plans an example with a value for each input that has to be given.
async fn plan(world: &World, example: &str, given: &[(&str, Value)]) -> Plan {
    let files = blueprint(example);
    let (document, found) = Document::parse(&files);
    let document = document.unwrap_or_else(|| panic!("{found:#?}\n{example}"));
    let given: Map<String, Value> = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let given = given.into_iter().filter(|(name, _)| document.inputs().get(name).is_some()).collect();
    let inputs = document.inputs().resolve(&given, None).unwrap_or_else(|wrong| panic!("{wrong:?}\n{example}"));
    let request = PlanRequest { files, inputs, ..world.request("resources: {}\n", Mode::Apply) };
    world.make(request, &TestSink::default()).await.unwrap_or_else(|error| panic!("{error}\n{example}"))
}

#[tokio::test]
async fn every_example_is_right_and_shows_the_defaults_that_are_told() {
    let world = World::new();
    for example in blocks(REFERENCE) {
        let errors: Vec<_> = found(&world, example).into_iter().filter(|one| one.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{example}");
    }
    for Section { kind, rows, example } in sections() {
        let plan = plan(&world, example, &[("server", json!("postgres://admin:x@localhost")), ("token", json!("t"))]).await;
        let (document, _) = Document::parse(&blueprint(example));
        let document = document.expect("it was planned");
        let of_kind: Vec<_> = plan.changes.values().filter(|change| change.kind == kind).collect();
        assert!(!of_kind.is_empty(), "the example of {kind} makes none");
        for change in of_kind {
            let written = document.resource(&change.name).expect("it is in the document");
            for row in rows.iter().filter(|row| !row.rules.contains("computed") && written.attribute(row.name).is_none()) {
                let default = change.after.get(row.name).and_then(Planned::known);
                let default = default.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                assert_eq!(default.as_deref(), row.default, "default of `{}` of {kind}", row.name);
            }
        }
    }
}

/// Of the types that can be looked at without a world outside.
#[tokio::test]
async fn what_is_replaced_is_told() {
    let mut world = World::new();
    let inside = |section: &Section| ["random_", "tls_", "http"].iter().any(|family| section.kind.starts_with(family));
    for Section { kind, rows, example } in sections().into_iter().filter(inside) {
        world.state = None;
        let made = plan(&world, example, &[("token", json!("t"))]).await;
        for row in rows.iter().filter(|row| !row.rules.contains("computed") && !row.name.contains('.')) {
            let mut state = State::empty(&made.deployment.uid);
            for change in made.changes.values() {
                let was = |planned: &Planned| planned.known().cloned().unwrap_or_else(|| json!("drawn"));
                let mut attributes: BTreeMap<String, Value> =
                    change.after.iter().map(|(name, planned)| (name.clone(), was(planned))).collect();
                attributes.remove("read");
                if change.kind == kind {
                    attributes.insert(row.name.to_owned(), json!("something else"));
                }
                let (address, id) = (change.address.clone(), "1".to_owned());
                let (kind, name) = (change.kind.clone(), change.name.clone());
                let resource = Resource { address, kind, name, id, attributes, sensitive: Vec::new(), depends_on: Vec::new() };
                state.resources.insert(change.address.clone(), resource);
            }
            world.state = Some(state);
            let plan = plan(&world, example, &[("token", json!("t"))]).await;
            let change = plan.changes.values().find(|change| change.kind == kind).expect("the example makes one");
            let replaced = change.replaced_by.iter().any(|name| name == row.name);
            assert_eq!(replaced, row.rules.contains("replaces"), "`{}` of {kind}: {change:?}", row.name);
        }
    }
}

#[tokio::test]
async fn the_complete_example_is_deployed() {
    let mut world = World::new();
    let example = blocks(REFERENCE)[0];
    assert_eq!(found(&world, example), [], "not even a warning");
    let given = [("title", json!("Shop")), ("public", json!(true)), ("hosts", json!(["a.example.com"]))];
    let plan = plan(&world, example, &given).await;
    assert_eq!(plan.changes.len(), 5);

    let outcome = world.apply_plan(&plan, &TestSink::default()).await;

    assert!(outcome.failed.is_none(), "{:?}", outcome.failed);
    assert!(world.read("dev/web.html").starts_with("<!doctype html>\n<h1>Shop</h1>\n"), "{}", world.read("dev/web.html"));
    assert_eq!(world.read("dev/web.env"), "TEAM=nobody\nHOSTS=a.example.com:443\nTOKEN=\n");
    assert!(outcome.outputs["certificate"].value.as_str().is_some_and(|pem| pem.starts_with("-----BEGIN CERTIFICATE")));
}
