//! Why a run waits: each reason is made true, told, and ended.

use std::time::Duration;

use crate::scripted_runner::{Runner, applied, intended, planned};
use freehold::{Blocker, BlockerKind, Client, RunExplanation, RunPhase, WaitingReason};
use freehold_tests::{Database, World, eventually};

async fn why(client: &Client, name: &str) -> RunExplanation {
    client.runs().explain(name).send().await.expect("an answer")
}

fn reason(why: &RunExplanation) -> Option<WaitingReason> {
    why.waiting_on.as_ref().map(|on| on.reason)
}

/// The blockers of a kind.
fn blockers(why: &RunExplanation, kind: BlockerKind) -> Vec<&Blocker> {
    why.blockers.iter().filter(|blocker| blocker.kind == kind).collect()
}

/// Makes a deployment of the sample and begins a run of it that is applied without an approval; answers its name.
async fn plan(client: &Client, deployment: &str) -> String {
    client.deployments().create(deployment, "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    client.runs().plan(deployment).auto_apply().send().await.expect("a run").into_run().name
}

/// Carries out the statement of this database.
async fn execute(world: &World, sqlite: &'static str, postgres: &'static str) {
    let statement = if world.installation.database_url.starts_with("sqlite:") { sqlite } else { postgres };
    world.installation.execute(statement).await;
}

/// As if no runner had said for a minute that it lives.
async fn silence(world: &World) {
    execute(
        world,
        "UPDATE runners SET body = json_set(body, '$.last_seen_time', (body ->> '$.last_seen_time') - 60000000)",
        "UPDATE runners SET body = jsonb_set(CAST(body AS JSONB), '{last_seen_time}',
             to_jsonb(CAST(CAST(body AS JSONB) ->> 'last_seen_time' AS BIGINT) - 60000000))::text",
    )
    .await;
}

both_databases!(a_run_says_what_is_wrong_with_the_runners);

async fn a_run_says_what_is_wrong_with_the_runners(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let acme = &world.admin;
    let pool = "runnerPools/default";
    let (one, two, three) =
        (plan(acme, "shop/dev/one").await, plan(acme, "shop/dev/two").await, plan(acme, "shop/dev/three").await);

    let told = why(acme, &one).await;
    assert_eq!(reason(&told), Some(WaitingReason::RunnersAbsent));
    assert_eq!(blockers(&told, BlockerKind::RunnerPool).first().map(|blocker| blocker.resource.as_str()), Some(pool));
    assert_eq!((told.phase, told.queue_position, told.predicted_start_time), (RunPhase::Queued, None, None));
    assert!(told.prediction.is_some_and(|text| text.contains("no runner")) && told.deadline.is_some());
    assert!(told.at_deadline.is_some_and(|text| text.contains("EXPIRED")) && told.next.contains("plan"));

    let mut runner = Runner::named(&world, "r7").await;
    runner.beat("terraform", 1).await;
    let told = why(acme, &one).await;
    let detail = told.waiting_on.as_ref().map(|on| on.detail.clone()).unwrap_or_default();
    assert_eq!(reason(&told), Some(WaitingReason::EngineMissing));
    assert!(detail.contains("`native`") && detail.contains("terraform"), "{detail}");

    runner.beat("native", 1).await;
    let name = format!("{pool}/runners/r7");
    acme.runner_pools().drain_runner(&name).send().await.expect("told to drain");
    let told = why(acme, &one).await;
    assert_eq!(reason(&told), Some(WaitingReason::RunnersDraining));
    let [blocker] = blockers(&told, BlockerKind::Runner)[..] else { panic!("{told:?}") };
    let action = format!("freehold runner-pool resume {name}");
    assert_eq!((blocker.resource.as_str(), blocker.action.as_str()), (name.as_str(), action.as_str()));
    acme.runner_pools().resume_runner(&name).send().await.expect("told to work");

    // It is free, and nobody is before the first; the others have to wait, and nobody knows yet for how long.
    let told = why(acme, &one).await;
    assert_eq!((reason(&told), told.queue_position), (Some(WaitingReason::Runner), Some(1)));
    assert_eq!(told.predicted_start_time, told.explain_time, "now");
    let told = why(acme, &three).await;
    assert_eq!(
        (reason(&told), told.queue_position, told.predicted_start_time),
        (Some(WaitingReason::RunnersBusy), Some(3), None)
    );
    assert!(told.prediction.is_some_and(|text| text.contains("has ended yet")));

    let job = runner.ask().await.expect("work");
    assert_eq!(job.run, one);
    let told = why(acme, &one).await;
    assert_eq!((reason(&told), told.phase, told.queue_position), (None, RunPhase::Preparing, None));
    assert!(told.blockers.is_empty() && told.at_deadline.is_some_and(|text| text.contains("FAILED")));
    let told = why(acme, &two).await;
    assert_eq!((reason(&told), told.queue_position), (Some(WaitingReason::RunnersBusy), Some(1)));
    assert_eq!(blockers(&told, BlockerKind::Runner).len(), 1, "whose end it waits for");

    // When a job has ended it is known how long they take. The plan of the first is empty, so the next two are planned now.
    runner.complete(&job, planned(0, 0)).await;
    let job = runner.ask().await.expect("work");
    assert_eq!(job.run, two);
    let told = why(acme, &three).await;
    let (start, now) = (told.predicted_start_time.expect("it is known"), told.explain_time.expect("a time"));
    assert!(start >= now && start < now + Duration::from_secs(60), "{told:?}");
    let ended = why(acme, &one).await;
    assert_eq!((reason(&ended), ended.deadline, ended.at_deadline), (None, None, None));
    assert!(ended.next.contains("ended well"), "{}", ended.next);

    // The one that has the second does not say that it lives any more.
    silence(&world).await;
    let told = why(acme, &two).await;
    assert_eq!((reason(&told), told.phase), (Some(WaitingReason::Lease), RunPhase::Preparing));
    assert_eq!(blockers(&told, BlockerKind::Runner).first().map(|blocker| blocker.resource.as_str()), Some(name.as_str()));
    assert_eq!(reason(&why(acme, &three).await), Some(WaitingReason::RunnersAbsent));
}

both_databases!(a_run_says_what_its_tenant_lacks);

async fn a_run_says_what_its_tenant_lacks(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let acme = &world.admin;
    let mut runner = Runner::new(&world).await;
    runner.beat("native", 10).await;
    let (one, two) = (plan(acme, "shop/dev/one").await, plan(acme, "shop/dev/two").await);
    acme.quotas().set_limit("concurrent_runs", 1).send().await.expect("a limit");
    let job = runner.ask().await.expect("work");
    assert_eq!(job.run, one);

    let told = why(acme, &two).await;
    assert_eq!((reason(&told), told.queue_position), (Some(WaitingReason::Quota), None));
    let [quota] = blockers(&told, BlockerKind::Quota)[..] else { panic!("{told:?}") };
    assert_eq!(quota.resource, "tenants/acme/quotas/concurrent_runs");
    assert_eq!(quota.action, "freehold quota set tenants/acme/quotas/concurrent_runs 2");
    let holders: Vec<_> = blockers(&told, BlockerKind::Run).iter().map(|run| run.resource.as_str()).collect();
    assert_eq!(holders, [one.as_str()], "whose place it can have");
    let shown = acme.runs().get(&two).send().await.expect("a run").into_run();
    assert_eq!(shown.waiting_on.map(|on| on.reason), Some(WaitingReason::Quota), "the run itself says it, too");

    // Two things at once: both are told, and both have to end.
    acme.tenants().suspend("acme", "unpaid").send().await.expect("suspended");
    let told = why(acme, &two).await;
    assert_eq!(reason(&told), Some(WaitingReason::TenantSuspended));
    let [tenant] = blockers(&told, BlockerKind::Tenant)[..] else { panic!("{told:?}") };
    assert_eq!((tenant.resource.as_str(), tenant.action.as_str()), ("tenants/acme", "freehold tenant resume tenants/acme"));
    assert!(tenant.detail.contains("unpaid") && blockers(&told, BlockerKind::Quota).len() == 1, "{told:?}");
    assert!(runner.ask().await.is_none(), "and so it is");

    acme.tenants().resume("acme").send().await.expect("resumed");
    acme.quotas().set_limit("concurrent_runs", 2).send().await.expect("a limit");
    assert_eq!(reason(&why(acme, &two).await), Some(WaitingReason::Runner));
    assert_eq!(runner.ask().await.map(|job| job.run), Some(two));
}

both_databases!(a_run_says_who_may_decide_and_what_holds_its_deployment);

async fn a_run_says_who_may_decide_and_what_holds_its_deployment(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let acme = &world.admin;
    let mut runner = Runner::new(&world).await;
    runner.beat("native", 10).await;
    let environment = acme.environments().get("shop/dev").send().await.expect("an environment").name;
    acme.environments().update(&environment).require_approval(true).send().await.expect("stricter");
    let ada = world.person("acme", "ada", &["developer", "approver"]).await;
    world.person("acme", "bob", &["approver"]).await;
    world.person("acme", "eve", &["viewer"]).await;
    world.person("acme", "tom", &["approver"]).await;
    acme.users().deactivate("tom").send().await.expect("gone");

    // Neither the author, nor who only looks, nor who has left.
    let first = plan(&ada, "shop/dev/web").await;
    let job = runner.ask().await.expect("work");
    runner.complete(&job, planned(1, 0)).await;
    acme.users().deactivate("bob").send().await.expect("away");
    let told = why(&ada, &first).await;
    let [tenant] = blockers(&told, BlockerKind::Tenant)[..] else { panic!("{told:?}") };
    assert_eq!(tenant.action, "freehold --tenant acme role-binding create approver users/NAME");
    let bob = world.person("acme", "robert", &["approver"]).await;
    let told = why(&ada, &first).await;
    assert_eq!((reason(&told), told.phase), (Some(WaitingReason::Approval), RunPhase::AwaitingApproval));
    let [decider] = blockers(&told, BlockerKind::Principal)[..] else { panic!("{told:?}") };
    assert_eq!(decider.resource, "tenants/acme/users/robert");
    assert_eq!(decider.action, format!("freehold run approve {first}"));
    assert_eq!((told.queue_position, told.predicted_start_time), (None, None));
    let run = bob.runs().get(&first).send().await.expect("a run");
    run.approve().send().await.expect("approved");

    // Its apply holds the deployment; another one has to wait for that.
    acme.environments().update(&environment).require_approval(false).send().await.expect("laxer");
    let holder = runner.ask().await.expect("the apply");
    assert_eq!(holder.run, first);
    let second = acme.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run").into_run().name;
    let job = runner.ask().await.expect("a plan");
    runner.complete(&job, planned(1, 0)).await;
    let told = why(acme, &second).await;
    assert_eq!((reason(&told), told.phase), (Some(WaitingReason::Lock), RunPhase::ApplyQueued));
    let [run] = blockers(&told, BlockerKind::Run)[..] else { panic!("{told:?}") };
    assert!(run.resource == first && run.detail.contains("APPLYING"), "{run:?}");
    assert!(runner.ask().await.is_none(), "and so it is");
    runner.complete(&holder, applied("one")).await;
    let told = why(acme, &second).await;
    assert!(reason(&told) == Some(WaitingReason::Runner) && told.next.contains("STALE"), "{told:?}");
    assert!(runner.ask().await.is_none(), "what it was planned on is gone");

    // Nobody has to approve here, and nobody did; somebody has to want it. Then it is protected.
    let destroy = acme.runs().destroy("shop/dev/web").send().await.expect("a run").into_run().name;
    let job = runner.ask().await.expect("a plan");
    runner.complete(&job, planned(1, 1)).await;
    let told = why(acme, &destroy).await;
    assert_eq!(reason(&told), Some(WaitingReason::Approval));
    let [decider] = blockers(&told, BlockerKind::Principal)[..] else { panic!("{told:?}") };
    assert_eq!(
        (decider.resource.as_str(), decider.action.clone()),
        ("tenants/acme/users/ada", format!("freehold run apply {destroy}"))
    );
    let protect = |on| acme.deployments().update("shop/dev/web").deletion_protection(on).send();
    acme.runs().get(&destroy).send().await.expect("a run").apply().send().await.expect("wanted");
    protect(true).await.expect("protected");
    let other = plan(acme, "shop/dev/other").await;
    let told = why(acme, &destroy).await;
    assert_eq!(reason(&told), Some(WaitingReason::Protection));
    let [deployment] = blockers(&told, BlockerKind::Deployment)[..] else { panic!("{told:?}") };
    assert!(deployment.action.starts_with("freehold deployment update tenants/acme/"), "{deployment:?}");
    assert_eq!(runner.ask().await.map(|job| job.run), Some(other), "what is behind it of the same tenant is not kept by it");
    assert!(runner.ask().await.is_none(), "and it is");
    protect(false).await.expect("not protected");
    assert_eq!(runner.ask().await.map(|job| job.run), Some(destroy));
}

both_databases!(a_run_whose_runner_was_lost_says_what_has_to_be_found_out);

async fn a_run_whose_runner_was_lost_says_what_has_to_be_found_out(database: Database) {
    let world = World::with(database, &["--lease", "2"]).await.with_sample().await;
    let acme = &world.admin;
    let mut runner = Runner::new(&world).await;
    runner.beat("native", 10).await;
    let run = plan(acme, "shop/dev/web").await;
    let job = runner.begin_apply(1, 0).await;
    runner.report(&job, 1, vec![intended("random_pet.pet")], "").await;
    let told = eventually("the run to be taken back", || async {
        let told = why(acme, &run).await;
        if told.phase == RunPhase::Recovering { Ok(told) } else { Err(told) }
    })
    .await;
    assert_eq!((reason(&told), told.queue_position), (Some(WaitingReason::Recovery), Some(1)));
    let detail = told.waiting_on.as_ref().map(|on| on.detail.clone()).unwrap_or_default();
    assert!(detail.contains("runnerPools/default/runners/r1"), "{detail}");
    assert!(told.at_deadline.is_some_and(|text| text.contains("goes on waiting")), "a begun apply has no end but its end");

    // It holds its deployment meanwhile.
    let next = acme.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run").into_run().name;
    let recovered = runner.ask().await.expect("what has begun comes first");
    assert_eq!((recovered.run.as_str(), recovered.journal.len()), (run.as_str(), 1));
    runner.complete(&recovered, applied("one")).await;
    assert_eq!(runner.ask().await.map(|job| job.run), Some(next));
}

both_databases!(a_run_of_another_tenant_is_not_explained);

async fn a_run_of_another_tenant_is_not_explained(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let run = plan(&world.admin, "shop/dev/web").await;
    world.tenant("other").await;
    let eve = world.person("other", "eve", &["tenant-admin"]).await;
    let error = eve.runs().explain(&run).send().await.expect_err("it does not exist for her");
    assert!(error.is_not_found(), "{error:?}");
}
