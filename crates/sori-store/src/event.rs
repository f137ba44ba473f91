//! What happened to a job.

use crate::database::{binds, get};
use crate::error::StoreError;
use crate::id::JobId;
use crate::job::page;
use crate::store::Store;

/// One thing that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, 1, 2, 3 … within the job.
    pub seq: i64,
    /// The state that the job came into (`queued`, `running`, `retrying`, `done`, `partial`, `failed`, `cancelled`), or
    /// `progress`, or `cancel_asked`.
    pub kind: String,
    /// JSON: `state`, `attempt`, `progress`, and where they apply `stage`, `message`, `error` (`kind`, `message`), `due_ms`.
    pub data: String,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
}

impl Store {
    /// Returns what happened to a job after its event `after_seq` (0 for everything), oldest first, at most `limit`
    /// (up to [`MAX_PAGE`](crate::job::MAX_PAGE)). Empty when there is no such job.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events(
        &self,
        id: &JobId,
        after_seq: i64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let mut session = self.database.read().await?;
        let values = binds![id.as_str(), after_seq, page(limit)];
        let rows = session.rows(EVENTS, values).await?;
        rows.iter()
            .map(|row| {
                Ok(Event {
                    seq: get(row, "seq")?,
                    kind: get(row, "kind")?,
                    data: get(row, "data")?,
                    at_ms: get(row, "at_ms")?,
                })
            })
            .collect()
    }
}

pub(crate) const EVENTS: &str =
    "SELECT seq, kind, data, at_ms FROM sori_events WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?";
