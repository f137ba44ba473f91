//! Centroid linkage, and cutting its tree, as scipy does both.

/// One merge: the clusters `left < right` (an item `i` is `i`, merge `m` of `n` items is `n + m`) at a height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The cluster with the lower number.
    pub left: usize,
    /// The cluster with the higher number.
    pub right: usize,
    /// The distance of their centroids. It may be less than that of an earlier merge.
    pub height: f64,
    /// The weight of all items in it.
    pub weight: f64,
}

/// The merges, `n - 1` for `n` items, of centroid linkage over Euclidean distances of points `(items, dimension)`.
/// An item may stand for several: `weights` says for how many.
///
/// Müllner's generic algorithm (2011, figure 3) as in scipy/cluster/_hierarchy.pyx `fast_linkage`, with a scan in place of
/// its heap. Equal distances: the lowest item first. Time O(n²), rarely more; memory 4 n² bytes.
pub fn centroid_linkage(points: &[f64], dimension: usize, weights: &[f64]) -> Vec<Merge> {
    let items = weights.len();
    let mut state = State::new(points, dimension, weights);
    let mut merges = Vec::with_capacity(items.saturating_sub(1));
    let mut names: Vec<usize> = (0..items).collect();
    while merges.len() + 1 < items {
        let (x, y, squared) = state.closest();
        let merge = Merge {
            left: names[x].min(names[y]),
            right: names[x].max(names[y]),
            height: squared.max(0.0).sqrt(),
            weight: state.weights[x] + state.weights[y],
        };
        state.merge(x, y, squared);
        names[y] = items + merges.len();
        merges.push(merge);
    }
    merges
}

/// The clusters that still exist, each in the place of its last item; a place without weight is free.
struct State {
    weights: Vec<f64>,
    /// Squared distances, the upper triangle row by row.
    distances: Vec<f64>,
    /// The nearest later place as last seen, and a lower bound of its squared distance.
    nearest: Vec<(usize, f64)>,
}

impl State {
    fn new(points: &[f64], dimension: usize, weights: &[f64]) -> Self {
        let items = weights.len();
        let mut distances = Vec::with_capacity(items * items.saturating_sub(1) / 2);
        let point = |item: usize| &points[item * dimension..(item + 1) * dimension];
        for a in 0..items {
            for b in a + 1..items {
                let pairs = point(a).iter().zip(point(b));
                distances.push(pairs.map(|(x, y)| (x - y) * (x - y)).sum());
            }
        }
        let mut state = Self {
            weights: weights.to_vec(),
            distances,
            nearest: vec![(0, f64::INFINITY); items],
        };
        for place in 0..items.saturating_sub(1) {
            state.nearest[place] = state.find_nearest(place);
        }
        state
    }

    fn index(&self, a: usize, b: usize) -> usize {
        let (low, high) = (a.min(b), a.max(b));
        low * (2 * self.weights.len() - low - 1) / 2 + high - low - 1
    }

    fn find_nearest(&self, place: usize) -> (usize, f64) {
        let mut best = (place, f64::INFINITY);
        let row = self.index(place, place + 1);
        for later in place + 1..self.weights.len() {
            let distance = self.distances[row + later - place - 1];
            if self.weights[later] > 0.0 && distance < best.1 {
                best = (later, distance);
            }
        }
        best
    }

    /// The closest pair of places and its squared distance.
    fn closest(&mut self) -> (usize, usize, f64) {
        loop {
            let mut x = 0;
            for place in 0..self.nearest.len() {
                if self.nearest[place].1 < self.nearest[x].1 {
                    x = place;
                }
            }
            let (y, bound) = self.nearest[x];
            if y == x || bound == self.distances[self.index(x, y)] {
                return (x, y, bound);
            }
            self.nearest[x] = self.find_nearest(x);
        }
    }

    /// Puts `x` into the later place `y`.
    fn merge(&mut self, x: usize, y: usize, squared: f64) {
        let (weight_x, weight_y) = (self.weights[x], self.weights[y]);
        let weight = weight_x + weight_y;
        self.weights[x] = 0.0;
        self.weights[y] = weight;
        self.nearest[x].1 = f64::INFINITY;
        for other in 0..self.weights.len() {
            if self.weights[other] == 0.0 || other == y {
                continue;
            }
            let from_x = self.distances[self.index(other, x)];
            let to_y = self.index(other, y);
            let from_y = self.distances[to_y];
            let mixed =
                weight_x * from_x + weight_y * from_y - weight_x * weight_y * squared / weight;
            self.distances[to_y] = mixed / weight;
            if other < x && self.nearest[other].0 == x {
                self.nearest[other].0 = y;
            }
            if other < y && self.distances[to_y] < self.nearest[other].1 {
                self.nearest[other] = (y, self.distances[to_y]);
            }
        }
        self.nearest[y] = if y + 1 < self.weights.len() {
            self.find_nearest(y)
        } else {
            (y, f64::INFINITY)
        };
    }
}

/// The cluster of each item, numbered from 0, where a subtree is one cluster when every merge in it is at `limit` or below.
/// `height` gives the height of a merge by its index.
///
/// Centroid linkage is not monotone, so the highest merge of a subtree counts and not its root. Numbers are given as by
/// scipy's `fcluster(…, criterion="distance")` (scipy/cluster/_hierarchy.pyx `cluster_monocrit`), less one.
pub fn cut(merges: &[Merge], limit: f64, height: impl Fn(usize) -> f64) -> Vec<usize> {
    let items = merges.len() + 1;
    let mut highest: Vec<f64> = (0..merges.len()).map(height).collect();
    for (index, merge) in merges.iter().enumerate() {
        for child in [merge.left, merge.right] {
            if child >= items {
                highest[index] = highest[index].max(highest[child - items]);
            }
        }
    }
    let mut clusters = vec![0; items];
    let mut found = 0;
    // The topmost merge of the cluster being filled, if inside one.
    let mut leader = None;
    let mut visited = vec![false; merges.len()];
    let mut path: Vec<usize> = merges.len().checked_sub(1).into_iter().collect();
    while let Some(&merge) = path.last() {
        if leader.is_none() && highest[merge] <= limit {
            leader = Some(merge);
            found += 1;
        }
        let children = [merges[merge].left, merges[merge].right];
        let next = children
            .into_iter()
            .find(|&child| child >= items && !visited[child - items]);
        if let Some(child) = next {
            visited[child - items] = true;
            path.push(child - items);
            continue;
        }
        for item in children.into_iter().filter(|&child| child < items) {
            if leader.is_none() {
                found += 1;
            }
            clusters[item] = found - 1;
        }
        if leader == Some(merge) {
            leader = None;
        }
        path.pop();
    }
    clusters
}
