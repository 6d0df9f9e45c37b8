//! Webhooks and what was delivered to them.

use serde_json::{Value, json};

use super::{Out, World, failed, not_found, wrong};
use crate::Recorded;

impl World {
    pub(super) fn hooks(&mut self, method: &str, rest: &[&str], request: &Recorded) -> Out {
        let body = request.json();
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        match (method, rest) {
            ("GET", ["hooks"]) => Out::Pages(self.many("name", "web"), ""),
            ("POST", ["hooks"]) if body["name"] != "web" => wrong("Hook", "name", "invalid"),
            ("POST", ["hooks"]) => {
                if self.hooks.values().any(|hook| hook["config"]["url"] == body["config"]["url"]) {
                    let errors =
                        json!([{ "resource": "Hook", "code": "custom", "message": "Hook already exists on this repository" }]);
                    return Out::Json(422, json!({ "message": "Validation Failed", "errors": errors }));
                }
                let id = self.hooks.keys().max().map_or(1, |last| last + 1);
                let mut hook = body;
                hook["id"] = id.into();
                self.hooks.insert(id, hook.clone());
                Out::Json(201, masked(hook))
            }
            ("PATCH", ["hooks", id]) => {
                let Some(hook) = self.hooks.get_mut(&number(id)) else { return not_found() };
                for (name, value) in body.as_object().into_iter().flatten() {
                    hook[name] = value.clone();
                }
                Out::Json(200, masked(hook.clone()))
            }
            ("PATCH", ["hooks", id, "config"]) => {
                let Some(hook) = self.hooks.get_mut(&number(id)) else { return not_found() };
                for (name, value) in body.as_object().into_iter().flatten() {
                    hook["config"][name] = value.clone();
                }
                Out::Json(200, masked(hook.clone())["config"].clone())
            }
            ("POST", ["hooks", id, "pings"]) if self.hooks.contains_key(&number(id)) => Out::Empty(204),
            ("GET", ["hooks", _, "deliveries"]) => self.list_deliveries(),
            ("POST", ["hooks", _, "deliveries", id, "attempts"]) => self.redeliver(id),
            _ => not_found(),
        }
    }

    pub(super) fn list_deliveries(&self) -> Out {
        let more = (0..self.fill).map(|index| {
            let time = jiff::Timestamp::from_second(self.now).expect("a time").to_string();
            let guid = format!("more-{index}");
            json!({ "id": 9000 + index, "guid": guid, "event": "push", "delivered_at": time, "status_code": 200 })
        });
        Out::Pages(more.chain(self.deliveries.iter().cloned()).collect(), "")
    }

    pub(super) fn redeliver(&mut self, id: &str) -> Out {
        let Some(mut delivery) = self.deliveries.iter().find(|one| one["id"].as_u64() == id.parse().ok()).cloned() else {
            return failed(404, "Not Found");
        };
        match delivery["id"].as_u64().and_then(|id| self.sent.get(&id)) {
            Some(sent) => self.outgoing.push(sent.clone()),
            // Nobody has said what it is, so it arrives by itself.
            None => {
                (delivery["redelivery"], delivery["status_code"]) = (true.into(), 200.into());
                self.deliveries.insert(0, delivery);
            }
        }
        Out::Json(202, json!({}))
    }
}

/// As it is shown: nobody reads a secret again.
fn masked(mut hook: Value) -> Value {
    if hook["config"]["secret"].is_string() {
        hook["config"]["secret"] = "********".into();
    }
    hook
}
