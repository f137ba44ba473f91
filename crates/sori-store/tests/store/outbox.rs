//! What callbacks are told: once, in order, and never without the change that they tell of.

use std::collections::HashSet;

use sori_store::{Delivery, DeliveryAttempt, DeliveryState, Ending, JobState, NewJob, Next, Retry};

use crate::database::{Fresh, LEASE, accept, name, new, on_every_database};
use crate::leases::failed;

on_every_database! {
    an_ending_and_its_message_are_one_change
    one_job_is_told_of_in_order
    a_message_tells_of_its_own_end
    a_sender_that_dies_is_followed_by_another
    gone_is_not_asked_again
    senders_share_the_work
}

fn answered(status: u16, at_ms: i64) -> DeliveryAttempt {
    DeliveryAttempt {
        status: Some(status),
        error: None,
        millis: 12,
        at_ms,
    }
}

async fn due(fresh: &Fresh, now_ms: i64) -> Vec<Delivery> {
    fresh
        .store
        .due_deliveries("d", now_ms, LEASE, 100)
        .await
        .unwrap()
}

/// Ends a job twice: failed, retried by hand, done.
async fn ended_twice(fresh: &Fresh, id: &str) {
    accept(
        &fresh.store,
        NewJob {
            priority: sori_store::Priority::High,
            ..new(id)
        },
        0,
    )
    .await;
    let lease = fresh.claim(0).await;
    fresh
        .store
        .finish(&lease, failed(Retry::No), 1)
        .await
        .unwrap();
    fresh.store.retry(&name(id), 2).await.unwrap();
    let lease = fresh.claim(2).await;
    fresh
        .store
        .finish(&lease, Ending::Done { duration: 1.0 }, 3)
        .await
        .unwrap();
}

async fn an_ending_and_its_message_are_one_change(fresh: Fresh) {
    fresh.accept("a").await;
    accept(
        &fresh.store,
        NewJob {
            callback: None,
            ..new("quiet")
        },
        1,
    )
    .await;
    let lease = fresh.claim(1).await;
    let before = fresh.job("a").await;
    let events = fresh.store.events(&name("a"), 0, 10).await.unwrap();
    // The message cannot be written: then the job has not ended either.
    fresh
        .sql("ALTER TABLE sori_deliveries RENAME TO away")
        .await;
    assert!(
        fresh
            .store
            .finish(&lease, Ending::Done { duration: 1.0 }, 2)
            .await
            .is_err()
    );
    assert!(
        fresh.store.cancel(&name("a"), 2).await.is_ok(),
        "asking a running job writes no message"
    );
    fresh
        .sql("ALTER TABLE away RENAME TO sori_deliveries")
        .await;
    let after = fresh.job("a").await;
    assert_eq!((after.state, after.attempt), (before.state, before.attempt));
    assert_eq!(
        fresh.store.events(&name("a"), 0, 10).await.unwrap().len(),
        events.len() + 1
    );
    // Nor without its event.
    fresh.sql("ALTER TABLE sori_events RENAME TO away").await;
    assert!(
        fresh
            .store
            .finish(&lease, Ending::Done { duration: 1.0 }, 2)
            .await
            .is_err()
    );
    fresh.sql("ALTER TABLE away RENAME TO sori_events").await;
    assert_eq!(fresh.store.deliveries(&name("a")).await.unwrap(), []);
    assert!(
        fresh
            .store
            .finish(&lease, Ending::Done { duration: 1.0 }, 2)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(fresh.store.deliveries(&name("a")).await.unwrap().len(), 1);
    // Who asked for no callback is told nothing.
    let lease = fresh.claim(3).await;
    assert!(
        fresh
            .store
            .finish(&lease, Ending::Done { duration: 1.0 }, 4)
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(fresh.store.deliveries(&name("quiet")).await.unwrap(), []);
}

async fn one_job_is_told_of_in_order(fresh: Fresh) {
    ended_twice(&fresh, "a").await;
    ended_twice(&fresh, "b").await;
    let first = due(&fresh, 10).await;
    let kinds: Vec<_> = first.iter().map(|d| d.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["job.failed", "job.failed"],
        "the second waits for the first"
    );
    assert_eq!(due(&fresh, 10).await, [], "they are lent");
    let (a, b) = (&first[0], &first[1]);
    assert!(
        fresh
            .store
            .delivered(a, answered(500, 11), Next::At(5_000))
            .await
            .unwrap()
    );
    assert!(
        fresh
            .store
            .delivered(b, answered(200, 11), Next::Done)
            .await
            .unwrap()
    );
    let second = due(&fresh, 12).await;
    assert_eq!(
        second.len(),
        1,
        "a's first is not due, and its second waits for it"
    );
    assert_eq!(
        (&second[0].job, second[0].kind.as_str()),
        (&b.job, "job.completed")
    );
    let again = due(&fresh, 5_000).await;
    assert_eq!(again.len(), 1);
    assert_eq!((&again[0].id, again[0].tries), (&a.id, 1), "the id stays");
    assert!(
        fresh
            .store
            .delivered(&again[0], answered(500, 5_001), Next::GiveUp)
            .await
            .unwrap()
    );
    let last = due(&fresh, 5_002).await;
    assert_eq!(
        (&last[0].job, last[0].kind.as_str()),
        (&a.job, "job.completed")
    );
    // The log, and a replay by hand.
    let records = fresh.store.deliveries(&a.job).await.unwrap();
    assert_eq!(records[0].state, DeliveryState::GivenUp);
    assert_eq!(records[0].log, [answered(500, 11), answered(500, 5_001)]);
    assert!(fresh.store.replay(&a.id, 6_000).await.unwrap());
    assert!(!fresh.store.replay("msg_nobody", 6_000).await.unwrap());
    let replayed = due(&fresh, 6_000).await;
    assert_eq!((&replayed[0].id, replayed[0].tries), (&a.id, 2));
    assert!(
        fresh
            .store
            .delivered(&replayed[0], answered(204, 6_001), Next::Done)
            .await
            .unwrap()
    );
    let records = fresh.store.deliveries(&a.job).await.unwrap();
    assert_eq!(
        (records[0].state, records[0].log.len()),
        (DeliveryState::Done, 3)
    );
}

async fn a_message_tells_of_its_own_end(fresh: Fresh) {
    ended_twice(&fresh, "a").await;
    let id = name("a");
    let request = fresh.job("a").await.request;
    let rerun = "{\"again\":1}".to_owned();
    fresh.store.rerun(&id, rerun.clone(), 20).await.unwrap();
    fresh.store.cancel(&id, 21).await.unwrap();
    fresh.store.retry(&id, 22).await.unwrap();
    let records = fresh.store.deliveries(&id).await.unwrap();
    let ends: Vec<_> = records.into_iter().map(|r| r.delivery.ending).collect();
    let mut told = Vec::new();
    for end in &ends {
        let error = end.error.as_ref().map(|e| e.kind.as_str());
        let request = end.request.as_str();
        told.push((end.state, end.progress, error, end.finished_ms, request));
    }
    assert_eq!(
        told,
        [
            (JobState::Failed, 0, Some("internal"), 1, request.as_str()),
            (JobState::Done, 100, None, 3, request.as_str()),
            (JobState::Cancelled, 0, None, 21, rerun.as_str()),
        ],
        "the job is queued by now"
    );
    let lent = due(&fresh, 30).await.remove(0);
    assert_eq!(lent.ending, ends[0]);
}

async fn a_sender_that_dies_is_followed_by_another(fresh: Fresh) {
    ended_twice(&fresh, "a").await;
    let other = fresh.open("two").await;
    let lost = due(&fresh, 10).await.remove(0);
    assert_eq!(
        other
            .due_deliveries("e", 9 + LEASE, LEASE, 9)
            .await
            .unwrap(),
        []
    );
    let taken = other
        .due_deliveries("e", 10 + LEASE, LEASE, 9)
        .await
        .unwrap();
    assert_eq!((&taken[0].id, taken[0].tries), (&lost.id, 0));
    assert!(
        !fresh
            .store
            .delivered(&lost, answered(200, 11), Next::Done)
            .await
            .unwrap()
    );
    assert!(
        other
            .delivered(&taken[0], answered(200, 12), Next::Done)
            .await
            .unwrap()
    );
    assert!(
        !other
            .delivered(&taken[0], answered(200, 13), Next::Done)
            .await
            .unwrap()
    );
    assert_eq!(
        fresh.store.deliveries(&name("a")).await.unwrap()[0].log,
        [answered(200, 12)]
    );
}

async fn gone_is_not_asked_again(fresh: Fresh) {
    ended_twice(&fresh, "a").await;
    let first = due(&fresh, 10).await.remove(0);
    assert!(
        fresh
            .store
            .delivered(&first, answered(410, 11), Next::Disabled)
            .await
            .unwrap()
    );
    assert_eq!(due(&fresh, 1 << 40).await, []);
    // Nor of what happens later.
    fresh
        .store
        .rerun(&name("a"), "{}".to_owned(), 20)
        .await
        .unwrap();
    let lease = fresh.claim(20).await;
    fresh
        .store
        .finish(&lease, Ending::Done { duration: 1.0 }, 21)
        .await
        .unwrap();
    assert_eq!(due(&fresh, 1 << 40).await, []);
    let records = fresh.store.deliveries(&name("a")).await.unwrap();
    assert_eq!(
        records.iter().map(|r| r.state).collect::<Vec<_>>(),
        [DeliveryState::Disabled; 3]
    );
    assert_eq!(fresh.job("a").await.state, JobState::Done);
    // But by hand.
    assert!(
        fresh
            .store
            .replay(&records[2].delivery.id, 30)
            .await
            .unwrap()
    );
    assert_eq!(due(&fresh, 30).await.len(), 1);
}

async fn senders_share_the_work(fresh: Fresh) {
    for n in 0..100 {
        accept(&fresh.store, new(&format!("job-{n}")), 0).await;
        fresh
            .store
            .cancel(&name(&format!("job-{n}")), 1)
            .await
            .unwrap();
    }
    let other = fresh.open("two").await;
    let senders = (0..4).map(|n| {
        let store = if n % 2 == 0 {
            fresh.store.clone()
        } else {
            other.clone()
        };
        tokio::spawn(async move {
            let mut sent = Vec::new();
            // On a server, all that were due may have been lent to another meanwhile: an empty answer is not the end.
            for _ in 0..100 {
                for delivery in store
                    .due_deliveries(&format!("d{n}"), 2, LEASE, 7)
                    .await
                    .unwrap()
                {
                    assert!(
                        store
                            .delivered(&delivery, answered(200, 3), Next::Done)
                            .await
                            .unwrap()
                    );
                    sent.push(delivery.id);
                }
            }
            sent
        })
    });
    let mut all = Vec::new();
    for sender in senders.collect::<Vec<_>>() {
        all.extend(sender.await.unwrap());
    }
    assert_eq!(all.len(), 100);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 100);
}
