//! What a relay's replies mean (RFC 5321, section 4.2; RFC 3463).

use std::{error::Error as _, time::Duration};

use lettre::transport::smtp::Error;

use crate::{ConnectorError, ErrorKind};

/// Where in the conversation something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Hello,
    Login,
    Sender,
    Receiver,
    /// All of the mail has been said; only the answer is missing.
    Content,
}

/// Receivers that ask for a while mean some minutes.
const A_WHILE: Duration = Duration::from_secs(300);

/// What a failure in the conversation means.
pub(super) fn failure(stage: Stage, about: &str, error: &Error) -> ConnectorError {
    let told = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    match error.status() {
        Some(code) => said(stage, about, code.into(), &told),
        // The relay lacks something that we need: a way to log in, letters beyond ASCII.
        None if error.is_client() => ConnectorError::unconfigured(format!("the relay cannot be used like this: {told}")),
        None => broken(stage, &told),
    }
}

/// What a reply means that is no consent.
pub(super) fn said(stage: Stage, about: &str, code: u16, told: &str) -> ConnectorError {
    let told: String = told.chars().filter(|letter| !letter.is_control()).take(300).collect();
    let enhanced = told.split([' ', ';']).find(|word| is_enhanced(word)).map(str::to_owned);
    let kind = kind(stage, code, enhanced.as_deref().unwrap_or_default());
    let about = if about.is_empty() { String::new() } else { format!(" of {about}") };
    let mut error = ConnectorError::new(kind, format!("the relay answered {code}{about}: {told}"));
    error.retry_after = (kind == ErrorKind::Throttled).then_some(A_WHILE);
    error.vendor_status = Some(code);
    error.vendor_code = enhanced;
    error
}

/// The conversation ended otherwise than by a reply.
pub(super) fn broken(stage: Stage, told: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Transient, format!("the conversation with the relay broke off: {told}"))
        .maybe_done(stage == Stage::Content)
}

/// What a reply means. What a relay has answered it has decided: nothing was sent.
fn kind(stage: Stage, code: u16, enhanced: &str) -> ErrorKind {
    match code {
        // Of one receiver only: the relay is well, and others' mail goes through.
        400..=499 if stage == Stage::Receiver && code != 421 => ErrorKind::Throttled,
        400..=499 if enhanced.starts_with("4.7.") && stage != Stage::Login => ErrorKind::Throttled,
        400..=499 => ErrorKind::Transient,
        530 | 534 | 535 | 538 => ErrorKind::Auth,
        _ if stage == Stage::Login => ErrorKind::Auth,
        _ if enhanced.starts_with("5.7.") => ErrorKind::Permission,
        _ if enhanced.starts_with("5.1.") => ErrorKind::NotFound,
        552 => ErrorKind::Invalid,
        550 | 551 if stage == Stage::Receiver => ErrorKind::NotFound,
        500..=504 | 553 | 555 => ErrorKind::Invalid,
        _ => ErrorKind::Permanent,
    }
}

fn is_enhanced(word: &str) -> bool {
    let mut parts = word.split('.');
    let number = |part: Option<&str>| {
        part.is_some_and(|part| !part.is_empty() && part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(parts.next(), Some("2" | "4" | "5")) && number(parts.next()) && number(parts.next()) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_their_kind() {
        let cases = [
            (Stage::Hello, 421, "4.3.2", ErrorKind::Transient),
            (Stage::Login, 454, "4.7.0", ErrorKind::Transient),
            (Stage::Login, 535, "5.7.8", ErrorKind::Auth),
            (Stage::Login, 550, "", ErrorKind::Auth),
            (Stage::Sender, 530, "5.7.0", ErrorKind::Auth),
            (Stage::Sender, 451, "4.7.1", ErrorKind::Throttled),
            (Stage::Sender, 553, "", ErrorKind::Invalid),
            (Stage::Receiver, 450, "4.2.1", ErrorKind::Throttled),
            (Stage::Receiver, 421, "4.3.2", ErrorKind::Transient),
            (Stage::Receiver, 550, "5.1.1", ErrorKind::NotFound),
            (Stage::Receiver, 550, "", ErrorKind::NotFound),
            (Stage::Receiver, 550, "5.7.1", ErrorKind::Permission),
            (Stage::Content, 452, "4.3.1", ErrorKind::Transient),
            (Stage::Content, 552, "5.3.4", ErrorKind::Invalid),
            (Stage::Content, 554, "5.6.0", ErrorKind::Permanent),
        ];
        for (stage, code, enhanced, expected) in cases {
            assert_eq!(kind(stage, code, enhanced), expected, "{stage:?} {code} {enhanced}");
        }
        assert!(is_enhanced("5.7.26") && !is_enhanced("5.7") && !is_enhanced("127.0.0.1") && !is_enhanced("5.x.1"));
    }
}
