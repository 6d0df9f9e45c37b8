//! YAML of a JSON value: block style, with every text quoted that could be read as something else.

use serde_json::Value;

/// Writes one document.
pub(crate) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => block(value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => block(value, 0, &mut out),
        scalar => {
            out.push_str(&inline(scalar));
            out.push('\n');
        }
    }
    out
}

/// A list or map that is not empty, each part on lines of its own. The first line is not indented: the caller stands there.
fn block(value: &Value, depth: usize, out: &mut String) {
    let mut first = true;
    let mut begin = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.push_str(&"  ".repeat(depth));
        }
    };
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                begin(out);
                out.push_str(&text(key));
                out.push(':');
                match value {
                    Value::Object(inner) if !inner.is_empty() => nested(value, depth + 1, out),
                    Value::Array(inner) if !inner.is_empty() => nested(value, depth + 1, out),
                    scalar => {
                        out.push(' ');
                        line(scalar, depth + 1, out);
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                begin(out);
                out.push_str("- ");
                match item {
                    Value::Object(inner) if !inner.is_empty() => block(item, depth + 1, out),
                    Value::Array(inner) if !inner.is_empty() => block(item, depth + 1, out),
                    scalar => line(scalar, depth + 1, out),
                }
            }
        }
        scalar => out.push_str(&inline(scalar)),
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    block(value, depth, out);
}

/// The rest of a line; a text of several lines goes on below it.
fn line(scalar: &Value, depth: usize, out: &mut String) {
    match scalar {
        Value::String(text) if is_readable_block(text) => {
            let end = text.len() - text.trim_end_matches('\n').len();
            out.push_str(["|-", "|", "|+"][end.min(2)]);
            for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                out.push('\n');
                if !line.is_empty() {
                    out.push_str(&"  ".repeat(depth));
                    out.push_str(line);
                }
            }
        }
        other => out.push_str(&inline(other)),
    }
    out.push('\n');
}

/// Several lines that a literal block keeps as they are: it cannot escape anything, and its first line says how far it is indented.
fn is_readable_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with(char::is_whitespace)
        && text.chars().all(|c| c == '\n' || !(c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')))
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(value) => text(value),
        // Empty lists and maps, numbers, booleans and null are the same in YAML as in JSON.
        other => other.to_string(),
    }
}

/// Plain where that is surely a text; else as JSON, whose strings are YAML's double-quoted ones.
fn text(value: &str) -> String {
    const WORDS: &[&str] = &["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '@'))
        && !WORDS.contains(&value.to_ascii_lowercase().as_str());
    if plain { value.to_owned() } else { Value::from(value).to_string() }
}

#[cfg(test)]
mod tests {
    use saphyr_parser::{Event, Parser, ScalarStyle};
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_values_are_written_in_blocks() {
        let value = json!({
            "name": "tenants/acme/projects/shop",
            "labels": {},
            "digest": "sha256:77",
            "runs": [{"phase": "DONE", "steps": [{"address": "file.a"}, {}]}, [1, [2, 3]], "x y", null],
            "key": "BEGIN\n  END\n",
            "limit": 3,
        });
        assert_eq!(
            yaml(&value),
            r#"name: tenants/acme/projects/shop
labels: {}
digest: "sha256:77"
runs:
  - phase: DONE
    steps:
      - address: file.a
      - {}
  - - 1
    - - 2
      - 3
  - "x y"
  - null
key: |
  BEGIN
    END
limit: 3
"#
        );
    }

    #[test]
    fn every_text_is_read_back_as_the_same_text() {
        let texts = [
            "",
            " ",
            "true",
            "No",
            "~",
            "null",
            "1",
            "1e3",
            "0x1f",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "[",
            "{",
            "a\nb",
            "a\nb\n",
            "a\n\n  b: |\n\n",
            "a\n \n#b\n--- c",
            "a\n",
            "\n",
            " a\nb",
            "\na\nb",
            "a\r\nb",
            "a\n\tb",
            "tab\t",
            "\u{7}",
            "é",
            "\u{2028}",
            "quote\"",
            "back\\slash",
            "'",
            "2026-11-20",
            ".inf",
            "plain",
        ];
        let value = json!(texts.to_vec());
        let document = yaml(&value);
        let read: Vec<_> = Parser::new_from_str(&document)
            .filter_map(|event| match event.expect("valid YAML").0 {
                Event::Scalar(text, style, ..) => {
                    // What is plain must not be a word or number of YAML.
                    assert!(style != ScalarStyle::Plain || text == "plain", "{text}");
                    Some(text.into_owned())
                }
                _ => None,
            })
            .collect();
        assert_eq!(read, texts);
    }
}
