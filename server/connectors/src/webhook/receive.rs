//! Calls of other services to us.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Encoding, Hmac, Receive, secrets};
use crate::{
    Credentials, Inbound, InboundRequest, Refused, signature,
    standard_webhooks::{self, ID},
};

/// What calls are proven with: the present secret, and the one before it.
const SLOTS: [&str; 2] = ["receive_secret", "previous_receive_secret"];

pub(super) fn verify(receive: &Receive, credentials: &Credentials, request: &InboundRequest) -> Result<Inbound, Refused> {
    match receive {
        Receive::Standard => {
            let secrets = secrets(credentials, SLOTS);
            let id = standard_webhooks::verify(&secrets.map_err(|error| Refused::unconfigured(error.message))?, request)?;
            let payload = request.json()?;
            let kind = payload["type"].as_str().unwrap_or_default().to_owned();
            // The id is signed as well: two deliveries may have one body.
            let digest = signature::digest(&[request.header(ID).unwrap_or_default().as_bytes(), b".", &request.body].concat());
            Ok(Inbound { digest, ..Inbound::new(id, kind, request, payload) })
        }
        Receive::Hmac(hmac) => by_hmac(hmac, credentials, request),
    }
}

fn by_hmac(hmac: &Hmac, credentials: &Credentials, request: &InboundRequest) -> Result<Inbound, Refused> {
    credentials.require("receive_secret").map_err(|error| Refused::unconfigured(error.message))?;
    let secrets = SLOTS.into_iter().filter_map(|slot| credentials.get(slot));
    let written = request.require(&hmac.header)?;
    let written = written.strip_prefix(hmac.prefix.as_str()).ok_or_else(Refused::forged)?;
    let given = match hmac.encoding {
        Encoding::Hex => signature::unhex(written),
        Encoding::Base64 => STANDARD.decode(written).ok(),
    };
    let given = given.ok_or_else(Refused::forged)?;
    let time = hmac.timestamp_header.as_deref().map(|name| request.require(name)).transpose()?;
    let signed = time.map_or_else(|| vec![request.body.as_slice()], |time| vec![time.as_bytes(), b".", &request.body]);
    if !secrets.into_iter().any(|secret| signature::verify(secret.as_bytes(), &signed, &given)) {
        return Err(Refused::forged());
    }
    if let Some(time) = time {
        request.timely(time, Duration::from_secs(hmac.tolerance_seconds))?;
    }
    // Some services send forms or texts; what was proven is passed on as it is.
    let payload = request.json().unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&request.body).into_owned()));
    let kind = match hmac.kind_from.as_deref() {
        None => String::new(),
        Some(from) => match from.strip_prefix("$.") {
            Some(path) => {
                payload.pointer(&format!("/{}", path.replace('.', "/"))).and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            None => request.header(from).unwrap_or_default().to_owned(),
        },
    };
    let signed = [time.unwrap_or_default().as_bytes(), b".", &request.body].concat();
    let digest = signature::digest(&signed);
    let id = hmac.id_header.as_deref().and_then(|name| request.header(name)).unwrap_or(&digest).to_owned();
    Ok(Inbound { digest, ..Inbound::new(id, kind, request, payload) })
}
