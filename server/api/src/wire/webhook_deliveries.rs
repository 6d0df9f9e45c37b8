//! Deliveries as the contract shows them.

use freehold_domain::webhook_deliveries::{Attempt, DeliveryState, WebhookDelivery};
use freehold_proto::integrations::v1 as pb;

use super::render;

/// A state to choose by; none for all.
pub(super) fn state(number: i32) -> Result<Option<DeliveryState>, String> {
    use pb::WebhookDeliveryState as Wanted;
    match Wanted::try_from(number) {
        Ok(Wanted::Unspecified) => Ok(None),
        Ok(Wanted::Pending) => Ok(Some(DeliveryState::Pending)),
        Ok(Wanted::Delivered) => Ok(Some(DeliveryState::Delivered)),
        Ok(Wanted::Failed) => Ok(Some(DeliveryState::Failed)),
        Err(_) => Err("PENDING, DELIVERED or FAILED".to_owned()),
    }
}

pub(super) fn message(delivery: &WebhookDelivery) -> pb::WebhookDelivery {
    let state = match delivery.state {
        DeliveryState::Pending => pb::WebhookDeliveryState::Pending,
        DeliveryState::Delivered => pb::WebhookDeliveryState::Delivered,
        DeliveryState::Failed => pb::WebhookDeliveryState::Failed,
    };
    pb::WebhookDelivery {
        name: delivery.name.to_string(),
        event: delivery.event.to_string(),
        kind: delivery.kind.clone(),
        resource: delivery.resource.clone(),
        create_time: Some(render::time(delivery.create_time)),
        state: state.into(),
        next_attempt_time: delivery.due.map(render::time),
        attempt_count: i32::try_from(delivery.attempt_count).unwrap_or(i32::MAX),
        attempts: delivery.attempts.iter().map(attempt).collect(),
        body: delivery.body.to_string(),
    }
}

pub(super) fn attempt(attempt: &Attempt) -> pb::WebhookAttempt {
    pb::WebhookAttempt {
        time: Some(render::time(attempt.time)),
        duration_ms: i32::try_from(attempt.duration.as_millis()).unwrap_or(i32::MAX),
        status: attempt.status.into(),
        response_headers: attempt.response_headers.clone(),
        response_body: attempt.response_body.clone(),
        error: attempt.error.clone(),
    }
}
