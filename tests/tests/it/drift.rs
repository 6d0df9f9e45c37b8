//! Drift: looked for when it is due, kept as items with a life, excepted, and put right.
//!
//! Checks are due an hour from now at the earliest, so the rows are aged.

use freehold::{
    ChangeAction, DriftClass, DriftItem, DriftItemState, DriftPolicy, DriftRemediation, DriftState, EnvironmentKind, Run,
    RunKind, RunOutcome, RunPhase, Timestamp,
    raw::proto::{deployments::v1 as runs, runners::v1 as pb},
};
use freehold_tests::{
    Database::{self, Postgres, Sqlite},
    RunnerProcess, World, eventually, until,
};
use serde_json::Value;
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use crate::scripted_runner::Runner;

const FILES: &str = r#"
apiVersion: freehold.dev/v1
engine: native
inputs:
  type: object
  properties:
    text: { type: string, default: "as made" }
resources:
  motd:
    type: file
    path: motd.txt
    content: "${inputs.text}\n"
  other:
    type: file
    path: other.txt
    content: "as made\n"
"#;
const WEB: &str = "shop/dev/web";
const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);

/// A tenant with a deployment of two files that is real.
struct Stage {
    world: World,
    runner: RunnerProcess,
}

impl Stage {
    async fn new(database: Database) -> Self {
        let world = World::new(database).await.shop().await;
        let runner = world.runner();
        world.publish("files", vec![freehold::BlueprintFile::new("blueprint.yaml", FILES)]).await;
        let stage = Self { world, runner };
        stage.deploy(WEB).await;
        stage
    }

    async fn deploy(&self, name: &str) {
        let acme = &self.world.admin;
        acme.deployments().create(name, "files@1.0.0").label("team", "web").send().await.expect("a deployment");
        let run = acme.runs().plan(name).auto_apply().send().await.expect("a run");
        run.wait_done().await.expect("it ends").into_result().expect("well");
    }

    /// Somebody writes into a file, outside of everything.
    fn write(&self, file: &str, content: &str) {
        std::fs::write(self.world.installation.path("files/acme").join(file), content).expect("the file can be written");
    }

    /// Makes every deployment due now.
    async fn age(&self) {
        let aged = match self.world.installation.database_url.starts_with("sqlite:") {
            true => "UPDATE deployments SET drift_due = 1, body = json_set(body, '$.drift.served', 0)",
            false => {
                "UPDATE deployments SET drift_due = 1, body = CAST(jsonb_set(CAST(body AS JSONB), '{drift,served}', '0') AS TEXT)"
            }
        };
        self.world.installation.execute(aged).await;
    }

    async fn runs(&self, name: &str, kind: RunKind) -> Vec<Run> {
        let runs = self.world.admin.runs().list(name).collect_up_to(500).await.expect("runs");
        runs.into_iter().filter(|run| run.kind == kind).collect()
    }

    /// Lets a check of this deployment begin by itself, and waits for its end.
    async fn check(&self, name: &str) -> Run {
        let before = self.runs(name, RunKind::Drift).await.len();
        self.age().await;
        let run = eventually("a check that begins by itself", || async {
            let runs = self.runs(name, RunKind::Drift).await;
            if runs.len() > before {
                Ok(runs.into_iter().max_by_key(|run| run.uid.clone()).expect("one"))
            } else {
                Err(runs.len())
            }
        })
        .await;
        let handle = self.world.admin.runs().get(&run.name).send().await.expect("a run");
        let run = handle.wait_done().await.expect("it ends").into_run();
        assert_eq!((run.outcome, run.changed), (Some(RunOutcome::Succeeded), false), "{run:?}");
        assert_eq!((run.create_principal.as_str(), run.steps.len()), ("server", 0));
        assert_eq!(self.runs(name, RunKind::Drift).await.len(), before + 1, "one check for one turn");
        run
    }

    async fn items(&self) -> Vec<DriftItem> {
        self.world.admin.drift().items(WEB).list().collect_up_to(100).await.expect("items")
    }

    /// The one item there is.
    async fn item(&self) -> DriftItem {
        let mut items = self.items().await;
        assert_eq!(items.len(), 1, "{items:?}");
        items.remove(0)
    }

    async fn drift_state(&self) -> DriftState {
        self.world.admin.deployments().get(WEB).send().await.expect("a deployment").drift_state
    }

    /// What was announced of this kind.
    async fn events(&self, kind: &str) -> Vec<Value> {
        const ALL: &str = "SELECT body FROM outbox ORDER BY uid";
        let url = &self.world.installation.database_url;
        let bodies: Vec<String> = match url.strip_prefix("sqlite:") {
            Some(path) => {
                let mut session = SqliteConnectOptions::new().filename(path).connect().await.expect("a session");
                sqlx::query_scalar(ALL).fetch_all(&mut session).await.expect("events")
            }
            None => {
                let mut session = url.parse::<PgConnectOptions>().expect("a URL").connect().await.expect("a session");
                sqlx::query_scalar(ALL).fetch_all(&mut session).await.expect("events")
            }
        };
        let events = bodies.iter().map(|body| serde_json::from_str::<Value>(body).expect("JSON"));
        events.filter(|event| event["kind"] == kind).collect()
    }

    async fn policy(&self, environment: &str, policy: DriftPolicy) {
        self.world.admin.environments().update(environment).drift_policy(policy).send().await.expect("a policy");
    }

    /// Waits for a run that the server has begun to put something right.
    async fn remedy(&self, name: &str, so_many: usize) -> Run {
        eventually("a run that puts it right", || async {
            let runs = self.runs(name, RunKind::Apply).await;
            let ours: Vec<Run> = runs.into_iter().filter(|run| run.create_principal == "server").collect();
            if ours.len() == so_many { Ok(ours.into_iter().max_by_key(|run| run.uid.clone()).expect("one")) } else { Err(ours) }
        })
        .await
    }
}

fn in_a_month() -> Timestamp {
    Timestamp::now() + HOUR * 24 * 30
}

both_databases!(what_changes_outside_is_found_by_itself_told_once_and_lives_until_it_is_gone);

async fn what_changes_outside_is_found_by_itself_told_once_and_lives_until_it_is_gone(database: Database) {
    let stage = Stage::new(database).await;
    let acme = &stage.world.admin;
    let run = stage.check(WEB).await;
    assert_eq!(run.drift_check.map(|check| (check.state, check.reason)), Some((DriftState::Clean, None)));
    assert_eq!((stage.drift_state().await, stage.items().await.len()), (DriftState::Clean, 0));

    stage.write("motd.txt", "vandalised\n");
    stage.check(WEB).await;
    assert_eq!(stage.drift_state().await, DriftState::Drifted);
    let item = stage.item().await;
    assert_eq!((item.state, item.class, item.count), (DriftItemState::Open, DriftClass::New, 1));
    assert_eq!((item.address.as_str(), item.r#type.as_str(), item.path.as_deref()), ("file.motd", "file", Some("content")));
    assert_eq!((item.before, item.after), (Some("as made\n".into()), Some("vandalised\n".into())));
    let told = stage.events("drift.found").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["data"]["count"], &told[0]["data"]["items"][0]["address"]), (&1.into(), &"file.motd".into()));
    assert!(!told[0].to_string().contains("vandalised"), "an event tells no values");

    if database == Sqlite {
        for file in ["freehold.db", "freehold.db-wal"] {
            let bytes = std::fs::read(stage.world.installation.path(file)).expect("the database");
            assert!(!bytes.windows(10).any(|window| window == b"vandalised"), "values are sealed, also in {file}");
        }
    }

    let ada = stage.world.person("acme", "ada", &["developer"]).await;
    let known = ada.drift().acknowledge(&item.name).note("on it").etag(&item.etag).send().await.expect("acknowledged");
    assert_eq!(
        (known.state, known.acknowledge_principal.as_deref()),
        (DriftItemState::Acknowledged, Some("tenants/acme/users/ada"))
    );
    let late = ada.drift().acknowledge(&item.name).etag(&item.etag).send().await.expect_err("it has changed");
    assert!(late.is_etag_mismatch(), "{late:?}");
    let given = ada.drift().assign(&item.name).owner("users/ada").ticket("OPS-7").send().await.expect("assigned");
    assert_eq!((given.owner.as_deref(), given.ticket.as_deref()), (Some("tenants/acme/users/ada"), Some("OPS-7")));
    let stranger = ada.drift().assign(&item.name).owner("tenants/other/users/eve").send().await.expect_err("of another tenant");
    assert!(stranger.is_invalid_argument(), "{stranger:?}");
    let denied = ada.drift().accept(&item.name, "it may stay", in_a_month()).send().await.expect_err("developers may not");
    assert!(denied.is_permission_denied(), "{denied:?}");

    stage.check(WEB).await;
    let item = stage.item().await;
    assert_eq!((item.state, item.class, item.count), (DriftItemState::Acknowledged, DriftClass::Known, 2));
    assert_eq!(stage.events("drift.found").await.len(), 1, "what is known is not told again");
    assert_eq!(stage.world.made("motd.txt").as_deref(), Some("vandalised\n"), "a check changes nothing");

    stage.write("motd.txt", "as made\n");
    stage.check(WEB).await;
    let item = stage.item().await;
    assert_eq!((item.state, item.resolve_time.is_some()), (DriftItemState::Resolved, true));
    assert_eq!((stage.drift_state().await, stage.events("drift.resolved").await.len()), (DriftState::Clean, 1));
    let gone = acme.drift().acknowledge(&item.name).send().await.expect_err("there is nothing to know");
    assert!(gone.is_failed_precondition(), "{gone:?}");

    stage.write("motd.txt", "vandalised again\n");
    stage.check(WEB).await;
    let back = stage.item().await;
    assert_eq!((back.uid, back.state), (item.uid, DriftItemState::Reopened));
    assert_eq!((stage.events("drift.found").await.len(), stage.events("drift.reopened").await.len()), (1, 1));

    // An apply puts it right, and there is no check needed to see that.
    let run = acme.runs().plan(WEB).auto_apply().send().await.expect("a run");
    run.wait_done().await.expect("it ends").into_result().expect("well");
    assert_eq!((stage.item().await.state, stage.drift_state().await), (DriftItemState::Resolved, DriftState::Clean));
    assert_eq!(stage.events("drift.resolved").await.len(), 2);
}

both_databases!(exceptions_silence_for_a_time_and_what_they_covered_is_opened_again);

async fn exceptions_silence_for_a_time_and_what_they_covered_is_opened_again(database: Database) {
    let stage = Stage::new(database).await;
    let acme = &stage.world.admin;
    stage.write("motd.txt", "by hand\n");
    stage.check(WEB).await;
    let item = stage.item().await;
    let (accepted, exception) =
        acme.drift().accept(&item.name, "until the release", in_a_month()).send().await.expect("accepted");
    assert_eq!((accepted.state, accepted.exception.as_ref()), (DriftItemState::Accepted, Some(&exception.name)));
    stage.check(WEB).await;
    let item = stage.item().await;
    assert_eq!((item.state, item.class), (DriftItemState::Accepted, DriftClass::Accepted));
    assert_eq!(stage.drift_state().await, DriftState::Drifted, "what is accepted is still not as it was made");
    let plan = acme.runs().plan(WEB).speculative().send().await.expect("a look").wait_done().await.expect("it ends");
    assert_eq!(plan.run().plan_summary.as_ref().map(|numbers| numbers.update), Some(1), "plans know nothing of exceptions");

    stage.write("motd.txt", "by another hand\n");
    stage.check(WEB).await;
    assert_eq!(stage.item().await.state, DriftItemState::Reopened, "that value was not accepted");
    let again = acme.drift().accept(&item.name, "any text will do", in_a_month()).any_value().send().await.expect("accepted");
    stage.write("motd.txt", "by a third hand\n");
    stage.check(WEB).await;
    assert_eq!(stage.item().await.state, DriftItemState::Accepted);
    assert_eq!((stage.events("drift.found").await.len(), stage.events("drift.reopened").await.len()), (1, 1));

    // Its time comes: nothing has to look for drift to open it again.
    stage.world.installation.execute("UPDATE drift_exceptions SET ends = 1").await;
    until("the item to be opened again", || async { stage.item().await.state == DriftItemState::Reopened }).await;
    assert_eq!(stage.events("drift.reopened").await.len(), 2);

    acme.drift().delete_exception(&again.1.name).send().await.expect("deleted");
    let wide = acme.drift().except("tuned by hand", in_a_month()).label("team", "web").address("file.*").path("content");
    let wide = wide.send().await.expect("an exception");
    assert_eq!(stage.item().await.exception.as_ref(), Some(&wide.name), "what is open is accepted at once");
    acme.drift().delete_exception(&wide.name).send().await.expect("deleted");
    assert_eq!(stage.item().await.state, DriftItemState::Reopened);

    let everything = acme.drift().except("no alarms please", in_a_month()).send().await.expect_err("it covers everything");
    assert!(everything.is_invalid_argument(), "{everything:?}");
    let for_ever = acme.drift().except("never again", Timestamp::now() + HOUR * 24 * 400).path("content").send().await;
    assert!(for_ever.expect_err("longer than a year").is_invalid_argument());
    assert_eq!(acme.drift().exceptions().collect_up_to(10).await.expect("a list").len(), 1, "the first one is history");
}

both_databases!(a_proposal_waits_for_a_person_and_is_made_once_for_each_set);

async fn a_proposal_waits_for_a_person_and_is_made_once_for_each_set(database: Database) {
    let stage = Stage::new(database).await;
    let acme = &stage.world.admin;
    stage.policy("shop/dev", DriftPolicy::every(HOUR * 6).remediation(DriftRemediation::Propose)).await;
    // What is wanted has moved on; what is put right is what was made.
    let wish = serde_json::Map::from_iter([("text".to_owned(), "as wanted".into())]);
    acme.deployments().update(WEB).auto_apply(true).inputs(wish).send().await.expect("updated");
    stage.write("motd.txt", "vandalised\n");
    stage.check(WEB).await;
    let first = stage.remedy(WEB, 1).await;
    let handle = acme.runs().get(&first.name).send().await.expect("a run");
    let waiting = handle.wait_until(RunPhase::AwaitingApproval).await.expect("a plan").into_run();
    assert_eq!((waiting.phase, waiting.auto_apply), (RunPhase::AwaitingApproval, false));
    let item = stage.item().await;
    assert_eq!((item.state, item.remediation_run.as_ref()), (DriftItemState::Remediating, Some(&first.name)));

    // A plan that waits keeps nobody from looking, and the same set is proposed once.
    stage.check(WEB).await;
    assert_eq!(stage.item().await.state, DriftItemState::Remediating);
    acme.runs().reject(&waiting).comment("not now").send().await.expect("rejected");
    assert_eq!(stage.item().await.state, DriftItemState::Open);
    stage.check(WEB).await;
    until("the server to have looked", || async { stage.settled().await }).await;
    assert_eq!(stage.remedy(WEB, 1).await.name, first.name, "it was said once, and refused");

    stage.write("other.txt", "vandalised\n");
    stage.check(WEB).await;
    let second = stage.remedy(WEB, 2).await;
    let handle = acme.runs().get(&second.name).send().await.expect("a run");
    let handle = handle.wait_until(RunPhase::AwaitingApproval).await.expect("a plan");
    assert_eq!(stage.world.made("motd.txt").as_deref(), Some("vandalised\n"), "nothing is done without a person");
    handle.apply().send().await.expect("to be applied").wait_done().await.expect("it ends").into_result().expect("well");
    for file in ["motd.txt", "other.txt"] {
        assert_eq!(stage.world.made(file).as_deref(), Some("as made\n"), "{file}");
    }
    let states: Vec<_> = stage.items().await.iter().map(|item| item.state).collect();
    assert_eq!(states, [DriftItemState::Resolved; 2]);

    // A person's run that waits is not pushed aside: it shows the drift itself.
    acme.deployments().update(WEB).auto_apply(false).send().await.expect("updated");
    stage.write("motd.txt", "vandalised\n");
    let own = acme.runs().plan(WEB).send().await.expect("a run").wait_until(RunPhase::AwaitingApproval).await.expect("a plan");
    stage.check(WEB).await;
    until("the server to have looked", || async { stage.settled().await }).await;
    assert_eq!(stage.remedy(WEB, 2).await.name, second.name);
    assert_eq!(own.refresh().await.expect("it is there").run().phase, RunPhase::AwaitingApproval);
}

both_databases!(what_is_safe_is_put_right_by_itself_and_nothing_else_is);

async fn what_is_safe_is_put_right_by_itself_and_nothing_else_is(database: Database) {
    let stage = Stage::new(database).await;
    let acme = &stage.world.admin;
    let safe =
        |types: &[&str]| DriftPolicy::every(HOUR).remediation(DriftRemediation::AutoSafe).safe_types(types.iter().copied());
    stage.policy("shop/dev", safe(&["file"])).await;
    stage.write("motd.txt", "vandalised\n");
    stage.check(WEB).await;
    let run = stage.remedy(WEB, 1).await;
    let run = acme.runs().get(&run.name).send().await.expect("a run").wait_done().await.expect("it ends");
    let run = run.into_result().expect("well");
    assert!(run.auto_apply && run.approval.is_none() && run.steps[0].action == ChangeAction::Update, "{run:?}");
    assert_eq!(stage.world.made("motd.txt").as_deref(), Some("as made\n"));
    assert_eq!((stage.item().await.state, stage.drift_state().await), (DriftItemState::Resolved, DriftState::Clean));

    // What somebody has accepted would go with it, so a person decides.
    stage.policy("shop/dev", DriftPolicy::every(HOUR)).await;
    stage.write("motd.txt", "by hand\n");
    stage.check(WEB).await;
    acme.drift().accept(&stage.item().await.name, "it may stay", in_a_month()).send().await.expect("accepted");
    stage.policy("shop/dev", safe(&["file"])).await;
    stage.write("other.txt", "vandalised\n");
    stage.check(WEB).await;
    let waits = stage.remedy(WEB, 2).await;
    let handle = acme.runs().get(&waits.name).send().await.expect("a run");
    let handle = handle.wait_until(RunPhase::AwaitingApproval).await.expect("a plan");
    assert!(!handle.run().auto_apply && stage.world.made("motd.txt").as_deref() == Some("by hand\n"), "{:?}", handle.run());

    // Production asks for an approval whatever the policy says, and types that are not named are not safe.
    for (name, kind, types) in [("prod", EnvironmentKind::Prod, &["file"]), ("lab", EnvironmentKind::Dev, &["http"])] {
        acme.environments().create(format!("shop/{name}"), kind).drift_policy(safe(types)).send().await.expect("an environment");
    }
    let files = FILES.replace("path: ", "path: ${deployment.environment}-");
    stage.world.publish("apart", vec![freehold::BlueprintFile::new("blueprint.yaml", files)]).await;
    let ada = stage.world.person("acme", "ada", &["approver"]).await;
    for name in ["prod", "lab"] {
        let deployment = format!("shop/{name}/web");
        acme.deployments().create(&deployment, "apart@1.0.0").send().await.expect("a deployment");
        let run = acme.runs().plan(&deployment).send().await.expect("a run");
        let run = run.wait_until(RunPhase::AwaitingApproval).await.expect("a plan");
        ada.runs().approve(&run).send().await.expect("approved").wait_done().await.expect("it ends").into_result().expect("well");
        let file = format!("{name}-motd.txt");
        stage.write(&file, "vandalised\n");
        stage.check(&deployment).await;
        let run = stage.remedy(&deployment, 1).await;
        let handle = acme.runs().get(&run.name).send().await.expect("a run");
        let run = handle.wait_until(RunPhase::AwaitingApproval).await.expect("a plan").into_run();
        assert_eq!((run.phase, run.approval_required), (RunPhase::AwaitingApproval, name == "prod"));
        assert_eq!(stage.world.made(&file).as_deref(), Some("vandalised\n"));
    }
}

both_databases!(a_check_waits_for_the_end_of_a_run_and_an_error_is_not_clean);

async fn a_check_waits_for_the_end_of_a_run_and_an_error_is_not_clean(database: Database) {
    let mut stage = Stage::new(database).await;
    stage.check(WEB).await;
    assert_eq!(stage.drift_state().await, DriftState::Clean);
    stage.runner.process.kill();
    let acme = &stage.world.admin;
    let busy = acme.runs().plan(WEB).speculative().send().await.expect("a run that nobody takes");
    stage.age().await;
    until("the check to be left out", || async { stage.drift_state().await == DriftState::Skipped }).await;
    let deployment = acme.deployments().get(WEB).send().await.expect("a deployment");
    assert!(deployment.drift_reason.as_deref().is_some_and(|why| why.contains(&busy.run().name)), "{deployment:?}");
    assert_eq!(stage.runs(WEB, RunKind::Drift).await.len(), 1, "none was begun beside it");
    busy.cancel().send().await.expect("cancelled");

    // A runner that cannot look.
    stage.age().await;
    let mut runner = Runner::new(&stage.world).await;
    let job = eventually("the check", || {
        let mut runner = Runner(runner.0.clone());
        async move { runner.ask().await.ok_or("no work") }
    })
    .await;
    let error = runs::RunError { code: "file-root".to_owned(), message: "the disk is away".to_owned(), ..Default::default() };
    runner.complete(&job, pb::complete_job_request::Result::Failure(pb::JobFailure { error: Some(error) })).await;
    let deployment = acme.deployments().get(WEB).send().await.expect("a deployment");
    assert_eq!(deployment.drift_state, DriftState::Errored, "{deployment:?}");
    assert!(deployment.drift_reason.as_deref().is_some_and(|why| why.contains("the disk is away")), "{deployment:?}");
    assert!(deployment.drift_state_time > deployment.drift_check_time, "the last result is older");
    let run = acme.runs().get(&job.run).send().await.expect("a run").into_run();
    assert_eq!(run.drift_check.map(|check| check.state), Some(DriftState::Errored));

    // A day has so many checks.
    let used = acme.quotas().get("drift_checks_per_day").send().await.expect("a quota").used;
    assert_eq!(used, 2, "what was left out has cost nothing");
    acme.quotas().set_limit("drift_checks_per_day", 2).send().await.expect("a limit");
    let refused = acme.runs().detect_drift(WEB).send().await.expect_err("used up");
    assert!(refused.is_quota_exceeded() && refused.metadata("dimension") == Some("drift_checks_per_day"), "{refused:?}");
    stage.age().await;
    until("the check to be left out", || async { stage.drift_state().await == DriftState::Skipped }).await;
    let deployment = acme.deployments().get(WEB).send().await.expect("a deployment");
    assert!(deployment.drift_reason.as_deref().is_some_and(|why| why.contains("drift_checks_per_day")), "{deployment:?}");

    // A policy that is paused has no turns, and one that goes on has them again.
    acme.quotas().set_limit("drift_checks_per_day", 1000).send().await.expect("a limit");
    stage.policy("shop/dev", DriftPolicy::every(HOUR).paused(true)).await;
    stage.age().await;
    until("the server to have looked", || async { stage.settled().await }).await;
    assert_eq!(stage.runs(WEB, RunKind::Drift).await.len(), 2);
    let own = DriftPolicy::cron("0 3 * * *", "Europe/Berlin");
    let deployment = acme.deployments().update(WEB).drift_policy(own.clone()).send().await.expect("updated");
    assert_eq!(deployment.drift_policy, Some(own), "what a deployment says goes over its environment");
    stage.age().await;
    until("a check", || async { stage.runs(WEB, RunKind::Drift).await.len() == 3 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_begin_each_check_once() {
    let mut stage = Stage::new(Postgres).await;
    let names: Vec<String> = (1..=12).map(|n| format!("shop/dev/web{n}")).collect();
    let one = FILES.replace("path: ", "path: ${deployment.name}-");
    stage.world.publish("many", vec![freehold::BlueprintFile::new("blueprint.yaml", one)]).await;
    for name in &names {
        stage.world.admin.deployments().create(name, "many@1.0.0").send().await.expect("a deployment");
        let run = stage.world.admin.runs().plan(name).auto_apply().send().await.expect("a run");
        run.wait_done().await.expect("it ends").into_result().expect("well");
    }
    until("the server to have looked", || async { stage.settled().await }).await;
    // Nobody takes the checks, so that each that is begun can be counted.
    stage.runner.process.kill();
    let _second = stage.world.installation.replica(&[]).await;
    let _third = stage.world.installation.replica(&[]).await;
    for turn in 1..=3 {
        stage.age().await;
        until("all turns to be taken", || async { stage.settled().await }).await;
        for name in &names {
            let runs = stage.runs(name, RunKind::Drift).await;
            assert_eq!(runs.len(), turn, "{name}: {runs:?}");
            for run in runs {
                stage.world.admin.runs().get(&run.name).send().await.expect("a run").cancel().send().await.expect("cancelled");
            }
        }
    }
}

impl Stage {
    /// No deployment waits for the server to look at it.
    async fn settled(&self) -> bool {
        const DUE: &str = "SELECT COUNT(*) FROM deployments WHERE drift_due <= $1";
        let now = Timestamp::now().as_microsecond();
        let url = &self.world.installation.database_url;
        let due: i64 = match url.strip_prefix("sqlite:") {
            Some(path) => {
                let mut session = SqliteConnectOptions::new().filename(path).connect().await.expect("a session");
                sqlx::query_scalar(DUE).bind(now).fetch_one(&mut session).await.expect("a count")
            }
            None => {
                let mut session = url.parse::<PgConnectOptions>().expect("a URL").connect().await.expect("a session");
                sqlx::query_scalar(DUE).bind(now).fetch_one(&mut session).await.expect("a count")
            }
        };
        due == 0
    }
}
