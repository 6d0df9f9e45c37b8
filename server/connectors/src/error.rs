//! What goes wrong between Freehold and a vendor, in one taxonomy for all vendors.

use std::{error::Error, fmt, time::Duration};

use freehold_domain::{Violation, redact::Redactor};
use serde_json::Value;

/// What a failure means for whoever made the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The vendor does not accept the credentials.
    Auth,
    /// The credentials are good and do not allow this.
    Permission,
    /// There is no such thing, or none that these credentials may see.
    NotFound,
    /// It is there already, or was changed by somebody else.
    Conflict,
    /// The call makes no sense to the vendor, or its input none to us.
    Invalid,
    /// Too many calls; the vendor has done nothing.
    Throttled,
    /// It may well work the next time.
    Transient,
    /// It will not work the next time either.
    Permanent,
    /// Not sent, because the calls before it failed.
    CircuitOpen,
    /// The connection lacks a setting or a credential.
    Unconfigured,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Auth,
        Self::Permission,
        Self::NotFound,
        Self::Conflict,
        Self::Invalid,
        Self::Throttled,
        Self::Transient,
        Self::Permanent,
        Self::CircuitOpen,
        Self::Unconfigured,
    ];

    /// Its stable name, for metrics and for rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::CircuitOpen => "circuit_open",
            Self::Unconfigured => "unconfigured",
        }
    }

    /// Whether the same call may work later without anybody changing anything.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Throttled | Self::Transient | Self::CircuitOpen)
    }

    /// What a status of HTTP means where the vendor says nothing more exact.
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 | 407 => Self::Auth,
            403 => Self::Permission,
            404 | 410 => Self::NotFound,
            409 | 412 | 423 => Self::Conflict,
            400 | 405 | 406 | 411 | 413..=422 | 431 => Self::Invalid,
            429 => Self::Throttled,
            408 | 425 | 500 | 502..=504 | 507 | 520..=530 => Self::Transient,
            _ => Self::Permanent,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed call. Its texts hold no credential once it has left a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorError {
    /// What it means.
    pub kind: ErrorKind,
    /// What happened, and what to do next where that is known.
    pub message: String,
    /// Wrong fields of the input or the settings, all of them.
    pub violations: Vec<Violation>,
    /// When to come back, if that is known.
    pub retry_after: Option<Duration>,
    /// The effect may have happened all the same, for example when no answer came.
    pub maybe_done: bool,
    /// The status that the vendor answered with.
    pub vendor_status: Option<u16>,
    /// The vendor's own name of the failure.
    pub vendor_code: Option<String>,
    /// By which the vendor finds the call.
    pub vendor_request_id: Option<Box<str>>,
    /// What was answered, shortened and masked, where a connector keeps that: `status`, `headers`, `body`.
    pub answer: Option<Box<Value>>,
}

impl ConnectorError {
    /// A failure of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            violations: Vec::new(),
            retry_after: None,
            maybe_done: false,
            vendor_status: None,
            vendor_code: None,
            vendor_request_id: None,
            answer: None,
        }
    }

    /// Wrong fields, all of them at once.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let told: Vec<_> = violations.iter().map(|one| format!("`{}` {}", one.field, one.description)).collect();
        Self { violations, ..Self::new(ErrorKind::Invalid, told.join("; ")) }
    }

    /// A credential or a setting that is not there.
    pub fn unconfigured(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unconfigured, message)
    }

    /// Says when to come back.
    #[must_use]
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Marks the effect as possibly there.
    #[must_use]
    pub fn maybe_done(mut self, maybe: bool) -> Self {
        self.maybe_done = maybe;
        self
    }

    /// Notes the vendor's name of the failure.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.vendor_code = Some(code.into());
        self
    }

    /// Takes everything that is known as a secret out of its texts.
    #[must_use]
    pub(crate) fn scrubbed(mut self, redactor: &Redactor) -> Self {
        self.message = redactor.redact(&self.message);
        self.vendor_code = self.vendor_code.map(|code| redactor.redact(&code));
        self.vendor_request_id = self.vendor_request_id.map(|id| redactor.redact(&id).into());
        if let Some(answer) = &mut self.answer {
            scrub(answer, redactor);
        }
        for violation in &mut self.violations {
            violation.field = redactor.redact(&violation.field);
            violation.description = redactor.redact(&violation.description);
        }
        self
    }
}

impl fmt::Display for ConnectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)?;
        if let Some(status) = self.vendor_status {
            write!(f, " (status {status})")?;
        }
        if let Some(id) = &self.vendor_request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

impl Error for ConnectorError {}

/// Takes secrets out of every text of a value.
pub(crate) fn scrub(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::String(text) => *text = redactor.redact(text),
        Value::Array(items) => items.iter_mut().for_each(|item| scrub(item, redactor)),
        Value::Object(fields) => fields.values_mut().for_each(|field| scrub(field, redactor)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Why a connector stopped: it failed, or it would have changed something in a dry run.
#[derive(Debug)]
pub enum Halt {
    /// It failed.
    Failed(Box<ConnectorError>),
    /// What would have been sent.
    Dry(Value),
}

impl From<ConnectorError> for Halt {
    fn from(error: ConnectorError) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl Halt {
    /// The failure; a dry run is none.
    pub(crate) fn failure(&self) -> Option<&ConnectorError> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Dry(_) => None,
        }
    }
}
