//! The tables, as numbered steps from an empty database to today's.

use crate::database::{Database, Durability, binds, get};
use crate::error::{StoreError, StoreErrorKind};

/// The steps. A step that was released is never changed, only followed by another; every statement may run twice, because
/// MariaDB cannot undo one.
const STEPS: &[&[&str]] = &[&[
    "CREATE TABLE IF NOT EXISTS sori_jobs (
        id {key} NOT NULL PRIMARY KEY, owner {key}, state {key} NOT NULL, phase BIGINT NOT NULL, stage {text},
        progress BIGINT NOT NULL, priority BIGINT NOT NULL, request {text} NOT NULL, fingerprint {key} NOT NULL, media {text},
        bytes BIGINT NOT NULL, callback {text}, attempt BIGINT NOT NULL, failures BIGINT NOT NULL, losses BIGINT NOT NULL,
        error_kind {text}, error_message {text}, created_ms BIGINT NOT NULL, started_ms BIGINT, finished_ms BIGINT,
        due_ms BIGINT NOT NULL, duration_us BIGINT, cancel_asked BIGINT NOT NULL, seq BIGINT NOT NULL,
        lease_ms BIGINT NOT NULL, worker {key}, node {key}, endings BIGINT NOT NULL, result {key},
        result_attempt BIGINT){table}",
    // Claims; and below, in order: leases that ran out, admission, lists, what is to be forgotten.
    "CREATE INDEX IF NOT EXISTS sori_jobs_due ON sori_jobs (phase, priority, due_ms, id)",
    "CREATE INDEX IF NOT EXISTS sori_jobs_lease ON sori_jobs (phase, lease_ms)",
    "CREATE INDEX IF NOT EXISTS sori_jobs_owned ON sori_jobs (phase, owner, bytes)",
    "CREATE INDEX IF NOT EXISTS sori_jobs_created ON sori_jobs (created_ms, id)",
    "CREATE INDEX IF NOT EXISTS sori_jobs_state ON sori_jobs (state, created_ms, id)",
    "CREATE INDEX IF NOT EXISTS sori_jobs_owner ON sori_jobs (owner, created_ms, id)",
    "CREATE INDEX IF NOT EXISTS sori_jobs_owner_state ON sori_jobs (owner, state)",
    "CREATE INDEX IF NOT EXISTS sori_jobs_finished ON sori_jobs (finished_ms)",
    "CREATE TABLE IF NOT EXISTS sori_events (
        job {key} NOT NULL, seq BIGINT NOT NULL, kind {key} NOT NULL, data {text} NOT NULL, at_ms BIGINT NOT NULL,
        PRIMARY KEY (job, seq), FOREIGN KEY (job) REFERENCES sori_jobs (id)){table}",
    "CREATE TABLE IF NOT EXISTS sori_deliveries (
        id {key} NOT NULL PRIMARY KEY, job {key} NOT NULL, n BIGINT NOT NULL, kind {key} NOT NULL, url {text} NOT NULL,
        state {key} NOT NULL, waiting BIGINT NOT NULL, tries BIGINT NOT NULL, due_ms BIGINT NOT NULL,
        lease_ms BIGINT NOT NULL, worker {key}, created_ms BIGINT NOT NULL, ending {text} NOT NULL,
        FOREIGN KEY (job) REFERENCES sori_jobs (id)){table}",
    "CREATE UNIQUE INDEX IF NOT EXISTS sori_deliveries_job ON sori_deliveries (job, n)",
    "CREATE INDEX IF NOT EXISTS sori_deliveries_due ON sori_deliveries (waiting, due_ms, id)",
    "CREATE TABLE IF NOT EXISTS sori_delivery_attempts (
        delivery {key} NOT NULL, n BIGINT NOT NULL, job {key} NOT NULL, at_ms BIGINT NOT NULL, status BIGINT, error {text},
        millis BIGINT NOT NULL, PRIMARY KEY (delivery, n), FOREIGN KEY (delivery) REFERENCES sori_deliveries (id)){table}",
    "CREATE INDEX IF NOT EXISTS sori_delivery_attempts_job ON sori_delivery_attempts (job)",
    // One row: how many claims there were, which decides whose turn it is.
    "CREATE TABLE IF NOT EXISTS sori_counters (name {key} NOT NULL PRIMARY KEY, n BIGINT NOT NULL){table}",
    "CREATE TABLE IF NOT EXISTS sori_keys (
        id {key} NOT NULL PRIMARY KEY, name {text} NOT NULL, sha256 {key} NOT NULL, scopes {text} NOT NULL,
        created_ms BIGINT NOT NULL, expires_ms BIGINT, used_ms BIGINT){table}",
    "CREATE UNIQUE INDEX IF NOT EXISTS sori_keys_sha256 ON sori_keys (sha256)",
    "CREATE TABLE IF NOT EXISTS sori_profiles (
        owner {key} NOT NULL, name {key} NOT NULL, embedder {key} NOT NULL, data {text} NOT NULL, created_ms BIGINT NOT NULL,
        PRIMARY KEY (owner, name)){table}",
]];

/// Brings a database to today's tables.
pub(crate) async fn migrate(database: &Database) -> Result<(), StoreError> {
    // Two servers that start at once may both create a table, of which one then fails: it looks again.
    for _ in 0..8 {
        match step(database).await {
            Err(error)
                if matches!(
                    error.kind(),
                    StoreErrorKind::Conflict | StoreErrorKind::Busy
                ) =>
            {
                tracing::debug!(error = %error, "another server brings the tables up to date");
            }
            other => return other,
        }
    }
    step(database).await
}

async fn step(database: &Database) -> Result<(), StoreError> {
    let mut tx = database.write(Durability::Full).await?;
    let table =
        "CREATE TABLE IF NOT EXISTS sori_schema (version BIGINT NOT NULL PRIMARY KEY){table}";
    tx.run(table, binds![]).await?;
    let found = tx
        .row("SELECT MAX(version) AS version FROM sori_schema", binds![])
        .await?;
    let version: Option<i64> = match &found {
        Some(row) => get(row, "version")?,
        None => None,
    };
    let done = usize::try_from(version.unwrap_or(0)).unwrap_or(usize::MAX);
    let Some(steps) = STEPS.get(done..) else {
        return Err(StoreError::new(
            StoreErrorKind::Damaged,
            format!(
                "the database is of version {done}, this program knows {}: use the newer program",
                STEPS.len()
            ),
        ));
    };
    for (n, step) in (done as i64 + 1..).zip(steps) {
        for statement in *step {
            tx.run(statement, binds![]).await?;
        }
        tx.run("INSERT INTO sori_schema (version) VALUES (?)", binds![n])
            .await?;
    }
    tx.commit().await
}
