//! How probabilities become spans.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What counts as a span of speech. The defaults are Silero's but for the longer silence and padding that whole words need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VadOptions {
    /// Probability at which speech starts, above 0 and below 1.
    pub threshold: f32,
    /// Probability below which it may end, at most `threshold`; `threshold` less 0.15 by default.
    pub neg_threshold: Option<f32>,
    /// Spans shorter than this are dropped, in milliseconds, at most 10,000.
    pub min_speech_ms: u32,
    /// Silence that ends a span, in milliseconds, at most 10,000.
    pub min_silence_ms: u32,
    /// Silence that is kept at each end of a span where there is some, in milliseconds, at most 5,000.
    pub speech_pad_ms: u32,
}

impl Default for VadOptions {
    fn default() -> Self {
        Self {
            threshold: 0.5,
            neg_threshold: None,
            min_speech_ms: 250,
            min_silence_ms: 300,
            speech_pad_ms: 200,
        }
    }
}

impl VadOptions {
    /// Checks every option against its range.
    ///
    /// # Errors
    /// The first option out of range, with the range.
    pub fn validate(&self) -> Result<(), OptionError> {
        let low = self.end_threshold();
        let rules = [
            (
                self.threshold > 0.0 && self.threshold < 1.0,
                "threshold",
                "between 0 and 1",
            ),
            (
                low >= 0.0 && low <= self.threshold,
                "neg_threshold",
                "0 to the threshold",
            ),
            (self.min_speech_ms <= 10_000, "min_speech_ms", "0 to 10000"),
            (
                self.min_silence_ms <= 10_000,
                "min_silence_ms",
                "0 to 10000",
            ),
            (self.speech_pad_ms <= 5_000, "speech_pad_ms", "0 to 5000"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            None => Ok(()),
            Some((_, option, range)) => Err(OptionError::new(option, range)),
        }
    }

    /// Probability below which a span may end; never below 0.01, or nothing would ever end (utils_vad.py).
    pub(super) fn end_threshold(&self) -> f32 {
        self.neg_threshold
            .unwrap_or((self.threshold - 0.15).max(0.01).min(self.threshold))
    }
}

/// An option of voice activity that is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionError {
    option: &'static str,
    range: &'static str,
}

impl OptionError {
    pub(super) fn new(option: &'static str, range: &'static str) -> Self {
        Self { option, range }
    }

    /// Name of the option.
    pub fn option(&self) -> &'static str {
        self.option
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "voice activity option {}: out of range, use {}",
            self.option, self.range
        )
    }
}

impl std::error::Error for OptionError {}
