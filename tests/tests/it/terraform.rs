//! Deployments of a module of Terraform: its whole life, and kill -9 of everybody in the middle of an apply.

use std::{path::PathBuf, time::Duration};

use freehold::{BlueprintFile, ChangeAction, DeploymentState, Run, RunHandle, RunOutcome, RunPhase, StepState, WaitingReason};
use freehold_tests::{Database, Installation, Process, World, terraform, until};
use futures::StreamExt as _;
use tokio::time::timeout;

const BLUEPRINT: &str = r#"
apiVersion: freehold.dev/v1
engine: terraform
module:
  variables:
    name: ${inputs.name}
    token: "${has(inputs.token) ? inputs.token : 'none'}"
inputs:
  required: [name]
  properties:
    name: { type: string }
    token: { type: string, sensitive: true }
"#;

const MODULE: &str = r#"
variable "name" { type = string }
variable "token" {
  type      = string
  sensitive = true
}
resource "terraform_data" "first" { input = var.name }
resource "terraform_data" "second" {
  input = { from = terraform_data.first.output, key = var.token }
  provisioner "local-exec" { command = "echo key is ${nonsensitive(var.token)}" }
}
output "name" { value = terraform_data.first.output }
output "key" {
  value     = var.token
  sensitive = true
}
"#;

/// Makes one resource, and then a second that takes until somebody opens its gate: a file in the module's folder.
const SLOW: &str = r#"
variable "name" { type = string }
variable "token" { sensitive = true }
resource "terraform_data" "first" { input = var.name }
resource "terraform_data" "slow" {
  input = terraform_data.first.output
  provisioner "local-exec" { command = "while [ ! -e gate ]; do sleep 0.05; done" }
}
resource "terraform_data" "last" { input = terraform_data.slow.output }
"#;

pub fn module(text: &str) -> Vec<BlueprintFile> {
    let file = |path: &str, content: &str| BlueprintFile { path: path.to_owned(), content: content.as_bytes().to_vec() };
    vec![file("blueprint.yaml", BLUEPRINT), file("main.tf", text)]
}

/// A server with `shop/dev/web`, a deployment of this module.
async fn world(database: Database, text: &str) -> World {
    let world = World::with(database, &["--lease", "1"]).await.shop().await;
    world.publish("module", module(text)).await;
    let web = world.admin.deployments().create("shop/dev/web", "module@1.0.0").input("name", "one");
    web.input("token", "canary-of-the-token").send().await.expect("a deployment");
    world
}

pub async fn ended(run: RunHandle) -> Run {
    let ended = timeout(Duration::from_secs(60), run.wait_done()).await.expect("it ends");
    ended.expect("it can be followed").into_run()
}

async fn apply(world: &World) -> Run {
    let run = ended(world.admin.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run")).await;
    assert_eq!(run.outcome, Some(RunOutcome::Succeeded), "{run:?}");
    run
}

pub async fn state_of(world: &World) -> DeploymentState {
    world.admin.deployments().get("shop/dev/web").send().await.expect("it is there").state
}

/// Addresses in the newest state.
pub async fn held(world: &World) -> Vec<String> {
    let versions = world.admin.state().list_versions("shop/dev/web").collect_up_to(500).await.expect("versions");
    versions.into_iter().max_by_key(|version| version.serial).map(|newest| newest.addresses).unwrap_or_default()
}

async fn a_module_lives_from_plan_to_destroy(database: Database) {
    let world = world(database, MODULE).await;
    let _runner = world.runner();
    let acme = &world.admin;

    let planned = acme.runs().plan("shop/dev/web").send().await.expect("a run");
    let planned = planned.wait_until(RunPhase::AwaitingApproval).await.expect("it is planned");
    let plan = planned.plan().await.expect("a plan");
    assert_eq!((plan.summary.as_ref().map(|s| s.create), plan.changes.len()), (Some(2), 2), "{plan:?}");
    assert_eq!(plan.changes[0].action, ChangeAction::Create);
    let name = planned.run().name.clone();
    planned.approve().send().await.expect("an approval");
    let run = ended(planned).await;
    assert_eq!((run.outcome, run.changed), (Some(RunOutcome::Succeeded), true), "{run:?}");
    assert!(run.steps.iter().all(|step| step.state == StepState::Done), "{:?}", run.steps);
    assert_eq!(held(&world).await, ["terraform_data.first", "terraform_data.second"]);

    let outputs = acme.state().outputs("shop/dev/web").send().await.expect("outputs");
    assert_eq!(outputs.iter().find(|output| output.name == "name").and_then(|o| o.value.clone()), Some("one".into()));
    let key = outputs.iter().find(|output| output.name == "key").expect("it is there");
    assert!(key.sensitive && key.value.is_none(), "{key:?}");
    let handle = acme.runs().get(&name).send().await.expect("it is there");
    let log: Vec<_> = handle.logs_so_far().map(|line| line.expect("a line")).collect().await;
    assert!(log.iter().any(|line| line.text.contains("key is (hidden)")), "{log:?}");
    let shown = format!("{plan:?} {run:?} {log:?} {outputs:?}");
    assert!(!shown.contains("canary-of-the-token"), "{shown}");

    let two = [("name".to_owned(), "two".into())].into_iter().collect();
    acme.deployments().update("shop/dev/web").inputs(two).send().await.expect("an update");
    let second = apply(&world).await;
    assert_eq!(second.plan_summary.map(|summary| summary.update), Some(2));
    let back = ended(acme.runs().rollback("shop/dev/web", 1).auto_apply().send().await.expect("a run")).await;
    assert_eq!(back.outcome, Some(RunOutcome::Succeeded), "{back:?}");
    let outputs = acme.state().outputs("shop/dev/web").send().await.expect("outputs");
    assert_eq!(outputs.iter().find(|output| output.name == "name").and_then(|o| o.value.clone()), Some("one".into()));
    let drift = ended(acme.runs().detect_drift("shop/dev/web").send().await.expect("a run")).await;
    assert_eq!((drift.outcome, drift.plan_summary.map(|s| s.drifted)), (Some(RunOutcome::Succeeded), Some(0)), "{drift:?}");

    let gone = ended(acme.runs().destroy("shop/dev/web").auto_apply().send().await.expect("a run")).await;
    assert_eq!(gone.outcome, Some(RunOutcome::Succeeded), "{gone:?}");
    assert_eq!((state_of(&world).await, held(&world).await.len()), (DeploymentState::Destroyed, 0));
}

both_databases!(a_module_lives_from_plan_to_destroy);

/// An apply inside of its second resource.
pub struct Middle {
    pub world: World,
    pub runner: Process,
    run: RunHandle,
}

impl Middle {
    pub async fn new(database: Database) -> Self {
        let world = world(database, SLOW).await;
        let runner = runner(&world, "runner");
        let run = world.admin.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run");
        let middle = Self { world, runner, run };
        // OpenTofu writes its state every twenty seconds.
        let waits = terraform().ends_with("tofu");
        until("the second resource", || async {
            let run = middle.now().await;
            let slow = run.steps.iter().find(|step| step.address == "terraform_data.slow").map(|step| step.state);
            slow == Some(StepState::Started) && (waits || held(&middle.world).await == ["terraform_data.first"])
        })
        .await;
        middle
    }

    pub async fn now(&self) -> Run {
        self.world.admin.runs().get(&self.run.run().name).send().await.expect("it is there").into_run()
    }

    /// Where the program works.
    pub fn folder(&self) -> PathBuf {
        let uid = self.run.run().name.rsplit('/').next().expect("a name").to_owned();
        self.world.installation.path("runner-runner/terraform/runs").join(uid).join("apply/work")
    }

    fn open(&self) {
        std::fs::write(self.folder().join("gate"), "").expect("the folder is there");
    }

    /// Ends as if nothing had happened.
    async fn succeeds(self) {
        let world = self.world;
        let run = ended(self.run).await;
        assert_eq!(run.outcome, Some(RunOutcome::Succeeded), "{run:?}\n{}", self.runner.said());
        assert_eq!((state_of(&world).await, held(&world).await.len()), (DeploymentState::Active, 3));
        let again = ended(world.admin.runs().plan("shop/dev/web").auto_apply().send().await.expect("a run")).await;
        assert_eq!(again.outcome, Some(RunOutcome::NoChanges), "{again:?}");
    }
}

pub fn runner(world: &World, certificate: &str) -> Process {
    world.installation.runner(&[world.replica.runner], certificate, &[]).process
}

/// A replica in the place of one that died.
async fn again(installation: &Installation, world: &World) -> freehold_tests::Replica {
    let old = &world.replica;
    let (api, web) = (old.api.to_string(), old.web.to_string());
    let (runner, admin) = (old.runner.to_string(), old.admin.to_string());
    let places = ["--lease", "1", "--api-addr", &api, "--web-addr", &web, "--runner-addr", &runner, "--admin-addr", &admin];
    installation.replica(&places).await
}

async fn a_runner_that_is_killed_goes_on_where_its_program_is(database: Database) {
    let mut middle = Middle::new(database).await;
    middle.runner.kill();
    // Its lease ends, and nobody else is given what may still be going on.
    middle.world.installation.pki.issue("other", "runnerPools/default/runners/r2");
    let other = runner(&middle.world, "other");
    until("the end of the lease", || async { middle.now().await.phase == RunPhase::Recovering }).await;
    let waiting = middle.now().await.waiting_on.expect("it waits");
    assert!(waiting.detail.contains("runners/r1") && waiting.reason == WaitingReason::Lease, "{waiting:?}");
    middle.open();
    middle.runner = runner(&middle.world, "runner");
    middle.succeeds().await;
    drop(other);
}

both_databases!(a_runner_that_is_killed_goes_on_where_its_program_is);

async fn a_server_that_is_killed_finds_the_apply_under_way(database: Database) {
    let mut middle = Middle::new(database).await;
    middle.world.replica.process.kill();
    middle.open();
    middle.world.replica = again(&middle.world.installation, &middle.world).await;
    middle.succeeds().await;
}

both_databases!(a_server_that_is_killed_finds_the_apply_under_way);

async fn a_runner_that_was_frozen_takes_its_apply_up_again(database: Database) {
    let middle = Middle::new(database).await;
    middle.runner.signal("STOP");
    until("the end of the lease", || async { middle.now().await.phase == RunPhase::Recovering }).await;
    middle.runner.signal("CONT");
    until("the new lease", || async { middle.now().await.phase == RunPhase::Applying }).await;
    middle.open();
    middle.succeeds().await;
}

both_databases!(a_runner_that_was_frozen_takes_its_apply_up_again);

async fn a_run_whose_lock_is_broken_ends_and_writes_no_more(database: Database) {
    let middle = Middle::new(database).await;
    let state = middle.world.admin.state();
    assert!(state.lock("shop/dev/web").send().await.expect_err("the run has it").is_aborted());
    let other = state.break_lock("shop/dev/web", "a mistake").only("another").send().await.expect("nothing to break");
    assert_eq!((other.lock.is_none(), other.run), (true, None));
    let broken = state.break_lock("shop/dev/web", "its machine burns").send().await.expect("broken");
    let run = ended(middle.run.clone()).await;
    assert_eq!((broken.run.as_deref(), run.outcome), (Some(run.name.as_str()), Some(RunOutcome::Lost)), "{run:?}");
    assert_eq!(run.error.as_ref().map(|error| error.code.as_str()), Some("lock-broken"));
    assert_eq!(state_of(&middle.world).await, DeploymentState::Partial);
    assert!(run.steps.iter().any(|step| step.address == "terraform_data.slow" && step.state == StepState::Unclear));

    // Its runner finds out, and takes the next one; what it did meanwhile is not taken for true.
    let versions = || async { state.list_versions("shop/dev/web").collect_up_to(500).await.expect("versions").len() };
    let before = versions().await;
    middle.open();
    let next = middle.world.admin.runs().plan("shop/dev/web").send().await.expect("the next run");
    let next = timeout(Duration::from_secs(60), next.wait_until(RunPhase::AwaitingApproval)).await.expect("in time");
    assert_eq!(next.expect("it is planned").run().plan_summary.as_ref().map(|summary| summary.create), Some(2));
    assert_eq!(versions().await, before);
}

both_databases!(a_run_whose_lock_is_broken_ends_and_writes_no_more);

async fn an_apply_that_is_cut_off_ends_in_a_true_word(database: Database) {
    let mut middle = Middle::new(database).await;
    middle.runner.kill();
    cut_off(&middle.folder());
    middle.runner = runner(&middle.world, "runner");
    let (world, run) = (middle.world, ended(middle.run).await);
    assert_eq!(run.outcome, Some(RunOutcome::Lost), "{run:?}");
    assert_eq!(run.error.as_ref().map(|error| error.code.as_str()), Some("apply-cut-off"), "{run:?}");
    assert_eq!((state_of(&world).await, held(&world).await), (DeploymentState::Partial, vec!["terraform_data.first".to_owned()]));

    world.publish("quick", module(&SLOW.replace("while [ ! -e gate ]; do sleep 0.05; done", "true"))).await;
    let next = world.admin.runs().plan("shop/dev/web").send().await.expect("the next run starts");
    let next = next.wait_until(RunPhase::AwaitingApproval).await.expect("it is planned");
    assert_eq!(next.run().plan_summary.as_ref().map(|summary| summary.create), Some(2));
}

both_databases!(an_apply_that_is_cut_off_ends_in_a_true_word);

/// Ends every process that works in this folder, with all that watch over it, as a loss of power does.
pub fn cut_off(folder: &std::path::Path) {
    let record = folder.parent().expect("a phase").join("program");
    for entry in std::fs::read_dir("/proc").expect("there are processes").flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        if command.contains("sandbox-stage") && command.contains(&record.display().to_string()) {
            let pid = entry.file_name().into_string().expect("a number");
            std::process::Command::new("kill").args(["-KILL", &pid]).status().expect("kill is there");
        }
    }
}
