//! SincNet (Ravanelli & Bengio 2018, arXiv 1808.00158), from samples to frames of features, as `pyannote.audio`'s
//! `models/blocks/sincnet.py`.

use sori_infer::InferError;
use sori_infer::conv::{Conv1d, Conv1dShape};
use sori_infer::weights::Tensors;

use super::weights::sinc_filters;

/// Samples from one output of the first convolution to the next.
const STRIDE: usize = 10;
/// Frames of which a pooling keeps the largest.
const POOL: usize = 3;
/// `torch.nn.InstanceNorm1d`'s and `torch.nn.functional.leaky_relu`'s defaults.
const EPSILON: f64 = 1e-5;
const LEAK: f32 = 0.01;

/// The part of the input that one output frame sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Samples that a frame sees.
    pub(super) samples: usize,
    /// Samples from one frame to the next.
    pub(super) hop: usize,
}

/// Three convolutions, each pooled and normalised.
pub(super) struct SincNet {
    /// Scale and offset of the normalised samples.
    sound: (f32, f32),
    stages: Vec<Stage>,
    field: Field,
}

struct Stage {
    conv: Conv1d,
    scale: Vec<f32>,
    offset: Vec<f32>,
}

impl SincNet {
    pub(super) fn new(tensors: &Tensors) -> Result<Self, InferError> {
        let sound = |part| {
            let name = format!("sincnet.wav_norm1d.{part}");
            tensors.get(&name, &[1]).map(|values| values[0])
        };
        let mut stages = Vec::new();
        let mut field = Field { samples: 1, hop: 1 };
        let mut inputs = 1;
        for stage in 0..3 {
            let stride = if stage == 0 { STRIDE } else { 1 };
            let (weight, bias, kernel) = if stage == 0 {
                let filters = sinc_filters(tensors)?;
                let kernel = filters.shape[2];
                (filters.data, None, kernel)
            } else {
                let name = format!("sincnet.conv1d.{stage}");
                let weight = tensors.tensor(&format!("{name}.weight"))?;
                let (outputs, kernel) = match weight.shape[..] {
                    [outputs, _, kernel] => (outputs, kernel),
                    _ => (0, 0),
                };
                tensors.get(&format!("{name}.weight"), &[outputs, inputs, kernel])?;
                let bias = tensors.get(&format!("{name}.bias"), &[outputs])?;
                (weight.data.clone(), Some(bias.to_vec()), kernel)
            };
            super::weights::not_empty(tensors, &weight, "the convolutions")?;
            let shape = Conv1dShape {
                stride,
                ..Conv1dShape::new(inputs, kernel)
            };
            let conv = Conv1d::new(&weight, shape, bias);
            let outputs = conv.outputs();
            let norm = |part| {
                let name = format!("sincnet.norm1d.{stage}.{part}");
                tensors.get(&name, &[outputs]).map(<[f32]>::to_vec)
            };
            let (scale, offset) = (norm("weight")?, norm("bias")?);
            field.samples += (kernel - 1) * field.hop;
            field.hop *= stride;
            field.samples += (POOL - 1) * field.hop;
            field.hop *= POOL;
            stages.push(Stage {
                conv,
                scale,
                offset,
            });
            inputs = outputs;
        }
        Ok(Self {
            sound: (sound("weight")?, sound("bias")?),
            stages,
            field,
        })
    }

    pub(super) fn field(&self) -> Field {
        self.field
    }

    /// Values per frame.
    pub(super) fn features(&self) -> usize {
        self.stages[2].conv.outputs()
    }

    /// Frames that come of `samples` samples.
    pub(super) fn frames(&self, samples: usize) -> usize {
        self.stages
            .iter()
            .fold(samples, |frames, stage| stage.conv.frames(frames) / POOL)
    }

    /// The features `(frames, features)` of a window.
    pub(super) fn forward(&self, pcm: &[f32]) -> Vec<f32> {
        let mut values = self.normalised(pcm);
        for (index, stage) in self.stages.iter().enumerate() {
            let mut sums = stage.conv.forward(&values);
            if index == 0 {
                sums.iter_mut().for_each(|v| *v = v.abs());
            }
            values = largest(&sums, stage.scale.len());
            stage.normalise(&mut values);
        }
        values
    }

    /// The samples with the mean and the deviation of the network's choice.
    fn normalised(&self, pcm: &[f32]) -> Vec<f32> {
        let count = pcm.len() as f64;
        let mean = pcm.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let square = |x: f32| (f64::from(x) - mean).powi(2);
        let variance = pcm.iter().map(|&x| square(x)).sum::<f64>() / count;
        let scale = f64::from(self.sound.0) / (variance + EPSILON).sqrt();
        let (scale, mean, offset) = (scale as f32, mean as f32, self.sound.1);
        pcm.iter().map(|x| (x - mean) * scale + offset).collect()
    }
}

impl Stage {
    /// Normalises each column over time, then lets a hundredth of the negative through.
    fn normalise(&self, values: &mut [f32]) {
        let width = self.scale.len();
        let count = (values.len() / width) as f64;
        let mut means = vec![0.0f64; width];
        for row in values.chunks_exact(width) {
            for (mean, &value) in means.iter_mut().zip(row) {
                *mean += f64::from(value);
            }
        }
        means.iter_mut().for_each(|mean| *mean /= count);
        let means: Vec<f32> = means.into_iter().map(|mean| mean as f32).collect();
        let mut squares = vec![0.0f64; width];
        for row in values.chunks_exact(width) {
            for ((square, &value), &mean) in squares.iter_mut().zip(row).zip(&means) {
                let off = f64::from(value - mean);
                *square += off * off;
            }
        }
        let scales: Vec<f32> = squares
            .iter()
            .zip(&self.scale)
            .map(|(square, &scale)| (f64::from(scale) / (square / count + EPSILON).sqrt()) as f32)
            .collect();
        for row in values.chunks_exact_mut(width) {
            let columns = means.iter().zip(&scales).zip(&self.offset);
            for (value, ((mean, scale), offset)) in row.iter_mut().zip(columns) {
                *value = leaky((*value - mean) * scale + offset);
            }
        }
    }
}

/// `torch.nn.functional.leaky_relu`.
pub(super) fn leaky(x: f32) -> f32 {
    if x < 0.0 { LEAK * x } else { x }
}

/// The largest of every three rows, column by column; a rest of fewer is left out.
fn largest(rows: &[f32], width: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() / POOL);
    for three in rows.chunks_exact(POOL * width) {
        let (first, rest) = three.split_at(width);
        let (second, third) = rest.split_at(width);
        let columns = first.iter().zip(second).zip(third);
        out.extend(columns.map(|((a, b), c)| a.max(*b).max(*c)));
    }
    out
}
