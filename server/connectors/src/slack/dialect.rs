//! How Slack says that something failed: mostly in an answer of status 200.

use std::time::Duration;

use freehold_domain::time::Timestamp;
use serde_json::Value;

use crate::{
    ConnectorError, Effect, ErrorKind,
    outbound::{Answer, Dialect, Reach, Request, by_status},
};

pub(super) struct Slack;

impl Dialect for Slack {
    fn vendor(&self) -> &'static str {
        "Slack"
    }

    fn request_id(&self) -> &'static str {
        "x-slack-req-id"
    }

    fn judge(&self, request: &Request, answer: &Answer, now: Timestamp) -> Option<ConnectorError> {
        let body = answer.json().unwrap_or_default();
        let code = match body["error"].as_str() {
            Some(code) if body["ok"] == false => code,
            // Incoming webhooks say it in plain text.
            _ if !request.json && answer.status >= 400 => std::str::from_utf8(&answer.body).unwrap_or_default().trim(),
            _ => return by_status("Slack", request, answer, now),
        };
        if !is_code(code) {
            return by_status("Slack", request, answer, now);
        }
        let kind = match kind(code) {
            ErrorKind::Permanent if answer.status >= 400 => ErrorKind::of_status(answer.status),
            kind => kind,
        };
        // What a method that was refused for its pace waits for when Slack does not say.
        let wait = answer.retry_after(now).or((kind == ErrorKind::Throttled).then_some(Duration::from_secs(30)));
        let maybe = kind == ErrorKind::Transient && code != "request_timeout" && request.effect != Effect::Read;
        Some(ConnectorError::new(kind, explain(code, &body)).code(code).after(wait.filter(|_| kind.passes())).maybe_done(maybe))
    }

    /// Each method is counted by itself.
    fn reach(&self, _error: &ConnectorError) -> Reach {
        Reach::Resource
    }
}

fn is_code(text: &str) -> bool {
    (1..=60).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// What an error of Slack means. New ones come with every method, so that what is not listed goes by how it is called.
pub(super) fn kind(code: &str) -> ErrorKind {
    match code {
        "invalid_auth"
        | "not_authed"
        | "token_expired"
        | "token_revoked"
        | "account_inactive"
        | "invalid_token"
        | "invalid_refresh_token"
        | "bad_client_secret"
        | "invalid_client_id"
        | "invalid_code"
        | "code_expired"
        | "code_already_used"
        | "authorization_not_found" => ErrorKind::Auth,
        "missing_scope"
        | "not_allowed_token_type"
        | "no_permission"
        | "ekm_access_denied"
        | "access_denied"
        | "accesslimited"
        | "org_login_required"
        | "team_access_not_granted"
        | "not_in_channel"
        | "edit_window_closed"
        | "action_prohibited"
        | "two_factor_setup_required"
        | "enterprise_is_restricted"
        | "not_authorized"
        | "posting_to_general_channel_denied"
        | "file_uploads_disabled"
        | "user_is_restricted"
        | "user_is_ultra_restricted"
        | "method_not_supported_for_channel_type" => ErrorKind::Permission,
        "no_channel" | "unknown_method" | "no_service" | "no_team" | "user_disabled" => ErrorKind::NotFound,
        "name_taken" | "is_archived" | "channel_is_archived" | "hash_conflict" | "message_limit_exceeded" => ErrorKind::Conflict,
        "ratelimited" | "rate_limited" => ErrorKind::Throttled,
        "internal_error" | "fatal_error" | "service_unavailable" | "request_timeout" | "team_added_to_org" | "rollup_error" => {
            ErrorKind::Transient
        }
        "no_text"
        | "msg_too_long"
        | "missing_argument"
        | "time_in_past"
        | "time_too_far"
        | "expired_trigger_id"
        | "exchanged_trigger_id"
        | "trigger_expired"
        | "trigger_exchanged"
        | "json_not_object"
        | "missing_post_type"
        | "missing_charset"
        | "superfluous_charset"
        | "msg_blocks_too_long"
        | "file_upload_size_restricted"
        | "users_list_not_supplied"
        | "cannot_dm_bot"
        | "no_user"
        | "cant_invite_self" => ErrorKind::Invalid,
        _ if code.ends_with("_not_found") => ErrorKind::NotFound,
        _ if code.starts_with("already_") || code.starts_with("duplicate_") => ErrorKind::Conflict,
        _ if code.starts_with("restricted_") || code.starts_with("cant_") || code.starts_with("cannot_") => ErrorKind::Permission,
        _ if code.starts_with("invalid_") || code.starts_with("too_many_") || code.ends_with("_too_large") => ErrorKind::Invalid,
        _ => ErrorKind::Permanent,
    }
}

/// The error for people, with what to do where that is known.
fn explain(code: &str, body: &Value) -> String {
    let mut text = format!("Slack answered `{code}`");
    match code {
        "missing_scope" => {
            let (needed, provided) = (body["needed"].as_str().unwrap_or("?"), body["provided"].as_str().unwrap_or("?"));
            text += &format!(": it needs the scope `{needed}`, and the token has `{provided}`; add it and install the app again");
        }
        "not_in_channel" => text += ": invite the bot into the channel, or let it join",
        "channel_not_found" => text += ": use the channel's id, and invite the bot if the channel is private",
        "invalid_auth" | "token_revoked" | "account_inactive" => {
            text += ": install the app again and give the connection its new token"
        }
        "token_expired" => text += ": refresh the token; token rotation is on",
        "is_archived" | "channel_is_archived" => text += ": choose another channel, or unarchive this one",
        _ => {}
    }
    let details = body.pointer("/response_metadata/messages").and_then(Value::as_array);
    for detail in details.into_iter().flatten().filter_map(Value::as_str).take(3) {
        text += &format!("; {}", detail.chars().take(200).collect::<String>());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_slack_have_their_kind() {
        let cases = [
            (ErrorKind::Auth, vec!["invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive"]),
            (
                ErrorKind::Permission,
                vec![
                    "missing_scope",
                    "not_in_channel",
                    "restricted_action",
                    "cant_update_message",
                    "restricted_action_read_only_channel",
                ],
            ),
            (
                ErrorKind::NotFound,
                vec!["channel_not_found", "users_not_found", "message_not_found", "no_service", "unknown_method"],
            ),
            (ErrorKind::Conflict, vec!["name_taken", "already_in_channel", "is_archived", "duplicate_external_id"]),
            (ErrorKind::Throttled, vec!["ratelimited", "rate_limited"]),
            (ErrorKind::Transient, vec!["internal_error", "fatal_error", "service_unavailable", "request_timeout"]),
            (
                ErrorKind::Invalid,
                vec![
                    "invalid_blocks",
                    "invalid_arguments",
                    "no_text",
                    "msg_too_long",
                    "too_many_attachments",
                    "expired_trigger_id",
                    "alt_txt_too_large",
                ],
            ),
            (ErrorKind::Permanent, vec!["something_that_slack_invents_tomorrow"]),
        ];
        for (expected, codes) in cases {
            for code in codes {
                assert_eq!(kind(code), expected, "{code}");
            }
        }
    }
}
