//! `/v1/stats`: how the service goes, in one answer, for people who look at it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use sori_store::{Job, JobFilter, JobState};
use utoipa::ToSchema;

use crate::ApiError;
use crate::app::{App, lock};
use crate::keys::Caller;

/// Jobs that the speed is the mean of.
const RECENT: u32 = 20;

/// How the service goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Of the program.
    pub version: String,
    /// The caller's jobs that wait, also those that wait for another try; with the scope `admin`, everybody's, here and below.
    pub queued: u64,
    /// Jobs at work.
    pub running: u64,
    /// Jobs by state; every state is there.
    pub by_state: BTreeMap<String, u64>,
    /// Age in seconds of the oldest job that could be begun now; only with the scope `admin`.
    pub oldest_seconds: Option<f64>,
    /// Seconds of sound that were worked on in a second, over the caller's last 20 jobs that are done.
    #[schema(example = 12.5)]
    pub times_real_time: Option<f64>,
    /// Workers with their models.
    pub workers_ready: i64,
    /// The models that are loaded, by stage.
    pub models: BTreeMap<String, String>,
    /// Callbacks that are to be delivered, now or later; only with the scope `admin`.
    pub deliveries_waiting: Option<u64>,
    /// Whether the server is on its way to stop.
    pub stopping: bool,
}

/// Says how the service goes: its queue, its speed, its models.
#[utoipa::path(get, path = "/v1/stats", tag = "service", responses((status = 200, body = Stats)))]
pub async fn stats(State(app): State<App>, caller: Caller) -> Result<Json<Stats>, ApiError> {
    let now = app.clock.now_ms();
    let owner = caller.sees_only();
    let counts = app.store.count(owner.as_deref()).await?;
    let (oldest_ms, deliveries_waiting) = match owner {
        None => (
            app.store.load(now).await?.oldest_ms(),
            Some(app.store.waiting_deliveries().await?),
        ),
        Some(_) => (None, None),
    };
    let filter = JobFilter {
        state: Some(JobState::Done),
        owner,
        before: None,
        limit: RECENT,
    };
    let times_real_time = speed(&app.store.jobs(&filter).await?);
    let count = |state: JobState| counts.get(&state).copied().unwrap_or(0);
    let by_state = JobState::ALL.map(|state| (state.name().to_owned(), count(state)));
    let models = lock(&app.loaded).clone();
    Ok(Json(Stats {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        queued: count(JobState::Queued) + count(JobState::Retrying),
        running: count(JobState::Running),
        by_state: by_state.into(),
        oldest_seconds: oldest_ms.map(|since| (now - since).max(0) as f64 / 1e3),
        times_real_time,
        workers_ready: app.metrics.workers_ready.get(),
        models,
        deliveries_waiting,
        stopping: app.draining.is_cancelled(),
    }))
}

/// Seconds of sound over seconds from the first claim to the end, of all these jobs together.
fn speed(jobs: &[Job]) -> Option<f64> {
    let (mut sound, mut work) = (0.0, 0.0);
    for job in jobs {
        if let (Some(from), Some(to), Some(length)) =
            (job.started_ms, job.finished_ms, job.duration_seconds)
        {
            sound += length;
            work += (to - from).max(1) as f64 / 1e3;
        }
    }
    (work > 0.0 && sound > 0.0).then(|| sound / work)
}
