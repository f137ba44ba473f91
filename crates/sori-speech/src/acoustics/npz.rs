//! Frames as a file for numpy.

use std::io::{self, Seek, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::frames::{Column, Frames};

/// Writes frames as an NPZ file: the array `time` (seconds, f64) and one f32 array for every wanted [`Column`], under its
/// name, of shape `(n)`, for the cepstral ones `(n, 13)`. Stretches follow each other as given; between them time jumps.
///
/// ```python
/// frames = numpy.load("talk.npz"); frames["time"], frames["f0_hz"], frames["mfcc"]
/// ```
///
/// # Errors
/// Those of `out`.
pub fn npz(frames: &[Frames], out: impl Write + Seek) -> io::Result<()> {
    let mut zip = ZipWriter::new(out);
    let count: usize = frames.iter().map(Frames::len).sum();
    let options = SimpleFileOptions::default().large_file(count > 1 << 26);
    zip.start_file("time.npy", options)?;
    zip.write_all(&header("<f8", count, 1))?;
    for stretch in frames {
        let times = (0..stretch.len()).flat_map(|frame| stretch.time(frame).to_le_bytes());
        zip.write_all(&times.collect::<Vec<u8>>())?;
    }
    for column in Column::ALL {
        if !frames
            .iter()
            .all(|stretch| column.wanted(stretch.features()))
        {
            continue;
        }
        zip.start_file(format!("{}.npy", column.name()), options)?;
        zip.write_all(&header("<f4", count, column.width()))?;
        for stretch in frames {
            let values = stretch.column(column).iter();
            zip.write_all(
                &values
                    .flat_map(|value| value.to_le_bytes())
                    .collect::<Vec<u8>>(),
            )?;
        }
    }
    zip.finish()?.flush()
}

/// Header of an array (NPY format 1.0), padded so that the values start at a multiple of 64 bytes.
fn header(kind: &str, count: usize, width: usize) -> Vec<u8> {
    let shape = if width == 1 {
        format!("({count},)")
    } else {
        format!("({count}, {width})")
    };
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = (10 + text.len() + 1).next_multiple_of(64) - 10;
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(padded as u16).to_le_bytes());
    header.extend_from_slice(format!("{text:<width$}\n", width = padded - 1).as_bytes());
    header
}
