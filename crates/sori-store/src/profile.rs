//! Remembered voices. Each belongs to an owner, and names are told apart within one owner only.

use sqlx::any::AnyRow;

use crate::database::{Durability, binds, get};
use crate::error::StoreError;
use crate::store::Store;

const COLUMNS: &str = "SELECT owner, name, embedder, data, created_ms FROM sori_profiles";

/// A person's voice; biometric, so it is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct ProfileRow {
    /// The id of the key whose holder enrolled it; none where no keys are asked for.
    pub owner: Option<String>,
    /// The person's name, at most 255 characters.
    pub name: String,
    /// The embedder that it belongs to.
    pub embedder: String,
    /// The profile as JSON; opaque here, though it usually says the name once more.
    pub data: String,
    /// When it was enrolled, in Unix milliseconds.
    pub created_ms: i64,
}

impl std::fmt::Debug for ProfileRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProfileRow")
            .field("owner", &self.owner)
            .field("embedder", &self.embedder)
            .finish_non_exhaustive()
    }
}

/// The owner as it stands in the table: a part of a primary key cannot be null, and no key has an empty id.
fn column(owner: Option<&str>) -> &str {
    owner.unwrap_or_default()
}

fn read(row: &AnyRow) -> Result<ProfileRow, StoreError> {
    let owner: String = get(row, "owner")?;
    Ok(ProfileRow {
        owner: Some(owner).filter(|owner| !owner.is_empty()),
        name: get(row, "name")?,
        embedder: get(row, "embedder")?,
        data: get(row, "data")?,
        created_ms: get(row, "created_ms")?,
    })
}

impl Store {
    /// Writes a profile, in place of its owner's one of the same name.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn put_profile(&self, profile: &ProfileRow) -> Result<(), StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        let owner = column(profile.owner.as_deref());
        let (name, embedder) = (profile.name.as_str(), profile.embedder.as_str());
        let (data, created) = (profile.data.as_str(), profile.created_ms);
        let sql = "UPDATE sori_profiles SET embedder = ?, data = ?, created_ms = ? WHERE owner = ? AND name = ?";
        let values = binds![embedder, data, created, owner, name];
        if tx.run(sql, values).await? == 0 {
            let sql = "INSERT INTO sori_profiles (owner, name, embedder, data, created_ms) VALUES (?, ?, ?, ?, ?)";
            tx.run(sql, binds![owner, name, embedder, data, created])
                .await?;
        }
        tx.commit().await
    }

    /// Returns this owner's profile of that name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn profile(
        &self,
        owner: Option<&str>,
        name: &str,
    ) -> Result<Option<ProfileRow>, StoreError> {
        let mut session = self.database.read().await?;
        let sql = format!("{COLUMNS} WHERE owner = ? AND name = ?");
        let row = session.row(&sql, binds![column(owner), name]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Returns every profile of this owner, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn profiles(&self, owner: Option<&str>) -> Result<Vec<ProfileRow>, StoreError> {
        let mut session = self.database.read().await?;
        let sql = format!("{COLUMNS} WHERE owner = ? ORDER BY name");
        let rows = session.rows(&sql, binds![column(owner)]).await?;
        rows.iter().map(read).collect()
    }

    /// Returns every profile of every owner, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn all_profiles(&self) -> Result<Vec<ProfileRow>, StoreError> {
        let mut session = self.database.read().await?;
        let sql = format!("{COLUMNS} ORDER BY name, owner");
        let rows = session.rows(&sql, binds![]).await?;
        rows.iter().map(read).collect()
    }

    /// Gives a profile of the same owner another name and other data, which says that name too. False when there is no profile
    /// of the old name.
    ///
    /// # Errors
    /// [`StoreErrorKind::Conflict`](crate::StoreErrorKind::Conflict) when the new name is taken.
    pub async fn rename_profile(&self, old: &str, new: &ProfileRow) -> Result<bool, StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        let sql = "UPDATE sori_profiles SET name = ?, embedder = ?, data = ? WHERE owner = ? AND name = ?";
        let (name, embedder) = (new.name.as_str(), new.embedder.as_str());
        let owner = column(new.owner.as_deref());
        let values = binds![name, embedder, new.data.as_str(), owner, old];
        let found = tx.run(sql, values).await?;
        tx.commit().await?;
        Ok(found == 1)
    }

    /// Removes the profile `gone` of the same owner and writes the data of both into `merged`, both or neither. False when one
    /// of the two is not there.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn merge_profile(&self, gone: &str, merged: &ProfileRow) -> Result<bool, StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        let (owner, name) = (column(merged.owner.as_deref()), merged.name.as_str());
        let sql = "DELETE FROM sori_profiles WHERE owner = ? AND name = ?";
        if gone == name || tx.run(sql, binds![owner, gone]).await? != 1 {
            return Ok(false);
        }
        let sql = "UPDATE sori_profiles SET data = ? WHERE owner = ? AND name = ?";
        let values = binds![merged.data.as_str(), owner, name];
        if tx.run(sql, values).await? != 1 {
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Removes a profile. False when there is no such profile.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn remove_profile(
        &self,
        owner: Option<&str>,
        name: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.database.write(Durability::Full).await?;
        let sql = "DELETE FROM sori_profiles WHERE owner = ? AND name = ?";
        let found = tx.run(sql, binds![column(owner), name]).await?;
        tx.commit().await?;
        Ok(found == 1)
    }
}
