//! Kill -9 of server and runner at every step boundary of an apply. What happened is judged by a witness outside our tables.
//!
//! A lost answer to a request that cannot be repeated leaves one question nobody can answer; the run then ends as lost and names
//! the step. Everything else happens exactly once.

use std::{collections::BTreeMap, time::Duration};

use freehold::{BlueprintFile, Client, DeploymentState, EnvironmentKind, Run, RunHandle, RunOutcome, RunPhase};
use freehold_tests::{
    Database::{self, Postgres, Sqlite},
    Installation, Process, Replica, Witness, armed, until,
};
use futures::{StreamExt as _, stream};
use tokio::{sync::Semaphore, time::timeout};

/// Two files with two things of a REST service between them, one after the other. Only the making of `thing` may be repeated.
const CHAIN: &str = r#"
apiVersion: freehold.dev/v1
engine: native
description: Four things, each made of the one before
inputs:
  type: object
  required: [url]
  properties:
    url: { type: string, description: Where things are made }
resources:
  first:
    type: file
    path: first.txt
    content: "one\n"
  thing:
    type: http
    create: { method: PUT, url: "${inputs.url}/thing", body: { after: "${resources.first.sha256}" } }
  once:
    type: http
    create: { method: POST, url: "${inputs.url}/once", body: { after: "${resources.thing.id}" } }
  last:
    type: file
    path: last.txt
    content: "${resources.once.id}\n"
"#;
/// The step, counted from 1, whose effect cannot be repeated.
const UNREPEATABLE: u32 = 3;
/// Seconds of a lease; shorter ones end by themselves on a machine with too much to do.
const LEASE: &str = "2";
/// Trials side by side; each mostly waits for leases.
const TOGETHER: usize = 6;
/// Places of trials, of all stories together: on a machine with too much to do, short leases end by themselves.
pub static PLACES: Semaphore = Semaphore::const_new(TOGETHER);

/// Which process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Server,
    Runner,
}

/// One death.
#[derive(Clone, Copy, Debug)]
struct Trial {
    database: Database,
    victim: Victim,
    point: &'static str,
    count: u32,
    /// A safeguard that the servers do without.
    mutant: Option<&'static str>,
}

/// Every point, and how often a whole apply of the chain passes it.
const POINTS: [(Victim, &str, u32); 16] = [
    // A plan and an apply.
    (Victim::Server, "claim.begun", 2),
    (Victim::Server, "claim.written", 2),
    (Victim::Server, "claim.committed", 2),
    // A plan is prepared; four steps are intended and done.
    (Victim::Server, "progress.begun", 9),
    (Victim::Server, "progress.written", 9),
    (Victim::Server, "progress.committed", 9),
    (Victim::Server, "complete.begun", 2),
    (Victim::Server, "complete.written", 2),
    (Victim::Server, "complete.committed", 2),
    (Victim::Runner, "runner.acquired", 2),
    (Victim::Runner, "step.intending", 4),
    (Victim::Runner, "step.intended", 4),
    (Victim::Runner, "step.effected", 4),
    (Victim::Runner, "step.recorded", 4),
    (Victim::Runner, "runner.completing", 2),
    (Victim::Runner, "runner.completed", 2),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_boundary_repeats_nothing_and_loses_nothing_on_sqlite() {
    sweep(Sqlite, |_| true).await;
}

/// The statements are the same; a death in the middle of each of them, and after each commit, is what differs.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_repeats_nothing_and_loses_nothing_on_postgres() {
    sweep(Postgres, |trial| trial.count == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_forgets_its_journal_is_noticed() {
    let trial = Trial { database: Sqlite, victim: Victim::Runner, point: "step.recorded", count: 3, mutant: Some("requeue") };
    let noticed = trial.run().await.expect_err("the effect that cannot be repeated was repeated");
    // Once for each runner that has the run: on a slow machine a lease may end once more.
    assert!(noticed.contains("/once was asked for "), "{noticed}");
}

async fn sweep(database: Database, chosen: impl Fn(&Trial) -> bool) {
    let all = POINTS
        .iter()
        .flat_map(|&(victim, point, times)| (1..=times).map(move |count| Trial { database, victim, point, count, mutant: None }));
    let trials: Vec<Trial> = all.filter(chosen).collect();
    let count = trials.len();
    let violations: Vec<String> = stream::iter(trials)
        .map(|trial| async move {
            let _place = PLACES.acquire().await;
            trial.run().await.map_err(|violation| format!("{trial:?}: {violation}"))
        })
        .buffer_unordered(TOGETHER)
        .filter_map(|ended| async move { ended.err() })
        .collect()
        .await;
    assert!(violations.is_empty(), "{} of {count} trials:\n{}", violations.len(), violations.join("\n"));
    println!("{count} trials on {database:?}, 0 violations");
}

impl Trial {
    /// Lets it die, starts it again, and says what is not as it must be.
    async fn run(self) -> Result<(), String> {
        let fault = format!("{}:{}", self.point, self.count);
        let fault = [("FREEHOLD_FAULT", fault.as_str())];
        let mutant: Vec<_> = self.mutant.iter().map(|mutant| ("FREEHOLD_MUTANT", *mutant)).collect();
        let (on_server, on_runner) = match self.victim {
            Victim::Server => ([&fault[..], &mutant].concat(), Vec::new()),
            Victim::Runner => (mutant.clone(), fault.to_vec()),
        };
        let stage = Stage::new(self.database, &on_server).await;
        let mut replica = stage.replica;
        let mut runner = stage.installation.faulty_runner(&replica, &on_runner);
        let acme = stage.admin;
        let handle = acme.runs().plan("shop/dev/chain").auto_apply().send().await.expect("a run");

        let victim = if self.victim == Victim::Server { &mut replica.process } else { &mut runner };
        let status =
            timeout(Duration::from_secs(30), victim.wait()).await.map_err(|_| "it never came to this point".to_owned())?;
        if status.code().is_some() {
            return Err(format!("it ended by itself: {}", victim.said()));
        }
        match self.victim {
            Victim::Server => replica = stage.installation.again(&replica, &mutant).await,
            Victim::Runner => runner = stage.installation.faulty_runner(&replica, &[]),
        }
        let ended = timeout(Duration::from_secs(40), handle.clone().wait_done()).await;
        let Ok(ended) = ended else {
            let run = acme.runs().get(&handle.run().name).send().await.map(|handle| handle.into_run());
            return Err(format!("it did not end: {run:?}\n{}\n{}", replica.process.said(), runner.said()));
        };
        let run = ended.map_err(|error| format!("it cannot be followed: {error}"))?.into_run();
        self.judge(&acme, &stage.installation, &stage.witness, &run).await
    }

    async fn judge(self, acme: &Client, installation: &Installation, witness: &Witness, run: &Run) -> Result<(), String> {
        let unanswerable = self.victim == Victim::Runner
            && matches!(self.point, "step.intended" | "step.effected")
            && self.count == UNREPEATABLE;
        let asked = repeats(witness)?;
        let made = |path: &str| asked.get(path).copied().unwrap_or_default();
        let (outcome, state) = if unanswerable {
            (RunOutcome::Lost, DeploymentState::Partial)
        } else {
            (RunOutcome::Succeeded, DeploymentState::Active)
        };
        let deployment = acme.deployments().get("shop/dev/chain").send().await.expect("it is there");
        if (run.outcome, deployment.state) != (Some(outcome), state) {
            return Err(format!("{outcome:?} and {state:?} are expected: {run:?}, {:?}", deployment.state));
        }
        let happened = u32::from(self.point == "step.effected" || !unanswerable);
        if made("/thing") != 1 || made("/once") != happened {
            return Err(format!("things made: {asked:?}"));
        }
        if unanswerable && run.error.as_ref().is_none_or(|error| error.address.as_deref() != Some("http.once")) {
            return Err(format!("the step in question is not named: {:?}", run.error));
        }
        let file = |name: &str| std::fs::read_to_string(installation.path("files/acme").join(name)).ok();
        let last = (!unanswerable).then(|| "once\n".to_owned());
        if file("first.txt").as_deref() != Some("one\n") || file("last.txt") != last {
            return Err(format!("files: {:?}, {:?}", file("first.txt"), file("last.txt")));
        }
        let versions = acme.state().list_versions("shop/dev/chain").collect_up_to(100).await.expect("versions");
        let newest = versions.iter().max_by_key(|version| version.serial).expect("a state");
        if newest.addresses.len() != if unanswerable { 2 } else { 4 } {
            return Err(format!("the state holds {:?}", newest.addresses));
        }
        clean(acme, "shop/dev/chain").await
    }
}

/// The next run can start, and nothing that was put aside for a run is left.
pub async fn clean(acme: &Client, deployment: &str) -> Result<(), String> {
    let next = acme.runs().plan(deployment).send().await.map_err(|error| format!("no next run: {error}"))?;
    let next = timeout(Duration::from_secs(20), next.wait_until(RunPhase::AwaitingApproval)).await;
    let next = next.map_err(|_| "the next run does not get on".to_owned())?.map_err(|error| error.to_string())?;
    if !next.run().is_done() {
        next.cancel().send().await.map_err(|error| format!("the next run cannot be cancelled: {error}"))?;
    }
    let left = acme.quotas().reservations().collect_up_to(10).await.expect("reservations");
    if !left.is_empty() {
        return Err(format!("reservations are left: {left:?}"));
    }
    for quota in ["projects", "environments", "blueprints", "deployments", "storage_bytes", "concurrent_runs", "queued_runs"] {
        let recount = acme.quotas().recount(quota).send().await.expect("a recount");
        if recount.difference != 0 {
            return Err(format!("the counter of {quota} is off by {}", recount.difference));
        }
    }
    Ok(())
}

/// How many different things were made under each path. Repeats of one `PUT` with one key are one; a repeated `POST` is a fault.
fn repeats(witness: &Witness) -> Result<BTreeMap<String, u32>, String> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for effect in witness.effects() {
        let known = keys.entry(effect.path.clone()).or_default();
        if effect.method != "PUT" || !known.contains(&effect.key) {
            known.push(effect.key);
        }
    }
    match keys.iter().find(|(_, keys)| keys.len() > 1) {
        Some((path, keys)) => Err(format!("{path} was asked for {} times", keys.len())),
        None => Ok(keys.into_iter().map(|(path, keys)| (path, keys.len() as u32)).collect()),
    }
}

/// A server of the binary with faults, a tenant, and a deployment of the chain that was never applied.
pub struct Stage {
    pub installation: Installation,
    pub replica: Replica,
    pub admin: Client,
    pub witness: Witness,
}

impl Stage {
    pub async fn new(database: Database, variables: &[(&str, &str)]) -> Self {
        Self::under(database, LEASE, variables).await
    }

    /// The same with leases of so many seconds.
    async fn under(database: Database, lease: &str, variables: &[(&str, &str)]) -> Self {
        let installation = Installation::new(database).await;
        let witness = Witness::start(&installation.path("witness")).await;
        let replica = installation.start(armed(&installation.serve(&["--lease", lease]), variables)).await;
        let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
        admin.tenants().create("acme").send().await.expect("a tenant");
        admin.projects().create("shop").send().await.expect("a project");
        admin.environments().create("shop/dev", EnvironmentKind::Dev).send().await.expect("an environment");
        admin.blueprints().create("chain").send().await.expect("a blueprint");
        let files = vec![BlueprintFile { path: "blueprint.yaml".to_owned(), content: CHAIN.into() }];
        let draft = admin.blueprints().write_draft("chain", files).send().await.expect("a draft");
        let published = admin.blueprints().publish("chain@1.0.0", &draft.blueprint_draft.etag).send().await;
        published.unwrap_or_else(|error| panic!("it can be published: {error:?}; {:?}", draft.diagnostics));
        let created = admin.deployments().create("shop/dev/chain", "chain@1.0.0").input("url", witness.url.as_str());
        created.send().await.expect("a deployment");
        Self { installation, replica, admin, witness }
    }
}

/// Processes of the binary with faults.
pub trait Faulty {
    /// A runner; all of one installation have one certificate, as one that was started anew has.
    fn faulty_runner(&self, replica: &Replica, variables: &[(&str, &str)]) -> Process;
    /// A replica in the place of one that died.
    async fn again(&self, dead: &Replica, variables: &[(&str, &str)]) -> Replica {
        self.again_with(dead, variables, &[]).await
    }
    /// The same with further options.
    async fn again_with(&self, dead: &Replica, variables: &[(&str, &str)], options: &[&str]) -> Replica;
}

impl Faulty for Installation {
    fn faulty_runner(&self, replica: &Replica, variables: &[(&str, &str)]) -> Process {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let log = format!("runner-{}.log", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        Process::start(armed(&self.run(&[replica.runner], "runner", &[]), variables), &self.path(&log))
    }

    async fn again_with(&self, dead: &Replica, variables: &[(&str, &str)], options: &[&str]) -> Replica {
        let (api, web) = (dead.api.to_string(), dead.web.to_string());
        let (runner, admin) = (dead.runner.to_string(), dead.admin.to_string());
        let places = ["--lease", LEASE, "--api-addr", &api, "--web-addr", &web, "--runner-addr", &runner, "--admin-addr", &admin];
        self.start(armed(&self.serve(&[&places, options].concat()), variables)).await
    }
}

/// What became of a runner that was frozen for longer than its lease and came back while its successor was at work.
async fn frozen(variables: &[(&str, &str)]) -> Result<Run, String> {
    let Stage { installation, replica, admin, witness } = Stage::new(Sqlite, variables).await;
    let frozen = installation.faulty_runner(&replica, &[]);
    witness.hold("/thing");
    let handle = admin.runs().plan("shop/dev/chain").auto_apply().send().await.expect("a run");
    until("the effect that the runner is frozen in", || async { witness.arrived("/thing") == 1 }).await;
    frozen.signal("STOP");
    witness.hold("/once");
    witness.release("/thing");
    let elsewhere = installation.path("runner-elsewhere").display().to_string();
    let command = installation.run(&[replica.runner], "runner", &["--data-dir", &elsewhere]);
    let successor = Process::start(armed(&command, &[]), &installation.path("successor.log"));
    until("the successor's next effect", || async { witness.arrived("/once") == 1 }).await;
    frozen.signal("CONT");
    // Refused, it says so and stops; believed, it goes on to the next effect.
    until("the end of the zombie's work", || async {
        frozen.said().contains("the lease was lost") || witness.arrived("/once") > 1
    })
    .await;
    witness.release("/once");
    ended_once(handle, &successor, &witness, &admin).await
}

/// The run at its end, to which this runner brings it, unless something was made twice or keeps the next run waiting.
async fn ended_once(handle: RunHandle, runner: &Process, witness: &Witness, admin: &Client) -> Result<Run, String> {
    let run = timeout(Duration::from_secs(40), handle.wait_done()).await;
    let run = run.map_err(|_| format!("it did not end: {}", runner.said()))?.map_err(|error| error.to_string())?.into_run();
    repeats(witness)?;
    clean(admin, "shop/dev/chain").await?;
    Ok(run)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_was_frozen_beyond_its_lease_changes_nothing() {
    let run = frozen(&[]).await.expect("everything happened once");
    assert_eq!(run.outcome, Some(RunOutcome::Succeeded), "{run:?}");
    assert_eq!(run.attempt, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_compare_fences_is_noticed() {
    let noticed = frozen(&[("FREEHOLD_MUTANT", "fence")]).await.expect_err("the zombie was believed");
    // Once for each runner that has the run: on a slow machine a lease may end once more.
    assert!(noticed.contains("/once was asked for "), "{noticed}");
}

/// What became of a run whose runner was killed twice, and was there again before its lease had ended.
async fn restarted(variables: &[(&str, &str)]) -> Result<Run, String> {
    let Stage { installation, replica, admin, witness } = Stage::under(Sqlite, "10", variables).await;
    let mut runner = installation.faulty_runner(&replica, &[]);
    witness.hold("/thing");
    let handle = admin.runs().plan("shop/dev/chain").auto_apply().send().await.expect("a run");
    until("the effect that may be repeated", || async { witness.arrived("/thing") == 1 }).await;
    runner.kill();
    witness.hold("/once");
    runner = installation.faulty_runner(&replica, &[]);
    until("its repeat", || async { witness.arrived("/thing") == 2 }).await;
    witness.release("/thing");
    until("the effect that may not", || async { witness.arrived("/once") == 1 }).await;
    runner.kill();
    witness.release("/once");
    runner = installation.faulty_runner(&replica, &[]);
    ended_once(handle, &runner, &witness, &admin).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_runner_reports_that_was_restarted_within_its_lease_is_kept() {
    let run = restarted(&[]).await.expect("everything happened once");
    assert_eq!((run.outcome, run.attempt), (Some(RunOutcome::Lost), 1), "{run:?}");
    assert!(run.error.as_ref().is_some_and(|error| error.address.as_deref() == Some("http.once")), "{run:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_two_incarnations_of_a_runner_for_one_is_noticed() {
    let noticed = restarted(&[("FREEHOLD_MUTANT", "incarnation")]).await.expect_err("a report was taken for an earlier one");
    assert!(noticed.contains("/once was asked for "), "{noticed}");
}
