//! Safetensors, one file or several shards (format: huggingface/safetensors README, "Format").

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata};

use super::{MAX_TENSOR_VALUES, Tensor};
use crate::error::{InferError, InferErrorKind};

/// The longest JSON header that is read, in bytes; the format's own limit.
const MAX_HEADER: u64 = 100_000_000;

/// The tensors of one or several safetensors files, known by name and read on demand.
#[derive(Debug)]
pub struct SafetensorsSet {
    folder: PathBuf,
    tensors: HashMap<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    file: PathBuf,
    dtype: Dtype,
    shape: Vec<usize>,
    start: u64,
    bytes: u64,
}

impl SafetensorsSet {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` names, in a folder.
    ///
    /// # Errors
    /// When neither is there, or a header is not what its file holds.
    pub fn open(folder: &Path) -> Result<Self, InferError> {
        let single = folder.join("model.safetensors");
        let mut set = Self {
            folder: folder.to_owned(),
            tensors: HashMap::new(),
        };
        for file in if single.exists() {
            vec![single]
        } else {
            shards(folder)?
        } {
            set.add(&file)?;
        }
        Ok(set)
    }

    /// Opens one file of any name.
    ///
    /// # Errors
    /// When it cannot be read, or its header is not what it holds.
    pub fn open_file(path: &Path) -> Result<Self, InferError> {
        let mut set = Self {
            folder: path.to_owned(),
            tensors: HashMap::new(),
        };
        set.add(path)?;
        Ok(set)
    }

    fn add(&mut self, path: &Path) -> Result<(), InferError> {
        let damaged = |message: &str| InferError::new(InferErrorKind::Damaged, path, message);
        let io = |e| InferError::io(path, e);
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER || length > size.saturating_sub(8) {
            return Err(damaged(
                "not a safetensors file: the header at byte 0 is longer than the file; download it again",
            ));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| {
            damaged("the header at byte 8 is not a safetensors header: download the file again")
                .caused_by(e)
        })?;
        let body = size - 8 - length;
        for (name, info) in metadata.tensors() {
            let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            if from > to || to > body {
                return Err(damaged(&format!(
                    "tensor {name} lies outside the file (bytes {from} to {to} of {body}): the file is cut short, download it again"
                )));
            }
            let entry = Entry {
                file: path.to_owned(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: 8 + length + from,
                bytes: to - from,
            };
            self.tensors.insert(name, entry);
        }
        Ok(())
    }

    /// Whether a tensor of this name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The names of the tensors of a type that is read, in no order.
    pub(super) fn float_names(&self) -> impl Iterator<Item = &str> {
        let floats = [Dtype::F32, Dtype::F16, Dtype::BF16];
        let entries = self.tensors.iter();
        let entries = entries.filter(move |(_, entry)| floats.contains(&entry.dtype));
        entries.map(|(name, _)| name.as_str())
    }

    /// Reads a tensor and widens it to f32 (from f32, f16 or bf16).
    ///
    /// # Errors
    /// When it is absent, of another type, or cannot be read.
    pub fn tensor(&self, name: &str) -> Result<Tensor, InferError> {
        let entry = self.tensors.get(name).ok_or_else(|| {
            InferError::new(
                InferErrorKind::Missing,
                &self.folder,
                format!("no tensor named {name}: is this a Whisper model?"),
            )
        })?;
        let count = entry
            .shape
            .iter()
            .try_fold(1u64, |n, &d| n.checked_mul(d as u64))
            .filter(|&n| n <= MAX_TENSOR_VALUES);
        let width = match entry.dtype {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            other => {
                let message = format!(
                    "tensor {name} is {other:?}; only F32, F16 and BF16 are read: convert the model to one of them"
                );
                return Err(InferError::new(
                    InferErrorKind::Unsupported,
                    &entry.file,
                    message,
                ));
            }
        };
        if count.is_none_or(|n| n * width != entry.bytes) {
            let message = format!(
                "tensor {name} of shape {:?} cannot be {} bytes: download the file again",
                entry.shape, entry.bytes
            );
            return Err(InferError::new(
                InferErrorKind::Damaged,
                &entry.file,
                message,
            ));
        }
        let io = |e| InferError::io(&entry.file, e);
        let mut file = File::open(&entry.file).map_err(io)?;
        file.seek(SeekFrom::Start(entry.start)).map_err(io)?;
        let mut raw = vec![0; entry.bytes as usize];
        file.read_exact(&mut raw).map_err(io)?;
        Ok(Tensor {
            shape: entry.shape.clone(),
            data: widen(&raw, entry.dtype),
        })
    }
}

fn widen(raw: &[u8], dtype: Dtype) -> Vec<f32> {
    match dtype {
        Dtype::F16 => raw
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&b| half::f16::from_le_bytes(b).to_f32())
            .collect(),
        Dtype::BF16 => raw
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&b| half::bf16::from_le_bytes(b).to_f32())
            .collect(),
        _ => raw
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect(),
    }
}

/// The files named by a folder's shard index, each once.
fn shards(folder: &Path) -> Result<Vec<PathBuf>, InferError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let path = folder.join("model.safetensors.index.json");
    let text = std::fs::read(&path).map_err(|e| {
        InferError::new(
            InferErrorKind::Missing,
            folder,
            "neither model.safetensors nor model.safetensors.index.json is in this folder",
        )
        .caused_by(e)
    })?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| {
        InferError::new(
            InferErrorKind::Damaged,
            &path,
            "not a shard index: download it again",
        )
        .caused_by(e)
    })?;
    let mut files: Vec<_> = index.weight_map.into_values().collect();
    files.sort();
    files.dedup();
    // A plain name on every system: no folder, no drive, nothing hidden.
    if let Some(bad) = files
        .iter()
        .find(|f| f.is_empty() || f.starts_with('.') || f.contains(['/', '\\', ':']))
    {
        return Err(InferError::new(
            InferErrorKind::Damaged,
            &path,
            format!("the shard name {bad:?} leads out of the folder"),
        ));
    }
    Ok(files.iter().map(|f| folder.join(f)).collect())
}
