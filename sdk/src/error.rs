//! The one error of this crate.

use std::{collections::BTreeMap, error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::RunOutcome;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
///
/// Match on the predicates or on [`reason`](Self::reason), which come from the contract and stay; never on the text, which
/// is for people. Its size is that of a pointer.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    reason: Option<String>,
    message: String,
    metadata: BTreeMap<String, String>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    started: Started,
    outcome: Option<RunOutcome>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Whether the server began the call that failed, as far as this side can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    /// It may have.
    Maybe,
    /// It did not, so that even a call with effects can be repeated.
    No,
    /// It did not, and a repeat fails the same way.
    Never,
}

/// One field of a request that the server, or this crate, did not accept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Violation {
    /// Path of the field, for example `project.display_name`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub description: String,
}

impl Violation {
    /// A violation of `field`.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

/// Kind of failure, as gRPC names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// The call was cancelled, by this side or by the server.
    Cancelled,
    /// Not said.
    Unknown,
    /// The request is wrong, whatever the state of the server.
    InvalidArgument,
    /// Not done in time; it may still take effect.
    DeadlineExceeded,
    /// There is no such resource, or none that the caller may see.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The caller is known and not allowed.
    PermissionDenied,
    /// A quota or a rate limit is used up.
    ResourceExhausted,
    /// The state of the resource does not allow it.
    FailedPrecondition,
    /// Somebody else was first.
    Aborted,
    /// An offset or token lies outside what there is.
    OutOfRange,
    /// The server does not have this method.
    Unimplemented,
    /// A fault of the server.
    Internal,
    /// The server cannot be reached or does not take calls now.
    Unavailable,
    /// Data is lost.
    DataLoss,
    /// The caller is not known.
    Unauthenticated,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        })
    }
}

/// How to make one: for a [`Stub`](crate::Stub) that scripts a failure.
impl Error {
    /// An error without a reason.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            reason: None,
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after: None,
            request_id: None,
            started: Started::Maybe,
            outcome: None,
            source: None,
        }))
    }

    /// Sets the reason, one of the contract's `ErrorReason` without its prefix, for example `QUOTA_EXCEEDED`.
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.0.reason = Some(reason.into());
        self
    }

    /// Adds one pair of metadata.
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a field that was not accepted.
    pub fn with_violation(mut self, violation: Violation) -> Self {
        self.0.violations.push(violation);
        self
    }

    /// Sets how long to wait before the next try.
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    pub(crate) fn invalid(violations: Vec<Violation>) -> Self {
        let text: Vec<_> = violations.iter().map(|v| format!("{}: {}", v.field, v.description)).collect();
        let mut error = Self::new(Code::InvalidArgument, text.join("; ")).with_reason("FIELD_INVALID").started(Started::Never);
        error.0.violations = violations;
        error
    }

    pub(crate) fn started(mut self, started: Started) -> Self {
        self.0.started = started;
        self
    }

    pub(crate) fn with_source(mut self, source: Arc<dyn StdError + Send + Sync>) -> Self {
        self.0.source = Some(source);
        self
    }

    /// Keeps the id that the server gave the call, which is the one in its logs; a call that was not sent is in none.
    pub(crate) fn or_request_id(mut self, id: &str) -> Self {
        if self.0.started == Started::Maybe {
            self.0.request_id.get_or_insert_with(|| id.to_owned());
        }
        self
    }

    pub(crate) fn with_outcome(mut self, outcome: RunOutcome) -> Self {
        self.0.outcome = Some(outcome);
        self
    }
}

impl Error {
    /// Why, as one of the contract's `ErrorReason` without its prefix; absent when the failure did not come from a Freehold
    /// server, for example when none could be reached.
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// Kind of failure.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What happened and what to do, for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// One value of the reason's metadata, for example `limit` of a `QUOTA_EXCEEDED`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.0.metadata.get(key).map(String::as_str)
    }

    /// All metadata of the reason, ordered by key.
    pub fn all_metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Every field that was not accepted.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// How long the server asks to wait before the next try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Id of the call, as in the server's logs.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// How the run ended that this error is about; see [`RunHandle::into_result`](crate::RunHandle::into_result).
    pub fn run_outcome(&self) -> Option<RunOutcome> {
        self.0.outcome
    }

    /// There is no such resource, or none that the caller may see.
    pub fn is_not_found(&self) -> bool {
        self.0.code == Code::NotFound
    }

    /// The name is taken.
    pub fn is_already_exists(&self) -> bool {
        self.0.code == Code::AlreadyExists
    }

    /// A quota is used up; metadata has `dimension`, `limit`, `used`, `reserved` and `requested`.
    pub fn is_quota_exceeded(&self) -> bool {
        self.reason() == Some("QUOTA_EXCEEDED")
    }

    /// The caller is known and not allowed; metadata has `permission` and `resource`.
    pub fn is_permission_denied(&self) -> bool {
        self.0.code == Code::PermissionDenied
    }

    /// The caller is not known: no credentials, or ones that are not accepted.
    pub fn is_unauthenticated(&self) -> bool {
        self.0.code == Code::Unauthenticated
    }

    /// The request is wrong; see [`violations`](Self::violations).
    pub fn is_invalid_argument(&self) -> bool {
        self.0.code == Code::InvalidArgument
    }

    /// Somebody else was first. Read again, decide again, write again.
    pub fn is_aborted(&self) -> bool {
        self.0.code == Code::Aborted
    }

    /// The resource has changed since it was read; metadata has `current_etag`.
    pub fn is_etag_mismatch(&self) -> bool {
        self.reason() == Some("ETAG_MISMATCH")
    }

    /// The server cannot be reached or does not take calls now, after all tries.
    pub fn is_unavailable(&self) -> bool {
        self.0.code == Code::Unavailable
    }

    /// The state of the resource does not allow it.
    pub fn is_failed_precondition(&self) -> bool {
        self.0.code == Code::FailedPrecondition
    }

    /// Not done in time; it may still take effect.
    pub fn is_deadline_exceeded(&self) -> bool {
        self.0.code == Code::DeadlineExceeded
    }

    pub(crate) fn is_token_expired(&self) -> bool {
        self.reason() == Some("TOKEN_EXPIRED")
    }

    /// Another try may well succeed.
    pub(crate) fn is_transient(&self) -> bool {
        self.0.started != Started::Never && (self.0.code == Code::Unavailable || self.reason() == Some("RATE_LIMITED"))
    }

    /// The call may have cost the server something, or has failed because the server is in trouble. That another system is, which the
    /// server asked, says nothing about the server.
    pub(crate) fn is_burden(&self) -> bool {
        self.0.started == Started::Maybe
            && !matches!(self.reason(), Some("SERVER_DRAINING" | "RATE_LIMITED" | "VENDOR_UNAVAILABLE"))
    }

    /// The server certainly did not begin the call: it was not sent, or refused at the door.
    pub(crate) fn is_not_started(&self) -> bool {
        self.0.started != Started::Maybe || matches!(self.reason(), Some("SERVER_DRAINING" | "OVERLOADED" | "RATE_LIMITED"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.reason {
            Some(reason) => write!(f, " ({reason})"),
            // The message names the outcome, which says more than a code.
            None if self.0.outcome.is_some() => Ok(()),
            None => write!(f, " ({})", self.0.code),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("code", &self.0.code).field("reason", &self.0.reason).field("message", &self.0.message);
        out.field("metadata", &self.0.metadata).field("violations", &self.0.violations);
        out.field("request_id", &self.0.request_id).field("source", &self.0.source);
        out.finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
