//! What other systems call us for: proven, kept, and then answered.

use freehold_domain::{
    Error, Result,
    access::Caller,
    connections::{Connection, InboundMessage, InboundRequest, MessageState, Received, Refused},
    events::Event,
    fault,
    names::{ConnectionName, InboundMessageName},
    resource::{Listed, Page},
    tenants::TenantState,
    time::Uid,
};
use freehold_store::{RequestKey, connections as rows, inbound_messages};
use serde_json::{Value, json};

use crate::{
    app::{App, Place},
    connections::{find, open_vault},
    seal::SealedPlace,
};

/// Name of the column that payloads are sealed for.
const PAYLOAD: &str = "inbound_messages.payload";

/// A connection that is called.
pub struct Called {
    place: Place,
    connection: Connection,
}

/// The connection that calls with this uid are for; `None` when nothing is taken for it.
pub async fn called(app: &App, uid: Uid) -> Result<Option<Called>> {
    let mut db = app.store.read().await?;
    let Some((scope, connection)) = rows::find(&mut db, uid).await? else { return Ok(None) };
    let place = app.place_by_scope(&mut db, scope).await?;
    let open = connection.disabled.is_none() && place.tenant.state == TenantState::Active;
    Ok(open.then_some(Called { place, connection }))
}

/// Proves that a call comes from whom the connection is to, and reads it. What is refused is counted and logged, without content.
///
/// # Errors
/// Fails when the credentials cannot be read; what is refused is the inner error.
pub async fn prove(app: &App, called: &Called, request: InboundRequest) -> Result<Result<Received, Refused>> {
    let Called { place, connection } = called;
    let vault = open_vault(app, &mut app.store.read().await?, place, connection.meta.uid).await?;
    let settings = Value::Object(connection.settings.clone());
    let proven = app.connectors.verify(&connection.connector, &settings, &vault.open(request.received), request);
    if let Err(refused) = &proven {
        app.metrics.message_came(&connection.connector, refused.reason);
        let (connection, reason) = (connection.name.to_string(), refused.reason);
        tracing::warn!(connection, reason, why = refused.message, "a call for a connection was refused");
    }
    Ok(proven)
}

/// Keeps a call that is proven; when this answers, it is durable. One that came before is kept no second time.
pub async fn keep(app: &App, called: &Called, received: &Received) -> Result<()> {
    let Called { place, connection } = called;
    let mut tx = app.store.begin_as("server", place.scope).await?;
    let (uid, name) = (tx.uid(), connection.name.clone());
    let asks = app.connectors.ask(&connection.connector, &received.kind, &received.payload).is_some();
    let message = InboundMessage {
        name: InboundMessageName { tenant: name.tenant, connection: name.connection, inbound_message: uid },
        received: tx.now(),
        delivery_id: received.delivery_id.clone(),
        digest: received.digest.clone(),
        kind: received.kind.clone(),
        state: if asks { MessageState::Received } else { MessageState::Handled },
        error: String::new(),
    };
    let payload = serde_json::to_vec(&received.payload).map_err(Error::internal)?;
    let payload = place.key.seal(app.random.as_ref(), &sealed(place, uid), &payload)?;
    if !inbound_messages::insert(&mut tx, place.scope, connection.meta.uid, &message, &payload).await? {
        app.metrics.message_came(&connection.connector, "repeated");
        return tx.confirm().await;
    }
    let event = Event::new("connection.message_received", &connection.name, connection.meta.uid, connection.meta.version);
    tx.announce(event.with(json!({ "message": message.name.to_string(), "kind": message.kind })));
    tx.commit(&()).await?;
    app.metrics.message_came(&connection.connector, "accepted");
    fault::point("inbound.kept");
    if asks {
        app.chat.asked.notify_one();
    }
    Ok(())
}

/// Lists what a connection received.
pub async fn list(app: &App, caller: &Caller, parent: &ConnectionName, page: Page) -> Result<Listed<InboundMessage>> {
    let place = app.enter(caller, &parent.tenant_name(), &parent.to_string()).await?;
    let mut db = app.store.read().await?;
    let connection = find(&mut db, &place, parent).await?;
    inbound_messages::list(&mut db, place.scope, connection.meta.uid, page).await
}

/// Returns a message with its payload. That it was read is in the audit trail.
pub async fn get(app: &App, caller: &Caller, name: &InboundMessageName) -> Result<(InboundMessage, Value)> {
    let parent = name.connection_name();
    let place = app.enter(caller, &parent.tenant_name(), &name.to_string()).await?;
    let mut db = app.store.read().await?;
    let connection = find(&mut db, &place, &parent).await?;
    let found = inbound_messages::get(&mut db, place.scope, connection.meta.uid, name.inbound_message).await?;
    let (message, payload) = found.ok_or_else(|| Error::not_found(name))?;
    drop(db);
    let payload = open(&place, name.inbound_message, &payload)?;
    // No audit, no content.
    let mut tx = app.store.begin(caller, place.scope, &RequestKey::NONE).await?;
    let event = Event::new("connection.message_read", &parent, connection.meta.uid, connection.meta.version);
    tx.announce(event.with(json!({ "message": name.to_string() })));
    tx.commit(&()).await?;
    Ok((message, payload))
}

/// The payload of a message.
pub(crate) fn open(place: &Place, message: Uid, payload: &[u8]) -> Result<Value> {
    let payload = place.key.open(&sealed(place, message), payload)?;
    serde_json::from_slice(&payload).map_err(Error::internal)
}

fn sealed(place: &Place, message: Uid) -> SealedPlace {
    SealedPlace { tenant: place.scope, owner: message, kind: PAYLOAD, serial: "0".to_owned() }
}
