//! CAM++ (Wang et al. 2023, arXiv 2303.00332; `wespeaker/models/campplus.py`, after 3D-Speaker) in f32: a small picture
//! network, then densely connected time convolutions whose outputs a mask from the context scales.

use rayon::prelude::*;
use sori_dsp::{Fbank, FbankOptions};
use sori_infer::InferError;
use sori_infer::conv::{Conv1d, Conv1dShape, Conv2d, Picture, Then};
use sori_infer::linear::Linear;

use super::reader::{Reader, Scaling};
use super::resnet::{Block, spectrum};
use super::{Frames, pooling};

/// A tensor that every such network has.
pub(super) const MARK: &str = "xvector.tdnn.linear.weight";

/// Frames whose mean a mask looks at, besides that of all.
const SEGMENT: usize = 100;
/// Frames between those that a dense layer sees, block by block.
const DILATIONS: [usize; 3] = [1, 2, 2];
/// Added to the variances (`wespeaker/models/pooling_layers.py`, `TSTP`).
const LEAST_VARIANCE: f64 = 1e-7;
/// Rows that one thread works on at once.
const ROWS: usize = 64;

pub(super) struct CamPlus {
    fbank: Fbank,
    stem: Conv2d,
    blocks: Vec<Block>,
    end: Conv2d,
    tdnn: Conv1d,
    dense: Vec<Dense>,
    last: Scaling,
    head: Linear,
}

/// A block of dense layers and the layer that halves what they have piled up.
struct Dense {
    layers: Vec<Layer>,
    before: Scaling,
    transit: Linear,
}

struct Layer {
    before: Scaling,
    narrow: Linear,
    local: Conv1d,
    context: [Linear; 2],
}

impl CamPlus {
    pub(super) fn new(reader: &Reader) -> Result<Self, InferError> {
        let (stem, mut channels) = reader.picture(("head.conv1", "head.bn1"), 1, [1, 1])?;
        let mut blocks = Vec::new();
        for stage in 1..=2 {
            let mut depth = 0;
            while depth == 0 || reader.has(&format!("head.layer{stage}.{depth}.conv1.weight")) {
                let strides = if depth == 0 { [2, 1] } else { [1, 1] };
                let name = format!("head.layer{stage}.{depth}");
                let (block, outputs) = Block::new(reader, &name, channels, strides)?;
                blocks.push(block);
                channels = outputs;
                depth += 1;
            }
        }
        let (end, channels) = reader.picture(("head.conv2", "head.bn2"), channels, [2, 1])?;
        let (tdnn, rows) = tdnn(reader, channels)?;
        let mut width = tdnn.outputs();
        let mut dense = Vec::new();
        for (index, dilation) in DILATIONS.into_iter().enumerate() {
            let block = Dense::new(reader, index + 1, width, dilation)?;
            width = block.transit.outputs();
            dense.push(block);
        }
        let names = ("xvector.dense.linear", "xvector.dense.nonlinear.batchnorm");
        let fbank = Fbank::new(&FbankOptions {
            bins: rows * 8,
            ..Default::default()
        });
        // An export to ONNX has folded the last norm into the layer before it.
        let last = match reader.has("xvector.transit3.linear.bias") {
            true => "",
            false => "xvector.out_nonlinear.batchnorm",
        };
        Ok(Self {
            fbank: fbank.map_err(|error| reader.foreign(&error.to_string()))?,
            stem,
            blocks,
            end,
            tdnn,
            dense,
            last: reader.norm(last, width)?,
            head: reader.linear(names, 2 * width)?,
        })
    }

    pub(super) fn dimensions(&self) -> usize {
        self.head.outputs()
    }

    pub(super) fn frames(&self, pcm: &[f32]) -> Frames {
        let mut picture = self.stem.forward(&spectrum(&self.fbank, pcm), Then::Relu);
        for block in &self.blocks {
            picture = block.forward(&picture);
        }
        let Picture { data, .. } = self.end.forward(&picture, Then::Relu);
        let mut values = self.tdnn.forward(&data);
        values.iter_mut().for_each(|v| *v = v.max(0.0));
        let mut width = self.tdnn.outputs();
        for block in &self.dense {
            values = block.forward(&values, width);
            width = block.transit.outputs();
        }
        Frames {
            samples: pcm.len(),
            width,
            values: self.last.rectified(&values),
        }
    }

    pub(super) fn pool(&self, frames: &Frames, weights: &[f32]) -> Vec<f32> {
        let statistics = pooling::statistics(&frames.values, frames.width, weights, LEAST_VARIANCE);
        self.head.forward(&statistics)
    }
}

/// The first time convolution, on frames of `channels` at each of the rows left of the mel bands, and those rows.
fn tdnn(reader: &Reader, channels: usize) -> Result<(Conv1d, usize), InferError> {
    let [_, inputs, kernel] = reader.sizes(MARK)?;
    let rows = inputs / channels;
    reader.same(inputs, rows * channels, MARK)?;
    let shape = Conv1dShape {
        stride: 2,
        padding: kernel / 2,
        ..Conv1dShape::new(inputs, kernel)
    };
    let names = ("xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm");
    // Published inputs have the channel before the row; pictures here have it after.
    let order = |at: usize| at % channels * rows + at / channels;
    Ok((reader.over_time(names, shape, order)?, rows))
}

impl Dense {
    fn new(
        reader: &Reader,
        index: usize,
        inputs: usize,
        dilation: usize,
    ) -> Result<Self, InferError> {
        let mut width = inputs;
        let mut layers = Vec::new();
        let name = |layer: usize| format!("xvector.block{index}.tdnnd{layer}");
        while layers.is_empty() || reader.has(&format!("{}.linear1.weight", name(layers.len() + 1)))
        {
            let layer = Layer::new(reader, &name(layers.len() + 1), width, dilation)?;
            width += layer.local.outputs();
            layers.push(layer);
        }
        let transit = format!("xvector.transit{index}");
        Ok(Self {
            layers,
            before: reader.norm(&format!("{transit}.nonlinear.batchnorm"), width)?,
            transit: reader.linear((&format!("{transit}.linear"), ""), width)?,
        })
    }

    /// The halved pile `(frames, outputs)` for `input` `(frames, inputs)`.
    fn forward(&self, input: &[f32], inputs: usize) -> Vec<f32> {
        let full = self.before.scales.len();
        let mut pile = vec![0.0; input.len() / inputs * full];
        for (row, input) in pile.chunks_exact_mut(full).zip(input.chunks_exact(inputs)) {
            row[..inputs].copy_from_slice(input);
        }
        let mut width = inputs;
        for layer in &self.layers {
            let more = layer.forward(&pile, full);
            let outputs = layer.local.outputs();
            for (row, more) in pile.chunks_exact_mut(full).zip(more.chunks_exact(outputs)) {
                row[width..width + outputs].copy_from_slice(more);
            }
            width += outputs;
        }
        in_parts(&self.before.rectified(&pile), full, &self.transit)
    }
}

impl Layer {
    fn new(
        reader: &Reader,
        layer: &str,
        inputs: usize,
        dilation: usize,
    ) -> Result<Self, InferError> {
        let name = |part: &str| format!("{layer}.{part}");
        let norm = name("nonlinear2.batchnorm");
        let narrow = reader.linear((&name("linear1"), &norm), inputs)?;
        let middle = narrow.outputs();
        let local = name("cam_layer.linear_local");
        let [_, _, kernel] = reader.sizes(&format!("{local}.weight"))?;
        let shape = Conv1dShape {
            dilation,
            padding: kernel / 2 * dilation,
            ..Conv1dShape::new(middle, kernel)
        };
        let local = reader.over_time((&local, ""), shape, |at| at)?;
        let first = reader.linear((&name("cam_layer.linear1"), ""), middle)?;
        let second = reader.linear((&name("cam_layer.linear2"), ""), first.outputs())?;
        reader.same(second.outputs(), local.outputs(), layer)?;
        reader.same(kernel % 2, 1, layer)?;
        Ok(Self {
            before: reader.norm(&name("nonlinear1.batchnorm"), inputs)?,
            narrow,
            local,
            context: [first, second],
        })
    }

    /// What the layer adds to a pile whose rows are `full` long.
    fn forward(&self, pile: &[f32], full: usize) -> Vec<f32> {
        let inputs = self.before.scales.len();
        let seen: Vec<f32> = pile
            .par_chunks(ROWS * full)
            .flat_map_iter(|rows| {
                let rows: Vec<f32> = rows
                    .chunks_exact(full)
                    .flat_map(|row| &row[..inputs])
                    .copied()
                    .collect();
                let mut seen = self.narrow.forward(&self.before.rectified(&rows));
                seen.iter_mut().for_each(|v| *v = v.max(0.0));
                seen
            })
            .collect();
        let mut local = self.local.forward(&seen);
        let (masks, outputs) = (self.masks(&seen), self.local.outputs());
        for (segment, mask) in local
            .chunks_mut(SEGMENT * outputs)
            .zip(masks.chunks_exact(outputs))
        {
            for row in segment.chunks_exact_mut(outputs) {
                row.iter_mut().zip(mask).for_each(|(v, mask)| *v *= mask);
            }
        }
        local
    }

    /// The masks `(segments, outputs)`, from the mean of all frames and that of each segment.
    fn masks(&self, seen: &[f32]) -> Vec<f32> {
        let width = self.narrow.outputs();
        let mut total = vec![0.0f64; width];
        let mut context = Vec::new();
        for segment in seen.chunks(SEGMENT * width) {
            let mut sum = vec![0.0f64; width];
            for row in segment.chunks_exact(width) {
                sum.iter_mut()
                    .zip(row)
                    .for_each(|(s, v)| *s += f64::from(*v));
            }
            total.iter_mut().zip(&sum).for_each(|(t, s)| *t += s);
            let count = (segment.len() / width) as f64;
            context.extend(sum.into_iter().map(|sum| sum / count));
        }
        let frames = (seen.len() / width) as f64;
        let context: Vec<f32> = context
            .chunks_exact(width)
            .flat_map(|means| means.iter().zip(&total))
            .map(|(mean, total)| (mean + total / frames) as f32)
            .collect();
        let mut values = self.context[0].forward(&context);
        values.iter_mut().for_each(|v| *v = v.max(0.0));
        values = self.context[1].forward(&values);
        values
            .iter_mut()
            .for_each(|v| *v = 1.0 / (1.0 + (-*v).exp()));
        values
    }
}

impl Scaling {
    /// Rows scaled and offset, negative values made zero.
    fn rectified(&self, rows: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(rows.len());
        for row in rows.chunks_exact(self.scales.len()) {
            let columns = row.iter().zip(&self.scales).zip(&self.offsets);
            out.extend(columns.map(|((v, scale), offset)| (v * scale + offset).max(0.0)));
        }
        out
    }
}

/// A linear layer over many rows, shared between threads.
fn in_parts(rows: &[f32], width: usize, linear: &Linear) -> Vec<f32> {
    rows.par_chunks(ROWS * width)
        .flat_map_iter(|rows| linear.forward(rows))
        .collect()
}
