//! A fresh database for each test.

use std::future::Future;

use sori_store::{Accepted, Admission, Job, JobId, Lease, NewJob, Priority, Store, StoreOptions};
use sqlx::{AssertSqlSafe, Connection, Executor};

/// A limit that no test reaches by accident.
pub const OPEN: Admission = Admission {
    max_queued: 1 << 40,
    max_bytes: 1 << 40,
    max_per_owner: 1 << 40,
};
pub const LEASE: i64 = 30_000;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Sqlite,
    Postgres,
    Mariadb,
}

/// An empty database, and the store of a node `one` on it.
pub struct Fresh {
    pub kind: Kind,
    pub url: String,
    pub store: Store,
    pub folder: tempfile::TempDir,
}

impl Fresh {
    /// One more server on the same database.
    pub async fn open(&self, node: &str) -> Store {
        let options = StoreOptions::new(&self.url, node);
        Store::open(&options).await.unwrap()
    }

    /// Runs a statement behind the store's back.
    pub async fn sql(&self, statement: &str) {
        sql(&self.url, statement).await;
    }

    pub async fn accept(&self, id: &str) -> Job {
        accept(&self.store, new(id), 0).await
    }

    pub async fn claim(&self, now_ms: i64) -> Lease {
        self.store
            .claim("w", LEASE, now_ms)
            .await
            .unwrap()
            .expect("a job is due")
    }

    pub async fn job(&self, id: &str) -> Job {
        self.store
            .job(&name(id))
            .await
            .unwrap()
            .expect("the job is known")
    }
}

pub async fn sql(url: &str, statement: &str) {
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statement)))
        .await
        .unwrap();
    connection.close().await.unwrap();
}

pub fn name(id: &str) -> JobId {
    JobId::parse(id).unwrap()
}

pub fn new(id: &str) -> NewJob {
    NewJob {
        id: name(id),
        owner: None,
        priority: Priority::Normal,
        request: "{}".to_owned(),
        fingerprint: "f".to_owned(),
        media: None,
        bytes: 10,
        callback: Some("https://example.org/hook".to_owned()),
    }
}

pub async fn accept(store: &Store, new: NewJob, now_ms: i64) -> Job {
    match store.accept(new, &OPEN, now_ms).await.unwrap() {
        Accepted::New(job) => job,
        Accepted::Known(job) => panic!("{} was known", job.id),
    }
}

/// Runs a test on one database, or says that it does not.
pub fn run<F: Future<Output = ()>>(kind: Kind, test: impl FnOnce(Fresh) -> F) {
    let server = match kind {
        Kind::Sqlite => None,
        Kind::Postgres => Some("SORI_TEST_POSTGRES"),
        Kind::Mariadb => Some("SORI_TEST_MARIADB"),
    };
    let server = match server.map(|variable| (variable, std::env::var(variable))) {
        None => None,
        Some((_, Ok(url))) => Some(url),
        Some((variable, Err(_))) => {
            eprintln!("SKIPPED: {variable} is not set; see scripts/services");
            return;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sori_{}", uuid::Uuid::now_v7().simple());
        let url = match &server {
            None => {
                StoreOptions::sqlite(&folder.path().join("sori.db"), "one")
                    .unwrap()
                    .url
            }
            Some(server) => {
                sql(server, &format!("CREATE DATABASE {database}")).await;
                format!("{}/{database}", server.rsplit_once('/').unwrap().0)
            }
        };
        let store = Store::open(&StoreOptions::new(&url, "one")).await.unwrap();
        let closing = store.clone();
        test(Fresh {
            kind,
            url,
            store,
            folder,
        })
        .await;
        closing.close().await;
        if let Some(server) = &server {
            let force = if kind == Kind::Postgres {
                " WITH (FORCE)"
            } else {
                ""
            };
            sql(server, &format!("DROP DATABASE {database}{force}")).await;
        }
    });
}

/// Makes three tests of each function: on SQLite, PostgreSQL and MariaDB.
macro_rules! on_every_database {
    ($($test:ident)*) => {$(
        mod $test {
            use crate::database::{Kind, run};
            #[test]
            fn sqlite() {
                run(Kind::Sqlite, super::$test);
            }
            #[test]
            fn postgres() {
                run(Kind::Postgres, super::$test);
            }
            #[test]
            fn mariadb() {
                run(Kind::Mariadb, super::$test);
            }
        }
    )*};
}
pub(crate) use on_every_database;
