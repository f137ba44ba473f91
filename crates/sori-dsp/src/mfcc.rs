//! Mel-frequency cepstral coefficients and their slopes, as librosa computes them.

use crate::error::{DspError, DspErrorKind};
use crate::mel::{Band, LogMelOptions, slaney_bank};

/// Smallest mel power (`librosa.power_to_db(amin=1e-10)`).
const POWER_FLOOR: f32 = 1e-10;
/// Frames on either side of a slope (`librosa.feature.delta(width=9)`).
const DELTA_REACH: usize = 4;

/// A planned transform from a power spectrum to cepstral coefficients. It is immutable, so that threads share one.
///
/// Equal to `librosa.feature.mfcc(S=librosa.power_to_db(mel, top_db=None))` with the mel bank's defaults (Slaney's scale and
/// norm, 0 Hz to the Nyquist frequency), `dct_type=2`, `norm="ortho"`, no lifter. librosa's own default raises what is 80 dB
/// under the loudest frame of the clip; without that the value of a frame depends on no other frame.
pub struct Mfcc {
    bank: Vec<Band>,
    /// Cosines of shape `(coefficients, mels)`, row-major.
    cosines: Vec<f32>,
}

impl Mfcc {
    /// Plans `coefficients` (`1..=options.mels`) from the spectra that `options` describe; its hop is not used.
    ///
    /// # Errors
    /// [`DspErrorKind::MelOptions`] when [`LogMelOptions::validate`] refuses, or for a number of coefficients outside.
    pub fn new(options: &LogMelOptions, coefficients: usize) -> Result<Self, DspError> {
        options.validate()?;
        let mels = options.mels;
        if !(1..=mels).contains(&coefficients) {
            let message = format!(
                "{coefficients} cepstral coefficients of {mels} mel bands: give 1 to {mels}"
            );
            return Err(DspError::new(DspErrorKind::MelOptions, message));
        }
        let cosine = |at: usize| {
            let (row, band) = (at / mels, at % mels);
            let angle = std::f64::consts::PI * row as f64 * (band as f64 + 0.5) / mels as f64;
            let scale = if row == 0 { 1.0 } else { 2.0 } / mels as f64;
            (scale.sqrt() * angle.cos()) as f32
        };
        Ok(Self {
            bank: slaney_bank(options),
            cosines: (0..coefficients * mels).map(cosine).collect(),
        })
    }

    /// Writes the coefficients of a power spectrum of `n_fft / 2 + 1` bins to `out`, as many as fit of those planned.
    pub fn coefficients(&self, power: &[f32], out: &mut [f32]) {
        // 256 is the most that `LogMelOptions::validate` lets through.
        let mut decibels = [0.0f32; 256];
        let decibels = &mut decibels[..self.bank.len()];
        for (value, band) in decibels.iter_mut().zip(&self.bank) {
            *value = 10.0 * band.weigh(power).max(POWER_FLOOR).log10();
        }
        for (value, row) in out
            .iter_mut()
            .zip(self.cosines.chunks_exact(self.bank.len()))
        {
            *value = row
                .iter()
                .zip(&*decibels)
                .map(|(weight, db)| weight * db)
                .sum();
        }
    }
}

/// Slopes per frame of values of shape `(frames, width)`, row-major, in the same shape; zeros for fewer than 9 frames.
///
/// Equal to `librosa.feature.delta(width=9, order=1, mode="interp")`: the slope of the line through 9 frames, at either end
/// that of the first or last 9.
pub fn slopes(values: &[f32], width: usize) -> Vec<f32> {
    let frames = values.len().checked_div(width).unwrap_or(0);
    let mut out = vec![0.0f32; values.len()];
    if frames < 2 * DELTA_REACH + 1 {
        return out;
    }
    let squares: usize = (1..=DELTA_REACH).map(|step| 2 * step * step).sum();
    for (frame, row) in out.chunks_exact_mut(width).enumerate() {
        let centre = frame.clamp(DELTA_REACH, frames - 1 - DELTA_REACH);
        for (column, slope) in row.iter_mut().enumerate() {
            let at = |frame: usize| values[frame * width + column];
            let sum: f32 = (1..=DELTA_REACH)
                .map(|step| step as f32 * (at(centre + step) - at(centre - step)))
                .sum();
            *slope = sum / squares as f32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> LogMelOptions {
        LogMelOptions {
            mels: 40,
            n_fft: 512,
            ..Default::default()
        }
    }

    #[test]
    fn a_number_of_coefficients_outside_is_refused() {
        for coefficients in [0, 41] {
            let error = Mfcc::new(&options(), coefficients).err().expect("refused");
            assert_eq!(error.kind(), DspErrorKind::MelOptions);
        }
    }

    #[test]
    fn silence_has_only_the_first_coefficient() {
        let mut out = [1.0f32; 13];
        let mfcc = Mfcc::new(&options(), 13).expect("valid");
        mfcc.coefficients(&[0.0; 257], &mut out);
        assert!((out[0] + 100.0 * 40f32.sqrt()).abs() < 1e-2, "{}", out[0]);
        assert!(out[1..].iter().all(|value| value.abs() < 1e-3), "{out:?}");
    }

    #[test]
    fn slopes_of_lines_are_exact_at_the_ends_too() {
        let values: Vec<f32> = (0..12).flat_map(|n| [3.0 * n as f32, 7.0]).collect();
        for row in slopes(&values, 2).chunks(2) {
            assert_eq!(row, [3.0, 0.0]);
        }
        assert_eq!(slopes(&values[..16], 2), vec![0.0; 16]);
        assert!(slopes(&[], 13).is_empty() && slopes(&[], 0).is_empty());
    }
}
