//! Golden files: arrays (`.npy`, `.npz`), JSON and text, and comparing with them.

use std::{collections::BTreeMap, env, fs, io::Cursor, io::Read, path::Path};

/// A numeric array read from a file, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<T = f32> {
    /// Length of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, as many as the product of the shape.
    pub values: Vec<T>,
}

/// The array in a NumPy file of version 1 to 3 with little-endian `f4`, `f8`, `i4`, `i8` or one-byte elements
/// (numpy/lib/format.py). 64-bit elements are rounded to `f32`.
///
/// # Panics
/// When the file is missing or is anything else: a test without its golden must fail.
pub fn npy(path: &Path) -> Array {
    let bytes = read(path);
    parse_npy(&bytes)
        .unwrap_or_else(|| panic!("{} is no plain .npy file", path.display()))
        .to_f32()
}

/// The arrays in a file of `numpy.savez` or `numpy.savez_compressed`, by name, rounded to `f32`.
///
/// # Panics
/// When the file is missing, or an array in it is none that [`npy`] reads.
pub fn npz(path: &Path) -> BTreeMap<String, Array> {
    let arrays = npz_f64(path).into_iter();
    arrays.map(|(name, array)| (name, array.to_f32())).collect()
}

/// The same as [`npz`] in `f64`, which holds elements of every type exactly (64-bit integers up to 2^53).
///
/// # Panics
/// As [`npz`].
pub fn npz_f64(path: &Path) -> BTreeMap<String, Array<f64>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(read(path)))
        .unwrap_or_else(|error| panic!("{} is no .npz file: {error}", path.display()));
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        let mut bytes = Vec::new();
        let mut entry = archive.by_index(index).expect("an index below the length");
        let name = entry.name().expect("names are UTF-8");
        let name = name.trim_end_matches(".npy").to_owned();
        let array = entry.read_to_end(&mut bytes).ok();
        let array = array.and_then(|_| parse_npy(&bytes));
        let array = array.unwrap_or_else(|| panic!("{name} of {} is no array", path.display()));
        arrays.insert(name, array);
    }
    arrays
}

impl Array<f64> {
    fn to_f32(&self) -> Array {
        Array {
            shape: self.shape.clone(),
            values: self.values.iter().map(|&value| value as f32).collect(),
        }
    }
}

fn parse_npy(bytes: &[u8]) -> Option<Array<f64>> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (header_start, header_len) = match rest.first()? {
        1 => (
            4,
            usize::from(u16::from_le_bytes(rest.get(2..4)?.try_into().ok()?)),
        ),
        _ => (
            6,
            u32::from_le_bytes(rest.get(2..6)?.try_into().ok()?) as usize,
        ),
    };
    let header = std::str::from_utf8(rest.get(header_start..header_start + header_len)?).ok()?;
    let data = &rest[header_start + header_len..];
    let field = |name: &str| Some(header.split_once(&format!("'{name}':"))?.1.trim_start());
    let kind = field("descr")?.split('\'').nth(1)?;
    if !field("fortran_order")?.starts_with("False") {
        return None;
    }
    let axes = field("shape")?.strip_prefix('(')?.split_once(')')?.0;
    let axes = axes
        .split(',')
        .map(str::trim)
        .filter(|axis| !axis.is_empty());
    let shape: Vec<usize> = axes.map(|axis| axis.parse().ok()).collect::<Option<_>>()?;
    let values: Vec<f64> = match kind {
        "<f4" => elements(data, |raw| f32::from_le_bytes(raw).into()),
        "<f8" => elements(data, f64::from_le_bytes),
        "<i4" => elements(data, |raw| i32::from_le_bytes(raw).into()),
        "<i8" => elements(data, |raw| i64::from_le_bytes(raw) as f64),
        "|u1" | "|b1" => elements(data, |raw: [u8; 1]| raw[0].into()),
        "|i1" => elements(data, |raw| i8::from_le_bytes(raw).into()),
        _ => return None,
    };
    (values.len() == shape.iter().product::<usize>()).then_some(Array { shape, values })
}

fn elements<const N: usize>(data: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks::<N>()
        .0
        .iter()
        .map(|raw| read(*raw))
        .collect()
}

/// The JSON in a file.
///
/// # Panics
/// When the file is missing or is no JSON.
pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&read(path))
        .unwrap_or_else(|error| panic!("{} is no JSON: {error}", path.display()))
}

/// Compares text with a golden file. With `SORI_WRITE_GOLDENS` in the environment it writes the file instead, to be read
/// in the diff before it is committed.
///
/// # Panics
/// When they differ, with the first line that does.
pub fn assert_text(found: &str, path: &Path) {
    if env::var_os("SORI_WRITE_GOLDENS").is_some() {
        fs::write(path, found).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let expected = String::from_utf8(read(path)).expect("golden text files are UTF-8");
    if found == expected {
        return;
    }
    let mut lines = found.lines().zip(expected.lines()).enumerate();
    let (line, (found, expected)) = lines.find(|(_, pair)| pair.0 != pair.1).unwrap_or((
        found.lines().count().min(expected.lines().count()),
        ("(or where one of them ends)", ""),
    ));
    panic!(
        "{}:{}: found {found:?}, expected {expected:?}",
        path.display(),
        line + 1
    );
}

/// The largest absolute difference between two arrays; `NaN` anywhere gives infinity.
///
/// # Panics
/// When the lengths differ.
pub fn max_abs_diff(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len(), "arrays of different length");
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() })
        .fold(0.0, |worst, d| {
            if d.is_nan() {
                f32::INFINITY
            } else {
                f32::max(worst, d)
            }
        })
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("golden file {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn arrays_of_each_type_are_read() {
        let header =
            |kind| format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': (2,), }}\n");
        for (kind, data) in [
            ("<f4", [1f32, -2.0].map(f32::to_le_bytes).concat()),
            ("<f8", [1f64, -2.0].map(f64::to_le_bytes).concat()),
            ("<i4", [1i32, -2].map(i32::to_le_bytes).concat()),
            ("<i8", [1i64, -2].map(i64::to_le_bytes).concat()),
            ("|i1", [1i8, -2].map(i8::to_le_bytes).concat()),
        ] {
            let array = parse_npy(&file(&header(kind), &data)).unwrap();
            assert_eq!(
                array,
                Array {
                    shape: vec![2],
                    values: vec![1.0, -2.0]
                },
                "{kind}"
            );
        }
    }

    #[test]
    fn archives_of_arrays_are_read_without_loss() {
        let gold = crate::shared("research/speakers/gold/clus.npz");
        let (narrow, wide) = (npz(&gold), npz_f64(&gold));
        let threshold = &wide["0_th"];
        assert_eq!(
            (&threshold.shape[..], &threshold.values[..]),
            (&[][..], &[0.7045654963945799][..])
        );
        assert_eq!(narrow["0_th"].values, [0.704_565_5]);
        assert_eq!(wide["0_x"].shape, [39, 16]);
        assert_eq!(narrow["0_fc"].shape, [39]);
    }

    #[test]
    fn other_files_are_refused() {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }";
        assert!(parse_npy(&file(good, &[0; 4])).is_some());
        for (header, data) in [
            (good, 3),
            (good, 8),
            (
                "{'descr': '>f4', 'fortran_order': False, 'shape': (1, 1), }",
                4,
            ),
            (
                "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }",
                4,
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (x,), }",
                4,
            ),
            ("", 4),
        ] {
            assert!(
                parse_npy(&file(header, &vec![0; data])).is_none(),
                "{header}"
            );
        }
        assert!(parse_npy(b"\x93NUMPY\x01").is_none());
    }

    #[test]
    fn differences_see_nan() {
        assert_eq!(max_abs_diff(&[1.0, 2.0], &[1.0, 2.5]), 0.5);
        assert_eq!(max_abs_diff(&[f32::NAN], &[1.0]), f32::INFINITY);
    }
}
