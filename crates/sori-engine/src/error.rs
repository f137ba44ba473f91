//! The error of a session.

use sori_infer::InferError;
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
    /// A network could not be run.
    #[error(transparent)]
    Infer(#[from] InferError),
}
