//! Check runs with any number of annotations: GitHub takes fifty at once.

use reqwest::Method as Verb;
use serde_json::{Value, json};

use super::{
    Settings, call,
    endpoints::{number, of_repo, sha},
    subset,
};
use crate::{
    Context, Effect, Halt, Operation,
    outbound::Request,
    schema::{Field, choice, integer, list, object, opt, req, text, word},
};

const BATCH: usize = 50;
const FIELDS: [&str; 8] =
    ["name", "head_sha", "details_url", "external_id", "status", "conclusion", "started_at", "completed_at"];

pub(super) fn operations() -> Vec<Operation> {
    let create = of_repo(fields([req("name", word().max(255)), req("head_sha", sha())]));
    let update = of_repo(fields([req("check_run", number()), opt("name", word().max(255))]));
    // Annotations are added to those that are there, so that doing it twice shows.
    vec![
        Operation::new("checks.create", Effect::Unsafe, "Creates a check run; only apps may.", create),
        Operation::new("checks.update", Effect::Unsafe, "Changes a check run and adds annotations.", update),
    ]
}

fn fields(first: [Field; 2]) -> [Field; 11] {
    let annotation = object([
        req("path", word()),
        req("start_line", number()),
        req("end_line", number()),
        opt("start_column", integer()),
        opt("end_column", integer()),
        req("annotation_level", choice(&["notice", "warning", "failure"])),
        req("message", word().max(64_000)),
        opt("title", word().max(255)),
        opt("raw_details", text().max(64_000)),
    ]);
    let conclusions = ["action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"];
    let action = object([req("label", word().max(20)), req("description", word().max(40)), req("identifier", word().max(20))]);
    let [one, two] = first;
    [
        one,
        two,
        opt("details_url", text().format("uri")),
        opt("external_id", word().max(255)),
        opt("status", choice(&["queued", "in_progress", "completed"])),
        opt("conclusion", choice(&conclusions)),
        opt("started_at", word()),
        opt("completed_at", word()),
        opt(
            "output",
            object([req("title", word().max(255)), req("summary", text().max(65_535)), opt("text", text().max(65_535))]),
        ),
        opt("annotations", list(annotation).max(1000)),
        opt("actions", list(action).max(3)),
    ]
}

pub(super) async fn write(cx: &Context, operation: &'static str, input: Value) -> Result<Value, Halt> {
    let settings: Settings = cx.settings()?;
    let mut place = subset(&input, &["repo", "check_run"]).as_object().cloned().unwrap_or_default();
    let mut body = subset(&input, &FIELDS);
    if let Some(actions) = input.get("actions") {
        body["actions"] = actions.clone();
    }
    let annotations = input["annotations"].as_array().cloned().unwrap_or_default();
    // Annotations hang on an output, which has a title.
    let output = match input.get("output") {
        Some(output) => output.clone(),
        None => json!({ "title": input["name"].as_str().unwrap_or("Freehold"), "summary": "" }),
    };
    let mut batches = annotations.chunks(BATCH);
    let first = batches.next().unwrap_or_default();
    if input.get("output").is_some() || !first.is_empty() {
        body["output"] = with(&output, first);
    }
    let created = operation == "checks.create";
    let template = if created { "/repos/{repo}/check-runs" } else { "/repos/{repo}/check-runs/{check_run}" };
    let url = call::url(&settings, &call::path(template, &mut place.clone())?);
    let effect = if created || !first.is_empty() { Effect::Unsafe } else { Effect::Idempotent };
    let verb = if created { Verb::POST } else { Verb::PATCH };
    let run = call::send(cx, Request::new(operation, effect, verb, url).json_body(&body)).await?.value();

    place.insert("check_run".to_owned(), run["id"].clone());
    for batch in batches {
        let url = call::url(&settings, &call::path("/repos/{repo}/check-runs/{check_run}", &mut place.clone())?);
        let request =
            Request::new(operation, Effect::Unsafe, Verb::PATCH, url).json_body(&json!({ "output": with(&output, batch) }));
        // What came before this batch is there, whatever becomes of it.
        call::send(cx, request).await.map_err(|halt| match halt {
            Halt::Failed(error) => Halt::Failed(Box::new(error.maybe_done(true))),
            dry => dry,
        })?;
    }
    Ok(json!({ "id": run["id"], "html_url": run["html_url"], "status": run["status"], "annotations": annotations.len() }))
}

fn with(output: &Value, annotations: &[Value]) -> Value {
    let mut output = output.clone();
    if !annotations.is_empty() {
        output["annotations"] = annotations.into();
    }
    output
}
