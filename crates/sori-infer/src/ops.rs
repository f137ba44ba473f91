//! Element-wise parts of a transformer, over rows of f32: layer norm, GELU, softmax, addition.

use rayon::prelude::*;
use rten_simd::{SimdOp, SimdUnaryOp};
use rten_vecmath::{Gelu, LogSoftmax, Softmax};

/// Values below which a loop is not worth a second thread.
const PARALLEL: usize = 1 << 14;

/// A layer normalisation (Ba et al. 2016) with ε = 1e-5, as PyTorch's default.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Scale of each column.
    pub weight: Vec<f32>,
    /// Offset of each column.
    pub bias: Vec<f32>,
}

impl LayerNorm {
    /// Returns `input`, rows of as many values as the weight has, normalised row by row.
    pub fn forward(&self, input: &[f32]) -> Vec<f32> {
        let mut output = input.to_vec();
        for_rows(&mut output, self.weight.len(), |row| self.row(row));
        output
    }

    fn row(&self, row: &mut [f32]) {
        let count = row.len() as f32;
        let mean = lanes(row, |x| x) / count;
        let variance = lanes(row, |x| (x - mean) * (x - mean)) / count;
        let scale = 1.0 / (variance + 1e-5).sqrt();
        for ((x, w), b) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
            *x = (*x - mean) * scale * w + b;
        }
    }
}

/// The sum of `f` over a row, in 16 partial sums that the compiler can keep in vector registers.
fn lanes(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    for chunk in chunks {
        for (sum, &x) in sums.iter_mut().zip(chunk) {
            *sum += f(x);
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|&x| f(x)).sum::<f32>()
}

/// Calls `f` on every row of `width` values, on several threads when there is enough to do.
pub fn for_rows(data: &mut [f32], width: usize, f: impl Fn(&mut [f32]) + Sync) {
    if data.len() < PARALLEL {
        data.chunks_exact_mut(width).for_each(f);
    } else {
        let rows = (PARALLEL / 4 / width).max(1);
        data.par_chunks_mut(rows * width)
            .for_each(|part| part.chunks_exact_mut(width).for_each(&f));
    }
}

/// Applies the exact (erf) GELU in place.
pub fn gelu(data: &mut [f32]) {
    if data.len() < PARALLEL {
        Gelu {}.map_mut(data);
    } else {
        data.par_chunks_mut(PARALLEL / 4)
            .for_each(|part| Gelu {}.map_mut(part));
    }
}

/// Turns a row of scores into probabilities, in place.
pub fn softmax(row: &mut [f32]) {
    Softmax::new_mut(row).dispatch();
}

/// Turns a row of scores into natural logarithms of probabilities, in place; `-inf` scores stay `-inf`.
pub fn log_softmax(row: &mut [f32]) {
    LogSoftmax::new_mut(row).dispatch();
}

/// Adds `other` to `data`, value by value.
pub fn add(data: &mut [f32], other: &[f32]) {
    for (x, y) in data.iter_mut().zip(other) {
        *x += y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_norm_has_mean_zero_and_deviation_one() {
        let norm = LayerNorm {
            weight: vec![1.0; 37],
            bias: vec![0.0; 37],
        };
        let row: Vec<f32> = (0..37).map(|i| (i * i % 11) as f32).collect();
        let out = norm.forward(&row);
        let mean = out.iter().sum::<f32>() / 37.0;
        let variance = out.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 37.0;
        assert!(
            mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-3,
            "{mean} {variance}"
        );
    }

    #[test]
    fn gelu_is_the_exact_one() {
        let mut data = vec![-3.0, -1.0, 0.0, 0.5, 2.0];
        gelu(&mut data);
        // torch.nn.functional.gelu of the same values, torch 2.15.
        let want = [-0.004_049_7, -0.158_655_26, 0.0, 0.345_731_23, 1.954_499_7];
        for (x, w) in data.iter().zip(want) {
            assert!((x - w).abs() < 1e-6, "{x} {w}");
        }
    }

    #[test]
    fn log_softmax_keeps_forbidden_scores_forbidden() {
        let mut row = vec![1.0, f32::NEG_INFINITY, 1.0];
        log_softmax(&mut row);
        assert_eq!(row[1], f32::NEG_INFINITY);
        assert!((row[0] - 0.5f32.ln()).abs() < 1e-6);
    }
}
