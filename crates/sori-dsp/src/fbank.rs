//! Log-mel filter banks as Kaldi computes them (`kaldi/src/feat/feature-fbank.cc`, `mel-computations.cc`), in the form of
//! `torchaudio.compliance.kaldi.fbank`: what speaker networks look at.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use crate::error::{DspError, DspErrorKind};

/// Shape of a taper that a frame is multiplied with, `n` of `0..len`, symmetric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FbankWindow {
    /// 0.54 - 0.46 cos.
    Hamming,
    /// 0.5 - 0.5 cos.
    Hann,
    /// Hann to the power of 0.85: Kaldi's default.
    Povey,
}

/// Settings of a Kaldi filter bank; the default is that of WeSpeaker's and pyannote's speaker networks.
#[derive(Debug, Clone, PartialEq)]
pub struct FbankOptions {
    /// Number of mel bands, `1..=256`.
    pub bins: usize,
    /// Sample rate of the PCM in Hz, `1000..=192_000`.
    pub sample_rate: u32,
    /// Length of a frame in samples, `16..=8192`; the transform is of the next power of two.
    pub frame: usize,
    /// Samples from one frame to the next, `1..=frame`.
    pub hop: usize,
    /// The taper.
    pub window: FbankWindow,
    /// Share of the sample before that is taken off each sample, `0.0..=1.0`; Kaldi has 0.97.
    pub preemphasis: f32,
    /// Lower edge of the first band in Hz, `0.0` to below half the sample rate; the last ends at half the sample rate.
    pub low_hz: f32,
    /// Factor on the samples: 32768 for networks that were trained on 16-bit numbers, 1 for others.
    pub scale: f32,
}

impl Default for FbankOptions {
    fn default() -> Self {
        Self {
            bins: 80,
            sample_rate: 16_000,
            frame: 400,
            hop: 160,
            window: FbankWindow::Hamming,
            preemphasis: 0.97,
            low_hz: 20.0,
            scale: 32768.0,
        }
    }
}

impl FbankOptions {
    /// Checks every value against the range given at its field.
    ///
    /// # Errors
    /// [`DspErrorKind::FbankOptions`], naming the first value that is outside.
    pub fn validate(&self) -> Result<(), DspError> {
        let nyquist = self.sample_rate as f32 / 2.0;
        let checks = [
            (
                (1..=256).contains(&self.bins),
                format!("{} mel bands: give 1 to 256", self.bins),
            ),
            (
                (1_000..=192_000).contains(&self.sample_rate),
                format!(
                    "sample rate of {} Hz: give 1000 to 192000",
                    self.sample_rate
                ),
            ),
            (
                (16..=8192).contains(&self.frame),
                format!("frame of {} samples: give 16 to 8192", self.frame),
            ),
            (
                (1..=self.frame).contains(&self.hop),
                format!("hop of {} samples: give 1 to {}", self.hop, self.frame),
            ),
            (
                (0.0..=1.0).contains(&self.preemphasis),
                format!("pre-emphasis of {}: give 0 to 1", self.preemphasis),
            ),
            (
                (0.0..nyquist).contains(&self.low_hz),
                format!("lower edge of {} Hz: give 0 to {nyquist}", self.low_hz),
            ),
            (
                self.scale.is_finite() && self.scale > 0.0,
                format!("scale of {}: give a number above 0", self.scale),
            ),
        ];
        match checks.into_iter().find(|(good, _)| !good) {
            Some((_, message)) => Err(DspError::new(DspErrorKind::FbankOptions, message)),
            None => Ok(()),
        }
    }
}

/// A planned filter bank: taper, Fourier plan and mel bands. It is immutable, so that threads share one.
pub struct Fbank {
    options: FbankOptions,
    taper: Vec<f32>,
    bands: Vec<Band>,
    fft: Arc<dyn RealToComplex<f32>>,
}

/// One triangle of the bank: its non-zero weights and the bin of the first.
struct Band {
    first_bin: usize,
    weights: Vec<f32>,
}

impl Fbank {
    /// Plans the transform. Costs about a millisecond; keep the plan.
    ///
    /// # Errors
    /// [`DspErrorKind::FbankOptions`] when [`FbankOptions::validate`] refuses.
    pub fn new(options: &FbankOptions) -> Result<Self, DspError> {
        options.validate()?;
        Ok(Self {
            taper: taper(options),
            bands: bands(options),
            fft: RealFftPlanner::new().plan_fft_forward(options.frame.next_power_of_two()),
            options: options.clone(),
        })
    }

    /// The options that the bank was planned with.
    pub fn options(&self) -> &FbankOptions {
        &self.options
    }

    /// Number of frames that lie wholly inside `samples` samples (Kaldi's `snip_edges`).
    pub fn frames(&self, samples: usize) -> usize {
        match samples.checked_sub(self.options.frame) {
            Some(rest) => rest / self.options.hop + 1,
            None => 0,
        }
    }

    /// Natural logarithms of the bands' power, shape `(frames, bins)`, row-major, for PCM in `-1.0..=1.0`.
    ///
    /// Per frame: mean taken off, pre-emphasis, taper, power spectrum, triangles on Kaldi's mel scale, floor 2⁻²³. No dither.
    /// Equal to `torchaudio.compliance.kaldi.fbank` within 1e-3. Allocates the result.
    pub fn compute(&self, pcm: &[f32]) -> Vec<f32> {
        let bins = self.options.bins;
        let mut out = vec![0.0; self.frames(pcm.len()) * bins];
        let mut padded = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut power = vec![0.0; spectrum.len()];
        let frames = pcm.windows(self.options.frame).step_by(self.options.hop);
        for (row, frame) in out.chunks_exact_mut(bins).zip(frames) {
            self.prepare(frame, &mut padded);
            self.fft
                .process_with_scratch(&mut padded, &mut spectrum, &mut scratch)
                .expect("all buffers were made by this plan");
            for (power, value) in power.iter_mut().zip(&spectrum) {
                *power = Complex32::norm_sqr(value);
            }
            for (value, band) in row.iter_mut().zip(&self.bands) {
                let sum: f32 = band
                    .weights
                    .iter()
                    .zip(&power[band.first_bin..])
                    .map(|(w, p)| w * p)
                    .sum();
                // `max` would hide a value that is not a number.
                *value = if sum < f32::EPSILON {
                    f32::EPSILON
                } else {
                    sum
                }
                .ln();
            }
        }
        out
    }

    /// Writes a frame without its mean, pre-emphasised and tapered, to the start of `padded` and zeros to the rest.
    fn prepare(&self, frame: &[f32], padded: &mut [f32]) {
        let FbankOptions {
            scale, preemphasis, ..
        } = self.options;
        let (body, rest) = padded.split_at_mut(frame.len());
        rest.fill(0.0);
        let mean = frame.iter().sum::<f32>() / frame.len() as f32;
        let mut before = frame[0] - mean;
        for ((out, &sample), taper) in body.iter_mut().zip(frame).zip(&self.taper) {
            let sample = sample - mean;
            *out = (sample - preemphasis * before) * taper * scale;
            before = sample;
        }
    }
}

/// The taper (`feature-window.cc`, `FeatureWindowFunction`).
fn taper(options: &FbankOptions) -> Vec<f32> {
    (0..options.frame)
        .map(|n| {
            let phase = std::f64::consts::TAU * n as f64 / (options.frame - 1) as f64;
            let value = match options.window {
                FbankWindow::Hamming => 0.54 - 0.46 * phase.cos(),
                FbankWindow::Hann => 0.5 - 0.5 * phase.cos(),
                FbankWindow::Povey => (0.5 - 0.5 * phase.cos()).powf(0.85),
            };
            value as f32
        })
        .collect()
}

/// Triangles that are straight on the mel scale (`mel-computations.cc`, `MelBanks`); the bin at half the sample rate belongs
/// to none.
fn bands(options: &FbankOptions) -> Vec<Band> {
    let transform = options.frame.next_power_of_two();
    let mel = |hz: f64| 1127.0 * (1.0 + hz / 700.0).ln();
    let low = mel(f64::from(options.low_hz));
    let high = mel(f64::from(options.sample_rate) / 2.0);
    let step = (high - low) / (options.bins + 1) as f64;
    let bin_hz = f64::from(options.sample_rate) / transform as f64;
    (0..options.bins)
        .map(|band| {
            let left = low + step * band as f64;
            let weight = |bin: usize| {
                let at = mel(bin as f64 * bin_hz);
                ((at - left) / step).min((left + 2.0 * step - at) / step)
            };
            let inside = |bin: &usize| weight(*bin) > 0.0;
            let first_bin = (0..transform / 2).find(inside).unwrap_or(0);
            let weights = (first_bin..transform / 2)
                .take_while(inside)
                .map(|bin| weight(bin) as f32)
                .collect();
            Band { first_bin, weights }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_outside_their_range_are_refused() {
        type Break = fn(&mut FbankOptions);
        let cases: &[(&str, Break)] = &[
            ("mel bands", |o| o.bins = 0),
            ("mel bands", |o| o.bins = usize::MAX),
            ("sample rate", |o| o.sample_rate = 0),
            ("frame", |o| o.frame = 1),
            ("hop", |o| o.hop = 0),
            ("pre-emphasis", |o| o.preemphasis = f32::NAN),
            ("lower edge", |o| o.low_hz = 8000.0),
            ("scale", |o| o.scale = f32::INFINITY),
        ];
        for (word, damage) in cases {
            let mut options = FbankOptions::default();
            damage(&mut options);
            let error = Fbank::new(&options).err().expect("refused");
            assert_eq!(error.kind(), DspErrorKind::FbankOptions);
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn frames_lie_wholly_inside() {
        let bank = Fbank::new(&FbankOptions::default()).expect("valid options");
        for (samples, frames) in [
            (0, 0),
            (399, 0),
            (400, 1),
            (559, 1),
            (560, 2),
            (160_000, 998),
        ] {
            assert_eq!(bank.frames(samples), frames, "{samples}");
            assert_eq!(bank.compute(&vec![0.25; samples]).len(), frames * 80);
        }
    }

    #[test]
    fn silence_is_the_floor_and_hostile_samples_do_not_panic() {
        let bank = Fbank::new(&FbankOptions::default()).expect("valid options");
        assert!(
            bank.compute(&[0.5; 400])
                .iter()
                .all(|&v| v == f32::EPSILON.ln())
        );
        let mut pcm = [0.0; 400];
        pcm[..3].copy_from_slice(&[f32::NAN, f32::INFINITY, f32::MAX]);
        assert!(bank.compute(&pcm).iter().all(|v| !v.is_finite()));
    }
}
