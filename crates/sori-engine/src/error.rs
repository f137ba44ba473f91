//! The error of a session.

use sori_infer::InferError;
use sori_speech::diarize::DiarizeError;
use sori_speech::transcribe::TranscribeError;
use sori_speech::vad::OptionError;

/// What stopped a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// An option of transcription cannot be followed.
    #[error(transparent)]
    Transcribe(#[from] TranscribeError),
    /// An option of voice activity detection is out of range.
    #[error("voice activity: {0}")]
    Vad(#[from] OptionError),
    /// The networks that tell voices apart do not fit.
    #[error(transparent)]
    Diarize(#[from] DiarizeError),
    /// Kept stage results could not be written or read.
    #[error("stage results: {0}")]
    Kept(String),
    /// A network could not be run.
    #[error(transparent)]
    Infer(#[from] InferError),
}
