//! Small WAV files: written as 16-bit PCM, read when they are 16-bit PCM.

use std::{fs, io, path::Path};

/// A sound read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// Samples in -1..1, interleaved by channel.
    pub samples: Vec<f32>,
}

/// The bytes of a mono 16-bit PCM WAV file; what exceeds full scale is clipped.
pub fn bytes(samples: &[f32], sample_rate: u32) -> Vec<u8> {
    let data_len = samples.len() as u32 * 2;
    let mut out = Vec::with_capacity(44 + data_len as usize);
    out.extend(b"RIFF");
    out.extend((36 + data_len).to_le_bytes());
    out.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    out.extend(sample_rate.to_le_bytes());
    out.extend((sample_rate * 2).to_le_bytes());
    out.extend(b"\x02\0\x10\0data");
    out.extend(data_len.to_le_bytes());
    for sample in samples {
        out.extend(((sample * 32768.0).round() as i16).to_le_bytes());
    }
    out
}

/// Writes a mono 16-bit PCM WAV file.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, samples: &[f32], sample_rate: u32) -> io::Result<()> {
    fs::write(path, bytes(samples, sample_rate))
}

/// The sound in a 16-bit PCM WAV file.
///
/// # Panics
/// When the file is missing or is anything else: tests read others through `sori-media`.
pub fn read(path: &Path) -> Sound {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&bytes).unwrap_or_else(|| panic!("{} is no 16-bit PCM WAV file", path.display()))
}

fn parse(bytes: &[u8]) -> Option<Sound> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut rest, mut format) = (&bytes[12..], None);
    loop {
        let (id, len) = (
            rest.get(..4)?,
            u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?),
        );
        let body = &rest[8..];
        // Files of a stream that was cut say more than they hold.
        let body = &body[..body.len().min(len as usize)];
        match (id, format) {
            (b"fmt ", _) => {
                let half = |at| Some(u16::from_le_bytes(body.get(at..at + 2)?.try_into().ok()?));
                let sample_rate = u32::from_le_bytes(body.get(4..8)?.try_into().ok()?);
                let pcm = matches!(half(0)?, 1 | 0xfffe) && half(14)? == 16;
                format = Some((pcm.then_some(half(2)?)?, sample_rate));
            }
            (b"data", Some((channels, sample_rate))) => {
                let pairs = body.as_chunks::<2>().0.iter();
                let samples = pairs
                    .map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32768.0)
                    .collect();
                return Some(Sound {
                    sample_rate,
                    channels,
                    samples,
                });
            }
            _ => {}
        }
        rest = rest.get(8 + body.len() + body.len() % 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let samples = [0.0, 0.5, -1.0, 2.0];
        let sound = parse(&bytes(&samples, 8000)).unwrap();
        assert_eq!((sound.sample_rate, sound.channels), (8000, 1));
        assert_eq!(sound.samples, [0.0, 0.5, -1.0, 32767.0 / 32768.0]);
    }

    #[test]
    fn other_files_are_refused_and_short_ones_cut() {
        let mut cut = bytes(&[0.25; 10], 8000);
        cut.truncate(44 + 7);
        assert_eq!(parse(&cut).unwrap().samples, [0.25; 3]);
        for end in 0..44 {
            assert!(
                parse(&cut[..end]).is_none_or(|sound| sound.samples.is_empty()),
                "{end}"
            );
        }
        cut[34] = 24;
        assert!(parse(&cut).is_none());
    }
}
