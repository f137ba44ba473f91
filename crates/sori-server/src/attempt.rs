//! One attempt at a job: the recording at hand, the worker at work, the heart beating, the results kept.

mod ending;
mod heartbeat;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use sori_store::{Ending, Job, JobId, Lease, Progress};
use tokio::fs;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::app::App;
use crate::callback::{Coalescer, ProgressSender, stage_message};
use crate::dispatch::{Slot, again, for_good};
use crate::metrics::QueueLabel;
use crate::news::News;
use crate::request::{Request, Source, Work, sample_key};
use crate::work::{Analyze, Enroll, HEARD, Order, Reference, Report, StageSeconds};

/// Time a worker gets to stop by itself when its job is cancelled, before it is killed.
const STOPPING: Duration = Duration::from_millis(700);
/// Time in which a worker reads its order.
const SENDING: Duration = Duration::from_secs(30);

/// Why an attempt has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// The server is asked to stop, and the time for it is over.
    Drained,
    /// Another has the job.
    Lost,
    /// It takes too long.
    TooLong,
}

/// An attempt at work.
struct Attempt<'a> {
    app: &'a App,
    lease: &'a Lease,
    /// Cancelled when the attempt has to stop; `why` is set before.
    stop: CancellationToken,
    why: OnceLock<Stop>,
    /// Length of the recording in milliseconds, once the worker has told it; 0 before.
    length_ms: AtomicU64,
    /// Whether results were put away, or began to be.
    stored: AtomicBool,
    /// When the worker told something last, in Unix milliseconds; 0 before it has its order.
    told_ms: AtomicI64,
}

/// What a worker is given to hear, as local files.
struct Media {
    recording: PathBuf,
    samples: Vec<PathBuf>,
}

/// How the worker ended.
enum Outcome {
    /// The files are there.
    Done {
        partial: bool,
        duration: f64,
        stages: Vec<StageSeconds>,
        warnings: Vec<String>,
    },
    /// The attempt ended otherwise.
    Ended(Ending),
    /// The process was lost.
    Lost(String),
}

/// Makes one attempt at the job of a lease, to its end in the store.
pub(crate) async fn attempt(app: &App, slot: &mut Slot, lease: &Lease) {
    let span = tracing::info_span!("job", job = %lease.job.id, attempt = lease.attempt);
    run(app, slot, lease).instrument(span).await;
}

async fn run(app: &App, slot: &mut Slot, lease: &Lease) {
    let attempt = Attempt {
        app,
        lease,
        stop: CancellationToken::new(),
        why: OnceLock::new(),
        length_ms: AtomicU64::new(0),
        stored: AtomicBool::new(false),
        told_ms: AtomicI64::new(0),
    };
    let job = &lease.job.id;
    tracing::info!(%job, attempt = lease.attempt, "claimed");
    app.changed(job);
    let begun = app.clock.now_ms();
    if lease.attempt == 1 {
        let waited = (app.clock.now_ms() - lease.job.created_ms) as f64 / 1e3;
        let queue = lease.job.priority.name().to_owned();
        let wait = app.metrics.queue_wait.get_or_create(&QueueLabel { queue });
        wait.observe(waited);
    }
    let outcome = tokio::select! {
        // The heart beats until the results are put away, however long that takes.
        outcome = async { attempt.put_away(attempt.work(slot).await).await } => outcome,
        never = attempt.beat() => match never {},
    };
    attempt.settle(slot, outcome).await;
    app.metrics.note_work((app.clock.now_ms() - begun) as u64);
}

impl Attempt<'_> {
    /// The recording, then the worker.
    async fn work(&self, slot: &mut Slot) -> Outcome {
        let job = &self.lease.job;
        let Ok(request) = serde_json::from_str::<Request>(&job.request) else {
            return Outcome::Ended(for_good(
                "internal",
                "the request of this job cannot be read",
            ));
        };
        let folder = self.app.folder(&job.id);
        if let Err(e) = fs::create_dir_all(&folder).await {
            return Outcome::Ended(again("internal", format!("no folder for the work: {e}")));
        }
        // What is dropped half-way stops: a download, a process that starts.
        let prepared = tokio::select! {
            prepared = self.prepare(slot, &request, &folder) => prepared,
            () = self.stop.cancelled() => Err(Ending::Cancelled),
        };
        let media = match prepared {
            Ok(media) => media,
            Err(ending) => return Outcome::Ended(ending),
        };
        // What a client is told names the recording as the client does, and no path of this machine.
        let mut names = vec![(media.recording.display().to_string(), request.name.clone())];
        for (index, path) in media.samples.iter().enumerate() {
            names.push((path.display().to_string(), format!("sample {}", index + 1)));
        }
        let form = request.callback_form;
        let order = match self.order(request, media, folder).await {
            Ok(order) => order,
            Err(e) => return Outcome::Ended(again("internal", e.to_string())),
        };
        let mut progress = ProgressSender::new(self.app, job, form);
        let outcome = self.follow(slot, &order, &mut progress).await;
        match self.stop.is_cancelled() {
            true => progress.abandon(),
            false => progress.end().await,
        }
        match outcome {
            Outcome::Ended(Ending::Failed { mut error, retry }) => {
                for (place, name) in names {
                    error.message = error.message.replace(&place, &name);
                }
                Outcome::Ended(Ending::Failed { error, retry })
            }
            outcome => outcome,
        }
    }

    /// What the worker is told.
    async fn order(
        &self,
        request: Request,
        media: Media,
        folder: PathBuf,
    ) -> Result<Order, sori_store::StoreError> {
        let (job, attempt) = (self.lease.job.id.to_string(), self.lease.attempt);
        if request.work == Work::Enroll {
            let first = std::iter::once(media.recording);
            return Ok(Order::Enroll(Box::new(Enroll {
                job,
                attempt,
                name: request.name,
                media: first.chain(media.samples).collect(),
                folder,
            })));
        }
        let samples = request.samples.into_iter().zip(media.samples);
        let references = samples.map(|(sample, media)| Reference {
            name: sample.name,
            media,
        });
        Ok(Order::Analyze(Box::new(Analyze {
            job,
            attempt,
            name: Some(request.name),
            media: media.recording,
            folder,
            options: request.options,
            rerun: request.rerun,
            profiles: self.app.profiles(self.lease.job.owner.as_deref()).await?,
            references: references.collect(),
        })))
    }

    /// The recording at hand, and a process that is ready.
    async fn prepare(
        &self,
        slot: &mut Slot,
        request: &Request,
        folder: &Path,
    ) -> Result<Media, Ending> {
        let job = &self.lease.job;
        let recording = self.media(job, request, folder).await?;
        let mut samples = Vec::new();
        for index in 0..request.samples.len() {
            let key = sample_key(job.media.as_deref().unwrap_or_default(), index);
            let path = folder.join(format!("sample-{index}"));
            samples.push(self.kept(&key, path).await?);
        }
        let media = Media { recording, samples };
        slot.ready(self.app)
            .await
            .map_err(|why| again("model", why))?;
        Ok(media)
    }

    /// Gives the worker its order and follows it to the end of its job.
    async fn follow(
        &self,
        slot: &mut Slot,
        order: &Order,
        progress: &mut ProgressSender,
    ) -> Outcome {
        let Ok(process) = slot.ready(self.app).await else {
            return Outcome::Lost("it is gone".to_owned());
        };
        // A worker that does not read is as good as lost.
        let sent = tokio::time::timeout(SENDING, process.send(order)).await;
        if !matches!(sent, Ok(Ok(()))) {
            slot.end(self.app).await;
            return Outcome::Lost("it does not read its order".to_owned());
        }
        let (mut asked, mut worth) = (None, Coalescer::default());
        self.heard();
        loop {
            let report = tokio::select! {
                report = process.next() => report,
                () = self.stop.cancelled(), if asked.is_none() => {
                    let job = self.lease.job.id.to_string();
                    asked = Some(tokio::time::Instant::now() + STOPPING);
                    // One that does not read is killed when its time is over.
                    let _ = tokio::time::timeout(STOPPING, process.send(&Order::Cancel { job })).await;
                    continue;
                }
                () = sleep_until(asked), if asked.is_some() => {
                    slot.end(self.app).await;
                    return Outcome::Ended(Ending::Cancelled);
                }
            };
            self.heard();
            let Some(report) = report else {
                let how = slot.end(self.app).await.unwrap_or_default();
                return Outcome::Lost(how);
            };
            match report {
                Report::Progress { stage, percent, .. } => {
                    if worth.offer(percent, self.app.clock.now_ms()) {
                        self.progress(stage, percent, progress).await;
                    }
                }
                report => {
                    if let Some(outcome) = self.told(report) {
                        return outcome;
                    }
                }
            }
        }
    }

    /// What a report but for progress means; nothing while the job goes on.
    fn told(&self, report: Report) -> Option<Outcome> {
        match report {
            Report::Started { duration, .. } => {
                let ms = duration.map_or(0, |seconds| (seconds * 1e3) as u64);
                self.length_ms.store(ms, Ordering::Relaxed);
            }
            Report::Segment {
                id,
                start,
                end,
                text,
                ..
            } => self.app.news.tell(News::Segment {
                job: self.lease.job.id.clone(),
                index: id,
                start,
                end,
                text,
            }),
            Report::Done {
                partial,
                duration,
                stages,
                warnings,
                ..
            } => {
                return Some(Outcome::Done {
                    partial,
                    duration,
                    stages,
                    warnings,
                });
            }
            Report::Failed { kind, message, .. } => {
                return Some(Outcome::Ended(match kind.may_pass() {
                    true => again(kind.as_str(), message),
                    false => for_good(kind.as_str(), message),
                }));
            }
            Report::Cancelled { .. } => return Some(Outcome::Ended(Ending::Cancelled)),
            Report::Ready { .. } | Report::Progress { .. } => {}
        }
        None
    }

    /// Notes that the worker lives.
    fn heard(&self) {
        self.told_ms
            .store(self.app.clock.now_ms(), Ordering::Relaxed);
    }

    /// Whether the worker has its order.
    fn at_work(&self) -> bool {
        self.told_ms.load(Ordering::Relaxed) > 0
    }

    async fn progress(&self, stage: String, percent: u8, sender: &mut ProgressSender) {
        let told = Progress {
            message: stage_message(&stage).to_owned(),
            stage,
            // 100 comes with the result.
            percent: percent.clamp(self.lease.job.progress.min(99), 99),
        };
        match self
            .app
            .store
            .progress(self.lease, told.clone(), self.app.clock.now_ms())
            .await
        {
            Ok(true) => {
                sender.tell(told);
                self.app.changed(&self.lease.job.id);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "progress is not kept"),
        }
    }

    /// What is kept under a key as a local file: where it lies, or fetched to `path`.
    async fn kept(&self, key: &str, path: PathBuf) -> Result<PathBuf, Ending> {
        let absent = |error: sori_store::StoreError| {
            again("internal", format!("the recording is not at hand: {error}"))
        };
        if let Some(path) = self.app.blobs.local(key).map_err(absent)? {
            return Ok(path);
        }
        let fetched = self.app.blobs.fetch_to(key, &path).await;
        fetched.map_err(absent)?;
        Ok(path)
    }

    /// The recording as a local file.
    async fn media(&self, job: &Job, request: &Request, folder: &Path) -> Result<PathBuf, Ending> {
        if request.rerun {
            let heard = folder.join(HEARD);
            let gone = || for_good("input", "this job has no result to begin from");
            let key = newest_key(job, HEARD).ok_or_else(gone)?;
            self.app.blobs.fetch_to(&key, &heard).await.map_err(|e| {
                for_good("input", format!("what was heard is not kept any more: {e}"))
            })?;
        }
        match &request.source {
            Source::Upload { .. } => {
                let Some(key) = &job.media else {
                    return Err(for_good(
                        "input",
                        "the recording was removed; send it again",
                    ));
                };
                self.kept(key, folder.join("media")).await
            }
            Source::File(path) => {
                let open = self.app.roots.open(path);
                open.map(|media| media.path)
                    .map_err(|e| for_good("input", e.to_string()))
            }
            Source::Url(_) | Source::S3 { .. } if request.rerun => Ok(folder.join("media")),
            Source::Url(url) => {
                let path = folder.join("media");
                self.app.fetch(url, &path).await?;
                Ok(path)
            }
            Source::S3 { bucket, key } => {
                let path = folder.join("media");
                self.app.fetch_s3((bucket, key), &path).await?;
                Ok(path)
            }
        }
    }
}

/// Where an attempt at a job keeps a result: in a folder of its own, so that one that was overtaken overwrites nothing.
fn result_key(job: &JobId, attempt: i64, name: &str) -> String {
    format!("{}/{name}", attempt_key(job, attempt))
}

/// The folder of an attempt's results.
fn attempt_key(job: &JobId, attempt: i64) -> String {
    format!("jobs/{job}/{attempt}")
}

/// Where the newest result of a job is; nothing where it has none.
pub(crate) fn newest_key(job: &Job, name: &str) -> Option<String> {
    let result = job.result?;
    Some(result_key(&job.id, result.attempt, name))
}

async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
