//! Every query walks an index: what it costs does not grow with the jobs that it is not about.

use crate::admission::UNFINISHED;
use crate::control::EXPIRED;
use crate::database::{binds, get};
use crate::event::EVENTS;
use crate::job::{
    BYTES, COLUMNS, COUNT, COUNT_OWNED, JobFilter, OLDEST, UNFINISHED_BY_CLASS, list_query,
};
use crate::lease::{NEXT_DUE, RAN_OUT};
use crate::{JobId, JobState, Store, StoreOptions, outbox};

/// The steps of SQLite's plan for a query.
async fn plan(store: &Store, sql: &str) -> Vec<String> {
    let mut session = store.database.read().await.unwrap();
    let rows = session
        .rows(&format!("EXPLAIN QUERY PLAN {sql}"), binds![])
        .await
        .unwrap();
    rows.iter().map(|row| get(row, "detail").unwrap()).collect()
}

/// Whether a step reads rows that it does not need, or sorts.
fn is_slow(step: &str) -> bool {
    (step.starts_with("SCAN") && !step.contains("INDEX")) || step.contains("TEMP B-TREE")
}

#[tokio::test]
async fn queries_walk_indices() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions::sqlite(&folder.path().join("sori.db"), "one").unwrap();
    let store = Store::open(&options).await.unwrap();
    let job = |rest: &str| format!("SELECT {COLUMNS} FROM sori_jobs {rest}");
    let mut queries = vec![
        job(NEXT_DUE),
        job(RAN_OUT),
        job("WHERE id = ?"),
        job("WHERE phase = ? AND node = ?"),
        format!("SELECT {} {}", outbox::COLUMNS, outbox::DUE),
        "SELECT id FROM sori_keys WHERE sha256 = ?".to_owned(),
        "SELECT n FROM sori_delivery_attempts WHERE job = ?".to_owned(),
    ];
    queries.extend([OLDEST, EXPIRED, EVENTS, COUNT, COUNT_OWNED].map(str::to_owned));
    queries.push(UNFINISHED_BY_CLASS.to_owned());
    queries.extend([BYTES, UNFINISHED].map(|sql| sql.replace("{int}", "BIGINT")));
    for state in [None, Some(JobState::Done)] {
        for owner in [None, Some("k".to_owned())] {
            for before in [None, Some((1, JobId::fresh()))] {
                let filter = JobFilter {
                    state,
                    owner: owner.clone(),
                    before,
                    limit: 10,
                };
                queries.push(list_query(&filter).0);
            }
        }
    }
    for sql in queries {
        let steps = plan(&store, &sql).await;
        assert!(
            !steps.is_empty() && !steps.iter().any(|step| is_slow(step)),
            "{sql}: {steps:#?}"
        );
    }
    for slow in [
        "SELECT * FROM sori_jobs WHERE progress = 1",
        "SELECT id FROM sori_jobs ORDER BY bytes",
    ] {
        assert!(
            plan(&store, slow).await.iter().any(|step| is_slow(step)),
            "{slow} is slow"
        );
    }
}
