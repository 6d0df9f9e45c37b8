//! Lines of a run's log: as messages on the wire, as JSON in the store.

use freehold_proto::deployments::v1 as pb;
use serde_json::{Value, json};

use super::{parse, render};

/// A line is cut after this many bytes.
const LINE: usize = 8 << 10;

/// An address is cut after this many bytes.
const ADDRESS: usize = 1 << 10;

/// A line as it is kept.
pub(super) fn kept(line: pb::LogLine) -> Value {
    let (text, address) = (cut(line.text, LINE), cut(line.address, ADDRESS));
    let time = line.time.as_ref().and_then(|time| parse::time(time).ok()).unwrap_or_default();
    json!([time.as_micros(), line.level, address, text])
}

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
        text.truncate(end);
    }
    text
}

/// A line as the contract shows it.
pub(super) fn message(line: &Value) -> pb::LogLine {
    let part = |index| line.get(index).unwrap_or(&Value::Null);
    let text = |index| part(index).as_str().unwrap_or_default().to_owned();
    pb::LogLine {
        time: part(0).as_i64().map(|micros| render::time(freehold_domain::time::Timestamp::from_micros(micros))),
        level: part(1).as_i64().and_then(|level| i32::try_from(level).ok()).unwrap_or_default(),
        address: text(2),
        text: text(3),
    }
}
