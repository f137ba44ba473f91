//! What kernels need of an instruction set; the bodies in `body` are written once over it.
//!
//! Every method is `#[inline(always)]`, so that it becomes part of the function that enables the instructions. The safety of
//! all of them is the same: the CPU has the set's instructions, and pointers are good for as many values as the method
//! touches ([`Arch::LANES`] unless it says otherwise).

#![allow(clippy::missing_safety_doc)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use portable::{Portable, bf16, widen};

pub(crate) trait Arch {
    /// Values in a vector of 32-bit numbers.
    const LANES: usize;
    /// Rows of the register tile of the matrix products; its columns are their body's parameter.
    const ROWS: usize;
    /// The largest activation that the integer product takes without overflow: 255, or 127 where pairs are added in 16 bits.
    const TOP: f32;
    /// 32-bit floating-point numbers.
    type F: Copy;
    /// 32-bit integers.
    type I: Copy;
    /// 8-bit integers, four for each lane.
    type B: Copy;
    /// bf16 numbers, two for each lane.
    type W: Copy;

    unsafe fn splat(x: f32) -> Self::F;
    unsafe fn load(from: *const f32) -> Self::F;
    unsafe fn store(to: *mut f32, x: Self::F);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn div(a: Self::F, b: Self::F) -> Self::F;
    /// `a · b + c`.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F;
    /// To the nearest whole number, ties to even; magnitudes up to 2²².
    unsafe fn round(x: Self::F) -> Self::F;
    /// `x · 2ⁿ` for whole `n` of −126 to 127.
    unsafe fn scale(x: Self::F, n: Self::F) -> Self::F;
    unsafe fn sum(x: Self::F) -> f32;
    unsafe fn highest(x: Self::F) -> f32;
    unsafe fn lowest(x: Self::F) -> f32;
    /// Writes numbers of 0 to 255, rounded, ties to even.
    unsafe fn store_u8(to: *mut u8, x: Self::F);
    /// Writes numbers as bf16, rounded, ties to even.
    unsafe fn store_bf16(to: *mut u16, x: Self::F);

    unsafe fn zero() -> Self::I;
    /// Four weights for each lane.
    unsafe fn load_i8(from: *const u8) -> Self::B;
    /// Twice four weights of 4 bits for each lane, times 16: those in the low halves of the bytes, those in the high halves.
    unsafe fn load_i4(from: *const u8) -> [Self::B; 2];
    /// Adds to each lane the products of its four weights and the four activations at `a`.
    unsafe fn dot(sum: Self::I, a: *const u8, b: Self::B) -> Self::I;
    unsafe fn to_f32(x: Self::I) -> Self::F;

    /// One bf16 number for each lane, widened.
    unsafe fn load_bf16(from: *const u16) -> Self::F;
    /// Two bf16 numbers for each lane.
    unsafe fn load_pairs(from: *const u16) -> Self::W;
    /// Adds to each lane the products of its two numbers and the two at `a`.
    unsafe fn dot_pairs(sum: Self::F, a: *const u16, b: Self::W) -> Self::F;
    /// Fetches the line at `at` into the cache; any address will do.
    unsafe fn prefetch(at: *const u8);
}
