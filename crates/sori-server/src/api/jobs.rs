//! `/v1/jobs`: asking for work, looking at it, stopping it.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sori_store::{JobFilter, JobId, JobState, Priority};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Path, Query};
use super::view::JobView;
use crate::app::App;
use crate::body::{header_text, json_body};
use crate::config::CallbackForm;
use crate::form::Form;
use crate::keys::Caller;
use crate::request::Work;
use crate::submit::{Given, Submission, Submitted};
use crate::{ApiError, ErrorKind, JobOptions};

/// A request for a job. One of `url`, `path` and `upload` says where the recording is; with a form it may be the `file`.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"url": "https://example.com/talk.wav", "options": {"language": "en", "speakers": 2}}))]
pub struct JobRequest {
    /// Your own id (1 to 128 letters, digits and `._:-`): asking again with it gives the same job.
    pub job_id: Option<String>,
    /// An `http`, `https` or `s3` URL.
    pub url: Option<String>,
    /// A file of the server below one of its `sources.media_roots`.
    pub path: Option<String>,
    /// The id of a finished resumable upload.
    pub upload: Option<String>,
    /// Name of the recording, for people.
    pub name: Option<String>,
    /// How it is analyzed.
    pub options: JobOptions,
    /// Whom to tell how it goes.
    pub callback_url: Option<String>,
    /// In which shape.
    pub callback_form: Option<CallbackForm>,
    /// high, normal or low.
    pub priority: Option<PriorityName>,
}

/// Before or after others; low ones still get every twelfth place.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriorityName {
    /// Before others.
    High,
    /// As most are.
    #[default]
    Normal,
    /// After others.
    Low,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::High => Self::High,
            PriorityName::Normal => Self::Normal,
            PriorityName::Low => Self::Low,
        }
    }
}

/// A form with a recording; the options may stand as fields of their own.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its description is used")]
pub struct JobForm {
    /// The recording.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: Option<String>,
    /// The rest as in JSON, with every option as a field, or all options as JSON in `options`.
    #[schema(inline)]
    options: Option<String>,
    /// Your own id.
    job_id: Option<String>,
    /// Whom to tell how it goes.
    callback_url: Option<String>,
}

/// Asks for a job.
///
/// The recording comes as a form's file, streamed to the disk, or is named. When the answer is 202 the job is on the disk
/// and will reach an end, whatever happens to the server.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs",
    request_body(content((JobRequest = "application/json"), (JobForm = "multipart/form-data"))),
    params(("Idempotency-Key" = Option<String>, Header, description = "the same as `job_id`; a form that is sent again with it is known also where the queue is full")),
    responses((status = 202, description = "accepted", body = JobView), (status = 200, description = "asked for before", body = JobView),
        (status = 400, description = "cannot be understood"), (status = 403, description = "a source that is not allowed"),
        (status = 404, description = "no such upload"), (status = 409, description = "the id was asked for something else"), (status = 413, description = "too large"),
        (status = 415, description = "neither JSON nor a form"),
        (status = 429, description = "the queue is full"), (status = 503, description = "it stops, or its memory is full"), (status = 507, description = "the disk is full")))]

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    let key = header_text(&request, "idempotency-key");
    let kind = header_text(&request, "content-type").unwrap_or_default();
    let length = header_text(&request, "content-length").and_then(|l| l.parse().ok());
    let (asked, file) = if kind.starts_with("multipart/form-data") {
        app.admit(&caller, key.as_deref()).await?;
        app.staging.foresee(length)?;
        let multipart = Multipart::from_request(request, &app).await;
        let multipart = multipart.map_err(|e| ApiError::new(ErrorKind::Invalid, e.body_text()))?;
        let mut form = Form::read(&app, multipart, 1).await?;
        let file = form.take_file(&["file", "media", "audio", "video"]);
        let asked = from_form(&form)?;
        // The header may be that of a known job, and the form about another.
        if asked.job_id.is_some() && asked.job_id != key {
            app.admit(&caller, asked.job_id.as_deref()).await?;
        }
        (asked, file)
    } else {
        let asked: JobRequest = json_body(request).await?;
        let id = asked.job_id.as_deref().or(key.as_deref());
        app.admit(&caller, id).await?;
        (asked, None)
    };
    let submitted = app.ask(&caller, asked, file, key).await?;
    let status = match submitted {
        Submitted::New(_) => StatusCode::ACCEPTED,
        Submitted::Known(_) => StatusCode::OK,
    };
    let view = JobView::from(submitted.job());
    let place = format!("/v1/jobs/{}", view.id);
    Ok((status, [(header::LOCATION, place)], Json(view)).into_response())
}

/// The same request out of the fields of a form.
fn from_form(form: &Form) -> Result<JobRequest, ApiError> {
    let mut whole = Map::new();
    let mut options = match form.text("options") {
        Some(text) => serde_json::from_str::<Map<String, Value>>(text).map_err(|e| {
            ApiError::new(ErrorKind::Invalid, format!("no JSON object: {e}")).about("options")
        })?,
        None => Map::new(),
    };
    for (name, text) in &form.fields {
        match name.as_str() {
            "options" => {}
            "job_id" | "url" | "path" | "upload" | "name" | "callback_url" | "callback_form"
            | "priority" => {
                whole.insert(name.clone(), Value::String(text.clone()));
            }
            _ => {
                options.insert(name.clone(), plain(name, text));
            }
        }
    }
    whole.insert("options".to_owned(), Value::Object(options));
    serde_json::from_value(Value::Object(whole))
        .map_err(|e| ApiError::new(ErrorKind::Invalid, e.to_string()))
}

/// A field's text as the JSON value that it means.
fn plain(name: &str, text: &str) -> Value {
    if name == "features" {
        let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
        return parts.map(|p| Value::String(p.to_owned())).collect();
    }
    let is_text = ["model", "language", "prompt", "hotwords"].contains(&name);
    match serde_json::from_str::<Value>(text) {
        Ok(value) if !is_text && (value.is_number() || value.is_boolean()) => value,
        _ => Value::String(text.to_owned()),
    }
}

impl App {
    /// Submits a native request; a `file` comes from a form.
    async fn ask(
        &self,
        caller: &Caller,
        asked: JobRequest,
        file: Option<(String, crate::staging::Staged)>,
        key: Option<String>,
    ) -> Result<Submitted, ApiError> {
        let places = [
            asked.url.is_some(),
            asked.path.is_some(),
            asked.upload.is_some(),
            file.is_some(),
        ];
        if places.iter().filter(|given| **given).count() != 1 {
            let message = "give the recording once: a form's file, url, path or upload";
            return Err(ApiError::new(ErrorKind::Invalid, message));
        }
        let (mut name, mut source) = (asked.name.unwrap_or_default(), None);
        if let Some((file_name, staged)) = file {
            if name.is_empty() {
                name = file_name;
            }
            source = Some(Given::Staged(staged));
        }
        if let Some(url) = &asked.url {
            if !url.contains("://") || url.to_ascii_lowercase().starts_with("file:") {
                let message = "give an http, https or s3 URL; files of the server go into `path`";
                return Err(ApiError::new(ErrorKind::Invalid, message).about("url"));
            }
            source = Some(self.locate(url).map_err(|e| e.about("url"))?);
        }
        if let Some(path) = &asked.path {
            source = Some(self.locate(path).map_err(|e| e.about("path"))?);
        }
        if let Some(upload) = &asked.upload {
            source = Some(Given::Upload(upload.clone()));
        }
        let submission = Submission {
            id: asked.job_id.or(key),
            source: source.expect("one of the four is given"),
            name,
            options: asked.options,
            callback: asked.callback_url,
            callback_form: asked.callback_form,
            priority: asked.priority.unwrap_or_default().into(),
            work: Work::Analyze,
            samples: Vec::new(),
        };
        self.submit(caller, submission).await
    }
}

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ListQuery {
    /// Only those in this state.
    pub state: Option<String>,
    /// At most so many, 1 to 500; 50 if not given.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// A page of jobs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Lists jobs, the newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(ListQuery),
    responses((status = 200, body = JobPage), (status = 400, description = "no such state or cursor")))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<JobPage>, ApiError> {
    let wrong = |what: &str| {
        ApiError::new(ErrorKind::Invalid, format!("there is no such {what}")).about(what)
    };
    let state = match query.state.as_deref().filter(|s| !s.is_empty()) {
        Some(name) => Some(JobState::from_name(name).ok_or_else(|| wrong("state"))?),
        None => None,
    };
    let limit = query.limit.unwrap_or(50).clamp(1, 500);
    let before = match &query.cursor {
        Some(text) => Some(cursor(text).ok_or_else(|| wrong("cursor"))?),
        None => None,
    };
    let filter = JobFilter {
        state,
        owner: caller.sees_only(),
        before,
        limit,
    };
    let jobs = app.store.jobs(&filter).await?;
    let full = jobs.len() == limit as usize;
    let next = jobs
        .last()
        .filter(|_| full)
        .map(|job| format!("{}~{}", job.created_ms, job.id));
    Ok(Json(JobPage {
        jobs: jobs.iter().map(JobView::from).collect(),
        next,
    }))
}

/// The job after which a page begins.
fn cursor(text: &str) -> Option<(i64, JobId)> {
    let (created, id) = text.split_once('~')?;
    Some((created.parse().ok()?, JobId::parse(id).ok()?))
}

/// Shows a job.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, body = JobView), (status = 404, description = "no such job")))]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<JobView>, ApiError> {
    Ok(Json(JobView::from(&app.own_job(&caller, &id).await?)))
}

/// Whether everything of the job goes too.
#[derive(Debug, Deserialize, IntoParams)]
pub struct DeleteQuery {
    /// Also remove the recording, the results and the record, and prove it.
    #[serde(default)]
    pub purge: bool,
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Removed {
    /// The job.
    pub id: String,
    /// Rows of the database that are gone.
    pub rows: u64,
    /// Files that are gone.
    pub blobs: u64,
    /// Files that were looked for afterwards and are still there: 0.
    pub left: u64,
}

/// The answer to a cancelled job.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Cancelled {
    /// With `purge`.
    Removed(Removed),
    /// Without.
    Job(Box<JobView>),
}

/// Cancels a job, or with `purge` removes all that is kept of it.
///
/// A job at work stops within a second. A job that has ended stays as it is, unless it is purged.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path), DeleteQuery),
    responses((status = 200, description = "the job, or with `purge` what was removed", body = Cancelled),
        (status = 202, description = "it is being stopped", body = JobView), (status = 400, description = "no such query"),
        (status = 404, description = "no such job"), (status = 409, description = "it is still being stopped; ask again to purge it")))]
pub async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<DeleteQuery>,
) -> Result<Response, ApiError> {
    let job = app.own_job(&caller, &id).await?;
    app.cancel(&job.id).await?;
    if query.purge {
        let ended = app.wait(&job.id, Duration::from_secs(10)).await?;
        if !ended.state.is_terminal() {
            let message = "the job is still being stopped; ask again";
            return Err(ApiError::new(ErrorKind::Conflict, message).retry_after(2));
        }
        return Ok(Json(Cancelled::Removed(app.purge(&ended).await?)).into_response());
    }
    let job = app.own_job(&caller, &id).await?;
    let status = match job.state.is_terminal() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let view = Cancelled::Job(Box::new(JobView::from(&job)));
    Ok((status, Json(view)).into_response())
}

/// Tries a job that failed or was cancelled once more.
#[utoipa::path(post, path = "/v1/jobs/{id}/retry", tag = "jobs", params(("id" = String, Path)),
    responses((status = 202, body = JobView), (status = 404, description = "no such job"), (status = 409, description = "it has not failed")))]
pub async fn retry(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<JobView>), ApiError> {
    let job = app.own_job(&caller, &id).await?;
    let again = app.store.retry(&job.id, app.clock.now_ms()).await?;
    let job = again.ok_or_else(|| {
        ApiError::new(
            ErrorKind::Conflict,
            "only jobs that failed or were cancelled are tried again",
        )
    })?;
    app.work.notify_one();
    app.changed(&job.id);
    Ok((StatusCode::ACCEPTED, Json(JobView::from(&job))))
}

/// Other settings for the stage that runs again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(example = json!({"stage": "speakers", "speakers": 2}))]
pub struct RerunRequest {
    /// The stage: only `speakers` can run again alone.
    #[schema(example = "speakers")]
    pub stage: Option<String>,
    /// How many people speak.
    pub speakers: Option<u32>,
    /// At least so many.
    pub min_speakers: Option<u32>,
    /// At most so many.
    pub max_speakers: Option<u32>,
    /// Whether remembered voices are named.
    pub names: Option<bool>,
}

/// Decides anew who spoke, without hearing the recording again.
#[utoipa::path(post, path = "/v1/jobs/{id}/rerun", tag = "jobs", params(("id" = String, Path)), request_body = RerunRequest,
    responses((status = 202, body = JobView), (status = 400, description = "cannot be understood"), (status = 404, description = "no such job"), (status = 409, description = "it goes on, or has no result")))]
pub async fn rerun(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<JobView>), ApiError> {
    let asked: RerunRequest = json_body(request).await?;
    if asked
        .stage
        .as_deref()
        .is_some_and(|stage| stage != "speakers")
    {
        let message = "only `speakers` can run again alone";
        return Err(ApiError::new(ErrorKind::Invalid, message).about("stage"));
    }
    let job = app.own_job(&caller, &id).await?;
    let mut request: crate::request::Request =
        serde_json::from_str(&job.request).map_err(ApiError::internal)?;
    if request.work == Work::Enroll {
        let message = "this job remembered a voice: there are no speakers to decide on";
        return Err(ApiError::new(ErrorKind::Conflict, message));
    }
    if !request.options.diarize {
        let message = "this job left speakers out: ask for a new one with diarize";
        return Err(ApiError::new(ErrorKind::Conflict, message));
    }
    request.rerun = true;
    // Numbers of speakers belong together: one that is given replaces all three.
    let numbers = [asked.speakers, asked.min_speakers, asked.max_speakers];
    if numbers.iter().any(Option::is_some) {
        let options = &mut request.options;
        [options.speakers, options.min_speakers, options.max_speakers] = numbers;
    }
    request.options.names = asked.names.unwrap_or(request.options.names);
    request.options.validate()?;
    let again = app
        .store
        .rerun(&job.id, request.json(), app.clock.now_ms())
        .await?;
    let job = again.ok_or_else(|| {
        ApiError::new(
            ErrorKind::Conflict,
            "only jobs that have ended with a result run again",
        )
    })?;
    app.work.notify_one();
    app.changed(&job.id);
    Ok((StatusCode::ACCEPTED, Json(JobView::from(&job))))
}
