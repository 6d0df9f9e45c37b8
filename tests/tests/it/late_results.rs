//! What a runner made of a run that it had lost by then: kept with the run as evidence, and it changes nothing else.

use std::process::Command;

use freehold::{
    DeploymentState, LateResult, Run, RunOutcome, RunPhase,
    raw::proto::{
        deployments::v1::{LogLine, ManagedResource},
        runners::v1 as pb,
    },
};
use freehold_tests::{Database, Installation, Process, World, armed, furnish, until};
use serde_json::Value;
use tonic::Code;

use crate::{
    Sqlite,
    cli::Shell,
    scripted_runner::{Runner, applied, intended, plan},
    terraform::{Middle, held, runner, state_of},
};

const WEB: &str = "shop/dev/web";

/// Waits until a runner has offered something.
async fn offered(middle: &Middle) -> (Run, LateResult) {
    until("a late result", || async { !middle.now().await.late_results.is_empty() }).await;
    let run = middle.now().await;
    let late = run.late_results[0].clone();
    (run, late)
}

/// Of a module whose first resource was known when the lock of its run was broken: the second was made in part, and nobody knows.
async fn is_told(middle: &Middle) {
    let admin = &middle.world.admin;
    let (run, late) = offered(middle).await;
    assert_eq!((run.phase, run.outcome), (RunPhase::Done, Some(RunOutcome::Lost)), "{run:?}");
    assert_eq!(run.error.as_ref().map(|error| error.code.as_str()), Some("lock-broken"));
    assert_eq!((run.late_results.len(), late.runner.as_str()), (1, "runnerPools/default/runners/r1"));
    assert!(late.changed && late.cancelled && late.error.is_none(), "{late:?}");
    let unrecorded: Vec<&str> = late.unrecorded.iter().map(|resource| resource.address.as_str()).collect();
    assert_eq!((unrecorded.as_slice(), late.unrecorded_count), (["terraform_data.slow"].as_slice(), 1), "{late:?}");
    assert!(late.unrecorded[0].id.is_some() && late.unrecorded[0].r#type == "terraform_data", "{late:?}");
    assert_eq!(
        (state_of(&middle.world).await, held(&middle.world).await),
        (DeploymentState::Partial, vec!["terraform_data.first".to_owned()])
    );

    let content = admin.runs().late_result(&run.name).send().await.expect("a download").expect("there is one");
    assert_eq!(content.late_result, late);
    let state: Value = serde_json::from_slice(&content.state).expect("a state");
    let kept: Vec<_> =
        state["resources"].as_array().expect("resources").iter().map(|resource| resource["name"].clone()).collect();
    assert_eq!(kept, ["first", "slow"], "{state}");
    assert!(content.lines.iter().any(|line| line.text.contains("the run was given to another runner")), "{:?}", content.lines);
    assert!(!format!("{:?} {late:?}", content.lines).contains("canary-of-the-token"));

    // What its runner kept is needed no more.
    let applies = middle.world.installation.path("runner-runner/applies");
    until("an empty disk", || async {
        !middle.folder().exists() && std::fs::read_dir(&applies).is_ok_and(|mut left| left.next().is_none())
    })
    .await;
}

async fn a_runner_whose_lock_was_broken_says_what_it_made(database: Database) {
    let middle = Middle::new(database).await;
    let admin = &middle.world.admin;
    let before = admin.state().list_versions(WEB).collect_up_to(500).await.expect("versions");
    admin.state().break_lock(WEB, "its machine burns").send().await.expect("broken");
    is_told(&middle).await;
    assert_eq!(admin.state().list_versions(WEB).collect_up_to(500).await.expect("versions"), before);

    // Only who may read states gets it, and the trail tells both the offer and the download.
    let name = middle.now().await.name;
    let viewer = middle.world.person("acme", "vic", &["viewer"]).await;
    assert_eq!(viewer.runs().get(&name).send().await.expect("it may see runs").run().late_results.len(), 1);
    let refused = viewer.runs().late_result(&name).send().await.expect_err("not what is in it");
    assert!(refused.is_permission_denied(), "{refused:?}");
    let trail = admin.audit().list().collect_up_to(1000).await.expect("the trail");
    let told = |kind: &str, who: &str, method: &str| {
        let of_kind =
            trail.iter().filter(|record| record.change.as_ref().is_some_and(|change| change.to_string().contains(kind)));
        of_kind.filter(|record| record.principal == who && record.method.ends_with(method) && record.resource == name).count()
    };
    assert_eq!(told("run.late_result_offered", "runnerPools/default/runners/r1", "/OfferLateResult"), 1, "{trail:?}");
    assert_eq!(told("run.late_result_downloaded", "platform/admin", "/DownloadLateResult"), 1, "{trail:?}");

    let shell = Shell::of(&middle.world, "admin");
    let told = shell.run(&format!("run get {name}"));
    assert!(told.err.contains("1 that the newest state did not have: terraform_data.slow"), "{}", told.err);
    let why = shell.ok(&format!("run explain {name}"));
    assert!(why.contains("offered later what it had made: 1 resource") && why.contains("freehold run late-result"), "{why}");
    let file = middle.world.installation.path("late.tfstate");
    shell.ok(&format!("run late-result {name} --to {}", file.display()));
    let sum = Command::new("sha256sum").arg(&file).output().expect("it is there");
    let (sum, late) = (String::from_utf8_lossy(&sum.stdout).into_owned(), offered(&middle).await.1);
    assert_eq!(late.digest, format!("sha256:{}", &sum[..64]), "byte for byte");
    assert_eq!(late.size_bytes, i64::try_from(std::fs::read(&file).expect("a file").len()).expect("a size"));
    shell.fails(&format!("run late-result {name} --epoch 77"), 3, &["does not exist"]);
}

both_databases!(a_runner_whose_lock_was_broken_says_what_it_made);

async fn a_runner_that_was_restarted_says_what_an_earlier_life_of_it_made(database: Database) {
    let mut middle = Middle::new(database).await;
    middle.runner.kill();
    middle.world.admin.state().break_lock(WEB, "its machine burns").send().await.expect("broken");
    // The program goes on, and nobody waits for what it makes.
    middle.runner = runner(&middle.world, "runner");
    is_told(&middle).await;
}

both_databases!(a_runner_that_was_restarted_says_what_an_earlier_life_of_it_made);

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_dies_of_its_offer_makes_it_once_more_and_has_it_kept_once() {
    let mut middle = Middle::new(Sqlite).await;
    middle.runner.kill();
    middle.world.admin.state().break_lock(WEB, "its machine burns").send().await.expect("broken");
    let installation = &middle.world.installation;
    let command = installation.run(&[middle.world.replica.runner], "runner", &[]);
    let mut dying = Process::start(armed(&command, &[("FREEHOLD_FAULT", "runner.offered:1")]), &installation.path("dying.log"));
    assert!(!dying.wait().await.success(), "{}", dying.said());
    assert_eq!(offered(&middle).await.0.late_results.len(), 1);
    assert!(middle.folder().exists(), "nobody told it that the offer was taken");
    middle.runner = runner(&middle.world, "runner");
    is_told(&middle).await;
}

/// What a runner came to, with one resource.
fn made(state: &str) -> pb::ApplyResult {
    let pb::complete_job_request::Result::Apply(apply) = applied(state) else { unreachable!("an apply") };
    let resource = ManagedResource { address: "random_pet.pet".to_owned(), id: "late".to_owned(), ..Default::default() };
    pb::ApplyResult { resources: vec![resource], ..apply }
}

/// Offers it; answers whether the run has ended. Without it, only asks.
async fn offer(runner: &mut Runner, run: &str, epoch: i64, apply: Option<pb::ApplyResult>) -> Result<bool, Code> {
    let lines = ["one", "two"].map(|text| LogLine { text: text.to_owned(), ..Default::default() }).to_vec();
    let offer = pb::OfferLateResultRequest { run: run.to_owned(), epoch, apply, lines };
    runner.0.offer_late_result(offer).await.map(|answer| answer.into_inner().run_done).map_err(|status| status.code())
}

/// The holder of an apply loses it by a broken lock, and says what it made; what everybody else says is refused.
async fn only_the_holder_is_heard(world: &World) -> Result<(), String> {
    let admin = &world.admin;
    let (mut holder, mut colleague) = (Runner::new(world).await, Runner::named(world, "r2").await);
    let run = plan(admin, WEB).await;
    let job = holder.begin_apply(1, 0).await;
    let read = async || admin.runs().get(&run).send().await.expect("a run").into_run();
    let mut wrong = Vec::new();
    let mut expect = |what: &str, wanted: Result<bool, Code>, seen: Result<bool, Code>| {
        if wanted != seen {
            wrong.push(format!("{what}: {seen:?} instead of {wanted:?}"));
        }
    };
    let (own, nobody) = (Err(Code::FailedPrecondition), Err(Code::NotFound));
    expect("under the lease", own, offer(&mut holder, &run, job.epoch, Some(made("late"))).await);
    expect("only asked, under the lease", own, offer(&mut holder, &run, job.epoch, None).await);
    for broken in [false, true] {
        if broken {
            admin.state().break_lock(WEB, "a trial").send().await.expect("broken");
        }
        expect("a colleague", nobody, offer(&mut colleague, &run, job.epoch, Some(made("mallory"))).await);
        expect("a colleague asks", nobody, offer(&mut colleague, &run, job.epoch, None).await);
        for epoch in [job.epoch - 1, job.epoch + 1, 0, -1, i64::MAX] {
            expect("another fence", nobody, offer(&mut holder, &run, epoch, Some(made("mallory"))).await);
        }
    }
    let before = (read().await, admin.deployments().get(WEB).send().await.expect("a deployment"));
    expect("only asked", Ok(true), offer(&mut holder, &run, job.epoch, None).await);
    if read().await != before.0 || !before.0.late_results.is_empty() {
        wrong.push(format!("{:?}", before.0.late_results));
        return Err(wrong.join("\n"));
    }
    let mut many = pb::OfferLateResultRequest { run: run.clone(), epoch: job.epoch, ..Default::default() };
    many.lines = vec![LogLine::default(); 1001];
    let refused = holder.0.offer_late_result(many).await.map(|_| true).map_err(|status| status.code());
    expect("too many lines", Err(Code::InvalidArgument), refused);
    expect("the holder", Ok(true), offer(&mut holder, &run, job.epoch, Some(made("late"))).await);

    let after = read().await;
    let [late] = after.late_results.as_slice() else { panic!("one: {after:?}") };
    assert_eq!((late.epoch, late.unrecorded_count, late.unrecorded[0].id.as_deref()), (job.epoch, 1, Some("late")));
    let mut but_for_it = after.clone();
    but_for_it.late_results.clear();
    (but_for_it.etag, but_for_it.update_time) = (before.0.etag.clone(), before.0.update_time);
    assert_eq!(but_for_it, before.0, "nothing else of the run");
    assert_eq!(admin.deployments().get(WEB).send().await.expect("a deployment"), before.1, "nothing of the deployment");
    assert!(admin.state().list_versions(WEB).collect_up_to(10).await.expect("versions").is_empty());
    expect("again", Ok(true), offer(&mut holder, &run, job.epoch, Some(made("late"))).await);
    expect("another state", own, offer(&mut holder, &run, job.epoch, Some(made("later"))).await);
    assert_eq!(read().await, after, "neither changes anything");
    let content = admin.runs().late_result(&run).send().await.expect("a download").expect("there is one");
    assert_eq!(content.state, made("late").state, "byte for byte");
    assert_eq!(content.lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    for quota in ["storage_bytes", "concurrent_runs"] {
        assert_eq!(admin.quotas().recount(quota).send().await.expect("a recount").difference, 0, "{quota}");
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

async fn a_late_result_is_heard_from_who_held_the_apply_alone(database: Database) {
    let world = World::new(database).await.with_sample().await;
    only_the_holder_is_heard(&world).await.unwrap_or_else(|wrong| panic!("{wrong}"));
}

both_databases!(a_late_result_is_heard_from_who_held_the_apply_alone);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hears_everybody_is_noticed() {
    let installation = Installation::new(Sqlite).await;
    let replica = installation.start(armed(&installation.serve(&[]), &[("FREEHOLD_MUTANT", "late")])).await;
    let admin = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    admin.tenants().create("acme").send().await.expect("a tenant");
    furnish(&admin).await;
    let wrong = only_the_holder_is_heard(&World { installation, replica, admin }).await.expect_err("it is noticed");
    for what in ["under the lease", "a colleague", "another fence"] {
        assert!(wrong.contains(what), "{wrong}");
    }
}

async fn a_run_that_another_runner_has_is_not_touched_by_who_lost_it(database: Database) {
    let world = World::with(database, &["--lease", "2"]).await.with_sample().await;
    let admin = &world.admin;
    let (mut first, mut second) = (Runner::new(&world).await, Runner::named(&world, "r2").await);
    let run = plan(admin, WEB).await;
    let lost = first.begin_apply(1, 0).await;
    first.report(&lost, 1, vec![intended("random_pet.pet")], "").await;
    let read = async || admin.runs().get(&run).send().await.expect("a run").into_run();
    until("the end of the lease", || async { read().await.phase == RunPhase::Recovering }).await;
    let own = Err(Code::FailedPrecondition);
    assert_eq!(offer(&mut first, &run, lost.epoch, Some(made("late"))).await, own, "it may take it up again");

    let taken = second.ask().await.expect("the apply");
    assert_eq!((taken.run.as_str(), taken.epoch), (run.as_str(), lost.epoch + 2));
    assert_eq!(offer(&mut first, &run, lost.epoch, Some(made("late"))).await, Ok(false), "the run goes on");
    assert_eq!(offer(&mut first, &run, taken.epoch, Some(made("late"))).await, Err(Code::NotFound), "the other's fence");
    second.report(&taken, 1, vec![intended("random_pet.pet")], "of the second").await;
    second.complete(&taken, applied("of the second")).await;
    let done = read().await;
    assert_eq!((done.outcome, done.late_results.len()), (Some(RunOutcome::Succeeded), 1), "{done:?}");
    // What was reported in time is not late, and a repeat of what was late is known.
    assert_eq!(offer(&mut second, &run, taken.epoch, Some(made("another"))).await, Ok(true));
    assert_eq!(offer(&mut first, &run, lost.epoch, Some(made("late"))).await, Ok(true));
    assert_eq!(read().await, done);

    let state = admin.state().download(WEB).send().await.expect("a state").expect("there is one");
    let pb::complete_job_request::Result::Apply(second) = applied("of the second") else { unreachable!("an apply") };
    assert_eq!(state, second.state, "the state is the other's");
    let content = admin.runs().late_result(&run).epoch(lost.epoch).send().await.expect("a download").expect("there is one");
    assert_eq!(content.state, made("late").state);
    assert!(admin.runs().late_result(&run).epoch(taken.epoch).send().await.expect_err("none").is_not_found());
}

both_databases!(a_run_that_another_runner_has_is_not_touched_by_who_lost_it);
