//! What a change means.

use proptest::prelude::*;

use super::{
    ChangeKind::{Added, Changed, Removed},
    Impact::{Major, Minor, Patch},
    *,
};

fn changes(old: &Document, new: &Document) -> Vec<(String, ChangeKind, Impact)> {
    diff(old, new).into_iter().map(|change| (change.path, change.kind, change.impact)).collect()
}

#[test]
fn each_change_of_an_input_has_its_impact() {
    let cases = [
        ("{ type: string }", "{ type: integer }", "type", Changed, Major),
        ("{ type: object, properties: {} }", "{ type: object, additionalProperties: { type: string } }", "type", Changed, Major),
        ("{ type: string, minLength: 1 }", "{ type: string, minLength: 2 }", "minLength", Changed, Major),
        ("{ type: string, minLength: 2 }", "{ type: string, minLength: 1 }", "minLength", Changed, Minor),
        ("{ type: string }", "{ type: string, maxLength: 1 }", "maxLength", Added, Major),
        ("{ type: string, maxLength: 1 }", "{ type: string }", "maxLength", Removed, Minor),
        ("{ type: string, pattern: a }", "{ type: string, pattern: b }", "pattern", Changed, Major),
        ("{ type: string, pattern: a }", "{ type: string }", "pattern", Removed, Minor),
        ("{ type: string }", "{ type: string, format: cidr }", "format", Added, Major),
        ("{ type: integer, minimum: 1 }", "{ type: integer, minimum: 0 }", "minimum", Changed, Minor),
        ("{ type: number, maximum: 2 }", "{ type: number, maximum: 1.5 }", "maximum", Changed, Major),
        ("{ type: string, enum: [a] }", "{ type: string, enum: [a, b] }", "enum", Changed, Minor),
        ("{ type: string, enum: [a, b] }", "{ type: string, enum: [a, c] }", "enum", Changed, Major),
        ("{ type: string, enum: [a, b] }", "{ type: string, enum: [b, a] }", "enum", Changed, Patch),
        ("{ type: string }", "{ type: string, enum: [a] }", "enum", Added, Major),
        ("{ type: string, enum: [a] }", "{ type: string }", "enum", Removed, Minor),
        ("{ type: string, default: a }", "{ type: string, default: b }", "default", Changed, Minor),
        ("{ type: string }", "{ type: string, immutable: true }", "immutable", Changed, Major),
        ("{ type: string, immutable: true }", "{ type: string }", "immutable", Changed, Minor),
        ("{ type: string }", "{ type: string, sensitive: true }", "sensitive", Changed, Minor),
        ("{ type: string, sensitive: true }", "{ type: string }", "sensitive", Changed, Major),
        ("{ type: string }", "{ type: string, description: x }", "description", Added, Patch),
        ("{ type: array, items: { type: string } }", "{ type: array, items: { type: integer } }", "items.type", Changed, Major),
        (
            "{ type: object, properties: { b: { type: string } } }",
            "{ type: object, properties: { b: { type: string }, c: { type: string } } }",
            "properties.c",
            Added,
            Minor,
        ),
        (
            "{ type: object, properties: { b: { type: string } } }",
            "{ type: object, properties: { b: { type: string } }, required: [b] }",
            "properties.b.required",
            Changed,
            Major,
        ),
    ];
    for (old, new, path, kind, impact) in cases {
        let of = |schema: &str| with_inputs(&format!("    a: {schema}"));
        assert_eq!(changes(&of(old), &of(new)), [(format!("inputs.a.{path}"), kind, impact)], "{old} -> {new}");
    }
}

#[test]
fn each_other_change_has_its_impact() {
    let changed = |from: &str, to: &str| {
        assert!(GREETING.contains(from), "{from}");
        changes(&document(GREETING), &document(&GREETING.replace(from, to)))
    };
    let one = |path: &str, kind, impact| vec![(path.to_owned(), kind, impact)];
    assert_eq!(changed("engine: native", "engine: other"), one("engine", Changed, Major));
    assert_eq!(changed("description: A greeting in a file\n", ""), one("description", Removed, Patch));
    assert_eq!(changed("required: [name]\n", "required: [name, size]\n"), one("inputs.size.required", Changed, Minor));
    assert_eq!(changed("required: [name]\n", "required: [name, list]\n"), one("inputs.list.required", Changed, Major));
    assert_eq!(changed("required: [name]\n", "required: []\n"), one("inputs.name.required", Changed, Minor));
    assert_eq!(
        changed("large needs two", "large wants two"),
        one("inputs.rules[\"inputs.size == 'large' => inputs.replicas >= 2\"]", Changed, Patch)
    );
    assert_eq!(changed("words: 2", "words: 3"), one("resources.pet.words", Changed, Patch));
    assert_eq!(changed("    dependsOn: [pet]\n", ""), one("resources.note.dependsOn", Removed, Patch));
    assert_eq!(changed("type: file", "type: folder"), one("resources.note.type", Changed, Minor));
    assert_eq!(changed("resources:\n", "resources:\n  more: { type: file }\n"), one("resources.more", Added, Minor));
    assert_eq!(
        changed("  greeting: {", "  hello: {"),
        [one("outputs.greeting", Removed, Major), one("outputs.hello", Added, Minor)].concat()
    );
    assert_eq!(
        changed("description: Where it is", "sensitive: true").last().map(|c| (c.0.clone(), c.2)),
        Some(("outputs.greeting.sensitive".to_owned(), Major))
    );
    assert_eq!(changed("resources.note.path", "resources.note.id"), one("outputs.greeting.value", Changed, Patch));
    let rule =
        "    - { when: \"inputs.size == 'large'\", require: \"inputs.replicas >= 2\", message: \"large needs two replicas\" }\n";
    let stricter = format!("{rule}    - {{ require: \"inputs.replicas < 4\", message: no }}\n");
    assert_eq!(changed(rule, &stricter), one("inputs.rules[\"inputs.replicas < 4\"]", Added, Major));
    assert_eq!(changed(&format!("  rules:\n{rule}"), "")[0].2, Minor);
}

#[test]
fn inputs_and_files_come_and_go() {
    let with = |extra: &str| with_inputs(&format!("    a: {{ type: string }}{extra}"));
    let added = diff(&with(""), &with("\n    b: { type: string, default: x }"));
    assert_eq!((added[0].path.as_str(), added[0].impact, added[0].before.as_deref()), ("inputs.b", Minor, None));
    assert_eq!(added[0].after.as_deref(), Some(r#"{"type":"string","default":"x"}"#));
    let needed = changes(&with(""), &with("\n    b: { type: string }\n  required: [b]"));
    assert_eq!(needed, [("inputs.b".to_owned(), Added, Major)]);
    assert_eq!(changes(&with("\n    b: { type: string }"), &with("")), [("inputs.b".to_owned(), Removed, Major)]);

    let document = |motd: &str| {
        let file = |path: &str, text: &str| File { path: path.to_owned(), content: text.as_bytes().to_vec() };
        let files = Files::new(vec![file("blueprint.yaml", GREETING), file("motd.txt", motd)]).expect("the paths are right");
        Document::parse(&files).0.expect("it is right")
    };
    assert_eq!(changes(&document("a"), &document("b")), [("files[\"motd.txt\"]".to_owned(), Changed, Patch)]);
    assert_eq!(Impact::of(&[]), Patch);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nothing_differs_from_itself(cut in 0_usize..GREETING.len(), length in 0_usize..30) {
        let mut text = GREETING.to_owned();
        text.replace_range(cut..(cut + length).min(GREETING.len()), "");
        for document in [Document::parse(&files(GREETING)).0, Document::parse(&files(&text)).0].into_iter().flatten() {
            prop_assert_eq!(diff(&document, &document), vec![]);
        }
    }
}
