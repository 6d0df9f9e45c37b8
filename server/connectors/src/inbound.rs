//! Calls that vendors make to us: proven first, read afterwards.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use freehold_domain::time::Timestamp;
use serde_json::Value;

use crate::signature;

/// A call as it came in.
#[derive(Clone)]
pub struct InboundRequest {
    /// Its headers, in any case and order.
    pub headers: Vec<(String, String)>,
    /// Its body, byte for byte.
    pub body: Vec<u8>,
    /// When it came.
    pub received: Timestamp,
}

impl InboundRequest {
    /// A header, by its name in any case. One that is there twice is as good as none: two readers could take two different ones.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    pub(crate) fn require(&self, name: &str) -> Result<&str, Refused> {
        self.header(name).ok_or_else(|| Refused::new(Reason::Missing, format!("the header `{name}` is missing, or there twice")))
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Refused> {
        serde_json::from_slice(&self.body).map_err(|_| Refused::new(Reason::Malformed, "the body is no JSON"))
    }

    /// Refuses what was signed too long ago, or will be.
    pub(crate) fn timely(&self, seconds: &str, tolerance: Duration) -> Result<(), Refused> {
        let malformed = || Refused::new(Reason::Malformed, "the time in the headers is no number of seconds");
        let seconds: i64 = seconds.parse().map_err(|_| malformed())?;
        let signed = Timestamp::from_micros(seconds.checked_mul(1_000_000).ok_or_else(malformed)?);
        if self.received.since(signed).max(signed.since(self.received)) > tolerance {
            return Err(Refused::new(Reason::Late, "it was signed too long ago, or the clocks differ"));
        }
        Ok(())
    }
}

/// Names and lengths only: what came in may be a secret of somebody.
impl fmt::Debug for InboundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("InboundRequest")
            .field("headers", &names)
            .field("bytes", &self.body.len())
            .field("received", &self.received)
            .finish()
    }
}

/// A call that is proven to come from the vendor.
#[derive(Clone, PartialEq)]
pub struct Inbound {
    /// The vendor's id of this delivery; the same when it is sent again.
    pub delivery_id: String,
    /// SHA-256 of what was signed, in hex. The id of some vendors is not signed: who replays a call can change it, but not this.
    pub digest: String,
    /// What happened, in the vendor's words.
    pub kind: String,
    /// What the vendor says about it.
    pub payload: Value,
    /// What to answer at once; otherwise an empty 200.
    pub reply: Option<Value>,
}

/// What it is, and nothing of what it says: some of that opens doors.
impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { delivery_id, digest, kind, .. } = self;
        let mut shown = f.debug_struct("Inbound");
        shown.field("delivery_id", delivery_id).field("digest", digest).field("kind", kind);
        shown.finish_non_exhaustive()
    }
}

impl Inbound {
    pub(crate) fn new(delivery_id: impl Into<String>, kind: impl Into<String>, request: &InboundRequest, payload: Value) -> Self {
        Self {
            delivery_id: delivery_id.into(),
            digest: signature::digest(&request.body),
            kind: kind.into(),
            payload,
            reply: None,
        }
    }
}

/// Why a call was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It carries no proof.
    Missing,
    /// Its proof is wrong.
    Forged,
    /// Its proof is old.
    Late,
    /// It is proven, and makes no sense.
    Malformed,
    /// There is nothing to prove it with.
    Unconfigured,
}

/// A call that was not accepted. Answer 401, or 400 when it is malformed, and say no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why, for programs.
    pub reason: Reason,
    /// Why, for the log of the operator.
    pub message: String,
}

impl Refused {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub(crate) fn forged() -> Self {
        Self::new(Reason::Forged, "the signature is not the one of this body under our secret")
    }

    pub(crate) fn unconfigured(message: impl Into<String>) -> Self {
        Self::new(Reason::Unconfigured, message)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Refused {}

/// Remembers for a while what came, so that the same call does nothing twice. For a single process; several share a table with both
/// columns unique.
pub struct Replays {
    memory: Duration,
    seen: Mutex<HashMap<String, Timestamp>>,
}

impl Replays {
    /// Remembers each call for so long.
    pub fn new(memory: Duration) -> Self {
        Self { memory, seen: Mutex::default() }
    }

    /// Whether this is the first time that it comes, by its id and by its digest.
    pub fn first(&self, inbound: &Inbound, now: Timestamp) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, since| now.since(*since) <= self.memory);
        let keys = [format!("id {}", inbound.delivery_id), format!("digest {}", inbound.digest)];
        let first = !keys.iter().any(|key| seen.contains_key(key));
        if first {
            seen.extend(keys.map(|key| (key, now)));
        }
        first
    }
}
