//! The only place where an error of the domain becomes a gRPC status.
//!
//! Code and reason follow `freehold.common.v1.ErrorReason`; details are the messages of `google.rpc` (AIP-193). What goes
//! over the wire stays under 4 KiB: several clients lose a status that is larger.

use std::collections::HashMap;

use freehold_domain::{Error, Reason};
use http::HeaderMap;
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Domain of every reason.
pub const DOMAIN: &str = "freehold.dev";
/// The most that a status takes on the wire, in bytes of header names and values.
pub const MAX_BYTES: usize = 4096;

const MAX_MESSAGE: usize = 700;
const MAX_VALUE: usize = 200;
const MAX_VIOLATIONS: usize = 32;

/// Turns an error into what the caller gets, and logs what the caller must not see.
///
/// Faults of the server and of its database are logged here, once, with every cause; of an internal fault the caller learns
/// the request id only.
pub fn render(error: &Error, request_id: &str) -> Status {
    let (code, reason) = code_and_reason(error.reason());
    if matches!(error.reason(), Reason::Internal | Reason::DependencyDown) {
        tracing::error!(request_id, reason, error = error.chain(), "a call failed for a fault of the server");
    }
    let mut shown = error.violations().len().min(MAX_VIOLATIONS);
    loop {
        let status = build(error, code, reason, request_id, shown);
        if shown == 0 || wire_size(&status) <= MAX_BYTES {
            return status;
        }
        shown /= 2;
    }
}

/// The whole answer to a call that failed before its handler.
pub(crate) fn respond(error: &Error, request_id: &str) -> http::Response<Body> {
    render(error, request_id).into_http()
}

/// The end of a stream that failed on the way.
pub(crate) fn trailers(error: &Error, request_id: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    render(error, request_id)
        .add_header(&mut trailers)
        .expect("message and details are encoded before they become header values");
    trailers
}

/// Name of a gRPC code, for logs.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The gRPC code of a reason, and its name as the contract has it.
fn code_and_reason(reason: Reason) -> (Code, &'static str) {
    match reason {
        Reason::FieldInvalid => (Code::InvalidArgument, "FIELD_INVALID"),
        Reason::MaskInvalid => (Code::InvalidArgument, "MASK_INVALID"),
        Reason::PageTokenInvalid => (Code::InvalidArgument, "PAGE_TOKEN_INVALID"),
        Reason::RequestIdReused => (Code::InvalidArgument, "REQUEST_ID_REUSED"),
        Reason::TenantMismatch => (Code::InvalidArgument, "TENANT_MISMATCH"),
        Reason::CredentialsMissing => (Code::Unauthenticated, "CREDENTIALS_MISSING"),
        Reason::TokenExpired => (Code::Unauthenticated, "TOKEN_EXPIRED"),
        Reason::TokenInvalid => (Code::Unauthenticated, "TOKEN_INVALID"),
        Reason::TokenCertMismatch => (Code::Unauthenticated, "TOKEN_CERT_MISMATCH"),
        Reason::CertUnknown => (Code::Unauthenticated, "CERT_UNKNOWN"),
        Reason::CertRevoked => (Code::Unauthenticated, "CERT_REVOKED"),
        Reason::PermissionMissing => (Code::PermissionDenied, "PERMISSION_MISSING"),
        Reason::TenantSuspended => (Code::PermissionDenied, "TENANT_SUSPENDED"),
        Reason::ResourceNotFound => (Code::NotFound, "RESOURCE_NOT_FOUND"),
        Reason::ResourceExists => (Code::AlreadyExists, "RESOURCE_EXISTS"),
        Reason::ResourceInUse => (Code::FailedPrecondition, "RESOURCE_IN_USE"),
        Reason::StateNotAllowed => (Code::FailedPrecondition, "STATE_NOT_ALLOWED"),
        Reason::ApprovalRequired => (Code::FailedPrecondition, "APPROVAL_REQUIRED"),
        Reason::PlanStale => (Code::FailedPrecondition, "PLAN_STALE"),
        Reason::BlueprintInvalid => (Code::FailedPrecondition, "BLUEPRINT_INVALID"),
        Reason::VersionTooLow => (Code::FailedPrecondition, "VERSION_TOO_LOW"),
        Reason::SecretAlreadyReturned => (Code::FailedPrecondition, "SECRET_ALREADY_RETURNED"),
        Reason::EtagMismatch => (Code::Aborted, "ETAG_MISMATCH"),
        Reason::OperationInProgress => (Code::Aborted, "OPERATION_IN_PROGRESS"),
        Reason::LeaseLost => (Code::Aborted, "LEASE_LOST"),
        Reason::QuotaExceeded => (Code::ResourceExhausted, "QUOTA_EXCEEDED"),
        Reason::RateLimited => (Code::ResourceExhausted, "RATE_LIMITED"),
        Reason::MessageTooLarge => (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"),
        Reason::LogOffsetInvalid => (Code::OutOfRange, "LOG_OFFSET_INVALID"),
        Reason::ResumeTokenExpired => (Code::OutOfRange, "RESUME_TOKEN_EXPIRED"),
        Reason::WatchSlowConsumer => (Code::Aborted, "WATCH_SLOW_CONSUMER"),
        Reason::TooManyStreams => (Code::ResourceExhausted, "TOO_MANY_STREAMS"),
        Reason::ServerDraining => (Code::Unavailable, "SERVER_DRAINING"),
        Reason::Overloaded => (Code::Unavailable, "OVERLOADED"),
        Reason::DependencyDown => (Code::Unavailable, "DEPENDENCY_DOWN"),
        Reason::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        Reason::ConnectionUnconfigured => (Code::FailedPrecondition, "CONNECTION_UNCONFIGURED"),
        Reason::ConnectionAuthFailed => (Code::FailedPrecondition, "CONNECTION_AUTH_FAILED"),
        Reason::ConnectionPermissionDenied => (Code::FailedPrecondition, "CONNECTION_PERMISSION_DENIED"),
        Reason::VendorNotFound => (Code::FailedPrecondition, "VENDOR_NOT_FOUND"),
        Reason::VendorConflict => (Code::Aborted, "VENDOR_CONFLICT"),
        Reason::VendorThrottled => (Code::ResourceExhausted, "VENDOR_THROTTLED"),
        Reason::VendorUnavailable => (Code::Unavailable, "VENDOR_UNAVAILABLE"),
        Reason::VendorRefused => (Code::FailedPrecondition, "VENDOR_REFUSED"),
        Reason::Internal => (Code::Internal, "INTERNAL"),
    }
}

fn build(error: &Error, code: Code, reason: &str, request_id: &str, shown: usize) -> Status {
    let mut details = ErrorDetails::new();
    if !request_id.is_empty() {
        details.set_request_info(request_id, "");
    }
    if error.reason() == Reason::Internal {
        details.set_error_info(reason, DOMAIN, HashMap::new());
        return Status::with_error_details(code, "an internal fault; give the operator this request id", details);
    }

    let message = cut(error.message(), MAX_MESSAGE);
    let mut metadata: HashMap<String, String> =
        error.metadata().iter().map(|(key, value)| ((*key).to_owned(), cut(value, MAX_VALUE))).collect();
    let left_out = error.violations().len() - shown;
    if left_out > 0 {
        metadata.insert("violations_left_out".to_owned(), left_out.to_string());
    }
    let resource = metadata.get("resource").cloned().unwrap_or_default();
    match code {
        Code::NotFound | Code::AlreadyExists => {
            details.set_resource_info(collection(&resource), resource, "", message.as_str());
        }
        Code::FailedPrecondition => {
            details.add_precondition_failure_violation(reason, resource, message.as_str());
        }
        Code::ResourceExhausted if error.reason() == Reason::QuotaExceeded => {
            let dimension = metadata.get("dimension").cloned().unwrap_or_default();
            details.add_quota_failure_violation(dimension, message.as_str());
        }
        _ => {}
    }
    for violation in &error.violations()[..shown] {
        details.add_bad_request_violation(cut(&violation.field, MAX_VALUE), cut(&violation.description, MAX_VALUE));
    }
    if let Some(wait) = error.retry_delay() {
        details.set_retry_info(Some(wait));
    }
    details.set_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

/// Collection of a resource name: `projects` of `tenants/acme/projects/shop`.
fn collection(resource: &str) -> String {
    resource.rsplit('/').nth(1).unwrap_or_default().to_owned()
}

/// Header names and values as they are sent: message in percent encoding, details in base64.
fn wire_size(status: &Status) -> usize {
    let mut headers = HeaderMap::new();
    match status.add_header(&mut headers) {
        Ok(()) => headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum(),
        Err(_) => usize::MAX,
    }
}

/// At most this many bytes as percent encoding would have them, and the mark of a cut.
fn cut(text: &str, most: usize) -> String {
    let mut size = 0;
    let end = text.char_indices().find_map(|(at, c)| {
        size += if c.is_ascii() { 1 } else { 3 * c.len_utf8() };
        (size > most).then_some(at)
    });
    match end {
        Some(at) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use freehold_domain::Violation;
    use freehold_proto::common::v1::ErrorReason;

    use super::*;

    const ALL: &[Reason] = &[
        Reason::FieldInvalid,
        Reason::MaskInvalid,
        Reason::PageTokenInvalid,
        Reason::RequestIdReused,
        Reason::TenantMismatch,
        Reason::CredentialsMissing,
        Reason::TokenExpired,
        Reason::TokenInvalid,
        Reason::TokenCertMismatch,
        Reason::CertUnknown,
        Reason::CertRevoked,
        Reason::PermissionMissing,
        Reason::TenantSuspended,
        Reason::ResourceNotFound,
        Reason::ResourceExists,
        Reason::ResourceInUse,
        Reason::StateNotAllowed,
        Reason::ApprovalRequired,
        Reason::PlanStale,
        Reason::BlueprintInvalid,
        Reason::VersionTooLow,
        Reason::SecretAlreadyReturned,
        Reason::EtagMismatch,
        Reason::OperationInProgress,
        Reason::LeaseLost,
        Reason::QuotaExceeded,
        Reason::RateLimited,
        Reason::MessageTooLarge,
        Reason::LogOffsetInvalid,
        Reason::ResumeTokenExpired,
        Reason::WatchSlowConsumer,
        Reason::TooManyStreams,
        Reason::ServerDraining,
        Reason::Overloaded,
        Reason::DependencyDown,
        Reason::DeadlineExceeded,
        Reason::ConnectionUnconfigured,
        Reason::ConnectionAuthFailed,
        Reason::ConnectionPermissionDenied,
        Reason::VendorNotFound,
        Reason::VendorConflict,
        Reason::VendorThrottled,
        Reason::VendorUnavailable,
        Reason::VendorRefused,
        Reason::Internal,
    ];

    /// The contract's own comment names the code, so it is the oracle: `// ABORTED: …` above `ERROR_REASON_LEASE_LOST = 25;`.
    #[test]
    fn every_reason_of_the_contract_has_the_code_that_its_comment_says() {
        let proto = include_str!("../../../proto/freehold/common/v1/error_reason.proto");
        let mut said = HashMap::new();
        let mut comment = "";
        for line in proto.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("// ") {
                // A comment of several lines is about the code of its first.
                if comment.is_empty() {
                    comment = text;
                }
            } else {
                if let Some((name, _)) = line.strip_prefix("ERROR_REASON_").and_then(|rest| rest.split_once(" =")) {
                    said.insert(name, comment.split(':').next().unwrap_or_default());
                }
                comment = "";
            }
        }
        said.remove("UNSPECIFIED");

        let mut seen = HashMap::new();
        for reason in ALL {
            let status = render(&Error::new(*reason, "text"), "r-1");
            let info = status.get_details_error_info().expect("every status has one");
            assert_eq!(info.domain, DOMAIN);
            assert!(ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason)).is_some(), "{}", info.reason);
            assert_eq!(status.get_details_request_info().expect("every status has one").request_id, "r-1");
            seen.insert(info.reason, code_name(status.code()));
        }
        assert_eq!(seen, said.into_iter().map(|(name, code)| (name.to_owned(), code)).collect());
    }

    #[test]
    fn details_follow_the_code() {
        let missing = render(&Error::not_found("tenants/acme/projects/shop"), "r");
        let info = missing.get_details_resource_info().expect("there");
        assert_eq!((info.resource_type.as_str(), info.resource_name.as_str()), ("projects", "tenants/acme/projects/shop"));

        let full = render(&Error::new(Reason::QuotaExceeded, "full").with("dimension", "projects"), "r");
        assert_eq!(full.get_details_quota_failure().expect("there").violations[0].subject, "projects");

        let busy = render(&Error::new(Reason::RateLimited, "slow down").retry_after(Duration::from_secs(2)), "r");
        assert_eq!(busy.get_details_retry_info().expect("there").retry_delay, Some(Duration::from_secs(2)));

        let locked = render(&Error::new(Reason::StateNotAllowed, "archived").with("resource", "tenants/acme"), "r");
        assert_eq!(locked.get_details_precondition_failure().expect("there").violations[0].subject, "tenants/acme");
    }

    #[test]
    fn a_status_stays_under_four_kibibytes_and_counts_what_it_leaves_out() {
        let many = (0..1000).map(|n| Violation::new(format!("labels[\"{n}\"]"), "ü".repeat(300))).collect();
        let status = render(&Error::invalid(many).with("resource", "é".repeat(5000)), "r");
        assert!(wire_size(&status) <= MAX_BYTES, "{}", wire_size(&status));
        let shown = status.get_details_bad_request().expect("there").field_violations.len();
        let info = status.get_details_error_info().expect("there");
        assert!(shown > 0);
        assert_eq!(info.metadata["violations_left_out"], (1000 - shown).to_string());
    }

    #[test]
    fn an_internal_fault_shows_nothing_but_the_request_id() {
        let error = Error::new(Reason::Internal, "password=hunter2").with("resource", "hunter2").caused_by("hunter2");
        let status = render(&error, "r-7");
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).expect("plain");
        assert!(!format!("{headers:?}{status:?}").contains("hunter2"));
        assert!(!String::from_utf8_lossy(status.details()).contains("hunter2"));
        assert_eq!(status.get_details_request_info().expect("there").request_id, "r-7");
    }
}
