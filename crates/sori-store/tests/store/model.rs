//! Random operations, compared with a state machine of a few lines that keeps everything in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sori_store::lease::{BACKOFF_MS, MAX_FAILURES, MAX_LOSSES};
use sori_store::{Ending, JobState, Lease, NewJob, Priority, Renewal, Retry, Store};

use crate::database::{Fresh, Kind, LEASE, accept, name, new, run};
use crate::leases::{failed, progress};

#[derive(Clone, Debug)]
enum Step {
    Accept(Priority),
    Claim,
    Renew(usize),
    Progress(usize, u8),
    Finish(usize, End),
    Cancel(usize),
    Retry(usize),
    Rerun(usize),
    Reap,
    GiveBack,
    Wait(i64),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Failed(Retry),
    Cancelled,
    Released,
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        2 => Just(End::Done),
        3 => Just(End::Failed(Retry::Later)),
        1 => Just(End::Failed(Retry::No)),
        1 => Just(End::Cancelled),
        1 => Just(End::Released),
    ];
    let class = prop_oneof![
        Just(Priority::High),
        Just(Priority::Normal),
        Just(Priority::Low)
    ];
    prop_oneof![
        3 => class.prop_map(Step::Accept),
        6 => Just(Step::Claim),
        2 => any::<usize>().prop_map(Step::Renew),
        3 => (any::<usize>(), any::<u8>()).prop_map(|(n, percent)| Step::Progress(n, percent)),
        4 => (any::<usize>(), end).prop_map(|(n, end)| Step::Finish(n, end)),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => any::<usize>().prop_map(Step::Retry),
        1 => any::<usize>().prop_map(Step::Rerun),
        1 => Just(Step::Reap),
        1 => Just(Step::GiveBack),
        4 => (0_i64..70_000).prop_map(Step::Wait),
    ]
}

/// What the model knows of a job.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    state: JobState,
    attempt: i64,
    failures: u32,
    losses: u32,
    progress: u8,
    due_ms: i64,
    created_ms: i64,
    lease_ms: i64,
    asked: bool,
    events: usize,
    endings: usize,
    /// The attempt that made its result.
    result: Option<i64>,
}

impl Known {
    fn go(&mut self, state: JobState) {
        self.state = state;
        self.asked = false;
        self.events += 1;
        self.endings += usize::from(state.is_terminal());
    }

    fn tried(&mut self, tries: u32, over: bool, now: i64) {
        if over {
            self.go(JobState::Failed);
        } else if self.asked {
            self.go(JobState::Cancelled);
        } else {
            self.due_ms = now + BACKOFF_MS[(tries as usize - 1).min(2)];
            self.go(JobState::Retrying);
        }
    }

    fn lose(&mut self, now: i64) {
        self.losses += 1;
        self.tried(self.losses, self.losses >= MAX_LOSSES, now);
    }

    fn end(&mut self, end: End, now: i64) {
        match end {
            End::Done => {
                self.progress = 100;
                self.result = Some(self.attempt);
                self.go(JobState::Done);
            }
            End::Failed(retry) => {
                self.failures += 1;
                let over = retry == Retry::No || self.failures >= MAX_FAILURES;
                self.tried(self.failures, over, now);
            }
            End::Cancelled => self.go(JobState::Cancelled),
            End::Released if self.asked => self.go(JobState::Cancelled),
            End::Released => {
                self.due_ms = self.created_ms;
                self.go(JobState::Queued);
            }
        }
    }
}

struct World {
    /// The database, kept for as long as the world.
    _fresh: Fresh,
    store: Store,
    now: i64,
    jobs: BTreeMap<String, Known>,
    leases: Vec<Lease>,
}

impl World {
    /// The job that a number stands for.
    fn pick(&mut self, n: usize) -> Option<(String, &mut Known)> {
        let n = n.checked_rem(self.jobs.len())?;
        self.jobs
            .iter_mut()
            .nth(n)
            .map(|(id, known)| (id.clone(), known))
    }

    /// The lease that a number stands for, and whether it still holds.
    fn lease(&mut self, n: usize) -> Option<(Lease, bool)> {
        let lease = self.leases.get(n.checked_rem(self.leases.len())?)?.clone();
        let known = &self.jobs[lease.job.id.as_str()];
        let holds = known.state == JobState::Running && known.attempt == lease.attempt;
        Some((lease, holds))
    }

    async fn take(&mut self, step: Step) {
        let (store, now) = (self.store.clone(), self.now);
        match step {
            Step::Wait(ms) => self.now += ms,
            Step::Accept(priority) => {
                let id = format!("job-{:03}", self.jobs.len());
                let job = accept(
                    &store,
                    NewJob {
                        priority,
                        ..new(&id)
                    },
                    now,
                )
                .await;
                let known = Known {
                    state: job.state,
                    attempt: 0,
                    failures: 0,
                    losses: 0,
                    progress: 0,
                    due_ms: now,
                    created_ms: now,
                    lease_ms: 0,
                    asked: false,
                    events: 1,
                    endings: 0,
                    result: None,
                };
                self.jobs.insert(id, known);
            }
            Step::Claim => self.claim().await,
            Step::Renew(n) => {
                let Some((lease, holds)) = self.lease(n) else {
                    return;
                };
                let renewed = store.renew(&lease, LEASE, now).await.unwrap();
                let known = self.jobs.get_mut(lease.job.id.as_str()).unwrap();
                let expected = match (holds, known.asked) {
                    (false, _) => Renewal::Lost,
                    (true, true) => Renewal::CancelAsked,
                    (true, false) => Renewal::Kept,
                };
                assert_eq!(renewed, expected);
                if holds {
                    known.lease_ms = now + LEASE;
                }
            }
            Step::Progress(n, percent) => {
                let Some((lease, holds)) = self.lease(n) else {
                    return;
                };
                assert_eq!(
                    store
                        .progress(&lease, progress(percent), now)
                        .await
                        .unwrap(),
                    holds
                );
                if holds {
                    let known = self.jobs.get_mut(lease.job.id.as_str()).unwrap();
                    known.progress = known.progress.max(percent.min(99));
                    known.events += 1;
                }
            }
            Step::Finish(n, end) => {
                let Some((lease, holds)) = self.lease(n) else {
                    return;
                };
                let ending = match end {
                    End::Done => Ending::Done { duration: 1.0 },
                    End::Failed(retry) => failed(retry),
                    End::Cancelled => Ending::Cancelled,
                    End::Released => Ending::Released,
                };
                let finished = store.finish(&lease, ending, now).await.unwrap();
                assert_eq!(finished.is_some(), holds);
                if holds {
                    self.jobs
                        .get_mut(lease.job.id.as_str())
                        .unwrap()
                        .end(end, now);
                }
            }
            Step::Cancel(n) => {
                let Some((id, known)) = self.pick(n) else {
                    return;
                };
                let before = known.events;
                match known.state {
                    JobState::Queued | JobState::Retrying => known.go(JobState::Cancelled),
                    JobState::Running if !known.asked => {
                        known.asked = true;
                        known.events += 1;
                    }
                    _ => {}
                }
                let cancelled = store.cancel(&name(&id), now).await.unwrap();
                let cancelled = cancelled.expect("the job is known");
                let changed = known.events > before;
                assert_eq!(
                    (cancelled.job.state, cancelled.changed),
                    (known.state, changed)
                );
            }
            Step::Retry(n) | Step::Rerun(n) => {
                let Some((id, known)) = self.pick(n) else {
                    return;
                };
                let retry = matches!(step, Step::Retry(_));
                let allowed = match retry {
                    true => matches!(known.state, JobState::Failed | JobState::Cancelled),
                    false => known.state.is_terminal() && known.result.is_some(),
                };
                let again = match retry {
                    true => store.retry(&name(&id), now).await,
                    false => store.rerun(&name(&id), "{}".to_owned(), now).await,
                };
                assert_eq!(again.is_ok(), allowed);
                if allowed {
                    known.go(JobState::Queued);
                    (known.failures, known.losses, known.due_ms) = (0, 0, now);
                    if !retry {
                        known.progress = 0;
                    }
                }
            }
            Step::Reap => self.lose(|known| known.lease_ms <= now).await,
            Step::GiveBack => self.lose(|_| true).await,
        }
    }

    async fn claim(&mut self) {
        let claimed = self.store.claim("w", LEASE, self.now).await.unwrap();
        let due = |known: &Known| {
            matches!(known.state, JobState::Queued | JobState::Retrying) && known.due_ms <= self.now
        };
        let Some(lease) = claimed else {
            assert!(
                !self.jobs.values().any(due),
                "a job is due and nobody gets it"
            );
            return;
        };
        let known = self.jobs.get_mut(lease.job.id.as_str()).unwrap();
        assert!(due(known), "{} was not due", lease.job.id);
        known.attempt += 1;
        assert_eq!(lease.attempt, known.attempt);
        known.state = JobState::Running;
        known.lease_ms = self.now + LEASE;
        known.events += 1;
        self.leases.push(lease);
    }

    /// Reaps, or gives back, when `which` is true of every running job.
    async fn lose(&mut self, which: impl Fn(&Known) -> bool) {
        let now = self.now;
        let running = |known: &Known| known.state == JobState::Running;
        let expected: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, k)| running(k) && which(k))
            .map(|(id, _)| id.clone())
            .collect();
        let all = self.jobs.values().filter(|k| running(k)).count() == expected.len();
        let lost = match all {
            true => self.store.give_back(now).await,
            false => self.store.reap(now).await,
        };
        let mut lost: Vec<_> = lost.unwrap().iter().map(ToString::to_string).collect();
        lost.sort();
        assert_eq!(lost, expected);
        for id in expected {
            self.jobs.get_mut(&id).unwrap().lose(now);
        }
    }

    /// Every job is as the model says, and its events and messages are as many.
    async fn compare(&self) {
        for (id, known) in &self.jobs {
            let job = self
                .store
                .job(&name(id))
                .await
                .unwrap()
                .expect("no job is ever lost");
            let events = self.store.events(&job.id, 0, 1000).await.unwrap();
            let found = Known {
                state: job.state,
                attempt: job.attempt,
                failures: job.failures,
                losses: job.losses,
                progress: job.progress,
                due_ms: job.due_ms,
                created_ms: job.created_ms,
                lease_ms: known.lease_ms,
                asked: job.cancel_asked,
                events: events.len(),
                endings: self.store.deliveries(&job.id).await.unwrap().len(),
                result: job.result.map(|result| result.attempt),
            };
            assert_eq!(found, *known, "{id}");
            assert_eq!(job.finished_ms.is_some(), job.state.is_terminal());
            assert!(
                events
                    .iter()
                    .map(|event| event.seq)
                    .eq(1..=events.len() as i64)
            );
        }
        let count = self.store.count(None).await.unwrap();
        assert_eq!(count.values().sum::<u64>(), self.jobs.len() as u64);
    }
}

fn compared(kind: Kind, cases: u32) {
    let steps = proptest::collection::vec(step(), 1..60);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let result = runner.run(&steps, |steps| {
        run(kind, |fresh| async move {
            let mut world = World {
                store: fresh.store.clone(),
                _fresh: fresh,
                now: 0,
                jobs: BTreeMap::new(),
                leases: Vec::new(),
            };
            for step in steps {
                world.take(step).await;
            }
            world.compare().await;
        });
        Ok(())
    });
    result.unwrap();
}

#[test]
fn sqlite_does_what_the_model_does() {
    compared(Kind::Sqlite, 150);
}

#[test]
fn postgres_does_what_the_model_does() {
    compared(Kind::Postgres, 25);
}

#[test]
fn mariadb_does_what_the_model_does() {
    compared(Kind::Mariadb, 25);
}
