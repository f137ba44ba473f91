//! Points in rows, and the little arithmetic that clustering does with them, in `f64`.

/// Points of one dimension, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    pub dimension: usize,
    pub values: Vec<f64>,
}

impl Points {
    /// No points.
    pub fn new(dimension: usize) -> Self {
        Self {
            dimension,
            values: Vec::new(),
        }
    }

    /// These rows, widened.
    pub fn from_rows<'a>(dimension: usize, rows: impl Iterator<Item = &'a [f32]>) -> Self {
        Self {
            dimension,
            values: rows.flatten().map(|&value| value.into()).collect(),
        }
    }

    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.dimension).unwrap_or(0)
    }

    pub fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.dimension..(index + 1) * self.dimension]
    }

    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.dimension.max(1))
    }

    /// The same points with length 1. A point of length 0 stays.
    pub fn unit(mut self) -> Self {
        self.values
            .chunks_exact_mut(self.dimension.max(1))
            .for_each(normalise);
        self
    }
}

/// Scales a vector to length 1; one of length 0 stays.
pub fn normalise(vector: &mut [f64]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The cosine of two vectors; 0 where one has no length.
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 {
        dot(a, b) / lengths
    } else {
        0.0
    }
}

pub fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// The weighted mean of the points of each of `count` clusters; zeros for an empty one.
pub fn means(points: &Points, clusters: &[usize], count: usize, weights: &[f64]) -> Points {
    let mut sums = vec![0.0; count * points.dimension];
    let mut totals = vec![0.0; count];
    for ((row, &cluster), &weight) in points.rows().zip(clusters).zip(weights) {
        let sum = &mut sums[cluster * points.dimension..][..points.dimension];
        sum.iter_mut()
            .zip(row)
            .for_each(|(sum, value)| *sum += weight * value);
        totals[cluster] += weight;
    }
    for (sum, total) in sums.chunks_exact_mut(points.dimension.max(1)).zip(totals) {
        if total > 0.0 {
            sum.iter_mut().for_each(|value| *value /= total);
        }
    }
    Points {
        dimension: points.dimension,
        values: sums,
    }
}

/// The position in `among` of the row most similar to row `of` by cosine; the first of equals.
pub fn most_similar(points: &Points, of: usize, among: &[usize]) -> usize {
    let similarities = among
        .iter()
        .map(|&other| cosine(points.row(of), points.row(other)));
    first_highest(similarities)
}

/// The index of the highest value, the first of equals; 0 where there is none.
pub fn first_highest(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}
