//! What goes wrong for a client: a kind, what the client is told, and what only the log is told.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sori_store::{StoreError, StoreErrorKind};

/// What kind of thing went wrong; each has one status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be understood (400).
    Invalid,
    /// No key, or one that is unknown, revoked or out of date (401).
    Unauthorized,
    /// A key without the scope, or a source that is not allowed (403).
    Forbidden,
    /// There is no such thing (404).
    NotFound,
    /// It cannot be done with this method (405).
    Method,
    /// It is there already, or in another state (409).
    Conflict,
    /// More bytes than are taken (413).
    TooLarge,
    /// A media type that is not taken (415).
    MediaType,
    /// The recording cannot be worked on (422).
    Unprocessable,
    /// Too many requests (429).
    TooMany,
    /// A fault of the server (500).
    Internal,
    /// Not now (503).
    Unavailable,
    /// It took longer than the server waits (504).
    Timeout,
    /// The disk is full (507).
    Storage,
}

impl ErrorKind {
    /// The status code.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Storage => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// The name in answers (`error.code`).
    pub fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_request",
            Self::Unauthorized => "invalid_api_key",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Method => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::MediaType => "unsupported_media_type",
            Self::Unprocessable => "unprocessable",
            Self::TooMany => "rate_limit_exceeded",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Storage => "storage_full",
        }
    }

    /// OpenAI's family of the error (`error.type`).
    fn family(self) -> &'static str {
        match self.status().as_u16() {
            401 | 403 => "authentication_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }
}

/// An error for a client.
#[derive(Debug)]
pub struct ApiError {
    kind: ErrorKind,
    message: String,
    param: Option<String>,
    retry_after_seconds: Option<u64>,
}

impl ApiError {
    /// An error with what the client is told: what happened, and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
            retry_after_seconds: None,
        }
    }

    /// A fault of the server: `cause` goes to the log, the client is told where to look.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "internal error");
        Self::new(
            ErrorKind::Internal,
            "a fault of this server; its log says more",
        )
    }

    /// The same about this field of the request.
    pub fn about(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same with the time after which to try again.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the client is told, in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.
    pub fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": self.kind.family(),
            "param": self.param,
            "code": self.kind.code(),
        }})
    }

    /// The answer with a body of another shape.
    pub fn with_body(&self, body: Value) -> Response {
        let mut response = (self.kind.status(), Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == ErrorKind::Unauthorized {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"sori\""),
            );
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.with_body(self.body())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind() {
            StoreErrorKind::Conflict => ErrorKind::Conflict,
            StoreErrorKind::Full => ErrorKind::TooMany,
            StoreErrorKind::NotFound => {
                tracing::warn!(error = %error, "not kept");
                return Self::new(
                    ErrorKind::NotFound,
                    "there is no such thing, or it is not kept any more",
                );
            }
            StoreErrorKind::Invalid => ErrorKind::Invalid,
            StoreErrorKind::Unavailable | StoreErrorKind::Busy => {
                tracing::error!(error = %error, "the store does not answer");
                return Self::new(
                    ErrorKind::Unavailable,
                    "the database does not answer; try again",
                )
                .retry_after(5);
            }
            _ => return Self::internal(error),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<crate::OptionsError> for ApiError {
    fn from(error: crate::OptionsError) -> Self {
        Self::new(ErrorKind::Invalid, error.to_string()).about(error.option)
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                tracing::error!(error = %error, "the disk is full");
                Self::new(
                    ErrorKind::Storage,
                    "the server's disk is full; nothing was accepted",
                )
                .retry_after(60)
            }
            _ => Self::internal(error),
        }
    }
}
