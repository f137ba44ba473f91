//! All routes, and what is done to every request and answer.

use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::CorsLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::metrics::Answer;
use crate::{ApiError, ErrorKind, api, deepgram, openai, uploads};

/// The description of the whole API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Sori",
        description = "Recordings in, time-aligned documents out: jobs, results and live events.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(api::description::ErrorAnswer, api::description::NativeDocument))
)]
struct Description;

/// Routes for which nobody needs a key.
fn open_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(api::health::live))
        .routes(routes!(api::health::ready))
        .routes(routes!(api::health::health))
}

/// Routes that take no large bodies.
fn small_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(api::health::metrics))
        .routes(routes!(api::health::installed))
        .routes(routes!(api::jobs::list))
        .routes(routes!(api::jobs::show, api::jobs::cancel))
        .routes(routes!(api::jobs::retry))
        .routes(routes!(api::jobs::rerun))
        .routes(routes!(api::events::events))
        .routes(routes!(api::result::result))
        .routes(routes!(api::seed::show))
        .routes(routes!(openai::routes::models))
        .routes(routes!(openai::routes::show))
        .route("/models", get(openai::routes::models))
        .route("/models/{id}", get(openai::routes::show))
        .routes(routes!(uploads::routes::options, uploads::routes::create))
        .routes(routes!(api::deliveries::deliveries))
        .routes(routes!(api::deliveries::replay))
        .routes(routes!(api::stats::stats))
        .routes(routes!(api::speakers::rename, api::speakers::remove))
        .routes(routes!(api::speakers::merge))
        .layer(DefaultBodyLimit::max(1 << 20))
}

/// Routes whose bodies go to the disk; each limits them itself.
fn large_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(api::jobs::create))
        .routes(routes!(api::speakers::list, api::speakers::create))
        .routes(routes!(api::seed::transcribe))
        .routes(routes!(api::seed::process_video))
        // Clients of OpenAI's API are often given the address without /v1.
        .routes(routes!(openai::routes::transcriptions))
        .routes(routes!(openai::routes::translations))
        .route(
            "/audio/transcriptions",
            post(openai::routes::transcriptions),
        )
        .route("/audio/translations", post(openai::routes::translations))
        .routes(routes!(deepgram::routes::listen))
        .routes(routes!(
            uploads::routes::head,
            uploads::routes::append,
            uploads::routes::remove,
            uploads::routes::overridden
        ))
        .layer(DefaultBodyLimit::disable())
}

/// The OpenAPI document (3.1). `docs/openapi.json` is a copy.
pub fn openapi() -> Value {
    parts().1
}

fn parts() -> (Router<App>, Value, Router<App>) {
    let (open, open_api) = open_routes().split_for_parts();
    let (locked, mut locked_api) = OpenApiRouter::with_openapi(Description::openapi())
        .merge(small_routes())
        .merge(large_routes())
        .split_for_parts();
    locked_api.merge(open_api);
    locked_api.info.version = env!("CARGO_PKG_VERSION").to_owned();
    let whole = serde_json::to_value(locked_api).expect("a description is plain data");
    (open, api::description::complete(whole), locked)
}

/// The whole service.
pub fn router(app: App) -> Router {
    let (open, description, locked) = parts();
    let locked = locked.layer(from_fn_with_state(app.clone(), crate::auth::check));
    let idle = Duration::from_secs(app.config.limits.idle_seconds);
    let cors = cors(&app.config.server.cors_origins);
    open.merge(locked)
        .merge(api::pages::pages())
        .route("/openapi.json", get(|| async move { Json(description) }))
        .fallback(|| async {
            ApiError::new(ErrorKind::NotFound, "there is no such route; see /docs")
        })
        .method_not_allowed_fallback(|| async {
            ApiError::new(ErrorKind::Method, "this route has other methods; see /docs")
        })
        .layer(RequestBodyTimeoutLayer::new(idle))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(cors)
        .layer(from_fn_with_state(
            app.clone(),
            uploads::routes::ask_options,
        ))
        .layer(from_fn(secure))
        .layer(from_fn_with_state(app.clone(), count))
        .with_state(app)
}

/// Pages of these origins may ask; of no others.
fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|o| o.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::DELETE,
            Method::PATCH,
            Method::PUT,
            Method::HEAD,
        ])
        .allow_headers(
            [
                [
                    header::AUTHORIZATION,
                    header::CONTENT_TYPE,
                    HeaderName::from_static("x-api-key"),
                    HeaderName::from_static("idempotency-key"),
                    HeaderName::from_static("last-event-id"),
                ]
                .as_slice(),
                &uploads::routes::ALLOWED,
            ]
            .concat(),
        )
        .expose_headers(uploads::routes::EXPOSED)
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    use axum::response::IntoResponse;
    let what = panic.downcast_ref::<String>().map(String::as_str);
    let what = what.or_else(|| panic.downcast_ref::<&str>().copied());
    ApiError::internal(format!("a bug: {}", what.unwrap_or("a panic"))).into_response()
}

/// Headers that keep browsers from doing what nobody asked for (OWASP Secure Headers).
async fn secure(request: Request, next: Next) -> Response {
    const HEADERS: [(&str, &str); 5] = [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Counts and logs answers; the log has the route's pattern and no query.
async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| "none".to_owned(), |r| r.as_str().to_owned());
    let method = request.method().clone();
    let begun = app.clock.now_ms();
    let response = next.run(request).await;
    let (status, ms) = (response.status().as_u16(), app.clock.now_ms() - begun);
    app.metrics.request_duration.observe(ms as f64 / 1e3);
    app.metrics
        .requests
        .get_or_create(&Answer {
            route: route.clone(),
            status,
        })
        .inc();
    tracing::debug!(%method, route, status, ms, "answered");
    response
}
