//! Loudness as ITU-R BS.1770-4 and EBU R 128 define it: K-weighting, 400 ms blocks, two gates.

use std::f64::consts::PI;
use std::ops::Range;

/// Seconds of a block that [`Meter`] sums; gates look at four of them, 75 % overlapping.
pub const BLOCK_SECONDS: f64 = 0.1;
/// Samples a second that [`Meter`] takes.
const SAMPLE_RATE: f64 = 16_000.0;
const BLOCK_LEN: usize = 1_600;
/// Blocks in a gating block of 400 ms.
const GATING_BLOCKS: usize = 4;
/// Constant of formula 2 of BS.1770-4: it takes the K-weighting's gain at 997 Hz back.
const OFFSET_LUFS: f64 = -0.691;
/// Gating blocks below are silence (BS.1770-4, formula 5).
const ABSOLUTE_GATE_LUFS: f64 = -70.0;
/// Gating blocks this much under the mean of the others are pauses (BS.1770-4, formula 6).
const RELATIVE_GATE_LU: f64 = -10.0;

/// A filter of second order with its memory, in transposed direct form II.
#[derive(Debug, Clone)]
struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
    memory: [f64; 2],
}

impl Biquad {
    fn new(b: [f64; 3], a: [f64; 3]) -> Self {
        Self {
            b: b.map(|value| value / a[0]),
            a: [a[1] / a[0], a[2] / a[0]],
            memory: [0.0; 2],
        }
    }

    /// The shelf of BS.1770-4, table 1, which gives coefficients for 48 kHz only. The bilinear transform of the analogue filter
    /// behind them (libebur128's `ebur128_init_filter`) is up to 0.06 dB off at 16 kHz; this one has frequency, gain, quality
    /// and the exponent of the gain in the band fitted to the response at 48 kHz: within 0.0005 dB below 6 kHz.
    fn shelf() -> Self {
        let (hz, gain_db, quality) = (1629.40031, 3.99362553, 0.685073975);
        let k = (PI * hz / SAMPLE_RATE).tan();
        let high = 10f64.powf(gain_db / 20.0);
        let band = high.powf(0.474619411);
        Self::new(
            [
                high + band * k / quality + k * k,
                2.0 * (k * k - high),
                high - band * k / quality + k * k,
            ],
            [
                1.0 + k / quality + k * k,
                2.0 * (k * k - 1.0),
                1.0 - k / quality + k * k,
            ],
        )
    }

    /// The high-pass of BS.1770-4, table 2, by the bilinear transform. The numerator of the table is not normalised, so that
    /// the filter lifts what it passes by 0.04 dB; taken over as it is (libebur128) that would be 0.13 dB at 16 kHz.
    fn high_pass() -> Self {
        let (hz, quality) = (38.13547087602444, 0.5003270373238773);
        let lift = 4.0 / (1.0 + 1.99004745483398 + 0.99007225036621);
        let k = (PI * hz / SAMPLE_RATE).tan();
        Self::new(
            [lift, -2.0 * lift, lift],
            [
                1.0 + k / quality + k * k,
                2.0 * (k * k - 1.0),
                1.0 - k / quality + k * k,
            ],
        )
    }

    fn step(&mut self, input: f64) -> f64 {
        let output = self.b[0] * input + self.memory[0];
        self.memory[0] = self.b[1] * input - self.a[0] * output + self.memory[1];
        self.memory[1] = self.b[2] * input - self.a[1] * output;
        output
    }
}

/// A stream of 16 kHz sound, one channel, on its way to its K-weighted power in blocks of 100 ms.
#[derive(Debug, Clone)]
pub struct Meter {
    shelf: Biquad,
    high_pass: Biquad,
    /// Samples in the block that is not yet whole, and the sum of their squares.
    partial: (usize, f64),
    blocks: Vec<f32>,
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

impl Meter {
    /// A stream at its start.
    pub fn new() -> Self {
        Self {
            shelf: Biquad::shelf(),
            high_pass: Biquad::high_pass(),
            partial: (0, 0.0),
            blocks: Vec::new(),
        }
    }

    /// Takes the next samples, as many as there are; the pieces make no difference. Samples that are not finite count as 0.
    pub fn push(&mut self, pcm: &[f32]) {
        for &sample in pcm {
            let input = if sample.is_finite() {
                f64::from(sample)
            } else {
                0.0
            };
            let weighted = self.high_pass.step(self.shelf.step(input));
            self.partial.1 += weighted * weighted;
            self.partial.0 += 1;
            if self.partial.0 == BLOCK_LEN {
                self.blocks.push((self.partial.1 / BLOCK_LEN as f64) as f32);
                self.partial = (0, 0.0);
            }
        }
    }

    /// Mean squares of the whole blocks so far: block `i` is the 100 ms from `i × 0.1` seconds on. 40 bytes a second.
    pub fn blocks(&self) -> &[f32] {
        &self.blocks
    }
}

/// Integrated loudness in LUFS of blocks of 100 ms; `None` for less than 400 ms and when all is below -70 LUFS.
pub fn integrated(blocks: &[f32]) -> Option<f64> {
    gated(blocks.windows(GATING_BLOCKS).map(mean).collect())
}

/// Integrated loudness in LUFS of what is inside `spans` (seconds): of the gating blocks whose centre lies in one of them.
/// `None` as for [`integrated`]. Spans may overlap and come in any order; every block counts once.
pub fn integrated_within(blocks: &[f32], spans: &[Range<f64>]) -> Option<f64> {
    let mut inside = vec![false; blocks.len().saturating_sub(GATING_BLOCKS - 1)];
    let half = GATING_BLOCKS as f64 / 2.0;
    for span in spans {
        let at = |seconds: f64| (seconds / BLOCK_SECONDS - half).ceil().max(0.0) as usize;
        let (from, to) = (at(span.start), at(span.end).min(inside.len()));
        inside.get_mut(from..to).unwrap_or_default().fill(true);
    }
    let windows = blocks.windows(GATING_BLOCKS).zip(&inside);
    gated(
        windows
            .filter(|(_, inside)| **inside)
            .map(|(window, _)| mean(window))
            .collect(),
    )
}

fn mean(powers: &[f32]) -> f64 {
    powers.iter().copied().map(f64::from).sum::<f64>() / powers.len() as f64
}

fn lufs(power: f64) -> f64 {
    OFFSET_LUFS + 10.0 * power.log10()
}

/// The two gates over the powers of gating blocks (BS.1770-4, formulas 4 to 7).
fn gated(mut powers: Vec<f64>) -> Option<f64> {
    let average = |powers: &[f64]| powers.iter().sum::<f64>() / powers.len() as f64;
    powers.retain(|&power| lufs(power) > ABSOLUTE_GATE_LUFS);
    if powers.is_empty() {
        return None;
    }
    let gate = lufs(average(&powers)) + RELATIVE_GATE_LU;
    powers.retain(|&power| lufs(power) > gate);
    Some(lufs(average(&powers)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(pcm: &[f32]) -> Vec<f32> {
        let mut meter = Meter::new();
        meter.push(pcm);
        meter.blocks().to_vec()
    }

    fn tone(hz: f64, peak_db: f64, seconds: usize) -> Vec<f32> {
        let peak = 10f64.powf(peak_db / 20.0);
        (0..seconds * 16_000)
            .map(|n| (peak * (2.0 * PI * hz * n as f64 / SAMPLE_RATE).sin()) as f32)
            .collect()
    }

    #[test]
    fn a_full_tone_of_997_hz_is_minus_3_01() {
        // BS.1770-4: "a 0 dB FS 997 Hz sine in one channel gives -3.01 LKFS".
        let loudness = integrated(&blocks(&tone(997.0, 0.0, 5))).expect("loud");
        assert!((loudness + 3.01).abs() < 0.01, "{loudness}");
    }

    /// Gain in dB of a filter at a frequency, in hertz over the sample rate.
    fn gain_db(filter: &Biquad, frequency: f64) -> f64 {
        let power = |[c0, c1, c2]: [f64; 3]| {
            let angle = 2.0 * PI * frequency;
            let real = c0 + c1 * angle.cos() + c2 * (2.0 * angle).cos();
            let imaginary = c1 * angle.sin() + c2 * (2.0 * angle).sin();
            real * real + imaginary * imaginary
        };
        10.0 * (power(filter.b) / power([1.0, filter.a[0], filter.a[1]])).log10()
    }

    #[test]
    fn filters_respond_as_those_of_the_standard() {
        // Coefficients for 48 kHz of BS.1770-4, tables 1 and 2.
        let shelf = Biquad::new(
            [1.53512485958697, -2.69169618940638, 1.19839281085285],
            [1.0, -1.69065929318241, 0.73248077421585],
        );
        let high_pass = Biquad::new([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]);
        for hz in [
            20.0, 50.0, 200.0, 1000.0, 1500.0, 2000.0, 3000.0, 5000.0, 7500.0,
        ] {
            for (ours, theirs) in [(Biquad::shelf(), &shelf), (Biquad::high_pass(), &high_pass)] {
                let off = gain_db(&ours, hz / 16_000.0) - gain_db(theirs, hz / 48_000.0);
                assert!(off.abs() < 0.003, "{off} dB at {hz} Hz");
            }
        }
    }

    #[test]
    fn gates_leave_silence_and_pauses_out() {
        // EBU Tech 3341, case 3, in one channel: 10 s at -36, 60 s at -23, 10 s at -36 give the loudness of the middle.
        let (quiet, loud) = (tone(1000.0, -36.0, 10), tone(1000.0, -23.0, 60));
        let whole = integrated(&blocks(&[&quiet[..], &loud, &quiet].concat())).expect("loud");
        let middle = integrated(&blocks(&loud)).expect("loud");
        assert!((whole - middle).abs() < 0.1, "{whole} {middle}");
        assert_eq!(integrated(&blocks(&tone(1000.0, -80.0, 3))), None);
        assert_eq!(integrated(&blocks(&[0.5; 4000])), None);
        assert_eq!(integrated(&[]), None);
    }

    #[test]
    fn spans_choose_their_blocks() {
        let blocks = blocks(&[tone(1000.0, -40.0, 4), tone(1000.0, -20.0, 4)].concat());
        let of = |spans: &[Range<f64>]| integrated_within(&blocks, spans).expect("loud");
        assert!((of(&[0.5..3.5]) + 43.0).abs() < 0.1);
        assert!((of(&[4.5..7.5]) + 23.0).abs() < 0.1);
        assert_eq!(of(&[5.0..6.0, 4.5..5.5]), of(&[4.5..6.0]));
        assert_eq!(of(&[0.0..9.0]), integrated(&blocks).expect("loud"));
        for none in [2.0..2.0, 3.0..2.0, 90.0..99.0, f64::NAN..f64::NAN] {
            assert_eq!(integrated_within(&blocks, &[none]), None);
        }
        assert_eq!(integrated_within(&blocks, &[]), None);
    }

    #[test]
    fn pieces_and_hostile_samples_make_no_difference() {
        let pcm = tone(333.0, -10.0, 1);
        let mut meter = Meter::new();
        pcm.chunks(77).for_each(|piece| meter.push(piece));
        assert_eq!(meter.blocks(), blocks(&pcm));
        meter.push(&[f32::NAN, f32::INFINITY]);
        meter.push(&pcm);
        assert!(meter.blocks().iter().all(|block| block.is_finite()));
    }
}
