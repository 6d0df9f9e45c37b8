//! The engine `terraform` with the real program and no provider: plans, applies, drift, secrets, and programs that are cut off.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use freehold_domain::blueprints::{Document, File, Files, Severity};
use freehold_engines::{
    Action, ApplyRequest, DeploymentIdentity, Engine, JournalState, MadePlan, Mode, Outcome, PlanRequest, Rules as _, StepError,
    TerraformEngine, TerraformProgram, TerraformRules, TerraformSettings,
};
use serde_json::{Map, Value, json};

use crate::{
    launcher::{Direct, cut_off},
    support::TestSink,
};

const BLUEPRINT: &str = "apiVersion: freehold.dev/v1\nengine: terraform\nmodule: .\ninputs:\n  properties:\n    name: { type: string, default: one }\n    token: { type: string, sensitive: true }\n";

/// One deployment of a module.
struct World {
    engine: TerraformEngine,
    folder: tempfile::TempDir,
    files: Vec<(String, String)>,
    inputs: Map<String, Value>,
    state: Option<Vec<u8>>,
    serial: u64,
}

async fn program() -> TerraformProgram {
    let named = std::env::var_os("FREEHOLD_TERRAFORM").map(PathBuf::from);
    let found = TerraformProgram::find(named.as_deref()).await.expect("it answers");
    found.expect("terraform or tofu is on the path, or FREEHOLD_TERRAFORM names one; `cargo xtask test` sees to it")
}

impl World {
    async fn new(module: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = engine(&folder, "here").await;
        let files = vec![("blueprint.yaml".to_owned(), BLUEPRINT.to_owned()), ("main.tf".to_owned(), module.to_owned())];
        let inputs = json!({ "name": "one", "token": "verysecrettoken" }).as_object().expect("a map").clone();
        Self { engine, folder, files, inputs, state: None, serial: 0 }
    }

    fn request(&self, mode: Mode) -> PlanRequest {
        let files = self.files.iter().map(|(path, text)| File { path: path.clone(), content: text.clone().into_bytes() });
        PlanRequest {
            run: uuid::Uuid::now_v7().to_string(),
            files: Files::new(files.collect()).expect("good files"),
            inputs: self.inputs.clone(),
            deployment: DeploymentIdentity {
                uid: "d".to_owned(),
                name: "tenants/acme/projects/shop/environments/dev/deployments/web".to_owned(),
                tenant: "acme".to_owned(),
                project: "shop".to_owned(),
                environment: "dev".to_owned(),
            },
            state: self.state.clone(),
            serial: self.serial,
            mode,
        }
    }

    async fn plan(&self, mode: Mode) -> (String, MadePlan, TestSink) {
        let (request, sink) = (self.request(mode), TestSink::default());
        let run = request.run.clone();
        let made = self.engine.plan(request, &sink).await;
        (run, made.unwrap_or_else(|error| panic!("{error}\n{}", sink.lines().join("\n"))), sink)
    }

    async fn carry_out(&mut self, run: &str, plan: &MadePlan, sink: &TestSink) -> Outcome {
        let request = ApplyRequest { run: run.to_owned(), plan: plan.bytes.clone(), journal: sink.journal(), state: None };
        let outcome = self.engine.apply(request, sink).await.expect("it can begin");
        self.engine.forget(run);
        self.keep(&outcome);
        outcome
    }

    fn keep(&mut self, outcome: &Outcome) {
        self.state = Some(outcome.state.bytes.clone());
        self.serial += 1;
    }

    async fn apply(&mut self) -> Outcome {
        let (run, plan, _) = self.plan(Mode::Apply).await;
        let sink = TestSink::default();
        let outcome = self.carry_out(&run, &plan, &sink).await;
        assert!(outcome.failed.is_none(), "{:?}\n{}", outcome.failed, sink.lines().join("\n"));
        outcome
    }

    fn module(&mut self, text: &str) {
        self.files[1].1 = text.to_owned();
    }

    /// What the program of an apply leaves.
    fn record(&self, run: &str) -> PathBuf {
        self.folder.path().join("runs").join(run).join("apply/program")
    }
}

async fn engine(folder: &tempfile::TempDir, instance: &str) -> TerraformEngine {
    engine_of(program().await, folder, instance)
}

fn engine_of(program: TerraformProgram, folder: &tempfile::TempDir, instance: &str) -> TerraformEngine {
    let settings = TerraformSettings {
        program,
        folder: folder.path().to_owned(),
        instance: instance.to_owned(),
        provider_mirror: None,
        git: None,
        module_sources: Vec::new(),
        read_environment: BTreeMap::new(),
        write_environment: BTreeMap::new(),
    };
    TerraformEngine::new(settings, Arc::new(Direct)).expect("a folder")
}

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

#[tokio::test]
async fn a_module_lives_from_its_plan_to_its_end_and_shows_no_secret() {
    let mut world = World::new(MODULE).await;
    let (run, plan, planning) = world.plan(Mode::Apply).await;
    let summary = &plan.summary;
    assert_eq!((summary.counts.create, summary.changes.len(), summary.base_serial), (2, 2, 0));
    assert_eq!(summary.changes[1].address, "terraform_data.second");

    let sink = TestSink::default();
    let outcome = world.carry_out(&run, &plan, &sink).await;
    assert!(outcome.failed.is_none() && outcome.changed, "{:?}\n{}", outcome.failed, sink.lines().join("\n"));
    assert_eq!(outcome.state.addresses(), ["terraform_data.first", "terraform_data.second"]);
    assert_eq!(outcome.outputs["name"].value, "one");
    assert!(outcome.outputs["key"].sensitive && outcome.outputs["key"].value == "verysecrettoken");
    assert_eq!(sink.states()["terraform_data.second"], JournalState::Done);
    assert!(sink.lines().iter().any(|line| line.contains("key is (hidden)")), "{:?}", sink.lines());
    let shown = format!("{summary:?} {:?} {:?} {outcome:?}", planning.lines(), sink.lines());
    assert!(!shown.contains("verysecrettoken"), "{shown}");

    let (_, again, _) = world.plan(Mode::Apply).await;
    assert_eq!((again.summary.counts.unchanged, again.summary.counts.create), (2, 0), "{:?}", again.summary);
    let (_, drift, _) = world.plan(Mode::Drift).await;
    assert_eq!((drift.summary.changes.len(), drift.summary.counts.drifted), (0, 0));

    world.inputs.insert("name".to_owned(), json!("two"));
    let (run, plan, _) = world.plan(Mode::Apply).await;
    let first = &plan.summary.changes[0];
    assert_eq!(
        (first.action, first.attributes[0].before.as_str(), first.attributes[0].after.as_str()),
        (Action::Update, "\"one\"", "\"two\"")
    );
    assert_eq!(world.carry_out(&run, &plan, &TestSink::default()).await.outputs["name"].value, "two");

    let (run, plan, _) = world.plan(Mode::Destroy).await;
    assert_eq!(plan.summary.counts.delete, 2);
    let end = world.carry_out(&run, &plan, &TestSink::default()).await;
    assert!(end.failed.is_none() && end.state.addresses().is_empty() && end.outputs.is_empty(), "{end:?}");
}

#[tokio::test]
async fn what_goes_wrong_is_told_with_its_place_and_keeps_what_was_made() {
    let mut world = World::new("resource \"terraform_data\" \"a\" { input = var.nothing }\n").await;
    let error = world.engine.plan(world.request(Mode::Apply), &TestSink::default()).await.err().expect("no such variable");
    assert_eq!(error.code, "plan-failed");
    assert!(error.message.starts_with("main.tf:1: Reference to undeclared input variable"), "{}", error.message);

    world.module(
        "variable \"name\" {}\nvariable \"token\" { sensitive = true }\nresource \"terraform_data\" \"a\" { input = 1 }\n\
         resource \"terraform_data\" \"b\" {\n  input = terraform_data.a.output\n  provisioner \"local-exec\" { command = \"exit 3\" }\n}\n",
    );
    let (run, plan, _) = world.plan(Mode::Apply).await;
    let sink = TestSink::default();
    let outcome = world.carry_out(&run, &plan, &sink).await;
    let error = outcome.failed.expect("the command fails");
    assert_eq!((error.code.as_str(), error.address.as_str()), ("apply-failed", "terraform_data.b"), "{error}");
    assert_eq!(outcome.state.addresses(), ["terraform_data.a", "terraform_data.b"]);
    assert!(outcome.changed && outcome.unknown.is_empty());
    assert_eq!(sink.states()["terraform_data.b"], JournalState::Failed);
    let (_, plan, _) = world.plan(Mode::Apply).await;
    assert_eq!(plan.summary.changes[1].reason, "its creation failed half-way");

    world.module("resource \"nosuch_thing\" \"a\" {}\n");
    world.state = None;
    let error = world.engine.plan(world.request(Mode::Apply), &TestSink::default()).await.err().expect("no such provider");
    assert_eq!(error.code, "init-failed", "{error}");
}

const SLOW: &str = r#"
variable "name" {}
variable "token" { sensitive = true }
resource "terraform_data" "first" { input = "made" }
resource "terraform_data" "slow" {
  input = terraform_data.first.output
  provisioner "local-exec" { command = "while [ ! -e ${var.name} ]; do sleep 0.05; done" }
}
resource "terraform_data" "last" { input = terraform_data.slow.output }
"#;

/// A world whose apply has made one resource and waits inside of the second for a file.
async fn waiting() -> (World, String, MadePlan, PathBuf) {
    let mut world = World::new(SLOW).await;
    let gate = world.folder.path().join("gate");
    world.inputs.insert("name".to_owned(), json!(gate.display().to_string()));
    let (run, plan, _) = world.plan(Mode::Apply).await;
    (world, run, plan, gate)
}

/// Applies until the second resource has begun, and then is gone; the program goes on.
async fn die_in_the_middle(world: &World, run: &str, plan: &MadePlan) -> TestSink {
    let sink = TestSink::default();
    let request = ApplyRequest { run: run.to_owned(), plan: plan.bytes.clone(), journal: Vec::new(), state: None };
    tokio::select! {
        outcome = world.engine.apply(request, &sink) => panic!("it waits for the gate: {outcome:?}"),
        () = async {
            while sink.states().get("terraform_data.slow") != Some(&JournalState::Intended) {
                tokio::task::yield_now().await;
            }
        } => {}
    }
    sink
}

#[tokio::test]
async fn a_runner_that_comes_back_goes_on_with_its_program() {
    let (mut world, run, plan, gate) = waiting().await;
    let first = die_in_the_middle(&world, &run, &plan).await;
    let second = TestSink::after(&first);
    world.engine = engine(&world.folder, "here").await;
    std::fs::write(gate, "").expect("the gate opens");
    let outcome = world.carry_out(&run, &plan, &second).await;
    assert!(outcome.failed.is_none(), "{:?}\n{}", outcome.failed, second.lines().join("\n"));
    assert_eq!(outcome.state.addresses().len(), 3);
    assert!(!world.record(&run).exists(), "nothing is kept of what was reported");
}

#[tokio::test]
async fn a_program_that_is_cut_off_leaves_its_state_and_a_true_word() {
    let (mut world, run, plan, gate) = waiting().await;
    let first = die_in_the_middle(&world, &run, &plan).await;
    cut_off(&world.record(&run));

    let second = TestSink::after(&first);
    let outcome = world.carry_out(&run, &plan, &second).await;
    let error = outcome.failed.expect("two are not made");
    assert_eq!((error.code.as_str(), error.retryable), ("apply-cut-off", true), "{error}");
    assert_eq!(outcome.unknown, ["terraform_data.slow"]);
    assert_eq!(outcome.state.addresses(), ["terraform_data.first"]);

    std::fs::write(gate, "").expect("the gate opens");
    assert_eq!(world.apply().await.state.addresses().len(), 3);
}

#[tokio::test]
async fn another_runner_looks_and_never_begins_again() {
    let (mut world, run, plan, gate) = waiting().await;
    let first = die_in_the_middle(&world, &run, &plan).await;
    cut_off(&world.record(&run));
    let elsewhere = tempfile::tempdir().expect("a folder");
    world.engine = engine(&elsewhere, "elsewhere").await;
    std::fs::write(gate, "").expect("the gate is open, so that an apply would go through");

    let second = TestSink::after(&first);
    let request = ApplyRequest { run: run.clone(), plan: plan.bytes.clone(), journal: second.journal(), state: first.state() };
    let outcome = world.engine.apply(request, &second).await.expect("it can look");
    assert_eq!(outcome.failed.as_ref().map(|error| error.code.as_str()), Some("apply-cut-off"), "{outcome:?}");
    assert_eq!(outcome.unknown, ["terraform_data.slow"]);
    world.keep(&outcome);
    assert_eq!(world.apply().await.state.addresses().len(), 3);
}

#[tokio::test]
async fn a_cancelled_apply_ends_in_order_and_keeps_what_it_made() {
    let (mut world, run, plan, _gate) = waiting().await;
    let sink = TestSink::cancelling("terraform_data.first");
    let outcome = world.carry_out(&run, &plan, &sink).await;
    assert!(outcome.cancelled && outcome.failed.is_none() && outcome.changed, "{outcome:?}");
    assert!(outcome.state.addresses().contains(&"terraform_data.first"), "{outcome:?}");
    assert!(!outcome.state.addresses().contains(&"terraform_data.last"), "{outcome:?}");
}

#[tokio::test]
async fn a_plan_is_applied_by_what_made_it_and_as_it_was_made() {
    let mut world = World::new(MODULE).await;
    let (run, plan, _) = world.plan(Mode::Apply).await;
    let refused = |bytes: Vec<u8>| {
        let request = ApplyRequest { run: run.clone(), plan: bytes, journal: Vec::new(), state: None };
        let engine = &world.engine;
        async move {
            let error: StepError = engine.apply(request, &TestSink::default()).await.expect_err("it is refused");
            error.code
        }
    };
    let changed = |pointer: &str, value: Value| {
        let mut bundle: Value = serde_json::from_slice(&plan.bytes).expect("JSON");
        *bundle.pointer_mut(pointer).expect("it is there") = value;
        bundle.to_string().into_bytes()
    };
    assert_eq!(refused(changed("/program/number", json!("0.1.0"))).await, "plan-invalid");
    assert_eq!(refused(changed("/format", json!(9))).await, "plan-invalid");
    assert_eq!(refused(changed("/mode", json!("drift"))).await, "plan-invalid");
    assert_eq!(refused(b"rubbish".to_vec()).await, "plan-invalid");

    // The program itself compares the plan with the state that it was made of.
    world.apply().await;
    let mut bundle: Value = serde_json::from_slice(&plan.bytes).expect("JSON");
    bundle["state"] =
        json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, world.state.as_ref().expect("a state")));
    let stale = MadePlan { bytes: bundle.to_string().into_bytes(), summary: plan.summary.clone() };
    let outcome = world.carry_out(&run, &stale, &TestSink::default()).await;
    let error = outcome.failed.expect("it is stale");
    assert!(error.message.contains("stale"), "{error}");
}

#[tokio::test]
async fn a_backend_of_the_module_is_not_used() {
    let backend = "terraform {\n  backend \"http\" { address = \"http://127.0.0.1:1/\" }\n}\n";
    let mut world = World::new(&format!("{backend}{MODULE}")).await;
    let outcome = world.apply().await;
    assert_eq!(outcome.state.addresses().len(), 2);
}

#[tokio::test]
async fn a_program_wastes_memory_where_it_is_alone_and_not_beside_providers() {
    let backend = "terraform {\n  backend \"http\" { address = \"http://127.0.0.1:1/\" }\n}\n";
    let table = [
        (MODULE.to_owned(), "plan 400\nshow 400\napply 400\n"),
        // Its `init` installs a provider, as far as the engine can see.
        (format!("{backend}{MODULE}"), "init 400\nplan usual\nshow usual\ninit 400\napply usual\n"),
    ];
    for (module, expected) in table {
        let mut world = World::new(&module).await;
        let (script, seen) = (world.folder.path().join("program.sh"), world.folder.path().join("seen"));
        let named = std::env::var("FREEHOLD_TERRAFORM").unwrap_or_default();
        let text = format!(
            "#!/bin/sh\nreal={named}\necho \"$1 ${{GOGC-usual}}\" >> {}\n[ \"$1\" != init ] || mkdir -p .terraform/providers\n\
             exec ${{real:-$(command -v terraform || command -v tofu)}} \"$@\"\n",
            seen.display(),
        );
        std::fs::write(&script, text).expect("a script");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("own file");
        let found = TerraformProgram::find(Some(&script)).await.expect("it answers").expect("it is there");
        std::fs::remove_file(&seen).expect("it was asked for its version");
        world.engine = engine_of(found, &world.folder, "here");
        world.apply().await;
        assert_eq!(std::fs::read_to_string(seen).expect("it was called"), expected);
    }
}

#[test]
fn rules_name_what_is_missing() {
    let found = |text: &str, files: &[&str]| -> Vec<(&'static str, u32)> {
        let files = files.iter().map(|path| ((*path).to_owned(), Vec::new()));
        let files = files.chain([("blueprint.yaml".to_owned(), text.as_bytes().to_vec())]);
        let files = Files::new(files.map(|(path, content)| File { path, content }).collect()).expect("good files");
        let (_, found) = Document::parse_with(&files, |document| TerraformRules.validate(document));
        found.into_iter().filter(|one| one.severity == Severity::Error).map(|one| (one.code, one.line)).collect()
    };
    let top = "apiVersion: freehold.dev/v1\nengine: terraform\n";
    assert_eq!(found(&format!("{top}resources: {{}}\n"), &[]), [("missing-key", 2)]);
    assert_eq!(found(&format!("{top}module: .\n"), &["main.txt", "sub/main.tf"]), [("missing-file", 3)]);
    assert_eq!(found(&format!("{top}module: sub\n"), &["sub/main.tf"]), []);
    let git = "{ git: { url: \"https://example.com/m.git\", commit: 0123456789012345678901234567890123456789 } }";
    assert_eq!(
        found(
            &format!(
                "{top}module: {}\n",
                git.replace("0123456789012345678901234567890123456789", "\"0123456789012345678901234567890123456789\"")
            ),
            &[]
        ),
        []
    );
}
