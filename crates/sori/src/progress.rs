//! How far the work has come: a bar on a terminal, JSON lines for programs, nothing in a pipe.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Show {
    /// A bar when stderr is a terminal, else nothing
    #[default]
    Auto,
    /// One JSON object a line on stderr
    Json,
    /// Nothing
    None,
}

/// The progress of one file.
pub struct Progress {
    bar: Option<ProgressBar>,
    json: bool,
    file: String,
    duration: Option<f64>,
    started: Instant,
}

impl Progress {
    /// The progress of a file of so many seconds, where that is known.
    pub fn new(show: Show, file: &str, duration: Option<f64>) -> Self {
        let bar = (show == Show::Auto && stderr().is_terminal()).then(|| {
            let bar = duration.map_or_else(ProgressBar::new_spinner, |d| {
                ProgressBar::new((d * 1000.0) as u64)
            });
            let form = if duration.is_some() {
                "{prefix} {bar:30} {percent:>3}% {msg} ETA {eta}"
            } else {
                "{prefix} {spinner} {msg}"
            };
            bar.set_style(ProgressStyle::with_template(form).expect("the template is a constant"));
            bar.set_prefix(file.to_owned());
            bar
        });
        Self {
            bar,
            json: show == Show::Json,
            file: file.to_owned(),
            duration,
            started: Instant::now(),
        }
    }

    /// Notes that everything before `seconds` is done.
    pub fn reached(&self, seconds: f64) {
        let elapsed = self.started.elapsed().as_secs_f64();
        let speed = seconds / elapsed.max(1e-3);
        if let Some(bar) = &self.bar {
            bar.set_position((seconds * 1000.0) as u64);
            bar.set_message(format!("{seconds:.0} s, {speed:.1}× real time"));
        }
        if self.json {
            let left = self
                .duration
                .map(|d| ((d - seconds) / speed.max(1e-6)).max(0.0));
            eprintln!(
                "{}",
                json!({"file": self.file, "seconds": seconds, "duration": self.duration, "speed": speed, "eta_seconds": left})
            );
        }
    }

    /// Runs `print` without tearing the bar.
    pub fn beside(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
