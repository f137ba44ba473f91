//! AVX-512 (F, BW, VL, DQ), with VNNI and BF16 where the CPU has them (Intel's manual, volume 2: VPDPBUSD, VDPBF16PS).
//!
//! The safety of every method is the one stated in [`super`].

#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::x86_64::*;
use std::mem::transmute;

use super::Arch;

/// The set; the parameters say which of the two extensions are there.
pub(crate) struct Avx512<const VNNI: bool, const BF16: bool>;

impl<const VNNI: bool, const BF16: bool> Arch for Avx512<VNNI, BF16> {
    const LANES: usize = 16;
    const ROWS: usize = 6;
    const TOP: f32 = if VNNI { 255.0 } else { 127.0 };
    type F = __m512;
    type I = __m512i;
    type B = __m512i;
    type W = __m512i;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: __m512) {
        unsafe { _mm512_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn round(x: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<0>(x) }
    }
    #[inline(always)]
    unsafe fn scale(x: __m512, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(x, n) }
    }
    #[inline(always)]
    unsafe fn sum(x: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(x) }
    }
    #[inline(always)]
    unsafe fn highest(x: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(x) }
    }
    #[inline(always)]
    unsafe fn lowest(x: __m512) -> f32 {
        unsafe { _mm512_reduce_min_ps(x) }
    }
    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, x: __m512) {
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x))) }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, x: __m512) {
        unsafe {
            let narrow: __m256i = if BF16 {
                transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(x))
            } else {
                let bits = _mm512_castps_si512(x);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF));
                _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_add_epi32(bits, half)))
            };
            _mm256_storeu_si256(to.cast(), narrow);
        }
    }

    #[inline(always)]
    unsafe fn zero() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_i4(from: *const u8) -> [__m512i; 2] {
        unsafe {
            let both = _mm512_loadu_si512(from.cast());
            [_mm512_slli_epi16::<4>(both), both]
                .map(|x| _mm512_and_si512(x, _mm512_set1_epi8(0xF0u8 as i8)))
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m512i, a: *const u8, b: __m512i) -> __m512i {
        unsafe {
            let a = _mm512_set1_epi32(a.cast::<i32>().read_unaligned());
            if VNNI {
                _mm512_dpbusd_epi32(sum, a, b)
            } else {
                let pairs = _mm512_maddubs_epi16(a, b);
                _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
            }
        }
    }
    #[inline(always)]
    unsafe fn to_f32(x: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512 {
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u16) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: __m512, a: *const u16, b: __m512i) -> __m512 {
        unsafe {
            let both = a.cast::<u32>().read_unaligned();
            if BF16 {
                let a = _mm512_set1_epi32(both as i32);
                let [a, b] = [a, b].map(|x| transmute::<__m512i, __m512bh>(x));
                _mm512_dpbf16_ps(sum, a, b)
            } else {
                let low = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(b));
                let top = _mm512_set1_epi32(0xFFFF_0000u32 as i32);
                let high = _mm512_castsi512_ps(_mm512_and_si512(b, top));
                let a = [both << 16, both & 0xFFFF_0000].map(|x| _mm512_set1_ps(f32::from_bits(x)));
                _mm512_fmadd_ps(a[1], high, _mm512_fmadd_ps(a[0], low, sum))
            }
        }
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
