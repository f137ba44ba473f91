//! A stretch of speech with its words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AcousticFeatures, Delivery, SegmentSpeaker, number, word::Word};

/// A stretch of speech that was decoded together.
///
/// In JSON its times are `start_time` and `end_time`; `start` and `end` are read as well.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// Number within the document, from 0, unique and rising.
    #[serde(default)]
    pub id: usize,
    /// Start in seconds from the start of the recording.
    #[serde(
        rename = "start_time",
        alias = "start",
        serialize_with = "number::seconds"
    )]
    pub start: f64,
    /// End in seconds, not before `start`.
    #[serde(rename = "end_time", alias = "end", serialize_with = "number::seconds")]
    pub end: f64,
    /// Who said it; `None` when nobody asked, or nobody was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<SegmentSpeaker>,
    /// What was said, as one would write it; it contains the words in order.
    pub text: String,
    /// Language of this segment (ISO 639-1), where it is known on its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The words in order; empty when word times were not asked for.
    #[serde(default)]
    pub words: Vec<Word>,
    /// Mean log-probability per token, at most 0.
    #[serde(default, serialize_with = "number::score")]
    pub avg_logprob: f32,
    /// UTF-8 bytes of the text over its zlib-compressed bytes; above 2.4 means repetition (openai-whisper).
    #[serde(default, serialize_with = "number::score")]
    pub compression_ratio: f32,
    /// Probability that the window holds no speech, 0 to 1.
    #[serde(default, serialize_with = "number::score")]
    pub no_speech_prob: f32,
    /// Sampling temperature that gave this text; 0 is greedy or beam search.
    #[serde(default, serialize_with = "number::score")]
    pub temperature: f32,
    /// How it sounded; `None` when nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acoustic_features: Option<Box<AcousticFeatures>>,
    /// How fast and how fluently it was said; `None` when nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}
