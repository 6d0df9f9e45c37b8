//! A receiver of webhooks that believes only what is signed as Standard Webhooks says.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use ring::hmac;
use serde_json::{Value, json};

use crate::{Recorded, Reply, Server, Vendor};

/// A receiver on a free port.
pub struct Receiver {
    /// Its listener.
    pub server: Server,
    state: Arc<State>,
}

struct State {
    key: Mutex<hmac::Key>,
    seen: Mutex<BTreeSet<String>>,
    deliveries: Mutex<Vec<Value>>,
}

impl Receiver {
    /// Begins to receive what is signed with this secret, `whsec_…`.
    pub async fn start(secret: &str) -> Self {
        let state = Arc::new(State { key: Mutex::new(key(secret)), seen: Mutex::default(), deliveries: Mutex::default() });
        Self { server: Server::start(Arc::clone(&state) as Arc<dyn Vendor>).await, state }
    }

    /// Believes another secret from now on.
    pub fn change_secret(&self, secret: &str) {
        *self.state.key.lock().unwrap_or_else(PoisonError::into_inner) = key(secret);
    }

    /// The bodies of what was delivered: each id once, however often it came.
    pub fn deliveries(&self) -> Vec<Value> {
        self.state.deliveries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn key(secret: &str) -> hmac::Key {
    let encoded = secret.trim_start_matches("whsec_").trim_end_matches('=');
    hmac::Key::new(hmac::HMAC_SHA256, &STANDARD_NO_PAD.decode(encoded).expect("the secret of a test is base64"))
}

impl Vendor for State {
    fn answer(&self, request: &Recorded) -> Reply {
        let id = request.header("webhook-id");
        let head = format!("{id}.{}.", request.header("webhook-timestamp"));
        let signed = [head.as_bytes(), &request.body].concat();
        let key = self.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let proven = request.header("webhook-signature").split(' ').any(|one| {
            let signature = one.strip_prefix("v1,").and_then(|one| STANDARD.decode(one).ok());
            signature.is_some_and(|signature| hmac::verify(&key, &signed, &signature).is_ok())
        });
        if !proven {
            return self.refusal();
        }
        if self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned()) {
            self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).push(request.json());
        }
        Reply::json(202, &json!({ "accepted": id })).with("set-cookie", "session=not-for-everybody")
    }

    fn refusal(&self) -> Reply {
        Reply::json(401, &json!({ "message": "signature does not match" }))
    }
}
