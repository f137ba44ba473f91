//! How fast it is, for people to read: `cargo nextest run --release -p sori-store --run-ignored only --no-capture speed`.

use std::time::Instant;

use crate::database::{Fresh, Kind, LEASE, accept, new, run};

/// The value below which `percent` of all values are, in milliseconds.
fn percentile(millis: &mut [f64], percent: usize) -> f64 {
    millis.sort_by(f64::total_cmp);
    millis[(millis.len() - 1) * percent / 100]
}

/// Resident bytes of this process, in MiB.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = status
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    pages * 4096.0 / f64::from(1 << 20)
}

async fn ten_thousand_jobs(fresh: Fresh) {
    let kind = fresh.kind;
    for (from, to) in [(0, 1_000), (1_000, 9_000), (9_000, 10_000)] {
        let mut millis = Vec::new();
        for n in from..to {
            let start = Instant::now();
            accept(&fresh.store, new(&format!("job-{n}")), n).await;
            millis.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let (p50, p99) = (percentile(&mut millis, 50), percentile(&mut millis, 99));
        println!(
            "{kind:?} accept {from}..{to}: p50 {p50:.2} ms, p99 {p99:.2} ms, {:.0} MiB",
            resident_mib()
        );
    }
    for (what, many) in [("claim", 1_000), ("claim", 1_000)] {
        let start = Instant::now();
        let workers = (0..4).map(|n| {
            let store = fresh.store.clone();
            tokio::spawn(async move {
                for _ in 0..many / 4 {
                    store
                        .claim(&format!("w{n}"), LEASE, 1 << 40)
                        .await
                        .unwrap()
                        .unwrap();
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await.unwrap();
        }
        println!(
            "{kind:?} {what}: {:.0} /s by 4 workers",
            f64::from(many) / start.elapsed().as_secs_f64()
        );
    }
    let start = Instant::now();
    fresh.store.load(1 << 41).await.unwrap();
    println!(
        "{kind:?} load: {:.2} ms",
        start.elapsed().as_secs_f64() * 1e3
    );
    let start = Instant::now();
    let page = sori_store::JobFilter {
        limit: 100,
        ..Default::default()
    };
    assert_eq!(fresh.store.jobs(&page).await.unwrap().len(), 100);
    println!(
        "{kind:?} page of 100: {:.2} ms, {:.0} MiB",
        start.elapsed().as_secs_f64() * 1e3,
        resident_mib()
    );
}

#[test]
#[ignore = "it measures"]
fn sqlite() {
    run(Kind::Sqlite, ten_thousand_jobs);
}

#[test]
#[ignore = "it measures"]
fn postgres() {
    run(Kind::Postgres, ten_thousand_jobs);
}

#[test]
#[ignore = "it measures"]
fn mariadb() {
    run(Kind::Mariadb, ten_thousand_jobs);
}
