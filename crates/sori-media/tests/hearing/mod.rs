//! Listening to a file and comparing it with the reference recording.
#![allow(dead_code)] // each test binary uses a part

use std::path::{Path, PathBuf};
use std::process::Command;

use sori_media::{AudioInfo, AudioOptions, AudioReader, Ffmpeg, MediaError, Warning};

pub const RATE: usize = 16_000;

/// All of a recording.
pub struct Heard {
    pub channels: Vec<Vec<f32>>,
    pub info: AudioInfo,
    pub warnings: Vec<Warning>,
}

impl Heard {
    pub fn pcm(&self) -> &[f32] {
        &self.channels[0]
    }
}

/// Only the built-in decoders.
pub fn native() -> AudioOptions {
    AudioOptions {
        ffmpeg: Ffmpeg::Off,
        ..Default::default()
    }
}

pub fn drain(mut reader: AudioReader) -> Result<Heard, MediaError> {
    let mut channels: Vec<Vec<f32>> = Vec::new();
    while let Some(block) = reader.next_block()? {
        channels.resize_with(block.channels.len(), Vec::new);
        assert_eq!(
            block.start as usize,
            channels[0].len(),
            "blocks follow each other"
        );
        for (all, part) in channels.iter_mut().zip(&block.channels) {
            assert!(
                !part.is_empty() && part.len() <= RATE && part.len() == block.channels[0].len()
            );
            assert!(part.iter().all(|sample| sample.is_finite()));
            all.extend_from_slice(part);
        }
    }
    let (info, warnings) = (reader.info().clone(), reader.warnings().to_vec());
    Ok(Heard {
        channels,
        info,
        warnings,
    })
}

pub fn hear(path: &Path, options: &AudioOptions) -> Result<Heard, MediaError> {
    drain(AudioReader::open(path, options)?)
}

pub fn hear_bytes(bytes: Vec<u8>, options: &AudioOptions) -> Result<Heard, MediaError> {
    drain(AudioReader::from_source(
        std::io::Cursor::new(bytes),
        "bytes",
        options,
    )?)
}

/// The bytes of a file through something that cannot seek.
pub fn hear_pipe(path: &Path) -> Heard {
    let file = std::fs::File::open(path).expect("a test file");
    let reader = AudioReader::from_stream(file, "stdin", &native());
    reader
        .and_then(drain)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn reference_path() -> PathBuf {
    sori_testing::shared("media/codecs/jfk_16k_s16.wav")
}

pub fn reference() -> Vec<f32> {
    let bytes = std::fs::read(reference_path()).expect("the reference");
    let data = bytes
        .windows(4)
        .position(|tag| tag == b"data")
        .expect("a data chunk")
        + 8;
    let pairs = bytes[data..].chunks_exact(2);
    pairs
        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0)
        .collect()
}

/// Lag in samples, within 60 ms, at which `heard` is most like `reference`; positive when it is late.
pub fn lag(reference: &[f32], heard: &[f32]) -> i32 {
    let span = 960i32;
    let end = reference
        .len()
        .min(heard.len())
        .saturating_sub(span as usize);
    let window = span as usize..end.min(4 * RATE);
    assert!(window.len() > RATE, "too short to compare");
    let likeness = |lag: i32| -> f64 {
        let from = (window.start as i32 + lag) as usize;
        let part = &heard[from..from + window.len()];
        let (mut product, mut power) = (0.0f64, 1e-12f64);
        for (a, b) in reference[window.clone()].iter().zip(part) {
            product += f64::from(a * b);
            power += f64::from(b * b);
        }
        product / power.sqrt()
    };
    (-span..=span)
        .max_by(|&a, &b| likeness(a).total_cmp(&likeness(b)))
        .expect("some lag")
}

/// Signal-to-noise ratio in dB of `heard` against `reference` over their common length, at the best gain: tools that mix
/// stereo to mono do not agree on its level.
pub fn snr(reference: &[f32], heard: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum::<f64>()
            + 1e-12
    };
    let (signal, cross) = (product(heard, heard), product(reference, heard));
    let common = reference.len().min(heard.len());
    let noise = (product(&reference[..common], reference) - cross * cross / signal).max(1e-12);
    10.0 * (product(&reference[..common], reference) / noise).log10()
}

/// Runs ffmpeg from the reference recording to `name` in `folder`.
pub fn make(folder: &Path, name: &str, args: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-y", "-i"])
        .arg(reference_path())
        .args(args)
        .arg(&path)
        .output()
        .expect("this test makes its files with ffmpeg: install it");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "ffmpeg could not make {name}: {complaint}"
    );
    path
}
