//! The end of an attempt: results kept, the store told, numbers counted.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sori_store::{Ending, Job, JobState};

use super::{Attempt, Outcome, Stop, attempt_key, result_key};
use crate::app::lock;
use crate::dispatch::{LEASE_MS, Slot, again, for_good};
use crate::metrics::{Reason, StageLabel};
use crate::request::Work;
use crate::work::{DOCUMENT, HEARD, PAGE, StageSeconds};

impl Attempt<'_> {
    /// Keeps the results of work that is done.
    pub(super) async fn put_away(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Done {
                partial,
                duration,
                stages,
                warnings,
            } => Outcome::Ended(self.keep(partial, duration, &stages, &warnings).await),
            outcome => outcome,
        }
    }

    /// Ends the attempt in the store.
    pub(super) async fn settle(&self, slot: &mut Slot, outcome: Outcome) {
        let (app, id) = (self.app, &self.lease.job.id);
        let ending = match (self.why.get(), outcome) {
            (Some(Stop::Lost), _) => {
                slot.end(app).await;
                return self.overtaken().await;
            }
            // What is put away stands, also when the job was to stop meanwhile.
            (_, Outcome::Ended(done @ (Ending::Done { .. } | Ending::Partial { .. }))) => done,
            (Some(Stop::Drained), _) => Ending::Released,
            (Some(Stop::TooLong), _) => {
                for_good("timeout", "it took longer than workers.job_seconds allows")
            }
            (_, Outcome::Ended(ending)) => ending,
            (_, Outcome::Done { .. }) => unreachable!("`put_away` leaves none"),
            (Some(Stop::Cancelled), Outcome::Lost(_)) => Ending::Cancelled,
            (None, Outcome::Lost(how)) => {
                tracing::error!(job = %id, how, "the worker of this job is lost");
                return self.lose().await;
            }
        };
        if let Ending::Failed { error, retry } = &ending {
            tracing::warn!(job = %id, kind = error.kind, message = error.message, "failed");
            if *retry == sori_store::Retry::Later {
                let reason = "failure".to_owned();
                app.metrics.retries.get_or_create(&Reason { reason }).inc();
            }
        }
        // The end of a job is not given up for a database that is away for a moment: the lease holds as long as this process
        // tries, and is another's after that.
        loop {
            let now = app.clock.now_ms();
            match app.store.finish(self.lease, ending.clone(), now).await {
                Ok(Some(job)) => return self.ended(&job).await,
                Ok(None) => return self.overtaken().await,
                Err(error) => {
                    tracing::error!(%error, job = %id, "the end of this job is not kept yet")
                }
            }
            // Where the lease is lost, the next try says so.
            let _ = app.store.renew(self.lease, LEASE_MS, now).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// What is done when the job is not this attempt's any more: another has it, or its end was kept and only the answer of
    /// the store was lost.
    async fn overtaken(&self) {
        let id = &self.lease.job.id;
        match self.app.store.job(id).await {
            Ok(Some(job)) if job.result.is_some_and(|r| r.attempt == self.lease.attempt) => {
                self.ended(&job).await;
            }
            Ok(_) => {
                tracing::warn!(job = %id, "another has this job now");
                self.forget();
            }
            // Nothing is removed that may be needed.
            Err(error) => tracing::error!(%error, job = %id, "whose job this is cannot be told"),
        }
    }

    /// What is done when the state has changed: nothing left of a job that has ended but its result, tidings, numbers.
    async fn ended(&self, job: &Job) {
        let app = self.app;
        if job.state == JobState::Queued {
            tracing::info!(job = %job.id, "given back to the queue");
        }
        if job.state.is_terminal() {
            app.after_end(job).await;
            if let (Some(owner), Some(seconds)) = (&job.owner, job.duration_seconds) {
                lock(&app.limits).add_audio(owner, seconds, app.clock.now_ms());
            }
        }
        app.changed(&job.id);
        app.outbox.notify_one();
        match job.result.is_some_and(|r| r.attempt == self.lease.attempt) {
            true => self.supersede(),
            false => self.forget(),
        }
    }

    /// Removes what this attempt put away, which is nobody's now. Nobody waits for it.
    fn forget(&self) {
        if !self.stored.load(Ordering::Relaxed) {
            return;
        }
        let own = attempt_key(&self.lease.job.id, self.lease.attempt);
        let app = self.app.clone();
        tokio::spawn(async move {
            if let Err(error) = app.blobs.remove_prefix(&own).await {
                tracing::error!(%error, own, "results of no use are not removed");
            }
        });
    }

    /// Removes the results of attempts before this one, whose own stands now. Nobody waits for it.
    fn supersede(&self) {
        let (app, id, own) = (
            self.app.clone(),
            self.lease.job.id.clone(),
            self.lease.attempt,
        );
        // The first attempt has none before it.
        if own == 1 {
            return;
        }
        let all = format!("jobs/{id}");
        tokio::spawn(async move {
            let removed = async {
                let keys = app.blobs.list(&all).await?;
                let attempt = |key: &String| key.split('/').nth(2)?.parse::<i64>().ok();
                let attempts: BTreeSet<i64> = keys.iter().filter_map(attempt).collect();
                for before in attempts.range(..own) {
                    app.blobs.remove_prefix(&attempt_key(&id, *before)).await?;
                }
                Ok::<_, sori_store::StoreError>(())
            };
            if let Err(error) = removed.await {
                tracing::error!(%error, job = %id, "an old result is not removed");
            }
        });
    }

    /// Counts a lost worker against the job: its lease runs out now.
    async fn lose(&self) {
        let (app, now) = (self.app, self.app.clock.now_ms());
        let lost = async {
            app.store.renew(self.lease, 0, now).await?;
            app.reap(now + 1).await
        };
        if let Err(error) = lost.await {
            tracing::error!(%error, "the lease runs out by itself");
        }
    }

    /// Moves what the worker wrote to where results are kept.
    async fn keep(
        &self,
        partial: bool,
        duration: f64,
        stages: &[StageSeconds],
        warnings: &[String],
    ) -> Ending {
        let id = &self.lease.job.id;
        let folder = self.app.folder(id);
        self.stored.store(true, Ordering::Relaxed);
        if Work::of(&self.lease.job) == Work::Enroll
            && let Err(ending) = self.app.remember(&self.lease.job, &folder).await
        {
            return ending;
        }
        for name in [DOCUMENT, PAGE, HEARD] {
            let path = folder.join(name);
            if !path.exists() {
                continue;
            }
            let key = result_key(id, self.lease.attempt, name);
            if let Err(error) = self.app.blobs.put_file(&key, &path).await {
                return again("internal", format!("the result is not kept: {error}"));
            }
        }
        let models = lock(&self.app.loaded).clone();
        for StageSeconds { stage, seconds } in stages {
            let label = StageLabel {
                stage: stage.clone(),
                model: models.get(stage).cloned().unwrap_or_default(),
            };
            self.app.metrics.count_stage(&label, *seconds, duration);
            tracing::info!(stage, seconds, "stage");
        }
        match partial {
            false => Ending::Done { duration },
            true => Ending::Partial {
                duration,
                error: sori_store::JobError {
                    kind: "stage".to_owned(),
                    message: warnings.join("; "),
                },
            },
        }
    }
}
