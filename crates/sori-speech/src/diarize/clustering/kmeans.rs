//! K-means on the unit sphere: when the number of speakers is known and nothing else gave it.

use super::vectors::{self, Points, squared_distance};

/// How often it starts anew; the tightest result is kept. As pyannote asks of scikit-learn.
const STARTS: u64 = 3;
/// The most rounds of a start (scikit-learn's default).
const ROUNDS: usize = 300;
/// A start ends when the centres moved less than this share of the points' variance (scikit-learn's default).
const TOLERANCE: f64 = 1e-4;

/// The cluster of each point, numbered from 0, with `count` clusters (at most the number of points).
///
/// Lloyd's rounds from greedy k-means++ seeds, as scikit-learn does it; the draws come from an own small generator with a fixed
/// seed, so that results are the same on every machine and are not those of scikit-learn's `random_state=42`.
pub fn kmeans(points: &Points, count: usize) -> Vec<usize> {
    let count = count.clamp(1, points.len().max(1));
    let starts = (0..STARTS).map(|seed| {
        let mut random = Random(42 + seed);
        lloyd(points, seeds(points, count, &mut random))
    });
    let best = starts.min_by(|a, b| a.1.total_cmp(&b.1));
    best.map_or_else(Vec::new, |(clusters, _)| clusters)
}

/// SplitMix64 (Steele et al. 2014).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Greedy k-means++ (Arthur and Vassilvitskii 2007): each next seed is the best of some drawn by squared distance.
fn seeds(points: &Points, count: usize, random: &mut Random) -> Points {
    let trials = 2 + (count as f64).ln() as usize;
    let first =
        ((random.unit() * points.len() as f64) as usize).min(points.len().saturating_sub(1));
    let mut seeds = Points::new(points.dimension);
    seeds.values.extend(points.row(first));
    let to_row = |index: usize| move |row: &[f64]| squared_distance(row, points.row(index));
    let mut nearest: Vec<f64> = points.rows().map(to_row(first)).collect();
    while seeds.len() < count {
        let total: f64 = nearest.iter().sum();
        let mut best: Option<(f64, usize, Vec<f64>)> = None;
        for _ in 0..trials {
            let mut left = random.unit() * total;
            let drawn = nearest.iter().position(|distance| {
                left -= distance;
                left < 0.0
            });
            let drawn = drawn.unwrap_or(points.len() - 1);
            let with = points.rows().map(to_row(drawn));
            let with: Vec<f64> = with.zip(&nearest).map(|(new, old)| new.min(*old)).collect();
            let spread = with.iter().sum();
            if best.as_ref().is_none_or(|best| spread < best.0) {
                best = Some((spread, drawn, with));
            }
        }
        let (_, drawn, with) = best.expect("there are at least two trials");
        seeds.values.extend(points.row(drawn));
        nearest = with;
    }
    seeds
}

/// Lloyd's rounds from these centres: the clusters and the sum of squared distances to their centres.
fn lloyd(points: &Points, mut centres: Points) -> (Vec<usize>, f64) {
    let count = centres.len();
    let weights = vec![1.0; points.len()];
    let whole = vectors::means(points, &vec![0; points.len()], 1, &weights);
    let spread: f64 = points
        .rows()
        .map(|row| squared_distance(row, whole.row(0)))
        .sum();
    let still = TOLERANCE * spread / points.values.len().max(1) as f64;
    let nearest = |row: &[f64], centres: &Points| {
        vectors::first_highest(centres.rows().map(|centre| -squared_distance(row, centre)))
    };
    let mut clusters = Vec::new();
    for _ in 0..ROUNDS {
        clusters = points.rows().map(|row| nearest(row, &centres)).collect();
        fill_empty(points, &centres, &mut clusters);
        let moved = vectors::means(points, &clusters, count, &weights);
        let shift = squared_distance(&moved.values, &centres.values);
        centres = moved;
        if shift <= still {
            break;
        }
    }
    let distances = points
        .rows()
        .zip(&clusters)
        .map(|(row, &cluster)| squared_distance(row, centres.row(cluster)));
    let total = distances.sum();
    (clusters, total)
}

/// Gives each empty cluster the point that lies farthest from its centre, from clusters of more than one.
fn fill_empty(points: &Points, centres: &Points, clusters: &mut [usize]) {
    let mut sizes = vec![0usize; centres.len()];
    clusters.iter().for_each(|&cluster| sizes[cluster] += 1);
    for empty in 0..sizes.len() {
        if sizes[empty] > 0 {
            continue;
        }
        let loose =
            points
                .rows()
                .zip(clusters.iter())
                .map(|(row, &cluster)| match sizes[cluster] {
                    1 => f64::NEG_INFINITY,
                    _ => squared_distance(row, centres.row(cluster)),
                });
        let point = vectors::first_highest(loose);
        sizes[clusters[point]] -= 1;
        clusters[point] = empty;
        sizes[empty] = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_groups_are_found_and_every_cluster_is_used() {
        let mut points = Points::new(2);
        for index in 0..30 {
            let angle = f64::from(index % 3) * 2.0 + f64::from(index) * 0.003;
            points.values.extend([angle.cos(), angle.sin()]);
        }
        let clusters = kmeans(&points, 3);
        assert!((0..30).all(|index| clusters[index] == clusters[index % 3]));
        let same = Points {
            dimension: 1,
            values: vec![1.0; 5],
        };
        for (points, count, expected) in
            [(&points, 5, 5), (&same, 4, 4), (&same, 9, 5), (&same, 1, 1)]
        {
            let clusters = kmeans(points, count);
            let used = (0..expected)
                .filter(|cluster| clusters.contains(cluster))
                .count();
            assert_eq!((used, clusters.len()), (expected, points.len()));
        }
    }
}
