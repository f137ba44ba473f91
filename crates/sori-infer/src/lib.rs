//! Model packages on disk, checked and loaded; weights; linear algebra; tensors in, tensors out.
//!
//! What: everything a network needs that does not depend on what the network is for. Readers of weight files
//! ([`weights`]), the matrix products, convolutions, recurrences, attention and normalisation that our own networks are
//! written with ([`linear`], [`conv`], [`lstm`], [`attention`], [`ops`]), the one inference runtime for networks in ONNX
//! ([`runtime`]), and the models a machine has: what exists ([`catalogue`]), what is installed ([`library`]), how it gets
//! there ([`pull`]).
//!
//! What not: no audio, no text, no knowledge of Whisper or of any other network's layers.
//!
//! The int8 side of networks is `sori-kernels`, which [`kernels`] passes on; [`packed`] keeps its weights on disk.
//!
//! This is the only crate that names an inference runtime or a matrix library (rten, rten-gemm). Nothing is global: the
//! number of threads is the caller's rayon pool, in which every call here runs, or that of a `Team`.

pub mod attention;
pub mod catalogue;
pub mod conv;
pub mod error;
pub mod library;
pub mod linear;
pub mod lstm;
pub mod ops;
pub mod packed;
pub mod pull;
pub mod runtime;
pub mod weights;

mod winograd;

pub use error::{InferError, InferErrorKind};
pub use sori_kernels as kernels;
