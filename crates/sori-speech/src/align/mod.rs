//! Known words to their times, by the sound: CTC forced alignment with wav2vec 2.0, XLSR and MMS checkpoints.
//!
//! [`Aligner`] is a loaded checkpoint. It has the words said ([`spoken`]), finds what its network can write of that
//! ([`characters`], [`vocabulary`]), hears the sound, lays the one along the other ([`trellis`]) and turns frames into seconds.
//! Every word gets a time; where the sound could not be consulted the word says so.

pub mod characters;
mod network;
pub mod spoken;
mod times;
pub mod trellis;
pub mod vocabulary;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sori_infer::ops::log_softmax;
use sori_infer::{InferError, InferErrorKind};
use sori_timeline::TimeSource;

use network::Network;
use network::config::{Config, Framing, json};
use trellis::{Edges, Emissions};
use vocabulary::Vocabulary;

/// Samples per second.
const RATE: f64 = 16_000.0;
/// Samples that the network hears at once: 30 seconds, or so many shorter sounds as fit.
const WINDOW: usize = 480_000;
/// Samples at a cut window's edges whose frames are the neighbour's: two seconds.
const MARGIN: usize = 32_000;
/// Samples of the longest sound that is aligned: ten minutes.
const LONGEST: usize = 9_600_000;

/// A CTC network with its vocabulary. Shared read-only; works on the caller's rayon pool.
pub struct Aligner {
    network: Network,
    framing: Framing,
    normalise: bool,
    vocabulary: Vocabulary,
    folder: PathBuf,
}

/// A sound and the words in it.
#[derive(Clone, Copy, Debug)]
pub struct Utterance<'a> {
    /// 16 kHz mono sound: the words and some margin, best no more than 30 seconds.
    pub pcm: &'a [f32],
    /// What is said, in order.
    pub words: &'a [&'a str],
    /// The language of the words (ISO 639-1).
    pub language: &'a str,
}

/// A word's place in its sound.
#[derive(Clone, Debug, PartialEq)]
pub struct AlignedWord {
    /// Start in seconds from the start of the sound.
    pub start: f64,
    /// End in seconds, not before `start` and not after the next word's start.
    pub end: f64,
    /// Mean probability of the word's characters, 0 to 1; unknown sounds count as 0.
    pub score: f32,
    /// `Aligned`, or `Interpolated` where nothing of the word could be looked for.
    pub time_source: TimeSource,
    /// Characters, syllables, or numbers said as one; those that have no sound are left out.
    pub characters: Vec<AlignedCharacter>,
}

/// A part of a word that is written as one and has a sound.
#[derive(Clone, Debug, PartialEq)]
pub struct AlignedCharacter {
    /// As it is written, composed (NFC).
    pub text: String,
    /// Start in seconds from the start of the sound.
    pub start: f64,
    /// End in seconds.
    pub end: f64,
    /// Mean probability, 0 to 1.
    pub score: f32,
}

/// What is read of `preprocessor_config.json`.
#[derive(Deserialize)]
struct Preprocessor {
    #[serde(default = "yes")]
    do_normalize: bool,
}

fn yes() -> bool {
    true
}

/// What is read of `tokenizer_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    word_delimiter_token: Option<String>,
    pad_token: Option<serde_json::Value>,
    target_lang: Option<String>,
}

/// `vocab.json`: one vocabulary, or one for each language.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tokens {
    One(HashMap<String, u32>),
    Each(HashMap<String, HashMap<String, u32>>),
}

impl Aligner {
    /// Loads a folder in Hugging Face's form: `config.json`, `vocab.json`, and `model.safetensors`, `pytorch_model.bin` or
    /// `model.onnx`. A multilingual network (MMS) hears the language that its tokenizer names.
    ///
    /// # Errors
    /// When files are absent, damaged, or of a network that is not wav2vec 2.0 with a CTC head.
    pub fn open(folder: &Path) -> Result<Self, InferError> {
        Self::load(folder, None)
    }

    /// As [`Aligner::open`], for a language (ISO 639-1 or -3): where the network has adapters, with that of the language.
    ///
    /// # Errors
    /// As [`Aligner::open`], and `Missing` when a network with adapters has none for this language.
    pub fn open_for(folder: &Path, language: &str) -> Result<Self, InferError> {
        Self::load(folder, Some(language))
    }

    fn load(folder: &Path, language: Option<&str>) -> Result<Self, InferError> {
        let config = Config::open(folder)?;
        let framing = config.framing().expect("the configuration was checked");
        let optional = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        let normalise = match optional("preprocessor_config.json") {
            Some(path) => json::<Preprocessor>(&path)?.do_normalize,
            None => true,
        };
        let tokenizer: TokenizerConfig = match optional("tokenizer_config.json") {
            Some(path) => json(&path)?,
            None => TokenizerConfig::default(),
        };
        let path = folder.join("vocab.json");
        let (tokens, adapter) = match json(&path)? {
            Tokens::One(tokens) => (tokens, None),
            Tokens::Each(mut all) => {
                let wanted = language
                    .map(three_letters)
                    .or(tokenizer.target_lang.as_deref());
                let wanted = wanted.unwrap_or("eng");
                let known = |name: &&String| name.split('-').next() == Some(wanted);
                let name = match all.contains_key(wanted) {
                    true => Some(wanted.to_owned()),
                    false => all.keys().filter(known).min().cloned(),
                };
                let tokens = name.as_ref().and_then(|name| all.remove(name));
                let (Some(tokens), Some(name)) = (tokens, name) else {
                    let message = format!("has no vocabulary for the language {wanted:?}");
                    return Err(InferError::new(InferErrorKind::Missing, &path, message));
                };
                (tokens, language.map(|_| name))
            }
        };
        let adapter = adapter.map(|name| folder.join(format!("adapter.{name}.safetensors")));
        let network = Network::load(folder, &config, framing, adapter.as_deref())?;
        let blank = blank(&tokens, &tokenizer, config.pad_token_id);
        let delimiter = tokenizer.word_delimiter_token.as_deref().unwrap_or("|");
        let list = tokens.iter().map(|(token, &id)| (token.as_str(), id));
        let aligner = Self {
            network,
            framing,
            normalise,
            vocabulary: Vocabulary::new(list, blank, delimiter),
            folder: folder.to_owned(),
        };
        if let Some(width) = aligner.network.vocabulary() {
            aligner.check_width(width)?;
        }
        Ok(aligner)
    }

    fn check_width(&self, width: usize) -> Result<(), InferError> {
        let last = self.vocabulary.last_id().max(self.vocabulary.blank) as usize;
        if last < width {
            return Ok(());
        }
        let message = format!(
            "vocab.json has a token {last} and the network {width} tokens: files of different models are mixed"
        );
        Err(InferError::new(
            InferErrorKind::Shape,
            &self.folder,
            message,
        ))
    }

    /// What the network can write.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Returns as many words as were given, with times in seconds from the start of `pcm` (16 kHz mono), in order and without
    /// overlap. See [`Aligner::align_all`].
    ///
    /// # Errors
    /// As [`Aligner::align_all`].
    pub fn align(
        &self,
        pcm: &[f32],
        words: &[&str],
        language: &str,
    ) -> Result<Vec<AlignedWord>, InferError> {
        let one = Utterance {
            pcm,
            words,
            language,
        };
        let mut all = self.align_all(&[one])?;
        Ok(all.pop().expect("one utterance gives one result"))
    }

    /// Returns the words of each utterance with their times. Short utterances share the network's work.
    ///
    /// All words of an utterance are `Interpolated` when the sound is too short for them, longer than ten minutes, or has so
    /// many frames and characters that the trellis would pass [`trellis::MAX_CELLS`]. Memory: about 100 MB and the
    /// network's weights, and for each second of the longest sound 50 frames of scores.
    ///
    /// # Errors
    /// When an ONNX network is not what it should be.
    pub fn align_all(&self, utterances: &[Utterance]) -> Result<Vec<Vec<AlignedWord>>, InferError> {
        let mut all = Vec::with_capacity(utterances.len());
        let mut rest = utterances;
        while !rest.is_empty() {
            let count = fitting(rest.iter().map(|one| heard(one.pcm).len()));
            let (batch, after) = rest.split_at(count);
            rest = after;
            let sounds: Vec<_> = batch.iter().map(|one| heard(one.pcm)).collect();
            for (one, emissions) in batch.iter().zip(self.emissions(&sounds)?) {
                all.push(self.lay(one, &emissions));
            }
        }
        Ok(all)
    }

    fn lay(&self, one: &Utterance, emissions: &Emissions) -> Vec<AlignedWord> {
        let transcript = characters::transcript(one.words, one.language, &self.vocabulary);
        let spans = match heard(one.pcm) {
            [] => None,
            _ => trellis::align(emissions, &transcript.labels, Edges::Open),
        };
        let duration = one.pcm.len() as f64 / RATE;
        let Framing { stride, field } = self.framing;
        // A frame stands for the samples in the middle of what it hears.
        let clock = times::Clock {
            first: field.saturating_sub(stride) as f64 / 2.0 / RATE,
            step: stride as f64 / RATE,
            duration,
        };
        times::words(one.words, &transcript, spans.as_deref(), clock)
    }

    /// What the network hears in each sound (16 kHz mono): log-probabilities of its tokens, about one row each 20 ms.
    ///
    /// # Errors
    /// When an ONNX network is not what it should be.
    pub fn emissions(&self, sounds: &[&[f32]]) -> Result<Vec<Emissions>, InferError> {
        let sounds: Vec<_> = sounds.iter().map(|pcm| self.prepared(pcm)).collect();
        let parts = sounds.iter().enumerate().flat_map(|(index, pcm)| {
            let windows = self.windows(pcm.len()).into_iter();
            windows.map(move |window| (index, window.start, &pcm[window]))
        });
        let parts: Vec<_> = parts.collect();
        let mut all = vec![self.nothing(); sounds.len()];
        let mut rest = parts.as_slice();
        while !rest.is_empty() {
            let count = fitting(rest.iter().map(|part| part.2.len()));
            let (batch, after) = rest.split_at(count);
            let windows: Vec<_> = batch.iter().map(|part| part.2).collect();
            let (logits, width) = self.network.logits(&windows)?;
            self.check_width(width)?;
            for (part, (&(index, start, _), logits)) in batch.iter().zip(logits).enumerate() {
                let next = rest.get(part + 1);
                let last = next.is_none_or(|next| next.0 != index);
                all[index].vocabulary = width;
                let first = start / self.framing.stride;
                self.append(&mut all[index], &logits, first, last);
            }
            rest = after;
        }
        Ok(all)
    }

    fn nothing(&self) -> Emissions {
        Emissions {
            values: Vec::new(),
            vocabulary: 1,
            blank: self.vocabulary.blank,
            delimiter: self.vocabulary.delimiter,
        }
    }

    /// Adds a window's rows, of which the first is frame `first` of the sound, to the rows before it.
    fn append(&self, emissions: &mut Emissions, logits: &[f32], first: usize, last: bool) {
        let width = emissions.vocabulary;
        let from = emissions.values.len().saturating_sub(first * width);
        let to = match last {
            true => logits.len(),
            false => ((WINDOW - MARGIN) / self.framing.stride * width).min(logits.len()),
        };
        let at = emissions.values.len();
        emissions.values.extend(logits.get(from..to).unwrap_or(&[]));
        emissions.values[at..]
            .chunks_exact_mut(width)
            .for_each(log_softmax);
    }

    /// Sound as the network wants it: with a mean of 0 and a variance of 1 where its extractor says so (transformers,
    /// `zero_mean_unit_var_norm`), and at least one frame long.
    fn prepared(&self, pcm: &[f32]) -> Vec<f32> {
        let mut pcm = pcm.to_vec();
        if self.normalise && !pcm.is_empty() {
            let count = pcm.len() as f64;
            let mean = pcm.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
            let square = |&x: &f32| (f64::from(x) - mean).powi(2);
            let deviation = (pcm.iter().map(square).sum::<f64>() / count + 1e-7).sqrt();
            for x in &mut pcm {
                *x = ((f64::from(*x) - mean) / deviation) as f32;
            }
        }
        pcm.resize(pcm.len().max(self.framing.field), 0.0);
        pcm
    }

    /// The parts of a sound that are heard at once.
    fn windows(&self, samples: usize) -> Vec<std::ops::Range<usize>> {
        // Whole frames, so that the windows' frames are the sound's.
        let whole = |samples: usize| samples / self.framing.stride * self.framing.stride;
        let step = whole(WINDOW - MARGIN) - whole(MARGIN);
        let count = 1 + samples.saturating_sub(WINDOW).div_ceil(step);
        let starts = (0..count).map(|index| index * step);
        starts
            .map(|start| start..(start + WINDOW).min(samples))
            .collect()
    }
}

/// How many of these lengths, one at least, fit into a window together.
fn fitting(lengths: impl Iterator<Item = usize>) -> usize {
    let total = lengths.scan(0, |total, length| {
        *total += length;
        Some(*total)
    });
    total.take_while(|&total| total <= WINDOW).count().max(1)
}

/// A sound that is too long is not heard.
fn heard(pcm: &[f32]) -> &[f32] {
    if pcm.len() > LONGEST { &[] } else { pcm }
}

/// The token for nothing new: the tokenizer's padding, or what is usually called so, or the configuration's.
fn blank(tokens: &HashMap<String, u32>, tokenizer: &TokenizerConfig, pad: Option<u32>) -> u32 {
    let named = match &tokenizer.pad_token {
        Some(serde_json::Value::String(name)) => Some(name.as_str()),
        Some(other) => other.get("content").and_then(|name| name.as_str()),
        None => None,
    };
    let names = named.into_iter().chain(["<pad>", "[PAD]"]);
    let mut ids = names.filter_map(|name| tokens.get(name).copied());
    ids.next().or(pad).unwrap_or(0)
}

/// ISO 639-3 for the two letters of ISO 639-1, as MMS names its adapters; other names stay as they are.
fn three_letters(language: &str) -> &str {
    const NAMES: [(&str, &str); 20] = [
        ("ar", "ara"),
        ("cs", "ces"),
        ("de", "deu"),
        ("en", "eng"),
        ("es", "spa"),
        ("fr", "fra"),
        ("hi", "hin"),
        ("id", "ind"),
        ("it", "ita"),
        ("ja", "jpn"),
        ("ko", "kor"),
        ("nl", "nld"),
        ("pl", "pol"),
        ("pt", "por"),
        ("ru", "rus"),
        ("th", "tha"),
        ("tr", "tur"),
        ("uk", "ukr"),
        ("vi", "vie"),
        ("zh", "cmn"),
    ];
    let found = NAMES.iter().find(|(two, _)| *two == language);
    found.map_or(language, |(_, three)| three)
}
