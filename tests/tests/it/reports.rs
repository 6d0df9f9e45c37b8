//! What becomes of a run when reports come late, twice, against another run's, or over a quota.

use freehold::{
    AuditDecision, DeploymentState, EnvironmentKind, RunOutcome, RunPhase,
    raw::proto::{
        deployments::v1::RunError,
        runners::v1::{ApplyResult, HeartbeatRequest, JobFailure, PlanResult, complete_job_request::Result as End},
    },
};
use freehold_tests::{Database, World};
use serde_json::Map;
use uuid::Uuid;

use crate::scripted_runner::{Runner, applied, intended, plan, planned, step};

/// The state, its serial, of `shop/dev/{id}`.
async fn serial(world: &World, id: &str) -> i64 {
    let versions = world.admin.state().list_versions(format!("shop/dev/{id}")).send().await.expect("states").items;
    versions.iter().map(|version| version.serial).max().unwrap_or(0)
}

async fn outcome(world: &World, run: &str) -> Option<RunOutcome> {
    world.admin.runs().get(run).send().await.expect("a run").run().outcome
}

both_databases!(a_report_that_was_overtaken_changes_nothing);

async fn a_report_that_was_overtaken_changes_nothing(database: Database) {
    let world = World::with(database, &["--lease", "3"]).await.with_sample().await;
    let mut runner = Runner::new(&world).await;
    plan(&world.admin, "shop/dev/web").await;
    let job = runner.begin_apply(1, 0).await;
    runner.report(&job, 1, vec![intended("random_pet.pet")], "").await;
    runner.report(&job, 2, vec![step("random_pet.pet", "done")], "two").await;
    // The first tries of both, held up on their way.
    runner.report(&job, 1, vec![intended("random_pet.pet")], "").await;
    runner.report(&job, 2, vec![step("random_pet.pet", "done")], "before two").await;
    assert_eq!(serial(&world, "web").await, 1, "one state");

    let job = loop {
        // The lease ends, and the next holder is told what is known.
        if let Some(job) = runner.ask().await {
            break job;
        }
    };
    assert_eq!(job.journal.iter().map(|entry| entry.state.as_str()).collect::<Vec<_>>(), ["done"]);
}

both_databases!(what_is_real_is_kept_whatever_the_quota_says);

async fn what_is_real_is_kept_whatever_the_quota_says(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let mut runner = Runner::new(&world).await;
    let run = plan(&world.admin, "shop/dev/web").await;
    let job = runner.begin_apply(1, 0).await;
    world.admin.quotas().set_limit("storage_bytes", 1).send().await.expect("a limit below what is used");
    runner.report(&job, 1, vec![intended("random_pet.pet")], "").await;
    runner.report(&job, 2, vec![step("random_pet.pet", "done")], "a state").await;
    runner.complete(&job, applied("a longer state")).await;
    assert_eq!(outcome(&world, &run).await, Some(RunOutcome::Succeeded));

    let more = world.admin.runs().plan("shop/dev/web").send().await;
    assert!(more.err().is_some_and(|error| error.reason() == Some("QUOTA_EXCEEDED")), "nothing new begins");
    let destroy = world.admin.runs().destroy("shop/dev/web").auto_apply().send().await.expect("but room can be made").into_run();
    let job = runner.begin_apply(1, serial(&world, "web").await).await;
    runner.report(&job, 1, vec![intended("random_pet.pet")], "").await;
    runner.complete(&job, destroyed()).await;
    assert_eq!(outcome(&world, &destroy.name).await, Some(RunOutcome::Succeeded));
    let off = world.admin.quotas().recount("storage_bytes").send().await.expect("a count").difference;
    assert_eq!(off, 0, "all of it was counted");
}

fn destroyed() -> End {
    End::Apply(ApplyResult { changed: true, state: b"{}".into(), outputs: b"{}".into(), ..Default::default() })
}

both_databases!(a_plan_that_was_overtaken_is_stale_however_little_it_would_do);

async fn a_plan_that_was_overtaken_is_stale_however_little_it_would_do(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let mut runner = Runner::new(&world).await;
    let apply = plan(&world.admin, "shop/dev/web").await;
    let applying = runner.begin_apply(1, 0).await;
    runner.report(&applying, 1, vec![intended("random_pet.pet")], "").await;

    // Its runner has seen a deployment without resources, and reports when there are some.
    let destroy = world.admin.runs().destroy("shop/dev/web").auto_apply().send().await.expect("a run").into_run();
    let destroying = runner.ask().await.expect("work");
    runner.complete(&applying, applied("a state")).await;
    runner.complete(&destroying, planned(0, 0)).await;
    assert_eq!(outcome(&world, &apply).await, Some(RunOutcome::Succeeded));
    assert_eq!(outcome(&world, &destroy.name).await, Some(RunOutcome::Stale));
    let deployment = world.admin.deployments().get("shop/dev/web").send().await.expect("a deployment");
    assert_eq!(deployment.state, DeploymentState::Active, "what was made is still there");
}

both_databases!(an_empty_plan_makes_a_partial_deployment_whole);

async fn an_empty_plan_makes_a_partial_deployment_whole(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let mut runner = Runner::new(&world).await;
    plan(&world.admin, "shop/dev/web").await;
    let job = runner.begin_apply(2, 0).await;
    runner.report(&job, 1, vec![step("random_pet.pet", "done")], "a state").await;
    runner.complete(&job, failed()).await;
    let get = async || world.admin.deployments().get("shop/dev/web").send().await.expect("a deployment");
    let deployment = get().await;
    assert_eq!((deployment.state, deployment.observed_revision), (DeploymentState::Partial, 0));

    // What failed is not wanted any more, and what is left is there.
    for _ in 0..2 {
        let run = world.admin.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run").into_run();
        let job = runner.ask().await.expect("work");
        runner.complete(&job, planned(0, serial(&world, "web").await)).await;
        assert_eq!(outcome(&world, &run.name).await, Some(RunOutcome::NoChanges));
        let deployment = get().await;
        assert_eq!((deployment.state, deployment.observed_revision), (DeploymentState::Active, 1), "one revision, not two");
    }
}

fn failed() -> End {
    End::Failure(JobFailure { error: Some(RunError { code: "failed".to_owned(), ..Default::default() }) })
}

/// Asks for this name in the greeting.
async fn want(world: &World, name: &str) {
    let inputs = Map::from_iter([("name".to_owned(), name.into())]);
    world.admin.deployments().update("shop/dev/web").inputs(inputs).send().await.expect("an update");
}

both_databases!(a_rollback_takes_nothing_back_that_was_asked_for_meanwhile);

async fn a_rollback_takes_nothing_back_that_was_asked_for_meanwhile(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let mut runner = Runner::new(&world).await;
    plan(&world.admin, "shop/dev/web").await;
    let mut go = async |base_serial: i64, state: &str, meanwhile: Option<&str>| {
        let job = runner.begin_apply(1, base_serial).await;
        if let Some(name) = meanwhile {
            want(&world, name).await;
        }
        runner.complete(&job, applied(state)).await;
    };
    go(0, "one", None).await;
    let wanted = async || {
        let deployment = world.admin.deployments().get("shop/dev/web").send().await.expect("a deployment");
        deployment.inputs.get("name").and_then(|name| name.as_str().map(str::to_owned))
    };
    want(&world, "moon").await;
    world.admin.runs().rollback("shop/dev/web", 1).auto_apply().send().await.expect("a run");
    go(1, "two", None).await;
    assert_eq!(wanted().await.as_deref(), Some("world"), "what was rolled back to is wanted");

    world.admin.runs().rollback("shop/dev/web", 1).auto_apply().send().await.expect("a run");
    go(2, "three", Some("mars")).await;
    assert_eq!(wanted().await.as_deref(), Some("mars"), "what was asked for later is");
}

both_databases!(a_draining_runner_is_given_nothing_until_it_is_resumed);

async fn a_draining_runner_is_given_nothing_until_it_is_resumed(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let mut runner = Runner::new(&world).await;
    let beat = HeartbeatRequest { engines: vec!["native".to_owned()], ..Default::default() };
    runner.0.heartbeat(beat).await.expect("known");
    let name = world.admin.runner_pools().list_runners("default").send().await.expect("runners").items[0].name.clone();
    world.admin.runner_pools().drain_runner(&name).send().await.expect("draining");
    let run = plan(&world.admin, "shop/dev/web").await;
    assert!(runner.ask().await.is_none());
    world.admin.runner_pools().resume_runner(&name).send().await.expect("resumed");
    assert_eq!(runner.ask().await.map(|job| job.run), Some(run.clone()));
    let phase = world.admin.runs().get(&run).send().await.expect("a run").run().phase;
    assert_eq!(phase, RunPhase::Preparing);
}

both_databases!(an_apply_keeps_to_the_rules_of_the_moment_it_begins);

async fn an_apply_keeps_to_the_rules_of_the_moment_it_begins(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let mut runner = Runner::new(&world).await;
    let developer = world.person("acme", "dev", &["developer"]).await;
    let is = async |kind| {
        world.admin.environments().update("shop/dev").kind(kind).send().await.expect("an environment");
    };
    let phase = async |run: &str| world.admin.runs().get(run).send().await.expect("a run").run().phase;

    // Queued for the apply where nobody has to approve, and then somebody has to.
    let run = plan(&developer, "shop/dev/web").await;
    let job = runner.ask().await.expect("work");
    runner.complete(&job, planned(1, 0)).await;
    is(EnvironmentKind::Prod).await;
    assert!(runner.ask().await.is_none());
    assert_eq!(phase(&run).await, RunPhase::AwaitingApproval);
    let handle = developer.runs().get(&run).send().await.expect("a run");
    let reason = handle.apply().send().await.err().and_then(|error| error.reason().map(str::to_owned));
    assert_eq!(reason.as_deref(), Some("APPROVAL_REQUIRED"), "its author cannot have it applied any more");
    let reason = handle.approve().send().await.err().and_then(|error| error.reason().map(str::to_owned));
    assert_eq!(reason.as_deref(), Some("PERMISSION_MISSING"));
    world.admin.runs().get(&run).send().await.expect("a run").approve().send().await.expect("somebody else can approve it");
    let job = runner.ask().await.expect("work");
    runner.complete(&job, applied("a state")).await;
    assert_eq!(outcome(&world, &run).await, Some(RunOutcome::Succeeded));

    // Planned, and then protected.
    is(EnvironmentKind::Dev).await;
    let protect = async |on| {
        world.admin.deployments().update("shop/dev/web").deletion_protection(on).send().await.expect("a deployment");
    };
    let destroy = world.admin.runs().destroy("shop/dev/web").send().await.expect("a run");
    let job = runner.ask().await.expect("work");
    runner.complete(&job, planned(1, 1)).await;
    let destroy = world.admin.runs().get(&destroy.run().name).send().await.expect("a run");
    protect(true).await;
    let reason = destroy.apply().send().await.err().and_then(|error| error.reason().map(str::to_owned));
    assert_eq!(reason.as_deref(), Some("STATE_NOT_ALLOWED"), "it is protected");
    protect(false).await;
    destroy.apply().send().await.expect("queued");
    protect(true).await;
    assert!(runner.ask().await.is_none(), "it is protected again");
    let waits = world.admin.runs().get(&destroy.run().name).send().await.expect("a run").into_run().waiting_on;
    assert!(waits.is_some_and(|on| on.detail.contains("deletion protection")));
    protect(false).await;
    assert!(runner.ask().await.is_some());
}

both_databases!(a_repeated_delete_of_what_was_missing_deletes_nothing_later);

async fn a_repeated_delete_of_what_was_missing_deletes_nothing_later(database: Database) {
    let world = World::new(database).await;
    let id = Uuid::now_v7().to_string();
    let delete = async || {
        world.admin.projects().delete("shop").allow_missing().request_id(&id).send().await.expect("gone");
    };
    delete().await;
    world.admin.projects().create("shop").send().await.expect("a project");
    delete().await;
    world.admin.projects().get("shop").send().await.expect("the repeat answers as the first time");
}

both_databases!(what_the_platform_was_refused_in_a_tenant_is_in_its_trail);

async fn what_the_platform_was_refused_in_a_tenant_is_in_its_trail(database: Database) {
    let world = World::new(database).await.with_sample().await;
    world.admin.environments().update("shop/dev").kind(EnvironmentKind::Prod).send().await.expect("an environment");
    let mut runner = Runner::new(&world).await;
    let run = plan(&world.admin, "shop/dev/web").await;
    let job = runner.ask().await.expect("work");
    runner.complete(&job, planned(1, 0)).await;
    let refused = world.admin.runs().get(&run).send().await.expect("a run").approve().send().await.expect_err("its own run");
    assert_eq!(refused.reason(), Some("PERMISSION_MISSING"));
    let trail = world.admin.audit().list().newest_first().collect_up_to(5).await.expect("acme's trail");
    let denied = trail.iter().find(|record| record.decision == AuditDecision::Denied).expect("the refusal");
    assert_eq!((denied.principal.as_str(), denied.resource.as_str()), ("platform/admin", run.as_str()));
}

both_databases!(a_plan_that_no_message_could_carry_fails_at_once);

async fn a_plan_that_no_message_could_carry_fails_at_once(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let mut runner = Runner::new(&world).await;
    let run = plan(&world.admin, "shop/dev/web").await;
    let job = runner.ask().await.expect("work");
    let End::Plan(large) = planned(1, 0) else { unreachable!("a plan") };
    runner.complete(&job, End::Plan(PlanResult { plan: vec![b' '; 7 << 20], ..large })).await;
    let run = world.admin.runs().get(&run).send().await.expect("a run").into_run();
    assert_eq!((run.outcome, run.error.map(|error| error.code)), (Some(RunOutcome::Failed), Some("plan-too-large".to_owned())));
}
