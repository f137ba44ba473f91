//! Sound to scores of tokens: our own network, or one in ONNX.

pub(super) mod config;
mod encoder;
mod features;
mod weights;

use std::path::Path;

use sori_infer::runtime::{OnnxModel, Tensor};
use sori_infer::{InferError, InferErrorKind};

use config::{Config, Framing};
use encoder::Encoder;
use features::Features;
use weights::Weights;

/// A CTC network, wherever it came from.
pub(super) enum Network {
    Own(Box<Own>),
    Onnx(OnnxModel, Framing),
}

/// wav2vec 2.0 in f32.
pub(super) struct Own {
    features: Features,
    encoder: Encoder,
    framing: Framing,
}

impl Network {
    /// Loads a folder's weights, with an adapter's if there is one; or its `model.onnx` where it has no other weights.
    pub(super) fn load(
        folder: &Path,
        config: &Config,
        framing: Framing,
        adapter: Option<&Path>,
    ) -> Result<Self, InferError> {
        let onnx = folder.join("model.onnx");
        let weights = [
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
        ];
        if onnx.exists() && !weights.iter().any(|name| folder.join(name).exists()) {
            if adapter.is_some() {
                let message =
                    "an ONNX network takes no adapter for a language: give its safetensors";
                return Err(InferError::new(InferErrorKind::Unsupported, &onnx, message));
            }
            let model = OnnxModel::load(&onnx, rayon::current_num_threads())?;
            return Ok(Self::Onnx(model, framing));
        }
        let weights = Weights::open(folder, adapter)?;
        Ok(Self::Own(Box::new(Own {
            features: Features::load(&weights, config, framing)?,
            encoder: Encoder::load(&weights, config)?,
            framing,
        })))
    }

    /// Tokens that it gives scores for; `None` when it will tell only by running.
    pub(super) fn vocabulary(&self) -> Option<usize> {
        match self {
            Self::Own(own) => Some(own.encoder.vocabulary()),
            Self::Onnx(..) => None,
        }
    }

    /// Scores `(frames, vocabulary)` for each of some sounds, and the vocabulary.
    pub(super) fn logits(&self, sounds: &[&[f32]]) -> Result<(Vec<Vec<f32>>, usize), InferError> {
        match self {
            Self::Own(own) => Ok((own.logits(sounds), own.encoder.vocabulary())),
            Self::Onnx(model, framing) => {
                let mut width = 0;
                let each = sounds.iter().map(|sound| {
                    let (logits, tokens) = onnx_logits(model, *framing, sound)?;
                    width = tokens;
                    Ok(logits)
                });
                let each = each.collect::<Result<_, InferError>>()?;
                Ok((each, width))
            }
        }
    }
}

impl Own {
    fn logits(&self, sounds: &[&[f32]]) -> Vec<Vec<f32>> {
        let frames: Vec<_> = sounds
            .iter()
            .map(|pcm| self.framing.frames(pcm.len()))
            .collect();
        let features: Vec<_> = sounds
            .iter()
            .map(|pcm| self.features.forward(pcm))
            .collect();
        let logits = self.encoder.forward(&features.concat(), &frames);
        let mut rest = logits.as_slice();
        let mut take = |&count: &usize| {
            let (one, after) = rest.split_at(count * self.encoder.vocabulary());
            rest = after;
            one.to_vec()
        };
        frames.iter().map(&mut take).collect()
    }
}

/// The output `logits` `(1, frames, tokens)` for the input `input_values` `(1, samples)`, as optimum exports them.
fn onnx_logits(
    model: &OnnxModel,
    framing: Framing,
    sound: &[f32],
) -> Result<(Vec<f32>, usize), InferError> {
    let input = Tensor::f32(&[1, sound.len()], sound.to_vec());
    let outputs = model.run(&[("input_values", &input)], &["logits"])?;
    let frames = framing.frames(sound.len());
    let found = outputs
        .first()
        .and_then(|logits| match (&logits.shape[..], logits.as_f32()) {
            (&[1, rows, tokens], Some(values)) if rows == frames && tokens > 0 => {
                Some((values.to_vec(), tokens))
            }
            _ => None,
        });
    found.ok_or_else(|| {
        let message = format!(
            "the output logits is not f32 of (1, {frames}, tokens) as config.json has it: this is another network"
        );
        InferError::new(InferErrorKind::Shape, model.path(), message)
    })
}
