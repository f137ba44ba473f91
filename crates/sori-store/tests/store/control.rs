//! Cancel, retry, rerun, remove, forget.

use sori_store::{Ending, JobError, JobResult, JobState, Lease, Renewal, Retry, StoreErrorKind};

use crate::database::{Fresh, Kind, LEASE, name, on_every_database};
use crate::leases::{failed, progress};

on_every_database! {
    cancel_does_what_the_state_allows
    a_cancelled_worker_that_dies_is_no_loss
    retry_starts_over
    rerun_is_another_request
    removal_leaves_nothing
}

async fn cancel_does_what_the_state_allows(fresh: Fresh) {
    let cancel = async |id: &str| {
        let cancelled = fresh.store.cancel(&name(id), 10).await.unwrap();
        cancelled.map(|cancelled| cancelled.job.state)
    };
    for id in ["a", "b", "c", "d"] {
        fresh.accept(id).await;
    }
    assert_eq!(cancel("nobody").await, None);
    // Retrying.
    let a = fresh.claim(0).await;
    fresh
        .store
        .finish(&a, failed(Retry::Later), 0)
        .await
        .unwrap();
    assert_eq!(cancel("a").await, Some(JobState::Cancelled));
    assert_eq!(fresh.job("a").await.finished_ms, Some(10));
    // Running: it is asked, hears of it at its next heartbeat, and stops; asked twice is asked once.
    let b = fresh.claim(0).await;
    assert_eq!(
        fresh.store.renew(&b, LEASE, 1).await.unwrap(),
        Renewal::Kept
    );
    assert_eq!(cancel("b").await, Some(JobState::Running));
    assert_eq!(cancel("b").await, Some(JobState::Running));
    assert!(fresh.job("b").await.cancel_asked);
    assert_eq!(
        fresh.store.renew(&b, LEASE, 1).await.unwrap(),
        Renewal::CancelAsked
    );
    assert!(
        fresh
            .store
            .finish(&b, Ending::Cancelled, 11)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(cancel("b").await, Some(JobState::Cancelled));
    // Running, and done before it heard.
    let c = fresh.claim(0).await;
    assert_eq!(cancel("c").await, Some(JobState::Running));
    assert!(
        fresh
            .store
            .finish(&c, Ending::Done { duration: 1.0 }, 11)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(cancel("c").await, Some(JobState::Done));
    assert!(!fresh.job("c").await.cancel_asked);
    // Queued.
    assert_eq!(cancel("d").await, Some(JobState::Cancelled));
    assert!(
        fresh
            .store
            .claim("w", LEASE, i64::MAX)
            .await
            .unwrap()
            .is_none()
    );
    // Each has ended once, and says so.
    for (id, kind) in [
        ("a", "job.cancelled"),
        ("b", "job.cancelled"),
        ("c", "job.completed"),
        ("d", "job.cancelled"),
    ] {
        let told = fresh.store.deliveries(&name(id)).await.unwrap();
        assert_eq!(
            told.iter()
                .map(|d| d.delivery.kind.as_str())
                .collect::<Vec<_>>(),
            [kind]
        );
    }
    let events = fresh.store.events(&name("b"), 0, 10).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["queued", "running", "cancel_asked", "cancelled"]);
}

async fn a_cancelled_worker_that_dies_is_no_loss(fresh: Fresh) {
    for (at, id) in ["a", "b", "c"].into_iter().enumerate() {
        fresh.accept(id).await;
        let lease = fresh.claim(0).await;
        fresh.store.cancel(&name(id), 1).await.unwrap();
        match at {
            0 => assert_eq!(fresh.store.reap(LEASE).await.unwrap(), [name(id)]),
            1 => assert!(
                fresh
                    .store
                    .finish(&lease, failed(Retry::Later), 2)
                    .await
                    .unwrap()
                    .is_some()
            ),
            _ => assert!(
                fresh
                    .store
                    .finish(&lease, Ending::Released, 2)
                    .await
                    .unwrap()
                    .is_some()
            ),
        }
        let job = fresh.job(id).await;
        assert_eq!((job.state, job.cancel_asked), (JobState::Cancelled, false));
    }
}

async fn retry_starts_over(fresh: Fresh) {
    fresh.accept("a").await;
    assert!(
        fresh
            .store
            .retry(&name("nobody"), 0)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        fresh.store.retry(&name("a"), 0).await.unwrap_err().kind(),
        StoreErrorKind::Conflict
    );
    let lease = fresh.claim(0).await;
    fresh.store.progress(&lease, progress(40), 1).await.unwrap();
    fresh
        .store
        .finish(&lease, failed(Retry::No), 2)
        .await
        .unwrap();
    let job = fresh.store.retry(&name("a"), 3).await.unwrap().unwrap();
    assert_eq!(job, fresh.job("a").await);
    assert_eq!(
        (job.state, job.failures, job.losses, job.progress),
        (JobState::Queued, 0, 0, 40)
    );
    assert_eq!(
        (job.error, job.finished_ms, job.due_ms, job.attempt),
        (None, None, 3, 1)
    );
    let lease = fresh.claim(3).await;
    assert_eq!(lease.attempt, 2);
    fresh
        .store
        .finish(&lease, Ending::Done { duration: 1.0 }, 4)
        .await
        .unwrap();
    assert_eq!(
        fresh.store.retry(&name("a"), 5).await.unwrap_err().kind(),
        StoreErrorKind::Conflict
    );
    // Two endings, two messages, of different ids.
    let told = fresh.store.deliveries(&name("a")).await.unwrap();
    let kinds: Vec<_> = told.iter().map(|d| d.delivery.kind.as_str()).collect();
    assert_eq!(kinds, ["job.failed", "job.completed"]);
    assert_ne!(told[0].delivery.id, told[1].delivery.id);
}

async fn rerun_is_another_request(fresh: Fresh) {
    fresh.accept("a").await;
    let again = async |request: &str| fresh.store.rerun(&name("a"), request.to_owned(), 9).await;
    assert_eq!(
        again("{}").await.unwrap_err().kind(),
        StoreErrorKind::Conflict
    );
    assert!(
        fresh
            .store
            .rerun(&name("nobody"), "{}".to_owned(), 9)
            .await
            .unwrap()
            .is_none()
    );
    let lease = fresh.claim(0).await;
    let error = JobError {
        kind: "internal".to_owned(),
        message: "no speakers".to_owned(),
    };
    fresh
        .store
        .finish(
            &lease,
            Ending::Partial {
                duration: 2.0,
                error: error.clone(),
            },
            1,
        )
        .await
        .unwrap();
    let job = fresh.job("a").await;
    assert_eq!(
        (job.state, job.progress, job.error),
        (JobState::Partial, 100, Some(error))
    );
    let job = again("{\"speakers\":3}").await.unwrap().unwrap();
    assert_eq!(
        (job.state, job.progress, job.error),
        (JobState::Queued, 0, None)
    );
    assert_eq!(job.fingerprint, "f");
    let lease = fresh.claim(9).await;
    assert_eq!(lease.job.request, "{\"speakers\":3}");
    // Whatever becomes of it, the earlier result stays.
    let result = |state, attempt| Some(JobResult { state, attempt });
    let stays = result(JobState::Partial, 1);
    assert_eq!((job.result, lease.job.result), (stays, stays));
    let finish = async |lease: &Lease, ending: Ending, now_ms: i64| {
        let ended = fresh.store.finish(lease, ending, now_ms).await;
        assert!(ended.unwrap().is_some());
    };
    finish(&lease, failed(Retry::No), 10).await;
    let job = fresh.job("a").await;
    assert_eq!((job.state, job.result), (JobState::Failed, stays));
    fresh.store.retry(&name("a"), 11).await.unwrap();
    fresh.store.cancel(&name("a"), 12).await.unwrap();
    let job = fresh.job("a").await;
    assert_eq!((job.state, job.result), (JobState::Cancelled, stays));
    fresh.store.retry(&name("a"), 13).await.unwrap();
    finish(&fresh.claim(13).await, Ending::Done { duration: 2.0 }, 14).await;
    assert_eq!(fresh.job("a").await.result, result(JobState::Done, 3));
    fresh.accept("b").await;
    finish(&fresh.claim(15).await, failed(Retry::No), 16).await;
    assert_eq!(fresh.job("b").await.result, None);
}

async fn removal_leaves_nothing(fresh: Fresh) {
    fresh.accept("a").await;
    fresh.accept("b").await;
    let refused = fresh.store.remove(&name("a")).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Conflict);
    let lease = fresh.claim(0).await;
    assert_eq!(
        fresh.store.remove(&name("a")).await.unwrap_err().kind(),
        StoreErrorKind::Conflict
    );
    let secret = "what-nobody-may-find";
    let note = sori_store::Progress {
        stage: "s".to_owned(),
        percent: 1,
        message: secret.to_owned(),
    };
    fresh.store.progress(&lease, note, 1).await.unwrap();
    fresh
        .store
        .finish(&lease, Ending::Done { duration: 1.0 }, 100)
        .await
        .unwrap();
    let due = fresh
        .store
        .due_deliveries("d", 200, LEASE, 10)
        .await
        .unwrap();
    let attempt = sori_store::DeliveryAttempt {
        status: Some(200),
        error: None,
        millis: 3,
        at_ms: 200,
    };
    fresh
        .store
        .delivered(&due[0], attempt, sori_store::Next::Done)
        .await
        .unwrap();
    // What has ended long enough ago is named, and only that.
    assert_eq!(fresh.store.expired(199, 100, 10).await.unwrap(), []);
    assert_eq!(
        fresh.store.expired(200, 100, 10).await.unwrap(),
        [name("a")]
    );
    // The job, 4 events, a delivery and its log.
    assert_eq!(fresh.store.remove(&name("a")).await.unwrap().rows, 7);
    assert_eq!(fresh.store.remove(&name("a")).await.unwrap().rows, 0);
    assert!(fresh.store.job(&name("a")).await.unwrap().is_none());
    assert_eq!(fresh.store.events(&name("a"), 0, 10).await.unwrap(), []);
    assert_eq!(fresh.store.deliveries(&name("a")).await.unwrap(), []);
    assert!(!fresh.store.replay(&due[0].id, 1).await.unwrap());
    assert_eq!(
        fresh.store.events(&name("b"), 0, 10).await.unwrap().len(),
        1
    );
    // The id is free again, and what it sends is not taken for the first one's.
    let again = crate::database::accept(&fresh.store, crate::database::new("a"), 300).await;
    assert_eq!((again.attempt, again.state), (0, JobState::Queued));
    fresh.store.cancel(&name("a"), 300).await.unwrap();
    assert_ne!(
        fresh.store.deliveries(&name("a")).await.unwrap()[0]
            .delivery
            .id,
        due[0].id
    );
    if fresh.kind == Kind::Sqlite {
        fresh.store.close().await;
        for entry in std::fs::read_dir(fresh.folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let found = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "the bytes of a removed row are still in the file");
        }
    }
}
