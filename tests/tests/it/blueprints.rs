//! Blueprints: drafts that say what is wrong with them, and versions that never change.

use freehold::{BlueprintChangeKind, BlueprintFile, Diagnostic, Severity, VersionImpact};
use freehold_tests::{Database, World, sample};

fn document(text: impl Into<Vec<u8>>) -> Vec<BlueprintFile> {
    vec![BlueprintFile::new("blueprint.yaml", text.into())]
}

fn note(inputs: &str) -> Vec<BlueprintFile> {
    document(format!(
        "apiVersion: freehold.dev/v1\nengine: native\ninputs:\n  type: object\n  required: [name]\n  properties:\n    \
         name: {{ type: string, maxLength: 40 }}\n{inputs}resources:\n  note: {{ type: file, path: a.txt, content: \"${{inputs.name}}\" }}\n"
    ))
}

both_databases!(a_draft_names_everything_that_is_wrong_with_its_place);

async fn a_draft_names_everything_that_is_wrong_with_its_place(database: Database) {
    let world = World::new(database).await;
    let blueprints = world.admin.blueprints();
    blueprints.create("web").send().await.expect("a blueprint");
    let broken = "apiVersion: freehold.dev/v1\n\
                  engine: nativ\n\
                  colour: red\n\
                  inputs:\n  properties:\n    size: { type: sting }\n    \
                  name: { type: string, default: 5 }\n\
                  resources:\n  \
                  a: { type: file, path: \"${resources.b.path}\", content: x }\n  \
                  b: { type: file, path: \"${resources.a.path}\", content: \"${inputs.nam}\" }\n  \
                  c: { type: fiel, path: c.txt }\n  \
                  d: { type: random_password, lenght: many }\n  \
                  e: { type: random_pet, words: 9, separator: \"${shout('-')}\" }\n\
                  outputs:\n  \
                  pet: { value: \"${resources.e.valeu}\" }\n  \
                  pin: { value: \"${resources.d.value}\" }\n";
    let written = blueprints.write_draft("web", document(broken)).send().await.expect("drafts may be wrong");
    let found: Vec<(&str, i32, i32)> = written.diagnostics.iter().map(|d| (d.code.as_str(), d.line, d.column)).collect();
    let expected = [
        ("unknown-engine", 2, 9),
        ("unknown-key", 3, 1),
        ("unknown-type", 6, 19),
        ("bad-default", 7, 36),
        ("cyclic-reference", 9, 3),
        ("unknown-input", 10, 68),
        ("unknown-type", 11, 14),
        ("attribute-missing", 12, 3),
        ("unknown-attribute", 12, 31),
        ("attribute-invalid", 13, 33),
        ("unknown-function", 13, 50),
        ("unknown-attribute", 15, 17),
        ("sensitive-output", 16, 17),
    ];
    assert_eq!(found, expected, "each mistake once, all at once: {:#?}", written.diagnostics);
    for (code, told) in [("unknown-engine", "did you mean `native`?"), ("unknown-function", "filter, has, int")] {
        let message = &written.diagnostics.iter().find(|d| d.code == code).expect("it is there").message;
        assert!(message.contains(told), "{message}");
    }
    let input = written.diagnostics.iter().find(|d| d.code == "unknown-input").expect("it is there");
    assert_eq!(
        (input.path.as_str(), input.severity, input.end_line, input.end_column),
        ("blueprint.yaml", Severity::Error, 10, 71)
    );
    assert!(input.message.contains("did you mean `name`"), "{}", input.message);

    let refused = blueprints.publish("web@1.0.0", &written.blueprint_draft.etag).send().await.expect_err("not with errors");
    assert_eq!((refused.reason(), refused.is_failed_precondition()), (Some("BLUEPRINT_INVALID"), true));
    let errors = written.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
    assert_eq!(refused.violations().len(), errors, "all of them at once");
    assert!(refused.violations().iter().any(|violation| violation.field == "blueprint.yaml:3:1"), "{refused:?}");

    // Without the name of an engine, the one that has such blueprints checks the rest.
    let nameless = "apiVersion: freehold.dev/v1\nresources:\n  c: { type: fiel, path: c.txt }\n";
    let said: Vec<Diagnostic> = blueprints.validate(document(nameless)).send().await.expect("checked");
    let said: Vec<_> = said.iter().map(|d| (d.code.as_str(), d.line, d.column)).collect();
    assert_eq!(said, [("missing-key", 1, 1), ("unknown-type", 3, 14)]);

    // Files that are none are refused as fields, all at once.
    let files = vec![BlueprintFile::new("../etc/passwd", "x"), BlueprintFile::new("/abs", "x"), BlueprintFile::new("a\0b", "x")];
    let refused = blueprints.validate(files).send().await.expect_err("no such paths");
    assert!(refused.is_invalid_argument() && refused.violations().len() >= 3, "{refused:?}");
    assert_eq!(blueprints.validate(sample()).send().await.expect("checked"), []);
}

both_databases!(versions_follow_their_changes_and_never_change);

async fn versions_follow_their_changes_and_never_change(database: Database) {
    let world = World::new(database).await;
    let blueprints = world.admin.blueprints();
    blueprints.create("web").send().await.expect("a blueprint");
    let first = blueprints.write_draft("web", note("")).send().await.expect("a draft").blueprint_draft;
    let one = blueprints.publish("web@1.0.0", &first.etag).notes("The first").send().await.expect("published");
    assert_eq!((one.version.as_str(), one.engine.as_str(), one.digest.as_str()), ("1.0.0", "native", first.digest.as_str()));
    assert_eq!(blueprints.diff("web", "1.0.0", "draft").send().await.expect("nothing differs").changes, []);

    // An optional input is a minor change, so a patch is too low.
    let lost = blueprints.write_draft("web", note("")).etag("0").send().await.expect_err("an old etag");
    assert!(lost.is_etag_mismatch());
    let current = blueprints.get_draft("web").send().await.expect("the draft");
    let grown = note("    size: { type: integer, default: 1 }\n");
    let second = blueprints.write_draft("web", grown).etag(&current.etag).send().await.expect("a draft").blueprint_draft;
    let stale = blueprints.publish("web@1.1.0", &first.etag).send().await.expect_err("not what was reviewed");
    assert!(stale.is_etag_mismatch());
    let low = blueprints.publish("web@1.0.1", &second.etag).send().await.expect_err("too low");
    assert_eq!(
        (low.reason(), low.metadata("required"), low.metadata("previous")),
        (Some("VERSION_TOO_LOW"), Some("1.1.0"), Some("1.0.0"))
    );
    blueprints.publish("web@1.1.0", &second.etag).validate_only().send().await.expect("it would do");
    assert!(blueprints.get_version("web@1.1.0").send().await.expect_err("a rehearsal").is_not_found());
    blueprints.publish("web@1.1.0", &second.etag).send().await.expect("high enough");
    let again = blueprints.publish("web@1.1.0", &second.etag).send().await.expect_err("versions are final");
    assert!(again.is_already_exists());
    let bad = blueprints.publish("web@one", &second.etag).send().await.expect_err("no semver");
    assert!(bad.is_invalid_argument());

    // What takes something away is a major change.
    let demanding = document(
        "apiVersion: freehold.dev/v1\nengine: native\ninputs:\n  type: object\n  required: [title]\n  properties:\n    title: { type: string }\n\
         resources:\n  note: { type: file, path: a.txt, content: \"${inputs.title}\" }\n",
    );
    let third = blueprints.write_draft("web", demanding).etag(&second.etag).send().await;
    let third = match third {
        Ok(written) => written.blueprint_draft,
        Err(moved) => panic!("publishing leaves the draft as it is: {moved:?}"),
    };
    let low = blueprints.publish("web@1.2.0", &third.etag).send().await.expect_err("too low");
    assert_eq!(low.metadata("required"), Some("2.0.0"));
    blueprints.publish("web@2.0.0", &third.etag).send().await.expect("high enough");
    for low in ["web@2.0.0-rc.1", "web@2.0.0+other", "web@1.0.2"] {
        let low = blueprints.publish(low, &third.etag).send().await.expect_err("not higher than what is there");
        assert_eq!(low.violations().first().map(|violation| violation.field.as_str()), Some("version"), "{low}");
    }

    let diff = blueprints.diff("web", "1.1.0", "2.0.0").send().await.expect("a comparison");
    assert_eq!(diff.impact, Some(VersionImpact::Major));
    let kind = |path: &str| diff.changes.iter().find(|change| change.path == path).map(|change| (change.kind, change.impact));
    assert_eq!(kind("inputs.title"), Some((BlueprintChangeKind::Added, VersionImpact::Major)));
    assert_eq!(kind("inputs.name").map(|(kind, _)| kind), Some(BlueprintChangeKind::Removed));
    assert!(diff.changes.iter().any(|change| change.path.starts_with("resources.note")), "{:?}", diff.changes);

    let kept = blueprints.get_version("web@1.0.0").send().await.expect("it stays");
    assert_eq!((kept.digest.as_str(), kept.files.clone()), (first.digest.as_str(), note("")));
    assert_eq!(blueprints.get("web").send().await.expect("the blueprint").latest_version.as_deref(), Some("2.0.0"));
    let versions = blueprints.list_versions("web").collect_up_to(10).await.expect("a list");
    assert_eq!(versions.iter().map(|v| v.version.as_str()).collect::<Vec<_>>(), ["1.0.0", "1.1.0", "2.0.0"]);
}

both_databases!(inputs_are_checked_against_the_version_all_at_once);

async fn inputs_are_checked_against_the_version_all_at_once(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let deployments = world.admin.deployments();
    let wrong = deployments.create("shop/dev/hello", "greeting@1.0.0").input("words", 9).input("colour", "red").send().await;
    let wrong = wrong.expect_err("three things are wrong");
    let fields: Vec<&str> = wrong.violations().iter().map(|violation| violation.field.as_str()).collect();
    for expected in ["deployment.inputs.words", "deployment.inputs.colour", "deployment.inputs.name"] {
        assert!(fields.contains(&expected), "{expected} is missing in {fields:?}");
    }
    let hello = deployments.create("shop/dev/hello", "greeting@1.0.0").input("name", "world").send().await.expect("right");
    assert_eq!(hello.inputs.get("words"), Some(&serde_json::json!(2)), "defaults are filled in");
    assert!(
        deployments
            .create("shop/dev/two", "greeting@9.9.9")
            .input("name", "x")
            .send()
            .await
            .expect_err("no version")
            .is_not_found()
    );
    let in_use = world.admin.blueprints().delete("greeting").send().await.expect_err("it is deployed");
    assert_eq!(in_use.reason(), Some("RESOURCE_IN_USE"));
}
