//! GitHub: commands in comments, and a run as a check, a deployment and one comment, whatever dies in between.

use std::sync::atomic::{AtomicU32, Ordering};

use freehold::{Client, Connection, InboundMessageState, Run, RunOutcome, Timestamp};
use freehold_fakes::FakeGithub;
use freehold_tests::{
    Database::{self, Sqlite},
    World, armed, eventually, told, until,
};
use serde_json::{Value, json};

use crate::{
    chat::{code, people, typed},
    connections::trusting,
    inbound::{path, post},
    scripted_runner::{Runner, applied, planned_as},
};

const AUTHOR: (u64, &str) = (7, "author-of-acme");
const ADA: (u64, &str) = (8, "ada-of-acme");
const PULL: u64 = 1;
const ARGS: &[&str] = &["--connections-allow-private", "--console-url", "https://freehold.example"];

/// An author and an approver with accounts, and a connection `code` that is an app.
struct Stage {
    world: World,
    github: FakeGithub,
    code: Connection,
    author: Client,
    ada: Client,
    deliveries: AtomicU32,
}

impl Stage {
    async fn new(database: Database) -> Self {
        let world = World::with(database, ARGS).await.with_sample().await;
        let (author, ada, _) = people(&world).await;
        let github = FakeGithub::start(Timestamp::now().as_second()).await;
        let create = world.admin.connections().create("code", "github").setting("base_url", github.api());
        let create = create.setting("app_id", FakeGithub::APP.0).setting("installation_id", FakeGithub::APP.1);
        let create = trusting(create, &github.server).credential("private_key", FakeGithub::APP.2);
        let code = create.credential("webhook_secret", FakeGithub::WEBHOOK_SECRET).send().await.expect("a connection");
        Self { world, github, code, author, ada, deliveries: AtomicU32::new(0) }
    }

    /// Somebody comments on the pull request, and GitHub tells of it.
    async fn comments(&self, who: (u64, &str), text: &str) {
        assert_eq!(self.tells(who, text).await, Some(200));
    }

    /// The same; answers the status, which is none when the server dies over it.
    async fn tells(&self, who: (u64, &str), text: &str) -> Option<u16> {
        let body = self.github.comment_event(who, PULL, text);
        let id = format!("72d3162e-cc78-11e3-81ab-{:012}", self.deliveries.fetch_add(1, Ordering::Relaxed));
        let headers = FakeGithub::sign(&body, "issue_comment", &id);
        let web = self.world.replica.web;
        post(&self.world.installation.pki, web, path(&self.code), &headers, &body).await.0
    }

    /// Our comments that begin with this marker; anybody can write one.
    fn ours(&self, marker: &str) -> Vec<Value> {
        let marker = format!("<!-- freehold:{marker}");
        let ours = |comment: &Value| {
            comment["performed_via_github_app"]["id"] == FakeGithub::APP.0
                && comment["body"].as_str().is_some_and(|text| text.starts_with(&marker))
        };
        self.github.comments(PULL).into_iter().filter(ours).collect()
    }

    /// The answer to what somebody has commented.
    async fn told(&self, who: (u64, &str), text: &str) -> String {
        let before = self.ours("answer/").len();
        self.comments(who, text).await;
        eventually("an answer", || async {
            let answer = self.ours("answer/").get(before).cloned().ok_or("nobody was answered")?;
            Ok::<_, &str>(answer["body"].as_str().expect("a text").to_owned())
        })
        .await
    }

    async fn link(&self, client: &Client, who: (u64, &str)) {
        let answer = self.told(who, "Hello.\n/freehold link").await;
        client.connections().link_account("code", code(&answer)).send().await.expect("linked");
    }

    /// The comment about the deployment, once it says this.
    async fn shown(&self, text: &str) -> String {
        eventually("the comment about a run", || async {
            match self.ours("deployment/").as_slice() {
                [one] if one["body"].as_str().is_some_and(|body| body.contains(text)) => {
                    Ok(one["body"].as_str().unwrap_or_default().to_owned())
                }
                all => Err(format!("{all:?}")),
            }
        })
        .await
    }

    /// The check of a run, once it is so.
    async fn check(&self, run: &Run, status: &str, conclusion: Option<&str>) -> Value {
        eventually("the check of a run", || async {
            let all = self.github.check_runs();
            let ours: Vec<_> = all.iter().filter(|check| check["external_id"] == json!(run.uid)).collect();
            match ours.as_slice() {
                [one] if one["status"] == status && one["conclusion"].as_str() == conclusion => Ok((*one).clone()),
                _ => Err(format!("{ours:?}")),
            }
        })
        .await
    }
}

async fn runs(client: &Client) -> Vec<Run> {
    client.runs().list("shop/dev/web").collect_up_to(10).await.expect("runs")
}

both_databases!(a_comment_makes_a_run_and_another_one_applies_it);

async fn a_comment_makes_a_run_and_another_one_applies_it(database: Database) {
    let stage = Stage::new(database).await;
    let mut runner = Runner::new(&stage.world).await;
    let said = stage.told((9, "eve"), "/freehold plan shop/dev/web").await;
    assert!(said.contains("@eve") && said.contains("not linked"), "{said}");
    stage.link(&stage.author, AUTHOR).await;
    stage.link(&stage.ada, ADA).await;
    let said = stage.told(AUTHOR, "/freehold plan shop/dev").await;
    assert!(said.contains("`shop/dev` is no deployment") && said.contains("help"), "{said}");
    assert!(runs(&stage.world.admin).await.is_empty());

    stage.comments(AUTHOR, "> /freehold apply shop/dev/web\n\nLater.\n/freehold plan shop/dev/web").await;
    stage.shown("It will be planned.").await;
    let run = runs(&stage.world.admin).await.remove(0);
    assert_eq!(run.create_principal, "tenants/acme/users/author");
    stage.check(&run, "in_progress", None).await;
    let job = runner.ask().await.expect("a plan to make");
    runner.complete(&job, planned_as("the plan", 1, 0)).await;
    let comment = stage.shown("Its plan waits for a decision.").await;
    let digest = runs(&stage.world.admin).await.remove(0).plan_digest.expect("a plan")[7..19].to_owned();
    assert!(comment.contains("1 to create") && comment.contains(&digest), "{comment}");
    let page =
        format!("https://freehold.example/t/acme/p/shop/e/dev/d/web/runs/{}", run.name.rsplit('/').next().expect("a number"));
    assert!(comment.contains(&format!("<{page}>")), "{comment}");
    let check = stage.check(&run, "queued", None).await;
    assert_eq!(check["details_url"], json!(page));
    assert_eq!((check["name"].as_str(), check["head_sha"].as_str()), (Some("freehold shop/dev/web"), Some(FakeGithub::SHA)));
    assert!(stage.github.deployments().is_empty(), "nothing is applied yet");

    let approve = format!("/freehold approve {} {digest}", typed(&run));
    let said = stage.told(AUTHOR, &approve).await;
    assert!(said.contains("the author of a run cannot approve it"), "{said}");
    let said = stage.told(ADA, &approve.replace(&digest, "000000000000")).await;
    assert!(said.contains("not the digest of the current plan"), "{said}");
    // Our own comment holds the very command, and is nobody's word.
    let ours = stage.ours("deployment/").remove(0);
    stage.comments(ADA, ours["body"].as_str().expect("a text")).await;
    until("it to be seen", || async {
        let messages = stage.world.admin.connections().messages("code").collect_up_to(100).await.expect("messages");
        messages.iter().all(|message| message.state != InboundMessageState::Received)
    })
    .await;
    assert!(runs(&stage.world.admin).await.remove(0).approvals.is_empty());

    stage.comments(ADA, &approve).await;
    stage.shown("It is approved, and will be applied.").await;
    let job = runner.ask().await.expect("a plan to apply");
    stage.shown("It is being applied.").await;
    runner.complete(&job, applied("a state")).await;
    let comment = stage.shown("It is applied.").await;
    assert!(comment.contains("users/ada (github)") && !comment.contains("/freehold approve"), "{comment}");
    stage.check(&run, "completed", Some("success")).await;
    let ended = runs(&stage.world.admin).await.remove(0);
    assert_eq!(ended.outcome, Some(RunOutcome::Succeeded));
    assert_eq!(ended.approvals[0].channel.as_deref(), Some("github"));
    let deployments = stage.github.deployments();
    assert_eq!(deployments.len(), 1, "{deployments:?}");
    assert_eq!((&deployments[0]["environment"], &deployments[0]["sha"]), (&json!("shop/dev"), &json!(FakeGithub::SHA)));
    let states: Vec<_> = deployments[0]["statuses"].as_array().into_iter().flatten().map(|status| &status["state"]).collect();
    assert_eq!(states.last(), Some(&&json!("success")), "{states:?}");
    assert_eq!(deployments[0]["statuses"][0]["log_url"], json!(page));

    // The next run of the deployment is told of in the same comment, and has a check of its own.
    stage.comments(AUTHOR, "/freehold plan shop/dev/web").await;
    stage.shown("It will be planned.").await;
    let next = runs(&stage.world.admin).await.into_iter().find(|other| other.name != run.name).expect("another run");
    stage.check(&next, "in_progress", None).await;
}

/// Has a server die at a point over a command, and another one, without this safeguard, go on; what is there twice, if something is.
async fn trial(database: Database, point: &str, mutant: &str) -> Result<(), String> {
    let mut stage = Stage::new(database).await;
    stage.link(&stage.author, AUTHOR).await;
    let installation = &stage.world.installation;
    stage.world.replica.process.signal("TERM");
    stage.world.replica.process.wait().await;
    let times = ("FREEHOLD_TIME", "commands.lease:1,run_threads.lease:1");
    let variables = [("FREEHOLD_FAULT", point), ("FREEHOLD_MUTANT", mutant), times];
    stage.world.replica = installation.start(armed(&installation.serve(ARGS), &variables)).await;
    let status = stage.tells(AUTHOR, "/freehold plan shop/dev/web").await;
    assert!(status.is_none_or(|status| status == 200), "{point}: {status:?}");
    stage.world.replica.process.wait().await;

    stage.world.replica = installation.start(armed(&installation.serve(ARGS), &variables[1..])).await;
    let admin = stage.world.client(installation.pki.credentials("admin")).await;
    until("the message to be over", || async {
        let messages = admin.connections().messages("code").collect_up_to(10).await.expect("messages");
        messages.iter().all(|message| message.state == InboundMessageState::Handled)
    })
    .await;
    let begun = runs(&admin).await;
    if begun.len() != 1 {
        return Err(format!("{} runs", begun.len()));
    }
    // What is shown next goes on from what was shown.
    let mut runner = Runner::new(&stage.world).await;
    let job = runner.ask().await.expect("a plan to make");
    runner.complete(&job, planned_as("the plan", 1, 0)).await;
    stage.shown("Its plan waits for a decision.").await;
    let checks = stage.github.check_runs().iter().filter(|check| check["external_id"] == json!(begun[0].uid)).count();
    match (checks, stage.ours("deployment/").len(), stage.ours("answer/").len(), runs(&admin).await.len()) {
        (1, 1, 1, 1) => Ok(()),
        counts => Err(format!("{counts:?} checks, comments, answers and runs")),
    }
}

both_databases!(what_dies_between_doing_and_writing_it_down_is_done_once);

async fn what_dies_between_doing_and_writing_it_down_is_done_once(database: Database) {
    // After the run is begun; after the check, what is known of it, and the comment, are there.
    for point in ["commands.done:1", "run_threads.called:2", "run_threads.called:3", "run_threads.called:4"] {
        assert_eq!(trial(database, point, "").await, Ok(()), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_safeguards_it_is_done_twice() {
    told(async {
        assert_eq!(trial(Sqlite, "commands.done:1", "request_key").await, Err("2 runs".to_owned()));
        let twice = trial(Sqlite, "run_threads.called:2", "look").await.expect_err("nobody looks before making");
        assert!(twice.starts_with("(2, "), "{twice}");
    })
    .await;
}
