//! The one error type of this crate.

/// What went wrong, for code that has to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DspErrorKind {
    /// A value of [`LogMelOptions`](crate::LogMelOptions) is outside its range.
    MelOptions,
    /// A value of [`FbankOptions`](crate::FbankOptions) is outside its range.
    FbankOptions,
    /// A sample rate is outside [`RATE_RANGE_HZ`](crate::RATE_RANGE_HZ).
    SampleRate,
    /// A length of [`Stft`](crate::Stft) is outside its range.
    StftOptions,
    /// A value of [`PitchOptions`](crate::PitchOptions) is outside its range.
    PitchOptions,
}

/// A refused option of this crate: its kind and a message that names the value and the allowed range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DspError {
    kind: DspErrorKind,
    message: String,
}

impl DspError {
    pub(crate) fn new(kind: DspErrorKind, message: String) -> Self {
        Self { kind, message }
    }

    /// What went wrong, for code that has to decide.
    pub fn kind(&self) -> DspErrorKind {
        self.kind
    }
}
