//! API keys, of which only the hash is kept.

use sqlx::any::AnyRow;

use crate::database::{Durability, binds, get};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::Store;

/// How long a key's last use is not written again.
const TOUCH_MS: i64 = 60_000;

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its public id, which jobs have as their owner.
    pub id: String,
    /// What its holder calls it.
    pub name: String,
    /// SHA-256 of the secret, in hex.
    pub sha256: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// When it ends; the caller checks.
    pub expires_ms: Option<i64>,
    /// When it was last used, to the minute.
    pub used_ms: Option<i64>,
}

const COLUMNS: &str = "id, name, sha256, scopes, created_ms, expires_ms, used_ms";

fn read(row: &AnyRow) -> Result<KeyRecord, StoreError> {
    let scopes: String = get(row, "scopes")?;
    Ok(KeyRecord {
        id: get(row, "id")?,
        name: get(row, "name")?,
        sha256: get(row, "sha256")?,
        scopes: serde_json::from_str(&scopes).map_err(|error| {
            StoreError::new(StoreErrorKind::Damaged, "a key's scopes").caused_by(error)
        })?,
        created_ms: get(row, "created_ms")?,
        expires_ms: get(row, "expires_ms")?,
        used_ms: get(row, "used_ms")?,
    })
}

impl Store {
    /// Writes a new key.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`] when its id or hash exists.
    pub async fn add_key(&self, key: &KeyRecord) -> Result<(), StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        let scopes = serde_json::to_string(&key.scopes).expect("texts are always JSON");
        let sql = "INSERT INTO sori_keys (id, name, sha256, scopes, created_ms, expires_ms, used_ms) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let values = binds![
            key.id.as_str(),
            key.name.as_str(),
            key.sha256.as_str(),
            scopes,
            key.created_ms,
            key.expires_ms,
            key.used_ms,
        ];
        tx.run(sql, values).await?;
        tx.commit().await
    }

    /// Returns the key whose secret has this hash, expired or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn key_by_hash(&self, sha256: &str) -> Result<Option<KeyRecord>, StoreError> {
        let mut session = self.database.read().await?;
        let sql = format!("SELECT {COLUMNS} FROM sori_keys WHERE sha256 = ?");
        let row = session.row(&sql, binds![sha256]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Returns every key, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let mut session = self.database.read().await?;
        let sql = format!("SELECT {COLUMNS} FROM sori_keys ORDER BY created_ms, id");
        let rows = session.rows(&sql, binds![]).await?;
        rows.iter().map(read).collect()
    }

    /// Removes a key; it opens nothing from now on. False when there is no such key.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn revoke_key(&self, id: &str) -> Result<bool, StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        let sql = "DELETE FROM sori_keys WHERE id = ?";
        let found = tx.run(sql, binds![id]).await?;
        tx.commit().await?;
        Ok(found == 1)
    }

    /// Writes that a key was used, at most once a minute.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn touch_key(&self, id: &str, now_ms: i64) -> Result<(), StoreError> {
        let mut tx = self.database.write(Durability::Quick).await?;
        let sql =
            "UPDATE sori_keys SET used_ms = ? WHERE id = ? AND (used_ms IS NULL OR used_ms <= ?)";
        let values = binds![now_ms, id, now_ms.saturating_sub(TOUCH_MS)];
        if tx.run(sql, values).await? == 1 {
            tx.commit().await?;
        }
        Ok(())
    }
}
