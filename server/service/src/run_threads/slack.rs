//! A run in a channel: one message, changed in place, and a reply under it for what must reach people.

use freehold_domain::{
    Error, Result,
    commands::{APPROVE, Button, DECISION, DECISION_COMMENT, DISCUSS, MAX_COMMENT, REJECT},
    run_threads::{Tone, View, short_digest},
};
use serde_json::{Value, json};

use super::Shown;

/// The name of what our messages carry for programs.
const EVENT: &str = "freehold_run";
/// Messages that are looked through for one that may have been posted.
const LOOKED_THROUGH: u32 = 200;
/// Characters of the text of a message, as Slack takes them.
const LONGEST: usize = 2900;

/// Brings the message of a run up to date. Before it is posted it is written down that it will be: whoever comes after a crash looks
/// for it by its metadata first. Where the bot may not read the channel, that is where a second message cannot be excluded.
pub(super) async fn show(shown: &mut Shown<'_>, channel: &str, view: &View) -> Result<()> {
    let mut message = message(channel, view);
    let run = shown.run.uid().to_string();
    message["metadata"] = json!({ "event_type": EVENT, "event_payload": { "run": run } });
    if shown.known("message").is_none() && shown.known("posting").is_some() {
        find(shown, channel, &run).await?;
    }
    match shown.known("message") {
        None => {
            if shown.known("posting").is_none() {
                shown.know("posting", run).await?;
            }
            let answer = shown.call("messages.alert", message.clone()).await?;
            let ts = answer["ts"].as_str().ok_or_else(|| Error::internal("Slack names no time stamp of a message"))?;
            shown.know("message", ts.to_owned()).await?;
            shown.was_shown("message", &message).await?;
        }
        Some(ts) if !shown.is_shown("message", &message) => {
            let mut changed = message.clone();
            changed["ts"] = ts.into();
            shown.call("messages.alert", changed).await?;
            shown.was_shown("message", &message).await?;
        }
        Some(_) => {}
    }
    reply(shown, channel, view).await
}

/// Finds the message that may have been posted before a crash, and writes it down.
async fn find(shown: &mut Shown<'_>, channel: &str, run: &str) -> Result<()> {
    let input = json!({ "channel": channel, "include_all_metadata": true, "limit": LOOKED_THROUGH });
    let found = match shown.call("messages.history", input).await {
        Ok(found) => found,
        Err(error) if crate::chat::passes(&error) => return Err(error),
        // The bot may not read here.
        Err(_) => return Ok(()),
    };
    let ours = |message: &&Value| {
        message.pointer("/metadata/event_type").and_then(Value::as_str) == Some(EVENT)
            && message.pointer("/metadata/event_payload/run").and_then(Value::as_str) == Some(run)
    };
    let found = found["messages"].as_array().into_iter().flatten().find(ours).and_then(|message| message["ts"].as_str());
    match found {
        Some(ts) => shown.know("message", ts.to_owned()).await,
        None => Ok(()),
    }
}

/// A changed message calls nobody; a reply does, and is given for what somebody waits for.
async fn reply(shown: &mut Shown<'_>, channel: &str, view: &View) -> Result<()> {
    let part = match view.tone {
        Tone::Waits => "reply:waits",
        Tone::Good | Tone::Ended | Tone::Bad => "reply:ended",
        Tone::Busy => return Ok(()),
    };
    let Some(ts) = shown.known("message").filter(|_| !shown.claim.thread.shown.contains_key(part)) else { return Ok(()) };
    let text = format!("*{}*: {}", escape(&view.title), escape(&view.state));
    let input = json!({ "channel": channel, "thread_ts": ts, "text": text });
    shown.call("messages.post", input.clone()).await?;
    shown.was_shown(part, &input).await
}

fn message(channel: &str, view: &View) -> Value {
    let severity = match view.tone {
        Tone::Busy | Tone::Ended => "info",
        Tone::Waits => "warning",
        Tone::Good => "ok",
        Tone::Bad => "error",
    };
    let mut text = escape(&view.state);
    if !view.changes.is_empty() {
        let more = if view.more > 0 { format!("\n… and {} more", view.more) } else { String::new() };
        text += &format!("\n```{}{more}```", escape(&view.changes.join("\n").replace('`', "'")));
    }
    let fields: Vec<Value> = view.facts.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let mut message = json!({
        "channel": channel, "severity": severity, "title": short(&view.title, 150), "text": short(&text, LONGEST), "fields": fields,
    });
    if let Some(link) = &view.link {
        message["link"] = link.as_str().into();
    }
    if let Some(digest) = &view.decision
        && let Some((_, run)) = view.facts.iter().find(|(name, _)| *name == "Run")
    {
        message["blocks"] = json!([buttons(run, digest)]);
    }
    message
}

/// Buttons that are bound to the digest of what is approved: who presses one decides on that plan and no other.
fn buttons(run: &str, digest: &str) -> Value {
    let value = json!(Button { run: run.to_owned(), digest: digest.to_owned(), channel: None }).to_string();
    let button =
        |action: &str, label: &str| json!({ "type": "button", "action_id": action, "value": value, "text": plain(label) });
    let mut buttons = [button(APPROVE, "Approve"), button(REJECT, "Reject"), button(DISCUSS, "With a comment…")];
    buttons[0]["style"] = "primary".into();
    buttons[1]["style"] = "danger".into();
    json!({ "type": "actions", "block_id": "freehold.approval", "elements": buttons })
}

/// A dialog in which to decide as with the buttons, with a comment.
pub(crate) fn dialog(button: &Button) -> Value {
    let option = |action: &str, label: &str| json!({ "text": plain(label), "value": action });
    let decision = json!({
        "type": "input", "block_id": DECISION, "label": plain("Decision"),
        "element": { "type": "radio_buttons", "action_id": DECISION, "options": [option(APPROVE, "Approve"), option(REJECT, "Reject")] },
    });
    let comment = json!({
        "type": "input", "block_id": DECISION_COMMENT, "optional": true, "label": plain("Comment"),
        "element": { "type": "plain_text_input", "action_id": DECISION_COMMENT, "multiline": true, "max_length": MAX_COMMENT },
    });
    let text = format!("*{}*\nplan `{}`", escape(&button.run), escape(&short_digest(&button.digest)));
    let about = json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
    json!({
        "type": "modal", "callback_id": DISCUSS, "private_metadata": json!(button).to_string(), "title": plain("Decide on a plan"),
        "submit": plain("Send"), "close": plain("Cancel"), "blocks": [about, decision, comment],
    })
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text })
}

/// A text that Slack shows as it is.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => text[..at].to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buttons_are_there_while_somebody_has_to_decide_and_nothing_is_markup() {
        let mut view = View {
            title: "APPLY of shop/dev/web".to_owned(),
            tone: Tone::Waits,
            state: "Its plan waits for <!channel>.".to_owned(),
            link: Some("https://freehold.example/t/acme".to_owned()),
            facts: vec![("Run", "shop/dev/web/7".to_owned())],
            changes: vec!["create a```b".to_owned()],
            more: 3,
            decision: Some("sha256:ab".to_owned()),
            apply: None,
        };
        let shown = message("C1", &view);
        assert_eq!(shown["text"], "Its plan waits for &lt;!channel&gt;.\n```create a'''b\n… and 3 more```");
        assert_eq!(shown["link"], "https://freehold.example/t/acme");
        let value = shown["blocks"][0]["elements"][0]["value"].as_str().expect("a button");
        assert_eq!(value, r#"{"run":"shop/dev/web/7","digest":"sha256:ab"}"#);
        view.decision = None;
        assert!(message("C1", &view)["blocks"].is_null());
        assert_eq!(short("äöü", 2), "äö");
    }
}
