//! Sample-rate conversion of one channel, piece by piece, without moving it in time.

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

use crate::error::{DspError, DspErrorKind};

/// Sample rates that [`Resampler::new`] accepts, in Hz. The upper bound keeps the Fourier blocks of a rate that shares no
/// factor with its partner under 100 MB.
pub const RATE_RANGE_HZ: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Shortest Fourier block in samples of the lower rate: from here on the pass band reaches 97 % of its Nyquist frequency.
const BLOCK: usize = 1024;

/// A streaming resampler of one channel: a Fourier-domain filter (rubato's `Fft`, Blackman-Harris² window) whose delay is
/// already taken out.
///
/// Output sample 0 lies at the time of input sample 0. Output appears in blocks: up to one and a half (about 0.1 s at 48 kHz)
/// are held back until more input or [`finish`](Self::finish) comes. Equal rates copy.
///
/// ```
/// let mut resampler = sori_dsp::Resampler::new(48_000, 16_000)?;
/// let mut pcm = Vec::new();
/// resampler.push(&[0.25; 48_000], &mut pcm);
/// resampler.finish(&mut pcm);
/// assert_eq!(pcm.len(), 16_000);
/// # Ok::<(), sori_dsp::DspError>(())
/// ```
pub struct Resampler {
    from_hz: u64,
    to_hz: u64,
    /// None when the rates are equal.
    blocks: Option<Blocks>,
    taken: u64,
    given: u64,
}

struct Blocks {
    fft: Fft<f32>,
    input: Vec<Vec<f32>>,
    filled: usize,
    output: Vec<Vec<f32>>,
    /// Leading output samples that are only the filter's delay.
    delay_left: usize,
}

impl Resampler {
    /// A resampler from `from_hz` to `to_hz`. Costs a few milliseconds to plan.
    ///
    /// # Errors
    /// [`DspErrorKind::SampleRate`] when a rate is outside [`RATE_RANGE_HZ`].
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, DspError> {
        for rate in [from_hz, to_hz] {
            if !RATE_RANGE_HZ.contains(&rate) {
                return Err(DspError::new(
                    DspErrorKind::SampleRate,
                    format!(
                        "sample rate of {rate} Hz: give {} to {}",
                        RATE_RANGE_HZ.start(),
                        RATE_RANGE_HZ.end()
                    ),
                ));
            }
        }
        let blocks = if from_hz == to_hz {
            None
        } else {
            Some(Blocks::new(from_hz, to_hz)?)
        };
        Ok(Self {
            from_hz: from_hz.into(),
            to_hz: to_hz.into(),
            blocks,
            taken: 0,
            given: 0,
        })
    }

    /// Takes `pcm` in and appends to `out` what is ready.
    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        self.taken += pcm.len() as u64;
        let Some(blocks) = &mut self.blocks else {
            out.extend_from_slice(pcm);
            return;
        };
        let before = out.len();
        blocks.push(pcm, out);
        self.given += (out.len() - before) as u64;
    }

    /// Appends the rest, so that the stream has `round(n × to / from)` samples in all, and makes ready for a new stream.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        if let Some(blocks) = &mut self.blocks {
            let total = (self.taken * self.to_hz + self.from_hz / 2) / self.from_hz;
            let mut missing = total.saturating_sub(self.given) as usize;
            let mut tail = Vec::new();
            let silence = vec![0.0; blocks.input[0].len()];
            while missing > 0 {
                tail.clear();
                blocks.push(&silence, &mut tail);
                tail.truncate(missing);
                missing -= tail.len();
                out.extend_from_slice(&tail);
            }
            blocks.reset();
        }
        self.taken = 0;
        self.given = 0;
    }
}

impl Blocks {
    fn new(from_hz: u32, to_hz: u32) -> Result<Self, DspError> {
        let divisor = greatest_common_divisor(from_hz, to_hz);
        let step = 2 * (from_hz / divisor) as usize; // even blocks make the delay a whole number of samples on both sides
        let wanted = BLOCK * (from_hz as usize).div_ceil(to_hz as usize);
        let block = wanted.div_ceil(step) * step;
        let fft = Fft::new_custom(
            from_hz as usize,
            to_hz as usize,
            block,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Both,
        )
        .map_err(|error| DspError::new(DspErrorKind::SampleRate, error.to_string()))?;
        Ok(Self {
            input: vec![vec![0.0; fft.input_frames_next()]],
            filled: 0,
            output: vec![vec![0.0; fft.output_frames_max()]],
            delay_left: fft.output_delay(),
            fft,
        })
    }

    fn push(&mut self, mut pcm: &[f32], out: &mut Vec<f32>) {
        while !pcm.is_empty() {
            let block = &mut self.input[0];
            let part = pcm.len().min(block.len() - self.filled);
            block[self.filled..self.filled + part].copy_from_slice(&pcm[..part]);
            self.filled += part;
            pcm = &pcm[part..];
            if self.filled == block.len() {
                self.filled = 0;
                self.transform(out);
            }
        }
    }

    fn transform(&mut self, out: &mut Vec<f32>) {
        let (frames_in, frames_out) = (self.input[0].len(), self.output[0].len());
        let input = SequentialSliceOfVecs::new(&self.input, 1, frames_in)
            .expect("one channel of exactly this length");
        let mut output = SequentialSliceOfVecs::new_mut(&mut self.output, 1, frames_out)
            .expect("one channel of exactly this length");
        let (_, made) = self
            .fft
            .process_into_buffer(&input, &mut output, None)
            .expect("both buffers have the sizes that the resampler asked for");
        let skipped = made.min(self.delay_left);
        self.delay_left -= skipped;
        out.extend_from_slice(&self.output[0][skipped..made]);
    }

    fn reset(&mut self) {
        self.fft.reset();
        self.filled = 0;
        self.delay_left = self.fft.output_delay();
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    fn sine(hz: f64, rate: u32, len: usize) -> Vec<f32> {
        (0..len)
            .map(|n| (TAU * hz * n as f64 / f64::from(rate)).sin() as f32 * 0.5)
            .collect()
    }

    fn resample(from: u32, to: u32, pcm: &[f32]) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to).expect("rates in range");
        let mut out = Vec::new();
        resampler.push(pcm, &mut out);
        resampler.finish(&mut out);
        out
    }

    fn energy(pcm: &[f32]) -> f64 {
        pcm.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
    }

    #[test]
    fn a_sine_in_the_pass_band_stays_where_it_is() {
        for from in [
            8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000,
        ] {
            for hz in [100.0, 1000.0, 3000.0, 7000.0] {
                if hz > 0.9 * f64::from(from) / 2.0 {
                    continue;
                }
                let seconds = 2;
                let out = resample(from, 16_000, &sine(hz, from, seconds * from as usize));
                let expected = sine(hz, 16_000, seconds * 16_000);
                assert_eq!(out.len(), expected.len());
                // The ends see the silence beyond the file; a fifth of a second is beyond any filter used.
                let inner = 3200..expected.len() - 3200;
                let error: Vec<f32> = inner.clone().map(|at| out[at] - expected[at]).collect();
                let snr = 10.0 * (energy(&expected[inner]) / energy(&error)).log10();
                assert!(snr > 80.0, "{from} Hz, tone of {hz} Hz: SNR {snr:.1} dB");
            }
        }
    }

    #[test]
    fn what_16_khz_cannot_hold_does_not_fold_back() {
        for from in [44_100, 48_000, 96_000] {
            for hz in [8_500.0, 9_000.0, 12_000.0, 15_900.0, 20_000.0] {
                let out = resample(from, 16_000, &sine(hz, from, from as usize));
                let level = 10.0 * (energy(&out[3200..12_800]) / 9_600.0 / 0.125).log10();
                assert!(
                    level < -80.0,
                    "{from} Hz, tone of {hz} Hz leaves {level:.1} dB"
                );
            }
        }
    }

    #[test]
    fn length_is_rounded_and_an_impulse_keeps_its_time() {
        for (from, to, len) in [
            (44_100, 16_000, 1),
            (44_100, 16_000, 44_101),
            (48_000, 16_000, 100_001),
            (8_000, 16_000, 12_345),
            (16_000, 16_000, 777),
            (7_919, 16_000, 30_000),
            (22_050, 16_000, 0),
        ] {
            let mut pcm = vec![0.0; len];
            let at = len / 3;
            if len > 0 {
                pcm[at] = 1.0;
            }
            let out = resample(from, to, &pcm);
            let ratio = f64::from(to) / f64::from(from);
            assert_eq!(
                out.len(),
                (len as f64 * ratio).round() as usize,
                "{from} -> {to}, {len}"
            );
            if len > 1 {
                let peak = (0..out.len())
                    .max_by(|&a, &b| out[a].total_cmp(&out[b]))
                    .expect("not empty");
                assert!(
                    (peak as f64 - at as f64 * ratio).abs() <= 1.0,
                    "{from} -> {to}: {peak}"
                );
            }
        }
    }

    #[test]
    fn a_finished_resampler_starts_anew() {
        let pcm = sine(440.0, 44_100, 30_000);
        let mut resampler = Resampler::new(44_100, 16_000).expect("rates in range");
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for out in [&mut first, &mut second] {
            resampler.push(&pcm, out);
            resampler.finish(out);
        }
        assert_eq!(first, second);
    }

    #[test]
    fn absurd_rates_are_refused() {
        for (from, to) in [(0, 16_000), (16_000, 0), (999, 16_000), (u32::MAX, 16_000)] {
            let error = Resampler::new(from, to).err().expect("refused");
            assert_eq!(error.kind(), DspErrorKind::SampleRate);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pieces_give_what_the_whole_gives(
            from in prop::sample::select(vec![8_000u32, 16_000, 22_050, 44_100, 48_000]),
            len in 0usize..20_000,
            cuts in prop::collection::vec(0usize..3_000, 1..12),
        ) {
            let pcm: Vec<f32> = (0..len).map(|n| ((n * 7919) % 997) as f32 / 997.0 - 0.5).collect();
            let whole = resample(from, 16_000, &pcm);
            let mut resampler = Resampler::new(from, 16_000).expect("rates in range");
            let (mut out, mut rest) = (Vec::new(), &pcm[..]);
            for cut in cuts {
                let (piece, later) = rest.split_at(cut.min(rest.len()));
                resampler.push(piece, &mut out);
                rest = later;
            }
            resampler.push(rest, &mut out);
            resampler.finish(&mut out);
            prop_assert_eq!(out, whole);
        }
    }
}
