//! From clusters back to turns: who talks when, over the whole recording.

use serde::{Deserialize, Serialize};

use super::{Activations, Chunks, clustering::Clusters, count};

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

/// Turns with their overlaps, turns without, and the scores they were made from.
pub struct Reconstruction {
    pub turns: Vec<Turn>,
    pub exclusive: Vec<Turn>,
    pub activations: Activations,
}

/// Gives each frame to as many clusters as were counted, at most `most` at once. Turns come by their start. `main` says for
/// each frame who goes before all others.
///
/// `reconstruct`, `to_diarization` and `to_annotation` of pyannote/audio/pipelines, with the lowest index first where sums are
/// equal. Where more talk than there are clusters, further clusters are made.
pub fn reconstruct(
    chunks: &Chunks,
    clusters: &Clusters,
    main: Option<&[usize]>,
    most: usize,
) -> Reconstruction {
    let labels = &clusters.labels;
    let mut together = 0;
    count::sweep(chunks, labels, 0, |frame| {
        together = together.max(frame.count as usize)
    });
    let clusters = clusters.centroids.len().max(together.min(most));
    let grid = chunks.grid();
    let mut all = Turns::new(clusters);
    let mut one = Turns::new(clusters);
    let mut scores = Vec::with_capacity(grid.total_frames(chunks.windows().len()) * clusters);
    let mut talking = Vec::new();
    count::sweep(chunks, labels, clusters, |frame| {
        let time = grid.time(frame.index);
        let mut sums = frame.sums.to_vec();
        if let Some(&first) = main.and_then(|main| main.get(frame.index))
            && frame.count > 0
        {
            // As much as all windows together, so that it goes first.
            sums[first] += frame.windows as f32;
        }
        count::highest(&sums, (frame.count as usize).min(most), &mut talking);
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
