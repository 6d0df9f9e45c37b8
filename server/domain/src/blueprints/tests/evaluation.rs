//! What expressions give.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::*;

struct World {
    inputs: Map<String, Value>,
    resources: BTreeMap<String, Map<String, Value>>,
    deployment: DeploymentFacts,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn world() -> World {
    let inputs = json!({
        "name": "ada", "count": 3, "list": ["b", "a"], "ratio": 0.5,
        "tags": { "zone": "z", "team": "t", "app": "a", "cost": "c", "kind": "k" },
    });
    World {
        inputs: object(inputs),
        resources: BTreeMap::from([("pet".to_owned(), object(json!({ "value": "calm-otter", "port": 80 })))]),
        deployment: DeploymentFacts { id: "web".to_owned(), tenant: "acme".to_owned(), ..DeploymentFacts::default() },
    }
}

impl World {
    fn value(&self, yaml: &str) -> Result<Value, String> {
        let document = document(&with_value(yaml));
        self.template(&document, document.resources()[1].attribute("x").expect("it is there"))
    }

    fn template(&self, document: &Document, template: &Template) -> Result<Value, String> {
        template.evaluate(&self.scope(document)).map_err(|error| error.to_string())
    }

    fn scope<'a>(&'a self, document: &'a Document) -> Scope<'a> {
        Scope { inputs: &self.inputs, resources: &self.resources, deployment: &self.deployment, files: document.files() }
    }
}

#[test]
fn values_keep_their_types_and_text_is_filled_in() {
    let world = world();
    let cases = [
        ("7", json!(7)),
        ("\"plain\"", json!("plain")),
        ("\"\"", json!("")),
        ("\"${inputs.count}\"", json!(3)),
        ("\"${inputs.count + 1}\"", json!(4)),
        ("\"${inputs.count * 2 - inputs.count % 2}\"", json!(5)),
        ("\"${inputs.ratio * 2.0}\"", json!(1.0)),
        ("\"${inputs.list}\"", json!(["b", "a"])),
        ("\"${inputs.tags}\"", json!({ "app": "a", "cost": "c", "kind": "k", "team": "t", "zone": "z" })),
        ("\"${inputs.tags['team'] + inputs['name']}\"", json!("tada")),
        ("\"n=${inputs.count}, r=${inputs.ratio}, ${inputs.count > 2}\"", json!("n=3, r=0.5, true")),
        ("\"$${inputs.name} $ {x} $$ ${'}'} ${{'a': 'b'}.a}\"", json!("${inputs.name} $ {x} $$ } b")),
        ("\"${inputs.list.map(x, x + '!')}\"", json!(["b!", "a!"])),
        ("\"${inputs.tags.map(k, inputs.tags[k])}\"", json!(["a", "c", "k", "t", "z"])),
        ("\"${inputs.list.filter(x, x != 'a').join('-') + inputs.name.upperAscii()}\"", json!("bADA")),
        ("\"${resources.pet.value}:${resources.pet.port}\"", json!("calm-otter:80")),
        ("\"${has(resources.pet.nope)}\"", json!(false)),
        ("\"${deployment.tenant}/${deployment.id}\"", json!("acme/web")),
        ("\"${file('motd.txt')}\"", json!("Grüß Gott")),
        ("\"${inputs.name.matches('^a.a$') && size(inputs.list) == 2}\"", json!(true)),
        ("{ a: [\"${inputs.count}\", { b: \"${inputs.name}\" }] }", json!({ "a": [3, { "b": "ada" }] })),
        ("\"${[1, 2].exists(x, [2, 3].exists(y, x == y))}\"", json!(true)),
        ("\"${[3, 1].map(inputs_, inputs_)}\"", json!([3, 1])),
    ];
    for (yaml, expected) in cases {
        assert_eq!(world.value(yaml), Ok(expected), "{yaml}");
    }
}

#[test]
fn a_failure_says_what_to_do_and_never_shows_a_value() {
    let mut world = world();
    world.inputs.insert("name".to_owned(), json!("s3cret"));
    let cases = [
        ("\"${inputs.name + 1}\"", "convert one with string() or int()"),
        ("\"${inputs.name < 1}\"", "convert one with string() or int()"),
        ("\"${inputs.count / 0}\"", "divides by zero"),
        ("\"${9223372036854775807 + inputs.count}\"", "64 bits"),
        ("\"${inputs.list[9]}\"", "size()"),
        ("\"${inputs.tags[inputs.name]}\"", "a map does not have the key"),
        ("\"${int(inputs.name)}\"", "cannot take this value"),
        ("\"${resources.pet.nope}\"", "resources.pet.nope has no value; test it with has()"),
        ("\"a ${inputs.list}\"", "a list cannot stand inside text; use join()"),
        ("\"a ${inputs.tags}\"", "a map cannot stand inside text"),
        ("\"a ${null}\"", "null cannot stand inside text"),
        ("\"${1.0 / 0.0}\"", "not a finite number"),
        ("\"${inputs.name ? 1 : 2}\"", "a string stands where a bool is needed"),
        ("\"${inputs.name.trim(1)}\"", "string() or int()"),
    ];
    for (yaml, expected) in cases {
        let error = world.value(yaml).expect_err(yaml);
        assert!(error.contains(expected), "{yaml}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    world.inputs.remove("name");
    assert!(world.value("\"${inputs.name}\"").expect_err("it is missing").contains("has(inputs.name)"));
    world.resources.clear();
    assert!(world.value("\"${resources.pet.value}\"").expect_err("it is off").contains("resource pet is switched off"));
    assert_eq!(world.value("\"${has(resources.pet.value)}\""), Ok(json!(false)));
}

#[test]
fn what_would_grow_without_bound_is_refused_before_it_runs() {
    let mut world = world();
    world.inputs.insert("list".to_owned(), json!(vec!["x".repeat(20); 2000]));
    for (yaml, expected) in [
        ("\"${inputs.list.map(a, inputs.list.map(b, a + b))}\"", "use shorter lists"),
        ("\"${inputs.list.map(a, inputs.list)}\"", "use shorter lists"),
        ("\"${inputs.list.all(a, a.matches('^x+$'))}\"", "use shorter lists"),
        ("\"${inputs.list.join().replace('x', inputs.list.join())}\"", "use shorter lists"),
    ] {
        let error = world.value(yaml).expect_err(yaml);
        assert!(error.contains(expected), "{yaml}: {error}");
    }
    world.inputs.insert("list".to_owned(), json!(vec![""; 20_000]));
    assert!(world.value("\"${inputs.list.map(a, 1)}\"").expect_err("too long").contains("10000 at most"));
    world.inputs.insert("list".to_owned(), json!(vec!["x".repeat(20); 100]));
    assert_eq!(
        world.value("\"${inputs.list.map(a, inputs.list.filter(b, a != b)).size()}\""),
        Ok(json!(100)),
        "what is modest runs"
    );
    world.inputs.insert("name".to_owned(), json!("x".repeat(200_000)));
    assert!(world.value("\"${inputs.name + inputs.name}\"").expect_err("too long").contains("262144 at most"));
    assert!(world.value("\"${inputs.name} ${inputs.name}\"").expect_err("too long").contains("262144 bytes"));
}

#[test]
fn the_deepest_expressions_fit_on_the_stack() {
    let world = world();
    for (open, middle, close) in
        [("[", "1", "]"), ("(1+", "1", ")"), ("size([", "1", "])"), ("true?(", "1", "):2"), ("string(", "1", ")")]
    {
        let mut deepest = None;
        for depth in 1..40 {
            let text = with_value(&format!("\"${{{}{middle}{}}}\"", open.repeat(depth), close.repeat(depth)));
            if let (Some(document), _) = Document::parse(&files(&text)) {
                deepest = Some((depth, world.template(&document, document.resources()[1].attribute("x").expect("it is there"))));
            }
        }
        let (depth, value) = deepest.expect("one nesting is allowed");
        assert!((10..40).contains(&depth), "{open} may stand {depth} deep");
        assert!(value.is_ok(), "{value:?}");
    }
}

#[test]
fn references_and_unknown_and_sensitive_values_are_told_apart() {
    let document = document(GREETING);
    let world = world();
    let note = document.resource("note").expect("it is there");
    let content = note.attribute("content").expect("it is there");
    let path = note.attribute("path").expect("it is there");
    let expected = [Reference::Input("name".to_owned()), Reference::Resource("pet".to_owned())];
    assert_eq!(content.references(), BTreeSet::from(expected));
    let key = document.resource("key").and_then(|key| key.attribute("from")).expect("it is there");
    assert!(key.references().contains(&Reference::Deployment));
    assert_eq!(content.uses().files, BTreeSet::from(["motd.txt".to_owned()]));

    let marks = Marks {
        unknown: BTreeSet::from([Attribute::new("pet", "value")]),
        sensitive: BTreeSet::from([Attribute::new("pet", "value")]),
        sensitive_inputs: document.inputs().sensitive_names(),
    };
    let scope = world.scope(&document);
    let partial = |template: &Template| template.evaluate_partial(&scope, &marks).expect("it can be evaluated");
    assert_eq!(partial(content), Evaluated { value: Partial::Unknown, sensitive: true });
    assert_eq!(partial(path), Evaluated { value: Partial::Known(json!("greetings/ada.txt")), sensitive: false });
    assert_eq!(partial(key), Evaluated { value: Partial::Known(json!("web")), sensitive: true });
    assert_eq!(note.when.as_ref().map(|when| when.evaluate(&scope).is_err()), Some(true), "size has no value in this world");
}
