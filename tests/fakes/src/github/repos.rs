//! Repositories: branches, commits, files.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{FakeGithub, Out, World, failed, not_found, wrong};
use crate::Recorded;

impl World {
    pub(super) fn repository(&mut self, method: &str, rest: &[&str], request: &Recorded) -> Out {
        match (method, rest) {
            ("GET", []) => Out::Json(200, json!({ "full_name": "acme/shop", "default_branch": "main", "private": true })),
            ("GET", ["branches"]) => Out::Pages(self.many("name", "main"), ""),
            ("GET", ["tags"]) => Out::Pages(self.many("name", "v1.0.0"), ""),
            ("GET", ["commits"]) => Out::Pages(self.many("sha", FakeGithub::SHA), ""),
            ("GET", ["commits", name]) if self.branches.contains_key(*name) || *name == FakeGithub::SHA => {
                Out::Json(200, json!({ "sha": FakeGithub::SHA, "commit": { "message": "First" } }))
            }
            ("GET", ["compare", names]) if names.contains("...") => {
                Out::Json(200, json!({ "status": "ahead", "ahead_by": 1, "files": [] }))
            }
            ("POST", ["git", "refs"]) => self.create_ref(&request.json()),
            ("GET", ["tarball", sha]) if *sha == FakeGithub::SHA => self.place("/codeload/shop.tar.gz"),
            ("GET", ["contents", path @ ..]) => self.read(&path.join("/")),
            ("PUT", ["contents", path @ ..]) => self.write(&path.join("/"), &request.json()),
            _ => not_found(),
        }
    }

    pub(super) fn place(&self, path: &str) -> Out {
        Out::Redirect(format!("https://localhost:{}{path}?token=ABC", self.port))
    }

    fn create_ref(&mut self, body: &Value) -> Out {
        let Some(name) = body["ref"].as_str().and_then(|name| name.strip_prefix("refs/heads/")) else {
            return wrong("Reference", "ref", "invalid");
        };
        if self.branches.contains_key(name) {
            return failed(422, "Reference already exists");
        }
        self.branches.insert(name.to_owned(), body["sha"].as_str().unwrap_or_default().to_owned());
        Out::Json(201, json!({ "ref": body["ref"], "object": { "type": "commit", "sha": body["sha"] } }))
    }

    fn read(&self, path: &str) -> Out {
        let Some(bytes) = self.files.get(path) else { return not_found() };
        // GitHub breaks lines after sixty characters.
        let encoded = STANDARD.encode(bytes);
        let lines: Vec<_> = encoded.as_bytes().chunks(60).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        Out::Json(
            200,
            json!({ "type": "file", "path": path, "sha": blob(bytes), "encoding": "base64", "content": lines.join("\n") + "\n" }),
        )
    }

    fn write(&mut self, path: &str, body: &Value) -> Out {
        let Some(bytes) = body["content"].as_str().and_then(|content| STANDARD.decode(content).ok()) else {
            return failed(422, "content is not valid Base64");
        };
        match (self.files.get(path), body["sha"].as_str()) {
            (Some(_), None) => return failed(422, "Invalid request.\n\n\"sha\" wasn't supplied."),
            (Some(old), Some(sha)) if blob(old) != sha => return failed(409, &format!("{path} does not match {sha}")),
            _ => {}
        }
        let sha = blob(&bytes);
        self.files.insert(path.to_owned(), bytes);
        Out::Json(
            201,
            json!({ "content": { "path": path, "sha": sha }, "commit": { "sha": FakeGithub::SHA, "message": body["message"] } }),
        )
    }
}

fn blob(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}
