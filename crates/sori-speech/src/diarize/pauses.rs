//! Pauses that a network hears through: where the sound falls far below the level of the turn it lies in.
//!
//! segmentation-3.0 was trained on turns whose pauses annotators had filled, and fills those under a second. What is silent
//! beside its own turn is a pause, whatever was taught; where noise covers it, the network is believed.

use super::Chunks;

/// Decibels below the level that the louder quarter of a turn reaches.
const BELOW: u8 = 30;
/// Seconds of the shortest pause, as references have it.
const SHORTEST: f64 = 0.3;
/// Seconds of a turn that have a level of their own: whoever steps back from the microphone is not silent.
const PART: f64 = 20.0;

/// Measures the level of sound as it comes.
pub struct Meter {
    block: u32,
    before: f32,
    sum: f64,
    samples: u32,
    levels: Vec<u8>,
}

impl Meter {
    /// For blocks of so many samples.
    pub fn new(block: u32) -> Self {
        Self {
            block,
            before: 0.0,
            sum: 0.0,
            samples: 0,
            levels: Vec::new(),
        }
    }

    /// The next samples. Differences of neighbours are measured, which leaves out hum and rumble.
    pub fn push(&mut self, pcm: &[f32]) {
        for &sample in pcm {
            self.sum += f64::from(sample - self.before).powi(2);
            self.before = sample;
            self.samples += 1;
            if self.samples == self.block {
                self.close();
            }
        }
    }

    /// The levels of all blocks, in decibels below full scale; the last block may be shorter.
    pub fn finish(mut self) -> Vec<u8> {
        if self.samples > 0 {
            self.close();
        }
        self.levels
    }

    fn close(&mut self) {
        let mean = self.sum / f64::from(self.samples);
        // A cast ends at 0 and 255; what is no number is loud.
        self.levels.push((-10.0 * mean.log10()).round() as u8);
        (self.sum, self.samples) = (0.0, 0);
    }
}

/// Which frames are pauses; `who` says for each frame who goes first in it, if anybody talks. None are where levels are unknown.
pub fn find(chunks: &Chunks, who: &[Option<usize>]) -> Vec<bool> {
    let mut pauses = vec![false; who.len()];
    let (grid, levels) = (chunks.grid(), chunks.levels());
    if levels.is_empty() {
        return pauses;
    }
    let level = |frame: usize| {
        let block = grid.time(frame) / grid.frame_seconds();
        levels.get(block as usize).copied().unwrap_or(u8::MAX)
    };
    let frames = |seconds: f64| (seconds / grid.frame_seconds()).ceil() as usize;
    let (shortest, part) = (frames(SHORTEST), frames(PART));
    let talk: Vec<usize> = (0..who.len()).filter(|&f| who[f].is_some()).collect();
    let turns = talk.chunk_by(|&a, &b| who[a] == who[b]);
    for turn in turns.flat_map(|turn| turn.chunks(part)) {
        let mut own: Vec<u8> = turn.iter().map(|&frame| level(frame)).collect();
        let louder = own.len() / 4;
        let least = own.select_nth_unstable(louder).1.saturating_add(BELOW);
        let quiet = |frame: usize| level(frame) > least;
        for run in turn.chunk_by(|&a, &b| a + 1 == b && quiet(a) == quiet(b)) {
            if run.len() >= shortest && quiet(run[0]) {
                pauses[run[0]..run[0] + run.len()].fill(true);
            }
        }
    }
    pauses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::{Grid, Window};

    /// Frames of 0.1 s.
    fn chunks(levels: Vec<u8>) -> Chunks {
        let frames = levels.len() as u32;
        let grid = Grid {
            window: frames * 1_600,
            step: frames * 1_600,
            frames,
            frame_step: 1_600,
            frame_size: 1_600,
        };
        let window = Window::new(&vec![1; levels.len()], &[]);
        let chunks = Chunks::new(grid, u64::from(grid.window), 1, vec![window]);
        chunks.unwrap().with_levels(levels).unwrap()
    }

    #[test]
    fn a_long_silence_in_a_turn_is_a_pause() {
        let levels = [20, 20, 60, 20, 60, 60, 60, 20, 20, 20].to_vec();
        let found = find(&chunks(levels), &[Some(0); 10]);
        let expected = [0, 0, 0, 0, 1, 1, 1, 0, 0, 0].map(|pause| pause == 1);
        assert_eq!(found, expected, "and one of a tenth of a second is not");
    }

    #[test]
    fn quiet_people_are_measured_by_themselves() {
        let levels = [20, 20, 20, 20, 55, 55, 55, 55, 90, 90, 90, 90];
        let who = [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1].map(Some);
        let found = find(&chunks(levels.to_vec()), &who);
        assert_eq!(found, levels.map(|level| level == 90));
    }

    #[test]
    fn whoever_steps_back_from_the_microphone_is_not_silent() {
        let near_and_far = [[20u8; 200], [60; 200]].concat();
        let found = find(&chunks(near_and_far), &[Some(0); 400]);
        assert_eq!(found, [false; 400]);
    }

    #[test]
    fn a_noisy_pause_is_left_to_the_network() {
        let levels = [20, 20, 45, 45, 45, 45, 45, 20, 20, 20].to_vec();
        assert_eq!(find(&chunks(levels), &[Some(0); 10]), [false; 10]);
    }

    #[test]
    fn levels_are_those_of_differences() {
        let mut meter = Meter::new(100);
        let alternating: Vec<f32> = (0..150)
            .map(|i| if i % 2 == 0 { 0.05 } else { -0.05 })
            .collect();
        for piece in alternating.chunks(7) {
            meter.push(piece);
        }
        // Differences of 0.1 are 20 dB below 1, no matter what they lie on; silence is as far below as can be said.
        assert_eq!(meter.finish(), [20, 20]);
        let mut meter = Meter::new(100);
        meter.push(&[0.0; 100]);
        meter.push(&[f32::NAN]);
        assert_eq!(meter.finish(), [255, 0]);
    }
}
