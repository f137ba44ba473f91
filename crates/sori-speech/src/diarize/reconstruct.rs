//! From clusters back to turns: who talks when, over the whole recording.

use serde::{Deserialize, Serialize};

use super::{Activations, Chunks, clustering::Clusters, count, pauses};

/// A stretch in which a speaker talks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Where it starts, in seconds.
    pub start: f64,
    /// Where it ends, in seconds; after its start.
    pub end: f64,
    /// The speaker, numbered from 0.
    pub speaker: usize,
}

/// With a path: how many more than one must be expected to talk for two to do so, and more than two for three. Less than a
/// half, for networks trained on little overlap are shy of it.
const TOGETHER: f32 = 0.3;
/// With a path: what it adds to a speaker's rank in a frame to have been the last one or to be the next, in windows (one for
/// each), and the seconds in which that falls to a third. (Who interrupts or is interrupted talks nearby: Otterson and Ostendorf 2007.)
const NEAR: f32 = 1.0;
const NEAR_SECONDS: f64 = 1.0;

/// Turns with their overlaps, turns without, and the scores they were made from.
pub struct Reconstruction {
    pub turns: Vec<Turn>,
    pub exclusive: Vec<Turn>,
    pub activations: Activations,
}

/// Gives each frame to as many clusters as were counted, at most `most` at once. Turns come by their start. `main` says for
/// each frame who goes before all others; then those follow who talk nearby, networks' own probabilities are counted, and
/// what is silent beside its own turn is a pause.
///
/// `reconstruct`, `to_diarization` and `to_annotation` of pyannote/audio/pipelines, with the lowest index first where sums are
/// equal. Where more talk than there are clusters, further clusters are made, but not with a path: what is half expected in a
/// monologue makes no second speaker.
pub fn reconstruct(
    chunks: &Chunks,
    clusters: &Clusters,
    main: Option<&[usize]>,
    most: usize,
) -> Reconstruction {
    let labels = &clusters.labels;
    // Who goes first, where somebody talks and there is a path; and how many talk.
    let heard = |frame: &count::Frame| -> (Option<usize>, usize) {
        match main.and_then(|main| main.get(frame.index)) {
            Some(&first) if frame.count > 0 => (Some(first), together(frame.expected)),
            _ => (None, frame.count as usize),
        }
    };
    let (mut largest, mut who) = (0, Vec::new());
    count::sweep(chunks, labels, 0, |frame| {
        let (first, count) = heard(&frame);
        who.push(first);
        if first.is_none() {
            largest = largest.max(count);
        }
    });
    let pauses = pauses::find(chunks, &who);
    let mut stretches = Stretches::default();
    for (frame, first) in who.into_iter().enumerate() {
        if let Some(first) = first.filter(|_| !pauses[frame]) {
            stretches.push(frame, first);
        }
    }
    let clusters = clusters.centroids.len().max(largest.min(most));
    let grid = chunks.grid();
    let mut all = Turns::new(clusters);
    let mut one = Turns::new(clusters);
    let mut scores = Vec::with_capacity(grid.total_frames(chunks.windows().len()) * clusters);
    let (mut talking, mut ranks) = (Vec::new(), Vec::new());
    count::sweep(chunks, labels, clusters, |frame| {
        let time = grid.time(frame.index);
        let mut sums = frame.sums.to_vec();
        let (first, count) = match pauses[frame.index] {
            true => (None, 0),
            false => heard(&frame),
        };
        ranks.clone_from(&sums);
        if let Some(first) = first {
            if count > 1 {
                for (speaker, frames) in stretches.around(frame.index) {
                    let away = frames as f64 * grid.frame_seconds() / NEAR_SECONDS;
                    ranks[speaker] += NEAR * frame.windows as f32 * (-away).exp() as f32;
                }
            }
            ranks[first] = f32::INFINITY;
            // As much as all windows together.
            sums[first] += frame.windows as f32;
        }
        count::highest(&ranks, count.min(most), &mut talking);
        all.push(time, &talking);
        one.push(time, &talking[..talking.len().min(1)]);
        let share = 255.0 / frame.windows.max(1) as f32 / if main.is_some() { 2.0 } else { 1.0 };
        scores.extend(sums.iter().map(|sum| (sum * share).round() as u8));
    });
    Reconstruction {
        turns: all.finish(),
        exclusive: one.finish(),
        activations: Activations::new(grid.frame_seconds(), grid.time(0), clusters, scores),
    }
}

/// How many talk in a frame in which somebody does, by what is expected; three at most.
fn together(expected: f32) -> usize {
    match expected - TOGETHER {
        more if more >= 2.0 => 3,
        more if more >= 1.0 => 2,
        _ => 1,
    }
}

/// Who goes first, in order: first frame, last frame and speaker of stretches that may have silence in them.
#[derive(Default)]
struct Stretches {
    all: Vec<(usize, usize, usize)>,
    /// The stretch that was looked at last.
    at: usize,
}

impl Stretches {
    /// The next frame in which somebody talks, and who goes first in it.
    fn push(&mut self, frame: usize, speaker: usize) {
        match self.all.last_mut() {
            Some(last) if last.2 == speaker => last.1 = frame,
            _ => self.all.push((frame, frame, speaker)),
        }
    }

    /// The speakers of the stretches before and after a frame's own, and how many frames away they are. Frames come in order.
    fn around(&mut self, frame: usize) -> impl Iterator<Item = (usize, usize)> {
        while self.all.get(self.at).is_some_and(|own| own.1 < frame) {
            self.at += 1;
        }
        let before = self.at.checked_sub(1).and_then(|at| self.all.get(at));
        let after = self.all.get(self.at + 1);
        let before = before.map(|&(_, last, speaker)| (speaker, frame.abs_diff(last)));
        let after = after.map(|&(first, _, speaker)| (speaker, first.abs_diff(frame)));
        before.into_iter().chain(after)
    }
}

/// Turns being made frame by frame.
struct Turns {
    since: Vec<Option<f64>>,
    now: f64,
    done: Vec<Turn>,
}

impl Turns {
    fn new(clusters: usize) -> Self {
        Self {
            since: vec![None; clusters],
            now: 0.0,
            done: Vec::new(),
        }
    }

    /// The next frame, at this time, with these talking.
    fn push(&mut self, time: f64, talking: &[usize]) {
        self.now = time;
        for speaker in 0..self.since.len() {
            match (self.since[speaker], talking.contains(&speaker)) {
                (None, true) => self.since[speaker] = Some(time),
                (Some(start), false) => {
                    self.done.push(Turn {
                        start,
                        end: time,
                        speaker,
                    });
                    self.since[speaker] = None;
                }
                _ => {}
            }
        }
    }

    fn finish(mut self) -> Vec<Turn> {
        let nobody = &[];
        self.push(self.now, nobody);
        self.done.retain(|turn| turn.end > turn.start);
        sort(&mut self.done);
        self.done
    }
}

/// Fills pauses of one speaker that are shorter than `pause` seconds, then drops turns shorter than `turn` seconds.
pub fn smooth(turns: &mut Vec<Turn>, pause: f64, turn: f64) {
    if pause > 0.0 {
        turns.sort_by(|a, b| a.speaker.cmp(&b.speaker).then(a.start.total_cmp(&b.start)));
        turns.dedup_by(|later, earlier| {
            let joined = later.speaker == earlier.speaker && later.start - earlier.end < pause;
            if joined {
                earlier.end = earlier.end.max(later.end);
            }
            joined
        });
    }
    turns.retain(|candidate| candidate.end - candidate.start >= turn);
    sort(turns);
}

fn sort(turns: &mut [Turn]) {
    turns.sort_by(|a, b| {
        let times = a.start.total_cmp(&b.start).then(a.end.total_cmp(&b.end));
        times.then(a.speaker.cmp(&b.speaker))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarize::{Grid, Window, clustering::Points};

    /// Speaker 0 talks all the time, speaker 1 into it: who the path names goes first, also where the other is nearer.
    #[test]
    fn the_paths_speaker_goes_first_in_an_interruption() {
        let grid = Grid {
            window: 120,
            step: 120,
            frames: 6,
            frame_step: 20,
            frame_size: 20,
        };
        let window = Window::new(&[1, 1, 3, 3, 1, 1], &[]);
        let chunks = Chunks::new(grid, 120, 1, vec![window]).unwrap();
        let clusters = Clusters {
            labels: vec![vec![Some(0), Some(1)]],
            centroids: Points {
                dimension: 1,
                values: vec![1.0, -1.0],
            },
        };
        let path = [0, 0, 1, 1, 0, 0];
        let made = reconstruct(&chunks, &clusters, Some(&path), usize::MAX);
        let speakers = |turns: &[Turn]| turns.iter().map(|turn| turn.speaker).collect::<Vec<_>>();
        assert_eq!(speakers(&made.exclusive), [0, 1, 0]);
        assert_eq!(speakers(&made.turns), [0, 1]);
    }

    #[test]
    fn a_path_has_pauses_where_the_sound_is_silent() {
        let grid = Grid {
            window: 16_000,
            step: 16_000,
            frames: 10,
            frame_step: 1_600,
            frame_size: 1_600,
        };
        let window = Window::new(&[1; 10], &[]);
        let chunks = Chunks::new(grid, 16_000, 1, vec![window])
            .and_then(|chunks| chunks.with_levels(vec![20, 20, 20, 80, 80, 80, 80, 20, 20, 20]))
            .unwrap();
        let clusters = Clusters {
            labels: vec![vec![Some(0)]],
            centroids: Points {
                dimension: 1,
                values: vec![1.0],
            },
        };
        let spans = |main: Option<&[usize]>| {
            let made = reconstruct(&chunks, &clusters, main, usize::MAX);
            assert_eq!(made.turns, made.exclusive);
            let tenths = |seconds: f64| (10.0 * seconds).round() as usize;
            let turns = made.turns.iter();
            turns
                .map(|turn| (tenths(turn.start - 0.05), tenths(turn.end - 0.05)))
                .collect::<Vec<_>>()
        };
        assert_eq!(spans(Some(&[0; 10])), [(0, 3), (7, 10)]);
        // pyannote's methods know of no levels.
        assert_eq!(spans(None), [(0, 10)]);
    }

    #[test]
    fn who_talks_before_and_after_is_near() {
        let mut stretches = Stretches::default();
        for (frame, speaker) in [(0, 0), (1, 0), (4, 0), (6, 1), (7, 1), (9, 2)] {
            stretches.push(frame, speaker);
        }
        let mut around = |frame: usize| stretches.around(frame).collect::<Vec<_>>();
        assert_eq!(around(1), [(1, 5)]);
        assert_eq!(around(6), [(0, 2), (2, 3)]);
        assert_eq!(around(7), [(0, 3), (2, 2)]);
        assert_eq!(around(9), [(1, 2)]);
    }

    #[test]
    fn two_talk_where_more_than_one_and_a_part_are_expected() {
        let counts = [0.6, 1.2, 1.4, 2.2, 2.4, 3.0].map(together);
        assert_eq!(counts, [1, 1, 2, 2, 3, 3]);
    }
}
