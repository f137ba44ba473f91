//! Agglomerative clustering of pyannote 3.1: a cut of the tree, a least size, and a count that can be forced.

use super::{
    Bounds,
    linkage::{self, Merge},
    vectors::{self, Points},
};

/// The most items that are linked at once: 100 MB of distances. More are linked in blocks, then the clusters of all blocks.
const BLOCK: usize = 5_000;

/// Items to be linked: embeddings of unit length, or clusters of them from a block.
pub struct Items {
    pub points: Points,
    pub weights: Vec<f64>,
    /// The item that each embedding belongs to.
    pub of: Vec<usize>,
}

/// The cluster of each of the points, numbered from 0, cutting the tree at `threshold` alone.
pub fn threshold_clusters(unit: &Points, threshold: f64) -> Vec<usize> {
    let items = in_blocks(unit, threshold, BLOCK);
    let merges =
        linkage::centroid_linkage(&items.points.values, items.points.dimension, &items.weights);
    let clusters = linkage::cut(&merges, threshold, |merge| merges[merge].height);
    items.of.iter().map(|&item| clusters[item]).collect()
}

/// The cluster of each of the points, numbered from 0, with clusters of less than `least_size` merged into others and,
/// where the number is outside the bounds, the tree cut elsewhere.
///
/// `AgglomerativeClustering.cluster` of pyannote/audio/pipelines/clustering.py.
pub fn sized_clusters(
    unit: &Points,
    threshold: f64,
    least_size: usize,
    bounds: Bounds,
) -> Vec<usize> {
    let tenth = (0.1 * unit.len() as f64).round_ties_even() as usize;
    let least = least_size.min(tenth.max(1)) as f64;
    let items = in_blocks(unit, threshold, BLOCK);
    let merges =
        linkage::centroid_linkage(&items.points.values, items.points.dimension, &items.weights);
    let mut clusters = linkage::cut(&merges, threshold, |merge| merges[merge].height);
    let large = large_clusters(&clusters, &items.weights, least);
    let wanted = large.len().clamp(bounds.least, bounds.most);
    if large.len() != wanted {
        clusters = forced_cut(
            &merges,
            &items.weights,
            ForcedCut {
                threshold,
                least,
                wanted,
            },
        );
    }
    merge_small(&mut clusters, &items, least);
    items.of.iter().map(|&item| clusters[item]).collect()
}

struct ForcedCut {
    threshold: f64,
    least: f64,
    wanted: usize,
}

/// Cuts by order of merging in place of height: after the merge nearest to the threshold that gives `wanted` large clusters,
/// or else the number nearest to it.
fn forced_cut(merges: &[Merge], weights: &[f64], to: ForcedCut) -> Vec<usize> {
    let after = |merge: usize| linkage::cut(merges, merge as f64, |index| index as f64);
    let mut order: Vec<usize> = (0..merges.len()).collect();
    let distance = |&merge: &usize| (merges[merge].height - to.threshold).abs();
    order.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    let mut best = (merges.len(), 1usize);
    for merge in order {
        if merges[merge].weight < to.least {
            continue;
        }
        let clusters = after(merge);
        let count = large_clusters(&clusters, weights, to.least).len();
        if count == to.wanted {
            return clusters;
        }
        if count.abs_diff(to.wanted) < best.1.abs_diff(to.wanted) {
            best = (merge, count);
        }
    }
    after(best.0)
}

fn large_clusters(clusters: &[usize], weights: &[f64], least: f64) -> Vec<usize> {
    let mut sizes = vec![0.0; distinct(clusters)];
    for (&cluster, weight) in clusters.iter().zip(weights) {
        sizes[cluster] += weight;
    }
    (0..sizes.len())
        .filter(|&cluster| sizes[cluster] >= least)
        .collect()
}

/// Puts every cluster lighter than `least` into the heavier one with the most similar mean, and numbers them anew.
fn merge_small(clusters: &mut [usize], items: &Items, least: f64) {
    let large = large_clusters(clusters, &items.weights, least);
    if large.is_empty() {
        clusters.fill(0);
        return;
    }
    let count = distinct(clusters);
    let means = vectors::means(&items.points, clusters, count, &items.weights);
    let target: Vec<usize> = (0..count)
        .map(|cluster| match large.binary_search(&cluster) {
            Ok(position) => position,
            Err(_) => vectors::most_similar(&means, cluster, &large),
        })
        .collect();
    clusters
        .iter_mut()
        .for_each(|cluster| *cluster = target[*cluster]);
}

/// The points themselves where they are at most `block`; else clusters of equal blocks of them, in rounds until so few.
pub fn in_blocks(unit: &Points, threshold: f64, block: usize) -> Items {
    let mut items = Items {
        points: unit.clone(),
        weights: vec![1.0; unit.len()],
        of: (0..unit.len()).collect(),
    };
    while items.weights.len() > block {
        let count = items.weights.len();
        let size = count.div_ceil(count.div_ceil(block)).max(2);
        let mut fewer = Items {
            points: Points::new(unit.dimension),
            weights: Vec::new(),
            of: Vec::with_capacity(count),
        };
        let values = items.points.values.chunks(size * unit.dimension);
        for (values, weights) in values.zip(items.weights.chunks(size)) {
            let merges = linkage::centroid_linkage(values, unit.dimension, weights);
            let mut clusters = linkage::cut(&merges, threshold, |merge| merges[merge].height);
            if distinct(&clusters) > size / 2 {
                // Nothing but noise: the earliest half of the merges, so that every round leaves half as many.
                clusters = linkage::cut(&merges, (size / 2) as f64, |merge| merge as f64);
            }
            let first = fewer.weights.len();
            let part = Points {
                dimension: unit.dimension,
                values: values.to_vec(),
            };
            let means = vectors::means(&part, &clusters, distinct(&clusters), weights);
            fewer.points.values.extend(means.values);
            fewer.weights.resize(first + distinct(&clusters), 0.0);
            for (cluster, weight) in clusters.iter().zip(weights) {
                fewer.weights[first + cluster] += weight;
                fewer.of.push(first + cluster);
            }
        }
        items = Items {
            of: items.of.iter().map(|&item| fewer.of[item]).collect(),
            ..fewer
        };
    }
    items
}

/// The number of clusters, where they are numbered from 0 without a gap.
fn distinct(clusters: &[usize]) -> usize {
    clusters.iter().max().map_or(0, |most| most + 1)
}
