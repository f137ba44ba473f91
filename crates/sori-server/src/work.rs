//! What the server and a worker process say to each other: one JSON object a line, orders to the worker's stdin, reports from
//! its stdout. What a worker writes to stderr is for people.
//!
//! A worker says [`Report::Ready`] once, then takes one job after the other. A job begins with [`Report::Started`] and ends with
//! exactly one of [`Report::Done`], [`Report::Failed`] and [`Report::Cancelled`]. A worker whose stdin is closed exits at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::JobOptions;

/// Longest line of an order, in bytes: some 3,000 remembered voices of 256 numbers. A worker that is sent more exits.
pub const MAX_ORDER_BYTES: usize = 16 << 20;
/// Longest line of a report, in bytes; a worker cuts texts so that no line is longer.
pub const MAX_REPORT_BYTES: usize = 1 << 20;

/// Name of the file in a job's folder that keeps what a killed worker had done.
pub const JOURNAL: &str = "journal";
/// Name of the native document in a job's folder.
pub const DOCUMENT: &str = "document.json";
/// Name of the page in a job's folder.
pub const PAGE: &str = "page.html";
/// Name of what was heard in a job's folder; a rerun needs it.
pub const HEARD: &str = "heard.sori";

/// Name of the voice that was enrolled in a job's folder: a profile as `sori enroll` writes it.
pub const PROFILE: &str = "profile.json";

/// What a worker is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// A job to do.
    Analyze(Box<Analyze>),
    /// A voice to remember.
    Enroll(Box<Enroll>),
    /// A job to stop; nothing happens where it is not at work.
    Cancel {
        /// The job.
        job: String,
    },
}

impl Order {
    /// The job that it is about.
    pub fn job(&self) -> &str {
        match self {
            Self::Analyze(order) => &order.job,
            Self::Enroll(order) => &order.job,
            Self::Cancel { job } => job,
        }
    }
}

/// A job to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analyze {
    /// The job.
    pub job: String,
    /// Which try this is, from 1.
    pub attempt: i64,
    /// The recording: a local file.
    pub media: PathBuf,
    /// The recording's name as its owner has it, such as `talk.mp3`: the page's title, and its ending says what a browser plays;
    /// without one that of `media`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A folder that is the job's own and is there already; it outlives a killed worker.
    pub folder: PathBuf,
    /// How it is analyzed.
    #[serde(default)]
    pub options: JobOptions,
    /// Whether only the speakers are decided anew, from [`HEARD`] in `folder`.
    #[serde(default)]
    pub rerun: bool,
    /// Remembered voices to name: profiles as `sori enroll` writes them.
    #[serde(default)]
    pub profiles: Vec<serde_json::Value>,
    /// Samples of voices that are known in this job only; they go before remembered ones of the same name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
}

/// A sample of the voice of somebody who may speak in a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The name that the document is to show.
    pub name: String,
    /// A recording of this person alone: a local file.
    pub media: PathBuf,
}

/// A voice to remember: [`PROFILE`] is written into `folder`. Recordings that are not good enough fail as
/// [`FailureKind::Input`], with the reasons and remedies that `sori enroll` gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enroll {
    /// The job.
    pub job: String,
    /// Which try this is, from 1.
    pub attempt: i64,
    /// The person's name.
    pub name: String,
    /// Recordings in which this person alone speaks: local files.
    pub media: Vec<PathBuf>,
    /// A folder that is the job's own and is there already.
    pub folder: PathBuf,
}

/// What a worker tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// The worker takes jobs.
    Ready {
        /// Names of what is loaded, by stage; empty where the models could not be loaded, which each job then says.
        models: BTreeMap<String, String>,
    },
    /// The job's recording could be opened.
    Started {
        /// The job.
        job: String,
        /// Length in seconds, where the file says it.
        duration: Option<f64>,
    },
    /// How far the job is; at most four a second, never going back.
    Progress {
        /// The job.
        job: String,
        /// What is being done, as documents name stages.
        stage: String,
        /// Seconds of sound before which everything is transcribed.
        done_seconds: f64,
        /// Length in seconds, where the file says it.
        duration: Option<f64>,
        /// Share of the whole job in hundredths, 0 to 100.
        percent: u8,
    },
    /// A segment as it was transcribed; speaker and exact times come with the document.
    Segment {
        /// The job.
        job: String,
        /// Place in the recording's segments, from 0.
        id: usize,
        /// Start in seconds.
        start: f64,
        /// End in seconds.
        end: f64,
        /// What was said.
        text: String,
    },
    /// The job is done: its files are written.
    Done {
        /// The job.
        job: String,
        /// Whether a stage failed and the rest is there.
        partial: bool,
        /// Length of the recording in seconds.
        duration: f64,
        /// What each stage took.
        stages: Vec<StageSeconds>,
        /// What was wrong and did not stop the work.
        warnings: Vec<String>,
    },
    /// The job failed.
    Failed {
        /// The job.
        job: String,
        /// Whose fault it is.
        kind: FailureKind,
        /// What happened, where, and what to do.
        message: String,
    },
    /// The job was stopped as it was ordered.
    Cancelled {
        /// The job.
        job: String,
    },
}

/// What a stage took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageSeconds {
    /// The stage, as documents name it.
    pub stage: String,
    /// Seconds on the clock.
    pub seconds: f64,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The recording cannot be read; another try would fail the same.
    Input,
    /// The options cannot be followed; another try would fail the same.
    Options,
    /// A model is absent or cannot be read.
    Model,
    /// Anything else: a full disk, a bug.
    Internal,
}

impl FailureKind {
    /// The name in reports and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Options => "options",
            Self::Model => "model",
            Self::Internal => "internal",
        }
    }

    /// Whether another try may end otherwise.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Model | Self::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_the_contract_has_them() {
        let orders = [
            r#"{"order":"analyze","job":"a","attempt":1,"media":"m.wav","folder":"f","options":{"diarize":true,"exact":false,"names":true},"rerun":false,"profiles":[]}"#,
            r#"{"order":"cancel","job":"a"}"#,
            r#"{"order":"enroll","job":"a","attempt":1,"name":"민아","media":["1.wav","2.wav"],"folder":"f"}"#,
            r#"{"order":"analyze","job":"a","attempt":1,"media":"m.wav","folder":"f","options":{"diarize":true,"exact":false,"names":true},"rerun":false,"profiles":[],"references":[{"name":"민아","media":"1.wav"}]}"#,
        ];
        for line in orders {
            let order: Order = serde_json::from_str(line).expect(line);
            assert_eq!(serde_json::to_string(&order).expect("JSON"), line);
        }
        let short = r#"{"order":"analyze","job":"a","attempt":1,"media":"m.wav","folder":"f"}"#;
        assert_eq!(
            serde_json::from_str::<Order>(short).expect(short),
            serde_json::from_str::<Order>(orders[0]).expect("checked above")
        );
        let reports = [
            r#"{"report":"ready","models":{}}"#,
            r#"{"report":"started","job":"a","duration":2.5}"#,
            r#"{"report":"progress","job":"a","stage":"transcribe","done_seconds":1.0,"duration":null,"percent":7}"#,
            r#"{"report":"segment","job":"a","id":0,"start":0.5,"end":1.0,"text":"네"}"#,
            r#"{"report":"done","job":"a","partial":false,"duration":2.5,"stages":[{"stage":"vad","seconds":0.1}],"warnings":[]}"#,
            r#"{"report":"failed","job":"a","kind":"input","message":"no sound"}"#,
            r#"{"report":"cancelled","job":"a"}"#,
        ];
        for line in reports {
            let report: Report = serde_json::from_str(line).expect(line);
            assert_eq!(serde_json::to_string(&report).expect("JSON"), line);
        }
        for refused in [
            r#"{"order":"reboot"}"#,
            r#"{"order":"analyze","job":"a","attempt":1,"media":"m","folder":"f","options":{"x":1}}"#,
            r#"{"order":"analyze","job":"a","attempt":1,"media":"m","folder":"f","url":"x"}"#,
        ] {
            assert!(serde_json::from_str::<Order>(refused).is_err(), "{refused}");
        }
    }
}
