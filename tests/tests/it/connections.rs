//! Connections to other systems: made, changed, used, refused, and what is never seen of them.

use std::time::Duration;

use freehold::{
    BreakerState, Client, Connection, ConnectionManager, ConnectionState, CreateConnection, Error, OperationEffect, Timestamp,
};
use freehold_fakes::{FakeGithub, FakeSlack, Fault, Receiver, Server};
use freehold_tests::{Database, Installation, World, eventually};
use serde_json::json;

/// Lets connections reach the fakes.
pub const PRIVATE: &[&str] = &["--connections-allow-private"];
/// A secret of Standard Webhooks.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A world whose connections may reach the fakes.
pub async fn world(database: Database) -> World {
    World::with(database, PRIVATE).await
}

/// A connection that believes the server's authority.
pub fn trusting(create: CreateConnection, server: &Server) -> CreateConnection {
    create.setting("ca_bundle", server.ca())
}

async fn github(acme: &Client, fake: &FakeGithub) -> Connection {
    let create = acme.connections().create("code", "github").setting("base_url", fake.api());
    trusting(create, &fake.server).credential("token", FakeGithub::TOKEN).send().await.expect("a connection")
}

/// The connection `chat` to a workspace.
pub async fn slack(acme: &Client, fake: &FakeSlack) -> Connection {
    let create = acme.connections().create("chat", "slack").setting("base_url", fake.api());
    trusting(create, &fake.server).credential("bot_token", FakeSlack::TOKEN).send().await.expect("a connection")
}

async fn fake_github() -> FakeGithub {
    FakeGithub::start(Timestamp::now().as_second()).await
}

async fn post(acme: &Client) -> Result<freehold::Invocation, Error> {
    let call = acme.connections().invoke("chat", "messages.post");
    call.input("channel", "C0ALERTS").input("text", "applied").send().await
}

fn fields(error: &Error) -> Vec<&str> {
    error.violations().iter().map(|wrong| wrong.field.as_str()).collect()
}

both_databases!(a_connection_is_made_changed_tested_and_deleted);

async fn a_connection_is_made_changed_tested_and_deleted(database: Database) {
    let world = world(database).await;
    let (acme, fake) = (&world.admin, fake_github().await);
    let connections = acme.connections();
    let catalogue = connections.connectors().send().await.expect("connectors");
    let kinds: Vec<_> = catalogue.iter().map(|connector| connector.kind.as_str()).collect();
    assert!(["github", "slack", "webhook"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    let found = connections.connector("github").send().await.expect("a connector");
    let create = found.operations.iter().find(|operation| operation.operation == "issues.create").expect("an operation");
    assert_eq!(create.effect, OperationEffect::Unsafe);
    assert!(create.input_schema.as_ref().is_some_and(|schema| schema["properties"]["title"].is_object()), "{create:?}");
    assert!(connections.connector("fax").send().await.is_err_and(|error| error.is_not_found()));

    let wrong = connections.create("code", "github").setting("base_url", 7).setting("app_id", 1).credential("tokn", "x");
    let wrong = wrong.send().await.expect_err("nothing of it is right");
    let expected = ["connection.settings.base_url", "connection.settings.installation_id", "connection.credentials.tokn"];
    assert_eq!(fields(&wrong), expected, "{wrong:?}");
    let wrong = connections.create("code", "fax").send().await.expect_err("there is no such connector");
    assert_eq!(fields(&wrong), ["connection.connector"]);

    let made = github(acme, &fake).await;
    assert_eq!((made.name.as_str(), made.state), ("tenants/acme/connections/code", ConnectionState::Enabled));
    acme.quotas().set_limit("connections", 1).send().await.expect("a limit");
    let more = connections.create("more", "webhook").setting("url", "https://hooks.example").send().await;
    assert!(more.as_ref().is_err_and(Error::is_quota_exceeded), "{more:?}");
    assert_eq!((made.managed_by, made.inbound_path.clone()), (ConnectionManager::Api, Some(format!("/hooks/{}", made.uid))));
    assert_eq!(made.credential_slots.iter().map(|slot| slot.slot.as_str()).collect::<Vec<_>>(), ["token"]);
    assert!(made.last_check.is_none() && made.health.is_none());
    assert_eq!(connections.list().send().await.expect("a list").items, [connections.get("code").send().await.expect("one")]);
    let again = connections.create("code", "github").send().await.expect_err("the name is taken");
    assert!(again.is_already_exists());

    let found = connections.test("code").send().await.expect("an answer");
    assert!(found.ok && found.error_kind.is_none() && found.identity.is_some(), "{found:?}");
    let now = connections.get("code").send().await.expect("a connection");
    assert_eq!(now.last_check, Some(found));
    assert_eq!(now.health.expect("it was used").breaker_state, BreakerState::Closed);

    let stale = connections.update("code").display_name("Code").etag(&made.etag).send().await.expect_err("an old etag");
    assert!(stale.is_etag_mismatch());
    let mut settings = now.settings.clone();
    settings.insert("base_url".to_owned(), "no URL".into());
    let wrong = connections.update("code").settings(settings).send().await.expect_err("no URL");
    assert_eq!(fields(&wrong), ["connection.settings.base_url"]);
    let changed = connections.update("code").display_name("Code").labels([("team", "platform")]).send().await;
    let changed = changed.expect("changed");
    assert_eq!((changed.display_name.as_str(), changed.settings.clone()), ("Code", now.settings));

    let wrong = connections.rotate("code").credential("tokn", "x").send().await.expect_err("no such slot");
    assert_eq!(fields(&wrong), ["credentials.tokn"]);
    connections.rotate("code").credential("token", "ghp_wrong").send().await.expect("rotated");
    let found = connections.test("code").send().await.expect("an answer, whatever it is");
    assert_eq!((found.ok, found.error_kind.as_deref()), (false, Some("auth")), "{found:?}");

    let off = connections.disable("code").reason("moved").send().await.expect("disabled");
    assert_eq!((off.state, off.disable_reason.as_deref()), (ConnectionState::Disabled, Some("moved")));
    let refused = connections.invoke("code", "issues.list").input("repo", "acme/shop").send().await.expect_err("disabled");
    assert_eq!(refused.reason(), Some("CONNECTION_UNCONFIGURED"), "{refused:?}");
    let on = connections.enable("code").send().await.expect("enabled");
    assert_eq!((on.state, on.disable_reason), (ConnectionState::Enabled, None));
    connections.delete("code").etag(&on.etag).send().await.expect("deleted");
    assert!(connections.get("code").send().await.is_err_and(|error| error.is_not_found()));

    let events = acme.events().list().kind("connection.*").events().collect_up_to(100).await.expect("events");
    let kinds: Vec<_> = events.iter().map(|event| event.kind.trim_start_matches("connection.")).collect();
    let expected = ["created", "checked", "updated", "credentials_rotated", "checked", "disabled", "enabled", "deleted"];
    assert_eq!(kinds, expected);
}

both_databases!(systems_are_called_and_every_failure_says_what_it_is);

async fn systems_are_called_and_every_failure_says_what_it_is(database: Database) {
    let world = world(database).await;
    let (acme, code, chat) = (&world.admin, fake_github().await, FakeSlack::start().await);
    github(acme, &code).await;
    slack(acme, &chat).await;
    let issue = || acme.connections().invoke("code", "issues.create").input("repo", "acme/shop").input("title", "Drift");
    let before = code.issues().len();

    let would = issue().dry_run().send().await.expect("it says what it would do");
    assert!(would.dry_run && would.result["dry_run"] == json!(true), "{would:?}");
    assert_eq!(code.issues().len(), before, "nothing was sent");
    let made = issue().send().await.expect("an issue");
    assert_eq!((made.dry_run, &made.result["title"]), (false, &json!("Drift")));
    assert_eq!(code.issues().len(), before + 1);
    let sent = post(acme).await.expect("a message");
    assert_eq!(chat.messages().len(), 1, "{sent:?}");
    let figures = crate::metrics::scraped(&world.replica).await.expect("figures");
    for sample in [
        r#"connector_calls_total{connector="slack",operation="messages.post",outcome="ok"} 1"#,
        r#"connector_request_seconds_count{connector="slack"} 1"#,
        r#"connector_request_seconds_bucket{le="+Inf",connector="slack"} 1"#,
        r#"connector_open_breakers{connector="github"} 0"#,
    ] {
        assert!(figures.contains(sample), "{sample} is not in {figures}");
    }

    let wrong = acme.connections().invoke("chat", "messages.post").input("chanel", "C0").send().await.expect_err("wrong");
    assert!(fields(&wrong).iter().all(|field| field.starts_with("input")), "{wrong:?}");
    assert!(fields(&wrong).contains(&"input.channel"), "{wrong:?}");
    let wrong = acme.connections().invoke("chat", "messages.shout").send().await.expect_err("no such operation");
    assert_eq!(fields(&wrong), ["operation"]);
    acme.connections().update("chat").dry_run(true).send().await.expect("changed");
    assert!(post(acme).await.expect("it says what it would do").dry_run);
    acme.connections().update("chat").dry_run(false).send().await.expect("changed");
    assert_eq!(chat.messages().len(), 1);

    let refusals = [
        ("not_in_channel", "CONNECTION_PERMISSION_DENIED"),
        ("channel_not_found", "VENDOR_NOT_FOUND"),
        ("invalid_auth", "CONNECTION_AUTH_FAILED"),
    ];
    for (code, reason) in refusals {
        // Credentials that are refused are tried once more.
        chat.server.fail("chat.postMessage", FakeSlack::error(code));
        chat.server.fail("chat.postMessage", FakeSlack::error(code));
        let refused = post(acme).await.expect_err("refused");
        assert_eq!(refused.reason(), Some(reason), "{refused:?}");
        assert_eq!((refused.metadata("connector"), refused.metadata("operation")), (Some("slack"), Some("messages.post")));
        assert_eq!((refused.metadata("vendor_code"), refused.metadata("maybe_done")), (Some(code), Some("false")));
        chat.server.forget();
    }
    let broken = async || {
        code.server.fail("POST", Fault::status(503));
        issue().send().await.expect_err("it is down")
    };
    let down = broken().await;
    assert_eq!((down.reason(), down.metadata("vendor_status")), (Some("VENDOR_UNAVAILABLE"), Some("503")), "{down:?}");
    assert!(down.is_unavailable() && down.retry_after().is_some());
    let asked = code.server.requests().len();
    let open = eventually("the breaker to open", || async {
        let down = broken().await;
        if down.metadata("vendor_status").is_none() { Ok(down) } else { Err(down) }
    })
    .await;
    assert_eq!((open.reason(), open.metadata("maybe_done")), (Some("VENDOR_UNAVAILABLE"), Some("false")));
    let tried = code.server.requests().len() - asked;
    assert!(tried < 10, "the client does not repeat what it cannot know the outcome of: {tried}");
    let health = acme.connections().get("code").send().await.expect("a connection").health;
    assert_eq!(health.expect("it was used").breaker_state, BreakerState::Open);
    // What another system does is no reason to leave our own server alone.
    acme.projects().create("meanwhile").send().await.expect("the server is well");

    chat.server.fail("chat.postMessage", FakeSlack::throttle(3600));
    let throttled = post(acme).await.expect_err("too many");
    assert_eq!(throttled.reason(), Some("VENDOR_THROTTLED"), "{throttled:?}");
    assert!(throttled.retry_after().is_some_and(|wait| wait >= Duration::from_secs(3500)), "{throttled:?}");

    acme.connections().create("empty", "slack").setting("base_url", chat.api()).send().await.expect("a connection");
    let call = acme.connections().invoke("empty", "messages.post").input("channel", "C0ALERTS").input("text", "x");
    let unconfigured = call.send().await.expect_err("it has no token");
    assert_eq!(unconfigured.reason(), Some("CONNECTION_UNCONFIGURED"), "{unconfigured:?}");

    let trail = acme.audit().list().collect_up_to(1000).await.expect("the trail");
    let invoked: Vec<_> = trail.iter().filter(|record| record.method.ends_with("/InvokeConnection")).collect();
    assert!(
        invoked.iter().any(|record| record.change.as_ref().is_some_and(|change| change.to_string().contains("issues.create")))
    );
    assert!(invoked.iter().all(|record| !format!("{record:?}").contains("Drift")), "no input is kept");
}

both_databases!(an_event_is_delivered_once_under_one_request_id);

async fn an_event_is_delivered_once_under_one_request_id(database: Database) {
    let world = world(database).await;
    let (acme, receiver) = (&world.admin, Receiver::start(SECRET).await);
    let create = acme.connections().create("hook", "webhook").setting("url", format!("{}/in", receiver.server.url()));
    trusting(create, &receiver.server).credential("secret", SECRET).send().await.expect("a connection");
    let deliver = acme.connections().invoke("hook", "deliver").input("type", "run.applied").input("data", json!({ "n": 1 }));
    let first = deliver.clone().send().await.expect("delivered");
    deliver.send().await.expect("delivered again");
    assert_eq!((receiver.deliveries().len(), receiver.server.requests().len()), (1, 2), "{first:?}");
}

both_databases!(credentials_are_seen_nowhere);

async fn credentials_are_seen_nowhere(database: Database) {
    const CANARIES: [&str; 3] = ["canary-of-the-token-4711", "canary-of-the-rotation-4712", "canary-of-the-secret-4713"];
    let installation = Installation::new(database).await;
    let mut command = installation.serve(PRIVATE);
    command.env("RUST_LOG", "trace");
    let mut replica = installation.start(command).await;
    let acme = installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await;
    acme.tenants().create("acme").send().await.expect("a tenant");
    let chat = FakeSlack::start().await;
    let create = acme.connections().create("chat", "slack").setting("base_url", chat.api());
    let create = trusting(create, &chat.server).credential("bot_token", CANARIES[0]).credential("signing_secret", CANARIES[2]);
    let mut shown = vec![format!("{:?}", create.clone().credential("nothing", CANARIES[1]).send().await)];
    shown.push(format!("{:?}", create.send().await.expect("a connection")));
    shown.push(format!("{:?}", acme.connections().test("chat").send().await.expect("an answer")));
    shown.push(format!("{:?}", acme.connections().rotate("chat").credential("bot_token", CANARIES[1]).send().await));
    shown.push(format!("{:?}", post(&acme).await.expect_err("it is not the fake's")));
    // Whatever a vendor says back goes through the same hands.
    let echo = json!({ "ok": false, "error": CANARIES[1] });
    chat.server.fail("chat.postMessage", Fault::Reply(freehold_fakes::Reply::json(200, &echo)));
    shown.push(format!("{:?}", post(&acme).await));
    let call = acme.connections().invoke("chat", "messages.post").input("channel", "C0ALERTS").input("text", "x");
    shown.push(format!("{:?}", call.dry_run().send().await));
    shown.push(format!("{:?}", acme.connections().get("chat").send().await.expect("a connection")));
    shown.push(format!("{:?}", acme.connections().list().collect_up_to(10).await.expect("a list")));
    shown.push(format!("{:?}", acme.events().list().events().collect_up_to(1000).await.expect("events")));
    shown.push(format!("{:?}", acme.audit().list().collect_up_to(1000).await.expect("the trail")));
    replica.process.signal("TERM");
    replica.process.wait().await;
    let places = [
        ("an answer", shown.join("\n").into_bytes(), "tenants/acme/connections/chat"),
        ("the log", replica.process.said().into_bytes(), "ConnectionService"),
        ("the database", crate::canaries::database(&installation).await, "tenants/acme/connections/chat"),
    ];
    for (place, bytes, known) in places {
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(known), "{place} is read");
        for canary in CANARIES {
            assert!(!text.contains(canary), "{canary} is in {place}");
        }
    }
}

both_databases!(connections_reach_only_where_the_operator_lets_them);

async fn connections_reach_only_where_the_operator_lets_them(database: Database) {
    let mut world = World::new(database).await;
    let (acme, receiver) = (world.admin.clone(), Receiver::start(SECRET).await);
    let urls = [receiver.server.url(), "https://169.254.169.254/latest".to_owned(), "https://[::ffff:10.0.0.1]/".to_owned()];
    for (at, url) in urls.into_iter().enumerate() {
        let name = format!("hook{at}");
        let create = acme.connections().create(&name, "webhook").setting("url", url.as_str()).credential("secret", SECRET);
        trusting(create, &receiver.server).send().await.expect("a connection");
        let call = acme.connections().invoke(&name, "deliver").input("type", "x").input("data", json!({}));
        let refused = call.send().await.expect_err("it may not be reached");
        assert_eq!(refused.reason(), Some("CONNECTION_UNCONFIGURED"), "{url}: {refused:?}");
        assert_eq!(refused.metadata("vendor_code"), Some("address_refused"), "{url}: {refused:?}");
    }
    assert!(receiver.server.requests().is_empty());

    // Clouds hand out credentials there; nobody may be let in.
    world.replica.process.signal("TERM");
    world.replica.process.wait().await;
    let open = world.installation.replica(PRIVATE).await;
    let acme = world.installation.client(&[open.api], world.installation.pki.credentials("admin"), "acme").await;
    let call = acme.connections().invoke("hook1", "deliver").input("type", "x").input("data", json!({}));
    let refused = call.send().await.expect_err("it may not be reached");
    assert_eq!(refused.metadata("vendor_code"), Some("address_refused"), "{refused:?}");
}

both_databases!(what_the_environment_describes_is_there_after_every_start);

async fn what_the_environment_describes_is_there_after_every_start(database: Database) {
    let world = world(database).await;
    let World { installation, mut replica, admin } = world;
    let chat = FakeSlack::start().await;
    let client = async |replica: &freehold_tests::Replica| {
        installation.client(&[replica.api], installation.pki.credentials("admin"), "acme").await
    };
    admin.connections().create("mine", "slack").send().await.expect("a connection");
    let start = async |token: &str| {
        let described = json!({ "connector": "slack", "settings": { "base_url": chat.api(), "ca_bundle": chat.server.ca() },
                                "credentials": { "bot_token": { "env": "CHAT_TOKEN" } } });
        let mut command = installation.serve(PRIVATE);
        command.env("FREEHOLD_CONNECTION_ACME_OPS_CHAT", described.to_string()).env("CHAT_TOKEN", token);
        command.env("FREEHOLD_CONNECTION_ACME_MINE", r#"{"connector": "slack"}"#);
        command.env("FREEHOLD_CONNECTION_NOBODY_X", r#"{"connector": "slack"}"#);
        installation.start(command).await
    };
    let mut versions = Vec::new();
    for (token, works) in [("xoxb-wrong", false), (FakeSlack::TOKEN, true), (FakeSlack::TOKEN, true)] {
        // One replica has the database.
        replica.process.signal("TERM");
        replica.process.wait().await;
        replica = start(token).await;
        let acme = client(&replica).await;
        let listed = acme.connections().list().collect_up_to(10).await.expect("a list");
        let names: Vec<_> = listed.iter().map(|one| one.name.rsplit('/').next().unwrap_or_default()).collect();
        assert_eq!(names, ["mine", "ops-chat"], "none is there twice, none of a tenant that is not there");
        assert_eq!((listed[0].managed_by, listed[1].managed_by), (ConnectionManager::Api, ConnectionManager::Environment));
        versions.push((listed[1].uid.clone(), listed[1].update_time));
        let found = acme.connections().test("ops-chat").send().await.expect("an answer");
        assert_eq!(found.ok, works, "{found:?}");
    }
    assert_eq!(versions[0].0, versions[2].0, "it stays the same connection");
    assert_ne!(versions[0].1, versions[1].1, "the token is another one");
    assert_eq!(versions[1].1, versions[2].1, "nothing is written when nothing has changed");
    let acme = client(&replica).await;
    let refused = acme.connections().update("ops-chat").dry_run(true).send().await.expect_err("not by calls");
    assert_eq!(refused.reason(), Some("STATE_NOT_ALLOWED"));
    assert!(refused.message().contains("environment"), "{refused:?}");
    let refused = acme.connections().delete("ops-chat").send().await.expect_err("not by calls");
    assert_eq!(refused.reason(), Some("STATE_NOT_ALLOWED"));
}
