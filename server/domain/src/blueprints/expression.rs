//! One CEL expression: parsed, checked against what the blueprint declares, and bounded, so that it can be evaluated safely.
//!
//! What an expression reads is known without evaluating it: `inputs.<name>`, `resources.<name>.<attribute>`,
//! `deployment.<field>` and `file('<path>')` must be written out. Dependencies, unknown values and sensitivity follow from that.

use std::{collections::BTreeSet, fmt, ops::Range};

use cel::{
    common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators},
    parser::PrattParser,
};

use super::{diagnostic::did_you_mean, files::Files, pattern::Patterns};
use crate::names::shown;

/// The longest expression, in bytes.
pub const MAX_EXPRESSION: usize = 2048;

/// The deepest syntax tree. Evaluation recurses once for each level, and a debug build needs some 32 KiB of stack for it.
const MAX_DEPTH: usize = 32;

/// How deep `map`, `filter`, `all` and `exists` may stand inside each other.
const MAX_LOOPS: usize = 2;

/// The variable that holds the texts of files; no expression can spell it.
pub(super) const FILES: &str = "@files";

/// The function that gives what a loop runs over an order; no expression can spell it.
pub(super) const ORDERED: &str = "@ordered";

/// What is known of the deployment that a blueprint is deployed as.
pub(super) const DEPLOYMENT_FIELDS: [&str; 5] = ["environment", "id", "name", "project", "tenant"];

const ROOTS: [&str; 3] = ["deployment", "inputs", "resources"];

const FUNCTIONS: [&str; 18] = [
    "bool",
    "contains",
    "double",
    "endsWith",
    "file",
    "int",
    "join",
    "lowerAscii",
    "matches",
    "replace",
    "size",
    "split",
    "startsWith",
    "string",
    "substring",
    "trim",
    "uint",
    "upperAscii",
];

/// What the parser takes apart by itself, each with an example.
const MACROS: [(&str, &str); 6] = [
    ("all", "inputs.list.all(item, item != '')"),
    ("exists", "inputs.list.exists(item, item == 'a')"),
    ("exists_one", "inputs.list.exists_one(item, item == 'a')"),
    ("filter", "inputs.list.filter(item, item != '')"),
    ("has", "has(inputs.name)"),
    ("map", "inputs.list.map(item, item + '.txt')"),
];

const OPERATORS: [&str; 16] = [
    operators::ADD,
    operators::CONDITIONAL,
    operators::DIVIDE,
    operators::EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::IN,
    operators::INDEX,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::LOGICAL_AND,
    operators::LOGICAL_NOT,
    operators::LOGICAL_OR,
    operators::MODULO,
    operators::MULTIPLY,
    operators::NEGATE,
];

const MORE_OPERATORS: [&str; 3] = [operators::NOT_EQUALS, operators::NOT_STRICTLY_FALSE, operators::SUBSTRACT];

/// An attribute of a resource, for example `pet` and `value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    /// Name of the resource inside the blueprint, without its type.
    pub resource: String,
    /// Name of the attribute.
    pub name: String,
}

impl Attribute {
    /// The attribute `name` of `resource`.
    pub fn new(resource: impl Into<String>, name: impl Into<String>) -> Self {
        Self { resource: resource.into(), name: name.into() }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resources.{}.{}", self.resource, self.name)
    }
}

/// Everything that an expression reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Names of inputs.
    pub inputs: BTreeSet<String>,
    /// Names of inputs whose presence is tested with `has()`.
    pub tested: BTreeSet<String>,
    /// Attributes of resources.
    pub attributes: BTreeSet<Attribute>,
    /// Fields of the deployment.
    pub deployment: BTreeSet<String>,
    /// Paths of files.
    pub files: BTreeSet<String>,
    /// Fields of the subjects of a condition; the subject stands for the resource.
    pub facts: BTreeSet<Attribute>,
}

impl Uses {
    pub(super) fn extend(&mut self, other: &Self) {
        self.inputs.extend(other.inputs.iter().cloned());
        self.tested.extend(other.tested.iter().cloned());
        self.attributes.extend(other.attributes.iter().cloned());
        self.deployment.extend(other.deployment.iter().cloned());
        self.files.extend(other.files.iter().cloned());
        self.facts.extend(other.facts.iter().cloned());
    }
}

/// What an expression may read; `None` is what it must not mention where it stands.
pub(super) struct Vocabulary<'a> {
    pub(super) inputs: BTreeSet<&'a str>,
    pub(super) resources: Option<BTreeSet<&'a str>>,
    pub(super) deployment: bool,
    pub(super) files: Option<&'a Files>,
    pub(super) patterns: &'a Patterns,
    /// What a condition is about, each with its fields; a blueprint's own roots are not there then.
    pub(super) subjects: &'a [Subject],
}

/// Something that a condition can be about, and the fields that are known of it.
pub type Subject = (&'static str, &'static [&'static str]);

impl Vocabulary<'_> {
    /// Names that an expression can begin with.
    fn roots(&self) -> Vec<&'static str> {
        if self.subjects.is_empty() { ROOTS.to_vec() } else { self.subjects.iter().map(|(name, _)| *name).collect() }
    }
}

/// What is wrong with an expression, and which of its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) at: Range<usize>,
}

/// An expression that is not right.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) problems: Vec<Problem>,
    /// What it reads all the same; nothing when it could not be parsed.
    pub(super) uses: Box<Uses>,
}

/// A checked expression.
#[derive(Clone, Debug)]
pub struct Expression {
    source: String,
    pub(super) tree: IdedExpr,
    uses: Box<Uses>,
}

impl Expression {
    pub(super) fn parse(source: &str, vocabulary: &Vocabulary<'_>) -> Result<Self, Refused> {
        let unread = |problems| Refused { problems, uses: Box::default() };
        let whole = || 0..source.len();
        if source.trim().is_empty() {
            let message = "an expression is missing here, for example `inputs.name`".to_owned();
            return Err(unread(vec![Problem { code: "empty-expression", message, at: whole() }]));
        }
        if source.len() > MAX_EXPRESSION {
            let message =
                format!("the expression has {} bytes; {MAX_EXPRESSION} at most, so move text into a file", source.len());
            return Err(unread(vec![Problem { code: "expression-too-long", message, at: whole() }]));
        }
        let mut tree = PrattParser::new().parse(source).map_err(|failed| unread(syntax(source, failed)))?;
        let mut check = Check { source, vocabulary, uses: Uses::default(), variables: Vec::new(), problems: Vec::new() };
        check.visit(&mut tree, 1);
        if check.problems.is_empty() {
            Ok(Self { source: source.trim().to_owned(), uses: Box::new(check.uses), tree })
        } else {
            Err(Refused { problems: check.problems, uses: Box::new(check.uses) })
        }
    }

    /// The expression as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it reads.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }
}

/// Syntax errors at their places.
fn syntax(source: &str, failed: cel::ParseErrors) -> Vec<Problem> {
    let problem = |error: cel::ParseError| {
        let (line, column) = error.pos;
        let at = if line < 1 {
            0..source.len()
        } else {
            let before: usize = source.split_inclusive('\n').take(line as usize - 1).map(str::len).sum();
            let start = floor(source, before + (column.max(1) as usize - 1));
            start..floor(source, source.len().min(start + 1)).max(start)
        };
        let what = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
        let what = what.replace("<EOF>", "the end").replace("'the end'", "the end");
        Problem { code: "expression-syntax", message: format!("this is not CEL: {}", shown(&what)), at }
    };
    failed.errors.into_iter().map(problem).collect()
}

/// The nearest character boundary at or before a byte.
fn floor(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Walks the tree once: notes what it reads, refuses what is not allowed, and rewrites what evaluation needs.
struct Check<'a> {
    source: &'a str,
    vocabulary: &'a Vocabulary<'a>,
    uses: Uses,
    /// Variables of the loops around, innermost last.
    variables: Vec<String>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn visit(&mut self, node: &mut IdedExpr, depth: usize) {
        if depth > MAX_DEPTH {
            let message = format!("the expression nests deeper than {MAX_DEPTH} operations; split it up");
            self.problem("expression-too-deep", "", message);
            return;
        }
        if self.read(node) {
            return;
        }
        match &mut node.expr {
            Expr::Unspecified => {}
            Expr::Ident(name) => {
                let name = name.clone();
                self.identifier(&name);
            }
            Expr::Select(select) => self.visit(&mut select.operand, depth + 1),
            Expr::Literal(LiteralValue::Bytes(_)) => {
                self.problem("bytes", "", "bytes have no place in JSON; use a string".to_owned());
            }
            Expr::Literal(_) => {}
            Expr::List(list) => list.elements.iter_mut().for_each(|element| self.visit(element, depth + 1)),
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.visit(&mut entry.key, depth + 1);
                        self.visit(&mut entry.value, depth + 1);
                    }
                }
            }
            Expr::Struct(object) => {
                let name = object.type_name.clone();
                self.problem(
                    "message",
                    &name,
                    format!("`{}` is a message type, and there are none here; use a map", shown(&name)),
                );
            }
            Expr::Call(call) if call.func_name == "file" && call.target.is_none() => {
                if let Some(path) = self.file(&call.args) {
                    node.expr = file_text(path);
                }
            }
            Expr::Call(call) => self.call(call, depth),
            Expr::Comprehension(_) => self.comprehension(node, depth),
        }
    }

    /// Notes the node if it is one of the things that can be read; what it stands on is not visited then.
    fn read(&mut self, node: &IdedExpr) -> bool {
        let Some((on, name, tested)) = member(node) else { return false };
        if !self.vocabulary.subjects.is_empty() {
            return self.fact(on, name);
        }
        if self.is_root(on, "inputs") {
            if !self.vocabulary.inputs.contains(name) {
                let hint = did_you_mean(name, self.vocabulary.inputs.iter().copied());
                self.problem("unknown-input", name, format!("there is no input `{}`{hint}", shown(name)));
            }
            self.uses.inputs.insert(name.to_owned());
            if tested {
                self.uses.tested.insert(name.to_owned());
            }
            return true;
        }
        if self.is_root(on, "deployment") {
            if !self.vocabulary.deployment {
                self.problem("not-here", "deployment", "`deployment` cannot be used here; only `inputs` can".to_owned());
            } else if !DEPLOYMENT_FIELDS.contains(&name) {
                let hint = did_you_mean(name, DEPLOYMENT_FIELDS);
                let message = format!("a deployment has no `{}`{hint}; it has {}", shown(name), DEPLOYMENT_FIELDS.join(", "));
                self.problem("unknown-deployment-field", name, message);
            }
            self.uses.deployment.insert(name.to_owned());
            return true;
        }
        let Some((root, resource, _)) = member(on) else { return false };
        if !self.is_root(root, "resources") {
            return false;
        }
        match &self.vocabulary.resources {
            None => self.problem("not-here", "resources", "`resources` cannot be used here; only `inputs` can".to_owned()),
            Some(known) if !known.contains(resource) => {
                let hint = did_you_mean(resource, known.iter().copied());
                self.problem("unknown-resource", resource, format!("there is no resource `{}`{hint}", shown(resource)));
            }
            Some(_) => {}
        }
        self.uses.attributes.insert(Attribute::new(resource, name));
        true
    }

    /// Notes a field of a subject.
    fn fact(&mut self, on: &IdedExpr, name: &str) -> bool {
        let Some((subject, fields)) = self.vocabulary.subjects.iter().find(|(subject, _)| self.is_root(on, subject)) else {
            return false;
        };
        if !fields.contains(&name) {
            let hint = did_you_mean(name, fields.iter().copied());
            let message = format!("`{subject}` has no `{}`{hint}; it has {}", shown(name), fields.join(", "));
            self.problem("unknown-field", name, message);
        }
        self.uses.facts.insert(Attribute::new(*subject, name));
        true
    }

    fn is_root(&self, node: &IdedExpr, root: &str) -> bool {
        matches!(&node.expr, Expr::Ident(name) if name == root) && !self.variables.iter().any(|variable| variable == root)
    }

    fn identifier(&mut self, name: &str) {
        if name.starts_with('@') || self.variables.iter().any(|variable| variable == name) {
            return;
        }
        let roots = self.vocabulary.roots();
        let (code, message) = match name {
            _ if !self.vocabulary.subjects.is_empty() && roots.contains(&name) => {
                ("whole-root", format!("name a field of `{name}`, as in `plan.create`"))
            }
            _ if !roots.contains(&name) => {
                let hint = did_you_mean(name, roots.iter().copied().chain(self.variables.iter().map(String::as_str)));
                ("unknown-variable", format!("there is no `{}`{hint}; use {}", shown(name), roots.join(", ")))
            }
            "inputs" => ("whole-root", "name the input, as in `inputs.name`; all inputs at once cannot be read".to_owned()),
            "deployment" => ("whole-root", "name the field, as in `deployment.id`".to_owned()),
            _ => ("whole-root", "name a resource and its attribute, as in `resources.web.url`".to_owned()),
        };
        self.problem(code, name, message);
    }

    fn call(&mut self, call: &mut CallExpr, depth: usize) {
        let name = call.func_name.clone();
        let operator = OPERATORS.contains(&name.as_str()) || MORE_OPERATORS.contains(&name.as_str());
        if !operator && !FUNCTIONS.contains(&name.as_str()) {
            self.problem("unknown-function", &name, unknown_function(&name));
        }
        if name == "matches" {
            self.pattern(call.args.last());
        }
        for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
            self.visit(part, depth + 1);
        }
    }

    /// A pattern must be known now, so that it is right and cheap when it is used.
    fn pattern(&mut self, argument: Option<&IdedExpr>) {
        let checked = match argument.and_then(text) {
            None => Err("write the pattern of matches() as a literal string".to_owned()),
            Some(source) => self.vocabulary.patterns.compile(source).map(|_| ()),
        };
        if let Err(message) = checked {
            self.problem("bad-pattern", "matches", message);
        }
    }

    /// The path of a call of `file`, when it is right.
    fn file(&mut self, args: &[IdedExpr]) -> Option<String> {
        let [path] = args else {
            self.problem("unknown-file", "file", "file() takes one path, as in `file('motd.txt')`".to_owned());
            return None;
        };
        let Some(path) = text(path) else {
            self.problem("unknown-file", "file", "write the path of file() as a literal string".to_owned());
            return None;
        };
        let Some(files) = self.vocabulary.files else {
            self.problem("not-here", "file", "file() cannot be used here; only `inputs` can".to_owned());
            return None;
        };
        if files.get(path).is_none() {
            let hint = did_you_mean(path, files.iter().map(|(path, _)| path));
            self.problem("unknown-file", path, format!("the blueprint has no file `{}`{hint}", shown(path)));
            return None;
        }
        if files.text(path).is_none() {
            self.problem("invalid-utf8", path, format!("`{}` is not UTF-8, so it has no text", shown(path)));
            return None;
        }
        self.uses.files.insert(path.to_owned());
        Some(path.to_owned())
    }

    fn comprehension(&mut self, node: &mut IdedExpr, depth: usize) {
        let Expr::Comprehension(the_loop) = &mut node.expr else { return };
        self.visit(&mut the_loop.iter_range, depth + 2);
        if self.variables.len() == MAX_LOOPS {
            let message = format!("map, filter, all and exists stand at most {MAX_LOOPS} deep inside each other");
            self.problem("too-many-loops", "", message);
            return;
        }
        let variable = the_loop.iter_var.clone();
        if self.vocabulary.roots().contains(&variable.as_str()) {
            let message = format!("`{variable}` has a meaning already; give the variable of the loop another name");
            self.problem("reserved-name", &variable, message);
            return;
        }
        let range = std::mem::take(&mut the_loop.iter_range);
        let id = range.id;
        let ordered = CallExpr { func_name: ORDERED.to_owned(), target: None, args: vec![range] };
        the_loop.iter_range = IdedExpr { id, expr: Expr::Call(ordered) };
        self.variables.push(variable);
        for part in [&mut the_loop.accu_init, &mut the_loop.loop_cond, &mut the_loop.loop_step, &mut the_loop.result] {
            self.visit(part, depth + 1);
        }
        self.variables.pop();
    }

    /// Notes a problem where a word stands first, or with the expression as a whole.
    fn problem(&mut self, code: &'static str, word: &str, message: String) {
        let at = find_word(self.source, word).unwrap_or(0..self.source.len());
        let problem = Problem { code, message, at };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// What to write instead of a call that is none of ours. A macro comes here when its arguments are not those it takes.
fn unknown_function(name: &str) -> String {
    if let Some((_, usage)) = MACROS.iter().find(|(known, _)| *known == name) {
        return format!("`{name}` is written as in `{usage}`");
    }
    let mut known: Vec<&str> = FUNCTIONS.into_iter().chain(MACROS.iter().map(|(name, _)| *name)).collect();
    known.sort_unstable();
    format!("there is no function `{}`{}; there are {}", shown(name), did_you_mean(name, known.iter().copied()), known.join(", "))
}

/// The operand and the name of `operand.name`, `has(operand.name)` or `operand['name']`, and whether it is the second.
fn member(node: &IdedExpr) -> Option<(&IdedExpr, &str, bool)> {
    match &node.expr {
        Expr::Select(select) => Some((&select.operand, &select.field, select.test)),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [operand, index] => Some((operand, text(index)?, false)),
            _ => None,
        },
        _ => None,
    }
}

/// The text of a literal string.
pub(super) fn text(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// What reads the text of a file.
fn file_text(path: String) -> Expr {
    let literal = Expr::Literal(LiteralValue::String(path.into()));
    let args = [Expr::Ident(FILES.to_owned()), literal].into_iter().map(|expr| IdedExpr { id: 0, expr }).collect();
    Expr::Call(CallExpr { func_name: operators::INDEX.to_owned(), target: None, args })
}

/// Where a word stands that is not part of a longer one.
fn find_word(source: &str, word: &str) -> Option<Range<usize>> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let alone = |at: usize| {
        let before = source[..at].chars().next_back();
        let after = source[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    };
    let at = source.match_indices(word).map(|(at, _)| at).find(|at| !word.is_empty() && alone(*at))?;
    Some(at..at + word.len())
}
