//! Where the energy of a frame lies, and how often it crosses zero: the shape features of librosa.

use crate::stft::centred;

/// Share of the magnitude below the roll-off (`librosa.feature.spectral_rolloff(roll_percent=0.85)`).
const ROLLOFF_SHARE: f64 = 0.85;
/// Smallest power in the geometric mean (`librosa.feature.spectral_flatness(amin=1e-10)`).
const FLATNESS_FLOOR: f64 = 1e-10;
/// Samples this close to zero count as positive (`librosa.zero_crossings(threshold=1e-10)`).
const ZERO: f32 = 1e-10;

/// Shape of one power spectrum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpectralShape {
    /// Centre of mass of the magnitudes in Hz.
    pub centroid_hz: f32,
    /// Frequency in Hz of the first bin at which 85 % of the magnitude is reached.
    pub rolloff_hz: f32,
    /// Standard deviation of the magnitudes around the centroid in Hz.
    pub bandwidth_hz: f32,
    /// Geometric over arithmetic mean of the powers, 0 (a tone) to 1 (white noise).
    pub flatness: f32,
}

/// Shape of a power spectrum whose bins lie `bin_hz` apart, from 0 Hz.
///
/// Equal to `librosa.feature.spectral_{centroid,rolloff,bandwidth,flatness}` with their defaults. A spectrum of zeros has its
/// centroid, roll-off and bandwidth at 0 Hz and flatness 1, as there.
pub fn spectral_shape(power: &[f32], bin_hz: f32) -> SpectralShape {
    let (mut total, mut first, mut second) = (0.0f64, 0.0f64, 0.0f64);
    for (bin, &power) in power.iter().enumerate() {
        let (bin, magnitude) = (bin as f64, f64::from(power.sqrt()));
        total += magnitude;
        first += bin * magnitude;
        second += bin * bin * magnitude;
    }
    let flatness = flatness(power);
    if total <= 0.0 {
        return SpectralShape {
            flatness,
            ..SpectralShape::default()
        };
    }
    let centroid = first / total;
    let variance = (second / total - centroid * centroid).max(0.0);
    let mut below = 0.0f64;
    let rolloff = power
        .iter()
        .position(|&power| {
            below += f64::from(power.sqrt());
            below >= ROLLOFF_SHARE * total
        })
        .unwrap_or(0);
    let hz = f64::from(bin_hz);
    SpectralShape {
        centroid_hz: (centroid * hz) as f32,
        rolloff_hz: (rolloff as f64 * hz) as f32,
        bandwidth_hz: (variance.sqrt() * hz) as f32,
        flatness,
    }
}

/// Geometric over arithmetic mean. Eight powers share a logarithm: between 1e-80 and 1e304 their product is an f64.
fn flatness(power: &[f32]) -> f32 {
    let raised = |&power: &f32| f64::from(power).clamp(FLATNESS_FLOOR, 1e38);
    let log_sum: f64 = power
        .chunks(8)
        .map(|powers| powers.iter().map(raised).product::<f64>().ln())
        .sum();
    let mean = power.iter().map(raised).sum::<f64>() / power.len() as f64;
    ((log_sum / power.len() as f64).exp() / mean) as f32
}

/// Loudness and roughness of a frame of samples, without a spectrum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Level {
    /// Mean square of the samples; what lies outside the sound counts as zero.
    pub power: f32,
    /// Sign changes over the samples of the frame, 0 to 1.
    pub zero_crossing_rate: f32,
}

/// Level of the frame of `len` samples around sample `centre` of `pcm`.
///
/// Equal to the square of `librosa.feature.rms(frame_length=len)` and to `librosa.feature.zero_crossing_rate(frame_length=len)`,
/// both with `center=True`, at frame `centre / hop`. `len` of 0 gives zeros.
pub fn level(pcm: &[f32], centre: usize, len: usize) -> Level {
    let (_, sound) = centred(pcm, centre, len);
    if sound.is_empty() {
        return Level::default();
    }
    let mut squares = [0.0f32; 8];
    for samples in sound.chunks(8) {
        for (sum, sample) in squares.iter_mut().zip(samples) {
            *sum += sample * sample;
        }
    }
    let negative = |sample: f32| sample < -ZERO;
    let crossings: u32 = sound
        .iter()
        .zip(&sound[1..])
        .map(|(&one, &next)| u32::from(negative(one) != negative(next)))
        .sum();
    Level {
        power: squares.iter().sum::<f32>() / len as f32,
        zero_crossing_rate: crossings as f32 / len as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_spectra_that_can_be_checked_by_hand() {
        let near = |left: f32, right: f32| (left - right).abs() < 1e-3;
        let line = spectral_shape(&[0.0, 0.0, 9.0, 0.0], 100.0);
        assert!(near(line.centroid_hz, 200.0) && near(line.bandwidth_hz, 0.0));
        assert!(near(line.rolloff_hz, 200.0) && line.flatness < 1e-6);
        let flat = spectral_shape(&[4.0; 5], 100.0);
        assert!(near(flat.centroid_hz, 200.0) && near(flat.flatness, 1.0));
        assert!(near(flat.bandwidth_hz, 100.0 * 2.0f32.sqrt()) && near(flat.rolloff_hz, 400.0));
        let zero = spectral_shape(&[0.0; 257], 31.25);
        assert_eq!((zero.centroid_hz, zero.rolloff_hz), (0.0, 0.0));
        assert!(near(zero.flatness, 1.0));
    }

    #[test]
    fn levels_of_frames_inside_at_the_edge_and_outside() {
        let pcm = [0.5, -0.5, 0.5, -0.5, 0.5, -0.5];
        let inside = level(&pcm, 3, 4);
        assert_eq!((inside.power, inside.zero_crossing_rate), (0.25, 0.75));
        let edge = level(&pcm, 0, 4);
        assert_eq!((edge.power, edge.zero_crossing_rate), (0.125, 0.25));
        assert_eq!(level(&pcm, 40, 4), Level::default());
        assert_eq!(level(&[], 0, 4), Level::default());
        assert_eq!(
            level(&[1e-12, -1e-12, 1e-12, -1e-12], 2, 4).zero_crossing_rate,
            0.0
        );
    }

    #[test]
    fn values_that_are_not_finite_do_not_panic() {
        let power = [f32::NAN, f32::INFINITY, f32::MAX, 0.0];
        let _ = spectral_shape(&power, 31.25);
        let _ = spectral_shape(&[], 31.25);
        let _ = level(&power, 1, 4);
    }
}
