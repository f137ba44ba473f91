//! Numbers for Prometheus: what the service did and does.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::{AtomicU64, Ordering};

/// One label; its name depends on the metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct State {
    /// The state a job ended in.
    pub state: String,
}

/// A stage of the work.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    /// As documents name it.
    pub stage: String,
}

/// Why something happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// A word out of a few.
    pub reason: String,
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
    /// Jobs that ended, by state.
    pub jobs: Family<State, Counter>,
    /// Seconds from acceptance to the end.
    pub job_duration: Histogram,
    /// Seconds from acceptance to the first attempt.
    pub queue_wait: Histogram,
    /// Seconds that stages took.
    pub stage_duration: Family<StageLabel, Histogram>,
    /// Computing time over sound time of whole jobs.
    pub real_time_factor: Histogram,
    /// Seconds of sound that were worked on.
    pub audio_seconds: Counter<f64, AtomicU64>,
    /// Attempts after the first, by reason: failure, lost_worker.
    pub retries: Family<Reason, Counter>,
    /// Deliveries of callbacks, by result.
    pub deliveries: Family<Reason, Counter>,
    /// Addresses that were refused, by rule.
    pub denied: Family<Reason, Counter>,
    /// Requests, by route and status.
    pub requests: Family<Answer, Counter>,
    /// Seconds that answers took.
    pub request_duration: Histogram,
    /// Jobs that wait.
    pub queue_depth: Gauge,
    /// Age of the oldest one that waits.
    pub queue_oldest: Gauge,
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
        let work = || Histogram::new(WORK);
        let metrics = Self {
            jobs: Family::default(),
            job_duration: work(),
            queue_wait: work(),
            stage_duration: Family::new_with_constructor(|| Histogram::new(WORK)),
            real_time_factor: Histogram::new(FACTOR),
            audio_seconds: Counter::default(),
            retries: Family::default(),
            deliveries: Family::default(),
            denied: Family::default(),
            requests: Family::default(),
            request_duration: Histogram::new(LATENCY),
            queue_depth: Gauge::default(),
            queue_oldest: Gauge::default(),
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
        let seconds: [(&str, &str, &Histogram); 3] = [
            (
                "job_duration",
                "From acceptance to the end",
                &self.job_duration,
            ),
            (
                "queue_wait",
                "From acceptance to the first attempt",
                &self.queue_wait,
            ),
            (
                "http_request_duration",
                "Time to answer",
                &self.request_duration,
            ),
        ];
        for (name, help, what) in seconds {
            r.register_with_unit(name, help, Unit::Seconds, what.clone());
        }
        let stages = self.stage_duration.clone();
        r.register_with_unit("stage_duration", "Time of stages", Unit::Seconds, stages);
        let factor = self.real_time_factor.clone();
        r.register_with_unit(
            "rtf",
            "Computing time over sound time of jobs",
            Unit::Ratios,
            factor,
        );
        let audio = self.audio_seconds.clone();
        r.register_with_unit("audio", "Sound that was worked on", Unit::Seconds, audio);
        let oldest = self.queue_oldest.clone();
        r.register_with_unit(
            "queue_oldest",
            "Age of the oldest job that waits",
            Unit::Seconds,
            oldest,
        );
        let reasons = [
            ("job_attempts", "Attempts after the first", &self.retries),
            ("webhook_deliveries", "Callbacks", &self.deliveries),
            ("netguard_denied", "Addresses refused", &self.denied),
        ];
        for (name, help, what) in reasons {
            r.register(name, help, what.clone());
        }
        let gauges = [
            ("queue_depth", "Jobs that wait", &self.queue_depth),
            ("jobs_running", "Jobs at work", &self.running),
            (
                "workers_ready",
                "Workers with their models",
                &self.workers_ready,
            ),
        ];
        for (name, help, what) in gauges {
            r.register(name, help, what.clone());
        }
        r.register("jobs", "Jobs that ended", self.jobs.clone());
        r.register("http_requests", "Requests", self.requests.clone());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The program", build);
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
