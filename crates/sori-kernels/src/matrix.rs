//! Weights, packed once: integers of 8 or 4 bits, or bf16.

use crate::arch::{bf16, widen};
use crate::body::{
    Bf16Job, GROUP, PANEL, QuantJob, RECORD, SCALES, Then, bf16_product, int4_product, int8_product,
};
use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::rows::QuantRows;
use crate::team::{Shared, Team};

/// The integers that weights are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// 8 bits, symmetric, one scale for each output (scale = max|w| / 127), as CTranslate2's int8 and PyTorch's dynamic
    /// quantisation have it.
    Eight,
    /// 4 bits, −8 to 7, with a bf16 scale for every 32 inputs of each output (as GGML's Q4_0, which has f16), chosen for the
    /// least squared error: 4.5 bits a weight.
    Four,
}

impl Bits {
    /// Bytes of a panel.
    fn panel(self, inputs: usize) -> Option<usize> {
        match self {
            Self::Eight => inputs.checked_next_multiple_of(4)?.checked_mul(PANEL),
            Self::Four => inputs.div_ceil(GROUP).checked_mul(RECORD),
        }
    }
}

/// A linear layer `y = x·Wᵀ + b` with weights of 8 or 4 bits, for activations of 8 bits.
#[derive(Clone)]
pub struct QuantMatrix {
    bits: Bits,
    inputs: usize,
    outputs: usize,
    panels: Buffer<u8>,
    /// For every output its scale, the scaled sum of its weights, and its bias; each padded to whole panels.
    columns: Buffer<f32>,
}

impl QuantMatrix {
    /// Quantises and packs a weight of shape `(outputs, inputs)`, row-major, as PyTorch stores it.
    ///
    /// # Panics
    /// When the weight or the bias is not as long as the shape says.
    pub fn pack(weight: &[f32], inputs: usize, bias: Option<&[f32]>, bits: Bits) -> Self {
        let outputs = weight.len() / inputs;
        assert_eq!(weight.len(), inputs * outputs, "a weight is whole rows");
        assert!(
            bias.is_none_or(|b| b.len() == outputs),
            "one bias for each output"
        );
        let padded = outputs.next_multiple_of(PANEL);
        let mut columns = vec![0.0; 3 * padded];
        let bytes = bits
            .panel(inputs)
            .expect("what fits memory in 32 bits a weight fits in 8");
        let panels = Buffer::build(padded / PANEL * bytes, |panels: &mut [u8]| {
            for (output, row) in weight.chunks_exact(inputs).enumerate() {
                let panel = &mut panels[output / PANEL * bytes..][..bytes];
                let (scale, sum) = match bits {
                    Bits::Eight => pack_eight(row, panel, output % PANEL),
                    Bits::Four => pack_four(row, panel, output % PANEL),
                };
                (columns[output], columns[padded + output]) = (scale, sum);
            }
        });
        if let Some(bias) = bias {
            columns[2 * padded..][..outputs].copy_from_slice(bias);
        }
        let columns = Buffer::build(3 * padded, |all| all.copy_from_slice(&columns));
        Self {
            bits,
            inputs,
            outputs,
            panels,
            columns,
        }
    }

    /// A matrix of shape `(outputs, inputs)` of buffers that [`QuantMatrix::parts`] gave; none when they are not as long as
    /// the shape says.
    pub fn from_parts(
        [outputs, inputs]: [usize; 2],
        bits: Bits,
        panels: Buffer<u8>,
        columns: Buffer<f32>,
    ) -> Option<Self> {
        let padded = outputs.checked_next_multiple_of(PANEL)?;
        let whole = (padded / PANEL).checked_mul(bits.panel(inputs)?)?;
        let fits = inputs > 0 && panels.len() == whole && columns.len() == padded.checked_mul(3)?;
        fits.then_some(Self {
            bits,
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
        let bytes = self.panels.len() / self.outputs.div_ceil(PANEL);
        let panel = &self.panels[output / PANEL * bytes..][..bytes];
        let (scale, column) = (self.columns[output], output % PANEL);
        match self.bits {
            Bits::Eight => {
                for (four, group) in out.chunks_mut(4).zip(panel[column * 4..].chunks(4 * PANEL)) {
                    for (x, &q) in four.iter_mut().zip(group) {
                        *x = f32::from(q as i8) * scale;
                    }
                }
            }
            Bits::Four => {
                for (group, record) in out.chunks_mut(GROUP).zip(panel.chunks(RECORD)) {
                    let step = scale
                        * widen(u16::from_ne_bytes([
                            record[2 * column],
                            record[2 * column + 1],
                        ]));
                    for (i, x) in group.iter_mut().enumerate() {
                        let both = record[place(i, column)];
                        let q = if i % 8 < 4 { both << 4 } else { both & 0xF0 };
                        *x = f32::from(q as i8) * step;
                    }
                }
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
        unsafe { self.product(isa, &job) };
    }

    /// As [`QuantMatrix::multiply`], its columns shared among the team: for few rows.
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
            unsafe { self.product(isa, &job) };
        });
    }

    /// # Safety
    /// The job is one of this matrix.
    unsafe fn product(&self, isa: Isa, job: &QuantJob) {
        // SAFETY: the caller's.
        unsafe {
            match self.bits {
                Bits::Eight => int8_product(isa, job),
                Bits::Four => int4_product(isa, job),
            }
        }
    }

    fn job(&self, isa: Isa, a: &QuantRows, then: Then, out: &mut [f32]) -> QuantJob {
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
        QuantJob {
            a: a.data.as_ptr(),
            stride: a.stride,
            rows: a.rows(),
            row_scale: a.scale.as_ptr(),
            row_zero: a.zero.as_ptr(),
            b: self.panels.as_ptr(),
            fours: self.inputs.div_ceil(4),
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

/// Packs a row of 8-bit weights as `[input / 4][column][4]`; returns its scale and scaled sum.
fn pack_eight(row: &[f32], panel: &mut [u8], column: usize) -> (f32, f32) {
    let largest = row.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let mut sum = 0;
    for (i, x) in row.iter().enumerate() {
        let q = (x / scale).round() as i8;
        panel[i / 4 * 4 * PANEL + column * 4 + i % 4] = q as u8;
        sum += i32::from(q);
    }
    (scale, sum as f32 * scale)
}

/// Packs a row of 4-bit weights: of every 32 inputs first the columns' scales, then `[input / 8][column][4]` bytes with two
/// weights each, inputs 0 to 3 of the eight in the low halves; returns the scale that all share and the scaled sum.
fn pack_four(row: &[f32], panel: &mut [u8], column: usize) -> (f32, f32) {
    let mut sum = 0.0;
    for (group, record) in row.chunks(GROUP).zip(panel.chunks_mut(RECORD)) {
        let step = step_of_four(group);
        record[2 * column..][..2].copy_from_slice(&step.to_ne_bytes());
        let step = widen(step);
        for (i, &x) in group.iter().enumerate() {
            let q = quantise_four(x, step) as i8;
            sum += f32::from(q) * step;
            let half = q as u8 & 0xF;
            record[place(i, column)] |= if i % 8 < 4 { half } else { half << 4 };
        }
    }
    // The kernel takes weights 16 times too large.
    (1.0 / 16.0, sum)
}

/// Where in a group's record the weight of an input stands.
fn place(input: usize, column: usize) -> usize {
    SCALES + (input / 8 * PANEL + column) * 4 + input % 4
}

/// The step between the 4-bit weights of a group, in bf16, that leaves the least squared error of those that put the largest
/// weight at −9 … −7 or 7 steps.
fn step_of_four(group: &[f32]) -> u16 {
    let largest = group
        .iter()
        .fold(0.0f32, |m, &x| if x.abs() > m.abs() { x } else { m });
    let error = |&step: &u16| -> f32 {
        let step = widen(step);
        group
            .iter()
            .map(|&x| (x - quantise_four(x, step) * step).powi(2))
            .sum()
    };
    let steps = [-9.0, -8.5, -8.0, -7.5, -7.0, 7.0].map(|steps| bf16(largest / steps));
    let least = steps
        .into_iter()
        .min_by(|a, b| error(a).total_cmp(&error(b)));
    least.expect("there are six")
}

/// A weight in whole steps.
fn quantise_four(x: f32, step: f32) -> f32 {
    if step == 0.0 {
        0.0
    } else {
        (x / step).round().clamp(-8.0, 7.0)
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
