//! Every operation of GitHub under every kind of answer.

use freehold_connectors::ErrorKind;
use freehold_fakes::{FakeGithub, Fault, Server};
use futures::future::FutureExt as _;
use serde_json::{Value, json};

use crate::{
    github::github,
    support::{Connection, NOW},
    table::{Again, Bench, Page, Row, Token, run},
};

struct GithubBench(FakeGithub, Connection);

impl Bench for GithubBench {
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
        FakeGithub::secondary_limit(0)
    }
    fn fill(&self) {
        self.0.fill(230);
    }
}

async fn bench() -> Box<dyn Bench> {
    let (fake, connection) = github().await;
    fake.delivered(7, "lost", "push", 502, NOW);
    // The token of the installation is made before anything counts.
    connection.call("issues.get", json!({ "repo": "acme/shop", "number": 1 })).await;
    fake.server.forget();
    Box::new(GithubBench(fake, connection))
}

const WRITE: &str = "it changes something, and has no pages";
const ONE: &str = "it finds one thing";
const RUN: u64 = 30_433_642;

fn of_repo(mut input: Value) -> Value {
    input["repo"] = "acme/shop".into();
    input
}

fn row(operation: &'static str, input: Value, path: &'static str, page: Page, again: Again) -> Row {
    Row { operation, input, path, page, again, token: Token::Needed }
}

fn one(operation: &'static str, input: Value, path: &'static str) -> Row {
    row(operation, of_repo(input), path, Page::No(ONE), Again::Works)
}

fn list(operation: &'static str, input: Value, path: &'static str, field: &'static str) -> Row {
    row(operation, input.clone(), path, Page::Third(input, field, 231), Again::Works)
}

fn write(operation: &'static str, input: Value, path: &'static str) -> Row {
    row(operation, of_repo(input), path, Page::No(WRITE), Again::Works)
}

fn once(operation: &'static str, input: Value, path: &'static str, kind: ErrorKind) -> Row {
    row(operation, of_repo(input), path, Page::No(WRITE), Again::Refused(kind))
}

fn reads() -> Vec<Row> {
    let sha = FakeGithub::SHA;
    let items = |operation, input: Value, path| list(operation, of_repo(input), path, "items");
    vec![
        one("repos.get", json!({}), "/repos/acme/shop"),
        list("repos.list", json!({}), "/installation/repositories", "repositories"),
        list("repos.mine", json!({}), "/user/repos", "items"),
        items("branches.list", json!({}), "/branches"),
        items("tags.list", json!({}), "/tags"),
        items("commits.list", json!({ "path": "infra" }), "/commits"),
        one("commits.get", json!({ "ref": "main" }), "/commits/main"),
        one("commits.compare", json!({ "base": "main", "head": sha }), "/compare/main..."),
        one("contents.get", json!({ "path": "README.md" }), "/contents/README.md"),
        one("pulls.get", json!({ "number": 1 }), "/pulls/1"),
        items("pulls.list", json!({ "state": "open" }), "/pulls"),
        items("pulls.files", json!({ "number": 1 }), "/pulls/1/files"),
        items("pulls.reviews", json!({ "number": 1 }), "/pulls/1/reviews"),
        one("issues.get", json!({ "number": 1 }), "/issues/1"),
        list("issues.search", json!({ "q": "is:open" }), "/search/issues", "items"),
        items("deployments.list", json!({}), "/deployments"),
        list("workflows.list", of_repo(json!({})), "/actions/workflows", "workflows"),
        list("runs.list", of_repo(json!({})), "/actions/runs", "workflow_runs"),
        one("runs.get", json!({ "run": RUN }), "/actions/runs/30433642"),
        items("hooks.list", json!({}), "/hooks"),
        items("hooks.deliveries", json!({ "hook": 1 }), "/hooks/1/deliveries"),
        list("teams.list", json!({ "org": "acme" }), "/orgs/acme/teams", "items"),
        list("teams.members", json!({ "org": "acme", "team": "platform" }), "/teams/platform/members", "items"),
        list("checks.list", of_repo(json!({ "ref": "main" })), "/check-runs", "check_runs"),
        one("repos.archive", json!({ "sha": sha }), "/tarball/"),
        one("runs.logs", json!({ "run": RUN }), "/logs"),
        row(
            "pulls.review_state",
            of_repo(json!({ "number": 1 })),
            "/pulls/1/reviews",
            Page::Third(of_repo(json!({ "number": 1 })), "reviews", 1),
            Again::Works,
        ),
        one("codeowners.get", json!({}), "/contents/CODEOWNERS"),
    ]
}

fn writes() -> Vec<Row> {
    let sha = FakeGithub::SHA;
    let annotation = json!([{ "path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m" }]);
    vec![
        once("branches.create", json!({ "branch": "adopt", "sha": sha }), "/git/refs", ErrorKind::Conflict),
        once(
            "contents.put",
            json!({ "path": "new.md", "message": "m", "content": "aGk=" }),
            "/contents/new.md",
            ErrorKind::Invalid,
        ),
        once("pulls.create", json!({ "title": "x", "head": "adopt", "base": "main" }), "/pulls", ErrorKind::Conflict),
        write("issues.create", json!({ "title": "x" }), "/issues"),
        write("issues.update", json!({ "number": 1, "title": "y" }), "/issues/1"),
        write("issues.comment", json!({ "number": 1, "body": "x" }), "/issues/1/comments"),
        write("issues.label", json!({ "number": 1, "labels": ["drift"] }), "/issues/1/labels"),
        write("issues.close", json!({ "number": 1 }), "/issues/1"),
        write("deployments.create", json!({ "ref": "main", "environment": "production" }), "/deployments"),
        write("deployments.status", json!({ "deployment": 1, "state": "success" }), "/deployments/1/statuses"),
        write("workflows.dispatch", json!({ "workflow": "ci.yml", "ref": "main" }), "/workflows/ci.yml/dispatches"),
        write("runs.cancel", json!({ "run": RUN }), "/cancel"),
        once("hooks.create", json!({ "url": "https://x.example/in", "events": ["push"] }), "/hooks", ErrorKind::Conflict),
        write("hooks.update", json!({ "hook": 1, "active": false }), "/hooks/1"),
        write("hooks.rotate_secret", json!({ "hook": 1 }), "/hooks/1/config"),
        write("hooks.ping", json!({ "hook": 1 }), "/hooks/1/pings"),
        write("hooks.redeliver", json!({ "hook": 1, "delivery": 7 }), "/deliveries/7/attempts"),
        write("dispatches.create", json!({ "event_type": "freehold" }), "/dispatches"),
        write("checks.create", json!({ "name": "plan", "head_sha": sha, "annotations": annotation }), "/check-runs"),
        write("checks.update", json!({ "check_run": 1, "name": "plan", "annotations": annotation }), "/check-runs/1"),
        write(
            "pulls.comment",
            json!({ "number": 1, "marker": "shop/dev", "body": "x" }),
            "POST /repos/acme/shop/issues/1/comments",
        ),
    ]
}

#[tokio::test]
async fn every_operation_under_every_answer() {
    let rows: Vec<_> = reads().into_iter().chain(writes()).collect();
    let count = rows.len();
    let tally = run(|| bench().boxed(), rows).await;
    // 49 operations under seven kinds of answer; 10 that read one thing and 21 that write have no third page.
    assert_eq!((count, tally.run + tally.senseless.len()), (49, 49 * 7), "{tally:#?}");
    assert_eq!(tally.senseless.len(), 31, "{tally:#?}");
}
