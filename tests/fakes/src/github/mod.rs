//! GitHub, as far as apps and tokens see it.

mod actions;
mod auth;
mod hooks;
mod issues;
mod oauth;
mod repos;
mod trees;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ring::{
    digest::{SHA256, digest},
    hmac,
};
use serde_json::{Value, json};

use crate::{Fault, Recorded, Reply, Server, Vendor};
pub(crate) use auth::Who;
pub use trees::Entry;
use trees::Trees;

/// GitHub on a free port, with the organisation `acme` and its repository `acme/shop`.
pub struct FakeGithub {
    /// Its listener.
    pub server: Server,
    state: Arc<Vendored>,
}

struct Vendored(Mutex<World>);

#[derive(Default)]
pub(crate) struct World {
    now: i64,
    tokens: BTreeMap<String, i64>,
    minted: u64,
    count: u64,
    remaining: u64,
    refresh: BTreeSet<String>,
    codes: BTreeSet<String>,
    approved: bool,
    branches: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
    issues: BTreeMap<u64, Value>,
    comments: Vec<(u64, Value)>,
    pulls: Vec<Value>,
    checks: BTreeMap<u64, Value>,
    deployments: Vec<Value>,
    cancelled: bool,
    hooks: BTreeMap<u64, Value>,
    deliveries: Vec<Value>,
    /// What was sent, by the id of each delivery.
    sent: BTreeMap<u64, Delivery>,
    /// What is to be sent again.
    outgoing: Vec<Delivery>,
    trees: Trees,
    /// How many of everything that is listed there are.
    fill: usize,
    port: u16,
}

/// A call of GitHub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, the same whenever it is sent again.
    pub guid: String,
    /// What happened.
    pub event: String,
    /// What GitHub says about it.
    pub body: String,
}

/// An answer before its headers; lists are cut into pages.
pub(crate) enum Out {
    Json(u16, Value),
    /// Items, and the field that they are in.
    Pages(Vec<Value>, &'static str),
    Empty(u16),
    Redirect(String),
    /// Text of this kind.
    Text(&'static str, String),
}

impl FakeGithub {
    /// A token of a person that is good.
    pub const TOKEN: &'static str = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
    /// Id, installation and private key of an app.
    pub const APP: (u64, u64, &'static str) = (12345, 42, include_str!("app.pem"));
    /// Id and secret of a client.
    pub const CLIENT: (&'static str, &'static str) = ("Iv1.8a61f9b3a7aba766", "1234567890abcdef1234567890abcdef12345678");
    /// A code that a person came back with.
    pub const CODE: &'static str = "a1b2c3d4e5f6a1b2c3d4";
    /// What it signs its calls with.
    pub const WEBHOOK_SECRET: &'static str = "It's a Secret to Everybody";
    /// The commit that the default branch is at.
    pub const SHA: &'static str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

    /// GitHub at this second since 1970.
    pub async fn start(now: i64) -> Self {
        let mut world = World { now, remaining: 5000, ..World::default() };
        world.tokens.insert(Self::TOKEN.to_owned(), i64::MAX);
        world.codes.insert(Self::CODE.to_owned());
        world.branches.insert("main".to_owned(), Self::SHA.to_owned());
        world.files.insert("README.md".to_owned(), b"# Shop\n".to_vec());
        world.files.insert("CODEOWNERS".to_owned(), b"* @acme/platform\n/infra/ @ada\n".to_vec());
        world.issues.insert(1, json!({ "number": 1, "title": "First", "state": "open", "labels": [] }));
        let check = json!({ "id": 1, "name": "plan", "head_sha": Self::SHA, "status": "queued", "annotations": [] });
        world.checks.insert(1, check);
        world.hooks.insert(
            1,
            json!({ "id": 1, "active": true, "events": ["push"], "config": { "url": "https://freehold.example/in" } }),
        );
        let state = Arc::new(Vendored(Mutex::new(world)));
        let server = Server::start(Arc::clone(&state) as Arc<dyn Vendor>).await;
        state.lock().port = server.port();
        Self { server, state }
    }

    /// The URL of the API as github.com has it.
    pub fn api(&self) -> String {
        self.server.url()
    }

    /// The URL of the API as an Enterprise server has it.
    pub fn enterprise_api(&self) -> String {
        format!("{}/api/v3", self.server.url())
    }

    /// Sets the clock.
    pub fn set_time(&self, now: i64) {
        self.state.lock().now = now;
    }

    /// No token is good any more, and no app known.
    pub fn revoke(&self) {
        let mut world = self.state.lock();
        world.tokens.clear();
        world.minted = u64::MAX;
    }

    /// The tokens that it made for installations are good no more; it makes new ones.
    pub fn revoke_installation_tokens(&self) {
        self.state.lock().tokens.retain(|token, _| !token.starts_with("ghs_"));
    }

    /// How many tokens it has made for installations.
    pub fn minted(&self) -> u64 {
        self.state.lock().minted
    }

    /// Calls that are left in this hour.
    pub fn set_remaining(&self, remaining: u64) {
        self.state.lock().remaining = remaining;
    }

    /// Everything that is listed has so many more items.
    pub fn fill(&self, count: usize) {
        self.state.lock().fill = count;
    }

    /// The person has entered the code for devices.
    pub fn approve_device(&self) {
        self.state.lock().approved = true;
    }

    /// Issues, by number.
    pub fn issues(&self) -> Vec<Value> {
        self.state.lock().issues.values().cloned().collect()
    }

    /// Comments of an issue or a pull request.
    pub fn comments(&self, number: u64) -> Vec<Value> {
        self.state.lock().comments.iter().filter(|(of, _)| *of == number).map(|(_, comment)| comment.clone()).collect()
    }

    /// Somebody else comments.
    pub fn comment_as(&self, login: &str, number: u64, body: &str) {
        self.state.lock().comment(login, None, number, body);
    }

    /// The body of the call by which it tells of a new comment of a person on a pull request, which is there from now on.
    pub fn comment_event(&self, (id, login): (u64, &str), number: u64, text: &str) -> String {
        let (mut comment, now) = {
            let mut world = self.state.lock();
            (world.comment(login, None, number, text), world.now)
        };
        comment["user"] = json!({ "id": id, "login": login, "type": "User" });
        comment["created_at"] = jiff::Timestamp::from_second(now).expect("a time").to_string().into();
        json!({
            "action": "created", "comment": comment, "sender": comment["user"],
            "issue": { "number": number, "pull_request": { "url": format!("{}/repos/acme/shop/pulls/{number}", self.api()) } },
            "repository": { "full_name": "acme/shop" },
        })
        .to_string()
    }

    /// All check runs, by id.
    pub fn check_runs(&self) -> Vec<Value> {
        self.state.lock().checks.values().cloned().collect()
    }

    /// Deployments with their `statuses`, by id.
    pub fn deployments(&self) -> Vec<Value> {
        self.state.lock().deployments.clone()
    }

    /// A check run.
    pub fn check_run(&self, id: u64) -> Option<Value> {
        self.state.lock().checks.get(&id).cloned()
    }

    /// A webhook, with its secret.
    pub fn hook(&self, id: u64) -> Option<Value> {
        self.state.lock().hooks.get(&id).cloned()
    }

    /// Notes an attempt of a delivery, at this second; newer ones come first in lists.
    pub fn delivered(&self, id: u64, guid: &str, event: &str, status: u16, at: i64) {
        let time = jiff::Timestamp::from_second(at).expect("a time").to_string();
        let delivery = json!({ "id": id, "guid": guid, "event": event, "action": null, "delivered_at": time,
                               "status_code": status, "status": if status == 200 { "OK" } else { "Invalid HTTP Response" } });
        self.state.lock().deliveries.insert(0, delivery);
    }

    /// Has sent this, and was answered with this status, or with none, at this second.
    pub fn sent(&self, delivery: &Delivery, status: u16, at: i64) {
        let id = {
            let mut world = self.state.lock();
            let id = 100_000 + world.sent.len() as u64;
            world.sent.insert(id, delivery.clone());
            id
        };
        self.delivered(id, &delivery.guid, &delivery.event, status, at);
    }

    /// What somebody has asked to have sent again, since the last call of this. Whoever sends it says so by [`sent`](Self::sent).
    pub fn outgoing(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.state.lock().outgoing)
    }

    /// A refusal because the hour's limit is used up until this second.
    pub fn primary_limit(reset: i64) -> Fault {
        Fault::Reply(limits(exhausted(), 0, reset, "core"))
    }

    /// A refusal because too much was done at once.
    pub fn secondary_limit(retry_after: u64) -> Fault {
        let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
        Fault::Reply(Reply::json(403, &json!({ "message": message })).with("retry-after", retry_after))
    }

    /// Headers of a call that GitHub makes.
    pub fn sign(body: &str, event: &str, delivery: &str) -> Vec<(String, String)> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, Self::WEBHOOK_SECRET.as_bytes());
        let hex: String = hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = [
            ("X-GitHub-Event", event.to_owned()),
            ("X-GitHub-Delivery", delivery.to_owned()),
            ("X-Hub-Signature-256", format!("sha256={hex}")),
            ("Content-Type", "application/json".to_owned()),
        ];
        headers.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

fn exhausted() -> Reply {
    let message = "API rate limit exceeded for installation ID 42. If you reach out to GitHub Support for help, please include the \
                   request ID.";
    Reply::json(403, &json!({ "message": message, "documentation_url": "https://docs.github.com/rest" }))
}

fn limits(reply: Reply, remaining: u64, reset: i64, resource: &str) -> Reply {
    reply
        .with("x-ratelimit-limit", 5000)
        .with("x-ratelimit-remaining", remaining)
        .with("x-ratelimit-reset", reset)
        .with("x-ratelimit-resource", resource)
}

pub(crate) fn failed(status: u16, message: &str) -> Out {
    Out::Json(
        status,
        json!({ "message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string() }),
    )
}

pub(crate) fn not_found() -> Out {
    failed(404, "Not Found")
}

/// What is wrong with a request, as validation says it.
pub(crate) fn wrong(resource: &str, field: &str, code: &str) -> Out {
    let errors = json!([{ "resource": resource, "field": field, "code": code }]);
    Out::Json(422, json!({ "message": "Validation Failed", "errors": errors }))
}

impl Vendored {
    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vendor for Vendored {
    fn answer(&self, request: &Recorded) -> Reply {
        let mut world = self.lock();
        world.count += 1;
        let id = format!("{:04X}:1A2B:{:08X}", 0xC0DE, world.count);
        let (path, enterprise) = match request.path.strip_prefix("/api/v3") {
            Some(rest) => (rest, true),
            None => (request.path.as_str(), false),
        };
        if let Some(reply) = world.elsewhere(path, request) {
            return reply.with("x-github-request-id", id);
        }
        let who = world.who(request);
        let resource = if path.starts_with("/search") { "search" } else { "core" };
        if world.remaining == 0 {
            return limits(exhausted(), 0, world.now + 3600, resource).with("x-github-request-id", id);
        }
        let out = match who {
            Err(out) => out,
            Ok(who) => world.route(request, path, &who),
        };
        let mut reply = world.render(request, out).with("x-github-request-id", id).with("x-oauth-scopes", "repo, read:org");
        if enterprise {
            reply = reply.with("x-github-enterprise-version", "3.17.2");
        }
        // What has not changed costs nothing.
        if reply.status != 304 {
            world.remaining = world.remaining.saturating_sub(1);
        }
        limits(reply, world.remaining, world.now + 3600, resource)
    }
}

impl World {
    fn route(&mut self, request: &Recorded, path: &str, who: &Who) -> Out {
        let decoded: Vec<_> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let parts: Vec<_> = decoded.iter().map(String::as_str).collect();
        match (request.method.as_str(), parts.as_slice(), who) {
            ("GET", ["app", "installations", "42"], Who::App) => Out::Json(
                200,
                json!({
                    "id": 42, "app_slug": "freehold", "account": { "login": "acme" }, "suspended_at": null,
                    "permissions": { "checks": "write", "contents": "write", "issues": "write" },
                }),
            ),
            ("POST", ["app", "installations", "42", "access_tokens"], Who::App) => {
                self.minted += 1;
                let token = format!("ghs_{:036}", self.minted);
                self.tokens.insert(token.clone(), self.now + 3600);
                let expires = jiff::Timestamp::from_second(self.now + 3600).expect("a time").to_string();
                Out::Json(201, json!({ "token": token, "expires_at": expires, "permissions": { "issues": "write" } }))
            }
            ("GET", ["app", "hook", "deliveries"], Who::App) => self.list_deliveries(),
            ("POST", ["app", "hook", "deliveries", id, "attempts"], Who::App) => self.redeliver(id),
            ("GET", ["app", ..], _) => failed(401, "A JSON web token could not be decoded"),
            (_, _, Who::App) => failed(403, "Resource not accessible by integration"),
            ("GET", ["user"], Who::Person) => Out::Json(200, json!({ "login": "ada", "id": 1, "type": "User" })),
            ("GET", ["user"], _) => failed(403, "Resource not accessible by integration"),
            ("GET", ["user", "repos"], _) => Out::Pages(self.many("full_name", "acme/shop"), ""),
            ("GET", ["installation", "repositories"], _) => Out::Pages(self.many("full_name", "acme/shop"), "repositories"),
            ("GET", ["search", "issues"], _) => Out::Pages(self.many("title", "First"), "items"),
            ("GET", ["orgs", "acme", "teams"], _) => Out::Pages(self.many("slug", "platform"), ""),
            ("GET", ["orgs", "acme", "teams", "platform", "members"], _) => Out::Pages(self.many("login", "ada"), ""),
            ("GET", ["repos", owner, name, "commits", revision], _) if self.trees.has(owner, name) => {
                self.trees.commit(owner, name, revision, request)
            }
            ("GET", ["repos", owner, name, "tarball", revision], _) if self.trees.has(owner, name) => {
                match self.trees.place(owner, name, revision) {
                    Some(path) => self.place(&path),
                    None => not_found(),
                }
            }
            (method, ["repos", "acme", "shop", rest @ ..], who) => self.repo(method, rest, request, who),
            _ => not_found(),
        }
    }

    fn repo(&mut self, method: &str, rest: &[&str], request: &Recorded, who: &Who) -> Out {
        match rest {
            ["issues" | "pulls", ..] => self.issues(method, rest, request, who),
            ["check-runs" | "deployments" | "actions" | "dispatches", ..] | ["commits", _, "check-runs"] => {
                self.actions(method, rest, request, who)
            }
            ["hooks", ..] => self.hooks(method, rest, request),
            _ => self.repository(method, rest, request),
        }
    }

    /// One thing, and as many more as there are to be.
    fn many(&self, name: &str, first: &str) -> Vec<Value> {
        let more = (0..self.fill).map(|index| json!({ "id": index + 2, name: format!("{first}-{index}") }));
        [json!({ "id": 1, name: first })].into_iter().chain(more).collect()
    }

    fn render(&self, request: &Recorded, out: Out) -> Reply {
        match out {
            Out::Json(status, body) if status == 200 && request.method == "GET" => {
                self.conditional(request, Reply::json(200, &body))
            }
            Out::Json(status, body) => Reply::json(status, &body),
            Out::Empty(status) => Reply::text(status, Vec::new()),
            Out::Redirect(target) => Reply::text(302, Vec::new()).with("location", target),
            Out::Text(kind, text) => Reply::text(200, text).with("content-type", kind),
            Out::Pages(items, field) => {
                let number = |name: &str, usual: usize| request.query(name).parse().unwrap_or(usual);
                let (size, page) = (number("per_page", 30).clamp(1, 100), number("page", 1).max(1));
                let total = items.len();
                let part: Vec<_> = items.into_iter().skip((page - 1) * size).take(size).collect();
                let body = if field.is_empty() { Value::Array(part) } else { json!({ "total_count": total, field: part }) };
                let reply = self.conditional(request, Reply::json(200, &body));
                if page * size >= total { reply } else { reply.with("link", self.link(request, page + 1)) }
            }
        }
    }

    fn link(&self, request: &Recorded, page: usize) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(request.query.iter().filter(|(name, _)| name != "page")).append_pair("page", &page.to_string());
        format!(r#"<https://localhost:{}{}?{}>; rel="next""#, self.port, request.path, query.finish())
    }

    fn conditional(&self, request: &Recorded, reply: Reply) -> Reply {
        let hex: String = digest(&SHA256, &reply.body).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let etag = format!("W/\"{hex}\"");
        if request.header("if-none-match") == etag {
            Reply::text(304, Vec::new()).with("etag", etag)
        } else {
            reply.with("etag", etag)
        }
    }
}

fn decode(part: &str) -> String {
    url::form_urlencoded::parse(part.replace('+', "%2B").as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}
