//! Weights, packed once: 8-bit integers with a scale for each column, or bf16.

use crate::arch::bf16;
use crate::body::{Bf16Job, Int8Job, PANEL, Then, bf16_product, int8_product};
use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::rows::QuantRows;
use crate::team::{Shared, Team};

/// A linear layer `y = x·Wᵀ + b` in 8-bit integers: symmetric, one scale for each output (scale = max|w| / 127), as
/// CTranslate2's int8 and PyTorch's dynamic quantisation have it.
#[derive(Clone)]
pub struct Int8Matrix {
    inputs: usize,
    outputs: usize,
    panels: Buffer<u8>,
    /// For every output its scale, the scaled sum of its weights, and its bias; each padded to whole panels.
    columns: Buffer<f32>,
}

impl Int8Matrix {
    /// Quantises and packs a weight of shape `(outputs, inputs)`, row-major, as PyTorch stores it.
    ///
    /// # Panics
    /// When the weight or the bias is not as long as the shape says.
    pub fn pack(weight: &[f32], inputs: usize, bias: Option<&[f32]>) -> Self {
        let outputs = weight.len() / inputs;
        assert_eq!(weight.len(), inputs * outputs, "a weight is whole rows");
        assert!(
            bias.is_none_or(|b| b.len() == outputs),
            "one bias for each output"
        );
        let groups = inputs.div_ceil(4);
        let padded = outputs.next_multiple_of(PANEL);
        let mut columns = vec![0.0; 3 * padded];
        let panels = Buffer::build(padded * groups * 4, |panels: &mut [u8]| {
            for (output, row) in weight.chunks_exact(inputs).enumerate() {
                let largest = row.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
                let panel = &mut panels[output / PANEL * PANEL * groups * 4..];
                let mut sum = 0;
                for (i, x) in row.iter().enumerate() {
                    let q = (x / scale).round() as i8;
                    panel[i / 4 * 4 * PANEL + output % PANEL * 4 + i % 4] = q as u8;
                    sum += i32::from(q);
                }
                columns[output] = scale;
                columns[padded + output] = sum as f32 * scale;
            }
        });
        if let Some(bias) = bias {
            columns[2 * padded..][..outputs].copy_from_slice(bias);
        }
        let columns = Buffer::build(3 * padded, |all| all.copy_from_slice(&columns));
        Self {
            inputs,
            outputs,
            panels,
            columns,
        }
    }

    /// A matrix of buffers that [`Int8Matrix::parts`] gave; none when they are not as long as the shape says.
    pub fn from_parts(
        inputs: usize,
        outputs: usize,
        panels: Buffer<u8>,
        columns: Buffer<f32>,
    ) -> Option<Self> {
        let padded = outputs.checked_next_multiple_of(PANEL)?;
        let whole = padded.checked_mul(inputs.checked_next_multiple_of(4)?)?;
        let fits = inputs > 0 && panels.len() == whole && columns.len() == padded.checked_mul(3)?;
        fits.then_some(Self {
            inputs,
            outputs,
            panels,
            columns,
        })
    }

    /// The two buffers that a matrix is made of.
    pub fn parts(&self) -> (&Buffer<u8>, &Buffer<f32>) {
        (&self.panels, &self.columns)
    }

    /// Writes the weights of one output, as numbers again.
    ///
    /// # Panics
    /// When there is no such output or `out` is not as long as the inputs.
    pub fn row(&self, output: usize, out: &mut [f32]) {
        assert!(
            output < self.outputs && out.len() == self.inputs,
            "a row of the matrix"
        );
        let panel = output / PANEL * PANEL * self.inputs.next_multiple_of(4);
        let from = &self.panels[panel + output % PANEL * 4..];
        let scale = self.columns[output];
        for (four, group) in out.chunks_mut(4).zip(from.chunks(4 * PANEL)) {
            for (x, &q) in four.iter_mut().zip(group) {
                *x = f32::from(q as i8) * scale;
            }
        }
    }

    /// Puts the product `(rows, outputs)` into `out`, in the caller's thread.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn multiply(&self, isa: Isa, a: &QuantRows, then: Then, out: &mut [f32]) {
        let job = self.job(isa, a, then, out);
        // SAFETY: `job` checked the lengths.
        unsafe { int8_product(isa, &job) };
    }

    /// As [`Int8Matrix::multiply`], its columns shared among the team: for few rows.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn multiply_by(&self, team: &Team, isa: Isa, a: &QuantRows, then: Then, out: &mut [f32]) {
        let job = Shared(self.job(isa, a, then, out));
        let panels = self.outputs.div_ceil(PANEL);
        let parts = if panels > 64 * team.threads() {
            8 * team.threads()
        } else {
            team.threads()
        };
        let each = panels.div_ceil(parts).max(1);
        team.run(panels.div_ceil(each), |part, _| {
            let mut job = *job.get();
            job.from = part * each;
            job.to = (job.from + each).min(panels);
            // SAFETY: `job` checked the lengths; every part writes columns of its own.
            unsafe { int8_product(isa, &job) };
        });
    }

    fn job(&self, isa: Isa, a: &QuantRows, then: Then, out: &mut [f32]) -> Int8Job {
        let rows = a.rows();
        let fit = a.top <= isa.top_activation();
        assert!(
            fit,
            "rows are quantised for the instructions that multiply them"
        );
        assert_eq!(a.width, self.inputs, "columns of the rows");
        let places = rows.checked_mul(self.outputs);
        assert_eq!(
            Some(out.len()),
            places,
            "{rows} rows of {} outputs",
            self.outputs
        );
        let padded = self.outputs.next_multiple_of(PANEL);
        Int8Job {
            a: a.data.as_ptr(),
            stride: a.stride,
            rows: a.rows(),
            row_scale: a.scale.as_ptr(),
            row_zero: a.zero.as_ptr(),
            b: self.panels.as_ptr(),
            groups: self.inputs.div_ceil(4),
            scale: self.columns.as_ptr(),
            sum: self.columns[padded..].as_ptr(),
            bias: self.columns[2 * padded..].as_ptr(),
            from: 0,
            to: padded / PANEL,
            out: out.as_mut_ptr(),
            columns: self.outputs,
            then,
        }
    }
}

/// A linear layer in bf16, summed in f32.
#[derive(Clone)]
pub struct Bf16Matrix {
    inputs: usize,
    outputs: usize,
    panels: Buffer<u16>,
    /// Padded to whole panels.
    bias: Buffer<f32>,
}

impl Bf16Matrix {
    /// Rounds and packs a weight of shape `(outputs, inputs)`, row-major.
    ///
    /// # Panics
    /// When the weight or the bias is not as long as the shape says.
    pub fn pack(weight: &[f32], inputs: usize, bias: &[f32]) -> Self {
        let outputs = bias.len();
        assert_eq!(
            weight.len(),
            inputs * outputs,
            "a weight is whole rows, one for each bias"
        );
        let padded = outputs.next_multiple_of(PANEL);
        let pairs = inputs.div_ceil(2);
        let panels = Buffer::build(padded * pairs * 2, |panels: &mut [u16]| {
            for (output, row) in weight.chunks_exact(inputs).enumerate() {
                let panel = &mut panels[output / PANEL * PANEL * pairs * 2..];
                for (i, &x) in row.iter().enumerate() {
                    panel[i / 2 * 2 * PANEL + output % PANEL * 2 + i % 2] = bf16(x);
                }
            }
        });
        let bias = Buffer::build(padded, |all| all[..outputs].copy_from_slice(bias));
        Self {
            inputs,
            outputs,
            panels,
            bias,
        }
    }

    /// A matrix of buffers that [`Bf16Matrix::parts`] gave; none when they are not as long as the shape says.
    pub fn from_parts(
        inputs: usize,
        outputs: usize,
        panels: Buffer<u16>,
        bias: Buffer<f32>,
    ) -> Option<Self> {
        let padded = outputs.checked_next_multiple_of(PANEL)?;
        let whole = padded.checked_mul(inputs.checked_next_multiple_of(2)?)?;
        let fits = inputs > 0 && panels.len() == whole && bias.len() == padded;
        fits.then_some(Self {
            inputs,
            outputs,
            panels,
            bias,
        })
    }

    /// The two buffers that a matrix is made of.
    pub fn parts(&self) -> (&Buffer<u16>, &Buffer<f32>) {
        (&self.panels, &self.bias)
    }

    /// Puts the product `(rows, outputs)` into `out`; row `i` of the input begins at `a[i · stride]`, so that rows may overlap:
    /// a convolution over time needs no copy of its input.
    ///
    /// With an odd number of inputs one more number is read in every row; it must be finite, and is multiplied by zero.
    ///
    /// # Panics
    /// When a row does not lie inside `a`, or `out` is not as long as the shape says.
    pub fn multiply(&self, isa: Isa, a: &[u16], stride: usize, then: Then, out: &mut [f32]) {
        let rows = out.len() / self.outputs;
        assert_eq!(
            out.len(),
            rows * self.outputs,
            "rows of {} outputs",
            self.outputs
        );
        let read = self.inputs.next_multiple_of(2);
        let end = rows
            .saturating_sub(1)
            .checked_mul(stride)
            .and_then(|from| from.checked_add(read));
        assert!(
            rows == 0 || end.is_some_and(|end| end <= a.len()),
            "every row lies inside the input"
        );
        let job = Bf16Job {
            a: a.as_ptr(),
            stride,
            rows,
            b: self.panels.as_ptr(),
            pairs: read / 2,
            bias: self.bias.as_ptr(),
            out: out.as_mut_ptr(),
            columns: self.outputs,
            then,
        };
        // SAFETY: the lengths were checked above.
        unsafe { bf16_product(isa, &job) };
    }
}
