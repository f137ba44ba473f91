//! The database of a server.

use std::path::Path;
use std::sync::Arc;

use crate::database::{Database, binds};
use crate::error::{StoreError, StoreErrorKind};
use crate::lease::BACKOFF_MS;
use crate::schema;

/// Where the database is, and who asks.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// `sqlite:///FILE` (created, with its folder, when it is not there), `postgres://…` or `mysql://…`.
    pub url: String,
    /// The name of this server, 1 to 255 bytes, the same after a restart and unlike that of any other server: it gets its own
    /// leases back when it starts.
    pub node: String,
    /// Milliseconds until a job is tried again, after the first failure or lost worker, the second, and all others.
    pub backoff_ms: [i64; 3],
}

impl StoreOptions {
    /// The options for a database, with [`BACKOFF_MS`].
    pub fn new(url: &str, node: &str) -> Self {
        Self {
            url: url.to_owned(),
            node: node.to_owned(),
            backoff_ms: BACKOFF_MS,
        }
    }

    /// The options for a SQLite file.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] when the path is not absolute.
    pub fn sqlite(file: &Path, node: &str) -> Result<Self, StoreError> {
        let url = url::Url::from_file_path(file).map_err(|()| {
            let message = format!("{}: give an absolute path", file.display());
            StoreError::new(StoreErrorKind::Invalid, message)
        })?;
        Ok(Self::new(&format!("sqlite://{}", url.path()), node))
    }
}

/// Everything that must survive a killed process. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) database: Arc<Database>,
    pub(crate) node: Arc<str>,
    pub(crate) backoff_ms: [i64; 3],
}

impl Store {
    /// Opens the database and brings its tables up to date.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] for a bad URL or node, [`StoreErrorKind::Damaged`] when a newer version wrote the tables,
    /// [`StoreErrorKind::Unavailable`] when it cannot be reached or written.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        if !(1..=255).contains(&options.node.len()) {
            let message = "a node's name has 1 to 255 bytes";
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let database = Database::open(&options.url).await?;
        schema::migrate(&database).await?;
        Ok(Self {
            database: Arc::new(database),
            node: options.node.as_str().into(),
            backoff_ms: options.backoff_ms,
        })
    }

    /// The name of this server.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Returns when the database has answered.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut session = self.database.read().await?;
        session.row("SELECT n FROM sori_counters", binds![]).await?;
        Ok(())
    }

    /// Closes every connection; a SQLite database is one file afterwards. What is called later fails.
    pub async fn close(&self) {
        self.database.close().await;
    }
}
