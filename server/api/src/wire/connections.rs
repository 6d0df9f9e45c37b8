//! ConnectionService.

use std::time::Duration;

use freehold_domain::{
    Error, Result,
    connections::{
        Check, Connection, Connector, Health, InboundMessage, LONGEST_GRACE, Manager, MessageState, Operation, Secrets,
    },
    names::{ConnectionName, InboundMessageName, TenantName},
};
use freehold_proto::integrations::v1 as pb;
use freehold_service::{
    connections::{self, CreateConnection, InvokeConnection, Seen, UpdateConnection},
    inbound,
};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, wait_end, write};

/// How long an operation may take.
const INVOKE: Duration = Duration::from_secs(58);

#[tonic::async_trait]
impl pb::connection_service_server::ConnectionService for Wire {
    async fn list_connectors(
        &self,
        request: Request<pb::ListConnectorsRequest>,
    ) -> Result<Response<pb::ListConnectorsResponse>, Status> {
        self.serve(request, |_, _| async move {
            let connectors = connections::catalogue(&self.app).iter().map(connector).collect();
            Ok(pb::ListConnectorsResponse { connectors })
        })
        .await
    }

    async fn get_connector(
        &self,
        request: Request<pb::GetConnectorRequest>,
    ) -> Result<Response<pb::GetConnectorResponse>, Status> {
        self.serve(request, |_, body| async move {
            let kind = body.name.strip_prefix("connectors/");
            let kind = kind.ok_or_else(|| Error::field("name", "write it as `connectors/{connector}`"))?;
            let found = connections::catalogue(&self.app).iter().find(|known| known.kind == kind);
            let found = found.ok_or_else(|| Error::not_found(freehold_domain::names::shown(&body.name)))?;
            Ok(pb::GetConnectorResponse { connector: Some(connector(found)) })
        })
        .await
    }

    async fn create_connection(
        &self,
        request: Request<pb::CreateConnectionRequest>,
    ) -> Result<Response<pb::CreateConnectionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let made = connections::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateConnectionResponse { connection: Some(self.connection(&made)) })
        })
        .await
    }

    async fn get_connection(
        &self,
        request: Request<pb::GetConnectionRequest>,
    ) -> Result<Response<pb::GetConnectionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let found = connections::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetConnectionResponse { connection: Some(self.seen(&found)) })
        })
        .await
    }

    async fn list_connections(
        &self,
        request: Request<pb::ListConnectionsRequest>,
    ) -> Result<Response<pb::ListConnectionsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("connections|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = connections::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            let connections = listed.items.iter().map(|item| self.seen(item)).collect();
            Ok(pb::ListConnectionsResponse { connections, next_page_token: parse::next_page_token(listed.next, &list) })
        })
        .await
    }

    async fn update_connection(
        &self,
        request: Request<pb::UpdateConnectionRequest>,
    ) -> Result<Response<pb::UpdateConnectionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.connection.as_ref().map(|connection| connection.etag.clone()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, &etag), update(body))?;
            let written = connections::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateConnectionResponse { connection: Some(self.connection(&written)) })
        })
        .await
    }

    async fn delete_connection(
        &self,
        request: Request<pb::DeleteConnectionRequest>,
    ) -> Result<Response<pb::DeleteConnectionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            connections::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteConnectionResponse {})
        })
        .await
    }

    async fn disable_connection(
        &self,
        request: Request<pb::DisableConnectionRequest>,
    ) -> Result<Response<pb::DisableConnectionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let mut fields = parse::Fields::new();
            let name = fields.text::<ConnectionName>("name", &body.name);
            let reason = fields.prose("reason", body.reason.clone(), 1000);
            let read = fields.finish(|| Some((name?, reason)));
            let (write, (name, reason)) = parse::both(write(&body, &body.request_id, body.validate_only, &body.etag), read)?;
            let written = connections::disable(&self.app, &caller, &name, reason, &write).await?;
            Ok(pb::DisableConnectionResponse { connection: Some(self.connection(&written)) })
        })
        .await
    }

    async fn enable_connection(
        &self,
        request: Request<pb::EnableConnectionRequest>,
    ) -> Result<Response<pb::EnableConnectionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, body.validate_only, &body.etag);
            let (write, name) = parse::both(write, parse::name::<ConnectionName>("name", &body.name))?;
            let written = connections::enable(&self.app, &caller, &name, &write).await?;
            Ok(pb::EnableConnectionResponse { connection: Some(self.connection(&written)) })
        })
        .await
    }

    async fn test_connection(
        &self,
        request: Request<pb::TestConnectionRequest>,
    ) -> Result<Response<pb::TestConnectionResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let found = connections::test(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::TestConnectionResponse { check: Some(check(&found)) })
        })
        .await
    }

    async fn rotate_connection_credentials(
        &self,
        request: Request<pb::RotateConnectionCredentialsRequest>,
    ) -> Result<Response<pb::RotateConnectionCredentialsResponse>, Status> {
        self.serve(request, |caller, mut body| async move {
            let write = write(&body, &body.request_id, body.validate_only, &body.etag);
            let mut fields = parse::Fields::new();
            let name = fields.text::<ConnectionName>("name", &body.name);
            if body.credentials.is_empty() {
                fields.wrong("credentials", "required: the new value of each slot that gets one");
            }
            let grace = body.grace_period.take().map(|grace| {
                let read = Duration::try_from(grace).ok().filter(|grace| *grace <= LONGEST_GRACE);
                fields.check("grace_period", read.ok_or_else(|| "nothing to 30 days".to_owned()))
            });
            let credentials = Secrets(std::mem::take(&mut body.credentials));
            let (write, (name, grace)) = parse::both(write, fields.finish(|| Some((name?, grace.flatten()))))?;
            let written = connections::rotate(&self.app, &caller, &name, credentials, grace, &write).await?;
            Ok(pb::RotateConnectionCredentialsResponse { connection: Some(self.connection(&written)) })
        })
        .await
    }

    async fn invoke_connection(
        &self,
        request: Request<pb::InvokeConnectionRequest>,
    ) -> Result<Response<pb::InvokeConnectionResponse>, Status> {
        let end = wait_end(&request, INVOKE);
        self.serve(request, |caller, body| async move {
            let cmd = invoke(body, end)?;
            let invoked = connections::invoke(&self.app, &caller, cmd).await?;
            let result = match invoked.result {
                Value::Object(result) => result,
                // Every result is an object but those that are a list or nothing.
                Value::Null => Map::new(),
                other => Map::from_iter([("result".to_owned(), other)]),
            };
            Ok(pb::InvokeConnectionResponse { result: Some(render::object(&result)), dry_run: invoked.dry_run })
        })
        .await
    }

    async fn list_inbound_messages(
        &self,
        request: Request<pb::ListInboundMessagesRequest>,
    ) -> Result<Response<pb::ListInboundMessagesResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("inboundMessages|{}|{}", body.parent, body.newest_first);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<ConnectionName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, body.newest_first, &list)?;
            let listed = inbound::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListInboundMessagesResponse {
                inbound_messages: listed.items.iter().map(|item| message(item, None)).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn get_inbound_message(
        &self,
        request: Request<pb::GetInboundMessageRequest>,
    ) -> Result<Response<pb::GetInboundMessageResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let name = parse::name::<InboundMessageName>("name", &body.name)?;
            let (found, payload) = inbound::get(&self.app, &caller, &name).await?;
            Ok(pb::GetInboundMessageResponse { inbound_message: Some(message(&found, Some(&payload))) })
        })
        .await
    }
}

fn create(body: pb::CreateConnectionRequest) -> Result<CreateConnection> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("connection_id", &body.connection_id);
    let given = body.connection.unwrap_or_default();
    let described = fields.described("connection", given.display_name, given.labels);
    let settings = fields.object("connection.settings", given.settings.unwrap_or_default());
    fields.finish(|| {
        Some(CreateConnection {
            parent: parent?,
            id,
            described,
            connector: given.connector,
            settings,
            credentials: Secrets(given.credentials),
            dry_run: given.dry_run,
        })
    })
}

fn update(body: pb::UpdateConnectionRequest) -> Result<UpdateConnection> {
    let mask = parse::Mask::new(body.update_mask.as_ref(), &["display_name", "labels", "settings", "dry_run"])?;
    let mut fields = parse::Fields::new();
    let given = body.connection.unwrap_or_default();
    let name = fields.text("connection.name", &given.name);
    if !given.credentials.is_empty() {
        fields.wrong("connection.credentials", "credentials are not updated; call RotateConnectionCredentials");
    }
    let (display_name, labels) = (!given.display_name.is_empty(), !given.labels.is_empty());
    let described = fields.described("connection", given.display_name, given.labels);
    let has_settings = given.settings.is_some();
    let settings = fields.object("connection.settings", given.settings.unwrap_or_default());
    fields.finish(|| {
        Some(UpdateConnection {
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
            settings: mask.take("settings", has_settings, settings),
            dry_run: mask.take("dry_run", given.dry_run, given.dry_run),
        })
    })
}

fn invoke(body: pb::InvokeConnectionRequest, end: Instant) -> Result<InvokeConnection> {
    let mut fields = parse::Fields::new();
    let name = fields.text("name", &body.name);
    if body.operation.is_empty() {
        fields.wrong("operation", "required");
    }
    let input = fields.object("input", body.input.unwrap_or_default());
    let request_id = fields.optional("request_id", &body.request_id);
    fields.finish(|| {
        Some(InvokeConnection {
            name: name?,
            operation: body.operation,
            input,
            dry_run: body.dry_run,
            request_id,
            time: end.saturating_duration_since(Instant::now()),
        })
    })
}

impl Wire {
    fn seen(&self, Seen { connection, health, last_scrape }: &Seen) -> pb::Connection {
        pb::Connection {
            health: health.clone().map(fares),
            last_scrape_time: last_scrape.map(render::time),
            ..self.connection(connection)
        }
    }

    fn connection(&self, connection: &Connection) -> pb::Connection {
        let meta = &connection.meta;
        let connectors = connections::catalogue(&self.app);
        let receives = connectors.iter().any(|known| known.kind == connection.connector && known.inbound.is_some());
        let now = self.app.now();
        let counting = connection.slots.iter().filter(|(_, facts)| facts.until.is_none_or(|end| now < end));
        let slots = counting.map(|(slot, facts)| pb::CredentialSlot {
            slot: slot.clone(),
            set_time: Some(render::time(facts.set)),
            expire_time: facts.until.map(render::time),
        });
        let disabled = connection.disabled.as_ref();
        let state = if disabled.is_some() { pb::ConnectionState::Disabled } else { pb::ConnectionState::Enabled };
        let manager = match connection.manager {
            Manager::Api => pb::ConnectionManager::Api,
            Manager::Environment => pb::ConnectionManager::Environment,
        };
        pb::Connection {
            name: connection.name.to_string(),
            uid: meta.uid.to_string(),
            etag: meta.etag(),
            display_name: meta.display_name.clone(),
            labels: meta.labels.clone(),
            create_time: Some(render::time(meta.create_time)),
            update_time: Some(render::time(meta.update_time)),
            create_principal: meta.creator.clone(),
            connector: connection.connector.clone(),
            settings: Some(render::object(&connection.settings)),
            credentials: std::collections::BTreeMap::new(),
            credential_slots: slots.collect(),
            state: state.into(),
            disable_reason: disabled.map(|disabled| disabled.reason.clone()).unwrap_or_default(),
            disable_time: disabled.map(|disabled| render::time(disabled.time)),
            dry_run: connection.dry_run,
            last_check: connection.last_check.as_ref().map(check),
            health: None,
            inbound_path: if receives { format!("{}{}", crate::hooks_http::PREFIX, meta.uid) } else { String::new() },
            managed_by: manager.into(),
            last_scrape_time: None,
        }
    }
}

fn check(check: &Check) -> pb::ConnectionCheck {
    pb::ConnectionCheck {
        check_time: Some(render::time(check.time)),
        ok: check.ok,
        detail: check.detail.clone(),
        identity: check.identity.clone(),
        scopes: check.scopes.clone(),
        version: check.version.clone(),
        error_kind: check.error_kind.clone(),
    }
}

fn fares(health: Health) -> pb::ConnectionHealth {
    let breaker = match health.breaker {
        "open" => pb::BreakerState::Open,
        "half_open" => pb::BreakerState::HalfOpen,
        _ => pb::BreakerState::Closed,
    };
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    pb::ConnectionHealth {
        breaker_state: breaker.into(),
        remaining_calls: health.remaining.map(|remaining| i64::try_from(remaining).unwrap_or(i64::MAX)),
        in_flight: count(health.in_flight),
        waiting: count(health.waiting),
    }
}

fn message(message: &InboundMessage, payload: Option<&Value>) -> pb::InboundMessage {
    let state = match message.state {
        MessageState::Received => pb::InboundMessageState::Received,
        MessageState::Handled => pb::InboundMessageState::Handled,
        MessageState::Failed => pb::InboundMessageState::Failed,
    };
    pb::InboundMessage {
        name: message.name.to_string(),
        uid: message.name.inbound_message.to_string(),
        receive_time: Some(render::time(message.received)),
        delivery_id: message.delivery_id.clone(),
        digest: message.digest.clone(),
        kind: message.kind.clone(),
        state: state.into(),
        error: message.error.clone(),
        payload: payload.map(render::value),
    }
}

fn connector(connector: &Connector) -> pb::Connector {
    pb::Connector {
        name: format!("connectors/{}", connector.kind),
        kind: connector.kind.to_owned(),
        display_name: connector.display_name.to_owned(),
        summary: connector.summary.to_owned(),
        settings_schema: connector.settings.to_string(),
        credential_slots: connector
            .slots
            .iter()
            .map(|slot| pb::CredentialSlotDescription {
                slot: slot.name.to_owned(),
                summary: slot.summary.to_owned(),
                required: slot.required,
                previous_slot: connector.previous(slot.name).unwrap_or_default().to_owned(),
            })
            .collect(),
        operations: connector.operations.iter().map(operation).collect(),
        inbound: connector.inbound.as_ref().map(|inbound| pb::InboundDescription {
            credential_slot: inbound.slot.to_owned(),
            kinds: inbound.kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        }),
    }
}

fn operation(operation: &Operation) -> pb::OperationDescription {
    let effect = match operation.effect {
        "read" => pb::OperationEffect::Read,
        "idempotent" => pb::OperationEffect::Idempotent,
        "keyed" => pb::OperationEffect::Keyed,
        _ => pb::OperationEffect::Unsafe,
    };
    pb::OperationDescription {
        operation: operation.name.to_owned(),
        summary: operation.summary.to_owned(),
        effect: effect.into(),
        input_schema: operation.input.to_string(),
        output_schema: operation.output.to_string(),
    }
}
