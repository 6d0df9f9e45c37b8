//! Slack's calls to us: events, buttons, dialogs, slash commands.

use std::{collections::BTreeMap, time::Duration};

use freehold_domain::commands::{Ask, Button, Command, DECISION, DECISION_COMMENT, DISCUSS, ExternalAccount, Place};
use serde_json::{Value, json};

use crate::{Credentials, Inbound, InboundRequest, Reason, Refused, signature};

/// What is understood; other events are passed on as `event.NAME`.
pub(super) const KINDS: [&str; 7] = [
    "url_verification",
    "event.app_mention",
    "event.app_home_opened",
    "block_actions",
    "view_submission",
    "view_closed",
    "slash",
];

/// How old a call may be, as Slack recommends.
const TOLERANCE: Duration = Duration::from_secs(300);

pub(super) fn verify(credentials: &Credentials, request: &InboundRequest) -> Result<Inbound, Refused> {
    let secret = credentials.require("signing_secret").map_err(|error| Refused::unconfigured(error.message))?;
    let (time, given) = (request.require("x-slack-request-timestamp")?, request.require("x-slack-signature")?);
    let given = given.strip_prefix("v0=").and_then(signature::unhex).ok_or_else(Refused::forged)?;
    if !signature::verify(secret.as_bytes(), &[b"v0:", time.as_bytes(), b":", &request.body], &given) {
        return Err(Refused::forged());
    }
    request.timely(time, TOLERANCE)?;
    if request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        event(request)
    } else {
        form(request)
    }
}

fn event(request: &InboundRequest) -> Result<Inbound, Refused> {
    let payload = request.json()?;
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    if text("/type") == "url_verification" {
        let reply = json!({ "challenge": text("/challenge") });
        let id = text("/challenge");
        return Ok(Inbound { reply: Some(reply), ..Inbound::new(id, "url_verification", request, payload) });
    }
    let (id, kind) = (text("/event_id"), format!("event.{}", text("/event/type")));
    if id.is_empty() {
        return Err(Refused::new(Reason::Malformed, "an event without an id"));
    }
    Ok(Inbound::new(id, kind, request, payload))
}

/// A slash command is a form; an interaction is JSON in the only field of one.
fn form(request: &InboundRequest) -> Result<Inbound, Refused> {
    let fields: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let digest = signature::digest(&request.body);
    if let Some(payload) = fields.get("payload") {
        let payload: Value =
            serde_json::from_str(payload).map_err(|_| Refused::new(Reason::Malformed, "the payload of the form is no JSON"))?;
        let kind = payload["type"].as_str().unwrap_or_default().to_owned();
        let id = payload["trigger_id"].as_str().unwrap_or(&digest).to_owned();
        return Ok(Inbound::new(id, kind, request, payload));
    }
    if !fields.contains_key("text") || !fields.contains_key("command") {
        return Err(Refused::new(Reason::Malformed, "neither a slash command nor an interaction"));
    }
    let id = fields.get("trigger_id").unwrap_or(&digest).clone();
    Ok(Inbound::new(id, "slash", request, json!(fields)))
}

/// The command that somebody typed, or the decision of whoever pressed a button of ours, or sent a dialog of ours. People are known by
/// the workspace that they belong to: an id is unique within one only.
pub(super) fn ask(kind: &str, payload: &Value) -> Option<Ask> {
    let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    let (team, user, name, channel) = match kind {
        "slash" => (text("/team_id"), text("/user_id"), text("/user_name"), text("/channel_id")),
        _ => (text("/user/team_id").or_else(|| text("/team/id")), text("/user/id"), text("/user/username"), text("/channel/id")),
    };
    let command = match kind {
        "slash" => Command::parse(text("/text")?),
        "block_actions" => Command::pressed(text("/actions/0/action_id")?, text("/actions/0/value")?, "")?,
        "view_submission" if text("/view/callback_id") == Some(DISCUSS) => {
            let decision = text(&format!("/view/state/values/{DECISION}/{DECISION}/selected_option/value"))?;
            let comment = text(&format!("/view/state/values/{DECISION_COMMENT}/{DECISION_COMMENT}/value")).unwrap_or_default();
            Command::pressed(decision, text("/view/private_metadata")?, comment)?
        }
        _ => return None,
    };
    // A dialog is in no channel: it says where it was asked for.
    let channel = channel.map(str::to_owned).or_else(|| {
        let button: Button = serde_json::from_str(text("/view/private_metadata")?).ok()?;
        button.channel
    });
    Some(Ask {
        account: ExternalAccount::new(format!("{}/{}", team?, user?), name.unwrap_or_default())?,
        command,
        place: channel.map(|channel| Place::Slack { channel }),
        reply_url: text("/response_url").map(str::to_owned),
        trigger: text("/trigger_id").map(str::to_owned),
        time: None,
    })
}

#[cfg(test)]
mod tests {
    use freehold_domain::time::Timestamp;

    use super::*;

    /// The example of Slack's page "Verifying requests from Slack".
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const AT: i64 = 1_531_420_618;
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
        &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
        &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";

    fn request(signature: &str, at: &str, body: &str, received: i64) -> InboundRequest {
        let headers = [("X-Slack-Signature", signature), ("X-Slack-Request-Timestamp", at)];
        InboundRequest {
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: body.as_bytes().to_vec(),
            received: Timestamp::from_micros(received * 1_000_000),
        }
    }

    #[test]
    fn the_published_example_is_proven_and_nothing_else_is() {
        let credentials = Credentials::none().with("signing_secret", SECRET);
        let at = AT.to_string();
        let good = verify(&credentials, &request(SIGNATURE, &at, BODY, AT + 299)).expect("proven");
        assert_eq!(
            (good.kind.as_str(), good.delivery_id.as_str()),
            ("slash", "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c")
        );
        let ask = ask(&good.kind, &good.payload).expect("a command");
        assert_eq!((ask.account.id.as_str(), ask.account.display_name.as_str()), ("T1DC2JH3J/U2CERLKJA", "roadrunner"));
        assert_eq!((ask.command, ask.place), (Command::Help(None), Some(Place::Slack { channel: "G8PSS9T3V".to_owned() })));
        assert!(ask.reply_url.is_some_and(|url| url.starts_with("https://hooks.slack.com/commands/")));

        for (request, reason) in [
            (request(SIGNATURE, &at, BODY, AT + 301), Reason::Late),
            (request(SIGNATURE, &at, BODY, AT - 301), Reason::Late),
            (request(SIGNATURE, &(AT + 1).to_string(), BODY, AT), Reason::Forged),
            (request(SIGNATURE, &at, "text=approve&command=x", AT), Reason::Forged),
            (request(&SIGNATURE.replace("v0=", ""), &at, BODY, AT), Reason::Forged),
            (request("v0=", &at, BODY, AT), Reason::Forged),
            (InboundRequest { headers: Vec::new(), ..request(SIGNATURE, &at, BODY, AT) }, Reason::Missing),
        ] {
            assert_eq!(verify(&credentials, &request).expect_err("not proven").reason, reason, "{request:?}");
        }
    }
}
