//! From a place inside a scalar's text to the place in the file where it was written.

use std::ops;

use saphyr_parser::ScalarStyle;

use super::diagnostic::{Position, Range};

/// A file's text and where its lines begin.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    ascii: bool,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let ends_line = |at: usize| bytes[at] == b'\n' || (bytes[at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
        let after = (0..bytes.len()).filter(|at| ends_line(*at)).map(|at| at + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect(), ascii: text.is_ascii() }
    }

    /// The text of a range; ranges outside the file are cut to it.
    pub(super) fn slice(&self, range: Range) -> &'a str {
        let start = self.offset(range.start);
        &self.text[start..self.offset(range.end).max(start)]
    }

    fn offset(&self, at: Position) -> usize {
        let line = (at.line.max(1) - 1) as usize;
        let column = (at.column.max(1) - 1) as usize;
        let Some(start) = self.starts.get(line) else { return self.text.len() };
        let rest = &self.text[*start..];
        let within =
            if self.ascii { column.min(rest.len()) } else { rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at) };
        start + within
    }

    /// Where the bytes `part` of the scalar's `text` were written. `at` is the range of the scalar.
    pub(super) fn within(&self, at: Range, style: ScalarStyle, text: &str, part: ops::Range<usize>) -> Range {
        let raw = self.slice(at);
        let start = written(raw, style, text, part.start);
        let end = written(raw, style, text, part.end).max(start);
        let mut range = Range { start: at.start, end: at.start };
        advance(&mut range.start, &raw[..start]);
        advance(&mut range.end, &raw[..end]);
        range
    }
}

/// Moves a position over a text.
pub(super) fn advance(at: &mut Position, text: &str) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\n' || (c == '\r' && chars.peek() != Some(&'\n')) {
            *at = Position { line: at.line + 1, column: 1 };
        } else {
            at.column += 1;
        }
    }
}

/// The byte of `raw`, a scalar as written, that stands for the byte `target` of the text that YAML made of it.
///
/// Both are walked side by side: what YAML dropped (indentation, quotes) is skipped in `raw`, what it
/// folded is skipped in `text`.
fn written(raw: &str, style: ScalarStyle, text: &str, target: usize) -> usize {
    let mut at = match style {
        // The range of a block begins after its header.
        ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => 0,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
    };
    for wanted in text[..target.min(text.len())].chars() {
        while let Some(c) = raw.get(at..).and_then(|rest| rest.chars().next()) {
            if style == ScalarStyle::DoubleQuoted && c == '\\' {
                let (length, is_text) = escape(&raw[at..]);
                at += length;
                if is_text {
                    break;
                }
            } else if c == wanted {
                let doubled = style == ScalarStyle::SingleQuoted && c == '\'';
                at += if doubled { 2 } else { c.len_utf8() };
                break;
            } else if c.is_whitespace() {
                at += c.len_utf8();
            } else {
                break;
            }
        }
    }
    // What stands before the next character (an indentation, a joined line) is not part of it, unless the text ends here.
    let next_is_visible = text.get(target..).and_then(|rest| rest.chars().next()).is_some_and(|next| !next.is_whitespace());
    while next_is_visible && let Some(rest) = raw.get(at..).filter(|rest| !rest.is_empty()) {
        let blank = rest.len() - rest.trim_start().len();
        let joined = style == ScalarStyle::DoubleQuoted && (rest.starts_with("\\\n") || rest.starts_with("\\\r"));
        match (blank, joined) {
            (0, false) => break,
            (0, true) => at += 2,
            (blank, _) => at += blank,
        }
    }
    (at.min(raw.len())..=raw.len()).find(|at| raw.is_char_boundary(*at)).unwrap_or(raw.len())
}

/// The bytes of the escape at the front of a double-quoted text, and whether it stands for a character.
fn escape(raw: &str) -> (usize, bool) {
    let Some(kind) = raw[1..].chars().next() else { return (1, false) };
    let length = match kind {
        'x' => 4,
        'u' => 6,
        'U' => 10,
        other => 1 + other.len_utf8(),
    };
    (length.min(raw.len()), !matches!(kind, '\n' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blueprints::{
        diagnostic::Diagnostics,
        yaml::{self, Yaml},
    };

    /// The line and column at which `X` of the value of `key` stands.
    fn of_x(source: &str) -> (u32, u32) {
        let mut diagnostics = Diagnostics::new("blueprint.yaml");
        let root = yaml::parse(source.as_bytes(), &mut diagnostics).expect("it is YAML");
        let Yaml::Map(entries) = root.value else { panic!("a map") };
        let node = &entries[0].value;
        let Yaml::String(text) = &node.value else { panic!("a string") };
        let x = text.find('X').expect("an X");
        let range = Lines::new(source).within(node.range, node.style, text, x..x + 1);
        assert_eq!(range.end, Position { line: range.start.line, column: range.start.column + 1 }, "{source:?}");
        (range.start.line, range.start.column)
    }

    #[test]
    fn every_style_of_scalar_is_walked() {
        let cases = [
            ("a: bX", (1, 5)),
            ("a: bläX", (1, 7)),
            ("a: b\n  c X d", (2, 5)),
            ("a: 'it''s X'", (1, 11)),
            ("a: \"q\\\"\\x41\\u00e4X\"", (1, 18)),
            ("a: \"one \\\n   X\"", (2, 4)),
            ("a: |\n  one\n    two\n  X", (4, 3)),
            ("a: |\r\n  one\r\n  X\r\n", (3, 3)),
            ("a: | # X no\n  X", (2, 3)),
            ("a: >-\n  one\n  two X\n", (3, 7)),
            ("a: >\n  one\n\n  X\n", (4, 3)),
        ];
        for (source, expected) in cases {
            assert_eq!(of_x(source), expected, "{source:?}");
        }
    }
}
