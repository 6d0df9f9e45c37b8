//! What went wrong in an engine, as data that a run can keep and show.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A failure of an engine or of one step. Its texts hold no secret once it has left the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// The resource, `type.name`; empty when it concerns the whole run.
    pub address: String,
    /// Stable name, for example `file-exists`.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
    /// A new run may well succeed.
    pub retryable: bool,
    /// The effect may have happened all the same, for example when no answer came.
    #[serde(default)]
    pub uncertain: bool,
}

impl StepError {
    /// A failure that a new run would meet again.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            address: String::new(),
            code: code.to_owned(),
            message: message.into(),
            hint: String::new(),
            retryable: false,
            uncertain: false,
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Marks it as one that may pass.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Marks its effect as possibly there.
    #[must_use]
    pub fn uncertain(mut self) -> Self {
        self.uncertain = true;
        self
    }

    /// Names the resource.
    #[must_use]
    pub fn at(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.address.is_empty() {
            write!(f, "{}: ", self.address)?;
        }
        f.write_str(&self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, " ({})", self.hint) }
    }
}

impl std::error::Error for StepError {}
