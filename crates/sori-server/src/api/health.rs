//! Whether the service lives, whether it can work, and its numbers.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System};
use utoipa::ToSchema;

use crate::ApiError;
use crate::app::{App, ModelInfo, lock};
use crate::keys::Caller;

/// Whether the service can work, part by part.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// Whether all is well.
    pub ready: bool,
    /// The database answers.
    pub database: bool,
    /// Workers with their models.
    pub workers: i64,
    /// Not on its way to stop.
    pub open: bool,
    /// There is room for a job: in the queue, on the disk, in memory.
    pub room: bool,
}

/// Says that the process answers.
#[utoipa::path(get, path = "/livez", tag = "service", security(()), responses((status = 200, body = String)))]
pub async fn live() -> &'static str {
    "ok\n"
}

/// Says whether work is taken: 503 while models load, the database is away, nothing more fits or the server stops.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()), responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub async fn ready(State(app): State<App>) -> (StatusCode, Json<Ready>) {
    let database = app.store.ping().await.is_ok();
    let workers = app.metrics.workers_ready.get();
    let open = !app.draining.is_cancelled();
    let room = app.room().await.is_ok();
    let ready = database && workers > 0 && open && room;
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (
        status,
        Json(Ready {
            ready,
            database,
            workers,
            open,
            room,
        }),
    )
}

/// What the service is and does.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// healthy, or why not.
    pub status: String,
    /// Of the program.
    pub version: String,
    /// Jobs that wait.
    pub queued: u64,
    /// Jobs at work.
    pub running: u64,
    /// The models that work, by stage.
    pub models: std::collections::BTreeMap<String, String>,
}

/// Says how the service is.
#[utoipa::path(get, path = "/health", tag = "service", security(()), responses((status = 200, body = Health)))]
pub async fn health(State(app): State<App>) -> Result<Json<Health>, ApiError> {
    let load = app.recent_load().await?;
    let models = lock(&app.loaded).clone();
    let status = match (app.draining.is_cancelled(), app.metrics.workers_ready.get()) {
        (true, _) => "stopping",
        (_, 0) if lock(&app.workers).is_empty() => "starting",
        (_, 0) => "no models",
        _ => "healthy",
    };
    Ok(Json(Health {
        status: status.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        queued: load.queued(),
        running: load.running,
        models,
    }))
}

/// Gives all numbers for Prometheus; the key needs the scope `metrics`.
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, content_type = "application/openmetrics-text", body = String)))]
pub async fn metrics(State(app): State<App>, _caller: Caller) -> Result<Response, ApiError> {
    let now = app.clock.now_ms();
    app.metrics.note_load(&app.store.load(now).await?, now);
    let ids: Vec<_> = lock(&app.workers)
        .iter()
        .map(|id| Pid::from_u32(*id))
        .collect();
    let mut system = System::new();
    let memory = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&ids), true, memory);
    let resident: u64 = system.processes().values().map(Process::memory).sum();
    app.metrics.worker_resident.set(resident as i64);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], app.metrics.text()).into_response())
}

/// Lists the models that jobs may name.
#[utoipa::path(get, path = "/v1/installed", tag = "service", responses((status = 200, body = Vec<ModelInfo>)))]
pub async fn installed(State(app): State<App>, _caller: Caller) -> Json<Vec<ModelInfo>> {
    Json(app.models.clone())
}
