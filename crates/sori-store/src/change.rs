//! The one way in which a job changes.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::database::{Tx, binds};
use crate::error::{StoreError, StoreErrorKind};
use crate::job::{Job, JobError, JobRow, JobState};
use crate::outbox::JobEnd;

/// Most characters of a message that are kept.
const MAX_MESSAGE: usize = 4000;

/// What is said of a change.
pub(crate) struct Note<'a> {
    /// The kind of the event: the new state, or `progress`, or `cancel_asked`.
    pub kind: &'a str,
    pub message: Option<&'a str>,
}

/// The data of an event.
#[derive(Serialize)]
struct EventData {
    state: JobState,
    attempt: i64,
    progress: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JobError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_ms: Option<i64>,
}

/// At most [`MAX_MESSAGE`] characters of a text that a worker or a receiver sent, without NUL, which PostgreSQL's texts cannot
/// hold: a job must be able to end whatever its error says.
pub(crate) fn clip(text: &str) -> String {
    let kept = text.chars().filter(|c| *c != '\0');
    kept.take(MAX_MESSAGE).collect()
}

/// Writes the row, its event and, when the job ends now and has a callback, its delivery.
///
/// The row must still be as `before` says: its number of events and its lease are its version.
pub(crate) async fn change(
    tx: &mut Tx,
    before: &JobRow,
    after: &JobRow,
    note: Note<'_>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let job = &after.job;
    let seq = before.seq + 1;
    let ends = job.state.is_terminal() && !before.job.state.is_terminal();
    let endings = before.endings + i64::from(ends);
    let sql = "UPDATE sori_jobs SET state = ?, phase = ?, stage = ?, progress = ?, request = ?, attempt = ?, failures = ?, \
        losses = ?, error_kind = ?, error_message = ?, started_ms = ?, finished_ms = ?, due_ms = ?, duration_us = ?, \
        cancel_asked = ?, seq = ?, lease_ms = ?, worker = ?, node = ?, endings = ?, result = ?, result_attempt = ? \
        WHERE id = ? AND seq = ? AND lease_ms = ?";
    let values = binds![
        job.state.name(),
        job.state.phase() as i64,
        job.stage.as_deref().map(clip),
        i64::from(job.progress),
        job.request.as_str(),
        job.attempt,
        i64::from(job.failures),
        i64::from(job.losses),
        job.error.as_ref().map(|error| clip(&error.kind)),
        job.error.as_ref().map(|error| clip(&error.message)),
        job.started_ms,
        job.finished_ms,
        job.due_ms,
        // As a whole number, for sqlx's `Any` takes an absent fraction for a short one, which PostgreSQL refuses.
        job.duration_seconds
            .map(|seconds| (seconds * 1e6).round() as i64),
        i64::from(job.cancel_asked),
        seq,
        after.lease_ms,
        after.worker.as_deref(),
        after.node.as_deref(),
        endings,
        job.result.map(|result| result.state.name()),
        job.result.map(|result| result.attempt),
        job.id.as_str(),
        before.seq,
        before.lease_ms,
    ];
    if tx.run(sql, values).await? == 0 {
        let message = format!("job {}: somebody else changes it all the time", job.id);
        return Err(StoreError::new(StoreErrorKind::Busy, message));
    }
    write_event(tx, job, seq, note, now_ms).await?;
    if ends && job.callback.is_some() {
        write_delivery(tx, job, endings, now_ms).await?;
    }
    Ok(())
}

/// Writes the event `seq` of a job as it is now.
pub(crate) async fn write_event(
    tx: &mut Tx,
    job: &Job,
    seq: i64,
    note: Note<'_>,
    now_ms: i64,
) -> Result<(), StoreError> {
    let data = EventData {
        state: job.state,
        attempt: job.attempt,
        progress: job.progress,
        stage: job.stage.as_deref().map(clip),
        message: note.message.map(clip),
        error: job.error.as_ref().map(|error| JobError {
            kind: clip(&error.kind),
            message: clip(&error.message),
        }),
        due_ms: (job.state == JobState::Retrying).then_some(job.due_ms),
    };
    let data = serde_json::to_string(&data).expect("texts and numbers are always JSON");
    let sql = "INSERT INTO sori_events (job, seq, kind, data, at_ms) VALUES (?, ?, ?, ?, ?)";
    let values = binds![job.id.as_str(), seq, note.kind, data, now_ms];
    tx.run(sql, values).await?;
    Ok(())
}

/// Writes the outbox row of a job's ending number `n`.
///
/// Its id depends on nothing but the job, the state and the number, so whoever writes it again writes the same.
async fn write_delivery(tx: &mut Tx, job: &Job, n: i64, now_ms: i64) -> Result<(), StoreError> {
    let identity = format!("{}\n{}\n{}\n{n}", job.id, job.created_ms, job.state.name());
    let hash: String = Sha256::digest(identity.as_bytes())[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let kind = match job.state {
        JobState::Failed => "job.failed",
        JobState::Cancelled => "job.cancelled",
        _ => "job.completed",
    };
    // Who answered 410 once is not asked again.
    let gone = tx
        .row(
            "SELECT 1 FROM sori_deliveries WHERE job = ? AND state = 'disabled'",
            binds![job.id.as_str()],
        )
        .await?
        .is_some();
    let (state, waiting) = if gone {
        ("disabled", 0)
    } else {
        ("waiting", 1)
    };
    let sql = "INSERT INTO sori_deliveries (id, job, n, kind, url, state, waiting, tries, due_ms, lease_ms, created_ms, ending) \
        VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, 0, ?, ?)";
    let url = job.callback.as_deref().unwrap_or_default();
    let id = format!("msg_{hash}");
    let ending =
        serde_json::to_string(&JobEnd::of(job)).expect("texts and numbers are always JSON");
    let values = binds![
        id,
        job.id.as_str(),
        n,
        kind,
        url,
        state,
        waiting as i64,
        now_ms,
        now_ms,
        ending,
    ];
    tx.run(sql, values).await?;
    Ok(())
}
