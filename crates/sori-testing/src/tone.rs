//! Sound without speech, the same on every machine: tones, noise and something like music.

use std::f64::consts::TAU;

/// Length, rate and level of a synthetic sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Length in seconds.
    pub seconds: f64,
    /// Samples per second.
    pub sample_rate: u32,
    /// Peak of tones and music, RMS of noise; full scale is 1.
    pub level: f32,
}

impl Shape {
    /// A sound of this length at 16 kHz and level 0.3.
    pub fn seconds(seconds: f64) -> Self {
        Self {
            seconds,
            sample_rate: 16_000,
            level: 0.3,
        }
    }

    /// The same with another level.
    pub fn level(self, level: f32) -> Self {
        Self { level, ..self }
    }

    fn render(self, mut sample_at: impl FnMut(f64) -> f64) -> Vec<f32> {
        let rate = f64::from(self.sample_rate);
        let count = (self.seconds * rate).round() as usize;
        (0..count)
            .map(|index| (sample_at(index as f64 / rate)) as f32 * self.level)
            .collect()
    }
}

/// Digital silence.
pub fn silence(shape: Shape) -> Vec<f32> {
    shape.render(|_| 0.0)
}

/// A sine of `hz`.
pub fn sine(shape: Shape, hz: f64) -> Vec<f32> {
    shape.render(|time| (TAU * hz * time).sin())
}

/// A sine that glides from `from_hz` to `to_hz`, linearly in frequency.
pub fn chirp(shape: Shape, from_hz: f64, to_hz: f64) -> Vec<f32> {
    let slope = (to_hz - from_hz) / shape.seconds;
    shape.render(|time| (TAU * (from_hz + 0.5 * slope * time) * time).sin())
}

/// White noise with a Gaussian-like distribution (sum of four uniforms).
pub fn white_noise(shape: Shape, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    shape.render(|_| random.normal())
}

/// Pink noise, 1/f in power: white noise through Paul Kellet's three-pole filter, scaled to the level.
pub fn pink_noise(shape: Shape, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    let mut poles = [0.0; 3];
    let mut noise = shape.render(|_| {
        let white = random.normal();
        poles[0] = 0.99765 * poles[0] + white * 0.0990460;
        poles[1] = 0.96300 * poles[1] + white * 0.2965164;
        poles[2] = 0.57000 * poles[2] + white * 1.0526913;
        poles.iter().sum::<f64>() + white * 0.1848
    });
    let rms = (noise.iter().map(|x| x * x).sum::<f32>() / noise.len().max(1) as f32).sqrt();
    noise
        .iter_mut()
        .for_each(|x| *x *= shape.level / rms.max(1e-9));
    noise
}

/// A sustained major chord on `root_hz` with four harmonics a note, as an organ would play it.
pub fn chord(shape: Shape, root_hz: f64) -> Vec<f32> {
    shape.render(|time| {
        let note = |ratio: f64| harmonics(root_hz * ratio * time);
        (note(1.0) + note(1.25) + note(1.5)) / 6.0
    })
}

/// A little band: plucked four-chord accompaniment, bass, a melody with vibrato and a noise drum, at 120 beats a minute.
pub fn music(shape: Shape, seed: u64) -> Vec<f32> {
    const ROOTS_HZ: [f64; 4] = [220.0, 174.61, 261.63, 196.0];
    const SCALE: [f64; 5] = [1.0, 1.125, 1.25, 1.5, 1.6667];
    let mut random = Random::new(seed);
    let melody: Vec<f64> = (0..64)
        .map(|_| SCALE[(random.next() % 5) as usize])
        .collect();
    shape.render(|time| {
        let beat = time / 0.5;
        let root_hz = ROOTS_HZ[(beat / 4.0) as usize % 4];
        let since_pluck = beat.fract() * 0.5;
        let pluck = (-6.0 * since_pluck).exp();
        let chord: f64 = [1.0, 1.25, 1.5]
            .iter()
            .map(|r| harmonics(root_hz * r * time))
            .sum();
        let bass = harmonics(root_hz / 2.0 * time);
        let lead_hz = 2.0 * root_hz * melody[(beat * 2.0) as usize % melody.len()];
        let vibrato = 0.08 * (TAU * 5.5 * time).sin();
        let lead = (TAU * lead_hz * time + vibrato).sin();
        let drum = random.normal() * (-40.0 * since_pluck).exp();
        0.18 * chord * pluck + 0.2 * bass * pluck + 0.2 * lead + 0.15 * drum
    })
}

/// Adds `other` to `sound`, sample by sample, as far as both go.
pub fn mix(sound: &mut [f32], other: &[f32]) {
    sound
        .iter_mut()
        .zip(other)
        .for_each(|(sound, other)| *sound += other);
}

/// A fundamental and three overtones at 1/2, 1/3, 1/4; `turns` is frequency times time.
fn harmonics(turns: f64) -> f64 {
    (1..=4)
        .map(|overtone| (TAU * turns * f64::from(overtone)).sin() / f64::from(overtone))
        .sum()
}

/// The splitmix64 generator (Steele, Lea, Flood 2014): small, good enough for noise, the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator that depends on the seed alone.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    #[allow(clippy::should_implement_trait)] // an endless source of bits is no iterator
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number around 0 with variance 1, within ±3.5.
    pub fn normal(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.unit()).sum();
        (sum - 2.0) * 3f64.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rms(sound: &[f32]) -> f32 {
        (sound.iter().map(|x| x * x).sum::<f32>() / sound.len() as f32).sqrt()
    }

    #[test]
    fn sounds_have_their_length_and_level() {
        let shape = Shape::seconds(2.0).level(0.2);
        for (name, sound, level) in [
            ("silence", silence(shape), 0.0),
            ("sine", sine(shape, 440.0), 0.2 / 2f32.sqrt()),
            ("chirp", chirp(shape, 100.0, 4000.0), 0.2 / 2f32.sqrt()),
            ("white", white_noise(shape, 1), 0.2),
            ("pink", pink_noise(shape, 1), 0.2),
        ] {
            assert_eq!(sound.len(), 32_000, "{name}");
            assert!(
                (rms(&sound) - level).abs() < 0.004,
                "{name}: {}",
                rms(&sound)
            );
        }
        for sound in [chord(shape, 220.0), music(shape, 1)] {
            assert!(rms(&sound) > 0.02 && sound.iter().all(|x| x.abs() <= 0.3));
        }
    }

    #[test]
    fn noise_depends_on_the_seed_alone_and_pink_falls() {
        let shape = Shape::seconds(1.0);
        assert_eq!(white_noise(shape, 7), white_noise(shape, 7));
        assert_ne!(white_noise(shape, 7), white_noise(shape, 8));
        // The power of differences over the power: 2 for white noise, much less where low frequencies dominate.
        let roughness = |sound: &[f32]| {
            let steps: Vec<f32> = sound.windows(2).map(|pair| pair[1] - pair[0]).collect();
            (rms(&steps) / rms(sound)).powi(2)
        };
        assert!((roughness(&white_noise(shape, 7)) - 2.0).abs() < 0.1);
        assert!(roughness(&pink_noise(shape, 7)) < 0.7);
    }
}
