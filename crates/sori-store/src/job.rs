//! A job, and lists and counts of jobs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;

use crate::database::{Connected, Session, binds, get};
use crate::error::{StoreError, StoreErrorKind};
use crate::id::JobId;
use crate::store::Store;

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for its first try, or was given back untouched.
    Queued,
    /// A worker holds its lease.
    Running,
    /// It waits for its next try, not before `due_ms`.
    Retrying,
    /// Ended: the document is whole.
    Done,
    /// Ended: there is a document, and a part of it is missing.
    Partial,
    /// Ended without a document, but for an earlier one.
    Failed,
    /// Ended because somebody asked for it.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Retrying,
        Self::Done,
        Self::Partial,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state's name, as in JSON and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the job has ended: only a retry or a rerun changes it now.
    pub fn is_terminal(self) -> bool {
        self.phase() == Phase::Ended
    }

    pub(crate) fn phase(self) -> Phase {
        match self {
            Self::Queued | Self::Retrying => Phase::Waiting,
            Self::Running => Phase::Running,
            Self::Done | Self::Partial | Self::Failed | Self::Cancelled => Phase::Ended,
        }
    }
}

/// What the queue must know of a state; a column of its own, so that one range of an index is one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Waiting = 0,
    Running = 1,
    Ended = 2,
}

/// The class of a job; of 12 claims high is looked at first 8 times, normal 3 times and low once.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Somebody waits for it.
    High,
    /// What is not said otherwise.
    #[default]
    Normal,
    /// Whenever there is time.
    Low,
}

impl Priority {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The class's name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    pub(crate) fn number(self) -> i64 {
        self as i64
    }
}

/// Why a job failed, or what is missing of a partial one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// A word for programs: `input`, `model`, `options`, `internal`, or `lost` when its workers died.
    pub kind: String,
    /// A sentence for people.
    pub message: String,
}

/// A job as it stands in the database.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// The id of the API key that it belongs to; none where no keys are needed.
    pub owner: Option<String>,
    /// Where it is in its life.
    pub state: JobState,
    /// The stage that the worker last named.
    pub stage: Option<String>,
    /// Percent done, 0 to 100; it never goes back but for a rerun.
    pub progress: u8,
    /// Its class.
    pub priority: Priority,
    /// What is to be done, as JSON; opaque here.
    pub request: String,
    /// SHA-256 of the request it was accepted with, in hex.
    pub fingerprint: String,
    /// The key of the blob with its media.
    pub media: Option<String>,
    /// Bytes of its media.
    pub bytes: u64,
    /// The URL to be told when it ends.
    pub callback: Option<String>,
    /// How often it was claimed; fences off what earlier claimants write.
    pub attempt: i64,
    /// Failures that a worker reported, since it was accepted or last retried by hand.
    pub failures: u32,
    /// Workers that died on it, likewise.
    pub losses: u32,
    /// Why it failed, is retrying, or is partial.
    pub error: Option<JobError>,
    /// When it was accepted, in Unix milliseconds.
    pub created_ms: i64,
    /// When it was first claimed.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub finished_ms: Option<i64>,
    /// Not to be claimed before.
    pub due_ms: i64,
    /// Seconds of sound in its media, to the microsecond.
    pub duration_seconds: Option<f64>,
    /// Whether somebody asked a running job to stop.
    pub cancel_asked: bool,
    /// Its newest result; a rerun that is not through, failed or was cancelled leaves that of before.
    pub result: Option<JobResult>,
}

/// What a job has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// Done or partial.
    pub state: JobState,
    /// The attempt that made it.
    pub attempt: i64,
}

/// Where a list of jobs goes on: after the job that was created then and is named so.
pub type JobCursor = (i64, JobId);

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only jobs of this state.
    pub state: Option<JobState>,
    /// Only jobs of this owner.
    pub owner: Option<String>,
    /// Only jobs older than this one: the last of the page before.
    pub before: Option<JobCursor>,
    /// Most jobs to return; 1 to [`MAX_PAGE`], others are brought into that range.
    pub limit: u32,
}

/// Most rows that one call returns.
pub const MAX_PAGE: u32 = 1000;

pub(crate) fn page(limit: u32) -> i64 {
    limit.clamp(1, MAX_PAGE).into()
}

/// How much there is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Jobs that wait, whether for their first try or for another, by class; every class is there.
    pub queues: BTreeMap<Priority, Queue>,
    /// Jobs that are being worked on.
    pub running: u64,
    /// Bytes of media of both.
    pub bytes: u64,
}

/// The jobs of a class that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// How many.
    pub depth: u64,
    /// When the oldest that could be claimed now was accepted or came due.
    pub oldest_ms: Option<i64>,
}

impl Load {
    /// Jobs that wait.
    pub fn queued(&self) -> u64 {
        self.queues.values().map(|queue| queue.depth).sum()
    }

    /// When the oldest job that could be claimed now was accepted or came due.
    pub fn oldest_ms(&self) -> Option<i64> {
        let oldest = self.queues.values().filter_map(|queue| queue.oldest_ms);
        oldest.min()
    }
}

/// A row of the table of jobs: the job, and what only the queue needs.
#[derive(Clone, Debug)]
pub(crate) struct JobRow {
    pub job: Job,
    /// Number of the job's last event: the version of the row.
    pub seq: i64,
    /// When the lease runs out; 0 where there is none.
    pub lease_ms: i64,
    pub worker: Option<String>,
    pub node: Option<String>,
    /// How often the job has ended.
    pub endings: i64,
}

pub(crate) const COLUMNS: &str = "id, owner, state, stage, progress, priority, request, fingerprint, media, bytes, callback, \
    attempt, failures, losses, error_kind, error_message, created_ms, started_ms, finished_ms, due_ms, duration_us, cancel_asked, \
    seq, lease_ms, worker, node, endings, result, result_attempt";

fn damaged(column: &str) -> StoreError {
    StoreError::new(
        StoreErrorKind::Damaged,
        format!("a job's {column} is out of range"),
    )
}

fn number<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    T::try_from(get(row, column)?).map_err(|_| damaged(column))
}

fn class(row: &AnyRow) -> Result<Priority, StoreError> {
    let found = Priority::ALL.get(number::<usize>(row, "priority")?);
    found.copied().ok_or_else(|| damaged("priority"))
}

pub(crate) fn read(row: &AnyRow) -> Result<JobRow, StoreError> {
    let state: String = get(row, "state")?;
    let error_kind: Option<String> = get(row, "error_kind")?;
    let error = match error_kind {
        Some(kind) => Some(JobError {
            kind,
            message: get::<Option<String>>(row, "error_message")?.unwrap_or_default(),
        }),
        None => None,
    };
    let result = match get::<Option<String>>(row, "result")? {
        Some(name) => Some(JobResult {
            state: JobState::from_name(&name).ok_or_else(|| damaged("result"))?,
            attempt: get(row, "result_attempt")?,
        }),
        None => None,
    };
    let job = Job {
        id: JobId::parse(&get::<String>(row, "id")?).map_err(|_| damaged("id"))?,
        owner: get(row, "owner")?,
        state: JobState::from_name(&state).ok_or_else(|| damaged("state"))?,
        stage: get(row, "stage")?,
        progress: number(row, "progress")?,
        priority: class(row)?,
        request: get(row, "request")?,
        fingerprint: get(row, "fingerprint")?,
        media: get(row, "media")?,
        bytes: number(row, "bytes")?,
        callback: get(row, "callback")?,
        attempt: get(row, "attempt")?,
        failures: number(row, "failures")?,
        losses: number(row, "losses")?,
        error,
        created_ms: get(row, "created_ms")?,
        started_ms: get(row, "started_ms")?,
        finished_ms: get(row, "finished_ms")?,
        due_ms: get(row, "due_ms")?,
        duration_seconds: get::<Option<i64>>(row, "duration_us")?.map(|us| us as f64 / 1e6),
        cancel_asked: get::<i64>(row, "cancel_asked")? != 0,
        result,
    };
    Ok(JobRow {
        job,
        seq: get(row, "seq")?,
        lease_ms: get(row, "lease_ms")?,
        worker: get(row, "worker")?,
        node: get(row, "node")?,
        endings: get(row, "endings")?,
    })
}

/// The row of one job.
pub(crate) async fn find<C: Connected>(
    session: &mut Session<C>,
    id: &JobId,
) -> Result<Option<JobRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM sori_jobs WHERE id = ?");
    let row = session.row(&sql, binds![id.as_str()]).await?;
    row.as_ref().map(read).transpose()
}

impl Store {
    /// Returns the job of that name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job(&self, id: &JobId) -> Result<Option<Job>, StoreError> {
        let mut session = self.database.read().await?;
        Ok(find(&mut session, id).await?.map(|row| row.job))
    }

    /// Returns jobs, newest first; the last one's `(created_ms, id)` is the cursor of the next page.
    ///
    /// Pages neither skip nor repeat a job, whatever is accepted in between.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, StoreError> {
        let (sql, binds) = list_query(filter);
        let mut session = self.database.read().await?;
        let rows = session.rows(&sql, binds).await?;
        rows.iter().map(|row| Ok(read(row)?.job)).collect()
    }

    /// Returns how much there is to do at `now_ms`; jobs that have ended cost nothing here.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn load(&self, now_ms: i64) -> Result<Load, StoreError> {
        let mut session = self.database.read().await?;
        let mut load = Load::default();
        let (waiting, ended) = (Phase::Waiting as i64, Phase::Ended as i64);
        for row in session.rows(UNFINISHED_BY_CLASS, binds![ended]).await? {
            let n: u64 = number(&row, "n")?;
            match get::<i64>(&row, "phase")? == waiting {
                true => load.queues.entry(class(&row)?).or_default().depth = n,
                false => load.running += n,
            }
        }
        let sum = session.sql(BYTES);
        if let Some(row) = session.row(&sum, binds![ended]).await? {
            load.bytes = number(&row, "n")?;
        }
        for priority in Priority::ALL {
            let binds = binds![waiting, priority.number(), now_ms];
            if let Some(row) = session.row(OLDEST, binds).await? {
                load.queues.entry(priority).or_default().oldest_ms = get(&row, "oldest")?;
            }
        }
        Ok(load)
    }

    /// Returns how many jobs there are in each state, of one owner or of all; states without jobs are absent.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count(&self, owner: Option<&str>) -> Result<BTreeMap<JobState, u64>, StoreError> {
        let mut session = self.database.read().await?;
        let (sql, values) = match owner {
            None => (COUNT, binds![]),
            Some(owner) => (COUNT_OWNED, binds![owner]),
        };
        let rows = session.rows(sql, values).await?;
        let count = |row: &AnyRow| {
            let state = JobState::from_name(&get::<String>(row, "state")?);
            Ok((state.ok_or_else(|| damaged("state"))?, number(row, "n")?))
        };
        rows.iter().map(count).collect()
    }
}

pub(crate) const COUNT: &str = "SELECT state, COUNT(*) AS n FROM sori_jobs GROUP BY state";
pub(crate) const COUNT_OWNED: &str =
    "SELECT state, COUNT(*) AS n FROM sori_jobs WHERE owner = ? GROUP BY state";
pub(crate) const UNFINISHED_BY_CLASS: &str =
    "SELECT phase, priority, COUNT(*) AS n FROM sori_jobs WHERE phase < ? GROUP BY phase, priority";
/// Bytes of all unfinished jobs.
pub(crate) const BYTES: &str =
    "SELECT CAST(COALESCE(SUM(bytes), 0) AS {int}) AS n FROM sori_jobs WHERE phase < ?";
pub(crate) const OLDEST: &str =
    "SELECT MIN(due_ms) AS oldest FROM sori_jobs WHERE phase = ? AND priority = ? AND due_ms <= ?";

pub(crate) fn list_query(filter: &JobFilter) -> (String, sqlx::any::AnyArguments) {
    let mut sql = format!("SELECT {COLUMNS} FROM sori_jobs WHERE 1 = 1");
    let mut values = binds![];
    let mut add = |condition: &str, value: &str| {
        sql.push_str(condition);
        crate::database::push(&mut values, value);
    };
    if let Some(state) = filter.state {
        add(" AND state = ?", state.name());
    }
    if let Some(owner) = &filter.owner {
        add(" AND owner = ?", owner);
    }
    if let Some((created_ms, id)) = &filter.before {
        // Said so that every database walks an index from here (MariaDB does not for a comparison of pairs).
        sql.push_str(" AND created_ms <= ? AND (created_ms < ? OR id < ?)");
        crate::database::push(&mut values, *created_ms);
        crate::database::push(&mut values, *created_ms);
        crate::database::push(&mut values, id.as_str());
    }
    sql.push_str(" ORDER BY created_ms DESC, id DESC LIMIT ?");
    crate::database::push(&mut values, page(filter.limit));
    (sql, values)
}
