//! Which of a few speakers talk in each instant of a short window: pyannote's PyanNet (Bredin & Laurent 2021; powerset heads
//! of Plaquet & Bredin 2023, arXiv 2310.13025), in f32.
//!
//! The sizes of every layer follow from the weights, so that the published networks (segmentation-3.0, community-1, the one
//! that WhisperX brings) and our own small one are the same code.

mod network;
mod sincnet;
mod weights;

use std::path::Path;

use sori_infer::weights::Tensors;
use sori_infer::{InferError, InferErrorKind};

use network::Network;

/// Samples per second of the sound that the networks hear.
const SAMPLE_RATE: f64 = 16_000.0;

/// Most speakers at once in the classes of a powerset, for every published network.
const TOGETHER: usize = 2;

/// What the classes of a frame mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// Each class is a set of speakers: none, each alone, then pairs (`pyannote.audio.utils.powerset`); scores are natural logarithms of probabilities that sum to 1.
    Powerset,
    /// Each class is one speaker; scores are independent probabilities.
    Sigmoid,
}

/// What a segmentation network takes and gives.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentationSpec {
    /// Samples of a window at 16 kHz: 10 s for powerset heads, 5 s for sigmoids.
    pub window_samples: usize,
    /// Frames that come of a window.
    pub frames: usize,
    /// Samples from one frame to the next: 270.
    pub frame_step: usize,
    /// Samples that a frame sees: 991. Frame 0 starts with the window.
    pub frame_size: usize,
    /// Speakers that one window tells apart.
    pub speakers: usize,
    /// The most of them that can be heard talking at once.
    pub max_together: usize,
    /// What the classes mean.
    pub heads: Heads,
}

impl SegmentationSpec {
    /// Seconds from one frame to the next: 0.016875.
    pub fn frame_seconds(&self) -> f64 {
        self.frame_step as f64 / SAMPLE_RATE
    }

    /// Classes of a frame: scores per frame.
    pub fn classes(&self) -> usize {
        match self.heads {
            Heads::Sigmoid => self.speakers,
            // Sets of none, of one and of two.
            Heads::Powerset => 1 + self.speakers + self.speakers * (self.speakers - 1) / 2,
        }
    }
}

/// A loaded segmentation network. Running needs no exclusive access; threads are those of the caller's rayon pool.
pub struct Segmentation {
    spec: SegmentationSpec,
    network: Network,
}

impl Segmentation {
    /// Reads the network at `path`: safetensors or a PyTorch checkpoint with pyannote's names, or the published ONNX export.
    ///
    /// # Errors
    /// As [`Tensors::open`]; `Missing` or `Shape` when it is another network.
    pub fn open(path: &Path) -> Result<Self, InferError> {
        Self::from_tensors(&weights::open(path)?)
    }

    /// The network of these tensors with pyannote's names.
    ///
    /// # Errors
    /// `Missing` or `Shape` when they are another network's.
    pub fn from_tensors(tensors: &Tensors) -> Result<Self, InferError> {
        let network = Network::new(tensors)?;
        let spec = spec_of(&network);
        if spec.frames == 0 {
            let message = "no frame comes of a window: this is another network";
            let path = tensors.path();
            return Err(InferError::new(InferErrorKind::Shape, path, message));
        }
        Ok(Self { spec, network })
    }

    /// What the network takes and gives.
    pub fn spec(&self) -> &SegmentationSpec {
        &self.spec
    }

    /// The scores of each window, `(frames, classes)` row-major, for 16 kHz mono PCM.
    ///
    /// A window that is shorter than [`SegmentationSpec::window_samples`] is filled up with zeros, a longer one cut. The
    /// windows are computed in batches, so give many at once; 32 windows of 10 s take about 60 MB while they are.
    pub fn scores(&self, windows: &[&[f32]]) -> Vec<Vec<f32>> {
        self.network.scores(windows, &self.spec)
    }
}

fn spec_of(network: &Network) -> SegmentationSpec {
    let classes = network.classes();
    let powerset = (2..=6).find(|n| 1 + n + n * (n - 1) / 2 == classes);
    let (heads, speakers, seconds) = match powerset {
        Some(speakers) => (Heads::Powerset, speakers, 10.0),
        None => (Heads::Sigmoid, classes, 5.0),
    };
    let window_samples = (seconds * SAMPLE_RATE) as usize;
    let field = network.field();
    SegmentationSpec {
        window_samples,
        frames: network.frames(window_samples),
        frame_step: field.hop,
        frame_size: field.samples,
        speakers,
        max_together: if powerset.is_some() {
            TOGETHER
        } else {
            speakers
        },
        heads,
    }
}
