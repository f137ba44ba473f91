//! Speech to text with Whisper (Radford et al. 2022): any checkpoint, several windows at once.
//!
//! [`Whisper`] is a loaded checkpoint; [`Transcriber`] takes windows of sound and gives segments with timed words. Sizes,
//! languages and rules come from the checkpoint's files ([`Spec`]).

mod align;
mod error;
mod language;
mod network;
mod options;
mod quality;
mod rules;
mod search;
mod segments;
mod spec;
mod timestamps;
mod tokenizer;
mod transcriber;
mod weights;
mod words;

use std::path::Path;

pub use align::Alignment;
pub use error::TranscribeError;
pub use options::{LoadOptions, Search, Task, TranscribeOptions};
pub use spec::{Framing, Sizes, Spec, Steering};
pub use tokenizer::Tokenizer;
pub use transcriber::{AudioWindow, Transcriber, WindowText};

use sori_dsp::{LogMel, LogMelOptions};
use sori_infer::weights::GgmlFile;
use sori_infer::{InferError, InferErrorKind};

use network::{Memory, Network, Row};
use weights::Checkpoint;

/// Bytes that the keys and values of the windows in the decoder may take.
const MEMORY: usize = 128_000_000;

/// A loaded checkpoint; shared read-only by any number of [`Transcriber`]s.
pub struct Whisper {
    spec: Spec,
    mel: LogMel,
    network: Network,
}

/// What the encoder made of one window.
pub struct Heard(network::Heard);

impl Whisper {
    /// Loads a Hugging Face folder or a whisper.cpp GGML file; a [`Compute`](sori_infer::linear::Compute) will do as options.
    ///
    /// # Errors
    /// When the files are absent, damaged, foreign, or not those of a Whisper network.
    pub fn open(path: &Path, options: impl Into<LoadOptions>) -> Result<Self, InferError> {
        let options = options.into();
        if path.is_dir() {
            let spec = Spec::from_folder(path)?;
            Self::load(spec, &Checkpoint::folder(path)?, &options, path)
        } else {
            let file = GgmlFile::open(path)?;
            Self::load(
                Spec::from_ggml(&file)?,
                &Checkpoint::Ggml(&file),
                &options,
                path,
            )
        }
    }

    fn load(
        spec: Spec,
        checkpoint: &Checkpoint,
        options: &LoadOptions,
        path: &Path,
    ) -> Result<Self, InferError> {
        let features = LogMelOptions {
            mels: spec.sizes.mels,
            hop: spec.framing.hop,
            n_fft: spec.framing.n_fft,
            ..Default::default()
        };
        let mel = LogMel::new(&features)
            .map_err(|e| InferError::new(InferErrorKind::Unsupported, path, e.to_string()))?;
        let network = Network::load(checkpoint, spec.sizes, options, path)?;
        Ok(Self { spec, mel, network })
    }

    /// How many windows are decoded at once: `wanted`, or else 8, for more gain little, and in int8 no more than share 128 MB of
    /// keys and values.
    pub fn batch(&self, wanted: Option<usize>) -> usize {
        let sizes = self.spec.sizes;
        let window = 2 * sizes.text_layers * sizes.audio_context * sizes.width;
        wanted.unwrap_or_else(|| match self.network {
            Network::Exact(_) => 8,
            Network::Fast(_) => (MEMORY / window.max(1)).clamp(1, 8),
        })
    }

    /// What the checkpoint says of itself.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The log-mel of up to one window of 16 kHz mono sound, `(mels, frames)` row-major, padded with silence.
    pub fn mel(&self, pcm: &[f32]) -> Vec<f32> {
        self.mel.window(pcm, 2 * self.spec.sizes.audio_context)
    }

    /// Runs the encoder over one window's log-mel and prepares the decoder's view of it.
    ///
    /// # Panics
    /// When `mel` is not as long as [`Whisper::mel`] makes it.
    pub fn hear(&self, mel: &[f32]) -> Heard {
        Heard(self.network.hear(mel))
    }

    /// The scores of every token `(tokens, vocabulary)` after each of `tokens`: forced decoding, for measurement.
    ///
    /// # Panics
    /// When there are more tokens than the text context holds, or one is not in the vocabulary.
    pub fn forced_logits(&self, heard: &Heard, tokens: &[u32]) -> Vec<f32> {
        let mut memory = Memory::default();
        let mut rows = [Row {
            tokens,
            memory: &mut memory,
            heard: &heard.0,
        }];
        let (mut hidden, mut logits) = (Vec::new(), Vec::new());
        self.network
            .read(&mut rows, &[], &mut Vec::new(), &mut hidden);
        self.network.logits(&hidden, &mut logits);
        logits
    }

    /// Writes the tokens of `script` one at a time for each of several windows at once, ignoring the scores: the cost of
    /// decoding without its contents, for measurement.
    ///
    /// # Panics
    /// As [`Whisper::forced_logits`].
    pub fn force(&self, heard: &[Heard], script: &[u32]) {
        let mut memories = vec![Memory::default(); heard.len()];
        let (mut hidden, mut logits) = (Vec::new(), Vec::new());
        for token in script.chunks(1) {
            let mut rows: Vec<_> = heard
                .iter()
                .zip(&mut memories)
                .map(|(h, memory)| Row {
                    tokens: token,
                    memory,
                    heard: &h.0,
                })
                .collect();
            self.network
                .read(&mut rows, &[], &mut Vec::new(), &mut hidden);
            self.network.logits(&hidden, &mut logits);
        }
    }

    /// The tokens that open a text: start, language, task, and that no times are wanted.
    fn opening(&self, language: Option<u32>, task: Task, timestamp_tokens: bool) -> Vec<u32> {
        let s = &self.spec.steering;
        let mut tokens = vec![s.start];
        if let Some(language) = language {
            tokens.push(language);
            tokens.extend(if task == Task::Translate {
                s.translate
            } else {
                s.transcribe
            });
        }
        tokens.extend(s.no_timestamps.filter(|_| !timestamp_tokens));
        tokens
    }
}
