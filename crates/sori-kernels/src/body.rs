//! The bodies of the matrix products, written once over [`Arch`].
//!
//! Matrices lie in panels of [`PANEL`] columns, so that one layout serves every set: integers as `[panel][k / 4][column][4]`
//! (those of 4 bits as `[panel][k / 32]` records: the columns' bf16 scales, then `[k / 8][column][4]` bytes of two weights),
//! bf16 as `[panel][k / 2][column][2]`, zeros beyond the ends. `N` is the width of the register tile in vectors.

use std::f32::consts::LN_2;

use crate::arch::Arch;

/// Columns of a panel.
pub(crate) const PANEL: usize = 64;

/// What is done with a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It replaces what stands in the output.
    Store,
    /// Its GELU (the exact one, by erf) replaces what stands in the output.
    Gelu,
    /// It is added to what stands in the output.
    Add,
}

/// Makes `$name(isa, job)` of a body `$body::<A, N>(job)`: one copy for each instruction set, chosen by the token.
macro_rules! kernel {
    ($(#[$doc:meta])* $see:vis $name:ident = $body:ident($job:ty)) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// The pointers of the job are good for the shapes that it states.
        $see unsafe fn $name(isa: $crate::isa::Isa, job: $job) {
            use $crate::isa::Level;
            #[cfg(target_arch = "x86_64")]
            use $crate::arch::{Avx2, Avx512};
            #[cfg(target_arch = "aarch64")]
            use $crate::arch::Neon;
            $crate::body::kernel!(@copy "x86_64", avx512_bf16, "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16", $body, Avx512<true, true>, 4, $job);
            $crate::body::kernel!(@copy "x86_64", avx512_vnni, "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni", $body, Avx512<true, false>, 4, $job);
            $crate::body::kernel!(@copy "x86_64", avx512, "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq", $body, Avx512<false, false>, 4, $job);
            $crate::body::kernel!(@copy "x86_64", avx2_vnni, "avx2,fma,avxvnni", $body, Avx2<true>, 2, $job);
            $crate::body::kernel!(@copy "x86_64", avx2, "avx2,fma", $body, Avx2<false>, 2, $job);
            $crate::body::kernel!(@copy "aarch64", neon_i8mm, "neon,dotprod,i8mm", $body, Neon<true, true>, 4, $job);
            $crate::body::kernel!(@copy "aarch64", neon_dot, "neon,dotprod", $body, Neon<true, false>, 4, $job);
            $crate::body::kernel!(@copy "aarch64", neon, "neon", $body, Neon<false, false>, 4, $job);
            // SAFETY: the token proves the instructions; the pointers are the caller's.
            unsafe {
                match isa.level() {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512Bf16 => avx512_bf16(job),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512Vnni => avx512_vnni(job),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => avx512(job),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2Vnni => avx2_vnni(job),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => avx2(job),
                    #[cfg(target_arch = "aarch64")]
                    Level::NeonI8mm => neon_i8mm(job),
                    #[cfg(target_arch = "aarch64")]
                    Level::NeonDot => neon_dot(job),
                    #[cfg(target_arch = "aarch64")]
                    Level::Neon => neon(job),
                    _ => $body::<$crate::arch::Portable, 2>(job),
                }
            }
        }
    };
    (@copy $cpu:literal, $copy:ident, $features:literal, $body:ident, $arch:ty, $n:literal, $job:ty) => {
        #[cfg(target_arch = $cpu)]
        #[target_feature(enable = $features)]
        unsafe fn $copy(job: $job) {
            // SAFETY: the caller's.
            unsafe { $body::<$arch, $n>(job) }
        }
    };
}
pub(crate) use kernel;

/// Calls `$f::<A, M, N>` with `M` as constant for up to six rows.
macro_rules! with_rows {
    ($rows:expr, $f:ident::<$arch:ty, $n:ident>($($argument:expr),*)) => {
        match $rows {
            1 => $f::<$arch, 1, $n>($($argument),*),
            2 => $f::<$arch, 2, $n>($($argument),*),
            3 => $f::<$arch, 3, $n>($($argument),*),
            4 => $f::<$arch, 4, $n>($($argument),*),
            5 => $f::<$arch, 5, $n>($($argument),*),
            _ => $f::<$arch, 6, $n>($($argument),*),
        }
    };
}
pub(crate) use with_rows;

/// `2ˣ` for `x` of −126 to 0 (and a little above), less is taken as −126; by Taylor to the power `P`, 3 to 5, around the
/// nearest whole number: relative error below 7e-4, 5e-5, 3e-6.
#[inline(always)]
pub(crate) unsafe fn exp2<A: Arch, const P: usize>(x: A::F) -> A::F {
    const TERMS: [f32; 6] = [
        1.0,
        LN_2,
        0.240_226_5,
        5.550_411e-2,
        9.618_129e-3,
        1.333_355_8e-3,
    ];
    // SAFETY: the caller's.
    unsafe {
        let x = A::max(x, A::splat(-126.0));
        let whole = A::round(x);
        let f = A::sub(x, whole);
        let mut y = A::splat(TERMS[P]);
        for term in TERMS[..P].iter().rev() {
            y = A::fma(y, f, A::splat(*term));
        }
        A::scale(y, whole)
    }
}

/// `x · Φ(x)`, with erf by Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7).
#[inline(always)]
pub(crate) unsafe fn gelu<A: Arch>(x: A::F) -> A::F {
    // SAFETY: the caller's.
    unsafe {
        let zero = A::splat(0.0);
        let size = A::max(x, A::sub(zero, x));
        let z = A::mul(size, A::splat(std::f32::consts::FRAC_1_SQRT_2));
        let one = A::splat(1.0);
        let t = A::div(one, A::fma(z, A::splat(0.327_591_1), one));
        let mut y = A::splat(1.061_405_4);
        for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6, 0.0] {
            y = A::fma(y, t, A::splat(c));
        }
        let fall = exp2::<A, 5>(A::mul(A::mul(z, z), A::splat(-std::f32::consts::LOG2_E)));
        let half = A::mul(A::mul(y, fall), A::splat(0.5));
        A::sub(A::max(x, zero), A::mul(size, half))
    }
}

/// Writes a vector of products to `out`, of which only `room` values are the caller's.
#[inline(always)]
unsafe fn put<A: Arch>(x: A::F, out: *mut f32, room: usize, then: Then) {
    // SAFETY: the caller's; `spare` is as long as the longest vector.
    unsafe {
        let mut spare = [0.0f32; 16];
        let to = if room < A::LANES {
            spare.as_mut_ptr()
        } else {
            out
        };
        if room < A::LANES && then == Then::Add {
            std::ptr::copy_nonoverlapping(out, to, room);
        }
        let x = match then {
            Then::Store => x,
            Then::Gelu => gelu::<A>(x),
            Then::Add => A::add(A::load(to), x),
        };
        A::store(to, x);
        if room < A::LANES {
            std::ptr::copy_nonoverlapping(to, out, room);
        }
    }
}

/// A product of quantised rows and some panels of a matrix of 8-bit or 4-bit weights.
#[derive(Clone, Copy)]
pub(crate) struct QuantJob {
    /// Activations `(rows, ≥ 4 · fours)`, for 4 bits whole eights, `stride` apart, with each row's scale and zero.
    pub a: *const u8,
    pub stride: usize,
    pub rows: usize,
    pub row_scale: *const f32,
    pub row_zero: *const f32,
    /// All panels, of as many fours of inputs, and for every column its scale, scaled sum and bias.
    pub b: *const u8,
    pub fours: usize,
    pub scale: *const f32,
    pub sum: *const f32,
    pub bias: *const f32,
    /// The panels to work on.
    pub from: usize,
    pub to: usize,
    /// Output `(rows, columns)`, whole.
    pub out: *mut f32,
    pub columns: usize,
    pub then: Then,
}

kernel! {
    /// Multiplies quantised rows by panels of 8-bit weights.
    pub(crate) int8_product = int8_body(&QuantJob)
}

kernel! {
    /// Multiplies quantised rows by panels of 4-bit weights.
    pub(crate) int4_product = int4_body(&QuantJob)
}

#[inline(always)]
unsafe fn int8_body<A: Arch, const N: usize>(job: &QuantJob) {
    // SAFETY: the caller's.
    unsafe { quant_body::<A, N, 8>(job) }
}

#[inline(always)]
unsafe fn int4_body<A: Arch, const N: usize>(job: &QuantJob) {
    // SAFETY: the caller's.
    unsafe { quant_body::<A, N, 4>(job) }
}

#[inline(always)]
unsafe fn quant_body<A: Arch, const N: usize, const BITS: usize>(job: &QuantJob) {
    let wide = N * A::LANES;
    // With 4 bits every sum takes two registers.
    let most = if BITS == 8 { A::ROWS } else { A::ROWS / 2 };
    for panel in job.from..job.to {
        for part in (0..PANEL).step_by(wide) {
            let column = panel * PANEL + part;
            if column >= job.columns {
                return;
            }
            let mut row = 0;
            while row < job.rows {
                let rows = (job.rows - row).min(most);
                // SAFETY: the tile's rows and columns lie inside the job's.
                unsafe {
                    if BITS == 8 {
                        with_rows!(rows, int8_tile::<A, N>(job, row, column));
                    } else {
                        with_rows!(rows, int4_tile::<A, N>(job, row, column));
                    }
                }
                row += rows;
            }
        }
    }
}

#[inline(always)]
unsafe fn int8_tile<A: Arch, const M: usize, const N: usize>(
    job: &QuantJob,
    row: usize,
    column: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let panel = column / PANEL * PANEL * job.fours * 4;
        let b = job.b.add(panel + column % PANEL * 4);
        let a = job.a.add(row * job.stride);
        let sums = int8_sums::<A, M, N>(job.fours, a, job.stride, b, b.wrapping_add(AHEAD));
        let sums = sums.map(|sums| sums.map(|sum| A::to_f32(sum)));
        quant_put::<A, M, N>(job, row, column, sums);
    }
}

/// Inputs that share a scale in each column of 4-bit weights, as in GGML's Q4_0.
pub(crate) const GROUP: usize = 32;
/// Bytes of a group's scales in a panel, which stand before its weights.
pub(crate) const SCALES: usize = 2 * PANEL;
/// Bytes of a group in a panel.
pub(crate) const RECORD: usize = SCALES + GROUP * PANEL / 2;

#[inline(always)]
unsafe fn int4_tile<A: Arch, const M: usize, const N: usize>(
    job: &QuantJob,
    row: usize,
    column: usize,
) {
    let groups = job.fours.div_ceil(GROUP / 4);
    let from = column % PANEL;
    // SAFETY: the caller's; a prefetch may look at any address.
    unsafe {
        let panel = job.b.add(column / PANEL * groups * RECORD);
        let mut all = [[A::splat(0.0); N]; M];
        for group in 0..groups {
            let record = panel.add(group * RECORD);
            let a = job.a.add(row * job.stride + group * GROUP);
            let mut sums = [[A::zero(); N]; M];
            // A row is whole eights, so that both halves of a byte have their activations.
            for eight in 0..(job.fours.div_ceil(2) - group * GROUP / 8).min(GROUP / 8) {
                for n in 0..N {
                    let b = record.add(SCALES + (eight * PANEL + from + n * A::LANES) * 4);
                    let [low, high] = A::load_i4(b);
                    A::prefetch(b.wrapping_add(AHEAD));
                    for (m, sums) in sums.iter_mut().enumerate() {
                        let a = a.add(m * job.stride + eight * 8);
                        sums[n] = A::dot(A::dot(sums[n], a, low), a.add(4), high);
                    }
                }
            }
            for n in 0..N {
                let scale = A::load_bf16(record.cast::<u16>().add(from + n * A::LANES));
                for (all, sums) in all.iter_mut().zip(sums) {
                    all[n] = A::fma(A::to_f32(sums[n]), scale, all[n]);
                }
            }
        }
        quant_put::<A, M, N>(job, row, column, all);
    }
}

/// Writes the sums of a tile, scaled and without the rows' zeros.
#[inline(always)]
unsafe fn quant_put<A: Arch, const M: usize, const N: usize>(
    job: &QuantJob,
    row: usize,
    column: usize,
    sums: [[A::F; N]; M],
) {
    // SAFETY: the caller's.
    unsafe {
        for (m, sums) in sums.into_iter().enumerate() {
            let row = row + m;
            let scale = A::splat(*job.row_scale.add(row));
            let zero = A::splat(-*job.row_zero.add(row));
            for (n, sum) in sums.into_iter().enumerate() {
                let at = column + n * A::LANES;
                if at < job.columns {
                    let x = A::mul(sum, A::load(job.scale.add(at)));
                    let x = A::fma(zero, A::load(job.sum.add(at)), x);
                    let x = A::fma(scale, x, A::load(job.bias.add(at)));
                    let out = job.out.add(row * job.columns + at);
                    put::<A>(x, out, job.columns - at, job.then);
                }
            }
        }
    }
}

/// The sums of `groups` · 4 products for `M` rows, `stride` apart, and `N` vectors of columns; what lies at `next` is fetched
/// into the cache in step with `b`.
#[inline(always)]
pub(crate) unsafe fn int8_sums<A: Arch, const M: usize, const N: usize>(
    groups: usize,
    a: *const u8,
    stride: usize,
    b: *const u8,
    next: *const u8,
) -> [[A::I; N]; M] {
    // SAFETY: the caller's; a prefetch may look at any address.
    unsafe {
        let mut sums = [[A::zero(); N]; M];
        for group in 0..groups {
            let from = b.add(group * 4 * PANEL);
            let mut weights = [A::load_i8(from); N];
            for (n, weights) in weights.iter_mut().enumerate() {
                *weights = A::load_i8(from.add(n * A::LANES * 4));
                A::prefetch(next.wrapping_add(group * 4 * PANEL + n * A::LANES * 4));
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let a = a.add(m * stride + group * 4);
                for (sum, &weights) in sums.iter_mut().zip(&weights) {
                    *sum = A::dot(*sum, a, weights);
                }
            }
        }
        sums
    }
}

/// How far ahead of a product its weights are fetched, in bytes.
const AHEAD: usize = 4096;

/// A product of bf16 rows and some panels of a bf16 matrix.
#[derive(Clone, Copy)]
pub(crate) struct Bf16Job {
    /// Rows of `2 · pairs` numbers, `stride` apart.
    pub a: *const u16,
    pub stride: usize,
    pub rows: usize,
    pub b: *const u16,
    pub pairs: usize,
    pub bias: *const f32,
    /// Output `(rows, columns)`.
    pub out: *mut f32,
    pub columns: usize,
    pub then: Then,
}

kernel! {
    /// Multiplies bf16 rows by all panels of a bf16 matrix.
    pub(crate) bf16_product = bf16_body(&Bf16Job)
}

#[inline(always)]
unsafe fn bf16_body<A: Arch, const N: usize>(job: &Bf16Job) {
    for column in (0..job.columns).step_by(N * A::LANES) {
        let mut row = 0;
        while row < job.rows {
            let rows = (job.rows - row).min(A::ROWS);
            // SAFETY: the tile's rows and columns lie inside the job's.
            unsafe { with_rows!(rows, bf16_tile::<A, N>(job, row, column)) };
            row += rows;
        }
    }
}

#[inline(always)]
unsafe fn bf16_tile<A: Arch, const M: usize, const N: usize>(
    job: &Bf16Job,
    row: usize,
    column: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let panel = column / PANEL * PANEL * job.pairs * 2;
        let b = job.b.add(panel + column % PANEL * 2);
        let a = job.a.add(row * job.stride);
        let mut sums = [[A::splat(0.0); N]; M];
        let next = b.wrapping_add(AHEAD / 2);
        bf16_sums::<A, M, N>(&mut sums, job.pairs, a, job.stride, b, next);
        for (m, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                let at = column + n * A::LANES;
                if at < job.columns {
                    let x = A::add(sum, A::load(job.bias.add(at)));
                    let out = job.out.add((row + m) * job.columns + at);
                    put::<A>(x, out, job.columns - at, job.then);
                }
            }
        }
    }
}

/// Adds the products of `pairs` · 2 numbers for `M` rows, `stride` apart, and `N` vectors of a panel's columns; what lies at
/// `next` is fetched into the cache in step with `b`.
#[inline(always)]
pub(crate) unsafe fn bf16_sums<A: Arch, const M: usize, const N: usize>(
    sums: &mut [[A::F; N]; M],
    pairs: usize,
    a: *const u16,
    stride: usize,
    b: *const u16,
    next: *const u16,
) {
    // SAFETY: the caller's; a prefetch may look at any address.
    unsafe {
        for pair in 0..pairs {
            let from = b.add(pair * 2 * PANEL);
            let mut weights = [A::load_pairs(from); N];
            for (n, weights) in weights.iter_mut().enumerate() {
                *weights = A::load_pairs(from.add(n * A::LANES * 2));
                A::prefetch(
                    next.wrapping_add(pair * 2 * PANEL + n * A::LANES * 2)
                        .cast(),
                );
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let a = a.add(m * stride + pair * 2);
                for (sum, &weights) in sums.iter_mut().zip(&weights) {
                    *sum = A::dot_pairs(*sum, a, weights);
                }
            }
        }
    }
}
