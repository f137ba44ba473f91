//! All weights of a network in memory, by name, from whichever format they were published in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{MAX_TENSOR_VALUES, OnnxGraph, SafetensorsSet, Tensor, ggml, npz, torch};
use crate::error::{InferError, InferErrorKind};

/// Memory that any file may use for its tensors, in bytes, beside four times its own size: f16 and one-byte values are
/// widened, archives of NumPy are compressed.
const FREE_BYTES: u64 = 64 << 20;

/// The tensors of one file, by name, with the path they came from. `f32`, or `f64` where a model is published so.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensors<T = f32> {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor<T>>,
}

impl Tensors {
    /// Reads a file, which its content and not its name identifies: safetensors, a PyTorch checkpoint (the zip of
    /// `torch.save` and its predecessor), ONNX (initializers and constants), or a NumPy `.npz`; or a folder with
    /// `model.safetensors`, its shards, or `pytorch_model.bin`.
    ///
    /// Of a checkpoint the dictionary with the most tensors is taken, which is the state of the network; no code of it
    /// runs. Values are widened or rounded to `f32`; tensors of integers are left out, but for those of a `.npz`.
    /// Allocates at most four times the file's size and 64 MiB.
    ///
    /// # Errors
    /// `Io` when it cannot be read, `Foreign` when it is of no such format, `Damaged` when it breaks the rules of its
    /// format, `Unsupported` for variants of one (external data, compressed or big-endian checkpoints), `Missing` when no
    /// tensor is in it.
    pub fn open(path: &Path) -> Result<Self, InferError> {
        let tensors = if path.is_dir() {
            open_folder(path)?
        } else {
            match format_of(path)? {
                Format::Safetensors => whole_set(&SafetensorsSet::open_file(path)?)?,
                Format::Zip => match npz::open(path)? {
                    Some(arrays) => arrays.into_iter().map(|(n, t)| (n, t.narrow())).collect(),
                    None => torch::open_zip(path)?,
                },
                Format::LegacyTorch => torch::open_legacy(path)?,
                Format::Onnx => return Ok(OnnxGraph::open(path)?.initializers),
            }
        };
        Self::new(path, tensors).some()
    }

    /// Reads a NumPy `.npz` and keeps its numbers in `f64`, as probabilistic models need them.
    ///
    /// # Errors
    /// As [`Tensors::open`], and `Foreign` for any other format.
    pub fn open_f64(path: &Path) -> Result<Tensors<f64>, InferError> {
        let arrays = match format_of(path)? {
            Format::Zip => npz::open(path)?,
            _ => None,
        };
        let arrays = arrays.ok_or_else(|| {
            let message = "not a NumPy archive: give a .npz file";
            InferError::new(InferErrorKind::Foreign, path, message)
        })?;
        Tensors::new(path, arrays).some()
    }
}

impl<T> Tensors<T> {
    /// Tensors that were made or read elsewhere; `path` names them in errors.
    pub fn new(path: &Path, tensors: BTreeMap<String, Tensor<T>>) -> Self {
        Self {
            path: path.to_owned(),
            tensors,
        }
    }

    /// The values of a tensor, row-major.
    ///
    /// # Errors
    /// `Missing` when there is no tensor of this name, `Shape` when it has another shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&[T], InferError> {
        let tensor = self.tensor(name)?;
        if tensor.shape == shape {
            return Ok(&tensor.data);
        }
        let message = format!(
            "the tensor {name} has the shape {:?} instead of {shape:?}: this is another network",
            tensor.shape
        );
        Err(InferError::new(InferErrorKind::Shape, &self.path, message))
    }

    /// The tensor of this name, of any shape.
    ///
    /// # Errors
    /// `Missing` when there is none.
    pub fn tensor(&self, name: &str) -> Result<&Tensor<T>, InferError> {
        self.tensors.get(name).ok_or_else(|| {
            let message = format!("no tensor named {name}: this is another network");
            InferError::new(InferErrorKind::Missing, &self.path, message)
        })
    }

    /// Whether a tensor of this name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor; `None` when it is not there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| &tensor.shape[..])
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The path they were read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn some(self) -> Result<Self, InferError> {
        if self.tensors.is_empty() {
            let message = "there are no weights in it";
            return Err(InferError::new(
                InferErrorKind::Missing,
                &self.path,
                message,
            ));
        }
        Ok(self)
    }
}

impl Tensor<f64> {
    fn narrow(self) -> Tensor {
        Tensor {
            shape: self.shape,
            data: self.data.into_iter().map(|value| value as f32).collect(),
        }
    }
}

fn open_folder(folder: &Path) -> Result<BTreeMap<String, Tensor>, InferError> {
    let checkpoint = folder.join("pytorch_model.bin");
    let safetensors = ["model.safetensors", "model.safetensors.index.json"];
    if checkpoint.is_file() && !safetensors.iter().any(|name| folder.join(name).exists()) {
        return Tensors::open(&checkpoint).map(|found| found.tensors);
    }
    whole_set(&SafetensorsSet::open(folder)?)
}

fn whole_set(set: &SafetensorsSet) -> Result<BTreeMap<String, Tensor>, InferError> {
    let names = set.float_names();
    names
        .map(|name| Ok((name.to_owned(), set.tensor(name)?)))
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Safetensors,
    Zip,
    LegacyTorch,
    Onnx,
}

fn format_of(path: &Path) -> Result<Format, InferError> {
    let io = |error| InferError::io(path, error);
    let mut start = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(16).read_to_end(&mut start).map_err(io)?;
    Ok(match start.as_slice() {
        [b'P', b'K', 3, 4, ..] => Format::Zip,
        start if start.starts_with(&torch::LEGACY_MAGIC) => Format::LegacyTorch,
        // After the length of the header, a JSON object.
        [_, _, _, _, _, _, _, 0, b'{', ..] => Format::Safetensors,
        // Field 1 of an ONNX model, its version; writers put it first.
        [8, ..] => Format::Onnx,
        start => {
            let message = if start.starts_with(&ggml::MAGIC) {
                "a GGML file of Whisper, where other weights are wanted"
            } else {
                "no weights that are known: give safetensors, a PyTorch checkpoint, ONNX or .npz"
            };
            return Err(InferError::new(InferErrorKind::Foreign, path, message));
        }
    })
}

/// What tensors may still use of memory.
pub(super) struct Budget<'a> {
    path: &'a Path,
    left: u64,
}

impl<'a> Budget<'a> {
    pub(super) fn new(path: &'a Path, file_size: u64) -> Self {
        let left = file_size.saturating_mul(4).saturating_add(FREE_BYTES);
        Self { path, left }
    }

    /// The number of values of a tensor of this shape, of which each takes `width` bytes; they are set aside.
    pub(super) fn take(
        &mut self,
        name: &str,
        shape: &[usize],
        width: u64,
    ) -> Result<usize, InferError> {
        let count = shape
            .iter()
            .try_fold(1u64, |n, &d| n.checked_mul(d as u64))
            .filter(|&n| n <= MAX_TENSOR_VALUES);
        let left = count.and_then(|n| self.left.checked_sub(n * width));
        match (count, left) {
            (Some(count), Some(left)) => {
                self.left = left;
                Ok(count as usize)
            }
            _ => {
                let message = format!(
                    "the tensor {name} of shape {shape:?} is larger than its file can hold: download it again"
                );
                Err(InferError::new(InferErrorKind::Damaged, self.path, message))
            }
        }
    }
}
