//! Plain Rust over short arrays: the twin that the others are tested against, and what other CPUs run.
//!
//! The safety of every method is the one stated in [`super`].

#![allow(clippy::undocumented_unsafe_blocks)]

use super::Arch;

pub(crate) struct Portable;

const LANES: usize = 8;

type F = [f32; LANES];

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> F {
    std::array::from_fn(f)
}

/// A number as bf16, rounded to nearest, ties to even (no care for NaN, which kernels do not meet).
#[inline(always)]
pub(crate) fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    (bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16) as u16
}

/// A bf16 number.
#[inline(always)]
pub(crate) fn widen(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

impl Arch for Portable {
    const LANES: usize = LANES;
    const ROWS: usize = 4;
    const TOP: f32 = 255.0;
    type F = F;
    type I = [i32; LANES];
    type B = [[i8; 4]; LANES];
    type W = [[f32; 2]; LANES];

    #[inline(always)]
    unsafe fn splat(x: f32) -> F {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> F {
        unsafe { from.cast::<F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: F) {
        unsafe { to.cast::<F>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn add(a: F, b: F) -> F {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: F, b: F) -> F {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: F, b: F) -> F {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: F, b: F) -> F {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: F, b: F, c: F) -> F {
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: F, b: F) -> F {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: F, b: F) -> F {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn round(x: F) -> F {
        // Adding 1.5 · 2²³ leaves no bits for a fraction.
        each(|i| x[i] + 12_582_912.0 - 12_582_912.0)
    }
    #[inline(always)]
    unsafe fn scale(x: F, n: F) -> F {
        each(|i| x[i] * f32::from_bits(((n[i] as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    unsafe fn sum(x: F) -> f32 {
        x.iter().sum()
    }
    #[inline(always)]
    unsafe fn highest(x: F) -> f32 {
        x.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn lowest(x: F) -> f32 {
        x.into_iter().fold(f32::INFINITY, f32::min)
    }
    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, x: F) {
        let whole: [u8; LANES] = std::array::from_fn(|i| (x[i] + 12_582_912.0).to_bits() as u8);
        unsafe { to.cast::<[u8; LANES]>().write_unaligned(whole) }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, x: F) {
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(x.map(bf16)) }
    }

    #[inline(always)]
    unsafe fn zero() -> Self::I {
        [0; LANES]
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> Self::B {
        unsafe { from.cast::<Self::B>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_i4(from: *const u8) -> [Self::B; 2] {
        let both = unsafe { from.cast::<[[u8; 4]; LANES]>().read_unaligned() };
        let part = |f: fn(u8) -> u8| both.map(|four| four.map(|x| f(x) as i8));
        [part(|x| x << 4), part(|x| x & 0xF0)]
    }
    #[inline(always)]
    unsafe fn dot(sum: Self::I, a: *const u8, b: Self::B) -> Self::I {
        let a = unsafe { a.cast::<[u8; 4]>().read_unaligned() };
        std::array::from_fn(|i| {
            let products = (0..4).map(|j| i32::from(a[j]) * i32::from(b[i][j]));
            sum[i] + products.sum::<i32>()
        })
    }
    #[inline(always)]
    unsafe fn to_f32(x: Self::I) -> F {
        each(|i| x[i] as f32)
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> F {
        unsafe { from.cast::<[u16; LANES]>().read_unaligned() }.map(widen)
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u16) -> Self::W {
        let pairs = unsafe { from.cast::<[[u16; 2]; LANES]>().read_unaligned() };
        pairs.map(|pair| pair.map(widen))
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: F, a: *const u16, b: Self::W) -> F {
        let a = unsafe { a.cast::<[u16; 2]>().read_unaligned() }.map(widen);
        each(|i| sum[i] + a[0] * b[i][0] + a[1] * b[i][1])
    }
    #[inline(always)]
    unsafe fn prefetch(_at: *const u8) {}
}
