//! Issues, pull requests, and comments of both.

use serde_json::{Value, json};

use super::{FakeGithub, Out, Who, World, not_found, wrong};
use crate::Recorded;

impl World {
    pub(super) fn issues(&mut self, method: &str, rest: &[&str], request: &Recorded, who: &Who) -> Out {
        let body = request.json();
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        match (method, rest) {
            ("POST", ["issues"]) if !body["title"].is_string() => wrong("Issue", "title", "missing_field"),
            ("POST", ["issues"]) => {
                let number = self.issues.keys().max().map_or(1, |last| last + 1);
                let mut issue = body;
                (issue["number"], issue["state"]) = (number.into(), "open".into());
                issue["html_url"] = format!("https://github.com/acme/shop/issues/{number}").into();
                self.issues.insert(number, issue.clone());
                Out::Json(201, issue)
            }
            ("GET", ["issues", id]) => self.issues.get(&number(id)).map_or_else(not_found, |issue| Out::Json(200, issue.clone())),
            ("PATCH", ["issues", "comments", id]) => {
                let found = self.comments.iter_mut().find(|(_, comment)| comment["id"] == number(id));
                let Some((_, comment)) = found else { return not_found() };
                comment["body"] = body["body"].clone();
                Out::Json(200, comment.clone())
            }
            ("PATCH", ["issues", id]) => {
                let Some(issue) = self.issues.get_mut(&number(id)) else { return not_found() };
                for (name, value) in body.as_object().into_iter().flatten() {
                    issue[name] = value.clone();
                }
                Out::Json(200, issue.clone())
            }
            ("GET", ["issues", id, "comments"]) => {
                let of = number(id);
                let more = (0..self.fill).map(|index| json!({ "id": 9000 + index, "body": "more", "user": { "login": "bob" } }));
                Out::Pages(more.chain(self.comments.iter().filter(|(at, _)| *at == of).map(|(_, one)| one.clone())).collect(), "")
            }
            ("POST", ["issues", id, "comments"]) => {
                let app = (*who == Who::Installation).then_some(FakeGithub::APP.0);
                let login = if app.is_some() { "freehold[bot]" } else { "ada" };
                Out::Json(201, self.comment(login, app, number(id), body["body"].as_str().unwrap_or_default()))
            }
            ("POST", ["issues", id, "labels"]) => {
                let Some(issue) = self.issues.get_mut(&number(id)) else { return not_found() };
                issue["labels"] = body["labels"].clone();
                Out::Json(200, body["labels"].clone())
            }
            ("POST", ["pulls"]) => {
                if self.pulls.iter().any(|pull| pull["head"] == body["head"] && pull["base"] == body["base"]) {
                    let message =
                        format!("A pull request already exists for acme:{}.", body["head"].as_str().unwrap_or_default());
                    let errors = json!([{ "resource": "PullRequest", "code": "custom", "message": message }]);
                    return Out::Json(422, json!({ "message": "Validation Failed", "errors": errors }));
                }
                let mut pull = body;
                pull["number"] = (self.pulls.len() + 2).into();
                self.pulls.push(pull.clone());
                Out::Json(201, pull)
            }
            ("GET", ["pulls"]) => Out::Pages(self.many("title", "First"), ""),
            ("GET", ["pulls", "1"]) => {
                Out::Json(200, json!({ "number": 1, "state": "open", "head": { "sha": FakeGithub::SHA } }))
            }
            ("GET", ["pulls", "1", "files"]) => Out::Pages(self.many("filename", "infra/main.tf"), ""),
            ("GET", ["pulls", "1", "reviews"]) => {
                // Many comment, and one approves at the end.
                let review = |id: usize, login: String, state: &str| json!({ "id": id, "user": { "login": login }, "state": state, "commit_id": FakeGithub::SHA });
                let more = (0..self.fill).map(|index| review(index + 2, format!("user-{index}"), "COMMENTED"));
                Out::Pages(more.chain([review(1, "bob".to_owned(), "APPROVED")]).collect(), "")
            }
            _ => not_found(),
        }
    }

    pub(super) fn comment(&mut self, login: &str, app: Option<u64>, number: u64, body: &str) -> Value {
        self.count += 1;
        let id = self.count;
        let comment = json!({
            "id": id, "body": body, "user": { "login": login }, "performed_via_github_app": app.map(|id| json!({ "id": id })),
            "html_url": format!("https://github.com/acme/shop/issues/{number}#issuecomment-{id}"),
        });
        self.comments.push((number, comment.clone()));
        comment
    }
}
