//! From a gRPC status to [`Error`], and back for the raw channel.

use std::{error::Error as StdError, sync::Arc};

use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{
    Code, Error, Violation,
    error::{Result, Started},
};

/// The domain of reasons that follow the contract.
const DOMAIN: &str = "freehold.dev";

/// Reads what the server said, or what went wrong on the way to it.
pub(crate) fn from_status(status: Status) -> Error {
    match status.source() {
        Some(source) => match chain(source).find_map(|cause| cause.downcast_ref::<Error>()) {
            Some(error) => error.clone(),
            None => local(&status),
        },
        None => said(&status),
    }
}

/// Reads an error of the channel below; `from` names the server that was called.
pub(crate) fn from_transport(error: tonic::transport::Error, from: &str) -> Error {
    if let Some(failure) = chain(&error).find_map(|cause| cause.downcast_ref::<Error>()) {
        return failure.clone();
    }
    if chain(&error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_canceled) {
        // hyper makes this error only for requests that the connection never took, which is the case after a GOAWAY.
        return Error::new(Code::Unavailable, format!("{from} closed the connection before the call was sent"))
            .started(Started::No)
            .with_source(Arc::new(error));
    }
    local(&Status::from_error(Box::new(error)))
}

/// For generated clients, which speak `Status`; the error stays inside, so that [`from_status`] loses nothing.
pub(crate) fn to_status(error: Error) -> Status {
    let mut status = Status::new(grpc(error.code()), error.message());
    status.set_source(Arc::new(error));
    status
}

/// The status in the headers of an answer that has no body: how a server says an error before any message.
pub(crate) fn in_headers(headers: &http::HeaderMap) -> Result<()> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => Err(said(&status)),
        _ => Ok(()),
    }
}

/// An error that arose on this side or on the way.
fn local(status: &Status) -> Error {
    let cause = status.source().map(|source| chain(source).map(ToString::to_string).collect::<Vec<_>>().join(": "));
    let cause = cause.unwrap_or_else(|| status.message().to_owned());
    if status.source().is_some_and(|source| chain(source).any(|cause| cause.is::<tonic::TimeoutExpired>())) {
        return Error::new(Code::DeadlineExceeded, "no answer within the deadline; the call may still take effect");
    }
    if status.source().is_some_and(|source| chain(source).any(was_not_taken)) {
        return Error::new(Code::Unavailable, format!("the server took no more calls on this connection: {cause}"))
            .started(Started::No);
    }
    match status.code() {
        // What has no code of its own is a connection that broke; whether the call was begun is not known.
        tonic::Code::Unknown | tonic::Code::Unavailable | tonic::Code::Cancelled => {
            Error::new(Code::Unavailable, format!("the connection broke: {cause}"))
        }
        other => Error::new(code(other), cause),
    }
}

/// Whether a call failed because its server has not begun it and will not: it is above the last stream of an orderly GOAWAY (RFC 9113
/// §6.8), or was refused as a stream (§8.7). A server that stops says so.
fn was_not_taken(cause: &(dyn StdError + 'static)) -> bool {
    let Some(error) = cause.downcast_ref::<h2::Error>().filter(|error| error.is_remote()) else { return false };
    match error.reason() {
        Some(h2::Reason::NO_ERROR) => error.is_go_away(),
        Some(h2::Reason::REFUSED_STREAM) => error.is_reset(),
        _ => false,
    }
}

/// An error that the server sent.
fn said(status: &Status) -> Error {
    let mut error = Error::new(code(status.code()), status.message());
    if let Some(info) = status.get_details_error_info().filter(|info| info.domain == DOMAIN) {
        error = error.with_reason(info.reason);
        for (key, value) in info.metadata {
            error = error.with_metadata(key, value);
        }
    }
    for violation in status.get_details_bad_request().into_iter().flat_map(|bad| bad.field_violations) {
        error = error.with_violation(Violation::new(violation.field, violation.description));
    }
    if let Some(delay) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
        error = error.with_retry_after(delay);
    }
    let header = status.metadata().get("x-request-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    if let Some(id) = status.get_details_request_info().map(|info| info.request_id).or(header) {
        error = error.or_request_id(&id);
    }
    error
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        error.source()
    })
}

fn code(code: tonic::Code) -> Code {
    match code {
        tonic::Code::Cancelled => Code::Cancelled,
        tonic::Code::InvalidArgument => Code::InvalidArgument,
        tonic::Code::DeadlineExceeded => Code::DeadlineExceeded,
        tonic::Code::NotFound => Code::NotFound,
        tonic::Code::AlreadyExists => Code::AlreadyExists,
        tonic::Code::PermissionDenied => Code::PermissionDenied,
        tonic::Code::ResourceExhausted => Code::ResourceExhausted,
        tonic::Code::FailedPrecondition => Code::FailedPrecondition,
        tonic::Code::Aborted => Code::Aborted,
        tonic::Code::OutOfRange => Code::OutOfRange,
        tonic::Code::Unimplemented => Code::Unimplemented,
        tonic::Code::Internal => Code::Internal,
        tonic::Code::Unavailable => Code::Unavailable,
        tonic::Code::DataLoss => Code::DataLoss,
        tonic::Code::Unauthenticated => Code::Unauthenticated,
        tonic::Code::Ok | tonic::Code::Unknown => Code::Unknown,
    }
}

fn grpc(code: Code) -> tonic::Code {
    match code {
        Code::Cancelled => tonic::Code::Cancelled,
        Code::Unknown => tonic::Code::Unknown,
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Aborted => tonic::Code::Aborted,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Internal => tonic::Code::Internal,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use freehold_proto::common::v1::ErrorReason;
    use tonic_types::ErrorDetails;

    use super::*;

    /// The code of every reason, as the contract says it.
    fn code_of(reason: ErrorReason) -> tonic::Code {
        use ErrorReason as R;
        match reason {
            R::FieldInvalid | R::MaskInvalid | R::PageTokenInvalid | R::RequestIdReused | R::TenantMismatch => {
                tonic::Code::InvalidArgument
            }
            R::CredentialsMissing
            | R::TokenExpired
            | R::TokenInvalid
            | R::TokenCertMismatch
            | R::CertUnknown
            | R::CertRevoked => tonic::Code::Unauthenticated,
            R::PermissionMissing | R::TenantSuspended => tonic::Code::PermissionDenied,
            R::ResourceNotFound => tonic::Code::NotFound,
            R::ResourceExists => tonic::Code::AlreadyExists,
            R::ResourceInUse
            | R::StateNotAllowed
            | R::ApprovalRequired
            | R::PlanStale
            | R::BlueprintInvalid
            | R::VersionTooLow
            | R::SecretAlreadyReturned
            | R::ConnectionUnconfigured
            | R::ConnectionAuthFailed
            | R::ConnectionPermissionDenied
            | R::VendorNotFound
            | R::VendorRefused => tonic::Code::FailedPrecondition,
            R::EtagMismatch | R::OperationInProgress | R::LeaseLost | R::WatchSlowConsumer | R::VendorConflict => {
                tonic::Code::Aborted
            }
            R::QuotaExceeded | R::RateLimited | R::MessageTooLarge | R::TooManyStreams | R::VendorThrottled => {
                tonic::Code::ResourceExhausted
            }
            R::LogOffsetInvalid | R::ResumeTokenExpired => tonic::Code::OutOfRange,
            R::ServerDraining | R::Overloaded | R::DependencyDown | R::VendorUnavailable => tonic::Code::Unavailable,
            R::DeadlineExceeded => tonic::Code::DeadlineExceeded,
            R::Internal => tonic::Code::Internal,
            R::Unspecified => tonic::Code::Unknown,
        }
    }

    fn sent(reason: &str, code: tonic::Code) -> Status {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, DOMAIN, HashMap::from([("limit".to_owned(), "1".to_owned())]));
        details.add_bad_request_violation("project.display_name", "at most 63 characters");
        details.set_retry_info(Some(Duration::from_secs(3)));
        details.set_request_info("0199", "");
        Status::with_error_details(code, "what to do", details)
    }

    #[test]
    fn every_reason_keeps_its_name_and_code_and_falls_under_its_predicate() {
        // Numbers may be left out.
        for reason in (1..1000).filter_map(|number| ErrorReason::try_from(number).ok()) {
            let name = reason.as_str_name().trim_start_matches("ERROR_REASON_");
            let expected = code_of(reason);
            // As it comes over the wire: in the headers of an answer without a body.
            let answer: http::Response<()> = sent(name, expected).into_http();
            let error = in_headers(answer.headers()).expect_err("a failure");
            assert_eq!(error.reason(), Some(name));
            assert_eq!(grpc(error.code()), expected, "{name}");
            let predicates = [
                (error.is_invalid_argument(), tonic::Code::InvalidArgument),
                (error.is_unauthenticated(), tonic::Code::Unauthenticated),
                (error.is_permission_denied(), tonic::Code::PermissionDenied),
                (error.is_not_found(), tonic::Code::NotFound),
                (error.is_already_exists(), tonic::Code::AlreadyExists),
                (error.is_failed_precondition(), tonic::Code::FailedPrecondition),
                (error.is_aborted(), tonic::Code::Aborted),
                (error.is_unavailable(), tonic::Code::Unavailable),
                (error.is_deadline_exceeded(), tonic::Code::DeadlineExceeded),
            ];
            for (is, code) in predicates {
                assert_eq!(is, expected == code, "{name} {code:?}");
            }
            assert_eq!(error.is_quota_exceeded(), reason == ErrorReason::QuotaExceeded);
            assert_eq!(error.is_etag_mismatch(), reason == ErrorReason::EtagMismatch);
            assert_eq!(
                error.is_transient(),
                expected == tonic::Code::Unavailable || reason == ErrorReason::RateLimited,
                "{name}"
            );
        }
    }

    #[test]
    fn details_are_kept() {
        let error = from_status(sent("QUOTA_EXCEEDED", tonic::Code::ResourceExhausted));
        assert_eq!((error.message(), error.metadata("limit"), error.request_id()), ("what to do", Some("1"), Some("0199")));
        assert_eq!(error.violations(), [Violation::new("project.display_name", "at most 63 characters")]);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        assert_eq!(error.to_string(), "what to do (QUOTA_EXCEEDED)");
    }

    #[test]
    fn every_code_survives_the_way_through_a_generated_client() {
        for number in 1..=16 {
            let code = tonic::Code::from_i32(number);
            let error = from_status(Status::new(code, "text"));
            let back = from_status(to_status(error.clone().with_reason("ANY").started(Started::Never)));
            assert_eq!((grpc(error.code()), back.code(), back.reason()), (code, error.code(), Some("ANY")));
            assert!(!back.is_transient());
        }
    }

    #[test]
    fn a_reason_of_another_domain_is_not_ours() {
        let mut details = ErrorDetails::new();
        details.set_error_info("QUOTA_EXCEEDED", "other.example", HashMap::new());
        let error = from_status(Status::with_error_details(tonic::Code::ResourceExhausted, "", details));
        assert!(!error.is_quota_exceeded());
    }
}
