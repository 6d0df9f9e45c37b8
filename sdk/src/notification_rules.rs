//! Rules on who is told what of what happens.

use std::{collections::BTreeMap, time::Duration};

use freehold_proto::integrations::v1 as pb;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    Notification,
    call::{Call, fields, options, request, service, updates},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift as _, duration, json_value, resource, values},
};

resource! {
    /// Who is told what of what happens, and how often.
    NotificationRule = pb::NotificationRule {
        /// Resource name: `tenants/{tenant}/notificationRules/{notification_rule}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// Only events of this resource and all below it.
        below: String,
        /// Kinds wanted; without one, all but `connection.message_received`.
        kinds: Vec<String>,
        /// A CEL expression over `event`.
        filter: Option<String>,
        /// A template; events for which it gives the same text are one group.
        group_by: Option<String>,
        /// How long events are gathered before somebody is told.
        #[serde(serialize_with = "crate::wire::in_seconds")]
        wait: Option<Duration>,
        /// How long after a message further events of its group are only counted.
        #[serde(serialize_with = "crate::wire::in_seconds")]
        dedup_window: Option<Duration>,
        /// When messages are sent, as five fields of cron.
        digest_cron: Option<String>,
        /// When none are sent.
        quiet_hours: Vec<QuietHours>,
        /// Time zone of both; absent for UTC.
        time_zone: Option<String>,
        /// Tells only when a group gets worse, and when it recovers.
        state_change: Option<StateChange>,
        /// What is sent.
        message: Option<NotificationMessage>,
        /// What is sent later, unless somebody has seen it or it has recovered.
        escalations: Vec<Escalation>,
        /// Whether anybody is told.
        state: NotificationRuleState,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

resource! {
    /// When no messages are sent.
    QuietHours = pb::QuietHours {
        /// When it begins, as five fields of cron: `0 22 * * *`.
        start_cron: String,
        /// How long it lasts.
        #[serde(serialize_with = "crate::wire::in_seconds")]
        duration: Option<Duration>,
    }
}

resource! {
    /// What is a change for the worse, and what for the better.
    StateChange = pb::StateChange {
        /// A CEL expression over `event`: something is wrong.
        raised: String,
        /// A CEL expression over `event`: it is right again.
        recovered: String,
    }
}

resource! {
    /// An operation of a connection, with its input as a template.
    NotificationMessage = pb::NotificationMessage {
        /// The connection.
        connection: String,
        /// The operation, for example `messages.post`.
        operation: String,
        /// Its input. Strings may hold `${…}` with expressions over `event` and `notification`.
        input: Map<String, Value>,
    }
}

resource! {
    /// Who else is told when nobody says that they have seen it.
    Escalation = pb::Escalation {
        /// How long after the first message.
        #[serde(serialize_with = "crate::wire::in_seconds")]
        after: Option<Duration>,
        /// What is sent.
        message: Option<NotificationMessage>,
    }
}

values! {
    /// Whether anybody is told.
    NotificationRuleState {
        /// They are.
        Enabled = 1 "ENABLED",
        /// They are not.
        Disabled = 2 "DISABLED",
    }
}

impl NotificationMessage {
    /// A message by this operation of a connection.
    pub fn new(connection: impl Into<String>, operation: impl Into<String>) -> Self {
        Self { connection: connection.into(), operation: operation.into(), input: Map::new() }
    }

    /// Adds a part of the operation's input: `"${notification.count} runs failed"`.
    pub fn input(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.input.insert(name.into(), value.into());
        self
    }
}

/// What a rule would have told.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct NotificationPreview {
    /// The newest 50, oldest first. They have no name, and nothing of them was sent.
    pub notifications: Vec<Notification>,
    /// How many there would have been.
    pub notification_count: i32,
    /// Events that were looked at.
    pub event_count: i32,
    /// Those among them that the rule wants.
    pub wanted_event_count: i32,
    /// When the oldest of them happened.
    pub oldest_event_time: Option<Timestamp>,
}

service! {
    /// Rules on who is told what, and what they were told; see [`Client::notification_rules`](crate::Client::notification_rules).
    NotificationRules
}

impl NotificationRules {
    /// Starts building a rule; nothing is sent before [`send`](CreateNotificationRule::send).
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists) if the name is taken,
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) with everything that is wrong,
    /// [`is_permission_denied`](crate::Error::is_permission_denied) without the right to use its connections,
    /// [`is_quota_exceeded`](crate::Error::is_quota_exceeded).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use freehold::NotificationMessage;
    ///
    /// let message = NotificationMessage::new("chat", "messages.post")
    ///     .input("channel", "C0OPS")
    ///     .input("text", "${notification.count} runs failed, the last one ${event.resource}");
    /// let rules = freehold.notification_rules();
    /// let rule = rules.create("failures", message).kinds(["run.moved"]).filter("event.data.outcome == 'FAILED'");
    /// rule.wait(std::time::Duration::from_secs(60)).send().await?;
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>, message: NotificationMessage) -> CreateNotificationRule {
        let request = pb::CreateNotificationRuleRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request).new_name(Kind::NotificationRule, name.as_ref(), |request, parent, id| {
            (request.parent, request.notification_rule_id) = (parent, id);
        });
        CreateNotificationRule { call }.message(message)
    }

    /// Starts asking what a rule would have told of the newest events; nothing is written, and nothing is sent by it.
    ///
    /// # Errors
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) with everything that is wrong.
    pub fn preview(&self, message: NotificationMessage) -> PreviewNotificationRule {
        let call = Call::new(&self.core, pb::PreviewNotificationRuleRequest::default())
            .in_tenant(|request, parent| request.parent = parent);
        PreviewNotificationRule { call }.message(message)
    }

    /// Reads one rule.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetNotificationRule {
        let call = Call::new(&self.core, pb::GetNotificationRuleRequest::default());
        GetNotificationRule { call: call.name(Kind::NotificationRule, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the rules of the client's tenant by their creation, oldest first.
    pub fn list(&self) -> List<NotificationRule> {
        let call = Call::new(&self.core, pb::ListNotificationRulesRequest::default())
            .in_tenant(|request, parent| request.parent = parent);
        list!(
            call,
            "/freehold.integrations.v1.NotificationService/ListNotificationRules",
            pb::ListNotificationRulesResponse { notification_rules }
        )
    }

    /// Starts changing a rule: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch),
    /// and those of [`create`](Self::create).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateNotificationRule {
        let request = pb::UpdateNotificationRuleRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UpdateNotificationRule {
            call: call.name(Kind::NotificationRule, name.as_ref(), |request, name| {
                request.notification_rule.get_or_insert_default().name = name;
            }),
        }
    }

    /// Deletes a rule with its notifications. What is on its way is given up.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteNotificationRule {
        let request = pb::DeleteNotificationRuleRequest { request_id: new_id(), ..Default::default() };
        DeleteNotificationRule {
            call: Call::new(&self.core, request).name(Kind::NotificationRule, name.as_ref(), |request, name| request.name = name),
        }
    }
}

request! {
    /// A rule to create; see [`NotificationRules::create`].
    CreateNotificationRule(pb::CreateNotificationRuleRequest) -> NotificationRule =
        "/freehold.integrations.v1.NotificationService/CreateNotificationRule", pb::CreateNotificationRuleResponse { notification_rule }
}
options!(CreateNotificationRule: request_id, validate_only);
fields! { CreateNotificationRule.notification_rule:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
}

request! {
    /// A rule to try; see [`NotificationRules::preview`].
    PreviewNotificationRule(pb::PreviewNotificationRuleRequest) -> NotificationPreview =
        "/freehold.integrations.v1.NotificationService/PreviewNotificationRule", |answer: pb::PreviewNotificationRuleResponse| {
            Ok(NotificationPreview {
                notifications: answer.notifications.lift(),
                notification_count: answer.notification_count,
                event_count: answer.event_count,
                wanted_event_count: answer.wanted_event_count,
                oldest_event_time: answer.oldest_event_time.lift(),
            })
        }
}

request! {
    /// A rule to read; see [`NotificationRules::get`].
    GetNotificationRule(pb::GetNotificationRuleRequest) -> NotificationRule =
        "/freehold.integrations.v1.NotificationService/GetNotificationRule", pb::GetNotificationRuleResponse { notification_rule }
}

request! {
    /// A rule to change; see [`NotificationRules::update`].
    UpdateNotificationRule(pb::UpdateNotificationRuleRequest) -> NotificationRule =
        "/freehold.integrations.v1.NotificationService/UpdateNotificationRule", pb::UpdateNotificationRuleResponse { notification_rule }
}
options!(UpdateNotificationRule: request_id, validate_only);
updates! { UpdateNotificationRule.notification_rule:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Replaces all labels.
    labels: labels,
}

request! {
    /// A rule to delete; see [`NotificationRules::delete`].
    DeleteNotificationRule(pb::DeleteNotificationRuleRequest) -> () =
        "/freehold.integrations.v1.NotificationService/DeleteNotificationRule", pb::DeleteNotificationRuleResponse {}
}
options!(DeleteNotificationRule: request_id, etag, allow_missing);

impl CreateNotificationRule {
    fn mask(&mut self, _: &str) {}
}

impl PreviewNotificationRule {
    fn mask(&mut self, _: &str) {}
}

/// What a rule says, alike in all requests that hold one.
macro_rules! terms {
    ($($builder:ident),*) => {$(
        impl $builder {
            fn put(mut self, field: &str, put: impl FnOnce(&mut pb::NotificationRule)) -> Self {
                put(self.call.request.notification_rule.get_or_insert_default());
                self.mask(field);
                self
            }

            fn full(&mut self, message: NotificationMessage) -> pb::NotificationMessage {
                let mut full = pb::NotificationMessage {
                    operation: message.operation,
                    input: Some(prost_types::Struct {
                        fields: message.input.into_iter().map(|(name, value)| (name, json_value(value))).collect(),
                    }),
                    ..Default::default()
                };
                self.call = self.call.clone().reference(Kind::Connection, &message.connection, |_, name| full.connection = name);
                full
            }

            /// Only events of this resource and all below it, by its full name; empty for the whole tenant.
            pub fn below(self, below: impl Into<String>) -> Self {
                self.put("below", |rule| rule.below = below.into())
            }

            /// Only these kinds, `run.created`, or `run.*` for all of one resource.
            pub fn kinds<K: Into<String>>(self, kinds: impl IntoIterator<Item = K>) -> Self {
                self.put("kinds", |rule| rule.kinds = kinds.into_iter().map(Into::into).collect())
            }

            /// Only those for which this CEL expression over `event` holds; empty for all.
            pub fn filter(self, filter: impl Into<String>) -> Self {
                self.put("filter", |rule| rule.filter = filter.into())
            }

            /// Events for which this template gives the same text are one group; empty for one group of all.
            pub fn group_by(self, template: impl Into<String>) -> Self {
                self.put("group_by", |rule| rule.group_by = template.into())
            }

            /// How long events are gathered before somebody is told, a day at most.
            pub fn wait(self, wait: Duration) -> Self {
                self.put("wait", |rule| rule.wait = Some(duration(wait)))
            }

            /// How long after a message further events of its group are only counted, 30 days at most.
            pub fn dedup_window(self, window: Duration) -> Self {
                self.put("dedup_window", |rule| rule.dedup_window = Some(duration(window)))
            }

            /// When messages are sent, as five fields of cron; empty for as soon as the wait is over.
            pub fn digest_cron(self, cron: impl Into<String>) -> Self {
                self.put("digest_cron", |rule| rule.digest_cron = cron.into())
            }

            /// When none are sent: each begins at a time of cron, and lasts for a while.
            pub fn quiet_hours<C: Into<String>>(self, hours: impl IntoIterator<Item = (C, Duration)>) -> Self {
                let hours = hours.into_iter();
                let hours = hours.map(|(start, time)| pb::QuietHours { start_cron: start.into(), duration: Some(duration(time)) });
                self.put("quiet_hours", |rule| rule.quiet_hours = hours.collect())
            }

            /// Time zone of both by its IANA name; empty for UTC.
            pub fn time_zone(self, zone: impl Into<String>) -> Self {
                self.put("time_zone", |rule| rule.time_zone = zone.into())
            }

            /// Tells only when a group gets worse, and when it recovers: two CEL expressions over `event`.
            pub fn state_change(self, raised: impl Into<String>, recovered: impl Into<String>) -> Self {
                let change = pb::StateChange { raised: raised.into(), recovered: recovered.into() };
                self.put("state_change", |rule| rule.state_change = Some(change))
            }

            /// What is sent.
            pub fn message(mut self, message: NotificationMessage) -> Self {
                let message = self.full(message);
                self.put("message", |rule| rule.message = Some(message))
            }

            /// What is sent later, unless somebody has seen it or it has recovered: each so long after the first message.
            pub fn escalations(mut self, escalations: impl IntoIterator<Item = (Duration, NotificationMessage)>) -> Self {
                let mut all = Vec::new();
                for (after, message) in escalations {
                    all.push(pb::Escalation { after: Some(duration(after)), message: Some(self.full(message)) });
                }
                self.put("escalations", |rule| rule.escalations = all)
            }

            /// Whether anybody is told; a new rule tells unless it is said not to.
            pub fn enabled(self, enabled: bool) -> Self {
                let state = if enabled { pb::NotificationRuleState::Enabled } else { pb::NotificationRuleState::Disabled };
                self.put("state", |rule| rule.state = state.into())
            }
        }
    )*};
}
terms!(CreateNotificationRule, UpdateNotificationRule, PreviewNotificationRule);
