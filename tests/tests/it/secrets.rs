//! Secrets that tenants keep themselves: the runner reads them, and the server never has them.

use std::{fs, path::PathBuf, time::Duration};

use freehold::{BlueprintFile, Client, Run, RunHandle, RunOutcome, RunPhase, SecretDriver, SecretRef, StepState};
use freehold_tests::{Database, Installation, OpenBao, Process, World, until};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    canaries::{Canaries, canary, database, look, note},
    scripted_runner::{self, Runner},
    terraform::ended,
};

const BLUEPRINT: &str = r#"
apiVersion: freehold.dev/v1
engine: native
inputs:
  required: [password]
  properties:
    password: { type: string, minLength: 4, sensitive: true }
    port: { type: integer, sensitive: true }
    plain: { type: string, default: none }
resources:
  config:
    type: file
    path: "${deployment.id}.conf"
    content: "password=${inputs.password}\nport=${has(inputs.port) ? string(inputs.port) : 'none'}\n"
outputs:
  password: { value: "${inputs.password}", sensitive: true }
"#;

const MODULE: [(&str, &str); 2] = [
    (
        "blueprint.yaml",
        "apiVersion: freehold.dev/v1\nengine: terraform\nmodule: .\ninputs:\n  required: [password]\n  properties:\n    password: { type: \
         string, sensitive: true }\n",
    ),
    (
        "main.tf",
        r#"
variable "password" {
  type      = string
  sensitive = true
}
resource "terraform_data" "user" {
  input = var.password
  provisioner "local-exec" { command = "echo password is ${nonsensitive(var.password)}; while [ ! -e gate ]; do sleep 0.05; done" }
}
output "password" {
  value     = var.password
  sensitive = true
}
"#,
    ),
];

/// A server with everything logged, with `shop/dev`, the blueprint `web@1.0.0`, and the store `vault` of `acme`: an OpenBao with
/// a role that may read below `db/`.
pub struct Stage {
    pub world: World,
    pub bao: OpenBao,
    role: (String, PathBuf),
}

impl Stage {
    pub async fn new(database: Database) -> Self {
        let installation = Installation::new(database).await;
        let mut command = installation.serve(&["--lease", "3"]);
        command.env("RUST_LOG", "trace");
        let replica = installation.start(command).await;
        let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
        admin.tenants().create("acme").send().await.expect("a tenant");
        let world = World { installation, replica, admin }.shop().await;
        world.publish("web", vec![BlueprintFile::new("blueprint.yaml", BLUEPRINT)]).await;
        let bao = OpenBao::start(&world.installation.path("bao")).await;
        let role = bao.role("reader", &["secret/data/db/*", "old/db/*", "by-jwt/db/*", "by-cert/db/*"]);
        let driver = SecretDriver::vault(bao.url(), "secret");
        world.admin.secret_stores().create("vault", driver).send().await.expect("a store");
        Self { world, bao, role }
    }

    pub fn acme(&self) -> &Client {
        &self.world.admin
    }

    /// What a runner is allowed of OpenBao for `shop/dev`, as the role.
    pub fn vault(&self) -> Value {
        let auth = json!({ "approle": { "role_id": self.role.0, "secret_id_file": self.role.1 } });
        self.vault_as("secret", 2, auth)
    }

    pub fn vault_as(&self, mount: &str, kv_version: i32, auth: Value) -> Value {
        json!({ "scopes": ["tenants/acme/projects/shop/environments/dev"], "vault": {
            "address": self.bao.url(), "mount": mount, "kv_version": kv_version, "paths": ["db", "closed"],
            "ca_file": self.bao.ca(), "auth": auth,
        } })
    }

    /// Starts the runner `r1`, which reads secrets in these places, with everything logged.
    pub fn runner(&self, stores: &[Value], variables: &[(&str, &str)]) -> Process {
        let installation = &self.world.installation;
        let file = installation.path("secrets.json");
        fs::write(&file, json!({ "stores": stores }).to_string()).expect("the folder can be written");
        let mut command = installation.run(&[self.world.replica.runner], "runner", &["--secrets", file.to_str().expect("text")]);
        command.env("RUST_LOG", "trace").envs(variables.iter().copied());
        Process::start(command, &installation.path("runner.log"))
    }

    /// A deployment with this secret as its password.
    pub async fn deploy(&self, name: &str, secret: SecretRef) {
        let made = self.acme().deployments().create(format!("shop/dev/{name}"), "web@1.0.0").input("password", secret);
        made.send().await.expect("a deployment");
    }

    /// Plans a deployment until somebody has to approve it.
    pub async fn planned(&self, name: &str) -> RunHandle {
        let run = self.acme().runs().plan(format!("shop/dev/{name}")).send().await.expect("a run");
        let planned = timeout(Duration::from_secs(60), run.wait_until(RunPhase::AwaitingApproval)).await.expect("in time");
        planned.unwrap_or_else(|error| panic!("{name} is not planned: {error:?}"))
    }

    /// Approves a plan and follows its apply to its end.
    pub async fn applied(&self, planned: RunHandle) -> Run {
        planned.approve().send().await.expect("an approval");
        ended(planned).await
    }

    /// Plans a deployment and applies it where there is anything to do.
    pub async fn run(&self, name: &str) -> Run {
        ended(self.acme().runs().plan(format!("shop/dev/{name}")).auto_apply().send().await.expect("a run")).await
    }

    /// Why a deployment cannot be planned: code and text, and whether that may pass.
    pub async fn refused(&self, name: &str) -> (String, String, bool) {
        refusal(&self.run(name).await)
    }
}

pub fn refusal(run: &Run) -> (String, String, bool) {
    assert_eq!(run.outcome, Some(RunOutcome::Failed), "{run:?}");
    let error = run.error.clone().expect("it says why");
    (error.code, format!("{} ({})", error.message, error.hint.unwrap_or_default()), error.retryable)
}

pub fn password(path: &str) -> SecretRef {
    SecretRef::new("vault", path).key("password")
}

both_databases!(a_secret_reaches_what_is_made_and_nothing_of_the_server);

async fn a_secret_reaches_what_is_made_and_nothing_of_the_server(on: Database) {
    let mut secrets = Canaries::default();
    let (secret, module) = (canary("canary"), canary("canary"));
    secrets.know("a secret of the native engine", &secret);
    secrets.know("a secret of terraform", &module);
    let stage = Stage::new(on).await;
    stage.bao.put("db/prod", "password", &secret);
    stage.bao.put("db/module", "password", &module);
    let mut runner = stage.runner(&[stage.vault()], &[]);
    let acme = stage.acme();
    stage.deploy("web", password("db/prod")).await;
    let mut shown = Vec::new();
    let got = acme.deployments().get("shop/dev/web").send().await.expect("it is there");
    assert_eq!(got.inputs["password"], Value::from(password("db/prod")), "where it is may be seen");

    let planned = stage.planned("web").await;
    let log: Vec<_> = planned.logs_so_far().map(|line| line.expect("a line").text).collect().await;
    assert!(log.contains(&"input `password`: version 1 of db/prod#password in the store vault".to_owned()), "{log:?}");
    let name = planned.run().name.clone();
    let run = stage.applied(planned).await;
    assert_eq!(run.outcome, Some(RunOutcome::Succeeded), "{run:?}");
    assert_eq!(stage.world.made("web.conf"), Some(format!("password={secret}\nport=none\n")));
    look(acme, "shop/dev/web", &acme.runs().get(&name).send().await.expect("a run"), &mut shown).await;
    assert_eq!(stage.run("web").await.outcome, Some(RunOutcome::NoChanges));
    let drift = ended(acme.runs().detect_drift("shop/dev/web").send().await.expect("a run")).await;
    assert_eq!(drift.outcome, Some(RunOutcome::Succeeded), "{drift:?}");
    until("the tokens to be given back", || async { stage.bao.tokens() == 0 }).await;

    stage
        .world
        .publish(
            "module",
            MODULE.map(|(path, content)| BlueprintFile::new(path, content.replace("while [ ! -e gate ]", "while false"))).into(),
        )
        .await;
    let made = acme.deployments().create("shop/dev/module", "module@1.0.0").input("password", password("db/module"));
    made.send().await.expect("a deployment");
    let run = acme.runs().plan("shop/dev/module").auto_apply().send().await.expect("a run").wait_done().await.expect("it ends");
    assert_eq!(run.run().outcome, Some(RunOutcome::Succeeded), "{:?}", run.run());
    let log: Vec<_> = run.logs_so_far().try_collect().await.expect("a log");
    assert!(log.iter().any(|line| line.text.contains("password is (hidden)")), "{log:?}");
    look(acme, "shop/dev/module", &run, &mut shown).await;
    for name in ["web", "module"] {
        let gone = ended(acme.runs().destroy(format!("shop/dev/{name}")).auto_apply().send().await.expect("a run")).await;
        assert_eq!(gone.outcome, Some(RunOutcome::Succeeded), "{gone:?}");
    }

    note(&mut shown, "audit", &acme.audit().list().collect_up_to(1000).await.expect("the trail"));
    note(&mut shown, "events", &acme.events().list().events().collect_up_to(1000).await.expect("the log"));
    runner.signal("TERM");
    runner.wait().await;
    let places = [
        ("the log of the server", stage.world.replica.process.said().into_bytes()),
        ("the log of the runner", runner.said().into_bytes()),
        ("what the API shows", shown.join("\n").into_bytes()),
        ("the database", database(&stage.world.installation).await),
    ];
    for (place, bytes) in places {
        assert!(bytes.len() > 1000, "{place} was not read");
        assert!(secrets.found_in(&bytes).is_empty(), "{:?} in {place}", secrets.found_in(&bytes));
    }
}

both_databases!(what_the_server_has_of_a_plan_opens_only_for_who_reads_its_secrets);

async fn what_the_server_has_of_a_plan_opens_only_for_who_reads_its_secrets(on: Database) {
    let stage = Stage::new(on).await;
    let mut secrets = Canaries::default();
    let secret = canary("canary");
    secrets.know("the secret", &secret);
    stage.bao.put("db/prod", "password", &secret);
    stage.deploy("web", password("db/prod")).await;
    let mut runner = stage.runner(&[stage.vault()], &[]);
    let planned = stage.planned("web").await;
    runner.kill();

    // A plan job has the name of the secret, and nothing in its place.
    let mut other = Runner::named(&stage.world, "r2").await;
    other.beat("native", 1).await;
    stage.deploy("next", password("db/prod")).await;
    stage.acme().runs().plan("shop/dev/next").send().await.expect("a run");
    let job = other.ask_for(Duration::from_secs(20)).await.expect("a plan to make");
    let work: Value = serde_json::from_slice(&job.payload).expect("JSON");
    assert!(work["inputs"].get("password").is_none(), "{work}");
    assert_eq!(work["secrets"]["password"]["reference"]["path"], "db/prod");
    assert!(secrets.found_in(&job.payload).is_empty());
    other.complete(&job, scripted_runner::planned(0, 0)).await;

    // The server unseals a plan for whoever is to apply it, and so shows all that it has.
    planned.approve().send().await.expect("an approval");
    let job = other.ask_for(Duration::from_secs(20)).await.expect("a plan to apply");
    let text = String::from_utf8_lossy(&job.payload).into_owned();
    assert!(secrets.found_in(&job.payload).is_empty(), "{text}");
    let head = text.lines().nth(1).expect("a head");
    let head: Value = serde_json::from_str(head).expect("JSON");
    assert_eq!(head["reads"]["password"]["reference"]["version"], 1, "what was read is part of what is approved: {head}");
}

both_databases!(what_was_approved_is_what_is_applied);

async fn what_was_approved_is_what_is_applied(on: Database) {
    let stage = Stage::new(on).await;
    let folder = stage.world.installation.path("mounted");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("password"), "in a file").expect("a file");
    stage.bao.put("db/prod", "password", "first");
    let files = json!({ "scopes": ["tenants/acme"], "directory": { "path": folder } });
    let _runner = stage.runner(&[stage.vault(), files], &[]);

    // It is rotated between plan and apply: the version that was planned with is written.
    stage.deploy("web", password("db/prod")).await;
    let planned = stage.planned("web").await;
    stage.bao.put("db/prod", "password", "second");
    assert_eq!(stage.applied(planned).await.outcome, Some(RunOutcome::Succeeded));
    assert_eq!(stage.world.made("web.conf"), Some("password=first\nport=none\n".to_owned()));
    let next = stage.planned("web").await;
    assert_eq!(next.run().plan_summary.as_ref().map(|summary| summary.update), Some(1), "the new version is a change");

    // The version is gone when it is applied.
    stage.bao.run(&["kv", "destroy", "-mount=secret", "-versions=2", "db/prod"]);
    let (code, why, retryable) = refusal(&stage.applied(next).await);
    assert_eq!((code.as_str(), retryable), ("secret-missing", false));
    assert!(why.contains("version 2 of db/prod#password in the store vault was destroyed") && why.contains("new plan"), "{why}");
    assert_eq!(stage.world.made("web.conf"), Some("password=first\nport=none\n".to_owned()), "nothing has been changed");

    // The reference names a version: that one, however many there are.
    let pinned = [("password".to_owned(), password("db/prod").version(1).into())].into_iter().collect();
    stage.acme().deployments().update("shop/dev/web").inputs(pinned).send().await.expect("an update");
    stage.bao.put("db/prod", "password", "third");
    assert_eq!(stage.run("web").await.outcome, Some(RunOutcome::NoChanges), "that is what is there");
    assert_eq!(stage.world.made("web.conf"), Some("password=first\nport=none\n".to_owned()));

    // A store that keeps no versions: the very value, or none.
    let driver = SecretDriver::directory(folder.to_str().expect("text"));
    stage.acme().secret_stores().create("files", driver).send().await.expect("a store");
    stage.deploy("file", SecretRef::new("files", "password")).await;
    let planned = stage.planned("file").await;
    fs::write(folder.join("password"), "another").expect("a file");
    let (code, why, _) = refusal(&stage.applied(planned).await);
    assert_eq!(code, "secret-changed");
    assert!(why.contains("password in the store files") && why.contains("make a new plan") && !why.contains("another"), "{why}");
    assert_eq!(stage.run("file").await.outcome, Some(RunOutcome::Succeeded));
    assert_eq!(stage.world.made("file.conf"), Some("password=another\nport=none\n".to_owned()));
}

both_databases!(a_runner_goes_on_with_its_apply_although_the_store_is_gone);

async fn a_runner_goes_on_with_its_apply_although_the_store_is_gone(on: Database) {
    let mut stage = Stage::new(on).await;
    stage.bao.put("db/prod", "password", "first");
    stage.world.publish("module", MODULE.map(|(path, content)| BlueprintFile::new(path, content)).into()).await;
    let made = stage.acme().deployments().create("shop/dev/module", "module@1.0.0").input("password", password("db/prod"));
    made.send().await.expect("a deployment");
    let mut runner = stage.runner(&[stage.vault()], &[]);
    let run = stage.acme().runs().plan("shop/dev/module").auto_apply().send().await.expect("a run");
    let uid = run.run().name.rsplit('/').next().expect("a name").to_owned();
    let runs = stage.world.installation.path("runner-runner");
    let work = runs.join("terraform/runs").join(&uid).join("apply/work");
    until("the apply to be under way", || async {
        let run = stage.acme().runs().get(&run.run().name).send().await.expect("a run").into_run();
        run.steps.iter().any(|step| step.state == StepState::Started)
    })
    .await;
    runner.kill();
    assert!(runs.join("keys").join(&uid).exists(), "it can open its plan without the store");
    stage.bao.process.kill();
    fs::write(work.join("gate"), "").expect("the folder is there");
    runner = stage.runner(&[stage.vault()], &[]);
    let run = ended(run).await;
    assert_eq!(run.outcome, Some(RunOutcome::Succeeded), "{run:?}\n{}", runner.said());
    until("the key to be forgotten", || async { !runs.join("keys").join(&uid).exists() }).await;
}
