//! ResNet of WeSpeaker (Wang et al. 2023, arXiv 2210.17016; `wespeaker/models/resnet.py`) in f32, as pyannote.audio uses it:
//! filter banks, convolutions, weighted statistics, one linear layer.

use sori_dsp::{Fbank, FbankOptions};
use sori_infer::InferError;
use sori_infer::conv::{Conv2d, Picture, Then};
use sori_infer::linear::Linear;

use super::reader::Reader;
use super::{Frames, pooling};

/// A tensor that every such network has.
pub(super) const MARK: &str = "layer1.0.conv1.weight";

/// The network. Pictures have time down and mel bands right.
pub(super) struct ResNet {
    fbank: Fbank,
    stem: Conv2d,
    blocks: Vec<Block>,
    head: Linear,
    is_34: bool,
}

/// Two convolutions and a way around them.
pub(super) struct Block {
    first: Conv2d,
    second: Conv2d,
    shortcut: Option<Conv2d>,
}

impl Block {
    /// The block of this name, for the strides over mel bands and time, and the channels that come out of it.
    pub(super) fn new(
        reader: &Reader,
        block: &str,
        inputs: usize,
        strides: [usize; 2],
    ) -> Result<(Self, usize), InferError> {
        let name = |part: &str| format!("{block}.{part}");
        let (conv1, bn1) = (name("conv1"), name("bn1"));
        let (first, middle) = reader.picture((&conv1, &bn1), inputs, strides)?;
        let (conv2, bn2) = (name("conv2"), name("bn2"));
        let (second, outputs) = reader.picture((&conv2, &bn2), middle, [1, 1])?;
        let shortcut = if reader.has(&name("shortcut.0.weight")) {
            let (conv, norm) = (name("shortcut.0"), name("shortcut.1"));
            let (shortcut, around) = reader.picture((&conv, &norm), inputs, strides)?;
            reader.same(around, outputs, &conv)?;
            Some(shortcut)
        } else {
            reader.same(inputs, outputs, &conv2)?;
            reader.same(strides[0].max(strides[1]), 1, &name("shortcut.0"))?;
            None
        };
        let block = Self {
            first,
            second,
            shortcut,
        };
        Ok((block, outputs))
    }

    pub(super) fn forward(&self, picture: &Picture) -> Picture {
        let middle = self.first.forward(picture, Then::Relu);
        let around = match &self.shortcut {
            Some(shortcut) => &shortcut.forward(picture, Then::Keep),
            None => picture,
        };
        self.second.forward(&middle, Then::AddRelu(around))
    }
}

impl ResNet {
    pub(super) fn new(reader: &Reader) -> Result<Self, InferError> {
        let (stem, mut width) = reader.picture(("conv1", "bn1"), 1, [1, 1])?;
        let mut blocks = Vec::new();
        let mut depths = Vec::new();
        for stage in 1..=4 {
            let mut depth = 0;
            while depth == 0 || reader.has(&format!("layer{stage}.{depth}.conv1.weight")) {
                let stride = if stage > 1 && depth == 0 { 2 } else { 1 };
                let name = format!("layer{stage}.{depth}");
                let (block, outputs) = Block::new(reader, &name, width, [stride; 2])?;
                blocks.push(block);
                width = outputs;
                depth += 1;
            }
            depths.push(depth);
        }
        let (head, bins) = head(reader, width)?;
        let fbank = Fbank::new(&FbankOptions {
            bins,
            ..Default::default()
        });
        Ok(Self {
            fbank: fbank.map_err(|error| reader.foreign(&error.to_string()))?,
            stem,
            blocks,
            head,
            is_34: depths == [3, 4, 6, 3],
        })
    }

    pub(super) fn name(&self) -> &'static str {
        if self.is_34 { "resnet34" } else { "resnet" }
    }

    pub(super) fn dimensions(&self) -> usize {
        self.head.outputs()
    }

    pub(super) fn frames(&self, pcm: &[f32]) -> Frames {
        let input = spectrum(&self.fbank, pcm);
        let mut picture = self.stem.forward(&input, Then::Relu);
        for block in &self.blocks {
            picture = block.forward(&picture);
        }
        Frames {
            samples: pcm.len(),
            width: picture.width * picture.channels,
            values: picture.data,
        }
    }

    pub(super) fn pool(&self, frames: &Frames, weights: &[f32]) -> Vec<f32> {
        let statistics = pooling::statistics(&frames.values, frames.width, weights, 0.0);
        self.head.forward(&statistics)
    }
}

/// The last layer, for frames of `channels` per point, and the mel bands that the network looks at.
fn head(reader: &Reader, channels: usize) -> Result<(Linear, usize), InferError> {
    if reader.has("seg_2.weight") {
        return Err(reader.unsupported("a network with two embedding layers is not supported"));
    }
    let [outputs, inputs] = reader.sizes("seg_1.weight")?;
    // Means and deviations of each channel at each of the rows that are left of the mel bands.
    let rows = inputs / (2 * channels);
    reader.same(inputs, 2 * channels * rows, "seg_1.weight")?;
    let weight = reader.get("seg_1.weight", &[outputs, inputs])?;
    let bias = reader.get("seg_1.bias", &[outputs])?.to_vec();
    // Published layers have the channel before the row; frames here have it after.
    let turned: Vec<f32> = weight
        .chunks_exact(channels * rows)
        .flat_map(|half| (0..half.len()).map(move |at| half[at % channels * rows + at / channels]))
        .collect();
    // Three of the four stages halve the bands.
    Ok((Linear::new(&turned, inputs, Some(bias)), rows * 8))
}

/// The filter banks of a stretch, each band without its mean over time.
pub(super) fn spectrum(fbank: &Fbank, pcm: &[f32]) -> Picture {
    let width = fbank.options().bins;
    let mut data = fbank.compute(pcm);
    let height = data.len() / width;
    let mut means = vec![0.0f64; width];
    for row in data.chunks_exact(width) {
        for (mean, &value) in means.iter_mut().zip(row) {
            *mean += f64::from(value);
        }
    }
    for row in data.chunks_exact_mut(width) {
        for (value, mean) in row.iter_mut().zip(&means) {
            *value -= (mean / height as f64) as f32;
        }
    }
    Picture {
        height,
        width,
        channels: 1,
        data,
    }
}
