//! What happens is told once, in order, to whoever may see it, whatever breaks on the way.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use freehold::{Answers, Client, Code, Event, Timestamp, Watched};
use freehold_proto::events::v1::{WatchEventsRequest, event_service_client::EventServiceClient, watch_events_request::Start};
use freehold_tests::{Database, Installation, Nats, Proxy, Subscriber, WebWatcher, World, armed, eventually, until};
use futures::{StreamExt as _, TryStreamExt as _, future::join_all};
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use uuid::Uuid;

use crate::faults::Faulty;

/// What each writer changes, and how many there are: 10,000 events with what makes the projects.
const CHANGES: usize = 999;
const WRITERS: usize = 10;
/// Seconds for which a replica that was killed keeps the next one from publishing.
const NATS_LEASE: (&str, &str) = ("FREEHOLD_TIME", "nats-lease:2");

/// Reads a watch until this event; fails when it sees one twice, or those of one resource out of order.
async fn seen_until(mut news: Answers<Watched>, last: &str) -> Vec<Event> {
    let mut seen: Vec<Event> = Vec::new();
    let mut newest: BTreeMap<String, i64> = BTreeMap::new();
    let mut uids = std::collections::HashSet::new();
    while let Some(news) = news.next().await {
        let Watched::Event(event) = news.expect("a watch outlasts what breaks") else { continue };
        assert!(uids.insert(event.uid.clone()), "{} twice", event.uid);
        let before = newest.insert(event.resource_uid.clone(), event.resource_version);
        assert!(before.is_none_or(|before| before < event.resource_version), "{before:?} before {event:?}");
        let ends = event.resource.ends_with(last) && event.kind == "project.created";
        seen.push(*event);
        if ends {
            return seen;
        }
    }
    panic!("the watch ended");
}

/// Creates a project and changes it again and again, through whatever happens to the server.
async fn write(client: Client, id: String) {
    client.projects().create(&id).send().await.expect("a project");
    for change in 0..CHANGES {
        let update = client.projects().update(&id).display_name(format!("{change}")).request_id(Uuid::now_v7().to_string());
        // Under its id, a change that was made before its answer was lost is not made again.
        eventually("a change", || update.clone().send()).await;
    }
}

/// What the TypeScript watcher has said: how often its stream was opened, and the events.
fn split(said: Vec<Value>) -> (usize, Vec<Value>) {
    let (mut opened, mut events) = (0, Vec::new());
    for mut line in said {
        assert!(line["resync"].is_null(), "something may be missing: {line}");
        match line["state"].as_str() {
            None => events.push(line["event"].take()),
            state => opened += usize::from(state == Some("open")),
        }
    }
    (opened, events)
}

/// Waits until the TypeScript watcher has seen this event, and answers all of them.
async fn said_until(watcher: &mut WebWatcher, last: &Event) -> Vec<Value> {
    eventually("the TypeScript watcher", || {
        let (_, events) = split(watcher.said());
        let newest = events.last().map_or(Value::Null, |event| event["uid"].clone());
        async move { if newest == last.uid.as_str() { Ok(events) } else { Err((events.len(), newest)) } }
    })
    .await
}

/// Waits until the subscriber of NATS has seen this event; answers the ids of all of them, as they came.
async fn consumed_until(subscriber: &Subscriber, last: &Event) -> Vec<String> {
    eventually("the consumer of NATS", || async {
        let told = subscriber.told();
        if told.ids.last() == Some(&last.uid) { Ok(()) } else { Err((told.ids.len(), told.ids.last().cloned())) }
    })
    .await;
    let told = subscriber.told();
    assert!(told.disorder.is_empty(), "{:?}", told.disorder);
    told.ids.clone()
}

both_databases!(ten_thousand_events_are_seen_once_and_in_order_by_all_readers_through_disconnects_and_a_kill);

/// The readers are the watches of both clients and a consumer of NATS JetStream, which drops what it has seen by the id of CloudEvents.
async fn ten_thousand_events_are_seen_once_and_in_order_by_all_readers_through_disconnects_and_a_kill(database: Database) {
    let installation = Installation::new(database).await;
    let nats = Nats::start(&installation);
    let options = nats.options(&installation);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut replica = installation.start(armed(&installation.serve(&options), &[NATS_LEASE])).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    acme.tenants().create("acme").send().await.expect("a tenant");
    acme.service_accounts().create("reader").send().await.expect("a service account");
    acme.access().bind("viewer", "serviceAccounts/reader").send().await.expect("a role");
    let tomorrow = Timestamp::now() + Duration::from_secs(24 * 3600);
    let key = acme.api_keys().create("serviceAccounts/reader", tomorrow).send().await.expect("a key").secret;

    let (line, web_line) = (Proxy::to(replica.api).await, Proxy::to(replica.web).await);
    let far = installation.client(&[line.address], installation.pki.credentials("admin"), "acme").await;
    let token = far.events().cursor().send().await.expect("a cursor");
    let watching = tokio::spawn(seen_until(far.events().watch().kind("project.*").resume(&token).stream(), "last"));
    let mut web_watcher = WebWatcher::start(&installation, web_line.address, key.reveal(), &token);
    let subscriber = nats.read(&installation, "freehold.acme.project.");
    let lazy = lazy(&acme, &token).await;

    let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(write(acme.clone(), format!("p{n}")))).collect();
    let done = async |share: usize| {
        until("progress", || async {
            let change = acme.projects().get("p0").send().await.map(|project| project.display_name);
            change.ok().and_then(|change| change.parse::<usize>().ok()).is_some_and(|change| change >= share)
        })
        .await;
    };
    let mut opened = async |times: usize| {
        until("the TypeScript watcher to be there again", || {
            let (opened, _) = split(web_watcher.said());
            async move { opened >= times }
        })
        .await;
    };
    for (cuts, share) in [CHANGES / 8, CHANGES / 4, CHANGES / 2].into_iter().enumerate() {
        done(share).await;
        opened(cuts + 1).await;
        line.sever();
        web_line.sever();
    }
    done(CHANGES * 5 / 8).await;
    opened(4).await;
    replica.process.kill();
    replica = installation.again_with(&replica, &[NATS_LEASE], &options).await;
    for writer in writers {
        writer.await.expect("every change was made");
    }
    opened(5).await;
    acme.projects().create("last").send().await.expect("the last one");

    let seen = watching.await.expect("seen");
    assert_eq!(seen.len(), WRITERS * (CHANGES + 1) + 1);
    let kept = acme.events().list().kind("project.*").resume(&token).events().page_size(500).items();
    let listed: Vec<Event> = kept.try_collect().await.expect("a list");
    assert!(listed == seen, "a list tells the same in the same order");
    let last = listed.last().expect("the last one");
    let as_said = |event: &Event| {
        json!({ "uid": event.uid, "kind": event.kind, "resource": event.resource,
                "resourceUid": event.resource_uid, "resourceVersion": event.resource_version })
    };
    let expected: Vec<Value> = listed.iter().map(as_said).collect();
    assert!(said_until(&mut web_watcher, last).await == expected, "the TypeScript watcher sees the same in the same order");
    let ids: Vec<String> = listed.iter().map(|event| event.uid.clone()).collect();
    assert!(consumed_until(&subscriber, last).await == ids, "a consumer of NATS sees the same in the same order");
    drop((lazy, replica));
}

/// A watch that is not read.
async fn lazy(acme: &Client, token: &str) -> tonic::Streaming<freehold_proto::events::v1::WatchEventsResponse> {
    let channel = acme.raw().expect("a channel");
    let start = Some(Start::ResumeToken(token.to_owned()));
    let request = WatchEventsRequest { parent: "tenants/acme".to_owned(), start, ..Default::default() };
    EventServiceClient::new(channel).watch_events(request).await.expect("a watch").into_inner()
}

both_databases!(whoever_does_not_read_is_told_so_and_goes_on_without_a_gap);

async fn whoever_does_not_read_is_told_so_and_goes_on_without_a_gap(database: Database) {
    let world = World::new(database).await;
    let token = world.admin.events().cursor().send().await.expect("a cursor");
    let mut lazy = lazy(&world.admin, &token).await;
    let first = lazy.message().await.expect("a message").expect("a message");
    assert!(first.events.is_empty() && !first.resume_token.is_empty(), "where it begins");
    // More than is kept in memory, and more than the connection takes from the server.
    join_all((0..WRITERS).map(|n| write(world.admin.clone(), format!("p{n}")))).await;

    let mut told = 0;
    let refused = loop {
        match lazy.message().await {
            Ok(Some(message)) => told += message.events.len(),
            Ok(None) => panic!("it was not told"),
            Err(status) => break freehold::raw::error(status),
        }
    };
    assert_eq!((refused.code(), refused.reason()), (Code::Aborted, Some("WATCH_SLOW_CONSUMER")), "{refused}");
    let token = refused.metadata("resume_token").expect("where to go on").to_owned();
    world.admin.projects().create("last").send().await.expect("the last one");
    let rest = seen_until(world.admin.events().watch().resume(token).stream(), "last").await;
    assert_eq!(told + rest.len(), WRITERS * (CHANGES + 1) + 1);
}

/// Whether a watcher misses an event whose transaction was overtaken by another one.
async fn misses_what_was_overtaken(variables: &[(&str, &str)]) -> bool {
    let installation = Installation::new(Database::Postgres).await;
    let replica = installation.start(armed(&installation.serve(&[]), variables)).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    for tenant in ["acme", "other"] {
        acme.tenants().create(tenant).send().await.expect("a tenant");
    }
    let other = installation.client(&[replica.api], installation.pki.credentials("admin"), "other").await;
    let mut news = acme.events().watch_installation().kind("project.*").stream();
    // It begins before anything of the story happens.
    assert!(matches!(news.next().await, Some(Ok(Watched::Checkpoint(_)))));

    // The counter of one tenant is held, so its transaction has written its event and cannot end.
    let options: PgConnectOptions = installation.database_url.parse().expect("a URL");
    let mut holder = options.connect().await.expect("a session");
    let mut held = holder.begin().await.expect("a transaction");
    sqlx::query(
        "SELECT 1 FROM quotas JOIN tenants ON tenants.uid = tenant_id WHERE name = 'tenants/acme' AND dimension = 'projects' FOR UPDATE OF quotas",
    )
    .execute(&mut *held)
    .await
    .expect("held");
    let slow = tokio::spawn({
        let acme = acme.clone();
        async move { acme.projects().create("slow").deadline(Duration::from_secs(120)).send().await }
    });
    until("the slow one to wait", || async { waits_for_a_lock(&options).await }).await;
    other.projects().create("fast").send().await.expect("not held up");
    let mut seen = Vec::new();
    next_project(&mut news, &mut seen).await;
    held.rollback().await.expect("let go");
    slow.await.expect("no panic").expect("a project");
    other.projects().create("last").send().await.expect("a project");
    while !seen.iter().any(|seen| seen == "last") {
        next_project(&mut news, &mut seen).await;
    }
    assert!(seen.iter().all(|seen| ["fast", "slow", "last"].contains(&seen.as_str())), "{seen:?}");
    !seen.iter().any(|seen| seen == "slow")
}

async fn waits_for_a_lock(options: &PgConnectOptions) -> bool {
    let mut db = options.connect().await.expect("a session");
    let waiting = sqlx::query_scalar(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
    );
    let waiting: i64 = waiting.fetch_one(&mut db).await.expect("a count");
    waiting > 0
}

async fn next_project(news: &mut Answers<Watched>, seen: &mut Vec<String>) {
    loop {
        match news.next().await.expect("it goes on").expect("it goes on") {
            Watched::Event(event) => {
                seen.push(event.resource.rsplit('/').next().unwrap_or_default().to_owned());
                return;
            }
            _ => continue,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_transaction_is_overtaken_is_not_lost() {
    freehold_tests::told(async {
        assert!(!misses_what_was_overtaken(&[]).await, "an event was lost");
        assert!(
            misses_what_was_overtaken(&[("FREEHOLD_MUTANT", "cursor")]).await,
            "a cursor over the order of writing was not caught"
        );
    })
    .await;
}

both_databases!(each_sees_what_it_may_read_for_as_long_as_it_may);

async fn each_sees_what_it_may_read_for_as_long_as_it_may(database: Database) {
    let world = World::new(database).await;
    let acme = &world.admin;
    acme.projects().create("shop").send().await.expect("a project");
    world.tenant("other").await;
    let stranger = world.person("other", "eve", &["tenant-admin"]).await;
    let ada = world.person("acme", "ada", &["tenant-admin"]).await;
    let developer = world.person("acme", "dev", &["developer"]).await;
    let nobody = world.person("acme", "nobody", &[]).await;
    let limited = world.person("acme", "limited", &[]).await;
    let binding =
        acme.access().bind("viewer", "users/limited").on("tenants/acme/projects/shop").send().await.expect("a role on a project");

    let refused = async |client: &Client, below: &str| {
        let mut news = client.events().watch().below(below).stream();
        let first = news.next().await.expect("an answer");
        first.expect_err("refused").reason().map(str::to_owned)
    };
    assert_eq!(refused(&stranger, "tenants/acme").await.as_deref(), Some("TENANT_MISMATCH"));
    assert_eq!(refused(&nobody, "tenants/acme").await.as_deref(), Some("PERMISSION_MISSING"));
    assert_eq!(refused(&limited, "tenants/acme").await.as_deref(), Some("PERMISSION_MISSING"));
    assert_eq!(refused(&ada, "").await.as_deref(), Some("PERMISSION_MISSING"), "the installation is not for tenants");
    let token = ada.events().cursor().send().await.expect("a cursor");
    let foreign = stranger.events().list().resume(&token).events().send().await.expect_err("a token of another tenant");
    assert_eq!(foreign.reason(), Some("FIELD_INVALID"));

    let shop = "tenants/acme/projects/shop";
    let mut limited_news = limited.events().watch().below(shop).stream();
    assert!(matches!(limited_news.next().await, Some(Ok(Watched::Checkpoint(_)))));
    acme.users().invite("bob@acme.example").id("bob").send().await.expect("a user");
    acme.access().bind("viewer", "users/bob").send().await.expect("a role");
    acme.projects().create("other").send().await.expect("a project");
    acme.projects().update("shop").display_name("Shop").send().await.expect("a change");

    let kinds = async |client: &Client| {
        let events: Vec<Event> = client.events().list().resume(&token).events().items().try_collect().await.expect("a list");
        events.into_iter().map(|event| event.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&ada).await, ["user.invited", "role_binding.created", "project.created", "project.updated"]);
    assert_eq!(kinds(&developer).await, ["project.created", "project.updated"], "developers do not read who is there");
    let seen = loop {
        match limited_news.next().await.expect("it goes on").expect("it goes on") {
            Watched::Event(event) => break event,
            _ => continue,
        }
    };
    assert_eq!(
        (seen.kind.as_str(), seen.resource.as_str(), seen.principal.as_str()),
        ("project.updated", shop, "platform/admin")
    );
    assert!(seen.request_id.is_some() && seen.time.is_some(), "{seen:?}");

    acme.access().unbind(&binding.name).send().await.expect("no role any more");
    acme.projects().update("shop").display_name("Secret").send().await.expect("a change");
    let end = loop {
        match limited_news.next().await.expect("an end with a reason") {
            Ok(Watched::Event(event)) => panic!("it may not see this any more: {event:?}"),
            Ok(_) => continue,
            Err(error) => break error,
        }
    };
    assert_eq!(end.reason(), Some("PERMISSION_MISSING"));
}

both_databases!(a_place_that_is_not_kept_any_longer_asks_for_a_new_look);

async fn a_place_that_is_not_kept_any_longer_asks_for_a_new_look(database: Database) {
    let installation = Installation::new(database).await;
    let mut replica = installation.start(armed(&installation.serve(&[]), &[])).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    acme.tenants().create("acme").send().await.expect("a tenant");
    let token = acme.events().cursor().send().await.expect("a cursor");
    acme.projects().create("old").send().await.expect("a project");
    // One that has no place when the server dies is given one later, and is forgotten by a later sweep.
    let placed = acme.events().list().resume(&token).events().send().await.expect("a list");
    assert_eq!(placed.items.len(), 1);

    // Eight days later, what happened is gone: it is kept for seven.
    replica.process.kill();
    replica = installation.again(&replica, &[("FREEHOLD_CLOCK", "691200")]).await;
    let gone = eventually("the events to be forgotten", || async {
        match acme.events().list().resume(&token).events().send().await {
            Ok(page) => Err(page.items.len()),
            Err(error) => Ok(error),
        }
    })
    .await;
    assert_eq!((gone.code(), gone.reason()), (Code::OutOfRange, Some("RESUME_TOKEN_EXPIRED")), "{gone}");
    // Back in the present, where the certificates of the story hold.
    replica.process.kill();
    let _replica = installation.again(&replica, &[]).await;
    let long_ago = acme.events().list().since(Timestamp::UNIX_EPOCH).events().send().await.expect_err("it is not kept");
    assert_eq!(long_ago.reason(), Some("RESUME_TOKEN_EXPIRED"));
    let lately = Timestamp::now() - Duration::from_secs(3600);
    let lately = acme.events().list().since(lately).events().send().await.expect("what was kept since then");
    assert!(lately.items.is_empty(), "{lately:?}");

    let mut news = acme.events().watch().resume(&token).stream();
    assert!(matches!(news.next().await, Some(Ok(Watched::Resync))), "it is said that something is missing");
    acme.projects().create("new").send().await.expect("a project");
    let begun = Instant::now();
    loop {
        match news.next().await.expect("it goes on").expect("it goes on") {
            Watched::Event(event) => {
                assert_eq!(event.resource, "tenants/acme/projects/new");
                break;
            }
            _ => assert!(begun.elapsed() < Duration::from_secs(60), "the watch does not go on"),
        }
    }
}
