//! A deployment of three things that the real program makes, each of which writes itself into a book: a file that no server, no
//! runner and no clean-up touches. What is in it twice was made twice; what is in it and known to nobody is lost.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use freehold::{BlueprintFile, Client, DeploymentState, EnvironmentKind, Run, RunHandle, RunOutcome, RunPhase, StepState};
use freehold_tests::{Database, Installation, Process, Replica, armed, until};
use tokio::time::timeout;

use crate::faults::clean;

/// The deployment.
pub const CHAIN: &str = "shop/dev/chain";
/// How long a run may take to its end, whatever was done to it.
const PATIENCE: Duration = Duration::from_secs(60);

const BLUEPRINT: &str = r#"
apiVersion: freehold.dev/v1
engine: terraform
module:
  variables:
    book: ${inputs.book}
inputs:
  required: [book]
  properties:
    book: { type: string }
"#;

/// A module of three resources, one after the other, that run these commands after they have written themselves down.
fn chain(commands: [&str; 3]) -> String {
    let names = ["first", "second", "third"];
    let mut text = "variable \"book\" { type = string }\n".to_owned();
    for (at, (name, command)) in names.iter().zip(commands).enumerate() {
        let after =
            at.checked_sub(1).map(|before| format!("depends_on = [terraform_data.{}]", names[before])).unwrap_or_default();
        text.push_str(&format!(
            "resource \"terraform_data\" \"{name}\" {{\n  {after}\n  provisioner \"local-exec\" {{\n    command = <<-END\n      \
             echo {name} >> ${{var.book}}\n      {command}\n    END\n  }}\n}}\n"
        ));
    }
    text
}

/// What it takes a while to make, so that there is a time in between.
pub const STEADY: [&str; 3] = ["sleep 0.4"; 3];
/// The second resource takes until somebody opens the gate; see [`Stage::open`].
pub const GATED: [&str; 3] = ["true", "while [ ! -e ${var.book}.gate ]; do sleep 0.05; done", "true"];

/// A server of the binary with faults, and the deployment, which was never applied.
pub struct Stage {
    pub installation: Installation,
    pub replica: Replica,
    pub admin: Client,
    book: PathBuf,
}

impl Stage {
    /// Resources that run these commands, on a server with these variables.
    pub async fn new(database: Database, commands: [&str; 3], variables: &[(&str, &str)]) -> Self {
        Self::on(Installation::new(database).await, commands, variables).await
    }

    /// The same in this installation.
    pub async fn on(installation: Installation, commands: [&str; 3], variables: &[(&str, &str)]) -> Self {
        let replica = installation.start(armed(&installation.serve(&["--lease", "1"]), variables)).await;
        let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
        admin.tenants().create("acme").send().await.expect("a tenant");
        admin.projects().create("shop").send().await.expect("a project");
        admin.environments().create("shop/dev", EnvironmentKind::Dev).send().await.expect("an environment");
        admin.blueprints().create("chain").send().await.expect("a blueprint");
        let files =
            vec![BlueprintFile::new("blueprint.yaml", BLUEPRINT), BlueprintFile::new("main.tf", chain(commands).as_str())];
        let draft = admin.blueprints().write_draft("chain", files).send().await.expect("a draft");
        let published = admin.blueprints().publish("chain@1.0.0", &draft.blueprint_draft.etag).send().await;
        published.unwrap_or_else(|error| panic!("it can be published: {error:?}; {:?}", draft.diagnostics));
        let book = installation.path("book");
        std::fs::write(&book, "").expect("an empty book");
        let created = admin.deployments().create(CHAIN, "chain@1.0.0").input("book", book.display().to_string());
        created.send().await.expect("a deployment");
        Self { installation, replica, admin, book }
    }

    /// A runner with the certificate of this name, which reaches the server at this address.
    pub fn runner(&self, certificate: &str, server: std::net::SocketAddr, variables: &[(&str, &str)]) -> Process {
        self.runner_of(certificate, server, &freehold_tests::terraform(), variables)
    }

    /// The same with this program in the place of Terraform.
    pub fn runner_of(
        &self,
        certificate: &str,
        server: std::net::SocketAddr,
        program: &Path,
        variables: &[(&str, &str)],
    ) -> Process {
        let program = program.display().to_string();
        // Outside of a sandbox, because the book is.
        let command = self.installation.run(&[server], certificate, &["--sandbox", "off", "--terraform", &program]);
        Process::start(armed(&command, variables), &self.installation.path(&format!("{certificate}.log")))
    }

    /// A second runner of the pool, with a disk of its own.
    pub fn other_runner(&self, variables: &[(&str, &str)]) -> Process {
        self.other_runner_of(&freehold_tests::terraform(), variables)
    }

    /// The same with this program in the place of Terraform.
    pub fn other_runner_of(&self, program: &Path, variables: &[(&str, &str)]) -> Process {
        self.installation.pki.issue("other", "runnerPools/default/runners/r2");
        self.runner_of("other", self.replica.runner, program, variables)
    }

    /// A shell script.
    pub fn program(&self, script: &str) -> PathBuf {
        let path = self.beside("program");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the folder is there");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("own file");
        path
    }

    /// Starts to apply it.
    pub async fn apply(&self) -> RunHandle {
        self.admin.runs().plan(CHAIN).auto_apply().send().await.expect("a run")
    }

    /// Lets the second resource be made.
    pub fn open(&self) {
        std::fs::write(self.book.with_extension("gate"), "").expect("the folder is there");
    }

    /// Something else that the module's commands have left beside the book.
    pub fn beside(&self, extension: &str) -> PathBuf {
        self.book.with_extension(extension)
    }

    /// How often each resource was made.
    pub fn made(&self) -> BTreeMap<String, usize> {
        let mut made = BTreeMap::new();
        for line in std::fs::read_to_string(&self.book).expect("the book can be read").lines() {
            *made.entry(format!("terraform_data.{line}")).or_default() += 1;
        }
        made
    }

    /// Waits until this resource was begun.
    pub async fn begun(&self, name: &str) {
        let address = format!("terraform_data.{name}");
        until(&format!("the beginning of {address}"), || async { self.made().contains_key(&address) }).await;
    }

    /// Waits until the run is in this phase.
    pub async fn phase(&self, run: &RunHandle, phase: RunPhase) {
        let name = &run.run().name;
        until(&format!("{phase:?}"), || async {
            self.admin.runs().get(name).send().await.is_ok_and(|now| now.run().phase == phase)
        })
        .await;
    }

    /// Addresses in the newest state.
    pub async fn held(&self) -> Vec<String> {
        let versions = self.admin.state().list_versions(CHAIN).collect_up_to(500).await.expect("versions");
        versions.into_iter().max_by_key(|version| version.serial).map(|newest| newest.addresses).unwrap_or_default()
    }

    /// Waits for the end of the run; a run without one is stuck.
    pub async fn ended(&self, run: RunHandle) -> Result<Run, Violation> {
        let name = run.run().name.clone();
        match timeout(PATIENCE, run.wait_done()).await {
            Ok(Ok(run)) => Ok(run.into_run()),
            Ok(Err(error)) => Err(What::Stuck.of(format!("it cannot be followed: {error}"))),
            Err(_) => {
                let run = self.admin.runs().get(&name).send().await.map(RunHandle::into_run);
                Err(What::Stuck.of(format!("{run:?}")))
            }
        }
    }

    /// What became of the things that were made, and whether the run says the truth of them.
    pub async fn judge(&self, run: &Run) -> Result<(), Violation> {
        let (made, held) = (self.made(), self.held().await);
        let seen = format!("made {made:?}, held {held:?}, {run:?}");
        if made.values().any(|times| *times > 1) {
            return Err(What::Doubled.of(seen));
        }
        let named = |address: &str| {
            let unknown = run.steps.iter().any(|step| step.address == address && step.state == StepState::Unclear);
            let told = run.error.as_ref().is_some_and(|error| format!("{error:?}").contains(address));
            unknown || told
        };
        let deployment = self.admin.deployments().get(CHAIN).send().await.expect("it is there").state;
        let whole = run.outcome == Some(RunOutcome::Succeeded);
        if made.keys().any(|address| !held.contains(address) && (whole || !named(address))) {
            return Err(What::Lost.of(seen));
        }
        let stands = if whole { DeploymentState::Active } else { DeploymentState::Partial };
        if deployment != stands || (whole && held.len() != 3) || held.iter().any(|address| !made.contains_key(address)) {
            return Err(What::Untrue.of(format!("{deployment:?}, {seen}")));
        }
        Ok(())
    }

    /// The run ends well, everything was made once, and the next run has nothing to do.
    pub async fn succeeds(&self, run: RunHandle) -> Result<Run, Violation> {
        let run = self.ended(run).await?;
        self.judge(&run).await?;
        if run.outcome != Some(RunOutcome::Succeeded) {
            return Err(What::Untrue.of(format!("it should have succeeded: {run:?}")));
        }
        clean(&self.admin, CHAIN).await.map_err(|why| What::Stuck.of(why))?;
        Ok(run)
    }
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A thing was made twice.
    Doubled,
    /// A thing was made, and neither a state nor the run knows of it.
    Lost,
    /// The run, or the next one, does not come to an end by itself.
    Stuck,
    /// What is said is not what is.
    Untrue,
    /// The fault was not done.
    Missed,
}

impl What {
    /// A case of it.
    pub fn of(self, seen: impl Into<String>) -> Violation {
        Violation { what: self, seen: seen.into() }
    }
}

/// A case of what must never happen.
#[derive(Debug)]
pub struct Violation {
    pub what: What,
    seen: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.what, self.seen)
    }
}
