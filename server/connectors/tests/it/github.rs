//! GitHub.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freehold_connectors::{
    Connector as _, Credentials, ErrorKind, InboundRequest, OAuth as _, Polled, Reason, Replays, github::GitHub,
};
use freehold_domain::commands::{Command, Place};
use freehold_fakes::{Entry, FakeGithub, Fault, Reply};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Connection, NOW, at};

fn credentials() -> Credentials {
    Credentials::none().with("private_key", FakeGithub::APP.2).with("webhook_secret", FakeGithub::WEBHOOK_SECRET)
}

/// As an app.
pub async fn github() -> (FakeGithub, Connection) {
    let fake = FakeGithub::start(NOW).await;
    let settings = json!({ "base_url": fake.api(), "app_id": FakeGithub::APP.0, "installation_id": FakeGithub::APP.1 });
    let connection = Connection::new(GitHub::new(), &fake.server, settings, credentials());
    (fake, connection)
}

/// By a token.
async fn by_token(base_url: impl Fn(&FakeGithub) -> String) -> (FakeGithub, Connection) {
    let fake = FakeGithub::start(NOW).await;
    let (id, secret) = FakeGithub::CLIENT;
    let settings = json!({ "base_url": base_url(&fake), "client_id": id });
    let credentials = Credentials::none().with("token", FakeGithub::TOKEN).with("client_secret", secret);
    let connection = Connection::new(GitHub::new(), &fake.server, settings, credentials);
    (fake, connection)
}

fn repo(more: Value) -> Value {
    let mut input = json!({ "repo": "acme/shop" });
    for (name, value) in more.as_object().into_iter().flatten() {
        input[name] = value.clone();
    }
    input
}

#[tokio::test]
async fn an_installation_has_one_token_until_shortly_before_it_ends() {
    let (fake, connection) = github().await;
    let get = || connection.invoke("issues.get", repo(json!({ "number": 1 })));
    let (one, two, three) = tokio::join!(get(), get(), get());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(fake.minted(), 1, "three calls at once make one token");

    for (seconds, minted) in [(3200, 1), (200, 2)] {
        connection.clock.advance(seconds);
        fake.set_time(NOW + if minted == 1 { 3200 } else { 3400 });
        get().await.expect("it works");
        assert_eq!(fake.minted(), minted, "after {seconds} s");
    }
    fake.revoke_installation_tokens();
    get().await.expect("a token that is refused is replaced");
    assert_eq!(fake.minted(), 3);
}

#[tokio::test]
async fn a_key_that_is_none_and_an_app_that_is_gone_are_told_apart() {
    let (fake, mut connection) = github().await;
    connection.credentials = Arc::new(Credentials::none().with("private_key", "-----BEGIN NONSENSE-----"));
    let error = connection.invoke("repos.get", repo(json!({}))).await.expect_err("no key");
    assert_eq!(error.kind, ErrorKind::Unconfigured);
    assert!(error.message.contains("`private_key`"), "{error}");

    connection.credentials = Arc::new(credentials());
    let report = connection.connector.test(&connection.cx()).await;
    assert_eq!((report.ok, report.identity.as_deref(), report.version), (true, Some("freehold for acme"), None));
    assert_eq!(report.scopes, ["checks:write", "contents:write", "issues:write"]);
    fake.revoke();
    let report = connection.connector.test(&connection.cx()).await;
    assert_eq!((report.ok, report.error.map(|error| error.kind)), (false, Some(ErrorKind::Auth)));
}

#[tokio::test]
async fn an_enterprise_server_says_its_version_and_has_its_own_paths() {
    let (fake, connection) = by_token(FakeGithub::enterprise_api).await;
    let report = connection.connector.test(&connection.cx()).await;
    assert_eq!(
        (report.ok, report.version.as_deref(), report.identity.as_deref()),
        (true, Some("3.17.2"), Some("ada")),
        "{report:?}"
    );
    assert_eq!(report.scopes, ["repo", "read:org"]);
    connection.call("repos.get", repo(json!({}))).await;
    assert!(fake.server.requests().iter().all(|request| request.path.starts_with("/api/v3/")));
    let url = GitHub::new().authorize_url(&connection.settings, "https://freehold.example/cb", "s").expect("a URL");
    assert!(url.starts_with(&format!("{}/login/oauth/authorize?client_id=Iv1.", fake.server.url())), "{url}");
    let url = GitHub::new().authorize_url(&json!({ "client_id": "x" }), "https://freehold.example/cb", "s").expect("a URL");
    assert!(url.starts_with("https://github.com/login/oauth/authorize?"), "{url}");
}

#[tokio::test]
async fn what_has_not_changed_costs_nothing() {
    let (fake, connection) = by_token(FakeGithub::api).await;
    let get = || connection.call("issues.get", repo(json!({ "number": 1 })));
    let first = get().await;
    let left = connection.outbound.snapshot().remaining;
    assert_eq!((get().await, connection.outbound.snapshot().remaining), (first.clone(), left));
    assert!(!fake.server.requests()[1].header("if-none-match").is_empty());

    connection.call("issues.close", repo(json!({ "number": 1 }))).await;
    let changed = get().await;
    assert_eq!((&first["state"], &changed["state"]), (&json!("open"), &json!("closed")));
    assert!(connection.outbound.snapshot().remaining < left);
}

#[tokio::test]
async fn an_hour_without_calls_is_not_spent_asking() {
    let (fake, connection) = by_token(FakeGithub::api).await;
    fake.server.fail_next(FakeGithub::primary_limit(NOW + 1800));
    let error = connection.invoke("repos.get", repo(json!({}))).await.expect_err("nothing is left");
    assert_eq!((error.kind, error.retry_after), (ErrorKind::Throttled, Some(Duration::from_secs(1800))));
    assert_eq!((error.maybe_done, error.vendor_status), (false, Some(403)));

    let error = connection.invoke("repos.get", repo(json!({}))).await.expect_err("still nothing");
    assert_eq!((error.kind, fake.server.requests().len()), (ErrorKind::Throttled, 1), "it is not even asked");
    connection.call("issues.search", json!({ "q": "is:open" })).await;
    assert_eq!(fake.server.requests().len(), 2, "searches are counted by themselves");
}

#[tokio::test]
async fn nobody_is_asked_more_often_than_the_limit_allows() {
    let (fake, connection) = by_token(FakeGithub::api).await;
    fake.set_remaining(8);
    connection.call("repos.get", repo(json!({}))).await;
    let calls = (0..40).map(|number| connection.invoke("issues.comment", repo(json!({ "number": number + 1, "body": "x" }))));
    let results = join_all(calls).await;
    let refused: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!((refused.len(), fake.server.requests().len()), (33, 8), "not one call that GitHub would have refused");
    assert!(refused.iter().all(|error| error.kind == ErrorKind::Throttled && error.vendor_status.is_none()), "{refused:?}");
}

#[tokio::test]
async fn a_burst_that_is_refused_holds_up_everything_and_nothing_is_done_twice() {
    let (fake, connection) = by_token(FakeGithub::api).await;
    fake.server.fail_next(FakeGithub::secondary_limit(1));
    let begun = tokio::time::Instant::now();
    connection.call("issues.create", repo(json!({ "title": "x" }))).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(fake.issues().len(), 2, "the first, and one more");

    fake.server.fail_next(FakeGithub::secondary_limit(300));
    let error = connection.invoke("repos.get", repo(json!({}))).await.expect_err("no time");
    assert_eq!((error.kind, error.vendor_code.as_deref()), (ErrorKind::Throttled, Some("secondary_rate_limit")));
    let error = connection.invoke("issues.search", json!({ "q": "x" })).await.expect_err("all of it waits");
    assert_eq!(error.kind, ErrorKind::Throttled);
}

#[tokio::test]
async fn refusals_say_what_is_missing() {
    let (fake, connection) = github().await;
    let denied = Reply::json(403, &json!({ "message": "Resource not accessible by integration" }));
    fake.server.fail(
        "/issues",
        Fault::Reply(denied.with("x-accepted-github-permissions", "issues=write").with("x-github-request-id", "F00D:1")),
    );
    let error = connection.invoke("issues.create", repo(json!({ "title": "x" }))).await.expect_err("not allowed");
    assert_eq!((error.kind, error.vendor_request_id.as_deref()), (ErrorKind::Permission, Some("F00D:1")));
    assert!(error.message.contains("issues=write"), "{error}");

    let error = connection.invoke("issues.get", repo(json!({ "number": 77 }))).await.expect_err("not there");
    assert_eq!(error.kind, ErrorKind::NotFound);
    let errors =
        json!({ "message": "Validation Failed", "errors": [{ "resource": "Issue", "field": "title", "code": "missing_field" }] });
    fake.server.fail("/issues", Fault::Reply(Reply::json(422, &errors)));
    let error = connection.invoke("issues.create", repo(json!({ "title": "x" }))).await.expect_err("wrong");
    assert_eq!((error.kind, error.vendor_code.as_deref()), (ErrorKind::Invalid, Some("missing_field")));
    assert!(error.message.contains("Issue.title missing_field"), "{error}");

    let error = connection.invoke("commits.get", json!({ "repo": "acme/shop", "ref": ".." })).await.expect_err("no way out");
    assert_eq!((error.kind, error.violations[0].field.as_str()), (ErrorKind::Invalid, "ref"));
}

#[tokio::test]
async fn no_token_is_in_an_error_whoever_made_it() {
    let (fake, connection) = github().await;
    connection.call("repos.get", repo(json!({}))).await;
    let requests = fake.server.requests();
    let tokens: Vec<_> = requests.iter().map(|request| request.header("authorization").replace("Bearer ", "")).collect();
    assert!(tokens[0].starts_with("eyJ") && tokens[1].starts_with("ghs_"), "{tokens:?}");
    for status in [400, 403, 404, 422, 500] {
        let message = format!("who is {} and who is {}?", tokens[1], FakeGithub::WEBHOOK_SECRET);
        let echo = json!({ "message": message, "errors": [{ "code": tokens[1], "message": message }] });
        fake.server.fail(
            "POST /repos/acme/shop/issues",
            Fault::Reply(Reply::json(status, &echo).with("x-github-request-id", &tokens[1])),
        );
        let error = connection.invoke("issues.create", repo(json!({ "title": "x" }))).await.expect_err("refused");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(&tokens[1]) && !text.contains(FakeGithub::WEBHOOK_SECRET), "{text}");
        }
    }
}

#[tokio::test]
async fn bytes_are_fetched_where_they_are_without_our_token() {
    let (fake, connection) = github().await;
    let expected: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    let sha = FakeGithub::SHA;
    for (operation, input) in [("repos.archive", json!({ "sha": sha })), ("runs.logs", json!({ "run": 30_433_642 }))] {
        let found = connection.call(operation, repo(input)).await;
        assert_eq!((found["bytes"].as_u64(), found["base64"] == STANDARD.encode(&expected)), (Some(10_000), true), "{operation}");
    }
    let error = connection.invoke("repos.archive", repo(json!({ "sha": sha, "max_bytes": 9_999 }))).await.expect_err("too much");
    assert_eq!(error.kind, ErrorKind::Permanent);

    let inside = Reply::text(302, "").with("location", "http://169.254.169.254/latest/meta-data/?token=SECRETSECRET");
    fake.server.fail("/tarball/", Fault::Reply(inside));
    let error = connection.invoke("repos.archive", repo(json!({ "sha": sha }))).await.expect_err("not there");
    assert_eq!(error.vendor_code.as_deref(), Some("address_refused"), "{error}");
}

#[tokio::test]
async fn folders_are_read_at_the_commit_that_a_revision_is() {
    let (fake, connection) = by_token(FakeGithub::enterprise_api).await;
    let (github, cx) = (GitHub::new(), connection.cx());
    let trees = github.trees().expect("it keeps repositories");
    let commit = fake.commit("acme/infra", "feature/x", &[Entry::file("web/a", "x"), Entry::file("b", "y")]);
    assert_eq!(trees.resolve(&cx, "acme/infra", "feature/x").await, Ok(commit.clone()));
    let found = trees.folders(&cx, "acme/infra", &commit, &["web".to_owned()]).await.expect("a folder");
    assert_eq!((found.len(), found[0].files[0].path.as_str(), found[0].count), (1, "a", 1));

    for (repository, revision, kind) in [
        ("acme/infra", "none", ErrorKind::NotFound),
        ("acme/none", "main", ErrorKind::NotFound),
        ("acme/infra/web", "main", ErrorKind::Invalid),
        ("acme/infra", "..", ErrorKind::Invalid),
    ] {
        let error = trees.resolve(&cx, repository, revision).await.expect_err("there is none");
        assert_eq!(error.kind, kind, "{repository} {revision}: {error}");
    }
    fake.server.fail("/commits/", Fault::Garbage);
    let error = trees.resolve(&cx, "acme/infra", "feature/x").await.expect_err("a page for people is no commit");
    assert_eq!(error.kind, ErrorKind::Transient, "{error}");
}

#[tokio::test]
async fn there_is_one_comment_for_each_thing() {
    let (fake, connection) = github().await;
    let say =
        |marker: &str, body: &str| connection.call("pulls.comment", repo(json!({ "number": 1, "marker": marker, "body": body })));
    fake.comment_as("mallory", 1, "<!-- freehold:shop/dev -->\nnot ours");
    fake.fill(230);
    assert_eq!(say("shop/dev", "plans").await["created"], true);
    assert_eq!(say("shop/dev", "applied").await["created"], false);
    assert_eq!(say("shop/prod", "plans").await["created"], true);
    let bodies: Vec<_> = fake.comments(1).iter().map(|comment| comment["body"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        bodies,
        ["<!-- freehold:shop/dev -->\nnot ours", "<!-- freehold:shop/dev -->\napplied", "<!-- freehold:shop/prod -->\nplans"]
    );
}

#[tokio::test]
async fn a_comment_whose_answer_was_lost_is_not_written_twice() {
    let (fake, connection) = github().await;
    // The list is asked for first; its answer comes.
    fake.server.fail("/issues/1/comments", Fault::Slow(Duration::ZERO));
    fake.server.fail("/issues/1/comments", Fault::Cut);
    let said = connection.call("pulls.comment", repo(json!({ "number": 1, "marker": "shop/dev", "body": "plans" }))).await;
    assert_eq!((said["created"].as_bool(), fake.comments(1).len()), (Some(false), 1));
}

#[tokio::test]
async fn a_check_run_takes_more_annotations_than_a_request() {
    let (fake, connection) = github().await;
    let annotation = |line: usize| {
        json!({ "path": "infra/main.tf", "start_line": line + 1, "end_line": line + 1, "annotation_level": "warning",
                "message": "m" })
    };
    let annotations: Vec<_> = (0..120).map(annotation).collect();
    let input = json!({ "name": "plan", "head_sha": FakeGithub::SHA, "status": "completed", "conclusion": "neutral",
                        "output": { "title": "Plan", "summary": "3 to create" }, "annotations": annotations });
    let made = connection.call("checks.create", repo(input)).await;
    let run = fake.check_run(made["id"].as_u64().expect("an id")).expect("it is there");
    assert_eq!((run["annotations"].as_array().map(Vec::len), &run["conclusion"]), (Some(120), &json!("neutral")));
}

#[tokio::test]
async fn webhooks_are_made_and_their_secret_replaced_without_showing_it() {
    let (fake, mut connection) = github().await;
    let made =
        connection.call("hooks.create", repo(json!({ "url": "https://freehold.example/hooks", "events": ["push"] }))).await;
    let id = made["id"].as_u64().expect("an id");
    assert_eq!(fake.hook(id).expect("it is there")["config"]["secret"], FakeGithub::WEBHOOK_SECRET);

    connection.credentials = Arc::new(credentials().with("webhook_secret", "another secret of ours"));
    let cx = connection.cx().dry_run();
    let would = connection.connector.invoke(&cx, "hooks.rotate_secret", repo(json!({ "hook": id }))).await.expect("a dry run");
    assert!(would.to_string().contains("(hidden)") && !would.to_string().contains("another secret"), "{would}");
    connection.call("hooks.rotate_secret", repo(json!({ "hook": id }))).await;
    assert_eq!(fake.hook(id).expect("it is there")["config"]["secret"], "another secret of ours");
}

#[tokio::test]
async fn deliveries_that_never_arrived_are_found_and_sent_again() {
    let (fake, connection) = github().await;
    fake.delivered(1, "old", "push", 502, NOW - 90_000);
    fake.delivered(2, "arrived", "push", 200, NOW - 50);
    fake.delivered(3, "lost", "pull_request", 502, NOW - 40);
    fake.delivered(4, "later", "push", 0, NOW - 30);
    fake.delivered(5, "later", "push", 200, NOW - 20);
    fake.fill(230);

    let missed = connection.connector.missed(&connection.cx(), at(NOW - 3600)).await.expect("a list");
    assert_eq!(
        missed.iter().map(|one| (one.delivery_id.as_str(), one.kind.as_str())).collect::<Vec<_>>(),
        [("lost", "pull_request")]
    );
    connection.connector.redeliver(&connection.cx(), &missed[0]).await.expect("accepted");
    assert_eq!(connection.connector.missed(&connection.cx(), at(NOW - 3600)).await.expect("a list"), []);
}

#[tokio::test]
async fn a_person_grants_access_in_the_browser_or_by_a_code() {
    let (fake, mut connection) = by_token(FakeGithub::api).await;
    let github = GitHub::new();
    let grant = github.exchange(&connection.cx(), FakeGithub::CODE, "https://freehold.example/cb").await.expect("granted");
    assert_eq!(grant.expires, Some(at(NOW + 28_800)));
    let error = github.exchange(&connection.cx(), FakeGithub::CODE, "https://freehold.example/cb").await.expect_err("used up");
    assert_eq!((error.kind, error.vendor_code.as_deref()), (ErrorKind::Auth, Some("bad_verification_code")));

    let with = |grant: &freehold_connectors::Grant| {
        let client = Credentials::none().with("client_secret", FakeGithub::CLIENT.1);
        Arc::new(grant.credentials.reveal().fold(client, |all, (name, secret)| all.with(name, secret)))
    };
    connection.credentials = with(&grant);
    let second = github.refresh(&connection.cx()).await.expect("renewed");
    assert_eq!(github.refresh(&connection.cx()).await.expect_err("used up").kind, ErrorKind::Auth);
    connection.credentials = with(&second);
    connection.call("repos.get", repo(json!({}))).await;

    let code = github.device_code(&connection.cx()).await.expect("a code");
    assert_eq!((code.user_code.as_str(), code.interval), ("WDJB-MJHT", Duration::from_secs(5)));
    let poll = || async { github.poll(&connection.cx(), &code.device_code).await.expect("an answer") };
    assert_eq!(poll().await, Polled::Pending(Duration::from_secs(5)));
    fake.approve_device();
    assert!(matches!(poll().await, Polled::Granted(_)));
    let error = github.poll(&connection.cx(), "another").await.expect_err("unknown");
    assert_eq!(error.kind, ErrorKind::Invalid);
}

#[tokio::test]
async fn owners_of_files_are_read_where_they_are() {
    let (_fake, connection) = github().await;
    let found = connection.call("codeowners.get", repo(json!({}))).await;
    assert_eq!(found["path"], "CODEOWNERS");
    assert_eq!(found["rules"][1], json!({ "pattern": "/infra/", "owners": ["@ada"] }));
}

fn call(body: &Value, event: &str, delivery: &str) -> InboundRequest {
    let body = body.to_string();
    InboundRequest { headers: FakeGithub::sign(&body, event, delivery), body: body.into_bytes(), received: at(NOW) }
}

fn comment(text: &str, kind: &str) -> Value {
    let comment = json!({ "body": text, "user": { "id": 1, "login": "ada", "type": kind }, "performed_via_github_app": null });
    let issue = json!({ "number": 1, "pull_request": {} });
    json!({ "action": "created", "issue": issue, "comment": comment, "repository": { "full_name": "acme/shop" } })
}

#[test]
fn events_are_read_and_comments_are_commands() {
    let verify = |request: &InboundRequest| GitHub::new().verify(&Value::Null, &credentials(), request).expect("proven");
    let found = verify(&call(&json!({ "zen": "Half measures are as bad as nothing at all." }), "ping", "d-0"));
    assert_eq!((found.kind.as_str(), found.delivery_id.as_str()), ("ping", "d-0"));
    let found = verify(&call(&json!({ "action": "opened", "number": 1 }), "pull_request", "d-1"));
    assert_eq!(found.kind, "pull_request.opened");

    let asked = |payload: &Value| {
        let found = verify(&call(payload, "issue_comment", "d-2"));
        GitHub::new().ask(&found.kind, &found.payload)
    };
    let ask = asked(&comment("Nice.\n/freehold plan shop/dev/web", "User")).expect("a command");
    assert_eq!(ask.command, Command::Plan("shop/dev/web".parse().expect("a deployment")));
    assert_eq!((ask.account.id.as_str(), ask.account.display_name.as_str()), ("1", "ada"));
    assert_eq!((ask.place, ask.reply_url), (Some(Place::Github { repo: "acme/shop".to_owned(), number: 1 }), None));

    let good = comment("/freehold apply shop/dev/web", "User");
    let without = |pointer: &str, value: Value| {
        let mut payload = good.clone();
        *payload.pointer_mut(pointer).expect("it is there") = value;
        asked(&payload)
    };
    assert!(asked(&good).is_some());
    assert!(without("/comment/user/type", "Bot".into()).is_none(), "a robot");
    assert!(without("/action", "edited".into()).is_none(), "edited, perhaps by somebody else");
    assert!(without("/issue/pull_request", Value::Null).is_none(), "an issue");
    assert!(without("/comment/performed_via_github_app", json!({ "id": 7 })).is_none(), "written by an app for somebody");
    let ours = "<!-- freehold:deployment/1 -->\n/freehold apply shop/dev/web";
    assert!(without("/comment/body", ours.into()).is_none(), "our own");
}

#[test]
fn forged_and_repeated_calls_do_nothing() {
    let replays = Replays::new(Duration::from_secs(3 * 86_400));
    let accepted = |request: &InboundRequest, credentials: &Credentials| {
        GitHub::new().verify(&Value::Null, credentials, request).map(|inbound| replays.first(&inbound, request.received))
    };
    let good = call(&comment("/freehold apply", "User"), "issue_comment", "d-1");
    assert_eq!(accepted(&good, &credentials()), Ok(true));
    assert_eq!(accepted(&good, &credentials()), Ok(false), "sent again by GitHub");
    let mut renamed = good.clone();
    renamed.headers[1].1 = "d-2".to_owned();
    assert_eq!(accepted(&renamed, &credentials()), Ok(false), "its id is not signed, and is not all that is remembered");

    let rotated = Credentials::none().with("webhook_secret", "new").with("previous_webhook_secret", FakeGithub::WEBHOOK_SECRET);
    assert_eq!(accepted(&call(&json!({}), "ping", "d-3"), &rotated), Ok(true));
    let changed = InboundRequest { body: b"{}".to_vec(), ..good.clone() };
    let bare = InboundRequest { headers: Vec::new(), ..good.clone() };
    let mut doubled = good.clone();
    doubled.headers.push(("x-hub-signature-256".into(), "sha256=00".into()));
    for (request, reason) in [(changed, Reason::Forged), (bare, Reason::Missing), (doubled, Reason::Missing)] {
        assert_eq!(accepted(&request, &credentials()).map_err(|refused| refused.reason), Err(reason));
    }
    let none = accepted(&good, &Credentials::none()).map_err(|refused| refused.reason);
    assert_eq!(none, Err(Reason::Unconfigured));
}
