//! A suspended tenant: what runs is finished, nothing begins, and the platform puts right what has to be.

use crate::scripted_runner::{Runner, applied, intended, plan, planned};
use freehold::{RunOutcome, RunPhase, raw::proto::runners::v1 as pb};
use freehold_tests::{Database, World, furnish, until};

fn refused(answer: freehold::Result<impl Sized>) -> Option<String> {
    answer.err().and_then(|error| error.reason().map(str::to_owned))
}

both_databases!(a_suspended_tenant_finishes_what_runs_and_begins_nothing);

async fn a_suspended_tenant_finishes_what_runs_and_begins_nothing(database: Database) {
    let world = World::with(database, &["--lease", "3"]).await.with_sample().await;
    let platform = &world.admin;
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    let mut runner = Runner::new(&world).await;
    let (one, two) = (plan(&ada, "shop/dev/one").await, plan(&ada, "shop/dev/two").await);
    let job = runner.ask().await.expect("work");
    assert_eq!(job.run, one, "the oldest first");

    platform.tenants().suspend("acme", "unpaid").send().await.expect("suspended");
    runner.complete(&job, planned(1, 0)).await;
    assert!(runner.ask().await.is_none(), "nothing begins");
    for (name, phase) in [(&one, RunPhase::ApplyQueued), (&two, RunPhase::Queued)] {
        let run = ada.runs().get(name).send().await.expect("reads go on").into_run();
        let why = run.waiting_on.map(|on| on.detail).unwrap_or_default();
        assert_eq!((run.phase, why.as_str()), (phase, "tenants/acme to be active again; it is SUSPENDED"));
    }

    platform.tenants().resume("acme").send().await.expect("resumed");
    let job = runner.ask().await.expect("it goes on");
    assert_eq!((job.run.as_str(), job.kind(), job.payload.as_slice()), (one.as_str(), pb::JobKind::Apply, &b"the plan"[..]));
    runner.report(&job, 1, vec![intended("random_pet.pet")], "").await;
    platform.tenants().suspend("acme", "still unpaid").send().await.expect("suspended");
    until("the run to be taken back", || async {
        let run = ada.runs().get(&one).send().await.expect("a run");
        run.run().phase == RunPhase::Recovering
    })
    .await;
    let job = runner.ask().await.expect("what has begun is finished");
    assert_eq!((job.run.as_str(), job.journal.len()), (one.as_str(), 1));
    runner.complete(&job, applied("{}")).await;
    let run = ada.runs().get(&one).send().await.expect("a run").into_run();
    assert_eq!((run.phase, run.outcome), (RunPhase::Done, Some(RunOutcome::Succeeded)));
    assert!(runner.ask().await.is_none(), "the other one still waits");
    assert_eq!(refused(ada.runs().cancel(&two).send().await).as_deref(), Some("TENANT_SUSPENDED"));
    platform.runs().cancel(&two).send().await.expect("the platform can end it");
}

both_databases!(many_suspended_tenants_keep_nobody_waiting);

async fn many_suspended_tenants_keep_nobody_waiting(database: Database) {
    // More than a runner's look at the queue reads at once.
    const SUSPENDED: usize = 70;
    let world = World::new(database).await.with_sample().await;
    for number in 0..SUSPENDED {
        let tenant = world.tenant(&format!("late-{number}")).await;
        furnish(&tenant).await;
        plan(&tenant, "shop/dev/one").await;
        tenant.tenants().suspend(format!("late-{number}"), "unpaid").send().await.expect("suspended");
    }
    let last = plan(&world.admin, "shop/dev/one").await;
    let mut runner = Runner::new(&world).await;
    let mut given = None;
    for _ in 0..10 {
        given = runner.ask().await;
        if given.is_some() {
            break;
        }
    }
    assert_eq!(given.map(|job| job.run), Some(last));
}

both_databases!(of_a_suspended_tenant_the_platform_changes_limits_and_people_only);

async fn of_a_suspended_tenant_the_platform_changes_limits_and_people_only(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let platform = &world.admin;
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    platform.tenants().suspend("acme", "unpaid").send().await.expect("suspended");
    let suspended = Some("TENANT_SUSPENDED".to_owned());

    platform.quotas().set_limit("projects", 7).send().await.expect("a limit");
    platform.quotas().recount("projects").send().await.expect("a count");
    let bob = platform.users().invite("bob@acme.example").id("bob").send().await.expect("an invitation");
    let binding = platform.access().bind("viewer", "users/bob").send().await.expect("a role");
    platform.access().unbind(&binding.name).send().await.expect("no role");
    platform.users().deactivate(&bob.name).send().await.expect("out");
    assert_eq!(refused(platform.projects().create("two").send().await), suspended);
    assert_eq!(refused(platform.runs().plan("shop/dev/none").send().await), suspended);

    assert_eq!(refused(ada.users().invite("eve@acme.example").send().await), suspended);
    assert_eq!(refused(ada.access().bind("viewer", "users/bob").send().await), suspended);
    assert_eq!(refused(ada.tenants().update("acme").display_name("x").send().await), suspended);
    assert_eq!(ada.quotas().get("projects").send().await.expect("reads go on").limit, Some(7));
    assert_eq!(ada.users().list().send().await.expect("reads go on").items.len(), 2);

    platform.tenants().delete("acme").send().await.expect("deleted without being resumed");
}
