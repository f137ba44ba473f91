//! A recording as a drawing: its waveform, loudness and pitch, fine enough for a screen.

use serde::{Deserialize, Serialize};

/// Points a second.
pub const CURVE_RATE: usize = 20;

/// One point for every 50 ms of a recording.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Largest magnitude, 0 to 1.
    pub peaks: Vec<f32>,
    /// Level in dBFS, where somebody speaks; `NaN` elsewhere.
    pub level_db: Vec<f32>,
    /// Fundamental frequency in Hz where a voice sounds; `NaN` elsewhere.
    pub pitch_hz: Vec<f32>,
    /// Largest magnitude and number of the samples of a point that is not yet whole.
    open: (f32, usize),
}

impl Curves {
    /// Takes the next samples, 16 kHz mono.
    pub(crate) fn push(&mut self, pcm: &[f32]) {
        let width = 16_000 / CURVE_RATE;
        for &sample in pcm {
            let size = if sample.is_finite() {
                sample.abs().min(1.0)
            } else {
                0.0
            };
            self.open = (self.open.0.max(size), self.open.1 + 1);
            if self.open.1 == width {
                self.peaks.push(self.open.0);
                self.open = (0.0, 0);
            }
        }
    }

    /// Ends the sound: every curve gets the same length.
    pub(crate) fn finish(&mut self) {
        if self.open.1 > 0 {
            self.peaks.push(self.open.0);
            self.open = (0.0, 0);
        }
        self.level_db.resize(self.peaks.len(), f32::NAN);
        self.pitch_hz.resize(self.peaks.len(), f32::NAN);
    }

    /// Notes level and pitch at a time in seconds, where they were measured.
    pub(crate) fn note(&mut self, seconds: f64, level_db: Option<&f32>, pitch_hz: Option<&f32>) {
        let at = (seconds * CURVE_RATE as f64) as usize;
        for (curve, value) in [
            (&mut self.level_db, level_db),
            (&mut self.pitch_hz, pitch_hz),
        ] {
            if curve.len() <= at {
                curve.resize(at + 1, f32::NAN);
            }
            if let Some(value) = value.filter(|v| v.is_finite()) {
                curve[at] = *value;
            }
        }
    }
}
