//! How active each speaker is, frame by frame.

use serde::{Deserialize, Serialize};

use super::Turn;

/// Scores `(frames, speakers)` from 0 (silent) to 1 (talks, all windows agree), kept in 255ths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Activations {
    frame_seconds: f64,
    first_time: f64,
    speakers: usize,
    scores: Vec<u8>,
}

impl Activations {
    /// Scores in 255ths, row by row; frame `f` stands for the time around `first_time + f * frame_seconds`. What is left
    /// of an incomplete last row is dropped.
    pub fn new(frame_seconds: f64, first_time: f64, speakers: usize, mut scores: Vec<u8>) -> Self {
        let rows = scores.len().checked_div(speakers).unwrap_or(0);
        scores.truncate(rows * speakers);
        Self {
            frame_seconds,
            first_time,
            speakers,
            scores,
        }
    }

    /// Scores of 1 in turns and 0 between them, for turns that came without scores.
    pub fn from_turns(turns: &[Turn], speakers: usize, frame_seconds: f64) -> Self {
        let end = turns.iter().fold(0.0, |end: f64, turn| end.max(turn.end));
        let frames = (end / frame_seconds).ceil() as usize;
        let mut scores = vec![0; frames * speakers];
        for turn in turns.iter().filter(|turn| turn.speaker < speakers) {
            let edge = |time: f64| ((time / frame_seconds).round().max(0.0) as usize).min(frames);
            for frame in edge(turn.start)..edge(turn.end) {
                scores[frame * speakers + turn.speaker] = 255;
            }
        }
        Self::new(frame_seconds, 0.5 * frame_seconds, speakers, scores)
    }

    /// Seconds from frame to frame.
    pub fn frame_seconds(&self) -> f64 {
        self.frame_seconds
    }

    /// The number of frames.
    pub fn frames(&self) -> usize {
        self.scores.len().checked_div(self.speakers).unwrap_or(0)
    }

    /// The number of speakers.
    pub fn speakers(&self) -> usize {
        self.speakers
    }

    /// The time in the middle of a frame, in seconds.
    pub fn time(&self, frame: usize) -> f64 {
        self.first_time + frame as f64 * self.frame_seconds
    }

    /// The scores of a frame in 255ths, one for each speaker; none outside the recording.
    pub fn row(&self, frame: usize) -> &[u8] {
        let start = frame.saturating_mul(self.speakers);
        self.scores.get(start..start + self.speakers).unwrap_or(&[])
    }

    /// Adds to `sums`, one for each speaker, the seconds from `start` to `end` weighted with the scores there.
    pub fn add_overlap(&self, start: f64, end: f64, sums: &mut [f64]) {
        let edge = |time: f64| (time - self.first_time) / self.frame_seconds + 0.5;
        let (from, to) = (edge(start).max(0.0), edge(end).min(self.frames() as f64));
        let mut frame = from as usize;
        while (frame as f64) < to {
            let share = (to.min(frame as f64 + 1.0) - from.max(frame as f64)) * self.frame_seconds;
            for (sum, &score) in sums.iter_mut().zip(self.row(frame)) {
                *sum += share * f64::from(score) / 255.0;
            }
            frame += 1;
        }
    }

    /// The same with speakers in another order: the new speaker `s` is the old `order[s]`; others are dropped.
    pub(super) fn reorder(&mut self, order: &[usize]) {
        let rows = self.scores.chunks_exact(self.speakers.max(1));
        self.scores = rows
            .flat_map(|row| order.iter().map(|&old| row[old]))
            .collect();
        self.speakers = order.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_measured_to_the_part_of_a_frame() {
        let turn = |start, end, speaker| Turn {
            start,
            end,
            speaker,
        };
        let turns = [turn(0.0, 0.2, 0), turn(0.1, 0.4, 1), turn(0.2, 0.3, 9)];
        let activations = Activations::from_turns(&turns, 2, 0.1);
        assert_eq!(
            (activations.frames(), activations.row(1)),
            (4, &[255, 255][..])
        );
        assert_eq!(activations.row(9), &[] as &[u8]);
        for (start, end, expected) in [
            (0.0, 0.4, [0.2, 0.3]),
            (0.05, 0.15, [0.1, 0.05]),
            (0.12, 0.13, [0.01, 0.01]),
            (-1.0, 0.05, [0.05, 0.0]),
            (0.35, 9.0, [0.0, 0.05]),
            (3.0, 2.0, [0.0, 0.0]),
        ] {
            let mut sums = [0.0; 2];
            activations.add_overlap(start, end, &mut sums);
            assert!(
                (0..2).all(|s| (sums[s] - expected[s]).abs() < 1e-9),
                "{start}..{end}: {sums:?}"
            );
        }
    }
}
