//! Who spoke when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::number;

/// A stretch in which one speaker talks; turns of different speakers may overlap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Turn {
    /// Start in seconds from the start of the recording.
    #[serde(serialize_with = "number::seconds")]
    pub start: f64,
    /// End in seconds, after `start`.
    #[serde(serialize_with = "number::seconds")]
    pub end: f64,
    /// Id such as `SPEAKER_00`, or an enrolled name.
    pub speaker: String,
}

/// The speaker of a segment; an object, for the first services of this family wrote one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentSpeaker {
    /// Id such as `SPEAKER_00`, or an enrolled name.
    pub speaker_id: String,
}
