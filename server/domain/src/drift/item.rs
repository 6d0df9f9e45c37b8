//! Items of drift: one attribute of one resource that is not as it was made, and what becomes of it.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    access::Principal,
    error::{Error, Reason, Result},
    names::DriftItemName,
    time::{Timestamp, Uid},
};

/// Items that one check keeps, at most.
pub const MOST: usize = 500;
/// Characters of a value that are kept.
const LONGEST_VALUE: usize = 2048;
/// Characters of an address or a path that are kept.
const LONGEST_PLACE: usize = 1024;

/// One attribute of one resource that is not as it was made. Its values are kept sealed beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the contract")]
pub struct DriftItem {
    pub name: DriftItemName,
    /// Grows with every change that somebody makes or a check brings, other than its being seen again.
    pub version: i64,
    pub deployment: Uid,
    pub fingerprint: String,
    pub address: String,
    pub kind: String,
    pub path: String,
    pub class: DriftClass,
    pub state: DriftItemState,
    pub first_seen_time: Timestamp,
    pub last_seen_time: Timestamp,
    pub update_time: Timestamp,
    pub resolve_time: Option<Timestamp>,
    pub count: i64,
    /// The run that saw it last.
    pub run: Uid,
    /// The run of ours that explains it.
    pub cause: Option<Uid>,
    pub owner: Option<Principal>,
    pub ticket: String,
    /// Who has said that they know, and why it stays.
    pub acknowledged_by: Option<Principal>,
    pub note: String,
    /// What it is accepted by.
    pub exception: Option<Uid>,
    /// The run that is to put it right.
    pub remedy: Option<Uid>,
}

/// What an item is to whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriftClass {
    /// Seen for the first time.
    New,
    /// Seen before.
    Known,
    /// An exception covers it.
    Accepted,
    /// A run of ours that did not reach its end explains it.
    Expected,
}

/// How far an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriftItemState {
    /// Nobody has it yet.
    Open,
    /// Somebody knows of it.
    Acknowledged,
    /// It may stay, for a time.
    Accepted,
    /// A run is under way that is to put it right.
    Remediating,
    /// It is as it was made again.
    Resolved,
    /// It was resolved or accepted, and is there again.
    Reopened,
}

impl DriftClass {
    /// Its name in the contract and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Known => "KNOWN",
            Self::Accepted => "ACCEPTED",
            Self::Expected => "EXPECTED",
        }
    }
}

impl DriftItemState {
    /// Its name in the contract and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Acknowledged => "ACKNOWLEDGED",
            Self::Accepted => "ACCEPTED",
            Self::Remediating => "REMEDIATING",
            Self::Resolved => "RESOLVED",
            Self::Reopened => "REOPENED",
        }
    }
}

/// Values of an attribute as a plan shows them to people: JSON, empty when there is none or it is hidden.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    /// As it was made.
    pub before: String,
    /// As it is.
    pub after: String,
    /// They are hidden.
    pub sensitive: bool,
    /// They were too long to be kept whole.
    pub cut: bool,
    /// Digest of the whole of `after`.
    pub digest: String,
}

/// Says whether there is something, never what.
impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").field("sensitive", &self.sensitive).field("cut", &self.cut).finish_non_exhaustive()
    }
}

/// A resource that a check found not to be as it was made.
#[derive(Clone, Debug, Default)]
pub struct Drifted {
    /// `type.name`.
    pub address: String,
    /// Type of the resource.
    pub kind: String,
    /// It is gone as a whole.
    pub gone: bool,
    /// Its attributes that differ: name, and values.
    pub attributes: Vec<(String, Values)>,
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in an item")]
pub struct Finding {
    pub address: String,
    pub kind: String,
    /// Empty for the resource as a whole.
    pub path: String,
    pub values: Values,
    /// What the value looks like, without what it is.
    shape: String,
}

/// What a check found, in the order of addresses and paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Not more than are kept of one check.
    pub items: Vec<Finding>,
    /// How many more there were.
    pub left_out: usize,
}

impl Values {
    /// Values as a plan shows them; of long ones, the beginning is kept.
    pub fn new(before: &str, after: &str, sensitive: bool) -> Self {
        let (kept_before, kept_after) = (cut(before, LONGEST_VALUE), cut(after, LONGEST_VALUE));
        Self {
            cut: kept_before.len() < before.len() || kept_after.len() < after.len(),
            before: kept_before.to_owned(),
            after: kept_after.to_owned(),
            sensitive,
            digest: hex(digest(&SHA256, after.as_bytes()).as_ref()),
        }
    }
}

fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(at, _)| &text[..at])
}

impl Findings {
    /// From the resources that a check found, each attribute by itself.
    pub fn of(resources: Vec<Drifted>) -> Self {
        let mut found = BTreeMap::new();
        for Drifted { address, kind, gone, attributes } in resources {
            let address = cut(&address, LONGEST_PLACE).to_owned();
            let whole = gone || attributes.is_empty();
            let parts = if whole { vec![(String::new(), Values::new("", "", false))] } else { attributes };
            for (path, values) in parts {
                let path = cut(&path, LONGEST_PLACE).to_owned();
                let shape = match () {
                    () if gone => "gone".to_owned(),
                    () if values.sensitive => "hidden".to_owned(),
                    () if values.cut => "long".to_owned(),
                    () => shape(&values.after),
                };
                found.insert(
                    (address.clone(), path.clone()),
                    Finding { address: address.clone(), kind: kind.clone(), path, values, shape },
                );
            }
        }
        let left_out = found.len().saturating_sub(MOST);
        Self { items: found.into_values().take(MOST).collect(), left_out }
    }
}

impl Finding {
    /// What makes this finding and the same one of a later check one item: deployment, address, path and shape of the value.
    pub fn fingerprint(&self, deployment: Uid) -> String {
        let mut hash = Context::new(&SHA256);
        hash.update(b"freehold.drift.v1\0");
        for part in [deployment.0.as_bytes().as_slice(), self.address.as_bytes(), self.path.as_bytes(), self.shape.as_bytes()] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hex(hash.finish().as_ref())
    }
}

/// The shape of a value: types without contents, so that a number that moves from check to check stays one item.
fn shape(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(value) => shape_of(&value),
        Err(_) if json.is_empty() => "none".to_owned(),
        Err(_) => "text".to_owned(),
    }
}

fn shape_of(value: &Value) -> String {
    match value {
        Value::Null => "z".to_owned(),
        Value::Bool(_) => "b".to_owned(),
        Value::Number(_) => "n".to_owned(),
        Value::String(_) => "s".to_owned(),
        Value::Array(items) => {
            let mut shapes: Vec<String> = items.iter().map(shape_of).collect();
            shapes.sort_unstable();
            shapes.dedup();
            format!("[{}]", shapes.join(","))
        }
        Value::Object(fields) => {
            let mut shapes: Vec<String> = fields.iter().map(|(name, value)| format!("{name:?}:{}", shape_of(value))).collect();
            shapes.sort_unstable();
            format!("{{{}}}", shapes.join(","))
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl DriftItem {
    /// An item that a check has found for the first time.
    pub(super) fn new(name: DriftItemName, deployment: Uid, finding: &Finding, run: Uid, now: Timestamp) -> Self {
        Self {
            name,
            version: 0,
            deployment,
            fingerprint: finding.fingerprint(deployment),
            address: finding.address.clone(),
            kind: finding.kind.clone(),
            path: finding.path.clone(),
            class: DriftClass::New,
            state: DriftItemState::Open,
            first_seen_time: now,
            last_seen_time: now,
            update_time: now,
            resolve_time: None,
            count: 0,
            run,
            cause: None,
            owner: None,
            ticket: String::new(),
            acknowledged_by: None,
            note: String::new(),
            exception: None,
            remedy: None,
        }
    }

    /// Its uid.
    pub fn uid(&self) -> Uid {
        self.name.drift_item
    }

    /// Changes with every version.
    pub fn etag(&self) -> String {
        crate::resource::etag(self.uid(), self.version)
    }

    /// Fails unless the reader's etag, if there is one, is the present one.
    pub fn expect_etag(&self, etag: Option<&str>) -> Result<()> {
        match etag {
            Some(seen) if seen != self.etag() => Err(self.etag_mismatch()),
            _ => Ok(()),
        }
    }

    /// Somebody else was first.
    pub fn etag_mismatch(&self) -> Error {
        Error::new(Reason::EtagMismatch, "the item has changed since you read it; read it again and repeat the change")
            .with("current_etag", self.etag())
    }

    /// It asks for somebody: it is there, and nobody has taken or accepted it.
    pub fn is_alarming(&self) -> bool {
        matches!(self.state, DriftItemState::Open | DriftItemState::Reopened) && self.class != DriftClass::Expected
    }

    /// A run is to put it right, or may be begun to.
    pub fn is_mendable(&self) -> bool {
        self.is_alarming() || self.state == DriftItemState::Remediating
    }

    /// Somebody knows of it. Fails with `STATE_NOT_ALLOWED` when nothing of it is open; the same again changes nothing.
    pub fn acknowledge(&mut self, by: &Principal, note: String, now: Timestamp) -> Result<()> {
        self.expect(&[DriftItemState::Open, DriftItemState::Reopened, DriftItemState::Acknowledged])?;
        if self.state == DriftItemState::Acknowledged && self.note == note {
            return Ok(());
        }
        self.state = DriftItemState::Acknowledged;
        self.acknowledged_by = Some(by.clone());
        self.note = note;
        self.touch(now);
        Ok(())
    }

    /// Gives it to somebody, and says where they work on it; `None` stays.
    pub fn assign(&mut self, owner: Option<Option<Principal>>, ticket: Option<String>, now: Timestamp) {
        let before = (self.owner.clone(), self.ticket.clone());
        self.owner = owner.unwrap_or_else(|| self.owner.clone());
        self.ticket = ticket.unwrap_or_else(|| self.ticket.clone());
        if before != (self.owner.clone(), self.ticket.clone()) {
            self.touch(now);
        }
    }

    /// Fails with `STATE_NOT_ALLOWED` unless it is there and not accepted, as accepting it demands.
    pub fn expect_acceptable(&self) -> Result<()> {
        use DriftItemState::{Acknowledged, Open, Remediating, Reopened};
        self.expect(&[Open, Acknowledged, Reopened, Remediating])
    }

    /// An exception covers it from now on.
    pub fn cover(&mut self, exception: Uid, now: Timestamp) {
        if self.state == DriftItemState::Accepted && self.exception == Some(exception) {
            return;
        }
        self.class = DriftClass::Accepted;
        self.state = DriftItemState::Accepted;
        self.exception = Some(exception);
        self.remedy = None;
        self.touch(now);
    }

    /// What covered it does not any more, or it is there again.
    pub fn uncover(&mut self, now: Timestamp) {
        self.exception = None;
        self.class = DriftClass::Known;
        self.state = DriftItemState::Reopened;
        self.resolve_time = None;
        self.acknowledged_by = None;
        self.note = String::new();
        self.touch(now);
    }

    /// A run is to put it right.
    pub fn remedy_begun(&mut self, run: Uid, now: Timestamp) {
        self.state = DriftItemState::Remediating;
        self.remedy = Some(run);
        self.touch(now);
    }

    /// The run that was to put it right has ended without that.
    pub fn remedy_failed(&mut self, now: Timestamp) {
        let known = self.acknowledged_by.is_some();
        self.state = if known { DriftItemState::Acknowledged } else { DriftItemState::Open };
        self.remedy = None;
        self.touch(now);
    }

    /// It is as it was made again.
    pub fn resolve(&mut self, now: Timestamp) {
        self.state = DriftItemState::Resolved;
        self.resolve_time = Some(now);
        self.exception = None;
        self.remedy = None;
        self.touch(now);
    }

    fn touch(&mut self, now: Timestamp) {
        self.version += 1;
        self.update_time = now;
    }

    fn expect(&self, states: &[DriftItemState]) -> Result<()> {
        if states.contains(&self.state) {
            return Ok(());
        }
        let allowed: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        Err(Error::new(
            Reason::StateNotAllowed,
            format!("the item is {}; this needs {}", self.state.as_str(), allowed.join(", ")),
        )
        .with("state", self.state.as_str())
        .with("allowed_states", allowed.join(", ")))
    }
}
