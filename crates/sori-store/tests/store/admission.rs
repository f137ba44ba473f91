//! The way in.

use std::collections::HashSet;

use sori_store::{
    Accepted, Admission, Ending, JobFilter, JobState, Limit, NewJob, Priority, StoreErrorKind,
};

use crate::database::{Fresh, OPEN, accept, name, new, on_every_database};

on_every_database! {
    ten_posts_at_once_are_one_job
    another_request_or_owner_is_a_conflict
    limits_hold
    pages_are_whole_while_jobs_come
    what_goes_in_comes_out
}

async fn ten_posts_at_once_are_one_job(fresh: Fresh) {
    let other = fresh.open("two").await;
    for round in 0..10 {
        let posts = (0..10).map(|n| {
            let store = if n % 2 == 0 {
                fresh.store.clone()
            } else {
                other.clone()
            };
            tokio::spawn(async move {
                store
                    .accept(new(&format!("job-{round}")), &OPEN, round)
                    .await
                    .unwrap()
            })
        });
        let mut answers = Vec::new();
        for post in posts.collect::<Vec<_>>() {
            answers.push(post.await.unwrap());
        }
        let fresh_ones = answers
            .iter()
            .filter(|a| matches!(a, Accepted::New(_)))
            .count();
        assert_eq!(fresh_ones, 1);
        assert!(
            answers
                .iter()
                .all(|answer| answer.job() == answers[0].job())
        );
    }
    assert_eq!(fresh.store.load(100).await.unwrap().queued(), 10);
}

async fn another_request_or_owner_is_a_conflict(fresh: Fresh) {
    fresh.accept("a").await;
    let others = [
        NewJob {
            fingerprint: "g".to_owned(),
            ..new("a")
        },
        NewJob {
            owner: Some("key".to_owned()),
            ..new("a")
        },
    ];
    for other in others {
        let error = fresh.store.accept(other, &OPEN, 1).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Conflict);
    }
    // Known jobs are known whatever their state, and at any load.
    let none = Admission {
        max_queued: 0,
        max_bytes: 0,
        max_per_owner: 0,
    };
    let lease = fresh.claim(1).await;
    fresh
        .store
        .finish(&lease, Ending::Done { duration: 1.0 }, 2)
        .await
        .unwrap();
    let known = fresh.store.accept(new("a"), &none, 3).await.unwrap();
    assert!(matches!(known, Accepted::Known(job) if job.state == JobState::Done));
    // Ids differ by case.
    accept(&fresh.store, new("A"), 4).await;
}

async fn limits_hold(fresh: Fresh) {
    let owned = |id: &str, owner: Option<&str>| NewJob {
        owner: owner.map(str::to_owned),
        ..new(id)
    };
    let refused = async |new: NewJob, admission: Admission| {
        let error = fresh.store.accept(new, &admission, 1).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Full);
        error.limit().unwrap()
    };
    accept(&fresh.store, owned("a", Some("k")), 0).await;
    accept(&fresh.store, owned("b", Some("k")), 0).await;
    accept(&fresh.store, owned("c", None), 0).await;
    let x = || owned("x", Some("k"));
    assert_eq!(
        refused(
            x(),
            Admission {
                max_queued: 3,
                ..OPEN
            }
        )
        .await,
        Limit::Queued
    );
    assert_eq!(
        refused(
            x(),
            Admission {
                max_bytes: 39,
                ..OPEN
            }
        )
        .await,
        Limit::Bytes
    );
    assert_eq!(
        refused(
            x(),
            Admission {
                max_per_owner: 2,
                ..OPEN
            }
        )
        .await,
        Limit::Owner
    );
    assert_eq!(
        refused(
            new("x"),
            Admission {
                max_per_owner: 1,
                ..OPEN
            }
        )
        .await,
        Limit::Owner
    );
    let huge = NewJob {
        bytes: u64::MAX,
        ..new("x")
    };
    assert_eq!(refused(huge, OPEN).await, Limit::Bytes);
    // Running jobs hold bytes and places of their owner, but none of the queue; ended ones hold nothing.
    let lease = fresh.claim(1).await;
    assert_eq!(
        refused(
            x(),
            Admission {
                max_bytes: 39,
                ..OPEN
            }
        )
        .await,
        Limit::Bytes
    );
    assert_eq!(
        refused(
            x(),
            Admission {
                max_per_owner: 2,
                ..OPEN
            }
        )
        .await,
        Limit::Owner
    );
    let tight = Admission {
        max_queued: 3,
        max_bytes: 40,
        max_per_owner: 3,
    };
    fresh.store.accept(x(), &tight, 1).await.unwrap();
    fresh
        .store
        .finish(&lease, Ending::Done { duration: 1.0 }, 2)
        .await
        .unwrap();
    let tight = Admission {
        max_queued: 4,
        max_bytes: 40,
        max_per_owner: 3,
    };
    fresh
        .store
        .accept(owned("y", Some("k")), &tight, 3)
        .await
        .unwrap();
    let load = fresh.store.load(5).await.unwrap();
    assert_eq!(
        (load.queued(), load.running, load.bytes, load.oldest_ms()),
        (4, 0, 40, Some(0))
    );
    let depths = Priority::ALL.map(|class| load.queues[&class].depth);
    assert_eq!(depths, [0, 4, 0]);
    let counted = |queued, done| [(JobState::Queued, queued), (JobState::Done, done)].into();
    assert_eq!(fresh.store.count(None).await.unwrap(), counted(4, 1));
    let own = fresh.store.count(Some("k")).await.unwrap();
    assert_eq!(own, counted(3, 1));
}

async fn pages_are_whole_while_jobs_come(fresh: Fresh) {
    // Many of the same moment, so that only the id tells them apart; and states and owners to filter by.
    for n in 0..100_i64 {
        let owner = (n % 3 == 0).then(|| "k".to_owned());
        accept(
            &fresh.store,
            NewJob {
                owner,
                ..new(&format!("job-{n:03}"))
            },
            n / 10,
        )
        .await;
    }
    for n in 0..30 {
        let id = name(&format!("job-{n:03}"));
        let cancelled = fresh.store.cancel(&id, 50).await.unwrap();
        assert!(cancelled.is_some_and(|c| c.changed && c.job.state == JobState::Cancelled));
    }
    let filters = [
        (None, None, 100),
        (Some(JobState::Cancelled), None, 30),
        (None, Some("k"), 34),
        (Some(JobState::Queued), Some("k"), 24),
        (Some(JobState::Done), None, 0),
        (None, Some("nobody"), 0),
    ];
    for (at, (state, owner, many)) in filters.into_iter().enumerate() {
        let mut filter = JobFilter {
            state,
            owner: owner.map(str::to_owned),
            before: None,
            limit: 7,
        };
        let mut seen = Vec::new();
        loop {
            let page = fresh.store.jobs(&filter).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() <= 7);
            filter.before = Some((last.created_ms, last.id.clone()));
            seen.extend(page.iter().map(|job| (job.created_ms, job.id.clone())));
            // Somebody else's job, newer than all.
            accept(&fresh.store, new(&format!("new-{at}-{}", seen.len())), 1000).await;
        }
        let old: Vec<_> = seen.iter().filter(|(created, _)| *created < 1000).collect();
        assert_eq!(old.len(), many, "{state:?} {owner:?}");
        assert_eq!(old.iter().collect::<HashSet<_>>().len(), many);
        assert!(seen.is_sorted_by(|a, b| a > b));
    }
    let all = fresh
        .store
        .jobs(&JobFilter {
            limit: 0,
            ..JobFilter::default()
        })
        .await
        .unwrap();
    assert_eq!(all.len(), 1, "a limit of 0 is 1");
}

async fn what_goes_in_comes_out(fresh: Fresh) {
    let hostile = NewJob {
        id: name("Robert-drop.table:jobs"),
        owner: Some("키 'k\" \\ 🦀".to_owned()),
        priority: Priority::Low,
        request: "{\"a\": \"한국어 🦀 '; DROP TABLE sori_jobs; -- ? $1 {key}\"}".repeat(2000),
        fingerprint: "0".repeat(64),
        media: Some("jobs/x/media".to_owned()),
        bytes: 1 << 40,
        callback: Some("http://example.org/?a=b&c=%20#d".to_owned()),
    };
    let roomy = Admission {
        max_bytes: u64::MAX,
        ..OPEN
    };
    let accepted = fresh
        .store
        .accept(hostile.clone(), &roomy, 123)
        .await
        .unwrap();
    let job = fresh.job(hostile.id.as_str()).await;
    assert_eq!(*accepted.job(), job);
    assert_eq!(
        (&job.owner, &job.request),
        (&hostile.owner, &hostile.request)
    );
    assert_eq!(
        (job.priority, job.bytes, job.created_ms),
        (Priority::Low, 1 << 40, 123)
    );
    assert_eq!((job.media, job.callback), (hostile.media, hostile.callback));
    assert!(fresh.store.job(&name("nobody")).await.unwrap().is_none());
    let long = NewJob {
        owner: Some("x".repeat(256)),
        ..new("y")
    };
    let error = fresh.store.accept(long, &OPEN, 1).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
}
