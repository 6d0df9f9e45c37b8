//! From messages to values of the domain. Every wrong field is noted, so that one answer names them all.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use freehold_domain::{
    Error, Reason, Result, Violations,
    names::{Id, shown},
    resource::{self, Described, Labels, Page},
    time::{Timestamp, Uid},
};
use prost_types::FieldMask;
use serde_json::{Map, Value};

/// Wrong fields of a request, and the values of the right ones.
pub(super) struct Fields(Violations);

impl Fields {
    pub(super) fn new() -> Self {
        Self(Violations::new())
    }

    /// Notes a wrong field.
    pub(super) fn wrong(&mut self, field: &str, why: impl Into<String>) {
        self.0.add(field, why);
    }

    /// The value, or a note of what its own rule says against it.
    pub(super) fn check<T>(&mut self, field: &str, value: std::result::Result<T, String>) -> Option<T> {
        self.0.check(field, value)
    }

    /// Notes everything that a rule of the domain has against a part of the request.
    pub(super) fn all(&mut self, check: impl FnOnce(&mut Violations)) {
        check(&mut self.0);
    }

    /// A required text with a form of its own, for example a resource name.
    pub(super) fn text<T: FromStr<Err = String>>(&mut self, field: &str, text: &str) -> Option<T> {
        if text.is_empty() {
            self.wrong(field, "required");
            return None;
        }
        self.check(field, text.parse())
    }

    /// An optional text with a form of its own.
    pub(super) fn optional<T: FromStr<Err = String>>(&mut self, field: &str, text: &str) -> Option<T> {
        if text.is_empty() { None } else { self.check(field, text.parse()) }
    }

    /// An id that the server makes when there is none.
    pub(super) fn id(&mut self, field: &str, text: &str) -> Option<Id> {
        self.optional(field, text)
    }

    /// Text for people.
    pub(super) fn prose(&mut self, field: &str, text: String, most: usize) -> String {
        self.check(field, resource::prose(text, most)).unwrap_or_default()
    }

    /// An optional time.
    pub(super) fn time(&mut self, field: &str, given: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
        given.and_then(|given| self.check(field, time(given)))
    }

    /// An optional duration of more than nothing.
    pub(super) fn duration(&mut self, field: &str, given: Option<prost_types::Duration>) -> Option<Duration> {
        let read = Duration::try_from(given?).ok().filter(|duration| !duration.is_zero());
        self.check(field, read.ok_or_else(|| "a time of more than nothing".to_owned()))
    }

    /// Labels, each wrong one by its key.
    pub(super) fn labels(&mut self, field: &str, labels: BTreeMap<String, String>) -> Labels {
        match resource::labels(labels) {
            Ok(labels) => labels,
            Err(wrong) => {
                for (key, why) in wrong {
                    self.wrong(&format!("{field}[\"{key}\"]"), why);
                }
                Labels::new()
            }
        }
    }

    /// Display name and labels of a resource; `of` is the field that holds it.
    pub(super) fn described(&mut self, of: &str, display_name: String, labels: BTreeMap<String, String>) -> Described {
        let display_name = self.check(&format!("{of}.display_name"), resource::display_name(display_name)).unwrap_or_default();
        Described { display_name, labels: self.labels(&format!("{of}.labels"), labels) }
    }

    /// A JSON object. Whole numbers come out as integers, since `google.protobuf.Struct` has none.
    pub(super) fn object(&mut self, field: &str, given: prost_types::Struct) -> Map<String, Value> {
        let mut object = Map::new();
        for (key, item) in given.fields {
            match json(item, 0) {
                Ok(value) => {
                    object.insert(key, value);
                }
                Err(why) => self.wrong(&format!("{field}.{}", shown(&key)), why),
            }
        }
        object
    }

    /// Size and beginning of a page. `list` says which list it is of: method, parent and order.
    pub(super) fn page(&mut self, size: i32, token: &str, newest_first: bool, list: &str) -> Result<Page> {
        if size < 0 {
            self.wrong("page_size", "0 or more; 0 means 50");
        }
        let size = match size {
            ..=0 => 50,
            size => u32::try_from(size.min(500)).unwrap_or(500),
        };
        Ok(Page { size, after: page_token(token, list)?, newest_first })
    }

    /// The value, if nothing is wrong. `None` without a note would be a fault of the parser.
    pub(super) fn finish<T>(self, value: impl FnOnce() -> Option<T>) -> Result<T> {
        self.0.finish()?;
        value().ok_or_else(|| Error::internal("a field is missing and no violation says so"))
    }
}

/// Both parts of a request, or all that is wrong with either.
pub(super) fn both<A, B>(one: Result<A>, two: Result<B>) -> Result<(A, B)> {
    let invalid = |error: &Error| error.reason() == Reason::FieldInvalid;
    match (one, two) {
        (Ok(one), Ok(two)) => Ok((one, two)),
        (Err(one), Err(two)) if invalid(&one) && invalid(&two) => {
            Err(Error::invalid([one.violations(), two.violations()].concat()))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// The one name of a request.
pub(super) fn name<T: FromStr<Err = String>>(field: &str, text: &str) -> Result<T> {
    let mut fields = Fields::new();
    let name = fields.text(field, text);
    fields.finish(|| name)
}

/// Which fields an update writes: those of its mask, or, without one, those that are set.
pub(super) struct Mask<'a> {
    paths: Option<&'a [String]>,
}

impl<'a> Mask<'a> {
    /// Fails with `MASK_INVALID` when a path is not one that can be written.
    pub(super) fn new(mask: Option<&'a FieldMask>, writable: &[&str]) -> Result<Self> {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else { return Ok(Self { paths: None }) };
        let wrong: Vec<&str> =
            mask.paths.iter().map(String::as_str).filter(|path| *path != "*" && !writable.contains(path)).take(20).collect();
        if wrong.is_empty() {
            return Ok(Self { paths: Some(&mask.paths) });
        }
        Err(Error::new(
            Reason::MaskInvalid,
            format!("the mask names what cannot be written: {}; writable are {}", shown(&wrong.join(", ")), writable.join(", ")),
        ))
    }

    /// Whether this field is written; `set` says that the message has something in it.
    pub(super) fn writes(&self, field: &str, set: bool) -> bool {
        match self.paths {
            None => set,
            Some(paths) => paths.iter().any(|path| path == field || path == "*"),
        }
    }

    /// The value, if this field is written.
    pub(super) fn take<T>(&self, field: &str, set: bool, value: T) -> Option<T> {
        self.writes(field, set).then_some(value)
    }
}

/// Values may be nested this deep.
const DEPTH: usize = 32;

fn json(value: prost_types::Value, depth: usize) -> std::result::Result<Value, String> {
    use prost_types::value::Kind;
    if depth > DEPTH {
        return Err(format!("nested more than {DEPTH} deep"));
    }
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(number)) => number_value(number)?,
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(|item| json(item, depth + 1)).collect::<Result<_, String>>()?)
        }
        Some(Kind::StructValue(object)) => Value::Object(
            object.fields.into_iter().map(|(key, item)| Ok((key, json(item, depth + 1)?))).collect::<Result<_, String>>()?,
        ),
    })
}

fn number_value(number: f64) -> std::result::Result<Value, String> {
    // Up to here every whole number has a double of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
        return Ok(Value::from(number as i64));
    }
    serde_json::Number::from_f64(number).map(Value::Number).ok_or_else(|| "a number that is not finite".to_owned())
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}

/// A token that goes on after this item, in this list only.
pub(super) fn next_page_token(next: Option<Uid>, list: &str) -> String {
    next.map(|uid| {
        let mut bytes = uid.0.as_bytes().to_vec();
        bytes.extend_from_slice(&list_mark(list, uid));
        URL_SAFE_NO_PAD.encode(bytes)
    })
    .unwrap_or_default()
}

fn page_token(token: &str, list: &str) -> Result<Option<Uid>> {
    if token.is_empty() {
        return Ok(None);
    }
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (uid, mark) = bytes.split_at_checked(16)?;
        let uid = Uid(uuid::Uuid::from_slice(uid).ok()?);
        (mark == list_mark(list, uid)).then_some(uid)
    };
    read().map(Some).ok_or_else(|| {
        Error::new(Reason::PageTokenInvalid, "this page token is not one of this list; begin again without a token")
    })
}

/// Ties a token to its list, so that one of another list, parent or order is refused and not misread.
fn list_mark(list: &str, uid: Uid) -> [u8; 8] {
    let digest = sha256(format!("{list}|{uid}").as_bytes());
    let mut mark = [0; 8];
    mark.copy_from_slice(&digest[..8]);
    mark
}

/// A time, if it is one that can be kept.
pub(super) fn time(time: &prost_types::Timestamp) -> std::result::Result<Timestamp, String> {
    let right = (-62_135_596_800..=253_402_300_799).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos);
    if right {
        Ok(Timestamp::from_micros(time.seconds * 1_000_000 + i64::from(time.nanos / 1000)))
    } else {
        Err("not a time between the years 1 and 9999".to_owned())
    }
}
