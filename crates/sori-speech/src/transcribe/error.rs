//! The error of transcription.

use std::fmt;

use sori_infer::InferError;

/// What kept speech from becoming text.
#[derive(Debug)]
#[non_exhaustive]
pub enum TranscribeError {
    /// The model could not be loaded.
    Model(InferError),
    /// An option cannot be followed with this model.
    Option {
        /// The option's name, as on the command line.
        name: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
}

impl fmt::Display for TranscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(e) => e.fmt(f),
            Self::Option { name, message } => write!(f, "{name}: {message}"),
        }
    }
}

impl std::error::Error for TranscribeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Model(e) => e.source(),
            Self::Option { .. } => None,
        }
    }
}

impl From<InferError> for TranscribeError {
    fn from(e: InferError) -> Self {
        Self::Model(e)
    }
}
