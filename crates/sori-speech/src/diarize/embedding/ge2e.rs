//! Resemblyzer's encoder (Wan et al. 2018, arXiv 1710.10467; `resemblyzer/voice_encoder.py` 0.1.4): three LSTM layers over a
//! mel spectrogram, one linear layer, unit length, in parts of 1.6 s whose mean is taken.

use std::ops::Range;

use sori_dsp::{LogMel, LogMelOptions};
use sori_infer::linear::Linear;
use sori_infer::lstm::{Direction, Lstm};
use sori_infer::weights::Tensors;
use sori_infer::{InferError, InferErrorKind};

use super::Frames;

/// Samples from one frame to the next.
const HOP: usize = 160;
/// Frames of a part.
const PART: usize = 160;
/// Frames from one part to the next, for 1.3 parts per second.
const STEP: usize = 77;
/// Least share of the last part that is sound.
const COVERAGE: f64 = 0.75;
/// Loudness that quieter sound is raised to: -30 dB of full scale.
const LEAST_RMS: f64 = 0.031_622_776_601_683_79;
/// Frames after the last whole one that still see the end of the sound.
const TAIL: usize = 2;

pub(super) struct Ge2e {
    mel: LogMel,
    mels: usize,
    layers: Vec<Lstm>,
    linear: Linear,
}

impl Ge2e {
    pub(super) fn new(tensors: &Tensors) -> Result<Self, InferError> {
        let shape = |message: &str| InferError::new(InferErrorKind::Shape, tensors.path(), message);
        let mels = match tensors.shape("lstm.weight_ih_l0") {
            Some(&[_, mels]) => mels,
            _ => 0,
        };
        let mel = LogMel::new(&LogMelOptions {
            mels,
            ..Default::default()
        });
        let mel = mel.map_err(|error| shape(&error.to_string()))?;
        let (mut layers, mut width) = (Vec::new(), mels);
        while layers.is_empty() || tensors.contains(&format!("lstm.weight_ih_l{}", layers.len())) {
            let name = format!("l{}", layers.len());
            let layer = Lstm::load(tensors, &name, &[width], Direction::Forward)?;
            width = layer.hidden();
            layers.push(layer);
        }
        let outputs = tensors.tensor("linear.bias")?.data.len();
        let bias = tensors.get("linear.bias", &[outputs])?.to_vec();
        let weight = tensors.get("linear.weight", &[outputs, width])?;
        if weight.is_empty() {
            return Err(shape("linear.weight is empty: this is another network"));
        }
        Ok(Self {
            mel,
            mels,
            layers,
            linear: Linear::new(weight, width, Some(bias)),
        })
    }

    pub(super) fn dimensions(&self) -> usize {
        self.linear.outputs()
    }

    /// The mel frames of a stretch, raised to the least loudness; those of its tail come last.
    pub(super) fn frames(&self, pcm: &[f32]) -> Frames {
        let power = pcm.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        let rms = (power / pcm.len().max(1) as f64).sqrt();
        let gain = if rms > 0.0 && rms < LEAST_RMS {
            (LEAST_RMS / rms) as f32
        } else {
            1.0
        };
        // Zeros around the sound, in whole hops, so that nothing is mirrored.
        let count = whole_frames(pcm.len()) + TAIL;
        let mut padded = vec![0.0; (count + 2 * TAIL) * HOP];
        for (to, from) in padded[TAIL * HOP..].iter_mut().zip(pcm) {
            *to = from * gain;
        }
        let values = self.mel.power(&padded, count + 2 * TAIL);
        Frames {
            samples: pcm.len(),
            width: self.mels,
            values: values[TAIL * self.mels..][..count * self.mels].to_vec(),
        }
    }

    /// The vector of the frames with more weight than one half; `None` when there are none.
    pub(super) fn pool(&self, frames: &Frames, weights: &[f32]) -> Option<Vec<f32>> {
        let rows = frames.values.chunks_exact(self.mels).zip(weights);
        let mut kept: Vec<f32> = rows
            .filter(|(_, weight)| **weight > 0.5)
            .flat_map(|(row, _)| row)
            .copied()
            .collect();
        let count = kept.len() / self.mels;
        if count == 0 {
            return None;
        }
        let samples = match count == weights.len() {
            true => frames.samples,
            false => count * HOP,
        };
        let parts = part_starts(samples);
        let last = parts.last().expect("there is always a part") + PART;
        kept.resize((last * self.mels).max(kept.len()), 0.0);
        let batch = parts.len();
        let mut input = Vec::with_capacity(PART * batch * self.mels);
        for step in 0..PART {
            for part in &parts {
                input.extend_from_slice(&kept[(part + step) * self.mels..][..self.mels]);
            }
        }
        let mut mean = vec![0.0; self.dimensions()];
        for vector in self.run(input, batch) {
            for (mean, value) in mean.iter_mut().zip(vector) {
                *mean += value;
            }
        }
        to_unit(&mut mean);
        Some(mean)
    }

    /// The vectors of parts of [`PART`] frames that begin where ranges of samples do.
    pub(super) fn slices(&self, frames: &Frames, spans: &[Range<usize>]) -> Vec<Vec<f32>> {
        let batch = spans.len();
        let mut input = Vec::with_capacity(PART * batch * self.mels);
        for step in 0..PART {
            for span in spans {
                let at = (span.start / HOP + step) * self.mels;
                match frames.values.get(at..at + self.mels) {
                    Some(row) => input.extend_from_slice(row),
                    None => input.resize(input.len() + self.mels, 0.0),
                }
            }
        }
        self.run(input, batch)
    }

    /// The unit vectors of parts, step by step: `input` has the first frame of each, the second of each, ….
    fn run(&self, mut input: Vec<f32>, batch: usize) -> Vec<Vec<f32>> {
        if batch == 0 {
            return Vec::new();
        }
        for layer in &self.layers {
            input = layer.run(&[&input], batch);
        }
        let width = input.len() / (PART * batch);
        let last = &input[(PART - 1) * batch * width..];
        let mut vectors = self.linear.forward(last);
        let vectors = vectors.chunks_exact_mut(self.dimensions());
        vectors
            .map(|vector| {
                vector.iter_mut().for_each(|v| *v = v.max(0.0));
                to_unit(vector);
                vector.to_vec()
            })
            .collect()
    }
}

/// Frames of `samples` samples.
fn whole_frames(samples: usize) -> usize {
    (samples + 1).div_ceil(HOP)
}

/// First frames of the parts of a sound (`compute_partial_slices`).
fn part_starts(samples: usize) -> Vec<usize> {
    let steps = (whole_frames(samples) + STEP + 1)
        .saturating_sub(PART)
        .max(1);
    let mut starts: Vec<usize> = (0..steps).step_by(STEP).collect();
    let last = starts.last().expect("0 is always among them") * HOP;
    let covered = (samples as f64 - last as f64) / (PART * HOP) as f64;
    if covered < COVERAGE && starts.len() > 1 {
        starts.pop();
    }
    starts
}

fn to_unit(vector: &mut [f32]) {
    let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|v| *v /= norm);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_the_reference() {
        // `VoiceEncoder.compute_partial_slices(n, 1.3, 0.75)` of Resemblyzer 0.1.4.
        for (samples, want) in [
            (0, &[0][..]),
            (1600, &[0]),
            (25_600, &[0]),
            (31_519, &[0]),
            (31_520, &[0, 77]),
            (80_000, &[0, 77, 154, 231, 308]),
        ] {
            assert_eq!(part_starts(samples), want, "{samples}");
        }
    }
}
