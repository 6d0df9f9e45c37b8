//! What is not the API: grants, and places where bytes are kept.

use serde_json::{Value, json};

use super::{FakeGithub, World};
use crate::{Recorded, Reply};

impl World {
    pub(super) fn elsewhere(&mut self, path: &str, request: &Recorded) -> Option<Reply> {
        match path {
            "/login/oauth/access_token" => Some(Reply::json(200, &self.access_token(request))),
            "/login/device/code" => Some(Reply::json(200, &self.device_code(request))),
            "/codeload/shop.tar.gz" | "/blobs/logs.zip" => Some(stored(request)),
            _ => self.trees.bytes(path).map(|bytes| kept(request, bytes)),
        }
    }

    fn access_token(&mut self, request: &Recorded) -> Value {
        let error = |code: &str, description: &str| json!({ "error": code, "error_description": description });
        let (id, secret) = FakeGithub::CLIENT;
        if request.form_field("client_id") != id {
            return error("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.");
        }
        match request.form_field("grant_type").as_str() {
            "urn:ietf:params:oauth:grant-type:device_code" if request.form_field("device_code") != DEVICE => {
                error("incorrect_device_code", "The device_code provided is not valid.")
            }
            "urn:ietf:params:oauth:grant-type:device_code" if self.approved => self.grant(),
            "urn:ietf:params:oauth:grant-type:device_code" => {
                error("authorization_pending", "The authorization request is still pending.")
            }
            _ if request.form_field("client_secret") != secret => {
                error("incorrect_client_credentials", "The client_id and/or client_secret passed are incorrect.")
            }
            "refresh_token" if self.refresh.remove(&request.form_field("refresh_token")) => self.grant(),
            "refresh_token" => error("bad_refresh_token", "The refresh token passed is incorrect or expired."),
            _ if self.codes.remove(&request.form_field("code")) => self.grant(),
            _ => error("bad_verification_code", "The code passed is incorrect or expired."),
        }
    }

    fn grant(&mut self) -> Value {
        self.count += 1;
        let (token, refresh) = (format!("ghu_{:036}", self.count), format!("ghr_{:076}", self.count));
        self.tokens.insert(token.clone(), self.now + 28_800);
        self.refresh.insert(refresh.clone());
        json!({ "access_token": token, "expires_in": 28_800, "refresh_token": refresh, "refresh_token_expires_in": 15_897_600,
                "scope": "", "token_type": "bearer" })
    }

    fn device_code(&self, request: &Recorded) -> Value {
        if request.form_field("client_id") != FakeGithub::CLIENT.0 {
            return json!({ "error": "incorrect_client_credentials", "error_description": "unknown client" });
        }
        json!({ "device_code": DEVICE, "user_code": "WDJB-MJHT", "verification_uri": "https://github.com/login/device",
                "expires_in": 900, "interval": 5 })
    }
}

const DEVICE: &str = "3584d83530557fdd1f46af8289938c8ef79f9dc5";

/// Whoever sends a token here has given it to somebody else.
fn stored(request: &Recorded) -> Reply {
    kept(request, (0..=255).cycle().take(10_000).collect())
}

fn kept(request: &Recorded, bytes: Vec<u8>) -> Reply {
    if !request.header("authorization").is_empty() || request.query("token") != "ABC" {
        return Reply::text(400, "InvalidAuthenticationInfo");
    }
    Reply::text(200, bytes).with("content-type", "application/octet-stream")
}
