//! Sums of measurements that can be added: frames make words, words make segments and speakers.

use serde::{Deserialize, Serialize};
use sori_timeline::{AcousticFeatures, Pitch, VoiceQuality};

use super::frames::{Column, Frames};

/// Mean square below which a frame is digital silence (-100 dB) and has no spectrum worth counting.
const SILENT_POWER: f32 = 1e-10;
/// Fewest voiced frames for a slope.
const FEWEST_FOR_A_SLOPE: u64 = 3;
/// Fewest differences of periods, and of peaks, for jitter and shimmer: some 50 ms of a low voice.
const FEWEST_CYCLES: u64 = 5;
/// Pitch that is 0 cents in [`Voicing::cents`].
const ZERO_CENTS_HZ: f64 = 20.0;

/// Sums over frames. What was not measured is absent and stays so.
///
/// Adding is exact up to rounding, in any order: the features of a segment are those of its frames, however they were grouped
/// into words. About 300 bytes and 2 more for every voiced frame.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// All frames.
    frames: u64,
    /// Frames that are not digital silence.
    sounding: u64,
    /// Sum of mean squares over all frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    power: Option<f64>,
    /// Sums over sounding frames, in the order of [`Column::SPECTRUM`].
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "short")]
    spectrum: Vec<f64>,
    /// Sums of the coefficients over sounding frames.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "short")]
    mfcc: Vec<f64>,
    /// Sums of their slopes over sounding frames.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "short")]
    mfcc_delta: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    voicing: Option<Voicing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    voice: Option<Voice>,
}

/// The pitch of voiced frames.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Voicing {
    /// Sum of Hz.
    hz: f64,
    /// Pitch of each voiced frame in cents above 20 Hz, in no order; percentiles need them all.
    cents: Vec<u16>,
    line: Line,
}

/// What a line through pitches over time is made of: means and sums of products of deviations, which unlike plain sums of
/// products stay exact hours into a recording (Chan, Golub, LeVeque 1979).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Line {
    seconds: f64,
    semitones: f64,
    seconds_squared: f64,
    seconds_semitones: f64,
}

/// Sums over the marks of a voice's periods, and over voiced frames.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Voice {
    /// Number and sum of each: dB over voiced frames, then seconds, seconds, levels and levels over marks.
    hnr_db: Sum,
    period: Sum,
    period_change: Sum,
    peak: Sum,
    peak_change: Sum,
}

/// A number of values and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Sum(u64, f64);

impl Sum {
    fn push(&mut self, value: Option<f32>) {
        if let Some(value) = value {
            self.add(Self(1, f64::from(value)));
        }
    }

    fn add(&mut self, other: Self) {
        *self = Self(self.0 + other.0, self.1 + other.1);
    }

    fn mean(self) -> Option<f64> {
        (self.0 > 0).then(|| self.1 / self.0 as f64)
    }
}

impl Frames {
    /// Sums over the frames whose centres lie in `from..to` (seconds in the recording), and over the voice's marks there.
    ///
    /// Spans that meet share no frame. A span outside the stretch, backwards or shorter than a frame may hold none.
    pub fn between(&self, from: f64, to: f64) -> Tally {
        let first = self.index_from(from);
        let frames = first..self.index_from(to).max(first);
        let wanted = self.features();
        let sounding: Vec<usize> = frames
            .clone()
            .filter(|&frame| self.power[frame] > SILENT_POWER)
            .collect();
        let sums = |column: Column| -> Vec<f64> {
            let mut sums = vec![0.0f64; column.width()];
            let values = self.measured(column);
            for &frame in &sounding {
                for (sum, value) in sums.iter_mut().zip(&values[frame * column.width()..]) {
                    *sum += f64::from(*value);
                }
            }
            // What is kept is f32; rounding here makes what is read again equal.
            sums.iter().map(|&sum| f64::from(sum as f32)).collect()
        };
        let when = |wanted: bool, columns: &[Column]| -> Vec<f64> {
            let columns = if wanted { columns } else { &[] };
            columns.iter().flat_map(|&column| sums(column)).collect()
        };
        Tally {
            frames: frames.len() as u64,
            sounding: sounding.len() as u64,
            power: wanted.volume.then(|| {
                self.power[frames.clone()]
                    .iter()
                    .copied()
                    .map(f64::from)
                    .sum()
            }),
            spectrum: when(wanted.spectrum, &Column::SPECTRUM),
            mfcc: when(wanted.mfcc, &[Column::Mfcc]),
            mfcc_delta: when(wanted.mfcc_delta, &[Column::MfccDelta]),
            voicing: wanted.pitch.then(|| self.voicing(frames.clone())),
            voice: wanted.voice.then(|| self.voice(frames, from, to)),
        }
    }

    fn voicing(&self, frames: std::ops::Range<usize>) -> Voicing {
        let mut voicing = Voicing::default();
        let pitch = self.measured(Column::PitchHz);
        for frame in frames.filter(|&frame| pitch[frame].is_finite()) {
            let octaves = (f64::from(pitch[frame]) / ZERO_CENTS_HZ).log2();
            let one = Voicing {
                hz: f64::from(pitch[frame]),
                cents: vec![(1200.0 * octaves).round() as u16],
                line: Line {
                    seconds: self.time(frame),
                    semitones: 12.0 * octaves,
                    ..Line::default()
                },
            };
            voicing.add(&one);
        }
        voicing
    }

    fn voice(&self, frames: std::ops::Range<usize>, from: f64, to: f64) -> Voice {
        let mut voice = Voice::default();
        for frame in frames {
            let periodicity = self.measured(Column::Periodicity)[frame];
            // Harmonic over noise power (Boersma 1993, equation 4), at most 60 dB.
            let ratio = periodicity.min(1.0 - 1e-6) / (1.0 - periodicity.min(1.0 - 1e-6));
            let voiced = self.measured(Column::PitchHz)[frame].is_finite() && ratio > 0.0;
            voice.hnr_db.push(voiced.then(|| 10.0 * ratio.log10()));
        }
        let (from, to) = (self.within(from), self.within(to));
        let first = self.cycles.partition_point(|cycle| cycle.at < from);
        for cycle in self.cycles[first..]
            .iter()
            .take_while(|cycle| cycle.at < to)
        {
            voice.period.push(cycle.period);
            voice.period_change.push(cycle.period_change);
            voice.peak.push(cycle.peak);
            voice.peak_change.push(cycle.peak_change);
        }
        voice
    }
}

impl Voicing {
    fn add(&mut self, other: &Self) {
        let (ours, theirs) = (self.cents.len() as f64, other.cents.len() as f64);
        let all = ours + theirs;
        if theirs == 0.0 {
            return;
        }
        let (line, more) = (&mut self.line, &other.line);
        let apart = (more.seconds - line.seconds, more.semitones - line.semitones);
        line.seconds_squared += more.seconds_squared + apart.0 * apart.0 * ours * theirs / all;
        line.seconds_semitones += more.seconds_semitones + apart.0 * apart.1 * ours * theirs / all;
        line.seconds += apart.0 * theirs / all;
        line.semitones += apart.1 * theirs / all;
        self.hz += other.hz;
        self.cents.extend_from_slice(&other.cents);
    }

    /// Mean in Hz and the rest; `None` when nothing is voiced.
    fn pitch(&self, frames: u64) -> Option<(f32, Pitch)> {
        let mut cents = self.cents.clone();
        cents.sort_unstable();
        let last = cents.len().checked_sub(1)?;
        let at = |share: f64| -> f32 {
            // Linear between ranks, as numpy.percentile.
            let rank = share * last as f64;
            let (low, high) = (
                cents[rank as usize],
                cents[(rank.ceil() as usize).min(last)],
            );
            let cents = f64::from(low) + f64::from(high - low) * rank.fract();
            (ZERO_CENTS_HZ * (cents / 1200.0).exp2()) as f32
        };
        let count = cents.len() as u64;
        let sloping = count >= FEWEST_FOR_A_SLOPE && self.line.seconds_squared > 0.0;
        let slope = if sloping {
            self.line.seconds_semitones / self.line.seconds_squared
        } else {
            0.0
        };
        let pitch = Pitch {
            median_hz: at(0.5),
            low_hz: at(0.05),
            high_hz: at(0.95),
            slope: slope as f32,
            voiced_share: count as f32 / frames.max(count) as f32,
        };
        Some(((self.hz / count as f64) as f32, pitch))
    }
}

impl Voice {
    fn add(&mut self, other: &Self) {
        self.hnr_db.add(other.hnr_db);
        self.period.add(other.period);
        self.period_change.add(other.period_change);
        self.peak.add(other.peak);
        self.peak_change.add(other.peak_change);
    }

    fn quality(&self) -> Option<VoiceQuality> {
        if self.period_change.0.min(self.peak_change.0) < FEWEST_CYCLES {
            return None;
        }
        Some(VoiceQuality {
            jitter: (self.period_change.mean()? / self.period.mean()?) as f32,
            shimmer: (self.peak_change.mean()? / self.peak.mean()?) as f32,
            hnr_db: self.hnr_db.mean()? as f32,
        })
    }
}

impl Tally {
    /// Adds the sums of other frames.
    pub fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.sounding += other.sounding;
        if let Some(power) = other.power {
            *self.power.get_or_insert_default() += power;
        }
        add_each(&mut self.spectrum, &other.spectrum);
        add_each(&mut self.mfcc, &other.mfcc);
        add_each(&mut self.mfcc_delta, &other.mfcc_delta);
        if let Some(voicing) = &other.voicing {
            self.voicing.get_or_insert_default().add(voicing);
        }
        if let Some(voice) = &other.voice {
            self.voice.get_or_insert_default().add(voice);
        }
    }

    /// Number of frames, 10 ms each.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Features of a word: all but the quality of the voice, for which a word is too short.
    pub fn word_features(&self) -> AcousticFeatures {
        let mean = |sums: &[f64]| -> Vec<f32> {
            let mean = |sum: &f64| (sum / self.sounding as f64) as f32;
            let sums = if self.sounding == 0 { &[] } else { sums };
            sums.iter().map(mean).collect()
        };
        let spectrum = mean(&self.spectrum);
        let voicing = self
            .voicing
            .as_ref()
            .and_then(|voicing| voicing.pitch(self.frames));
        let (pitch_hz, pitch) = voicing.unzip();
        let power = self.power.map(|sum| sum / self.frames as f64);
        AcousticFeatures {
            volume_db: power
                .filter(|&power| power > 0.0)
                .map(|power| (10.0 * power.log10()) as f32),
            pitch_hz,
            pitch,
            spectral_centroid: spectrum.first().copied(),
            spectral_rolloff: spectrum.get(1).copied(),
            spectral_bandwidth: spectrum.get(2).copied(),
            spectral_flatness: spectrum.get(3).copied(),
            zero_crossing_rate: spectrum.get(4).copied(),
            mfcc: mean(&self.mfcc),
            mfcc_delta: mean(&self.mfcc_delta),
            voice: None,
            loudness_lufs: None,
        }
    }

    /// Features of a segment or a speaker: those of a word and the quality of the voice. Loudness in LUFS is the caller's to
    /// fill in ([`sori_dsp::loudness`]).
    pub fn features(&self) -> AcousticFeatures {
        AcousticFeatures {
            voice: self.voice.as_ref().and_then(Voice::quality),
            ..self.word_features()
        }
    }
}

/// Adds sums to sums; no sums count as zeros.
fn add_each(sums: &mut Vec<f64>, others: &[f64]) {
    // Kept results may be damaged: a length of their own must not matter.
    sums.resize(sums.len().max(others.len()), 0.0);
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}

/// Sums written as f32: half the digits, and seven are enough.
mod short {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(sums: &[f64], out: S) -> Result<S::Ok, S::Error> {
        let short: Vec<f32> = sums.iter().map(|&sum| sum as f32).collect();
        short.serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<f64>, D::Error> {
        let short = Vec::<f32>::deserialize(input)?;
        Ok(short.into_iter().map(f64::from).collect())
    }
}
