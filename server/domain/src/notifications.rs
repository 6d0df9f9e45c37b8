//! One thing that somebody is told: what of, by whom it is passed on, and what has become of that.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    names::{ConnectionName, NotificationName},
    notification_rules::Alarm,
    time::Timestamp,
    webhook_deliveries::pause,
};

/// How long it is tried to pass a message on.
pub const TRIED: Duration = Duration::from_secs(86_400);
/// A system that asks for more time than this does not get it.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// One thing that somebody is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Notification {
    pub name: NotificationName,
    pub group: String,
    pub alarm: Option<Alarm>,
    pub count: u64,
    pub suppressed_count: u64,
    pub create_time: Timestamp,
    pub first_event_time: Timestamp,
    pub last_event_time: Timestamp,
    /// Facts of the last event.
    pub last_event: Map<String, Value>,
    /// The message, and then the escalations.
    pub sends: Vec<Send>,
    pub acknowledged: Option<Acknowledged>,
    /// What templates could not say.
    pub warnings: Vec<String>,
}

/// Who has seen it, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Acknowledged {
    pub principal: String,
    pub time: Timestamp,
}

/// One message over one connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Send {
    pub connection: ConnectionName,
    pub operation: String,
    pub input: Value,
    pub state: SendState,
    /// When it is tried next; `None` when it is over.
    pub due: Option<Timestamp>,
    /// Since when it is tried.
    pub since: Timestamp,
    pub attempt_count: u32,
    pub last_attempt_time: Option<Timestamp>,
    pub error: String,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SendState {
    Pending,
    Sent,
    Skipped,
    Failed,
    Cancelled,
}

impl SendState {
    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Sent => "SENT",
            Self::Skipped => "SKIPPED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// What a try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The system has taken it.
    Sent,
    /// There is no way to pass it on, and nobody asked for one.
    Skipped(String),
    /// It will not work the next time either.
    Failed(String),
    /// It may work later; the system may have said when.
    Later(String, Option<Duration>),
}

impl Send {
    /// A message that is due then.
    pub fn new(connection: ConnectionName, operation: String, input: Value, due: Timestamp) -> Self {
        Self {
            connection,
            operation,
            input,
            state: SendState::Pending,
            due: Some(due),
            since: due,
            attempt_count: 0,
            last_attempt_time: None,
            error: String::new(),
        }
    }

    /// Notes a try; `chance` is a random number from 0 up to 1, which spreads those that failed together.
    pub fn tried(&mut self, outcome: Outcome, chance: f64, now: Timestamp) {
        self.attempt_count += 1;
        self.last_attempt_time = Some(now);
        let (state, error) = match outcome {
            Outcome::Sent => (SendState::Sent, String::new()),
            Outcome::Skipped(why) => (SendState::Skipped, why),
            Outcome::Failed(why) => (SendState::Failed, why),
            Outcome::Later(why, asked) => {
                let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
                let next = now.plus(pause(self.attempt_count, chance).max(asked));
                if next.since(self.since) <= TRIED {
                    (self.due, self.error) = (Some(next), why);
                    return;
                }
                (SendState::Failed, format!("given up after a day: {why}"))
            }
        };
        (self.state, self.error, self.due) = (state, error, None);
    }

    fn cancel(&mut self) {
        if self.state == SendState::Pending {
            (self.state, self.due) = (SendState::Cancelled, None);
        }
    }
}

impl Notification {
    /// Where its first message stands.
    pub fn state(&self) -> SendState {
        self.sends.first().map_or(SendState::Skipped, |send| send.state)
    }

    /// When something is to be done next; `None` when all is over.
    pub fn due(&self) -> Option<Timestamp> {
        self.sends.iter().filter_map(|send| send.due).min()
    }

    /// The message that is due next.
    pub fn next(&self) -> Option<usize> {
        let due = self.due()?;
        self.sends.iter().position(|send| send.due == Some(due))
    }

    /// What the receiver knows a repeat of a message by.
    pub fn key(&self, step: usize) -> String {
        format!("{}.{step}", self.name.notification)
    }

    /// Somebody has seen it: nobody else is told. Answers whether that is new.
    pub fn acknowledge(&mut self, principal: &str, now: Timestamp) -> bool {
        if self.acknowledged.is_some() {
            return false;
        }
        self.acknowledged = Some(Acknowledged { principal: principal.to_owned(), time: now });
        self.end_escalations();
        true
    }

    /// What it tells of is over: nobody else is told.
    pub fn end_escalations(&mut self) {
        self.sends.iter_mut().skip(1).for_each(Send::cancel);
    }

    /// Has messages that did not get through sent again. Answers whether there are any.
    pub fn retry(&mut self, now: Timestamp) -> bool {
        let lost = |send: &&mut Send| matches!(send.state, SendState::Failed | SendState::Skipped);
        let mut any = false;
        for send in self.sends.iter_mut().filter(lost) {
            (send.state, send.due, send.since) = (SendState::Pending, Some(now), now);
            any = true;
        }
        any
    }
}
