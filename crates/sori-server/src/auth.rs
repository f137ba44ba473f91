//! Who asks: keys, scopes and rates, checked before any handler runs.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::{App, lock};
use crate::keys::{ApiKey, Caller, Scope};
use crate::rate::{Exceeded, Standing};
use crate::{ApiError, ErrorKind};

/// How long the last use of a key is not noted again.
const TOUCH_MS: i64 = 60_000;

/// Lets a request through when its key is good for it and its rate is not used up.
pub async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let key = ApiKey::presented(request.headers()).ok().flatten();
    let caller = match caller(&app, key).await {
        Ok(caller) => caller,
        Err(error) => return error.into_response(),
    };
    if caller == Caller::Local && !is_at_home(&app, &request) {
        let message = "pages of other sites may not use a server without keys (server.cors_origins, server.names)";
        return ApiError::new(ErrorKind::Forbidden, message).into_response();
    }
    let needed = match *request.method() {
        _ if request.uri().path() == "/metrics" => Scope::Metrics,
        Method::GET | Method::HEAD | Method::OPTIONS => Scope::JobsRead,
        _ => Scope::JobsWrite,
    };
    if let Err(error) = caller.require(needed) {
        return error.into_response();
    }
    let rate = caller.owner().map(|key| {
        let now = app.clock.now_ms();
        lock(&app.limits).request(key, now)
    });
    let (mut response, standing) = match rate {
        Some(Err((exceeded, standing))) => {
            (ApiError::from(exceeded).into_response(), Some(standing))
        }
        rate => {
            request.extensions_mut().insert(caller);
            let standing = rate.and_then(|rate| rate.ok().flatten());
            (next.run(request).await, standing)
        }
    };
    for (name, value) in standing.iter().flat_map(Standing::headers) {
        let value = HeaderValue::try_from(value).expect("digits are a header");
        response.headers_mut().insert(name, value);
    }
    response
}

/// Whether a request without a key comes from a program, or from a page of this server or of an origin that is allowed: a page
/// of any other site could make a browser on this machine send it (CSRF), also under a name of its own that leads here (DNS
/// rebinding).
fn is_at_home(app: &App, request: &Request) -> bool {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|v| v.to_str().unwrap_or("?"))
    };
    let server = &app.config.server;
    // HTTP/2 has the host in the request's target.
    let target = request.uri().authority().map(|a| a.as_str());
    let host = header("host").or(target).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    let known = plain.eq_ignore_ascii_case("localhost")
        || plain.parse::<IpAddr>().is_ok()
        || server.names.iter().any(|n| n.eq_ignore_ascii_case(plain))
        || url::Url::parse(&app.public_url).is_ok_and(|url| url.host_str() == Some(plain));
    let from = header("origin").is_none_or(|origin| {
        origin
            .split_once("://")
            .is_some_and(|(_, from)| from == host)
            || server.cors_origins.iter().any(|allowed| allowed == origin)
    });
    known && from
}

/// Who holds this key, or who comes without one.
async fn caller(app: &App, key: Option<ApiKey>) -> Result<Caller, ApiError> {
    let refused = || {
        let message =
            "give a key of this server: Authorization: Bearer sk-sori-… (made by `sori keys add`)";
        ApiError::new(ErrorKind::Unauthorized, message)
    };
    let now = app.clock.now_ms();
    let record = match key {
        Some(key) => app.store.key_by_hash(&key.hash()).await?,
        None => None,
    };
    match record {
        Some(record) if record.expires_ms.is_none_or(|end| now < end) => {
            // Reading goes on where nothing can be written.
            if record.used_ms.is_none_or(|used| now - used >= TOUCH_MS)
                && let Err(error) = app.store.touch_key(&record.id, now).await
            {
                tracing::warn!(%error, "the use of a key is not noted");
            }
            let scopes = record
                .scopes
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect();
            Ok(Caller::Key {
                id: record.id,
                name: record.name,
                scopes,
            })
        }
        // Clients that must send some key may send any where none is needed.
        None if !app.keys_required => Ok(Caller::Local),
        _ => Err(refused()),
    }
}

impl From<Exceeded> for ApiError {
    fn from(exceeded: Exceeded) -> Self {
        Self::new(ErrorKind::TooMany, exceeded.to_string()).retry_after(exceeded.retry_after_s)
    }
}

impl Caller {
    /// Refuses a caller without the scope.
    ///
    /// # Errors
    /// 403 naming the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        match self.may(scope) {
            true => Ok(()),
            false => {
                let message = format!("this key has not the scope {}", scope.name());
                Err(ApiError::new(ErrorKind::Forbidden, message))
            }
        }
    }

    /// The owner whose jobs alone this caller may see; `None` for those who may see all.
    pub fn sees_only(&self) -> Option<String> {
        let owner = self.owner().filter(|_| !self.may(Scope::Admin));
        owner.map(str::to_owned)
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::internal("a route without a check of keys"))
    }
}
