//! The matrix product of a linear layer in f32, with packed weights, by rten-gemm, which picks AVX-512, AVX2, NEON or plain
//! code when the program runs.

use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmOptions, PackedBMatrix};
use rten_tensor::{Matrix, NdTensorView};

/// The arithmetic of a network's matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// Single precision.
    F32,
    /// 8-bit integers with f32 scales, by [`kernels`](crate::kernels).
    Int8,
    /// As [`Compute::Int8`], with weights of 4 bits where memory bounds the speed.
    Int4,
}

/// Name of the f32 kernel that this machine's CPU gets, such as `x86_64-f32-avx512`.
pub fn kernel_name() -> String {
    GemmExecutor::<f32>::default().kernel_name().to_owned()
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
    weights: PackedBMatrix<f32>,
}

impl Linear {
    /// Packs a weight of shape `(outputs, inputs)`, row-major, as PyTorch stores it.
    ///
    /// # Panics
    /// When the weight or the bias is not as long as the shape says: the loader has checked that.
    pub fn new(weight: &[f32], inputs: usize, bias: Option<Vec<f32>>) -> Self {
        let outputs = weight.len() / inputs;
        assert_eq!(weight.len(), inputs * outputs);
        assert!(bias.as_ref().is_none_or(|b| b.len() == outputs));
        let weights = GemmExecutor::<f32>::default()
            .prepack_b(NdTensorView::from_data([outputs, inputs], weight).transposed());
        Self {
            inputs,
            outputs,
            bias,
            weights,
        }
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
        self.forward_windows(input, self.inputs)
    }

    /// Returns the layer's output for windows of `inputs` values, each beginning `step` values after the one before it: a
    /// convolution over row-major frames, with nothing copied. What is left over at the end is not read.
    ///
    /// # Panics
    /// When `step` is 0.
    pub fn forward_windows(&self, input: &[f32], step: usize) -> Vec<f32> {
        let rows = match input.len().checked_sub(self.inputs) {
            Some(room) => room / step + 1,
            None => return Vec::new(),
        };
        let used = (rows - 1) * step + self.inputs;
        let windows =
            NdTensorView::from_slice_with_strides([rows, self.inputs], &input[..used], [step, 1])
                .expect("the last window ends where the data does");
        let mut output = vec![0.0; rows * self.outputs];
        self.multiply(windows, Keep::Nothing, &mut output);
        output
    }

    /// Columns of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Columns of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Writes the product, with the bias, over `out` `(rows, outputs)`, or adds it; `input` may have any strides.
    pub(crate) fn multiply(&self, input: Matrix<f32>, keep: Keep, out: &mut [f32]) {
        let options = GemmOptions {
            beta: match keep {
                Keep::Nothing => 0.0,
                Keep::Output => 1.0,
            },
            bias: self.bias.as_deref().map(BiasVector::Row),
            ..Default::default()
        };
        GemmExecutor::<f32>::default()
            .gemm(
                out,
                GemmInputA::Unpacked(input),
                GemmInputB::Packed(&self.weights),
                options,
            )
            .expect("the weights were packed for this kernel and shape");
    }
}

/// What a product does with the values that are already where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// They are overwritten.
    Nothing,
    /// They are added to.
    Output,
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
    fn check(rows: usize, inputs: usize, outputs: usize) {
        let (x, w, bias) = (
            noise(rows * inputs, 1),
            noise(inputs * outputs, 2),
            noise(outputs, 3),
        );
        let layer = Linear::new(&w, inputs, Some(bias.clone()));
        let (got, want) = (layer.forward(&x), plain(&x, &w, &bias, inputs));
        let size = (want.iter().map(|v| v * v).sum::<f32>() / want.len() as f32).sqrt();
        let worst = got
            .iter()
            .zip(&want)
            .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(
            worst < 1e-5 * size,
            "{rows}x{inputs}x{outputs}: {worst} of {size}"
        );
    }

    #[test]
    fn windows_equal_rows_that_were_copied() {
        for (inputs, step, length) in [(6, 2, 21), (7, 7, 30), (5, 8, 64), (4, 1, 4), (4, 3, 3)] {
            let (x, w) = (noise(length, 1), noise(3 * inputs, 2));
            let layer = Linear::new(&w, inputs, None);
            let copied: Vec<_> = x.windows(inputs).step_by(step).flatten().copied().collect();
            let want = layer.forward(&copied);
            assert_eq!(
                layer.forward_windows(&x, step),
                want,
                "{inputs} {step} {length}"
            );
        }
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
            check(rows, inputs, outputs);
        }
    }
}
