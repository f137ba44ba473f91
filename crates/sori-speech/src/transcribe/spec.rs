//! What a Whisper checkpoint says of itself: sizes, tokens, languages, rules. Nothing here is known by model name.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use sori_infer::weights::GgmlFile;
use sori_infer::{InferError, InferErrorKind};

use super::tokenizer::{Tokenizer, read_json};

/// The languages of Whisper in the order of their tokens (openai/whisper tokenizer.py, `LANGUAGES`).
const LANGUAGES: &str = "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk te fa lv bn sr \
    az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue";

/// Size of the English-only vocabulary: it lists the languages, and its models ignore them.
const ENGLISH_ONLY: usize = 51864;

/// The network's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Sizes {
    pub vocabulary: usize,
    pub mels: usize,
    pub width: usize,
    pub audio_context: usize,
    pub audio_layers: usize,
    pub audio_heads: usize,
    pub text_context: usize,
    pub text_layers: usize,
    pub text_heads: usize,
}

/// How sound becomes frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Samples from one mel frame to the next, at 16 kHz.
    pub hop: usize,
    /// Samples under one mel frame's window.
    pub n_fft: usize,
}

/// Ids of the tokens that steer the decoder; `None` where a vocabulary has no such token.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Steering {
    pub end: u32,
    pub start: u32,
    pub translate: Option<u32>,
    pub transcribe: Option<u32>,
    pub previous: Option<u32>,
    pub language_model: Option<u32>,
    pub no_speech: Option<u32>,
    pub no_timestamps: Option<u32>,
    /// The token `<|0.00|>`; later times follow it, 0.02 s each.
    pub first_timestamp: Option<u32>,
    /// Language codes with their tokens, by id; empty in an English-only model.
    pub languages: Vec<(String, u32)>,
}

/// All that is known of a checkpoint besides its weights.
#[derive(Debug)]
pub struct Spec {
    /// The network's sizes.
    pub sizes: Sizes,
    /// How sound becomes frames.
    pub framing: Framing,
    /// The steering tokens.
    pub steering: Steering,
    /// Tokens never written unless the user asks for them.
    pub suppressed: Vec<u32>,
    /// Tokens that a text does not begin with: a blank, and the end.
    pub not_first: Vec<u32>,
    /// Decoder (layer, head) pairs whose cross-attention follows time.
    pub alignment_heads: Vec<(usize, usize)>,
    /// The vocabulary.
    pub tokenizer: Tokenizer,
}

impl Spec {
    /// Samples of one window at 16 kHz.
    pub fn window_samples(&self) -> usize {
        2 * self.sizes.audio_context * self.framing.hop
    }

    /// Seconds of one encoder frame.
    pub fn frame_seconds(&self) -> f64 {
        2.0 * self.framing.hop as f64 / 16000.0
    }

    /// The token of a language code.
    pub fn language(&self, code: &str) -> Option<u32> {
        self.steering
            .languages
            .iter()
            .find(|(c, _)| c == code)
            .map(|(_, id)| *id)
    }

    /// Reads the JSON files of a Hugging Face folder.
    ///
    /// # Errors
    /// When a file is absent or damaged, or its numbers cannot be those of a Whisper network.
    pub fn from_folder(folder: &Path) -> Result<Self, InferError> {
        let path = folder.join("config.json");
        let config: Config = read_json(&path)?;
        let sizes = Sizes {
            vocabulary: config.vocab_size,
            mels: config.num_mel_bins,
            width: config.d_model,
            audio_context: config.max_source_positions,
            audio_layers: config.encoder_layers,
            audio_heads: config.encoder_attention_heads,
            text_context: config.max_target_positions,
            text_layers: config.decoder_layers,
            text_heads: config.decoder_attention_heads,
        };
        let tokenizer = Tokenizer::from_folder(folder)?;
        let optional = |name: &str| folder.join(name).exists().then(|| folder.join(name));
        let generation: Generation = optional("generation_config.json")
            .map_or(Ok(Generation::default()), |p| read_json(&p))?;
        let features: Features = optional("preprocessor_config.json")
            .map_or(Ok(Features::default()), |p| read_json(&p))?;
        let framing = Framing {
            hop: features.hop_length,
            n_fft: features.n_fft,
        };
        let spec = Self::new(
            &path,
            sizes,
            framing,
            tokenizer,
            generation.alignment_heads.unwrap_or_default(),
        )?;
        let given = |list: Option<Vec<i64>>, own| {
            list.map_or(own, |l| {
                l.iter().filter_map(|&t| u32::try_from(t).ok()).collect()
            })
        };
        Ok(Self {
            suppressed: given(generation.suppress_tokens, spec.suppressed),
            not_first: given(generation.begin_suppress_tokens, spec.not_first),
            ..spec
        })
    }

    /// Takes the sizes and the vocabulary from a GGML file; special tokens follow from the vocabulary's size.
    ///
    /// # Errors
    /// When the numbers cannot be those of a Whisper network.
    pub fn from_ggml(file: &GgmlFile) -> Result<Self, InferError> {
        let s = file.sizes;
        if s.audio_state != s.text_state {
            return Err(InferError::new(
                InferErrorKind::Damaged,
                file.path(),
                "encoder and decoder differ in width: not a Whisper model",
            ));
        }
        let sizes = Sizes {
            vocabulary: s.vocabulary,
            mels: s.mels,
            width: s.audio_state,
            audio_context: s.audio_context,
            audio_layers: s.audio_layers,
            audio_heads: s.audio_heads,
            text_context: s.text_context,
            text_layers: s.text_layers,
            text_heads: s.text_heads,
        };
        // Multilingual vocabularies have one text token more, and large-v3's one language more (whisper.cpp, whisper_model_load).
        let multilingual = s.vocabulary >= 51865;
        let text = if multilingual { 50257 } else { 50256 };
        let languages = s
            .vocabulary
            .saturating_sub(51765 + usize::from(multilingual))
            .min(100);
        let names = ["endoftext", "startoftranscript"]
            .into_iter()
            .chain(LANGUAGES.split_whitespace().take(languages))
            .chain([
                "translate",
                "transcribe",
                "startoflm",
                "startofprev",
                "nospeech",
                "notimestamps",
            ]);
        let mut special: HashMap<String, u32> = names
            .enumerate()
            .map(|(i, name)| (format!("<|{name}|>"), text + i as u32))
            .collect();
        special.insert("<|0.00|>".to_owned(), text + special.len() as u32);
        let tokens = file.tokens.iter().take(text as usize).cloned().collect();
        Self::new(
            file.path(),
            sizes,
            Framing {
                hop: 160,
                n_fft: 400,
            },
            Tokenizer::new(tokens, special, false),
            Vec::new(),
        )
    }

    fn new(
        path: &Path,
        sizes: Sizes,
        framing: Framing,
        tokenizer: Tokenizer,
        heads: Vec<(usize, usize)>,
    ) -> Result<Self, InferError> {
        sizes.check().map_err(|what| {
            InferError::new(
                InferErrorKind::Damaged,
                path,
                format!("{what}: not a Whisper model"),
            )
        })?;
        if !(1..=16000).contains(&framing.hop) || !(2..=16000).contains(&framing.n_fft) {
            return Err(InferError::new(
                InferErrorKind::Damaged,
                path,
                "preprocessor_config.json: hop_length or n_fft makes no sense",
            ));
        }
        let steering = Steering::find(path, &tokenizer, sizes.vocabulary)?;
        let mut suppressed = tokenizer.non_speech();
        suppressed.extend(
            [
                steering.translate,
                steering.transcribe,
                Some(steering.start),
                steering.previous,
                steering.language_model,
                steering.no_speech,
            ]
            .into_iter()
            .flatten(),
        );
        let alignment_heads = Some(
            heads
                .into_iter()
                .filter(|h| h.0 < sizes.text_layers && h.1 < sizes.text_heads)
                .collect::<Vec<_>>(),
        )
        .filter(|h| !h.is_empty())
        // openai/whisper model.py: without a list, all heads of the upper half of the decoder.
        .unwrap_or_else(|| {
            (sizes.text_layers / 2..sizes.text_layers)
                .flat_map(|l| (0..sizes.text_heads).map(move |h| (l, h)))
                .collect()
        });
        let mut not_first = tokenizer.encode(" ");
        not_first.push(steering.end);
        Ok(Self {
            sizes,
            framing,
            steering,
            suppressed,
            not_first,
            alignment_heads,
            tokenizer,
        })
    }
}

impl Steering {
    /// Looks the steering tokens up by name; ids beyond the network's vocabulary count as absent.
    fn find(path: &Path, tokenizer: &Tokenizer, vocabulary: usize) -> Result<Self, InferError> {
        let known = |id: &u32| (*id as usize) < vocabulary;
        let id = |name: &str| tokenizer.special(&format!("<|{name}|>")).filter(known);
        let needed = |name: &str| {
            let message = format!("the vocabulary has no <|{name}|>: not a Whisper model");
            id(name).ok_or_else(|| InferError::new(InferErrorKind::Missing, path, message))
        };
        let no_timestamps = id("notimestamps");
        let mut languages: Vec<(String, u32)> = tokenizer
            .specials()
            .filter_map(|(name, id)| {
                Some((name.strip_prefix("<|")?.strip_suffix("|>")?.to_owned(), id))
            })
            .filter(|(code, id)| {
                let letters = code.bytes().all(|b| b.is_ascii_lowercase());
                (2..=3).contains(&code.len()) && letters && known(id)
            })
            .collect();
        languages.sort_by_key(|(_, id)| *id);
        if vocabulary == ENGLISH_ONLY {
            languages.clear();
        }
        Ok(Self {
            end: needed("endoftext")?,
            start: needed("startoftranscript")?,
            translate: id("translate"),
            transcribe: id("transcribe"),
            previous: id("startofprev"),
            language_model: id("startoflm"),
            no_speech: id("nospeech").or_else(|| id("nocaptions")),
            no_timestamps,
            first_timestamp: id("0.00").or(no_timestamps.map(|i| i + 1)).filter(known),
            languages,
        })
    }
}

impl Sizes {
    /// Refuses numbers that would divide by zero or allocate without bound.
    fn check(&self) -> Result<(), String> {
        let ranges = [
            ("vocabulary", self.vocabulary, 2..=1 << 20),
            ("mel bins", self.mels, 1..=256),
            ("width", self.width, 2..=1 << 13),
            ("audio context", self.audio_context, 1..=1 << 14),
            ("encoder layers", self.audio_layers, 1..=256),
            ("encoder heads", self.audio_heads, 1..=256),
            ("text context", self.text_context, 16..=1 << 14),
            ("decoder layers", self.text_layers, 1..=256),
            ("decoder heads", self.text_heads, 1..=256),
        ];
        if let Some((name, value, _)) = ranges
            .iter()
            .find(|(_, value, range)| !range.contains(value))
        {
            return Err(format!("{value} {name}"));
        }
        if !self.width.is_multiple_of(self.audio_heads)
            || !self.width.is_multiple_of(self.text_heads)
        {
            return Err(format!(
                "a width of {} cannot be split among {} or {} heads",
                self.width, self.audio_heads, self.text_heads
            ));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Config {
    vocab_size: usize,
    num_mel_bins: usize,
    d_model: usize,
    max_source_positions: usize,
    encoder_layers: usize,
    encoder_attention_heads: usize,
    max_target_positions: usize,
    decoder_layers: usize,
    decoder_attention_heads: usize,
}

#[derive(Default, Deserialize)]
struct Generation {
    alignment_heads: Option<Vec<(usize, usize)>>,
    suppress_tokens: Option<Vec<i64>>,
    begin_suppress_tokens: Option<Vec<i64>>,
}

#[derive(Deserialize)]
#[serde(default)]
struct Features {
    hop_length: usize,
    n_fft: usize,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            hop_length: 160,
            n_fft: 400,
        }
    }
}
