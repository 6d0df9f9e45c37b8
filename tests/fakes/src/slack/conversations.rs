//! `conversations.*`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Channel, Outcome, Workspace};

impl Workspace {
    pub(super) fn conversation(&mut self, method: &str, input: &Value) -> Outcome {
        let text = |name: &str| input[name].as_str().unwrap_or_default();
        match method {
            "conversations.list" => return self.list(input),
            "conversations.create" => {
                if self.channels.values().any(|channel| channel.name == text("name")) {
                    return Err("name_taken");
                }
                let id = format!("CNEW{:05}", self.channels.len());
                self.channels.insert(id.clone(), Channel::new(text("name")));
                return Ok(json!({ "channel": { "id": id, "name": text("name"), "is_archived": false } }));
            }
            "conversations.open" => {
                let users = text("users").replace(',', "");
                return if users.is_empty() {
                    Err("users_list_not_supplied")
                } else {
                    Ok(json!({ "channel": { "id": format!("D{users}") } }))
                };
            }
            _ => {}
        }
        let id = text("channel");
        let channel = self.channels.get_mut(id).ok_or("channel_not_found")?;
        match method {
            "conversations.archive" if channel.archived => Err("already_archived"),
            "conversations.archive" => {
                channel.archived = true;
                Ok(json!({}))
            }
            _ if channel.archived => Err("is_archived"),
            "conversations.invite" => {
                if text("users").split(',').all(|user| channel.members.contains(user)) {
                    return Err("already_in_channel");
                }
                channel.members.extend(text("users").split(',').map(str::to_owned));
                Ok(json!({ "channel": { "id": id } }))
            }
            "conversations.join" => Ok(json!({ "channel": { "id": id }, "warning": "already_in_channel" })),
            "conversations.setTopic" => {
                channel.topic = text("topic").to_owned();
                Ok(json!({ "channel": { "id": id, "topic": { "value": channel.topic } } }))
            }
            _ => Err("unknown_method"),
        }
    }

    /// Pages of at most `limit`, each with the cursor of the next.
    fn list(&self, input: &Value) -> Outcome {
        let number = |name: &str| input[name].as_str().and_then(|text| text.parse::<usize>().ok());
        let limit = number("limit").unwrap_or(100).clamp(1, 1000);
        let cursor = input["cursor"].as_str().unwrap_or_default();
        let from = match cursor {
            "" => 0,
            cursor => STANDARD
                .decode(cursor)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok()?.strip_prefix("from:")?.parse().ok())
                .ok_or("invalid_cursor")?,
        };
        let channels: Vec<_> = self
            .channels
            .iter()
            .skip(from)
            .take(limit)
            .map(|(id, channel)| json!({ "id": id, "name": channel.name, "is_archived": channel.archived }))
            .collect();
        let next = from + channels.len();
        let next = if next < self.channels.len() { STANDARD.encode(format!("from:{next}")) } else { String::new() };
        Ok(json!({ "channels": channels, "response_metadata": { "next_cursor": next } }))
    }
}
