//! A run on a pull request: a check of its head, a deployment with statuses once something is applied, and one comment for each
//! deployment. Each is looked for before it is made, by what we gave it, so that a crash makes no second one.

use freehold_domain::{
    Error, Reason, Result,
    commands::Place,
    fault,
    run_threads::{Apply, Tone, View},
};
use freehold_store::run_threads as rows;
use serde_json::{Value, json};

use super::Shown;

/// What deployments of ours are for.
const TASK: &str = "freehold";
/// Runs of a deployment that are newer than one that is still shown, at most.
const NEWER: u32 = 100;
/// Characters of a description, as GitHub takes them.
const DESCRIPTION: usize = 140;

pub(super) async fn show(shown: &mut Shown<'_>, repo: &str, number: u64, view: &View) -> Result<()> {
    let sha = head(shown, repo, number).await?;
    check(shown, repo, &sha, view).await?;
    deployment(shown, repo, &sha, view).await?;
    comment(shown, repo, number, view).await
}

/// The commit that the pull request was at when the run was first shown.
async fn head(shown: &mut Shown<'_>, repo: &str, number: u64) -> Result<String> {
    if let Some(sha) = shown.known("sha") {
        return Ok(sha);
    }
    let pull = shown.call("pulls.get", json!({ "repo": repo, "number": number })).await?;
    let sha = pull.pointer("/head/sha").and_then(Value::as_str);
    let sha = sha.ok_or_else(|| Error::internal("GitHub names no head of a pull request"))?.to_owned();
    shown.know("sha", sha.clone()).await?;
    Ok(sha)
}

async fn check(shown: &mut Shown<'_>, repo: &str, sha: &str, view: &View) -> Result<()> {
    let mut input = json!({
        "repo": repo, "name": format!("freehold {}", shown.run.name.deployment_name().short()),
        "external_id": shown.run.uid().to_string(), "output": { "title": short(&view.state), "summary": markdown(view) },
    });
    if let Some(link) = &view.link {
        input["details_url"] = link.as_str().into();
    }
    match conclusion(view) {
        Some(conclusion) => (input["status"], input["conclusion"]) = ("completed".into(), conclusion.into()),
        None => input["status"] = if view.tone == Tone::Waits { "queued".into() } else { "in_progress".into() },
    }
    if shown.is_shown("check", &input) || !allowed(shown, "check") {
        return Ok(());
    }
    if shown.known("check").is_none() && !fault::mutant("look") {
        let listed = json!({ "repo": repo, "ref": sha, "check_name": input["name"] });
        let listed = shown.call("checks.list", listed).await?;
        let ours = |run: &&Value| run["external_id"] == input["external_id"];
        if let Some(found) = listed["check_runs"].as_array().into_iter().flatten().find(ours) {
            shown.know("check", id(found)?).await?;
        }
    }
    if let Some(check) = shown.known("check") {
        let mut change = input.clone();
        change["check_run"] = number(&check)?;
        // What it is of never changes.
        if let Some(fields) = change.as_object_mut() {
            fields.remove("external_id");
        }
        shown.call("checks.update", change).await?;
    } else {
        let mut create = input.clone();
        create["head_sha"] = sha.into();
        match shown.call("checks.create", create).await {
            Ok(made) => shown.know("check", id(&made)?).await?,
            Err(error) => return refused(shown, "check", error).await,
        }
    }
    shown.was_shown("check", &input).await
}

async fn deployment(shown: &mut Shown<'_>, repo: &str, sha: &str, view: &View) -> Result<()> {
    let Some(apply) = view.apply else { return Ok(()) };
    let state = match apply {
        Apply::Queued => "queued",
        Apply::UnderWay => "in_progress",
        Apply::Done => "success",
        Apply::Failed => "failure",
    };
    let mut status = json!({ "state": state, "description": short(&view.state) });
    if let Some(link) = &view.link {
        status["log_url"] = link.as_str().into();
    }
    if shown.is_shown("deployment", &status) || !allowed(shown, "deployment") {
        return Ok(());
    }
    let name = shown.run.name.deployment_name();
    let environment = format!("{}/{}", name.project, name.environment);
    let run = shown.run.uid().to_string();
    if shown.known("deployment").is_none() {
        let listed = json!({ "repo": repo, "environment": environment, "sha": sha });
        let listed = shown.call("deployments.list", listed).await?;
        let ours = |one: &&Value| one["task"] == TASK && payload(one)["run"] == *run;
        if let Some(found) = listed["items"].as_array().into_iter().flatten().find(ours) {
            shown.know("deployment", id(found)?).await?;
        }
    }
    if shown.known("deployment").is_none() {
        let create = json!({
            "repo": repo, "ref": sha, "environment": environment, "task": TASK, "payload": { "run": run },
            "description": short(&view.title), "auto_merge": false, "required_contexts": [],
        });
        match shown.call("deployments.create", create).await {
            Ok(made) => shown.know("deployment", id(&made)?).await?,
            Err(error) => return refused(shown, "deployment", error).await,
        }
    }
    let mut input = status.clone();
    let known = shown.known("deployment").ok_or_else(|| Error::internal("a deployment was made and is not known"))?;
    (input["repo"], input["deployment"]) = (repo.into(), number(&known)?);
    shown.call("deployments.status", input).await?;
    shown.was_shown("deployment", &status).await
}

/// The comment of the deployment, which is about its newest run there.
async fn comment(shown: &mut Shown<'_>, repo: &str, number: u64, view: &View) -> Result<()> {
    let input = json!({
        "repo": repo, "number": number, "marker": format!("deployment/{}", shown.run.deployment), "body": markdown(view),
    });
    if shown.is_shown("comment", &input) {
        return Ok(());
    }
    let newer = {
        let mut db = shown.app.store.read().await?;
        rows::newer(&mut db, shown.claim.tenant, shown.claim.connection, shown.run, NEWER).await?
    };
    if !newer.contains(&Place::Github { repo: repo.to_owned(), number }) {
        shown.call("pulls.comment", input.clone()).await?;
    }
    shown.was_shown("comment", &input).await
}

/// Whether a part was not refused before. Only apps may make checks, and not each token may make deployments; the comment says it all.
fn allowed(shown: &Shown<'_>, part: &str) -> bool {
    shown.known(&format!("{part}:refused")).is_none()
}

async fn refused(shown: &mut Shown<'_>, part: &str, error: Error) -> Result<()> {
    if error.reason() != Reason::ConnectionPermissionDenied {
        return Err(error);
    }
    shown.know(&format!("{part}:refused"), error.message().to_owned()).await
}

/// How a check ends; nothing while it goes on.
fn conclusion(view: &View) -> Option<&'static str> {
    match view.tone {
        Tone::Busy | Tone::Waits => None,
        Tone::Good => Some("success"),
        Tone::Ended => Some("cancelled"),
        Tone::Bad => Some("failure"),
    }
}

fn markdown(view: &View) -> String {
    let mut text = format!("### {}\n\n{}\n\n| | |\n|---|---|\n", view.title, plain(&view.state));
    if let Some(link) = &view.link {
        text += &format!("| Page | <{link}> |\n");
    }
    for (name, value) in &view.facts {
        text += &format!("| {name} | `{}` |\n", code(value).replace('|', "\\|"));
    }
    if !view.changes.is_empty() {
        text += &format!("\n```\n{}\n", code(&view.changes.join("\n")));
        if view.more > 0 {
            text += &format!("… and {} more\n", view.more);
        }
        text += "```\n";
    }
    if view.decision.is_some()
        && let Some((_, run)) = view.facts.iter().find(|(name, _)| *name == "Run")
        && let Some((_, digest)) = view.facts.iter().find(|(name, _)| *name == "Digest")
    {
        text += &format!("\nComment `/freehold approve {run} {digest}` or `/freehold reject {run} {digest}`.\n");
    }
    text
}

/// What cannot end the code that it stands in.
fn code(text: &str) -> String {
    text.replace('`', "'")
}

/// Text of ours with names of others in it: no mention, no link, no markup.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        match c {
            '`' => plain.push('`'),
            '@' | '<' | '>' | '[' | ']' | '*' | '_' | '#' | '\\' | '!' => plain.extend(['\\', c]),
            c => plain.push(c),
        }
    }
    plain.replace("\\@", "@\u{200b}")
}

fn id(value: &Value) -> Result<String> {
    value["id"].as_u64().map(|id| id.to_string()).ok_or_else(|| Error::internal("GitHub names no id of what it made"))
}

fn number(id: &str) -> Result<Value> {
    id.parse::<u64>().map(Value::from).map_err(Error::internal)
}

/// GitHub gives a payload back as it was given, or as text.
fn payload(deployment: &Value) -> Value {
    match &deployment["payload"] {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        other => other.clone(),
    }
}

fn short(text: &str) -> String {
    text.chars().take(DESCRIPTION).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_others_is_markup_and_no_line_is_a_command() {
        let view = View {
            title: "APPLY of shop/dev/web".to_owned(),
            tone: Tone::Waits,
            state: "Its plan waits for @acme/admins.".to_owned(),
            link: Some("https://freehold.example/t/acme".to_owned()),
            facts: vec![
                ("Run", "shop/dev/web/7".to_owned()),
                ("Why", "`a` | <!-- freehold:deployment/1 -->".to_owned()),
                ("Digest", "0123456789ab".to_owned()),
            ],
            changes: vec!["create ```".to_owned(), "/freehold approve".to_owned()],
            more: 0,
            decision: Some("sha256:ab".to_owned()),
            apply: None,
        };
        let text = markdown(&view);
        assert!(text.contains("| Page | <https://freehold.example/t/acme> |"), "{text}");
        assert!(text.contains("waits for @\u{200b}acme/admins."), "{text}");
        assert!(text.contains("| Why | `'a' \\| <!-- freehold:deployment/1 -->` |"), "{text}");
        assert!(text.contains("\n```\ncreate '''\n/freehold approve\n```\n"), "{text}");
        assert!(text.contains("Comment `/freehold approve shop/dev/web/7 0123456789ab`"), "{text}");
        assert_eq!(freehold_domain::commands::Command::in_comment(&text), None);
        assert_eq!(payload(&json!({ "payload": "{\"run\":\"7\"}" }))["run"], "7");
    }
}
