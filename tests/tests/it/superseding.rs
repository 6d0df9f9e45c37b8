//! Newer runs and older ones of the same deployment.

use crate::scripted_runner::{Runner, applied, planned};
use freehold::{Client, RunOutcome, RunPhase};
use freehold_tests::{Database, World};

const WEB: &str = "shop/dev/web";

/// How a run that was begun stands now.
async fn now(client: &Client, name: &str) -> (RunPhase, Option<RunOutcome>) {
    let run = client.runs().get(name).send().await.expect("a run").into_run();
    (run.phase, run.outcome)
}

/// A deployment that was applied by this runner.
async fn applied_once(world: &World, runner: &mut Runner) {
    let acme = &world.admin;
    acme.deployments().create(WEB, "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
    acme.runs().plan(WEB).auto_apply().send().await.expect("a run");
    let job = runner.begin_apply(1, 0).await;
    runner.complete(&job, applied("one")).await;
}

both_databases!(a_newer_run_takes_the_place_of_older_ones_that_wait_for_the_same);

async fn a_newer_run_takes_the_place_of_older_ones_that_wait_for_the_same(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let (acme, mut runner) = (&world.admin, Runner::new(&world).await);
    applied_once(&world, &mut runner).await;
    let (queued, superseded) = ((RunPhase::Queued, None), (RunPhase::Done, Some(RunOutcome::Superseded)));
    let name = |run: freehold::RunHandle| run.into_run().name;

    let drift = name(acme.runs().detect_drift(WEB).send().await.expect("a check"));
    let newer_drift = name(acme.runs().detect_drift(WEB).send().await.expect("a check"));
    assert_eq!((now(acme, &drift).await, now(acme, &newer_drift).await), (superseded, queued), "a check by a check");

    // A look and a change are of two kinds; both put an end to a check.
    let look = name(acme.runs().plan(WEB).speculative().send().await.expect("a run"));
    let cancelled = (RunPhase::Done, Some(RunOutcome::Cancelled));
    assert_eq!((now(acme, &newer_drift).await, now(acme, &look).await), (cancelled, queued), "a check by who wants something");
    let change = name(acme.runs().plan(WEB).send().await.expect("a run"));
    assert_eq!((now(acme, &look).await, now(acme, &change).await), (queued, queued), "a look is not in the way of a change");
    let newer_look = name(acme.runs().plan(WEB).speculative().send().await.expect("a run"));
    assert_eq!((now(acme, &look).await, now(acme, &change).await), (superseded, queued), "a look by a look");
    let late_check = name(acme.runs().detect_drift(WEB).send().await.expect("a check"));
    assert_eq!((now(acme, &newer_look).await, now(acme, &change).await), (queued, queued), "nothing by a check");

    // Who says so leaves those alone that wait, but for checks.
    let second = name(acme.runs().plan(WEB).keep_queued().send().await.expect("a run"));
    assert_eq!((now(acme, &change).await, now(acme, &second).await), (queued, queued));
    assert_eq!(now(acme, &late_check).await, cancelled);
    let destroy = name(acme.runs().destroy(WEB).send().await.expect("a run"));
    for older in [&change, &second] {
        assert_eq!(now(acme, older).await, superseded, "of all that wait to change it, one is left");
    }
    assert_eq!((now(acme, &destroy).await, now(acme, &newer_look).await), (queued, queued));

    // What a runner works on is left alone.
    let job = runner.ask().await.expect("the change comes before the look");
    assert_eq!(job.run, destroy);
    let last = name(acme.runs().plan(WEB).send().await.expect("a run"));
    assert_eq!((now(acme, &destroy).await.0, now(acme, &last).await), (RunPhase::Preparing, queued));
    runner.complete(&job, planned(1, 1)).await;
    assert_eq!(now(acme, &destroy).await.0, RunPhase::AwaitingApproval);
    let final_one = name(acme.runs().rollback(WEB, 1).send().await.expect("a run"));
    for older in [&destroy, &last] {
        assert_eq!(now(acme, older).await, superseded, "waiting for a person is waiting, too");
    }
    assert_eq!(now(acme, &final_one).await, queued);
    assert_eq!(acme.quotas().get("queued_runs").send().await.expect("a quota").reserved, 2, "the look and the rollback");
}

both_databases!(a_check_for_drift_that_is_under_way_makes_room_at_once);

async fn a_check_for_drift_that_is_under_way_makes_room_at_once(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let (acme, mut runner) = (&world.admin, Runner::new(&world).await);
    applied_once(&world, &mut runner).await;
    acme.quotas().set_limit("concurrent_runs", 1).send().await.expect("a limit");
    let check = acme.runs().detect_drift(WEB).send().await.expect("a check").into_run().name;
    let job = runner.ask().await.expect("the check");
    assert_eq!(job.run, check);

    let wanted = acme.runs().plan(WEB).send().await.expect("a run").into_run().name;
    assert_eq!(now(acme, &check).await, (RunPhase::Done, Some(RunOutcome::Cancelled)));
    let late = runner.try_complete(&job, planned(0, 1)).await.expect_err("its lease is over");
    assert_eq!(freehold::raw::error(late).reason(), Some("LEASE_LOST"));
    assert_eq!(runner.ask().await.map(|job| job.run), Some(wanted), "the only place of the tenant is free again");
}
