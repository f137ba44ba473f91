//! Jobs lent to workers: claims, heartbeats, progress, endings, and workers that died.

use crate::change::{Note, change};
use crate::database::{Durability, Tx, binds, get};
use crate::error::StoreError;
use crate::id::JobId;
use crate::job::{
    COLUMNS, Job, JobError, JobResult, JobRow, JobState, Phase, Priority, find, read,
};
use crate::store::Store;

/// Failures that a worker reported after which a job has failed.
pub const MAX_FAILURES: u32 = 3;
/// Workers that a job may cost before it has failed. More than failures, for a worker also dies of its neighbours
/// (`research/live.md` 3.1: with a limit of 3, killing workers at random failed 2 of 40 innocent jobs; with 5, none of 60).
pub const MAX_LOSSES: u32 = 5;
/// Milliseconds until the next try where nothing else is said, after the first failure, the second, and all others.
pub const BACKOFF_MS: [i64; 3] = [2_000, 10_000, 60_000];

/// Which class is looked at first at each of 12 claims: 8 high, 3 normal, 1 low, spread evenly.
const TURNS: [Priority; 12] = {
    use Priority::{High as H, Low as L, Normal as N};
    [H, H, N, H, H, N, H, H, N, H, H, L]
};

/// A job lent to a worker until a time that [`Store::renew`] moves on.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// The job, as it was when it was claimed.
    pub job: Job,
    /// The number of this claim: what is written under an older one changes nothing.
    pub attempt: i64,
    /// Who claimed it.
    pub worker: String,
}

/// What a heartbeat hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease goes on.
    Kept,
    /// The lease goes on, and somebody asked for the job to stop.
    CancelAsked,
    /// The job is no longer this worker's: stop, and write nothing.
    Lost,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The stage that runs.
    pub stage: String,
    /// Percent done of the whole; above 99 is 99 until the job ends, and less than before is as before.
    pub percent: u8,
    /// A sentence for people; may be empty.
    pub message: String,
}

/// Whether another try may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// No: the input or the options are at fault.
    No,
    /// Yes, later, up to [`MAX_FAILURES`] failures.
    Later,
}

/// How a worker's time with a job ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// The document is whole.
    Done {
        /// Seconds of sound.
        duration: f64,
    },
    /// There is a document, and a part of it is missing.
    Partial {
        /// Seconds of sound.
        duration: f64,
        /// What is missing.
        error: JobError,
    },
    /// It did not work.
    Failed {
        /// Why.
        error: JobError,
        /// Whether to try again.
        retry: Retry,
    },
    /// The worker stopped because it was asked to.
    Cancelled,
    /// The server stops: the job goes back to the head of the queue, and nothing is counted.
    Released,
}

impl Store {
    /// Lends a job that is due to `worker` (at most 255 bytes) until `now_ms + lease_ms`: of the class whose turn it is, else of
    /// the most urgent one that has any, the one that waits longest. None when nothing is due.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn claim(
        &self,
        worker: &str,
        lease_ms: i64,
        now_ms: i64,
    ) -> Result<Option<Lease>, StoreError> {
        self.database
            .retrying(|| self.claim_once(worker, lease_ms, now_ms))
            .await
    }

    async fn claim_once(
        &self,
        worker: &str,
        lease_ms: i64,
        now_ms: i64,
    ) -> Result<Option<Lease>, StoreError> {
        let mut tx = self.database.write(Durability::Quick).await?;
        let claimed = self.claim_in(&mut tx, worker, lease_ms, now_ms).await;
        if matches!(claimed, Ok(Some(_))) {
            tx.commit().await?;
            return claimed;
        }
        // Not left to the drop, which the connection carries out later: until then the rows that were looked at are locked, and
        // the next claim would pass over them (MariaDB locks the first row after the ones that are due, too).
        let undone = tx.undo().await;
        let none = claimed?;
        undone.map(|()| none)
    }

    async fn claim_in(
        &self,
        tx: &mut Tx,
        worker: &str,
        lease_ms: i64,
        now_ms: i64,
    ) -> Result<Option<Lease>, StoreError> {
        let counter = "SELECT n FROM sori_counters WHERE name = 'claims'";
        let counted = tx.row(counter, binds![]).await?;
        let claims: i64 = counted.as_ref().map_or(Ok(0), |row| get(row, "n"))?;
        let Some(before) = next_due(tx, claims, now_ms).await? else {
            return Ok(None);
        };
        let mut after = before.clone();
        after.job.state = JobState::Running;
        after.job.attempt += 1;
        after.job.started_ms.get_or_insert(now_ms);
        after.job.error = None;
        after.lease_ms = now_ms.saturating_add(lease_ms);
        after.worker = Some(worker.to_owned());
        after.node = Some(self.node.to_string());
        note_state(tx, &before, &after, now_ms).await?;
        let count = match counted {
            Some(_) => "UPDATE sori_counters SET n = n + 1 WHERE name = 'claims'",
            None => "INSERT INTO sori_counters (name, n) VALUES ('claims', 1)",
        };
        match tx.run(count, binds![]).await {
            // Two servers made the very first claim at once; the other's row counts.
            Err(error) if error.kind() == crate::StoreErrorKind::Conflict => {
                return Err(StoreError::new(
                    crate::StoreErrorKind::Busy,
                    "counted twice",
                ));
            }
            other => other?,
        };
        Ok(Some(Lease {
            attempt: after.job.attempt,
            job: after.job,
            worker: worker.to_owned(),
        }))
    }

    /// Moves the end of a lease to `now_ms + lease_ms`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now_ms: i64,
    ) -> Result<Renewal, StoreError> {
        let renewed = || async {
            let mut tx = self.database.write(Durability::Quick).await?;
            let sql = "UPDATE sori_jobs SET lease_ms = ? WHERE id = ? AND attempt = ? AND worker = ? AND phase = ?";
            let id = lease.job.id.as_str();
            let running = Phase::Running as i64;
            let until = now_ms.saturating_add(lease_ms);
            let values = binds![until, id, lease.attempt, lease.worker.as_str(), running];
            if tx.run(sql, values).await? == 0 {
                return Ok(Renewal::Lost);
            }
            let sql = "SELECT cancel_asked FROM sori_jobs WHERE id = ?";
            let row = tx.row(sql, binds![id]).await?;
            let asked: i64 = row.map_or(Ok(0), |row| get(&row, "cancel_asked"))?;
            tx.commit().await?;
            Ok(if asked != 0 {
                Renewal::CancelAsked
            } else {
                Renewal::Kept
            })
        };
        self.database.retrying(renewed).await
    }

    /// Writes how far a job is, and an event of kind `progress`. False when the job is no longer the lease's.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn progress(
        &self,
        lease: &Lease,
        progress: Progress,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        let written = || async {
            let mut tx = self.database.write(Durability::Quick).await?;
            let Some(before) = held(&mut tx, lease).await? else {
                return Ok(false);
            };
            let mut after = before.clone();
            after.job.stage = Some(progress.stage.clone());
            after.job.progress = before.job.progress.max(progress.percent.min(99));
            let message = Some(progress.message.as_str()).filter(|text| !text.is_empty());
            let note = Note {
                kind: "progress",
                message,
            };
            change(&mut tx, &before, &after, note, now_ms).await?;
            tx.commit().await?;
            Ok(true)
        };
        self.database.retrying(written).await
    }

    /// Ends a worker's time with a job; returns the job as it is now. None, and nothing changes, when it is no longer the
    /// lease's.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn finish(
        &self,
        lease: &Lease,
        ending: Ending,
        now_ms: i64,
    ) -> Result<Option<Job>, StoreError> {
        let finished = || async {
            let mut tx = self.database.write(Durability::Full).await?;
            let Some(before) = held(&mut tx, lease).await? else {
                return Ok(None);
            };
            let after = self.ended(&before, &ending, now_ms);
            note_state(&mut tx, &before, &after, now_ms).await?;
            tx.commit().await?;
            Ok(Some(after.job))
        };
        self.database.retrying(finished).await
    }

    /// Takes back the leases that have run out at `now_ms`, and returns their jobs: each has lost a worker.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn reap(&self, now_ms: i64) -> Result<Vec<JobId>, StoreError> {
        let reaped = || async {
            let sql = format!("SELECT {COLUMNS} FROM sori_jobs {RAN_OUT}");
            let values = binds![Phase::Running as i64, now_ms];
            self.lose(&sql, values, now_ms).await
        };
        self.database.retrying(reaped).await
    }

    /// Takes back the leases of this node's earlier life, and returns their jobs: each has lost a worker. Deliveries lent to a
    /// worker of the node's name can be lent again. To be called once, when a server starts, before it claims.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn give_back(&self, now_ms: i64) -> Result<Vec<JobId>, StoreError> {
        let given = || async {
            let sql = format!("SELECT {COLUMNS} FROM sori_jobs WHERE phase = ? AND node = ?");
            let values = binds![Phase::Running as i64, &*self.node];
            let lost = self.lose(&sql, values, now_ms).await?;
            let mut tx = self.database.write(Durability::Quick).await?;
            let sql = "UPDATE sori_deliveries SET lease_ms = 0 WHERE waiting = 1 AND worker = ?";
            tx.run(sql, binds![&*self.node]).await?;
            tx.commit().await?;
            Ok(lost)
        };
        self.database.retrying(given).await
    }

    async fn lose(
        &self,
        sql: &str,
        values: sqlx::any::AnyArguments,
        now_ms: i64,
    ) -> Result<Vec<JobId>, StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        let mut lost = Vec::new();
        for row in tx.rows(sql, values).await? {
            let before = read(&row)?;
            let after = self.lost_worker(&before, now_ms);
            note_state(&mut tx, &before, &after, now_ms).await?;
            lost.push(after.job.id);
        }
        if !lost.is_empty() {
            tx.commit().await?;
        }
        Ok(lost)
    }
}

async fn note_state(
    tx: &mut Tx,
    before: &JobRow,
    after: &JobRow,
    now_ms: i64,
) -> Result<(), StoreError> {
    let note = Note {
        kind: after.job.state.name(),
        message: None,
    };
    change(tx, before, after, note, now_ms).await
}

/// At most a thousand at once; the next call finds the others.
pub(crate) const RAN_OUT: &str = "WHERE phase = ? AND lease_ms <= ? ORDER BY lease_ms LIMIT 1000";
pub(crate) const NEXT_DUE: &str =
    "WHERE phase = ? AND priority = ? AND due_ms <= ? ORDER BY due_ms, id LIMIT 1";

/// The job that the claim after `claims` others is to get.
async fn next_due(tx: &mut Tx, claims: i64, now_ms: i64) -> Result<Option<JobRow>, StoreError> {
    let first = TURNS[claims.rem_euclid(TURNS.len() as i64) as usize];
    let others = Priority::ALL.into_iter().filter(|class| *class != first);
    let sql = format!(
        "SELECT {COLUMNS} FROM sori_jobs {NEXT_DUE}{}",
        tx.skip_locked()
    );
    for class in std::iter::once(first).chain(others) {
        let values = binds![Phase::Waiting as i64, class.number(), now_ms];
        if let Some(row) = tx.row(&sql, values).await? {
            return read(&row).map(Some);
        }
    }
    Ok(None)
}

/// The row of a lease's job, when it still is the lease's.
async fn held(tx: &mut Tx, lease: &Lease) -> Result<Option<JobRow>, StoreError> {
    let row = find(tx, &lease.job.id).await?;
    Ok(row.filter(|row| {
        row.job.state == JobState::Running
            && row.job.attempt == lease.attempt
            && row.worker.as_deref() == Some(&lease.worker)
    }))
}

/// The row without a lease, in another state.
pub(crate) fn moved(before: &JobRow, state: JobState, now_ms: i64) -> JobRow {
    let mut after = before.clone();
    after.job.state = state;
    after.job.finished_ms = state.is_terminal().then_some(now_ms);
    if matches!(state, JobState::Done | JobState::Partial) {
        after.job.result = Some(JobResult {
            state,
            attempt: before.job.attempt,
        });
    }
    after.job.cancel_asked = false;
    after.lease_ms = 0;
    after.worker = None;
    after.node = None;
    after
}

struct Tries {
    over: bool,
    so_far: u32,
}

impl Store {
    fn ended(&self, before: &JobRow, ending: &Ending, now_ms: i64) -> JobRow {
        match ending {
            Ending::Done { duration } => {
                let mut after = moved(before, JobState::Done, now_ms);
                after.job.progress = 100;
                after.job.duration_seconds = Some(*duration);
                after
            }
            Ending::Partial { duration, error } => {
                let mut after = moved(before, JobState::Partial, now_ms);
                after.job.progress = 100;
                after.job.duration_seconds = Some(*duration);
                after.job.error = Some(error.clone());
                after
            }
            Ending::Failed { error, retry } => {
                let mut counted = before.clone();
                counted.job.failures += 1;
                let failures = counted.job.failures;
                let over = *retry == Retry::No || failures >= MAX_FAILURES;
                let tries = Tries {
                    over,
                    so_far: failures,
                };
                self.tried(&counted, tries, error.clone(), now_ms)
            }
            Ending::Cancelled => moved(before, JobState::Cancelled, now_ms),
            Ending::Released if before.job.cancel_asked => {
                moved(before, JobState::Cancelled, now_ms)
            }
            Ending::Released => {
                let mut after = moved(before, JobState::Queued, now_ms);
                after.job.due_ms = before.job.created_ms;
                after
            }
        }
    }

    fn lost_worker(&self, before: &JobRow, now_ms: i64) -> JobRow {
        let mut counted = before.clone();
        counted.job.losses += 1;
        let losses = counted.job.losses;
        let error = JobError {
            kind: "lost".to_owned(),
            message: format!("{losses} of its workers died or did not answer in time"),
        };
        let tries = Tries {
            over: losses >= MAX_LOSSES,
            so_far: losses,
        };
        self.tried(&counted, tries, error, now_ms)
    }

    /// The row after a try that did not work.
    fn tried(&self, counted: &JobRow, tries: Tries, error: JobError, now_ms: i64) -> JobRow {
        let state = match (tries.over, counted.job.cancel_asked) {
            (true, _) => JobState::Failed,
            (false, true) => JobState::Cancelled,
            (false, false) => JobState::Retrying,
        };
        let mut after = moved(counted, state, now_ms);
        if state == JobState::Retrying {
            let n = (tries.so_far.max(1) as usize - 1).min(self.backoff_ms.len() - 1);
            after.job.due_ms = now_ms.saturating_add(self.backoff_ms[n]);
        }
        if state != JobState::Cancelled {
            after.job.error = Some(error);
        }
        after
    }
}
