//! A word with its time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AcousticFeatures, number};

/// Where a word's time came from, best first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeSource {
    /// A forced alignment of characters against the sound.
    Aligned,
    /// The recogniser's own cross-attention.
    Attention,
    /// Shared out between known neighbours; the sound was not consulted.
    #[default]
    Interpolated,
}

/// One word as it was spoken, with the punctuation that clings to it and no surrounding spaces.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Word {
    /// The text, for Korean one eojeol.
    pub word: String,
    /// Start in seconds from the start of the recording.
    #[serde(serialize_with = "number::seconds")]
    pub start: f64,
    /// End in seconds, not before `start`.
    #[serde(serialize_with = "number::seconds")]
    pub end: f64,
    /// Confidence, 0 to 1.
    #[serde(serialize_with = "number::score")]
    pub score: f32,
    /// Where the time came from.
    pub time_source: TimeSource,
    /// Who said it: an id such as `SPEAKER_00`, or an enrolled name. `None` when nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    /// Probability that it was this speaker and not the next likely one, 0 to 1.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::score_option"
    )]
    pub speaker_score: Option<f32>,
    /// Who spoke at the same time, where speech overlaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_speaker: Option<String>,
    /// How it sounded; `None` when nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acoustic_features: Option<Box<AcousticFeatures>>,
}
