//! The error of everything that is stored.

use std::fmt;

/// What went wrong, for code that decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// What was given breaks a rule: an id, a URL, a key of a blob.
    Invalid,
    /// The id is taken by something else, or the state does not allow it.
    Conflict,
    /// A limit of admission is reached; [`StoreError::limit`] says which.
    Full,
    /// There is no such thing.
    NotFound,
    /// Others kept changing the same row; trying again helps.
    Busy,
    /// The database, the disk or the bucket does not answer, or refuses.
    Unavailable,
    /// What was read breaks its own rules, or was written by a newer version.
    Damaged,
}

/// The limit of admission that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Jobs that wait.
    Queued,
    /// Bytes of media of all unfinished jobs.
    Bytes,
    /// Unfinished jobs of one owner.
    Owner,
}

/// An error with what it is about and what to do next.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    limit: Option<Limit>,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error; the message says what, where, and what to do next.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            limit: None,
            message: message.into(),
            source: None,
        }
    }

    /// Returns the error with the error that caused it.
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn full(limit: Limit, message: impl Into<String>) -> Self {
        Self {
            limit: Some(limit),
            ..Self::new(StoreErrorKind::Full, message)
        }
    }

    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => StoreErrorKind::NotFound,
            _ => StoreErrorKind::Unavailable,
        };
        Self::new(kind, format!("{}: cannot be used", path.display())).caused_by(source)
    }

    /// What went wrong.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Which limit is reached, for [`StoreErrorKind::Full`]; none for any other kind.
    pub fn limit(&self) -> Option<Limit> {
        self.limit
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as _)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use StoreErrorKind::{Busy, Conflict, Damaged, Unavailable};
        let (kind, message) = match &error {
            sqlx::Error::Database(database) if database.is_unique_violation() => {
                (Conflict, "it exists already")
            }
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // Deadlock and failed serialisation (SQLSTATE 40001, 40P01); SQLITE_BUSY and its extended codes.
                Some("40001" | "40P01" | "5" | "261" | "517") => (Busy, "the database is busy"),
                // SQLITE_CORRUPT, SQLITE_NOTADB.
                Some("11" | "26") => (Damaged, "the database file is damaged: restore it"),
                // SQLITE_FULL.
                Some("13") => (Unavailable, "the disk of the database is full"),
                _ => (Unavailable, "the database refused"),
            },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) => {
                (Damaged, "a row cannot be read")
            }
            _ => (Unavailable, "the database does not answer"),
        };
        Self::new(kind, message).caused_by(error)
    }
}

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        let kind = match error {
            object_store::Error::NotFound { .. } => StoreErrorKind::NotFound,
            object_store::Error::InvalidPath { .. } => StoreErrorKind::Invalid,
            _ => StoreErrorKind::Unavailable,
        };
        Self::new(kind, "the store of files").caused_by(error)
    }
}
