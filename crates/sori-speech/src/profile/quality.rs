//! Whether a clip is good enough to know a voice by.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Samples of a frame whose loudness is measured: 30 ms at 16 kHz.
const FRAME: usize = 480;

/// What was measured of one clip.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Net speech in seconds.
    pub speech_seconds: f64,
    /// Power of speech over power of what is heard between it, in dB; -100 to 100.
    pub snr_db: f32,
    /// Share of the speech's samples that are cut off at the loudest value, 0 to 1.
    pub clipped_share: f32,
    /// Share of the speech in which somebody else speaks too, 0 to 1.
    pub overlap_share: f32,
}

impl Quality {
    /// Measures 16 kHz mono `samples` (full scale is 1), in which `speech` was found, ascending; the share of overlap comes from
    /// who found it.
    ///
    /// The noise is the mean of what lies outside speech, if that is at least 0.3 s, else the quietest twentieth of all frames
    /// (30 ms each). A sample counts as cut off when it and a neighbour are within 0.1 % of the clip's peak and that is above
    /// half of full scale: sound is also cut off before its level is turned down.
    #[must_use]
    pub fn measure(samples: &[f32], speech: &[Range<usize>], overlap_share: f32) -> Self {
        let inside = |i: usize| speech.iter().any(|r| r.contains(&i));
        let (mut voiced, mut between) = (Vec::new(), Vec::new());
        for (k, frame) in samples.chunks_exact(FRAME).enumerate() {
            let power = frame.iter().map(|v| f64::from(v * v)).sum::<f64>() / FRAME as f64;
            let place = if inside(k * FRAME + FRAME / 2) {
                &mut voiced
            } else {
                &mut between
            };
            place.push(if power.is_finite() { power } else { 0.0 });
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
        let signal = mean(&voiced);
        let noise = if between.len() >= 10 {
            mean(&between)
        } else {
            let mut all = [voiced, between].concat();
            all.sort_by(f64::total_cmp);
            mean(&all[..all.len().div_ceil(20)])
        };
        let snr = 10.0 * ((signal - noise).max(1e-12) / noise.max(1e-12)).log10();
        let (cut, total) = clipped(samples, speech);
        Self {
            speech_seconds: total as f64 / 16_000.0,
            snr_db: snr.clamp(-100.0, 100.0) as f32,
            clipped_share: cut as f32 / total.max(1) as f32,
            overlap_share,
        }
    }
}

/// (samples of speech cut off, samples of speech).
fn clipped(samples: &[f32], speech: &[Range<usize>]) -> (usize, usize) {
    let spans = speech
        .iter()
        .filter_map(|r| samples.get(r.start..r.end.min(samples.len())));
    let peak = samples.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let (mut cut, mut total) = (0, 0);
    for span in spans {
        total += span.len();
        if peak > 0.5 {
            let at_peak = |v: f32| v.abs() >= 0.999 * peak;
            let pairs = span.windows(2).filter(|w| at_peak(w[0]) && at_peak(w[1]));
            cut += pairs.count();
        }
    }
    (cut, total)
}

/// What an enrolment demands of its clips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gates {
    /// Net speech of all clips together, at least, in seconds.
    pub speech_seconds: f64,
    /// Net speech of each clip, at least, in seconds.
    pub clip_seconds: f64,
    /// Signal over noise of each clip, at least, in dB.
    pub snr_db: f32,
    /// Share of cut-off samples of each clip, at most.
    pub clipped_share: f32,
    /// Share of overlapped speech of each clip, at most.
    pub overlap_share: f32,
}

impl Default for Gates {
    /// 8 s of speech in clips of at least 2 s, 10 dB, 1 % cut off, 10 % overlapped: below 8 s the error rates of short clips set
    /// in (`training/speakers/README.md`), and the rest is where cosines begin to fall.
    fn default() -> Self {
        Self {
            speech_seconds: 8.0,
            clip_seconds: 2.0,
            snr_db: 10.0,
            clipped_share: 0.01,
            overlap_share: 0.1,
        }
    }
}
