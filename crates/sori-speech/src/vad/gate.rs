//! What small networks take for speech and is not: noise, tones and music, told apart by how they move.
//!
//! Speech changes: its level rises and falls several times a second, and its spectrum is another one 64 ms later. Noise
//! and tones keep their level; notes keep their spectrum. Over one second, two numbers tell. They were measured at 16 kHz
//! over 200 to 3,500 Hz, on the frames that the network takes for speech: in 29 recordings of speech, real and synthetic
//! (`shared/media/{speech,synthetic,noise}`), and in the sounds of `sori_testing::tone`:
//!
//! | | speech | white, pink noise | tones, chords | music |
//! |---|---|---|---|---|
//! | deviation of the level, dB | 98 % above 2.8 | at most 0.7 | at most 0.1 | 1.4 to 2.9 |
//! | steadiness of the spectrum | at most 0.81 | at most 0.45 | 1.0 | at least 0.89 |
//!
//! With as much white or pink noise as speech, 98 % of the frames still deviate by more than 1.0 dB. A gliding tone is
//! neither steady nor level within the band, but its level over all bands does not move.

use std::{collections::VecDeque, f32::consts::TAU, sync::Arc};

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

/// Samples between two measurements: 16 ms at 16 kHz.
pub(super) const HOP: usize = 256;
/// Samples in one: 64 ms, so that the harmonics of a voice are told apart.
const WINDOW: usize = 1024;
/// Bins of 15.6 Hz that are looked at: 203 to 3,500 Hz.
const BINS: std::ops::Range<usize> = 13..224;
/// Frames between two compared spectra; their windows just do not overlap.
const LAG: usize = 4;
/// Exponent that makes magnitudes comparable across loud and soft partials, about that of loudness.
const COMPRESSION: f32 = 0.3;
/// Frames that are looked at on each side of a frame: half a second.
pub(super) const REACH: usize = 31;
/// Probability above which a frame's spectrum counts: steadiness is asked of what might be speech.
const ACTIVE: f32 = 0.3;
/// Frames around a frame, itself included, that must be likely speech ([`LIKELY`]): 224 ms. Barks and
/// knocks are shorter; the letters and digits said alone in `shared/media/alnum` are all longer.
const MIN_LIKELY_FRAMES: usize = 14;
const LIKELY: f32 = 0.5;
/// Least deviation of the level in the band, in dB: between noise (0.7) and speech in as much noise (1.0).
const MIN_BAND_DEVIATION_DB: f32 = 0.9;
/// Least deviation of the level in all bands: a gliding tone leaves the band and enters it again, and keeps its level.
const MIN_DEVIATION_DB: f32 = 0.3;
/// Steadiness from which a sound is notes: between speech (0.81) and music (0.89).
const MAX_STEADINESS: f32 = 0.85;
/// Levels further below the loudest of the second count as this far below: how deep a pause is does not matter.
const RANGE_DB: f32 = 40.0;
/// Factor on the probability of a frame that is not speech, enough to bring a certain one below every threshold in use.
const REFUSED: f32 = 0.1;

/// A sum in eight strands, which do not wait for one another.
fn sum(values: impl Iterator<Item = f32>) -> f32 {
    let mut strands = [0.0; 8];
    for (place, value) in values.enumerate() {
        strands[place % 8] += value;
    }
    strands.iter().sum()
}

/// How a frame moves, whatever it is.
pub(super) struct Measured {
    /// Likeness to the spectrum [`LAG`] frames before; `None` where there is none.
    likeness: Option<f32>,
    /// Levels in the band and in all bands; `None` while the window reaches before the start of the stream.
    levels_db: Option<(f32, f32)>,
}

/// Measures how a stream moves from frame to frame.
pub(super) struct Motion {
    fft: Arc<dyn RealToComplex<f32>>,
    taper: Vec<f32>,
    /// The last [`WINDOW`] samples, fewer at the start.
    samples: VecDeque<f32>,
    spectra: VecDeque<Vec<f32>>,
    windowed: Vec<f32>,
    bins: Vec<Complex32>,
    scratch: Vec<Complex32>,
    power: Vec<f32>,
}

impl Motion {
    pub(super) fn new() -> Self {
        let taper = |n: usize| 0.5 - 0.5 * (TAU * n as f32 / WINDOW as f32).cos();
        let fft = RealFftPlanner::new().plan_fft_forward(WINDOW);
        Self {
            taper: (0..WINDOW).map(taper).collect(),
            samples: VecDeque::with_capacity(WINDOW + HOP),
            spectra: VecDeque::new(),
            windowed: fft.make_input_vec(),
            bins: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            power: Vec::with_capacity(WINDOW / 2 + 1),
            fft,
        }
    }

    /// Takes the next [`HOP`] samples.
    pub(super) fn push(&mut self, hop: &[f32]) -> Measured {
        self.samples.extend(hop);
        self.samples
            .drain(..self.samples.len().saturating_sub(WINDOW));
        if self.samples.len() < WINDOW {
            return Measured {
                likeness: None,
                levels_db: None,
            };
        }
        let samples = self.samples.iter().zip(&self.taper);
        for (windowed, (sample, taper)) in self.windowed.iter_mut().zip(samples) {
            *windowed = sample * taper;
        }
        let (input, output) = (&mut self.windowed, &mut self.bins);
        let processed = self
            .fft
            .process_with_scratch(input, output, &mut self.scratch);
        processed.expect("the buffers were made for this transform");
        self.power.clear();
        self.power
            .extend(self.bins.iter().map(|bin| bin.norm_sqr()));
        let db = |power: &[f32]| 10.0 * (sum(power.iter().copied()) + 1e-9).log10();
        let band = &self.power[BINS];
        let levels_db = Some((db(band), db(&self.power)));

        let before = match self.spectra.len() {
            LAG => self.spectra.pop_front(),
            _ => None,
        };
        let mut spectrum = Vec::with_capacity(BINS.len());
        spectrum.extend(band.iter().map(|p| p.powf(COMPRESSION / 2.0)));
        let mean = sum(spectrum.iter().copied()) / spectrum.len() as f32;
        spectrum.iter_mut().for_each(|value| *value -= mean);
        let likeness = before.map(|before| correlation(&before, &spectrum));
        self.spectra.push_back(spectrum);
        Measured {
            likeness,
            levels_db,
        }
    }
}

/// One frame as it was measured.
#[derive(Clone, Copy)]
struct Frame {
    probability: f32,
    /// Likeness to the spectrum before; `None` unless both may be speech.
    steadiness: Option<f32>,
    /// As [`Measured`] has them.
    levels_db: Option<(f32, f32)>,
}

/// Delays probabilities by [`REACH`] frames and lowers those of frames that do not move like speech.
#[derive(Default)]
pub(super) struct Gate {
    frames: VecDeque<Frame>,
    /// Frames in `frames` that were given out and are kept as the past of those to come.
    given: usize,
}

impl Gate {
    /// Takes the next frame with its probability; appends the probability of the frame [`REACH`] before.
    pub(super) fn push(&mut self, measured: Measured, probability: f32, out: &mut Vec<f32>) {
        let before = self.frames.len().checked_sub(LAG);
        let was_active = before.is_some_and(|at| self.frames[at].probability > ACTIVE);
        let both = probability > ACTIVE && was_active;
        self.frames.push_back(Frame {
            probability,
            steadiness: measured.likeness.filter(|_| both),
            levels_db: measured.levels_db,
        });
        if self.frames.len() > self.given + REACH {
            self.give(out);
        }
    }

    /// Appends what is still delayed. The gate is as good as new then.
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) {
        while self.given < self.frames.len() {
            self.give(out);
        }
        *self = Self::default();
    }

    /// Appends the next frame's probability and forgets what no later frame needs.
    fn give(&mut self, out: &mut Vec<f32>) {
        let around = self
            .frames
            .range(..self.frames.len().min(self.given + REACH + 1));
        let frame = self.frames[self.given];
        let factor = if moves_like_speech(around) {
            1.0
        } else {
            REFUSED
        };
        out.push(frame.probability * factor);
        if self.given == REACH {
            self.frames.pop_front();
        } else {
            self.given += 1;
        }
    }
}

fn moves_like_speech<'a>(frames: impl Iterator<Item = &'a Frame> + Clone) -> bool {
    let levels = frames.clone().filter_map(|frame| frame.levels_db);
    let band = deviation(levels.clone().map(|(band, _)| band));
    let full = deviation(levels.map(|(_, full)| full));
    let likely = frames
        .clone()
        .filter(|frame| frame.probability > LIKELY)
        .count();
    let (sum, count) = frames
        .filter_map(|frame| frame.steadiness)
        .fold((0.0, 0.0), |(sum, count), steadiness| {
            (sum + steadiness, count + 1.0)
        });
    let steadiness = sum / f32::max(count, 1.0);
    likely >= MIN_LIKELY_FRAMES
        && band > MIN_BAND_DEVIATION_DB
        && full > MIN_DEVIATION_DB
        && steadiness < MAX_STEADINESS
}

/// Standard deviation of levels, each at most [`RANGE_DB`] below the highest.
fn deviation(levels: impl Iterator<Item = f32> + Clone) -> f32 {
    let floor = levels.clone().fold(f32::MIN, f32::max) - RANGE_DB;
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for level in levels.map(|level| level.max(floor) - floor) {
        (count, sum, squares) = (count + 1.0, sum + level, squares + level * level);
    }
    let mean = sum / f32::max(count, 1.0);
    f32::max(squares / f32::max(count, 1.0) - mean * mean, 0.0).sqrt()
}

/// Cosine between two spectra without their means; 0 when one is flat.
fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| sum(a.iter().zip(b).map(|(a, b)| a * b));
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
}
