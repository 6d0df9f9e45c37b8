//! GitHub's calls to us.

use freehold_domain::commands::{Ask, Command, ExternalAccount, Place};
use serde_json::Value;

use super::comments::MARKER;
use crate::{Credentials, Inbound, InboundRequest, Reason, Refused, signature};

/// What is understood; other events are passed on as they are.
pub(super) const KINDS: [&str; 12] = [
    "ping",
    "push",
    "pull_request.opened",
    "pull_request.synchronize",
    "pull_request.reopened",
    "pull_request.closed",
    "issue_comment.created",
    "check_run.rerequested",
    "check_run.requested_action",
    "installation.created",
    "installation.deleted",
    "installation_repositories.added",
];

/// The event and its action.
pub(super) fn kind(event: &str, action: &Value) -> String {
    match action.as_str() {
        Some(action) => format!("{event}.{action}"),
        None => event.to_owned(),
    }
}

pub(super) fn verify(credentials: &Credentials, request: &InboundRequest) -> Result<Inbound, Refused> {
    let secrets: Vec<_> =
        ["webhook_secret", "previous_webhook_secret"].into_iter().filter_map(|slot| credentials.get(slot)).collect();
    if secrets.is_empty() {
        return Err(Refused::unconfigured("the connection has no credential `webhook_secret` to prove calls with"));
    }
    let given = request.require("x-hub-signature-256")?;
    let given = given.strip_prefix("sha256=").and_then(signature::unhex).ok_or_else(Refused::forged)?;
    if !secrets.iter().any(|secret| signature::verify(secret.as_bytes(), &[&request.body], &given)) {
        return Err(Refused::forged());
    }
    let (id, event) = (request.require("x-github-delivery")?, request.require("x-github-event")?);
    let payload = match request.json() {
        Ok(payload) => payload,
        // A webhook that was made by hand may send forms.
        Err(refused) => url::form_urlencoded::parse(&request.body)
            .find(|(name, _)| name == "payload")
            .and_then(|(_, payload)| serde_json::from_str(&payload).ok())
            .ok_or(refused)?,
    };
    if !payload.is_object() {
        return Err(Refused::new(Reason::Malformed, "the payload is no object"));
    }
    Ok(Inbound::new(id, kind(event, &payload["action"]), request, payload))
}

/// The command of a new comment on a pull request. One that is edited later says nothing: who edits may be somebody else. Neither does
/// one of a program, or one of ours.
pub(super) fn ask(kind: &str, payload: &Value) -> Option<Ask> {
    let (issue, comment) = (&payload["issue"], &payload["comment"]);
    let person = &comment["user"];
    let by_person = person["type"] == "User" && comment["performed_via_github_app"].is_null();
    if kind != "issue_comment.created" || !issue["pull_request"].is_object() || !by_person {
        return None;
    }
    let text = comment["body"].as_str().filter(|text| !text.starts_with(MARKER))?;
    let command = Command::in_comment(text)?;
    let account = ExternalAccount::new(person["id"].as_u64()?.to_string(), person["login"].as_str()?)?;
    let (repo, number) = (payload["repository"]["full_name"].as_str()?.to_owned(), issue["number"].as_u64()?);
    let time = super::time(&comment["created_at"]);
    Some(Ask { account, command, place: Some(Place::Github { repo, number }), reply_url: None, trigger: None, time })
}
