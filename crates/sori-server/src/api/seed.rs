//! The API of the first service of this family (seed 000): `/transcribe`, `/api/upload-video/process-video`, `/jobs/{job_id}`.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sori_store::{Job, JobEnd, Priority};
use utoipa::ToSchema;

use super::asked::Path;
use crate::app::App;
use crate::body::{header_text, json_body};
use crate::callback::{News, seed_body};
use crate::form::recording;
use crate::keys::Caller;
use crate::outbox::end_of;
use crate::request::Work;
use crate::staging::Staged;
use crate::submit::{Given, Submission};
use crate::waiting::OnHangUp;
use crate::work::DOCUMENT;
use crate::{ApiError, ErrorKind, JobOptions};

/// A request for an analysis. Where several locations are given, that of the sound counts; other names are tolerated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct SeedRequest {
    /// A video: an `http`, `https` or `s3` URL, or a path below one of the server's `sources.media_roots`.
    pub video_path: Option<String>,
    /// The sound, where it lies on its own.
    pub audio_path: Option<String>,
    /// The same as `video_path`.
    pub video_url: Option<String>,
    /// The same as `audio_path`.
    pub audio_url: Option<String>,
    /// Code of the language, or auto.
    #[schema(example = "auto")]
    pub language: Option<String>,
    /// Your own id (1 to 128 letters, digits and `._:-`): asking again with it gives the same job.
    pub job_id: Option<String>,
    /// Whom to tell how it goes.
    pub callback_url: Option<String>,
    /// An installed model; any other name gives the best one that is installed.
    pub model: Option<String>,
    /// At least so many people speak.
    pub min_speakers: Option<u32>,
    /// At most so many people speak.
    pub max_speakers: Option<u32>,
}

/// How a job is, in the words of seed 000. Only its description is used: callbacks have the same body and are written once.
#[derive(Serialize, ToSchema)]
pub struct SeedJob {
    /// The job.
    pub job_id: String,
    /// processing, completed or failed.
    #[schema(example = "processing")]
    pub status: String,
    /// 0 to 100; it never goes back.
    #[schema(maximum = 100)]
    pub progress: u8,
    /// What is being done, in Korean.
    #[schema(example = "화자 분리 진행 중...")]
    pub message: String,
    /// The document, once it is there.
    pub result: Option<Value>,
}

/// Analyzes a recording while the client waits, and gives the document.
///
/// The job is cancelled when the client hangs up, unless it has a callback or a `job_id`, by which it can be asked for again. The recording
/// may also come as the `file` of a form.
#[utoipa::path(post, path = "/transcribe", tag = "seed",
    request_body(content((SeedRequest = "application/json"), (super::jobs::JobForm = "multipart/form-data"))),
    responses((status = 200, description = "the document", content_type = "application/json"),
        (status = 400, description = "cannot be understood, or the recording cannot be read"), (status = 403, description = "a source that is not allowed"),
        (status = 409, description = "the id was asked for something else"), (status = 429, description = "the queue is full"),
        (status = 504, description = "it takes longer than requests wait")))]
pub async fn transcribe(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let submission = submission(&app, &caller, request).await?;
    let gone = match submission.id {
        Some(_) => OnHangUp::GoOn,
        None => OnHangUp::Cancel,
    };
    let job = app
        .submit_and_wait(&caller, submission, gone)
        .await?
        .end()
        .await?;
    let document = app.newest(&job, DOCUMENT).await?;
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((kind, Body::from_stream(document.stream)).into_response())
}

/// Analyzes a recording in the background and tells the callback how it goes.
#[utoipa::path(post, path = "/api/upload-video/process-video", tag = "seed",
    request_body(content((SeedRequest = "application/json"), (super::jobs::JobForm = "multipart/form-data"))),
    responses((status = 200, description = "accepted", body = SeedJob), (status = 400, description = "cannot be understood"),
        (status = 403, description = "a source that is not allowed"), (status = 409, description = "the id was asked for something else"),
        (status = 429, description = "the queue is full")))]
pub async fn process_video(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let submission = submission(&app, &caller, request).await?;
    let submitted = app.submit(&caller, submission).await?;
    Ok(told(submitted.job(), None))
}

/// Shows how a job is, with its document once that is there.
#[utoipa::path(get, path = "/jobs/{job_id}", tag = "seed", params(("job_id" = String, Path)),
    responses((status = 200, body = SeedJob), (status = 404, description = "no such job")))]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let job = app.own_job(&caller, &id).await?;
    if job.result.is_none() || !job.state.is_terminal() {
        return Ok(told(&job, None));
    }
    let document = app.document(&job).await?;
    let written = tokio::task::spawn_blocking(move || {
        let result = serde_json::to_value(&*document)?;
        Ok::<_, serde_json::Error>(told(&job, Some(&result)))
    });
    written
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)
}

/// The body that callbacks have, too.
fn told(job: &Job, result: Option<&Value>) -> Response {
    let stage = job.stage.as_deref().unwrap_or("queued");
    let end = JobEnd::of(job);
    let news = match job.state.is_terminal() {
        true => end_of(&end, result),
        false => News::Progress {
            stage,
            percent: job.progress,
        },
    };
    let body = seed_body(job.id.as_str(), &news);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Reads a request in JSON or as a form.
async fn submission(app: &App, caller: &Caller, request: Request) -> Result<Submission, ApiError> {
    let kind = header_text(&request, "content-type").unwrap_or_default();
    if !kind.starts_with("multipart/form-data") {
        let asked: SeedRequest = json_body(request).await?;
        app.admit(caller, asked.job_id.as_deref()).await?;
        return asked.submission(app, None);
    }
    app.admit(caller, None).await?;
    let (form, name, staged) = recording(app, request).await?;
    let value = |(name, text): &(String, String)| {
        let number = text
            .parse::<u32>()
            .ok()
            .filter(|_| name.ends_with("_speakers"));
        (
            name.clone(),
            number.map_or_else(|| text.clone().into(), Value::from),
        )
    };
    let fields: Map<String, Value> = form.fields.iter().map(value).collect();
    let asked = serde_json::from_value::<SeedRequest>(Value::Object(fields));
    let asked = asked.map_err(|e| ApiError::new(ErrorKind::Invalid, e.to_string()))?;
    asked.submission(app, Some((name, staged)))
}

impl SeedRequest {
    fn submission(self, app: &App, file: Option<(String, Staged)>) -> Result<Submission, ApiError> {
        let places = [
            ("audio_path", self.audio_path),
            ("audio_url", self.audio_url),
            ("video_path", self.video_path),
            ("video_url", self.video_url),
        ];
        let mut places = places
            .into_iter()
            .filter_map(|(name, place)| Some((name, place.filter(|p| !p.is_empty())?)));
        let (name, source) = match (file, places.next()) {
            (Some((name, staged)), _) => (name, Given::Staged(staged)),
            (None, Some((field, place))) => (
                String::new(),
                app.locate(&place).map_err(|e| e.about(field))?,
            ),
            (None, None) => {
                let message = "give the recording: its path or URL";
                return Err(ApiError::new(ErrorKind::Invalid, message).about("video_path"));
            }
        };
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Submission {
            id: given(self.job_id),
            source,
            name,
            options: JobOptions {
                model: given(self.model),
                language: given(self.language),
                min_speakers: self.min_speakers,
                max_speakers: self.max_speakers,
                ..JobOptions::default()
            },
            callback: given(self.callback_url),
            callback_form: None,
            priority: Priority::Normal,
            work: Work::Analyze,
            samples: Vec::new(),
        })
    }
}
