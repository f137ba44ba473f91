//! Log-mel spectrogram as openai-whisper computes it (`whisper/audio.py`, release 20250625).

use std::sync::Arc;

use rayon::prelude::*;
use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use crate::error::{DspError, DspErrorKind};
use crate::stft::periodic_hann;

/// Smallest power that is told apart from silence (`audio.py`: `torch.clamp(mel_spec, min=1e-10)`).
const POWER_FLOOR: f32 = 1e-10;
/// Frames that a thread transforms at once: some half a millisecond.
const PART: usize = 200;
/// Powers more than 80 dB under the loudest of the window are raised to it (`audio.py`: `log_spec.max() - 8.0`).
const DYNAMIC_RANGE: f32 = 1e-8;

/// Shape of a log-mel spectrogram, as a model's preprocessor file states it. The default is that of Whisper tiny to large-v2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMelOptions {
    /// Number of mel bands, `1..=256`; Whisper has 80, from large-v3 on 128.
    pub mels: usize,
    /// Samples from one frame to the next, `1..=n_fft`; Whisper has 160 (10 ms).
    pub hop: usize,
    /// Length of a frame and of its Fourier transform in samples, even, `16..=8192`; Whisper has 400 (25 ms).
    pub n_fft: usize,
    /// Sample rate of the PCM in Hz, `1000..=192_000`; Whisper has 16,000.
    pub sample_rate: u32,
}

impl Default for LogMelOptions {
    fn default() -> Self {
        Self {
            mels: 80,
            hop: 160,
            n_fft: 400,
            sample_rate: 16_000,
        }
    }
}

impl LogMelOptions {
    /// Checks every value against the range given at its field.
    ///
    /// # Errors
    /// [`DspErrorKind::MelOptions`], naming the first value that is outside.
    pub fn validate(&self) -> Result<(), DspError> {
        let refuse = |message| Err(DspError::new(DspErrorKind::MelOptions, message));
        if !(1..=256).contains(&self.mels) {
            return refuse(format!("{} mel bands: give 1 to 256", self.mels));
        }
        if !(16..=8192).contains(&self.n_fft) || !self.n_fft.is_multiple_of(2) {
            return refuse(format!(
                "n_fft of {}: give an even number of 16 to 8192",
                self.n_fft
            ));
        }
        if !(1..=self.n_fft).contains(&self.hop) {
            return refuse(format!(
                "hop of {} samples: give 1 to n_fft ({})",
                self.hop, self.n_fft
            ));
        }
        if !(1_000..=192_000).contains(&self.sample_rate) {
            return refuse(format!(
                "sample rate of {} Hz: give 1000 to 192000",
                self.sample_rate
            ));
        }
        Ok(())
    }
}

/// A planned log-mel transform: window, Fourier plan and mel bank. It is immutable, so that threads share one.
pub struct LogMel {
    options: LogMelOptions,
    hann: Vec<f32>,
    bank: Vec<Band>,
    fft: Arc<dyn RealToComplex<f32>>,
}

/// One triangle of the mel bank: its non-zero weights and the bin of the first.
pub(crate) struct Band {
    first_bin: usize,
    weights: Vec<f32>,
}

impl LogMel {
    /// Plans the transform. Costs about a millisecond; keep the plan.
    ///
    /// # Errors
    /// [`DspErrorKind::MelOptions`] when [`LogMelOptions::validate`] refuses.
    pub fn new(options: &LogMelOptions) -> Result<Self, DspError> {
        options.validate()?;
        Ok(Self {
            options: options.clone(),
            hann: periodic_hann(options.n_fft),
            bank: slaney_bank(options),
            fft: RealFftPlanner::new().plan_fft_forward(options.n_fft),
        })
    }

    /// The options that the transform was planned with.
    pub fn options(&self) -> &LogMelOptions {
        &self.options
    }

    /// Log-mel values of shape `(mels, frames)`, row-major, of `pcm` padded with zeros, or cut, to `frames × hop` samples.
    ///
    /// Equal to `log_mel_spectrogram` of openai-whisper on that audio: the ends are reflected by half a frame, values lie on a
    /// log10 scale, at most 8 decades (80 dB) under the loudest of this window, then `(x + 4) / 4`. Frames that are exactly
    /// zero cost no Fourier transform. Allocates the result and one of its size; computes on the caller's rayon pool.
    pub fn window(&self, pcm: &[f32], frames: usize) -> Vec<f32> {
        let power = self.power(pcm, frames);
        whisper_scale(&power, self.options.mels, frames)
    }

    /// Power in each mel band, shape `(frames, mels)`, row-major, before any logarithm: `librosa.feature.melspectrogram` with
    /// `pad_mode="reflect"` of `pcm`, padded and cut as by [`LogMel::window`]. Allocates the result.
    pub fn power(&self, pcm: &[f32], frames: usize) -> Vec<f32> {
        let LogMelOptions {
            mels, hop, n_fft, ..
        } = self.options;
        let pcm = &pcm[..pcm.len().min(frames.saturating_mul(hop))];
        let mut power = vec![0.0f32; frames * mels];
        let parts = power.par_chunks_mut(PART * mels).enumerate();
        parts.for_each(|(part, power)| {
            let mut frame = vec![0.0f32; n_fft];
            let mut spectrum = vec![Complex32::default(); n_fft / 2 + 1];
            let mut bins = vec![0.0f32; n_fft / 2 + 1];
            let mut scratch = self.fft.make_scratch_vec();
            for (index, bands) in (part * PART..).zip(power.chunks_exact_mut(mels)) {
                if !self.cut_frame(pcm, index, frames, &mut frame) {
                    continue;
                }
                for (sample, weight) in frame.iter_mut().zip(&self.hann) {
                    *sample *= weight;
                }
                self.fft
                    .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                    .expect("all buffers were made in the sizes of this plan");
                for (bin, value) in bins.iter_mut().zip(&spectrum) {
                    *bin = value.norm_sqr();
                }
                for (value, band) in bands.iter_mut().zip(&self.bank) {
                    *value = band.weigh(&bins);
                }
            }
        });
        power
    }

    /// Copies frame `index` of the reflected and zero-padded audio to `frame`; false when it is all zero.
    fn cut_frame(&self, pcm: &[f32], index: usize, frames: usize, frame: &mut [f32]) -> bool {
        let LogMelOptions { hop, n_fft, .. } = self.options;
        let padded_len = frames * hop;
        let half = n_fft / 2;
        let start = index * hop;
        if start >= half && start - half + n_fft <= pcm.len() {
            frame.copy_from_slice(&pcm[start - half..start - half + n_fft]);
        } else if start >= half + pcm.len() && start - half + n_fft <= padded_len {
            return false;
        } else {
            for (offset, sample) in frame.iter_mut().enumerate() {
                let position = reflect(start as i64 + offset as i64 - half as i64, padded_len);
                *sample = pcm.get(position).copied().unwrap_or(0.0);
            }
        }
        frame.iter().any(|&sample| sample != 0.0)
    }
}

impl Band {
    /// Weighted sum of the power bins under this triangle.
    pub(crate) fn weigh(&self, bins: &[f32]) -> f32 {
        self.weights
            .iter()
            .zip(&bins[self.first_bin..])
            .map(|(weight, bin)| weight * bin)
            .sum()
    }
}

/// Index of `position` in a signal of `len` samples that is mirrored at both ends without repeating the end sample
/// (`numpy.pad(mode="reflect")`, repeated for signals shorter than the padding).
fn reflect(position: i64, len: usize) -> usize {
    let last = len.saturating_sub(1) as i64;
    if last == 0 {
        return 0;
    }
    let folded = position.rem_euclid(2 * last);
    (if folded > last {
        2 * last - folded
    } else {
        folded
    }) as usize
}

/// Mel bank of `librosa.filters.mel(sr, n_fft, n_mels)` with its defaults: Slaney's mel scale and area normalisation, 0 Hz to
/// the Nyquist frequency. Bands narrower than a bin may be empty.
pub(crate) fn slaney_bank(options: &LogMelOptions) -> Vec<Band> {
    let nyquist = f64::from(options.sample_rate) / 2.0;
    let top = hz_to_mel(nyquist);
    let edges: Vec<f64> = (0..options.mels + 2)
        .map(|edge| mel_to_hz(top * edge as f64 / (options.mels + 1) as f64))
        .collect();
    let bin_hz = f64::from(options.sample_rate) / options.n_fft as f64;
    edges
        .windows(3)
        .map(|edge| {
            let (low, centre, high) = (edge[0], edge[1], edge[2]);
            let weight = |bin: usize| {
                let hz = bin as f64 * bin_hz;
                let rise = (hz - low) / (centre - low);
                let fall = (high - hz) / (high - centre);
                rise.min(fall).max(0.0) * 2.0 / (high - low)
            };
            let bins = 0..=options.n_fft / 2;
            let first_bin = bins.clone().find(|&bin| weight(bin) > 0.0).unwrap_or(0);
            let weights = (first_bin..=options.n_fft / 2)
                .map(weight)
                .take_while(|&weight| weight > 0.0)
                .map(|weight| weight as f32)
                .collect();
            Band { first_bin, weights }
        })
        .collect()
}

/// Slaney's mel scale (Auditory Toolbox 1998; `librosa.hz_to_mel(htk=False)`): linear to 1 kHz, then 27 steps per factor 6.4.
const LINEAR_HZ_PER_MEL: f64 = 200.0 / 3.0;
const LOG_START_HZ: f64 = 1000.0;
const LOG_START_MEL: f64 = LOG_START_HZ / LINEAR_HZ_PER_MEL;

fn log_step() -> f64 {
    6.4f64.ln() / 27.0
}

fn hz_to_mel(hz: f64) -> f64 {
    if hz < LOG_START_HZ {
        hz / LINEAR_HZ_PER_MEL
    } else {
        LOG_START_MEL + (hz / LOG_START_HZ).ln() / log_step()
    }
}

fn mel_to_hz(mel: f64) -> f64 {
    if mel < LOG_START_MEL {
        mel * LINEAR_HZ_PER_MEL
    } else {
        LOG_START_HZ * ((mel - LOG_START_MEL) * log_step()).exp()
    }
}

/// Turns powers of shape `(frames, mels)` into Whisper's log scale of shape `(mels, frames)`.
///
/// The floor is applied before the logarithm, which is the same (log10 is monotone) and spares the logarithm of every value
/// at the floor: most of a padded window.
fn whisper_scale(power: &[f32], mels: usize, frames: usize) -> Vec<f32> {
    let loudest = power.iter().copied().fold(POWER_FLOOR, f32::max);
    let floor = POWER_FLOOR.max(loudest * DYNAMIC_RANGE);
    let scale = |power: f32| (power.log10() + 4.0) / 4.0;
    let at_floor = scale(floor);
    let mut out = vec![at_floor; mels * frames];
    if frames == 0 {
        return out;
    }
    // Tiles keep both sides of the transposition in the cache.
    const TILE: usize = 16;
    let parts = out.par_chunks_mut(TILE * frames).enumerate();
    parts.for_each(|(part, bands)| {
        for tile in (0..frames).step_by(TILE) {
            let tile_end = (tile + TILE).min(frames);
            for (band, out) in (part * TILE..).zip(bands.chunks_exact_mut(frames)) {
                for frame in tile..tile_end {
                    let value = power[frame * mels + band];
                    // Written so that a value that is not a number stays visible.
                    if value.is_nan() || value > floor {
                        out[frame] = scale(value);
                    }
                }
            }
        }
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(mels: usize) -> LogMel {
        LogMel::new(&LogMelOptions {
            mels,
            ..Default::default()
        })
        .expect("valid options")
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        let ok = LogMelOptions::default();
        let cases = [
            (
                LogMelOptions {
                    mels: 0,
                    ..ok.clone()
                },
                "mel bands",
            ),
            (
                LogMelOptions {
                    mels: 257,
                    ..ok.clone()
                },
                "mel bands",
            ),
            (
                LogMelOptions {
                    hop: 0,
                    ..ok.clone()
                },
                "hop",
            ),
            (
                LogMelOptions {
                    hop: 401,
                    ..ok.clone()
                },
                "hop",
            ),
            (
                LogMelOptions {
                    n_fft: 401,
                    ..ok.clone()
                },
                "n_fft",
            ),
            (
                LogMelOptions {
                    n_fft: usize::MAX,
                    ..ok.clone()
                },
                "n_fft",
            ),
            (
                LogMelOptions {
                    sample_rate: 0,
                    ..ok.clone()
                },
                "sample rate",
            ),
        ];
        for (options, word) in cases {
            let error = LogMel::new(&options).err().expect("refused");
            assert_eq!(error.kind(), DspErrorKind::MelOptions);
            assert!(error.to_string().contains(word), "{error}");
        }
        assert!(ok.validate().is_ok());
    }

    #[test]
    fn reflection_mirrors_without_repeating_the_end() {
        let at = |len, positions: &[i64]| -> Vec<usize> {
            positions
                .iter()
                .map(|&position| reflect(position, len))
                .collect()
        };
        assert_eq!(at(5, &[-3, -1, 0, 4, 5, 7]), [3, 1, 0, 4, 3, 1]);
        assert_eq!(at(2, &[-3, -2, -1, 2, 3]), [1, 0, 1, 0, 1]);
        assert_eq!(at(1, &[-9, 0, 9]), [0, 0, 0]);
    }

    #[test]
    fn silence_is_the_floor_and_no_frames_are_nothing() {
        assert!(plan(80).window(&[], 0).is_empty());
        assert!(plan(80).window(&[0.5; 100], 0).is_empty());
        for pcm in [&[][..], &[0.0; 4000][..]] {
            assert_eq!(plan(80).window(pcm, 30), vec![-1.5; 80 * 30]);
        }
    }

    #[test]
    fn a_tone_lights_the_band_that_holds_it() {
        let plan = plan(80);
        for hz in [200.0f32, 1000.0, 3500.0, 7000.0] {
            let pcm: Vec<f32> = (0..16_000)
                .map(|n| (std::f32::consts::TAU * hz * n as f32 / 16_000.0).sin())
                .collect();
            let mel = plan.window(&pcm, 100);
            let loudest = (0..80).max_by(|&a, &b| mel[a * 100 + 50].total_cmp(&mel[b * 100 + 50]));
            let expected = hz_to_mel(f64::from(hz)) / hz_to_mel(8000.0) * 81.0 - 1.0;
            let band = loudest.expect("80 bands") as f64;
            assert!(
                (band - expected).abs() <= 1.0,
                "{hz} Hz: band {band}, expected {expected}"
            );
        }
    }

    #[test]
    fn padding_and_cutting_are_explicit() {
        let pcm: Vec<f32> = (0..5000)
            .map(|n| ((n * n) % 89) as f32 / 89.0 - 0.5)
            .collect();
        let plan = plan(80);
        let mut padded = pcm.clone();
        padded.resize(50 * 160, 0.0);
        assert_eq!(plan.window(&pcm, 50), plan.window(&padded, 50));
        assert_eq!(plan.window(&pcm, 20), plan.window(&pcm[..3200], 20));
    }

    #[test]
    fn hostile_samples_and_tiny_windows_do_not_panic() {
        for options in [
            LogMelOptions {
                mels: 256,
                ..Default::default()
            },
            LogMelOptions {
                mels: 1,
                hop: 1,
                n_fft: 16,
                sample_rate: 1000,
            },
        ] {
            let plan = LogMel::new(&options).expect("valid options");
            for frames in 1..4 {
                let mel = plan.window(&[f32::NAN, f32::INFINITY, f32::MAX, -0.0], frames);
                assert_eq!(mel.len(), options.mels * frames);
            }
        }
    }
}
