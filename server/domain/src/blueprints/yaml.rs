//! YAML with positions: a strict tree in which every value and every key knows where it stands.
//!
//! What makes one text mean two things, or a short text a huge one, is refused: duplicate keys, anchors, aliases, tags, several
//! documents. Plain scalars follow the core schema of YAML 1.2, so `no` is a word and `1.0` is a number.

use std::collections::HashSet;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

use super::{
    diagnostic::{Diagnostics, Position, Range},
    files::MAX_BYTES,
    locate::{Lines, advance},
};
use crate::names::shown;

/// The deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 32;

/// The most values in one document.
pub const MAX_NODES: usize = 20_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Yaml,
    pub(super) range: Range,
    /// Where its text begins and how it is written; of scalars only.
    pub(super) style: ScalarStyle,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Yaml {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_range: Range,
    pub(super) value: Node,
}

impl Node {
    /// What it is, with an article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "a boolean",
            Yaml::Int(_) => "an integer",
            Yaml::Float(_) => "a number",
            Yaml::String(_) => "a string",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a map",
        }
    }

    /// The same value as JSON.
    pub(super) fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => Value::from(*value),
            Yaml::Int(value) => Value::from(*value),
            Yaml::Float(value) => Value::from(*value),
            Yaml::String(value) => Value::from(value.as_str()),
            Yaml::List(items) => items.iter().map(Self::to_json).collect(),
            Yaml::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect::<Map<_, _>>())
            }
        }
    }
}

/// Reads one document. Problems go to `diagnostics`; the tree is given as far as it can be trusted.
pub(super) fn parse(content: &[u8], diagnostics: &mut Diagnostics) -> Option<Node> {
    if content.len() > MAX_BYTES {
        diagnostics.error(
            "file-too-big",
            Range::WHOLE,
            format!("the file has more than {MAX_BYTES} bytes; move text into other files"),
        );
        return None;
    }
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(error) => {
            let valid = String::from_utf8_lossy(&content[..error.valid_up_to()]);
            let at = end_of(&valid);
            diagnostics.error(
                "invalid-utf8",
                Range { start: at, end: at },
                "the file is not UTF-8 from here on; save it as UTF-8",
            );
            return None;
        }
    };
    if let Some((at, _)) = text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        let at = end_of(&text[..at]);
        diagnostics.error("control-character", Range { start: at, end: at }, "a control character stands here; remove it");
        return None;
    }
    Builder { diagnostics, lines: Lines::new(text), stack: Vec::new(), nodes: 0, root: None }.run(text)
}

/// A list or map that is still open.
enum Open {
    List { start: Marker, items: Vec<Node> },
    Map { start: Marker, entries: Vec<Entry>, taken: HashSet<String>, key: Option<Key> },
}

/// A key whose value is still to come; one that is refused swallows its value.
enum Key {
    Named(String, Range),
    Refused,
}

struct Builder<'a> {
    diagnostics: &'a mut Diagnostics,
    lines: Lines<'a>,
    stack: Vec<Open>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn run(mut self, text: &str) -> Option<Node> {
        let mut parser = Parser::new_from_str(text);
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    let at = position(error.marker());
                    let message = format!("this is not YAML: {}", error.info());
                    self.diagnostics.error("syntax", Range { start: at, end: at }, message);
                    return None;
                }
            };
            if matches!(event, Event::DocumentStart(_)) {
                documents += 1;
                if documents > 1 {
                    self.diagnostics.error("multiple-documents", range(span), "a second document begins here; keep one only");
                    return None;
                }
            }
            self.event(event, span)?;
        }
        self.root
    }

    /// Takes one event in; `None` ends the reading.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                self.refuse(anchor, tag.is_some(), span);
                self.count(span)?;
                let range = self.scalar_range(span);
                self.scalar(value.into_owned(), style, range);
            }
            Event::Alias(_) => {
                let message = "aliases are not allowed; write the value again";
                self.diagnostics.error("alias", range(span), message);
                self.count(span)?;
                self.put(Node { value: Yaml::Null, range: range(span), style: ScalarStyle::Plain });
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag.is_some(), span, Open::List { start: span.start, items: Vec::new() })?;
            }
            Event::MappingStart(anchor, tag) => {
                self.open(
                    anchor,
                    tag.is_some(),
                    span,
                    Open::Map { start: span.start, entries: Vec::new(), taken: HashSet::new(), key: None },
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.stack.pop()?;
                let (start, value, last) = match open {
                    Open::List { start, items } => {
                        let last = items.last().map(|item| item.range.end);
                        (start, Yaml::List(items), last)
                    }
                    Open::Map { start, entries, .. } => {
                        let last = entries.last().map(|entry| entry.value.range.end);
                        (start, Yaml::Map(entries), last)
                    }
                };
                // A block collection ends where its last value ends; its end event stands at the next token.
                let start = position(&start);
                let end = if span.is_empty() { last.unwrap_or(start) } else { position(&span.end) };
                self.put(Node { value, range: Range { start, end }, style: ScalarStyle::Plain });
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Some(())
    }

    fn open(&mut self, anchor: usize, tagged: bool, span: Span, open: Open) -> Option<()> {
        self.refuse(anchor, tagged, span);
        self.count(span)?;
        if self.stack.len() == MAX_DEPTH {
            let message = format!("lists and maps nest deeper than {MAX_DEPTH}; flatten them");
            self.diagnostics.error("too-deep", range(span), message);
            return None;
        }
        self.stack.push(open);
        Some(())
    }

    fn refuse(&mut self, anchor: usize, tagged: bool, span: Span) {
        if anchor > 0 {
            self.diagnostics.error("anchor", range(span), "anchors are not allowed; write the value where it is needed");
        }
        if tagged {
            self.diagnostics.error("tag", range(span), "tags are not allowed; quote the value if it is meant as a string");
        }
    }

    fn count(&mut self, span: Span) -> Option<()> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the document has more than {MAX_NODES} values; move data into other files");
            self.diagnostics.error("too-many-values", range(span), message);
            return None;
        }
        Some(())
    }

    /// The range of a scalar without the line breaks after it, which belong to a block's text but to nobody's eye.
    fn scalar_range(&self, span: Span) -> Range {
        let mut whole = range(span);
        if whole.start.line != whole.end.line {
            let written = self.lines.slice(whole).trim_end();
            whole.end = whole.start;
            advance(&mut whole.end, written);
        }
        whole
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, range: Range) {
        if let Some(Open::Map { taken, key: key @ None, .. }) = self.stack.last_mut() {
            if !taken.insert(text.clone()) {
                let message = format!("`{}` stands here a second time; keep one", shown(&text));
                self.diagnostics.error("duplicate-key", range, message);
                *key = Some(Key::Refused);
            } else {
                *key = Some(Key::Named(text, range));
            }
            return;
        }
        let value = if style == ScalarStyle::Plain {
            plain(text).unwrap_or_else(|message| {
                self.diagnostics.error("bad-number", range, message);
                Yaml::Null
            })
        } else {
            Yaml::String(text)
        };
        self.put(Node { value, range, style });
    }

    /// Hands a finished value to whatever is open around it.
    fn put(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(Key::Named(key, key_range)) => entries.push(Entry { key, key_range, value: node }),
                Some(Key::Refused) => {}
                None => {
                    self.diagnostics.error("complex-key", node.range, "a key is a word; lists, maps and aliases cannot be keys");
                    *key = Some(Key::Refused);
                }
            },
        }
    }
}

/// A plain scalar by the core schema.
fn plain(text: String) -> Result<Yaml, String> {
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Yaml::Null),
        "true" | "True" | "TRUE" => return Ok(Yaml::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Yaml::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(format!("`{text}` has no place in JSON; write a finite number, or quote it"));
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Ok(Yaml::String(text));
    }
    let too_big = || format!("`{}` does not fit into 64 bits; quote it if it is text", shown(&text));
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            return i64::from_str_radix(digits, radix).map(Yaml::Int).map_err(|_| too_big());
        }
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Yaml::Int).map_err(|_| too_big());
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && let Ok(value) = text.parse::<f64>()
    {
        return if value.is_finite() { Ok(Yaml::Float(value)) } else { Err(too_big()) };
    }
    Ok(Yaml::String(text))
}

fn position(marker: &Marker) -> Position {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Position { line: number(marker.line().max(1)), column: number(marker.col() + 1) }
}

fn range(span: Span) -> Range {
    Range { start: position(&span.start), end: position(&span.end) }
}

/// The position after the last character of a text.
fn end_of(text: &str) -> Position {
    let mut at = Position { line: 1, column: 1 };
    advance(&mut at, text);
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::blueprints::diagnostic::Diagnostic;

    fn read(text: &[u8]) -> (Option<Value>, Vec<Diagnostic>) {
        let mut diagnostics = Diagnostics::new("blueprint.yaml");
        let node = parse(text, &mut diagnostics);
        (node.map(|node| node.to_json()), diagnostics.finish())
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let text = "[~, '', true, no, 12, -3, 0x1F, 0o17, 1.50, 1e3, 1.2.3, 10.0.0.0/8, '7', .5, 0xZZ, 12ab, '-', \"\"]";
        let expected =
            json!([null, "", true, "no", 12, -3, 31, 15, 1.5, 1000.0, "1.2.3", "10.0.0.0/8", "7", 0.5, "0xZZ", "12ab", "-", ""]);
        assert_eq!(read(text.as_bytes()), (Some(expected), vec![]));
    }

    #[test]
    fn what_is_refused_is_named_with_its_place() {
        let deep = "[".repeat(MAX_DEPTH + 1);
        let wide = format!("[{}]", "1,".repeat(MAX_NODES));
        let cases: [(&str, &str, u32, u32); 14] = [
            ("a: 1\nb: 2\na: 3\n", "duplicate-key", 3, 1),
            ("a: &x 1\n", "anchor", 1, 4),
            ("a: &x [1]\nb: *x\n", "anchor", 1, 4),
            ("a: !!int 1\n", "tag", 1, 4),
            ("a: !secret b\n", "tag", 1, 4),
            ("a: 1\n---\nb: 2\n", "multiple-documents", 2, 1),
            ("? [a]\n: 1\n", "complex-key", 1, 3),
            ("a: [1\n", "syntax", 2, 1),
            ("a: 99999999999999999999\n", "bad-number", 1, 4),
            ("a: .inf\n", "bad-number", 1, 4),
            ("a: 1e999\n", "bad-number", 1, 4),
            ("a: \0", "control-character", 1, 4),
            (&deep, "too-deep", 1, MAX_DEPTH as u32 + 1),
            (&wide, "too-many-values", 1, 2 * MAX_NODES as u32),
        ];
        for (text, code, line, column) in cases {
            let (_, found) = read(text.as_bytes());
            let first = found.first().unwrap_or_else(|| panic!("nothing was found in {text:?}"));
            assert_eq!(
                (first.code, first.line, first.column),
                (code, line, column),
                "{:?} {found:?}",
                &text[..text.len().min(40)]
            );
        }
        assert_eq!(read(b"ok: \xff").1[0].code, "invalid-utf8");
        assert_eq!(read(&vec![b'#'; MAX_BYTES + 1]).1[0].code, "file-too-big");
        assert_eq!(read(b"a: &x [1]\nb: *x\n").1.len(), 2, "the reading goes on after an anchor");
    }

    #[test]
    fn ranges_cover_the_values() {
        let text = "a:\n  b: [1, 2]\n  c: |\n    one\n    two\n\nd: 'x y'\n";
        let mut diagnostics = Diagnostics::new("blueprint.yaml");
        let root = parse(text.as_bytes(), &mut diagnostics).expect("it is YAML");
        let lines = Lines::new(text);
        let Yaml::Map(top) = &root.value else { panic!("a map") };
        let Yaml::Map(inner) = &top[0].value.value else { panic!("a map") };
        assert_eq!(lines.slice(top[0].key_range), "a");
        assert_eq!(lines.slice(inner[0].value.range), "[1, 2]");
        assert_eq!(lines.slice(inner[1].value.range), "one\n    two");
        assert_eq!(lines.slice(top[0].value.range), "b: [1, 2]\n  c: |\n    one\n    two");
        assert_eq!(lines.slice(top[1].value.range), "'x y'");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            read(&bytes);
        }

        #[test]
        fn no_text_that_looks_like_yaml_makes_it_panic(text in "([a-c]|[:,?&*!|>'\"%@`#~-]|[\\[\\]{}]|\n|\r\n| |  |\t|\\\\|ä|---|: |- |0x|1){0,120}") {
            read(text.as_bytes());
        }
    }
}
