//! `chat.*`.

use serde_json::{Value, json};

use super::{Outcome, Workspace};

impl Workspace {
    pub(super) fn chat(&mut self, method: &str, input: &Value) -> Outcome {
        let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
        let channel = text("channel");
        let known = self.channels.get(&channel).ok_or("channel_not_found")?;
        if known.archived {
            return Err("is_archived");
        }
        let key = (channel.clone(), text("ts"));
        match method {
            "chat.getPermalink" if self.messages.contains_key(&(channel.clone(), text("message_ts"))) => {
                let stamp = text("message_ts").replace('.', "");
                let permalink = format!("https://ghostbusters.slack.com/archives/{channel}/p{stamp}");
                Ok(json!({ "channel": channel, "permalink": permalink }))
            }
            "chat.getPermalink" => Err("message_not_found"),
            "chat.delete" => {
                self.messages.remove(&key).ok_or("message_not_found")?;
                Ok(json!({ "channel": channel, "ts": key.1 }))
            }
            _ if ["text", "blocks", "attachments"].iter().all(|name| input[*name].is_null()) => Err("no_text"),
            "chat.update" => {
                let message = self.messages.get_mut(&key).ok_or("message_not_found")?;
                // What is not said of it stays as it is.
                for (name, value) in input.as_object().into_iter().flatten() {
                    message[name] = value.clone();
                }
                Ok(json!({ "channel": channel, "ts": key.1, "text": input["text"] }))
            }
            "chat.postMessage" => {
                let stamp = self.stamp();
                let mut message = input.clone();
                message["ts"] = stamp.clone().into();
                self.messages.insert((channel.clone(), stamp.clone()), message.clone());
                Ok(json!({ "channel": channel, "ts": stamp, "message": message }))
            }
            "chat.postEphemeral" => {
                self.ephemeral.push(input.clone());
                Ok(json!({ "message_ts": self.stamp() }))
            }
            "chat.scheduleMessage" => {
                if input["post_at"].as_i64().unwrap_or_default() < 1_700_000_000 {
                    return Err("time_in_past");
                }
                self.scheduled.push(input.clone());
                let id = format!("Q{}", self.scheduled.len());
                Ok(json!({ "channel": channel, "scheduled_message_id": id, "post_at": input["post_at"] }))
            }
            _ => Err("unknown_method"),
        }
    }
}
