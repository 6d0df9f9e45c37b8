//! Webhooks on their way out: who decides what is sent is the service, who speaks HTTP is the connector `webhook`.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use freehold_connectors::{ConnectorError, Credentials, ErrorKind, Registry, standard_webhooks::Secret};
use freehold_domain::{
    time::{Clock, Random},
    webhook_deliveries::{Attempt, Verdict},
};
use freehold_service::webhook_deliveries::{Message, Target, WebhookSender};
use futures::future::{BoxFuture, FutureExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How long one attempt may take, with its repeats.
const PATIENCE: Duration = Duration::from_secs(60);
/// The connector.
const WEBHOOK: &str = "webhook";

/// Sends deliveries by the connector `webhook`.
pub struct Sender {
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Sender {
    /// By the connectors of this registry.
    pub fn new(registry: Arc<Registry>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { registry, clock, random }
    }

    async fn invoke(&self, target: &Target, message: &Message) -> Result<Value, ConnectorError> {
        let Target { endpoint, secrets } = target;
        let mut credentials = Credentials::none().with("secret", &secrets.secret);
        if let Some(previous) = secrets.previous(self.clock.now()) {
            credentials = credentials.with("previous_secret", previous);
        }
        let mut settings = json!({ "url": endpoint.url });
        if !endpoint.ca_bundle.is_empty() {
            settings["ca_bundle"] = endpoint.ca_bundle.as_str().into();
        }
        // A change of anything else makes no new connection: what is known of the receiver stays known.
        let mut place = DefaultHasher::new();
        (&endpoint.url, &endpoint.ca_bundle).hash(&mut place);
        let id = format!("{} {:x}", endpoint.meta.uid, place.finish());
        let cx = self.registry.context(&id, 1, WEBHOOK, &settings, Arc::new(credentials))?.within(PATIENCE).keyed(&message.id);
        let connector =
            self.registry.connector(WEBHOOK).ok_or_else(|| ConnectorError::unconfigured("no connector for webhooks"))?;
        let mut input = message.body.clone();
        input["id"] = message.id.as_str().into();
        connector.invoke(&cx, "deliver", input).await
    }
}

impl WebhookSender for Sender {
    fn new_secret(&self) -> String {
        Secret::generate(self.random.as_ref())
    }

    fn send<'a>(&'a self, target: &'a Target, message: &'a Message) -> BoxFuture<'a, (Attempt, Verdict)> {
        async move {
            let (time, begun) = (self.clock.now(), Instant::now());
            let result = self.invoke(target, message).await;
            let attempt = Attempt { time, duration: begun.elapsed(), ..Attempt::default() };
            match result {
                Ok(answer) => (answered(attempt, &answer), Verdict::Delivered),
                Err(error) => {
                    let verdict = verdict(&error);
                    let attempt = error.answer.as_ref().map_or(attempt.clone(), |answer| answered(attempt, answer));
                    (Attempt { status: error.vendor_status.unwrap_or_default(), error: error.message, ..attempt }, verdict)
                }
            }
        }
        .boxed()
    }
}

fn answered(attempt: Attempt, answer: &Value) -> Attempt {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers = answer["headers"].as_object().into_iter().flatten();
    Attempt {
        status: answer["status"].as_u64().and_then(|status| status.try_into().ok()).unwrap_or_default(),
        response_headers: headers.map(|(name, value)| (name.clone(), text(value))).collect::<BTreeMap<_, _>>(),
        response_body: text(&answer["body"]),
        ..attempt
    }
}

fn verdict(error: &ConnectorError) -> Verdict {
    match error.kind {
        _ if error.vendor_code.as_deref() == Some("gone") => Verdict::Gone,
        // Refused by our own limits, before anything was sent.
        ErrorKind::CircuitOpen => Verdict::NotSent(error.retry_after),
        ErrorKind::Throttled if error.vendor_status.is_none() => Verdict::NotSent(error.retry_after),
        _ => Verdict::Later(error.retry_after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_is_no_try_and_gone_is_for_good() {
        let wait = Some(Duration::from_secs(7));
        let error = |kind, status: Option<u16>, code: Option<&str>| ConnectorError {
            vendor_status: status,
            vendor_code: code.map(str::to_owned),
            ..ConnectorError::new(kind, "").after(wait)
        };
        for (kind, status, code, expected) in [
            (ErrorKind::CircuitOpen, None, None, Verdict::NotSent(wait)),
            (ErrorKind::Throttled, None, None, Verdict::NotSent(wait)),
            (ErrorKind::Throttled, Some(429), None, Verdict::Later(wait)),
            (ErrorKind::Transient, None, None, Verdict::Later(wait)),
            (ErrorKind::NotFound, Some(404), None, Verdict::Later(wait)),
            (ErrorKind::Permanent, Some(410), Some("gone"), Verdict::Gone),
        ] {
            assert_eq!(verdict(&error(kind, status, code)), expected, "{kind} {status:?}");
        }
    }
}
