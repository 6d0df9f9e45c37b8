//! Check runs, deployments, workflows.

use serde_json::{Value, json};

use super::{FakeGithub, Out, World, failed, not_found, wrong};
use crate::Recorded;

impl World {
    pub(super) fn actions(&mut self, method: &str, rest: &[&str], request: &Recorded) -> Out {
        let body = request.json();
        match (method, rest) {
            ("GET", ["commits", _, "check-runs"]) => Out::Pages(self.many("name", "plan"), "check_runs"),
            ("POST", ["check-runs"]) if body["head_sha"] != FakeGithub::SHA => failed(422, "No commit found for SHA"),
            ("POST", ["check-runs"]) => {
                let id = self.checks.keys().max().map_or(1, |last| last + 1);
                let run = json!({ "id": id, "name": body["name"], "status": "queued", "annotations": [],
                                  "html_url": format!("https://github.com/acme/shop/runs/{id}") });
                self.checks.insert(id, run);
                self.check_run(id, &body, 201)
            }
            ("PATCH", ["check-runs", id]) => self.check_run(id.parse().unwrap_or_default(), &body, 200),
            ("POST", ["deployments"]) => {
                let mut deployment = body;
                deployment["id"] = (self.deployments.len() + 1).into();
                self.deployments.push(deployment.clone());
                Out::Json(201, deployment)
            }
            ("GET", ["deployments"]) => Out::Pages(self.many("environment", "production"), ""),
            ("POST", ["deployments", _, "statuses"]) => Out::Json(201, json!({ "id": 1, "state": body["state"] })),
            ("GET", ["actions", "workflows"]) => Out::Pages(self.many("name", "CI"), "workflows"),
            ("POST", ["actions", "workflows", _, "dispatches"]) if !body["ref"].is_string() => {
                wrong("Dispatch", "ref", "missing_field")
            }
            ("POST", ["actions", "workflows", _, "dispatches"]) | ("POST", ["dispatches"]) => Out::Empty(204),
            ("GET", ["actions", "runs"]) => Out::Pages(self.many("name", "CI"), "workflow_runs"),
            ("GET", ["actions", "runs", "30433642"]) => Out::Json(200, json!({ "id": 30_433_642, "status": "in_progress" })),
            ("POST", ["actions", "runs", "30433642", "cancel"]) if self.cancelled => {
                failed(409, "Cannot cancel a workflow run that is completed.")
            }
            ("POST", ["actions", "runs", "30433642", "cancel"]) => {
                self.cancelled = true;
                Out::Json(202, json!({}))
            }
            ("GET", ["actions", "runs", "30433642", "logs"]) => self.place("/blobs/logs.zip"),
            _ => not_found(),
        }
    }

    fn check_run(&mut self, id: u64, body: &Value, status: u16) -> Out {
        let Some(run) = self.checks.get_mut(&id) else { return not_found() };
        let added = body["output"]["annotations"].as_array().cloned().unwrap_or_default();
        if added.len() > 50 {
            return failed(422, "Invalid request.\n\nNo subschema in \"anyOf\" matched. More than 50 items were supplied.");
        }
        if body["output"].is_object() && !body["output"]["title"].is_string() {
            return failed(422, "Invalid request.\n\n\"title\" wasn't supplied.");
        }
        for name in ["status", "conclusion", "external_id"] {
            if body[name].is_string() {
                run[name] = body[name].clone();
            }
        }
        if let Some(annotations) = run["annotations"].as_array_mut() {
            annotations.extend(added);
        }
        Out::Json(status, run.clone())
    }
}
