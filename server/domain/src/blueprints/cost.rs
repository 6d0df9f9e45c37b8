//! An upper bound of what evaluating an expression produces, computed before it is evaluated.
//!
//! CEL always ends, but two nested loops over long lists, or one file joined to itself often enough, would still take minutes and
//! gigabytes. The bound follows the tree with the sizes of the values that it will really read.

use std::collections::BTreeMap;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use serde_json::Value;

use super::{
    evaluate::Scope,
    expression::{Expression, FILES, ORDERED},
};

/// The most bytes that the values of one evaluation may have, all steps together.
const MAX_COST: u64 = 8 << 20;

/// The longest list that a loop may run over.
const MAX_ITEMS: u64 = 10_000;

/// Bytes of a number, and of the box around any value.
const SCALAR: u64 = 16;

/// What one use of a pattern may cost, since it is compiled each time.
const PATTERN: u64 = 32 << 10;

/// Whether the expression may be evaluated in this scope.
///
/// # Errors
/// What is too much, for people.
pub(super) fn check(expression: &Expression, scope: &Scope<'_>) -> Result<(), String> {
    let subjects = !expression.uses().facts.is_empty();
    let mut bound = Bound { scope, subjects, variables: BTreeMap::new(), total: 0, longest: 0 };
    bound.size(&expression.tree, 1);
    if bound.longest > MAX_ITEMS {
        return Err(format!("a loop would run over up to {} items; {MAX_ITEMS} at most", bound.longest));
    }
    if bound.total > MAX_COST {
        return Err(format!("it could produce up to {} bytes on the way; {MAX_COST} at most, so use shorter lists", bound.total));
    }
    Ok(())
}

/// The most that a value can be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Size {
    /// Bytes of it and all in it.
    bytes: u64,
    /// Length of the longest list or map in it.
    items: u64,
    /// Bytes of the largest value in it.
    widest: u64,
}

impl Size {
    const SCALAR: Self = Self { bytes: SCALAR, items: 0, widest: 0 };

    fn text(bytes: u64) -> Self {
        Self { bytes: bytes.saturating_add(SCALAR), items: 0, widest: 0 }
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::text(text.len() as u64),
            Value::Array(items) => Self::around(items.iter().map(Self::of)),
            Value::Object(entries) => {
                let entries = entries.iter();
                Self::around(entries.map(|(key, value)| Self::of(value).and(Self::text(key.len() as u64))))
            }
            _ => Self::SCALAR,
        }
    }

    /// A list of values.
    fn around(parts: impl Iterator<Item = Self>) -> Self {
        let (mut all, mut count) = (Self::SCALAR, 0_u64);
        for part in parts {
            count += 1;
            all = Self { widest: all.widest.max(part.bytes), ..all.and(part) };
        }
        Self { items: all.items.max(count), ..all }
    }

    /// Both together.
    fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            items: self.items.max(other.items),
            widest: self.widest.max(other.widest),
        }
    }

    /// Either of them.
    fn or(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), ..self.and(other) }
    }

    /// Something inside it.
    fn inside(self) -> Self {
        Self { bytes: self.widest.max(SCALAR), ..self }
    }
}

struct Bound<'a> {
    scope: &'a Scope<'a>,
    /// It is a condition: what it reads are fields of its subjects.
    subjects: bool,
    variables: BTreeMap<String, Size>,
    total: u64,
    longest: u64,
}

impl Bound<'_> {
    /// The bound of a node that is evaluated `times` times; adds what it costs to the total.
    fn size(&mut self, node: &IdedExpr, times: u64) -> Size {
        let size = self.known(node).unwrap_or_else(|| self.computed(node, times));
        self.pay(size.bytes, times);
        size
    }

    fn pay(&mut self, bytes: u64, times: u64) {
        self.total = self.total.saturating_add(bytes.saturating_mul(times));
    }

    /// The size of a value of the scope.
    fn known(&self, node: &IdedExpr) -> Option<Size> {
        let (root, path) = path(node)?;
        if self.variables.contains_key(root) {
            return None;
        }
        match (root, path.as_slice()) {
            (subject, [name]) if self.subjects => {
                let value = self.scope.resources.get(subject).and_then(|fields| fields.get(*name));
                Some(value.map_or(Size::SCALAR, Size::of))
            }
            ("inputs", [name]) => Some(self.scope.inputs.get(*name).map_or(Size::SCALAR, Size::of)),
            ("resources", [resource, name]) => {
                let value = self.scope.resources.get(*resource).and_then(|attributes| attributes.get(*name));
                Some(value.map_or(Size::SCALAR, Size::of))
            }
            ("deployment", [_]) => Some(Size::text(256)),
            (FILES, [path]) => Some(Size::text(self.scope.files.get(path).map_or(0, <[u8]>::len) as u64)),
            _ => None,
        }
    }

    fn computed(&mut self, node: &IdedExpr, times: u64) -> Size {
        match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => Size::text(text.inner().len() as u64),
            Expr::Literal(_) | Expr::Unspecified | Expr::Struct(_) => Size::SCALAR,
            Expr::Ident(name) => self.variables.get(name).copied().unwrap_or(Size::SCALAR),
            Expr::Select(select) => {
                let on = self.size(&select.operand, times);
                if select.test { Size::SCALAR } else { on.inside() }
            }
            Expr::List(list) => {
                let parts: Vec<_> = list.elements.iter().map(|element| self.size(element, times)).collect();
                Size::around(parts.into_iter())
            }
            Expr::Map(map) => {
                let mut parts = Vec::new();
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        parts.push(self.size(&entry.key, times).and(self.size(&entry.value, times)));
                    }
                }
                Size::around(parts.into_iter())
            }
            Expr::Call(call) => self.call(call, times),
            Expr::Comprehension(the_loop) => self.comprehension(the_loop, times),
        }
    }

    fn call(&mut self, call: &CallExpr, times: u64) -> Size {
        let parts = call.target.as_deref().into_iter().chain(&call.args);
        let sizes: Vec<_> = parts.map(|part| self.size(part, times)).collect();
        let all = sizes.iter().fold(Size::default(), |all, size| all.and(*size));
        let part = |index: usize| sizes.get(index).copied().unwrap_or_default();
        match call.func_name.as_str() {
            operators::ADD => Size { items: sizes.iter().fold(0, |sum, size| sum.saturating_add(size.items)), ..all },
            operators::CONDITIONAL => part(1).or(part(2)),
            operators::INDEX => part(0).inside(),
            ORDERED => part(0),
            "join" => Size::text(part(0).bytes.saturating_add(part(0).items.saturating_mul(part(1).bytes))),
            "replace" => Size::text(part(0).bytes.saturating_mul(part(2).bytes)),
            "split" => Size { bytes: part(0).bytes.saturating_mul(1 + SCALAR), items: part(0).bytes, widest: part(0).bytes },
            "lowerAscii" | "upperAscii" | "trim" | "substring" | "string" => Size::text(part(0).bytes),
            "matches" => {
                self.pay(PATTERN, times);
                Size::SCALAR
            }
            _ => Size::SCALAR,
        }
    }

    fn comprehension(&mut self, the_loop: &ComprehensionExpr, times: u64) -> Size {
        let range = self.size(&the_loop.iter_range, times);
        self.longest = self.longest.max(range.items);
        let rounds = range.items.max(1);
        let inner = times.saturating_mul(rounds);
        let hidden = self.variables.insert(the_loop.iter_var.clone(), range.inside());
        self.size(&the_loop.accu_init, times);
        self.size(&the_loop.loop_cond, inner);
        let step = self.size(&the_loop.loop_step, inner);
        match hidden {
            Some(size) => self.variables.insert(the_loop.iter_var.clone(), size),
            None => self.variables.remove(&the_loop.iter_var),
        };
        Size { bytes: step.bytes.saturating_mul(rounds), items: step.items.saturating_mul(rounds), widest: step.widest }
    }
}

/// The root and the names of `root.a['b']`.
fn path(node: &IdedExpr) -> Option<(&str, Vec<&str>)> {
    let (on, name) = match &node.expr {
        Expr::Ident(root) => return Some((root, Vec::new())),
        Expr::Select(select) if !select.test => (&*select.operand, select.field.as_str()),
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [on, index] => (on, super::expression::text(index)?),
            _ => return None,
        },
        _ => return None,
    };
    let (root, mut names) = path(on)?;
    names.push(name);
    Some((root, names))
}
