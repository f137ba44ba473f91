//! Speakers from slices of sound, for [`Method::Slices`](crate::diarize::Method::Slices): many short embeddings, a path through
//! them, and what the windows say of who is not who.
//!
//! A segmentation network may take two people in one window for one; slices do not depend on it. Slices in which one person
//! talks are linked into small clusters; then, in turn, a path goes through the recording (Viterbi over the frames, as in the
//! resegmentation of BUT's VBx), the clusters are made anew of it, and the two most alike are merged, until none are alike
//! enough. Who is then worth too little is nobody.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::vectors::{self, Points, dot};
use super::{Bounds, Clusters};
use crate::diarize::{Chunks, SliceOptions, count};

/// Share of a slice in which exactly one person talks, from which it may define a speaker.
const PURE: f64 = 0.6;
/// Fewest slices of a cluster: 2 s.
const LEAST_SLICES: usize = 5;
/// Mean distances of unit vectors below which slices are linked at first. Some of them mix speakers and some split them, which
/// depends on the recording; the path that is worth most tells.
const LINKS: [f64; 5] = [0.8, 0.85, 0.9, 0.95, 1.0];
/// Distance below which no two people are looked for, even where their number is told.
const CLOSEST: f64 = 0.2;
/// Most slices that are linked at once: 16 MB of distances.
const BLOCK: usize = 2_000;
/// Clusters that are kept after linking; the path has no room for more.
const MOST_CLUSTERS: usize = 64;
/// With more clusters than this the most alike are merged without a new path.
const MOST_PATHS: usize = 16;
/// What a cosine of 1 is worth for a second on the path, and what a change of the speaker costs.
const WORTH: f64 = 120.0;
const CHANGE: f64 = 2.0;
/// Times that path and clusters are made of each other.
const ROUNDS: usize = 3;
/// Seconds of a voice whose cosine is higher by so much, which a speaker must be worth to be one, and the share of the talk that
/// is enough in short recordings. What adds less to the path is mostly an overlap, a noise or a strange moment of somebody else;
/// a real person who says less is lost too. (Chosen on voices of train-clean-100: up to 4.1 s nobody was lost for it.)
const LEAST_SPEAKER: f64 = 3.3;
const LEAST_HIGHER: f64 = 0.4;
const LEAST_SHARE: f64 = 0.1;
/// Frames (0.5 s) that a voice talks alone, from which a window is heard about it.
const WITNESS: u16 = 30;
/// Frames (3 s) of such voices that it takes to contradict.
const EVIDENCE: u32 = 180;

/// The speakers of a recording and, for each frame, the one who mainly talks.
pub struct Path {
    pub clusters: Clusters,
    pub main: Vec<usize>,
}

/// What does not change while clusters do.
struct Sound<'a> {
    chunks: &'a Chunks,
    /// Unit embeddings of the slices; zeros where nothing was embedded.
    unit: Points,
    /// Whether a slice may define a speaker.
    pure: Vec<bool>,
    /// How many talk, by frame.
    counts: Vec<u8>,
}

/// Finds speakers by slices; `None` when there is no slice to define one.
pub fn cluster(chunks: &Chunks, options: &SliceOptions, bounds: Bounds) -> Option<Path> {
    let sound = Sound::new(chunks);
    let pure: Vec<usize> = (0..sound.pure.len()).filter(|&i| sound.pure[i]).collect();
    let mut training = Points::new(chunks.dimension());
    for &slice in &pure {
        training.values.extend_from_slice(sound.unit.row(slice));
    }
    if pure.is_empty() {
        return None;
    }
    let trees = Tree::of(&training);
    let first = |link| first_clusters(&trees, link, bounds.least);
    let ways = LINKS.map(|link| sound.settle(first(link), options.merge, bounds));
    // A way with as many speakers as are asked for goes before one with fewer.
    let enough = |way: &Settled| way.centroids.len().min(bounds.least);
    let best = ways
        .into_iter()
        .max_by(|a, b| enough(a).cmp(&enough(b)).then(a.score.total_cmp(&b.score)))
        .expect("there are several distances");
    Some(sound.finish(&best.centroids, best.main))
}

/// Clusters of which none are to be merged any more.
struct Settled {
    centroids: Points,
    main: Vec<usize>,
    /// What the path through the recording is worth.
    score: f64,
}

/// The average linkage of a block of slices.
struct Tree<'a> {
    rows: Vec<&'a [f64]>,
    steps: Vec<kodama::Step<f32>>,
}

impl<'a> Tree<'a> {
    /// The trees of all slices, block by block.
    fn of(points: &'a Points) -> Vec<Self> {
        let blocks = points.len().div_ceil(BLOCK).max(1);
        let size = points.len().div_ceil(blocks).max(1);
        let apart = |a: &[f64], b: &[f64]| vectors::squared_distance(a, b).sqrt() as f32;
        let rows: Vec<&[f64]> = points.rows().collect();
        rows.chunks(size)
            .map(|rows| {
                let mut distances: Vec<f32> = (0..rows.len())
                    .into_par_iter()
                    .flat_map_iter(|a| (a + 1..rows.len()).map(move |b| apart(rows[a], rows[b])))
                    .collect();
                let tree = kodama::linkage(&mut distances, rows.len(), kodama::Method::Average);
                Self {
                    rows: rows.to_vec(),
                    steps: tree.steps().to_vec(),
                }
            })
            .collect()
    }

    /// Sizes and sums of the clusters below a distance.
    fn cut(&self, distance: f64) -> Vec<(usize, Vec<f64>)> {
        let mut clusters: Vec<Option<(usize, Vec<f64>)>> = self
            .rows
            .iter()
            .map(|row| Some((1, row.to_vec())))
            .collect();
        // Heights of average linkage rise: what is above the distance comes last.
        for step in self
            .steps
            .iter()
            .take_while(|s| f64::from(s.dissimilarity) <= distance)
        {
            let pair = (
                clusters[step.cluster1].take(),
                clusters[step.cluster2].take(),
            );
            clusters.push(match pair {
                (Some(mut one), Some(other)) => {
                    one.0 += other.0;
                    one.1.iter_mut().zip(&other.1).for_each(|(s, v)| *s += v);
                    Some(one)
                }
                _ => None,
            });
        }
        clusters.into_iter().flatten().collect()
    }
}

/// The unit means of the clusters below a distance that have enough slices, and of the largest `least` at least.
fn first_clusters(trees: &[Tree], distance: f64, least: usize) -> Points {
    let cut = |distance: f64| -> (usize, Vec<_>) {
        let found: Vec<_> = trees.iter().flat_map(|tree| tree.cut(distance)).collect();
        let large = found.iter().filter(|(size, _)| *size >= LEAST_SLICES);
        (large.count(), found)
    };
    let (mut enough, mut found) = cut(distance);
    if found.len() < least {
        // Voices more alike than the distance: the number that is told asks for a closer look.
        let mut closer = distance;
        while enough < least && closer > CLOSEST {
            closer *= 0.9;
            (enough, found) = cut(closer);
        }
    }
    found.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
    found.truncate(enough.max(least).clamp(1, MOST_CLUSTERS));
    let mut means = Points::new(trees[0].rows[0].len());
    found
        .into_iter()
        .for_each(|(_, sum)| means.values.extend(sum));
    means.unit()
}

/// Replaces two clusters by their weighted mean, in the place of the first.
fn merge(centroids: &mut Points, a: usize, b: usize, weight: f64) {
    let d = centroids.dimension;
    for i in 0..d {
        let (x, y) = (centroids.values[a * d + i], centroids.values[b * d + i]);
        centroids.values[a * d + i] = weight * x + (1.0 - weight) * y;
    }
    vectors::normalise(&mut centroids.values[a * d..(a + 1) * d]);
    centroids.values.drain(b * d..(b + 1) * d);
}

/// Whether most windows that tell two people apart hold them for two where these clusters have one: over a telephone all slices
/// sound alike.
pub fn contradicted(chunks: &Chunks, clusters: &Clusters) -> bool {
    let (mut same, mut all) = (0, 0);
    for (window, labels) in chunks.windows().iter().zip(&clusters.labels) {
        let clear = window.voices().iter().zip(labels);
        let clear: Vec<_> = clear.filter(|(voice, _)| voice.alone >= WITNESS).collect();
        for (index, (one, label)) in clear.iter().enumerate() {
            for (other, other_label) in &clear[index + 1..] {
                let weight = u32::from(one.alone.min(other.alone));
                all += weight;
                same += if label == other_label { weight } else { 0 };
            }
        }
    }
    all >= EVIDENCE && 2 * same > all
}

impl<'a> Sound<'a> {
    fn new(chunks: &'a Chunks) -> Self {
        let grid = chunks.grid();
        let nobody: Vec<Vec<Option<usize>>> = vec![Vec::new(); chunks.windows().len()];
        let mut counts = Vec::new();
        count::sweep(chunks, &nobody, 0, |frame| {
            counts.push(frame.count.min(255) as u8)
        });
        let frames_of = |index: usize| {
            let (from, to) = chunks.slices().span(index);
            let at = |seconds: f64| ((seconds - grid.time(0)) / grid.frame_seconds()).max(0.0);
            let until = (at(to) as usize).min(counts.len());
            (at(from) as usize).min(until)..until
        };
        let mut unit = Points::new(chunks.dimension());
        let mut pure = Vec::new();
        for (index, embedding) in chunks.slices().embeddings.iter().enumerate() {
            let frames = &counts[frames_of(index)];
            let alone = frames.iter().filter(|&&c| c == 1).count();
            let clear = alone as f64 >= PURE * frames.len().max(1) as f64;
            pure.push(clear && !embedding.is_empty());
            let known = unit.values.len() + chunks.dimension();
            unit.values.extend(embedding.iter().map(|&v| f64::from(v)));
            unit.values.resize(known, 0.0);
        }
        Self {
            chunks,
            unit: unit.unit(),
            pure,
            counts,
        }
    }

    /// Refines clusters and merges the two most alike until none are alike enough, then drops those that are worth too little.
    fn settle(&self, mut centroids: Points, least: f64, bounds: Bounds) -> Settled {
        loop {
            let mut main = None;
            if centroids.len() <= MOST_PATHS {
                let (better, path) = self.refine(centroids, bounds.least);
                centroids = better;
                main = Some(path);
            }
            if let Some((a, b, weight)) =
                self.next_merge(&centroids, main.as_deref(), least, bounds)
            {
                merge(&mut centroids, a, b, weight);
                continue;
            }
            let (main, score) = self.path(&centroids);
            let (left, fewer) = self.without_the_least(&centroids, bounds);
            if score - left < self.least_worth() {
                centroids = fewer;
                continue;
            }
            return Settled {
                centroids,
                main,
                score,
            };
        }
    }

    /// What a speaker must add to the worth of the path.
    fn least_worth(&self) -> f64 {
        let talk = self.counts.iter().filter(|&&count| count > 0).count();
        let seconds = talk as f64 * self.chunks.grid().frame_seconds();
        WORTH * LEAST_HIGHER * LEAST_SPEAKER.min(LEAST_SHARE * seconds)
    }

    /// The clusters but the one that adds least to the path, and what it is worth without; nothing where none may go, or there
    /// are more than [`MOST_PATHS`].
    fn without_the_least(&self, centroids: &Points, bounds: Bounds) -> (f64, Points) {
        let count = centroids.len();
        let nobody = (f64::NEG_INFINITY, Points::new(centroids.dimension));
        if count <= bounds.least.max(1) || count > MOST_PATHS {
            return nobody;
        }
        let similar = self.similar(centroids);
        let without = |cluster: usize| {
            let of_others =
                |(index, value): (usize, &f64)| (index % count != cluster).then_some(*value);
            let others: Vec<f64> = similar.iter().enumerate().filter_map(of_others).collect();
            self.follow(&others, count - 1).1
        };
        let left: Vec<f64> = (0..count).into_par_iter().map(without).collect();
        let least = vectors::first_highest(left.iter().copied());
        let mut fewer = centroids.clone();
        let d = fewer.dimension;
        fewer.values.drain(least * d..(least + 1) * d);
        (left[least], fewer)
    }

    /// Path and clusters made of each other; clusters that the path leaves are dropped, down to `least` of them.
    fn refine(&self, mut centroids: Points, least: usize) -> (Points, Vec<usize>) {
        let mut main = self.path(&centroids).0;
        for _ in 0..ROUNDS {
            let labels = self.labels(&main);
            let mut sizes = vec![0; centroids.len()];
            labels.iter().flatten().for_each(|&label| sizes[label] += 1);
            let mut kept: Vec<usize> = (0..sizes.len()).collect();
            kept.sort_by_key(|&c| std::cmp::Reverse(sizes[c]));
            let enough = kept.iter().filter(|&&c| sizes[c] >= LEAST_SLICES).count();
            kept.truncate(enough.max(least).max(1));
            kept.sort_unstable();
            let mut means = Points::new(centroids.dimension);
            for &cluster in &kept {
                let mut sum = vec![0.0; centroids.dimension];
                for (slice, label) in labels.iter().enumerate() {
                    if *label == Some(cluster) {
                        sum.iter_mut()
                            .zip(self.unit.row(slice))
                            .for_each(|(s, v)| *s += v);
                    }
                }
                // A cluster that is kept for their number may have no slice at all.
                if sizes[cluster] == 0 {
                    sum.copy_from_slice(centroids.row(cluster));
                }
                means.values.extend(sum);
            }
            centroids = means.unit();
            main = self.path(&centroids).0;
        }
        (centroids, main)
    }

    /// The cluster in the middle of each slice that may define one.
    fn labels(&self, main: &[usize]) -> Vec<Option<usize>> {
        let grid = self.chunks.grid();
        (0..self.pure.len())
            .map(|slice| {
                let (from, to) = self.chunks.slices().span(slice);
                let middle = (0.5 * (from + to) - grid.time(0)) / grid.frame_seconds();
                let label = main.get(middle.max(0.0) as usize);
                label.copied().filter(|_| self.pure[slice])
            })
            .collect()
    }

    /// The likeliest speaker of every frame, and what the path is worth.
    fn path(&self, centroids: &Points) -> (Vec<usize>, f64) {
        self.follow(&self.similar(centroids), centroids.len())
    }

    /// The cosines of every slice `(slices, centroids)`.
    fn similar(&self, centroids: &Points) -> Vec<f64> {
        let slices = self.unit.rows();
        slices
            .flat_map(|slice| centroids.rows().map(|c| dot(slice, c)))
            .collect()
    }

    /// The path by the cosines of slices with `count` clusters: they are interpolated between the middles of slices, a change
    /// costs [`CHANGE`], and frames without speech say nothing.
    fn follow(&self, similar: &[f64], count: usize) -> (Vec<usize>, f64) {
        let grid = self.chunks.grid();
        let worth = WORTH * grid.frame_seconds();
        let slices = self.chunks.slices();
        let mut scores = vec![0.0; count];
        // For each frame who it is best to come from, and a bit for each speaker who stays.
        let mut best_before = Vec::with_capacity(self.counts.len());
        let mut stays = Vec::with_capacity(self.counts.len());
        for (frame, &talking) in self.counts.iter().enumerate() {
            let best = vectors::first_highest(scores.iter().copied());
            let least = scores[best] - CHANGE;
            let mut stay = 0u64;
            let (slice, share) = slices.between(grid.time(frame));
            for (speaker, score) in scores.iter_mut().enumerate() {
                if *score >= least {
                    stay |= 1 << speaker;
                } else {
                    *score = least;
                }
                if talking > 0 {
                    let at =
                        |slice: usize| similar.get(slice * count + speaker).copied().unwrap_or(0.0);
                    *score += worth * ((1.0 - share) * at(slice) + share * at(slice + 1));
                }
            }
            best_before.push(best as u8);
            stays.push(stay);
        }
        let mut main = vec![0; self.counts.len()];
        let mut speaker = vectors::first_highest(scores.iter().copied());
        let worth = scores[speaker];
        for frame in (0..main.len()).rev() {
            main[frame] = speaker;
            if stays[frame] & (1 << speaker) == 0 {
                speaker = usize::from(best_before[frame]);
            }
        }
        (main, worth)
    }

    /// The two clusters to merge and the weight of the first, if any are to be.
    fn next_merge(
        &self,
        centroids: &Points,
        main: Option<&[usize]>,
        least: f64,
        bounds: Bounds,
    ) -> Option<(usize, usize, f64)> {
        let count = centroids.len();
        if count <= bounds.least {
            return None;
        }
        let mut pairs: Vec<(f64, usize, usize)> = (0..count)
            .flat_map(|a| (a + 1..count).map(move |b| (a, b)))
            .map(|(a, b)| (dot(centroids.row(a), centroids.row(b)), a, b))
            .collect();
        pairs.sort_by(|x, y| y.0.total_cmp(&x.0));
        let too_many = count > bounds.most;
        let chosen = pairs
            .first()
            .filter(|(alike, ..)| too_many || *alike > least)?;
        let size = |cluster: usize| match main {
            Some(main) => main.iter().filter(|&&c| c == cluster).count() as f64,
            None => 1.0,
        };
        let (a, b) = (chosen.1, chosen.2);
        Some((a, b, size(a) / (size(a) + size(b)).max(1.0)))
    }

    /// The clusters with the voices of the windows: each voice is the cluster that mainly talks where it talks alone.
    fn finish(&self, centroids: &Points, main: Vec<usize>) -> Path {
        let grid = self.chunks.grid();
        let count = centroids.len();
        let mut labels = Vec::new();
        for (index, window) in self.chunks.windows().iter().enumerate() {
            let first = grid.first_frame(index);
            let mut talk = vec![0u32; 8 * count];
            for (mask, &speaker) in window.masks().zip(main.get(first..).unwrap_or_default()) {
                if mask.is_power_of_two() {
                    talk[mask.trailing_zeros() as usize * count + speaker] += 1;
                }
            }
            labels.push(
                window
                    .voices()
                    .iter()
                    .map(|voice| {
                        let row = &talk[usize::from(voice.speaker) * count..][..count];
                        let most = vectors::first_highest(row.iter().map(|&n| f64::from(n)));
                        (row[most] > 0).then_some(most)
                    })
                    .collect(),
            );
        }
        // Centroids of the embeddings as they are, for comparing with other recordings.
        let labels_of_slices = self.labels(&main);
        let mut raw = Points::new(centroids.dimension);
        for cluster in 0..count {
            let mut sum = vec![0.0; centroids.dimension];
            let mut many = 0.0;
            for (embedding, label) in self
                .chunks
                .slices()
                .embeddings
                .iter()
                .zip(&labels_of_slices)
            {
                if *label == Some(cluster) {
                    many += 1.0;
                    sum.iter_mut()
                        .zip(embedding)
                        .for_each(|(s, &v)| *s += f64::from(v));
                }
            }
            match many > 0.0 {
                true => raw.values.extend(sum.iter().map(|s| s / many)),
                false => raw.values.extend_from_slice(centroids.row(cluster)),
            }
        }
        Path {
            clusters: Clusters {
                labels,
                centroids: raw,
            },
            main,
        }
    }
}
