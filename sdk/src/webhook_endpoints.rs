//! Receivers of events over HTTP.

use std::{collections::BTreeMap, time::Duration};

use freehold_proto::integrations::v1 as pb;
use jiff::Timestamp;

use crate::{
    Secret, WebhookAttempt,
    call::{Call, fields, options, present, request, service, updates},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift as _, resource, values},
};

resource! {
    /// A receiver of events over HTTP. Deliveries are signed as Standard Webhooks says.
    WebhookEndpoint = pb::WebhookEndpoint {
        /// Resource name: `tenants/{tenant}/webhookEndpoints/{webhook_endpoint}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// Where deliveries are sent.
        url: String,
        /// Only events of this resource and all below it.
        below: String,
        /// Kinds wanted; none for all.
        kinds: Vec<String>,
        /// A CEL expression over `event`.
        filter: Option<String>,
        /// One event is sent only after all before it have arrived, or were given up.
        ordered: bool,
        /// Whether deliveries are sent.
        state: WebhookEndpointState,
        /// Why it is disabled.
        disable_reason: Option<String>,
        /// Since when it is disabled.
        disable_time: Option<Timestamp>,
        /// Since when every delivery has failed; absent while they arrive.
        failing_since: Option<Timestamp>,
        /// Until when the secret before the present one signs as well.
        previous_secret_expire_time: Option<Timestamp>,
        /// Authorities in PEM that the receiver's certificate may be of, besides the public ones.
        ca_bundle: Option<String>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

values! {
    /// Whether deliveries are sent.
    WebhookEndpointState {
        /// They are.
        Enabled = 1 "ENABLED",
        /// They are not, and what happens meanwhile is not sent later.
        Disabled = 2 "DISABLED",
    }
}

/// An endpoint with a secret that was just made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewWebhookSecret {
    /// The endpoint.
    pub webhook_endpoint: WebhookEndpoint,
    /// What deliveries are signed with. It cannot be read again.
    pub secret: Secret,
}

service! {
    /// Webhook endpoints and their deliveries; see [`Client::webhooks`](crate::Client::webhooks).
    Webhooks
}

impl Webhooks {
    /// Starts building an endpoint; nothing is sent before [`send`](CreateWebhookEndpoint::send).
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists) if the name is taken,
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) with everything that is wrong,
    /// [`is_quota_exceeded`](crate::Error::is_quota_exceeded).
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// let made = freehold.webhooks().create("ops", "https://receiver.example/freehold").kind("run.*").send().await?;
    /// println!("give this to the receiver: {}", made.secret.reveal());
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>, url: impl Into<String>) -> CreateWebhookEndpoint {
        let request = pb::CreateWebhookEndpointRequest { request_id: new_id(), ..Default::default() };
        let mut call = Call::new(&self.core, request).new_name(Kind::WebhookEndpoint, name.as_ref(), |request, parent, id| {
            (request.parent, request.webhook_endpoint_id) = (parent, id);
        });
        call.request.webhook_endpoint.get_or_insert_default().url = url.into();
        CreateWebhookEndpoint { call }
    }

    /// Reads one endpoint.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetWebhookEndpoint {
        let call = Call::new(&self.core, pb::GetWebhookEndpointRequest::default());
        GetWebhookEndpoint { call: call.name(Kind::WebhookEndpoint, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the endpoints of the client's tenant by their creation, oldest first.
    pub fn list(&self) -> List<WebhookEndpoint> {
        let call = Call::new(&self.core, pb::ListWebhookEndpointsRequest::default())
            .in_tenant(|request, parent| request.parent = parent);
        list!(
            call,
            "/freehold.integrations.v1.WebhookService/ListWebhookEndpoints",
            pb::ListWebhookEndpointsResponse { webhook_endpoints }
        )
    }

    /// Starts changing an endpoint: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch),
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateWebhookEndpoint {
        let request = pb::UpdateWebhookEndpointRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UpdateWebhookEndpoint {
            call: call.name(Kind::WebhookEndpoint, name.as_ref(), |request, name| {
                request.webhook_endpoint.get_or_insert_default().name = name;
            }),
        }
    }

    /// Deletes an endpoint. What is on its way to it is given up.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteWebhookEndpoint {
        let request = pb::DeleteWebhookEndpointRequest { request_id: new_id(), ..Default::default() };
        DeleteWebhookEndpoint {
            call: Call::new(&self.core, request).name(Kind::WebhookEndpoint, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Makes a new secret. The one before signs as well for a day, or for as long as [`grace`](RotateWebhookSecret::grace) says.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn rotate_secret(&self, name: impl AsRef<str>) -> RotateWebhookSecret {
        let request = pb::RotateWebhookSecretRequest { request_id: new_id(), ..Default::default() };
        RotateWebhookSecret {
            call: Call::new(&self.core, request).name(Kind::WebhookEndpoint, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Sends an event that means nothing, at once; a receiver that fails is an answer, not an error.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn test(&self, name: impl AsRef<str>) -> SendTestWebhook {
        let call = Call::new(&self.core, pb::SendTestWebhookRequest::default());
        SendTestWebhook { call: call.name(Kind::WebhookEndpoint, name.as_ref(), |request, name| request.name = name) }
    }
}

request! {
    /// An endpoint to create; see [`Webhooks::create`].
    CreateWebhookEndpoint(pb::CreateWebhookEndpointRequest) -> NewWebhookSecret =
        "/freehold.integrations.v1.WebhookService/CreateWebhookEndpoint", |answer: pb::CreateWebhookEndpointResponse| {
            let webhook_endpoint = present(answer.webhook_endpoint, "webhook_endpoint")?.lift();
            Ok(NewWebhookSecret { webhook_endpoint, secret: Secret(answer.secret) })
        }
}
options!(CreateWebhookEndpoint: request_id, validate_only);
fields! { CreateWebhookEndpoint.webhook_endpoint:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
    /// Only events of this resource and all below it, by its full name.
    below: text,
    /// Only those for which this CEL expression over `event` holds.
    filter: text,
    /// Sends one event only after all before it have arrived, or were given up.
    ordered: flag,
    /// Authorities in PEM that the receiver's certificate may be of, besides the public ones.
    ca_bundle: text,
}

impl CreateWebhookEndpoint {
    /// Also events of this kind, `run.created`, or `run.*` for all of one resource; all kinds when none is said.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.call.request.webhook_endpoint.get_or_insert_default().kinds.push(kind.into());
        self
    }
}

request! {
    /// An endpoint to read; see [`Webhooks::get`].
    GetWebhookEndpoint(pb::GetWebhookEndpointRequest) -> WebhookEndpoint =
        "/freehold.integrations.v1.WebhookService/GetWebhookEndpoint", pb::GetWebhookEndpointResponse { webhook_endpoint }
}

request! {
    /// An endpoint to change; see [`Webhooks::update`].
    UpdateWebhookEndpoint(pb::UpdateWebhookEndpointRequest) -> WebhookEndpoint =
        "/freehold.integrations.v1.WebhookService/UpdateWebhookEndpoint", pb::UpdateWebhookEndpointResponse { webhook_endpoint }
}
options!(UpdateWebhookEndpoint: request_id, validate_only);
updates! { UpdateWebhookEndpoint.webhook_endpoint:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Replaces all labels.
    labels: labels,
    /// Where deliveries are sent.
    url: text,
    /// Only events of this resource and all below it, by its full name; empty for the whole tenant.
    below: text,
    /// Only those for which this CEL expression over `event` holds; empty for all.
    filter: text,
    /// Sends one event only after all before it have arrived, or were given up.
    ordered: flag,
    /// Authorities in PEM that the receiver's certificate may be of, besides the public ones; empty for none.
    ca_bundle: text,
}

impl UpdateWebhookEndpoint {
    /// Replaces the kinds wanted; none for all.
    pub fn kinds<K: Into<String>>(mut self, kinds: impl IntoIterator<Item = K>) -> Self {
        let kinds = kinds.into_iter().map(Into::into).collect();
        self.call.request.webhook_endpoint.get_or_insert_default().kinds = kinds;
        self.mask("kinds");
        self
    }

    /// Sends again what happens from now on, or stops sending.
    pub fn enabled(mut self, enabled: bool) -> Self {
        let state = if enabled { pb::WebhookEndpointState::Enabled } else { pb::WebhookEndpointState::Disabled };
        self.call.request.webhook_endpoint.get_or_insert_default().state = state.into();
        self.mask("state");
        self
    }
}

request! {
    /// An endpoint to delete; see [`Webhooks::delete`].
    DeleteWebhookEndpoint(pb::DeleteWebhookEndpointRequest) -> () =
        "/freehold.integrations.v1.WebhookService/DeleteWebhookEndpoint", pb::DeleteWebhookEndpointResponse {}
}
options!(DeleteWebhookEndpoint: request_id, etag, allow_missing);

request! {
    /// A secret to make; see [`Webhooks::rotate_secret`].
    RotateWebhookSecret(pb::RotateWebhookSecretRequest) -> NewWebhookSecret =
        "/freehold.integrations.v1.WebhookService/RotateWebhookSecret", |answer: pb::RotateWebhookSecretResponse| {
            let webhook_endpoint = present(answer.webhook_endpoint, "webhook_endpoint")?.lift();
            Ok(NewWebhookSecret { webhook_endpoint, secret: Secret(answer.secret) })
        }
}
options!(RotateWebhookSecret: request_id, etag);

impl RotateWebhookSecret {
    /// How long the secret before signs as well, up to seven days.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.call.request.grace = grace.try_into().ok();
        self
    }
}

request! {
    /// A test to send; see [`Webhooks::test`].
    SendTestWebhook(pb::SendTestWebhookRequest) -> WebhookAttempt =
        "/freehold.integrations.v1.WebhookService/SendTestWebhook", pb::SendTestWebhookResponse { attempt }
}
