//! What people do to jobs: cancel, retry, rerun, remove.

use crate::change::{Note, change};
use crate::database::{Durability, binds, get};
use crate::error::{StoreError, StoreErrorKind};
use crate::id::JobId;
use crate::job::{Job, JobRow, JobState, find, page};
use crate::lease::moved;
use crate::store::Store;

/// What became of a wish to cancel.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancelled {
    /// The job as it is now.
    pub job: Job,
    /// Whether this wish changed it: it was neither asked before nor at its end.
    pub changed: bool,
}

/// What was removed of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Rows of the job, its events, its deliveries and their log; 0 when there was no such job.
    pub rows: u64,
}

impl Store {
    /// Cancels a job and returns how it is afterwards: one that waits is cancelled at once, a running one is asked to stop
    /// ([`Renewal::CancelAsked`](crate::Renewal)), an ended one stays as it is. None when there is no such job.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn cancel(&self, id: &JobId, now_ms: i64) -> Result<Option<Cancelled>, StoreError> {
        let cancelled = || async {
            let mut tx = self.database.write(Durability::Full).await?;
            let Some(before) = find(&mut tx, id).await? else {
                return Ok(None);
            };
            let state = before.job.state;
            if state.is_terminal() || before.job.cancel_asked {
                return Ok(Some(Cancelled {
                    job: before.job,
                    changed: false,
                }));
            }
            let (after, kind) = if state == JobState::Running {
                let mut after = before.clone();
                after.job.cancel_asked = true;
                (after, "cancel_asked")
            } else {
                let after = moved(&before, JobState::Cancelled, now_ms);
                (after, JobState::Cancelled.name())
            };
            let note = Note {
                kind,
                message: None,
            };
            change(&mut tx, &before, &after, note, now_ms).await?;
            tx.commit().await?;
            Ok(Some(Cancelled {
                job: after.job,
                changed: true,
            }))
        };
        self.database.retrying(cancelled).await
    }

    /// Queues a failed or cancelled job again, with nothing counted against it, and returns it. None when there is no such job.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] when it is in another state.
    pub async fn retry(&self, id: &JobId, now_ms: i64) -> Result<Option<Job>, StoreError> {
        let may = |job: &Job| match job.state {
            JobState::Failed | JobState::Cancelled => Ok(()),
            _ => Err("it must have failed or be cancelled"),
        };
        let again = |_: &mut JobRow| ();
        self.database
            .retrying(|| self.queue_again(id, may, again, now_ms))
            .await
    }

    /// Queues a job that has ended and has a result again with another request, from 0 percent, and returns it. None when there
    /// is no such job. The fingerprint stays that of the request it was accepted with.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] when it goes on or has no result.
    pub async fn rerun(
        &self,
        id: &JobId,
        request: String,
        now_ms: i64,
    ) -> Result<Option<Job>, StoreError> {
        let may = |job: &Job| match job.result {
            Some(_) if job.state.is_terminal() => Ok(()),
            Some(_) => Err("wait for its end"),
            None => Err("it has no result"),
        };
        let again = |row: &mut JobRow| {
            row.job.request.clone_from(&request);
            row.job.progress = 0;
        };
        self.database
            .retrying(|| self.queue_again(id, may, again, now_ms))
            .await
    }

    async fn queue_again(
        &self,
        id: &JobId,
        may: impl Fn(&Job) -> Result<(), &'static str>,
        also: impl Fn(&mut JobRow),
        now_ms: i64,
    ) -> Result<Option<Job>, StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        let Some(before) = find(&mut tx, id).await? else {
            return Ok(None);
        };
        may(&before.job).map_err(|remedy| state_conflict(&before.job, remedy))?;
        let mut after = moved(&before, JobState::Queued, now_ms);
        after.job.failures = 0;
        after.job.losses = 0;
        after.job.error = None;
        after.job.stage = None;
        after.job.due_ms = now_ms;
        also(&mut after);
        let note = Note {
            kind: after.job.state.name(),
            message: None,
        };
        change(&mut tx, &before, &after, note, now_ms).await?;
        tx.commit().await?;
        Ok(Some(after.job))
    }

    /// Removes an ended job with its events, deliveries and their log, all or nothing. Its blobs are removed by
    /// [`Blobs::remove_prefix`](crate::Blobs::remove_prefix), best before, so that nothing is left without a name.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] when it has not ended.
    pub async fn remove(&self, id: &JobId) -> Result<Removal, StoreError> {
        let removed = || async {
            let mut tx = self.database.write(Durability::Full).await?;
            let Some(before) = find(&mut tx, id).await? else {
                return Ok(Removal::default());
            };
            if !before.job.state.is_terminal() {
                return Err(state_conflict(&before.job, "cancel it first"));
            }
            let mut rows = 0;
            for sql in [
                "DELETE FROM sori_delivery_attempts WHERE job = ?",
                "DELETE FROM sori_deliveries WHERE job = ?",
                "DELETE FROM sori_events WHERE job = ?",
            ] {
                rows += tx.run(sql, binds![id.as_str()]).await?;
            }
            let sql = "DELETE FROM sori_jobs WHERE id = ? AND seq = ?";
            let gone = tx.run(sql, binds![id.as_str(), before.seq]).await?;
            if gone == 0 {
                return Err(StoreError::new(
                    StoreErrorKind::Busy,
                    "it was changed meanwhile",
                ));
            }
            tx.commit().await?;
            Ok(Removal { rows: rows + gone })
        };
        self.database.retrying(removed).await
    }

    /// Returns jobs that ended at least `keep_ms` before `now_ms`, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn expired(
        &self,
        now_ms: i64,
        keep_ms: i64,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        let mut session = self.database.read().await?;
        let values = binds![now_ms.saturating_sub(keep_ms), page(limit)];
        let rows = session.rows(EXPIRED, values).await?;
        rows.iter()
            .map(|row| JobId::parse(&get::<String>(row, "id")?))
            .collect()
    }
}

pub(crate) const EXPIRED: &str =
    "SELECT id FROM sori_jobs WHERE finished_ms <= ? ORDER BY finished_ms LIMIT ?";

fn state_conflict(job: &Job, remedy: &str) -> StoreError {
    let message = format!("job {} is {}: {remedy}", job.id, job.state.name());
    StoreError::new(StoreErrorKind::Conflict, message)
}
