//! One event on its way to one endpoint: when it is tried again, and when it is given up.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    events::Logged,
    names::{WebhookDeliveryName, WebhookEndpointName},
    time::{Timestamp, Uid},
};

/// How long a delivery is tried.
pub const TRIED: Duration = Duration::from_secs(3 * 86_400);
/// Tries that are kept.
pub const KEPT: usize = 10;
/// The first pause, by which each later one grows, and the longest.
const FIRST: f64 = 5.0;
const GROWTH: f64 = 3.0;
const LONGEST: f64 = 6.0 * 3600.0;
/// A receiver that asks for more time than this does not get it.
const LONGEST_ASKED: Duration = Duration::from_secs(86_400);

/// One event on its way to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct WebhookDelivery {
    pub name: WebhookDeliveryName,
    pub event: Uid,
    pub kind: String,
    pub resource: String,
    pub create_time: Timestamp,
    pub state: DeliveryState,
    /// When it is tried next; `None` when it is over.
    pub due: Option<Timestamp>,
    /// Since when it is tried: its creation, or when somebody had it sent again.
    pub since: Timestamp,
    pub attempt_count: u32,
    pub attempts: Vec<Attempt>,
    pub body: Value,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub enum DeliveryState {
    Pending,
    Delivered,
    Failed,
}

impl DeliveryState {
    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Delivered => "DELIVERED",
            Self::Failed => "FAILED",
        }
    }
}

/// One try.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Attempt {
    pub time: Timestamp,
    pub duration: Duration,
    pub status: u16,
    pub response_headers: BTreeMap<String, String>,
    pub response_body: String,
    /// Why it failed; empty when it arrived.
    pub error: String,
}

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has taken it.
    Delivered,
    /// It may arrive later; the receiver may have said when to come back.
    Later(Option<Duration>),
    /// The receiver wants nothing more, ever.
    Gone,
    /// It was not sent at all: too much is under way to this receiver, or it has failed all along.
    NotSent(Option<Duration>),
}

impl WebhookDelivery {
    /// A delivery of an event, due now.
    pub fn new(uid: Uid, endpoint: &WebhookEndpointName, logged: &Logged, now: Timestamp) -> Self {
        let event = &logged.announced.event;
        Self {
            name: WebhookDeliveryName {
                tenant: endpoint.tenant.clone(),
                webhook_endpoint: endpoint.webhook_endpoint.clone(),
                delivery: uid,
            },
            event: logged.uid,
            kind: event.kind.clone(),
            resource: event.resource.clone(),
            create_time: now,
            state: DeliveryState::Pending,
            due: Some(now),
            since: now,
            attempt_count: 0,
            attempts: Vec::new(),
            body: body(logged),
        }
    }

    /// Notes a try and decides what comes next; `chance` is a random number from 0 up to 1, which spreads those that failed together.
    pub fn tried(&mut self, attempt: Attempt, verdict: Verdict, chance: f64, now: Timestamp) {
        if let Verdict::NotSent(wait) = verdict {
            // No try: it costs nothing, and proves nothing.
            self.due = Some(now.plus(wait.unwrap_or(Duration::from_secs(1)).min(LONGEST_ASKED)));
            return;
        }
        self.attempt_count += 1;
        if self.attempts.len() == KEPT {
            self.attempts.remove(0);
        }
        self.attempts.push(attempt);
        match verdict {
            Verdict::Delivered => self.end(DeliveryState::Delivered),
            Verdict::Gone => self.end(DeliveryState::Failed),
            Verdict::Later(asked) => {
                let next = now.plus(pause(self.attempt_count, chance).max(asked.unwrap_or_default().min(LONGEST_ASKED)));
                if next.since(self.since) > TRIED {
                    self.end(DeliveryState::Failed);
                } else {
                    self.due = Some(next);
                }
            }
            Verdict::NotSent(_) => {}
        }
    }

    /// Gives it up.
    pub fn end(&mut self, state: DeliveryState) {
        (self.state, self.due) = (state, None);
    }

    /// Has it sent again, whatever has become of it.
    pub fn again(&mut self, now: Timestamp) {
        (self.state, self.due, self.since) = (DeliveryState::Pending, Some(now), now);
    }
}

/// What is sent: Standard Webhooks' `type`, `timestamp` and `data`.
fn body(logged: &Logged) -> Value {
    let announced = &logged.announced;
    let event = &announced.event;
    json!({
        "type": event.kind,
        "timestamp": announced.time.to_string(),
        "data": {
            "uid": logged.uid,
            "resource": event.resource,
            "resource_uid": event.uid,
            "resource_version": event.version,
            "principal": announced.principal,
            "request_id": announced.request_id,
            "facts": event.data,
        },
    })
}

/// The pause after so many tries: it grows threefold up to six hours, and lasts between half of that and all of it.
pub(crate) fn pause(attempts: u32, chance: f64) -> Duration {
    let grown = (FIRST * GROWTH.powi(attempts.saturating_sub(1).min(20) as i32)).min(LONGEST);
    Duration::from_secs_f64(grown * (0.5 + chance.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Announced, Event};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn delivery() -> WebhookDelivery {
        let uid = Uid(uuid::Uuid::from_u128(7));
        let announced = Announced {
            event: Event::new("run.moved", "tenants/acme/projects/shop", uid, 2).with(json!({"phase": "DONE"})),
            time: at(0),
            principal: "tenants/acme/users/ada".to_owned(),
            request_id: "r".to_owned(),
        };
        let logged = Logged { position: 1, uid, tenant: uid, announced };
        WebhookDelivery::new(uid, &"tenants/acme/webhookEndpoints/ops".parse().expect("valid"), &logged, at(0))
    }

    #[test]
    fn a_delivery_that_fails_is_tried_for_three_days_and_no_longer() {
        for chance in [0.0, 0.5, 1.0] {
            let mut delivery = delivery();
            let mut tries = 0;
            while let Some(due) = delivery.due {
                tries += 1;
                delivery.tried(Attempt { time: due, ..Attempt::default() }, Verdict::Later(None), chance, due);
                assert!(delivery.due.is_none_or(|next| next > due && next.since(due) <= Duration::from_secs(6 * 3600)));
            }
            assert_eq!(delivery.state, DeliveryState::Failed);
            assert!((15..50).contains(&tries), "{tries} tries with {chance}");
            assert_eq!((delivery.attempt_count, delivery.attempts.len()), (tries, KEPT));
            let last = delivery.attempts.last().expect("a try").time;
            assert!((60 * 3600..=72 * 3600).contains(&(last.as_micros() / 1_000_000)), "{last} with {chance}");
        }
    }

    #[test]
    fn each_answer_has_its_consequence() {
        let tried = |verdict| {
            let mut delivery = delivery();
            delivery.tried(Attempt::default(), verdict, 1.0, at(100));
            (delivery.state, delivery.due, delivery.attempt_count)
        };
        assert_eq!(tried(Verdict::Delivered), (DeliveryState::Delivered, None, 1));
        assert_eq!(tried(Verdict::Gone), (DeliveryState::Failed, None, 1));
        assert_eq!(tried(Verdict::Later(None)), (DeliveryState::Pending, Some(at(105)), 1));
        let asked = Some(Duration::from_secs(60));
        assert_eq!(tried(Verdict::Later(asked)), (DeliveryState::Pending, Some(at(160)), 1));
        assert_eq!(tried(Verdict::NotSent(asked)), (DeliveryState::Pending, Some(at(160)), 0));
        let mut given_up = delivery();
        given_up.end(DeliveryState::Failed);
        given_up.again(at(500_000));
        given_up.tried(Attempt::default(), Verdict::Later(None), 1.0, at(500_000));
        assert_eq!(given_up.due, Some(at(500_005)), "three more days");
    }

    #[test]
    fn what_is_sent_says_what_happened_and_to_what() {
        let body = delivery().body;
        assert_eq!((&body["type"], &body["data"]["facts"]["phase"]), (&json!("run.moved"), &json!("DONE")));
        assert_eq!(body["data"]["resource"], "tenants/acme/projects/shop");
    }
}
