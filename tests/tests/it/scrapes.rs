//! What GitHub could not deliver to us: asked for again when we are back, and done once.

use std::cell::RefCell;

use freehold::{Client, Connection, InboundMessage, InboundMessageState, Timestamp};
use freehold_fakes::{Delivery, FakeGithub};
use freehold_tests::{Database, Installation, Replica, armed, until};

use crate::{
    connections::{PRIVATE, trusting},
    inbound::{path, post},
};

const PULL: u64 = 1;
const EVERY_SECOND: (&str, &str) = ("FREEHOLD_TIME", "scrapes.every:1");

/// An app whose calls come to the connection `code`, as long as there is a server.
struct Stage {
    installation: Installation,
    replica: Replica,
    github: FakeGithub,
    code: Connection,
    /// What it was asked to send again.
    asked: RefCell<Vec<String>>,
}

impl Stage {
    async fn new(database: Database) -> Self {
        let installation = Installation::new(database).await;
        let replica = start(&installation, &[EVERY_SECOND]).await;
        let acme = client(&installation, &replica).await;
        acme.tenants().create("acme").send().await.expect("a tenant");
        let github = FakeGithub::start(Timestamp::now().as_second()).await;
        let code = connect(&acme, "code", &github).await;
        Self { installation, replica, github, code, asked: RefCell::default() }
    }

    async fn acme(&self) -> Client {
        client(&self.installation, &self.replica).await
    }

    /// A server instead of the one that is gone.
    async fn back(&mut self, variables: &[(&str, &str)]) {
        self.replica = start(&self.installation, variables).await;
    }

    /// A comment of a person, so many seconds ago.
    fn comment(&self, guid: &str, age: i64) -> Delivery {
        let now = Timestamp::now().as_second();
        self.github.set_time(now - age);
        let body = self.github.comment_event((9, "eve"), PULL, "/freehold help");
        self.github.set_time(now);
        Delivery { guid: guid.to_owned(), event: "issue_comment".to_owned(), body }
    }

    /// GitHub sends it, and keeps what was answered.
    async fn send(&self, delivery: &Delivery) -> Option<u16> {
        let headers = FakeGithub::sign(&delivery.body, &delivery.event, &delivery.guid);
        let (status, _) = post(&self.installation.pki, self.replica.web, path(&self.code), &headers, &delivery.body).await;
        self.github.sent(delivery, status.unwrap_or_default(), soon());
        status
    }

    /// GitHub has sent it to nobody.
    fn lose(&self, delivery: &Delivery) {
        self.github.sent(delivery, 502, soon());
    }

    /// GitHub sends again what it was asked for.
    async fn send_again(&self) {
        for delivery in self.github.outgoing() {
            self.asked.borrow_mut().push(delivery.guid.clone());
            assert_eq!(self.send(&delivery).await, Some(200));
        }
    }

    /// What came, once there is so much and all of it is over.
    async fn messages(&self, count: usize) -> Vec<InboundMessage> {
        let acme = self.acme().await;
        let all = || async { acme.connections().messages("code").collect_up_to(100).await.expect("messages") };
        until("the messages", || async {
            self.send_again().await;
            let all = all().await;
            all.len() == count && all.iter().all(|message| message.state != InboundMessageState::Received)
        })
        .await;
        all().await
    }

    /// Comments by which we have answered.
    fn answers(&self) -> usize {
        let ours = |text: &str| text.starts_with("<!-- freehold:answer/");
        self.github.comments(PULL).iter().filter(|comment| comment["body"].as_str().is_some_and(ours)).count()
    }

    /// Waits until it was looked twice more, and sends what was asked for.
    async fn looks(&self) {
        looks(&self.acme().await, "code").await;
        self.send_again().await;
    }
}

/// Waits until a connection was looked at twice more.
async fn looks(acme: &Client, connection: &str) {
    for _ in 0..2 {
        let before = last_look(acme, connection).await;
        until("a look", || async { last_look(acme, connection).await > before }).await;
    }
}

async fn last_look(acme: &Client, connection: &str) -> Option<Timestamp> {
    acme.connections().get(connection).send().await.expect("a connection").last_scrape_time
}

/// A connection that is an app.
async fn connect(acme: &Client, name: &str, github: &FakeGithub) -> Connection {
    let create = acme.connections().create(name, "github").setting("base_url", github.api());
    let create = create.setting("app_id", FakeGithub::APP.0).setting("installation_id", FakeGithub::APP.1);
    let create = trusting(create, &github.server).credential("private_key", FakeGithub::APP.2);
    create.credential("webhook_secret", FakeGithub::WEBHOOK_SECRET).send().await.expect("a connection")
}

/// What GitHub says of times has no more than seconds.
fn soon() -> i64 {
    Timestamp::now().as_second() + 1
}

async fn start(installation: &Installation, variables: &[(&str, &str)]) -> Replica {
    installation.start(armed(&installation.serve(PRIVATE), variables)).await
}

async fn client(installation: &Installation, replica: &Replica) -> Client {
    installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await
}

both_databases!(what_was_missed_arrives_when_we_are_back_and_is_done_once);

async fn what_was_missed_arrives_when_we_are_back_and_is_done_once(database: Database) {
    let mut stage = Stage::new(database).await;
    let here = stage.comment("here", 0);
    assert_eq!(stage.send(&here).await, Some(200));
    stage.messages(1).await;
    stage.looks().await;

    stage.replica.process.signal("KILL");
    stage.replica.process.wait().await;
    let (lost, old) = (stage.comment("lost", 0), stage.comment("old", 7200));
    stage.lose(&lost);
    stage.lose(&old);
    stage.back(&[EVERY_SECOND]).await;
    let mut messages = stage.messages(3).await;
    messages.sort_by(|one, other| one.delivery_id.cmp(&other.delivery_id));
    let seen: Vec<_> = messages.iter().map(|message| (message.delivery_id.as_str(), message.state)).collect();
    let expected =
        [("here", InboundMessageState::Handled), ("lost", InboundMessageState::Handled), ("old", InboundMessageState::Failed)];
    assert_eq!(seen, expected, "what was asked for too long ago is not done any more");
    assert!(messages[2].error.as_ref().is_some_and(|why| why.contains("too long ago")), "{:?}", messages[2]);
    stage.looks().await;
    let mut asked = stage.asked.take();
    asked.sort();
    assert_eq!((asked, stage.answers()), (vec!["lost".to_owned(), "old".to_owned()], 2));

    // What came while nothing was to come is not asked for afterwards.
    let acme = stage.acme().await;
    acme.connections().disable("code").send().await.expect("disabled");
    let unwanted = stage.comment("unwanted", 0);
    stage.github.sent(&unwanted, 404, Timestamp::now().as_second() - 1);
    acme.connections().enable("code").send().await.expect("enabled");
    stage.looks().await;
    assert_eq!((stage.asked.take(), stage.answers()), (Vec::<String>::new(), 2));

    // The last calls of an hour are for those who wait for an answer.
    let other = FakeGithub::start(Timestamp::now().as_second()).await;
    connect(&acme, "other", &other).await;
    stage.github.set_remaining(100);
    acme.connections().test("code").send().await.expect("it works");
    looks(&acme, "other").await;
    let before = last_look(&acme, "code").await;
    looks(&acme, "other").await;
    assert_eq!(last_look(&acme, "code").await, before, "the one that is short of calls is left alone");
}

both_databases!(who_dies_between_asking_and_writing_that_down_does_nothing_twice);

async fn who_dies_between_asking_and_writing_that_down_does_nothing_twice(database: Database) {
    let mut stage = Stage::new(database).await;
    stage.replica.process.signal("TERM");
    stage.replica.process.wait().await;
    let lost = stage.comment("lost", 0);
    stage.lose(&lost);
    let times = ("FREEHOLD_TIME", "scrapes.every:1,scrapes.lease:2");
    stage.back(&[("FREEHOLD_FAULT", "scrapes.asked:1"), times]).await;
    stage.replica.process.wait().await;
    stage.back(&[times]).await;
    let mut outgoing = Vec::new();
    until("it to be asked for again", || {
        outgoing.extend(stage.github.outgoing());
        let twice = outgoing.len() == 2;
        async move { twice }
    })
    .await;
    for delivery in &outgoing {
        assert_eq!(stage.send(delivery).await, Some(200), "both arrive");
    }
    assert_eq!(stage.messages(1).await[0].state, InboundMessageState::Handled);
    stage.looks().await;
    assert_eq!((stage.asked.take(), stage.answers()), (Vec::<String>::new(), 1));
}
