//! Regular expressions of blueprints: bounded in length, in number, and in the memory of the compiled form.

use std::cell::Cell;

use regex::{Regex, RegexBuilder};

use crate::names::shown;

const MAX_PATTERN: usize = 512;
const MAX_PATTERNS: usize = 200;
const MAX_COMPILED: usize = 2 << 20;

/// Compiles the patterns of one blueprint and counts them, since compiling is what costs.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    compiled: Cell<usize>,
}

impl Patterns {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn compile(&self, source: &str) -> Result<Regex, String> {
        if source.len() > MAX_PATTERN {
            return Err(format!("the pattern has {} bytes; {MAX_PATTERN} at most", source.len()));
        }
        if self.compiled.get() == MAX_PATTERNS {
            return Err(format!("the blueprint has more than {MAX_PATTERNS} patterns; remove some"));
        }
        self.compiled.set(self.compiled.get() + 1);
        RegexBuilder::new(source).size_limit(MAX_COMPILED).build().map_err(|error| {
            let why = match error {
                regex::Error::CompiledTooBig(_) => "it repeats too much; shorten it, or write `[a-z0-9_]` for `\\w`".to_owned(),
                other => other.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
            };
            format!("`{}` is not a pattern: {why}", shown(source))
        })
    }
}
