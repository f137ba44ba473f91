//! The parts of the fast network: packed from a checkpoint, or mapped from the file where they were kept the last time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sori_infer::kernels::{Bf16Matrix, Bits, Buffer, Norm, QuantMatrix};
use sori_infer::packed::{PackedFile, PackedWriter};
use sori_infer::{InferError, InferErrorKind};

use super::super::weights::Checkpoint;

/// Where parts come from.
pub(super) enum Parts<'a> {
    /// From the checkpoint; each is also kept for the next time, while the disk takes them.
    Fresh {
        checkpoint: &'a Checkpoint<'a>,
        keep: Option<Box<Keep>>,
    },
    /// From a file that was checked when it was opened.
    Kept { file: PackedFile, path: PathBuf },
}

/// The file that parts are being written to.
pub(super) struct Keep {
    writer: PackedWriter,
    place: Place,
}

/// Where a checkpoint's packed weights are kept, and what tells whether they are still its own.
pub(super) struct Place {
    path: PathBuf,
    model: PathBuf,
    key: String,
}

impl Place {
    /// The place in the folder `cache` of a model whose decoder has weights of `bits`; none where the model's path or files
    /// cannot be told.
    pub(super) fn of(cache: &Path, model: &Path, bits: Bits) -> Option<Self> {
        let model = fs::canonicalize(model).ok()?;
        Some(Self {
            path: cache.join(file_name(&model, bits)),
            key: key(&model)?,
            model,
        })
    }

    /// What is kept there, if it is whole and not stale.
    pub(super) fn kept(&self) -> Option<Parts<'static>> {
        Some(Parts::Kept {
            file: PackedFile::open(&self.path, &self.key)?,
            path: self.path.clone(),
        })
    }
}

/// A weight and its bias as PyTorch stores them, before packing.
pub(super) type Raw = (Vec<f32>, Option<Vec<f32>>);

/// Scale and offset of a layer normalisation.
pub(super) struct NormParts {
    weight: Buffer<f32>,
    bias: Buffer<f32>,
}

impl NormParts {
    pub(super) fn norm(&self) -> Norm<'_> {
        Norm {
            weight: &self.weight,
            bias: &self.bias,
        }
    }
}

impl<'a> Parts<'a> {
    /// Parts that are packed now; they are kept at `place`, if there is one and it can be written: a disk that is full or
    /// read-only costs time at the next start, and nothing else.
    pub(super) fn fresh(checkpoint: &'a Checkpoint<'a>, place: Option<Place>) -> Self {
        let keep = place.and_then(|place| {
            let writer = PackedWriter::create(&place.path, &place.model, &place.key).ok()?;
            Some(Box::new(Keep { writer, place }))
        });
        Self::Fresh { checkpoint, keep }
    }

    /// Completes what is kept, unless the checkpoint was changed meanwhile.
    pub(super) fn close(self) {
        if let Self::Fresh {
            keep: Some(keep), ..
        } = self
            && key(&keep.place.model).as_ref() == Some(&keep.place.key)
        {
            // Only speed is lost, as above.
            let _ = keep.writer.finish();
        }
    }

    /// A matrix of integers of shape `(outputs, inputs)`, made of what `raw` reads.
    pub(super) fn quantised(
        &mut self,
        name: &str,
        shape: [usize; 2],
        bits: Bits,
        raw: impl FnOnce(&Checkpoint) -> Result<Raw, InferError>,
    ) -> Result<QuantMatrix, InferError> {
        let [panels, columns] = ["panels", "columns"].map(|part| format!("{name}.{part}"));
        match self {
            Self::Fresh { checkpoint, keep } => {
                let (weight, bias) = raw(checkpoint)?;
                let matrix = QuantMatrix::pack(&weight, shape[1], bias.as_deref(), bits);
                let (a, b) = matrix.parts();
                keep_or_stop(keep, |file| {
                    file.add(&panels, a).and_then(|()| file.add(&columns, b))
                });
                Ok(matrix)
            }
            Self::Kept { file, path } => {
                let parts = file.section(&panels).zip(file.section(&columns));
                let matrix = parts.and_then(|(a, b)| QuantMatrix::from_parts(shape, bits, a, b));
                matrix.ok_or_else(|| stale(path, name))
            }
        }
    }

    /// A matrix in bf16, likewise; its bias is not optional.
    pub(super) fn bf16(
        &mut self,
        name: &str,
        [outputs, inputs]: [usize; 2],
        raw: impl FnOnce(&Checkpoint) -> Result<(Vec<f32>, Vec<f32>), InferError>,
    ) -> Result<Bf16Matrix, InferError> {
        let [panels, offsets] = ["panels", "bias"].map(|part| format!("{name}.{part}"));
        match self {
            Self::Fresh { checkpoint, keep } => {
                let (weight, bias) = raw(checkpoint)?;
                let matrix = Bf16Matrix::pack(&weight, inputs, &bias);
                let (a, b) = matrix.parts();
                keep_or_stop(keep, |file| {
                    file.add(&panels, a).and_then(|()| file.add(&offsets, b))
                });
                Ok(matrix)
            }
            Self::Kept { file, path } => {
                let parts = file.section(&panels).zip(file.section(&offsets));
                let matrix = parts.and_then(|(a, b)| Bf16Matrix::from_parts(inputs, outputs, a, b));
                matrix.ok_or_else(|| stale(path, name))
            }
        }
    }

    /// A tensor as it is.
    pub(super) fn plain(&mut self, name: &str, shape: &[usize]) -> Result<Buffer<f32>, InferError> {
        match self {
            Self::Fresh { checkpoint, keep } => {
                let data = checkpoint.tensor(name, shape)?;
                let buffer = Buffer::build(data.len(), |all| all.copy_from_slice(&data));
                keep_or_stop(keep, |file| file.add(name, &buffer));
                Ok(buffer)
            }
            Self::Kept { file, path } => file
                .section(name)
                .filter(|buffer| buffer.len() == shape.iter().product::<usize>())
                .ok_or_else(|| stale(path, name)),
        }
    }

    /// A layer normalisation over `width` columns.
    pub(super) fn norm(&mut self, name: &str, width: usize) -> Result<NormParts, InferError> {
        Ok(NormParts {
            weight: self.plain(&format!("{name}.weight"), &[width])?,
            bias: self.plain(&format!("{name}.bias"), &[width])?,
        })
    }
}

/// Writes to the file that keeps parts, and gives it up when that fails.
fn keep_or_stop(
    keep: &mut Option<Box<Keep>>,
    write: impl FnOnce(&mut PackedWriter) -> std::io::Result<()>,
) {
    if keep
        .as_mut()
        .is_some_and(|keep| write(&mut keep.writer).is_err())
    {
        *keep = None;
    }
}

fn stale(path: &Path, name: &str) -> InferError {
    let message = format!("the packed weights lack {name}");
    InferError::new(InferErrorKind::Damaged, path, message)
}

/// A name for a model's packed weights by its path (FNV-1a, 64 bits); should two models share it, the key tells them apart.
fn file_name(model: &Path, bits: Bits) -> String {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    for byte in model.as_os_str().as_encoded_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    }
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let bits = match bits {
        Bits::Eight => "",
        Bits::Four => "-int4",
    };
    format!("{stem}-{hash:016x}{bits}.pack")
}

/// What tells whether a model's files are still those that were packed: names, lengths, times of change,
/// and on Unix the file's number. None for a path that is not UTF-8.
fn key(model: &Path) -> Option<String> {
    let mut files = Vec::new();
    if model.is_dir() {
        for item in fs::read_dir(model).ok()? {
            let path = item.ok()?.path();
            let name = path.file_name()?.to_string_lossy().into_owned();
            if name == "config.json" || name.ends_with(".safetensors") {
                files.push(path);
            }
        }
        files.sort();
    } else {
        files.push(model.to_owned());
    }
    let mut key = model.to_str()?.to_owned();
    for file in files {
        let about = fs::metadata(&file).ok()?;
        let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        let name = file.file_name()?.to_string_lossy().into_owned();
        key += &format!("; {name} {} {}", about.len(), changed.as_nanos());
        // Archives may set the time of change; these they cannot set.
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            key += &format!(" {} {} {}", about.ino(), about.ctime(), about.ctime_nsec());
        }
    }
    Some(key)
}
