//! Callbacks on their way: what jobs owe to others, delivered until it is taken.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sori_store::{Delivery, DeliveryAttempt, JobEnd, JobId, JobState, Next};
use tokio::sync::Semaphore;

use crate::ErrorKind;
use crate::app::App;
use crate::callback::{
    self, CallbackTarget, JobOutcome, Message, News, Outcome, Verdict, deliver, next_try,
};
use crate::config::CallbackForm;
use crate::metrics::Delivered;
use crate::request::{Request, hex};
use crate::work::DOCUMENT;

/// Deliveries at once; a receiver that does not answer holds one for its time-out.
const AT_ONCE: usize = 16;
/// How long a delivery is this server's; longer than a request may take.
const LEASE_MS: i64 = 60_000;
/// What the log of deliveries says of a message that could not be made.
const UNSENT: &str = "not sent: its body cannot be made; the server's log says why";
/// Time after which it looks for what nobody told it of.
const LOOK: Duration = Duration::from_secs(1);

/// Delivers until the server drains; deliveries under way end.
pub async fn run(app: App) {
    // A semaphore: so many deliveries at once; when all are taken the others wait in the store.
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while !app.draining.is_cancelled() {
        let free = places.available_permits();
        let due = match free {
            0 => Ok(Vec::new()),
            _ => {
                let now = app.clock.now_ms();
                app.store
                    .due_deliveries(app.store.node(), now, LEASE_MS, free as u32)
                    .await
            }
        };
        let due = due.unwrap_or_else(|error| {
            tracing::error!(%error, "the store gives no deliveries");
            Vec::new()
        });
        let more = due.len() == free && free > 0;
        for delivery in due {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let app = app.clone();
            tokio::spawn(async move {
                if let Err(error) = one(&app, &delivery).await {
                    tracing::error!(
                        delivery = delivery.id,
                        error = error.message(),
                        "not delivered"
                    );
                }
                drop(place);
                app.outbox.notify_one();
            });
        }
        if !more {
            tokio::select! {
                () = app.outbox.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = app.draining.cancelled() => {}
            }
        }
    }
    let all = places.acquire_many(AT_ONCE as u32);
    let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
}

/// Tries one delivery and notes what came of it. What keeps it from being sent counts as a try that failed.
async fn one(app: &App, delivery: &Delivery) -> Result<(), crate::ApiError> {
    let outcome = match send(app, delivery).await {
        Ok(outcome) => outcome,
        Err(error) => {
            let (id, error) = (&delivery.id, error.message());
            tracing::error!(delivery = id, error, "its body cannot be made");
            Outcome {
                verdict: Verdict::Failed,
                status: None,
                error: Some(UNSENT.to_owned()),
                millis: 0,
                retry_after_ms: None,
            }
        }
    };
    let tries = delivery.tries + 1;
    let next = match next_try(&delivery.id, tries, outcome.reply(), app.clock.now_ms()) {
        callback::Next::Done => Next::Done,
        callback::Next::At(ms) => Next::At(ms),
        callback::Next::GiveUp => Next::GiveUp,
        callback::Next::Disabled => Next::Disabled,
    };
    let result = match &next {
        Next::Done => "delivered",
        Next::At(_) => "failed",
        Next::GiveUp => "given_up",
        Next::Disabled => "disabled",
    }
    .to_owned();
    if matches!(next, Next::Done) {
        let delay = app.clock.now_ms() - delivery.ending.finished_ms;
        app.metrics.webhook_delay.observe(delay.max(0) as f64 / 1e3);
    }
    app.metrics
        .deliveries
        .get_or_create(&Delivered { result })
        .inc();
    let attempt = DeliveryAttempt {
        status: outcome.status,
        error: outcome.error.clone(),
        millis: outcome.millis,
        at_ms: app.clock.now_ms(),
    };
    app.store.delivered(delivery, attempt, next).await?;
    Ok(())
}

/// Makes the body and posts it.
async fn send(app: &App, delivery: &Delivery) -> Result<Outcome, crate::ApiError> {
    let body = body(app, delivery).await?;
    let target = CallbackTarget::new(delivery.url.clone(), app.secrets.clone());
    let (guard, id, now) = (app.guard.clone(), delivery.id.clone(), app.clock.now_ms());
    tokio::task::spawn_blocking(move || {
        let message = Message {
            id: &id,
            body: &body,
        };
        deliver(&guard, &target, &message, now)
    })
    .await
    .map_err(crate::ApiError::internal)
}

/// What the receiver of a job's end is told, whatever has become of the job since: the same bytes each time, but for a document
/// that a rerun has replaced meanwhile.
async fn body(app: &App, delivery: &Delivery) -> Result<Vec<u8>, crate::ApiError> {
    let end = &delivery.ending;
    let form = serde_json::from_str::<Request>(&end.request)
        .map(|request| request.callback_form)
        .unwrap_or_default();
    let result = match end.state {
        JobState::Done | JobState::Partial => result(app, &delivery.job).await?,
        _ => None,
    };
    let news = end_of(end, result.as_ref());
    Ok(told(&delivery.job, form, &news, end.finished_ms))
}

/// What is told of the end of a job.
pub(crate) fn end_of<'a>(end: &'a JobEnd, result: Option<&'a Value>) -> News<'a> {
    let why = end.error.as_ref().map_or("", |e| &e.message);
    News::Ended {
        outcome: match end.state {
            JobState::Done => JobOutcome::Done,
            JobState::Partial => JobOutcome::Partial(why),
            JobState::Cancelled => JobOutcome::Cancelled,
            _ => JobOutcome::Failed(why),
        },
        percent: end.progress,
        result,
    }
}

/// The body of a callback in the shape that was asked for; `at_ms` is when it happened.
pub(crate) fn told(id: &JobId, form: CallbackForm, news: &News<'_>, at_ms: i64) -> Vec<u8> {
    match form {
        CallbackForm::Plain => callback::seed_body(id.as_str(), news),
        CallbackForm::Standard => callback::standard_body(id.as_str(), news, at_ms),
    }
}

/// The document, or where it is and its SHA-256 when it is too long for a body; nothing when it is gone.
async fn result(app: &App, id: &JobId) -> Result<Option<Value>, crate::ApiError> {
    let Some(job) = app.store.job(id).await? else {
        return Ok(None);
    };
    let most = app.config.callbacks.inline_bytes as u64;
    let found = async {
        let small = app.newest(&job, DOCUMENT).await?;
        if let Some(bytes) = app.small_blob(small, most).await? {
            return serde_json::from_slice(&bytes).map_err(crate::ApiError::internal);
        }
        let mut blob = app.newest(&job, DOCUMENT).await?;
        let mut hash = Sha256::new();
        while let Some(piece) = blob.stream.next().await {
            hash.update(&piece?);
        }
        let url = format!("{}/v1/jobs/{id}/result", app.public_url);
        Ok(json!({ "result_url": url, "sha256": hex(&hash.finalize()) }))
    };
    match found.await {
        Ok(result) => Ok(Some(result)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
