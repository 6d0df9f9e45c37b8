//! The life of a deployment, from its plan to its destruction.

use freehold::{DeploymentState, RunOutcome, RunPhase};
use freehold_tests::{Database, World};

both_databases!(a_deployment_is_planned_approved_applied_changed_rolled_back_and_destroyed);

async fn a_deployment_is_planned_approved_applied_changed_rolled_back_and_destroyed(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let _runner = world.runner();
    let acme = &world.admin;

    acme.deployments().create("shop/dev/hello", "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    let run = acme.runs().plan("shop/dev/hello").send().await.expect("a run");
    let run = run.wait_until(RunPhase::AwaitingApproval).await.expect("it is planned");
    let plan = run.plan().await.expect("a plan");
    assert_eq!(plan.summary.as_ref().map(|numbers| numbers.create), Some(4));
    acme.runs().approve(&run).send().await.expect("approved");
    let done = run.wait_done().await.expect("it ends").into_result().expect("well");
    assert_eq!(done.outcome, Some(RunOutcome::Succeeded));
    let first = world.made("shop/dev/hello.txt").expect("the file is there");
    assert!(first.starts_with("Welcome to Freehold.\nHello world, I am "), "{first}");
    let deployment = acme.deployments().get("shop/dev/hello").send().await.expect("it is there");
    assert_eq!((deployment.state, deployment.observed_revision), (DeploymentState::Active, 1));

    let inputs = serde_json::Map::from_iter([("name".to_owned(), "moon".into())]);
    acme.deployments().update("shop/dev/hello").inputs(inputs).send().await.expect("a new wish");
    let run = acme.runs().plan("shop/dev/hello").auto_apply().send().await.expect("a run");
    run.wait_done().await.expect("it ends").into_result().expect("well");
    let second = world.made("shop/dev/hello.txt").expect("the file is there");
    assert_eq!(second, first.replace("world", "moon"), "only the name has changed, the pet is the same");

    let run = acme.runs().rollback("shop/dev/hello", 1).auto_apply().send().await.expect("a run");
    run.wait_done().await.expect("it ends").into_result().expect("well");
    assert_eq!(world.made("shop/dev/hello.txt"), Some(first));

    let drift = acme.runs().detect_drift("shop/dev/hello").send().await.expect("a run").wait_done().await.expect("it ends");
    assert_eq!(drift.run().plan_summary.as_ref().map(|numbers| numbers.drifted), Some(0));
    std::fs::write(world.installation.path("files/acme/shop/dev/hello.txt"), "vandalised").expect("a vandal");
    acme.runs().detect_drift("shop/dev/hello").send().await.expect("a run").wait_done().await.expect("it ends");
    assert!(acme.deployments().get("shop/dev/hello").send().await.expect("it is there").drifted);

    let run = acme.runs().destroy("shop/dev/hello").auto_apply().send().await.expect("a run");
    run.wait_done().await.expect("it ends").into_result().expect("well");
    assert_eq!(world.made("shop/dev/hello.txt"), None);
    let deployment = acme.deployments().get("shop/dev/hello").send().await.expect("it is there");
    assert_eq!(deployment.state, DeploymentState::Destroyed);
    acme.deployments().delete("shop/dev/hello").send().await.expect("nothing of it is real");
    assert_eq!(acme.quotas().get("deployments").send().await.expect("a quota").used, 0);
    for quota in ["deployments", "projects", "environments", "blueprints", "storage_bytes"] {
        let difference = acme.quotas().recount(quota).send().await.expect("a recount").difference;
        assert_eq!(difference, 0, "the counter of {quota} is the count of the rows");
    }
}
