//! Weights read from their files: Hugging Face safetensors, whisper.cpp GGML, PyTorch checkpoints, ONNX, NumPy archives.
//!
//! The large networks are read tensor by tensor ([`SafetensorsSet`], [`GgmlFile`]); the small ones whole, whatever the
//! format ([`Tensors`]), with the order of the layers where names do not tell ([`OnnxGraph`]).
//!
//! A file is hostile until checked: every length is compared with the file's size before anything is allocated, so the
//! memory used is bounded by what the file really holds. No format runs code: a checkpoint's pickle is only looked at.

mod block;
pub mod ggml;
mod npz;
mod onnx;
mod pickle;
pub mod safetensors;
mod tensors;
mod torch;

pub use ggml::GgmlFile;
pub use onnx::{Node, OnnxGraph};
pub use safetensors::SafetensorsSet;
pub use tensors::Tensors;

/// The most values one tensor may have; large-v3's embedding has 66 million.
pub const MAX_TENSOR_VALUES: u64 = 1 << 30;

/// A dense tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T = f32> {
    /// Sizes, slowest dimension first.
    pub shape: Vec<usize>,
    /// The values, as many as the product of the shape.
    pub data: Vec<T>,
}
