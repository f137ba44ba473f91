//! NumPy archives: a zip of `.npy` files (numpy/lib/format.py, versions 1 to 3).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use half::f16;
use zip::ZipArchive;

use super::Tensor;
use super::tensors::Budget;
use crate::error::{InferError, InferErrorKind};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Headers are 128 bytes for every array without named fields.
const MAX_HEADER: usize = 4096;

/// The numeric arrays of an archive; those of text and objects are left out. `None` when no `.npy` file is in it.
pub(super) fn open(path: &Path) -> Result<Option<BTreeMap<String, Tensor<f64>>>, InferError> {
    let damaged = || damaged(path, "the archive");
    let io = |error| InferError::io(path, error);
    let file = File::open(path).map_err(io)?;
    let mut budget = Budget::new(path, file.metadata().map_err(io)?.len());
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| damaged().caused_by(error))?;
    let mut arrays = BTreeMap::new();
    let mut is_npz = false;
    for index in 0..archive.len() {
        let mut entry = archive
            .by_index(index)
            .map_err(|error| damaged().caused_by(error))?;
        let name = entry.name().map_err(|error| damaged().caused_by(error))?;
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else {
            continue;
        };
        is_npz = true;
        if let Some(array) = array(path, &name, &mut entry, &mut budget)? {
            arrays.insert(name, array);
        }
    }
    Ok(is_npz.then_some(arrays))
}

/// `None` for elements that are no numbers.
fn array(
    path: &Path,
    name: &str,
    reader: &mut impl Read,
    budget: &mut Budget,
) -> Result<Option<Tensor<f64>>, InferError> {
    let broken = || damaged(path, &format!("the array {name}"));
    let read = |reader: &mut dyn Read, count: usize| {
        let mut bytes = Vec::with_capacity(count);
        match reader.take(count as u64).read_to_end(&mut bytes) {
            Ok(found) if found == count => Ok(bytes),
            Ok(_) => Err(broken()),
            Err(error) => Err(broken().caused_by(error)),
        }
    };
    let start = read(reader, 8)?;
    if !start.starts_with(MAGIC) {
        return Err(broken());
    }
    let length = match start[6] {
        1 => {
            let raw = read(reader, 2)?;
            usize::from(u16::from_le_bytes([raw[0], raw[1]]))
        }
        _ => {
            let raw = read(reader, 4)?;
            u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]) as usize
        }
    };
    if length > MAX_HEADER {
        return Err(broken());
    }
    let header = String::from_utf8(read(reader, length)?).map_err(|_| broken())?;
    let header = Header::parse(&header).ok_or_else(broken)?;
    let Some((width, widen)) = element(&header.kind) else {
        return Ok(None);
    };
    // While it is read, the array is there as bytes and as numbers.
    let count = budget.take(name, &header.shape, width as u64 + 8)?;
    let raw = read(reader, count * width)?;
    let data: Vec<f64> = raw.chunks_exact(width).map(widen).collect();
    if reader.read(&mut [0]).map_err(|e| broken().caused_by(e))? != 0 {
        return Err(broken());
    }
    let data = if header.is_fortran {
        row_major(&data, &header.shape)
    } else {
        data
    };
    let shape = header.shape;
    Ok(Some(Tensor { shape, data }))
}

/// The dictionary that a `.npy` file starts with, written as Python does.
struct Header {
    kind: String,
    is_fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| Some(text.split_once(&format!("'{name}':"))?.1.trim_start());
        let kind = field("descr")?.split('\'').nth(1)?.to_owned();
        let is_fortran = field("fortran_order")?.starts_with("True");
        let axes = field("shape")?.strip_prefix('(')?.split_once(')')?.0;
        let axes = axes.split(',').map(str::trim).filter(|a| !a.is_empty());
        let shape = axes.map(|axis| axis.parse().ok()).collect::<Option<_>>()?;
        Some(Self {
            kind,
            is_fortran,
            shape,
        })
    }
}

/// Bytes of an element and what they mean.
type Element = (usize, fn(&[u8]) -> f64);

fn element(kind: &str) -> Option<Element> {
    fn of<const N: usize>(raw: &[u8]) -> [u8; N] {
        raw.try_into().expect("elements are cut to their width")
    }
    Some(match kind {
        "<f8" => (8, |raw| f64::from_le_bytes(of(raw))),
        "<f4" => (4, |raw| f32::from_le_bytes(of(raw)).into()),
        "<f2" => (2, |raw| f16::from_le_bytes(of(raw)).to_f64()),
        "<i8" => (8, |raw| i64::from_le_bytes(of(raw)) as f64),
        "<i4" => (4, |raw| i32::from_le_bytes(of(raw)).into()),
        "|u1" | "|b1" => (1, |raw| raw[0].into()),
        _ => return None,
    })
}

/// The elements of a column-major array in row-major order.
fn row_major(data: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &axis in shape {
        strides.push(stride);
        stride *= axis;
    }
    (0..data.len())
        .map(|index| {
            let axes = shape.iter().zip(&strides).rev();
            let (at, _) = axes.fold((0, index), |(at, rest), (&axis, stride)| {
                (at + rest % axis * stride, rest / axis)
            });
            data[at]
        })
        .collect()
}

fn damaged(path: &Path, what: &str) -> InferError {
    let message = format!("{what} is damaged: download the file again");
    InferError::new(InferErrorKind::Damaged, path, message)
}

#[cfg(test)]
mod tests {
    use super::row_major;

    #[test]
    fn columns_become_rows() {
        let columns = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
        assert_eq!(row_major(&columns, &[2, 3]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(row_major(&[1.0], &[]), [1.0]);
        assert!(row_major(&[], &[0, 3]).is_empty());
    }
}
