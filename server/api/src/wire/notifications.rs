//! Notifications as the contract shows them.

use freehold_domain::{
    notification_rules::Alarm,
    notifications::{Notification, Send, SendState},
};
use freehold_proto::integrations::v1 as pb;
use serde_json::Value;

use super::render;

/// A state to choose by; none for all.
pub(super) fn state(number: i32) -> Result<Option<SendState>, String> {
    use pb::NotificationSendState as Wanted;
    match Wanted::try_from(number) {
        Ok(Wanted::Unspecified) => Ok(None),
        Ok(Wanted::Pending) => Ok(Some(SendState::Pending)),
        Ok(Wanted::Sent) => Ok(Some(SendState::Sent)),
        Ok(Wanted::Skipped) => Ok(Some(SendState::Skipped)),
        Ok(Wanted::Failed) => Ok(Some(SendState::Failed)),
        Ok(Wanted::Cancelled) => Ok(Some(SendState::Cancelled)),
        Err(_) => Err("PENDING, SENT, SKIPPED, FAILED or CANCELLED".to_owned()),
    }
}

fn rendered(state: SendState) -> i32 {
    match state {
        SendState::Pending => pb::NotificationSendState::Pending,
        SendState::Sent => pb::NotificationSendState::Sent,
        SendState::Skipped => pb::NotificationSendState::Skipped,
        SendState::Failed => pb::NotificationSendState::Failed,
        SendState::Cancelled => pb::NotificationSendState::Cancelled,
    }
    .into()
}

pub(super) fn message(notification: &Notification) -> pb::Notification {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let alarm = match notification.alarm {
        None => pb::NotificationAlarm::Unspecified,
        Some(Alarm::Raised) => pb::NotificationAlarm::Raised,
        Some(Alarm::Recovered) => pb::NotificationAlarm::Recovered,
    };
    let acknowledged = notification.acknowledged.as_ref();
    pb::Notification {
        name: notification.name.to_string(),
        group: notification.group.clone(),
        alarm: alarm.into(),
        count: count(notification.count),
        suppressed_count: count(notification.suppressed_count),
        create_time: Some(render::time(notification.create_time)),
        first_event_time: Some(render::time(notification.first_event_time)),
        last_event_time: Some(render::time(notification.last_event_time)),
        last_event: Some(render::object(&notification.last_event)),
        state: rendered(notification.state()),
        sends: notification.sends.iter().map(send).collect(),
        acknowledge_time: acknowledged.map(|seen| render::time(seen.time)),
        acknowledge_principal: acknowledged.map(|seen| seen.principal.clone()).unwrap_or_default(),
        warnings: notification.warnings.clone(),
    }
}

/// One that was never made.
pub(super) fn previewed(notification: &Notification) -> pb::Notification {
    pb::Notification { name: String::new(), ..message(notification) }
}

fn send(send: &Send) -> pb::NotificationSend {
    let input = match &send.input {
        Value::Object(input) => Some(render::object(input)),
        _ => None,
    };
    pb::NotificationSend {
        message: Some(pb::NotificationMessage {
            connection: send.connection.to_string(),
            operation: send.operation.clone(),
            input,
        }),
        state: rendered(send.state),
        next_attempt_time: send.due.map(render::time),
        attempt_count: i32::try_from(send.attempt_count).unwrap_or(i32::MAX),
        last_attempt_time: send.last_attempt_time.map(render::time),
        error: send.error.clone(),
    }
}
