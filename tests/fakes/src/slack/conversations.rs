//! `conversations.*`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Channel, Outcome, Workspace};

impl Workspace {
    pub(super) fn conversation(&mut self, method: &str, input: &Value) -> Outcome {
        let text = |name: &str| input[name].as_str().unwrap_or_default();
        match method {
            "conversations.list" => {
                let channels = self.channels.iter();
                let shown = |(id, channel): (&String, &Channel)| json!({ "id": id, "name": channel.name, "is_archived": channel.archived });
                return page(input, "channels", channels.map(shown).collect());
            }
            "conversations.history" => return self.history(input),
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

    /// Messages of a channel, newest first, without those in threads; their metadata only for whoever asks for it.
    fn history(&self, input: &Value) -> Outcome {
        let text = |name: &str| input[name].as_str().unwrap_or_default();
        if !self.channels.contains_key(text("channel")) {
            return Err("channel_not_found");
        }
        let of_channel = self.messages.iter().rev().filter(|((channel, stamp), message)| {
            channel == text("channel") && stamp.as_str() > text("oldest") && message["thread_ts"].is_null()
        });
        let shown = of_channel.map(|((_, stamp), message)| {
            let mut message = message.clone();
            (message["ts"], message["bot_id"]) = (stamp.as_str().into(), "BZYBOTHED".into());
            if text("include_all_metadata") != "true" {
                message.as_object_mut().map(|fields| fields.remove("metadata"));
            }
            message
        });
        page(input, "messages", shown.collect())
    }
}

/// Pages of at most `limit`, each with the cursor of the next.
fn page(input: &Value, field: &str, all: Vec<Value>) -> Outcome {
    let limit = input["limit"].as_str().and_then(|text| text.parse::<usize>().ok()).unwrap_or(100).clamp(1, 1000);
    let cursor = input["cursor"].as_str().unwrap_or_default();
    let from: usize = match cursor {
        "" => 0,
        cursor => STANDARD
            .decode(cursor)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok()?.strip_prefix("from:")?.parse().ok())
            .ok_or("invalid_cursor")?,
    };
    let (count, next) = (all.len(), from + limit);
    let items: Vec<_> = all.into_iter().skip(from).take(limit).collect();
    let next = if next < count { STANDARD.encode(format!("from:{next}")) } else { String::new() };
    Ok(json!({ field: items, "response_metadata": { "next_cursor": next } }))
}
