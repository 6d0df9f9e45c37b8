//! Messages that Freehold writes.

use serde_json::{Value, json};

/// How bad an alert is, from best to worst.
pub(super) const SEVERITIES: [&str; 5] = ["ok", "info", "warning", "error", "critical"];

/// The colour of a severity, as hex.
pub(super) fn colour(severity: &str) -> &'static str {
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

/// A text that Slack shows as it is.
pub(super) fn escape(text: &str) -> String {
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
