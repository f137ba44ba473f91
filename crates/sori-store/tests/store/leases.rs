//! Claims, fencing, lost workers, failures.

use std::collections::HashSet;

use sori_store::lease::{BACKOFF_MS, MAX_LOSSES};
use sori_store::{
    Ending, JobError, JobState, NewJob, Priority, Progress, Renewal, Retry, Store, StoreError,
    StoreErrorKind,
};

use crate::database::{Fresh, LEASE, accept, name, new, on_every_database};

on_every_database! {
    four_workers_get_each_job_once
    a_zombie_changes_nothing
    a_job_can_end_whatever_its_error_says
    four_endings_at_once_are_one
    lost_workers_are_counted_apart
    failures_back_off_and_end
    a_claim_in_vain_keeps_nothing
    an_input_at_fault_fails_at_once
    low_never_starves
    a_restart_gives_its_leases_back
    a_released_job_is_next_again
    progress_never_goes_back
    many_servers_never_see_a_lock
}

pub fn failed(retry: Retry) -> Ending {
    let error = JobError {
        kind: "internal".to_owned(),
        message: "it broke".to_owned(),
    };
    Ending::Failed { error, retry }
}

pub fn progress(percent: u8) -> Progress {
    Progress {
        stage: "transcribe".to_owned(),
        percent,
        message: "on it".to_owned(),
    }
}

async fn four_workers_get_each_job_once(fresh: Fresh) {
    for n in 0..1000 {
        accept(&fresh.store, new(&format!("job-{n}")), 0).await;
    }
    let other = fresh.open("two").await;
    let workers = (0..4).map(|n| {
        let store = if n % 2 == 0 {
            fresh.store.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            let mut mine = Vec::new();
            while let Some(lease) = store.claim(&format!("w{n}"), LEASE, 1).await.unwrap() {
                assert_eq!(lease.attempt, 1);
                mine.push(lease.job.id);
            }
            mine
        })
    });
    let mut all = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        all.extend(worker.await.unwrap());
    }
    assert_eq!(all.len(), 1000);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 1000);
    assert_eq!(fresh.store.load(2).await.unwrap().running, 1000);
}

async fn a_zombie_changes_nothing(fresh: Fresh) {
    fresh.accept("a").await;
    let zombie = fresh.claim(0).await;
    assert_eq!(fresh.store.reap(LEASE - 1).await.unwrap(), []);
    assert_eq!(fresh.store.reap(LEASE).await.unwrap(), [name("a")]);
    let check = async |at: i64| {
        let before = fresh.job("a").await;
        let events = fresh.store.events(&name("a"), 0, 100).await.unwrap();
        assert_eq!(
            fresh.store.renew(&zombie, LEASE, at).await.unwrap(),
            Renewal::Lost
        );
        assert!(
            !fresh
                .store
                .progress(&zombie, progress(50), at)
                .await
                .unwrap()
        );
        for ending in [
            Ending::Done { duration: 1.0 },
            failed(Retry::No),
            Ending::Released,
            Ending::Cancelled,
        ] {
            assert!(
                fresh
                    .store
                    .finish(&zombie, ending, at)
                    .await
                    .unwrap()
                    .is_none()
            );
        }
        assert_eq!(fresh.job("a").await, before);
        assert_eq!(
            fresh.store.events(&name("a"), 0, 100).await.unwrap(),
            events
        );
        assert_eq!(fresh.store.deliveries(&name("a")).await.unwrap(), []);
    };
    check(LEASE).await;
    // The same worker's name does not help: the attempt is another.
    let second = fresh.claim(LEASE + BACKOFF_MS[0]).await;
    assert_eq!(second.attempt, 2);
    check(LEASE + BACKOFF_MS[0]).await;
    // Nor does the right attempt with another name.
    let thief = sori_store::Lease {
        worker: "thief".to_owned(),
        ..second.clone()
    };
    assert!(
        fresh
            .store
            .finish(&thief, Ending::Cancelled, 0)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        fresh
            .store
            .finish(&second, Ending::Done { duration: 9.5 }, 70_000)
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        fresh
            .store
            .finish(&second, Ending::Done { duration: 1.0 }, 80_000)
            .await
            .unwrap()
            .is_none()
    );
    let job = fresh.job("a").await;
    assert_eq!(
        (job.state, job.progress, job.losses),
        (JobState::Done, 100, 1)
    );
    assert_eq!(
        (job.duration_seconds, job.finished_ms),
        (Some(9.5), Some(70_000))
    );
    assert_eq!(fresh.store.deliveries(&name("a")).await.unwrap().len(), 1);
}

async fn a_job_can_end_whatever_its_error_says(fresh: Fresh) {
    fresh.accept("a").await;
    let lease = fresh.claim(0).await;
    let long = "\0가".repeat(100_000);
    let said = Progress {
        stage: long.clone(),
        percent: 1,
        message: long.clone(),
    };
    assert!(fresh.store.progress(&lease, said, 1).await.unwrap());
    let error = JobError {
        kind: "in\0put".to_owned(),
        message: long,
    };
    assert!(
        fresh
            .store
            .finish(
                &lease,
                Ending::Partial {
                    duration: f64::NAN,
                    error
                },
                2
            )
            .await
            .unwrap()
            .is_some()
    );
    let job = fresh.job("a").await;
    let error = job.error.unwrap();
    assert_eq!(
        (error.kind.as_str(), error.message.as_str()),
        ("input", "가".repeat(4000).as_str())
    );
    assert_eq!(job.duration_seconds, Some(0.0));
    let events = fresh.store.events(&name("a"), 0, 10).await.unwrap();
    assert!(events.iter().all(|event| event.data.len() < 60_000));
}

async fn four_endings_at_once_are_one(fresh: Fresh) {
    let other = fresh.open("two").await;
    for n in 0..100 {
        let id = format!("job-{n}");
        fresh.accept(&id).await;
        let lease = fresh.claim(0).await;
        let ends = (0..4).map(|n| {
            let store = if n % 2 == 0 {
                fresh.store.clone()
            } else {
                other.clone()
            };
            let lease = lease.clone();
            tokio::spawn(async move {
                store
                    .finish(&lease, Ending::Done { duration: 1.0 }, n)
                    .await
                    .unwrap()
            })
        });
        let mut ended = 0;
        for end in ends.collect::<Vec<_>>() {
            ended += u32::from(end.await.unwrap().is_some());
        }
        assert_eq!(ended, 1);
        assert_eq!(
            fresh.store.events(&name(&id), 0, 10).await.unwrap().len(),
            3
        );
    }
}

async fn lost_workers_are_counted_apart(fresh: Fresh) {
    fresh.accept("a").await;
    let mut now = 0;
    // Two failures do not bring a loss nearer to the end.
    for backoff in &BACKOFF_MS[..2] {
        let lease = fresh.claim(now).await;
        assert!(
            fresh
                .store
                .finish(&lease, failed(Retry::Later), now)
                .await
                .unwrap()
                .is_some()
        );
        now += backoff;
    }
    for loss in 1..=MAX_LOSSES {
        let lease = fresh.claim(now).await;
        // A heartbeat keeps it.
        now += LEASE - 1;
        assert_eq!(
            fresh.store.renew(&lease, LEASE, now).await.unwrap(),
            Renewal::Kept
        );
        assert_eq!(fresh.store.reap(now + LEASE - 1).await.unwrap(), []);
        now += LEASE;
        assert_eq!(fresh.store.reap(now).await.unwrap(), [name("a")]);
        assert_eq!(fresh.store.reap(now).await.unwrap(), []);
        let job = fresh.job("a").await;
        assert_eq!((job.losses, job.failures), (loss, 2));
        if loss < MAX_LOSSES {
            assert_eq!(job.state, JobState::Retrying);
            now = job.due_ms;
        }
    }
    let job = fresh.job("a").await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.error.unwrap().kind, "lost");
    assert_eq!(fresh.store.deliveries(&name("a")).await.unwrap().len(), 1);
}

async fn failures_back_off_and_end(fresh: Fresh) {
    fresh.accept("a").await;
    assert_eq!(BACKOFF_MS, [2_000, 10_000, 60_000]);
    let mut now = 5;
    for (failures, wait) in [(1, 2_000), (2, 10_000)] {
        let lease = fresh.claim(now).await;
        assert!(
            fresh
                .store
                .finish(&lease, failed(Retry::Later), now)
                .await
                .unwrap()
                .is_some()
        );
        let job = fresh.job("a").await;
        assert_eq!((job.state, job.failures), (JobState::Retrying, failures));
        assert_eq!((job.due_ms, job.finished_ms), (now + wait, None));
        assert_eq!(job.error.unwrap().message, "it broke");
        assert!(
            fresh
                .store
                .claim("w", LEASE, now + wait - 1)
                .await
                .unwrap()
                .is_none()
        );
        now += wait;
    }
    let lease = fresh.claim(now).await;
    assert!(
        fresh
            .store
            .finish(&lease, failed(Retry::Later), now)
            .await
            .unwrap()
            .is_some()
    );
    let job = fresh.job("a").await;
    assert_eq!(
        (job.state, job.failures, job.attempt),
        (JobState::Failed, 3, 3)
    );
    assert!(
        fresh
            .store
            .claim("w", LEASE, i64::MAX)
            .await
            .unwrap()
            .is_none()
    );
}

/// A database server lets other claims pass over the rows that one has looked at, so who found nothing must have let go of all
/// rows when it says so.
async fn a_claim_in_vain_keeps_nothing(fresh: Fresh) {
    for n in 0..100 {
        let job = fresh.accept(&format!("job-{n}")).await;
        let early = fresh.store.claim("w", LEASE, job.due_ms - 1).await;
        assert_eq!(early.unwrap(), None);
        assert_eq!(fresh.claim(job.due_ms).await.job.id, job.id);
    }
}

async fn an_input_at_fault_fails_at_once(fresh: Fresh) {
    fresh.accept("a").await;
    let lease = fresh.claim(0).await;
    assert!(
        fresh
            .store
            .finish(&lease, failed(Retry::No), 1)
            .await
            .unwrap()
            .is_some()
    );
    let job = fresh.job("a").await;
    assert_eq!(
        (job.state, job.failures, job.finished_ms),
        (JobState::Failed, 1, Some(1))
    );
}

async fn low_never_starves(fresh: Fresh) {
    for n in 0..60 {
        for priority in Priority::ALL {
            let id = format!("{}-{n:03}", priority.name());
            accept(
                &fresh.store,
                NewJob {
                    priority,
                    ..new(&id)
                },
                n,
            )
            .await;
        }
    }
    let mut claimed: Vec<String> = Vec::new();
    while let Some(lease) = fresh.store.claim("w", LEASE, 100).await.unwrap() {
        claimed.push(lease.job.id.to_string());
    }
    assert_eq!(claimed.len(), 180);
    let many =
        |claims: &[String], class: &str| claims.iter().filter(|id| id.starts_with(class)).count();
    for turn in claimed[..72].chunks(12) {
        assert_eq!(
            [many(turn, "high"), many(turn, "normal"), many(turn, "low")],
            [8, 3, 1]
        );
    }
    // High has run out: the others go on, urgent first, and nothing waits.
    assert_eq!(many(&claimed[..96], "high"), 60);
    // Within a class the oldest is first.
    for class in Priority::ALL {
        let of_class = || claimed.iter().filter(|id| id.starts_with(class.name()));
        assert!(of_class().is_sorted());
    }
}

async fn a_restart_gives_its_leases_back(fresh: Fresh) {
    let other = fresh.open("two").await;
    for id in ["a", "b", "c"] {
        fresh.accept(id).await;
    }
    fresh.claim(1).await;
    fresh.claim(1).await;
    other.claim("w", LEASE, 1).await.unwrap().unwrap();
    fresh.store.cancel(&name("b"), 2).await.unwrap();
    fresh.store.close().await;
    let again = fresh.open("one").await;
    let mut given = again.give_back(10).await.unwrap();
    given.sort();
    assert_eq!(given, [name("a"), name("b")]);
    assert_eq!(again.give_back(10).await.unwrap(), []);
    let state = async |id: &str| {
        let job = again.job(&name(id)).await.unwrap().unwrap();
        (job.state, job.losses, job.due_ms)
    };
    assert_eq!(
        state("a").await,
        (JobState::Retrying, 1, 10 + BACKOFF_MS[0])
    );
    assert_eq!(
        state("b").await.0,
        JobState::Cancelled,
        "somebody had asked for it"
    );
    assert_eq!(
        state("c").await,
        (JobState::Running, 0, 0),
        "another server's lease"
    );
}

async fn a_released_job_is_next_again(fresh: Fresh) {
    for id in ["a", "b"] {
        fresh.accept(id).await;
    }
    let lease = fresh.claim(5).await;
    assert!(
        fresh
            .store
            .finish(&lease, Ending::Released, 6)
            .await
            .unwrap()
            .is_some()
    );
    let job = fresh.job("a").await;
    assert_eq!(
        (job.state, job.failures, job.losses),
        (JobState::Queued, 0, 0)
    );
    assert_eq!(fresh.claim(7).await.job.id, name("a"));
}

async fn progress_never_goes_back(fresh: Fresh) {
    fresh.accept("a").await;
    let mut now = 0;
    for (percents, wait) in [([10, 60, 30], 2_000), ([5, 70, 255], 10_000)] {
        let lease = fresh.claim(now).await;
        for percent in percents {
            assert!(
                fresh
                    .store
                    .progress(&lease, progress(percent), now)
                    .await
                    .unwrap()
            );
        }
        assert!(
            fresh
                .store
                .finish(&lease, failed(Retry::Later), now)
                .await
                .unwrap()
                .is_some()
        );
        now += wait;
    }
    let lease = fresh.claim(now).await;
    assert_eq!(lease.job.progress, 99);
    assert!(
        fresh
            .store
            .finish(&lease, Ending::Done { duration: 1.0 }, now)
            .await
            .unwrap()
            .is_some()
    );
    let mut events = Vec::new();
    // In pages, as a client that comes back asks.
    loop {
        let after = events
            .last()
            .map_or(0, |event: &sori_store::Event| event.seq);
        let page = fresh.store.events(&name("a"), after, 4).await.unwrap();
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    assert!(
        events
            .iter()
            .map(|event| event.seq)
            .eq(1..=events.len() as i64)
    );
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    let turn = ["running", "progress", "progress", "progress", "retrying"];
    assert_eq!(
        kinds,
        [&["queued"], &turn[..], &turn[..], &["running", "done"]].concat()
    );
    let read =
        |event: &sori_store::Event| serde_json::from_str::<serde_json::Value>(&event.data).unwrap();
    let percents: Vec<_> = events
        .iter()
        .map(|event| read(event)["progress"].as_u64().unwrap())
        .collect();
    assert!(percents.is_sorted(), "{percents:?}");
    assert_eq!(percents.last(), Some(&100));
    assert_eq!(read(&events[2])["message"], "on it");
    assert_eq!(read(&events[5])["error"]["kind"], "internal");
    assert_eq!(
        fresh.store.events(&name("nobody"), 0, 10).await.unwrap(),
        []
    );
}

/// What a call did; another worker may have been faster, and nothing else may have gone wrong.
fn unless_overtaken<T>(result: Result<T, StoreError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error}");
            None
        }
    }
}

/// Does everything that a server does, 25 times, and returns how many jobs it has removed.
async fn serve(store: Store, who: String) -> u64 {
    let mut removed = 0;
    for n in 0..25 {
        accept(&store, new(&format!("{who}-{n}")), 0).await;
        let Some(lease) = store.claim(&who, LEASE, 1).await.unwrap() else {
            continue;
        };
        let id = &lease.job.id;
        assert!(store.progress(&lease, progress(n), 1).await.unwrap());
        assert_ne!(store.renew(&lease, LEASE, 2).await.unwrap(), Renewal::Lost);
        store.cancel(id, 3).await.unwrap();
        store.load(3).await.unwrap();
        assert!(
            store
                .finish(&lease, Ending::Done { duration: 1.0 }, 3)
                .await
                .unwrap()
                .is_some()
        );
        assert!(store.due_deliveries("d", 4, LEASE, 5).await.unwrap().len() <= 5);
        assert!(!store.events(id, 0, 100).await.unwrap().is_empty());
        assert_eq!(store.reap(5).await.unwrap(), []);
        unless_overtaken(store.rerun(id, "{}".to_owned(), 5).await);
        store.cancel(id, 6).await.unwrap();
        unless_overtaken(store.retry(id, 7).await);
        for message in store.deliveries(id).await.unwrap() {
            assert!(store.replay(&message.delivery.id, 8).await.unwrap());
        }
        store.cancel(id, 9).await.unwrap();
        if n % 5 == 0 && unless_overtaken(store.remove(id).await).is_some() {
            removed += 1;
        }
    }
    removed
}

async fn many_servers_never_see_a_lock(fresh: Fresh) {
    let mut servers = vec![fresh.store.clone()];
    for node in ["two", "three"] {
        servers.push(fresh.open(node).await);
    }
    let tasks = servers.into_iter().enumerate().flat_map(|(s, store)| {
        (0..4).map(move |t| tokio::spawn(serve(store.clone(), format!("{s}-{t}"))))
    });
    let mut removed = 0;
    for task in tasks.collect::<Vec<_>>() {
        removed += task.await.unwrap();
    }
    let idle = fresh.open("four").await;
    let given = tokio::spawn(async move { idle.give_back(10).await.unwrap() });
    assert_eq!(given.await.unwrap(), []);
    let load = fresh.store.load(10).await.unwrap();
    assert_eq!(
        fresh.store.count(None).await.unwrap().values().sum::<u64>() + removed,
        300
    );
    assert_eq!(load.running, 0);
}
