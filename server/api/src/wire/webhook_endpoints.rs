//! WebhookService.

use freehold_domain::{
    Result,
    names::{TenantName, WebhookEndpointName},
    webhook_endpoints::WebhookEndpoint,
};
use freehold_proto::integrations::v1 as pb;
use freehold_service::{
    webhook_deliveries,
    webhook_endpoints::{self, CreateWebhookEndpoint, UpdateWebhookEndpoint},
};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, webhook_deliveries as deliveries, write};

#[tonic::async_trait]
impl pb::webhook_service_server::WebhookService for Wire {
    async fn create_webhook_endpoint(
        &self,
        request: Request<pb::CreateWebhookEndpointRequest>,
    ) -> Result<Response<pb::CreateWebhookEndpointResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let (endpoint, secret) = webhook_endpoints::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateWebhookEndpointResponse { webhook_endpoint: Some(message(&endpoint)), secret })
        })
        .await
    }

    async fn get_webhook_endpoint(
        &self,
        request: Request<pb::GetWebhookEndpointRequest>,
    ) -> Result<Response<pb::GetWebhookEndpointResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let endpoint = webhook_endpoints::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetWebhookEndpointResponse { webhook_endpoint: Some(message(&endpoint)) })
        })
        .await
    }

    async fn list_webhook_endpoints(
        &self,
        request: Request<pb::ListWebhookEndpointsRequest>,
    ) -> Result<Response<pb::ListWebhookEndpointsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("webhookEndpoints|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = webhook_endpoints::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListWebhookEndpointsResponse {
                webhook_endpoints: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn update_webhook_endpoint(
        &self,
        request: Request<pb::UpdateWebhookEndpointRequest>,
    ) -> Result<Response<pb::UpdateWebhookEndpointResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.webhook_endpoint.as_ref().map(|endpoint| endpoint.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let endpoint = webhook_endpoints::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateWebhookEndpointResponse { webhook_endpoint: Some(message(&endpoint)) })
        })
        .await
    }

    async fn delete_webhook_endpoint(
        &self,
        request: Request<pb::DeleteWebhookEndpointRequest>,
    ) -> Result<Response<pb::DeleteWebhookEndpointResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            webhook_endpoints::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteWebhookEndpointResponse {})
        })
        .await
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<pb::RotateWebhookSecretRequest>,
    ) -> Result<Response<pb::RotateWebhookSecretResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, &body.etag);
            let mut fields = parse::Fields::new();
            let name = fields.text("name", &body.name);
            let grace = fields.duration("grace", body.grace);
            let (write, name) = parse::both(write, fields.finish(|| name))?;
            let (endpoint, secret) = webhook_endpoints::rotate(&self.app, &caller, &name, grace, &write).await?;
            Ok(pb::RotateWebhookSecretResponse { webhook_endpoint: Some(message(&endpoint)), secret })
        })
        .await
    }

    async fn send_test_webhook(
        &self,
        request: Request<pb::SendTestWebhookRequest>,
    ) -> Result<Response<pb::SendTestWebhookResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let attempt = webhook_endpoints::test(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::SendTestWebhookResponse { attempt: Some(deliveries::attempt(&attempt)) })
        })
        .await
    }

    async fn list_webhook_deliveries(
        &self,
        request: Request<pb::ListWebhookDeliveriesRequest>,
    ) -> Result<Response<pb::ListWebhookDeliveriesResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("deliveries|{}|{}", body.parent, body.state);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<WebhookEndpointName>("parent", &body.parent);
            let state = fields.check("state", deliveries::state(body.state)).flatten();
            let page = fields.page(body.page_size, &body.page_token, true, &list)?;
            let listed = webhook_deliveries::list(&self.app, &caller, &fields.finish(|| parent)?, state, page).await?;
            Ok(pb::ListWebhookDeliveriesResponse {
                webhook_deliveries: listed.items.iter().map(deliveries::message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn get_webhook_delivery(
        &self,
        request: Request<pb::GetWebhookDeliveryRequest>,
    ) -> Result<Response<pb::GetWebhookDeliveryResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let delivery = webhook_deliveries::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetWebhookDeliveryResponse { webhook_delivery: Some(deliveries::message(&delivery)) })
        })
        .await
    }

    async fn redeliver_webhook(
        &self,
        request: Request<pb::RedeliverWebhookRequest>,
    ) -> Result<Response<pb::RedeliverWebhookResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, ""), parse::name("name", &body.name))?;
            let delivery = webhook_deliveries::redeliver(&self.app, &caller, &name, &write).await?;
            Ok(pb::RedeliverWebhookResponse { webhook_delivery: Some(deliveries::message(&delivery)) })
        })
        .await
    }
}

fn create(body: pb::CreateWebhookEndpointRequest) -> Result<CreateWebhookEndpoint> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("webhook_endpoint_id", &body.webhook_endpoint_id);
    let endpoint = body.webhook_endpoint.unwrap_or_default();
    let described = fields.described("webhook_endpoint", endpoint.display_name, endpoint.labels);
    if endpoint.url.is_empty() {
        fields.wrong("webhook_endpoint.url", "required: where deliveries are sent");
    }
    fields.finish(|| {
        Some(CreateWebhookEndpoint {
            parent: parent?,
            id,
            described,
            url: endpoint.url,
            below: endpoint.below,
            kinds: endpoint.kinds,
            filter: endpoint.filter,
            ordered: endpoint.ordered,
            ca_bundle: endpoint.ca_bundle,
        })
    })
}

fn update(body: pb::UpdateWebhookEndpointRequest) -> Result<UpdateWebhookEndpoint> {
    let writable = ["display_name", "labels", "url", "below", "kinds", "filter", "ordered", "state", "ca_bundle"];
    let mask = parse::Mask::new(body.update_mask.as_ref(), &writable)?;
    let mut fields = parse::Fields::new();
    let endpoint = body.webhook_endpoint.unwrap_or_default();
    let name = fields.text("webhook_endpoint.name", &endpoint.name);
    let (display_name, labels) = (!endpoint.display_name.is_empty(), !endpoint.labels.is_empty());
    let described = fields.described("webhook_endpoint", endpoint.display_name, endpoint.labels);
    let enabled = match pb::WebhookEndpointState::try_from(endpoint.state) {
        Ok(pb::WebhookEndpointState::Enabled) => Some(true),
        Ok(pb::WebhookEndpointState::Disabled) => Some(false),
        _ => None,
    };
    if enabled.is_none() && mask.writes("state", false) {
        fields.wrong("webhook_endpoint.state", "ENABLED or DISABLED");
    }
    let enabled = mask.take("state", enabled.is_some(), enabled).flatten();
    let url = mask.take("url", !endpoint.url.is_empty(), endpoint.url);
    let below = mask.take("below", !endpoint.below.is_empty(), endpoint.below);
    let kinds = mask.take("kinds", !endpoint.kinds.is_empty(), endpoint.kinds);
    let ca_bundle = mask.take("ca_bundle", !endpoint.ca_bundle.is_empty(), endpoint.ca_bundle);
    let filter = mask.take("filter", !endpoint.filter.is_empty(), endpoint.filter);
    fields.finish(|| {
        Some(UpdateWebhookEndpoint {
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
            url,
            below,
            kinds,
            filter,
            ordered: mask.take("ordered", endpoint.ordered, endpoint.ordered),
            ca_bundle,
            enabled,
        })
    })
}

fn message(endpoint: &WebhookEndpoint) -> pb::WebhookEndpoint {
    let meta = &endpoint.meta;
    let state = match endpoint.disabled {
        None => pb::WebhookEndpointState::Enabled,
        Some(_) => pb::WebhookEndpointState::Disabled,
    };
    pb::WebhookEndpoint {
        name: endpoint.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        url: endpoint.url.clone(),
        below: endpoint.below.clone(),
        kinds: endpoint.kinds.clone(),
        filter: endpoint.filter.clone(),
        ordered: endpoint.ordered,
        state: state.into(),
        disable_reason: endpoint.disabled.as_ref().map(|disabled| disabled.reason.clone()).unwrap_or_default(),
        disable_time: endpoint.disabled.as_ref().map(|disabled| render::time(disabled.time)),
        failing_since: endpoint.failing_since.map(render::time),
        previous_secret_expire_time: endpoint.previous_secret_expire_time.map(render::time),
        ca_bundle: endpoint.ca_bundle.clone(),
    }
}
