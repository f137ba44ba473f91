//! Weights read tensor by tensor from their files, as f32: Hugging Face safetensors and whisper.cpp GGML.
//!
//! A file is hostile until checked: every length is compared with the file's size before anything is allocated, so the
//! memory used is bounded by what the file really holds.

mod block;
pub mod ggml;
pub mod safetensors;

pub use ggml::GgmlFile;
pub use safetensors::SafetensorsSet;

/// The most values one tensor may have; large-v3's embedding has 66 million.
pub const MAX_TENSOR_VALUES: u64 = 1 << 30;

/// A dense tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Sizes, slowest dimension first.
    pub shape: Vec<usize>,
    /// The values, as many as the product of the shape.
    pub data: Vec<f32>,
}
