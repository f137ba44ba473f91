//! Multi-head scaled dot-product attention (Vaswani et al. 2017, section 3.2) over row-major f32.

use rayon::prelude::*;
use rten_tensor::{Matrix, NdTensorView};

use crate::linear::product;
use crate::ops::softmax;

/// Query rows worked on at once: their scores against 1,500 frames stay in a core's L2 cache.
const BLOCK: usize = 128;

/// One attention: queries `(n, d)`, keys and values `(t, d)`, all row-major with heads side by side in `d`.
#[derive(Clone, Copy)]
pub struct Attend<'a> {
    /// Queries.
    pub q: &'a [f32],
    /// Keys.
    pub k: &'a [f32],
    /// Values.
    pub v: &'a [f32],
    /// Heads; `d` is a multiple of it.
    pub heads: usize,
    /// Columns of all three.
    pub width: usize,
    /// With `Some(past)`, query `i` sees only the first `past + i + 1` keys.
    pub causal: Option<usize>,
}

impl Attend<'_> {
    fn head<'b>(
        &self,
        data: &'b [f32],
        head: usize,
        rows: std::ops::Range<usize>,
    ) -> Matrix<'b, f32> {
        let each = self.width / self.heads;
        let from = rows.start * self.width + head * each;
        let to = (rows.end - 1) * self.width + (head + 1) * each;
        NdTensorView::from_data_with_strides([rows.len(), each], &data[from..to], [self.width, 1])
            .expect("a head's rows lie inside the data")
    }

    /// The scaled scores `(rows, t)` of a block of query rows in one head, before the softmax.
    fn scores(&self, head: usize, rows: std::ops::Range<usize>) -> Vec<f32> {
        let keys = self.k.len() / self.width;
        let mut scores = vec![0.0; rows.len() * keys];
        product(
            &mut scores,
            self.head(self.q, head, rows.clone()),
            self.head(self.k, head, 0..keys).transposed(),
        );
        let scale = ((self.width / self.heads) as f32).sqrt().recip();
        for (row, i) in scores.chunks_exact_mut(keys).zip(rows) {
            let seen = self.causal.map_or(keys, |past| (past + i + 1).min(keys));
            row[..seen].iter_mut().for_each(|x| *x *= scale);
            row[seen..].fill(f32::NEG_INFINITY);
        }
        scores
    }

    fn block(&self, head: usize, rows: std::ops::Range<usize>) -> Vec<f32> {
        let keys = self.k.len() / self.width;
        let mut scores = self.scores(head, rows.clone());
        scores.chunks_exact_mut(keys).for_each(softmax);
        let mut mixed = vec![0.0; rows.len() * self.width / self.heads];
        product(
            &mut mixed,
            NdTensorView::from_data([rows.len(), keys], scores.as_slice()),
            self.head(self.v, head, 0..keys),
        );
        mixed
    }
}

/// Returns the outputs `(n, d)` of several attentions, each row-major; heads and query blocks run on several threads.
pub fn attend(all: &[Attend]) -> Vec<Vec<f32>> {
    let blocks: Vec<_> = all
        .iter()
        .enumerate()
        .flat_map(|(i, one)| {
            let rows = one.q.len() / one.width;
            (0..one.heads).flat_map(move |head| {
                (0..rows)
                    .step_by(BLOCK)
                    .map(move |from| (i, head, from..(from + BLOCK).min(rows)))
            })
        })
        .collect();
    let mixed: Vec<_> = blocks
        .par_iter()
        .map(|(i, head, rows)| all[*i].block(*head, rows.clone()))
        .collect();
    let mut outputs: Vec<_> = all.iter().map(|one| vec![0.0; one.q.len()]).collect();
    for ((i, head, rows), mixed) in blocks.into_iter().zip(mixed) {
        let (width, each) = (all[i].width, all[i].width / all[i].heads);
        for (row, part) in rows.zip(mixed.chunks_exact(each)) {
            outputs[i][row * width + head * each..][..each].copy_from_slice(part);
        }
    }
    outputs
}

/// Returns the scaled scores `(n, t)` of one head before the softmax: what word timing looks at.
pub fn head_scores(one: &Attend, head: usize) -> Vec<f32> {
    one.scores(head, 0..one.q.len() / one.width)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attention by the textbook, one value at a time.
    fn plain(one: &Attend) -> Vec<f32> {
        let (d, each) = (one.width, one.width / one.heads);
        let (rows, keys) = (one.q.len() / d, one.k.len() / d);
        let mut out = vec![0.0; rows * d];
        for (i, head) in (0..rows).flat_map(|i| (0..one.heads).map(move |h| (i, h))) {
            let seen = one.causal.map_or(keys, |past| past + i + 1);
            let at = |data: &[f32], row: usize, c: usize| data[row * d + head * each + c];
            let score = |j| {
                (0..each)
                    .map(|c| at(one.q, i, c) * at(one.k, j, c))
                    .sum::<f32>()
                    / (each as f32).sqrt()
            };
            let weights: Vec<f32> = (0..seen).map(|j| score(j).exp()).collect();
            let total: f32 = weights.iter().sum();
            for c in 0..each {
                out[i * d + head * each + c] = (0..seen)
                    .map(|j| weights[j] / total * at(one.v, j, c))
                    .sum();
            }
        }
        out
    }

    #[test]
    fn blocks_and_masks_equal_the_textbook() {
        let wave = |n: usize, f: f32| (0..n).map(|i| (i as f32 * f).sin()).collect::<Vec<f32>>();
        for (rows, keys, heads, width, causal) in [
            (1, 5, 2, 8, None),
            (150, 140, 3, 12, None),
            (4, 9, 2, 16, Some(5)),
            (3, 3, 1, 4, Some(0)),
        ] {
            let (q, k, v) = (
                wave(rows * width, 0.7),
                wave(keys * width, 1.3),
                wave(keys * width, 0.31),
            );
            let one = Attend {
                q: &q,
                k: &k,
                v: &v,
                heads,
                width,
                causal,
            };
            let got = &attend(&[one])[0];
            let worst = got
                .iter()
                .zip(plain(&one))
                .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(worst < 1e-5, "{rows}x{keys} heads {heads}: {worst}");
        }
    }
}
