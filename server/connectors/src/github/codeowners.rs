//! Who owns which files, as a repository says it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method as Verb;
use serde_json::{Value, json};

use super::{Settings, call, endpoints::of_repo};
use crate::{
    ConnectorError, Context, Effect, ErrorKind, Halt, Operation,
    outbound::Request,
    schema::{list, object, opt, req, text, word},
};

const OPERATION: &str = "codeowners.get";
/// Where GitHub looks, in its order.
const PLACES: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];

pub(super) fn operations() -> Vec<Operation> {
    let rule = object([req("pattern", text()), req("owners", list(text()))]);
    let input = of_repo([opt("ref", word().max(250))]);
    vec![
        Operation::new(
            OPERATION,
            Effect::Read,
            "Reads who owns which files; of several rules that match, the last one counts.",
            input,
        )
        .output(object([req("path", text()), req("rules", list(rule))])),
    ]
}

pub(super) async fn get(cx: &Context, input: Value) -> Result<Value, Halt> {
    let settings: Settings = cx.settings()?;
    for place in PLACES {
        let mut fields = super::subset(&input, &["repo"]).as_object().cloned().unwrap_or_default();
        fields.insert("path".to_owned(), place.into());
        let mut url = call::url(&settings, &call::path("/repos/{repo}/contents/{path}", &mut fields)?);
        if let Some(name) = input["ref"].as_str() {
            url.query_pairs_mut().append_pair("ref", name);
        }
        match call::send(cx, Request::new(OPERATION, Effect::Read, Verb::GET, url)).await {
            Ok(answer) => {
                let found = answer.value();
                let encoded: String = found["content"].as_str().unwrap_or_default().split_whitespace().collect();
                let text = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let text = text.ok_or_else(|| ConnectorError::new(ErrorKind::Permanent, format!("{place} is no text")))?;
                return Ok(json!({ "path": place, "rules": rules(&text) }));
            }
            Err(halt) if halt.failure().is_some_and(|error| error.kind == ErrorKind::NotFound) => {}
            Err(halt) => return Err(halt),
        }
    }
    let message = format!("the repository has no CODEOWNERS; it would be at {}", PLACES.join(", "));
    Err(ConnectorError::new(ErrorKind::NotFound, message).into())
}

fn rules(text: &str) -> Vec<Value> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rule = |line: &str| {
        let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        let pattern = words.next()?.to_owned();
        Some(json!({ "pattern": pattern, "owners": words.collect::<Vec<_>>() }))
    };
    lines.filter_map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_patterns_with_owners() {
        let found = rules("# all\n*  @acme/platform  # default\n\n/infra/ @ada bob@example.com\n/docs/\n");
        let rule = |pattern: &str, owners: &[&str]| json!({ "pattern": pattern, "owners": owners });
        assert_eq!(found, [rule("*", &["@acme/platform"]), rule("/infra/", &["@ada", "bob@example.com"]), rule("/docs/", &[])]);
    }
}
