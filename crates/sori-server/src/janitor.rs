//! What has to be done now and then: leases that ran out, jobs that were kept long enough, uploads that nobody ended.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sori_store::JobFilter;
use uuid::Uuid;

use crate::ApiError;
use crate::app::App;

/// From one look at the leases to the next.
const REAP: Duration = Duration::from_secs(5);
/// Every so many looks old jobs and uploads are removed: each ten minutes.
const SWEEP: u64 = 120;
/// Old jobs removed in one sweep.
const AT_ONCE: u32 = 1000;
/// Age from which what no job names is nobody's: jobs are accepted seconds after their recording is kept.
const ORPHAN: Duration = Duration::from_secs(3600);

/// Runs until the server drains.
pub async fn run(app: App) {
    if let Err(error) = leftovers(&app).await {
        tracing::error!(
            error = error.message(),
            "what an earlier life left is not removed"
        );
    }
    let mut looks = 0_u64;
    while !app.draining.is_cancelled() {
        if looks.is_multiple_of(SWEEP) {
            sweep(&app).await;
        }
        looks += 1;
        if let Err(error) = app.reap(app.clock.now_ms()).await {
            tracing::error!(%error, "leases are not looked at");
        }
        tokio::select! {
            () = tokio::time::sleep(REAP) => {}
            () = app.draining.cancelled() => {}
        }
    }
}

/// Removes what was kept long enough.
async fn sweep(app: &App) {
    let now = app.clock.now_ms();
    let days = i64::from(app.config.storage.keep_days);
    if days > 0 {
        let old = app.store.expired(now, days * 86_400_000, AT_ONCE).await;
        for id in old.unwrap_or_default() {
            let Ok(Some(job)) = app.store.job(&id).await else {
                continue;
            };
            if let Err(error) = app.purge(&job).await {
                tracing::error!(job = %id, error = error.message(), "not removed");
            }
        }
    }
    if let Err(error) = app.uploads.sweep(now).await {
        tracing::error!(%error, "old uploads are not removed");
    }
}

/// Removes folders of work and recordings that a killed server left and no job needs.
///
/// Recordings are looked for only where they and the jobs lie in the data folder, which is this server's alone: elsewhere
/// another server's jobs, or those of another database, may need them.
async fn leftovers(app: &App) -> Result<(), ApiError> {
    let now = SystemTime::now();
    let mut folders = old_folders(&app.data.join("work"), now).await?;
    let storage = &app.config.storage;
    let mut media: BTreeSet<String> = match storage.database.is_empty() && storage.blobs.is_empty()
    {
        true => app.blobs.list("media").await?.into_iter().collect(),
        false => BTreeSet::new(),
    };
    media.retain(|key| is_old(key, now));
    let mut filter = JobFilter {
        limit: AT_ONCE,
        ..JobFilter::default()
    };
    while !folders.is_empty() || !media.is_empty() {
        let jobs = app.store.jobs(&filter).await?;
        for job in &jobs {
            if !job.state.is_terminal() {
                folders.remove(&app.folder(&job.id));
            }
            if let Some(key) = job.media.as_ref().filter(|_| app.keeps_media(job)) {
                media.remove(key);
            }
        }
        let Some(last) = jobs.last() else {
            break;
        };
        filter.before = Some((last.created_ms, last.id.clone()));
    }
    for folder in &folders {
        tracing::info!(folder = %folder.display(), "left by an earlier life: removed");
        tokio::fs::remove_dir_all(folder).await?;
    }
    for key in &media {
        tracing::info!(key, "no job needs this recording: removed");
        app.remove_media(key).await?;
    }
    Ok(())
}

/// The folders in a folder that nobody changed for as long as [`ORPHAN`].
async fn old_folders(folder: &Path, now: SystemTime) -> std::io::Result<BTreeSet<PathBuf>> {
    let mut old = BTreeSet::new();
    let mut entries = match tokio::fs::read_dir(folder).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(old),
        entries => entries?,
    };
    while let Some(entry) = entries.next_entry().await? {
        let data = entry.metadata().await?;
        let age = now.duration_since(data.modified()?).unwrap_or_default();
        if data.is_dir() && age > ORPHAN {
            old.insert(entry.path());
        }
    }
    Ok(old)
}

/// Whether a recording's key, `media/` with a UUID of version 7 (RFC 9562), is older than [`ORPHAN`].
fn is_old(key: &str, now: SystemTime) -> bool {
    let id = key
        .split('/')
        .nth(1)
        .and_then(|id| Uuid::parse_str(id).ok());
    let Some(made) = id.and_then(|id| id.get_timestamp()) else {
        return false;
    };
    let (seconds, nanos) = made.to_unix();
    let made = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
    now.duration_since(made).is_ok_and(|age| age > ORPHAN)
}
