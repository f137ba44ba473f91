//! What a caller may choose and what an input may cost.

use std::path::PathBuf;
use std::time::Duration;

/// How a recording is read. The default mixes all channels, uses ffmpeg from the `PATH` where needed, and has generous limits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AudioOptions {
    /// Which channels come out.
    pub channels: Channels,
    /// Whether and which ffmpeg reads what the built-in decoders cannot.
    pub ffmpeg: Ffmpeg,
    /// What an input may cost.
    pub limits: Limits,
}

/// Which channels of a recording come out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Channels {
    /// One channel: the mean of all.
    #[default]
    Mix,
    /// One channel: the first.
    Left,
    /// One channel: the second, or the only one of a mono recording.
    Right,
    /// Every channel by itself.
    Each,
}

/// Whether and which ffmpeg may be started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Ffmpeg {
    /// The `ffmpeg` on the `PATH`, if there is one.
    #[default]
    Auto,
    /// None: only the built-in decoders.
    Off,
    /// This program.
    Path(PathBuf),
}

/// What an input may cost in time, memory and disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Longest sound in seconds that is read; more is an error. `None`: no limit but that of the file's size (see
    /// [`MediaErrorKind::TooLarge`](crate::MediaErrorKind::TooLarge)).
    pub max_seconds: Option<f64>,
    /// Most channels that a recording may have; 32 unless told.
    pub max_channels: usize,
    /// Highest sample rate in Hz; 768,000 unless told, which is also the highest that the resampler takes.
    pub max_rate_hz: u32,
    /// Most bytes of a stream that are put into a temporary file when its format needs seeking; 8 GiB unless told.
    pub max_spool_bytes: u64,
    /// How long ffmpeg may give no sound before it is stopped; 60 s unless told.
    pub ffmpeg_silence: Duration,
    /// How long ffmpeg may compute, on all cores together, in whole seconds; 1 h unless told, which decodes days of sound.
    pub ffmpeg_cpu: Duration,
    /// Most pixels of a picture that ffmpeg decodes while it looks for the sound of a video; larger pictures are passed over.
    /// 2^26 unless told: twice those of 8K.
    pub max_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_seconds: None,
            max_channels: 32,
            max_rate_hz: 768_000,
            max_spool_bytes: 8 << 30,
            ffmpeg_silence: Duration::from_secs(60),
            ffmpeg_cpu: Duration::from_secs(3600),
            max_pixels: 1 << 26,
        }
    }
}
