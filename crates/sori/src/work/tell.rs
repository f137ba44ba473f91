//! Reports on stdout, and how far a job is.

use std::io::{Write, stdout};
use std::process::exit;
use std::time::{Duration, Instant};

use sori_server::work::Report;
use sori_timeline::Segment;

/// Least time between two reports of progress.
const BETWEEN: Duration = Duration::from_millis(250);
/// Longest text of a report, in bytes; far more than a window holds.
const MAX_TEXT: usize = 64 << 10;
/// Seconds after which a recording that does not say its length counts as half done.
const UNKNOWN: f64 = 300.0;
/// Share of a job in hundredths that is done when all is heard; the rest is deciding who spoke, and writing.
const HEARD: f64 = 95.0;

/// Writes a report. A server that reads no more is gone, which ends the process.
pub fn line(report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_else(|e| {
        // Only a number that is not finite has no form in JSON, and none of those is given out.
        eprintln!("error: a report cannot be written: {e}");
        exit(1)
    });
    line.push(b'\n');
    let mut out = stdout().lock();
    if out.write_all(&line).and_then(|()| out.flush()).is_err() {
        exit(0);
    }
}

/// A text of at most [`MAX_TEXT`] bytes.
pub fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

/// Tells of one job.
pub struct Teller {
    job: String,
    duration: Option<f64>,
    /// When progress was last told of, and what.
    last: Option<Instant>,
    percent: u8,
    done_seconds: f64,
}

impl Teller {
    /// For a job of which nothing is told yet.
    pub fn new(job: &str) -> Self {
        Self {
            job: job.to_owned(),
            duration: None,
            last: None,
            percent: 0,
            done_seconds: 0.0,
        }
    }

    /// The job's recording is open; its length where that is known.
    pub fn started(&mut self, duration: Option<f64>) {
        self.duration = duration;
        line(&Report::Started {
            job: self.job.clone(),
            duration,
        });
    }

    /// Everything before `heard` is decoded and listened to for voices, everything before `done` transcribed, both in seconds.
    /// Both are about as costly, so that each is half of it.
    pub fn heard(&mut self, heard: f64, done: Option<f64>) {
        self.done_seconds = done.unwrap_or(self.done_seconds).max(self.done_seconds);
        let done = 0.5 * (heard + self.done_seconds);
        let share = match self.duration.filter(|d| *d > 0.0) {
            Some(duration) => (done / duration).clamp(0.0, 1.0),
            None => done / (done + UNKNOWN),
        };
        if self.last.is_none_or(|last| last.elapsed() >= BETWEEN) {
            self.progress("transcribe", share * HEARD);
        }
    }

    /// The recording is read to its end: now its length is known, whatever the file says.
    pub fn read(&mut self, seconds: f64) {
        self.duration.get_or_insert(seconds);
    }

    /// All is heard and `stage` begins.
    pub fn stage(&mut self, stage: &str, percent: f64) {
        self.done_seconds = self.duration.unwrap_or(self.done_seconds);
        self.progress(stage, percent);
    }

    fn progress(&mut self, stage: &str, percent: f64) {
        self.last = Some(Instant::now());
        self.percent = self.percent.max(percent as u8);
        line(&Report::Progress {
            job: self.job.clone(),
            stage: stage.to_owned(),
            done_seconds: self.done_seconds,
            duration: self.duration,
            percent: self.percent,
        });
    }

    /// A segment was transcribed.
    pub fn segment(&self, segment: Segment) {
        line(&Report::Segment {
            job: self.job.clone(),
            id: segment.id,
            start: segment.start,
            end: segment.end,
            text: short(segment.text),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_letters() {
        assert_eq!(short("가나".to_owned()), "가나");
        let long = short("한".repeat(MAX_TEXT));
        assert_eq!(long.len(), MAX_TEXT / 3 * 3);
    }
}
