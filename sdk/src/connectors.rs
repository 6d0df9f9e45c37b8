//! Systems that connections can be made to, and what can be asked of them.

use freehold_proto::integrations::v1 as pb;
use serde_json::Value;

use crate::{
    call::{Call, request},
    connections::Connections,
    names::Kind,
    wire::{Lift, resource, values},
};

resource! {
    /// A system that Freehold knows how to talk to.
    Connector = pb::Connector {
        /// Resource name: `connectors/{connector}`.
        name: String,
        /// Its stable name, for example `github`.
        kind: String,
        /// Name for people.
        display_name: String,
        /// What it does, in a sentence.
        summary: String,
        /// JSON Schema of the settings of a connection.
        settings_schema: Option<Value>,
        /// The secrets that a connection may have.
        credential_slots: Vec<CredentialSlotDescription>,
        /// What can be asked of it.
        operations: Vec<OperationDescription>,
        /// What it receives; absent when the system never calls.
        inbound: Option<InboundDescription>,
    }
}

resource! {
    /// A secret that a connection may have.
    CredentialSlotDescription = pb::CredentialSlotDescription {
        /// Its name.
        slot: String,
        /// What it is, and where a person finds it.
        summary: String,
        /// Nothing works without it.
        required: bool,
        /// Where its value goes while the one after it is being taken over; absent when there is no such place.
        previous_slot: Option<String>,
    }
}

resource! {
    /// One thing that a connector does.
    OperationDescription = pb::OperationDescription {
        /// Its stable name, for example `issues.create`.
        operation: String,
        /// What it does, in a sentence.
        summary: String,
        /// What doing it once more means.
        effect: OperationEffect,
        /// JSON Schema of its input.
        input_schema: Option<Value>,
        /// JSON Schema of its result.
        output_schema: Option<Value>,
    }
}

resource! {
    /// What a connector receives.
    InboundDescription = pb::InboundDescription {
        /// The slot of the credential that proves who calls.
        credential_slot: String,
        /// Kinds of messages that are understood; others are kept as they are.
        kinds: Vec<String>,
    }
}

values! {
    /// What doing something once more means.
    OperationEffect {
        /// Nothing changes.
        Read = 1 "READ",
        /// The second time changes nothing.
        Idempotent = 2 "IDEMPOTENT",
        /// The receiver drops the second one by the request id.
        Keyed = 3 "KEYED",
        /// It happens twice.
        Unsafe = 4 "UNSAFE",
    }
}

impl Connections {
    /// Lists the systems that can be talked to, by name.
    pub fn connectors(&self) -> ListConnectors {
        ListConnectors { call: Call::new(&self.core, pb::ListConnectorsRequest {}) }
    }

    /// Reads what can be asked of one system.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn connector(&self, kind: impl AsRef<str>) -> GetConnector {
        let call = Call::new(&self.core, pb::GetConnectorRequest::default());
        GetConnector { call: call.reference(Kind::Connector, kind.as_ref(), |request, name| request.name = name) }
    }
}

request! {
    /// Connectors to list; see [`Connections::connectors`].
    ListConnectors(pb::ListConnectorsRequest) -> Vec<Connector> =
        "/freehold.integrations.v1.ConnectionService/ListConnectors",
        |answer: pb::ListConnectorsResponse| Ok(answer.connectors.lift())
}

request! {
    /// A connector to read; see [`Connections::connector`].
    GetConnector(pb::GetConnectorRequest) -> Connector =
        "/freehold.integrations.v1.ConnectionService/GetConnector", pb::GetConnectorResponse { connector }
}
