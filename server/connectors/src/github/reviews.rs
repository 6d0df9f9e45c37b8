//! What the reviews of a pull request come to.

use std::collections::BTreeMap;

use reqwest::Method as Verb;
use serde_json::{Value, json};

use super::{
    Settings, call,
    endpoints::{number, of_repo},
};
use crate::{
    Context, Effect, Halt, Operation,
    outbound::Request,
    schema::{choice, list, object, open_object, req},
};

const OPERATION: &str = "pulls.review_state";
/// Reviews that are looked through.
const MOST: usize = 3000;

pub(super) fn operations() -> Vec<Operation> {
    let state = choice(&["approved", "changes_requested", "pending"]);
    let summary = "Says what the reviews of a pull request come to: of each person, the last word counts.";
    vec![
        Operation::new(OPERATION, Effect::Read, summary, of_repo([req("number", number())]))
            .output(object([req("state", state), req("reviews", list(open_object()))])),
    ]
}

pub(super) async fn state(cx: &Context, mut input: Value) -> Result<Value, Halt> {
    let settings: Settings = cx.settings()?;
    let mut fields = input.as_object_mut().cloned().unwrap_or_default();
    let url = call::url(&settings, &call::path("/repos/{repo}/pulls/{number}/reviews", &mut fields)?);
    let found = call::pages(cx, Request::new(OPERATION, Effect::Read, Verb::GET, url), "", MOST).await?;
    Ok(sum(found["items"].as_array().map(Vec::as_slice).unwrap_or_default()))
}

/// Reviews come in the order in which they were given. A comment takes nothing back; a dismissal does.
fn sum(reviews: &[Value]) -> Value {
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for review in reviews {
        let Some(person) = review["user"]["login"].as_str() else { continue };
        match review["state"].as_str() {
            Some("APPROVED" | "CHANGES_REQUESTED") => {
                last.insert(person, review);
            }
            Some("DISMISSED") => {
                last.remove(person);
            }
            _ => {}
        }
    }
    let says = |state: &str| last.values().any(|review| review["state"] == state);
    let state = match (says("CHANGES_REQUESTED"), says("APPROVED")) {
        (true, _) => "changes_requested",
        (false, true) => "approved",
        (false, false) => "pending",
    };
    let shown = |(person, review): (&&str, &&Value)| json!({ "person": person, "state": review["state"], "commit": review["commit_id"], "at": review["submitted_at"] });
    json!({ "state": state, "reviews": last.iter().map(shown).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_person_the_last_word_counts() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[], "pending"),
            (&[("ada", "COMMENTED")], "pending"),
            (&[("ada", "APPROVED"), ("ada", "COMMENTED")], "approved"),
            (&[("ada", "APPROVED"), ("bob", "CHANGES_REQUESTED")], "changes_requested"),
            (&[("bob", "CHANGES_REQUESTED"), ("bob", "APPROVED")], "approved"),
            (&[("ada", "APPROVED"), ("ada", "DISMISSED")], "pending"),
        ];
        for (reviews, expected) in cases {
            let reviews: Vec<_> =
                reviews.iter().map(|(who, state)| json!({ "user": { "login": who }, "state": state })).collect();
            assert_eq!(sum(&reviews)["state"], expected, "{reviews:?}");
        }
    }
}
