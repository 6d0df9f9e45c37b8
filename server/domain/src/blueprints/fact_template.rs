//! JSON whose strings may hold expressions about named facts.

use serde_json::{Map, Value};

use super::{
    condition::{self, Facts},
    expression::{Expression, Subject},
    template::{Piece, inside_text, pieces},
};
use crate::error::Violations;

/// The most expressions in one template.
const MAX_EXPRESSIONS: usize = 200;

/// JSON whose strings may hold expressions about facts, written as in a blueprint: a string that is one `${…}` and nothing else gives
/// the value with its type, any other is text. `$${` stands for `${`.
#[derive(Clone, Debug)]
pub struct FactTemplate(Part);

#[derive(Clone, Debug)]
enum Part {
    Plain(Value),
    Whole(Box<Expression>),
    Text(Vec<Segment>),
    List(Vec<Part>),
    Map(Vec<(String, Part)>),
}

#[derive(Clone, Debug)]
enum Segment {
    Text(String),
    Expression(Expression),
}

impl FactTemplate {
    /// Reads a template about these subjects.
    ///
    /// # Errors
    /// Notes everything that is wrong with it, under paths that begin with `field`.
    pub fn parse(written: &Value, field: &str, subjects: &[Subject], wrong: &mut Violations) -> Self {
        let mut reader = Reader { subjects, wrong, expressions: 0 };
        let part = reader.part(written, field);
        if reader.expressions > MAX_EXPRESSIONS {
            wrong.add(field, format!("at most {MAX_EXPRESSIONS} expressions"));
        }
        Self(part)
    }

    /// Its value, and what went wrong. What has no value is told of in its place: a text that says too little is worth more than none.
    pub fn fill(&self, facts: &Facts) -> (Value, Vec<String>) {
        let mut failed = Vec::new();
        let value = self.0.fill(facts, &mut failed);
        (value, failed)
    }
}

impl Part {
    fn fill(&self, facts: &Facts, failed: &mut Vec<String>) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Whole(expression) => condition::evaluate(expression, facts).unwrap_or_else(|why| told(why, failed).into()),
            Self::Text(segments) => segments
                .iter()
                .map(|segment| match segment {
                    Segment::Text(text) => text.clone(),
                    Segment::Expression(expression) => {
                        let value = condition::evaluate(expression, facts);
                        let text =
                            value.and_then(|value| inside_text(value).map_err(|why| format!("`{}`: {why}", expression.source())));
                        text.unwrap_or_else(|why| told(why, failed))
                    }
                })
                .collect::<String>()
                .into(),
            Self::List(parts) => parts.iter().map(|part| part.fill(facts, failed)).collect(),
            Self::Map(entries) => {
                entries.iter().map(|(key, part)| (key.clone(), part.fill(facts, failed))).collect::<Map<_, _>>().into()
            }
        }
    }
}

/// What stands where a value should.
fn told(why: String, failed: &mut Vec<String>) -> String {
    let text = format!("({why})");
    failed.push(why);
    text
}

struct Reader<'a> {
    subjects: &'a [Subject],
    wrong: &'a mut Violations,
    expressions: usize,
}

impl Reader<'_> {
    fn part(&mut self, written: &Value, field: &str) -> Part {
        match written {
            Value::String(text) => self.string(text, field),
            Value::Array(items) => {
                let parts = items.iter().enumerate().map(|(at, item)| self.part(item, &format!("{field}[{at}]")));
                Part::List(parts.collect())
            }
            Value::Object(entries) => {
                let parts = entries.iter().map(|(key, value)| (key.clone(), self.part(value, &format!("{field}.{key}"))));
                Part::Map(parts.collect())
            }
            other => Part::Plain(other.clone()),
        }
    }

    fn string(&mut self, text: &str, field: &str) -> Part {
        let Ok(pieces) = pieces(text) else {
            self.wrong.add(field, "`${` begins an expression that no `}` ends; write `$${` for the text `${`");
            return Part::Plain(Value::Null);
        };
        let mut segments = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => segments.push(Segment::Text(text)),
                Piece::Expression(at) => {
                    self.expressions += 1;
                    match condition::parse(&text[at], self.subjects) {
                        Ok(expression) => segments.push(Segment::Expression(expression)),
                        Err(wrong) => wrong.iter().for_each(|wrong| self.wrong.add(field, wrong.message.as_str())),
                    }
                }
            }
        }
        match <[Segment; 1]>::try_from(segments) {
            Ok([Segment::Text(text)]) => Part::Plain(text.into()),
            Ok([Segment::Expression(expression)]) => Part::Whole(Box::new(expression)),
            Err(segments) => Part::Text(segments),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SUBJECTS: &[Subject] = &[("event", &["kind", "data"])];

    fn facts() -> Facts {
        let fields = json!({"kind": "run.moved", "data": {"phase": "FAILED", "changes": [1, 2], "count": 3}});
        Facts::from([("event".to_owned(), fields.as_object().cloned().expect("an object"))])
    }

    fn parse(written: &Value) -> Result<FactTemplate, Vec<(String, String)>> {
        let mut wrong = Violations::new();
        let template = FactTemplate::parse(written, "input", SUBJECTS, &mut wrong);
        wrong.finish().map(|()| template).map_err(|error| {
            error.violations().iter().map(|violation| (violation.field.clone(), violation.description.clone())).collect()
        })
    }

    #[test]
    fn strings_are_filled_and_what_fails_is_told_in_its_place() {
        let written = json!({
            "text": "${event.kind}: ${event.data.phase} ${event.data.count}, $${none}",
            "whole": "${event.data.changes}",
            "nested": [{"plain": 1, "empty": ""}],
            "absent": "because ${event.data.reason}!",
            "list": "a ${event.data.changes}",
        });
        let (value, failed) = parse(&written).expect("a template").fill(&facts());
        assert_eq!(value["text"], "run.moved: FAILED 3, ${none}");
        assert_eq!(value["whole"], json!([1, 2]));
        assert_eq!(value["nested"], json!([{"plain": 1, "empty": ""}]));
        assert_eq!(failed.len(), 2, "{failed:?}");
        let absent = value["absent"].as_str().expect("text");
        assert!(absent.starts_with("because (`event.data.reason`: ") && absent.ends_with(")!"), "{absent}");
        assert!(value["list"].as_str().is_some_and(|text| text.contains("a list cannot stand inside text")), "{value}");
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_place() {
        let written = json!({"a": "${event.knd}", "b": ["${other.x}", "${open"], "c": {"d": "${1 +}"}});
        let wrong = parse(&written).expect_err("four faults");
        let fields: Vec<&str> = wrong.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["input.a", "input.b[0]", "input.b[1]", "input.c.d"], "{wrong:?}");
        let many = Value::String("${1}".repeat(MAX_EXPRESSIONS + 1));
        assert_eq!(parse(&many).expect_err("too many")[0].0, "input");
    }
}
