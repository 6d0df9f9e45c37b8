//! Check runs, deployments, workflows.

use serde_json::{Value, json};

use super::{FakeGithub, Out, Who, World, failed, not_found, wrong};
use crate::Recorded;

/// The branch or commit that a deployment is of.
fn body_ref(deployment: &Value) -> String {
    deployment["ref"].as_str().unwrap_or_default().to_owned()
}

impl World {
    pub(super) fn actions(&mut self, method: &str, rest: &[&str], request: &Recorded, who: &Who) -> Out {
        let body = request.json();
        match (method, rest) {
            ("GET", ["commits", name, "check-runs"]) => {
                let sha = self.branches.get(*name).map_or(*name, String::as_str);
                let named = request.query("check_name");
                let here = |run: &&Value| run["head_sha"] == sha && (named.is_empty() || run["name"] == named);
                let more = self.many("name", "plan").into_iter().skip(1).filter(|run| named.is_empty() || run["name"] == named);
                Out::Pages(self.checks.values().filter(here).cloned().chain(more).collect(), "check_runs")
            }
            ("POST" | "PATCH", ["check-runs", ..]) if *who == Who::Person => {
                failed(403, "You must authenticate via a GitHub App.")
            }
            ("POST", ["check-runs"]) if body["head_sha"] != FakeGithub::SHA => failed(422, "No commit found for SHA"),
            ("POST", ["check-runs"]) => {
                let id = self.checks.keys().max().map_or(1, |last| last + 1);
                let run = json!({ "id": id, "name": body["name"], "head_sha": body["head_sha"], "status": "queued", "annotations": [],
                                  "html_url": format!("https://github.com/acme/shop/runs/{id}") });
                self.checks.insert(id, run);
                self.check_run(id, &body, 201)
            }
            ("PATCH", ["check-runs", id]) => self.check_run(id.parse().unwrap_or_default(), &body, 200),
            ("POST", ["deployments"]) => {
                let mut deployment = body;
                deployment["id"] = (self.deployments.len() + 1).into();
                let name = body_ref(&deployment);
                deployment["sha"] = self.branches.get(&name).cloned().unwrap_or(name).into();
                deployment["statuses"] = json!([]);
                self.deployments.push(deployment.clone());
                Out::Json(201, deployment)
            }
            ("GET", ["deployments"]) => {
                let is = |one: &Value, name: &str| request.query(name).is_empty() || one[name] == request.query(name);
                let all = self.many("environment", "production").into_iter().chain(self.deployments.iter().cloned());
                Out::Pages(all.filter(|one| ["environment", "sha", "ref", "task"].iter().all(|name| is(one, name))).collect(), "")
            }
            ("POST", ["deployments", id, "statuses"]) => {
                let status =
                    json!({ "id": 1, "state": body["state"], "description": body["description"], "log_url": body["log_url"] });
                let found = self.deployments.iter_mut().find(|one| one["id"].as_u64() == id.parse().ok());
                if let Some(all) = found.and_then(|one| one["statuses"].as_array_mut()) {
                    all.push(status.clone());
                }
                Out::Json(201, status)
            }
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
        for name in ["status", "conclusion", "external_id", "details_url", "output"] {
            if !body[name].is_null() {
                run[name] = body[name].clone();
            }
        }
        if let Some(annotations) = run["annotations"].as_array_mut() {
            annotations.extend(added);
        }
        Out::Json(status, run.clone())
    }
}
