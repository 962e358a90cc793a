//! What can go wrong between us and Slack, by what the caller can do about it.

use std::time::Duration;

use slack_morphism::errors::SlackClientError;

/// How long to wait after a rate limit that does not say.
const UNSTATED_WAIT: Duration = Duration::from_secs(30);
/// More than this is taken for a mistake; times far enough ahead cannot even be added to the clock.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

#[derive(Debug, thiserror::Error)]
pub enum SlackError {
    #[error("Slack is rate limiting, retry in {} s", .retry_after.as_secs())]
    RateLimited { retry_after: Duration },
    /// Slack is unwell. With `may_have_happened`, look before repeating: a post may be there already.
    #[error("Slack failed: {code}")]
    Retry {
        code: String,
        may_have_happened: bool,
    },
    /// The token is not (or no longer) good: stop posting and tell people by another way.
    #[error("Slack refused the token: {code}")]
    Auth { code: String },
    /// The app lacks a scope or may not do this at all: for the operator.
    #[error("the Slack app may not do this: {code}{}", .needed.as_ref().map(|scope| format!(", needs scope {scope}")).unwrap_or_default())]
    Configuration {
        code: String,
        needed: Option<String>,
    },
    /// The channel does not exist, is archived or closed to us.
    #[error("cannot post to the channel: {code}")]
    BadChannel { code: String },
    /// Slack refused how the message looks, plain form included.
    #[error("Slack refused the message's form: {code} {details}")]
    BadBlocks { code: String, details: String },
    /// The message is gone or cannot be edited: post a reply instead.
    #[error("cannot edit the message: {code}")]
    CannotEdit { code: String },
    /// A trigger was used too late or twice.
    #[error("the dialog came too late: {code}")]
    TriggerGone { code: String },
    /// Anything else Slack says no to.
    #[error("Slack refused the call: {code}")]
    Refused { code: String },
    /// An answer that is not Slack's.
    #[error("Slack answered with something else than its own format")]
    Malformed,
    /// No address, token or URL for this is configured, or the URL is not one of Slack's.
    #[error("cannot call Slack: {reason}")]
    NotCallable { reason: &'static str },
    #[error("Slack did not answer in time")]
    TimedOut,
    #[error("Slack did not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SlackError {
    /// Whether the call may have had its effect though it failed: look before repeating.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Retry {
                may_have_happened, ..
            } => *may_have_happened,
            Self::TimedOut | Self::Unreachable(_) | Self::Malformed => true,
            Self::RateLimited { .. }
            | Self::Auth { .. }
            | Self::Configuration { .. }
            | Self::BadChannel { .. }
            | Self::BadBlocks { .. }
            | Self::CannotEdit { .. }
            | Self::TriggerGone { .. }
            | Self::Refused { .. }
            | Self::NotCallable { .. } => false,
        }
    }

    /// Whether the same call can succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Retry { .. }
            | Self::TimedOut
            | Self::Unreachable(_)
            | Self::Malformed => true,
            Self::Auth { .. }
            | Self::Configuration { .. }
            | Self::BadChannel { .. }
            | Self::BadBlocks { .. }
            | Self::CannotEdit { .. }
            | Self::TriggerGone { .. }
            | Self::Refused { .. }
            | Self::NotCallable { .. } => false,
        }
    }

    /// The class of one of Slack's error codes. `body` is the whole answer, which names scopes and bad blocks.
    fn of_code(code: &str, body: &str) -> Self {
        let owned = code.to_owned();
        match code {
            "ratelimited" | "rate_limited" => Self::RateLimited {
                retry_after: UNSTATED_WAIT,
            },
            "internal_error" | "fatal_error" | "request_timeout" => Self::Retry {
                code: owned,
                may_have_happened: true,
            },
            "service_unavailable" | "team_added_to_org" => Self::Retry {
                code: owned,
                may_have_happened: false,
            },
            "not_authed"
            | "invalid_auth"
            | "token_revoked"
            | "token_expired"
            | "account_inactive"
            | "org_login_required"
            | "two_factor_setup_required"
            | "user_removed_from_team"
            | "team_disabled" => Self::Auth { code: owned },
            "missing_scope"
            | "no_permission"
            | "not_allowed_token_type"
            | "accesslimited"
            | "access_denied"
            | "app_access_restricted"
            | "message_limit_exceeded"
            | "forbidden_team"
            | "plan_upgrade_required" => Self::Configuration {
                code: owned,
                needed: Answer::of(body).needed,
            },
            "channel_not_found"
            | "not_in_channel"
            | "is_archived"
            | "channel_is_archived"
            | "messages_tab_disabled"
            | "cannot_reply_to_message"
            | "user_not_in_channel" => Self::BadChannel { code: owned },
            code if code.starts_with("restricted_action") => Self::BadChannel { code: owned },
            "invalid_blocks"
            | "invalid_blocks_format"
            | "msg_blocks_too_long"
            | "msg_too_long"
            | "no_text"
            | "too_many_attachments"
            | "attachment_payload_limit_exceeded"
            | "markdown_text_conflict"
            | "metadata_too_large"
            | "block_mismatch" => {
                let details = Answer::of(body)
                    .response_metadata
                    .unwrap_or_default()
                    .messages
                    .join("; ");
                Self::BadBlocks {
                    code: owned,
                    details,
                }
            }
            "message_not_found"
            | "cant_update_message"
            | "edit_window_closed"
            | "streaming_state_conflict"
            | "update_failed"
            | "is_inactive" => Self::CannotEdit { code: owned },
            "expired_trigger_id"
            | "exchanged_trigger_id"
            | "invalid_trigger_id"
            | "trigger_expired"
            | "trigger_exchanged" => Self::TriggerGone { code: owned },
            _ => Self::Refused { code: owned },
        }
    }

    /// The class of an answer by its HTTP status; `body` may be anything.
    fn of_status(status: u16, body: &str) -> Self {
        // Webhooks and response URLs answer errors as plain words.
        let word: String = body.trim().chars().take(60).collect();
        let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        match status {
            _ if serde_json::from_str::<Answer>(body)
                .is_ok_and(|answer| answer.error.is_some()) =>
            {
                Self::of_code(&Answer::of(body).error.unwrap_or_default(), body)
            }
            500.. => Self::Retry {
                code: format!("HTTP {status}"),
                may_have_happened: true,
            },
            401 | 403 | 404 | 410 if !is_word => Self::Refused {
                code: format!("HTTP {status}"),
            },
            _ if is_word => Self::of_code(&word, body),
            _ => Self::Refused {
                code: format!("HTTP {status}"),
            },
        }
    }
}

/// What an error answer says beside its code.
#[derive(Debug, Default, serde::Deserialize)]
struct Answer {
    error: Option<String>,
    needed: Option<String>,
    response_metadata: Option<ResponseMetadata>,
}

#[derive(Debug, Default, serde::Deserialize)]
struct ResponseMetadata {
    #[serde(default)]
    messages: Vec<String>,
}

impl Answer {
    fn of(body: &str) -> Self {
        serde_json::from_str(body).unwrap_or_default()
    }
}

/// The client's errors print whole answers, so none of them is kept: only codes and transport faults go on.
impl From<SlackClientError> for SlackError {
    fn from(error: SlackClientError) -> Self {
        match error {
            SlackClientError::ApiError(api) => Self::of_code(
                &api.code,
                api.http_response_body.as_deref().unwrap_or_default(),
            ),
            SlackClientError::RateLimitError(limit) => Self::RateLimited {
                retry_after: limit.retry_after.unwrap_or(UNSTATED_WAIT).min(LONGEST_WAIT),
            },
            SlackClientError::HttpError(http) => Self::of_status(
                http.status_code.as_u16(),
                http.http_response_body.as_deref().unwrap_or_default(),
            ),
            SlackClientError::ProtocolError(_) | SlackClientError::SocketModeProtocolError(_) => {
                Self::Malformed
            }
            SlackClientError::HttpProtocolError(http) => {
                Self::Unreachable(http.cause.unwrap_or_else(|| "transport failed".into()))
            }
            SlackClientError::SystemError(system) => {
                Self::Unreachable(system.cause.unwrap_or_else(|| "transport failed".into()))
            }
            SlackClientError::EndOfStream(_) => Self::Unreachable("the stream ended".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_tells_what_can_be_done() {
        let class = |code: &str| SlackError::of_code(code, "{}");
        assert!(matches!(
            class("rate_limited"),
            SlackError::RateLimited { .. }
        ));
        assert!(matches!(
            class("fatal_error"),
            SlackError::Retry {
                may_have_happened: true,
                ..
            }
        ));
        assert!(matches!(class("token_revoked"), SlackError::Auth { .. }));
        assert!(matches!(
            class("restricted_action_thread_locked"),
            SlackError::BadChannel { .. }
        ));
        assert!(matches!(
            class("msg_too_long"),
            SlackError::BadBlocks { .. }
        ));
        assert!(matches!(
            class("message_not_found"),
            SlackError::CannotEdit { .. }
        ));
        assert!(matches!(
            class("expired_trigger_id"),
            SlackError::TriggerGone { .. }
        ));
        assert!(matches!(class("something_new"), SlackError::Refused { .. }));
    }

    #[test]
    fn the_missing_scope_and_the_bad_block_are_named() {
        let error = SlackError::of_code("missing_scope", r#"{"ok":false,"needed":"chat:write"}"#);
        assert_eq!(
            error.to_string(),
            "the Slack app may not do this: missing_scope, needs scope chat:write"
        );
        let error = SlackError::of_code(
            "invalid_blocks",
            r#"{"ok":false,"response_metadata":{"messages":["[ERROR] too long [json-pointer:/blocks/0]"]}}"#,
        );
        assert!(error.to_string().contains("/blocks/0"));
    }

    #[test]
    fn a_status_without_slacks_format_is_judged_by_its_number_or_word() {
        assert!(matches!(
            SlackError::of_status(502, "<html>"),
            SlackError::Retry {
                may_have_happened: true,
                ..
            }
        ));
        assert!(matches!(
            SlackError::of_status(404, "channel_not_found"),
            SlackError::BadChannel { .. }
        ));
        assert!(matches!(
            SlackError::of_status(404, "<html>"),
            SlackError::Refused { .. }
        ));
        assert!(matches!(
            SlackError::of_status(500, "rollup_error"),
            SlackError::Retry { .. }
        ));
    }
}
