//! Numbers for Prometheus: what the service did and does.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use sori_store::lease::{MAX_FAILURES, MAX_LOSSES};
use sori_store::{Job, JobState, Load};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::request::Work;

/// The end of a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct End {
    /// analyze or enroll.
    pub task: String,
    /// The state it ended in.
    pub state: String,
}

/// What jobs do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Task {
    /// analyze or enroll.
    pub task: String,
}

/// Where jobs wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabel {
    /// high, normal or low.
    pub queue: String,
}

/// A stage of the work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    /// As documents name it.
    pub stage: String,
    /// The network that does it, where it is one.
    pub model: String,
}

/// Why something did not work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// A word out of a few.
    pub reason: String,
}

/// A rule of the guard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RuleLabel {
    /// Its name.
    pub rule: String,
}

/// What came of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Delivered {
    /// delivered, failed, given_up or disabled.
    pub result: String,
}

/// A request as it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Answer {
    /// The route's pattern, never the path.
    pub route: String,
    /// The status code.
    pub status: u16,
}

/// All numbers of a server. Names end in a unit, as Prometheus asks; labels have few values.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Jobs that ended, by task and state.
    pub jobs: Family<End, Counter>,
    /// Seconds from acceptance to the end.
    pub job_duration: Family<Task, Histogram>,
    /// Seconds from acceptance to the first attempt.
    pub queue_wait: Family<QueueLabel, Histogram>,
    /// Seconds that stages took.
    pub stage_duration: Family<StageLabel, Histogram>,
    /// Computing time over sound time of stages.
    pub real_time_factor: Family<StageLabel, Histogram>,
    /// Seconds of sound that were worked on.
    pub audio_seconds: Family<StageLabel, Counter<f64, AtomicU64>>,
    /// Attempts that did not work, by reason: failure, lost_worker.
    pub retries: Family<Reason, Counter>,
    /// Requests for jobs that were refused for want of room, by the code of the error.
    pub refused: Family<Reason, Counter>,
    /// Jobs that failed after all their tries.
    pub dead_letters: Counter,
    /// Seconds that a worker took to load its models.
    pub model_load: Histogram,
    /// Bytes of memory that the worker processes have.
    pub worker_resident: Gauge,
    /// Deliveries of callbacks, by result.
    pub deliveries: Family<Delivered, Counter>,
    /// Seconds from the end of a job to the delivery of its callback.
    pub webhook_delay: Histogram,
    /// Addresses that were refused, by rule.
    pub denied: Family<RuleLabel, Counter>,
    /// Requests, by route and status.
    pub requests: Family<Answer, Counter>,
    /// Seconds that answers took.
    pub request_duration: Histogram,
    /// Jobs that wait.
    pub queue_depth: Family<QueueLabel, Gauge>,
    /// Age of the oldest one that waits.
    pub queue_oldest: Family<QueueLabel, Gauge>,
    /// Jobs at work.
    pub running: Gauge,
    /// Worker processes that have their models.
    pub workers_ready: Gauge,
    ended_jobs: AtomicU64,
    spent_ms: AtomicU64,
}

/// Seconds from a twentieth to ten (research of live latencies), and on to hours for jobs.
const LATENCY: [f64; 11] = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0];
const WORK: [f64; 12] = [
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0,
];
const FACTOR: [f64; 10] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0];

impl Metrics {
    /// Numbers that all begin at 0.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("sori");
        fn work() -> Histogram {
            Histogram::new(WORK)
        }
        let metrics = Self {
            jobs: Family::default(),
            job_duration: Family::new_with_constructor(work),
            queue_wait: Family::new_with_constructor(work),
            stage_duration: Family::new_with_constructor(work),
            real_time_factor: Family::new_with_constructor(|| Histogram::new(FACTOR)),
            audio_seconds: Family::default(),
            retries: Family::default(),
            refused: Family::default(),
            dead_letters: Counter::default(),
            model_load: Histogram::new(LATENCY),
            worker_resident: Gauge::default(),
            deliveries: Family::default(),
            webhook_delay: Histogram::new(WORK),
            denied: Family::default(),
            requests: Family::default(),
            request_duration: Histogram::new(LATENCY),
            queue_depth: Family::default(),
            queue_oldest: Family::default(),
            running: Gauge::default(),
            workers_ready: Gauge::default(),
            ended_jobs: AtomicU64::default(),
            spent_ms: AtomicU64::default(),
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        Self {
            registry,
            ..metrics
        }
    }

    /// Gives every number its name.
    fn register(&self, r: &mut Registry) {
        let mut seconds = |name: &str, help: &str, what: &Histogram| {
            r.register_with_unit(name, help, Unit::Seconds, what.clone());
        };
        let answered = &self.request_duration;
        seconds("http_request_duration", "Time to answer", answered);
        let help = "From the end of a job to its delivered callback";
        seconds("webhook_delay", help, &self.webhook_delay);
        let help = "Time of workers to load their models";
        seconds("model_load", help, &self.model_load);
        let (wait, took) = (self.queue_wait.clone(), self.job_duration.clone());
        let help = "From acceptance to the first attempt";
        r.register_with_unit("queue_wait", help, Unit::Seconds, wait);
        let help = "From acceptance to the end";
        r.register_with_unit("job_duration", help, Unit::Seconds, took);
        let stages = self.stage_duration.clone();
        r.register_with_unit("stage_duration", "Time of stages", Unit::Seconds, stages);
        let factor = self.real_time_factor.clone();
        let help = "Computing time over sound time of stages";
        r.register_with_unit("rtf", help, Unit::Other("ratio".to_owned()), factor);
        let audio = self.audio_seconds.clone();
        r.register_with_unit("audio", "Sound that was worked on", Unit::Seconds, audio);
        let oldest = self.queue_oldest.clone();
        let help = "Age of the oldest job that waits";
        r.register_with_unit("queue_oldest", help, Unit::Seconds, oldest);
        let resident = self.worker_resident.clone();
        let help = "Memory of the worker processes";
        r.register_with_unit("worker_resident", help, Unit::Bytes, resident);
        let retries = self.retries.clone();
        r.register("job_attempts", "Attempts that did not work", retries);
        r.register("webhook_deliveries", "Callbacks", self.deliveries.clone());
        r.register("netguard_denied", "Addresses refused", self.denied.clone());
        let ready = &self.workers_ready;
        let gauges = [
            ("jobs_running", "Jobs at work", &self.running),
            ("workers_ready", "Workers with their models", ready),
        ];
        for (name, help, what) in gauges {
            r.register(name, help, what.clone());
        }
        let depth = self.queue_depth.clone();
        r.register("queue_depth", "Jobs that wait", depth);
        r.register("jobs", "Jobs that ended", self.jobs.clone());
        let help = "Requests for jobs that there was no room for";
        r.register("jobs_refused", help, self.refused.clone());
        let dead = self.dead_letters.clone();
        r.register(
            "dead_letters",
            "Jobs that failed after all their tries",
            dead,
        );
        r.register("http_requests", "Requests", self.requests.clone());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The program", build);
    }

    /// Counts a job that has ended now.
    pub fn count_end(&self, job: &Job, task: Work) {
        let (task, state) = (task.name().to_owned(), job.state.name().to_owned());
        let ended = job.finished_ms.unwrap_or(job.created_ms);
        let took = (ended - job.created_ms) as f64 / 1e3;
        let label = Task { task: task.clone() };
        self.job_duration.get_or_create(&label).observe(took);
        self.jobs.get_or_create(&End { task, state }).inc();
        let tried_out = job.failures >= MAX_FAILURES || job.losses >= MAX_LOSSES;
        if job.state == JobState::Failed && tried_out {
            self.dead_letters.inc();
        }
    }

    /// Counts a stage that worked on so many seconds of sound.
    pub fn count_stage(&self, label: &StageLabel, seconds: f64, sound: f64) {
        self.stage_duration.get_or_create(label).observe(seconds);
        if sound > 0.0 {
            self.audio_seconds.get_or_create(label).inc_by(sound);
            let factor = self.real_time_factor.get_or_create(label);
            factor.observe(seconds / sound);
        }
    }

    /// Notes how much there is to do at `now_ms`.
    pub fn note_load(&self, load: &Load, now_ms: i64) {
        for (priority, queue) in &load.queues {
            let label = QueueLabel {
                queue: priority.name().to_owned(),
            };
            let depth = self.queue_depth.get_or_create(&label);
            depth.set(queue.depth as i64);
            let age = queue.oldest_ms.map_or(0, |since| (now_ms - since).max(0));
            self.queue_oldest.get_or_create(&label).set(age / 1000);
        }
    }

    /// Seconds that jobs took on average, of those that ended; 10 before the first has.
    pub fn mean_job_seconds(&self) -> f64 {
        let ended = self.ended_jobs.load(Ordering::Relaxed);
        let spent = self.spent_ms.load(Ordering::Relaxed);
        match ended {
            0 => 10.0,
            _ => spent as f64 / 1e3 / ended as f64,
        }
    }

    /// Notes that a worker took so many milliseconds for a job.
    pub fn note_work(&self, ms: u64) {
        self.ended_jobs.fetch_add(1, Ordering::Relaxed);
        self.spent_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// All numbers in OpenMetrics text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        encode(&mut out, &self.registry).expect("a string takes all text");
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
