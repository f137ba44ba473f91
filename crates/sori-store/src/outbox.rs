//! What is to be told to callbacks, and whether it was.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;

use crate::database::{Durability, binds, get};
use crate::error::{StoreError, StoreErrorKind};
use crate::id::JobId;
use crate::job::{Job, JobError, JobState, page};
use crate::store::Store;

/// How a job ended, kept with the message that tells of it: a retry or a rerun of the job changes no message on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEnd {
    /// The state it ended in.
    pub state: JobState,
    /// How far it was, 0 to 100 percent.
    pub progress: u8,
    /// Why it failed, or what is missing.
    pub error: Option<JobError>,
    /// When, in Unix milliseconds.
    pub finished_ms: i64,
    /// What was to be done, as JSON; opaque here.
    pub request: String,
}

impl JobEnd {
    /// The end of a job that has just ended, its error as long as the job's row keeps it.
    pub fn of(job: &Job) -> Self {
        let clip = crate::change::clip;
        Self {
            state: job.state,
            progress: job.progress,
            error: job.error.as_ref().map(|error| JobError {
                kind: clip(&error.kind),
                message: clip(&error.message),
            }),
            finished_ms: job.finished_ms.unwrap_or(job.created_ms),
            request: job.request.clone(),
        }
    }
}

/// One message to one URL, lent to who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its name, the same at every try: the `webhook-id` of Standard Webhooks.
    pub id: String,
    /// The job that ended.
    pub job: JobId,
    /// Where to.
    pub url: String,
    /// What happened: `job.completed` (done or partial), `job.failed` or `job.cancelled`.
    pub kind: String,
    /// The end that it tells of.
    pub ending: JobEnd,
    /// How often it was tried before.
    pub tries: u32,
    /// Who holds it; empty when nobody does.
    pub worker: String,
}

/// One try to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// The status that was answered.
    pub status: Option<u16>,
    /// What went wrong, without the answer's body.
    pub error: Option<String>,
    /// How long it took.
    pub millis: u64,
    /// When it was sent, in Unix milliseconds.
    pub at_ms: i64,
}

/// What follows a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it was delivered.
    Done,
    /// Another try at that time.
    At(i64),
    /// Nothing: it was tried often enough.
    GiveUp,
    /// Nothing, and nothing more to this job's callback: the receiver answered 410.
    Disabled,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is to be tried, now or later.
    Waiting,
    /// It was delivered.
    Done,
    /// It was tried often enough.
    GivenUp,
    /// The receiver does not want to hear of it.
    Disabled,
}

impl DeliveryState {
    const ALL: [Self; 4] = [Self::Waiting, Self::Done, Self::GivenUp, Self::Disabled];

    /// The state's name, as in JSON and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::GivenUp => "given_up",
            Self::Disabled => "disabled",
        }
    }
}

/// A delivery with its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The delivery.
    pub delivery: Delivery,
    /// How it stands.
    pub state: DeliveryState,
    /// When it is tried next, where it waits.
    pub due_ms: i64,
    /// When the job ended.
    pub created_ms: i64,
    /// Every try, the first one first.
    pub log: Vec<DeliveryAttempt>,
}

pub(crate) const COLUMNS: &str = "d.id, d.job, d.url, d.kind, d.tries, d.worker, d.lease_ms, d.state, d.due_ms, d.created_ms, d.ending";
/// Of each job only the first that waits, so that a receiver hears things in order.
pub(crate) const DUE: &str = "FROM sori_deliveries d WHERE d.waiting = 1 AND d.due_ms <= ? AND d.lease_ms <= ? AND NOT EXISTS \
    (SELECT 1 FROM sori_deliveries e WHERE e.job = d.job AND e.n < d.n AND e.waiting = 1) ORDER BY d.due_ms, d.id LIMIT ?";

fn read(row: &AnyRow) -> Result<Delivery, StoreError> {
    let tries: i64 = get(row, "tries")?;
    let ending = serde_json::from_str(&get::<String>(row, "ending")?)
        .map_err(|_| StoreError::new(StoreErrorKind::Damaged, "a delivery's ending"))?;
    Ok(Delivery {
        id: get(row, "id")?,
        job: JobId::parse(&get::<String>(row, "job")?)?,
        url: get(row, "url")?,
        kind: get(row, "kind")?,
        ending,
        tries: u32::try_from(tries).unwrap_or(u32::MAX),
        worker: get::<Option<String>>(row, "worker")?.unwrap_or_default(),
    })
}

impl Store {
    /// Lends `worker` the deliveries that are due, at most `limit`, until `now_ms + lease_ms`; who does not say
    /// [`Store::delivered`] by then has lost them to whoever asks next. Of one job only one at a time is lent, in order.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn due_deliveries(
        &self,
        worker: &str,
        now_ms: i64,
        lease_ms: i64,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let lent = || async {
            let mut tx = self.database.write(Durability::Quick).await?;
            let sql = format!("SELECT {COLUMNS} {DUE}");
            let rows = tx.rows(&sql, binds![now_ms, now_ms, page(limit)]).await?;
            let mut lent = Vec::with_capacity(rows.len());
            for row in &rows {
                let mut delivery = read(row)?;
                let taken: i64 = get(row, "lease_ms")?;
                let sql = "UPDATE sori_deliveries SET worker = ?, lease_ms = ? WHERE id = ? AND lease_ms = ? AND tries = ? AND waiting = 1";
                let until = now_ms.saturating_add(lease_ms);
                let id = delivery.id.as_str();
                let values = binds![worker, until, id, taken, i64::from(delivery.tries)];
                if tx.run(sql, values).await? == 1 {
                    delivery.worker = worker.to_owned();
                    lent.push(delivery);
                }
            }
            if !lent.is_empty() {
                tx.commit().await?;
            }
            Ok(lent)
        };
        self.database.retrying(lent).await
    }

    /// Writes what a try brought, and what follows. False, and nothing is written, when the delivery was lent to somebody else
    /// meanwhile.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn delivered(
        &self,
        delivery: &Delivery,
        attempt: DeliveryAttempt,
        next: Next,
    ) -> Result<bool, StoreError> {
        let (state, due_ms) = match next {
            Next::Done => (DeliveryState::Done, attempt.at_ms),
            Next::At(due_ms) => (DeliveryState::Waiting, due_ms),
            Next::GiveUp => (DeliveryState::GivenUp, attempt.at_ms),
            Next::Disabled => (DeliveryState::Disabled, attempt.at_ms),
        };
        let waiting = i64::from(state == DeliveryState::Waiting);
        let tries = i64::from(delivery.tries);
        let written = || async {
            let mut tx = self.database.write(Durability::Quick).await?;
            let sql = "UPDATE sori_deliveries SET state = ?, waiting = ?, tries = tries + 1, due_ms = ?, lease_ms = 0, worker = NULL \
                WHERE id = ? AND worker = ? AND tries = ? AND waiting = 1";
            let (id, worker) = (delivery.id.as_str(), delivery.worker.as_str());
            let values = binds![state.name(), waiting, due_ms, id, worker, tries];
            if tx.run(sql, values).await? == 0 {
                return Ok(false);
            }
            let sql = "INSERT INTO sori_delivery_attempts (delivery, n, job, at_ms, status, error, millis) VALUES (?, ?, ?, ?, ?, ?, ?)";
            let status = attempt.status.map(i64::from);
            let error = attempt.error.as_deref().map(crate::change::clip);
            let millis = i64::try_from(attempt.millis).unwrap_or(i64::MAX);
            let job = delivery.job.as_str();
            let values = binds![id, tries + 1, job, attempt.at_ms, status, error, millis];
            tx.run(sql, values).await?;
            if state == DeliveryState::Disabled {
                let sql = "UPDATE sori_deliveries SET state = 'disabled', waiting = 0 WHERE job = ? AND waiting = 1";
                tx.run(sql, binds![job]).await?;
            }
            tx.commit().await?;
            Ok(true)
        };
        self.database.retrying(written).await
    }

    /// Returns the deliveries of a job with their log, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deliveries(&self, id: &JobId) -> Result<Vec<DeliveryRecord>, StoreError> {
        let mut session = self.database.read().await?;
        let sql = "SELECT delivery, at_ms, status, error, millis FROM sori_delivery_attempts WHERE job = ? ORDER BY delivery, n";
        let mut logs: HashMap<String, Vec<DeliveryAttempt>> = HashMap::new();
        for row in session.rows(sql, binds![id.as_str()]).await? {
            let attempt = DeliveryAttempt {
                status: get::<Option<i64>>(&row, "status")?.and_then(|n| u16::try_from(n).ok()),
                error: get(&row, "error")?,
                millis: get::<i64>(&row, "millis")?.unsigned_abs(),
                at_ms: get(&row, "at_ms")?,
            };
            logs.entry(get(&row, "delivery")?)
                .or_default()
                .push(attempt);
        }
        let sql = format!("SELECT {COLUMNS} FROM sori_deliveries d WHERE d.job = ? ORDER BY d.n");
        let rows = session.rows(&sql, binds![id.as_str()]).await?;
        rows.iter()
            .map(|row| {
                let delivery = read(row)?;
                let name: String = get(row, "state")?;
                let state = DeliveryState::ALL.into_iter().find(|s| s.name() == name);
                let damaged = || StoreError::new(StoreErrorKind::Damaged, "a delivery's state");
                Ok(DeliveryRecord {
                    log: logs.remove(&delivery.id).unwrap_or_default(),
                    state: state.ok_or_else(damaged)?,
                    due_ms: get(row, "due_ms")?,
                    created_ms: get(row, "created_ms")?,
                    delivery,
                })
            })
            .collect()
    }

    /// Returns the delivery of that id, if there is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn delivery(&self, delivery_id: &str) -> Result<Option<Delivery>, StoreError> {
        let mut session = self.database.read().await?;
        let sql = format!("SELECT {COLUMNS} FROM sori_deliveries d WHERE d.id = ?");
        let row = session.row(&sql, binds![delivery_id]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Returns how many deliveries are to be tried, now or later.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waiting_deliveries(&self) -> Result<u64, StoreError> {
        let mut session = self.database.read().await?;
        let sql = "SELECT COUNT(*) AS n FROM sori_deliveries WHERE waiting = 1";
        let row = session.row(sql, binds![]).await?;
        let n: i64 = row.as_ref().map_or(Ok(0), |row| get(row, "n"))?;
        Ok(n.unsigned_abs())
    }

    /// Makes a delivery due at `now_ms`, whatever became of it before; its id stays. False when there is no such delivery.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn replay(&self, delivery_id: &str, now_ms: i64) -> Result<bool, StoreError> {
        let replayed = || async {
            let mut tx = self.database.write(Durability::Full).await?;
            let sql = "UPDATE sori_deliveries SET state = 'waiting', waiting = 1, due_ms = ?, lease_ms = 0, worker = NULL WHERE id = ?";
            let found = tx.run(sql, binds![now_ms, delivery_id]).await?;
            tx.commit().await?;
            Ok(found == 1)
        };
        self.database.retrying(replayed).await
    }
}
