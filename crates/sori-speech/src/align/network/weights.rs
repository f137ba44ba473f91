//! A checkpoint's tensors under Hugging Face's names.

use std::path::{Path, PathBuf};

use sori_infer::linear::Linear;
use sori_infer::ops::LayerNorm;
use sori_infer::weights::{SafetensorsSet, Tensor, Tensors};
use sori_infer::{InferError, InferErrorKind};

/// The tensors of a network, with those of an adapter for a language before them.
pub(super) struct Weights {
    source: Source,
    adapter: Option<Tensors>,
    path: PathBuf,
}

enum Source {
    /// Read tensor by tensor.
    Set(SafetensorsSet),
    /// In memory.
    All(Tensors),
}

impl Weights {
    /// Opens a folder's `model.safetensors` or `pytorch_model.bin`, and the adapter's file.
    pub(super) fn open(folder: &Path, adapter: Option<&Path>) -> Result<Self, InferError> {
        let set = ["model.safetensors", "model.safetensors.index.json"];
        let source = if set.iter().any(|name| folder.join(name).exists()) {
            Source::Set(SafetensorsSet::open(folder)?)
        } else {
            Source::All(Tensors::open(folder)?)
        };
        Ok(Self {
            source,
            adapter: adapter.map(Tensors::open).transpose()?,
            path: folder.to_owned(),
        })
    }

    fn contains(&self, name: &str) -> bool {
        match &self.source {
            Source::Set(set) => set.contains(name),
            Source::All(tensors) => tensors.contains(name),
        }
    }

    /// A tensor of any shape, by its name within or without the part `wav2vec2`.
    fn tensor(&self, name: &str) -> Result<Tensor, InferError> {
        let whole = format!("wav2vec2.{name}");
        for name in [&whole, name] {
            if let Some(adapter) = self.adapter.as_ref().filter(|all| all.contains(name)) {
                return adapter.tensor(name).cloned();
            }
        }
        let name = if self.contains(&whole) { &whole } else { name };
        match &self.source {
            Source::Set(set) => set.tensor(name),
            Source::All(tensors) => tensors.tensor(name).cloned(),
        }
    }

    /// Rows of a matrix.
    pub(super) fn rows(&self, name: &str) -> Result<usize, InferError> {
        Ok(self.tensor(name)?.shape.first().copied().unwrap_or(0))
    }

    /// A tensor's values, if it has this shape.
    pub(super) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, InferError> {
        let tensor = self.tensor(name)?;
        if tensor.shape == shape {
            return Ok(tensor.data);
        }
        let message = format!(
            "tensor {name} is {:?} and the configuration says {shape:?}: files of different models are mixed",
            tensor.shape
        );
        Err(InferError::new(InferErrorKind::Shape, &self.path, message))
    }

    pub(super) fn linear(
        &self,
        name: &str,
        [outputs, inputs]: [usize; 2],
    ) -> Result<Linear, InferError> {
        let weight = self.get(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.get(&format!("{name}.bias"), &[outputs])?;
        Ok(Linear::new(&weight, inputs, Some(bias)))
    }

    pub(super) fn norm(&self, name: &str, width: usize) -> Result<LayerNorm, InferError> {
        Ok(LayerNorm {
            weight: self.get(&format!("{name}.weight"), &[width])?,
            bias: self.get(&format!("{name}.bias"), &[width])?,
        })
    }

    /// A convolution's weight `(outputs, inputs, kernel)` whose norm is kept apart, per tap (torch's `weight_norm` with
    /// dim 2), under its old or its new names; or as one.
    pub(super) fn normed(&self, name: &str, shape: [usize; 3]) -> Result<Vec<f32>, InferError> {
        let kernel = shape[2];
        let pairs = [
            ["weight_g", "weight_v"],
            [
                "parametrizations.weight.original0",
                "parametrizations.weight.original1",
            ],
        ];
        for pair in pairs {
            let [scale, weight] = pair.map(|part| format!("{name}.{part}"));
            if !self.contains(&scale) && !self.contains(&format!("wav2vec2.{scale}")) {
                continue;
            }
            let scale = self.get(&scale, &[1, 1, kernel])?;
            let mut weight = self.get(&weight, &shape)?;
            let mut squares = vec![0.0f64; kernel];
            for taps in weight.chunks_exact(kernel) {
                for (sum, &x) in squares.iter_mut().zip(taps) {
                    *sum += f64::from(x) * f64::from(x);
                }
            }
            for taps in weight.chunks_exact_mut(kernel) {
                for ((x, scale), square) in taps.iter_mut().zip(&scale).zip(&squares) {
                    *x *= scale / square.sqrt() as f32;
                }
            }
            return Ok(weight);
        }
        self.get(&format!("{name}.weight"), &shape)
    }
}

/// A convolution's weight `(outputs, inputs, kernel)` with the frames of a window in order: `(outputs, kernel, inputs)`.
pub(super) fn frames_first(weight: &[f32], inputs: usize, kernel: usize) -> Vec<f32> {
    let one = |filter: &[f32]| {
        let taps = (0..kernel).flat_map(|tap| (0..inputs).map(move |input| input * kernel + tap));
        taps.map(|at| filter[at]).collect::<Vec<_>>()
    };
    weight.chunks_exact(inputs * kernel).flat_map(one).collect()
}
