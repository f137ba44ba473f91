//! The error of diarization.

use std::fmt;

use sori_infer::InferError;

/// What kept a recording from being told apart by speakers.
#[derive(Debug)]
#[non_exhaustive]
pub enum DiarizeError {
    /// A network or a PLDA could not be loaded or run.
    Model(InferError),
    /// The kept result of listening is not whole; what is wrong with it.
    Damaged(&'static str),
    /// The segmentation network has windows, frames or speakers beyond what is supported here; which.
    Segmentation(&'static str),
    /// The PLDA is made for another embedding network.
    Dimension {
        /// Numbers in an embedding that the PLDA takes.
        plda: usize,
        /// Numbers in an embedding of this recording.
        embedding: usize,
    },
}

impl fmt::Display for DiarizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Model(error) => error.fmt(f),
            Self::Damaged(what) => {
                write!(f, "kept speakers: {what}: listen to the recording again")
            }
            Self::Segmentation(what) => {
                write!(f, "segmentation network: {what}: choose another model")
            }
            Self::Dimension { plda, embedding } => write!(
                f,
                "the PLDA takes embeddings of {plda} numbers and these have {embedding}: use the embedding model it was made for"
            ),
        }
    }
}

impl std::error::Error for DiarizeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Model(error) => error.source(),
            Self::Damaged(_) | Self::Segmentation(_) | Self::Dimension { .. } => None,
        }
    }
}

impl From<InferError> for DiarizeError {
    fn from(error: InferError) -> Self {
        Self::Model(error)
    }
}
