//! What inputs are taken.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn resolve(document: &Document, given: Value) -> Result<Value, Vec<(String, String)>> {
    let resolved = document.inputs().resolve(&object(given), None);
    resolved.map(Value::Object).map_err(|all| all.into_iter().map(|v| (v.field, v.description)).collect())
}

#[test]
fn defaults_are_filled_in_and_numbers_get_their_type() {
    let document = document(GREETING);
    let given = json!({ "limits": { "cpu": 2 }, "replicas": 3.0, "name": "ada", "cidr": null });
    let expected = json!({
        "name": "ada", "size": "small", "replicas": 3, "limits": { "cpu": 2.0, "memory": "512Mi" },
    });
    let resolved = resolve(&document, given).expect("they are right");
    assert_eq!(resolved, expected);
    assert_eq!(object(resolved).keys().collect::<Vec<_>>(), ["name", "size", "replicas", "limits"], "in the order of the schema");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let document = document(GREETING);
    let given = json!({
        "sise": "x", "size": "medium", "replicas": 9, "cidr": "10.0.0.1/8", "tags": { "team": 1 },
        "list": ["a", 2, "c"], "limits": { "memory": "much", "disk": 1 }, "token": ["s3cret"],
    });
    let wrong = resolve(&document, given).expect_err("all wrong");
    let fields: Vec<&str> = wrong.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "inputs.sise",
            "inputs.name",
            "inputs.size",
            "inputs.replicas",
            "inputs.cidr",
            "inputs.tags[\"team\"]",
            "inputs.list[1]",
            "inputs.limits.disk",
            "inputs.limits.cpu",
            "inputs.limits.memory",
            "inputs.token",
        ]
    );
    assert_eq!(wrong[0].1, "is not known; did you mean `size`?");
    assert_eq!(wrong[2].1, "must be one of small, large");
    assert!(!format!("{wrong:?}").contains("s3cret"));
}

#[test]
fn bounds_are_checked() {
    let document = with_inputs(
        "    s: { type: string, minLength: 2, maxLength: 3, pattern: '^ä' }\n    i: { type: integer, minimum: 1, maximum: 3 }\n    n: { type: number, minimum: 0.5, maximum: 1 }\n    l: { type: array, items: { type: integer }, minItems: 1, maxItems: 2 }\n    b: { type: boolean }\n    e: { type: number, enum: [1, 2.5] }",
    );
    let right = [
        json!({ "s": "äöü" }),
        json!({ "i": 3 }),
        json!({ "n": 1 }),
        json!({ "l": [1, 2] }),
        json!({ "b": false }),
        json!({ "e": 1 }),
        json!({}),
    ];
    for given in right {
        assert!(resolve(&document, given.clone()).is_ok(), "{given}");
    }
    let wrong = [
        json!({ "s": "ä" }),
        json!({ "s": "äöüß" }),
        json!({ "s": "bä" }),
        json!({ "i": 0 }),
        json!({ "i": 4 }),
        json!({ "i": 1.5 }),
        json!({ "i": "1" }),
        json!({ "i": u64::MAX }),
        json!({ "i": 1e300 }),
        json!({ "n": 0 }),
        json!({ "n": 1.1 }),
        json!({ "l": [] }),
        json!({ "l": [1, 2, 3] }),
        json!({ "l": [1, null] }),
        json!({ "b": "true" }),
        json!({ "e": 2 }),
    ];
    for given in wrong {
        assert_eq!(resolve(&document, given.clone()).expect_err("wrong").len(), 1, "{given}");
    }
    let huge = json!({ "s": "x".repeat(MAX_INPUTS_BYTES) });
    assert_eq!(resolve(&document, huge).expect_err("too big")[0].0, "inputs");
}

#[test]
fn an_immutable_input_stays_as_it_was() {
    let document = document(GREETING);
    let previous = object(json!({ "name": "ada", "size": "small", "replicas": 4 }));
    let again = |given: Value| document.inputs().resolve(&object(given), Some(&previous));
    assert_eq!(again(json!({ "name": "bob" })).expect("kept")["replicas"], json!(4), "the default does not come back");
    assert_eq!(again(json!({ "name": "bob", "replicas": 4.0 })).expect("the same")["replicas"], json!(4));
    let refused = again(json!({ "name": "bob", "replicas": 5 })).expect_err("another");
    assert_eq!(refused[0].field, "inputs.replicas");
    assert_eq!(refused[0].description, "cannot change once the deployment exists; make a new deployment for another value");
}

#[test]
fn rules_hold_between_inputs() {
    let document = document(GREETING);
    let broken = resolve(&document, json!({ "name": "ada", "size": "large" })).expect_err("too few");
    assert_eq!(broken, [("inputs".to_owned(), "large needs two replicas".to_owned())]);
    assert!(resolve(&document, json!({ "name": "ada", "size": "large", "replicas": 2 })).is_ok());
    let undecided = "apiVersion: freehold.dev/v1\nengine: native\nresources: {}\ninputs:\n  properties: { a: { type: integer } }\n  rules: [{ require: 'inputs.a > 1', message: more }, { require: '1', message: odd }]\n";
    let undecided = super::document(undecided);
    let wrong = resolve(&undecided, json!({})).expect_err("neither can be decided");
    assert!(wrong[0].1.contains("has(inputs.a)"), "{wrong:?}");
    assert!(wrong[1].1.contains("neither true nor false"), "{wrong:?}");
}

#[test]
fn sensitive_inputs_are_left_out() {
    let inputs = document(GREETING);
    let inputs = inputs.inputs();
    assert!(inputs.sensitive("token") && !inputs.sensitive("name"));
    let shown = inputs.masked(&object(json!({ "name": "ada", "token": "s3cret", "stranger": 1 })));
    assert_eq!(Value::Object(shown), json!({ "name": "ada" }));
}

#[test]
fn a_sensitive_input_may_name_its_secret_and_nothing_else_may() {
    let document = document(GREETING);
    let reference = json!({ "$secret": { "store": "vault", "path": "db/prod", "key": "password" } });
    let resolved = resolve(&document, json!({ "name": "ada", "token": reference })).expect("a reference");
    assert_eq!(resolved["token"], reference);
    assert_eq!(document.inputs().masked(&object(resolved))["token"], reference, "it is no secret itself");

    let refused = |inputs: Value| resolve(&document, inputs).expect_err("no place for a reference");
    assert_eq!(refused(json!({ "name": reference }))[0].0, "inputs.name");
    assert_eq!(refused(json!({ "name": "ada", "tags": { "$secret": "x" } }))[0].0, "inputs.tags");
    assert_eq!(refused(json!({ "name": "ada", "tags": { "team": reference } }))[0].0, "inputs.tags[\"team\"]");
    let wrong = refused(json!({ "name": "ada", "token": { "$secret": { "store": "vault", "path": "../x", "version": 0 } } }));
    assert_eq!(wrong.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), ["inputs.token"; 2]);
}

#[test]
fn what_follows_from_a_secret_is_checked_where_it_is_known() {
    let text = "apiVersion: freehold.dev/v1\nengine: native\nresources: {}\ninputs:\n  properties:\n    pin: { type: integer, sensitive: true }\n    word: { type: string, minLength: 4, sensitive: true }\n    least: { type: integer, default: 10 }\n  rules: [{ when: has(inputs.pin), require: inputs.pin > inputs.least, message: a larger pin }]\n";
    let document = document(text);
    let reference = json!({ "$secret": { "store": "env", "path": "X" } });
    let resolved = resolve(&document, json!({ "pin": reference, "word": reference })).expect("nothing can be said of it yet");

    let with = |pin: Value, word: Value| {
        let rest: Map<String, Value> = object(resolved.clone()).into_iter().filter(|(name, _)| name == "least").collect();
        let secrets = [("pin".to_owned(), pin), ("word".to_owned(), word)].into_iter().collect();
        document.inputs().with_secrets(rest, secrets)
    };
    let whole = with(json!("42"), json!("1234")).expect("right");
    assert_eq!(Value::Object(whole), json!({ "least": 10, "pin": 42, "word": "1234" }), "a text stays one where one is wanted");
    assert_eq!(with(json!("7"), json!("hunter2")).expect_err("too small")[0].description, "a larger pin");
    let wrong = with(json!("hunter2"), json!("abc")).expect_err("no number, and too short");
    assert_eq!(wrong.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["inputs.pin", "inputs.word"]);
    assert!(!format!("{wrong:?}").contains("hunter2"));
    let stranger = document.inputs().with_secrets(Map::new(), [("least".to_owned(), json!(1))].into_iter().collect());
    assert_eq!(stranger.expect_err("not sensitive")[0].field, "inputs.least");
}

#[test]
fn the_schema_comes_out_as_json_schema() {
    let schema = document(GREETING).inputs().to_json_schema();
    assert_eq!(schema["required"], json!(["name"]));
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(
        schema["properties"]["name"],
        json!({ "type": "string", "minLength": 1, "maxLength": 40, "pattern": "^[a-z]+$", "description": "Who is greeted" })
    );
    assert_eq!(
        schema["properties"]["replicas"],
        json!({ "type": "integer", "minimum": 1, "maximum": 5, "default": 1, "immutable": true })
    );
    assert_eq!(schema["properties"]["tags"], json!({ "type": "object", "additionalProperties": { "type": "string" } }));
    assert_eq!(schema["properties"]["limits"]["required"], json!(["cpu"]));
    assert_eq!(schema["rules"][0]["when"], "inputs.size == 'large'");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn resolving_twice_changes_nothing(
        name in "[a-z]{1,5}",
        large in any::<Option<bool>>(),
        replicas in proptest::option::of(1_i64..5),
        cpu in proptest::option::of(-10.0_f64..10.0),
        tags in proptest::option::of(proptest::collection::btree_map("[a-z]{1,3}", "[ -~]{0,5}", 0..4)),
    ) {
        let document = document(GREETING);
        let mut given = object(json!({ "name": name, "replicas": replicas, "tags": tags }));
        if let Some(large) = large {
            given.insert("size".to_owned(), if large { "large" } else { "small" }.into());
        }
        if let Some(cpu) = cpu {
            given.insert("limits".to_owned(), json!({ "cpu": cpu }));
        }
        if let Ok(once) = document.inputs().resolve(&given, None) {
            prop_assert_eq!(document.inputs().resolve(&once, Some(&once)), Ok(once.clone()));
            prop_assert_eq!(document.inputs().resolve(&given, Some(&once)), Ok(once));
        } else {
            prop_assert!(large == Some(true) && replicas.is_none_or(|replicas| replicas < 2));
        }
    }
}
