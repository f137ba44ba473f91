//! Sound to features: convolutions that shorten 320 samples to one frame (Schneider et al. 2019; Baevski et al. 2020).
//!
//! The first convolution's output alone would take 200 MB for half a minute, so the frames are made in blocks that each
//! thread carries through all layers; what blocks share at their edges is computed twice.

use rayon::prelude::*;
use sori_infer::InferError;
use sori_infer::linear::Linear;
use sori_infer::ops::{LayerNorm, gelu};

use super::config::{Config, Framing};
use super::weights::{Weights, frames_first};

/// Frames of a block: 4,100 frames of the first convolution, 8 MB.
const BLOCK: usize = 64;

pub(super) struct Features {
    layers: Vec<Convolution>,
    framing: Framing,
    width: usize,
}

struct Convolution {
    linear: Linear,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    norm: Norm,
}

enum Norm {
    None,
    /// Over the channels of each frame.
    Frame(LayerNorm),
    /// Over time, each channel by itself: PyTorch's `GroupNorm` with as many groups as channels.
    Channel(LayerNorm),
}

/// Scale and offset of each channel, from its mean and variance over time.
type Levels = Vec<(f32, f32)>;

impl Features {
    pub(super) fn load(
        weights: &Weights,
        config: &Config,
        framing: Framing,
    ) -> Result<Self, InferError> {
        let mut layers = Vec::new();
        let mut inputs = 1;
        let by_channel = config.feat_extract_norm == "group";
        for (index, &outputs) in config.conv_dim.iter().enumerate() {
            let (kernel, stride) = (config.conv_kernel[index], config.conv_stride[index]);
            let name = format!("feature_extractor.conv_layers.{index}");
            let weight = weights.get(&format!("{name}.conv.weight"), &[outputs, inputs, kernel])?;
            let bias = config
                .conv_bias
                .then(|| weights.get(&format!("{name}.conv.bias"), &[outputs]));
            let norm = || weights.norm(&format!("{name}.layer_norm"), outputs);
            let norm = match (by_channel, index) {
                (true, 0) => Norm::Channel(norm()?),
                (true, _) => Norm::None,
                (false, _) => Norm::Frame(norm()?),
            };
            let weight = frames_first(&weight, inputs, kernel);
            layers.push(Convolution {
                linear: Linear::new(&weight, inputs * kernel, bias.transpose()?),
                inputs,
                outputs,
                kernel,
                stride,
                norm,
            });
            inputs = outputs;
        }
        Ok(Self {
            layers,
            framing,
            width: inputs,
        })
    }

    /// The features `(frames, width)` of sound; none when it is shorter than one frame.
    pub(super) fn forward(&self, pcm: &[f32]) -> Vec<f32> {
        let frames = self.framing.frames(pcm.len());
        let mut features = vec![0.0; frames * self.width];
        let levels = self.levels(pcm);
        let blocks = features.par_chunks_mut(BLOCK * self.width).enumerate();
        blocks.for_each(|(index, out)| {
            let first = index * BLOCK;
            let last = first + out.len() / self.width - 1;
            let from = first * self.framing.stride;
            let to = last * self.framing.stride + self.framing.field;
            let mut x = pcm[from..to].to_vec();
            for layer in &self.layers {
                x = layer.forward(&x, &levels);
            }
            out.copy_from_slice(&x);
        });
        features
    }

    /// What the first layer's norm over time does to each channel.
    fn levels(&self, pcm: &[f32]) -> Levels {
        let first = &self.layers[0];
        let Norm::Channel(norm) = &first.norm else {
            return Vec::new();
        };
        let Some(room) = pcm.len().checked_sub(first.kernel) else {
            return vec![(0.0, 0.0); first.outputs];
        };
        let frames = room / first.stride + 1;
        let rows = BLOCK * self.framing.stride / first.stride;
        let starts: Vec<_> = (0..frames).step_by(rows).collect();
        let sums = |&start: &usize| {
            let last = (start + rows).min(frames) - 1;
            let sound = &pcm[start * first.stride..last * first.stride + first.kernel];
            let mut sums = vec![(0.0f64, 0.0f64); first.outputs];
            for row in first.convolve(sound).chunks_exact(first.outputs) {
                for (sum, &x) in sums.iter_mut().zip(row) {
                    let x = f64::from(x);
                    *sum = (sum.0 + x, sum.1 + x * x);
                }
            }
            sums
        };
        // In order, so that the sums do not depend on the threads.
        let parts: Vec<_> = starts.par_iter().map(sums).collect();
        let scale = norm.weight.iter().zip(&norm.bias).enumerate();
        let level = |(channel, (weight, bias)): (usize, (&f32, &f32))| {
            let total = parts.iter().fold((0.0, 0.0), |sum, part| {
                (sum.0 + part[channel].0, sum.1 + part[channel].1)
            });
            let mean = total.0 / frames as f64;
            let variance = (total.1 / frames as f64 - mean * mean).max(0.0);
            let scale = f64::from(*weight) / (variance + 1e-5).sqrt();
            (scale as f32, (f64::from(*bias) - mean * scale) as f32)
        };
        scale.map(level).collect()
    }
}

impl Convolution {
    fn convolve(&self, x: &[f32]) -> Vec<f32> {
        self.linear.forward_windows(x, self.stride * self.inputs)
    }

    fn forward(&self, x: &[f32], levels: &Levels) -> Vec<f32> {
        let mut x = self.convolve(x);
        match &self.norm {
            Norm::None => {}
            Norm::Frame(norm) => x = norm.forward(&x),
            Norm::Channel(_) => {
                for row in x.chunks_exact_mut(self.outputs) {
                    for (x, (scale, offset)) in row.iter_mut().zip(levels) {
                        *x = *x * scale + offset;
                    }
                }
            }
        }
        gelu(&mut x);
        x
    }
}
