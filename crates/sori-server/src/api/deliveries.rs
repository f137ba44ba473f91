//! `/v1/jobs/{id}/deliveries`: what callbacks were told, and telling it again.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use sori_store::{DeliveryAttempt, DeliveryRecord, DeliveryState};
use utoipa::ToSchema;

use super::view::time;
use crate::app::App;
use crate::keys::Caller;
use crate::{ApiError, ErrorKind};

/// One message to a callback.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    /// Its name, the same at every try: the `webhook-id` of Standard Webhooks.
    pub id: String,
    /// What it tells.
    #[schema(example = "job.completed")]
    pub kind: String,
    /// Where to, without the query, which may hold a secret.
    pub url: String,
    /// waiting, done, given_up or disabled (the receiver answered 410).
    pub state: String,
    /// When the job ended (RFC 3339).
    pub created_at: String,
    /// When it is tried next, where it waits.
    pub next_at: Option<String>,
    /// Every try, the first one first.
    pub attempts: Vec<AttemptView>,
}

/// One try to deliver.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptView {
    /// When it was sent (RFC 3339).
    pub at: String,
    /// The status that was answered.
    pub status: Option<u16>,
    /// What went wrong, without the answer's body.
    pub error: Option<String>,
    /// How long it took in milliseconds.
    pub millis: u64,
}

impl From<DeliveryAttempt> for AttemptView {
    fn from(attempt: DeliveryAttempt) -> Self {
        Self {
            at: time(attempt.at_ms),
            status: attempt.status,
            error: attempt.error,
            millis: attempt.millis,
        }
    }
}

impl From<DeliveryRecord> for DeliveryView {
    fn from(record: DeliveryRecord) -> Self {
        Self {
            id: record.delivery.id,
            kind: record.delivery.kind,
            url: bare(&record.delivery.url),
            state: record.state.name().to_owned(),
            created_at: time(record.created_ms),
            next_at: (record.state == DeliveryState::Waiting).then(|| time(record.due_ms)),
            attempts: record.log.into_iter().map(AttemptView::from).collect(),
        }
    }
}

/// The URL without what may be secret in it: name, password, query, fragment.
fn bare(url: &str) -> String {
    let Ok(url) = url::Url::parse(url) else {
        return String::new();
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}"));
    let port = port.unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

/// Lists what a job's callback was told, with every try.
#[utoipa::path(get, path = "/v1/jobs/{id}/deliveries", tag = "callbacks", params(("id" = String, Path)),
    responses((status = 200, body = Vec<DeliveryView>), (status = 404, description = "no such job")))]
pub async fn deliveries(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Vec<DeliveryView>>, ApiError> {
    let job = app.own_job(&caller, &id).await?;
    let records = app.store.deliveries(&job.id).await?;
    Ok(Json(records.into_iter().map(DeliveryView::from).collect()))
}

/// Tells a callback again, whatever became of it before; its id stays, so that a receiver knows it.
#[utoipa::path(post, path = "/v1/deliveries/{id}/replay", tag = "callbacks", params(("id" = String, Path)),
    responses((status = 202, description = "it is due now"), (status = 404, description = "no such delivery")))]
pub async fn replay(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let none =
        || ApiError::new(ErrorKind::NotFound, format!("there is no delivery {id}")).about("id");
    let delivery = app.store.delivery(&id).await?.ok_or_else(none)?;
    app.own_job(&caller, delivery.job.as_str())
        .await
        .map_err(|_| none())?;
    app.store.replay(&id, app.clock.now_ms()).await?;
    app.outbox.notify_one();
    Ok(StatusCode::ACCEPTED)
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn addresses_are_shown_without_secrets() {
        for (url, shown) in [
            (
                "https://me:pw@hook.example:8443/a/b?token=x#y",
                "https://hook.example:8443/a/b",
            ),
            ("http://[::1]/", "http://[::1]/"),
            ("no address", ""),
        ] {
            assert_eq!(bare(url), shown);
        }
    }
}
