//! What every handler and every worker slot shares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sori_store::{Blobs, Job, JobId, JobState, Store};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::admission::Standing;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::media_roots::{Buckets, MediaRoots};
use crate::metrics::Metrics;
use crate::netguard::Guard;
use crate::news::{News, Newsroom};
use crate::rate::RateLimiter;
use crate::request::hex;
use crate::staging::Staging;
use crate::uploads::Uploads;
use crate::{ApiError, ErrorKind};

/// An installed model, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct ModelInfo {
    /// The name that jobs give.
    pub name: String,
    /// What it does: whisper, vad, segmentation, embedding, aligner, plda.
    pub kind: String,
    /// Its licence.
    pub licence: String,
}

/// The state of a server; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// What [`App`] points to.
pub struct Shared {
    /// The configuration.
    pub config: ServerConfig,
    /// Where everything of this server lies.
    pub data: PathBuf,
    /// Jobs, events, keys, profiles.
    pub store: Store,
    /// Recordings and results.
    pub blobs: Blobs,
    /// Time.
    pub clock: Clock,
    /// Which addresses may be asked.
    pub guard: Guard,
    /// Numbers.
    pub metrics: Metrics,
    /// What happens to jobs.
    pub news: Newsroom,
    /// Uploads on their way.
    pub staging: Staging,
    /// Uploads that may go on after a break.
    pub uploads: Uploads,
    /// Rates by key.
    pub limits: Mutex<RateLimiter>,
    /// The last look at what there is to do; a lock of tokio's, so that one looks and the others wait for it, for five seconds
    /// at most.
    pub standing: tokio::sync::Mutex<Option<Standing>>,
    /// Places for documents in memory: so many are written in another shape at once; when all are taken requests wait. Never
    /// closed.
    pub documents: Arc<Semaphore>,
    /// Folders that requests may name.
    pub roots: MediaRoots,
    /// Buckets that requests may name.
    pub buckets: Buckets,
    /// Whether callers need keys.
    pub keys_required: bool,
    /// Secrets that callbacks are signed with, the newest first.
    pub secrets: Vec<crate::callback::Secret>,
    /// The models that are installed.
    pub models: Vec<ModelInfo>,
    /// What workers have loaded, by stage; written when one gets ready.
    pub loaded: Mutex<BTreeMap<String, String>>,
    /// The numbers of the worker processes, as slots start and end them.
    pub workers: Mutex<BTreeSet<u32>>,
    /// Wakes slots when a job came in. A `Notify`: one waiting slot wakes; those that miss it look every second.
    pub work: Notify,
    /// Wakes the sender of callbacks, in the same way.
    pub outbox: Notify,
    /// Cancelled when the server is asked to stop: nothing new is claimed.
    pub draining: CancellationToken,
    /// The address clients reach it by, without a slash at the end.
    pub public_url: String,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// The state of a server.
    pub fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// The job, or what a client is told when there is none.
    ///
    /// # Errors
    /// When the id is none, or no job has it.
    pub async fn job(&self, id: &str) -> Result<Job, ApiError> {
        let none = || ApiError::new(ErrorKind::NotFound, format!("there is no job {id}"));
        let id = JobId::parse(id).map_err(|_| none())?;
        self.store.job(&id).await?.ok_or_else(none)
    }

    /// The folder of a job at work; it outlives an attempt and a process.
    pub fn folder(&self, id: &JobId) -> PathBuf {
        // A job's id has only characters that file names may have, but it may be `..`; the hash may not.
        let hash = hex(&Sha256::digest(id.as_str()));
        self.data.join("work").join(&hash[..32])
    }

    /// Whether this server stops and leaves the job to its next life, or to another server.
    pub fn leaves(&self, job: &Job) -> bool {
        self.draining.is_cancelled() && !job.state.is_terminal() && job.state != JobState::Running
    }

    /// Says that something happened to a job.
    pub fn changed(&self, id: &JobId) {
        self.news.tell(News::Changed(id.clone()));
    }

    /// Waits until the job has ended, at most so long, or this server stops and will not begin it; returns it as it is then.
    ///
    /// # Errors
    /// When the store does not answer, or the job is removed meanwhile.
    pub async fn wait(&self, id: &JobId, most: Duration) -> Result<Job, ApiError> {
        let mut news = self.news.listen();
        let end = tokio::time::Instant::now() + most;
        loop {
            let job = self.job(id.as_str()).await?;
            if job.state.is_terminal() || self.leaves(&job) || tokio::time::Instant::now() >= end {
                return Ok(job);
            }
            // Another server may have it at work: then there are no news, and the store is asked each second.
            let next = end.min(tokio::time::Instant::now() + Duration::from_secs(1));
            let mine = async {
                loop {
                    match news.recv().await {
                        Ok(News::Changed(other)) if other != *id => {}
                        Ok(News::Segment { .. }) => {}
                        _ => return,
                    }
                }
            };
            let _ = tokio::time::timeout_at(next, mine).await;
        }
    }
}

/// Locks a value that stays sound when a holder panicked: it is only ever replaced whole or counted up.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
