//! The periods of a voice and how they differ: what jitter and shimmer are made of.
//!
//! Marks are set as by Praat's `Sound_Pitch_to_PointProcess_cc`; periods and peaks are compared as by its
//! `PointProcess_getJitter_local` (shortest and longest period 0.1 and 20 ms, factor 1.3) and
//! `PointProcess_Sound_getShimmer_local` (factor 1.6).

use std::f64::consts::PI;
use std::ops::Range;

use crate::pitch::{PitchOptions, PitchTrack};

/// Seconds of the shortest and of the longest period that counts.
const PERIODS: Range<f64> = 0.0001..0.02;
/// Neighbouring periods that differ more do not belong to one voice.
const PERIOD_FACTOR: f64 = 1.3;
/// Neighbouring peaks that differ more do not, either.
const PEAK_FACTOR: f64 = 1.6;
/// Correlation of two periods for a mark in a voice, and for one just outside of it.
const LIKE: f64 = 0.3;
const VERY_LIKE: f64 = 0.7;
/// Peak for a mark in a voice, and for one just outside of it, over the level that counts as loud.
const AUDIBLE: f64 = 0.01;
const CLEARLY_AUDIBLE: f64 = 0.023333;

/// One mark of a period in a voice, and what is measured there. What does not count for a voice is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cycle {
    /// Where the mark lies, in seconds from the start of the stretch.
    pub at: f64,
    /// Period from the mark before in seconds.
    pub period: Option<f32>,
    /// Absolute difference of the periods on both sides in seconds.
    pub period_change: Option<f32>,
    /// Peak around the mark: the root mean square under a window of two fifths of a period.
    pub peak: Option<f32>,
    /// Absolute difference of this peak to that of the mark before.
    pub peak_change: Option<f32>,
}

/// Marks of the periods of `pcm` along its pitch, in order of time.
///
/// Jitter is the mean of `period_change` over the mean of `period`, shimmer that of `peak_change` over that of `peak`. Takes
/// about 1 µs a mark for every 100 Hz below 300.
pub fn cycles(pcm: &[f32], track: &PitchTrack, options: &PitchOptions) -> Vec<Cycle> {
    let voice = Voice {
        pcm,
        track,
        hop: options.hop as f64,
        rate: f64::from(options.sample_rate),
    };
    let mut marks = Vec::new();
    let mut last = f64::NEG_INFINITY;
    for stretch in voice.stretches() {
        let before = marks.len();
        voice.mark(stretch, last, &mut marks);
        marks[before..].sort_unstable_by(f64::total_cmp);
        last = marks.last().copied().unwrap_or(last);
    }
    measured(pcm, &marks, voice.rate)
}

/// A sound and its pitch; all places are in samples.
struct Voice<'a> {
    pcm: &'a [f32],
    track: &'a PitchTrack,
    hop: f64,
    rate: f64,
}

/// Where one period is most like another.
struct Match {
    at: f64,
    correlation: f64,
    peak: f64,
}

impl Voice<'_> {
    /// Runs of voiced frames, from half a frame before the first to half a frame after the last.
    fn stretches(&self) -> Vec<Range<f64>> {
        let mut stretches: Vec<Range<f64>> = Vec::new();
        for frame in (0..self.track.hz.len()).filter(|&frame| self.track.hz[frame].is_finite()) {
            let (start, end) = (
                (frame as f64 - 0.5) * self.hop,
                (frame as f64 + 0.5) * self.hop,
            );
            match stretches.last_mut() {
                Some(stretch) if stretch.end == start => stretch.end = end,
                _ => stretches.push(start..end),
            }
        }
        stretches
    }

    /// Period at a place in samples, between voiced frames along a line; `None` where neither neighbour is voiced.
    fn period(&self, at: f64) -> Option<f64> {
        let frame = (at / self.hop).max(0.0);
        let hz = |frame: f64| -> Option<f64> {
            let hz = self.track.hz.get(frame as usize)?;
            hz.is_finite().then_some(f64::from(*hz))
        };
        let share = frame.fract();
        let (near, far) = if share < 0.5 {
            (hz(frame.floor()), hz(frame.ceil()))
        } else {
            (hz(frame.ceil()), hz(frame.floor()))
        };
        let far_share = share.min(1.0 - share);
        let hz = near? * (1.0 - far_share) + far.or(near)? * far_share;
        Some(self.rate / hz)
    }

    /// Adds the marks of one voiced stretch to `marks`: the first near its middle, then period by period to either side.
    /// Nothing is added within 0.8 periods of `last`, the last mark so far.
    fn mark(&self, stretch: Range<f64>, last: f64, marks: &mut Vec<f64>) {
        let middle = (stretch.start + stretch.end) / 2.0;
        let Some(period) = self.period(middle) else {
            return;
        };
        let first = self.extremum(middle - 0.5 * period, middle + 0.5 * period);
        marks.push(first);
        for forth in [false, true] {
            let mut at = first;
            while let Some(period) = self.period(at) {
                let found = self.alike(at, period, forth);
                at = match &found {
                    Some(found) => found.at,
                    None if forth => at + period,
                    None => at - period,
                };
                let inside = if forth {
                    at <= stretch.end
                } else {
                    at >= stretch.start
                };
                let loud = f64::from(self.track.loud);
                let good = found.is_some_and(|found| {
                    if inside {
                        found.correlation > LIKE
                            && (found.peak == 0.0 || found.peak > AUDIBLE * loud)
                    } else {
                        found.correlation > VERY_LIKE && found.peak > CLEARLY_AUDIBLE * loud
                    }
                });
                if good && (forth || at - last > 0.8 * period) {
                    marks.push(at);
                }
                if !inside {
                    break;
                }
            }
        }
    }

    /// Place of the sample farthest from zero between two places.
    fn extremum(&self, from: f64, to: f64) -> f64 {
        let samples = from.max(0.0).ceil() as usize..self.pcm.len().min(to.max(0.0) as usize + 1);
        let size = |at: usize| self.pcm[at].abs();
        let farthest = samples.reduce(|best, at| if size(at) > size(best) { at } else { best });
        let Some(at) = farthest else {
            return (from + to) / 2.0;
        };
        let around = [at.checked_sub(1), Some(at), Some(at + 1)].map(|at| {
            at.and_then(|at| self.pcm.get(at))
                .map_or(0.0, |sample| f64::from(*sample))
        });
        let sign = around[1].signum();
        at as f64 + vertex(around.map(|sample| sample * sign)).0
    }

    /// Where the period after (or before) the one around `at` is most like it; `None` where nothing can be compared.
    fn alike(&self, at: f64, period: f64, forth: bool) -> Option<Match> {
        let half = 0.5 * period;
        let first = (at - half).round() as i64;
        let len = (at + half).round() as i64 - first + 1;
        let shifts = if forth {
            0.8 * period..1.25 * period
        } else {
            -1.25 * period..-0.8 * period
        };
        let starts =
            (at + shifts.start - half).floor() as i64..=(at + shifts.end - half).ceil() as i64;
        let (mut before, mut here) = (0.0, 0.0);
        // Place, three correlations around it and the start of the best so far.
        let mut best: Option<([f64; 3], i64)> = None;
        for start in starts {
            let next = self.correlation(first, start, len);
            let higher = best.is_none_or(|(around, _)| here > around[1]);
            if higher && here >= before && here >= next {
                best = Some(([before, here, next], start - 1));
            }
            (before, here) = (here, next);
        }
        let (around, start) = best?;
        let (offset, correlation) = vertex(around);
        let (other, _) = self.overlap(start, start, len);
        Some(Match {
            at: at + (start - first) as f64 + offset,
            correlation,
            peak: other
                .iter()
                .map(|sample| f64::from(sample.abs()))
                .fold(0.0, f64::max),
        })
    }

    /// Correlation of two pieces of `len` samples, of what lies inside the sound of both.
    fn correlation(&self, one: i64, other: i64, len: i64) -> f64 {
        let (one, other) = self.overlap(one, other, len);
        let mut sums = [[0.0f32; 8]; 3];
        for (ones, others) in one.chunks(8).zip(other.chunks(8)) {
            for (lane, (one, other)) in ones.iter().zip(others).enumerate() {
                sums[0][lane] += one * other;
                sums[1][lane] += one * one;
                sums[2][lane] += other * other;
            }
        }
        let [product, one, other] =
            sums.map(|lanes| lanes.iter().copied().map(f64::from).sum::<f64>());
        if product == 0.0 {
            0.0
        } else {
            product / (one * other).sqrt()
        }
    }

    /// Two pieces of `len` samples, both cut where either leaves the sound.
    fn overlap(&self, one: i64, other: i64, len: i64) -> (&[f32], &[f32]) {
        let end = self.pcm.len() as i64;
        let skip = (-one.min(other)).max(0);
        let len = len.min(end - one.max(other)) - skip;
        if len <= 0 {
            return (&[], &[]);
        }
        let piece = |start: i64| &self.pcm[(start + skip) as usize..(start + skip + len) as usize];
        (piece(one), piece(other))
    }
}

/// Offset and height of the vertex of the parabola through three points one apart.
fn vertex([left, middle, right]: [f64; 3]) -> (f64, f64) {
    let slope = 0.5 * (right - left);
    let curve = 2.0 * middle - left - right;
    if curve == 0.0 {
        return (0.0, middle);
    }
    (slope / curve, middle + 0.5 * slope * slope / curve)
}

/// Measures periods and peaks at the marks.
fn measured(pcm: &[f32], marks: &[f64], rate: f64) -> Vec<Cycle> {
    let mut cycles: Vec<Cycle> = marks
        .iter()
        .map(|at| Cycle {
            at: at / rate,
            ..Cycle::default()
        })
        .collect();
    let gaps: Vec<f64> = marks
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) / rate)
        .collect();
    let factor = |one: f64, other: f64| (one / other).max(other / one);
    let counts = |gap: f64| PERIODS.contains(&gap);
    for (index, &gap) in gaps.iter().enumerate() {
        let beside = [index.checked_sub(1), Some(index + 1)];
        let mut beside = beside
            .into_iter()
            .flatten()
            .filter_map(|at| gaps.get(at))
            .peekable();
        let alone = beside.peek().is_none();
        // A gap between two voices is unlike the periods on both sides.
        if counts(gap) && (alone || beside.any(|&other| factor(gap, other) <= PERIOD_FACTOR)) {
            cycles[index + 1].period = Some(gap as f32);
        }
    }
    let mut before: Option<f64> = None;
    for (index, pair) in gaps.windows(2).enumerate() {
        let cycle = &mut cycles[index + 1];
        let peak =
            (counts(pair[0]) && counts(pair[1]) && factor(pair[0], pair[1]) <= PERIOD_FACTOR)
                .then(|| {
                    cycle.period_change = Some((pair[0] - pair[1]).abs() as f32);
                    windowed_rms(
                        pcm,
                        marks[index + 1],
                        0.2 * pair[0] * rate,
                        0.2 * pair[1] * rate,
                    )
                })
                .flatten();
        if let (Some(one), Some(other)) = (before, peak)
            && factor(one, other) <= PEAK_FACTOR
        {
            cycle.peak_change = Some((one - other).abs() as f32);
        }
        cycle.peak = peak.map(|peak| peak as f32);
        before = peak;
    }
    cycles
}

/// Root mean square around `at` under a raised cosine of the given widths in samples; `None` for silence and fewer than
/// 4 samples (`Sound_getHannWindowedRms`).
fn windowed_rms(pcm: &[f32], at: f64, left: f64, right: f64) -> Option<f64> {
    let from = (at - left).ceil().max(0.0) as usize;
    let to = pcm.len().min((at + right).floor().max(0.0) as usize + 1);
    let (mut squares, mut weights) = (0.0, 0.0);
    for (index, &sample) in pcm.iter().enumerate().take(to).skip(from) {
        let offset = index as f64 - at;
        let width = if offset < 0.0 { left } else { right };
        let weight = 0.5 + 0.5 * (PI * offset / width).cos();
        squares += (f64::from(sample) * weight).powi(2);
        weights += weight * weight;
    }
    (to >= from + 4 && squares > 0.0).then(|| (squares / weights).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second of pulses through a throat that rings at 900 Hz, with these periods (samples) and heights in turn, and its pitch.
    fn pulses(periods: [usize; 2], heights: [f32; 2]) -> (Vec<f32>, PitchTrack) {
        let mut pcm = vec![0.0f32; 16_000];
        let mut at = 0;
        for turn in 0.. {
            if at >= pcm.len() {
                break;
            }
            for (after, sample) in pcm[at..].iter_mut().take(400).enumerate() {
                let ring = (after as f32 * 900.0 / 16_000.0 * std::f32::consts::TAU).sin();
                *sample += heights[turn % 2] * ring * (-(after as f32) / 20.0).exp();
            }
            at += periods[turn % 2];
        }
        let hz = 2.0 * 16_000.0 / (periods[0] + periods[1]) as f32;
        let track = PitchTrack {
            hz: vec![hz; 100],
            periodicity: vec![0.9; 100],
            loud: 0.5,
        };
        (pcm, track)
    }

    fn ratio(
        cycles: &[Cycle],
        of: impl Fn(&Cycle) -> Option<f32>,
        over: impl Fn(&Cycle) -> Option<f32>,
    ) -> f32 {
        let mean = |values: Vec<f32>| values.iter().sum::<f32>() / values.len() as f32;
        mean(cycles.iter().filter_map(of).collect())
            / mean(cycles.iter().filter_map(over).collect())
    }

    #[test]
    fn jitter_and_shimmer_of_a_made_voice_are_found() {
        for (periods, heights, jitter, shimmer) in [
            ([128, 128], [0.5, 0.5], 0.0, 0.0),
            ([126, 130], [0.5, 0.5], 4.0 / 128.0, 0.0),
            ([128, 128], [0.5, 0.4], 0.0, 0.1 / 0.45),
        ] {
            let (pcm, track) = pulses(periods, heights);
            let cycles = cycles(&pcm, &track, &PitchOptions::default());
            assert!((120..=128).contains(&cycles.len()), "{}", cycles.len());
            assert!(cycles.is_sorted_by(|one, next| one.at < next.at));
            let found = ratio(&cycles, |cycle| cycle.period_change, |cycle| cycle.period);
            assert!(
                (found - jitter).abs() < 0.003,
                "jitter {found}, not {jitter}"
            );
            let found = ratio(&cycles, |cycle| cycle.peak_change, |cycle| cycle.peak);
            assert!(
                (found - shimmer).abs() < 0.02,
                "shimmer {found}, not {shimmer}"
            );
        }
    }

    #[test]
    fn gaps_between_voices_are_no_periods() {
        let (pcm, mut track) = pulses([128, 128], [0.5, 0.5]);
        track.hz[40..60].fill(f32::NAN);
        let cycles = cycles(&pcm, &track, &PitchOptions::default());
        assert!(cycles.iter().all(|cycle| !(0.42..0.58).contains(&cycle.at)));
        let longest = cycles
            .iter()
            .filter_map(|cycle| cycle.period)
            .fold(0.0, f32::max);
        assert!((longest - 0.008).abs() < 1e-4, "{longest}");
    }

    #[test]
    fn tracks_that_do_not_belong_to_the_sound_do_no_harm() {
        let (_, track) = pulses([128, 128], [0.5, 0.5]);
        for pcm in [&[][..], &[0.5; 3], &[0.0; 16_000], &[f32::NAN; 2_000]] {
            let cycles = cycles(pcm, &track, &PitchOptions::default());
            assert!(cycles.iter().all(|cycle| cycle.at.is_finite()));
        }
    }
}
