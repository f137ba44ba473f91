//! Multipart forms: short text fields, and files that go to the disk.

use std::time::Duration;

use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header;

use crate::app::App;
use crate::staging::Staged;
use crate::{ApiError, ErrorKind};

/// Fields that a form may have; some clients send one for each word.
const MAX_FIELDS: usize = 300;
/// Longest text field in bytes; a voice as a data URL has some hundred thousand.
const MAX_TEXT: usize = 4 << 20;
/// Longest sum of them.
const MAX_TEXTS: usize = 16 << 20;

/// A form that came in.
#[derive(Debug, Default)]
pub struct Form {
    /// Text fields in the order they came.
    pub fields: Vec<(String, String)>,
    /// Files: the field's name, the file's name, and where it lies.
    pub files: Vec<(String, String, Staged)>,
}

impl Form {
    /// Reads a form; files with a name go to the staging folder: at most so many recordings, and voices that OpenAI's dialect
    /// brings along.
    ///
    /// # Errors
    /// When it is no form, too much of something, or breaks off.
    pub async fn read(
        app: &App,
        mut multipart: Multipart,
        recordings: usize,
    ) -> Result<Self, ApiError> {
        let mut form = Self::default();
        let idle = Duration::from_secs(app.config.limits.idle_seconds);
        let late = |_| ApiError::new(ErrorKind::Invalid, "the form stopped coming; send it again");
        let mut texts = 0;
        loop {
            let field = tokio::time::timeout(idle, multipart.next_field()).await;
            let Some(field) = field.map_err(late)?.map_err(broken)? else {
                return Ok(form);
            };
            if form.fields.len() + form.files.len() >= MAX_FIELDS {
                let message = format!("a form has at most {MAX_FIELDS} fields");
                return Err(ApiError::new(ErrorKind::Invalid, message));
            }
            let name = field.name().unwrap_or_default().to_owned();
            if let Some(file) = field.file_name().map(str::to_owned) {
                let others = form.files.iter().filter(|(name, ..)| !is_reference(name));
                if others.count() >= recordings && !is_reference(&name) {
                    let message = "a form has one recording (20 of a voice); send others in forms of their own";
                    return Err(ApiError::new(ErrorKind::Invalid, message).about(name));
                }
                let staged = app.staging.take(field).await?;
                form.files.push((name, file, staged));
                continue;
            }
            let text = tokio::time::timeout(idle, text(field, MAX_TEXTS - texts)).await;
            let text = text.map_err(late)??;
            texts += text.len();
            form.fields.push((name, text));
        }
    }

    /// The value of a text field; the last one where there are several.
    pub fn text(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Takes out the file of one of these fields.
    pub fn take_file(&mut self, names: &[&str]) -> Option<(String, Staged)> {
        let found = self
            .files
            .iter()
            .position(|(n, ..)| names.contains(&n.as_str()))?;
        let (_, name, staged) = self.files.remove(found);
        Some((name, staged))
    }
}

/// Whether a field has one of the voices of OpenAI's `known_speaker_references`, given as `x`, `x[]` or `x[0]`.
fn is_reference(name: &str) -> bool {
    name.split('[').next() == Some("known_speaker_references")
}

async fn text(
    mut field: axum::extract::multipart::Field<'_>,
    left: usize,
) -> Result<String, ApiError> {
    let name = field.name().unwrap_or_default().to_owned();
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > MAX_TEXT.min(left) {
            let message = "the text of this field is too long; send files with a file name";
            return Err(ApiError::new(ErrorKind::TooLarge, message).about(name));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes)
        .map_err(|_| ApiError::new(ErrorKind::Invalid, "this field is not UTF-8").about(name))
}

fn broken(error: MultipartError) -> ApiError {
    ApiError::new(
        ErrorKind::Invalid,
        format!("the form cannot be read: {error}"),
    )
}

/// Reads the form of a request and takes out its recording.
///
/// # Errors
/// As [`Form::read`], and when there is no such file.
pub async fn recording(app: &App, request: Request) -> Result<(Form, String, Staged), ApiError> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    app.staging.foresee(length)?;
    let multipart = Multipart::from_request(request, app).await;
    let multipart = multipart.map_err(|e| ApiError::new(ErrorKind::Invalid, e.body_text()))?;
    let mut form = Form::read(app, multipart, 1).await?;
    let missing = || {
        ApiError::new(
            ErrorKind::Invalid,
            "give the recording as a file of the form",
        )
        .about("file")
    };
    let (name, staged) = form.take_file(&["file"]).ok_or_else(missing)?;
    Ok((form, name, staged))
}
