//! The route of Deepgram's API for recordings.

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use sori_store::Priority;
use utoipa::ToSchema;

use super::{Accepted, ErrorBody, ListenRequest, ListenResponse, QueryError, Recording, response};
use crate::app::App;
use crate::body::{header_text, json_body};
use crate::keys::Caller;
use crate::request::Work;
use crate::submit::{Given, Submission};
use crate::waiting::OnHangUp;
use crate::{ApiError, ErrorKind};

/// A recording that lies elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ListenUrl {
    /// An `http`, `https` or `s3` URL.
    pub url: String,
}

/// Transcribes a recording while the client waits.
///
/// The body is the recording's bytes, or JSON with its URL. The job is cancelled when the client hangs up. With `callback`
/// the answer comes at once and the result goes there. Other parameters of Deepgram's are tolerated.
#[utoipa::path(post, path = "/v1/listen", tag = "deepgram",
    params(("model" = Option<String>, Query), ("language" = Option<String>, Query, description = "a tag such as en, or multi"),
        ("detect_language" = Option<String>, Query), ("diarize" = Option<bool>, Query), ("punctuate" = Option<bool>, Query),
        ("smart_format" = Option<bool>, Query), ("paragraphs" = Option<bool>, Query), ("utterances" = Option<bool>, Query),
        ("utt_split" = Option<f64>, Query, description = "seconds"), ("keyterm" = Option<Vec<String>>, Query),
        ("keywords" = Option<Vec<String>>, Query), ("tag" = Option<Vec<String>>, Query), ("extra" = Option<Vec<String>>, Query),
        ("callback" = Option<String>, Query)),
    request_body(content((Vec<u8> = "application/octet-stream"), (ListenUrl = "application/json"))),
    responses((status = 200, description = "what was said, or with `callback` the id of the request", body = ListenResponse),
        (status = 400, description = "cannot be understood, or the recording cannot be read", body = ErrorBody),
        (status = 413, description = "too large", body = ErrorBody), (status = 429, description = "the queue is full", body = ErrorBody),
        (status = 504, description = "it takes longer than requests wait", body = ErrorBody)))]
pub async fn listen(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
) -> Response {
    let id = uuid::Uuid::now_v7().to_string();
    match answered(app, caller, (&id, &query), request).await {
        Ok(response) => response,
        Err(error) => {
            let status = error.kind().status().as_u16();
            error.with_body(json!(ErrorBody::of_status(status, error.message(), &id)))
        }
    }
}

async fn answered(
    app: App,
    caller: Caller,
    (id, query): (&str, &[(String, String)]),
    request: Request,
) -> Result<Response, ApiError> {
    let asked = ListenRequest::parse(query)?;
    app.admit(&caller, None).await?;
    let created_ms = app.clock.now_ms();
    let (source, sha256) = source(&app, request).await?;
    let submission = Submission {
        id: Some(id.to_owned()),
        source,
        name: String::new(),
        options: asked.options,
        callback: asked.callback,
        callback_form: None,
        priority: Priority::High,
        work: Work::Analyze,
        samples: Vec::new(),
    };
    let recording = Recording {
        request_id: id.to_owned(),
        sha256,
        created_ms,
    };
    if submission.callback.is_some() {
        app.submit(&caller, submission).await?;
        let request_id = recording.request_id;
        return Ok(Json(Accepted { request_id }).into_response());
    }
    let job = app
        .submit_and_wait(&caller, submission, OnHangUp::Cancel)
        .await?
        .end()
        .await?;
    let document = app.document(&job).await?;
    let shaped = tokio::task::spawn_blocking(move || {
        let response = response(&document, &asked.shape, &recording);
        serde_json::to_vec(&response).expect("a response has texts and finite numbers")
    });
    let body = shaped.await.map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The recording and its checksum, which is empty for one that lies elsewhere.
async fn source(app: &App, request: Request) -> Result<(Given, String), ApiError> {
    let kind = header_text(&request, "content-type").unwrap_or_default();
    let length = header_text(&request, "content-length").and_then(|length| length.parse().ok());
    if kind.starts_with("application/json") {
        let body: ListenUrl = json_body(request).await?;
        if !body.url.contains("://") || body.url.to_ascii_lowercase().starts_with("file:") {
            let message = "give an http, https or s3 URL";
            return Err(ApiError::new(ErrorKind::Invalid, message).about("url"));
        }
        return Ok((app.locate(&body.url)?, String::new()));
    }
    app.staging.foresee(length)?;
    let staged = app
        .staging
        .take(request.into_body().into_data_stream())
        .await?;
    if staged.bytes == 0 {
        let message = "the body is empty; send the recording, or JSON with its url";
        return Err(ApiError::new(ErrorKind::Invalid, message));
    }
    let sha256 = staged.sha256.clone();
    Ok((Given::Staged(staged), sha256))
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        Self::new(ErrorKind::Invalid, error.to_string()).about(error.parameter)
    }
}
