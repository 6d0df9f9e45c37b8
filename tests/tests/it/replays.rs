//! A network that delivers what a runner says twice, late, and in another order.

use freehold::{
    RunOutcome,
    raw::proto::{
        deployments::v1::LogLine,
        runners::v1::{AcquireJobRequest, AppendJobLogsRequest, ApplyResult, ExtendLeaseRequest, Job, OfferLateResultRequest},
    },
};
use freehold_tests::{Database, World};
use futures::TryStreamExt as _;
use tonic::Code;
use uuid::Uuid;

use crate::scripted_runner::{Runner, applied, asks, intended, plan, planned, planned_as, step};

/// The answer to this ask.
async fn ask(runner: &mut Runner, id: Uuid) -> Job {
    ask_as(runner, asks(id, "native")).await
}

async fn ask_as(runner: &mut Runner, ask: AcquireJobRequest) -> Job {
    runner.0.acquire_job(ask).await.expect("an answer").into_inner().job.expect("a job")
}

/// Sends lines that begin at this one; answers how many there are.
async fn log(runner: &mut Runner, job: &Job, offset: i64, texts: &[&str]) -> i64 {
    let lines = texts.iter().map(|text| LogLine { text: (*text).to_owned(), ..Default::default() }).collect();
    let batch = AppendJobLogsRequest { run: job.run.clone(), epoch: job.epoch, offset, lines };
    runner.0.append_job_logs(batch).await.expect("taken").into_inner().committed_offset
}

both_databases!(calls_of_a_runner_that_come_again_late_or_out_of_order_have_one_effect);

async fn calls_of_a_runner_that_come_again_late_or_out_of_order_have_one_effect(database: Database) {
    let world = World::new(database).await.with_sample().await;
    let mut runner = Runner::new(&world).await;
    let run = plan(&world.admin, "shop/dev/web").await;
    let mut replayed = 0;

    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let planning = ask(&mut runner, first).await;
    for _ in 0..3 {
        let again = ask(&mut runner, first).await;
        assert_eq!((again.run, again.epoch), (planning.run.clone(), planning.epoch), "one job");
        replayed += 1;
    }
    runner.complete(&planning, planned(1, 0)).await;
    let digest = world.admin.runs().get(&run).send().await.expect("a run").into_run().plan_digest;
    for other in [planned(1, 0), planned_as("another plan", 2, 0)] {
        runner.complete(&planning, other).await;
        replayed += 1;
    }
    let begun = ask(&mut runner, second).await;
    assert_eq!(ask(&mut runner, second).await.epoch, begun.epoch, "one job");
    runner.report(&begun, 1, vec![intended("random_pet.pet")], "").await;
    // Its process is started anew, and what the earlier one had sent is still on its way.
    let anew = AcquireJobRequest { incarnation_id: Uuid::now_v7().to_string(), ..asks(second, "native") };
    let applying = ask_as(&mut runner, anew.clone()).await;
    assert_eq!((applying.epoch, applying.journal.len()), (begun.epoch + 1, 1), "one job under another fence");
    assert_eq!(ask_as(&mut runner, anew).await.epoch, applying.epoch, "one job");
    let late = runner.try_complete(&begun, applied("of the past")).await;
    assert_eq!(late.map_err(|status| status.code()), Err(Code::Aborted));
    replayed += 2;
    // The end of the plan once more, and what kept its lease, when the apply is under way.
    let late = runner.try_complete(&planning, planned_as("another plan", 2, 0)).await;
    assert_eq!(late.map_err(|status| status.code()), Err(Code::Aborted));
    let late = runner.0.extend_lease(ExtendLeaseRequest { run: run.clone(), epoch: planning.epoch }).await;
    assert_eq!(late.map(drop).map_err(|status| status.code()), Err(Code::Aborted));
    replayed += 3;

    // The second report overtakes the first, and both come again.
    runner.report(&applying, 2, vec![step("random_pet.pet", "done")], "one").await;
    for _ in 0..2 {
        runner.report(&applying, 1, vec![intended("random_pet.pet")], "").await;
        runner.report(&applying, 2, vec![step("random_pet.pet", "done")], "not one").await;
        replayed += 2;
    }
    assert_eq!(log(&mut runner, &applying, 0, &["a", "b"]).await, 2);
    assert_eq!(log(&mut runner, &applying, 0, &["a", "b"]).await, 2, "the same again");
    assert_eq!(log(&mut runner, &applying, 1, &["b", "c"]).await, 3, "some of it again");
    assert_eq!(log(&mut runner, &applying, 0, &["a"]).await, 3, "late");
    runner.complete(&applying, applied("two")).await;
    runner.complete(&applying, applied("not two")).await;
    let late = runner.try_complete(&planning, planned(1, 0)).await;
    assert_eq!(late.map_err(|status| status.code()), Err(Code::Aborted), "the plan's end, after all");
    let apply = ApplyResult { state: b"late".to_vec(), ..Default::default() };
    let offer = OfferLateResultRequest { run: run.clone(), epoch: applying.epoch, apply: Some(apply), ..Default::default() };
    for _ in 0..2 {
        runner.0.offer_late_result(offer.clone()).await.expect("what was reported in time is not late");
    }
    replayed += 7;

    let handle = world.admin.runs().get(&run).send().await.expect("a run");
    let lines: Vec<String> = handle.logs_so_far().map_ok(|line| line.text).try_collect().await.expect("a log");
    assert_eq!(lines, ["a", "b", "c"]);
    let ended = handle.into_run();
    assert!(ended.late_results.is_empty(), "{ended:?}");
    assert_eq!((ended.outcome, ended.plan_digest), (Some(RunOutcome::Succeeded), digest));
    let states = world.admin.state().list_versions("shop/dev/web").collect_up_to(10).await.expect("states");
    assert_eq!(states.len(), 2, "one with a step, one at the end: {states:?}");
    let deployment = world.admin.deployments().get("shop/dev/web").send().await.expect("a deployment");
    assert_eq!(deployment.observed_revision, 1);
    let receipts = world.admin.receipts().of_run(&run).send().await.expect("receipts");
    assert_eq!(receipts.len(), 2, "the beginning and the end: {receipts:?}");
    for quota in ["storage_bytes", "concurrent_runs", "queued_runs"] {
        let recount = world.admin.quotas().recount(quota).send().await.expect("a recount");
        assert_eq!(recount.difference, 0, "{quota}");
    }
    println!("{replayed} calls came again, late or out of order: 0 effects");
}
