//! Slack: who people are here, what they ask for, and the message of a run with its buttons.

use std::sync::atomic::{AtomicU32, Ordering};

use freehold::{ApprovalRule, Client, Connection, InboundMessageState, Run, RunOutcome, RunPhase, Timestamp};
use freehold_fakes::FakeSlack;
use freehold_tests::{Database, World, armed, eventually, until};
use serde_json::{Value, json};

use crate::{
    connections::{PRIVATE, trusting},
    inbound::{path, post},
    scripted_runner::{Runner, applied, planned_as},
};

const FORM: &str = "application/x-www-form-urlencoded";
const CHANNEL: &str = "C0ALERTS";

/// An author, an approver and a viewer; a policy on `shop/dev` that asks for one approver; a workspace and its connection `chat`.
struct Stage {
    world: World,
    slack: FakeSlack,
    chat: Connection,
    author: Client,
    ada: Client,
    bob: Client,
    triggers: AtomicU32,
}

impl Stage {
    async fn new(database: Database) -> Self {
        let world = crate::connections::world(database).await.with_sample().await;
        let (author, ada, bob) = people(&world).await;
        let (slack, chat) = connect(&world).await;
        Self { world, slack, chat, author, ada, bob, triggers: AtomicU32::new(0) }
    }

    async fn call(&self, body: &str) -> Option<u16> {
        call(&self.world, &self.chat, body).await
    }

    fn trigger(&self) -> String {
        format!("13345224609.738474920.{}", self.triggers.fetch_add(1, Ordering::Relaxed))
    }

    /// Somebody types a command.
    async fn types(&self, user: &str, text: &str) {
        assert_eq!(self.call(&self.slack.slash(user, CHANNEL, text, &self.trigger())).await, Some(200));
    }

    /// Somebody types a command, and is answered in private.
    async fn told(&self, user: &str, text: &str) -> String {
        let before = self.slack.posted().len();
        self.types(user, text).await;
        self.answer(before).await
    }

    async fn answer(&self, before: usize) -> String {
        let answer =
            eventually("an answer", || async { self.slack.posted().get(before).cloned().ok_or("nobody was answered") }).await;
        assert_eq!(answer["response_type"], "ephemeral", "to that person alone: {answer}");
        answer["text"].as_str().expect("a text").to_owned()
    }

    /// Somebody presses a button of a message, and is refused with words.
    async fn refused(&self, user: &str, message: &Value, action: &str) -> String {
        let before = self.slack.posted().len();
        let pressed = self.slack.press(user, message, action, &self.trigger()).expect("a button");
        assert_eq!(self.call(&pressed).await, Some(200));
        self.answer(before).await
    }

    /// A code for an account.
    async fn code(&self, user: &str) -> String {
        code(&self.told(user, "link").await)
    }

    async fn link(&self, client: &Client, user: &str) {
        let code = self.code(user).await;
        client.connections().link_account("chat", code).send().await.expect("linked");
    }

    /// The message of the run and the replies under it, once it says this.
    async fn shown(&self, text: &str) -> (Value, Vec<Value>) {
        eventually("the message of a run", || async {
            let (replies, messages): (Vec<_>, Vec<_>) =
                self.slack.messages().into_iter().partition(|message| message["thread_ts"].is_string());
            match messages.as_slice() {
                [message] if message.to_string().contains(text) => Ok((message.clone(), replies)),
                _ => Err(format!("{messages:?}")),
            }
        })
        .await
    }

    async fn runs(&self) -> Vec<Run> {
        self.world.admin.runs().list("shop/dev/web").collect_up_to(10).await.expect("runs")
    }

    /// What has become of the last message, once it is over.
    async fn over(&self) -> (InboundMessageState, String) {
        eventually("an end of a message", || async {
            let messages = self.world.admin.connections().messages("chat").collect_up_to(100).await.expect("messages");
            let last = messages.last().cloned().ok_or("there is none")?;
            match last.state {
                InboundMessageState::Received => Err("it is not done yet"),
                state => Ok((state, last.error.unwrap_or_default())),
            }
        })
        .await
    }
}

/// An author, an approver and a viewer, and a deployment that nobody applies without an approver.
pub async fn people(world: &World) -> (Client, Client, Client) {
    let author = world.person("acme", "author", &["developer", "approver"]).await;
    let ada = world.person("acme", "ada", &["approver"]).await;
    let bob = world.person("acme", "bob", &["viewer"]).await;
    let rule = ApprovalRule::new("one", "plan.create > 0", 1).from("roles/approver");
    world.admin.approval_policies().create("careful").rule(rule).send().await.expect("a policy");
    world.admin.environments().update("shop/dev").approval_policy("careful").send().await.expect("named");
    let wish = author.deployments().create("shop/dev/web", "greeting@1.0.0").input("name", "world");
    wish.send().await.expect("a deployment");
    (author, ada, bob)
}

both_databases!(runs_are_shown_in_a_channel_whoever_begins_them);

async fn runs_are_shown_in_a_channel_whoever_begins_them(database: Database) {
    let args = [PRIVATE[0], "--console-url", "https://freehold.example"];
    let world = World::with(database, &args).await.with_sample().await;
    let (slack, _) = connect(&world).await;
    let settings = |below: &str| {
        let mut settings = serde_json::Map::new();
        for (name, value) in
            [("base_url", slack.api()), ("ca_bundle", slack.server.ca().to_owned()), ("runs_channel", "C0ALERTS".to_owned())]
        {
            settings.insert(name.to_owned(), value.into());
        }
        settings.insert("runs_below".to_owned(), below.into());
        settings
    };
    let shown = || slack.messages().into_iter().filter(|message| !message["thread_ts"].is_string()).collect::<Vec<_>>();
    let acme = &world.admin;
    acme.environments().create("shop/other", freehold::EnvironmentKind::Dev).send().await.expect("an environment");
    let below = "tenants/acme/projects/shop/environments/dev";
    acme.connections().update("chat").settings(settings(below)).send().await.expect("changed");
    let _runner = world.runner();
    for name in ["shop/other/web", "shop/dev/web"] {
        acme.deployments().create(name, "greeting@1.0.0").input("name", "world").send().await.expect("a deployment");
        let run = acme.runs().plan(name).auto_apply().send().await.expect("a run");
        run.wait_done().await.expect("an end");
    }
    eventually("the run", || async {
        let all = shown();
        if all.iter().any(|message| message.to_string().contains("It is applied.")) { Ok(()) } else { Err(all) }
    })
    .await;
    let looked = acme.runs().detect_drift("shop/dev/web").send().await.expect("a look");
    looked.wait_done().await.expect("an end");
    let messages = shown();
    assert_eq!(messages.len(), 1, "neither the other environment nor a look for drift: {messages:?}");
    assert!(messages[0].to_string().contains("|APPLY of shop/dev/web>"), "{messages:?}");
}

/// A workspace and its connection `chat`.
async fn connect(world: &World) -> (FakeSlack, Connection) {
    let slack = FakeSlack::start().await;
    let create = world.admin.connections().create("chat", "slack").setting("base_url", slack.api());
    let create = trusting(create, &slack.server).credential("bot_token", FakeSlack::TOKEN);
    let chat = create.credential("signing_secret", FakeSlack::SIGNING_SECRET).send().await.expect("a connection");
    (slack, chat)
}

/// Slack calls; answers the status.
async fn call(world: &World, chat: &Connection, body: &str) -> Option<u16> {
    let headers = FakeSlack::sign(body, Timestamp::now().as_second(), FORM);
    post(&world.installation.pki, world.replica.web, path(chat), &headers, body).await.0
}

/// Invites Ada as an administrator, links an account of hers, has it plan this deployment, and leaves a code that nobody redeems.
pub async fn linked(world: &World, deployment: &str) {
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    let (slack, chat) = connect(world).await;
    let types = async |user: &str, text: &str, trigger: &str| {
        assert_eq!(call(world, &chat, &slack.slash(user, CHANNEL, text, trigger)).await, Some(200));
    };
    types("U0ADA", "link", "1.1").await;
    let answer = eventually("a code", || async { slack.posted().pop().ok_or("there is none") }).await;
    let code = code(answer["text"].as_str().expect("a text"));
    ada.connections().link_account("chat", code).send().await.expect("linked");
    types("U0BOB", "link", "1.2").await;
    types("U0ADA", &format!("plan {deployment}"), "1.3").await;
    until("all to be done", || async { slack.posted().len() == 3 && slack.messages().len() == 1 }).await;
}

/// The code in an answer to `link`.
pub fn code(answer: &str) -> String {
    let code = answer.split('`').find(|part| part.starts_with("fhl_")).expect("a code");
    assert_eq!(code.len(), "fhl_".len() + 22, "128 bits: {code}");
    code.to_owned()
}

/// The name of a run as people type it.
pub fn typed(run: &Run) -> String {
    let parts: Vec<_> = run.name.split('/').skip(3).step_by(2).collect();
    parts.join("/")
}

both_databases!(an_account_is_linked_by_a_code_that_is_good_once);

async fn an_account_is_linked_by_a_code_that_is_good_once(database: Database) {
    let stage = Stage::new(database).await;
    let boss = stage.world.person("acme", "boss", &["tenant-admin"]).await;
    let (ada, bob) = (stage.ada.connections(), stage.bob.connections());
    let said = stage.told("U0ADA", "plan shop/dev/web").await;
    assert!(said.contains("not linked") && said.contains("`link`"), "{said}");
    assert!(stage.runs().await.is_empty(), "nothing else is done");
    let (state, why) = stage.over().await;
    assert_eq!(state, InboundMessageState::Failed, "{why}");
    assert!(why.contains("not linked"), "{why}");
    let said = stage.told("U0ADA", "destroy-everything").await;
    assert!(said.contains("there is no command `destroy-everything`") && said.contains("approve PROJECT"), "{said}");

    let first = stage.code("U0ADA").await;
    let code = stage.code("U0ADA").await;
    let gone = ada.link_account("chat", &first).send().await.expect_err("a newer one took its place");
    assert!(gone.is_not_found() && gone.message().contains("once"), "{gone:?}");
    let nobody = stage.world.admin.connections().link_account("chat", &code).send().await.expect_err("no user of acme");
    assert_eq!(nobody.reason(), Some("STATE_NOT_ALLOWED"), "{nobody:?}");
    let account = ada.link_account("chat", &code).send().await.expect("linked");
    assert_eq!(
        (account.external_id.as_str(), account.display_name.as_str(), account.principal.as_str()),
        ("T0G9PQBBK/U0ADA", "u0ada", "tenants/acme/users/ada")
    );
    assert!(ada.link_account("chat", &code).send().await.is_err_and(|error| error.is_not_found()), "it is good once");
    let again = stage.code("U0ADA").await;
    let taken = bob.link_account("chat", &again).send().await.expect_err("it is somebody else's");
    assert!(taken.is_already_exists() && taken.message().contains("tenants/acme/users/ada"), "{taken:?}");
    let same = ada.link_account("chat", &again).send().await.expect("it is hers already");
    assert_eq!(same, account);
    assert!(stage.told("U0ADA", "status").await.contains("tenants/acme/users/ada"));
    let status = stage.told("U0ADA", "status shop/dev/web").await;
    assert!(status.contains("shop/dev/web is NEW, made of greeting 1.0.0. It has no run."), "{status}");

    let listed = async |client: &Client| client.connections().accounts("chat").collect_up_to(10).await.expect("accounts");
    assert_eq!(listed(&stage.ada).await, std::slice::from_ref(&account));
    assert_eq!(listed(&boss).await, std::slice::from_ref(&account), "administrators see all");
    assert!(listed(&stage.bob).await.is_empty(), "others see their own");
    assert!(bob.delete_account(&account.name).send().await.is_err_and(|error| error.is_not_found()));
    let events = format!("{:?}", stage.world.admin.events().list().kind("connection.*").events().collect_up_to(100).await);
    let trail = format!("{:?}", stage.world.admin.audit().list().collect_up_to(1000).await.expect("the trail"));
    assert!(trail.contains("connection.account_linked") && trail.contains("T0G9PQBBK/U0ADA"), "who was linked is kept");
    let database = crate::canaries::database(&stage.world.installation).await;
    let log = stage.world.replica.process.said();
    for code in [&first, &code, &again] {
        assert!(![&events, &trail, &log].iter().any(|text| text.contains(code.as_str())));
        assert!(!String::from_utf8_lossy(&database).contains(code.as_str()), "codes are kept as digests");
    }
    ada.delete_account(&account.name).send().await.expect("deleted");
    assert!(stage.told("U0ADA", "status").await.contains("not linked"));

    // Who leaves takes their accounts along, also from who gets the name next.
    stage.link(&stage.bob, "U0BOB").await;
    stage.world.admin.users().delete("bob").send().await.expect("deleted");
    stage.world.admin.users().invite("bob@other.example").id("bob").send().await.expect("another Bob");
    assert!(stage.told("U0BOB", "status").await.contains("not linked"));
}

both_databases!(a_button_decides_on_the_plan_that_it_is_under_and_only_for_who_may);

async fn a_button_decides_on_the_plan_that_it_is_under_and_only_for_who_may(database: Database) {
    let stage = Stage::new(database).await;
    let mut runner = Runner::new(&stage.world).await;
    stage.link(&stage.author, "U0AUTHOR").await;
    stage.link(&stage.ada, "U0ADA").await;
    stage.link(&stage.bob, "U0BOB").await;
    let said = stage.told("U0BOB", "plan shop/dev/web").await;
    assert!(said.contains("needs `deployments.runs.plan`"), "{said}");
    assert!(stage.runs().await.is_empty());

    let said = stage.told("U0AUTHOR", "plan shop/dev/web").await;
    assert!(said.contains("It will be planned.") && said.contains("shop/dev/web/"), "{said}");
    let (begun, _) = stage.shown("It will be planned.").await;
    assert_eq!(begun["channel"], CHANNEL);
    let job = runner.ask().await.expect("a plan to make");
    runner.complete(&job, planned_as("the plan", 1, 0)).await;
    let (message, _) = stage.shown("Its plan waits for a decision.").await;
    assert_eq!(message["ts"], begun["ts"], "it is changed in place");
    let run = stage.runs().await.remove(0);
    assert_eq!((run.name.as_str(), run.create_principal.as_str()), (job.run.as_str(), "tenants/acme/users/author"));
    let digest = run.plan_digest.clone().expect("a plan");
    for words in ["1 to create", &digest[7..19], "create random_pet.pet", &typed(&run)] {
        assert!(message.to_string().contains(words), "{words}: {message}");
    }

    for (who, why) in [
        ("U0EVE", "not linked"),
        ("U0BOB", "needs `deployments.runs.approve`"),
        ("U0AUTHOR", "the author of a run cannot approve it"),
    ] {
        let said = stage.refused(who, &message, "freehold.approve").await;
        assert!(said.contains(why), "{who}: {said}");
    }
    let stale: Value =
        serde_json::from_str(&message.to_string().replace(&digest, &format!("sha256:{}", "0".repeat(64)))).expect("JSON");
    let said = stage.refused("U0ADA", &stale, "freehold.approve").await;
    assert!(said.contains("not the digest of the current plan"), "{said}");
    let said = stage.told("U0ADA", &format!("approve {} 000000000000", typed(&run))).await;
    assert!(said.contains("not the digest of the current plan"), "{said}");
    let (pki, web) = (&stage.world.installation.pki, stage.world.replica.web);
    let body = stage.slack.press("U0ADA", &message, "freehold.approve", &stage.trigger()).expect("a button");
    let mut forged = FakeSlack::sign(&body, Timestamp::now().as_second(), FORM);
    forged[1].1 = format!("v0={}", "0".repeat(64));
    assert_eq!(post(pki, web, path(&stage.chat), &forged, &body).await.0, Some(401));
    let late = FakeSlack::sign(&body, Timestamp::now().as_second() - 3600, FORM);
    assert_eq!(post(pki, web, path(&stage.chat), &late, &body).await.0, Some(401));
    let unchanged = stage.runs().await.remove(0);
    assert_eq!((unchanged.phase, unchanged.approvals.len()), (RunPhase::AwaitingApproval, 0), "{unchanged:?}");
    let denied = stage.world.admin.audit().list().collect_up_to(1000).await.expect("the trail");
    let denied = denied.iter().filter(|record| record.decision == freehold::AuditDecision::Denied);
    assert!(denied.filter(|record| record.principal == "tenants/acme/users/bob").count() >= 2, "refusals are in the trail");

    assert_eq!(stage.call(&body).await, Some(200));
    stage.shown("It is approved, and will be applied.").await;
    assert_eq!(stage.call(&body).await, Some(200), "it comes again");
    let (message, _) = stage.shown("users/ada (slack)").await;
    assert!(!message.to_string().contains("freehold.approve"), "there is nothing to decide any more: {message}");
    let approved = stage.runs().await.remove(0);
    let by: Vec<_> = approved.approvals.iter().map(|it| (it.principal.as_str(), it.channel.as_deref())).collect();
    assert_eq!(by, [("tenants/acme/users/ada", Some("slack"))], "once, and from where");

    let job = runner.ask().await.expect("a plan to apply");
    runner.complete(&job, applied("a state")).await;
    let (message, replies) = eventually("the last reply", || async {
        let (message, replies) = stage.shown("It is applied.").await;
        if replies.len() == 2 { Ok((message, replies)) } else { Err(replies) }
    })
    .await;
    assert!(replies.iter().all(|reply| reply["thread_ts"] == message["ts"]), "{replies:?}");
    assert!(replies[0].to_string().contains("waits for a decision") && replies[1].to_string().contains("It is applied."));
    assert_eq!(stage.runs().await.remove(0).outcome, Some(RunOutcome::Succeeded));
}

both_databases!(a_dialog_decides_with_a_comment_or_says_why_not);

async fn a_dialog_decides_with_a_comment_or_says_why_not(database: Database) {
    let stage = Stage::new(database).await;
    let mut runner = Runner::new(&stage.world).await;
    stage.link(&stage.author, "U0AUTHOR").await;
    stage.link(&stage.ada, "U0ADA").await;
    stage.told("U0AUTHOR", "plan shop/dev/web").await;
    let job = runner.ask().await.expect("a plan to make");
    runner.complete(&job, planned_as("the plan", 1, 0)).await;
    let (message, _) = stage.shown("Its plan waits for a decision.").await;
    // Slack opens a dialog once, soon after the press: what comes too late is told.
    stage.slack.server.fail("views.open", FakeSlack::error("expired_trigger_id"));
    let said = stage.refused("U0ADA", &message, "freehold.discuss").await;
    assert!(said.contains("could not be opened") && said.contains("reject shop/dev/web/"), "{said}");

    let pressed = stage.slack.press("U0ADA", &message, "freehold.discuss", &stage.trigger()).expect("a button");
    assert_eq!(stage.call(&pressed).await, Some(200));
    let dialog = eventually("a dialog", || async { stage.slack.views().pop().ok_or("there is none") }).await;
    assert_eq!(stage.runs().await.remove(0).phase, RunPhase::AwaitingApproval, "nothing is decided yet");
    let send = async |user: &str, decision: &str| {
        let comment = ("freehold.comment", "too big for a Friday");
        let body = stage.slack.submit(user, &dialog, ("freehold.decision", decision), comment, &stage.trigger());
        assert_eq!(stage.call(&body).await, Some(200));
    };
    send("U0AUTHOR", "freehold.approve").await;
    let told = eventually("an answer", || async { stage.slack.ephemeral().pop().ok_or("nobody was answered") }).await;
    assert_eq!((&told["channel"], &told["user"]), (&json!(CHANNEL), &json!("U0AUTHOR")), "to that person alone");
    assert!(told["text"].as_str().is_some_and(|text| text.contains("cannot approve it")), "{told}");
    send("U0ADA", "freehold.reject").await;
    let (message, _) = stage.shown("Its plan was rejected.").await;
    assert!(message.to_string().contains("too big for a Friday"), "{message}");
    let run = stage.runs().await.remove(0);
    let decided = run.approval.expect("a decision");
    assert_eq!((run.outcome, decided.comment.as_deref()), (Some(RunOutcome::Rejected), Some("too big for a Friday")));
    assert_eq!((decided.principal.as_str(), decided.channel.as_deref()), ("tenants/acme/users/ada", Some("slack")));
}

both_databases!(what_is_in_the_way_is_stopped_by_who_may);

async fn what_is_in_the_way_is_stopped_by_who_may(database: Database) {
    let stage = Stage::new(database).await;
    let boss = stage.world.person("acme", "boss", &["tenant-admin"]).await;
    stage.link(&stage.author, "U0AUTHOR").await;
    stage.link(&boss, "U0BOSS").await;
    stage.told("U0AUTHOR", "plan shop/dev/web").await;
    let run = stage.runs().await.remove(0);
    let said = stage.told("U0AUTHOR", &format!("cancel {}", typed(&run))).await;
    assert!(said.contains("It was cancelled."), "{said}");
    assert_eq!(stage.runs().await.remove(0).outcome, Some(RunOutcome::Cancelled));
    let said = stage.told("U0BOSS", "unlock shop/dev/web").await;
    assert!(said.contains("Nobody holds"), "{said}");
    stage.world.admin.state().lock("shop/dev/web").send().await.expect("held");
    let said = stage.told("U0AUTHOR", "unlock shop/dev/web").await;
    assert!(said.contains("needs `deployments.state.breakLock`"), "{said}");
    let said = stage.told("U0BOSS", "unlock shop/dev/web").await;
    assert!(said.contains("platform/admin") && said.contains("is broken"), "{said}");
    boss.state().lock("shop/dev/web").send().await.expect("it is free again");
}

both_databases!(a_run_is_rejected_by_its_button_and_nothing_is_sent_twice);

async fn a_run_is_rejected_by_its_button_and_nothing_is_sent_twice(database: Database) {
    let stage = Stage::new(database).await;
    let mut runner = Runner::new(&stage.world).await;
    stage.link(&stage.author, "U0AUTHOR").await;
    stage.link(&stage.ada, "U0ADA").await;
    // A system that is away for a moment is told when it is back.
    stage.slack.server.fail("chat.postMessage", FakeSlack::error("service_unavailable"));
    stage.told("U0AUTHOR", "apply shop/dev/web").await;
    let job = runner.ask().await.expect("a plan to make");
    runner.complete(&job, planned_as("the plan", 1, 0)).await;
    let (message, _) = stage.shown("Its plan waits for a decision.").await;
    let body = stage.slack.press("U0ADA", &message, "freehold.reject", &stage.trigger()).expect("a button");
    assert_eq!(stage.call(&body).await, Some(200));
    stage.shown("Its plan was rejected.").await;
    let run = stage.runs().await.remove(0);
    assert_eq!(run.outcome, Some(RunOutcome::Rejected));
    let said = stage.refused("U0ADA", &message, "freehold.approve").await;
    assert!(said.contains("DONE") || said.contains("state"), "an old message decides nothing: {said}");
    let changes = stage.slack.server.requests().into_iter().filter(|request| request.path.ends_with("chat.update"));
    let texts: Vec<_> = changes.map(|request| request.json()).collect();
    assert!(texts.windows(2).all(|pair| pair[0] != pair[1]), "what has not changed is not sent: {texts:?}");

    // A connection that is refused for good is given up, and told of.
    stage.slack.revoke();
    stage.told("U0AUTHOR", "plan shop/dev/web").await;
    let told = eventually("an event", || async {
        let events = stage.world.admin.events().list().kind("connection.run_given_up").events();
        let events = events.collect_up_to(10).await.expect("events");
        events.first().cloned().ok_or("nothing is given up")
    })
    .await;
    let data = told.data.unwrap_or_default();
    assert_eq!(data["run"], json!(stage.runs().await.iter().map(|run| run.name.clone()).max()), "{data}");
}

both_databases!(a_message_that_was_posted_before_a_crash_is_found_again);

async fn a_message_that_was_posted_before_a_crash_is_found_again(database: Database) {
    let mut stage = Stage::new(database).await;
    stage.link(&stage.author, "U0AUTHOR").await;
    let installation = &stage.world.installation;
    stage.world.replica.process.signal("TERM");
    stage.world.replica.process.wait().await;
    // It is written down that the message will be posted; then it is posted, and that is not written down.
    let variables = [("FREEHOLD_FAULT", "run_threads.called:2"), ("FREEHOLD_TIME", "commands.lease:1,run_threads.lease:1")];
    stage.world.replica = installation.start(armed(&installation.serve(PRIVATE), &variables)).await;
    let status = stage.call(&stage.slack.slash("U0AUTHOR", CHANNEL, "plan shop/dev/web", "9.9")).await;
    assert!(status.is_none_or(|status| status == 200), "{status:?}");
    stage.world.replica.process.wait().await;
    assert_eq!(stage.slack.messages().len(), 1, "it is there");

    stage.world.replica = installation.replica(PRIVATE).await;
    stage.world.admin = stage.world.client(installation.pki.credentials("admin")).await;
    let mut runner = Runner::new(&stage.world).await;
    let job = runner.ask().await.expect("a plan to make");
    runner.complete(&job, planned_as("the plan", 1, 0)).await;
    let (message, _) = stage.shown("Its plan waits for a decision.").await;
    assert_eq!(message["metadata"]["event_payload"]["run"], json!(stage.runs().await.remove(0).uid));
    assert_eq!(stage.runs().await.len(), 1);
}
