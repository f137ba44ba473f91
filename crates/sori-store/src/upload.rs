//! Uploads that are not finished (tus 1.0); their bytes are a file of the server.

use sqlx::any::AnyRow;

use crate::database::{Durability, binds, get};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::Store;

/// An upload that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Its name, in the URL that the client goes on with.
    pub id: String,
    /// The id of the API key that it belongs to.
    pub owner: Option<String>,
    /// Bytes it will have.
    pub length: u64,
    /// What the client said of it, as JSON.
    pub metadata: String,
    /// When it began, in Unix milliseconds.
    pub created_ms: i64,
    /// When it is forgotten.
    pub expires_ms: i64,
}

const COLUMNS: &str = "id, owner, length, metadata, created_ms, expires_ms";

fn read(row: &AnyRow) -> Result<Upload, StoreError> {
    Ok(Upload {
        id: get(row, "id")?,
        owner: get(row, "owner")?,
        length: get::<i64>(row, "length")?.unsigned_abs(),
        metadata: get(row, "metadata")?,
        created_ms: get(row, "created_ms")?,
        expires_ms: get(row, "expires_ms")?,
    })
}

impl Store {
    /// Writes a new upload.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] when its id exists, [`StoreErrorKind::Invalid`] for more than 2^63 bytes.
    pub async fn add_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        let length = i64::try_from(upload.length).map_err(|_| {
            StoreError::new(StoreErrorKind::Invalid, "an upload of more than 2^63 bytes")
        })?;
        let mut tx = self.database.write(Durability::Full).await?;
        let sql = format!("INSERT INTO sori_uploads ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)");
        let values = binds![
            upload.id.as_str(),
            upload.owner.as_deref(),
            length,
            upload.metadata.as_str(),
            upload.created_ms,
            upload.expires_ms,
        ];
        tx.run(&sql, values).await?;
        tx.commit().await
    }

    /// Returns the upload of that name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn upload(&self, id: &str) -> Result<Option<Upload>, StoreError> {
        let mut session = self.database.read().await?;
        let sql = format!("SELECT {COLUMNS} FROM sori_uploads WHERE id = ?");
        let row = session.row(&sql, binds![id]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Removes an upload. False when there is no such upload.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn remove_upload(&self, id: &str) -> Result<bool, StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        let sql = "DELETE FROM sori_uploads WHERE id = ?";
        let found = tx.run(sql, binds![id]).await?;
        tx.commit().await?;
        Ok(found == 1)
    }

    /// Returns uploads that are to be forgotten at `now_ms`, the oldest first, at most a thousand.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn expired_uploads(&self, now_ms: i64) -> Result<Vec<Upload>, StoreError> {
        let mut session = self.database.read().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM sori_uploads WHERE expires_ms <= ? ORDER BY expires_ms LIMIT 1000"
        );
        let rows = session.rows(&sql, binds![now_ms]).await?;
        rows.iter().map(read).collect()
    }
}
