//! Slots: each takes one job after the other from the store and has a worker process do it.

use std::time::{Duration, Instant};

use sori_store::Ending;
use tokio::task::JoinSet;

use crate::app::{App, lock};
use crate::attempt::attempt;
use crate::process::{Process, WorkerCommand};
use crate::work::Report;

/// How long a claim holds without a heartbeat, in milliseconds: a lost server's jobs go on after this time elsewhere.
pub(crate) const LEASE_MS: i64 = 30_000;
/// Time after which an idle slot looks for work that nobody told it of: retries that fall due, other servers' jobs.
const LOOK: Duration = Duration::from_secs(1);
/// Time a process may take to load its models.
const LOADING: Duration = Duration::from_secs(300);

/// The process of a slot.
pub(crate) struct Slot {
    command: WorkerCommand,
    process: Option<Process>,
    ready: bool,
}

/// Runs the slots until the server drains; each ends when its job has ended or went back.
pub async fn run(app: App, command: WorkerCommand) {
    let mut slots = JoinSet::new();
    for index in 0..app.config.workers.count {
        let (app, command) = (app.clone(), command.clone());
        slots.spawn(async move { slot(app, command, index).await });
    }
    while slots.join_next().await.is_some() {}
}

async fn slot(app: App, command: WorkerCommand, index: usize) {
    let name = format!("{}/{index}", std::process::id());
    let mut slot = Slot {
        command,
        process: None,
        ready: false,
    };
    // Models are loaded before the first job comes.
    tokio::select! {
        started = slot.ready(&app) => if let Err(error) = started {
            tracing::error!(%error, "a worker did not start; it is tried again with the next job");
        },
        () = app.draining.cancelled() => {}
    }
    while !app.draining.is_cancelled() {
        match app.store.claim(&name, LEASE_MS, app.clock.now_ms()).await {
            Ok(Some(lease)) => {
                app.metrics.running.inc();
                attempt(&app, &mut slot, &lease).await;
                app.metrics.running.dec();
            }
            Ok(None) => {
                tokio::select! {
                    () = app.work.notified() => {}
                    () = tokio::time::sleep(LOOK) => {}
                    () = app.draining.cancelled() => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store gives no work");
                tokio::time::sleep(LOOK).await;
            }
        }
    }
    slot.end(&app).await;
}

impl Slot {
    /// The process, started and with its models; a new one where the last is gone.
    ///
    /// # Errors
    /// Saying why there is none.
    pub(crate) async fn ready(&mut self, app: &App) -> Result<&mut Process, String> {
        if self.process.is_none() {
            let begun = Instant::now();
            let mut process = Process::start(&self.command)
                .map_err(|e| format!("{}: {e}", self.command.program.display()))?;
            match tokio::time::timeout(LOADING, process.next()).await {
                Ok(Some(Report::Ready { models })) => {
                    // One without models says in each job why; it is not ready.
                    self.ready = !models.is_empty();
                    *lock(&app.loaded) = models;
                }
                _ => {
                    let how = process.kill().await;
                    return Err(format!("the worker ended before it was ready: {how}"));
                }
            }
            lock(&app.workers).extend(process.id());
            self.process = Some(process);
            if self.ready {
                let took = begun.elapsed().as_secs_f64();
                app.metrics.model_load.observe(took);
                app.metrics.workers_ready.inc();
            }
        }
        Ok(self.process.as_mut().expect("it was just put there"))
    }

    /// Ends the process, if there is one; returns how it ended.
    pub(crate) async fn end(&mut self, app: &App) -> Option<String> {
        if std::mem::take(&mut self.ready) {
            app.metrics.workers_ready.dec();
        }
        match self.process.take() {
            Some(process) => {
                if let Some(id) = process.id() {
                    lock(&app.workers).remove(&id);
                }
                Some(process.kill().await)
            }
            None => None,
        }
    }
}

/// The end of an attempt that can be tried again.
pub(crate) fn again(kind: &str, message: impl Into<String>) -> Ending {
    failed(kind, message, sori_store::Retry::Later)
}

/// The end of an attempt that would end the same each time.
pub(crate) fn for_good(kind: &str, message: impl Into<String>) -> Ending {
    failed(kind, message, sori_store::Retry::No)
}

fn failed(kind: &str, message: impl Into<String>, retry: sori_store::Retry) -> Ending {
    Ending::Failed {
        error: sori_store::JobError {
            kind: kind.to_owned(),
            message: message.into(),
        },
        retry,
    }
}
