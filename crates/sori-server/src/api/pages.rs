//! The pages for people: the dashboard at `/`, the API to read at `/redoc` and to try at `/docs`.
//!
//! They are files of this program, load nothing from elsewhere, and do nothing that the API does not do.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;

/// What these pages may do: run the server's own scripts and ask it, and nothing else; nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What result pages may do, which bring a policy with the hashes of their own script and style: nothing in this server's
/// name. In the sandbox a page has an origin of its own, so that a hole in it opens neither the API nor the dashboard's key.
pub const RESULT_POLICY: &str =
    "sandbox allow-scripts allow-downloads allow-popups allow-modals; frame-ancestors 'none'";

/// A file of the program: path, media type, content.
const FILES: [(&str, &str, &str); 9] = [
    ("/", HTML, include_str!("../../web/dashboard.html")),
    ("/dashboard", HTML, include_str!("../../web/dashboard.html")),
    ("/docs", HTML, include_str!("../../web/docs.html")),
    ("/redoc", HTML, include_str!("../../web/redoc.html")),
    ("/web/page.css", CSS, include_str!("../../web/page.css")),
    ("/web/page.js", SCRIPT, include_str!("../../web/page.js")),
    ("/web/words.js", SCRIPT, include_str!("../../web/words.js")),
    (
        "/web/dashboard.js",
        SCRIPT,
        include_str!("../../web/dashboard.js"),
    ),
    (
        "/web/reference.js",
        SCRIPT,
        include_str!("../../web/reference.js"),
    ),
];
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The routes of the pages; nobody needs a key for them, since they hold nothing.
pub fn pages() -> Router<App> {
    FILES
        .iter()
        .fold(Router::new(), |router, &(path, kind, text)| {
            router.route(path, get(async move || file(kind, text)))
        })
}

/// The answer with a file; a browser asks again after an update of the program.
fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(POLICY),
        ),
    ];
    (headers, text).into_response()
}
