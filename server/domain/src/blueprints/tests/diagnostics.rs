//! Every rule of the language has a code and a place.

use proptest::prelude::*;

use super::*;

/// Codes with lines and columns.
fn found(text: &str) -> Vec<(&'static str, u32, u32)> {
    Document::parse(&files(text)).1.into_iter().map(|d| (d.code, d.line, d.column)).collect()
}

#[test]
fn the_greeting_is_right() {
    assert_eq!(found(GREETING), []);
    let document = document(GREETING);
    assert_eq!(document.engine(), "native");
    assert_eq!(document.resources()[1].address(), "file.note");
    assert_eq!(document.graph().order(), ["key", "pet", "note"]);
    assert_eq!(document.graph().needs("note").collect::<Vec<_>>(), ["pet"]);
    let words = document.resource("pet").expect("it is there").attribute_range("words");
    assert_eq!((words.start.line, words.start.column, words.end.column), (24, 35, 36));
}

#[test]
fn each_rule_names_its_place() {
    let top = "apiVersion: freehold.dev/v1\nengine: native\n";
    let cases: &[(&str, &str, u32, u32)] = &[
        ("", "empty-document", 1, 1),
        ("[]", "wrong-type", 1, 1),
        ("engine: native\nresources: {}", "missing-key", 1, 1),
        ("apiVersion: v2\nengine: native\nresources: {}", "unknown-api-version", 1, 13),
        ("apiVersion: freehold.dev/v1\nengine: Native!\nresources: {}", "bad-name", 2, 9),
        ("apiVersion: freehold.dev/v1\nengine: 3\nresources: {}", "wrong-type", 2, 9),
        ("{top}resource: {}\nresources: {}", "unknown-key", 3, 1),
        ("{top}resources: []", "wrong-type", 3, 12),
        ("{top}resources:\n  Web: { type: file }", "bad-name", 4, 3),
        ("{top}resources:\n  in: { type: file }", "bad-name", 4, 3),
        ("{top}resources:\n  web: { path: x }", "missing-key", 4, 8),
        ("{top}resources:\n  web: { type: File }", "bad-name", 4, 16),
        ("{top}resources:\n  web: { type: file, a-b: 1 }", "bad-name", 4, 22),
        ("{top}resources:\n  web: { type: file, dependsOn: [wep] }\n  x: { type: file }", "unknown-resource", 4, 34),
        ("{top}resources:\n  web: { type: file, dependsOn: [web] }", "cyclic-reference", 4, 3),
        ("{top}resources:\n  web: { type: file, when: \"deployment.id == 'x'\" }", "not-here", 4, 29),
        ("{top}resources:\n  web: { type: file, when: \"resources.web.x\" }", "not-here", 4, 29),
        ("{top}resources:\n  web: { type: file, when: true }", "wrong-type", 4, 28),
        ("{top}resources: {}\noutputs: { a: { valeu: 1 } }", "missing-key", 4, 15),
        ("{top}resources: {}\noutputs: { a: { value: 1, sensitive: 1 } }", "wrong-type", 4, 38),
        (
            "{top}resources: {}\ninputs: { properties: { a: { type: string, sensitive: true } } }\noutputs: { b: { value: \"${inputs.a}\" } }",
            "optional-input",
            4,
            25,
        ),
        ("{top}resources: {}\ninputs: { type: array }", "wrong-type", 4, 17),
        ("{top}module: nowhere", "missing-file", 3, 9),
        ("{top}module: ../up", "bad-path", 3, 9),
        ("{top}module: 3", "wrong-type", 3, 9),
        ("{top}module: { path: nowhere }", "missing-file", 3, 9),
        ("{top}module: { git: { url: \"https://x.example/m\", commit: main } }", "bad-commit", 3, 54),
        ("{top}module: { git: { url: \"https://me:pw@x.example/m\" } }", "bad-url", 3, 23),
        ("{top}module: { git: { url: \"https://x.example/m\" } }", "missing-key", 3, 16),
        ("{top}module: { version: latest }", "bad-version", 3, 20),
        ("{top}module: { variables: { \"a b\": 1 } }", "bad-name", 3, 24),
        ("{top}module: { variables: { a: \"${inputs.b}\" } }", "unknown-input", 3, 37),
        ("{top}module: { path: m }\nresources: {}", "not-here", 4, 12),
        ("{top}module: { path: m }\noutputs: {}", "not-here", 4, 10),
        ("{top}resources: {}\ninputs: { properties: {}, required: [a] }", "unknown-input", 4, 38),
        ("{top}resources: {}\ninputs: { properties: { a: { type: strin } } }", "unknown-type", 4, 36),
    ];
    for (text, code, line, column) in cases {
        let text = text.replace("{top}", top);
        let found = found(&text);
        assert!(found.contains(&(*code, *line, *column)), "{text}\nhas no {code} at {line}:{column} in {found:?}");
    }
}

#[test]
fn each_rule_of_schemas_names_its_place() {
    let cases = [
        ("{ type: strin }", "unknown-type", 15),
        ("{ minLength: 1 }", "missing-key", 7),
        ("{ type: integer, minLength: 1 }", "unknown-key", 24),
        ("{ type: integer, minimum: 5, maximum: 1 }", "bad-bounds", 45),
        ("{ type: string, minLength: -1 }", "bad-bounds", 34),
        ("{ type: string, pattern: \"[\" }", "bad-pattern", 32),
        ("{ type: string, pattern: \"(a{999}){999}\" }", "bad-pattern", 32),
        ("{ type: string, format: cdir }", "unknown-format", 31),
        ("{ type: string, enum: [] }", "bad-enum", 29),
        ("{ type: string, enum: [a, a] }", "bad-enum", 33),
        ("{ type: string, enum: [1] }", "bad-enum", 30),
        ("{ type: integer, default: 1.5 }", "bad-default", 33),
        ("{ type: string, enum: [a], default: b }", "bad-default", 43),
        ("{ type: string, format: duration, default: 5 }", "bad-default", 50),
        ("{ type: string, sensitive: true, default: x }", "sensitive-default", 49),
        ("{ type: array }", "missing-key", 7),
        ("{ type: array, items: { type: string, immutable: true } }", "unknown-key", 45),
        ("{ type: object }", "missing-key", 7),
        ("{ type: object, properties: {}, additionalProperties: { type: string } }", "open-object", 61),
        ("{ type: object, properties: { B: { type: string } } }", "bad-name", 37),
        ("{ type: string, description: 5 }", "wrong-type", 36),
    ];
    for (schema, code, column) in cases {
        let text = format!(
            "apiVersion: freehold.dev/v1\nengine: native\nresources: {{}}\ninputs:\n  properties:\n    a:\n      {schema}\n"
        );
        let found = found(&text);
        assert!(found.contains(&(code, 7, column)), "{schema}\nhas no {code} at {column} in {found:?}");
    }
}

#[test]
fn expressions_are_checked_where_they_stand() {
    let cases = [
        ("\"${inputs.nam}\"", "unknown-input", 18),
        ("\"some ${ inputs.name } and ${inputs.nope}\"", "unknown-input", 44),
        ("\"${inputs['nope']}\"", "unknown-input", 19),
        ("\"${resources.pat.value}\"", "unknown-resource", 21),
        ("\"${resources.pet}\"", "whole-root", 11),
        ("\"${inputs}\"", "whole-root", 11),
        ("\"${deployment}\"", "whole-root", 11),
        ("\"${deployment.uid}\"", "unknown-deployment-field", 22),
        ("\"${nope}\"", "unknown-variable", 11),
        ("\"${inputs.name + }\"", "expression-syntax", 25),
        ("\"${inputs.name = 'x'}\"", "expression-syntax", 23),
        ("\"${}\"", "empty-expression", 11),
        ("\"${inputs.name\"", "unclosed-expression", 9),
        ("\"${file('nope.txt')}\"", "unknown-file", 17),
        ("\"${file(inputs.name)}\"", "unknown-file", 11),
        ("\"${file('logo.png')}\"", "invalid-utf8", 17),
        ("\"${dyn(1)}\"", "unknown-function", 11),
        ("\"${inputs.name.matches('[')}\"", "bad-pattern", 23),
        ("\"${inputs.name.matches(inputs.name)}\"", "bad-pattern", 23),
        ("\"${[1].map(inputs, inputs)}\"", "reserved-name", 19),
        ("\"${[1].map(a, [1].map(b, [1].map(c, 1)))}\"", "too-many-loops", 11),
        ("\"${b'x'}\"", "bytes", 11),
        ("\"${Thing{}}\"", "message", 11),
        ("{ \"${inputs.name}\": 1 }", "expression-in-key", 10),
    ];
    for (value, code, column) in cases {
        let found = found(&with_value(value));
        let expected = (code, 8, column);
        assert!(found.contains(&expected), "{value}\nhas no {expected:?} in {found:?}");
    }
    let deep = format!("\"${{{}1{}}}\"", "[".repeat(40), "]".repeat(40));
    let wide = format!("\"${{1{}}}\"", "+1".repeat(1000));
    let long = format!("\"${{1{}}}\"", " ".repeat(MAX_EXPRESSION));
    for (value, code) in [(deep, "expression-too-deep"), (wide, "expression-too-deep"), (long, "expression-too-long")] {
        assert!(found(&with_value(&value)).contains(&(code, 8, 11)), "{code}");
    }
    let many = format!("[{}]", "'${1}',".repeat(MAX_EXPRESSIONS + 1));
    assert!(found(&with_value(&many)).iter().any(|(code, ..)| *code == "too-many-expressions"));
}

#[test]
fn an_error_inside_a_block_has_its_own_line() {
    let text = with_value("|\n      first line\n      second ${inputs.name}\n      third ${inputs.nam}");
    let (_, all) = Document::parse(&files(&text));
    let wrong = all.iter().find(|d| d.code == "unknown-input").expect("it is found");
    assert_eq!((wrong.line, wrong.column, wrong.end_line, wrong.end_column), (11, 22, 11, 25));
    assert_eq!(wrong.message, "there is no input `nam`; did you mean `name`?");
}

#[test]
fn all_problems_come_at_once() {
    let text = "engine: native\nextra: 1\ninputs: { properties: { a: { type: nope }, b: { type: string, pattern: '(' } } }\nresources:\n  x: { type: file, c: '${inputs.zz}', d: '${resources.y.v}' }\n  y: { type: file, c: '${resources.x.v}', dependsOn: [q] }\n";
    let codes: Vec<_> = found(text).into_iter().map(|(code, ..)| code).collect();
    for code in ["missing-key", "unknown-key", "unknown-type", "bad-pattern", "unknown-input", "unknown-resource"] {
        assert!(codes.contains(&code), "no {code} in {codes:?}");
    }
}

#[test]
fn the_engine_is_shown_what_could_be_read() {
    let text = "apiVersion: freehold.dev/v1\nengine: Native\ninputs: { properties: { a: { type: nope, sensitive: 1 }, b: { type: string } } }\nresources:\n  x: { type: Bad-Type, c: '${inputs.aa + resources.y.v}', d-e: 1 }\n  y: { c: '${resources.x.w}' }\noutputs: { o: { value: '${nope} ${resources.y.z}' } }\n";
    let (none, all) = Document::parse_with(&files(text), |document| {
        assert_eq!(document.engine(), "");
        let reads = |template: &Template| template.uses().attributes.iter().map(ToString::to_string).collect::<Vec<_>>();
        let resources =
            document.resources().iter().map(|one| (one.kind.as_str(), one.name.as_str(), reads(&one.attributes[0].1)));
        assert_eq!(
            resources.collect::<Vec<_>>(),
            [("", "x", vec!["resources.y.v".to_owned()]), ("", "y", vec!["resources.x.w".to_owned()])]
        );
        assert_eq!(document.resources()[0].attributes.len(), 1, "what is no name of an attribute is none");
        let output = &document.outputs()[0];
        assert_eq!(reads(&output.value), ["resources.y.z"]);
        vec![Diagnostic::error("engine-says", "blueprint.yaml", output.value_range(), "no")]
    });
    assert!(none.is_none());
    let codes: Vec<_> = all.iter().map(|d| (d.code, d.line, d.column)).collect();
    let expected = [
        ("bad-name", 2, 9),
        ("unknown-type", 3, 36),
        ("wrong-type", 3, 53),
        ("cyclic-reference", 5, 3),
        ("bad-name", 5, 14),
        ("unknown-input", 5, 37),
        ("bad-name", 5, 59),
        ("missing-key", 6, 6),
        ("engine-says", 7, 24),
        ("unknown-variable", 7, 27),
    ];
    assert_eq!(codes, expected, "{all:#?}");

    // What only the engine finds leaves the document as it is: it is right as far as the language goes.
    let sound = files("apiVersion: freehold.dev/v1\nengine: steam\nresources: {}\n");
    let (document, found) = Document::parse_with(&sound, |document| {
        vec![Diagnostic::error("unknown-engine", "blueprint.yaml", document.engine_range(), "no")]
    });
    assert!(document.is_some());
    assert_eq!(found.iter().map(|d| (d.line, d.column, d.end_column)).collect::<Vec<_>>(), [(2, 9, 14)]);
}

#[test]
fn an_unknown_function_names_those_that_exist() {
    let message = |value: &str| Document::parse(&files(&with_value(value))).1.remove(0).message;
    let known = "all, bool, contains, double, endsWith, exists, exists_one, file, filter, has, int, join, lowerAscii, map, \
                 matches, replace, size, split, startsWith, string, substring, trim, uint, upperAscii";
    assert_eq!(message("\"${shout('x')}\""), format!("there is no function `shout`; there are {known}"));
    assert_eq!(
        message("\"${hass(inputs.name)}\""),
        format!("there is no function `hass`; did you mean `has`?; there are {known}")
    );
    assert_eq!(message("\"${has(inputs.name, 1)}\""), "`has` is written as in `has(inputs.name)`");
    // Each of them is one.
    for name in known.split(", ") {
        let found = message(&format!("\"${{{name}()}}\""));
        assert!(!found.starts_with("there is no function"), "{found}");
    }
}

#[test]
fn a_cycle_is_named() {
    let text = "apiVersion: freehold.dev/v1\nengine: native\nresources:\n  web: { type: file, a: '${resources.db.x}' }\n  db: { type: file, dependsOn: [net] }\n  net: { type: file, a: { b: ['${resources.web.x}'] } }\n";
    let (none, all) = Document::parse(&files(text));
    assert!(none.is_none());
    assert_eq!(all[0].message, "resources need each other: db -> net -> web -> db; remove one of these references");
}

#[test]
fn warnings_do_not_stop_a_document() {
    let (read, all) = Document::parse(&files(
        "apiVersion: freehold.dev/v1\nengine: native\ninputs: { properties: { a: { type: string }, b: { type: string } } }\nresources: { x: { type: file, c: '${inputs.a}' } }\n",
    ));
    assert!(read.is_some());
    assert_eq!(
        all.iter().map(|d| (d.code, d.severity)).collect::<Vec<_>>(),
        [("optional-input", Severity::Warning), ("unused-input", Severity::Warning)]
    );
}

#[test]
fn a_blueprint_without_a_document_says_so() {
    let (none, all) = Document::parse(&Files::default());
    assert!(none.is_none());
    assert_eq!((all[0].code, all[0].line), ("missing-file", 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let file = File { path: "blueprint.yaml".to_owned(), content: bytes };
        Document::parse(&Files::new(vec![file]).expect("the path is right"));
    }

    #[test]
    fn no_broken_blueprint_makes_it_panic(cut in 0_usize..GREETING.len(), length in 0_usize..40, with in "[ -~\n]{0,12}") {
        let mut text = GREETING.to_owned();
        text.replace_range(cut..(cut + length).min(GREETING.len()), &with);
        let (document, found) = Document::parse(&files(&text));
        prop_assert_eq!(document.is_none(), found.iter().any(|d| d.severity == Severity::Error));
    }

    #[test]
    fn no_expression_makes_it_panic(code in "([a-z]|inputs|[.]name|resources|[.]pet|[.]map\\(|[(),\\[\\]{}'?:!+*/%<>=&| ]|[0-9]|\\\\|ü){0,60}") {
        let quoted = code.replace('\'', "''");
        Document::parse(&files(&with_value(&format!("'${{{quoted}}}'"))));
    }
}
