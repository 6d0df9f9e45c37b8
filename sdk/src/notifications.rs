//! What somebody was told.

use freehold_proto::integrations::v1 as pb;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    NotificationMessage, NotificationRules,
    call::{Call, options, request},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{resource, values},
};

resource! {
    /// One thing that somebody is told, and what has become of its messages.
    Notification = pb::Notification {
        /// Resource name: `{notification_rule}/notifications/{uid}`.
        name: String,
        /// The group that it tells of; absent when the rule has one group.
        group: Option<String>,
        /// What it says about the group's state; of rules about state only.
        alarm: Option<NotificationAlarm>,
        /// Events that it tells of.
        count: i64,
        /// Events before them that were only counted.
        suppressed_count: i64,
        /// When it was made.
        create_time: Option<Timestamp>,
        /// When the first of its events happened.
        first_event_time: Option<Timestamp>,
        /// When the last of them happened.
        last_event_time: Option<Timestamp>,
        /// What templates read of the last event.
        last_event: Map<String, Value>,
        /// Where its first message stands.
        state: NotificationSendState,
        /// The message, and then the escalations.
        sends: Vec<NotificationSend>,
        /// When somebody said that they had seen it.
        acknowledge_time: Option<Timestamp>,
        /// Who did.
        acknowledge_principal: Option<String>,
        /// What templates could not say.
        warnings: Vec<String>,
    }
}

resource! {
    /// One message over one connection.
    NotificationSend = pb::NotificationSend {
        /// What is sent, with its templates filled.
        message: Option<NotificationMessage>,
        /// Where it stands.
        state: NotificationSendState,
        /// When it is tried next; absent when it is over.
        next_attempt_time: Option<Timestamp>,
        /// How often it was tried.
        attempt_count: i32,
        /// When it was last tried.
        last_attempt_time: Option<Timestamp>,
        /// Why it did not get through.
        error: Option<String>,
    }
}

values! {
    /// What a notification says about a group's state.
    NotificationAlarm {
        /// Something is wrong.
        Raised = 1 "RAISED",
        /// It is right again.
        Recovered = 2 "RECOVERED",
    }
}

values! {
    /// Where a message stands.
    NotificationSendState {
        /// It waits for its time, or is tried again.
        Pending = 1 "PENDING",
        /// The system has taken it.
        Sent = 2 "SENT",
        /// There is no way to send it.
        Skipped = 3 "SKIPPED",
        /// It was refused, or given up.
        Failed = 4 "FAILED",
        /// It is not needed any more.
        Cancelled = 5 "CANCELLED",
    }
}

impl NotificationRules {
    /// Lists what a rule has told, newest first.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn notifications(&self, rule: impl AsRef<str>) -> ListNotifications {
        let call = Call::new(&self.core, pb::ListNotificationsRequest::default());
        ListNotifications { call: call.name(Kind::NotificationRule, rule.as_ref(), |request, name| request.parent = name) }
    }

    /// Reads one notification.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn notification(&self, name: impl AsRef<str>) -> GetNotification {
        let call = Call::new(&self.core, pb::GetNotificationRequest::default());
        GetNotification { call: call.name(Kind::Notification, name.as_ref(), |request, name| request.name = name) }
    }

    /// Says that the caller has seen it: nobody else is told.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn acknowledge(&self, name: impl AsRef<str>) -> AcknowledgeNotification {
        let request = pb::AcknowledgeNotificationRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        AcknowledgeNotification { call: call.name(Kind::Notification, name.as_ref(), |request, name| request.name = name) }
    }

    /// Has messages that failed or were skipped sent again.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) when there
    /// are none.
    pub fn retry(&self, name: impl AsRef<str>) -> RetryNotification {
        let request = pb::RetryNotificationRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        RetryNotification { call: call.name(Kind::Notification, name.as_ref(), |request, name| request.name = name) }
    }
}

/// A list being built; see [`NotificationRules::notifications`].
#[must_use = "nothing is sent before `list`"]
#[derive(Clone)]
pub struct ListNotifications {
    call: Call<pb::ListNotificationsRequest>,
}

impl ListNotifications {
    /// Only those whose first message stands so.
    pub fn state(mut self, state: NotificationSendState) -> Self {
        self.call.request.state = state.number();
        self
    }

    /// The list, page by page or one by one.
    pub fn list(self) -> List<Notification> {
        let call = self.call;
        list!(
            call,
            "/freehold.integrations.v1.NotificationService/ListNotifications",
            pb::ListNotificationsResponse { notifications }
        )
    }
}

request! {
    /// A notification to read; see [`NotificationRules::notification`].
    GetNotification(pb::GetNotificationRequest) -> Notification =
        "/freehold.integrations.v1.NotificationService/GetNotification", pb::GetNotificationResponse { notification }
}

request! {
    /// A notification that was seen; see [`NotificationRules::acknowledge`].
    AcknowledgeNotification(pb::AcknowledgeNotificationRequest) -> Notification =
        "/freehold.integrations.v1.NotificationService/AcknowledgeNotification", pb::AcknowledgeNotificationResponse { notification }
}
options!(AcknowledgeNotification: request_id);

request! {
    /// A notification to send again; see [`NotificationRules::retry`].
    RetryNotification(pb::RetryNotificationRequest) -> Notification =
        "/freehold.integrations.v1.NotificationService/RetryNotification", pb::RetryNotificationResponse { notification }
}
options!(RetryNotification: request_id);
