//! What befalls an apply, and for each safeguard the sabotage that the story must notice.

use std::path::{Path, PathBuf};

use freehold::{RunHandle, RunOutcome, RunPhase, StepState};
use freehold_tests::{Cut, Database::Sqlite, Process, Proxy, terraform, until};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};

use super::book::{GATED, Stage, Violation, What};
use crate::{
    faults::{Faulty as _, PLACES},
    terraform::cut_off,
};

/// Stories side by side.
const TOGETHER: usize = 4;
/// A program goes on for so long without a runner.
const ORPHAN: (&str, &str) = ("FREEHOLD_TIME", "orphan:4");

/// A story under sabotage: ends as it should, or with what must never happen.
type Story = fn(Option<&'static str>) -> BoxFuture<'static, Result<(), Violation>>;

/// Mutants, and what they do.
type Mutants = &'static [(&'static str, What)];

/// Each story with the mutants that it must notice.
const STORIES: [(&str, Story, Mutants); 11] = [
    ("a runner is killed in the middle", |mutant| runner_killed(mutant).boxed(), &[("reapply", What::Doubled)]),
    (
        "a machine is lost in the middle",
        |mutant| machine_lost(mutant).boxed(),
        &[("reapply", What::Doubled), ("watch", What::Lost)],
    ),
    ("the state cannot be written", |mutant| state_unwritable(mutant).boxed(), &[("errored", What::Lost)]),
    ("a run is cancelled", |mutant| cancelled(mutant).boxed(), &[("interrupt", What::Untrue)]),
    ("a program heeds nobody", |mutant| heedless(mutant).boxed(), &[]),
    ("a program is killed by somebody", |mutant| program_killed(mutant).boxed(), &[]),
    (
        "a runner is out of reach for longer than its run is held for it",
        |mutant| out_of_reach(mutant).boxed(),
        &[("claims", What::Lost), ("fence", What::Untrue)],
    ),
    ("a runner loses the run while it looks at what was left", |mutant| lost_while_it_looks(mutant).boxed(), &[]),
    ("a run comes back to who has offered what it made", |mutant| comes_back(mutant).boxed(), &[("forget", What::Doubled)]),
    ("the clock of the server is an hour slow", |mutant| wrong_clock(mutant, "-3600").boxed(), &[("clock", What::Lost)]),
    ("the clock of the server is an hour fast", |mutant| wrong_clock(mutant, "3600").boxed(), &[]),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_by_terraform_survives_what_befalls_it_and_every_sabotage_is_noticed() {
    let trials = STORIES.iter().flat_map(|&(name, story, mutants)| {
        let sabotaged = mutants.iter().map(move |&(mutant, what)| (name, story, Some((mutant, what))));
        std::iter::once((name, story, None)).chain(sabotaged)
    });
    let ended: Vec<_> = stream::iter(trials.collect::<Vec<_>>())
        .map(|(name, story, mutant)| async move {
            let _place = PLACES.acquire().await;
            let result = story(mutant.map(|(mutant, _)| mutant)).await;
            (name, mutant, result)
        })
        .buffer_unordered(TOGETHER)
        .collect()
        .await;
    let mut wrong = Vec::new();
    let (mut mutants, mut caught) = (0, 0);
    for (name, mutant, result) in &ended {
        match (mutant, result) {
            (None, Ok(())) => {}
            (None, Err(violation)) => wrong.push(format!("{name}: {violation}")),
            (Some((mutant, what)), result) => {
                mutants += 1;
                if result.as_ref().is_err_and(|violation| violation.what == *what) {
                    caught += 1;
                } else {
                    wrong.push(format!("{name}, with the mutant {mutant}: {what:?} was expected, and it ended as {result:?}"));
                }
            }
        }
    }
    let of = |what| {
        let faults = ended.iter().filter(|(_, mutant, _)| mutant.is_none());
        faults.filter(|(.., result)| result.as_ref().is_err_and(|violation| violation.what == what)).count()
    };
    println!(
        "mutants caught {caught} of {mutants}; faults {}: doubled {}, lost {}, stuck {}",
        ended.len() - mutants,
        of(What::Doubled),
        of(What::Lost),
        of(What::Stuck),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn sabotage(mutant: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
    mutant.map(|mutant| ("FREEHOLD_MUTANT", mutant)).into_iter().collect()
}

fn with(mutant: Option<&'static str>, more: (&'static str, &'static str)) -> Vec<(&'static str, &'static str)> {
    [sabotage(mutant), vec![more]].concat()
}

/// The folder of the apply, on the disk of the runner with this certificate.
fn folder(stage: &Stage, certificate: &str, run: &RunHandle) -> PathBuf {
    let uid = run.run().name.rsplit('/').next().expect("a name").to_owned();
    stage.installation.path(&format!("runner-{certificate}/terraform/runs")).join(uid).join("apply/work")
}

/// Waits until the server knows that the second resource was begun.
async fn told(stage: &Stage, run: &RunHandle) {
    until("the news of the second resource", || async {
        let now = stage.admin.runs().get(&run.run().name).send().await.expect("it is there").into_run();
        now.steps.iter().any(|step| step.address == "terraform_data.second" && step.state == StepState::Started)
    })
    .await;
}

/// Waits until the server knows what was made. OpenTofu writes its state every twenty seconds, and before that it is known by its id.
async fn recorded(stage: &Stage) {
    if !terraform().ends_with("tofu") {
        until("the state with the first resource", || async { !stage.held().await.is_empty() }).await;
    }
}

async fn runner_killed(mutant: Option<&'static str>) -> Result<(), Violation> {
    let stage = Stage::new(Sqlite, GATED, &[]).await;
    let mut runner = stage.runner("runner", stage.replica.runner, &[]);
    let run = stage.apply().await;
    stage.begun("second").await;
    runner.kill();
    runner = stage.runner("runner", stage.replica.runner, &sabotage(mutant));
    stage.open();
    let ended = stage.succeeds(run).await.map(drop);
    drop(runner);
    ended
}

async fn machine_lost(mutant: Option<&'static str>) -> Result<(), Violation> {
    let stage = Stage::new(Sqlite, GATED, &[]).await;
    let mut runner = stage.runner("runner", stage.replica.runner, &with(mutant, ORPHAN));
    let run = stage.apply().await;
    told(&stage, &run).await;
    if mutant != Some("watch") {
        recorded(&stage).await;
    }
    runner.kill();
    cut_off(&folder(&stage, "runner", &run));
    let other = stage.other_runner(&sabotage(mutant));
    stage.phase(&run, RunPhase::Recovering).await;
    stage.open();
    let run = stage.ended(run).await?;
    drop(other);
    stage.judge(&run).await?;
    outcome(&run, RunOutcome::Lost)
}

fn outcome(run: &freehold::Run, expected: RunOutcome) -> Result<(), Violation> {
    if run.outcome == Some(expected) { Ok(()) } else { Err(What::Untrue.of(format!("{expected:?} is expected: {run:?}"))) }
}

/// Where the program keeps its state there is no file to be had any more; it leaves `errored.tfstate`.
async fn state_unwritable(mutant: Option<&'static str>) -> Result<(), Violation> {
    let stage = Stage::new(Sqlite, ["rm -f terraform.tfstate; mkdir terraform.tfstate", "true", "true"], &[]).await;
    let runner = stage.runner("runner", stage.replica.runner, &sabotage(mutant));
    let run = stage.apply().await;
    let run = stage.ended(run).await?;
    drop(runner);
    stage.judge(&run).await?;
    outcome(&run, RunOutcome::Failed)
}

/// The real program behind a script, which does this in an apply; `$child` is the real one.
fn behind(stage: &Stage, script: &str) -> PathBuf {
    stage.program(&format!(
        "if [ \"$1\" != apply ]; then exec {real} \"$@\"; fi\nsignals={signals}\n{script}\n{real} \"$@\" &\nchild=$!\n\
         while kill -0 $child 2> /dev/null; do wait $child; code=$?; done\nexit $code\n",
        real = terraform().display(),
        signals = stage.beside("signals").display(),
    ))
}

/// Asked to stop, the program is asked once: a second time would have it drop what it is doing.
async fn cancelled(mutant: Option<&'static str>) -> Result<(), Violation> {
    let stage = Stage::new(Sqlite, GATED, &[]).await;
    // It takes its time, so that a second signal would come.
    let program = behind(
        &stage,
        "trap 'echo INT >> $signals; [ -e $signals.sent ] || { touch $signals.sent; sleep 1; kill -INT $child; }' INT",
    );
    let runner = stage.runner_of("runner", stage.replica.runner, &program, &sabotage(mutant));
    let run = stage.apply().await;
    stage.begun("second").await;
    run.cancel().send().await.expect("asked to stop");
    let run = stage.ended(run).await?;
    drop(runner);
    let signals = std::fs::read_to_string(stage.beside("signals")).unwrap_or_default();
    if signals.lines().count() != 1 {
        return Err(What::Untrue.of(format!("it was asked to stop {} times", signals.lines().count())));
    }
    stage.judge(&run).await?;
    outcome(&run, RunOutcome::Cancelled)
}

/// A program that ignores what it is asked is killed in the end, and what it made is kept.
async fn heedless(mutant: Option<&'static str>) -> Result<(), Violation> {
    let stage = Stage::new(Sqlite, GATED, &[]).await;
    let program = behind(&stage, "trap 'echo INT >> $signals' INT");
    let runner = stage.runner_of("runner", stage.replica.runner, &program, &with(mutant, ("FREEHOLD_TIME", "grace:2")));
    let run = stage.apply().await;
    told(&stage, &run).await;
    run.cancel().send().await.expect("asked to stop");
    let run = stage.ended(run).await?;
    drop(runner);
    // It would go on if anything of it were left.
    stage.open();
    stage.judge(&run).await?;
    outcome(&run, RunOutcome::Lost)
}

/// Killed by its machine's memory guard, say, while its runner looks on.
async fn program_killed(mutant: Option<&'static str>) -> Result<(), Violation> {
    let stage = Stage::new(Sqlite, GATED, &[]).await;
    let runner = stage.runner("runner", stage.replica.runner, &sabotage(mutant));
    let run = stage.apply().await;
    told(&stage, &run).await;
    let plan = folder(&stage, "runner", &run).join(".freehold/plan").display().to_string();
    for entry in std::fs::read_dir("/proc").expect("there are processes").flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).split('\0').any(|argument| argument == plan) {
            let pid = entry.file_name().into_string().expect("a number");
            std::process::Command::new("kill").args(["-KILL", &pid]).status().expect("kill is there");
        }
    }
    let run = stage.ended(run).await?;
    drop(runner);
    stage.open();
    stage.judge(&run).await?;
    outcome(&run, RunOutcome::Lost)
}

/// Another runner that was given the run, and takes until there is this file to look at what was left.
async fn looks(stage: &Stage, run: &RunHandle, look: &Path) -> Process {
    let program = stage.program(&format!(
        "if [ \"$1\" = plan ]; then while [ ! -e {} ]; do sleep 0.05; done; fi\nexec {} \"$@\"",
        look.display(),
        terraform().display()
    ));
    taken_by_other(stage, run, &program).await
}

/// A second runner with this program, once it was given the run.
async fn taken_by_other(stage: &Stage, run: &RunHandle, program: &Path) -> Process {
    let other = stage.other_runner_of(program, &[ORPHAN]);
    until("the other runner's turn", || async {
        let now = stage.admin.runs().get(&run.run().name).send().await.expect("it is there").into_run();
        now.phase == RunPhase::Applying && now.runner.is_some_and(|runner| runner.ends_with("r2"))
    })
    .await;
    other
}

/// Waits until a runner has said what it made of a run that it lost.
async fn offered(stage: &Stage, run: &RunHandle) {
    until("the offer of the first runner", || async {
        !stage.admin.runs().get(&run.run().name).send().await.expect("it is there").run().late_results.is_empty()
    })
    .await;
}

/// Nobody knows how the program ended, and its runner is out of reach while it looks at what that left: it cannot end its look, and
/// says what it knows all the same.
async fn lost_while_it_looks(mutant: Option<&'static str>) -> Result<(), Violation> {
    let stage = Stage::new(Sqlite, GATED, &[]).await;
    let line = Proxy::to(stage.replica.runner).await;
    let (hold, begun) = (stage.beside("hold"), stage.beside("looks"));
    let program = stage.program(&format!(
        "if [ \"$1\" = plan ] && [ -e {hold} ]; then echo >> {begun}; while [ -e {hold} ]; do sleep 0.05; done; fi\nexec {real} \"$@\"",
        hold = hold.display(),
        begun = begun.display(),
        real = terraform().display(),
    ));
    let runner = stage.runner_of("runner", line.address, &program, &with(mutant, ORPHAN));
    let run = stage.apply().await;
    told(&stage, &run).await;
    recorded(&stage).await;
    std::fs::write(&hold, "").expect("the folder is there");
    cut_off(&folder(&stage, "runner", &run));
    until("the look of the first runner", || async { begun.exists() }).await;
    line.cut(Cut::BOTH);
    let other = taken_by_other(&stage, &run, &program).await;
    line.heal();
    offered(&stage, &run).await;
    std::fs::remove_file(&hold).expect("it was there");
    let run = stage.ended(run).await?;
    drop((runner, other));
    stage.judge(&run).await?;
    outcome(&run, RunOutcome::Lost)
}

/// The other runner is lost, too, and the first one is given the run that it has offered a result of: it must find what its program
/// did, and not begin the plan anew.
async fn comes_back(mutant: Option<&'static str>) -> Result<(), Violation> {
    let stage = Stage::new(Sqlite, GATED, &[]).await;
    let line = Proxy::to(stage.replica.runner).await;
    let runner = stage.runner("runner", line.address, &with(mutant, ORPHAN));
    let run = stage.apply().await;
    told(&stage, &run).await;
    recorded(&stage).await;
    line.cut(Cut::BOTH);
    let mut other = looks(&stage, &run, &stage.beside("look")).await;
    stage.open();
    line.heal();
    offered(&stage, &run).await;
    other.kill();
    let run = stage.ended(run).await?;
    drop(runner);
    stage.judge(&run).await?;
    if run.runner.as_ref().is_none_or(|runner| !runner.ends_with("r1")) || run.late_results.len() != 1 {
        return Err(What::Untrue.of(format!("the first runner ends it, and offered once: {run:?}")));
    }
    outcome(&run, RunOutcome::Failed)
}

/// Another runner looks at what was left, and takes its time for it, when the first one is there again and reports.
async fn out_of_reach(mutant: Option<&'static str>) -> Result<(), Violation> {
    let stage = Stage::new(Sqlite, GATED, &sabotage(mutant)).await;
    let line = Proxy::to(stage.replica.runner).await;
    let runner = stage.runner("runner", line.address, &with(mutant, ORPHAN));
    let run = stage.apply().await;
    told(&stage, &run).await;
    recorded(&stage).await;
    let left = folder(&stage, "runner", &run);
    line.cut(Cut::BOTH);
    let look = stage.beside("look");
    let other = looks(&stage, &run, &look).await;
    // Nothing of the first runner may be at work any more: now it could go on.
    stage.open();
    line.heal();
    until("the first runner's return", || async {
        let now = stage.admin.runs().get(&run.run().name).send().await.expect("it is there");
        runner.said().contains("the lease was lost") || now.run().is_done() || stage.made().len() == 3
    })
    .await;
    std::fs::write(look, "").expect("the folder is there");
    let run = stage.ended(run).await?;
    drop(other);
    stage.judge(&run).await?;
    // What it knew and nobody took is kept where it is.
    let kept = std::fs::read_to_string(left.join("terraform.tfstate")).unwrap_or_default();
    if mutant.is_none() && !kept.contains("\"second\"") {
        return Err(What::Lost.of(format!("the late state is gone: {kept}")));
    }
    let late = run.late_results.first();
    if mutant.is_none() && !late.is_some_and(|late| late.unrecorded.iter().any(|one| one.address == "terraform_data.second")) {
        return Err(What::Lost.of(format!("nobody is told what was made late: {run:?}")));
    }
    drop(runner);
    if run.error.as_ref().is_none_or(|error| error.code != "apply-cut-off") {
        return Err(What::Untrue.of(format!("it was ended by who had lost it: {run:?}")));
    }
    outcome(&run, RunOutcome::Lost)
}

/// Server and runner die, and the server comes back with another idea of the time: nobody is given what the runner still holds.
async fn wrong_clock(mutant: Option<&'static str>, seconds: &'static str) -> Result<(), Violation> {
    let mut stage = Stage::new(Sqlite, GATED, &[]).await;
    let mut runner = stage.runner("runner", stage.replica.runner, &[]);
    let run = stage.apply().await;
    told(&stage, &run).await;
    runner.kill();
    stage.replica.process.kill();
    stage.replica = stage.installation.again(&stage.replica, &with(mutant, ("FREEHOLD_CLOCK", seconds))).await;
    let other = stage.other_runner(&[]);
    until("the end of the lease", || async {
        let now = stage.admin.runs().get(&run.run().name).send().await.expect("it is there").into_run();
        now.phase == RunPhase::Recovering || now.runner.is_some_and(|runner| runner.ends_with("r2"))
    })
    .await;
    // The other one asks for work again when it has been told that there is some.
    until("the other runner", || async { other.said().contains("waiting for work") }).await;
    stage.open();
    runner = stage.runner("runner", stage.replica.runner, &[]);
    let ended = stage.succeeds(run).await.map(drop);
    drop((runner, other));
    ended
}
