//! `http`: something that a REST service keeps.
//!
//! `create` makes it, and the answer tells its id; in the URLs of `read`, `update` and `delete` the text `{id}` stands for that
//! id. After a crash a `PUT`, a `DELETE`, and whatever `idempotent: true` says may be repeated are sent again; of any other
//! request only `lookup` or `read` can tell what became of it.

mod client;
mod document;
mod policy;

use std::sync::Arc;

use freehold_domain::runs::Reversibility;
use freehold_domain::time::Clock;
use futures::future::{BoxFuture, FutureExt};
use serde_json::{Map, Value, json};

use super::{
    provider::{Intent, Made, Owner, Provider, Recovered, flag, text},
    schema::{Attribute, Kind, Problem, Schema},
};
use crate::{
    Action, StepError,
    native::{Attributes, Operation, Resource},
};
use client::{Answer, Exchange, HttpClient};
pub use policy::Policy;

/// Keeps things in REST services.
pub(crate) struct Http {
    schema: Schema,
    /// Without trusted roots on the machine there is none; only resources of this type miss it.
    client: Result<HttpClient, StepError>,
}

impl Http {
    pub fn new(policy: Arc<Policy>, clock: Arc<dyn Clock>) -> Self {
        let statuses = || Attribute::new("statuses", Kind::list(Kind::Whole { min: 200, max: 599 }, 20));
        let url = || Attribute::new("url", Kind::text(2048)).required();
        let method = |methods: &'static [&'static str]| Attribute::new("method", Kind::Choice(methods));
        let body = || Attribute::new("body", Kind::Any);
        let attributes = vec![
            Attribute::new("create", Kind::Object(vec![method(&["POST", "PUT"]), url(), headers(), body(), statuses()]))
                .required(),
            Attribute::new("read", Kind::Object(vec![url(), headers(), statuses()])),
            Attribute::new("update", Kind::Object(vec![method(&["PUT", "PATCH", "POST"]), url(), headers(), body(), statuses()])),
            Attribute::new(
                "delete",
                Kind::Object(vec![method(&["DELETE", "POST", "PUT"]), url(), headers(), body(), statuses()]),
            ),
            Attribute::new("lookup", Kind::Object(vec![url(), headers(), Attribute::new("pointer", Kind::text(256)).required()])),
            headers().sensitive().access(),
            Attribute::new("id_pointer", Kind::text(256)).default("/id"),
            Attribute::new("idempotent", Kind::Flag).default(false),
            Attribute::computed("id", Kind::text(1024)).stable(),
            Attribute::computed("response", Kind::Any).sensitive(),
            Attribute::computed("representation", Kind::Any).sensitive().tracked(),
        ];
        Self { schema: Schema { kind: "http", attributes }, client: HttpClient::new(policy, clock) }
    }

    /// Sends the request that an attribute describes. Statuses that are not expected are failures.
    async fn call(&self, attributes: &Attributes, name: &str, id: &str, key: Option<&str>) -> Result<Answer, StepError> {
        let call = document::call(attributes, name)
            .ok_or_else(|| StepError::new("attribute-missing", format!("`{name}` is not given")))?;
        let method = document::method(name, call);
        let url = document::with_id(document::field(call, "url"), id);
        let repeatable = matches!(method, "GET" | "PUT" | "DELETE") || flag(attributes, "idempotent");
        let (headers, body) = (document::headers(attributes, call), document::body(attributes, name));
        let exchange = Exchange { method, url: &url, headers, body, key, repeatable };
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let answer = client.send(&exchange).await?;
        if document::expected(name, call).contains(&i64::from(answer.status)) {
            return Ok(answer);
        }
        Err(unexpected(name, method, &answer))
    }

    /// The answer of `read`; nothing when the thing is gone, null when there is no `read`.
    async fn read(&self, attributes: &Attributes, id: &str) -> Result<Option<Value>, StepError> {
        if document::call(attributes, "read").is_none() {
            return Ok(Some(Value::Null));
        }
        match self.call(attributes, "read", id, None).await {
            Ok(answer) => Ok(Some(answer.body)),
            Err(error) if error.code == "http-gone" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is known of a thing that has just been made or changed.
    async fn made(&self, intent: &Intent, id: String, response: Value) -> Made {
        // A look that fails here must not make a failure of an effect that is there; drift shows at the next look.
        let seen = self.read(&intent.desired, &id).await.ok().flatten().unwrap_or_default();
        let representation = document::subset(&document::wanted(&intent.desired), &seen);
        intent.made(id.clone(), [("id", json!(id)), ("response", response), ("representation", representation)])
    }

    /// Asks `lookup` for the id of what may have been made.
    async fn look_up(&self, intent: &Intent) -> Recovered {
        let Some(lookup) = document::call(&intent.desired, "lookup") else {
            return Recovered::Unknown("the request may have arrived, and without `lookup` nobody can tell".to_owned());
        };
        match self.call(&intent.desired, "lookup", "", None).await {
            Ok(answer) => match answer.body.pointer(document::field(lookup, "pointer")).and_then(document::id_text) {
                Some(id) => {
                    let seen = self.read(&intent.desired, &id).await.ok().flatten().unwrap_or_default();
                    Recovered::Done(Some(self.made(intent, id, seen).await))
                }
                None => Recovered::NotDone,
            },
            Err(error) if error.code == "http-gone" => Recovered::NotDone,
            Err(error) => Recovered::Unknown(format!("the request may have arrived, and `lookup` failed: {error}")),
        }
    }
}

fn headers() -> Attribute {
    Attribute::new("headers", Kind::map(Kind::Text { min: 0, max: 8192 }))
}

impl Provider for Http {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn rules(&self, known: &Attributes, _unknown: &[&str]) -> Vec<Problem> {
        document::rules(known)
    }

    fn replaces(&self, attribute: &str, desired: &Attributes) -> bool {
        matches!(attribute, "create" | "representation") && document::call(desired, "update").is_none()
    }

    /// What a request does is known to its service alone.
    fn reversibility(&self, _action: Action) -> Reversibility {
        Reversibility::Unknown
    }

    fn observe<'a>(&'a self, prior: &'a Resource, _owner: &'a Owner) -> BoxFuture<'a, Result<Option<Attributes>, StepError>> {
        async move {
            let Some(seen) = self.read(&prior.attributes, &prior.id).await? else { return Ok(None) };
            let mut found = prior.attributes.clone();
            if document::call(&prior.attributes, "read").is_some()
                && found.get("representation").is_some_and(|kept| !kept.is_null())
            {
                let representation = document::subset(&document::wanted(&prior.attributes), &seen);
                found.insert("representation".to_owned(), representation);
            }
            Ok(Some(found))
        }
        .boxed()
    }

    fn create<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let answer = self.call(&intent.desired, "create", "", Some(&intent.key)).await?;
            let pointer = text(&intent.desired, "id_pointer");
            let id = match answer.body.pointer(pointer).and_then(document::id_text) {
                Some(id) => id,
                None if document::needs_id(&intent.desired) => {
                    return Err(StepError::new("http-no-id", format!("the answer to `create` has no id at `{pointer}`"))
                        .hint("point `id_pointer` at the id in the answer")
                        .uncertain());
                }
                None => document::call(&intent.desired, "create")
                    .map(|call| document::field(call, "url").to_owned())
                    .unwrap_or_default(),
            };
            Ok(self.made(intent, id, answer.body).await)
        }
        .boxed()
    }

    fn update<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<Made, StepError>> {
        async move {
            let prior = intent.prior()?;
            if document::call(&intent.desired, "update").is_none() {
                // Only how to read or remove it has changed: there is nothing to send.
                let kept = |name| (name, prior.attributes.get(name).cloned().unwrap_or_default());
                return Ok(intent.made(&prior.id, [kept("id"), kept("response"), kept("representation")]));
            }
            let answer = self.call(&intent.desired, "update", &prior.id, Some(&intent.key)).await?;
            Ok(self.made(intent, prior.id.clone(), answer.body).await)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            let prior = intent.prior()?;
            if document::call(&prior.attributes, "delete").is_none() {
                return Ok(());
            }
            match self.call(&prior.attributes, "delete", &prior.id, Some(&intent.key)).await {
                Err(error) if error.code != "http-gone" => Err(error),
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn recover<'a>(&'a self, intent: &'a Intent) -> BoxFuture<'a, Recovered> {
        async move {
            let (name, attributes) = match (intent.operation, &intent.prior) {
                (Operation::Create, _) => ("create", &intent.desired),
                (Operation::Update, _) => ("update", &intent.desired),
                (Operation::Delete, Some(prior)) => ("delete", &prior.attributes),
                (Operation::Delete, None) => return Recovered::Done(None),
            };
            let Some(call) = document::call(attributes, name) else { return Recovered::Repeatable };
            let method = document::method(name, call);
            if matches!(method, "PUT" | "DELETE") || flag(attributes, "idempotent") {
                return Recovered::Repeatable;
            }
            let id = intent.prior.as_ref().map_or("", |prior| prior.id.as_str());
            let readable = document::call(attributes, "read").is_some();
            match (intent.operation, readable) {
                (Operation::Create, _) => self.look_up(intent).await,
                (Operation::Delete, true) => match self.read(attributes, id).await {
                    Ok(None) => Recovered::Done(None),
                    Ok(Some(_)) => Recovered::NotDone,
                    Err(error) => Recovered::Unknown(format!("the request may have arrived, and `read` failed: {error}")),
                },
                (Operation::Update, true) => match self.read(attributes, id).await {
                    Ok(Some(seen)) if document::fulfils(document::body(attributes, name), &seen) => {
                        Recovered::Done(Some(self.made(intent, id.to_owned(), seen).await))
                    }
                    Ok(_) => Recovered::Unknown("the request may have arrived, and `read` does not show that it has".to_owned()),
                    Err(error) => Recovered::Unknown(format!("the request may have arrived, and `read` failed: {error}")),
                },
                _ => Recovered::Unknown("the request may have arrived, and without `read` nobody can tell".to_owned()),
            }
        }
        .boxed()
    }
}

/// What a status that nobody expects means for the effect.
fn unexpected(name: &str, method: &str, answer: &Answer) -> StepError {
    let told = answer.body.as_object().map(message).unwrap_or_default();
    let text = format!("`{name}` ({method}) was answered with status {}{told}", answer.status);
    match answer.status {
        404 | 410 => StepError::new("http-gone", text).hint("look at the URL"),
        401 | 403 => StepError::new("http-denied", text).hint("look at the credentials in `headers`"),
        429 | 503 => StepError::new("http-busy", text).hint("try again later").retryable(),
        300..=399 => StepError::new("http-redirected", text).hint("redirects are not followed; use the final URL"),
        500..=599 if method != "GET" => StepError::new("http-failed", text).hint("look at the service").retryable().uncertain(),
        500..=599 => StepError::new("http-failed", text).hint("look at the service").retryable(),
        200..=299 => StepError::new("http-status", text).hint("add the status to `statuses` if it is a good one").uncertain(),
        _ => StepError::new("http-status", text).hint("look at what is sent, or add the status to `statuses`"),
    }
}

fn message(fields: &Map<String, Value>) -> String {
    ["message", "detail", "error", "title"]
        .iter()
        .find_map(|name| fields.get(*name).and_then(Value::as_str))
        .map(|text| format!(": {}", text.chars().take(200).collect::<String>()))
        .unwrap_or_default()
}
