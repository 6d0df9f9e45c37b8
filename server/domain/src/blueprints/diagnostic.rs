//! What is wrong with a blueprint, and where.

/// The most diagnostics that one parse reports; what comes after them is only counted.
const MAX_DIAGNOSTICS: usize = 200;

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Stops a publication.
    Error,
    /// Does not.
    Warning,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

/// A stretch of a file. All zero when the whole file is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// First character.
    pub start: Position,
    /// After the last character.
    pub end: Position,
}

impl Range {
    /// The file as a whole.
    pub const WHOLE: Self = Self { start: Position { line: 0, column: 0 }, end: Position { line: 0, column: 0 } };
}

/// Something to mend in a blueprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops a publication.
    pub severity: Severity,
    /// Stable name of the rule in kebab-case, for example `unknown-key`.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// The file.
    pub path: String,
    /// Line, from 1; 0 when it concerns the whole file.
    pub line: u32,
    /// Column in characters, from 1; 0 when it concerns the whole file.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// Column after the last character.
    pub end_column: u32,
}

impl Diagnostic {
    /// An error in this stretch of a file.
    pub fn error(code: &'static str, path: &str, range: Range, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, path, range, message.into())
    }

    /// A warning about this stretch of a file.
    pub fn warning(code: &'static str, path: &str, range: Range, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, path, range, message.into())
    }

    fn new(severity: Severity, code: &'static str, path: &str, range: Range, message: String) -> Self {
        Self {
            severity,
            code,
            message,
            path: path.to_owned(),
            line: range.start.line,
            column: range.start.column,
            end_line: range.end.line,
            end_column: range.end.column,
        }
    }
}

/// Collects every diagnostic of one file.
#[derive(Debug)]
pub(super) struct Diagnostics {
    path: &'static str,
    found: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(super) fn new(path: &'static str) -> Self {
        Self { path, found: Vec::new() }
    }

    pub(super) fn error(&mut self, code: &'static str, range: Range, message: impl Into<String>) {
        self.found.push(Diagnostic::error(code, self.path, range, message));
    }

    pub(super) fn warning(&mut self, code: &'static str, range: Range, message: impl Into<String>) {
        self.found.push(Diagnostic::warning(code, self.path, range, message));
    }

    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error)
    }

    /// Takes in what somebody else found in the same file.
    pub(super) fn extend(&mut self, found: Vec<Diagnostic>) {
        self.found.extend(found);
    }

    /// Whether more would hardly be shown, so that no effort need be spent on them.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= MAX_DIAGNOSTICS
    }

    /// All of them in the order of the file, without repetitions.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let Self { path, mut found } = self;
        found.sort_by(|a, b| {
            (a.line, a.column, a.severity, a.code, &a.message).cmp(&(b.line, b.column, b.severity, b.code, &b.message))
        });
        found.dedup();
        if found.len() > MAX_DIAGNOSTICS {
            let left = found.len() - MAX_DIAGNOSTICS;
            let failed = found[MAX_DIAGNOSTICS..].iter().any(|d| d.severity == Severity::Error);
            found.truncate(MAX_DIAGNOSTICS);
            let message = format!("{left} more problems are not shown; mend these first");
            let rest = if failed { Diagnostic::error } else { Diagnostic::warning };
            found.push(rest("too-many-problems", path, Range::WHOLE, message));
        }
        found
    }
}

/// The most names that a wrong one is compared with, and the longest: comparing must stay cheap however wrong a blueprint is.
const MAX_CANDIDATES: usize = 500;
const MAX_COMPARED: usize = 32;

/// The name out of `known` that somebody may have meant by a wrong one.
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (1 + name.chars().count() / 4).min(3);
    known
        .into_iter()
        .take(MAX_CANDIDATES)
        .filter_map(|candidate| Some((distance(name, candidate, allowed)?, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The same, ready to end a message: ``; did you mean `x`?``, or nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, known).map(|close| format!("; did you mean `{close}`?")).unwrap_or_default()
}

/// Levenshtein distance without regard to case; `None` when it is more than allowed or a name is very long.
fn distance(a: &str, b: &str, allowed: usize) -> Option<usize> {
    if a.len().max(b.len()) > MAX_COMPARED {
        return None;
    }
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (a, b) = (lower(a), lower(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
        if row.iter().all(|so_far| *so_far > allowed) {
            return None;
        }
    }
    Some(row[b.len()]).filter(|distance| *distance <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_proposed_and_a_far_one_is_not() {
        let known = ["description", "resources", "outputs"];
        assert_eq!(did_you_mean("resorces", known), "; did you mean `resources`?");
        assert_eq!(did_you_mean("Outputs", known), "; did you mean `outputs`?");
        assert_eq!(did_you_mean("banana", known), "");
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut all = Diagnostics::new("blueprint.yaml");
        for line in 1..=MAX_DIAGNOSTICS as u32 + 5 {
            let at = Position { line, column: 1 };
            all.error("unknown-key", Range { start: at, end: at }, "no");
        }
        let shown = all.finish();
        assert_eq!(shown.len(), MAX_DIAGNOSTICS + 1);
        assert_eq!(shown[MAX_DIAGNOSTICS].code, "too-many-problems");
        assert!(shown[MAX_DIAGNOSTICS].message.starts_with("5 more"));
    }
}
