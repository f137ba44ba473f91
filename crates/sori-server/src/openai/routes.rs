//! The routes of OpenAI's audio API and of its models.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;
use sori_store::Priority;
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::views::{Answer, Transcription, answer};
use super::{Deltas, FieldError, StreamEvent, TranscriptionRequest, Wanted};
use crate::api::asked::Path;
use crate::app::{App, ModelInfo};
use crate::form::recording;
use crate::keys::Caller;
use crate::news::News;
use crate::request::Work;
use crate::submit::{Given, Submission};
use crate::waiting::{OnHangUp, Waiting, too_long};
use crate::{ApiError, ErrorKind, JobTask};

/// The form of a transcription, as OpenAI has it; lists may also be written without brackets. `hotwords`, `diarize`,
/// `speakers`, `min_speakers` and `max_speakers` are additions.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its description is used")]
pub struct TranscriptionForm {
    /// The recording.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
    /// An installed model; any other name gives the best one that is installed.
    model: Option<String>,
    /// The language spoken, as a code of ISO 639-1.
    language: Option<String>,
    /// A text that comes before, for spelling and style.
    prompt: Option<String>,
    /// json, text, srt, verbose_json, vtt or diarized_json.
    response_format: Option<String>,
    /// 0 to 1.
    temperature: Option<f64>,
    /// word, segment or both.
    #[schema(rename = "timestamp_granularities[]")]
    timestamp_granularities: Option<Vec<String>>,
    /// logprobs.
    #[schema(rename = "include[]")]
    include: Option<Vec<String>>,
    /// Names and terms to expect.
    #[schema(rename = "keywords[]")]
    keywords: Option<Vec<String>>,
    /// Whether the text comes as events while it is heard.
    stream: Option<bool>,
    /// Whether it is told who speaks in every format that can.
    diarize: Option<bool>,
    /// Names of people who may speak, at most four.
    #[schema(rename = "known_speaker_names[]")]
    known_speaker_names: Option<Vec<String>>,
    /// A sample of the voice of each, 2 to 10 s as a data URL (`data:audio/wav;base64,…`).
    #[schema(rename = "known_speaker_references[]")]
    known_speaker_references: Option<Vec<String>>,
}

/// Transcribes a recording while the client waits.
///
/// The job is cancelled when the client hangs up. With `stream=true` the answer is server-sent events.
#[utoipa::path(post, path = "/v1/audio/transcriptions", tag = "openai",
    request_body(content = TranscriptionForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "the text in the format that was asked for",
        content((Transcription = "application/json"), (String = "text/plain"), (String = "text/event-stream"))),
        (status = 400, description = "cannot be understood, or the recording cannot be read"), (status = 413, description = "too large"),
        (status = 429, description = "the queue is full"), (status = 504, description = "it takes longer than requests wait")))]
pub async fn transcriptions(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    create(app, caller, request, JobTask::Transcribe).await
}

/// Translates a recording into English while the client waits.
#[utoipa::path(post, path = "/v1/audio/translations", tag = "openai",
    request_body(content = TranscriptionForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "the text in the format that was asked for",
        content((Transcription = "application/json"), (String = "text/plain"), (String = "text/event-stream"))),
        (status = 400, description = "cannot be understood, or the recording cannot be read"), (status = 413, description = "too large"),
        (status = 429, description = "the queue is full"), (status = 504, description = "it takes longer than requests wait")))]
pub async fn translations(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    create(app, caller, request, JobTask::Translate).await
}

async fn create(
    app: App,
    caller: Caller,
    request: Request,
    task: JobTask,
) -> Result<Response, ApiError> {
    app.admit(&caller, None).await?;
    let (form, name, staged) = recording(&app, request).await?;
    let asked = TranscriptionRequest::parse(task, &form.fields)?;
    let mut samples = Vec::new();
    for known in asked.known_speakers {
        let bytes = Ok::<_, Infallible>(Bytes::from(known.sample));
        let staged = app.staging.take(stream::iter([bytes])).await?;
        samples.push((known.name, staged));
    }
    let news = app.news.listen();
    let submission = Submission {
        id: None,
        source: Given::Staged(staged),
        name,
        options: asked.options,
        callback: None,
        callback_form: None,
        priority: Priority::High,
        work: Work::Analyze,
        samples,
    };
    let waiting = app
        .submit_and_wait(&caller, submission, OnHangUp::Cancel)
        .await?;
    if asked.wanted.stream {
        return Ok(live(app, waiting, news, asked.wanted));
    }
    let job = waiting.end().await?;
    let document = app.document(&job).await?;
    let written =
        tokio::task::spawn_blocking(move || answer(&document, &asked.wanted).map(Answer::written));
    let (kind, body) = written
        .await
        .map_err(ApiError::internal)?
        .map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

impl Answer {
    /// The media type and the bytes.
    fn written(self) -> (&'static str, Vec<u8>) {
        let json = match self {
            Self::Text(text) => return ("text/plain; charset=utf-8", text.into_bytes()),
            Self::Json(view) => serde_json::to_vec(&view),
            Self::Verbose(view) => serde_json::to_vec(&view),
            Self::Diarized(view) => serde_json::to_vec(&view),
        };
        (
            "application/json",
            json.expect("views have texts and finite numbers"),
        )
    }
}

impl From<FieldError> for ApiError {
    fn from(error: FieldError) -> Self {
        Self::new(ErrorKind::Invalid, error.to_string()).about(error.param)
    }
}

/// The answer as events, from what is heard to the end.
fn live(app: App, waiting: Waiting, news: Receiver<News>, wanted: Wanted) -> Response {
    let most = Duration::from_secs(app.config.limits.wait_seconds);
    let live = Live {
        app,
        waiting,
        news,
        wanted,
        deltas: Deltas::default(),
        next: 0,
        last: VecDeque::new(),
        ended: false,
        until: Instant::now() + most,
    };
    let events = stream::unfold(live, |mut live| async move {
        let event = live.next().await?;
        Some((Ok::<_, Infallible>(event), live))
    });
    let quiet = KeepAlive::new().interval(Duration::from_secs(15));
    Sse::new(events).keep_alive(quiet).into_response()
}

/// A client that listens to a job.
struct Live {
    app: App,
    waiting: Waiting,
    news: Receiver<News>,
    wanted: Wanted,
    deltas: Deltas,
    /// The segment that comes next; earlier ones come again when a worker was lost.
    next: usize,
    /// Events that are ready.
    last: VecDeque<Event>,
    ended: bool,
    until: Instant,
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.last.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            // Another server may have the job at work: then there are no news, and the store is asked each second.
            match tokio::time::timeout(Duration::from_secs(1), self.news.recv()).await {
                Ok(Ok(News::Changed(id))) if id != *self.waiting.id() => {}
                Ok(Ok(news @ News::Segment { .. })) => self.hear(news),
                _ => self.look().await,
            }
        }
    }

    fn hear(&mut self, news: News) {
        let News::Segment {
            job, index, text, ..
        } = news
        else {
            return;
        };
        if job == *self.waiting.id() && index >= self.next {
            self.next = index + 1;
            let event = self.deltas.heard(&text);
            self.last.extend(event.map(event_of));
        }
    }

    /// Looks whether the job has ended; if so, all that is left to tell is ready.
    async fn look(&mut self) {
        let found = match self.waiting.look().await {
            Ok(None) if Instant::now() < self.until => return,
            Ok(None) => Err(too_long(&self.app)),
            Ok(Some(job)) => self.app.document(&job).await,
            Err(error) => Err(error),
        };
        while let Ok(news) = self.news.try_recv() {
            self.hear(news);
        }
        self.ended = true;
        match found {
            Ok(document) => {
                let events = std::mem::take(&mut self.deltas).finish(&document, &self.wanted);
                self.last.extend(events.into_iter().map(event_of));
            }
            Err(error) => self
                .last
                .push_back(Event::default().data(error.body().to_string())),
        }
    }
}

fn event_of(event: StreamEvent) -> Event {
    Event::default()
        .json_data(event)
        .expect("events have texts and finite numbers")
}

/// A model in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct Model {
    /// The name that requests give.
    pub id: String,
    /// `model`.
    pub object: &'static str,
    /// 0: when it was made is not known.
    pub created: u64,
    /// `sori`.
    pub owned_by: &'static str,
}

/// The models in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelList {
    /// `list`.
    pub object: &'static str,
    /// The models.
    pub data: Vec<Model>,
}

/// Lists the models that transcribe.
#[utoipa::path(get, path = "/v1/models", tag = "openai", responses((status = 200, body = ModelList)))]
pub async fn models(State(app): State<App>, _caller: Caller) -> Json<ModelList> {
    let data = transcribers(&app).map(|found| model(&found.name)).collect();
    Json(ModelList {
        object: "list",
        data,
    })
}

/// Shows a model that transcribes.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "openai", params(("id" = String, Path)),
    responses((status = 200, body = Model), (status = 404, description = "it is not installed")))]
pub async fn show(
    State(app): State<App>,
    _caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Model>, ApiError> {
    let found = transcribers(&app).find(|found| found.name == id);
    let none = || {
        ApiError::new(
            ErrorKind::NotFound,
            format!("the model {id} is not installed"),
        )
        .about("model")
    };
    Ok(Json(model(&found.ok_or_else(none)?.name)))
}

fn transcribers(app: &App) -> impl Iterator<Item = &ModelInfo> {
    app.models.iter().filter(|model| model.kind == "whisper")
}

fn model(name: &str) -> Model {
    Model {
        id: name.to_owned(),
        object: "model",
        created: 0,
        owned_by: "sori",
    }
}
