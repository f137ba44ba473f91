//! Weights under one set of names (Hugging Face's), whichever file they come from.

use std::path::Path;

use sori_infer::weights::{GgmlFile, SafetensorsSet};
use sori_infer::{InferError, InferErrorKind};

/// A checkpoint's tensors.
pub(super) enum Checkpoint<'a> {
    Folder {
        tensors: SafetensorsSet,
        path: &'a Path,
        prefix: &'static str,
    },
    Ggml(&'a GgmlFile),
}

/// Hugging Face's names of parts, and openai/whisper's, which GGML files use.
const GGML_NAMES: [(&str, &str); 15] = [
    (".encoder_attn_layer_norm.", ".cross_attn_ln."),
    (".encoder_attn.", ".cross_attn."),
    (".self_attn_layer_norm.", ".attn_ln."),
    (".self_attn.", ".attn."),
    (".q_proj.", ".query."),
    (".k_proj.", ".key."),
    (".v_proj.", ".value."),
    (".out_proj.", ".out."),
    (".final_layer_norm.", ".mlp_ln."),
    (".fc1.", ".mlp.0."),
    (".fc2.", ".mlp.2."),
    ("encoder.layer_norm.", "encoder.ln_post."),
    ("decoder.layer_norm.", "decoder.ln."),
    (".embed_positions.weight", ".positional_embedding"),
    (".embed_tokens.", ".token_embedding."),
];

impl<'a> Checkpoint<'a> {
    pub(super) fn folder(path: &'a Path) -> Result<Self, InferError> {
        let tensors = SafetensorsSet::open(path)?;
        let prefix = if tensors.contains("model.encoder.conv1.weight") {
            "model."
        } else {
            ""
        };
        Ok(Self::Folder {
            tensors,
            path,
            prefix,
        })
    }

    /// Reads a tensor and checks that it has `shape`, but for dimensions of 1.
    pub(super) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, InferError> {
        let (tensor, path) = match self {
            Self::Folder {
                tensors,
                path,
                prefix,
            } => (tensors.tensor(&format!("{prefix}{name}"))?, *path),
            Self::Ggml(file) => {
                let mut other = name.replace(".layers.", ".blocks.");
                for (from, to) in GGML_NAMES {
                    other = other.replace(from, to);
                }
                (file.tensor(&other)?, file.path())
            }
        };
        let plain = |shape: &[usize]| {
            shape
                .iter()
                .copied()
                .filter(|&d| d != 1)
                .collect::<Vec<_>>()
        };
        if plain(&tensor.shape) != plain(shape) {
            let message = format!(
                "tensor {name} is {:?} and the configuration says {shape:?}: files of different models are mixed",
                tensor.shape
            );
            return Err(InferError::new(InferErrorKind::Shape, path, message));
        }
        Ok(tensor.data)
    }
}
