//! What is published to NATS is everything that happens, in order, whatever breaks on the way; and nothing waits for it.

use async_nats::jetstream::stream::{Config, DiscardPolicy};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use freehold::{Client, Event};
use freehold_tests::{Database, Installation, Nats, Replica, Subscriber, armed, eventually, until};
use futures::{TryStreamExt as _, future::join_all};
use nkeys::KeyPair;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::metrics::scraped;

/// What each writer changes, and how many there are: 1,000 events with what makes the projects.
const CHANGES: usize = 99;
const WRITERS: usize = 10;
/// Seconds for which a replica that is silent keeps the others from publishing.
const LEASE: (&str, &str) = ("FREEHOLD_TIME", "nats-lease:2");

/// An installation whose events are published.
struct Stage {
    installation: Installation,
    nats: Nats,
    replica: Replica,
    acme: Client,
}

impl Stage {
    async fn new(database: Database, variables: &[(&str, &str)]) -> Self {
        let installation = Installation::new(database).await;
        let nats = Nats::start(&installation);
        let replica = start(&installation, &nats, &[], variables).await;
        let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
        acme.tenants().create("acme").send().await.expect("a tenant");
        Self { installation, nats, replica, acme }
    }

    /// Kills the server if it still runs, and starts it in the same place.
    async fn again(&mut self) {
        self.replica.process.kill();
        let (api, runner) = (self.replica.api.to_string(), self.replica.runner.to_string());
        let places = ["--api-addr", &api, "--runner-addr", &runner];
        self.replica = start(&self.installation, &self.nats, &places, &[]).await;
    }

    fn read(&self) -> Subscriber {
        self.nats.read(&self.installation, "freehold.acme.")
    }

    /// Waits until a subscriber has seen all that is kept of the tenant, once and in order.
    async fn all_told(&self, subscriber: &Subscriber) {
        let logged = logged(&self.acme).await;
        eventually("everything to be published", || async {
            let told = subscriber.told();
            if told.ids.len() >= logged.len() { Ok(()) } else { Err((told.ids.len(), logged.len())) }
        })
        .await;
        let told = subscriber.told();
        assert!(told.ids == logged, "another order, or other events, than in the log");
        assert!(told.disorder.is_empty(), "{:?}", told.disorder);
    }
}

async fn start(installation: &Installation, nats: &Nats, places: &[&str], variables: &[(&str, &str)]) -> Replica {
    let options = nats.options(installation);
    let options: Vec<&str> = options.iter().map(String::as_str).chain(places.iter().copied()).collect();
    let variables = [&[LEASE][..], variables].concat();
    installation.start(armed(&installation.serve(&options), &variables)).await
}

/// Ids of everything that happened in the tenant.
async fn logged(acme: &Client) -> Vec<String> {
    let events: Vec<Event> = acme.events().list().events().page_size(500).items().try_collect().await.expect("a list");
    events.into_iter().map(|event| event.uid).collect()
}

/// Creates a project and changes it again and again, through whatever happens to the server.
async fn write(acme: Client, id: String) {
    let create = acme.projects().create(&id).request_id(Uuid::now_v7().to_string());
    eventually("a project", || create.clone().send()).await;
    for change in 0..CHANGES {
        let update = acme.projects().update(&id).display_name(format!("{change}")).request_id(Uuid::now_v7().to_string());
        eventually("a change", || update.clone().send()).await;
    }
}

/// Waits until the first writer has come so far.
async fn written(acme: &Client, share: usize) {
    until("progress", || async {
        let change = acme.projects().get("p0").send().await.map(|project| project.display_name);
        change.ok().and_then(|change| change.parse::<usize>().ok()).is_some_and(|change| change >= share)
    })
    .await;
}

/// A figure of a replica.
async fn figure(replica: &Replica, name: &str) -> Option<i64> {
    scraped(replica).await.ok()?.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

both_databases!(everything_is_published_in_order_through_deaths_of_either_side_and_a_wiped_stream);

async fn everything_is_published_in_order_through_deaths_of_either_side_and_a_wiped_stream(database: Database) {
    let mut stage = Stage::new(database, &[]).await;
    let subscriber = stage.read();
    let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(write(stage.acme.clone(), format!("p{n}")))).collect();

    written(&stage.acme, CHANGES / 5).await;
    stage.nats.process.kill();
    // Nobody who writes waits for NATS.
    written(&stage.acme, CHANGES * 2 / 5).await;
    until("the loss to be seen", || async { figure(&stage.replica, "nats_connected").await == Some(0) }).await;
    stage.nats.again();
    written(&stage.acme, CHANGES * 3 / 5).await;
    stage.again().await;
    written(&stage.acme, CHANGES * 4 / 5).await;
    until("something to be published", || async { !subscriber.told().ids.is_empty() }).await;
    stage.nats.process.kill();
    stage.nats.wipe();
    stage.nats.again();
    for writer in writers {
        writer.await.expect("every change was made");
    }

    stage.all_told(&subscriber).await;
    assert_eq!(logged(&stage.acme).await.len(), WRITERS * (CHANGES + 1));
    // Who comes late finds all of it in the new stream.
    stage.all_told(&stage.read()).await;
    until("figures", || async { figure(&stage.replica, "nats_events_behind").await == Some(0) }).await;
    assert_eq!(figure(&stage.replica, "nats_connected").await, Some(1));
    let said = stage.replica.process.said();
    assert!(said.contains("all that is kept is published again"), "{said}");
    assert!(said.matches("NATS cannot be reached").count() <= 2, "an absence is told once: {said}");
    let told = subscriber.told();
    let (event, subject) = (&told.events[1], &told.subjects[1]);
    assert!(subject.starts_with("freehold.acme.project."), "{subject}");
    assert_eq!((&event["specversion"], &event["source"]), (&"1.0".into(), &"freehold://freehold.test".into()), "{event}");
}

both_databases!(a_death_between_publishing_and_recording_repeats_at_most);

async fn a_death_between_publishing_and_recording_repeats_at_most(database: Database) {
    for fault in ["nats.sent:3", "nats.taken:3"] {
        let mut stage = Stage::new(database, &[("FREEHOLD_FAULT", fault)]).await;
        let writer = tokio::spawn(write(stage.acme.clone(), "p0".to_owned()));
        stage.replica.process.wait().await;
        stage.again().await;
        writer.await.expect("every change was made");
        let subscriber = stage.read();
        stage.all_told(&subscriber).await;
        assert_eq!(subscriber.told().ids.len(), CHANGES + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_publishes_and_one_that_was_frozen_comes_too_late() {
    freehold_tests::told(async {
        let stage = Stage::new(Database::Postgres, &[]).await;
        let other = start(&stage.installation, &stage.nats, &[], &[]).await;
        let subscriber = stage.read();
        write(stage.acme.clone(), "p0".to_owned()).await;
        stage.all_told(&subscriber).await;
        let published = async |replica| figure(replica, "nats_events_published_total").await.unwrap_or_default();
        let (first, second) = (published(&stage.replica).await, published(&other).await);
        assert!((first > 0) != (second > 0), "one of them publishes: {first}, {second}");
        let (holder, other) = if first > 0 { (&stage.replica, &other) } else { (&other, &stage.replica) };
        let acme = stage.installation.client(&[other.api], stage.installation.pki.credentials("admin"), "acme").await;

        holder.process.signal("STOP");
        write(acme, "p1".to_owned()).await;
        until("the other one to publish", || async { figure(other, "nats_events_published_total").await > Some(CHANGES as i64) })
            .await;
        holder.process.signal("CONT");
        until("the one that was frozen to know", || async {
            holder.process.said().contains("another replica publishes events now")
        })
        .await;
        stage.all_told(&subscriber).await;
        assert_eq!(subscriber.told().repeats, 0, "no message was stored twice");
    })
    .await;
}

/// Whether an event is missing after NATS has stopped in the middle and died with what it had not read.
async fn loses_what_was_not_stored(mutant: Option<&str>) -> bool {
    let variables: Vec<_> = mutant.iter().map(|mutant| ("FREEHOLD_MUTANT", *mutant)).collect();
    let mut stage = Stage::new(Database::Sqlite, &variables).await;
    let subscriber = stage.read();
    stage.acme.projects().create("first").send().await.expect("a project");
    until("the first one", || async { !subscriber.told().ids.is_empty() }).await;
    stage.nats.process.signal("STOP");
    join_all((0..WRITERS).map(|n| {
        let acme = stage.acme.clone();
        async move { acme.projects().create(format!("p{n}")).send().await.expect("nobody waits for NATS") }
    }))
    .await;
    if mutant.is_some() {
        until("the cursor to move", || async { figure(&stage.replica, "nats_events_behind").await == Some(0) }).await;
    }
    stage.nats.again();
    stage.acme.projects().create("last").send().await.expect("a project");
    let last = logged(&stage.acme).await.pop();
    until("the last one", || async { subscriber.told().ids.last() == last.as_ref() }).await;
    let told = subscriber.told();
    told.ids.len() < WRITERS + 2
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nats_has_not_stored_is_not_taken_for_published() {
    freehold_tests::told(async {
        assert!(!loses_what_was_not_stored(None).await, "an event was lost");
        assert!(loses_what_was_not_stored(Some("ack")).await, "a cursor that moves before the ack was not caught");
    })
    .await;
}

both_databases!(a_stream_that_is_full_is_offered_everything_until_it_takes_it);

async fn a_stream_that_is_full_is_offered_everything_until_it_takes_it(database: Database) {
    let mut stage = Stage::new(database, &[]).await;
    let subscriber = stage.read();
    // Somebody who runs NATS has decided that the stream takes few messages, and refuses the others.
    let context = eventually("a connection", || stage.nats.connect(&stage.installation)).await;
    let stream = eventually("a stream", || context.get_stream("freehold")).await;
    let made = stream.cached_info().config.clone();
    assert_eq!((made.max_bytes, made.max_age.as_secs(), made.duplicate_window.as_secs()), (1 << 30, 7 * 86_400, 120));
    until("figures", || async { figure(&stage.replica, "nats_events_behind").await == Some(0) }).await;
    let full = i64::try_from(stream.get_info().await.expect("it is there").state.messages).expect("a number") + 5;
    let narrow = Config { max_messages: full, discard: DiscardPolicy::New, ..made.clone() };
    context.update_stream(&narrow).await.expect("it is theirs");
    write(stage.acme.clone(), "p0".to_owned()).await;
    until("the refusal to be told", || async { stage.replica.process.said().contains("NATS does not take events") }).await;
    let kept = context.get_stream("freehold").await.expect("it is there").cached_info().config.clone();
    assert_eq!((kept.max_messages, kept.max_bytes), (full, made.max_bytes), "a stream is never changed");

    stage.again().await;
    context.update_stream(&made).await.expect("it is theirs");
    stage.all_told(&subscriber).await;
    assert_eq!(subscriber.told().repeats, 0);
}

/// A statement of one key about another, as NATS reads it.
fn statement(by: &KeyPair, about: &KeyPair, name: &str, facts: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (issuer, subject) = (by.public_key(), about.public_key());
    let claims = json!({ "jti": name, "iat": 1_700_000_000, "iss": issuer, "sub": subject, "name": name, "nats": facts });
    let text = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = by.sign(text.as_bytes()).expect("a signature");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_credentials_opens_the_account_that_it_is_of() {
    freehold_tests::told(async {
        let installation = Installation::new(Database::Sqlite).await;
        let [operator, system, account, user] =
            [KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account(), KeyPair::new_user()];
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let whole = json!({ "type": "account", "version": 2, "limits": limits });
        let bare = json!({ "type": "account", "version": 2, "limits": { "subs": -1, "data": -1, "payload": -1, "conn": -1 } });
        let trusted = statement(&operator, &operator, "operator", json!({ "type": "operator", "version": 2 }));
        let (system_key, account_key) = (system.public_key(), account.public_key());
        let (bare, whole) = (statement(&operator, &system, "system", bare), statement(&operator, &account, "account", whole));
        let configuration = format!(
            "operator: {trusted}\nsystem_account: {system_key}\nresolver: MEMORY\n\
             resolver_preload: {{\n  {system_key}: {bare}\n  {account_key}: {whole}\n}}"
        );
        let nats = Nats::configured(&installation, &configuration);
        let facts = json!({ "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1 });
        let (token, seed) = (statement(&account, &user, "user", facts), user.seed().expect("a seed"));
        let file = installation.path("user.creds");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        std::fs::write(&file, text).expect("the folder can be written");

        let refused = start(&installation, &nats, &[], &[]).await;
        until("the refusal", || async { refused.process.said().contains("NATS cannot be reached") }).await;
        drop(refused);
        let file = file.display().to_string();
        let replica = start(&installation, &nats, &["--nats-credentials", &file], &[]).await;
        let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
        acme.tenants().create("acme").send().await.expect("a tenant");
        until("events to be taken", || async { figure(&replica, "nats_events_published_total").await > Some(0) }).await;
        let said = replica.process.said();
        assert!(!said.contains(&seed) && !said.contains(&token), "{said}");
    })
    .await;
}
