//! A job as clients see it.

use serde::Serialize;
use sori_store::Job;
use utoipa::ToSchema;

use crate::JobOptions;
use crate::request::{Request, Source, Work};

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobView {
    /// Its id: the client's own, or one that was made.
    #[schema(example = "0199f3c0-7a7e-7d7e-9d6e-0d5c0a6a1b2c")]
    pub id: String,
    /// What is to be done: analyze or enroll.
    pub work: Work,
    /// queued, running, retrying, done, partial, failed or cancelled.
    #[schema(example = "running")]
    pub state: String,
    /// What is being done, as documents name stages.
    pub stage: Option<String>,
    /// How far it is, 0 to 100; it never goes back.
    #[schema(maximum = 100)]
    pub progress: u8,
    /// low, normal or high.
    pub priority: String,
    /// Name of the recording.
    pub name: String,
    /// Where the recording comes from: upload, url, file or s3.
    pub source: String,
    /// How it is analyzed.
    pub options: Option<JobOptions>,
    /// Length of the recording in seconds, once that is known.
    pub duration: Option<f64>,
    /// Size of the upload in bytes.
    pub bytes: u64,
    /// Attempts that were begun.
    pub attempts: i64,
    /// Why it failed, or what is missing.
    pub error: Option<ErrorView>,
    /// When it was accepted (RFC 3339).
    pub created_at: String,
    /// When its last attempt began.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// Where its result is, once it is done.
    pub result_url: Option<String>,
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorView {
    /// input, options, model, internal, timeout, worker or stage.
    pub kind: String,
    /// What happened and what to do.
    pub message: String,
}

impl From<&Job> for JobView {
    fn from(job: &Job) -> Self {
        let request = serde_json::from_str::<Request>(&job.request).ok();
        let source = request.as_ref().map_or("", |request| match request.source {
            Source::Upload { .. } => "upload",
            Source::Url(_) => "url",
            Source::File(_) => "file",
            Source::S3 { .. } => "s3",
        });
        let work = request.as_ref().map(|r| r.work).unwrap_or_default();
        let result = job.result.filter(|_| work == Work::Analyze);
        Self {
            id: job.id.to_string(),
            work,
            state: job.state.name().to_owned(),
            stage: job.stage.clone(),
            progress: job.progress,
            priority: job.priority.name().to_owned(),
            name: request.as_ref().map(|r| r.name.clone()).unwrap_or_default(),
            source: source.to_owned(),
            options: request.map(|r| r.options),
            duration: job.duration_seconds,
            bytes: job.bytes,
            attempts: job.attempt,
            error: job.error.as_ref().map(|e| ErrorView {
                kind: e.kind.clone(),
                message: e.message.clone(),
            }),
            created_at: time(job.created_ms),
            started_at: job.started_ms.map(time),
            finished_at: job.finished_ms.map(time),
            result_url: result.map(|_| format!("/v1/jobs/{}/result", job.id)),
        }
    }
}

/// Milliseconds since 1970 as RFC 3339.
pub fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| String::new(), |t| t.to_string())
}
