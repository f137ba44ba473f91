//! PyTorch checkpoints: the zip of `torch.save` since 1.6 and the plain sequence of pickles before (torch/serialization.py,
//! `_save` and `_legacy_save`).

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use half::{bf16, f16};
use zip::ZipArchive;

use super::Tensor;
use super::pickle::{self, Dtype, Heap, Pickle, Value, View};
use super::tensors::Budget;
use crate::error::{InferError, InferErrorKind};

/// What a checkpoint before PyTorch 1.6 starts with: the pickle of the number 0x1950a86a20f9469cfc6c.
pub(super) const LEGACY_MAGIC: [u8; 15] =
    *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// The longest pickle that is read, in bytes; those of the largest checkpoints have some hundred thousand.
const MAX_PICKLE: u64 = 64 << 20;

/// The bytes of a storage in the file.
#[derive(Clone, Copy, Debug)]
struct Extent {
    start: u64,
    bytes: u64,
}

/// The network's tensors in a zip checkpoint.
pub(super) fn open_zip(path: &Path) -> Result<BTreeMap<String, Tensor>, InferError> {
    let io = |error| InferError::io(path, error);
    let zipped = |error| damaged(path, "the archive is damaged").caused_by(error);
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let mut archive = ZipArchive::new(BufReader::new(&file)).map_err(zipped)?;
    let (mut extents, mut root) = (HashMap::new(), None);
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(zipped)?;
        let name = entry.name().map_err(zipped)?.into_owned();
        let inside = name.split_once('/').map_or("", |(_, inside)| inside);
        if inside == "byteorder" {
            let mut order = String::new();
            entry
                .by_ref()
                .take(16)
                .read_to_string(&mut order)
                .map_err(io)?;
            if order != "little" {
                return Err(unsupported(path, "its numbers are big-endian"));
            }
        }
        let key = inside.strip_prefix("data/");
        if key.is_none() && inside != "data.pkl" {
            continue;
        }
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(unsupported(path, "its archive is compressed"));
        }
        let extent = Extent {
            start: entry
                .data_start()
                .ok_or_else(|| damaged(path, "an entry of its archive has no place"))?,
            bytes: entry.size(),
        };
        match key {
            Some(key) => drop(extents.insert(key.to_owned(), extent)),
            None => root = Some(extent),
        }
    }
    let Some(root) = root else {
        let message = "a zip, but neither a PyTorch checkpoint nor a NumPy archive";
        return Err(InferError::new(InferErrorKind::Foreign, path, message));
    };
    if root.bytes > MAX_PICKLE {
        return Err(unsupported(path, "its pickle is longer than 64 MiB"));
    }
    let bytes = read_at(path, &mut file, root.start, root.bytes)?;
    let pickle = pickle::read(&bytes).map_err(|at| unreadable(path, at))?;
    Checkpoint {
        path,
        file,
        size,
        extents,
    }
    .tensors(&pickle)
}

/// The network's tensors in a checkpoint of before PyTorch 1.6: pickles of a magic number, of the protocol's version, of
/// the machine's sizes, of the object, and of the list of storages, then each storage behind its count of elements.
pub(super) fn open_legacy(path: &Path) -> Result<BTreeMap<String, Tensor>, InferError> {
    let io = |error| InferError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let head = read_at(path, &mut file, 0, size.min(MAX_PICKLE))?;
    let mut at = LEGACY_MAGIC.len();
    let mut next = || {
        let pickle = pickle::read(&head[at..]).map_err(|inside| unreadable(path, at + inside))?;
        at += pickle.length;
        Ok((pickle, at))
    };
    let (_version, machine) = (next()?, next()?.0);
    if has(&machine, "little_endian", Value::Int(0)) {
        return Err(unsupported(path, "its numbers are big-endian"));
    }
    let (pickle, (keys, mut start)) = (next()?.0, next()?);
    let Value::List(list) = keys.root else {
        return Err(damaged(path, "the list of its storages is missing"));
    };
    let storages = &pickle.heap.storages;
    let storages: HashMap<&str, _> = storages.iter().map(|s| (s.key, s)).collect();
    let mut extents = HashMap::new();
    for key in &keys.heap.lists[list] {
        let storage = match key {
            Value::Text(key) => storages.get(key),
            _ => None,
        };
        let storage = storage.ok_or_else(|| damaged(path, "a storage has no type"))?;
        let count = read_at(path, &mut file, start as u64, 8)?;
        let count = u64::from_le_bytes(count.try_into().expect("eight bytes were read"));
        let end = count
            .checked_mul(storage.dtype.width())
            .and_then(|bytes| bytes.checked_add(start as u64 + 8))
            .filter(|&end| end <= size && count == storage.count)
            .ok_or_else(|| damaged(path, &format!("the storage at byte {start} does not fit")))?;
        let extent = Extent {
            start: start as u64 + 8,
            bytes: end - start as u64 - 8,
        };
        extents.insert(storage.key.to_owned(), extent);
        start = end as usize;
    }
    Checkpoint {
        path,
        file,
        size,
        extents,
    }
    .tensors(&pickle)
}

fn has(pickle: &Pickle, key: &str, value: Value) -> bool {
    match pickle.root {
        Value::Dict(index) => pickle.heap.dicts[index].contains(&(Value::Text(key), value)),
        _ => false,
    }
}

struct Checkpoint<'a> {
    path: &'a Path,
    file: File,
    size: u64,
    extents: HashMap<String, Extent>,
}

impl Checkpoint<'_> {
    /// The tensors of floats in the dictionary that holds the most tensors itself: the network's state, whether it is the
    /// checkpoint or lies in it beside the optimizer's.
    fn tensors(mut self, pickle: &Pickle) -> Result<BTreeMap<String, Tensor>, InferError> {
        let heap = &pickle.heap;
        let mut budget = Budget::new(self.path, self.size);
        let mut tensors = BTreeMap::new();
        for (key, value) in largest(pickle) {
            if let (Value::Text(name), Value::Tensor(index)) = (key, value) {
                let view = &heap.tensors[*index];
                if let Some(data) = self.values(name, view, heap, &mut budget)? {
                    let shape = view.shape.clone();
                    tensors.insert((*name).to_owned(), Tensor { shape, data });
                }
            }
        }
        Ok(tensors)
    }

    /// `None` for integers.
    fn values(
        &mut self,
        name: &str,
        view: &View,
        heap: &Heap,
        budget: &mut Budget,
    ) -> Result<Option<Vec<f32>>, InferError> {
        let storage = heap.storages[view.storage];
        let widen: fn(&[u8]) -> Vec<f32> = match storage.dtype {
            Dtype::F32 => |raw| elements(raw, f32::from_le_bytes),
            Dtype::F16 => |raw| elements(raw, |raw| f16::from_le_bytes(raw).to_f32()),
            Dtype::Bf16 => |raw| elements(raw, |raw| bf16::from_le_bytes(raw).to_f32()),
            Dtype::F64 => |raw| elements(raw, |raw| f64::from_le_bytes(raw) as f32),
            Dtype::Whole(_) => return Ok(None),
        };
        let path = self.path;
        let misfit = || damaged(path, &format!("the tensor {name} does not fit its storage"));
        let width = storage.dtype.width();
        let count = budget.take(name, &view.shape, 4)?;
        if count == 0 {
            return Ok(Some(Vec::new()));
        }
        let axes = || view.shape.iter().zip(&view.strides);
        // Elements from the first of the view to its last, that one included.
        let span = axes().try_fold(1u64, |span, (&axis, &stride)| {
            span.checked_add((axis as u64 - 1).checked_mul(stride)?)
        });
        let extent = self.extents.get(storage.key).ok_or_else(misfit)?;
        let start = view.offset.checked_mul(width);
        let (start, bytes) = start
            .zip(span.and_then(|span| span.checked_mul(width)))
            .filter(|(start, bytes)| {
                start
                    .checked_add(*bytes)
                    .is_some_and(|end| end <= extent.bytes)
            })
            .ok_or_else(misfit)?;
        let from = extent.start.checked_add(start).ok_or_else(misfit)?;
        if bytes == count as u64 * width && is_row_major(view) {
            return read_at(path, &mut self.file, from, bytes).map(|raw| Some(widen(&raw)));
        }
        budget.take(name, &[(bytes / width) as usize], 4)?;
        let span = widen(&read_at(path, &mut self.file, from, bytes)?);
        let mut values = Vec::with_capacity(count);
        for index in 0..count {
            let (at, _) = axes()
                .rev()
                .fold((0, index), |(at, rest), (&axis, &stride)| {
                    (at + rest % axis * stride as usize, rest / axis)
                });
            values.push(span[at]);
        }
        Ok(Some(values))
    }
}

impl Dtype {
    /// Bytes of an element.
    fn width(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F64 => 8,
            Self::Whole(width) => width,
        }
    }
}

fn is_row_major(view: &View) -> bool {
    let mut expected = 1;
    view.shape
        .iter()
        .zip(&view.strides)
        .rev()
        .all(|(&axis, &stride)| {
            let fits = axis == 1 || stride == expected;
            expected *= axis as u64;
            fits
        })
}

fn elements<const N: usize>(raw: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    raw.as_chunks::<N>().0.iter().map(|&b| read(b)).collect()
}

/// The items of the dictionary with the most tensors; of equal ones the first, outermost one.
fn largest<'p, 'a>(pickle: &'p Pickle<'a>) -> &'p [(Value<'a>, Value<'a>)] {
    let dicts = &pickle.heap.dicts;
    let mut seen = vec![false; dicts.len()];
    let mut waiting = vec![pickle.root];
    let (mut best, mut most): (&[_], usize) = (&[], 0);
    while let Some(value) = waiting.pop() {
        let Value::Dict(index) = value else { continue };
        if std::mem::replace(&mut seen[index], true) {
            continue;
        }
        let items = &dicts[index];
        let tensors = items
            .iter()
            .filter(|item| matches!(item.1, Value::Tensor(_)));
        let tensors = tensors.count();
        if tensors > most {
            (best, most) = (items, tensors);
        }
        waiting.extend(items.iter().rev().map(|item| item.1));
    }
    best
}

fn read_at(path: &Path, file: &mut File, start: u64, count: u64) -> Result<Vec<u8>, InferError> {
    let io = |error| InferError::io(path, error);
    let size = file.metadata().map_err(io)?.len();
    if start.checked_add(count).is_none_or(|end| end > size) {
        return Err(damaged(path, "it is cut short"));
    }
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut bytes = vec![0; count as usize];
    file.read_exact(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn damaged(path: &Path, what: &str) -> InferError {
    let message = format!("a PyTorch checkpoint, but {what}: download it again");
    InferError::new(InferErrorKind::Damaged, path, message)
}

fn unreadable(path: &Path, at: usize) -> InferError {
    damaged(path, &format!("its pickle cannot be read at byte {at}"))
}

fn unsupported(path: &Path, what: &str) -> InferError {
    let message = format!("a PyTorch checkpoint, but {what}: save it again with a current PyTorch");
    InferError::new(InferErrorKind::Unsupported, path, message)
}
