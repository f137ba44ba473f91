//! `/v1/jobs/{id}/result`: the document in the shape that is asked for.

use std::ops::Deref;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::Deserialize;
use sori_store::{Blob, Job, StoreErrorKind};
use sori_timeline::Document;
use sori_timeline::export::{ExportOptions, Format};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

use super::asked::{Path, Query};
use super::description::{Bytes, NativeDocument};
use super::pages::RESULT_POLICY;
use crate::app::App;
use crate::attempt::newest_key;
use crate::keys::Caller;
use crate::request::Request;
use crate::work::{DOCUMENT, PAGE};
use crate::{ApiError, ErrorKind};

/// Largest document that is taken into memory to be written in another shape: some hundred hours.
const MAX_DOCUMENT: u64 = 1 << 30;

/// The shape of a result.
#[derive(Debug, Deserialize, IntoParams)]
pub struct ResultQuery {
    /// json, srt, vtt, txt, tsv, csv, rttm, ctm, textgrid, whisperx, html or docx; json if not given.
    pub format: Option<String>,
}

/// Gives the document of a job that is done, in one of twelve formats.
#[utoipa::path(get, path = "/v1/jobs/{id}/result", tag = "jobs", params(("id" = String, Path), ResultQuery),
    responses((status = 200, description = "the document",
        content((NativeDocument = "application/json"), (String = "text/html"), (String = "application/x-subrip"), (String = "text/vtt"),
            (String = "text/csv"), (String = "text/tab-separated-values"), (String = "text/plain"),
            (Bytes = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"))),
        (status = 400, description = "no such format"), (status = 404, description = "no such job"), (status = 409, description = "it is not done")))]
pub async fn result(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<ResultQuery>,
) -> Result<Response, ApiError> {
    let job = app.own_job(&caller, &id).await?;
    let format: Format = query
        .format
        .as_deref()
        .unwrap_or("json")
        .parse()
        .map_err(|e| ApiError::new(ErrorKind::Invalid, format!("{e}")).about("format"))?;
    let kept = match format {
        Format::Json => Some(DOCUMENT),
        Format::Html => Some(PAGE),
        _ => None,
    };
    if let Some(name) = kept {
        let blob = app.newest(&job, name).await?;
        let policy = [(header::CONTENT_SECURITY_POLICY, RESULT_POLICY)];
        let headers = [
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static(media_type(format)),
            ),
            (header::CONTENT_LENGTH, HeaderValue::from(blob.size)),
        ];
        return Ok((policy, headers, Body::from_stream(blob.stream)).into_response());
    }
    let document = app.document(&job).await?;
    let name = serde_json::from_str::<Request>(&job.request)
        .map(|r| r.name)
        .unwrap_or_default();
    let written = tokio::task::spawn_blocking(move || {
        let mut out = Vec::new();
        let options = ExportOptions {
            recording: stem(&name),
            ..Default::default()
        };
        format.write(&document, &options, &mut out).map(|()| out)
    })
    .await
    .map_err(ApiError::internal)?
    .map_err(ApiError::internal)?;
    let kind = [(header::CONTENT_TYPE, media_type(format))];
    Ok((kind, written).into_response())
}

/// The name without its ending.
fn stem(name: &str) -> String {
    let stem = std::path::Path::new(name).file_stem();
    stem.map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Where a part of the newest result is; that of before a rerun counts, whatever becomes of the rerun.
///
/// # Errors
/// 409 saying how the job is, where there is none.
fn key_of(job: &Job, name: &str) -> Result<String, ApiError> {
    if let Some(key) = newest_key(job, name) {
        return Ok(key);
    }
    if job.state.is_terminal() {
        let why = job
            .error
            .as_ref()
            .map_or("it was cancelled", |e| &e.message);
        let message = format!("the job has no result: {why}");
        return Err(ApiError::new(ErrorKind::Conflict, message));
    }
    let message = format!(
        "the job is {}; follow /v1/jobs/{}/events",
        job.state.name(),
        job.id
    );
    Err(ApiError::new(ErrorKind::Conflict, message).retry_after(2))
}

/// The media type of a format.
pub fn media_type(format: Format) -> &'static str {
    match format {
        Format::Json | Format::WhisperX => "application/json",
        Format::Html => "text/html; charset=utf-8",
        Format::Srt => "application/x-subrip; charset=utf-8",
        Format::Vtt => "text/vtt; charset=utf-8",
        Format::Csv => "text/csv; charset=utf-8",
        Format::Tsv => "text/tab-separated-values; charset=utf-8",
        Format::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Format::Txt | Format::Rttm | Format::Ctm | Format::TextGrid => "text/plain; charset=utf-8",
    }
}

impl App {
    /// A part of the newest result of a job, also where a rerun replaces it at this moment.
    ///
    /// # Errors
    /// 409 where there is no result; when it cannot be read.
    pub async fn newest(&self, job: &Job, name: &str) -> Result<Blob, ApiError> {
        let found = self.blobs.get(&key_of(job, name)?).await;
        match found {
            Err(gone) if gone.kind() == StoreErrorKind::NotFound => {
                let now = self.job(job.id.as_str()).await?;
                match now.result == job.result {
                    true => Err(gone.into()),
                    false => Ok(self.blobs.get(&key_of(&now, name)?).await?),
                }
            }
            found => Ok(found?),
        }
    }

    /// All of a blob of at most so many bytes; nothing if it is larger.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn small_blob(&self, mut blob: Blob, most: u64) -> Result<Option<Vec<u8>>, ApiError> {
        if blob.size > most {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(blob.size as usize);
        while let Some(piece) = blob.stream.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(Some(bytes))
    }

    /// The document of a job that is done, once there is a place for it in memory.
    ///
    /// # Errors
    /// 409 when there is none; when it cannot be read.
    pub async fn document(&self, job: &Job) -> Result<Opened, ApiError> {
        let place = Arc::clone(&self.documents).acquire_owned().await;
        let place = place.map_err(ApiError::internal)?;
        let blob = self.newest(job, DOCUMENT).await?;
        let bytes = self.small_blob(blob, MAX_DOCUMENT).await?;
        let bytes = bytes.ok_or_else(|| ApiError::internal("a document of more than 1 GB"))?;
        let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&bytes));
        Ok(Opened {
            document: parsed
                .await
                .map_err(ApiError::internal)?
                .map_err(ApiError::internal)?,
            _place: place,
        })
    }
}

/// A document in memory, and its place there.
pub struct Opened {
    document: Document,
    _place: OwnedSemaphorePermit,
}

impl Deref for Opened {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.document
    }
}
