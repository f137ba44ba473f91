//! What a voice sounds like over a word, a segment, a speaker or a recording.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number;

/// Measurements of a stretch of sound. What was not measured is absent; what has no value (the pitch of a whisper) is null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AcousticFeatures {
    /// Root mean square level in dB relative to full scale, at most 0 for a sine of full scale minus 3; null in digital silence.
    #[serde(default, serialize_with = "number::score_option")]
    pub volume_db: Option<f32>,
    /// Mean fundamental frequency of the voiced frames in Hz; null when nothing is voiced, never 0.
    #[serde(default, serialize_with = "number::score_option")]
    pub pitch_hz: Option<f32>,
    /// More about the fundamental frequency; absent when nothing is voiced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pitch: Option<Pitch>,
    /// Centre of mass of the magnitude spectrum in Hz.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::score_option"
    )]
    pub spectral_centroid: Option<f32>,
    /// Frequency in Hz below which 85 % of the magnitude lies.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::score_option"
    )]
    pub spectral_rolloff: Option<f32>,
    /// Standard deviation of the magnitude spectrum around its centroid in Hz.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::score_option"
    )]
    pub spectral_bandwidth: Option<f32>,
    /// Geometric over arithmetic mean of the power spectrum, 0 (a tone) to 1 (white noise).
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::score_option"
    )]
    pub spectral_flatness: Option<f32>,
    /// Sign changes over samples, 0 to 1.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::score_option"
    )]
    pub zero_crossing_rate: Option<f32>,
    /// Means of 13 mel-frequency cepstral coefficients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mfcc: Vec<f32>,
    /// Means of the first derivatives of those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mfcc_delta: Vec<f32>,
    /// Irregularities of the voice; of segments and speakers only, for a word is too short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<VoiceQuality>,
    /// Integrated loudness in LUFS (ITU-R BS.1770-4); of speakers and recordings only.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::score_option"
    )]
    pub loudness_lufs: Option<f32>,
}

/// The fundamental frequency over voiced frames.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pitch {
    /// Median in Hz.
    #[serde(serialize_with = "number::score")]
    pub median_hz: f32,
    /// 5th percentile in Hz.
    #[serde(serialize_with = "number::score")]
    pub low_hz: f32,
    /// 95th percentile in Hz.
    #[serde(serialize_with = "number::score")]
    pub high_hz: f32,
    /// Slope of a line through the pitch, in semitones a second; positive when it rises. 0 for fewer than three frames.
    #[serde(serialize_with = "number::score")]
    pub slope: f32,
    /// Voiced frames over all frames, 0 to 1.
    #[serde(serialize_with = "number::score")]
    pub voiced_share: f32,
}

/// Irregularities of a voice, as Praat defines them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VoiceQuality {
    /// Mean difference of neighbouring periods over the mean period (Praat's local jitter), 0 to 1.
    #[serde(serialize_with = "number::score")]
    pub jitter: f32,
    /// Mean difference of neighbouring peaks over the mean peak (Praat's local shimmer), 0 to 1.
    #[serde(serialize_with = "number::score")]
    pub shimmer: f32,
    /// Mean harmonics-to-noise ratio in dB.
    #[serde(serialize_with = "number::score")]
    pub hnr_db: f32,
}

/// How fast and how fluently was spoken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Delivery {
    /// Syllables said, counted in the text.
    pub syllables: usize,
    /// Syllables a second, pauses included.
    #[serde(serialize_with = "number::score")]
    pub speaking_rate: f32,
    /// Syllables a second of sound between pauses.
    #[serde(serialize_with = "number::score")]
    pub articulation_rate: f32,
    /// Words a minute, pauses included.
    #[serde(serialize_with = "number::score")]
    pub words_per_minute: f32,
    /// Pauses between words of at least 0.25 s.
    pub pauses: usize,
    /// Their sum in seconds.
    #[serde(serialize_with = "number::seconds")]
    pub pause_seconds: f64,
    /// Hesitations such as "uh" and "음".
    pub fillers: usize,
}
