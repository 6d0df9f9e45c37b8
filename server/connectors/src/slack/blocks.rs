//! Messages that Freehold writes.

use freehold_domain::commands::{APPROVE, Button};
use serde_json::{Value, json};

/// How bad an alert is, from best to worst.
pub const SEVERITIES: [&str; 5] = ["ok", "info", "warning", "error", "critical"];

/// The colour of a severity, as hex.
pub fn colour(severity: &str) -> &'static str {
    match severity {
        "ok" => "#2eb67d",
        "warning" => "#ecb22e",
        "error" => "#e01e5a",
        "critical" => "#8b0000",
        _ => "#36c5f0",
    }
}

/// The message of an alert: coloured at its edge, and readable where only its text is shown.
pub(super) fn alert(input: &Value) -> Value {
    let text = |name: &str| input[name].as_str().unwrap_or_default();
    let severity = text("severity");
    let title = match text("link") {
        "" => format!("*{}*", escape(text("title"))),
        link => format!("*<{link}|{}>*", escape(text("title"))),
    };
    let body = if text("text").is_empty() { title } else { format!("{title}\n{}", text("text")) };
    let mut blocks = vec![json!({ "type": "section", "text": { "type": "mrkdwn", "text": body } })];
    if let Some(fields) = input["fields"].as_array().filter(|fields| !fields.is_empty()) {
        let field = |field: &Value| {
            let (name, value) = (field["name"].as_str().unwrap_or_default(), field["value"].as_str().unwrap_or_default());
            json!({ "type": "mrkdwn", "text": format!("*{}*\n{}", escape(name), escape(value)) })
        };
        blocks.push(json!({ "type": "section", "fields": fields.iter().map(field).collect::<Vec<_>>() }));
    }
    blocks.extend(input["blocks"].as_array().into_iter().flatten().cloned());
    let fallback = format!("{}: {}", severity.to_uppercase(), escape(text("title")));
    json!({ "text": fallback, "attachments": [{ "color": colour(severity), "fallback": fallback, "blocks": blocks }] })
}

/// A dialog for a decision on a plan, with a comment; [`APPROVE`] or [`REJECT`](freehold_domain::commands::REJECT) says which. For
/// `views.open`.
pub fn approval_dialog(action: &str, run: &str, digest: &str) -> Value {
    let plain = |text: &str| json!({ "type": "plain_text", "text": text });
    let label = if action == APPROVE { "Approve" } else { "Reject" };
    let comment = json!({
        "type": "input", "block_id": COMMENT, "optional": true, "label": plain("Comment"),
        "element": { "type": "plain_text_input", "action_id": COMMENT, "multiline": true, "max_length": 1000 },
    });
    let about =
        json!({ "type": "section", "text": { "type": "mrkdwn", "text": format!("*{}*\n`{}`", escape(run), escape(digest)) } });
    let button = json!(Button { run: run.to_owned(), digest: digest.to_owned() });
    json!({
        "type": "modal", "callback_id": action, "private_metadata": button.to_string(),
        "title": plain(label), "submit": plain(label), "close": plain("Cancel"), "blocks": [about, comment],
    })
}

/// Where the comment of a dialog is.
pub(super) const COMMENT: &str = "freehold.comment";

/// A text that Slack shows as it is.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_has_its_colour_and_nothing_in_it_is_markup() {
        let message = alert(&json!({
            "severity": "critical", "title": "<!channel> & co", "link": "https://freehold.example/runs/7",
            "fields": [{ "name": "tenant", "value": "<@U1>" }], "blocks": [{ "type": "divider" }],
        }));
        let attachment = &message["attachments"][0];
        assert_eq!(attachment["color"], "#8b0000");
        assert_eq!(message["text"], "CRITICAL: &lt;!channel&gt; &amp; co");
        let blocks = &attachment["blocks"];
        assert_eq!(blocks[0]["text"]["text"], "*<https://freehold.example/runs/7|&lt;!channel&gt; &amp; co>*");
        assert_eq!(blocks[1]["fields"][0]["text"], "*tenant*\n&lt;@U1&gt;");
        assert_eq!(blocks[2]["type"], "divider");
    }
}
