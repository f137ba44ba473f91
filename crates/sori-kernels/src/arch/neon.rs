//! NEON, with the dot products of 8-bit integers where the CPU has them.
//!
//! The safety of every method is the one stated in [`super`].

#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::aarch64::*;
use std::arch::asm;

use super::Arch;

/// The set; the parameters say whether SDOT (FEAT_DotProd) and USDOT (FEAT_I8MM) are there.
pub(crate) struct Neon<const DOT: bool, const MIXED: bool>;

impl<const DOT: bool, const MIXED: bool> Arch for Neon<DOT, MIXED> {
    const LANES: usize = 4;
    const ROWS: usize = 6;
    // Only USDOT takes activations without a sign.
    const TOP: f32 = if MIXED { 255.0 } else { 127.0 };
    type F = float32x4_t;
    type I = int32x4_t;
    type B = int8x16_t;
    type W = uint32x4_t;

    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: float32x4_t) {
        unsafe { vst1q_f32(to, x) }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vdivq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmaxq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vminq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn round(x: float32x4_t) -> float32x4_t {
        unsafe { vrndnq_f32(x) }
    }
    #[inline(always)]
    unsafe fn scale(x: float32x4_t, n: float32x4_t) -> float32x4_t {
        unsafe {
            let biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
            vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased)))
        }
    }
    #[inline(always)]
    unsafe fn sum(x: float32x4_t) -> f32 {
        unsafe { vaddvq_f32(x) }
    }
    #[inline(always)]
    unsafe fn highest(x: float32x4_t) -> f32 {
        unsafe { vmaxvq_f32(x) }
    }
    #[inline(always)]
    unsafe fn lowest(x: float32x4_t) -> f32 {
        unsafe { vminvq_f32(x) }
    }
    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, x: float32x4_t) {
        unsafe {
            let words = vmovn_u32(vcvtnq_u32_f32(x));
            let bytes = vmovn_u16(vcombine_u16(words, words));
            let four = vget_lane_u32::<0>(vreinterpret_u32_u8(bytes));
            to.cast::<u32>().write_unaligned(four);
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, x: float32x4_t) {
        unsafe {
            let bits = vreinterpretq_u32_f32(x);
            let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
            let half = vaddq_u32(odd, vdupq_n_u32(0x7FFF));
            vst1_u16(to, vshrn_n_u32::<16>(vaddq_u32(bits, half)));
        }
    }

    #[inline(always)]
    unsafe fn zero() -> int32x4_t {
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> int8x16_t {
        unsafe { vld1q_s8(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_i4(from: *const u8) -> [int8x16_t; 2] {
        unsafe {
            let both = vld1q_u8(from);
            let high = vandq_u8(both, vdupq_n_u8(0xF0));
            [vshlq_n_u8::<4>(both), high].map(|x| vreinterpretq_s8_u8(x))
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: int32x4_t, a: *const u8, b: int8x16_t) -> int32x4_t {
        // Rust has no stable functions for the two instructions yet.
        unsafe {
            let a = vreinterpretq_s8_s32(vdupq_n_s32(a.cast::<i32>().read_unaligned()));
            let mut sum = sum;
            if MIXED {
                asm!("usdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags));
                sum
            } else if DOT {
                asm!("sdot {0:v}.4s, {1:v}.16b, {2:v}.16b", inout(vreg) sum, in(vreg) a, in(vreg) b,
                    options(pure, nomem, nostack, preserves_flags));
                sum
            } else {
                // Products of 127 and 128 at most: two of them fit 16 bits with a sign.
                let low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
                let high = vpaddlq_s16(vmull_high_s8(a, b));
                vaddq_s32(sum, vpaddq_s32(low, high))
            }
        }
    }
    #[inline(always)]
    unsafe fn to_f32(x: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_f32_s32(x) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> float32x4_t {
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from))) }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u16) -> uint32x4_t {
        unsafe { vreinterpretq_u32_u16(vld1q_u16(from)) }
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: float32x4_t, a: *const u16, b: uint32x4_t) -> float32x4_t {
        unsafe {
            let both = a.cast::<u32>().read_unaligned();
            let low = vreinterpretq_f32_u32(vshlq_n_u32::<16>(b));
            let high = vreinterpretq_f32_u32(vandq_u32(b, vdupq_n_u32(0xFFFF_0000)));
            let a = [both << 16, both & 0xFFFF_0000].map(|x| vdupq_n_f32(f32::from_bits(x)));
            vfmaq_f32(vfmaq_f32(sum, a[0], low), a[1], high)
        }
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // A hint, which cannot fail.
        unsafe {
            asm!("prfm pldl1keep, [{0}]", in(reg) at, options(nostack, preserves_flags, readonly));
        }
    }
}
