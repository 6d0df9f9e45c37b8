//! The operations that are one endpoint of GitHub's API each.

use reqwest::Method as Verb;
use serde_json::{Value, json};

use crate::{
    Effect, Operation,
    schema::{Field, Schema, any, choice, flag, integer, list, map, object, open_object, opt, req, text, word},
};

/// An operation and the endpoint that it calls.
pub(super) struct Endpoint {
    pub operation: &'static str,
    pub verb: Verb,
    pub path: &'static str,
    pub effect: Effect,
    summary: &'static str,
    input: fn() -> Schema,
    /// Where the fields go that the path does not take.
    pub place: Place,
    /// What comes in pages, and where it is in an answer; an empty name stands for the answer itself.
    pub pages: Option<&'static str>,
    pub resource: &'static str,
    /// A status that says that it is as it should be.
    pub already: Option<u16>,
    /// Whether the secret of webhooks goes along; it never comes with the input.
    pub secret: bool,
    /// What is added to the body.
    pub fixed: Option<fn(Value) -> Value>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Query,
    Body,
}

impl Endpoint {
    pub fn operation(&self) -> Operation {
        Operation::new(self.operation, self.effect, self.summary, (self.input)())
    }

    /// Puts the secret where a webhook has it.
    pub fn put_secret(&self, body: &mut Value, secret: &str) {
        if self.path.ends_with("/config") {
            body["secret"] = secret.into();
        } else {
            body["config"]["secret"] = secret.into();
        }
    }

    const fn new(
        operation: &'static str,
        verb: Verb,
        path: &'static str,
        effect: Effect,
        summary: &'static str,
        input: fn() -> Schema,
    ) -> Self {
        let place = if matches!(effect, Effect::Read) { Place::Query } else { Place::Body };
        Self {
            operation,
            verb,
            path,
            effect,
            summary,
            input,
            place,
            pages: None,
            resource: "core",
            already: None,
            secret: false,
            fixed: None,
        }
    }

    const fn get(operation: &'static str, path: &'static str, summary: &'static str, input: fn() -> Schema) -> Self {
        Self::new(operation, Verb::GET, path, Effect::Read, summary, input)
    }

    const fn list(
        operation: &'static str,
        path: &'static str,
        field: &'static str,
        summary: &'static str,
        input: fn() -> Schema,
    ) -> Self {
        let mut endpoint = Self::get(operation, path, summary, input);
        endpoint.pages = Some(field);
        endpoint
    }

    const fn post(operation: &'static str, path: &'static str, summary: &'static str, input: fn() -> Schema) -> Self {
        Self::new(operation, Verb::POST, path, Effect::Unsafe, summary, input)
    }

    const fn patch(operation: &'static str, path: &'static str, summary: &'static str, input: fn() -> Schema) -> Self {
        Self::new(operation, Verb::PATCH, path, Effect::Idempotent, summary, input)
    }

    const fn idempotent(mut self) -> Self {
        self.effect = Effect::Idempotent;
        self
    }

    const fn already(mut self, status: u16) -> Self {
        self.already = Some(status);
        self
    }

    const fn resource(mut self, resource: &'static str) -> Self {
        self.resource = resource;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn fixed(mut self, fixed: fn(Value) -> Value) -> Self {
        self.fixed = Some(fixed);
        self
    }
}

pub(super) fn find(operation: &str) -> Option<&'static Endpoint> {
    ALL.iter().find(|endpoint| endpoint.operation == operation)
}

pub(super) static ALL: [Endpoint; 42] = [
    Endpoint::get("repos.get", "/repos/{repo}", "Gets a repository.", || of_repo([])),
    Endpoint::list(
        "repos.list",
        "/installation/repositories",
        "repositories",
        "Lists the repositories of the app's installation.",
        || paged([]),
    ),
    Endpoint::list("repos.mine", "/user/repos", "", "Lists the repositories of the token's account.", || {
        paged([opt("visibility", choice(&["all", "public", "private"]))])
    }),
    Endpoint::list("branches.list", "/repos/{repo}/branches", "", "Lists branches.", || {
        paged([req("repo", repo()), opt("protected", flag())])
    }),
    Endpoint::post("branches.create", "/repos/{repo}/git/refs", "Creates a branch at a commit.", || {
        of_repo([req("branch", word().max(250)), req("sha", sha())])
    })
    .fixed(|mut body| {
        body["ref"] = format!("refs/heads/{}", body["branch"].take().as_str().unwrap_or_default()).into();
        super::subset(&body, &["ref", "sha"])
    }),
    Endpoint::list("tags.list", "/repos/{repo}/tags", "", "Lists tags.", || paged([req("repo", repo())])),
    Endpoint::list("commits.list", "/repos/{repo}/commits", "", "Lists commits.", || {
        paged([req("repo", repo()), opt("sha", word()), opt("path", word()), opt("since", word()), opt("until", word())])
    }),
    Endpoint::get("commits.get", "/repos/{repo}/commits/{ref}", "Gets a commit, by its id, a branch or a tag.", || {
        of_repo([req("ref", word().max(250))])
    }),
    Endpoint::get("commits.compare", "/repos/{repo}/compare/{base}...{head}", "Compares two commits.", || {
        of_repo([req("base", word().max(250)), req("head", word().max(250))])
    }),
    Endpoint::get("contents.get", "/repos/{repo}/contents/{path}", "Reads a file or a folder.", || {
        of_repo([req("path", word().max(4000)), opt("ref", word().max(250))])
    }),
    Endpoint::new(
        "contents.put",
        Verb::PUT,
        "/repos/{repo}/contents/{path}",
        Effect::Unsafe,
        "Writes a file by a commit.",
        || {
            let sha = word().describe("The blob that is replaced; another one in its place is a conflict.");
            of_repo([
                req("path", word().max(4000)),
                req("message", word().max(10_000)),
                req("content", text().describe("Base64.")),
                opt("sha", sha),
                opt("branch", word().max(250)),
            ])
        },
    ),
    Endpoint::post("pulls.create", "/repos/{repo}/pulls", "Creates a pull request.", || {
        of_repo([
            req("title", word().max(256)),
            req("head", word()),
            req("base", word()),
            opt("body", text().max(65_536)),
            opt("draft", flag()),
        ])
    }),
    Endpoint::get("pulls.get", "/repos/{repo}/pulls/{number}", "Gets a pull request.", || of_repo([req("number", number())])),
    Endpoint::list("pulls.list", "/repos/{repo}/pulls", "", "Lists pull requests.", || {
        paged([req("repo", repo()), opt("state", choice(&["open", "closed", "all"])), opt("head", word()), opt("base", word())])
    }),
    Endpoint::list(
        "pulls.files",
        "/repos/{repo}/pulls/{number}/files",
        "",
        "Lists the files that a pull request changes.",
        || paged([req("repo", repo()), req("number", number())]),
    ),
    Endpoint::list(
        "pulls.reviews",
        "/repos/{repo}/pulls/{number}/reviews",
        "",
        "Lists the reviews of a pull request, oldest first.",
        || paged([req("repo", repo()), req("number", number())]),
    ),
    Endpoint::post("issues.create", "/repos/{repo}/issues", "Creates an issue.", || {
        of_repo([
            req("title", word().max(256)),
            opt("body", text().max(65_536)),
            opt("labels", labels()),
            opt("assignees", labels()),
        ])
    }),
    Endpoint::get("issues.get", "/repos/{repo}/issues/{number}", "Gets an issue.", || of_repo([req("number", number())])),
    Endpoint::patch("issues.update", "/repos/{repo}/issues/{number}", "Changes an issue.", || {
        of_repo([
            req("number", number()),
            opt("title", word().max(256)),
            opt("body", text().max(65_536)),
            opt("state", choice(&["open", "closed"])),
            opt("state_reason", choice(&["completed", "not_planned", "reopened"])),
            opt("labels", labels()),
            opt("assignees", labels()),
        ])
    }),
    Endpoint::post("issues.comment", "/repos/{repo}/issues/{number}/comments", "Comments an issue or a pull request.", || {
        of_repo([req("number", number()), req("body", word().max(65_536))])
    }),
    Endpoint::post("issues.label", "/repos/{repo}/issues/{number}/labels", "Adds labels.", || {
        of_repo([req("number", number()), req("labels", labels().min(1))])
    })
    .idempotent(),
    Endpoint::patch("issues.close", "/repos/{repo}/issues/{number}", "Closes an issue.", || {
        of_repo([req("number", number()), opt("state_reason", choice(&["completed", "not_planned"]))])
    })
    .fixed(|mut body| {
        body["state"] = "closed".into();
        body
    }),
    Endpoint::list("issues.search", "/search/issues", "items", "Searches issues and pull requests.", || {
        paged([
            req("q", word().max(256).describe("As in GitHub's search box.")),
            opt("sort", word()),
            opt("order", choice(&["asc", "desc"])),
        ])
    })
    .resource("search"),
    Endpoint::post("deployments.create", "/repos/{repo}/deployments", "Creates a deployment.", || {
        of_repo([
            req("ref", word().max(250)),
            opt("environment", word().max(255)),
            opt("description", text().max(140)),
            opt("task", word()),
            opt("payload", any()),
            opt("auto_merge", flag()),
            opt("required_contexts", list(word())),
            opt("production_environment", flag()),
            opt("transient_environment", flag()),
        ])
    }),
    Endpoint::post("deployments.status", "/repos/{repo}/deployments/{deployment}/statuses", "Says how a deployment is.", || {
        of_repo([
            req("deployment", number()),
            req("state", choice(&["error", "failure", "inactive", "in_progress", "queued", "pending", "success"])),
            opt("description", text().max(140)),
            opt("log_url", text().format("uri")),
            opt("environment_url", text().format("uri")),
            opt("auto_inactive", flag()),
        ])
    }),
    Endpoint::list("deployments.list", "/repos/{repo}/deployments", "", "Lists deployments.", || {
        paged([req("repo", repo()), opt("environment", word()), opt("ref", word()), opt("sha", sha())])
    }),
    Endpoint::list("workflows.list", "/repos/{repo}/actions/workflows", "workflows", "Lists workflows.", || {
        paged([req("repo", repo())])
    }),
    Endpoint::post("workflows.dispatch", "/repos/{repo}/actions/workflows/{workflow}/dispatches", "Starts a workflow.", || {
        of_repo([
            req("workflow", word().describe("Its id or the name of its file.")),
            req("ref", word().max(250)),
            opt("inputs", map(text())),
        ])
    }),
    Endpoint::list("runs.list", "/repos/{repo}/actions/runs", "workflow_runs", "Lists runs of workflows.", || {
        paged([req("repo", repo()), opt("branch", word()), opt("status", word()), opt("event", word()), opt("head_sha", sha())])
    }),
    Endpoint::get("runs.get", "/repos/{repo}/actions/runs/{run}", "Gets a run of a workflow.", || {
        of_repo([req("run", number())])
    }),
    Endpoint::post("runs.cancel", "/repos/{repo}/actions/runs/{run}/cancel", "Cancels a run of a workflow.", || {
        of_repo([req("run", number())])
    })
    .idempotent()
    .already(409),
    Endpoint::list("hooks.list", "/repos/{repo}/hooks", "", "Lists webhooks.", || paged([req("repo", repo())])),
    Endpoint::post("hooks.create", "/repos/{repo}/hooks", "Creates a webhook with the connection's secret.", || {
        of_repo([req("url", text().format("uri")), req("events", list(word()).min(1)), opt("active", flag())])
    })
    .secret()
    .fixed(|mut body| {
        let secret = body["config"]["secret"].take();
        body["config"] = json!({ "url": body["url"], "content_type": "json", "insecure_ssl": "0", "secret": secret });
        body["name"] = "web".into();
        super::subset(&body, &["name", "config", "events", "active"])
    }),
    Endpoint::patch("hooks.update", "/repos/{repo}/hooks/{hook}", "Changes which events a webhook gets, and whether.", || {
        of_repo([req("hook", number()), opt("events", list(word()).min(1)), opt("active", flag())])
    }),
    Endpoint::patch(
        "hooks.rotate_secret",
        "/repos/{repo}/hooks/{hook}/config",
        "Gives a webhook the connection's present secret.",
        || of_repo([req("hook", number())]),
    )
    .secret(),
    Endpoint::post("hooks.ping", "/repos/{repo}/hooks/{hook}/pings", "Has GitHub call a webhook for a test.", || {
        of_repo([req("hook", number())])
    }),
    Endpoint::list(
        "hooks.deliveries",
        "/repos/{repo}/hooks/{hook}/deliveries",
        "",
        "Lists what was delivered to a webhook.",
        || paged([req("repo", repo()), req("hook", number())]),
    ),
    Endpoint::post(
        "hooks.redeliver",
        "/repos/{repo}/hooks/{hook}/deliveries/{delivery}/attempts",
        "Has something delivered again.",
        || of_repo([req("hook", number()), req("delivery", number())]),
    ),
    Endpoint::list("teams.list", "/orgs/{org}/teams", "", "Lists the teams of an organisation.", || {
        paged([req("org", word().max(100))])
    }),
    Endpoint::list("teams.members", "/orgs/{org}/teams/{team}/members", "", "Lists the people of a team.", || {
        paged([req("org", word().max(100)), req("team", word().max(100)), opt("role", choice(&["member", "maintainer", "all"]))])
    }),
    Endpoint::list(
        "checks.list",
        "/repos/{repo}/commits/{ref}/check-runs",
        "check_runs",
        "Lists the check runs of a commit.",
        || paged([req("repo", repo()), req("ref", word().max(250)), opt("check_name", word())]),
    ),
    Endpoint::post("dispatches.create", "/repos/{repo}/dispatches", "Sends an event of our own to workflows.", || {
        of_repo([req("event_type", word().max(100)), opt("client_payload", open_object())])
    }),
];

/// `owner/name`.
pub(super) fn repo() -> Schema {
    word().max(140).pattern(r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$").describe("`owner/name`.")
}

pub(super) fn sha() -> Schema {
    text().pattern("^[0-9a-f]{40}$").describe("Id of a commit, in full.")
}

pub(super) fn number() -> Schema {
    integer().min(1)
}

fn labels() -> Schema {
    list(word().max(100)).max(100)
}

pub(super) fn of_repo<const N: usize>(fields: [Field; N]) -> Schema {
    object([req("repo", repo())].into_iter().chain(fields))
}

fn paged<const N: usize>(fields: [Field; N]) -> Schema {
    object(fields.into_iter().chain([opt("limit", integer().min(1).max(10_000).default(1000))]))
}
