//! Events on their way to webhook endpoints.

use std::collections::BTreeMap;

use freehold_proto::integrations::v1 as pb;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    Webhooks,
    call::{Call, options, request},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{resource, values},
};

resource! {
    /// One event on its way to one endpoint.
    WebhookDelivery = pb::WebhookDelivery {
        /// Resource name: `{webhook_endpoint}/deliveries/{uid}`.
        name: String,
        /// Uid of the event.
        event: String,
        /// Kind of the event.
        kind: String,
        /// The resource that it is about.
        resource: String,
        /// When it was due for the first time.
        create_time: Option<Timestamp>,
        /// Where it stands.
        state: WebhookDeliveryState,
        /// When it is tried next; absent when it is over.
        next_attempt_time: Option<Timestamp>,
        /// How often it was tried.
        attempt_count: i32,
        /// The newest tries, at most 10, oldest first.
        attempts: Vec<WebhookAttempt>,
        /// What is sent.
        body: Option<Value>,
    }
}

resource! {
    /// One try of a delivery.
    WebhookAttempt = pb::WebhookAttempt {
        /// When.
        time: Option<Timestamp>,
        /// How long it took, in milliseconds.
        duration_ms: i32,
        /// What the receiver answered; 0 when it did not.
        status: i32,
        /// Headers of the answer; of those that may hold a secret the name only.
        response_headers: BTreeMap<String, String>,
        /// The first 4 KiB of the body of the answer.
        response_body: String,
        /// Why it failed; absent when it arrived.
        error: Option<String>,
    }
}

values! {
    /// Where a delivery stands.
    WebhookDeliveryState {
        /// It is tried, or will be.
        Pending = 1 "PENDING",
        /// The receiver has taken it.
        Delivered = 2 "DELIVERED",
        /// It was given up.
        Failed = 3 "FAILED",
    }
}

impl Webhooks {
    /// Lists deliveries of an endpoint, newest first.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn deliveries(&self, endpoint: impl AsRef<str>) -> ListWebhookDeliveries {
        let call = Call::new(&self.core, pb::ListWebhookDeliveriesRequest::default());
        ListWebhookDeliveries { call: call.name(Kind::WebhookEndpoint, endpoint.as_ref(), |request, name| request.parent = name) }
    }

    /// Reads one delivery.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn delivery(&self, name: impl AsRef<str>) -> GetWebhookDelivery {
        let call = Call::new(&self.core, pb::GetWebhookDeliveryRequest::default());
        GetWebhookDelivery { call: call.name(Kind::WebhookDelivery, name.as_ref(), |request, name| request.name = name) }
    }

    /// Has a delivery sent again, whatever has become of it.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while the endpoint
    /// is disabled.
    pub fn redeliver(&self, name: impl AsRef<str>) -> RedeliverWebhook {
        let request = pb::RedeliverWebhookRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        RedeliverWebhook { call: call.name(Kind::WebhookDelivery, name.as_ref(), |request, name| request.name = name) }
    }
}

/// A list being built; see [`Webhooks::deliveries`].
#[must_use = "nothing is sent before `list`"]
#[derive(Clone)]
pub struct ListWebhookDeliveries {
    call: Call<pb::ListWebhookDeliveriesRequest>,
}

impl ListWebhookDeliveries {
    /// Only those in this state.
    pub fn state(mut self, state: WebhookDeliveryState) -> Self {
        self.call.request.state = state.number();
        self
    }

    /// The list, page by page or one by one.
    pub fn list(self) -> List<WebhookDelivery> {
        let call = self.call;
        list!(
            call,
            "/freehold.integrations.v1.WebhookService/ListWebhookDeliveries",
            pb::ListWebhookDeliveriesResponse { webhook_deliveries }
        )
    }
}

request! {
    /// A delivery to read; see [`Webhooks::delivery`].
    GetWebhookDelivery(pb::GetWebhookDeliveryRequest) -> WebhookDelivery =
        "/freehold.integrations.v1.WebhookService/GetWebhookDelivery", pb::GetWebhookDeliveryResponse { webhook_delivery }
}

request! {
    /// A delivery to send again; see [`Webhooks::redeliver`].
    RedeliverWebhook(pb::RedeliverWebhookRequest) -> WebhookDelivery =
        "/freehold.integrations.v1.WebhookService/RedeliverWebhook", pb::RedeliverWebhookResponse { webhook_delivery }
}
options!(RedeliverWebhook: request_id);
