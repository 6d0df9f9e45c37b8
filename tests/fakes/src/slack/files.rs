//! Uploads from outside.

use serde_json::{Value, json};

use super::{Outcome, Upload, Workspace};
use crate::{Recorded, Reply};

impl Workspace {
    pub(super) fn file(&mut self, method: &str, input: &Value) -> Outcome {
        match method {
            "files.getUploadURLExternal" => {
                let length = input["length"].as_str().and_then(|length| length.parse().ok()).ok_or("invalid_arguments")?;
                let name = input["filename"].as_str().ok_or("invalid_arguments")?.to_owned();
                let id = format!("F{:08}", self.uploads.len() + 1);
                self.uploads.insert(id.clone(), Upload { name, length, bytes: None, shared: None });
                let url = format!("https://localhost:{}/upload/v1/{id}", self.port);
                Ok(json!({ "upload_url": url, "file_id": id }))
            }
            "files.completeUploadExternal" => {
                let file = &input["files"][0];
                let id = file["id"].as_str().unwrap_or_default();
                let upload = self.uploads.get_mut(id).ok_or("file_not_found")?;
                if upload.bytes.is_none() || upload.shared.is_some() {
                    return Err("file_not_found");
                }
                upload.shared = Some(input.clone());
                Ok(json!({ "files": [{ "id": id, "title": file["title"] }] }))
            }
            _ => Err("unknown_method"),
        }
    }

    pub(super) fn upload(&mut self, request: &Recorded) -> Reply {
        let id = request.path.rsplit('/').next().unwrap_or_default();
        let Some(upload) = self.uploads.get_mut(id) else { return Reply::text(404, "not found") };
        if request.body.len() != upload.length {
            return Reply::text(400, "length differs");
        }
        upload.bytes = Some(request.body.clone());
        Reply::text(200, format!("OK - {}", request.body.len()))
    }
}
