//! JSON whose strings may hold expressions.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    diagnostic::{Diagnostics, Range},
    evaluate::{EvalError, MAX_TEXT, Scope},
    expression::{Attribute, Expression, Uses, Vocabulary},
    locate::Lines,
    yaml::{Node, Yaml},
};

/// The most expressions in one blueprint.
pub const MAX_EXPRESSIONS: usize = 2000;

/// Something that a template depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// The input of this name.
    Input(String),
    /// The resource of this name.
    Resource(String),
    /// The deployment itself.
    Deployment,
}

/// What is special about the values of a scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Attributes that get their value only when they are applied.
    pub unknown: BTreeSet<Attribute>,
    /// Attributes that nobody may read.
    pub sensitive: BTreeSet<Attribute>,
    /// Names of inputs that nobody may read.
    pub sensitive_inputs: BTreeSet<String>,
}

/// What a template gives before everything is known.
#[derive(Clone, Debug, PartialEq)]
pub enum Partial {
    /// All that it reads is known.
    Known(Value),
    /// It reads an attribute that is not known yet.
    Unknown,
}

/// A partial value, and whether it may be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// The value, as far as it is known.
    pub value: Partial,
    /// Whether it was made from a sensitive input or attribute.
    pub sensitive: bool,
}

/// JSON whose strings may hold expressions.
///
/// A string that is one `${…}` and nothing else gives the value with its type; any other is text in which strings, numbers and
/// booleans are set. `$${` stands for `${`.
#[derive(Clone, Debug)]
pub struct Template {
    part: Part,
    written: Value,
    uses: Uses,
}

#[derive(Clone, Debug)]
enum Part {
    Plain(Value),
    Whole(Box<Expression>),
    Text(Vec<Segment>),
    List(Vec<Part>),
    Map(Vec<(String, Part)>),
    /// A string with something wrong in it. No document that is given out has any.
    Refused,
}

#[derive(Clone, Debug)]
enum Segment {
    Text(String),
    Expression(Expression),
}

impl Template {
    /// What it depends on.
    pub fn references(&self) -> BTreeSet<Reference> {
        let inputs = self.uses.inputs.iter().cloned().map(Reference::Input);
        let resources = self.uses.attributes.iter().map(|attribute| Reference::Resource(attribute.resource.clone()));
        let deployment = (!self.uses.deployment.is_empty()).then_some(Reference::Deployment);
        inputs.chain(resources).chain(deployment).collect()
    }

    /// Everything that it reads, by its exact name.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// The JSON as it was written, expressions as text.
    pub fn written(&self) -> &Value {
        &self.written
    }

    /// Its value.
    ///
    /// # Errors
    /// The first expression that has none.
    pub fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvalError> {
        self.part.evaluate(scope)
    }

    /// Its value when some attributes are still unknown; a template that reads one of them is unknown as a whole.
    ///
    /// # Errors
    /// As for [`Template::evaluate`], when all that it reads is known.
    pub fn evaluate_partial(&self, scope: &Scope<'_>, marks: &Marks) -> Result<Evaluated, EvalError> {
        let sensitive =
            !self.uses.inputs.is_disjoint(&marks.sensitive_inputs) || !self.uses.attributes.is_disjoint(&marks.sensitive);
        let value = if self.uses.attributes.is_disjoint(&marks.unknown) {
            Partial::Known(self.evaluate(scope)?)
        } else {
            Partial::Unknown
        };
        Ok(Evaluated { value, sensitive })
    }
}

impl Part {
    fn evaluate(&self, scope: &Scope<'_>) -> Result<Value, EvalError> {
        match self {
            Self::Plain(value) => Ok(value.clone()),
            Self::Whole(expression) => expression.evaluate(scope),
            Self::Text(segments) => text(segments, scope),
            Self::List(parts) => parts.iter().map(|part| part.evaluate(scope)).collect(),
            Self::Map(entries) => {
                let entries = entries.iter().map(|(key, part)| Ok((key.clone(), part.evaluate(scope)?)));
                entries.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            Self::Refused => Err(EvalError { expression: "${…}".to_owned(), message: "it could not be read".to_owned() }),
        }
    }
}

fn text(segments: &[Segment], scope: &Scope<'_>) -> Result<Value, EvalError> {
    let mut whole = String::new();
    for segment in segments {
        let expression = match segment {
            Segment::Text(text) => {
                whole.push_str(text);
                continue;
            }
            Segment::Expression(expression) => expression,
        };
        let error = |message: String| EvalError { expression: expression.source().to_owned(), message };
        whole.push_str(&inside_text(expression.evaluate(scope)?).map_err(|why| error(why.to_owned()))?);
        if whole.len() > MAX_TEXT {
            return Err(error(format!("the text around it has more than {MAX_TEXT} bytes")));
        }
    }
    Ok(Value::String(whole))
}

/// A value as it stands inside of text.
pub(super) fn inside_text(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null => Err("null cannot stand inside text; test it with `!= null`"),
        Value::Array(_) => Err("a list cannot stand inside text; use join(), or let it be the whole value"),
        Value::Object(_) => Err("a map cannot stand inside text; let it be the whole value"),
    }
}

/// Reads templates out of one document and reports what is wrong with their expressions.
pub(super) struct Compiler<'a> {
    pub(super) lines: Lines<'a>,
    pub(super) vocabulary: Vocabulary<'a>,
    expressions: usize,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(lines: Lines<'a>, vocabulary: Vocabulary<'a>) -> Self {
        Self { lines, vocabulary, expressions: 0 }
    }

    /// The template that a value is. One with something wrong in it has no value, and still says what it reads.
    pub(super) fn template(&mut self, node: &Node, diagnostics: &mut Diagnostics) -> Template {
        let mut uses = Uses::default();
        let part = self.part(node, &mut uses, diagnostics);
        Template { part, written: node.to_json(), uses }
    }

    /// The expression that a whole string is, over inputs alone.
    pub(super) fn condition(&mut self, node: &Node, diagnostics: &mut Diagnostics) -> Option<Expression> {
        let Yaml::String(text) = &node.value else {
            diagnostics.error("wrong-type", node.range, format!("a CEL expression is needed here, and this is {}", node.kind()));
            return None;
        };
        let resources = self.vocabulary.resources.take();
        let files = self.vocabulary.files.take();
        let deployment = std::mem::replace(&mut self.vocabulary.deployment, false);
        let expression = self.expression(node, text, 0..text.len(), &mut Uses::default(), diagnostics);
        self.vocabulary.resources = resources;
        self.vocabulary.files = files;
        self.vocabulary.deployment = deployment;
        expression
    }

    fn part(&mut self, node: &Node, uses: &mut Uses, diagnostics: &mut Diagnostics) -> Part {
        match &node.value {
            Yaml::String(text) => self.string(node, text, uses, diagnostics),
            Yaml::List(items) => Part::List(items.iter().map(|item| self.part(item, uses, diagnostics)).collect()),
            Yaml::Map(entries) => {
                let mut parts = Vec::new();
                for entry in entries {
                    if entry.key.contains("${") {
                        let message = "keys cannot hold expressions; build the map with a `${…}` as the whole value";
                        diagnostics.error("expression-in-key", entry.key_range, message);
                    }
                    parts.push((entry.key.clone(), self.part(&entry.value, uses, diagnostics)));
                }
                Part::Map(parts)
            }
            _ => Part::Plain(node.to_json()),
        }
    }

    fn string(&mut self, node: &Node, text: &str, uses: &mut Uses, diagnostics: &mut Diagnostics) -> Part {
        let pieces = match pieces(text) {
            Ok(pieces) => pieces,
            Err(at) => {
                let range = self.lines.within(node.range, node.style, text, at..at + 2);
                diagnostics.error(
                    "unclosed-expression",
                    range,
                    "`${` begins an expression that no `}` ends; write `$${` for the text `${`",
                );
                return Part::Refused;
            }
        };
        let mut segments = Vec::new();
        for piece in pieces {
            segments.push(match piece {
                Piece::Text(text) => Some(Segment::Text(text)),
                Piece::Expression(at) => self.expression(node, text, at, uses, diagnostics).map(Segment::Expression),
            });
        }
        let Some(mut segments) = segments.into_iter().collect::<Option<Vec<_>>>() else { return Part::Refused };
        let whole = segments.len() == 1;
        match segments.pop() {
            None => Part::Plain(Value::from("")),
            Some(Segment::Text(text)) if whole => Part::Plain(Value::from(text)),
            Some(Segment::Expression(expression)) if whole => Part::Whole(Box::new(expression)),
            Some(last) => {
                segments.push(last);
                Part::Text(segments)
            }
        }
    }

    /// The expression at these bytes of a text. What it reads is added to `uses`, also when something is wrong with it.
    fn expression(
        &mut self,
        node: &Node,
        text: &str,
        at: std::ops::Range<usize>,
        uses: &mut Uses,
        diagnostics: &mut Diagnostics,
    ) -> Option<Expression> {
        // Finding the place of a problem walks over the whole text, which is worth it as long as somebody will read it.
        let exact = !diagnostics.is_full() && text.len() <= MAX_TEXT;
        let place = |part: std::ops::Range<usize>| {
            if exact { self.lines.within(node.range, node.style, text, part) } else { node.range }
        };
        self.expressions += 1;
        if self.expressions > MAX_EXPRESSIONS {
            if self.expressions == MAX_EXPRESSIONS + 1 {
                let message =
                    format!("the blueprint has more than {MAX_EXPRESSIONS} expressions; this is the first that is too much");
                diagnostics.error("too-many-expressions", place(at), message);
            }
            return None;
        }
        match Expression::parse(&text[at.clone()], &self.vocabulary) {
            Ok(expression) => {
                uses.extend(expression.uses());
                Some(expression)
            }
            Err(refused) => {
                uses.extend(&refused.uses);
                // What was meant to test an input may be the very thing that is wrong: nobody is warned because of it.
                uses.tested.extend(refused.uses.inputs);
                for problem in refused.problems {
                    let range: Range = place(at.start + problem.at.start..at.start + problem.at.end);
                    diagnostics.error(problem.code, range, problem.message);
                }
                None
            }
        }
    }
}

/// A stretch of a string.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Expression(std::ops::Range<usize>),
}

/// Splits a string at its expressions.
///
/// # Errors
/// The byte of a `${` that nothing ends.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, usize> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let dollar = at + found;
        if text[at..dollar].ends_with('$') {
            plain.push_str(&text[at..dollar]);
            plain.push('{');
            at = dollar + 2;
            continue;
        }
        plain.push_str(&text[at..dollar]);
        let begin = dollar + 2;
        let end = begin + closing(&text[begin..]).ok_or(dollar)?;
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Expression(begin..end));
        at = end + 1;
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// The byte of the brace that ends an expression: not one inside a string or a map of CEL.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(_), '\\') => {
                chars.next();
            }
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}
