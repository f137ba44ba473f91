//! The arguments of `sori transcribe`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use sori_engine::{Pace, SessionOptions};
use sori_media::{AudioOptions, Channels};
use sori_speech::diarize::ListenOptions;
use sori_speech::transcribe::{Search, Task, TranscribeOptions};
use sori_speech::vad::VadOptions;
use sori_timeline::export::{CueOptions, Format};

use crate::networks::ModelsFolder;
use crate::progress::Show;

const EXAMPLES: &str = "\
Examples:
  sori transcribe talk.mp3                          print the words with their times
  sori transcribe talk.mp3 --language ko            the language is known
  sori transcribe *.m4a --format srt --output-dir subtitles
  ffmpeg -i rtsp://… -f wav - | sori transcribe - --format json
  sori transcribe call.wav --channel each           each channel is a speaker of its own

Without --format the text is printed and no file is written.";

/// The arguments of `sori transcribe`.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct TranscribeCommand {
    /// Recordings or videos; `*` and `?` are understood, `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// An installed model, a Hugging Face folder (./NAME where a model has its name) or a GGML file; `auto` is the best
    /// installed one
    #[arg(long, default_value = "auto", value_name = "NAME|PATH")]
    pub model: String,
    /// The language spoken, as a code such as en or ko; several, with commas, limit what is detected
    #[arg(long, value_delimiter = ',', value_name = "CODE")]
    pub language: Vec<String>,
    /// Write the words as they were said, or in English
    #[arg(long, value_enum, default_value_t)]
    task: TaskArgument,
    /// Files to write: json, srt, vtt, txt, tsv, whisperx, or all
    #[arg(
        long,
        alias = "output_format",
        value_delimiter = ',',
        value_name = "FORMAT"
    )]
    pub format: Vec<String>,
    /// Where they are written
    #[arg(
        long,
        short,
        alias = "output_dir",
        default_value = ".",
        value_name = "FOLDER"
    )]
    pub output_dir: PathBuf,
    /// Give every word a time
    #[arg(long, alias = "word_timestamps", default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    word_timestamps: bool,
    /// Let the model write time tokens, which then bound the segments
    #[arg(long)]
    timestamp_tokens: bool,
    /// Sequences of beam search; 1 is greedy
    #[arg(long, alias = "beam_size", default_value_t = 1, value_name = "N")]
    beam_size: usize,
    /// Patience of beam search
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    patience: f32,
    /// Exponent of beam search's length penalty
    #[arg(long, alias = "length_penalty", value_name = "EXPONENT")]
    length_penalty: Option<f32>,
    /// Samples drawn at temperatures above 0
    #[arg(long, alias = "best_of", default_value_t = 5, value_name = "N")]
    best_of: usize,
    /// Temperatures tried in turn
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0,0.2,0.4,0.6,0.8,1",
        value_name = "T"
    )]
    temperature: Vec<f32>,
    /// A text that comes before, for spelling and style
    #[arg(long, alias = "initial_prompt", value_name = "TEXT")]
    initial_prompt: Option<String>,
    /// Names and terms to expect
    #[arg(long, value_name = "TEXT")]
    hotwords: Option<String>,
    /// Tell the model what was said before each window
    #[arg(long, alias = "condition_on_previous_text")]
    condition_on_previous_text: bool,
    /// Retry a text that compresses better than this
    #[arg(
        long,
        alias = "compression_ratio_threshold",
        default_value_t = 2.4,
        value_name = "RATIO"
    )]
    compression_ratio_threshold: f32,
    /// Retry a text whose mean log-probability is below this
    #[arg(long, alias = "logprob_threshold", default_value_t = -1.0, value_name = "LOGPROB", allow_hyphen_values = true)]
    logprob_threshold: f32,
    /// Take a window as silent above this probability
    #[arg(
        long,
        alias = "no_speech_threshold",
        default_value_t = 0.6,
        value_name = "P"
    )]
    no_speech_threshold: f32,
    /// Forbid word sequences of this many tokens to occur twice in a window; 0 allows them
    #[arg(
        long,
        alias = "no_repeat_ngram_size",
        default_value_t = 0,
        value_name = "N"
    )]
    no_repeat_ngram_size: usize,
    /// What finds speech: auto takes Silero when it is installed; off transcribes everything
    #[arg(long, value_enum, default_value_t)]
    pub vad: VadArgument,
    /// Probability from which a frame is speech
    #[arg(long, default_value_t = 0.5, value_name = "P")]
    pub vad_threshold: f32,
    /// The channel to hear; each makes one document a channel
    #[arg(long, value_enum, default_value_t)]
    pub channel: ChannelArgument,
    /// Threads to compute with; all cores if not given
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Arithmetic of the matrix products
    #[arg(long, alias = "compute_type", value_enum, default_value_t)]
    pub compute: ComputeArgument,
    /// Windows decoded at once; as many as share 128 MB, at most 8, if not given
    #[arg(long, alias = "batch_size", value_name = "N")]
    batch_size: Option<usize>,
    /// Widest subtitle line, in columns (a Korean letter has two)
    #[arg(
        long,
        alias = "max_line_width",
        default_value_t = 42,
        value_name = "COLUMNS"
    )]
    max_line_width: usize,
    /// Lines in a subtitle
    #[arg(long, alias = "max_line_count", default_value_t = 2, value_name = "N")]
    max_line_count: usize,
    /// Words in a subtitle line
    #[arg(long, alias = "max_words_per_line", value_name = "N")]
    max_words_per_line: Option<usize>,
    /// Mark each word in subtitles while it is said
    #[arg(long, alias = "highlight_words")]
    highlight_words: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value_t)]
    pub progress: Show,
    #[command(flatten)]
    pub models: ModelsFolder,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum TaskArgument {
    #[default]
    Transcribe,
    Translate,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum VadArgument {
    #[default]
    Auto,
    Builtin,
    Silero,
    Off,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ChannelArgument {
    #[default]
    Mix,
    Left,
    Right,
    Each,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum ComputeArgument {
    /// int8
    #[default]
    Auto,
    F32,
    Int8,
    /// int8, most of the decoder's weights in 4 bits: less memory, faster on few windows at once, a little less exact
    Int4,
}

impl TranscribeCommand {
    /// The formats to write, each once.
    pub fn formats(&self) -> Result<Vec<Format>> {
        let mut formats = Vec::new();
        for name in &self.format {
            let named = if name == "all" {
                Format::ALL.to_vec()
            } else {
                vec![name.parse::<Format>()?]
            };
            formats.extend(
                named
                    .into_iter()
                    .filter(|f| !formats.contains(f))
                    .collect::<Vec<_>>(),
            );
        }
        Ok(formats)
    }

    /// How the recording is read.
    pub fn audio(&self) -> AudioOptions {
        let channels = match self.channel {
            ChannelArgument::Mix => Channels::Mix,
            ChannelArgument::Left => Channels::Left,
            ChannelArgument::Right => Channels::Right,
            ChannelArgument::Each => Channels::Each,
        };
        AudioOptions {
            channels,
            ..Default::default()
        }
    }

    /// The options of a session.
    pub fn session(&self) -> Result<SessionOptions> {
        Ok(SessionOptions {
            transcribe: self.options()?,
            vad: VadOptions {
                threshold: self.vad_threshold,
                ..Default::default()
            },
            listen: ListenOptions::default(),
            features: None,
            keep_frames: false,
            pace: Pace::Batch,
        })
    }

    /// How subtitles are cut.
    pub fn cues(&self) -> CueOptions {
        CueOptions {
            max_line_width: self.max_line_width,
            max_line_count: self.max_line_count,
            max_words_per_line: self.max_words_per_line,
            highlight_words: self.highlight_words,
            ..Default::default()
        }
    }

    /// The options of transcription, not yet held against a model.
    pub fn options(&self) -> Result<TranscribeOptions> {
        Ok(TranscribeOptions {
            languages: self
                .language
                .iter()
                .map(|l| l.to_lowercase())
                .filter(|l| l != "auto")
                .collect(),
            task: match self.task {
                TaskArgument::Transcribe => Task::Transcribe,
                TaskArgument::Translate => Task::Translate,
            },
            search: match self.beam_size {
                0 => bail!("--beam-size: give a number from 1 to 64"),
                1 => Search::Greedy,
                size => Search::Beam {
                    size,
                    patience: self.patience,
                    length_penalty: self.length_penalty,
                },
            },
            temperatures: self.temperature.clone(),
            best_of: self.best_of,
            compression_ratio_threshold: self.compression_ratio_threshold,
            logprob_threshold: self.logprob_threshold,
            no_speech_threshold: self.no_speech_threshold,
            initial_prompt: self.initial_prompt.clone(),
            hotwords: self.hotwords.clone(),
            condition_on_previous: self.condition_on_previous_text,
            timestamp_tokens: self.timestamp_tokens,
            word_times: self.word_timestamps,
            no_repeat_ngram: self.no_repeat_ngram_size,
            batch: self.batch_size,
            ..Default::default()
        })
    }
}
