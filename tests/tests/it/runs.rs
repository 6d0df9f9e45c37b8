//! Runs that meet each other, wait, are decided on, stopped, and fail.

use freehold::{Client, DeploymentState, EnvironmentKind, Run, RunHandle, RunOutcome, RunPhase, StepState, WaitingReason};
use freehold_tests::{
    Database::{self, Sqlite},
    Witness, World, until,
};
use futures::TryStreamExt as _;
use sqlx::{ConnectOptions as _, Executor as _};

/// A file, a thing of a REST service made after it, and a file made of the thing. Whether the thing was made can be looked up.
const CHAIN: &str = r#"
apiVersion: freehold.dev/v1
engine: native
inputs:
  type: object
  required: [url]
  properties:
    url: { type: string }
    text: { type: string, default: one }
resources:
  first:
    type: file
    path: first.txt
    content: "${inputs.text}\n"
  thing:
    type: http
    create: { method: POST, url: "${inputs.url}/thing", body: { after: "${resources.first.path}" } }
    lookup: { url: "${inputs.url}/thing", pointer: /id }
  last:
    type: file
    path: last.txt
    content: "${resources.thing.id}\n"
"#;
const CHAIN_NAME: &str = "shop/dev/chain";

/// A tenant with a deployment of the chain that was never applied.
struct Stage {
    world: World,
    witness: Witness,
}

impl Stage {
    async fn new(database: Database) -> Self {
        let world = World::with(database, &["--lease", "2"]).await.shop().await;
        let witness = Witness::start(&world.installation.path("witness")).await;
        world.publish("chain", vec![freehold::BlueprintFile::new("blueprint.yaml", CHAIN)]).await;
        let created = world.admin.deployments().create(CHAIN_NAME, "chain@1.0.0").input("url", witness.url.as_str());
        created.send().await.expect("a deployment");
        Self { world, witness }
    }

    async fn apply(&self) -> RunHandle {
        self.world.admin.runs().plan(CHAIN_NAME).auto_apply().send().await.expect("a run")
    }

    /// An apply that has made the first file, and waits for the service's answer about the thing.
    async fn held(&self) -> RunHandle {
        self.witness.hold("/thing");
        let arrived = self.witness.arrived("/thing");
        let run = self.apply().await;
        until("the thing to be asked for", || async { self.witness.arrived("/thing") > arrived }).await;
        run
    }

    async fn state(&self) -> DeploymentState {
        self.world.admin.deployments().get(CHAIN_NAME).send().await.expect("a deployment").state
    }
}

async fn outcome(run: RunHandle) -> Option<RunOutcome> {
    run.wait_done().await.expect("it ends").run().outcome
}

/// Waits until the run says that it waits for this.
async fn waits(client: &Client, name: &str, reason: WaitingReason, detail: &str) {
    freehold_tests::eventually("the run to say what it waits for", || async {
        let run = client.runs().get(name).send().await.expect("a run").into_run();
        let waits = run.waiting_on.as_ref().is_some_and(|on| on.reason == reason && on.detail.contains(detail));
        if waits { Ok(()) } else { Err(run) }
    })
    .await;
}

both_databases!(a_busy_deployment_is_changed_by_one_run_and_the_next_says_what_it_waits_for);

async fn a_busy_deployment_is_changed_by_one_run_and_the_next_says_what_it_waits_for(database: Database) {
    let stage = Stage::new(database).await;
    let _runner = stage.world.runner();
    let acme = &stage.world.admin;
    let first = stage.held().await;
    let second = stage.apply().await;
    waits(acme, &second.run().name, WaitingReason::Lock, &format!("the end of {}", first.run().name)).await;
    assert_eq!(second.clone().refresh().await.expect("it is there").run().phase, RunPhase::ApplyQueued);
    let busy = acme.deployments().delete(CHAIN_NAME).send().await.expect_err("it is being changed");
    assert!(busy.is_failed_precondition() || busy.is_aborted(), "{busy:?}");

    // Who only waits makes room for who comes later; who looks waits for nobody.
    let third = stage.apply().await;
    assert_eq!(outcome(second).await, Some(RunOutcome::Superseded));
    let look = acme.runs().plan(CHAIN_NAME).speculative().send().await.expect("a look");
    assert_eq!(outcome(look).await, Some(RunOutcome::Succeeded));

    // The plan of who waited was made before the other's last step, so it is not what would be done now.
    waits(acme, &third.run().name, WaitingReason::Lock, &first.run().name).await;
    stage.witness.release("/thing");
    assert_eq!(outcome(first).await, Some(RunOutcome::Succeeded));
    assert_eq!(outcome(third).await, Some(RunOutcome::Stale));
    assert_eq!((stage.state().await, stage.witness.arrived("/thing")), (DeploymentState::Active, 1));
    assert_eq!(acme.quotas().get("concurrent_runs").send().await.expect("a quota").reserved, 0);
}

both_databases!(a_decision_names_the_plan_that_was_read);

async fn a_decision_names_the_plan_that_was_read(database: Database) {
    let stage = Stage::new(database).await;
    let _runner = stage.world.runner();
    let acme = &stage.world.admin;
    acme.environments().create("shop/prod", EnvironmentKind::Prod).send().await.expect("an environment");
    let wish = acme.deployments().create("shop/prod/chain", "chain@1.0.0").input("url", stage.witness.url.as_str());
    wish.send().await.expect("a deployment");
    let ada = stage.world.person("acme", "ada", &["approver"]).await;
    let planned = || async {
        let run = acme.runs().plan("shop/prod/chain").auto_apply().send().await.expect("a run");
        run.wait_until(RunPhase::AwaitingApproval).await.expect("a plan").into_run()
    };

    let old = planned().await;
    let run = planned().await;
    assert_eq!(acme.runs().get(&old.name).send().await.expect("a run").run().outcome, Some(RunOutcome::Superseded));
    let late = ada.runs().approve(&old).send().await.expect_err("it was superseded");
    assert!(late.is_aborted() || late.is_failed_precondition(), "{late:?}");

    let with_digest = |digest: &str| {
        let mut other: Run = run.clone();
        other.plan_digest = Some(digest.to_owned());
        other
    };
    let digest = run.plan_digest.clone().expect("a plan has a digest");
    let flipped: String = digest.chars().rev().collect();
    for wrong in [flipped.as_str(), "sha256:0", &digest.to_uppercase(), &digest[..digest.len() - 1]] {
        let refused = ada.runs().approve(with_digest(wrong)).send().await.expect_err("not the plan's");
        assert_eq!((refused.reason(), refused.metadata("plan_digest")), (Some("PLAN_STALE"), Some(digest.as_str())), "{wrong}");
        let refused = ada.runs().reject(with_digest(wrong)).send().await.expect_err("not the plan's");
        assert_eq!(refused.reason(), Some("PLAN_STALE"), "{wrong}");
    }
    let own = acme.runs().approve(&run).send().await.expect_err("the author's own");
    assert!(own.is_permission_denied(), "{own:?}");
    let alone = acme.runs().apply(&run).send().await.expect_err("nobody has looked at it");
    assert_eq!(alone.reason(), Some("APPROVAL_REQUIRED"));

    let rejected = ada.runs().reject(&run).comment("too dear").send().await.expect("rejected").into_run();
    assert_eq!((rejected.phase, rejected.outcome), (RunPhase::Done, Some(RunOutcome::Rejected)));
    let approval = rejected.approval.expect("a decision");
    assert_eq!((approval.principal.as_str(), approval.comment.as_deref()), ("tenants/acme/users/ada", Some("too dear")));
    let after = ada.runs().approve(acme.runs().get(&run.name).send().await.expect("a run")).send().await;
    assert_eq!(after.expect_err("it has ended").reason(), Some("STATE_NOT_ALLOWED"));
    assert_eq!(stage.witness.effects(), [], "nothing was made without an approval");

    let run = planned().await;
    let handle = ada.runs().approve(&run).send().await.expect("approved");
    handle.wait_done().await.expect("it ends").into_result().expect("well");
}

both_databases!(a_run_is_cancelled_wherever_it_is);

async fn a_run_is_cancelled_wherever_it_is(database: Database) {
    let stage = Stage::new(database).await;
    let acme = &stage.world.admin;
    let at_once = |run: RunHandle, phase: RunPhase| async move {
        assert_eq!(run.run().phase, phase);
        let run = run.cancel().send().await.expect("cancelled");
        assert_eq!((run.run().phase, run.run().outcome), (RunPhase::Done, Some(RunOutcome::Cancelled)), "while {phase}");
        let again = run.cancel().send().await.expect("the same again");
        assert_eq!(again.run().etag, run.run().etag, "nothing moves after the end");
    };

    at_once(stage.apply().await, RunPhase::Queued).await;
    let mut runner = stage.world.runner();
    let planned = || async {
        let run = acme.runs().plan(CHAIN_NAME).send().await.expect("a run");
        run.wait_until(RunPhase::AwaitingApproval).await.expect("a plan")
    };
    at_once(planned().await, RunPhase::AwaitingApproval).await;
    let run = planned().await;
    runner.process.kill();
    at_once(run.apply().send().await.expect("to be applied"), RunPhase::ApplyQueued).await;
    assert_eq!((stage.state().await, stage.world.made("first.txt")), (DeploymentState::New, None));

    let _second = stage.world.runner();
    let run = stage.held().await.cancel().send().await.expect("asked to stop");
    assert_eq!((run.run().phase, run.run().cancel_requested), (RunPhase::Applying, true));
    stage.witness.release("/thing");
    let run = run.wait_done().await.expect("it ends").into_run();
    assert_eq!(run.outcome, Some(RunOutcome::Cancelled), "{run:?}");
    let states: Vec<_> = run.steps.iter().map(|step| (step.address.as_str(), step.state)).collect();
    assert_eq!(
        states,
        [("file.first", StepState::Done), ("file.last", StepState::Pending), ("http.thing", StepState::Done)],
        "what has begun is finished, what has not begun is left"
    );
    assert_eq!((stage.state().await, stage.world.made("last.txt")), (DeploymentState::Partial, None));

    let next = stage.apply().await.wait_done().await.expect("it ends").into_result().expect("well");
    assert_eq!(next.plan_summary.map(|numbers| numbers.create), Some(1), "only what was left");
    assert_eq!((stage.state().await, stage.world.made("last.txt")), (DeploymentState::Active, Some("thing\n".to_owned())));
    assert_eq!(stage.witness.arrived("/thing"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_runner_was_lost_is_cancelled_by_the_next_one() {
    let stage = Stage::new(Sqlite).await;
    let mut lost = stage.world.runner();
    let run = stage.held().await;
    lost.process.kill();
    let run = run.wait_until(RunPhase::Recovering).await.expect("the lease ends");
    assert_eq!(run.run().phase, RunPhase::Recovering, "{run:?}");
    let run = run.cancel().send().await.expect("asked to stop");
    assert!(!run.run().is_done(), "only a runner can find out what happened");
    stage.witness.release("/thing");
    let _next = stage.world.runner();
    assert_eq!(outcome(run).await, Some(RunOutcome::Cancelled));
    assert_eq!((stage.state().await, stage.world.made("last.txt")), (DeploymentState::Partial, None));
}

both_databases!(a_step_that_fails_names_itself_and_the_next_apply_goes_on);

async fn a_step_that_fails_names_itself_and_the_next_apply_goes_on(database: Database) {
    let stage = Stage::new(database).await;
    let _runner = stage.world.runner();
    stage.witness.fail("/thing");
    let failed = stage.apply().await.wait_done().await.expect("it ends");
    let told = failed.clone().into_result().expect_err("badly").to_string();
    let run = failed.into_run();
    assert_eq!(run.outcome, Some(RunOutcome::Failed), "{run:?}");
    let error = run.error.expect("a reason");
    assert_eq!((error.address.as_deref(), error.code.as_str(), error.retryable), (Some("http.thing"), "http-failed", true));
    assert!(error.message.contains("500") && error.message.contains("out of order") && error.hint.is_some(), "{error:?}");
    assert!(told.contains("thing") && told.contains("500"), "{told}");
    let step = |address: &str| run.steps.iter().find(|step| step.address == address).expect("a step").state;
    assert_eq!(
        (step("file.first"), step("http.thing"), step("file.last")),
        (StepState::Done, StepState::Failed, StepState::Skipped)
    );
    assert_eq!((stage.state().await, stage.world.made("first.txt").as_deref()), (DeploymentState::Partial, Some("one\n")));

    stage.witness.mend("/thing");
    let run = stage.apply().await.wait_done().await.expect("it ends").into_result().expect("well");
    assert_eq!(run.plan_summary.map(|numbers| (numbers.create, numbers.unchanged)), Some((2, 1)));
    assert_eq!((stage.state().await, stage.world.made("last.txt").as_deref()), (DeploymentState::Active, Some("thing\n")));
}

both_databases!(a_run_is_watched_and_its_log_is_read_to_the_end);

async fn a_run_is_watched_and_its_log_is_read_to_the_end(database: Database) {
    let stage = Stage::new(database).await;
    let run = stage.apply().await;
    let watching = tokio::spawn(run.watch().try_collect::<Vec<_>>());
    let reading = tokio::spawn(run.logs().try_collect::<Vec<_>>());
    let _runner = stage.world.runner();
    let seen = watching.await.expect("a watcher").expect("states to the end");
    let lines = reading.await.expect("a reader").expect("lines to the end");

    for pair in seen.windows(2) {
        assert!(pair[1].phase.has_reached(pair[0].phase) && pair[0].etag != pair[1].etag, "{pair:?}");
    }
    assert_eq!(seen.first().map(|run| run.phase), Some(RunPhase::Queued));
    assert_eq!(seen.iter().filter(|run| run.is_done()).count(), 1);
    let last = seen.last().expect("states");
    assert_eq!((last.phase, last.outcome), (RunPhase::Done, Some(RunOutcome::Succeeded)));
    for address in ["file.first", "http.thing", "file.last"] {
        assert!(lines.iter().any(|line| line.address.as_deref() == Some(address)), "{address} is missing in {lines:?}");
    }
    assert!(lines.is_sorted_by_key(|line| line.time), "{lines:?}");
    let rest: Vec<_> = run.logs_from(3).try_collect().await.expect("lines");
    assert_eq!(rest, lines[3..], "the same again, from any line on");
    let again: Vec<_> = run.watch().try_collect().await.expect("a state");
    assert_eq!(again.as_slice(), std::slice::from_ref(last), "who comes late sees the end, and no more");
}

both_databases!(a_suspended_tenant_begins_nothing_and_goes_on_later);

async fn a_suspended_tenant_begins_nothing_and_goes_on_later(database: Database) {
    let stage = Stage::new(database).await;
    let acme = &stage.world.admin;
    let waiting = stage.apply().await;
    acme.tenants().suspend("acme", "unpaid").send().await.expect("suspended");
    let _runner = stage.world.runner();
    let refused = acme.runs().plan(CHAIN_NAME).send().await.expect_err("a write");
    assert_eq!((refused.reason(), refused.is_permission_denied()), (Some("TENANT_SUSPENDED"), true), "{refused:?}");
    waits(acme, &waiting.run().name, WaitingReason::TenantSuspended, "tenants/acme to be active again").await;
    assert_eq!(waiting.clone().refresh().await.expect("reads work").run().phase, RunPhase::Queued);
    acme.tenants().resume("acme").send().await.expect("resumed");
    assert_eq!(outcome(waiting).await, Some(RunOutcome::Succeeded));
}

/// The wait is three days long, so the row is aged.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_nobody_approves_expires() {
    let stage = Stage::new(Sqlite).await;
    let _runner = stage.world.runner();
    let run = stage.world.admin.runs().plan(CHAIN_NAME).send().await.expect("a run");
    let run = run.wait_until(RunPhase::AwaitingApproval).await.expect("a plan");
    let database = sqlx::sqlite::SqliteConnectOptions::new().filename(stage.world.installation.path("freehold.db"));
    let mut session = database.connect().await.expect("a session");
    let aged = "UPDATE runs SET deadline = 1, body = json_set(body, '$.deadline', 1) WHERE phase = 'AWAITING_APPROVAL'";
    assert_eq!(session.execute(aged).await.expect("a row").rows_affected(), 1);
    assert_eq!(outcome(run.clone()).await, Some(RunOutcome::Expired));
    let late = run.apply().send().await.expect_err("too late");
    assert!(late.is_aborted() || late.is_failed_precondition(), "{late:?}");
}
