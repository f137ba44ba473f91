//! How many talk at once, frame by frame of the recording, and who does: windows laid over one another.

use std::collections::VecDeque;

use super::{Chunks, Voice, Window};

/// A frame of the recording, with what all windows over it say.
pub struct Frame<'a> {
    /// Index on the grid of the recording.
    pub index: usize,
    /// Windows over it.
    pub windows: u32,
    /// How many talk: the mean over these windows, rounded half to even.
    pub count: u32,
    /// How many talk by the networks' own probabilities: the mean over these windows.
    pub expected: f32,
    /// For each cluster the sum over these windows, where the most active of its voices counts in each.
    pub sums: &'a [f32],
}

/// A window that still covers the frame at hand.
struct Open<'a> {
    first: usize,
    masks: Vec<u8>,
    window: &'a Window,
    labels: &'a [Option<usize>],
}

/// Calls `visit` for every frame of the recording, in order. `labels` gives the cluster of every voice of every window,
/// or none for a voice that is lost; a cluster that is not below `clusters` is not summed.
///
/// As `speaker_count` and `reconstruct` of pyannote/audio/pipelines/{utils,speaker_diarization}; it holds only the windows
/// over one frame at a time.
pub fn sweep(
    chunks: &Chunks,
    labels: &[Vec<Option<usize>>],
    clusters: usize,
    mut visit: impl FnMut(Frame),
) {
    let grid = chunks.grid();
    let mut open: VecDeque<Open> = VecDeque::new();
    let mut next = 0;
    let mut sums = vec![0f32; clusters];
    let mut best = vec![0f32; clusters];
    for index in 0..grid.total_frames(chunks.windows().len()) {
        while next < chunks.windows().len() && grid.first_frame(next) <= index {
            let window = &chunks.windows()[next];
            open.push_back(Open {
                first: grid.first_frame(next),
                masks: window.masks().collect(),
                window,
                labels: &labels[next],
            });
            next += 1;
        }
        while open
            .front()
            .is_some_and(|open| open.first + open.masks.len() <= index)
        {
            open.pop_front();
        }
        sums.fill(0.0);
        let (mut active, mut expected) = (0, 0.0);
        for open in &open {
            let at = index - open.first;
            let mask = open.masks[at];
            active += mask.count_ones();
            best.fill(0.0);
            let score = |voice: &Voice| {
                let talks = f32::from(u8::from(mask & (1 << voice.speaker) != 0));
                let own = voice.scores.get(at);
                own.map_or(talks, |&score| f32::from(score) / 255.0)
            };
            // Also of voices without a label.
            for voice in open.window.voices() {
                expected += score(voice);
            }
            for (voice, label) in open.window.voices().iter().zip(open.labels) {
                let Some(best) = label.and_then(|cluster| best.get_mut(cluster)) else {
                    continue;
                };
                *best = best.max(score(voice));
            }
            sums.iter_mut()
                .zip(&best)
                .for_each(|(sum, best)| *sum += best);
        }
        let windows = open.len() as u32;
        let mean = active as f32 / windows.max(1) as f32;
        visit(Frame {
            index,
            windows,
            count: mean.round_ties_even() as u32,
            expected: expected / windows.max(1) as f32,
            sums: &sums,
        });
    }
}

/// The `count` clusters with the highest sums, the lowest index first where they are equal, highest first.
pub fn highest(sums: &[f32], count: usize, into: &mut Vec<usize>) {
    into.clear();
    while into.len() < count.min(sums.len()) {
        let mut best = None;
        for cluster in 0..sums.len() {
            let beaten = best.is_some_and(|best: usize| sums[best] >= sums[cluster]);
            if !beaten && !into.contains(&cluster) {
                best = Some(cluster);
            }
        }
        into.extend(best);
    }
}
