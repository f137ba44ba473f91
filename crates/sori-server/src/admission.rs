//! Whether more work is taken, asked before its bytes are.

use sori_store::{JobId, Load};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::app::App;
use crate::keys::Caller;
use crate::{ApiError, ErrorKind};

/// How long the same look at the queue and the memory serves, in milliseconds.
const FRESH_MS: i64 = 1000;

/// How much there was to do, and how much room, a moment ago.
#[derive(Clone, Debug)]
pub struct Standing {
    seen_ms: i64,
    load: Load,
    free_memory: u64,
}

impl App {
    /// Refuses work before it is sent, where the server stops or the queue, the disk or the memory is full. A request for a job
    /// that this caller asked for before (`id`) is let through: it asks for nothing new.
    ///
    /// # Errors
    /// 503 or 429 with the time to come back, or 507.
    pub async fn admit(&self, caller: &Caller, id: Option<&str>) -> Result<(), ApiError> {
        if let Some(Ok(id)) = id.map(JobId::parse)
            && let Some(job) = self.store.job(&id).await?
            && job.owner.as_deref() == caller.owner()
        {
            return Ok(());
        }
        let refuse =
            |kind, message: String, seconds| Err(ApiError::new(kind, message).retry_after(seconds));
        if self.draining.is_cancelled() {
            return refuse(
                ErrorKind::Unavailable,
                "the server is stopping".to_owned(),
                30,
            );
        }
        let limits = &self.config.limits;
        if fs4::available_space(&self.data)? < limits.free_bytes {
            let message = "the server's disk is nearly full; nothing was accepted".to_owned();
            return refuse(ErrorKind::Storage, message, 60);
        }
        let Standing {
            load, free_memory, ..
        } = self.standing().await?;
        if free_memory >> 20 < limits.free_memory_mb {
            let message = "the server's memory is nearly full; nothing was accepted".to_owned();
            return refuse(ErrorKind::Unavailable, message, 10);
        }
        let queued = load.queued();
        if queued >= limits.queued_jobs || load.bytes >= limits.queued_bytes {
            let message = format!("{queued} jobs wait already; come back later");
            return refuse(ErrorKind::TooMany, message, self.patience(queued));
        }
        Ok(())
    }

    /// How much there is to do, as of a second ago at most.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn recent_load(&self) -> Result<Load, ApiError> {
        Ok(self.standing().await?.load)
    }

    async fn standing(&self) -> Result<Standing, ApiError> {
        // Whoever comes while another looks waits for what that one sees.
        let mut standing = self.standing.lock().await;
        let now = self.clock.now_ms();
        if let Some(standing) = standing.as_ref().filter(|s| now - s.seen_ms < FRESH_MS) {
            return Ok(standing.clone());
        }
        let memory = MemoryRefreshKind::nothing().with_ram();
        let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
        let seen = Standing {
            seen_ms: now,
            load: self.store.load(now).await?,
            free_memory: system.available_memory(),
        };
        Ok(standing.insert(seen).clone())
    }

    /// Seconds until a place in the queue should be free: a share of the time that its jobs will take.
    pub(crate) fn patience(&self, queued: u64) -> u64 {
        let each = self.metrics.mean_job_seconds();
        let whole = queued as f64 * each / self.config.workers.count as f64;
        (whole / 10.0).clamp(1.0, 3600.0) as u64
    }
}
