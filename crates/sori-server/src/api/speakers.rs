//! `/v1/speakers`: voices that are remembered and named in later recordings. A voice is biometric: a key sees, uses and removes
//! only the voices that were enrolled with it, and no answer holds one.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sori_engine::Profile;
use sori_store::{JobState, Priority, ProfileRow};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Path, Query};
use super::view::{JobView, time};
use crate::app::App;
use crate::body::{header_text, json_body};
use crate::form::Form;
use crate::keys::{Caller, Scope};
use crate::request::Work;
use crate::speakers::{name, none, owner, profile};
use crate::submit::{Given, Submission};
use crate::waiting::failure;
use crate::{ApiError, ErrorKind, JobOptions};

/// Most recordings of one voice in a request.
const MAX_RECORDINGS: usize = 20;

/// A voice that is remembered.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpeakerView {
    /// The person's name, as documents show it.
    #[schema(example = "김민아")]
    pub name: String,
    /// The id of the key that it was enrolled with; none where no keys are asked for.
    pub owner: Option<String>,
    /// The network that heard it; another one does not know it.
    #[schema(example = "resnet")]
    pub embedder: String,
    /// Seconds of speech that it was learned from.
    pub seconds: f64,
    /// Recordings that it was learned from.
    pub recordings: usize,
    /// When it was enrolled (RFC 3339).
    pub created_at: String,
}

impl SpeakerView {
    fn new(row: ProfileRow) -> Result<Self, ApiError> {
        let Profile { seconds, clips, .. } = profile(&row)?;
        Ok(Self {
            name: row.name,
            owner: row.owner,
            embedder: row.embedder,
            seconds: (seconds * 10.0).round() / 10.0,
            recordings: clips,
            created_at: time(row.created_ms),
        })
    }
}

/// Voices that are remembered.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpeakerList {
    /// The voices, by name.
    pub speakers: Vec<SpeakerView>,
}

/// Whose voices.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OwnerQuery {
    /// The id of the key that they were enrolled with; only with the scope `admin`. Without it, one's own.
    pub owner: Option<String>,
}

/// A form with a name and recordings.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its description is used")]
pub struct SpeakerForm {
    /// The name that documents will show.
    name: String,
    /// Recordings in which this person alone speaks, 8 s of clear speech or more in all; the field may come up to 20 times.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    file: String,
    /// Whether a voice of that name is replaced.
    replace: Option<bool>,
}

/// Lists the voices that are remembered; with the scope `admin`, everybody's.
#[utoipa::path(get, path = "/v1/speakers", tag = "speakers", params(OwnerQuery), responses((status = 200, body = SpeakerList)))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<OwnerQuery>,
) -> Result<Json<SpeakerList>, ApiError> {
    let rows = match caller.may(Scope::Admin) && query.owner.is_none() {
        true => app.store.all_profiles().await?,
        false => {
            let owner = owner(&caller, query.owner.as_deref())?;
            app.store.profiles(owner.as_deref()).await?
        }
    };
    // One damaged row must not cost the others their names.
    let speakers = rows
        .into_iter()
        .filter_map(|row| SpeakerView::new(row).ok());
    Ok(Json(SpeakerList {
        speakers: speakers.collect(),
    }))
}

/// Remembers a voice.
///
/// The recordings are removed when the voice is learned, and also when it is not.
#[utoipa::path(post, path = "/v1/speakers", tag = "speakers",
    request_body(content = SpeakerForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "the voice is remembered", body = SpeakerView),
        (status = 202, description = "it takes longer than requests wait; the job goes on", body = JobView),
        (status = 409, description = "the name is taken"),
        (status = 422, description = "too little speech, several voices, noise, or sound that is cut off: what to do about it"),
        (status = 507, description = "the disk is full")))]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    request: Request,
) -> Result<Response, ApiError> {
    app.admit(&caller, None).await?;
    let length = header_text(&request, "content-length").and_then(|l| l.parse().ok());
    app.staging.foresee(length)?;
    let multipart = Multipart::from_request(request, &app).await;
    let multipart = multipart.map_err(|e| ApiError::new(ErrorKind::Invalid, e.body_text()))?;
    let form = Form::read(&app, multipart, MAX_RECORDINGS + 1).await?;
    let name = name(form.text("name").unwrap_or_default())?;
    let owner = caller.owner().map(str::to_owned);
    let replace = form.text("replace") == Some("true");
    if !replace && app.store.profile(owner.as_deref(), &name).await?.is_some() {
        let message = "a voice of that name is remembered already: add replace=true, or enroll under another name and merge it";
        return Err(ApiError::new(ErrorKind::Conflict, message).about("name"));
    }
    let submission = submission(name.clone(), form)?;
    let submitted = app.submit(&caller, submission).await?;
    let most = Duration::from_secs(app.config.limits.wait_seconds);
    let job = app.wait(&submitted.job().id, most).await?;
    match job.state {
        JobState::Done | JobState::Partial => {
            let row = app.speaker(owner.as_deref(), &name).await?;
            Ok((StatusCode::CREATED, Json(SpeakerView::new(row)?)).into_response())
        }
        JobState::Failed | JobState::Cancelled => {
            let error = failure(&job);
            Err(match error.kind() {
                ErrorKind::Invalid => {
                    ApiError::new(ErrorKind::Unprocessable, error.message()).about("file")
                }
                _ => error,
            })
        }
        _ => {
            let place = [(header::LOCATION, format!("/v1/jobs/{}", job.id))];
            Ok((StatusCode::ACCEPTED, place, Json(JobView::from(&job))).into_response())
        }
    }
}

/// The job that learns a voice from the recordings of a form.
fn submission(name: String, form: Form) -> Result<Submission, ApiError> {
    let count = form.files.len();
    let mut recordings = form.files.into_iter().map(|(_, _, staged)| staged);
    let first = recordings.next().filter(|_| count <= MAX_RECORDINGS);
    let Some(first) = first else {
        let message = format!("give 1 to {MAX_RECORDINGS} recordings as files of the form");
        return Err(ApiError::new(ErrorKind::Invalid, message).about("file"));
    };
    Ok(Submission {
        id: None,
        source: Given::Staged(first),
        samples: recordings.map(|staged| (name.clone(), staged)).collect(),
        name,
        options: JobOptions::default(),
        callback: None,
        callback_form: None,
        priority: Priority::High,
        work: Work::Enroll,
    })
}

/// Another name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameRequest {
    /// The new name.
    pub name: String,
}

/// Gives a voice another name.
#[utoipa::path(patch, path = "/v1/speakers/{name}", tag = "speakers", params(("name" = String, Path), OwnerQuery),
    request_body = RenameRequest,
    responses((status = 200, body = SpeakerView), (status = 404, description = "no such voice"),
        (status = 409, description = "the new name is taken: merge them")))]
pub async fn rename(
    State(app): State<App>,
    caller: Caller,
    Path(old): Path<String>,
    Query(query): Query<OwnerQuery>,
    request: Request,
) -> Result<Json<SpeakerView>, ApiError> {
    let owner = owner(&caller, query.owner.as_deref())?;
    let asked: RenameRequest = json_body(request).await?;
    let mut row = app.speaker(owner.as_deref(), &old).await?;
    let old = std::mem::replace(&mut row.name, name(&asked.name)?);
    let mut profile = profile(&row)?;
    profile.name.clone_from(&row.name);
    row.data = serde_json::to_string(&profile).map_err(ApiError::internal)?;
    match app.store.rename_profile(&old, &row).await {
        Ok(true) => Ok(Json(SpeakerView::new(row)?)),
        Ok(false) => Err(none()),
        Err(error) if error.kind() == sori_store::StoreErrorKind::Conflict => {
            let message = "a voice of that name is remembered already: merge them";
            Err(ApiError::new(ErrorKind::Conflict, message).about("name"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The voice that another one goes into.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeRequest {
    /// Its name; it keeps it.
    pub into: String,
}

/// Joins two voices of one person.
#[utoipa::path(post, path = "/v1/speakers/{name}/merge", tag = "speakers", params(("name" = String, Path), OwnerQuery),
    request_body = MergeRequest,
    responses((status = 200, description = "the voice of both", body = SpeakerView), (status = 404, description = "no such voice"),
        (status = 409, description = "they are one already, or other networks heard them")))]
pub async fn merge(
    State(app): State<App>,
    caller: Caller,
    Path(gone): Path<String>,
    Query(query): Query<OwnerQuery>,
    request: Request,
) -> Result<Json<SpeakerView>, ApiError> {
    let owner = owner(&caller, query.owner.as_deref())?;
    let asked: MergeRequest = json_body(request).await?;
    let gone = app.speaker(owner.as_deref(), &gone).await?;
    let into = app.speaker(owner.as_deref(), &asked.into).await;
    let mut into = into.map_err(|e| e.about("into"))?;
    let conflict = |message: String| ApiError::new(ErrorKind::Conflict, message).about("into");
    if gone.name == into.name {
        return Err(conflict("the two are one voice already".to_owned()));
    }
    let merged = profile(&into)?.merge(&profile(&gone)?);
    let merged = merged.map_err(|e| conflict(e.to_string()))?;
    into.data = serde_json::to_string(&merged).map_err(ApiError::internal)?;
    match app.store.merge_profile(&gone.name, &into).await? {
        true => Ok(Json(SpeakerView::new(into)?)),
        false => Err(none()),
    }
}

/// A voice that is forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub struct Forgotten {
    /// Its name.
    pub name: String,
    /// Rows of it that were looked for afterwards and are still there: 0.
    pub left: u64,
}

/// Forgets a voice, and looks whether it is gone.
#[utoipa::path(delete, path = "/v1/speakers/{name}", tag = "speakers", params(("name" = String, Path), OwnerQuery),
    responses((status = 200, description = "it is gone", body = Forgotten), (status = 404, description = "no such voice")))]
pub async fn remove(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<OwnerQuery>,
) -> Result<Json<Forgotten>, ApiError> {
    let owner = owner(&caller, query.owner.as_deref())?;
    let row = app.speaker(owner.as_deref(), &name).await?;
    let owner = row.owner.as_deref();
    if !app.store.remove_profile(owner, &row.name).await? {
        return Err(none());
    }
    let left = app.store.profile(owner, &row.name).await?.is_some();
    tracing::info!(owner, "a voice is forgotten");
    Ok(Json(Forgotten {
        name: row.name,
        left: left.into(),
    }))
}
