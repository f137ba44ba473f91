//! The document and what it says about its own making.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AcousticFeatures, Delivery, Turn, number, segment::Segment};

/// The one result of a job.
///
/// ```
/// use sori_timeline::{Document, Segment};
/// let document = Document {
///     text: "안녕하세요".into(),
///     language: "ko".into(),
///     duration: 1.5,
///     segments: vec![Segment { end: 1.5, text: "안녕하세요".into(), ..Segment::default() }],
///     ..Document::default()
/// };
/// document.check()?;
/// let mut json = Vec::new();
/// sori_timeline::export::json(&document, &mut json)?;
/// # Ok::<(), sori_timeline::TimelineError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// All text in order.
    pub text: String,
    /// Main language (ISO 639-1); empty when there was nothing to tell it from.
    pub language: String,
    /// Probability of that language, 0 to 1, when it was detected and not given.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "number::score_option"
    )]
    pub language_probability: Option<f32>,
    /// Length of the recording in seconds.
    #[serde(serialize_with = "number::seconds")]
    pub duration: f64,
    /// What was said, in order of start.
    pub segments: Vec<Segment>,
    /// Who spoke, by id; empty when speakers were not asked for.
    #[serde(default)]
    pub speakers: BTreeMap<String, Speaker>,
    /// Who spoke when, in order of start, overlaps included; finer than the segments, for it is heard and not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Turn>,
    /// How the whole recording sounds; `None` when nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acoustic_features: Option<AcousticFeatures>,
    /// Whether a stage failed, so that something is missing; `metadata.failures` says what.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// How this document was made.
    #[serde(default)]
    pub metadata: Metadata,
}

/// Totals of one speaker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Speaker {
    /// Seconds of speech, by the turns.
    #[serde(serialize_with = "number::seconds")]
    pub total_duration: f64,
    /// Seconds of that in which somebody else speaks too.
    #[serde(default, serialize_with = "number::seconds")]
    pub overlap_duration: f64,
    /// Share of all speakers' speech, 0 to 1.
    #[serde(default, serialize_with = "number::score")]
    pub share: f32,
    /// Number of turns.
    #[serde(default)]
    pub turns: usize,
    /// Number of words.
    #[serde(default)]
    pub words: usize,
    /// How the enrolled name was found; `None` for speakers nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// How the voice sounds; `None` when nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acoustic_features: Option<AcousticFeatures>,
    /// How fast and how fluently was spoken; `None` when nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
}

/// What the comparison with enrolled voices gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The likeliest enrolled name.
    pub name: String,
    /// Probability that it is this voice, 0 to 1, calibrated.
    #[serde(serialize_with = "number::score")]
    pub probability: f32,
    /// Whether the speaker was given that name; `false` when another name or none was nearly as likely.
    pub accepted: bool,
}

/// How a document was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "MetadataJson", into = "MetadataJson")]
pub struct Metadata {
    /// Program and version, such as `sori 0.1.0`.
    pub generator: String,
    /// Wall-clock seconds the whole job took.
    pub processing_time: f64,
    /// The model of each role (`transcription`, `vad`, …). In JSON `model_versions` maps a role to the name, as it always
    /// did, and `model_checksums` a role to the SHA-256.
    pub model_versions: BTreeMap<String, ModelVersion>,
    /// Seconds spent in each stage, in order.
    pub stages: Vec<StageTime>,
    /// What the reader should know: a truncated file, a stand-in model.
    pub warnings: Vec<String>,
    /// Stages that failed; what the others found is kept.
    pub failures: Vec<StageFailure>,
    /// Text that was decoded and then withheld.
    pub audit: Vec<Dropped>,
    /// What the recording was.
    pub source: Option<SourceInfo>,
}

/// A model and the checksum of its weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelVersion {
    /// Name as in the catalogue, or the folder it was loaded from.
    pub name: String,
    /// SHA-256 of the weights, lower-case hex, when known.
    pub sha256: Option<String>,
}

/// Wall-clock time of one stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageTime {
    /// Name of the stage.
    pub stage: String,
    /// Seconds.
    #[serde(serialize_with = "number::seconds")]
    pub seconds: f64,
}

/// A stage that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageFailure {
    /// Name of the stage.
    pub stage: String,
    /// Why, and what to do.
    pub reason: String,
}

/// Text that was decoded and then withheld, with the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// Start in seconds.
    #[serde(serialize_with = "number::seconds")]
    pub start: f64,
    /// End in seconds.
    #[serde(serialize_with = "number::seconds")]
    pub end: f64,
    /// The withheld text.
    pub text: String,
    /// Why.
    pub reason: DropReason,
}

/// Why a text was withheld.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DropReason {
    /// The model itself said that the window holds no speech.
    NoSpeech,
    /// The mean log-probability stayed below the limit at every temperature.
    LowConfidence,
    /// The same words over and over.
    Repetition,
    /// The text compresses too well to be speech.
    Compression,
    /// Nothing but punctuation.
    PunctuationOnly,
    /// The words lie where voice activity found no speech.
    OutsideSpeech,
    /// More words than a voice can say in that time.
    TooFast,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

/// What the recording was, before decoding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceInfo {
    /// Container, such as `wav`, `mp4`, `webm`.
    pub container: String,
    /// Audio codec, such as `pcm_s16le`, `aac`, `opus`.
    pub codec: String,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
}

// `Metadata` as it is written: names and checksums of models in two maps. These comments go into the JSON Schema.
/// How a document was made.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Metadata")]
struct MetadataJson {
    /// Program and version, such as `sori 0.1.0`.
    #[serde(default)]
    generator: String,
    /// Wall-clock seconds the whole job took.
    #[serde(default, serialize_with = "number::seconds")]
    processing_time: f64,
    /// The name of the model of each role (`transcription`, `vad`, …).
    #[serde(default)]
    model_versions: BTreeMap<String, String>,
    /// The SHA-256 of the weights of each role, lower-case hex, where known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    model_checksums: BTreeMap<String, String>,
    /// Seconds spent in each stage, in order.
    #[serde(default)]
    stages: Vec<StageTime>,
    /// What the reader should know: a truncated file, a stand-in model.
    #[serde(default)]
    warnings: Vec<String>,
    /// Stages that failed; what the others found is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failures: Vec<StageFailure>,
    /// Text that was decoded and then withheld.
    #[serde(default)]
    audit: Vec<Dropped>,
    /// What the recording was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<SourceInfo>,
}

impl From<Metadata> for MetadataJson {
    fn from(from: Metadata) -> Self {
        let mut model_versions = BTreeMap::new();
        let mut model_checksums = BTreeMap::new();
        for (role, model) in from.model_versions {
            if let Some(sha256) = model.sha256 {
                model_checksums.insert(role.clone(), sha256);
            }
            model_versions.insert(role, model.name);
        }
        Self {
            generator: from.generator,
            processing_time: from.processing_time,
            model_versions,
            model_checksums,
            stages: from.stages,
            warnings: from.warnings,
            failures: from.failures,
            audit: from.audit,
            source: from.source,
        }
    }
}

impl From<MetadataJson> for Metadata {
    fn from(mut from: MetadataJson) -> Self {
        let model_versions = from
            .model_versions
            .into_iter()
            .map(|(role, name)| {
                let sha256 = from.model_checksums.remove(&role);
                (role, ModelVersion { name, sha256 })
            })
            .collect();
        Self {
            generator: from.generator,
            processing_time: from.processing_time,
            model_versions,
            stages: from.stages,
            warnings: from.warnings,
            failures: from.failures,
            audit: from.audit,
            source: from.source,
        }
    }
}
