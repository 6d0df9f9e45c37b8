//! What can go wrong, how it is told, and the exit code it gives.

use std::{fmt, io};

use freehold::{Code, Error};

/// Why a command did not do what it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or a file it names is wrong.
    Usage(String),
    /// A call failed, or a run ended badly.
    Call(Error),
    /// A call failed, and this command knows what to do next.
    Hinted(Error, String),
    /// A check found something; it has been shown.
    Found(String),
    /// What was waited for goes on; the time to wait is over.
    StillGoing(String),
    /// Somebody pressed Ctrl-C; this is what has become of what was under way.
    Interrupted(String),
    /// The result could not be written.
    Output(io::Error),
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// The exit code; the help of the program lists them.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Found(_) | Self::Output(_) => 1,
            Self::StillGoing(_) => 9,
            Self::Interrupted(_) => 130,
            Self::Call(error) | Self::Hinted(error, _) => exit_code(error),
        }
    }
}

fn exit_code(error: &Error) -> u8 {
    if error.run_outcome().is_some() {
        return 8;
    }
    match error.code() {
        Code::InvalidArgument => 2,
        Code::NotFound => 3,
        Code::PermissionDenied | Code::Unauthenticated => 4,
        Code::ResourceExhausted if error.is_quota_exceeded() => 5,
        Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => 6,
        Code::ResourceExhausted if error.reason() == Some("RATE_LIMITED") => 7,
        Code::Unavailable | Code::DeadlineExceeded => 7,
        _ => 1,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The whole story: what happened and why, every field that was not accepted, what to do next, and the id of the call.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Found(message) | Self::StillGoing(message) | Self::Interrupted(message) => {
                f.write_str(message)
            }
            Self::Output(error) => write!(f, "cannot write the result: {error}"),
            Self::Call(error) | Self::Hinted(error, _) => {
                if error.violations().is_empty() {
                    write!(f, "{error}")?;
                } else {
                    write!(f, "not accepted ({})", error.reason().unwrap_or("FIELD_INVALID"))?;
                }
                for violation in error.violations() {
                    write!(f, "\n  {}: {}", violation.field, violation.description)?;
                }
                let known = if let Self::Hinted(_, hint) = self { Some(hint.clone()) } else { hint(error) };
                if let Some(hint) = known {
                    write!(f, "\nhint: {hint}")?;
                }
                if let Some(id) = error.request_id() {
                    write!(f, "\nrequest id: {id}")?;
                }
                Ok(())
            }
        }
    }
}

/// The next step, by reason.
fn hint(error: &Error) -> Option<String> {
    let of = |key: &str| error.metadata(key).unwrap_or("?").to_owned();
    Some(match error.reason()? {
        "CREDENTIALS_MISSING" => "give a client certificate (--cert, --key) or a token (FREEHOLD_TOKEN, FREEHOLD_API_KEY)".into(),
        "TOKEN_EXPIRED" => "get a new token; FREEHOLD_API_KEY renews tokens by itself".into(),
        "TOKEN_INVALID" => "check that the token or key is of this installation and was not revoked".into(),
        "TOKEN_CERT_MISMATCH" => "use the token over the client certificate it was made with".into(),
        "CERT_UNKNOWN" => {
            "let a service account have this identity: freehold service-account identity add ACCOUNT SPIFFE-ID".into()
        }
        "CERT_REVOKED" => "get a new certificate from the operator of the installation".into(),
        // A reviewer is wanted, not a role; the message says so.
        "PERMISSION_MISSING" if error.message().starts_with("the author of a run") => return None,
        "PERMISSION_MISSING" => {
            format!("ask for a role with {} on {}; `freehold whoami` shows yours", of("permission"), of("resource"))
        }
        "TENANT_SUSPENDED" => "reads still work; a platform administrator can resume the tenant".into(),
        "RESOURCE_NOT_FOUND" => "check the name and the tenant; `list` shows what there is".into(),
        "RESOURCE_EXISTS" => "choose another name, or update the one there is".into(),
        "ETAG_MISMATCH" => "somebody changed it meanwhile; look at it again and repeat".into(),
        "OPERATION_IN_PROGRESS" => "wait until the other one has ended, or cancel it".into(),
        "PLAN_STALE" => "plan again: the plan is not the current one, or something has changed since it was made".into(),
        "APPROVAL_REQUIRED" => "somebody has to approve the plan first: freehold run approve RUN".into(),
        "BLUEPRINT_INVALID" => "mend the files; `freehold blueprint validate DIR` shows every fault with its line".into(),
        "VERSION_TOO_LOW" => format!("publish it as {} or higher", of("required")),
        "SECRET_ALREADY_RETURNED" => "the secret cannot be shown again; revoke this key and create another".into(),
        "QUOTA_EXCEEDED" => format!(
            "{} of {} {} are used and {} reserved; delete something, or ask for a higher limit",
            of("used"),
            of("limit"),
            of("dimension"),
            of("reserved")
        ),
        "CONNECTION_AUTH_FAILED" => {
            "give the connection new credentials: freehold connection rotate NAME --credential-file SLOT=FILE".into()
        }
        "CONNECTION_PERMISSION_DENIED" => "let the system's administrator give the connection's credentials more rights".into(),
        "VENDOR_UNAVAILABLE" if error.metadata("maybe_done") == Some("true") => {
            "it may have happened all the same: look there before you repeat it".into()
        }
        "VENDOR_THROTTLED" | "VENDOR_UNAVAILABLE" => "the other system is busy or down; try again in a while".into(),
        "RATE_LIMITED" | "OVERLOADED" | "SERVER_DRAINING" | "DEPENDENCY_DOWN" => "try again in a while".into(),
        "REQUEST_ID_REUSED" => "use a new request id for a new request".into(),
        "INTERNAL" => "give the operator of the installation the request id".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use freehold::Violation;

    use super::*;

    #[test]
    fn every_failure_has_its_exit_code() {
        let call = |code: Code, reason: &str| Failure::Call(Error::new(code, "").with_reason(reason)).code();
        let table = [
            (Failure::usage("").code(), 2),
            (Failure::Found(String::new()).code(), 1),
            (Failure::StillGoing(String::new()).code(), 9),
            (Failure::Interrupted(String::new()).code(), 130),
            (call(Code::InvalidArgument, "FIELD_INVALID"), 2),
            (call(Code::NotFound, "RESOURCE_NOT_FOUND"), 3),
            (call(Code::PermissionDenied, "PERMISSION_MISSING"), 4),
            (call(Code::Unauthenticated, "TOKEN_EXPIRED"), 4),
            (call(Code::ResourceExhausted, "QUOTA_EXCEEDED"), 5),
            (call(Code::FailedPrecondition, "STATE_NOT_ALLOWED"), 6),
            (call(Code::Aborted, "ETAG_MISMATCH"), 6),
            (call(Code::AlreadyExists, "RESOURCE_EXISTS"), 6),
            (call(Code::ResourceExhausted, "RATE_LIMITED"), 7),
            (call(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"), 1),
            (call(Code::Unavailable, "OVERLOADED"), 7),
            (call(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), 7),
            (call(Code::Internal, "INTERNAL"), 1),
        ];
        for (index, (code, expected)) in table.into_iter().enumerate() {
            assert_eq!(code, expected, "row {index}");
        }
    }

    #[test]
    fn an_error_tells_the_whole_story() {
        let error = Error::new(Code::InvalidArgument, "2 fields are wrong")
            .with_reason("FIELD_INVALID")
            .with_violation(Violation::new("project.display_name", "at most 63 characters"))
            .with_violation(Violation::new("project.labels", "at most 64"));
        assert_eq!(
            Failure::Call(error).to_string(),
            "not accepted (FIELD_INVALID)\n  project.display_name: at most 63 characters\n  project.labels: at most 64"
        );
        let error = Error::new(Code::ResourceExhausted, "the quota projects is used up").with_reason("QUOTA_EXCEEDED");
        let error = [("dimension", "projects"), ("limit", "1"), ("used", "1"), ("reserved", "0")]
            .into_iter()
            .fold(error, |error, (key, value)| error.with_metadata(key, value));
        assert_eq!(
            Failure::Call(error).to_string(),
            "the quota projects is used up (QUOTA_EXCEEDED)\nhint: 1 of 1 projects are used and 0 reserved; delete something, or \
             ask for a higher limit"
        );
    }
}
