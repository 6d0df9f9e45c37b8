//! Outputs whose values nobody sees in a plan.

use freehold::{BlueprintFile, ChangeAction, RunOutcome};
use freehold_tests::{Database, World};

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
        let inputs = serde_json::Map::from_iter([("secret".to_owned(), secret.into())]);
        acme.deployments().update("shop/dev/pass").inputs(inputs).send().await.expect("a wish");
        let run = acme.runs().plan("shop/dev/pass").auto_apply().send().await.expect("a run").wait_done().await.expect("it ends");
        assert_eq!(run.run().outcome, Some(outcome), "{secret}: {:?}", run.run().error);
        let [output] = <[_; 1]>::try_from(run.plan().await.expect("a plan").outputs).expect("one output");
        assert_eq!((output.action, output.sensitive, output.before, output.after), (action, true, None, None));
    }
}
