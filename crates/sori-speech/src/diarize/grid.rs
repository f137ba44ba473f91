//! Where windows and their frames lie in time.

use serde::{Deserialize, Serialize};

/// Samples in a second: everything here counts samples at 16 kHz.
pub const SAMPLE_RATE: u32 = 16_000;

/// The windows a recording is heard in and the frames that a segmentation network makes of each, in samples at 16 kHz.
///
/// Frames of all windows are put on one grid: frame `f` of the recording stands for the time [`Grid::time`]. As
/// pyannote.core's `SlidingWindow` has it (pyannote/core/segment.py).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Samples in a window.
    pub window: u32,
    /// Samples from the start of a window to the start of the next.
    pub step: u32,
    /// Frames of a window.
    pub frames: u32,
    /// Samples from frame to frame.
    pub frame_step: u32,
    /// Samples that a frame sees.
    pub frame_size: u32,
}

impl Grid {
    /// The number of windows over a recording: all that fit whole, and one more where sound is left.
    pub fn windows(&self, samples: u64) -> usize {
        let (window, step) = (u64::from(self.window), u64::from(self.step));
        let whole = match samples.checked_sub(window) {
            Some(rest) => rest / step + 1,
            None => 0,
        };
        let covered = if whole == 0 {
            0
        } else {
            (whole - 1) * step + window
        };
        (whole + u64::from(samples > covered)) as usize
    }

    /// The frame of the recording at which a window's first frame lies.
    pub fn first_frame(&self, window: usize) -> usize {
        self.nearest_frame(window as f64 * f64::from(self.step))
    }

    /// The number of frames of a recording with that many windows.
    pub fn total_frames(&self, windows: usize) -> usize {
        match windows.checked_sub(1) {
            None => 0,
            Some(last) => {
                self.nearest_frame(f64::from(self.window) + last as f64 * f64::from(self.step)) + 1
            }
        }
    }

    /// The middle of a frame of the recording, in seconds.
    pub fn time(&self, frame: usize) -> f64 {
        (frame as f64 * f64::from(self.frame_step) + 0.5 * f64::from(self.frame_size))
            / f64::from(SAMPLE_RATE)
    }

    /// Seconds from frame to frame.
    pub fn frame_seconds(&self) -> f64 {
        f64::from(self.frame_step) / f64::from(SAMPLE_RATE)
    }

    fn nearest_frame(&self, samples: f64) -> usize {
        (samples / f64::from(self.frame_step)).round_ties_even() as usize
    }

    pub(super) fn is_sound(&self) -> bool {
        let most = SAMPLE_RATE * 60;
        (1..=most).contains(&self.window)
            && (1..=self.window).contains(&self.step)
            // No more than a hundred windows over one moment, and frames that lie in their window.
            && self.window <= self.step.saturating_mul(100)
            && (1..=self.window).contains(&self.frame_step)
            && u64::from(self.frames) * u64::from(self.frame_step)
                <= u64::from(self.window) + u64::from(self.frame_size)
            && (1..=most).contains(&self.frame_size)
            && (1..=u32::from(u16::MAX)).contains(&self.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PYANNET: Grid = Grid {
        window: 160_000,
        step: 16_000,
        frames: 589,
        frame_step: 270,
        frame_size: 991,
    };

    #[test]
    fn windows_cover_the_recording() {
        for (samples, windows) in [
            (0, 0),
            (1, 1),
            (159_999, 1),
            (160_000, 1),
            (160_001, 2),
            (176_000, 2),
            (176_001, 3),
            (480_000, 21),
        ] {
            assert_eq!(PYANNET.windows(samples), windows, "{samples}");
        }
    }

    #[test]
    fn frames_lie_where_pyannote_puts_them() {
        assert_eq!(PYANNET.total_frames(8), 1008, "as post.npz");
        assert_eq!((PYANNET.total_frames(0), PYANNET.total_frames(1)), (0, 594));
        assert_eq!((PYANNET.first_frame(1), PYANNET.first_frame(2)), (59, 119));
        assert!((PYANNET.time(2) - (2.0 * 0.016_875 + 0.030_968_75)).abs() < 1e-12);
    }
}
