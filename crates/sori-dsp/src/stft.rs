//! Power spectra of overlapping frames, as `librosa.stft(center=True)` cuts and windows them.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use crate::error::{DspError, DspErrorKind};

/// A planned short-time Fourier transform with a periodic Hann window. It is immutable, so that threads share one.
pub struct Stft {
    n_fft: usize,
    hop: usize,
    hann: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
}

impl Stft {
    /// Plans frames of `n_fft` samples (even, `16..=8192`), `hop` samples (`1..=n_fft`) apart.
    ///
    /// # Errors
    /// [`DspErrorKind::StftOptions`] for a length outside its range.
    pub fn new(n_fft: usize, hop: usize) -> Result<Self, DspError> {
        let refuse = |message| Err(DspError::new(DspErrorKind::StftOptions, message));
        if !(16..=8192).contains(&n_fft) || !n_fft.is_multiple_of(2) {
            return refuse(format!(
                "n_fft of {n_fft}: give an even number of 16 to 8192"
            ));
        }
        if !(1..=n_fft).contains(&hop) {
            return refuse(format!("hop of {hop} samples: give 1 to n_fft ({n_fft})"));
        }
        Ok(Self {
            n_fft,
            hop,
            hann: periodic_hann(n_fft),
            fft: RealFftPlanner::new().plan_fft_forward(n_fft),
        })
    }

    /// Length of a power spectrum: `n_fft / 2 + 1`.
    pub fn bins(&self) -> usize {
        self.n_fft / 2 + 1
    }

    /// Calls `each(index, power)` for the first `frames` frames of `pcm`, `power` being the squared magnitudes of the bins.
    ///
    /// The centre of frame `i` lies on sample `i × hop`; what lies outside `pcm` counts as zero (`pad_mode="constant"`).
    /// Allocates once, not for every frame. A frame of zeros costs no transform.
    pub fn power(&self, pcm: &[f32], frames: usize, mut each: impl FnMut(usize, &[f32])) {
        let mut frame = vec![0.0f32; self.n_fft];
        let mut spectrum = vec![Complex32::default(); self.bins()];
        let mut power = vec![0.0f32; self.bins()];
        let mut scratch = self.fft.make_scratch_vec();
        for index in 0..frames {
            let (before, sound) = centred(pcm, index * self.hop, self.n_fft);
            if sound.iter().all(|&sample| sample == 0.0) {
                power.fill(0.0);
            } else {
                frame.fill(0.0);
                let weights = &self.hann[before..before + sound.len()];
                for ((out, sample), weight) in frame[before..].iter_mut().zip(sound).zip(weights) {
                    *out = sample * weight;
                }
                self.fft
                    .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                    .expect("all buffers were made in the sizes of this plan");
                for (bin, value) in power.iter_mut().zip(&spectrum) {
                    *bin = value.norm_sqr();
                }
            }
            each(index, &power);
        }
    }
}

/// The part of `pcm` under a frame of `len` samples around sample `centre`, and how many samples of the frame precede it.
pub(crate) fn centred(pcm: &[f32], centre: usize, len: usize) -> (usize, &[f32]) {
    let before = (len / 2).saturating_sub(centre);
    let from = (centre + before).saturating_sub(len / 2).min(pcm.len());
    let to = (from + len - before).min(pcm.len());
    (before, &pcm[from..to])
}

/// Hann window of period `len`, as `torch.hann_window(len)` and `scipy.signal.get_window("hann", len)`.
pub(crate) fn periodic_hann(len: usize) -> Vec<f32> {
    (0..len)
        .map(|n| {
            let phase = 2.0 * std::f64::consts::PI * n as f64 / len as f64;
            (0.5 - 0.5 * phase.cos()) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_around_its_centre() {
        let pcm: Vec<f32> = (0..10).map(|n| n as f32).collect();
        let check = |centre, len, before, sound: &[f32]| {
            assert_eq!(
                centred(&pcm, centre, len),
                (before, sound),
                "{centre} {len}"
            );
        };
        check(5, 4, 0, &[3.0, 4.0, 5.0, 6.0]);
        check(0, 4, 2, &[0.0, 1.0]);
        check(1, 4, 1, &[0.0, 1.0, 2.0]);
        check(9, 4, 0, &[7.0, 8.0, 9.0]);
        check(30, 4, 0, &[]);
        assert_eq!(centred(&[], 0, 4), (2, &[][..]));
    }

    #[test]
    fn lengths_outside_their_range_are_refused() {
        for (n_fft, hop) in [(0, 1), (15, 1), (8194, 1), (17, 1), (512, 0), (512, 513)] {
            let error = Stft::new(n_fft, hop).err().expect("refused");
            assert_eq!(error.kind(), DspErrorKind::StftOptions);
        }
    }

    #[test]
    fn the_bins_of_a_tone_hold_its_power() {
        // A cosine of amplitude 1 on bin 8 has magnitude n_fft / 4 there: half for the window, half for the two sides.
        let pcm: Vec<f32> = (0..256)
            .map(|n| (std::f32::consts::TAU * 8.0 * n as f32 / 64.0).cos())
            .collect();
        let stft = Stft::new(64, 64).expect("valid");
        let mut seen = 0;
        stft.power(&pcm, 5, |index, power| {
            seen += 1;
            assert_eq!(power.len(), 33);
            if (1..4).contains(&index) {
                assert!((power[8].sqrt() - 16.0).abs() < 1e-3, "{}", power[8]);
                assert!(power[11] < 1e-6);
            }
        });
        assert_eq!(seen, 5);
    }
}
