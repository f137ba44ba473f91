//! A vector for a voice: networks that map speech to points, near each other for the same speaker.
//!
//! A network looks at a stretch of sound once ([`Embedding::frames`]); each speaker's vector is then pooled from the frames
//! where that speaker talks ([`Embedding::pool`]), so that several speakers of one stretch cost one pass.

mod campplus;
mod ge2e;
mod onnx;
mod pooling;
mod reader;
mod resnet;

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use sori_infer::weights::Tensors;
use sori_infer::{InferError, InferErrorKind};

use campplus::CamPlus;
use ge2e::Ge2e;
use reader::Reader;
use resnet::ResNet;

/// Samples per second of the sound that the networks hear.
const SAMPLE_RATE: f64 = 16_000.0;
/// Shortest sound of which a frame comes: one window of the filter bank.
const FBANK_SAMPLES: usize = 400;

/// What an embedding network is and needs.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingSpec {
    /// The architecture, such as `resnet34`; vectors of different networks are never comparable.
    pub name: &'static str,
    /// Values of a vector.
    pub dimensions: usize,
    /// Shortest sound, in seconds, of which a vector can be made; a good one takes some seconds of speech.
    pub min_seconds: f64,
}

/// What a network saw in a stretch of sound, to be pooled for any number of speakers.
#[derive(Clone, Debug)]
pub struct Frames {
    /// Samples of the stretch.
    samples: usize,
    /// Values per frame.
    width: usize,
    /// The frames `(count, width)`, evenly spread over the stretch.
    values: Vec<f32>,
}

/// Mean vector of Resemblyzer's encoder, 256 little-endian f32.
const GE2E_MEAN: &[u8] = include_bytes!("ge2e_mean.f32");
/// Samples for which a slice has one weight.
const SLICE_PART: usize = 160;

/// A loaded embedding network. Running needs no exclusive access; threads are those of the caller's rayon pool.
pub struct Embedding {
    spec: EmbeddingSpec,
    network: Network,
}

enum Network {
    ResNet(Box<ResNet>),
    CamPlus(Box<CamPlus>),
    Ge2e(Box<Ge2e>),
}

impl Embedding {
    /// Reads the network at `path`, which its tensors identify: WeSpeaker's ResNet or CAM++ (safetensors, PyTorch
    /// checkpoint, or WeSpeaker's export to ONNX), or the LSTM of Resemblyzer.
    ///
    /// # Errors
    /// As [`Tensors::open`]; `Unsupported` when it is no such network, `Missing` or `Shape` when it is not a whole one.
    pub fn open(path: &Path) -> Result<Self, InferError> {
        Self::from_tensors(&onnx::open(path)?)
    }

    /// The network of these tensors with the names of its training.
    ///
    /// # Errors
    /// As [`Embedding::open`].
    pub fn from_tensors(tensors: &Tensors) -> Result<Self, InferError> {
        let network = if tensors.contains("lstm.weight_ih_l0") {
            Network::Ge2e(Box::new(Ge2e::new(tensors)?))
        } else if let Some(reader) = Reader::find(tensors, campplus::MARK) {
            Network::CamPlus(Box::new(CamPlus::new(&reader)?))
        } else if let Some(reader) = Reader::find(tensors, resnet::MARK) {
            Network::ResNet(Box::new(ResNet::new(&reader)?))
        } else {
            let message = "no embedding network that is known: give WeSpeaker's ResNet or CAM++, or Resemblyzer's encoder";
            return Err(InferError::new(
                InferErrorKind::Unsupported,
                tensors.path(),
                message,
            ));
        };
        let (name, dimensions, samples) = match &network {
            Network::ResNet(net) => (net.name(), net.dimensions(), FBANK_SAMPLES),
            Network::CamPlus(net) => ("cam++", net.dimensions(), FBANK_SAMPLES),
            Network::Ge2e(net) => ("ge2e", net.dimensions(), 1),
        };
        let spec = EmbeddingSpec {
            name,
            dimensions,
            min_seconds: samples as f64 / SAMPLE_RATE,
        };
        Ok(Self { spec, network })
    }

    /// What the network is and needs.
    pub fn spec(&self) -> &EmbeddingSpec {
        &self.spec
    }

    /// What the network sees in a stretch of 16 kHz mono PCM: one pass, the costly part. Each stretch is normalised by
    /// itself, so its length matters; the published pipelines give 10 s.
    ///
    /// Blocks and computes on the caller's rayon pool. The memory needed is about 3 MB per second of sound.
    pub fn frames(&self, pcm: &[f32]) -> Frames {
        match &self.network {
            Network::ResNet(net) => net.frames(pcm),
            Network::CamPlus(net) => net.frames(pcm),
            Network::Ge2e(net) => net.frames(pcm),
        }
    }

    /// The vector of the speech that `weights` picks: any number of them (not negative, one for each part of the stretch), spread
    /// evenly over it, as the frames of a segmentation network are. `None` when nothing is left to pool. Vectors are not
    /// scaled to unit length.
    pub fn pool(&self, frames: &Frames, weights: &[f32]) -> Option<Vec<f32>> {
        let count = frames.values.len() / frames.width;
        let weights = pooling::nearest(weights, count);
        if !weights.iter().any(|&weight| weight > 0.0) {
            return None;
        }
        let vector = match &self.network {
            Network::ResNet(net) => net.pool(frames, &weights),
            Network::CamPlus(net) => net.pool(frames, &weights),
            Network::Ge2e(net) => centred(net.pool(frames, &weights)?),
        };
        finite(vector)
    }

    /// The vectors of parts of a stretch, given as ranges of its samples; `None` where nothing is left to pool. As
    /// [`Embedding::pool`] for each of them, but Resemblyzer's encoder hears all of them in one pass.
    pub fn slices(&self, frames: &Frames, spans: &[Range<usize>]) -> Vec<Option<Vec<f32>>> {
        if let Network::Ge2e(net) = &self.network {
            let vectors = net.slices(frames, spans).into_iter();
            return vectors.map(|v| finite(centred(v))).collect();
        }
        spans
            .par_iter()
            .map(|span| {
                let parts = frames.samples.div_ceil(SLICE_PART);
                let inside = |part: usize| span.contains(&(part * SLICE_PART + SLICE_PART / 2));
                let weights: Vec<f32> =
                    (0..parts).map(|p| f32::from(u8::from(inside(p)))).collect();
                self.pool(frames, &weights)
            })
            .collect()
    }
}

/// A vector of Resemblyzer's encoder without what all voices have in common: its values are never negative, so that without
/// this all voices sound alike. The mean is that of unit vectors of the 251 speakers of `reference/ge2e_mean.py`.
fn centred(mut vector: Vec<f32>) -> Vec<f32> {
    for (value, mean) in vector.iter_mut().zip(GE2E_MEAN.chunks_exact(4)) {
        *value -= f32::from_le_bytes([mean[0], mean[1], mean[2], mean[3]]);
    }
    vector
}

fn finite(vector: Vec<f32>) -> Option<Vec<f32>> {
    vector.iter().all(|v| v.is_finite()).then_some(vector)
}
