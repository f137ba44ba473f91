//! The routes of tus 1.0.0 at `/v1/uploads`.

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::headers::{
    ALGORITHMS, CONTENT_TYPE, Checksum, EXTENSIONS, VERSION, http_date, metadata,
};
use super::{Append, Upload, UploadError, UploadErrorKind, UploadPlan};
use crate::app::App;
use crate::keys::Caller;
use crate::{ApiError, ErrorKind};

/// Where uploads are.
const ROOT: &str = "/v1/uploads";
const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const TUS_CHECKSUM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const LENGTH: HeaderName = HeaderName::from_static("upload-length");
const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");

/// Headers that pages may send, where pages may ask.
pub const ALLOWED: [HeaderName; 6] = [
    RESUMABLE,
    OFFSET,
    LENGTH,
    METADATA,
    HeaderName::from_static("upload-checksum"),
    HeaderName::from_static("x-http-method-override"),
];
/// Headers that pages may read.
pub const EXPOSED: [HeaderName; 6] = [
    header::LOCATION,
    RESUMABLE,
    OFFSET,
    LENGTH,
    METADATA,
    EXPIRES,
];

/// Why a request is refused: most in the shape of all errors, some with a status of tus' own.
pub enum Refused {
    /// As everywhere.
    Api(ApiError),
    /// Another version is spoken (412).
    Version,
    /// Somebody else appends (423).
    Locked(String),
    /// The bytes do not match their checksum (460).
    Checksum(String),
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<UploadError> for Refused {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        let kind = match error.kind() {
            UploadErrorKind::Locked => return Self::Locked(message),
            UploadErrorKind::Checksum => return Self::Checksum(message),
            UploadErrorKind::NotFound => ErrorKind::NotFound,
            UploadErrorKind::Offset | UploadErrorKind::Unfinished => ErrorKind::Conflict,
            UploadErrorKind::TooLarge => ErrorKind::TooLarge,
            UploadErrorKind::Broken => ErrorKind::Invalid,
            UploadErrorKind::Full => {
                return Self::Api(ApiError::new(ErrorKind::TooMany, message).retry_after(600));
            }
            UploadErrorKind::Disk => {
                return Self::Api(match error.into_source() {
                    Some(source) => source.into(),
                    None => ApiError::internal(message),
                });
            }
        };
        Self::Api(ApiError::new(kind, message))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        // Both statuses are registered nowhere else: 423 is WebDAV's (RFC 4918), 460 is tus' own.
        let own = |status, message: String| {
            let mut response = ApiError::new(ErrorKind::Conflict, message).into_response();
            *response.status_mut() = StatusCode::from_u16(status).expect("three digits");
            response
        };
        let mut response = match self {
            Self::Api(error) => error.into_response(),
            Self::Locked(message) => own(423, message),
            Self::Checksum(message) => own(460, message),
            Self::Version => own(
                412,
                format!("speak tus {VERSION}: Tus-Resumable: {VERSION}"),
            ),
        };
        let version = HeaderValue::from_static(VERSION);
        response.headers_mut().insert(RESUMABLE, version.clone());
        response.headers_mut().insert(TUS_VERSION, version);
        response
    }
}

/// Tells what is spoken.
#[utoipa::path(options, path = "/v1/uploads", tag = "uploads", responses((status = 204, description = "versions, extensions and limits, in headers")))]
pub async fn options(State(app): State<App>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    for (name, value) in [
        (RESUMABLE, VERSION),
        (TUS_VERSION, VERSION),
        (TUS_EXTENSION, EXTENSIONS),
        (TUS_CHECKSUM, ALGORITHMS),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let most = HeaderValue::from(app.uploads.limits().max_bytes);
    response.headers_mut().insert(TUS_MAX_SIZE, most);
    response
}

/// Answers OPTIONS for uploads before CORS does, which takes every OPTIONS for the question of a browser.
pub async fn ask_options(app: State<App>, request: Request, next: Next) -> Response {
    let asks = request.method() == Method::OPTIONS && request.uri().path().starts_with(ROOT);
    if asks
        && !request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    {
        return options(app).await;
    }
    next.run(request).await
}

/// Begins a resumable upload.
///
/// When all its bytes are there, `POST /v1/jobs` takes it as `{"upload": "<id>"}`, the id being the last part of `Location`.
#[utoipa::path(post, path = "/v1/uploads", tag = "uploads",
    params(("Tus-Resumable" = String, Header, description = "1.0.0"), ("Upload-Length" = u64, Header, description = "bytes"),
        ("Upload-Metadata" = Option<String>, Header, description = "such as `filename <base64>`")),
    responses((status = 201, description = "begun; it is at `Location`"), (status = 400, description = "a header is missing or wrong"),
        (status = 412, description = "another version of tus"), (status = 413, description = "too large"), (status = 429, description = "too many uploads")))]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    spoken(&headers)?;
    app.admit(&caller, None).await?;
    let Some(length) = number(&headers, &LENGTH) else {
        return Err(invalid("Upload-Length", "give the number of bytes"));
    };
    // Clients without metadata send it empty.
    let pairs = headers.get(METADATA).map_or(Ok(""), HeaderValue::to_str);
    let Some(pairs) = pairs.ok().filter(|pairs| metadata(pairs).is_some()) else {
        return Err(invalid(
            "Upload-Metadata",
            "give different keys, each with a value in base64",
        ));
    };
    let plan = UploadPlan {
        length,
        metadata: pairs.to_owned(),
        owner: caller.owner().map(str::to_owned),
        expires_ms: 0,
    };
    let upload = app.uploads.create(plan, app.clock.now_ms()).await?;
    let place = format!("{ROOT}/{}", upload.id);
    Ok((
        StatusCode::CREATED,
        told(&upload),
        [(header::LOCATION, place)],
    )
        .into_response())
}

/// Tells how far an upload is.
#[utoipa::path(head, path = "/v1/uploads/{id}", tag = "uploads",
    params(("id" = String, Path), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses((status = 200, description = "`Upload-Offset` and `Upload-Length`"), (status = 404, description = "no such upload"),
        (status = 412, description = "another version of tus")))]
pub async fn head(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    spoken(&headers)?;
    let upload = app
        .uploads
        .find(&id, caller.owner(), app.clock.now_ms())
        .await?;
    let mut response = (StatusCode::OK, told(&upload)).into_response();
    let answer = response.headers_mut();
    answer.insert(LENGTH, HeaderValue::from(upload.plan.length));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(pairs) = HeaderValue::from_str(&upload.plan.metadata)
        && !pairs.is_empty()
    {
        answer.insert(METADATA, pairs);
    }
    Ok(response)
}

/// Appends bytes to an upload.
#[utoipa::path(patch, path = "/v1/uploads/{id}", tag = "uploads",
    params(("id" = String, Path), ("Tus-Resumable" = String, Header, description = "1.0.0"),
        ("Upload-Offset" = u64, Header, description = "where the bytes belong: the upload's end"),
        ("Upload-Checksum" = Option<String>, Header, description = "sha1 or sha256 of these bytes, and its value in base64")),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses((status = 204, description = "`Upload-Offset` is where it is now"), (status = 400, description = "a header is missing or wrong, or the bytes broke off"),
        (status = 404, description = "no such upload"), (status = 409, description = "the upload is elsewhere"), (status = 412, description = "another version of tus"),
        (status = 413, description = "more than was announced"), (status = 415, description = "another media type"),
        (status = 423, description = "somebody else appends"), (status = 460, description = "the checksum does not match")))]
pub async fn append(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let headers = request.headers();
    spoken(headers)?;
    if text(headers, &header::CONTENT_TYPE) != Some(CONTENT_TYPE) {
        let message = format!("send bytes as {CONTENT_TYPE}");
        return Err(ApiError::new(ErrorKind::MediaType, message).into());
    }
    let Some(offset) = number(headers, &OFFSET) else {
        return Err(invalid(
            "Upload-Offset",
            "give the place where the bytes belong",
        ));
    };
    let checksum = match headers.get("upload-checksum") {
        None => None,
        Some(given) => match given.to_str().ok().and_then(Checksum::parse) {
            Some(checksum) => Some(checksum),
            None => {
                return Err(invalid(
                    "Upload-Checksum",
                    "give sha1 or sha256 and its value in base64",
                ));
            }
        },
    };
    let append = Append {
        offset,
        length: number(headers, &header::CONTENT_LENGTH),
        checksum,
    };
    let found = app
        .uploads
        .find(&id, caller.owner(), app.clock.now_ms())
        .await?;
    // A task of its own: when the client hangs up, what came is still written to its end.
    let uploads = app.uploads.clone();
    let appended = tokio::spawn(async move {
        let bytes = request.into_body().into_data_stream();
        uploads.append(&found, append, bytes).await
    });
    let upload = appended.await.map_err(ApiError::internal)??;
    Ok((StatusCode::NO_CONTENT, told(&upload)).into_response())
}

/// Removes an upload.
#[utoipa::path(delete, path = "/v1/uploads/{id}", tag = "uploads",
    params(("id" = String, Path), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses((status = 204, description = "it is gone"), (status = 404, description = "no such upload"),
        (status = 412, description = "another version of tus"), (status = 423, description = "somebody else appends")))]
pub async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    spoken(&headers)?;
    app.uploads
        .remove(&id, caller.owner(), app.clock.now_ms())
        .await?;
    let version = (RESUMABLE, HeaderValue::from_static(VERSION));
    Ok((StatusCode::NO_CONTENT, [version]).into_response())
}

/// Does what `X-HTTP-Method-Override` says, for clients that can only send POST.
#[utoipa::path(post, path = "/v1/uploads/{id}", tag = "uploads",
    params(("id" = String, Path), ("X-HTTP-Method-Override" = String, Header, description = "PATCH or DELETE")),
    responses((status = 204, description = "as of that method"), (status = 405, description = "another method")))]
pub async fn overridden(
    app: State<App>,
    caller: Caller,
    id: Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let method = request
        .headers()
        .get("x-http-method-override")
        .map(HeaderValue::as_bytes);
    match method.and_then(|name| Method::from_bytes(name).ok()) {
        Some(Method::PATCH) => append(app, caller, id, request).await,
        Some(Method::DELETE) => remove(app, caller, id, request.headers().clone()).await,
        _ => {
            let message = "X-HTTP-Method-Override: PATCH or DELETE is missing";
            Err(ApiError::new(ErrorKind::Method, message).into())
        }
    }
}

/// Refuses other versions of the protocol.
fn spoken(headers: &HeaderMap) -> Result<(), Refused> {
    match text(headers, &RESUMABLE) {
        Some(VERSION) => Ok(()),
        _ => Err(Refused::Version),
    }
}

/// Headers that tell of an upload.
fn told(upload: &Upload) -> [(HeaderName, HeaderValue); 3] {
    let expires = HeaderValue::from_str(&http_date(upload.plan.expires_ms));
    [
        (RESUMABLE, HeaderValue::from_static(VERSION)),
        (OFFSET, HeaderValue::from(upload.offset)),
        (EXPIRES, expires.expect("a date is ASCII")),
    ]
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

fn invalid(name: &str, message: &str) -> Refused {
    let message = format!("{name}: {message}");
    ApiError::new(ErrorKind::Invalid, message)
        .about(name)
        .into()
}
