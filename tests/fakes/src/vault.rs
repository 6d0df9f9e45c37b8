//! A store of secrets with the API of Vault and OpenBao: sign-in by AppRole, and version 2 of the key-value engine.
//!
//! Flows are told with a real server; this one is for what that cannot be made to do.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use crate::{Recorded, Reply, Server, Vendor};

/// The role that it knows, and its secret id.
pub const ROLE: (&str, &str) = ("role-of-a-test", "secret-id-of-a-test");

/// A store on a free port, with `password` at `secret/db/prod`.
pub struct FakeVault {
    /// Its listener.
    pub server: Server,
}

struct State {
    password: String,
    tokens: AtomicUsize,
}

impl FakeVault {
    /// Begins to answer.
    pub async fn start(password: &str) -> Self {
        let state = State { password: password.to_owned(), tokens: AtomicUsize::new(0) };
        Self { server: Server::start(Arc::new(state)).await }
    }
}

impl State {
    fn knows(&self, token: &str) -> bool {
        let number = token.strip_prefix("hvs.").and_then(|number| number.parse::<usize>().ok());
        number.is_some_and(|number| (1..=self.tokens.load(Ordering::SeqCst)).contains(&number))
    }
}

impl Vendor for State {
    fn answer(&self, request: &Recorded) -> Reply {
        let errors = |status, error: &str| Reply::json(status, &json!({ "errors": [error] }));
        let wrapped =
            |data: Value| json!({ "request_id": "1", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data });
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/auth/approle/login") => {
                let body = request.json();
                if (body["role_id"].as_str(), body["secret_id"].as_str()) != (Some(ROLE.0), Some(ROLE.1)) {
                    return errors(400, "invalid role or secret ID");
                }
                let number = self.tokens.fetch_add(1, Ordering::SeqCst) + 1;
                Reply::json(
                    200,
                    &json!({ "auth": { "client_token": format!("hvs.{number}"), "lease_duration": 600 }, "data": null }),
                )
            }
            _ if !self.knows(request.header("x-vault-token")) => self.refusal(),
            ("POST", "/v1/auth/token/revoke-self") => Reply::text(204, Vec::new()),
            ("GET", "/v1/secret/data/db/prod") => {
                let metadata = json!({ "version": 1, "destroyed": false, "deletion_time": "" });
                Reply::json(200, &wrapped(json!({ "data": { "password": self.password }, "metadata": metadata })))
            }
            ("GET", _) => Reply::json(404, &json!({ "errors": [] })),
            _ => errors(405, "unsupported operation"),
        }
    }

    fn refusal(&self) -> Reply {
        Reply::json(403, &json!({ "errors": ["permission denied"] }))
    }
}
