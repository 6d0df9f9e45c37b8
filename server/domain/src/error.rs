//! The one error of the server: what went wrong as data, what the caller may read, and what only the log may.

use std::{collections::BTreeMap, error::Error as StdError, fmt, time::Duration};

/// A result whose error is an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something failed, one for each reason of `freehold.common.v1.ErrorReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is described in proto/freehold/common/v1/error_reason.proto")]
pub enum Reason {
    FieldInvalid,
    MaskInvalid,
    PageTokenInvalid,
    RequestIdReused,
    TenantMismatch,
    CredentialsMissing,
    TokenExpired,
    TokenInvalid,
    TokenCertMismatch,
    CertUnknown,
    CertRevoked,
    PermissionMissing,
    TenantSuspended,
    ResourceNotFound,
    ResourceExists,
    ResourceInUse,
    StateNotAllowed,
    ApprovalRequired,
    PlanStale,
    BlueprintInvalid,
    VersionTooLow,
    SecretAlreadyReturned,
    EtagMismatch,
    OperationInProgress,
    LeaseLost,
    QuotaExceeded,
    RateLimited,
    MessageTooLarge,
    LogOffsetInvalid,
    ResumeTokenExpired,
    WatchSlowConsumer,
    TooManyStreams,
    ServerDraining,
    Overloaded,
    DependencyDown,
    DeadlineExceeded,
    ConnectionUnconfigured,
    ConnectionAuthFailed,
    ConnectionPermissionDenied,
    VendorNotFound,
    VendorConflict,
    VendorThrottled,
    VendorUnavailable,
    VendorRefused,
    Internal,
}

/// One wrong field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path in the request, for example `project.labels["team"]`.
    pub field: String,
    /// What is wrong and what would be right.
    pub description: String,
}

impl Violation {
    /// A violation of the field at this path.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

/// What went wrong. The text is public and says what to do next; the source is for the log only.
pub struct Error(Box<Inner>);

struct Inner {
    reason: Reason,
    message: String,
    metadata: BTreeMap<&'static str, String>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with its public text.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            reason,
            message: message.into(),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// Wrong fields, all of them at once.
    pub fn invalid(violations: Vec<Violation>) -> Self {
        let mut error = Self::new(Reason::FieldInvalid, summary(&violations));
        error.0.violations = violations;
        error
    }

    /// One wrong field.
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(field, description)])
    }

    /// No such resource that the caller may see.
    pub fn not_found(resource: impl fmt::Display) -> Self {
        Self::new(Reason::ResourceNotFound, format!("{resource} does not exist, or you may not see it"))
            .with("resource", resource)
    }

    /// The name is taken.
    pub fn exists(resource: impl fmt::Display) -> Self {
        Self::new(Reason::ResourceExists, format!("{resource} exists already; choose another id")).with("resource", resource)
    }

    /// A fault of ours. The text stays inside; callers learn the request id only.
    pub fn internal(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Reason::Internal, "an internal fault; give the operator this request id").caused_by(source)
    }

    /// What happened and what it came of, for the operator's log.
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut next = self.source();
        while let Some(cause) = next {
            text += &format!(": {cause}");
            next = cause.source();
        }
        text
    }

    /// Adds a fact for programs.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.metadata.insert(key, value.to_string());
        self
    }

    /// Adds wrong fields to an error of another reason.
    #[must_use]
    pub fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.0.violations = violations;
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The public text.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Facts for programs.
    pub fn metadata(&self) -> &BTreeMap<&'static str, String> {
        &self.0.metadata
    }

    /// The wrong fields.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// When to come back, if that is known.
    pub fn retry_delay(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("reason", &self.0.reason)
            .field("message", &self.0.message)
            .field("metadata", &self.0.metadata)
            .field("violations", &self.0.violations)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

fn summary(violations: &[Violation]) -> String {
    match violations {
        [] => "the request is invalid".to_owned(),
        [one] => format!("{}: {}", one.field, one.description),
        [first, rest @ ..] => format!("{}: {} (and {} more)", first.field, first.description, rest.len()),
    }
}

/// Collects every wrong field of a request, so that one answer names them all.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// Nothing wrong so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a wrong field.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation::new(field, description));
    }

    /// Keeps the value, or notes what the field's own rule says against it.
    pub fn check<T>(&mut self, field: &str, value: std::result::Result<T, String>) -> Option<T> {
        value.map_err(|description| self.add(field, description)).ok()
    }

    /// Succeeds when nothing was noted.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::invalid(self.0)) }
    }
}
