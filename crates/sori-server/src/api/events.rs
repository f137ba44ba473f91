//! `/v1/jobs/{id}/events`: how a job goes, as server-sent events that can be taken up again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use futures::stream;
use sori_store::JobId;

use super::asked::Path;
use crate::ApiError;
use crate::app::App;
use crate::keys::Caller;
use crate::news::News;

/// Events read from the store at once.
const PAGE: u32 = 100;

/// Follows a job: an event for each change, until it has ended.
///
/// Each event has an id; a client that comes back with `Last-Event-ID` gets what it missed.
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs",
    params(("id" = String, Path), ("Last-Event-ID" = Option<i64>, Header, description = "the last event that was taken")),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, description = "no such job")))]
pub async fn events(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let job = app.own_job(&caller, &id).await?;
    let last = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok()?.parse().ok());
    let follow = Follow {
        news: app.news.listen(),
        app,
        job: job.id,
        last: last.unwrap_or(0),
        waiting: VecDeque::new(),
        ended: false,
    };
    let events = stream::unfold(follow, |mut follow| async move {
        let event = follow.next().await?;
        Some((Ok(event), follow))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// A client that follows a job.
struct Follow {
    app: App,
    news: tokio::sync::broadcast::Receiver<News>,
    job: JobId,
    last: i64,
    waiting: VecDeque<sori_store::Event>,
    ended: bool,
}

impl Follow {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.last = event.seq;
                let data = Event::default().id(event.seq.to_string()).event(event.kind);
                return Some(data.data(event.data));
            }
            if self.ended {
                return None;
            }
            // The state is read before the events: what ends the job is among them.
            let job = self.app.store.job(&self.job).await.ok()?;
            self.ended = job.is_none_or(|job| job.state.is_terminal());
            let events = self
                .app
                .store
                .events(&self.job, self.last, PAGE)
                .await
                .ok()?;
            self.ended &= events.len() < PAGE as usize;
            self.waiting.extend(events);
            if self.waiting.is_empty() && !self.ended {
                self.wait().await;
            }
        }
    }

    /// Waits for news of the job, or a second: another server may have it at work.
    async fn wait(&mut self) {
        let mine = async {
            loop {
                match self.news.recv().await {
                    Ok(News::Changed(other)) if other != self.job => {}
                    Ok(News::Segment { .. }) => {}
                    _ => return,
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), mine).await;
    }
}
