//! The forward pass of Whisper (openai/whisper model.py): an encoder over mel frames, a decoder over tokens.
//!
//! There are two: [`exact`] in f32, plain and checked number by number against the reference, and [`fast`] in
//! integers, checked against the exact one.

mod decode;
mod encode;
mod exact;
mod fast;
mod parts;

use std::path::Path;

use sori_infer::InferError;
use sori_infer::kernels::KvCache;
use sori_infer::linear::Compute;

use super::options::LoadOptions;
use super::spec::Sizes;
use super::weights::Checkpoint;
use exact::{Exact, ExactHeard, ExactMemory};
use fast::Fast;

/// Both halves, with packed weights.
pub(super) enum Network {
    Exact(Box<Exact>),
    Fast(Box<Fast>),
}

/// What the encoder heard in one window: the keys and values of each decoder layer's cross-attention.
pub(super) enum Heard {
    Exact(ExactHeard),
    Fast(KvCache),
}

/// The keys and values of the tokens that a sequence has so far.
#[derive(Clone, Default)]
pub(super) enum Memory {
    #[default]
    Empty,
    Exact(ExactMemory),
    Fast(KvCache),
}

/// One sequence in a step of the decoder: new tokens after those in memory.
pub(super) struct Row<'a> {
    pub tokens: &'a [u32],
    pub memory: &'a mut Memory,
    pub heard: &'a Heard,
}

impl Network {
    /// Reads and packs all weights, one tensor at a time, or maps what was packed before.
    pub(super) fn load(
        checkpoint: &Checkpoint,
        sizes: Sizes,
        options: &LoadOptions,
        path: &Path,
    ) -> Result<Self, InferError> {
        Ok(match options.compute {
            Compute::F32 => Self::Exact(Box::new(Exact::load(checkpoint, sizes)?)),
            Compute::Int8 | Compute::Int4 => {
                Self::Fast(Box::new(Fast::load(checkpoint, sizes, options, path)?))
            }
        })
    }

    /// Hears one window: log-mel `(mels, 2 · audio_context)`, row-major.
    pub(super) fn hear(&self, mel: &[f32]) -> Heard {
        match self {
            Self::Exact(network) => Heard::Exact(network.hear(mel)),
            Self::Fast(network) => Heard::Fast(network.hear(mel)),
        }
    }

    /// Extends each row by its tokens; puts the last hidden states `(all new tokens, width)` into `hidden`.
    ///
    /// With `watched` (layer, head) pairs, their cross-attention scores `(new tokens, audio_context)` of the first row are
    /// added to `scores` in the order of the pairs. What `hidden` holds is replaced.
    pub(super) fn read(
        &self,
        rows: &mut [Row],
        watched: &[(usize, usize)],
        scores: &mut Vec<Vec<f32>>,
        hidden: &mut Vec<f32>,
    ) {
        match self {
            Self::Exact(network) => *hidden = network.read(rows, watched, scores),
            Self::Fast(network) => network.read(rows, watched, scores, hidden),
        }
    }

    /// Puts the scores of all tokens `(rows, vocabulary)` after hidden states `(rows, width)` into `scores`, replacing what it
    /// holds.
    pub(super) fn logits(&self, hidden: &[f32], scores: &mut Vec<f32>) {
        match self {
            Self::Exact(network) => *scores = network.logits(hidden),
            Self::Fast(network) => network.logits(hidden, scores),
        }
    }
}
