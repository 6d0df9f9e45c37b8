//! Slack, as far as bots see it.

mod conversations;
mod files;
mod messages;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::{Value, json};

use crate::{Fault, Recorded, Reply, Server, Vendor};

/// A workspace on a free port.
pub struct FakeSlack {
    /// Its listener.
    pub server: Server,
    state: Arc<Vendored>,
}

struct Vendored(Mutex<Workspace>);

/// What is in the workspace.
#[derive(Default)]
pub(crate) struct Workspace {
    tokens: BTreeSet<String>,
    refresh: BTreeSet<String>,
    codes: BTreeSet<String>,
    channels: BTreeMap<String, Channel>,
    messages: BTreeMap<(String, String), Value>,
    ephemeral: Vec<Value>,
    scheduled: Vec<Value>,
    posted: Vec<Value>,
    uploads: BTreeMap<String, Upload>,
    triggers: BTreeSet<String>,
    views: Vec<Value>,
    port: u16,
    count: u64,
}

pub(crate) struct Channel {
    name: String,
    members: BTreeSet<String>,
    archived: bool,
    topic: String,
}

#[derive(Clone)]
pub(crate) struct Upload {
    name: String,
    length: usize,
    bytes: Option<Vec<u8>>,
    shared: Option<Value>,
}

/// What a method answers: fields beside `"ok": true`, or the name of an error.
pub(crate) type Outcome = Result<Value, &'static str>;

impl FakeSlack {
    /// The bot's token that is good.
    pub const TOKEN: &'static str = "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcBrzbqgy";
    /// What it signs its calls with.
    pub const SIGNING_SECRET: &'static str = "8f742231b10e8888abcd99yyyzzz85a5";
    /// Id and secret of the app.
    pub const CLIENT: (&'static str, &'static str) = ("3336676.569200954261", "ab1cd2ef3gh4ij5kl6mn7op8qr9st0uv");
    /// A code that a person came back with.
    pub const CODE: &'static str = "1234567890.987654321.abcdef";

    /// A workspace with the channels `C0GENERAL` and `C0ALERTS`, which the bot is in, and one person, ada@example.com.
    pub async fn start() -> Self {
        let mut workspace = Workspace::default();
        workspace.tokens.insert(Self::TOKEN.to_owned());
        workspace.codes.insert(Self::CODE.to_owned());
        workspace.triggers.insert("13345224609.738474920.8088930838d88f008e0".to_owned());
        for (id, name) in [("C0GENERAL", "general"), ("C0ALERTS", "alerts")] {
            workspace.channels.insert(id.to_owned(), Channel::new(name));
        }
        let state = Arc::new(Vendored(Mutex::new(workspace)));
        let server = Server::start(Arc::clone(&state) as Arc<dyn Vendor>).await;
        state.lock().port = server.port();
        Self { server, state }
    }

    /// The URL of the API, for the setting `base_url`.
    pub fn api(&self) -> String {
        format!("{}/api", self.server.url())
    }

    /// The URL of an incoming webhook.
    pub fn webhook(&self) -> String {
        format!("{}/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", self.server.url())
    }

    /// No token is good any more.
    pub fn revoke(&self) {
        self.state.lock().tokens.clear();
    }

    /// Adds so many channels.
    pub fn add_channels(&self, count: usize) {
        let mut workspace = self.state.lock();
        for index in 0..count {
            workspace.channels.insert(format!("CMORE{index:05}"), Channel::new(&format!("more-{index}")));
        }
    }

    /// Adds so many messages to the channel `C0ALERTS`.
    pub fn add_messages(&self, count: usize) {
        let mut workspace = self.state.lock();
        for index in 0..count {
            let stamp = workspace.stamp();
            let message = json!({ "channel": "C0ALERTS", "text": format!("message {index}"), "ts": stamp });
            workspace.messages.insert(("C0ALERTS".to_owned(), stamp), message);
        }
    }

    /// The body of a call by which a person, `U…` of the workspace `T0G9PQBBK`, sends a slash command in a channel.
    pub fn slash(&self, user: &str, channel: &str, text: &str, trigger: &str) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("team_id", "T0G9PQBBK")
            .append_pair("channel_id", channel)
            .append_pair("user_id", user)
            .append_pair("user_name", &user.to_lowercase())
            .append_pair("command", "/iac")
            .append_pair("text", text)
            .append_pair("response_url", &self.response_url(trigger))
            .append_pair("trigger_id", trigger)
            .finish()
    }

    /// The body of a call by which a person presses the button with this `action_id` of a message that is there; nothing when the
    /// message has none.
    pub fn press(&self, user: &str, message: &Value, action: &str, trigger: &str) -> Option<String> {
        self.state.lock().triggers.insert(trigger.to_owned());
        let blocks = message["attachments"].as_array()?.iter().flat_map(|attachment| attachment["blocks"].as_array());
        let mut buttons = blocks.flatten().flat_map(|block| block["elements"].as_array()).flatten();
        let button = buttons.find(|button| button["action_id"] == action)?;
        let payload = json!({
            "type": "block_actions", "trigger_id": trigger, "response_url": self.response_url(trigger),
            "user": { "id": user, "username": user.to_lowercase(), "team_id": "T0G9PQBBK" },
            "team": { "id": "T0G9PQBBK", "domain": "subarachnoid" }, "channel": { "id": message["channel"], "name": "alerts" },
            "container": { "type": "message", "message_ts": message["ts"], "channel_id": message["channel"] },
            "message": message,
            "actions": [{ "action_id": action, "block_id": "b", "type": "button", "value": button["value"], "action_ts": "1.2" }],
        });
        Some(url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish())
    }

    /// The body of a call by which a person sends a dialog: what they chose and wrote, by block.
    pub fn submit(&self, user: &str, view: &Value, chosen: (&str, &str), written: (&str, &str), trigger: &str) -> String {
        let mut view = view.clone();
        view["state"]["values"][chosen.0][chosen.0] =
            json!({ "type": "radio_buttons", "selected_option": { "value": chosen.1 } });
        view["state"]["values"][written.0][written.0] = json!({ "type": "plain_text_input", "value": written.1 });
        let payload = json!({
            "type": "view_submission", "trigger_id": trigger, "team": { "id": "T0G9PQBBK", "domain": "subarachnoid" },
            "user": { "id": user, "username": user.to_lowercase(), "team_id": "T0G9PQBBK" }, "view": view, "response_urls": [],
        });
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &payload.to_string()).finish()
    }

    /// Dialogs and homes that were shown.
    pub fn views(&self) -> Vec<Value> {
        self.state.lock().views.clone()
    }

    /// Messages that one person saw.
    pub fn ephemeral(&self) -> Vec<Value> {
        self.state.lock().ephemeral.clone()
    }

    fn response_url(&self, trigger: &str) -> String {
        format!("{}/actions/T0G9PQBBK/{trigger}/abcdef", self.server.url())
    }

    /// The messages that are there, by time stamp.
    pub fn messages(&self) -> Vec<Value> {
        self.state.lock().messages.values().cloned().collect()
    }

    /// Messages that came by the incoming webhook and by URLs of responses.
    pub fn posted(&self) -> Vec<Value> {
        self.state.lock().posted.clone()
    }

    /// Name, bytes and where it was shared, of each file that is whole.
    pub fn files(&self) -> Vec<(String, Vec<u8>, Value)> {
        let workspace = self.state.lock();
        let whole = |upload: &Upload| Some((upload.name.clone(), upload.bytes.clone()?, upload.shared.clone()?));
        workspace.uploads.values().filter_map(whole).collect()
    }

    /// A failure of a method, which Slack says with status 200.
    pub fn error(code: &str) -> Fault {
        Fault::Reply(Reply::json(200, &json!({ "ok": false, "error": code })))
    }

    /// A refusal for too many calls.
    pub fn throttle(seconds: u64) -> Fault {
        Fault::Reply(Reply::json(429, &json!({ "ok": false, "error": "ratelimited" })).with("retry-after", seconds))
    }

    /// Headers and body of a call that Slack makes, signed at this second.
    pub fn sign(body: &str, seconds: i64, kind: &str) -> Vec<(String, String)> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, Self::SIGNING_SECRET.as_bytes());
        let signature = hmac::sign(&key, format!("v0:{seconds}:{body}").as_bytes());
        let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = [
            ("X-Slack-Request-Timestamp", seconds.to_string()),
            ("X-Slack-Signature", format!("v0={hex}")),
            ("Content-Type", kind.to_owned()),
        ];
        headers.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }
}

impl Channel {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), members: BTreeSet::new(), archived: false, topic: String::new() }
    }
}

impl Vendored {
    fn lock(&self) -> MutexGuard<'_, Workspace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vendor for Vendored {
    fn answer(&self, request: &Recorded) -> Reply {
        let mut workspace = self.lock();
        workspace.count += 1;
        let id = format!("{:032x}", workspace.count);
        if let Some(method) = request.path.strip_prefix("/api/") {
            let outcome = if method == "oauth.v2.access" { workspace.oauth(request) } else { workspace.method(method, request) };
            let body = match outcome {
                Ok(mut fields) => {
                    fields["ok"] = true.into();
                    fields
                }
                Err("missing_scope") => {
                    json!({ "ok": false, "error": "missing_scope", "needed": "users:read.email", "provided": "chat:write" })
                }
                Err(code) => json!({ "ok": false, "error": code }),
            };
            return Reply::json(200, &body)
                .with("x-slack-req-id", id)
                .with("x-oauth-scopes", "chat:write,channels:manage,channels:read,files:write");
        }
        if request.path.starts_with("/upload/v1/") {
            return workspace.upload(request);
        }
        if request.path.starts_with("/services/") || request.path.starts_with("/actions/") {
            return workspace.webhook(request);
        }
        Reply::text(404, "not found")
    }
}

impl Workspace {
    fn method(&mut self, method: &str, request: &Recorded) -> Outcome {
        let token = request.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        if token.is_empty() {
            return Err("not_authed");
        }
        if !self.tokens.contains(token) {
            return Err("invalid_auth");
        }
        let input = input(request)?;
        match method {
            "auth.test" => {
                Ok(json!({ "url": "https://subarachnoid.slack.com/", "team": "Subarachnoid Workspace", "user": "freehold",
                "team_id": "T0G9PQBBK", "user_id": "W23456789", "bot_id": "BZYBOTHED" }))
            }
            "users.lookupByEmail" if input["email"] == "ada@example.com" => {
                Ok(json!({ "user": { "id": "W012A3CDE", "name": "ada", "profile": { "email": "ada@example.com" } } }))
            }
            "users.lookupByEmail" => Err("users_not_found"),
            "usergroups.list" => {
                Ok(json!({ "usergroups": [{ "id": "S0614TZR7", "handle": "platform", "users": ["W012A3CDE"] }] }))
            }
            "usergroups.users.list" if input["usergroup"] == "S0614TZR7" => Ok(json!({ "users": ["W012A3CDE"] })),
            "usergroups.users.list" => Err("no_such_subteam"),
            "views.open" => {
                let trigger = input["trigger_id"].as_str().unwrap_or_default();
                if !self.triggers.remove(trigger) {
                    return Err("expired_trigger_id");
                }
                self.view(&input)
            }
            "views.publish" => self.view(&input),
            _ if method.starts_with("chat.") => self.chat(method, &input),
            _ if method.starts_with("conversations.") => self.conversation(method, &input),
            _ if method.starts_with("files.") => self.file(method, &input),
            _ => Err("unknown_method"),
        }
    }

    fn view(&mut self, input: &Value) -> Outcome {
        if !input["view"]["type"].is_string() {
            return Err("invalid_arguments");
        }
        self.views.push(input["view"].clone());
        Ok(json!({ "view": { "id": format!("VMHU10V{}", self.views.len()), "type": input["view"]["type"] } }))
    }

    fn oauth(&mut self, request: &Recorded) -> Outcome {
        let (id, secret) = FakeSlack::CLIENT;
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        if request.header("authorization") != basic {
            return Err("bad_client_secret");
        }
        let good = if request.form_field("grant_type") == "refresh_token" {
            self.refresh.remove(&request.form_field("refresh_token")).then_some(()).ok_or("invalid_refresh_token")
        } else {
            self.codes.remove(&request.form_field("code")).then_some(()).ok_or("invalid_code")
        };
        good?;
        self.count += 1;
        let (token, refresh) = (format!("xoxe.xoxb-1-token-{}", self.count), format!("xoxe-1-refresh-{}", self.count));
        self.tokens.insert(token.clone());
        self.refresh.insert(refresh.clone());
        Ok(json!({
            "access_token": token, "token_type": "bot", "scope": "chat:write,channels:read", "bot_user_id": "U0KRQLJ9H",
            "app_id": "A0KRD7HC3", "expires_in": 43_200, "refresh_token": refresh,
            "team": { "name": "Slack Softball Team", "id": "T9TK3CUKW" }, "enterprise": null,
        }))
    }

    fn webhook(&mut self, request: &Recorded) -> Reply {
        if request.path.contains("/gone/") {
            return Reply::text(404, "no_service");
        }
        let body = request.json();
        if !body.is_object() {
            return Reply::text(400, "invalid_payload");
        }
        if ["text", "blocks", "attachments", "delete_original"].iter().all(|name| body[*name].is_null()) {
            return Reply::text(400, "no_text");
        }
        self.posted.push(body);
        Reply::text(200, "ok")
    }

    fn stamp(&mut self) -> String {
        self.count += 1;
        format!("1503435956.{:06}", self.count)
    }
}

/// The arguments of a call: JSON of a POST, or a query.
fn input(request: &Recorded) -> Result<Value, &'static str> {
    if request.method == "GET" {
        return Ok(request.query.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect());
    }
    let kind = request.header("content-type");
    if kind.starts_with("application/json") {
        let body = request.json();
        return if body.is_object() { Ok(body) } else { Err("json_not_object") };
    }
    if kind.starts_with("application/x-www-form-urlencoded") {
        return Ok(request.form().into_iter().map(|(name, value)| (name, Value::String(value))).collect());
    }
    Err("missing_post_type")
}
