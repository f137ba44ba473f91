//! What comes out of a reader.

/// Sample rate of every block, in Hz: what speech models listen at.
pub const OUTPUT_RATE_HZ: u32 = 16_000;
/// What a recording says about itself. Headers may lie: only the blocks are the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioInfo {
    /// Short name of the container, such as `ogg`; `ffmpeg` when that reads it.
    pub container: String,
    /// Short name of the codec, such as `opus`; `unknown` when ffmpeg reads it.
    pub codec: String,
    /// Sample rate of the recording in Hz.
    pub source_rate: u32,
    /// Number of channels of the recording.
    pub channels: usize,
    /// Length in seconds by the header, if it tells.
    pub duration: Option<f64>,
}

/// Up to one second of sound.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioBlock {
    /// Index of the first sample, at [`OUTPUT_RATE_HZ`]; blocks follow each other without a gap.
    pub start: u64,
    /// PCM per channel, all of one length: one entry, or with [`Channels::Each`](crate::Channels::Each) one per channel of the recording.
    pub channels: Vec<Vec<f32>>,
}
