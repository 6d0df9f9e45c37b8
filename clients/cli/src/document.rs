//! Reads JSON or YAML that a person wrote, as a JSON value: YAML 1.2, core schema, one document, no anchors and no tags.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Reads one document.
///
/// # Errors
/// What is wrong, in words, with the line where that is known.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    // JSON first: YAML reads it too, but by far not as strictly.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut events = Events(Parser::new_from_str(text));
    let mut documents = Vec::new();
    loop {
        match events.next()? {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            event => documents.push(events.value(event)?),
        }
    }
    match documents.pop() {
        Some(value) if documents.is_empty() => Ok(value),
        Some(_) => Err("there are several documents".to_owned()),
        None => Err("it is empty".to_owned()),
    }
}

struct Events<'a>(Parser<'a, saphyr_parser::StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.0.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(Event::StreamEnd),
        }
    }

    /// The value that begins with this event.
    fn value(&mut self, event: Event<'a>) -> Result<Value, String> {
        match event {
            Event::Scalar(_, _, _, Some(tag)) => Err(format!("tags are not read here: {tag}")),
            Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(plain(&text)),
            Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => return Ok(Value::Array(items)),
                        item => items.push(self.value(item)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut fields = Map::new();
                loop {
                    let name = match self.next()? {
                        Event::MappingEnd => return Ok(Value::Object(fields)),
                        Event::Scalar(name, ..) => name.into_owned(),
                        _ => return Err("a name is neither a word nor a text".to_owned()),
                    };
                    let value = self.next()?;
                    let value = self.value(value)?;
                    if fields.insert(name.clone(), value).is_some() {
                        return Err(format!("`{name}` is there twice"));
                    }
                }
            }
            _ => Err("anchors are not read here; write the value again".to_owned()),
        }
    }
}

/// What a word without quotes is.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "Null" | "NULL" => Value::Null,
        "True" | "TRUE" => true.into(),
        "False" | "FALSE" => false.into(),
        // The other words and the numbers are those of JSON.
        text => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_read_as_json_would_be() {
        let text = "# inputs\nname: Ada\nsize: 3\nratio: 1.5\non: true\nnothing: ~\nversion: \"3\"\ndate: 2026-11-21\n\
                    tags: [a, 'b c']\nteams:\n  - id: x\n    words: |\n      one\n      two\n";
        let expected = json!({
            "name": "Ada", "size": 3, "ratio": 1.5, "on": true, "nothing": null, "version": "3", "date": "2026-11-21",
            "tags": ["a", "b c"], "teams": [{"id": "x", "words": "one\ntwo\n"}],
        });
        assert_eq!(read(text), Ok(expected.clone()));
        assert_eq!(read(&expected.to_string()), Ok(expected));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (text, why) in [
            ("", "empty"),
            ("a: 1\na: 2\n", "twice"),
            ("a: &x 1\nb: *x\n", "anchors"),
            ("a: !!str 1\n", "tags"),
            ("a: 1\n---\nb: 2\n", "several"),
            ("a: [1\n", "line"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
