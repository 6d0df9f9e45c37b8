//! Connections to other systems, and what those call us for.

use std::{collections::BTreeMap, time::Duration};

use freehold_proto::integrations::v1 as pb;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    call::{Call, fields, options, request, service, updates},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::{Lift, duration, json_value, resource, values},
};

/// How long an operation may take, as the server has it.
const INVOKE: Duration = Duration::from_secs(60);

resource! {
    /// A system of one tenant that Freehold talks to.
    Connection = pb::Connection {
        /// Resource name: `tenants/{tenant}/connections/{connection}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change but those of `health` and `last_scrape_time`.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// The connector, for example `github`.
        connector: String,
        /// Settings; no secrets.
        settings: Map<String, Value>,
        /// Which slots are filled.
        credential_slots: Vec<CredentialSlot>,
        /// Whether it is used.
        state: ConnectionState,
        /// Why it is disabled.
        disable_reason: Option<String>,
        /// When it was disabled.
        disable_time: Option<Timestamp>,
        /// Nothing is ever changed over it.
        dry_run: bool,
        /// What the last test found; absent before the first.
        last_check: Option<ConnectionCheck>,
        /// How it fares, as the replica that answered sees it; absent before that replica has used it.
        health: Option<ConnectionHealth>,
        /// Where the system calls us, on the listener `web`; absent where the connector receives nothing.
        inbound_path: Option<String>,
        /// Who decides about it.
        managed_by: ConnectionManager,
        /// When the system was last asked which of its calls to us did not arrive; absent in answers to writes.
        last_scrape_time: Option<Timestamp>,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

resource! {
    /// A secret that a connection has.
    CredentialSlot = pb::CredentialSlot {
        /// The name of the slot.
        slot: String,
        /// When its value was set.
        set_time: Option<Timestamp>,
        /// When its value stops to count by itself.
        expire_time: Option<Timestamp>,
    }
}

values! {
    /// Whether a connection is used.
    ConnectionState {
        /// It is used.
        Enabled = 1 "ENABLED",
        /// Nothing goes out over it and nothing comes in.
        Disabled = 2 "DISABLED",
    }
}

values! {
    /// Who decides about a connection.
    ConnectionManager {
        /// Whoever may, by calls.
        Api = 1 "API",
        /// The environment that the server is started with.
        Environment = 2 "ENVIRONMENT",
    }
}

resource! {
    /// What a test of a connection found.
    ConnectionCheck = pb::ConnectionCheck {
        /// When it was tested.
        check_time: Option<Timestamp>,
        /// It works.
        ok: bool,
        /// What was found, for people.
        detail: String,
        /// Whom the system takes us for.
        identity: Option<String>,
        /// What the system lets us do, where it says so.
        scopes: Vec<String>,
        /// Version of the system, where it has one.
        version: Option<String>,
        /// Why it does not work, for example `auth`; absent when it does.
        error_kind: Option<String>,
    }
}

resource! {
    /// How a connection fares in one replica.
    ConnectionHealth = pb::ConnectionHealth {
        /// What is done with calls after failures.
        breaker_state: BreakerState,
        /// Calls that the system says are left in its smallest window.
        remaining_calls: Option<i64>,
        /// Requests under way.
        in_flight: i32,
        /// Calls that wait for their turn.
        waiting: i32,
    }
}

values! {
    /// What is done with calls after failures.
    BreakerState {
        /// They go out.
        Closed = 1 "CLOSED",
        /// They are refused, because those before them failed.
        Open = 2 "OPEN",
        /// One goes out, to see.
        HalfOpen = 3 "HALF_OPEN",
    }
}

resource! {
    /// What a system called us for.
    InboundMessage = pb::InboundMessage {
        /// Resource name: `tenants/{tenant}/connections/{connection}/inboundMessages/{inbound_message}`.
        name: String,
        /// UUIDv7.
        uid: String,
        /// When it came.
        receive_time: Option<Timestamp>,
        /// The system's id of the delivery.
        delivery_id: String,
        /// SHA-256 in hex of what was signed.
        digest: String,
        /// What happened, in the system's words.
        kind: String,
        /// What became of it.
        state: InboundMessageState,
        /// Why nothing became of it, or why who asked for it could not be told.
        error: Option<String>,
        /// What the system says about it; only of [`Connections::message`].
        payload: Option<Value>,
    }
}

values! {
    /// What became of a message.
    InboundMessageState {
        /// It is kept, and what it asks for will be done.
        Received = 1 "RECEIVED",
        /// What it asks for was done, or it asks for nothing.
        Handled = 2 "HANDLED",
        /// What it asks for could not be done.
        Failed = 3 "FAILED",
    }
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Invocation {
    /// What the system said; in a dry run, what would have been sent.
    pub result: Map<String, Value>,
    /// Nothing was changed.
    pub dry_run: bool,
}

service! {
    /// Connections to other systems; see [`Client::connections`](crate::Client::connections).
    Connections
}

impl Connections {
    /// Starts building a connection over this connector; nothing is sent before [`send`](CreateConnection::send).
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists) if the name is taken,
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) with every setting and credential that is wrong.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// let token = std::env::var("SLACK_TOKEN").expect("a token");
    /// freehold.connections().create("ops", "slack").credential("bot_token", token).send().await?;
    /// let found = freehold.connections().test("ops").send().await?;
    /// println!("{}", found.detail);
    /// let call = freehold.connections().invoke("ops", "messages.post").input("channel", "C0OPS").input("text", "applied");
    /// println!("{:?}", call.send().await?.result);
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>, connector: impl Into<String>) -> CreateConnection {
        let connection = pb::Connection { connector: connector.into(), ..Default::default() };
        let request = pb::CreateConnectionRequest { connection: Some(connection), request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request).new_name(Kind::Connection, name.as_ref(), |request, parent, id| {
            (request.parent, request.connection_id) = (parent, id);
        });
        CreateConnection { call }
    }

    /// Reads one connection.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetConnection {
        let call = Call::new(&self.core, pb::GetConnectionRequest::default());
        GetConnection { call: call.name(Kind::Connection, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the connections of the client's tenant by their creation, oldest first.
    pub fn list(&self) -> List<Connection> {
        let call =
            Call::new(&self.core, pb::ListConnectionsRequest::default()).in_tenant(|request, parent| request.parent = parent);
        list!(call, "/freehold.integrations.v1.ConnectionService/ListConnections", pb::ListConnectionsResponse { connections })
    }

    /// Starts changing a connection: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch),
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) as of [`create`](Self::create),
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when the environment of the server decides about it.
    pub fn update(&self, name: impl AsRef<str>) -> UpdateConnection {
        let request = pb::UpdateConnectionRequest { request_id: new_id(), ..Default::default() };
        UpdateConnection {
            call: Call::new(&self.core, request).name(Kind::Connection, name.as_ref(), |request, name| {
                request.connection.get_or_insert_default().name = name;
            }),
        }
    }

    /// Deletes a connection with its credentials and what it received.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch),
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) while something refers to it.
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteConnection {
        let request = pb::DeleteConnectionRequest { request_id: new_id(), ..Default::default() };
        DeleteConnection {
            call: Call::new(&self.core, request).name(Kind::Connection, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Stops the use of a connection.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn disable(&self, name: impl AsRef<str>) -> DisableConnection {
        let request = pb::DisableConnectionRequest { request_id: new_id(), ..Default::default() };
        DisableConnection {
            call: Call::new(&self.core, request).name(Kind::Connection, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Begins to use a connection again.
    ///
    /// # Errors
    /// As of [`disable`](Self::disable).
    pub fn enable(&self, name: impl AsRef<str>) -> EnableConnection {
        let request = pb::EnableConnectionRequest { request_id: new_id(), ..Default::default() };
        EnableConnection {
            call: Call::new(&self.core, request).name(Kind::Connection, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Asks the system who we are. A connection that does not work is an answer, not an error.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn test(&self, name: impl AsRef<str>) -> TestConnection {
        let call = Call::new(&self.core, pb::TestConnectionRequest::default());
        TestConnection { call: call.name(Kind::Connection, name.as_ref(), |request, name| request.name = name) }
    }

    /// Starts giving a connection new credentials.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch),
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) with every slot that there is not.
    pub fn rotate(&self, name: impl AsRef<str>) -> RotateConnectionCredentials {
        let request = pb::RotateConnectionCredentialsRequest { request_id: new_id(), ..Default::default() };
        RotateConnectionCredentials {
            call: Call::new(&self.core, request).name(Kind::Connection, name.as_ref(), |request, name| request.name = name),
        }
    }

    /// Starts a call of the system. It is never repeated by itself once it may have begun.
    ///
    /// # Errors
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) with every wrong part of the input;
    /// [`is_failed_precondition`](crate::Error::is_failed_precondition) when connection or system refuse it,
    /// [`is_aborted`](crate::Error::is_aborted) when it clashes there, [`is_unavailable`](crate::Error::is_unavailable) when the
    /// system does not answer. [`reason`](crate::Error::reason) and [`metadata`](crate::Error::metadata) say more: `vendor_status`,
    /// `vendor_request_id`, and `maybe_done`, which is `true` when it may have happened all the same.
    pub fn invoke(&self, name: impl AsRef<str>, operation: impl Into<String>) -> InvokeConnection {
        let request = pb::InvokeConnectionRequest { operation: operation.into(), request_id: new_id(), ..Default::default() };
        let mut call = Call::new(&self.core, request).name(Kind::Connection, name.as_ref(), |request, name| request.name = name);
        call.deadline = Some(INVOKE);
        InvokeConnection { call }
    }

    /// Lists what the system called us for, oldest first, without the payloads.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn messages(&self, connection: impl AsRef<str>) -> List<InboundMessage> {
        let call = Call::new(&self.core, pb::ListInboundMessagesRequest::default());
        let call = call.name(Kind::Connection, connection.as_ref(), |request, parent| request.parent = parent);
        list!(
            call,
            "/freehold.integrations.v1.ConnectionService/ListInboundMessages",
            pb::ListInboundMessagesResponse { inbound_messages },
            newest_first: newest_first
        )
    }

    /// Reads one message with its payload; that is kept in the audit trail.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn message(&self, name: impl AsRef<str>) -> GetInboundMessage {
        let call = Call::new(&self.core, pb::GetInboundMessageRequest::default());
        GetInboundMessage { call: call.name(Kind::InboundMessage, name.as_ref(), |request, name| request.name = name) }
    }
}

request! {
    /// A connection to create; see [`Connections::create`].
    CreateConnection(pb::CreateConnectionRequest) -> Connection =
        "/freehold.integrations.v1.ConnectionService/CreateConnection", pb::CreateConnectionResponse { connection }
}
options!(CreateConnection: request_id, validate_only);
fields! { CreateConnection.connection:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
    /// Whether nothing is ever changed over it.
    dry_run: flag,
}

impl CreateConnection {
    /// Sets one setting.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let settings = self.call.request.connection.get_or_insert_default().settings.get_or_insert_default();
        settings.fields.insert(name.into(), json_value(value.into()));
        self
    }

    /// Sets all settings.
    pub fn settings(mut self, settings: Map<String, Value>) -> Self {
        self.call.request.connection.get_or_insert_default().settings = Some(object(settings));
        self
    }

    /// Fills the slot of a credential. It is never shown again.
    pub fn credential(mut self, slot: impl Into<String>, secret: impl Into<String>) -> Self {
        self.call.request.connection.get_or_insert_default().credentials.insert(slot.into(), secret.into());
        self
    }
}

request! {
    /// A connection to read; see [`Connections::get`].
    GetConnection(pb::GetConnectionRequest) -> Connection =
        "/freehold.integrations.v1.ConnectionService/GetConnection", pb::GetConnectionResponse { connection }
}

request! {
    /// A connection to change; see [`Connections::update`].
    UpdateConnection(pb::UpdateConnectionRequest) -> Connection =
        "/freehold.integrations.v1.ConnectionService/UpdateConnection", pb::UpdateConnectionResponse { connection }
}
options!(UpdateConnection: request_id, validate_only);
updates! { UpdateConnection.connection:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// Replaces all labels.
    labels: labels,
    /// Whether nothing is ever changed over it.
    dry_run: flag,
}

impl UpdateConnection {
    /// Replaces all settings.
    pub fn settings(mut self, settings: Map<String, Value>) -> Self {
        self.call.request.connection.get_or_insert_default().settings = Some(object(settings));
        self.mask("settings");
        self
    }
}

request! {
    /// A connection to delete; see [`Connections::delete`].
    DeleteConnection(pb::DeleteConnectionRequest) -> () =
        "/freehold.integrations.v1.ConnectionService/DeleteConnection", pb::DeleteConnectionResponse {}
}
options!(DeleteConnection: request_id, etag, allow_missing);

request! {
    /// A connection to stop using; see [`Connections::disable`].
    DisableConnection(pb::DisableConnectionRequest) -> Connection =
        "/freehold.integrations.v1.ConnectionService/DisableConnection", pb::DisableConnectionResponse { connection }
}
options!(DisableConnection: request_id, validate_only, etag);

impl DisableConnection {
    /// Why, for whoever finds it disabled.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.call.request.reason = reason.into();
        self
    }
}

request! {
    /// A connection to use again; see [`Connections::enable`].
    EnableConnection(pb::EnableConnectionRequest) -> Connection =
        "/freehold.integrations.v1.ConnectionService/EnableConnection", pb::EnableConnectionResponse { connection }
}
options!(EnableConnection: request_id, validate_only, etag);

request! {
    /// A connection to test; see [`Connections::test`].
    TestConnection(pb::TestConnectionRequest) -> ConnectionCheck =
        "/freehold.integrations.v1.ConnectionService/TestConnection", pb::TestConnectionResponse { check }
}

request! {
    /// New credentials of a connection; see [`Connections::rotate`].
    RotateConnectionCredentials(pb::RotateConnectionCredentialsRequest) -> Connection =
        "/freehold.integrations.v1.ConnectionService/RotateConnectionCredentials",
        pb::RotateConnectionCredentialsResponse { connection }
}
options!(RotateConnectionCredentials: request_id, validate_only, etag);

impl RotateConnectionCredentials {
    /// The new value of a slot; an empty one empties it.
    pub fn credential(mut self, slot: impl Into<String>, secret: impl Into<String>) -> Self {
        self.call.request.credentials.insert(slot.into(), secret.into());
        self
    }

    /// How long the values before go on to count, where the connector has a place for them; 24 hours if not said.
    pub fn grace_period(mut self, grace: Duration) -> Self {
        self.call.request.grace_period = Some(duration(grace));
        self
    }
}

request! {
    /// A call of another system; see [`Connections::invoke`].
    InvokeConnection(pb::InvokeConnectionRequest) -> Invocation =
        "/freehold.integrations.v1.ConnectionService/InvokeConnection",
        |answer: pb::InvokeConnectionResponse| Ok(Invocation { result: answer.result.lift(), dry_run: answer.dry_run })
}
options!(InvokeConnection: request_id);

impl InvokeConnection {
    /// Sets one part of the input.
    pub fn input(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.call.request.input.get_or_insert_default().fields.insert(name.into(), json_value(value.into()));
        self
    }

    /// Sets the whole input.
    pub fn inputs(mut self, input: Map<String, Value>) -> Self {
        self.call.request.input = Some(object(input));
        self
    }

    /// Changes nothing, and says what would be sent.
    pub fn dry_run(mut self) -> Self {
        self.call.request.dry_run = true;
        self
    }
}

request! {
    /// A message to read; see [`Connections::message`].
    GetInboundMessage(pb::GetInboundMessageRequest) -> InboundMessage =
        "/freehold.integrations.v1.ConnectionService/GetInboundMessage", pb::GetInboundMessageResponse { inbound_message }
}

fn object(fields: Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct { fields: fields.into_iter().map(|(name, value)| (name, json_value(value))).collect() }
}
