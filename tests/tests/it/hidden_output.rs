//! Secrets that nobody sees: in the outputs of a plan, and in a blueprint version that no longer hides them.

use freehold::{BlueprintFile, ChangeAction, RunOutcome};
use freehold_tests::{Database, World};
use serde_json::{Map, Value};

const BLUEPRINT: &str = r#"apiVersion: freehold.dev/v1
engine: native
description: Passes a secret on
inputs:
  properties:
    secret: {type: string, sensitive: true}
resources:
  pet: {type: random_pet}
outputs:
  secret: {value: "${inputs.secret}", sensitive: true}
"#;

both_databases!(a_hidden_output_that_changes_is_a_change);

async fn a_hidden_output_that_changes_is_a_change(database: Database) {
    let world = World::new(database).await.shop().await;
    world.publish("pass", vec![BlueprintFile { path: "blueprint.yaml".to_owned(), content: BLUEPRINT.into() }]).await;
    let _runner = world.runner();
    let acme = &world.admin;
    acme.deployments().create("shop/dev/pass", "pass@1.0.0").input("secret", "one").send().await.expect("a deployment");

    let turns = [
        ("one", ChangeAction::Create, RunOutcome::Succeeded),
        ("one", ChangeAction::Noop, RunOutcome::NoChanges),
        ("two", ChangeAction::Update, RunOutcome::Succeeded),
    ];
    for (secret, action, outcome) in turns {
        let inputs = Map::from_iter([("secret".to_owned(), secret.into())]);
        acme.deployments().update("shop/dev/pass").inputs(inputs).send().await.expect("a wish");
        let run = acme.runs().plan("shop/dev/pass").auto_apply().send().await.expect("a run").wait_done().await.expect("it ends");
        assert_eq!(run.run().outcome, Some(outcome), "{secret}: {:?}", run.run().error);
        let [output] = <[_; 1]>::try_from(run.plan().await.expect("a plan").outputs).expect("one output");
        assert_eq!((output.action, output.sensitive, output.before, output.after), (action, true, None, None));
    }
}

both_databases!(a_kept_secret_does_not_show_in_a_version_without_it);

async fn a_kept_secret_does_not_show_in_a_version_without_it(database: Database) {
    let world = World::new(database).await.shop().await;
    let files = |content: &str| vec![BlueprintFile { path: "blueprint.yaml".to_owned(), content: content.into() }];
    world.publish("pass", files(BLUEPRINT)).await;
    let acme = &world.admin;
    let open = BLUEPRINT.replace("string, sensitive: true", "string");
    let etag = acme.blueprints().get_draft("pass").send().await.expect("a draft").etag;
    let draft = acme.blueprints().write_draft("pass", files(&open)).etag(etag).send().await.expect("a draft").blueprint_draft;
    acme.blueprints().publish("pass@2.0.0", &draft.etag).send().await.expect("a version");
    acme.deployments().create("shop/dev/pass", "pass@1.0.0").input("secret", "hush").send().await.expect("a deployment");
    let shown = async || acme.deployments().get("shop/dev/pass").send().await.expect("it is there").inputs;

    // Neither with other inputs nor without any is what was kept carried over.
    let upgrade = || acme.deployments().update("shop/dev/pass").blueprint_version("pass@2.0.0");
    for upgrade in [upgrade(), upgrade().inputs(Map::new())] {
        let refused = upgrade.send().await.expect_err("the secret would show");
        assert!(format!("{refused:?}").contains("deployment.inputs.secret"), "{refused:?}");
        assert!(!format!("{refused:?}").contains("hush"), "{refused:?}");
    }
    assert_eq!(shown().await.get("secret"), None);

    // A version that does not know it takes nothing over.
    let without = BLUEPRINT.replace("    secret: {type: string, sensitive: true}\n", "    name: {type: string, default: pet}\n");
    let without = without.replace("${inputs.secret}", "${inputs.name}");
    let etag = acme.blueprints().get_draft("pass").send().await.expect("a draft").etag;
    let draft = acme.blueprints().write_draft("pass", files(&without)).etag(etag).send().await.expect("a draft").blueprint_draft;
    acme.blueprints().publish("pass@3.0.0", &draft.etag).send().await.expect("a version");
    acme.deployments().create("shop/dev/other", "pass@1.0.0").input("secret", "hush").send().await.expect("a deployment");
    let upgraded = acme.deployments().update("shop/dev/other").blueprint_version("pass@3.0.0").send().await.expect("an upgrade");
    assert_eq!(upgraded.inputs, Map::from_iter([("name".to_owned(), Value::from("pet"))]));
    let again = acme.deployments().update("shop/dev/other").blueprint_version("pass@3.0.0").send().await.expect("no change");
    assert_eq!(again.etag, upgraded.etag, "what changes nothing is not a change");

    let inputs = Map::from_iter([("secret".to_owned(), Value::from("for all"))]);
    upgrade().inputs(inputs).send().await.expect("a value that may be seen");
    assert_eq!(shown().await.get("secret"), Some(&Value::from("for all")));
}
