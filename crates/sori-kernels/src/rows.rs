//! Work on rows of activations: layer normalisation, quantisation, bf16.

use crate::arch::Arch;
use crate::body::kernel;
use crate::isa::Isa;

/// Rows of activations as unsigned bytes: `x ≈ scale · (q − zero)`, with a scale and a zero for every row.
///
/// The range of a row is widened to hold 0, as PyTorch's dynamic quantisation does; a row that is all zeros or holds a
/// number that is not finite becomes zeros.
#[derive(Clone, Debug, Default)]
pub struct QuantRows {
    pub(crate) data: Vec<u8>,
    pub(crate) width: usize,
    /// The largest byte that the instructions they were made for allow.
    pub(crate) top: f32,
    /// Bytes from row to row: the width, rounded up to whole eights.
    pub(crate) stride: usize,
    pub(crate) scale: Vec<f32>,
    pub(crate) zero: Vec<f32>,
    /// A normalised row on its way to bytes.
    one: Vec<f32>,
}

/// A layer normalisation (Ba et al. 2016) with ε = 1e-5, as PyTorch's default.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Scale of each column.
    pub weight: &'a [f32],
    /// Offset of each column.
    pub bias: &'a [f32],
}

impl QuantRows {
    /// Rows held.
    pub fn rows(&self) -> usize {
        self.scale.len()
    }

    /// Replaces what is held by `x`, rows of `width` numbers; allocates only to grow.
    ///
    /// # Panics
    /// When `x` is not whole rows.
    pub fn quantise(&mut self, isa: Isa, x: &[f32], width: usize) {
        self.reset(isa, width, x.len());
        let job = self.job(x, width);
        // SAFETY: the buffers were made for these rows.
        unsafe { quantise(isa, &job) };
    }

    /// Replaces what is held by the normalised rows of `x`.
    ///
    /// # Panics
    /// When `x` is not whole rows, or the norm's parts are of different lengths.
    pub fn norm_quantise(&mut self, isa: Isa, x: &[f32], norm: Norm) {
        let width = norm.weight.len();
        assert_eq!(
            width,
            norm.bias.len(),
            "a norm has as many offsets as scales"
        );
        self.reset(isa, width, x.len());
        let mut one = std::mem::take(&mut self.one);
        one.resize(width, 0.0);
        for (row, x) in x.chunks_exact(width).enumerate() {
            norm_row(isa, x, norm, &mut one);
            let mut job = self.job(&one, width);
            job.rows = 1;
            job.q = job.q.wrapping_add(row * self.stride);
            job.scale = job.scale.wrapping_add(row);
            job.zero = job.zero.wrapping_add(row);
            // SAFETY: the buffers were made for these rows.
            unsafe { quantise(isa, &job) };
        }
        self.one = one;
    }

    fn reset(&mut self, isa: Isa, width: usize, len: usize) {
        assert!(
            width > 0 && len.is_multiple_of(width),
            "activations come in whole rows"
        );
        let rows = len / width;
        (self.width, self.top) = (width, isa.top_activation());
        self.stride = width.next_multiple_of(8);
        self.data.resize(rows * self.stride, 0);
        self.scale.resize(rows, 0.0);
        self.zero.resize(rows, 0.0);
    }

    fn job(&mut self, x: &[f32], width: usize) -> QuantiseJob {
        QuantiseJob {
            x: x.as_ptr(),
            width,
            rows: x.len() / width,
            q: self.data.as_mut_ptr(),
            stride: self.stride,
            scale: self.scale.as_mut_ptr(),
            zero: self.zero.as_mut_ptr(),
        }
    }
}

/// Ranges below this are taken as zero: a scale could not be inverted.
pub(crate) const LEAST: f32 = 1e-30;

/// Writes the normalised rows of `x` to `out`.
///
/// # Panics
/// When the lengths do not fit.
pub fn norm(isa: Isa, x: &[f32], norm: Norm, out: &mut [f32]) {
    let width = norm.weight.len();
    assert_eq!(
        width,
        norm.bias.len(),
        "a norm has as many offsets as scales"
    );
    assert!(
        x.len() == out.len() && x.len().is_multiple_of(width),
        "whole rows in and out"
    );
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        norm_row(isa, x, norm, out);
    }
}

fn norm_row(isa: Isa, x: &[f32], norm: Norm, out: &mut [f32]) {
    let job = NormJob {
        x: x.as_ptr(),
        width: x.len(),
        weight: norm.weight.as_ptr(),
        bias: norm.bias.as_ptr(),
        out: out.as_mut_ptr(),
    };
    debug_assert_eq!(x.len(), out.len());
    // SAFETY: the callers checked that all five are of one width.
    unsafe { norm_kernel(isa, &job) };
}

/// Writes `x · scale` to `out` as bf16.
///
/// # Panics
/// When the lengths differ.
pub fn to_bf16(isa: Isa, x: &[f32], scale: f32, out: &mut [u16]) {
    assert_eq!(x.len(), out.len(), "as many numbers out as in");
    let job = NarrowJob {
        x: x.as_ptr(),
        len: x.len(),
        scale,
        out: out.as_mut_ptr(),
    };
    // SAFETY: both are of the same length.
    unsafe { narrow(isa, &job) };
}

#[derive(Clone, Copy)]
struct QuantiseJob {
    x: *const f32,
    width: usize,
    rows: usize,
    q: *mut u8,
    stride: usize,
    scale: *mut f32,
    zero: *mut f32,
}

kernel! {
    /// Quantises rows.
    quantise = quantise_body(&QuantiseJob)
}

#[inline(always)]
unsafe fn quantise_body<A: Arch, const N: usize>(job: &QuantiseJob) {
    for row in 0..job.rows {
        // SAFETY: the row lies inside the job's.
        unsafe {
            let x = job.x.add(row * job.width);
            let q = job.q.add(row * job.stride);
            let (scale, zero) = quantise_row::<A>(x, job.width, q);
            *job.scale.add(row) = scale;
            *job.zero.add(row) = zero;
        }
    }
}

/// Quantises `width` numbers; returns the scale and the zero.
#[inline(always)]
unsafe fn quantise_row<A: Arch>(x: *const f32, width: usize, q: *mut u8) -> (f32, f32) {
    let whole = width / A::LANES * A::LANES;
    // SAFETY: the caller's.
    unsafe {
        let (mut low, mut high, mut odd) = (A::splat(0.0), A::splat(0.0), A::splat(0.0));
        for i in (0..whole).step_by(A::LANES) {
            let x = A::load(x.add(i));
            low = A::min(low, x);
            high = A::max(high, x);
            // What is not finite leaves something that is not a number.
            odd = A::add(odd, A::sub(x, x));
        }
        let (mut low, mut high, mut odd) = (A::lowest(low), A::highest(high), A::sum(odd));
        for i in whole..width {
            low = low.min(*x.add(i));
            high = high.max(*x.add(i));
            odd += *x.add(i) - *x.add(i);
        }
        let range = high - low;
        if odd != 0.0 || odd.is_nan() || range.is_infinite() || range < LEAST {
            q.write_bytes(0, width);
            return (0.0, 0.0);
        }
        let per = A::TOP / range;
        let zero = (-low * per).round_ties_even();
        let place = |x: f32| (x * per + zero).clamp(0.0, A::TOP);
        let (scale, offset) = (A::splat(per), A::splat(zero));
        let (bottom, top) = (A::splat(0.0), A::splat(A::TOP));
        for i in (0..whole).step_by(A::LANES) {
            let y = A::fma(A::load(x.add(i)), scale, offset);
            A::store_u8(q.add(i), A::min(A::max(y, bottom), top));
        }
        for i in whole..width {
            *q.add(i) = place(*x.add(i)).round_ties_even() as u8;
        }
        (range / A::TOP, zero)
    }
}

#[derive(Clone, Copy)]
struct NormJob {
    x: *const f32,
    width: usize,
    weight: *const f32,
    bias: *const f32,
    out: *mut f32,
}

kernel! {
    /// Normalises one row.
    norm_kernel = norm_body(&NormJob)
}

#[inline(always)]
unsafe fn norm_body<A: Arch, const N: usize>(job: &NormJob) {
    let whole = job.width / A::LANES * A::LANES;
    let count = job.width as f32;
    // SAFETY: the caller's.
    unsafe {
        let mut sum = A::splat(0.0);
        for i in (0..whole).step_by(A::LANES) {
            sum = A::add(sum, A::load(job.x.add(i)));
        }
        let rest: f32 = (whole..job.width).map(|i| *job.x.add(i)).sum();
        let mean = (A::sum(sum) + rest) / count;
        let (centre, mut squares) = (A::splat(mean), A::splat(0.0));
        for i in (0..whole).step_by(A::LANES) {
            let x = A::sub(A::load(job.x.add(i)), centre);
            squares = A::fma(x, x, squares);
        }
        let rest: f32 = (whole..job.width)
            .map(|i| (*job.x.add(i) - mean).powi(2))
            .sum();
        let scale = 1.0 / ((A::sum(squares) + rest) / count + 1e-5).sqrt();
        let all = A::splat(scale);
        for i in (0..whole).step_by(A::LANES) {
            let x = A::mul(A::sub(A::load(job.x.add(i)), centre), all);
            let y = A::fma(x, A::load(job.weight.add(i)), A::load(job.bias.add(i)));
            A::store(job.out.add(i), y);
        }
        for i in whole..job.width {
            *job.out.add(i) =
                (*job.x.add(i) - mean) * scale * *job.weight.add(i) + *job.bias.add(i);
        }
    }
}

#[derive(Clone, Copy)]
struct NarrowJob {
    x: *const f32,
    len: usize,
    scale: f32,
    out: *mut u16,
}

kernel! {
    /// Writes numbers as bf16.
    narrow = narrow_body(&NarrowJob)
}

#[inline(always)]
unsafe fn narrow_body<A: Arch, const N: usize>(job: &NarrowJob) {
    let whole = job.len / A::LANES * A::LANES;
    // SAFETY: the caller's.
    unsafe {
        let scale = A::splat(job.scale);
        for i in (0..whole).step_by(A::LANES) {
            A::store_bf16(job.out.add(i), A::mul(A::load(job.x.add(i)), scale));
        }
        for i in whole..job.len {
            *job.out.add(i) = crate::arch::bf16(*job.x.add(i) * job.scale);
        }
    }
}
