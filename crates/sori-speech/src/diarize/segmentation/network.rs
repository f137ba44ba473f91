//! The layers of PyanNet and their order.

use rayon::prelude::*;
use sori_infer::InferError;
use sori_infer::linear::Linear;
use sori_infer::lstm::{Direction, Lstm};
use sori_infer::ops::log_softmax;
use sori_infer::weights::Tensors;

use super::sincnet::{Field, SincNet, leaky};
use super::weights::not_empty;
use super::{Heads, SegmentationSpec};

/// Most windows of a batch: more make the products no faster and need memory.
const BATCH: usize = 32;

/// SincNet, LSTMs in both directions, linear layers with leaky rectifiers, and the classifier.
pub(super) struct Network {
    sincnet: SincNet,
    layers: Vec<[Lstm; 2]>,
    linears: Vec<Linear>,
    classifier: Linear,
}

impl Network {
    pub(super) fn new(tensors: &Tensors) -> Result<Self, InferError> {
        let sincnet = SincNet::new(tensors)?;
        let mut widths = vec![sincnet.features()];
        let mut layers = Vec::new();
        while layers.is_empty() || tensors.contains(&format!("lstm.weight_ih_l{}", layers.len())) {
            let name = format!("l{}", layers.len());
            let forward = Lstm::load(tensors, &name, &widths, Direction::Forward)?;
            let backward = format!("{name}_reverse");
            let backward = Lstm::load(tensors, &backward, &widths, Direction::Backward)?;
            widths = vec![forward.hidden(), backward.hidden()];
            layers.push([forward, backward]);
        }
        let mut width = widths.iter().sum();
        let mut linears = Vec::new();
        while tensors.contains(&format!("linear.{}.weight", linears.len())) {
            let layer = linear(tensors, &format!("linear.{}", linears.len()), width)?;
            width = layer.outputs();
            linears.push(layer);
        }
        let classifier = linear(tensors, "classifier", width)?;
        Ok(Self {
            sincnet,
            layers,
            linears,
            classifier,
        })
    }

    pub(super) fn classes(&self) -> usize {
        self.classifier.outputs()
    }

    pub(super) fn field(&self) -> Field {
        self.sincnet.field()
    }

    pub(super) fn frames(&self, samples: usize) -> usize {
        self.sincnet.frames(samples)
    }

    /// The scores of each window; see [`super::Segmentation::scores`].
    pub(super) fn scores(&self, windows: &[&[f32]], spec: &SegmentationSpec) -> Vec<Vec<f32>> {
        // Two threads share a batch, one per direction.
        let batches = windows.len().div_ceil(BATCH);
        let batches = batches.max(rayon::current_num_threads().div_ceil(2));
        let each = windows.len().div_ceil(batches).max(1);
        windows
            .par_chunks(each)
            .flat_map_iter(|batch| self.batch(batch, spec))
            .collect()
    }

    fn batch(&self, windows: &[&[f32]], spec: &SegmentationSpec) -> Vec<Vec<f32>> {
        let (batch, features) = (windows.len(), self.sincnet.features());
        let heard: Vec<Vec<f32>> = windows
            .par_iter()
            .map(|window| match window.get(..spec.window_samples) {
                Some(whole) => self.sincnet.forward(whole),
                None => {
                    let mut padded = window.to_vec();
                    padded.resize(spec.window_samples, 0.0);
                    self.sincnet.forward(&padded)
                }
            })
            .collect();
        let mut input = vec![0.0; spec.frames * batch * features];
        for (at, row) in input.chunks_exact_mut(features).enumerate() {
            row.copy_from_slice(&heard[at % batch][at / batch * features..][..features]);
        }
        drop(heard);
        let mut states = [input, Vec::new()];
        for [forward, backward] in &self.layers {
            let parts: Vec<&[f32]> = states
                .iter()
                .map(Vec::as_slice)
                .filter(|part| !part.is_empty())
                .collect();
            let (forward, backward) = rayon::join(
                || forward.run(&parts, batch),
                || backward.run(&parts, batch),
            );
            states = [forward, backward];
        }
        (0..batch)
            .into_par_iter()
            .map(|window| self.classify(&states, (window, batch), spec))
            .collect()
    }

    /// The scores of one window of a batch from the states `(frames, batch, hidden)` of both directions.
    fn classify(
        &self,
        states: &[Vec<f32>; 2],
        (window, batch): (usize, usize),
        spec: &SegmentationSpec,
    ) -> Vec<f32> {
        let hidden = states
            .each_ref()
            .map(|part| part.len() / (spec.frames * batch));
        let mut values = Vec::with_capacity(spec.frames * (hidden[0] + hidden[1]));
        for frame in 0..spec.frames {
            for (part, hidden) in states.iter().zip(hidden) {
                let from = (frame * batch + window) * hidden;
                values.extend_from_slice(&part[from..from + hidden]);
            }
        }
        for linear in &self.linears {
            values = linear.forward(&values);
            values.iter_mut().for_each(|v| *v = leaky(*v));
        }
        values = self.classifier.forward(&values);
        match spec.heads {
            Heads::Powerset => values
                .chunks_exact_mut(self.classes())
                .for_each(log_softmax),
            Heads::Sigmoid => values
                .iter_mut()
                .for_each(|v| *v = 1.0 / (1.0 + (-*v).exp())),
        }
        values
    }
}

fn linear(tensors: &Tensors, name: &str, inputs: usize) -> Result<Linear, InferError> {
    let bias = format!("{name}.bias");
    let outputs = tensors.tensor(&bias)?.data.len();
    let bias = tensors.get(&bias, &[outputs])?.to_vec();
    let weight = tensors.get(&format!("{name}.weight"), &[outputs, inputs])?;
    not_empty(tensors, weight, name)?;
    Ok(Linear::new(weight, inputs, Some(bias)))
}
