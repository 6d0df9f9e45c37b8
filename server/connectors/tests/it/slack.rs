//! Slack.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_connectors::{Connector as _, Credentials, ErrorKind, InboundRequest, OAuth as _, Reason, Replays, slack::Slack};
use freehold_domain::commands::{APPROVE, Ask, Command, DECISION, DECISION_COMMENT, DISCUSS, Place, REJECT};
use freehold_fakes::{FakeSlack, Fault, Server};
use futures::future::FutureExt as _;
use serde_json::{Value, json};

use crate::{
    support::{Connection, NOW, at},
    table::{Again, Bench, Page, Row, Token, run},
};

async fn slack() -> (FakeSlack, Connection) {
    let fake = FakeSlack::start().await;
    let (id, secret) = FakeSlack::CLIENT;
    let settings = json!({ "base_url": fake.api(), "client_id": id, "scopes": ["chat:write", "channels:read"] });
    let credentials = Credentials::none()
        .with("bot_token", FakeSlack::TOKEN)
        .with("webhook_url", fake.webhook())
        .with("signing_secret", FakeSlack::SIGNING_SECRET)
        .with("client_secret", secret);
    let connection = Connection::new(Slack::new(), &fake.server, settings, credentials);
    (fake, connection)
}

#[tokio::test]
async fn one_run_has_one_message_and_a_thread() {
    let (fake, connection) = slack().await;
    let alert = |severity: &str, title: &str| json!({ "channel": "C0ALERTS", "severity": severity, "title": title });
    let first = connection.call("messages.alert", alert("info", "run 7 plans")).await;
    let ts = first["ts"].as_str().expect("a time stamp").to_owned();

    let mut second = alert("ok", "run 7 applied");
    second["ts"] = ts.clone().into();
    second["blocks"] = json!([{ "type": "divider" }]);
    connection.call("messages.alert", second).await;
    connection.call("messages.post", json!({ "channel": "C0ALERTS", "thread_ts": ts, "text": "details" })).await;

    let messages = fake.messages();
    assert_eq!(messages.len(), 2);
    assert_eq!((&messages[0]["text"], &messages[0]["attachments"][0]["color"]), (&json!("OK: run 7 applied"), &json!("#2eb67d")));
    assert_eq!((&messages[1]["text"], &messages[1]["thread_ts"]), (&json!("details"), &json!(ts)));
}

#[tokio::test]
async fn a_file_arrives_byte_for_byte() {
    let (fake, connection) = slack().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let input = json!({ "name": "plan.bin", "base64": STANDARD.encode(&bytes), "channel": "C0ALERTS", "comment": "the plan" });
    connection.call("files.upload", input).await;

    let files = fake.files();
    assert_eq!((files[0].0.as_str(), files[0].1 == bytes), ("plan.bin", true));
    assert_eq!((&files[0].2["channel_id"], &files[0].2["initial_comment"]), (&json!("C0ALERTS"), &json!("the plan")));
    let place = fake.server.requests().into_iter().find(|request| request.path.starts_with("/upload")).expect("it was sent");
    assert_eq!(place.header("authorization"), "", "the token goes to the API only");
}

#[tokio::test]
async fn errors_say_what_to_do_and_who_finds_them() {
    let (fake, connection) = slack().await;
    fake.server.fail_next(FakeSlack::error("not_in_channel"));
    let error = connection.invoke("messages.post", json!({ "channel": "C0ALERTS", "text": "x" })).await.expect_err("refused");
    assert_eq!((error.kind, error.vendor_code.as_deref()), (ErrorKind::Permission, Some("not_in_channel")));
    assert!(error.message.contains("invite the bot"), "{error}");

    let error = connection.invoke("messages.post", json!({ "channel": "C0NOWHERE", "text": "x" })).await.expect_err("nowhere");
    assert_eq!((error.kind, error.vendor_status), (ErrorKind::NotFound, Some(200)));
    assert!(error.vendor_request_id.is_some());

    fake.server.fail_next(FakeSlack::error("internal_error"));
    let error = connection.invoke("messages.post", json!({ "channel": "C0ALERTS", "text": "x" })).await.expect_err("broken");
    assert_eq!((error.kind, error.maybe_done), (ErrorKind::Transient, true));
    fake.server.fail_next(Fault::Garbage);
    let error = connection.invoke("messages.post", json!({ "channel": "C0ALERTS", "text": "x" })).await.expect_err("a hotel");
    assert_eq!((error.kind, error.maybe_done), (ErrorKind::Transient, true));
    assert!(fake.messages().is_empty());
}

#[tokio::test]
async fn a_method_that_is_refused_for_its_pace_waits_and_others_do_not() {
    let (fake, connection) = slack().await;
    fake.server.fail("chat.postMessage", FakeSlack::throttle(4));
    let begun = tokio::time::Instant::now();
    let post = connection.call("messages.post", json!({ "channel": "C0ALERTS", "text": "x" }));
    let other = async {
        while fake.server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        connection.call("usergroups.list", json!({})).await;
        begun.elapsed()
    };
    let (_, other) = tokio::join!(post, other);
    assert!(begun.elapsed() >= Duration::from_secs(4) && other < Duration::from_secs(4), "{other:?} of {:?}", begun.elapsed());
}

#[tokio::test]
async fn an_app_is_installed_and_its_token_renewed() {
    let (_fake, mut connection) = slack().await;
    let url = Slack::new().authorize_url(&connection.settings, "https://freehold.example/cb", "s t").expect("a URL");
    assert!(url.contains("/oauth/v2/authorize?client_id=3336676.569200954261&scope=chat%3Awrite%2Cchannels%3Aread"), "{url}");
    assert!(url.ends_with("&state=s+t"), "{url}");

    let grant = Slack::new().exchange(&connection.cx(), FakeSlack::CODE, "https://freehold.example/cb").await.expect("granted");
    assert_eq!((grant.expires, &grant.facts["team"]["id"]), (Some(at(NOW + 43_200)), &json!("T9TK3CUKW")));
    assert!(!format!("{grant:?}").contains("xoxe"));
    let again = Slack::new().exchange(&connection.cx(), FakeSlack::CODE, "https://freehold.example/cb").await;
    assert_eq!(again.expect_err("a code is good once").kind, ErrorKind::Auth);

    let (_, secret) = FakeSlack::CLIENT;
    let renewed = |grant: &freehold_connectors::Grant| {
        grant
            .credentials
            .reveal()
            .fold(Credentials::none().with("client_secret", secret), |all, (name, secret)| all.with(name, secret))
    };
    connection.credentials = Arc::new(renewed(&grant));
    let second = Slack::new().refresh(&connection.cx()).await.expect("renewed");
    assert_ne!(second.credentials, grant.credentials);
    assert_eq!(Slack::new().refresh(&connection.cx()).await.expect_err("it is used up").kind, ErrorKind::Auth);
    connection.credentials = Arc::new(renewed(&second));
    let report = connection.connector.test(&connection.cx()).await;
    assert_eq!((report.ok, report.identity.as_deref()), (true, Some("freehold (W23456789)")), "{report:?}");
    assert_eq!(report.scopes, ["chat:write", "channels:manage", "channels:read", "files:write"]);
}

#[tokio::test]
async fn a_webhook_alone_is_enough_for_messages() {
    let (fake, mut connection) = slack().await;
    connection.credentials = Arc::new(Credentials::none().with("webhook_url", fake.webhook()));
    connection.call("messages.webhook", json!({ "severity": "error", "title": "run 7 failed" })).await;
    assert_eq!(fake.posted()[0]["attachments"][0]["color"], "#e01e5a");

    let gone = fake.webhook().replace("/T00000000/", "/gone/");
    connection.credentials = Arc::new(Credentials::none().with("webhook_url", gone.clone()));
    let error = connection.invoke("messages.webhook", json!({ "text": "x" })).await.expect_err("it is gone");
    assert_eq!((error.kind, error.vendor_code.as_deref()), (ErrorKind::NotFound, Some("no_service")));
    let cx = connection.cx().dry_run();
    let would = connection.connector.invoke(&cx, "messages.webhook", json!({ "text": "x" })).await.expect("a dry run");
    assert!(!would.to_string().contains("XXXXXXXX"), "the URL is the secret: {would}");

    connection.credentials = Arc::new(Credentials::none());
    let error = connection.invoke("messages.webhook", json!({ "text": "x" })).await.expect_err("there is none");
    assert_eq!(error.kind, ErrorKind::Unconfigured);
    assert!(error.message.contains("`webhook_url`"), "{error}");
}

const FORM: &str = "application/x-www-form-urlencoded";

fn form(payload: &Value) -> String {
    format!("payload={}", payload.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect::<String>())
}

fn inbound(body: &str, signed: i64, received: i64, kind: &str) -> InboundRequest {
    InboundRequest { headers: FakeSlack::sign(body, signed, kind), body: body.as_bytes().to_vec(), received: at(received) }
}

#[test]
fn buttons_commands_and_events_are_read() {
    let credentials = Credentials::none().with("signing_secret", FakeSlack::SIGNING_SECRET);
    let verify = |request: &InboundRequest| Slack::new().verify(&Value::Null, &credentials, request);

    let challenge = json!({ "type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" });
    let found = verify(&inbound(&challenge.to_string(), NOW, NOW, "application/json")).expect("proven");
    assert_eq!(found.reply, Some(json!({ "challenge": challenge["challenge"] })));

    let event = json!({ "type": "event_callback", "event_id": "Ev9UQ52YNA", "event": { "type": "app_mention", "text": "hi" } });
    let found = verify(&inbound(&event.to_string(), NOW, NOW, "application/json")).expect("proven");
    assert_eq!((found.kind.as_str(), found.delivery_id.as_str()), ("event.app_mention", "Ev9UQ52YNA"));

    let ask = |body: &str| -> Ask {
        let found = verify(&inbound(body, NOW, NOW, FORM)).expect("proven");
        Slack::new().ask(&found.kind, &found.payload).expect("somebody asks for something")
    };
    let run = "shop/dev/web/0199a0de-0000-7000-8000-000000000000";
    let value = json!({ "run": run, "digest": "sha256:ab" }).to_string();
    let mut payload = json!({ "type": "block_actions", "trigger_id": "1.2.3", "user": { "id": "W012A3CDE", "username": "ada" },
                              "team": { "id": "T0G9PQBBK" }, "channel": { "id": "C0ALERTS" },
                              "actions": [{ "action_id": APPROVE, "value": value }] });
    let pressed = ask(&form(&payload));
    assert_eq!(pressed.command, Command::pressed(APPROVE, &value, "").expect("a button of ours"));
    assert_eq!((pressed.account.id.as_str(), pressed.account.display_name.as_str()), ("T0G9PQBBK/W012A3CDE", "ada"));
    assert_eq!((pressed.place, pressed.reply_url), (Some(Place::Slack { channel: "C0ALERTS".to_owned() }), None));
    payload["actions"][0]["action_id"] = "of.another.app".into();
    let found = verify(&inbound(&form(&payload), NOW, NOW, FORM)).expect("proven");
    assert!(Slack::new().ask(&found.kind, &found.payload).is_none());

    let value = json!({ "run": run, "digest": "sha256:ab", "channel": "C0ALERTS" }).to_string();
    let mut view = json!({ "callback_id": DISCUSS, "private_metadata": value });
    view["state"]["values"][DECISION][DECISION]["selected_option"]["value"] = REJECT.into();
    view["state"]["values"][DECISION_COMMENT][DECISION_COMMENT]["value"] = "too big".into();
    let payload =
        json!({ "type": "view_submission", "trigger_id": "2.3.4", "user": { "id": "W012A3CDE", "team_id": "T1" }, "view": view });
    let sent = ask(&form(&payload));
    assert_eq!(sent.command, Command::pressed(REJECT, &value, "too big").expect("a dialog of ours"));
    assert_eq!((sent.account.id.as_str(), sent.place), ("T1/W012A3CDE", Some(Place::Slack { channel: "C0ALERTS".to_owned() })));

    let typed = "team_id=T1&user_id=U1&channel_id=C1&command=%2Ffreehold&text=status+shop%2Fdev%2Fweb&trigger_id=4.5";
    assert_eq!(ask(typed).command, Command::Status(Some("shop/dev/web".parse().expect("a deployment"))));
}

#[test]
fn forged_late_and_repeated_calls_do_nothing() {
    let credentials = Credentials::none().with("signing_secret", FakeSlack::SIGNING_SECRET);
    let replays = Replays::new(Duration::from_secs(600));
    let accepted = |request: &InboundRequest| {
        Slack::new().verify(&Value::Null, &credentials, request).map(|inbound| replays.first(&inbound, request.received))
    };
    let body = "command=%2Ffreehold&text=apply&trigger_id=9.9";
    let good = inbound(body, NOW, NOW, FORM);
    assert_eq!(accepted(&good), Ok(true));
    assert_eq!(accepted(&InboundRequest { received: at(NOW + 200), ..good.clone() }), Ok(false), "the same once more");

    let changed = InboundRequest { body: body.replace("apply", "approve").into_bytes(), ..good.clone() };
    let late = InboundRequest { received: at(NOW + 301), ..good.clone() };
    let restamped = {
        let mut request = late.clone();
        request.headers[0].1 = (NOW + 301).to_string();
        request
    };
    let bare = InboundRequest { headers: Vec::new(), ..good.clone() };
    for (request, reason) in
        [(changed, Reason::Forged), (late, Reason::Late), (restamped, Reason::Forged), (bare, Reason::Missing)]
    {
        assert_eq!(accepted(&request).map_err(|refused| refused.reason), Err(reason));
    }
    let guessed = Credentials::none().with("signing_secret", "guessed");
    assert!(Slack::new().verify(&Value::Null, &guessed, &good).is_err());
}

struct SlackBench(FakeSlack, Connection);

impl Bench for SlackBench {
    fn connection(&self) -> &Connection {
        &self.1
    }
    fn server(&self) -> &Server {
        &self.0.server
    }
    fn revoke(&self) {
        self.0.revoke();
    }
    fn throttled(&self) -> Fault {
        FakeSlack::throttle(0)
    }
    fn fill(&self) {
        self.0.add_channels(448);
        self.0.add_messages(449);
    }
}

/// A workspace with one message, `1503435956.000002`: the first thing that was posted in it.
async fn bench() -> Box<dyn Bench> {
    let (fake, connection) = slack().await;
    connection.call("messages.post", json!({ "channel": "C0ALERTS", "text": "first" })).await;
    fake.server.forget();
    Box::new(SlackBench(fake, connection))
}

#[tokio::test]
async fn every_operation_under_every_answer() {
    const WRITE: &str = "it changes something, and has no pages";
    const ONE: &str = "it finds one thing";
    const SHORT: &str = "Slack gives it in one page";
    const URL: &str = "the secret is the URL: there is no token";
    let ts = "1503435956.000002";
    let row = |operation, input: Value, path, page, again| Row { operation, input, path, page, again, token: Token::Needed };
    let write = |operation, input: Value, path| row(operation, input, path, Page::No(WRITE), Again::Works);
    let rows = vec![
        write("messages.post", json!({ "channel": "C0ALERTS", "text": "x" }), "chat.postMessage"),
        write("messages.alert", json!({ "channel": "C0ALERTS", "severity": "info", "title": "x" }), "chat.postMessage"),
        Row { token: Token::No(URL), ..write("messages.webhook", json!({ "text": "x" }), "/services/") },
        write("messages.update", json!({ "channel": "C0ALERTS", "ts": ts, "text": "y" }), "chat.update"),
        write("messages.delete", json!({ "channel": "C0ALERTS", "ts": ts }), "chat.delete"),
        write("messages.ephemeral", json!({ "channel": "C0ALERTS", "user": "W012A3CDE", "text": "x" }), "chat.postEphemeral"),
        write("messages.schedule", json!({ "channel": "C0ALERTS", "post_at": NOW + 60, "text": "x" }), "chat.scheduleMessage"),
        row(
            "messages.permalink",
            json!({ "channel": "C0ALERTS", "message_ts": ts }),
            "chat.getPermalink",
            Page::No(ONE),
            Again::Works,
        ),
        row(
            "messages.history",
            json!({ "channel": "C0ALERTS" }),
            "conversations.history",
            Page::Third(json!({ "channel": "C0ALERTS", "include_all_metadata": true }), "messages", 450),
            Again::Works,
        ),
        Row {
            token: Token::No(URL),
            ..write("interactions.respond", json!({ "response_url": "https://vendor/actions/T1/1/x", "text": "x" }), "/actions/")
        },
        row(
            "channels.create",
            json!({ "name": "run-7" }),
            "conversations.create",
            Page::No(WRITE),
            Again::Refused(ErrorKind::Conflict),
        ),
        write("channels.invite", json!({ "channel": "C0ALERTS", "users": "W012A3CDE" }), "conversations.invite"),
        write("channels.archive", json!({ "channel": "C0ALERTS" }), "conversations.archive"),
        row(
            "channels.list",
            json!({}),
            "conversations.list",
            Page::Third(json!({ "exclude_archived": true }), "channels", 450),
            Again::Works,
        ),
        write("channels.join", json!({ "channel": "C0ALERTS" }), "conversations.join"),
        write("channels.topic", json!({ "channel": "C0ALERTS", "topic": "x" }), "conversations.setTopic"),
        write("channels.open", json!({ "users": "W012A3CDE" }), "conversations.open"),
        row("users.by_email", json!({ "email": "ada@example.com" }), "users.lookupByEmail", Page::No(ONE), Again::Works),
        row("usergroups.list", json!({}), "usergroups.list", Page::No(SHORT), Again::Works),
        row("usergroups.members", json!({ "usergroup": "S0614TZR7" }), "usergroups.users.list", Page::No(SHORT), Again::Works),
        row(
            "views.open",
            json!({ "trigger_id": "13345224609.738474920.8088930838d88f008e0", "view": { "type": "modal" } }),
            "views.open",
            Page::No(WRITE),
            Again::Refused(ErrorKind::Invalid),
        ),
        write("views.publish", json!({ "user_id": "W012A3CDE", "view": { "type": "home" } }), "views.publish"),
        write("files.upload", json!({ "name": "a.txt", "text": "hello" }), "files.completeUploadExternal"),
    ];
    let tally = run(|| bench().boxed(), rows).await;
    // 23 operations under seven kinds of answer.
    assert_eq!(tally.run + tally.senseless.len(), 23 * 7, "{tally:#?}");
    assert_eq!(tally.senseless.len(), 21 + 2, "{tally:#?}");
}
