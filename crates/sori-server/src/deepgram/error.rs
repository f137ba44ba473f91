//! Errors in Deepgram's shape: `{"err_code", "err_msg", "request_id"}`.

use serde::Serialize;
use utoipa::ToSchema;

/// The body of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = deepgram::ErrorBody)]
pub struct ErrorBody {
    /// A word for programs.
    pub err_code: &'static str,
    /// What is wrong, and what to do.
    pub err_msg: String,
    /// The request it is about.
    pub request_id: String,
}

impl ErrorBody {
    /// The body for an error of this HTTP status; its code is the one that Deepgram's guide to errors has.
    pub fn of_status(status: u16, message: impl Into<String>, request_id: &str) -> Self {
        let err_code = match status {
            401 => "INVALID_AUTH",
            403 => "INSUFFICIENT_PERMISSIONS",
            404 => "NOT_FOUND",
            408 => "SLOW_UPLOAD",
            413 => "PAYLOAD_TOO_LARGE",
            422 => "REMOTE_CONTENT_ERROR",
            429 => "TOO_MANY_REQUESTS",
            503 => "SERVICE_UNAVAILABLE",
            504 => "GATEWAY_TIMEOUT",
            500.. => "INTERNAL_SERVER_ERROR",
            _ => "Bad Request",
        };
        Self {
            err_code,
            err_msg: message.into(),
            request_id: request_id.to_owned(),
        }
    }
}
