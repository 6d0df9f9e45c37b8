//! Who is told what of what happens, and how often.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    blueprints::{Condition, FactTemplate, Facts, Subject},
    console::Console,
    cron::Cron,
    error::Violations,
    events::{self, Logged, Selection, is_below, parse_filter},
    names::{ConnectionName, NotificationName, NotificationRuleName},
    notifications::{Notification, Send},
    resource::Meta,
    time::{Timestamp, Uid},
};

/// The longest that events are gathered before somebody is told.
pub const MAX_WAIT: Duration = Duration::from_secs(86_400);
/// The longest that repeats are kept back, that it is quiet, and that an escalation comes after a message.
pub const MAX_WINDOW: Duration = Duration::from_secs(30 * 86_400);
/// The most escalations, and the most quiet hours.
pub const MAX_STEPS: usize = 5;
/// The largest input of an operation, written as JSON, in bytes.
pub const MAX_INPUT: usize = 64 << 10;
/// The longest name of a group, in bytes; what is longer is cut.
pub const MAX_GROUP: usize = 500;
/// Groups that one rule gathers for at one time; what belongs to none of them is told of together.
pub const MAX_GROUPS: usize = 100;
/// The group of what is beyond that.
pub const OVERFLOW: &str = "(everything else)";

/// What templates can read.
const SUBJECTS: &[Subject] = &[
    events::SUBJECT,
    (
        "notification",
        &["rule", "group", "alarm", "count", "suppressed_count", "first_event_time", "last_event_time", "step", "link"],
    ),
];

/// A kind that only rules which name it are asked about: a message that is sent may well come back as one that was received.
const RECEIVED: &str = "connection.message_received";

/// Who is told what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct NotificationRule {
    pub name: NotificationRuleName,
    pub meta: Meta,
    pub disabled: bool,
    /// It is about what happens from then on.
    pub since: Timestamp,
    #[serde(flatten)]
    pub terms: Terms,
}

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Terms {
    pub below: String,
    pub kinds: Vec<String>,
    pub filter: String,
    pub group_by: String,
    pub wait: Duration,
    pub dedup_window: Duration,
    pub digest_cron: String,
    pub quiet_hours: Vec<QuietHours>,
    pub time_zone: String,
    pub state_change: Option<StateChange>,
    pub message: Message,
    pub escalations: Vec<Escalation>,
}

/// When nobody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct QuietHours {
    pub start_cron: String,
    pub duration: Duration,
}

/// What is a change for the worse, and what for the better.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct StateChange {
    pub raised: String,
    pub recovered: String,
}

/// An operation of a connection, with a template for its input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Message {
    pub connection: ConnectionName,
    pub operation: String,
    pub input: Map<String, Value>,
}

/// Who else is told when nobody says that they have seen it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct Escalation {
    pub after: Duration,
    pub message: Message,
}

/// Whether something is wrong, for rules about changes of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Alarm {
    Raised,
    Recovered,
}

/// What the events of one group have come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name: the text that the rule groups by.
    pub key: String,
    /// What was gathered since somebody was last told.
    pub gathered: Option<Gathered>,
    /// Events that nobody was told of, because they came too soon after a message.
    pub suppressed: u64,
    /// When somebody was last told.
    pub told: Option<Timestamp>,
    /// What they were told.
    pub alarm: Option<Alarm>,
    /// The notification that raised the alarm, until it recovers.
    pub raised_by: Option<Uid>,
}

/// Events that somebody will be told of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as they are called")]
pub struct Gathered {
    pub due: Timestamp,
    pub count: u64,
    pub first_event_time: Timestamp,
    pub last_event_time: Timestamp,
    pub alarm: Option<Alarm>,
    /// Facts of the last event.
    pub last: Map<String, Value>,
}

/// What came of a group whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// What somebody is told.
    pub notification: Notification,
    /// The notification whose alarm is over by that.
    pub over: Option<Uid>,
}

/// A rule that is ready to be used.
#[derive(Clone, Debug)]
pub struct Compiled {
    selection: Selection,
    names_received: bool,
    group_by: FactTemplate,
    wait: Duration,
    dedup_window: Duration,
    digest: Option<Cron>,
    quiet_hours: Vec<(Cron, Duration)>,
    state_change: Option<(Condition, Condition)>,
    messages: Vec<(Duration, Message, FactTemplate)>,
}

impl Terms {
    /// Reads everything in it that is a text with a meaning. `field` is what holds it in the request.
    ///
    /// # Errors
    /// Notes everything that is wrong.
    pub fn compile(&self, tenant: &str, field: &str, wrong: &mut Violations) -> Compiled {
        let at = |part: &str| format!("{field}.{part}");
        if !is_below(&self.below, tenant) {
            wrong.add(at("below"), format!("a resource of {tenant}, by its full name"));
        }
        let selection = Selection::new_in(&at(""), self.below.clone(), self.kinds.clone(), &self.filter, wrong);
        let group_by = FactTemplate::parse(&self.group_by.as_str().into(), &at("group_by"), SUBJECTS, wrong);
        check_time(self.wait, MAX_WAIT, &at("wait"), wrong);
        check_time(self.dedup_window, MAX_WINDOW, &at("dedup_window"), wrong);
        let digest = (!self.digest_cron.is_empty())
            .then(|| wrong.check(&at("digest_cron"), Cron::new(&self.digest_cron, &self.time_zone)))
            .flatten();
        if self.quiet_hours.len() > MAX_STEPS {
            wrong.add(at("quiet_hours"), format!("at most {MAX_STEPS}"));
        }
        let mut quiet_hours = Vec::new();
        for (index, quiet) in self.quiet_hours.iter().enumerate().take(MAX_STEPS) {
            let at = |part: &str| at(&format!("quiet_hours[{index}].{part}"));
            if quiet.duration.is_zero() {
                wrong.add(at("duration"), "required: how long it is quiet");
            }
            check_time(quiet.duration, MAX_WINDOW, &at("duration"), wrong);
            let start = wrong.check(&at("start_cron"), Cron::new(&quiet.start_cron, &self.time_zone));
            quiet_hours.extend(start.map(|start| (start, quiet.duration)));
        }
        let state_change = self.state_change.as_ref().and_then(|change| {
            let mut read = |part: &str, text: &str| {
                let field = at(&format!("state_change.{part}"));
                if text.is_empty() {
                    wrong.add(&field, "required: a CEL expression over `event`");
                }
                parse_filter(&field, text, wrong)
            };
            let (raised, recovered) = (read("raised", &change.raised), read("recovered", &change.recovered));
            Some((raised?, recovered?))
        });
        if self.state_change.is_some() && !self.dedup_window.is_zero() {
            wrong.add(at("dedup_window"), "not with state_change, which tells of each change once and of nothing else");
        }
        let mut messages = Vec::new();
        let mut message = |after: Duration, message: &Message, field: &str, wrong: &mut Violations| {
            let input = Value::Object(message.input.clone());
            if input.to_string().len() > MAX_INPUT {
                wrong.add(format!("{field}.input"), format!("at most {MAX_INPUT} bytes"));
                return;
            }
            let template = FactTemplate::parse(&input, &format!("{field}.input"), SUBJECTS, wrong);
            messages.push((after, message.clone(), template));
        };
        message(Duration::ZERO, &self.message, &at("message"), wrong);
        if self.escalations.len() > MAX_STEPS {
            wrong.add(at("escalations"), format!("at most {MAX_STEPS}"));
        }
        let mut before = Duration::ZERO;
        for (index, escalation) in self.escalations.iter().enumerate().take(MAX_STEPS) {
            let at = |part: &str| at(&format!("escalations[{index}].{part}"));
            if escalation.after <= before || escalation.after > MAX_WINDOW {
                wrong.add(at("after"), "later than the one before, 30 days at most");
            }
            before = escalation.after;
            message(escalation.after, &escalation.message, &at("message"), wrong);
        }
        Compiled {
            selection,
            names_received: self.kinds.iter().any(|kind| kind == RECEIVED),
            group_by,
            wait: self.wait,
            dedup_window: self.dedup_window,
            digest,
            quiet_hours,
            state_change,
            messages,
        }
    }
}

fn check_time(time: Duration, most: Duration, field: &str, wrong: &mut Violations) {
    if time > most {
        wrong.add(field, format!("at most {} hours", most.as_secs() / 3600));
    }
}

impl NotificationRule {
    /// The rule, ready to be used. What is wrong with it was said when it was written.
    pub fn compiled(&self) -> Compiled {
        self.terms.compile(&self.name.tenant_name().to_string(), "", &mut Violations::new())
    }

    /// Whether the rule is about what happened at this time.
    pub fn is_about(&self, logged: &Logged) -> bool {
        !self.disabled && logged.announced.time >= self.since
    }
}

impl Compiled {
    /// Whether somebody may have to be told of an event. Nobody is told of notifications, which would tell of themselves.
    pub fn wants(&self, logged: &Logged) -> bool {
        let kind = logged.announced.event.kind.as_str();
        !kind.starts_with("notification.")
            && (kind != RECEIVED || self.names_received)
            && self.selection.admits(logged)
            && (self.state_change.is_none() || self.alarm(&events::facts(logged)).is_some())
    }

    /// The name of the group that an event belongs to.
    pub fn group(&self, facts: &Facts) -> String {
        let mut key = match self.group_by.fill(facts).0 {
            Value::String(text) => text,
            other => other.to_string(),
        };
        key.truncate(key.floor_char_boundary(MAX_GROUP));
        key
    }

    fn alarm(&self, facts: &Facts) -> Option<Alarm> {
        let (raised, recovered) = self.state_change.as_ref()?;
        if raised.holds(facts) == Ok(true) {
            Some(Alarm::Raised)
        } else if recovered.holds(facts) == Ok(true) {
            Some(Alarm::Recovered)
        } else {
            None
        }
    }

    /// Notes an event that is wanted in its group. Answers whether that has changed it.
    pub fn notice(&self, group: &mut Group, facts: &Facts, time: Timestamp, now: Timestamp) -> bool {
        let alarm = self.alarm(facts);
        if let Some(alarm) = alarm {
            let told = group.alarm.unwrap_or(Alarm::Recovered);
            match &group.gathered {
                // It came back before anybody was told.
                Some(gathered) if gathered.alarm != Some(alarm) && told == alarm => {
                    group.gathered = None;
                    return true;
                }
                None if told == alarm => return false,
                _ => {}
            }
        } else if group.gathered.is_none() && group.told.is_some_and(|told| now < told.plus(self.dedup_window)) {
            group.suppressed += 1;
            return true;
        }
        let last = facts.get(events::SUBJECT.0).cloned().unwrap_or_default();
        match &mut group.gathered {
            Some(gathered) => {
                gathered.count += 1;
                (gathered.last, gathered.last_event_time) = (last, time);
            }
            None => {
                let due = self.due(now);
                group.gathered = Some(Gathered { due, count: 1, first_event_time: time, last_event_time: time, alarm, last });
            }
        }
        true
    }

    /// When somebody is told of what happens now.
    fn due(&self, now: Timestamp) -> Timestamp {
        let mut due = now.plus(self.wait);
        if let Some(digest) = &self.digest {
            due = digest.next(due).unwrap_or(due);
        }
        // One may end where another begins; those that never end are passed over.
        for _ in 0..=2 * MAX_STEPS {
            let ends = self.quiet_hours.iter().filter_map(|(start, duration)| {
                let begun = start.next(due.minus(*duration))?;
                (begun <= due).then(|| begun.plus(*duration))
            });
            match ends.max() {
                Some(end) => due = end,
                None => break,
            }
        }
        due
    }

    /// What somebody is told of what a group has gathered; `None` when that is nothing.
    pub fn tell(
        &self,
        group: &mut Group,
        rule: &NotificationRuleName,
        uid: Uid,
        now: Timestamp,
        console: &Console,
    ) -> Option<Told> {
        let gathered = group.gathered.take()?;
        let link = gathered.last["resource"].as_str().and_then(|resource| console.link(resource)).unwrap_or_default();
        let suppressed = std::mem::take(&mut group.suppressed);
        let mut warnings = Vec::new();
        let mut fill = |step: usize, template: &FactTemplate| {
            let fields = [
                ("rule", rule.to_string().into()),
                ("group", group.key.as_str().into()),
                ("alarm", serde_json::to_value(gathered.alarm).unwrap_or_default()),
                ("count", gathered.count.into()),
                ("suppressed_count", suppressed.into()),
                ("first_event_time", gathered.first_event_time.to_string().into()),
                ("last_event_time", gathered.last_event_time.to_string().into()),
                ("step", step.into()),
                ("link", link.as_str().into()),
            ];
            let fields = fields.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into_iter().collect();
            let facts = Facts::from([(events::SUBJECT.0.to_owned(), gathered.last.clone()), ("notification".to_owned(), fields)]);
            let (input, failed) = template.fill(&facts);
            warnings.extend(failed);
            input
        };
        let escalates = gathered.alarm != Some(Alarm::Recovered);
        let steps = self.messages.iter().enumerate().filter(|(step, _)| *step == 0 || escalates);
        let sends = steps.map(|(step, (after, message, template))| {
            Send::new(message.connection.clone(), message.operation.clone(), fill(step, template), now.plus(*after))
        });
        let sends = sends.collect();
        warnings.sort();
        warnings.dedup();
        let notification = Notification {
            name: NotificationName {
                tenant: rule.tenant.clone(),
                notification_rule: rule.notification_rule.clone(),
                notification: uid,
            },
            group: group.key.clone(),
            alarm: gathered.alarm,
            count: gathered.count,
            suppressed_count: suppressed,
            create_time: now,
            first_event_time: gathered.first_event_time,
            last_event_time: gathered.last_event_time,
            last_event: gathered.last,
            sends,
            acknowledged: None,
            warnings,
        };
        group.told = Some(now);
        group.alarm = gathered.alarm;
        let over = group.raised_by.take_if(|_| !escalates);
        if gathered.alarm == Some(Alarm::Raised) {
            group.raised_by = Some(uid);
        }
        Some(Told { notification, over })
    }
}

#[cfg(test)]
mod tests;
