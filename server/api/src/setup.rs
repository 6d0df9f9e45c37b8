//! What an operator has to mend before the server can start: files, keys, addresses.

use std::{error::Error as StdError, fmt, path::Path};

/// A result whose error is a [`SetupError`].
pub type Result<T, E = SetupError> = std::result::Result<T, E>;

/// A file, key or address that cannot be used. The text says which one and what to do.
#[derive(Debug)]
pub struct SetupError {
    text: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl SetupError {
    /// An error with its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), source: None }
    }

    /// An error about a file: `{path}: {what}`.
    pub fn file(path: &Path, what: impl fmt::Display) -> Self {
        Self::new(format!("{}: {what}", path.display()))
    }

    /// Keeps the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// The text and every cause, so that one line in a terminal says it all.
impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for SetupError {}
