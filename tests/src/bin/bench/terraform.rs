//! Whole runs of Terraform, beside its commands given by hand on the same machine in the same minute.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant, SystemTime},
};

use freehold::{BlueprintFile, Client, RunOutcome, Timestamp};
use freehold_tests::{Database, World, terraform};
use futures::{StreamExt as _, future::try_join_all};
use serde_json::json;
use tokio::{process::Command, task::JoinSet};

use crate::{Bench, Failure};

/// Runs that are measured one after the other.
const RUNS: usize = 15;
/// Runs that are begun at once, and how often.
const AT_ONCE: usize = 10;
const ROUNDS: usize = 3;

const BLUEPRINT: &str = "
apiVersion: freehold.dev/v1
engine: terraform
module: .
";
const MODULE: &str = r#"resource "terraform_data" "one" { input = "one" }"#;

impl Bench {
    /// One resource of type `terraform_data`: from CreateRun to SUCCEEDED, and `init`, `plan -out` and `apply` by hand.
    pub(crate) async fn terraform(&mut self) -> Result<(), Failure> {
        for database in [Database::Sqlite, Database::Postgres] {
            let world = World::new(database).await.shop().await;
            let file = |path: &str, text: &str| BlueprintFile { path: path.to_owned(), content: text.into() };
            world.publish("one", vec![file("blueprint.yaml", BLUEPRINT), file("main.tf", MODULE)]).await;
            let capacity = AT_ONCE.to_string();
            let _runner = world.installation.runner(&[world.replica.runner], "runner", &["--capacity", &capacity]);
            let acme = &world.admin;
            for quota in ["deployments", "concurrent_runs"] {
                acme.quotas().set_limit(quota, None).send().await?;
            }
            // What is done for the first time is not what is measured.
            run(acme, "shop/dev/warm").await?;
            by_hand(self.dir.path()).await?;

            let (mut ours, mut hands, mut starts) = (Vec::new(), Vec::new(), Vec::new());
            for number in 0..RUNS {
                hands.push(by_hand(self.dir.path()).await?);
                let (took, start) = run(acme, &format!("shop/dev/one-{number}")).await?;
                ours.push(took);
                starts.push(start);
            }
            self.terraform_row(&format!("Terraform by hand, {database:?}"), hands);
            self.terraform_row(&format!("Terraform runs, {database:?}"), ours);
            self.terraform_row(&format!("CreateRun to engine, {database:?}"), starts);

            let (mut ours, mut hands) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                let begun = Instant::now();
                try_join_all((0..AT_ONCE).map(|_| by_hand(self.dir.path()))).await?;
                hands.push(begun.elapsed());
                let begun = Instant::now();
                let mut runs = JoinSet::new();
                for number in 0..AT_ONCE {
                    let (acme, name) = (acme.clone(), format!("shop/dev/round-{round}-{number}"));
                    runs.spawn(async move { run(&acme, &name).await });
                }
                while let Some(ended) = runs.join_next().await {
                    ended??;
                }
                ours.push(begun.elapsed());
            }
            self.terraform_row(&format!("Terraform by hand, ten at once, {database:?}"), hands);
            self.terraform_row(&format!("Terraform runs, ten at once, {database:?}"), ours);
        }
        Ok(())
    }

    fn terraform_row(&mut self, name: &str, mut times: Vec<Duration>) {
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
        let (p50, p99) = (at(0.5), at(0.99));
        println!("{name:44} p50 {p50:9.1} ms   p99 {p99:9.1} ms");
        self.rows.push((name.to_owned(), json!({ "latency_ms": { "p50": p50, "p99": p99 } })));
    }
}

/// How long a whole run takes for whoever asked for it, and how long it took until the engine began with it.
async fn run(acme: &Client, name: &str) -> Result<(Duration, Duration), Failure> {
    acme.deployments().create(name, "one@1.0.0").send().await?;
    let begun = Instant::now();
    let ended = acme.runs().plan(name).auto_apply().send().await?.wait_done().await?;
    let took = begun.elapsed();
    let run = ended.run().clone();
    if run.outcome != Some(RunOutcome::Succeeded) {
        return Err(format!("a run did not succeed: {run:?}").into());
    }
    // The engine's first words are the version of its program.
    let first = acme.runs().get(&run.name).send().await?.logs_so_far().next().await.ok_or("the run has no log")??;
    let time = |time: Option<Timestamp>| time.map(SystemTime::from).ok_or("a time is missing");
    let start = time(first.time)?.duration_since(time(run.create_time)?)?;
    Ok((took, start))
}

/// How long the three commands take in an empty folder.
async fn by_hand(dir: &Path) -> Result<Duration, Failure> {
    let folder = tempfile::tempdir_in(dir)?;
    std::fs::write(folder.path().join("main.tf"), MODULE)?;
    let begun = Instant::now();
    for command in ["init -input=false", "plan -input=false -out=plan", "apply -input=false plan"] {
        let mut program = Command::new(terraform());
        program.args(command.split(' '));
        program.current_dir(folder.path()).env("CHECKPOINT_DISABLE", "1").stdin(Stdio::null()).stdout(Stdio::null());
        // As the runner starts it: without a configuration of the person at the keyboard.
        program.env_remove("TF_CLI_CONFIG_FILE");
        let status = program.status().await?;
        if !status.success() {
            return Err(format!("`{command}` ended with {status}").into());
        }
    }
    Ok(begun.elapsed())
}
