//! Progress of a job, told to its callback while it is at work: the newest only. A receiver that takes longer than [`LAST`] to
//! answer may read the last progress after the end; it knows by the end's status.

use std::time::Duration;

use sori_store::{Job, Progress};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{CallbackTarget, Coalescer, Message, News, deliver};
use crate::app::App;
use crate::config::CallbackForm;
use crate::outbox::told;

/// Time that a last message under way gets, so that the end of a job does not overtake it.
const LAST: Duration = Duration::from_secs(5);

/// Tells a callback how far a job is.
pub(crate) struct ProgressSender {
    /// A watch channel: it holds the newest progress only; closed when the attempt ends.
    newest: Option<watch::Sender<Option<Progress>>>,
    task: Option<JoinHandle<()>>,
}

impl ProgressSender {
    /// A sender for a job; it does nothing where the job has no callback.
    pub(crate) fn new(app: &App, job: &Job, form: CallbackForm) -> Self {
        let Some(url) = job.callback.clone() else {
            return Self {
                newest: None,
                task: None,
            };
        };
        let (newest, progress) = watch::channel(None);
        let mut target = CallbackTarget::new(url, app.secrets.clone());
        target.timeout = LAST;
        let task = tokio::spawn(send(app.clone(), job.clone(), form, target, progress));
        Self {
            newest: Some(newest),
            task: Some(task),
        }
    }

    /// Notes how far the job is.
    pub(crate) fn tell(&mut self, progress: Progress) {
        if let Some(newest) = &self.newest {
            newest.send_replace(Some(progress));
        }
    }

    /// Ends it at once: the end of a job that was stopped does not wait for a slow receiver.
    pub(crate) fn abandon(&mut self) {
        self.newest = None;
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Ends it; what is under way gets a moment to arrive before the end does.
    pub(crate) async fn end(&mut self) {
        self.newest = None;
        if let Some(task) = self.task.take() {
            let stop = task.abort_handle();
            if tokio::time::timeout(LAST, task).await.is_err() {
                stop.abort();
            }
        }
    }
}

async fn send(
    app: App,
    job: Job,
    form: CallbackForm,
    target: CallbackTarget,
    mut newest: watch::Receiver<Option<Progress>>,
) {
    let mut worth = Coalescer::default();
    let mut count = 0;
    while newest.changed().await.is_ok() {
        let Some(progress) = newest.borrow_and_update().clone() else {
            continue;
        };
        if !worth.offer(progress.percent, app.clock.now_ms()) {
            continue;
        }
        count += 1;
        let news = News::Progress {
            stage: &progress.stage,
            percent: progress.percent,
        };
        let at_ms = job.finished_ms.unwrap_or(job.created_ms);
        let body = told(&job.id, form, &news, at_ms);
        let id = format!("{}-{}-{count}", job.id, job.attempt);
        let (guard, target, now) = (app.guard.clone(), target.clone(), app.clock.now_ms());
        let sent = tokio::task::spawn_blocking(move || {
            let message = Message {
                id: &id,
                body: &body,
            };
            deliver(&guard, &target, &message, now)
        });
        // One try: the next progress says more, and the end is delivered for certain.
        if let Ok(outcome) = sent.await
            && let Some(error) = outcome.error
        {
            tracing::debug!(job = %job.id, error, "progress was not taken");
        }
    }
}
