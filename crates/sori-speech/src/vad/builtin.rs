//! The detector that needs no file: earshot's small network, a level control in front and a gate behind.
//!
//! earshot 1.2 (40 kB, 16 ms frames) depends on the level, and takes loud noise and any music for speech; hence the two.

use earshot::Detector;

use super::gate::{Gate, HOP, Measured, Motion};

/// Samples in a frame: 16 ms at 16 kHz.
pub(super) const FRAME: usize = HOP;

/// RMS of the loudest frames as the network gets them, in dB of full scale. It finds 97 % of the speech in
/// `speech/en_cold_corpus.wav` at this level, 66 % as it is.
const TARGET_DB: f32 = -15.0;
/// Range of the gain. What is more than 70 dB below full scale is left as quiet as that.
const GAIN_DB: std::ops::RangeInclusive<f32> = -15.0..=55.0;
/// How fast a loud sound is forgotten, in dB for each frame (3 dB a second).
const RELEASE_DB: f32 = 3.0 * FRAME as f32 / 16_000.0;

/// The network with the state of one stream.
pub(super) struct Builtin {
    network: Network,
    motion: Motion,
    gate: Gate,
}

impl Builtin {
    pub(super) fn new() -> Self {
        Self {
            network: Network {
                detector: Detector::default(),
                level_db: TARGET_DB - GAIN_DB.end(),
                scaled: vec![0.0; FRAME],
            },
            motion: Motion::new(),
            gate: Gate::default(),
        }
    }

    /// Takes whole frames of samples in -1..1; appends the probabilities of the frames [`super::gate::REACH`] before them.
    /// The network and the measurement of how the sound moves know nothing of each other, and run side by side on the caller's
    /// rayon pool.
    pub(super) fn push(&mut self, frames: &[f32], out: &mut Vec<f32>) {
        let Self {
            network, motion, ..
        } = self;
        let mut hear = || {
            frames
                .chunks_exact(FRAME)
                .map(|f| network.predict(f))
                .collect()
        };
        let mut see = || frames.chunks_exact(FRAME).map(|f| motion.push(f)).collect();
        let (probabilities, measured): (Vec<f32>, Vec<Measured>) = match frames.len() / FRAME {
            // Handing over takes about as long as three frames.
            0..8 => (hear(), see()),
            _ => rayon::join(hear, see),
        };
        for (probability, measured) in probabilities.into_iter().zip(measured) {
            self.gate.push(measured, probability, out);
        }
    }

    /// Appends the probabilities that are still delayed; a new stream may follow.
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) {
        self.gate.finish(out);
        *self = Self::new();
    }
}

/// earshot's network behind a level control.
struct Network {
    detector: Detector,
    /// RMS of the loudest frame of late, in dB.
    level_db: f32,
    scaled: Vec<f32>,
}

impl Network {
    /// The probability of a frame.
    fn predict(&mut self, frame: &[f32]) -> f32 {
        let power = frame.iter().map(|sample| sample * sample).sum::<f32>() / frame.len() as f32;
        let frame_db = 10.0 * (power + 1e-12).log10();
        // Half of what is louder counts at once, so that a single click does not turn speech down.
        let louder_db = self.level_db + 0.5 * (frame_db - self.level_db);
        self.level_db = (self.level_db - RELEASE_DB).max(louder_db);
        let gain_db = (TARGET_DB - self.level_db).clamp(*GAIN_DB.start(), *GAIN_DB.end());
        let gain = 10f32.powf(gain_db / 20.0);
        for (scaled, sample) in self.scaled.iter_mut().zip(frame) {
            *scaled = (sample * gain).clamp(-1.0, 1.0);
        }
        self.detector.predict_f32(&self.scaled)
    }
}
