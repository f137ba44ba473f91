//! Fundamental frequency by autocorrelation and the cheapest path through its candidates.
//!
//! Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound"
//! (IFA Proceedings 17, 1993), as in Praat's `Sound_to_Pitch.cpp` ("raw autocorrelation") and `Pitch_pathFinder`.

mod candidates;
mod path;

use realfft::RealFftPlanner;

use crate::error::{DspError, DspErrorKind};
use candidates::Correlator;

/// Range of the pitch, and the frames in which it is sought.
#[derive(Debug, Clone, PartialEq)]
pub struct PitchOptions {
    /// Lowest pitch in Hz, `40..=200`; three of its periods are the length of a frame.
    pub floor_hz: f32,
    /// Highest pitch in Hz, above the floor and at most a tenth of the sample rate.
    pub ceiling_hz: f32,
    /// Samples from one frame to the next, `1..=8192`.
    pub hop: usize,
    /// Sample rate of the PCM in Hz, `8000..=48_000`.
    pub sample_rate: u32,
}

impl Default for PitchOptions {
    /// 65 to 600 Hz, every 10 ms at 16 kHz.
    fn default() -> Self {
        Self {
            floor_hz: 65.0,
            ceiling_hz: 600.0,
            hop: 160,
            sample_rate: 16_000,
        }
    }
}

impl PitchOptions {
    /// Checks every value against the range given at its field.
    ///
    /// # Errors
    /// [`DspErrorKind::PitchOptions`], naming the first value that is outside.
    pub fn validate(&self) -> Result<(), DspError> {
        let refuse = |message| Err(DspError::new(DspErrorKind::PitchOptions, message));
        let (floor, ceiling) = (self.floor_hz, self.ceiling_hz);
        let most = self.sample_rate as f32 / 10.0;
        if !(8_000..=48_000).contains(&self.sample_rate) {
            return refuse(format!(
                "sample rate of {} Hz: give 8000 to 48000",
                self.sample_rate
            ));
        }
        if !(40.0..=200.0).contains(&floor) {
            return refuse(format!("lowest pitch of {floor} Hz: give 40 to 200"));
        }
        if !(ceiling > floor && ceiling <= most) {
            return refuse(format!(
                "highest pitch of {ceiling} Hz: give more than {floor}, at most {most}"
            ));
        }
        if !(1..=8192).contains(&self.hop) {
            return refuse(format!("hop of {} samples: give 1 to 8192", self.hop));
        }
        Ok(())
    }
}

/// Pitch of a stretch of sound, one value a frame; the centre of frame `i` lies on sample `i × hop`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PitchTrack {
    /// Fundamental frequency in Hz; `NaN` where the frame is not voiced.
    pub hz: Vec<f32>,
    /// Normalised autocorrelation at the period, 0 to 1: how alike neighbouring periods are. Where the frame is not voiced,
    /// that of the best candidate; 0 where there is none or the frame is much too quiet.
    pub periodicity: Vec<f32>,
    /// Level that counts as loud here: the highest peak, but at most half as much again as the 98th percentile of the frames'
    /// peaks, so that a knock does not hush a voice.
    pub loud: f32,
}

/// A planned pitch analysis. It is immutable, so that threads share one.
pub struct PitchTracker {
    options: PitchOptions,
    correlator: Correlator,
}

impl PitchTracker {
    /// Plans the analysis. Costs about a millisecond; keep the plan.
    ///
    /// # Errors
    /// [`DspErrorKind::PitchOptions`] when [`PitchOptions::validate`] refuses.
    pub fn new(options: &PitchOptions) -> Result<Self, DspError> {
        options.validate()?;
        Ok(Self {
            correlator: Correlator::new(options, &mut RealFftPlanner::new()),
            options: options.clone(),
        })
    }

    /// The options that the analysis was planned with.
    pub fn options(&self) -> &PitchOptions {
        &self.options
    }

    /// Pitch of the first `frames` frames of `pcm`; what lies outside `pcm` counts as zero.
    ///
    /// The path is the best over all frames, so that a value depends on the whole stretch, and on nothing else. Allocates a
    /// few hundred bytes a frame in all; takes about 10 µs a frame.
    pub fn track(&self, pcm: &[f32], frames: usize) -> PitchTrack {
        let found = self.correlator.candidates(pcm, frames);
        let chosen = path::best(&found, self.options.ceiling_hz, self.frame_seconds());
        let mut track = PitchTrack {
            hz: Vec::with_capacity(frames),
            periodicity: Vec::with_capacity(frames),
            loud: found.loud,
        };
        for (frame, choice) in chosen.into_iter().enumerate() {
            let candidates = found.frame(frame);
            let strongest = || {
                candidates
                    .iter()
                    .map(|one| one.strength)
                    .fold(0.0, f32::max)
            };
            let voiced = choice.map(|at| candidates[at]);
            track.hz.push(voiced.map_or(f32::NAN, |one| one.hz));
            track
                .periodicity
                .push(voiced.map_or_else(strongest, |one| one.strength));
        }
        track
    }

    fn frame_seconds(&self) -> f32 {
        self.options.hop as f32 / self.options.sample_rate as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_outside_their_range_are_refused() {
        let ok = PitchOptions::default;
        let check = |options: PitchOptions, word: &str| {
            let error = PitchTracker::new(&options).err().expect("refused");
            assert_eq!(error.kind(), DspErrorKind::PitchOptions);
            assert!(error.to_string().contains(word), "{error}");
        };
        for floor_hz in [39.0, 201.0, f32::NAN] {
            check(PitchOptions { floor_hz, ..ok() }, "lowest pitch");
        }
        for ceiling_hz in [65.0, 1601.0, f32::NAN] {
            check(PitchOptions { ceiling_hz, ..ok() }, "highest pitch");
        }
        check(PitchOptions { hop: 0, ..ok() }, "hop");
        check(
            PitchOptions {
                sample_rate: 7_999,
                ..ok()
            },
            "sample rate",
        );
    }

    #[test]
    fn voices_at_every_rate_and_range_are_found() {
        for (sample_rate, floor_hz, ceiling_hz, hz) in [
            (8_000, 65.0, 600.0, 70.0),
            (16_000, 65.0, 600.0, 123.4),
            (16_000, 40.0, 1600.0, 1234.5),
            (48_000, 200.0, 4800.0, 590.0),
            (44_100, 75.0, 500.0, 490.0),
        ] {
            let options = PitchOptions {
                floor_hz,
                ceiling_hz,
                hop: sample_rate as usize / 100,
                sample_rate,
            };
            let phase =
                |n: usize| std::f32::consts::TAU * (n as f32 * hz / sample_rate as f32).fract();
            let pcm: Vec<f32> = (0..sample_rate as usize)
                .map(|n| 0.3 * phase(n).sin() + 0.2 * (2.0 * phase(n)).sin())
                .collect();
            let track = PitchTracker::new(&options).expect("valid").track(&pcm, 100);
            assert_eq!((track.hz.len(), track.periodicity.len()), (100, 100));
            for frame in 10..90 {
                let off = 1200.0 * (track.hz[frame] / hz).log2();
                assert!(off.abs() < 2.0, "{hz} Hz at {sample_rate}: {off} cents");
                assert!(track.periodicity[frame] > 0.98);
            }
        }
    }

    #[test]
    fn nothing_and_silence_are_not_voiced() {
        let tracker = PitchTracker::new(&PitchOptions::default()).expect("valid");
        assert_eq!(tracker.track(&[], 0), PitchTrack::default());
        for pcm in [&[][..], &[0.0; 1000]] {
            let track = tracker.track(pcm, 5);
            assert!(track.hz.iter().all(|hz| hz.is_nan()));
            assert_eq!((track.periodicity, track.loud), (vec![0.0; 5], 0.0));
        }
    }
}
