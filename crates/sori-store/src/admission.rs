//! The way in of jobs.

use crate::change::{Note, write_event};
use crate::database::{Durability, Tx, binds, get};
use crate::error::{Limit, StoreError, StoreErrorKind};
use crate::id::JobId;
use crate::job::{Job, JobState, Phase, Priority, find};
use crate::store::Store;

/// A job to be accepted.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its name; sent again, it is the same job.
    pub id: JobId,
    /// The id of the API key that it belongs to.
    pub owner: Option<String>,
    /// Its class.
    pub priority: Priority,
    /// What is to be done, as JSON; opaque here.
    pub request: String,
    /// SHA-256 of the request in hex: the same id with another one is a conflict.
    pub fingerprint: String,
    /// The key of the blob with its media.
    pub media: Option<String>,
    /// Bytes of its media.
    pub bytes: u64,
    /// The URL to be told when it ends.
    pub callback: Option<String>,
}

/// The most that may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Most jobs that wait.
    pub max_queued: u64,
    /// Most bytes of media of all unfinished jobs.
    pub max_bytes: u64,
    /// Most unfinished jobs of one owner (those without an owner are one).
    pub max_per_owner: u64,
}

/// What became of a job that was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// It is on disk and waits.
    New(Job),
    /// It had been accepted before; this is how it stands now.
    Known(Job),
}

impl Accepted {
    /// The job, new or known.
    pub fn job(&self) -> &Job {
        match self {
            Self::New(job) | Self::Known(job) => job,
        }
    }
}

impl Store {
    /// Accepts a job; when this returns it is on disk, and stays so through a loss of power.
    ///
    /// A job that is known is returned as it stands, and no limit is asked about. Limits are exact on SQLite; several servers on
    /// one PostgreSQL or MariaDB may pass one by a job each.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] when the id is taken by another request or another owner, [`StoreErrorKind::Full`] when a
    /// limit is reached, [`StoreErrorKind::Invalid`] for more than 2^63 bytes or an owner of more than 255.
    pub async fn accept(
        &self,
        new: NewJob,
        admission: &Admission,
        now_ms: i64,
    ) -> Result<Accepted, StoreError> {
        if new.owner.as_ref().is_some_and(|owner| owner.len() > 255) || new.fingerprint.len() > 255
        {
            let message = "an owner and a fingerprint have at most 255 bytes";
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        self.database
            .retrying(|| self.accept_once(&new, admission, now_ms))
            .await
    }

    async fn accept_once(
        &self,
        new: &NewJob,
        admission: &Admission,
        now_ms: i64,
    ) -> Result<Accepted, StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        if let Some(known) = find(&mut tx, &new.id).await? {
            let same = known.job.fingerprint == new.fingerprint && known.job.owner == new.owner;
            return match same {
                true => Ok(Accepted::Known(known.job)),
                false => Err(StoreError::new(
                    StoreErrorKind::Conflict,
                    format!(
                        "job {}: the id is taken by another request: choose another",
                        new.id
                    ),
                )),
            };
        }
        admit(&mut tx, new, admission).await?;
        let job = queued(new, now_ms);
        match insert(&mut tx, &job).await {
            // Another server was faster: look again what it accepted.
            Err(error) if error.kind() == StoreErrorKind::Conflict => {
                return Err(
                    StoreError::new(StoreErrorKind::Busy, "accepted twice").caused_by(error)
                );
            }
            other => other?,
        }
        let note = Note {
            kind: job.state.name(),
            message: None,
        };
        write_event(&mut tx, &job, 1, note, now_ms).await?;
        tx.commit().await?;
        Ok(Accepted::New(job))
    }
}

/// Jobs that wait, unfinished jobs of an owner (nobody is the owner of no name), and bytes of all unfinished ones: one walk over
/// the unfinished part of an index.
pub(crate) const UNFINISHED: &str = "SELECT COUNT(CASE WHEN phase = ? THEN 1 END) AS queued, \
    COUNT(CASE WHEN COALESCE(owner, '') = ? THEN 1 END) AS owned, CAST(COALESCE(SUM(bytes), 0) AS {int}) AS bytes \
    FROM sori_jobs WHERE phase < ?";

async fn admit(tx: &mut Tx, new: &NewJob, admission: &Admission) -> Result<(), StoreError> {
    let owner = new.owner.as_deref().unwrap_or_default();
    let values = binds![Phase::Waiting as i64, owner, Phase::Ended as i64];
    let Some(row) = tx.row(UNFINISHED, values).await? else {
        return Ok(());
    };
    let (queued, owned, bytes): (i64, i64, i64) = (
        get(&row, "queued")?,
        get(&row, "owned")?,
        get(&row, "bytes")?,
    );
    let checks = [
        (Limit::Queued, queued, 1, admission.max_queued, "jobs wait"),
        (
            Limit::Owner,
            owned,
            1,
            admission.max_per_owner,
            "unfinished jobs of this key",
        ),
        (
            Limit::Bytes,
            bytes,
            new.bytes,
            admission.max_bytes,
            "bytes of unfinished jobs",
        ),
    ];
    for (limit, n, more, most, what) in checks {
        if n.unsigned_abs().saturating_add(more) > most {
            let message = format!("{n} {what}, {most} are allowed: try again later");
            return Err(StoreError::full(limit, message));
        }
    }
    Ok(())
}

fn queued(new: &NewJob, now_ms: i64) -> Job {
    Job {
        id: new.id.clone(),
        owner: new.owner.clone(),
        state: JobState::Queued,
        stage: None,
        progress: 0,
        priority: new.priority,
        request: new.request.clone(),
        fingerprint: new.fingerprint.clone(),
        media: new.media.clone(),
        bytes: new.bytes,
        callback: new.callback.clone(),
        attempt: 0,
        failures: 0,
        losses: 0,
        error: None,
        created_ms: now_ms,
        started_ms: None,
        finished_ms: None,
        due_ms: now_ms,
        duration_seconds: None,
        cancel_asked: false,
        result: None,
    }
}

async fn insert(tx: &mut Tx, job: &Job) -> Result<(), StoreError> {
    let bytes = i64::try_from(job.bytes)
        .map_err(|_| StoreError::new(StoreErrorKind::Invalid, "media of more than 2^63 bytes"))?;
    let sql = "INSERT INTO sori_jobs (id, owner, state, phase, progress, priority, request, fingerprint, media, bytes, callback, \
        attempt, failures, losses, created_ms, due_ms, cancel_asked, seq, lease_ms, endings) \
        VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?, 0, 1, 0, 0)";
    let values = binds![
        job.id.as_str(),
        job.owner.as_deref(),
        job.state.name(),
        job.state.phase() as i64,
        job.priority.number(),
        job.request.as_str(),
        job.fingerprint.as_str(),
        job.media.as_deref(),
        bytes,
        job.callback.as_deref(),
        job.created_ms,
        job.due_ms,
    ];
    tx.run(sql, values).await?;
    Ok(())
}
