//! What the pitch of a frame could be: peaks of its autocorrelation.

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::PitchOptions;
use super::path::{OCTAVE_COST, VOICED_UNVOICED_COST, VOICING_THRESHOLD, unvoiced_strength};
use crate::stft::centred;

/// Periods of the lowest pitch in a frame (`Sound_to_Pitch_ac`).
const PERIODS: f64 = 3.0;
/// Most candidates of a frame.
const MOST: usize = 15;
/// Samples on either side of a point between samples that its sinc looks at (`Sound_to_Pitch.cpp`: depth 30).
const DEPTH: usize = 30;
/// Points between two samples at which the autocorrelation is looked up before a parabola through three of them.
const PHASES: usize = 16;
/// What counts as loud is the highest peak (Praat), but at most this many times the peak that all but [`LOUDER_SHARE`] of the
/// frames stay under: a knock must not hush a voice.
const LOUDER_FACTOR: f32 = 1.5;
const LOUDER_SHARE: f64 = 0.02;

/// One possible pitch of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub hz: f32,
    /// Normalised autocorrelation, 0 to 1.
    pub strength: f32,
}

/// Candidates of every frame of a stretch.
pub(super) struct Candidates {
    list: Vec<Candidate>,
    /// Where the candidates of each frame end in `list`.
    ends: Vec<usize>,
    /// Peak of each frame over `loud`, 0 to 1.
    pub intensity: Vec<f32>,
    pub loud: f32,
}

impl Candidates {
    pub(super) fn frame(&self, index: usize) -> &[Candidate] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.list[start..self.ends[index]]
    }
}

/// A planned normalised autocorrelation.
pub(super) struct Correlator {
    hop: usize,
    rate: f32,
    floor_hz: f32,
    /// Samples of the lowest period.
    longest: usize,
    /// First lag of a pitch below the ceiling, and the first lag beyond the floor.
    lags: std::ops::Range<usize>,
    window: Vec<f32>,
    /// One over the autocorrelation of the window itself.
    correction: Vec<f32>,
    sinc: Vec<[f32; 2 * DEPTH]>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

/// Buffers of one frame, made once for a stretch.
struct Buffers {
    frame: Vec<f32>,
    spectrum: Vec<Complex32>,
    correlation: Vec<f32>,
    /// Normalised autocorrelation from lag `-DEPTH` on.
    normal: Vec<f32>,
    scratch: Vec<Complex32>,
}

impl Correlator {
    pub(super) fn new(options: &PitchOptions, planner: &mut RealFftPlanner<f32>) -> Self {
        let rate = f64::from(options.sample_rate);
        let longest = (rate / f64::from(options.floor_hz)) as usize;
        let len = ((PERIODS * rate / f64::from(options.floor_hz)) as usize / 2 - 1) * 2;
        let lags = (rate / f64::from(options.ceiling_hz)) as usize..longest + 2;
        let window: Vec<f64> = (1..=len)
            .map(|n| 0.5 - 0.5 * (2.0 * PI * n as f64 / (len + 1) as f64).cos())
            .collect();
        let correlate = |lag: usize| -> f64 {
            window
                .iter()
                .zip(&window[lag..])
                .map(|(one, other)| one * other)
                .sum()
        };
        let reach = lags.end + DEPTH + 1;
        let power = correlate(0);
        // Long enough that no lag in use wraps around.
        let n_fft = (len + reach).next_power_of_two();
        Self {
            hop: options.hop,
            rate: options.sample_rate as f32,
            floor_hz: options.floor_hz,
            longest,
            correction: (0..reach)
                .map(|lag| (power / correlate(lag)) as f32)
                .collect(),
            window: window.iter().map(|&weight| weight as f32).collect(),
            sinc: (0..PHASES).map(sinc_taps).collect(),
            lags,
            forward: planner.plan_fft_forward(n_fft),
            inverse: planner.plan_fft_inverse(n_fft),
        }
    }

    /// Candidates of the first `frames` frames.
    pub(super) fn candidates(&self, pcm: &[f32], frames: usize) -> Candidates {
        let mut found = Candidates {
            list: Vec::with_capacity(frames * 4),
            ends: Vec::with_capacity(frames),
            intensity: (0..frames).map(|index| self.peak(pcm, index)).collect(),
            loud: 0.0,
        };
        found.loud = loud(&found.intensity);
        for peak in &mut found.intensity {
            *peak = if found.loud > 0.0 {
                (*peak / found.loud).min(1.0)
            } else {
                0.0
            };
        }
        let mut buffers = Buffers {
            frame: self.forward.make_input_vec(),
            spectrum: self.forward.make_output_vec(),
            correlation: self.inverse.make_output_vec(),
            normal: vec![0.0; DEPTH + self.correction.len()],
            scratch: vec![
                Complex32::default();
                self.forward
                    .get_scratch_len()
                    .max(self.inverse.get_scratch_len())
            ],
        };
        for index in 0..frames {
            // Where even a perfect period could not pay for a change to voiced and back, the path stays unvoiced.
            let hopeless = unvoiced_strength(found.intensity[index])
                > 1.0 + 2.0 * VOICED_UNVOICED_COST * (0.01 * self.rate / self.hop as f32).max(1.0);
            if !hopeless && self.correlate(pcm, index, &mut buffers) {
                self.peaks(&buffers.normal, &mut found.list);
            }
            found.ends.push(found.list.len());
        }
        found
    }

    /// Mean of two of the longest periods around a frame's centre, which is taken off before all else.
    fn mean(&self, pcm: &[f32], index: usize) -> f32 {
        let (_, around) = centred(pcm, index * self.hop, 2 * self.longest);
        around.iter().sum::<f32>() / (2 * self.longest) as f32
    }

    /// Highest weighted sample within half of the longest period of the frame's centre.
    fn peak(&self, pcm: &[f32], index: usize) -> f32 {
        let mean = self.mean(pcm, index);
        let len = 2 * (self.longest / 2 + 1);
        let (before, around) = centred(pcm, index * self.hop, len);
        let offset = self.window.len().saturating_sub(len) / 2 + before;
        let weights = self.window[offset..].iter();
        around
            .iter()
            .zip(weights)
            .map(|(sample, weight)| ((sample - mean) * weight).abs())
            .fold(0.0, f32::max)
    }

    /// Writes the normalised autocorrelation of a frame to `buffers.normal`; false when the frame is silent.
    fn correlate(&self, pcm: &[f32], index: usize, buffers: &mut Buffers) -> bool {
        let mean = self.mean(pcm, index);
        let (before, sound) = centred(pcm, index * self.hop, self.window.len());
        buffers.frame.fill(0.0);
        for (at, (out, weight)) in buffers.frame.iter_mut().zip(&self.window).enumerate() {
            let sample = at.checked_sub(before).and_then(|at| sound.get(at));
            *out = (sample.copied().unwrap_or(0.0) - mean) * weight;
        }
        let sized = "all buffers were made in the sizes of this plan";
        self.forward
            .process_with_scratch(
                &mut buffers.frame,
                &mut buffers.spectrum,
                &mut buffers.scratch,
            )
            .expect(sized);
        for value in &mut buffers.spectrum {
            *value = Complex32::new(value.norm_sqr(), 0.0);
        }
        self.inverse
            .process_with_scratch(
                &mut buffers.spectrum,
                &mut buffers.correlation,
                &mut buffers.scratch,
            )
            .expect(sized);
        let power = buffers.correlation[0];
        if !(power > 0.0 && power.is_finite()) {
            return false;
        }
        for (lag, correction) in self.correction.iter().enumerate() {
            let value = buffers.correlation[lag] / power * correction;
            buffers.normal[DEPTH + lag] = value;
            if lag <= DEPTH {
                buffers.normal[DEPTH - lag] = value;
            }
        }
        true
    }

    /// Adds the peaks of a normalised autocorrelation to `list`: the 15 best of those that could be a voice.
    fn peaks(&self, normal: &[f32], list: &mut Vec<Candidate>) {
        let start = list.len();
        let at = |lag: usize| normal[DEPTH + lag];
        for lag in self.lags.clone() {
            let (left, middle, right) = (at(lag - 1), at(lag), at(lag + 1));
            if !(middle > 0.5 * VOICING_THRESHOLD && middle > left && middle >= right) {
                continue;
            }
            let (period, strength) = self.refine(normal, lag);
            let candidate = Candidate {
                hz: self.rate / period,
                // A short window may give more than 1, which means as much less (`Sound_to_Pitch.cpp`).
                strength: if strength > 1.0 {
                    1.0 / strength
                } else {
                    strength
                },
            };
            if candidate.hz < self.floor_hz {
                continue;
            }
            if list.len() - start < MOST {
                list.push(candidate);
                continue;
            }
            // High pitches are to be favoured, as on the path.
            let worth =
                |one: &Candidate| one.strength - OCTAVE_COST * (self.floor_hz / one.hz).log2();
            let weakest = list[start..]
                .iter_mut()
                .min_by(|a, b| worth(a).total_cmp(&worth(b)));
            if let Some(weakest) = weakest.filter(|weakest| worth(&candidate) > worth(weakest)) {
                *weakest = candidate;
            }
        }
    }

    /// Place and height of the peak around `lag`: uphill from the parabola's guess on a grid of sixteenths of a sample, then a
    /// parabola through the three highest points of it.
    fn refine(&self, normal: &[f32], lag: usize) -> (f32, f32) {
        let value = |at: usize| -> f32 {
            let (whole, phase) = (at / PHASES, at % PHASES);
            // Taps reach from DEPTH - 1 samples before to DEPTH samples after; `normal` starts DEPTH before lag 0.
            let around = &normal[whole + 1..][..2 * DEPTH];
            let mut sums = [0.0f32; 4];
            for (values, taps) in around.chunks_exact(4).zip(self.sinc[phase].chunks_exact(4)) {
                for lane in 0..4 {
                    sums[lane] += values[lane] * taps[lane];
                }
            }
            sums.iter().sum()
        };
        let (left, middle, right) = (
            normal[DEPTH + lag - 1],
            normal[DEPTH + lag],
            normal[DEPTH + lag + 1],
        );
        let guess = lag as f32 + vertex(left, middle, right).0;
        let mut at = (guess * PHASES as f32).round() as usize;
        let (first, last) = ((lag - 1) * PHASES + 1, (lag + 1) * PHASES - 1);
        let (mut below, mut here, mut above) = (value(at - 1), value(at), value(at + 1));
        while above > here && at < last {
            at += 1;
            (below, here, above) = (here, above, value(at + 1));
        }
        while below > here && at > first {
            at -= 1;
            (below, here, above) = (value(at - 1), below, here);
        }
        let (offset, height) = vertex(below, here, above);
        ((at as f32 + offset) / PHASES as f32, height)
    }
}

/// Offset (-0.5 to 0.5 around the middle for a peak) and height of the vertex of the parabola through three points.
fn vertex(left: f32, middle: f32, right: f32) -> (f32, f32) {
    let slope = 0.5 * (right - left);
    let curve = 2.0 * middle - left - right;
    if curve <= 0.0 {
        return (0.0, middle);
    }
    let offset = (slope / curve).clamp(-1.0, 1.0);
    (offset, middle + 0.5 * slope * offset)
}

/// Weights of the samples around a point `phase` sixteenths after a sample: a sinc under a raised cosine
/// (`NUM_interpolate_sinc`).
fn sinc_taps(phase: usize) -> [f32; 2 * DEPTH] {
    let point = phase as f64 / PHASES as f64;
    let mut taps = [0.0; 2 * DEPTH];
    for (index, tap) in taps.iter_mut().enumerate() {
        let distance = index as f64 - (DEPTH as f64 - 1.0) - point;
        let sinc = if distance == 0.0 {
            1.0
        } else {
            (PI * distance).sin() / (PI * distance)
        };
        let fade = 0.5 + 0.5 * (PI * (distance / DEPTH as f64).clamp(-1.0, 1.0)).cos();
        *tap = (sinc * fade) as f32;
    }
    taps
}

/// The level that counts as loud among the peaks of all frames; 0 for silence.
fn loud(peaks: &[f32]) -> f32 {
    let mut peaks = peaks.to_vec();
    let last = peaks.len().saturating_sub(1);
    let usual = (last as f64 * (1.0 - LOUDER_SHARE)) as usize;
    let highest = peaks.iter().copied().fold(0.0, f32::max);
    if peaks.is_empty() {
        return highest;
    }
    let (_, usual, _) = peaks.select_nth_unstable_by(usual, f32::total_cmp);
    highest.min(LOUDER_FACTOR * *usual)
}
