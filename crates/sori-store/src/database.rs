//! Connections, transactions, and what differs between the databases.

use std::borrow::Cow;
use std::ops::DerefMut;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyPoolOptions, AnyRow};
use sqlx::pool::PoolConnection;
use sqlx::{
    Any, AnyConnection, AnyPool, Arguments, AssertSqlSafe, Connection, Decode, Encode, Executor,
    Row, Transaction, Type,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{StoreError, StoreErrorKind};

/// How long a statement waits for another process that writes to the same SQLite file.
const BUSY_MS: u32 = 30_000;
/// Connections that read a SQLite file at once; each has a cache of 2 MiB.
const READERS: u32 = 4;
/// Connections to a PostgreSQL or MariaDB server.
const CONNECTIONS: u32 = 8;
/// How often a change that was overtaken is done again.
const MAX_RACES: usize = 64;

/// Which database it is: the one place that knows how their SQL differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    Mariadb,
}

impl Dialect {
    fn of(url: &str) -> Result<Self, StoreError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            Some("mysql" | "mariadb") => Ok(Self::Mariadb),
            _ => Err(StoreError::new(
                StoreErrorKind::Invalid,
                "a database is named by sqlite:///FILE, postgres://… or mysql://…",
            )),
        }
    }

    /// The same statement as this database writes it: types of columns in braces, and PostgreSQL's numbered placeholders.
    pub(crate) fn sql(self, text: &str) -> Cow<'_, str> {
        let mut sql = Cow::Borrowed(text);
        let (key, long, int, table) = match self {
            Self::Sqlite => ("TEXT", "TEXT", "BIGINT", ""),
            Self::Postgres => ("VARCHAR(255) COLLATE \"C\"", "TEXT", "BIGINT", ""),
            // Case matters in ids. 255 characters of four bytes fit InnoDB's keys of 3072 bytes three times.
            Self::Mariadb => (
                "VARCHAR(255)",
                "LONGTEXT",
                "SIGNED",
                " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
            ),
        };
        if sql.contains('{') {
            let words = [
                ("{key}", key),
                ("{text}", long),
                ("{int}", int),
                ("{table}", table),
            ];
            for (word, meaning) in words {
                sql = Cow::Owned(sql.replace(word, meaning));
            }
        }
        if self == Self::Postgres && sql.contains('?') {
            let mut parts = sql.split('?');
            let mut numbered = parts.next().unwrap_or_default().to_owned();
            for (n, part) in parts.enumerate() {
                numbered.push_str(&format!("${}", n + 1));
                numbered.push_str(part);
            }
            sql = Cow::Owned(numbered);
        }
        sql
    }
}

/// Adds a value to the values of a statement.
pub(crate) fn push<'t, T: Encode<'t, Any> + Type<Any>>(values: &mut AnyArguments, value: T) {
    values
        .add(value)
        .expect("whole numbers, fractions and texts can always be encoded");
}

/// The values of a statement's placeholders, in order.
macro_rules! binds {
    ($($value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut values = sqlx::any::AnyArguments::default();
        $( $crate::database::push(&mut values, $value); )*
        values
    }};
}
pub(crate) use binds;

/// The value of a column.
pub(crate) fn get<'r, T: Decode<'r, Any> + Type<Any>>(
    row: &'r AnyRow,
    column: &str,
) -> Result<T, StoreError> {
    Ok(row.try_get(column)?)
}

/// Whether a change must be on disk when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It survives a loss of power: what accepts and what ends jobs.
    Full,
    /// It survives a killed process, and may be undone as a whole by a loss of power, which ends every lease anyway: claims,
    /// heartbeats, progress. (SQLite's `synchronous=NORMAL`; servers make no difference here.)
    Quick,
}

/// A connection that statements run on: inside a transaction or not.
pub(crate) trait Connected: DerefMut<Target = AnyConnection> + Send {}
impl Connected for Transaction<'static, Any> {}
impl Connected for PoolConnection<Any> {}

/// A connection and the dialect that it speaks.
pub(crate) struct Session<C> {
    connection: C,
    dialect: Dialect,
    /// Kept for its drop, after that of the connection.
    _turn: Option<OwnedSemaphorePermit>,
}

/// A transaction; dropped without [`Tx::commit`] it changes nothing, and lets go of its locks some time later.
pub(crate) type Tx = Session<Transaction<'static, Any>>;

impl<C: Connected> Session<C> {
    /// The statement in this database's dialect.
    pub(crate) fn sql<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.dialect.sql(text)
    }

    /// What ends a query for a row that is to be changed, so that it takes none that another server is about to change: else all
    /// servers want the same first row, and an unlucky one never gets any. (PostgreSQL 9.5, MariaDB 10.6, MySQL 8.)
    pub(crate) fn skip_locked(&self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite => "",
            Dialect::Postgres | Dialect::Mariadb => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Runs a statement and returns how many rows it found to change.
    pub(crate) async fn run(&mut self, sql: &str, values: AnyArguments) -> Result<u64, StoreError> {
        let sql = AssertSqlSafe(self.dialect.sql(sql).into_owned());
        let done = sqlx::query_with(sql, values).execute(&mut *self.connection);
        Ok(done.await?.rows_affected())
    }

    /// Returns the rows that a statement finds.
    pub(crate) async fn rows(
        &mut self,
        sql: &str,
        values: AnyArguments,
    ) -> Result<Vec<AnyRow>, StoreError> {
        let sql = AssertSqlSafe(self.dialect.sql(sql).into_owned());
        let found = sqlx::query_with(sql, values).fetch_all(&mut *self.connection);
        Ok(found.await?)
    }

    /// Returns the first row that a statement finds.
    pub(crate) async fn row(
        &mut self,
        sql: &str,
        values: AnyArguments,
    ) -> Result<Option<AnyRow>, StoreError> {
        let sql = AssertSqlSafe(self.dialect.sql(sql).into_owned());
        let found = sqlx::query_with(sql, values).fetch_optional(&mut *self.connection);
        Ok(found.await?)
    }
}

impl Tx {
    /// Makes everything that was run lasting.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.connection.commit().await?)
    }

    /// Makes everything undone that was run, and lets go of every lock before it returns.
    pub(crate) async fn undo(self) -> Result<(), StoreError> {
        Ok(self.connection.rollback().await?)
    }
}

/// The pools of connections of one database.
#[derive(Debug)]
pub(crate) struct Database {
    dialect: Dialect,
    full: AnyPool,
    quick: AnyPool,
    readers: AnyPool,
    /// SQLite has one writer at a time. A semaphore of one, because it is fair and its permit moves with the transaction: who
    /// comes while it is taken waits in line, and nobody ever sees "database is locked". It is never closed. Servers have none.
    turn: Option<Arc<Semaphore>>,
}

impl Database {
    pub(crate) async fn open(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::of(url)?;
        if dialect != Dialect::Sqlite {
            let setup = match dialect {
                // A change that waited for a lock must see what the other one wrote, not a snapshot from before.
                Dialect::Mariadb => "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                _ => "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
            };
            let pool = connect(url, CONNECTIONS, setup.to_owned()).await?;
            let (full, quick) = (pool.clone(), pool.clone());
            return Ok(Self {
                dialect,
                full,
                quick,
                readers: pool,
                turn: None,
            });
        }
        create_private(url)?;
        let setup = |more: &str| {
            format!(
                "PRAGMA busy_timeout = {BUSY_MS}; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; \
                 PRAGMA secure_delete = ON; PRAGMA {more};"
            )
        };
        Ok(Self {
            dialect,
            full: connect(url, 1, setup("synchronous = FULL")).await?,
            quick: connect(url, 1, setup("synchronous = NORMAL")).await?,
            readers: connect(url, READERS, setup("query_only = ON")).await?,
            turn: Some(Arc::new(Semaphore::new(1))),
        })
    }

    pub(crate) async fn read(&self) -> Result<Session<PoolConnection<Any>>, StoreError> {
        Ok(Session {
            connection: self.readers.acquire().await?,
            dialect: self.dialect,
            _turn: None,
        })
    }

    pub(crate) async fn write(&self, durability: Durability) -> Result<Tx, StoreError> {
        let turn = match &self.turn {
            Some(turn) => Some(
                turn.clone()
                    .acquire_owned()
                    .await
                    .expect("the semaphore is never closed"),
            ),
            None => None,
        };
        let pool = match durability {
            Durability::Full => &self.full,
            Durability::Quick => &self.quick,
        };
        let begin = match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres | Dialect::Mariadb => "BEGIN",
        };
        Ok(Session {
            connection: pool.begin_with(begin).await?,
            dialect: self.dialect,
            _turn: turn,
        })
    }

    /// Runs an operation, and runs it again when another server changed the same row in between.
    pub(crate) async fn retrying<T, F>(
        &self,
        mut operation: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        // On SQLite nobody overtakes a transaction; busy there is another process that kept the file for BUSY_MS.
        let races = match self.dialect {
            Dialect::Sqlite => 1,
            Dialect::Postgres | Dialect::Mariadb => MAX_RACES,
        };
        for _ in 1..races {
            match operation().await {
                Err(error) if error.kind() == StoreErrorKind::Busy => {
                    tokio::task::yield_now().await
                }
                other => return other,
            }
        }
        operation().await
    }

    pub(crate) async fn close(&self) {
        for pool in [&self.readers, &self.quick, &self.full] {
            pool.close().await;
        }
    }
}

async fn connect(url: &str, connections: u32, setup: String) -> Result<AnyPool, StoreError> {
    // The URL may hold a password, so it is not said.
    let refused = |error| {
        let message = "the database cannot be opened";
        StoreError::new(StoreErrorKind::Unavailable, message).caused_by(error)
    };
    let setup: Arc<str> = setup.into();
    // A pool tries for long what can never work; one connection says at once that it does not.
    let mut first = AnyConnection::connect(url).await.map_err(refused)?;
    let prepared = sqlx::raw_sql(AssertSqlSafe(setup.clone()));
    first.execute(prepared).await.map_err(refused)?;
    first.close().await.map_err(refused)?;
    let mut options = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_millis(BUSY_MS.into()));
    if url.starts_with("sqlite") {
        // A file does not go away as a server does.
        options = options
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false);
    }
    let options = options.after_connect(move |connection, _| {
        let setup = setup.clone();
        Box::pin(async move {
            let prepared = sqlx::raw_sql(AssertSqlSafe(setup));
            connection.execute(prepared).await?;
            Ok(())
        })
    });
    options.connect(url).await.map_err(refused)
}

/// Creates the file of a SQLite database, readable by this user only, with its folder.
fn create_private(url: &str) -> Result<(), StoreError> {
    let path = sqlite_path(url)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| StoreError::io(folder, e))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).map_err(|e| StoreError::io(&path, e))?;
    Ok(())
}

/// The file that `sqlite:///path` names.
fn sqlite_path(url: &str) -> Result<PathBuf, StoreError> {
    let bad = || {
        StoreError::new(
            StoreErrorKind::Invalid,
            "a SQLite database is named by sqlite:///FILE, an absolute path",
        )
    };
    let rest = url.strip_prefix("sqlite://").ok_or_else(bad)?;
    let file = url::Url::parse(&format!("file://{rest}")).map_err(|_| bad())?;
    file.to_file_path().map_err(|()| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_written_in_each_dialect() {
        let sql = "INSERT INTO t (a {key}) VALUES (?, ?){table}";
        let written = |dialect: Dialect| dialect.sql(sql).into_owned();
        assert_eq!(
            written(Dialect::Sqlite),
            "INSERT INTO t (a TEXT) VALUES (?, ?)"
        );
        assert_eq!(
            written(Dialect::Postgres),
            "INSERT INTO t (a VARCHAR(255) COLLATE \"C\") VALUES ($1, $2)"
        );
        assert!(
            written(Dialect::Mariadb)
                .ends_with("(?, ?) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin")
        );
    }

    #[test]
    fn urls_name_a_database_or_are_refused() {
        assert_eq!(
            sqlite_path("sqlite:///a/b%20c.db").unwrap(),
            PathBuf::from("/a/b c.db")
        );
        for bad in ["sqlite::memory:", "sqlite:a.db", "sqlite://a.db"] {
            assert_eq!(
                sqlite_path(bad).unwrap_err().kind(),
                StoreErrorKind::Invalid,
                "{bad}"
            );
        }
        for bad in ["", "redis://x", "/file.db"] {
            assert_eq!(
                Dialect::of(bad).unwrap_err().kind(),
                StoreErrorKind::Invalid,
                "{bad}"
            );
        }
    }
}
