//! What a caller may choose about transcription.

use std::path::PathBuf;

use super::error::TranscribeError;
use super::spec::Spec;
use sori_infer::kernels::Isa;
use sori_infer::linear::Compute;

/// What the decoder is asked to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// The words that were said.
    #[default]
    Transcribe,
    /// The words in English.
    Translate,
}

/// How the next token is chosen at temperature 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Search {
    /// The most probable token.
    Greedy,
    /// The best of several sequences (openai/whisper decoding.py, `BeamSearchDecoder`).
    Beam {
        /// Sequences kept, at least 2.
        size: usize,
        /// Finished sequences waited for, as a multiple of `size`; 1 stops at `size`.
        patience: f32,
        /// Exponent of the length penalty of Wu et al. 2016; `None` divides by the length.
        length_penalty: Option<f32>,
    },
}

/// Options of transcription; the defaults are openai/whisper's but for greedy search.
#[derive(Clone, Debug)]
pub struct TranscribeOptions {
    /// Language codes that may be spoken; one is taken as given, none means any.
    pub languages: Vec<String>,
    /// What is written.
    pub task: Task,
    /// How tokens are chosen at temperature 0.
    pub search: Search,
    /// Temperatures tried in turn until the result is plausible.
    pub temperatures: Vec<f32>,
    /// Samples drawn at temperatures above 0.
    pub best_of: usize,
    /// A text whose bytes compress better than this is repetitive and tried again.
    pub compression_ratio_threshold: f32,
    /// A mean log-probability below this is tried again.
    pub logprob_threshold: f32,
    /// A window is silent when its no-speech probability is above this and its log-probability below the threshold.
    pub no_speech_threshold: f32,
    /// A text that the model takes as said before each window.
    pub initial_prompt: Option<String>,
    /// Names and terms to expect.
    pub hotwords: Option<String>,
    /// Whether each window is told the text before it; windows then wait for each other.
    pub condition_on_previous: bool,
    /// Whether the model writes time tokens, which then bound the segments.
    pub timestamp_tokens: bool,
    /// Whether words are given times.
    pub word_times: bool,
    /// Length of word sequences that may not occur twice in a window; 0 allows all.
    pub no_repeat_ngram: usize,
    /// Windows decoded at once; `None` is as many as [`Whisper::batch`](super::Whisper::batch) finds reasonable.
    pub batch: Option<usize>,
    /// Tokens written per window at most; `None` is half the text context.
    pub max_tokens: Option<usize>,
    /// Seed of sampling.
    pub seed: u64,
}

impl Default for TranscribeOptions {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            task: Task::Transcribe,
            search: Search::Greedy,
            temperatures: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            best_of: 5,
            compression_ratio_threshold: 2.4,
            logprob_threshold: -1.0,
            no_speech_threshold: 0.6,
            initial_prompt: None,
            hotwords: None,
            condition_on_previous: false,
            timestamp_tokens: false,
            word_times: true,
            no_repeat_ngram: 0,
            batch: None,
            max_tokens: None,
            seed: 0,
        }
    }
}

impl TranscribeOptions {
    /// Checks that every option makes sense, alone and with the model.
    ///
    /// # Errors
    /// Naming the first that does not.
    pub fn validate(&self, spec: &Spec) -> Result<(), TranscribeError> {
        let refuse = |name, message: String| Err(TranscribeError::Option { name, message });
        let known = &spec.steering.languages;
        for code in &self.languages {
            if spec.language(code).is_none() && !(known.is_empty() && code == "en") {
                let has = if known.is_empty() {
                    "English only".to_owned()
                } else {
                    known
                        .iter()
                        .map(|(c, _)| c.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                };
                return refuse(
                    "--language",
                    format!("this model does not know {code:?}; it knows {has}"),
                );
            }
        }
        if self.task == Task::Translate && (spec.steering.translate.is_none() || known.is_empty()) {
            return refuse(
                "--task",
                "this model cannot translate: choose a multilingual one".to_owned(),
            );
        }
        if self.timestamp_tokens && spec.steering.first_timestamp.is_none() {
            return refuse(
                "--timestamp-tokens",
                "this model has no time tokens".to_owned(),
            );
        }
        if self.temperatures.is_empty()
            || self.temperatures.iter().any(|t| !(0.0..=2.0).contains(t))
        {
            return refuse(
                "--temperature",
                "give one or more numbers from 0 to 2".to_owned(),
            );
        }
        if !(1..=64).contains(&self.best_of) {
            return refuse("--best-of", "give a number from 1 to 64".to_owned());
        }
        if let Search::Beam { size, patience, .. } = self.search {
            if !(2..=64).contains(&size) {
                return refuse("--beam-size", "give a number from 1 to 64".to_owned());
            }
            if !(patience > 0.0 && patience <= 10.0) {
                return refuse("--patience", "give a number above 0, at most 10".to_owned());
            }
        }
        if !self.batch.is_none_or(|batch| (1..=256).contains(&batch)) {
            return refuse("--batch-size", "give a number from 1 to 256".to_owned());
        }
        Ok(())
    }
}

/// How a checkpoint is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The arithmetic.
    pub compute: Compute,
    /// The instructions that integers use; the best of this machine by default.
    pub isa: Isa,
    /// Threads that integers use, at least 1; those of the caller's rayon pool by default, in which
    /// [`Compute::F32`] always runs.
    pub threads: usize,
    /// A folder where weights packed as integers are kept, so that the next load takes milliseconds; none by default.
    pub cache: Option<PathBuf>,
}

impl From<Compute> for LoadOptions {
    fn from(compute: Compute) -> Self {
        Self {
            compute,
            isa: Isa::best(),
            threads: rayon::current_num_threads(),
            cache: None,
        }
    }
}
