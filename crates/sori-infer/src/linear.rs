//! The matrix product of a linear layer, with packed weights, in f32 or in int8.
//!
//! int8: weights are quantised once per output channel (symmetric, scale = max|w| / 127), activations at each call per row
//! (asymmetric u8, scale = (max − min) / 255), products are summed in i32 and scaled back to f32: what CTranslate2's
//! `int8_float32` and PyTorch's dynamic quantisation do. The product itself is rten-gemm's, which picks AVX-512 VNNI,
//! AVX2, NEON or plain code when the program runs.

use rayon::prelude::*;
use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_simd::SimdOp;
use rten_tensor::{Matrix, NdTensorView};
use rten_vecmath::{MinMax, Quantize};

use crate::ops::add;

/// Values below which a loop is not worth a second thread.
const PARALLEL: usize = 1 << 14;

/// The arithmetic of the matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// Single precision.
    F32,
    /// 8-bit integers with f32 scales.
    Int8,
}

/// Names of the matrix kernels that this machine's CPU gets, f32 first, such as `x86_64-f32-avx512`.
///
/// An executor is a pointer to code, found anew wherever it is needed: it may not move between threads.
pub fn kernel_names() -> [String; 2] {
    [
        GemmExecutor::<f32>::default().kernel_name().to_owned(),
        GemmExecutor::<u8, i8, i32>::default()
            .kernel_name()
            .to_owned(),
    ]
}

/// `out = a · b` in f32; the views may have any strides. Shapes `(m, k)` and `(k, n)`, `out` row-major `(m, n)`.
pub(crate) fn product(out: &mut [f32], a: Matrix<f32>, b: Matrix<f32>) {
    GemmExecutor::<f32>::default()
        .gemm(
            out,
            GemmInputA::Unpacked(a),
            GemmInputB::Unpacked(b),
            GemmOptions::default(),
        )
        .expect("shapes are checked by the caller");
}

/// A linear layer `y = x·Wᵀ + b`.
pub struct Linear {
    inputs: usize,
    outputs: usize,
    bias: Option<Vec<f32>>,
    weights: Weights,
}

enum Weights {
    F32(PackedBMatrix<f32>),
    Int8(Int8Weights),
}

struct Int8Weights {
    packed: PackedBMatrix<i8>,
    /// Per output channel: the scale, and the sum of its weights, by which a row's zero is taken off.
    channels: Vec<(f32, i32)>,
}

impl Linear {
    /// Packs a weight of shape `(outputs, inputs)`, row-major, as PyTorch stores it.
    ///
    /// # Panics
    /// When the weight or the bias is not as long as the shape says: the loader has checked that.
    pub fn new(weight: &[f32], inputs: usize, bias: Option<Vec<f32>>, compute: Compute) -> Self {
        let outputs = weight.len() / inputs;
        assert_eq!(weight.len(), inputs * outputs);
        assert!(bias.as_ref().is_none_or(|b| b.len() == outputs));
        let weights = match compute {
            Compute::F32 => Weights::F32(
                GemmExecutor::<f32>::default()
                    .prepack_b(NdTensorView::from_data([outputs, inputs], weight).transposed()),
            ),
            Compute::Int8 => {
                let kernel = GemmExecutor::<u8, i8, i32>::default();
                // Kernels that add two products in 16 bits (AVX2 without VNNI) need weights of 7 bits.
                let top = if kernel.may_saturate() { 63.0 } else { 127.0 };
                let (quantised, channels) = quantise_weights(weight, inputs, top);
                let shape = [outputs, inputs];
                let view = NdTensorView::from_data(shape, quantised.as_slice());
                let packed = kernel.prepack_b(view.transposed());
                Weights::Int8(Int8Weights { packed, channels })
            }
        };
        Self {
            inputs,
            outputs,
            bias,
            weights,
        }
    }

    /// Columns of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the layer's output `(rows, outputs)` for `input` `(rows, inputs)`; allocates it.
    pub fn forward(&self, input: &[f32]) -> Vec<f32> {
        let rows = input.len() / self.inputs;
        assert_eq!(
            input.len(),
            rows * self.inputs,
            "input rows have {} values",
            self.inputs
        );
        match &self.weights {
            Weights::F32(packed) => {
                let mut output = vec![0.0; rows * self.outputs];
                let options = GemmOptions {
                    bias: self.bias.as_deref().map(BiasVector::Row),
                    ..Default::default()
                };
                GemmExecutor::<f32>::default()
                    .gemm(
                        &mut output,
                        GemmInputA::Unpacked(NdTensorView::from_data([rows, self.inputs], input)),
                        GemmInputB::Packed(packed),
                        options,
                    )
                    .expect("the weights were packed for this kernel and shape");
                output
            }
            Weights::Int8(weights) => self.forward_int8(input, rows, weights),
        }
    }

    fn forward_int8(&self, input: &[f32], rows: usize, weights: &Int8Weights) -> Vec<f32> {
        let width = self.inputs;
        let mut quantised = vec![0u8; input.len()];
        let each = |(q, x): (&mut [u8], &[f32])| quantise_row(x, q);
        let row_numbers: Vec<(f32, i32)> = if input.len() < PARALLEL {
            let rows = quantised.chunks_mut(width).zip(input.chunks(width));
            rows.map(each).collect()
        } else {
            let rows = quantised.par_chunks_mut(width).zip(input.par_chunks(width));
            rows.with_min_len(16).map(each).collect()
        };
        let mut sums = vec![0i32; rows * self.outputs];
        // The rows' zeros are taken off below: rten-gemm 0.27 applies those of the first tile's rows to all tiles.
        let a = NdTensorView::from_data([rows, width], quantised.as_slice());
        GemmExecutor::<u8, i8, i32>::default()
            .gemm(
                &mut sums,
                GemmInputA::Unpacked(a),
                GemmInputB::Packed(&weights.packed),
                GemmOptions::default(),
            )
            .expect("the weights were packed for this kernel and shape");
        let mut output = vec![0.0; sums.len()];
        let each = self.outputs;
        if output.len() < PARALLEL {
            let parts = output.chunks_mut(each).zip(sums.chunks(each));
            let rows = parts.zip(&row_numbers);
            rows.for_each(|((out, sums), &row)| self.scale_back(weights, sums, row, out));
        } else {
            let parts = output.par_chunks_mut(each).zip(sums.par_chunks(each));
            let rows = parts.zip(&row_numbers);
            rows.for_each(|((out, sums), &row)| self.scale_back(weights, sums, row, out));
        }
        output
    }

    /// Turns a row of integer sums back into numbers; the row's scale and zero are its activations'.
    fn scale_back(
        &self,
        weights: &Int8Weights,
        sums: &[i32],
        (scale, zero): (f32, i32),
        out: &mut [f32],
    ) {
        for ((y, &sum), &(channel, total)) in out.iter_mut().zip(sums).zip(&weights.channels) {
            *y = (sum - zero * total) as f32 * (scale * channel);
        }
        if let Some(bias) = &self.bias {
            add(out, bias);
        }
    }
}

/// Quantises weights per row; returns them with each row's scale and sum.
fn quantise_weights(weight: &[f32], inputs: usize, top: f32) -> (Vec<i8>, Vec<(f32, i32)>) {
    let mut quantised = vec![0i8; weight.len()];
    let channels = weight
        .chunks(inputs)
        .zip(quantised.chunks_mut(inputs))
        .map(|(row, out)| {
            let largest = row.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let scale = if largest > 0.0 { largest / top } else { 1.0 };
            for (q, x) in out.iter_mut().zip(row) {
                *q = (x / scale).round() as i8;
            }
            (scale, out.iter().map(|&q| i32::from(q)).sum())
        })
        .collect();
    (quantised, channels)
}

/// Quantises activations to u8; returns the scale and the number that stands for zero.
fn quantise_row(row: &[f32], out: &mut [u8]) -> (f32, i32) {
    let (low, high) = MinMax::new(row).dispatch();
    let (low, high) = (low.min(0.0), high.max(0.0));
    if !(high - low).is_finite() || high == low {
        out.fill(0);
        return (0.0, 0);
    }
    let scale = (high - low) / 255.0;
    let zero = (-low / scale).round() as u8;
    let mut quantised = Vec::with_capacity(row.len());
    let made = Quantize::new(
        row,
        &mut quantised.spare_capacity_mut()[..row.len()],
        1.0 / scale,
        zero,
    )
    .dispatch();
    out.copy_from_slice(made);
    (scale, i32::from(zero))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn plain(x: &[f32], w: &[f32], bias: &[f32], inputs: usize) -> Vec<f32> {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
        x.chunks(inputs)
            .flat_map(|row| {
                w.chunks(inputs)
                    .zip(bias)
                    .map(move |(w, b)| dot(row, w) + b)
            })
            .collect()
    }

    #[track_caller]
    fn check(rows: usize, inputs: usize, outputs: usize, compute: Compute, tolerance: f32) {
        let (x, w, bias) = (
            noise(rows * inputs, 1),
            noise(inputs * outputs, 2),
            noise(outputs, 3),
        );
        let layer = Linear::new(&w, inputs, Some(bias.clone()), compute);
        let (got, want) = (layer.forward(&x), plain(&x, &w, &bias, inputs));
        let size = (want.iter().map(|v| v * v).sum::<f32>() / want.len() as f32).sqrt();
        let worst = got
            .iter()
            .zip(&want)
            .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(
            worst < tolerance * size,
            "{rows}x{inputs}x{outputs} {compute:?}: {worst} of {size}"
        );
    }

    #[test]
    fn products_equal_plain_loops_at_odd_sizes() {
        for (rows, inputs, outputs) in [
            (1, 1, 1),
            (1, 384, 1536),
            (3, 65, 7),
            (17, 80, 33),
            (130, 256, 129),
        ] {
            check(rows, inputs, outputs, Compute::F32, 1e-5);
            check(rows, inputs, outputs, Compute::Int8, 0.03);
        }
    }

    #[test]
    fn a_row_of_zeros_and_one_with_infinity_do_not_panic() {
        let layer = Linear::new(&noise(64, 4), 8, None, Compute::Int8);
        assert_eq!(layer.forward(&[0.0; 8]), vec![0.0; 8]);
        assert_eq!(layer.forward(&[f32::INFINITY; 8]).len(), 8);
    }
}
