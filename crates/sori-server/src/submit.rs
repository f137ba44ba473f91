//! The one way in: every dialect's request for a job comes through here.

use std::path::PathBuf;

use sori_store::{Accepted, Admission, Job, JobId, NewJob, Priority};

use crate::app::{App, lock};
use crate::config::CallbackForm;
use crate::keys::Caller;
use crate::media_roots::{MediaError, MediaErrorKind, MediaPlace};
use crate::netguard::{Denied, Purpose, Rule};
use crate::request::{Request, Sample, Source, Work, sample_key};
use crate::staging::Staged;
use crate::{ApiError, ErrorKind, JobOptions};

/// A request for a job.
#[derive(Debug)]
pub struct Submission {
    /// The client's own id; one is made if there is none.
    pub id: Option<String>,
    /// The recording.
    pub source: Given,
    /// Its name for people; empty takes it from the source.
    pub name: String,
    /// How it is analyzed.
    pub options: JobOptions,
    /// Whom to tell.
    pub callback: Option<String>,
    /// In which shape.
    pub callback_form: Option<CallbackForm>,
    /// Before or after others.
    pub priority: Priority,
    /// What is to be done.
    pub work: Work,
    /// Further recordings and whose voice is in each, as [`Request::samples`] has them; only with a staged recording.
    pub samples: Vec<(String, Staged)>,
}

/// A recording as it was given.
#[derive(Debug)]
pub enum Given {
    /// It lies in the staging folder.
    Staged(Staged),
    /// It lies elsewhere.
    Elsewhere(Source),
    /// It is a resumable upload of this id, taken when all else is right.
    Upload(String),
}

/// What a submission asks for besides its recording, checked.
pub(crate) struct Wanted {
    /// The client's own id, or a fresh one.
    pub(crate) id: JobId,
    /// Whom to tell.
    pub(crate) callback: Option<String>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Submitted {
    /// The job is new.
    New(Job),
    /// The same was asked before.
    Known(Job),
}

impl Submitted {
    /// The job.
    pub fn job(&self) -> &Job {
        match self {
            Self::New(job) | Self::Known(job) => job,
        }
    }
}

impl App {
    /// A location that a client named: an `http(s)` or `s3` URL, a `file` URL or a path of this machine.
    ///
    /// # Errors
    /// When it is not allowed; the message names the setting that would allow it.
    pub fn locate(&self, location: &str) -> Result<Given, ApiError> {
        let source = match MediaPlace::parse(location)? {
            MediaPlace::Bucket(place) => {
                self.buckets.check(&place)?;
                Source::S3 {
                    bucket: place.bucket,
                    key: place.key,
                }
            }
            MediaPlace::Local(path) => Source::File(self.roots.open(&path)?.path),
            MediaPlace::Web(url) => {
                let checked = self.guard.check_url(&url, Purpose::Media)?;
                Source::Url(checked.as_str().to_owned())
            }
        };
        Ok(Given::Elsewhere(source))
    }

    /// Accepts a job: when this returns it is on the disk and will reach its end. A client that hangs up meanwhile stops
    /// nothing half-way.
    ///
    /// # Errors
    /// When something asked for is not allowed or out of range, the same id was asked for something else (409), or the
    /// queue is full (429).
    pub async fn submit(
        &self,
        caller: &Caller,
        submission: Submission,
    ) -> Result<Submitted, ApiError> {
        let (app, caller) = (self.clone(), caller.clone());
        let submitted = tokio::spawn(async move { app.submit_here(&caller, submission).await });
        submitted.await.map_err(ApiError::internal)?
    }

    /// [`App::submit`] by whoever lets it come to its end.
    pub(crate) async fn submit_here(
        &self,
        caller: &Caller,
        mut submission: Submission,
    ) -> Result<Submitted, ApiError> {
        let Given::Upload(upload) = &submission.source else {
            return self.submit_at_hand(caller, submission).await;
        };
        let wanted = self.wanted(&submission)?;
        let (name, staged, taken) = match self.finished_upload(caller, upload).await {
            Ok(upload) => upload,
            Err(gone) if gone.kind() == ErrorKind::NotFound && submission.id.is_some() => {
                let known = self.made_of_upload(caller, &submission, wanted).await?;
                return known.map(Submitted::Known).ok_or(gone);
            }
            Err(error) => return Err(error),
        };
        if submission.name.is_empty() {
            submission.name = name;
        }
        submission.source = Given::Staged(staged);
        let submitted = self.submit_at_hand(caller, submission).await?;
        // Until here the upload is there for another try. One that stays is removed when its time is over.
        if let Err(error) = taken.remove().await {
            tracing::error!(%error, "an upload is not removed");
        }
        Ok(submitted)
    }

    async fn submit_at_hand(
        &self,
        caller: &Caller,
        submission: Submission,
    ) -> Result<Submitted, ApiError> {
        let wanted = self.wanted(&submission)?;
        if let Some(key) = caller.owner() {
            lock(&self.limits).audio(key, self.clock.now_ms())?;
        }
        let (source, staged) = match &submission.source {
            Given::Elsewhere(source) => (source.clone(), None),
            Given::Staged(staged) => {
                let sha256 = staged.sha256.clone();
                (Source::Upload { sha256 }, Some(staged))
            }
            Given::Upload(_) => return Err(ApiError::internal("an upload is staged first")),
        };
        self.resolve(&source, wanted.callback.as_deref()).await?;
        let request = self.request(&submission, source);
        let samples = &submission.samples;
        let mut new = NewJob {
            id: wanted.id,
            owner: caller.owner().map(str::to_owned),
            priority: submission.priority,
            fingerprint: request.fingerprint(wanted.callback.as_deref()),
            request: request.json(),
            media: None,
            bytes: 0,
            callback: wanted.callback,
        };
        if let Some(staged) = staged {
            // The recording is safe before the job is accepted; its key is its own, so that no other job's is touched.
            let key = format!("media/{}/recording", uuid::Uuid::now_v7());
            new.bytes = staged.bytes + samples.iter().map(|(_, s)| s.bytes).sum::<u64>();
            let kept = self.put_media(&key, staged, samples).await;
            if kept.is_err() {
                self.remove_media(&key).await?;
            }
            kept?;
            new.media = Some(key);
        }
        let media = new.media.clone();
        let accepted = self.accept(new).await;
        if let (Some(key), Ok(Submitted::Known(_)) | Err(_)) = (media, &accepted) {
            self.remove_media(&key).await?;
        }
        accepted
    }

    /// Looks where the names in a request's URLs lead, so that it is refused when it comes and not when the job begins; they
    /// are looked at again then.
    async fn resolve(&self, source: &Source, callback: Option<&str>) -> Result<(), ApiError> {
        let media = match source {
            Source::Url(url) => Some((url.as_str(), Purpose::Media, "url")),
            _ => None,
        };
        let callback = callback.map(|url| (url, Purpose::Callback, "callback_url"));
        for (url, purpose, field) in media.into_iter().chain(callback) {
            let (guard, checked) = (self.guard.clone(), self.guard.check_url(url, purpose)?);
            let looked =
                tokio::task::spawn_blocking(move || guard.check_addresses(&checked, purpose));
            let looked = looked.await.map_err(ApiError::internal)?;
            looked.map_err(|denied| ApiError::from(denied).about(field))?;
        }
        Ok(())
    }

    /// Writes a recording and its samples to where they are kept.
    async fn put_media(
        &self,
        key: &str,
        recording: &Staged,
        samples: &[(String, Staged)],
    ) -> Result<(), sori_store::StoreError> {
        self.blobs.put_file(key, &recording.path).await?;
        for (index, (_, sample)) in samples.iter().enumerate() {
            let key = sample_key(key, index);
            self.blobs.put_file(&key, &sample.path).await?;
        }
        Ok(())
    }

    /// What is asked for, checked as far as it can be without the recording.
    ///
    /// # Errors
    /// When an option, the id or the callback is not allowed or out of range.
    pub(crate) fn wanted(&self, submission: &Submission) -> Result<Wanted, ApiError> {
        submission.options.validate()?;
        let id = match &submission.id {
            Some(id) => JobId::parse(id)
                .map_err(|e| ApiError::new(ErrorKind::Invalid, e.to_string()).about("job_id"))?,
            None => JobId::fresh(),
        };
        let callback = match &submission.callback {
            Some(url) => {
                let checked = self.guard.check_url(url, Purpose::Callback);
                let checked = checked.map_err(|e| ApiError::from(e).about("callback_url"))?;
                Some(checked.as_str().to_owned())
            }
            None => None,
        };
        Ok(Wanted { id, callback })
    }

    /// The request as it is kept.
    pub(crate) fn request(&self, submission: &Submission, source: Source) -> Request {
        let name = match submission.name.is_empty() {
            true => source.name(),
            false => submission.name.clone(),
        };
        let form = submission.callback_form;
        Request {
            source,
            name: name.chars().take(200).collect(),
            options: submission.options.clone(),
            callback_form: form.unwrap_or(self.config.callbacks.form),
            rerun: false,
            work: submission.work,
            samples: submission.samples.iter().map(sample).collect(),
        }
    }

    async fn accept(&self, new: NewJob) -> Result<Submitted, ApiError> {
        let limits = &self.config.limits;
        let unlimited = |n: u64| if n == 0 { u64::MAX } else { n };
        let admission = Admission {
            max_queued: limits.queued_jobs,
            max_bytes: limits.queued_bytes,
            max_per_owner: unlimited(self.config.access.jobs_per_key),
        };
        let accepted = self
            .store
            .accept(new, &admission, self.clock.now_ms())
            .await;
        Ok(match accepted {
            Ok(Accepted::New(job)) => {
                tracing::info!(job = %job.id, bytes = job.bytes, "accepted");
                self.work.notify_one();
                self.changed(&job.id);
                Submitted::New(job)
            }
            Ok(Accepted::Known(job)) => Submitted::Known(job),
            Err(error) => {
                let queued = self.recent_load().await?.queued();
                let error = ApiError::from(error);
                return Err(match error.kind() {
                    ErrorKind::TooMany => error.retry_after(self.patience(queued)),
                    _ => error,
                });
            }
        })
    }
}

/// A sample as the request has it.
fn sample((name, staged): &(String, Staged)) -> Sample {
    Sample {
        name: name.clone(),
        sha256: staged.sha256.clone(),
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let kind = match denied.rule {
            Rule::Form | Rule::Length | Rule::Scheme => ErrorKind::Invalid,
            _ => ErrorKind::Forbidden,
        };
        Self::new(kind, denied.message)
    }
}

impl From<MediaError> for ApiError {
    fn from(error: MediaError) -> Self {
        let kind = match error.kind() {
            MediaErrorKind::Form => ErrorKind::Invalid,
            MediaErrorKind::Unreadable => ErrorKind::Unprocessable,
            _ => ErrorKind::Forbidden,
        };
        Self::new(kind, error.to_string())
    }
}

impl Source {
    /// A name for people: the last part of where it lies.
    fn name(&self) -> String {
        let last = |text: &str| {
            let path = text.split(['?', '#']).next().unwrap_or_default();
            let last = path.trim_end_matches('/').rsplit('/').next();
            last.unwrap_or_default().to_owned()
        };
        match self {
            Self::Upload { .. } => "upload".to_owned(),
            Self::Url(url) => last(url),
            Self::File(path) => PathBuf::from(path)
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            Self::S3 { key, .. } => last(key),
        }
    }
}
