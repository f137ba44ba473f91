//! Requests that wait for their job, and cancel it when they are given up.

use std::time::Duration;

use sori_store::{Job, JobId};

use crate::app::App;
use crate::keys::Caller;
use crate::submit::Submission;
use crate::{ApiError, ErrorKind};

/// A request that waits for a job. Dropped before the job's end, which is what happens when the client hangs up, it cancels the
/// job, unless that can be asked for again by the client's own id, or has a callback. A server that stops cancels nothing.
pub struct Waiting {
    app: App,
    id: JobId,
    alone: bool,
}

/// What becomes of a job when the client that waits for it hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHangUp {
    /// It is cancelled, unless it has a callback: nobody could ask for it again.
    Cancel,
    /// It goes on: the client named it.
    GoOn,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.alone || self.app.draining.is_cancelled() {
            return;
        }
        let (app, id) = (self.app.clone(), self.id.clone());
        tokio::spawn(async move {
            if let Err(error) = app.cancel(&id).await {
                tracing::error!(job = %id, error = error.message(), "nobody waits for this job, and it goes on");
            }
        });
    }
}

impl Waiting {
    /// The job.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The job once it has ended and has a result, be it of before a rerun; nothing until then.
    ///
    /// # Errors
    /// When the job has failed or was cancelled without a result, in words for whoever asked for it; 503 when the server stops
    /// before it is begun.
    pub async fn look(&mut self) -> Result<Option<Job>, ApiError> {
        let job = self.app.job(self.id.as_str()).await?;
        if self.app.leaves(&job) {
            let message = format!("the server stops; ask for job {} when it is back", job.id);
            return Err(ApiError::new(ErrorKind::Unavailable, message).retry_after(30));
        }
        if !job.state.is_terminal() {
            return Ok(None);
        }
        self.alone = false;
        match job.result {
            Some(_) => Ok(Some(job)),
            None => Err(failure(&job)),
        }
    }

    /// Waits for the end of the job.
    ///
    /// # Errors
    /// As [`Waiting::look`], and when it takes longer than a request may wait.
    pub async fn end(mut self) -> Result<Job, ApiError> {
        let most = Duration::from_secs(self.app.config.limits.wait_seconds);
        self.app.wait(&self.id, most).await?;
        self.look().await?.ok_or_else(|| too_long(&self.app))
    }
}

/// What a request is told that has waited for long enough.
pub fn too_long(app: &App) -> ApiError {
    let message = format!(
        "the job takes longer than requests wait ({} s, limits.wait_seconds); ask for it with /v1/jobs",
        app.config.limits.wait_seconds
    );
    ApiError::new(ErrorKind::Timeout, message)
}

impl App {
    /// Submits a job that the request will wait for.
    ///
    /// # Errors
    /// As [`App::submit`].
    pub async fn submit_and_wait(
        &self,
        caller: &Caller,
        submission: Submission,
        gone: OnHangUp,
    ) -> Result<Waiting, ApiError> {
        let (app, caller) = (self.clone(), caller.clone());
        let alone = submission.callback.is_none() && gone == OnHangUp::Cancel;
        // What the task gives is dropped, and so the job cancelled, where nobody waits for it any more.
        let waiting = tokio::spawn(async move {
            let id = app.submit_here(&caller, submission).await?.job().id.clone();
            Ok(Waiting { app, id, alone })
        });
        waiting.await.map_err(ApiError::internal)?
    }
}

/// Why a job has no result.
pub(crate) fn failure(job: &Job) -> ApiError {
    let Some(error) = &job.error else {
        return ApiError::new(ErrorKind::Conflict, "the job was cancelled");
    };
    let kind = match error.kind.as_str() {
        "input" | "options" => ErrorKind::Invalid,
        "model" => ErrorKind::Unavailable,
        "timeout" => ErrorKind::Timeout,
        _ => ErrorKind::Internal,
    };
    let failure = ApiError::new(kind, error.message.clone());
    match error.kind.as_str() {
        "input" => failure.about("file"),
        _ => failure,
    }
}
