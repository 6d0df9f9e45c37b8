//! `smtp`: mail with text, HTML and attachments, over a relay that takes it.

mod message;
mod reply;
mod secret;
mod session;

use freehold_domain::Violation;
use futures::future::{BoxFuture, FutureExt as _};
use lettre::message::Mailbox;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    CheckReport, Connector, ConnectorError, Context, CredentialSlot, Effect, ErrorKind, Halt, Manifest, Operation,
    context::read,
    outbound::{Attempt, Call, Limits},
    schema::{choice, integer, list, object, opt, req, text, word},
};
use message::{Mail, Written};

/// Settings of a connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The relay.
    pub host: String,
    /// Its port; 587, 465 or 25 by the kind of TLS.
    #[serde(default)]
    pub port: Option<u16>,
    /// How the connection is kept secret.
    #[serde(default)]
    pub tls: Tls,
    /// Who mail comes from, for example `Freehold <freehold@example.com>`.
    pub from: String,
    /// Who answers go to.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Who we are to the relay; without it there is no password.
    #[serde(default)]
    pub username: Option<String>,
    /// The name that we say we have.
    #[serde(default)]
    pub hello: Option<String>,
    /// Authorities in PEM that are trusted besides the public ones.
    #[serde(default)]
    pub ca_bundle: Option<String>,
}

/// How a connection is kept secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// It begins in the open and must become secret before anything is said.
    #[default]
    Starttls,
    /// It is secret from its beginning.
    Implicit,
    /// It is not; only where private addresses may be reached.
    None,
}

impl Settings {
    fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::Starttls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        })
    }
}

/// The connector.
pub struct Smtp {
    manifest: Manifest,
}

impl Default for Smtp {
    fn default() -> Self {
        Self::new()
    }
}

impl Smtp {
    /// The connector.
    pub fn new() -> Self {
        let settings = object([
            req("host", word().max(253).describe("The relay.")),
            opt("port", integer().min(1).max(65_535).describe("587, 465 or 25 if nothing is said, by the kind of TLS.")),
            opt("tls", choice(&["starttls", "implicit", "none"]).default("starttls")),
            req("from", word().max(320).describe("Who mail comes from, `Name <address>` or the address alone.")),
            opt("reply_to", word().max(320)),
            opt("username", word().max(320).describe("Who we are to the relay; its password is a credential.")),
            opt("hello", word().max(253).pattern("^[A-Za-z0-9.-]+$").describe("The name that we say we have.")),
            opt("ca_bundle", text().describe("Authorities in PEM that are trusted besides the public ones.")),
        ]);
        let people = || list(word().max(320).describe("`Name <address>` or the address alone.")).max(100);
        let attachment = object([
            req("name", word().max(255).pattern(r"^[^\r\n/\\]+$")),
            req("content_type", word().max(200)),
            req("base64", text()),
        ]);
        let id = || word().max(998).pattern(r"^<[^<>\s]+>$");
        let mail = object([
            req("to", people().min(1)),
            opt("cc", people()),
            opt("bcc", people()),
            req("subject", word().max(500).pattern(r"^[^\r\n]+$")),
            req("text", text().max(1_000_000).describe("What everybody can read.")),
            opt("html", text().max(1_000_000).describe("The same, for those who see HTML.")),
            opt("attachments", list(attachment).max(20)),
            opt("in_reply_to", id().describe("The `message_id` that an earlier mail of the same thread had.")),
        ]);
        let password = CredentialSlot { name: "password", summary: "what the relay knows `username` by", required: false };
        Self {
            manifest: Manifest {
                kind: "smtp",
                display_name: "Mail",
                summary: "Mail over a relay.",
                settings: settings.into_value(),
                credentials: vec![password],
                operations: vec![
                    Operation::new("mail.send", Effect::Keyed, "Sends a mail to all of its receivers or to none.", mail)
                        .output(object([req("message_id", id()), req("reply", text())])),
                ],
                inbound: None,
            },
        }
    }
}

impl Connector for Smtp {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn check(&self, settings: &Value) -> Vec<Violation> {
        let mut found = crate::schema::check(&self.manifest.settings, settings, "");
        for name in ["from", "reply_to"] {
            if settings[name].as_str().is_some_and(|text| text.parse::<Mailbox>().is_err()) {
                found.push(Violation::new(name, "is no address of mail; write `Name <address>` or the address alone"));
            }
        }
        found
    }

    /// Relays count connections, and each mail is one.
    fn limits(&self, _settings: &Value) -> Limits {
        Limits { rate: 5.0, burst: 10, in_flight: 2, request: std::time::Duration::from_secs(60), ..Limits::default() }
    }

    fn perform<'a>(&'a self, cx: &'a Context, _operation: &'static str, input: Value) -> BoxFuture<'a, Result<Value, Halt>> {
        async move {
            let settings: Settings = cx.settings()?;
            let mail: Mail = read(input, "the mail")?;
            let written = message::write(cx, &settings, &mail)?;
            let reply = deliver(cx, &settings, "mail.send", Some(&written)).await?;
            Ok(json!({ "message_id": written.id, "reply": reply }))
        }
        .boxed()
    }

    fn examine<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<CheckReport, Halt>> {
        async move {
            let settings: Settings = cx.settings()?;
            let reply = deliver(cx, &settings, "test", None).await?;
            Ok(CheckReport { identity: settings.username, ..CheckReport::good(format!("{} answers: {reply}", settings.host)) })
        }
        .boxed()
    }
}

/// Gives a mail to the relay, or only looks whether it would take one. With a fresh password once more if it does not accept ours.
async fn deliver(cx: &Context, settings: &Settings, operation: &'static str, mail: Option<&Written>) -> Result<String, Halt> {
    let mut fresh = false;
    loop {
        let credentials = cx.credentials(fresh).await?;
        let login = match &settings.username {
            Some(username) => Some((username.clone(), credentials.require("password")?.to_owned())),
            None => None,
        };
        let delivery = Delivery { cx, settings, operation, mail, login };
        match cx.outbound.make(cx, &delivery).await {
            Err(halt) if !fresh && halt.failure().is_some_and(|error| error.kind == ErrorKind::Auth) => fresh = true,
            other => return other,
        }
    }
}

/// One conversation with the relay.
struct Delivery<'a> {
    cx: &'a Context,
    settings: &'a Settings,
    operation: &'static str,
    mail: Option<&'a Written>,
    login: Option<(String, String)>,
}

impl Attempt for Delivery<'_> {
    type Answer = String;

    fn call(&self) -> Call<'_> {
        let effect = if self.mail.is_some() { Effect::Keyed } else { Effect::Read };
        let keyed = self.mail.is_some_and(|mail| mail.keyed);
        Call { operation: self.operation, effect, keyed, resource: "mail" }
    }

    fn shown(&self) -> Value {
        let Some(mail) = self.mail else { return Value::Null };
        let receivers: Vec<_> = mail.envelope.to().iter().map(ToString::to_string).collect();
        json!({ "relay": self.settings.host, "to": receivers, "message_id": mail.id, "bytes": mail.bytes.len() })
    }

    fn once(&self) -> BoxFuture<'_, Result<String, ConnectorError>> {
        session::talk(self.cx, self.settings, self.login.as_ref(), self.mail).boxed()
    }
}
