//! Whether more work is taken, asked before its bytes are.

use std::time::Duration;

use sori_store::{JobId, Load};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::app::App;
use crate::keys::Caller;
use crate::metrics::Reason;
use crate::{ApiError, ErrorKind};

/// How long the same look at the queue and the memory serves, in milliseconds.
const FRESH_MS: i64 = 1000;

/// How long the store may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much there was to do, and how much room, a moment ago.
#[derive(Clone, Debug)]
pub struct Standing {
    seen_ms: i64,
    /// None where the store did not answer.
    load: Option<Load>,
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
        let room = self.room().await;
        if let Err(refused) = &room {
            let reason = refused.kind().code().to_owned();
            self.metrics.refused.get_or_create(&Reason { reason }).inc();
        }
        room
    }

    /// Whether there is room for a new job.
    ///
    /// # Errors
    /// As [`App::admit`].
    pub async fn room(&self) -> Result<(), ApiError> {
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
        let (load, free_memory) = self.standing().await?;
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
        Ok(self.standing().await?.0)
    }

    /// What there is to do, and bytes of memory that are free.
    async fn standing(&self) -> Result<(Load, u64), ApiError> {
        // Whoever comes while another looks waits for what that one sees, also that the store does not answer.
        let mut standing = self.standing.lock().await;
        let now = self.clock.now_ms();
        standing.take_if(|seen| now - seen.seen_ms >= FRESH_MS);
        let seen = match &*standing {
            Some(seen) => seen,
            None => {
                let load = tokio::time::timeout(PATIENCE, self.store.load(now)).await;
                let load = load.map_err(|_| "it does not answer".to_owned());
                let load = load.and_then(|load| load.map_err(|e| e.to_string()));
                standing.insert(Standing {
                    seen_ms: self.clock.now_ms(),
                    load: load
                        .inspect_err(|error| tracing::error!(error, "the database"))
                        .ok(),
                    free_memory: free_memory(),
                })
            }
        };
        let Some(load) = seen.load.clone() else {
            let message = "the server's database does not answer";
            return Err(ApiError::new(ErrorKind::Unavailable, message).retry_after(10));
        };
        Ok((load, seen.free_memory))
    }

    /// Seconds until a place in the queue should be free: a share of the time that its jobs will take.
    pub(crate) fn patience(&self, queued: u64) -> u64 {
        let each = self.metrics.mean_job_seconds();
        let whole = queued as f64 * each / self.config.workers.count as f64;
        (whole / 10.0).clamp(1.0, 3600.0) as u64
    }
}

/// Bytes of memory that are free on this machine, or in the container where that has less; all where it cannot be told.
fn free_memory() -> u64 {
    let memory = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
    let machine = match system.total_memory() {
        0 => u64::MAX,
        _ => system.available_memory(),
    };
    // What the container's processes have; its caches are given back when they are asked for.
    let own = system.cgroup_limits();
    let own = own.map_or(u64::MAX, |own| own.total_memory.saturating_sub(own.rss));
    machine.min(own)
}
