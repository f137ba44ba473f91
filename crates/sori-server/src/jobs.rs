//! What is done with jobs whichever dialect asks: finding, cancelling, removing them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sori_store::{
    BlobOptions, Blobs, Cancelled, Ending, Job, JobId, JobState, StoreError, StoreErrorKind,
};

use crate::api::jobs::Removed;
use crate::app::App;
use crate::dispatch::{again, for_good};
use crate::fetch::{FetchErrorKind, FetchLimits, FetchOrder, fetch_to};
use crate::keys::Caller;
use crate::metrics::Reason;
use crate::request::{Request, Source, Work};
use crate::staging::Staged;
use crate::submit::{Submission, Wanted};
use crate::uploads::Taken;
use crate::{ApiError, ErrorKind};

/// Raises a flag when it is dropped, so that a download stops with whoever waits for it.
pub(crate) struct RaiseOnDrop(pub(crate) Arc<AtomicBool>);

impl Drop for RaiseOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The folder of a key: each recording has one of its own.
fn folder(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(folder, _)| folder)
}

impl App {
    /// The job, if this caller may see it.
    ///
    /// # Errors
    /// When there is none for this caller; another's job is not told of.
    pub async fn own_job(&self, caller: &Caller, id: &str) -> Result<Job, ApiError> {
        let job = self.job(id).await?;
        match caller.sees(job.owner.as_deref()) {
            true => Ok(job),
            false => Err(ApiError::new(
                ErrorKind::NotFound,
                format!("there is no job {id}"),
            )),
        }
    }

    /// Asks a job to stop; one that has ended stays as it is.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn cancel(&self, id: &JobId) -> Result<(), ApiError> {
        let cancelled = self.store.cancel(id, self.clock.now_ms()).await?;
        if let Some(Cancelled { job, changed: true }) = cancelled {
            tracing::info!(job = %id, "cancel asked");
            // One that waited has ended with this, and no attempt comes that would clear up.
            self.after_end(&job).await;
            self.changed(id);
            self.outbox.notify_one();
        }
        Ok(())
    }

    /// Removes all that is kept of a job that has ended, and looks whether it is gone.
    ///
    /// # Errors
    /// When the store or the disk does not follow; asking again goes on.
    pub async fn purge(&self, job: &Job) -> Result<Removed, ApiError> {
        let results = format!("jobs/{}", job.id);
        let mut blobs = self.blobs.remove_prefix(&results).await?;
        let mut left = self.blobs.list(&results).await?.len();
        if let Some(media) = &job.media {
            blobs += self.remove_media(media).await?;
            left += self.blobs.list(folder(media)).await?.len();
        }
        let work = self.folder(&job.id);
        if work.exists() {
            tokio::fs::remove_dir_all(&work).await?;
        }
        // The row goes last: whatever stops this, the rest can still be found by it.
        let removal = self.store.remove(&job.id).await?;
        tracing::info!(job = %job.id, blobs, rows = removal.rows, "removed");
        Ok(Removed {
            id: job.id.to_string(),
            rows: removal.rows,
            blobs,
            left: left as u64,
        })
    }

    /// Whether the recording of a job is still wanted. That of one that failed or was cancelled is: it can be tried again.
    pub(crate) fn keeps_media(&self, job: &Job) -> bool {
        // What a voice was learned from is not kept.
        let learned = Work::of(job) == Work::Enroll;
        match job.state {
            JobState::Done | JobState::Partial => self.config.storage.keep_media && !learned,
            state => !(learned && state.is_terminal()),
        }
    }

    /// Counts a job that has ended now, however it did, and removes what it needs no more: its folder, and its recording unless
    /// that is kept.
    pub(crate) async fn after_end(&self, job: &Job) {
        if !job.state.is_terminal() {
            return;
        }
        self.metrics.count_end(job, Work::of(job));
        tracing::info!(job = %job.id, state = job.state.name(), "ended");
        match tokio::fs::remove_dir_all(self.folder(&job.id)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(%error, job = %job.id, "its folder is not removed");
            }
            _ => {}
        }
        if !self.keeps_media(job)
            && let Some(media) = &job.media
            && let Err(error) = self.remove_media(media).await
        {
            tracing::error!(%error, job = %job.id, "its recording is not removed");
        }
    }

    /// Takes back the leases that ran out at `now_ms`, and does what their jobs need next.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn reap(&self, now_ms: i64) -> Result<(), StoreError> {
        let lost = self.store.reap(now_ms).await?;
        self.lost(&lost).await
    }

    /// Does what jobs need whose worker was lost: another try, or what an end takes.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn lost(&self, jobs: &[JobId]) -> Result<(), StoreError> {
        for id in jobs {
            tracing::warn!(job = %id, "its worker is lost");
            let reason = "lost_worker".to_owned();
            self.metrics.retries.get_or_create(&Reason { reason }).inc();
            self.changed(id);
            self.work.notify_one();
            self.outbox.notify_one();
            if let Some(job) = self.store.job(id).await? {
                self.after_end(&job).await;
            }
        }
        Ok(())
    }

    /// Removes a recording by its key; returns how many files that were.
    ///
    /// # Errors
    /// When it is still there.
    pub(crate) async fn remove_media(&self, key: &str) -> Result<u64, StoreError> {
        self.blobs.remove_prefix(folder(key)).await
    }

    /// A finished resumable upload for a job: its name, its bytes, and what removes it when they are the job's.
    ///
    /// # Errors
    /// When this caller has no such upload, bytes are missing, or another request has it.
    pub(crate) async fn finished_upload(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(String, Staged, Taken), ApiError> {
        let upload = self
            .uploads
            .find(id, caller.owner(), self.clock.now_ms())
            .await;
        let upload = upload
            .map_err(|e| ApiError::new(ErrorKind::NotFound, e.to_string()).about("upload"))?;
        let path = self.staging.place()?;
        tokio::fs::remove_file(&path).await?;
        let taken = self.uploads.take(&upload, &path).await;
        let taken =
            taken.map_err(|e| ApiError::new(ErrorKind::Conflict, e.to_string()).about("upload"))?;
        let staged = self.staging.adopt(path).await?;
        Ok((upload.file_name().unwrap_or_default(), staged, taken))
    }

    /// The job that an upload became, when the same is asked again after the upload is gone.
    ///
    /// # Errors
    /// 409 when the id was asked for something else; when the store does not answer.
    pub(crate) async fn made_of_upload(
        &self,
        caller: &Caller,
        asked: &Submission,
        wanted: Wanted,
    ) -> Result<Option<Job>, ApiError> {
        let Some(job) = self.store.job(&wanted.id).await? else {
            return Ok(None);
        };
        let before: Request = serde_json::from_str(&job.request).map_err(ApiError::internal)?;
        let mut same = self.request(asked, before.source);
        if asked.name.is_empty() {
            same.name = before.name;
        }
        let uploaded = matches!(same.source, Source::Upload { .. });
        let mine = job.owner.as_deref() == caller.owner();
        let fingerprint = same.fingerprint(wanted.callback.as_deref());
        if !uploaded || !mine || fingerprint != job.fingerprint {
            let message = "the id is taken by another request: choose another";
            return Err(ApiError::new(ErrorKind::Conflict, message).about("job_id"));
        }
        Ok(Some(job))
    }

    /// Fetches an object of a bucket that is open to requests, unless an earlier attempt did.
    pub(crate) async fn fetch_s3(
        &self,
        (bucket, key): (&str, &str),
        path: &Path,
    ) -> Result<(), Ending> {
        if path.exists() {
            return Ok(());
        }
        let place = format!("s3://{bucket}/{key}");
        let failed = |error: StoreError| match error.kind() {
            StoreErrorKind::NotFound => for_good("input", format!("there is no {place}")),
            StoreErrorKind::Invalid => for_good("input", format!("{place}: {error}")),
            _ => again("input", format!("{place}: {error}")),
        };
        let endpoint = &self.config.storage.s3_endpoint;
        let bucket = Blobs::open(&BlobOptions {
            url: format!("s3://{bucket}"),
            endpoint: Some(endpoint.clone()).filter(|e| !e.is_empty()),
            ..Default::default()
        });
        let object = bucket.map_err(failed)?.get(key).await.map_err(failed)?;
        let most = self.config.limits.media_bytes;
        if object.size > most {
            let size = object.size;
            let message = format!("{place} is larger than {most} bytes: it has {size}");
            return Err(for_good("input", message));
        }
        let part = path.with_extension("part");
        object.save(&part).await.map_err(failed)?;
        let kept = tokio::fs::rename(&part, path).await;
        kept.map_err(|e| again("internal", e.to_string()))
    }

    /// Fetches a recording from a URL, unless an earlier attempt did.
    pub(crate) async fn fetch(&self, url: &str, path: &Path) -> Result<(), Ending> {
        if path.exists() {
            return Ok(());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let _raise = RaiseOnDrop(Arc::clone(&stop));
        let (guard, url, path) = (self.guard.clone(), url.to_owned(), path.to_owned());
        let limits = FetchLimits {
            max_bytes: self.config.limits.media_bytes,
            ..Default::default()
        };
        let fetched = tokio::task::spawn_blocking(move || {
            let order = FetchOrder {
                url: &url,
                to: &path,
                limits,
            };
            fetch_to(&guard, &order, &stop, &mut |_| {})
        })
        .await;
        match fetched {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(match error.kind() {
                FetchErrorKind::Network => again("input", error.to_string()),
                FetchErrorKind::Disk => again("internal", error.to_string()),
                _ => for_good("input", error.to_string()),
            }),
            Err(error) => Err(again("internal", error.to_string())),
        }
    }
}
