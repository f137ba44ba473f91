//! AVX2 with FMA, and AVX-VNNI where the CPU has it.
//!
//! The safety of every method is the one stated in [`super`].

#![allow(clippy::undocumented_unsafe_blocks)]

use std::arch::x86_64::*;

use super::Arch;

/// The set; the parameter says whether VPDPBUSD is there.
pub(crate) struct Avx2<const VNNI: bool>;

impl<const VNNI: bool> Arch for Avx2<VNNI> {
    const LANES: usize = 8;
    const ROWS: usize = 4;
    const TOP: f32 = if VNNI { 255.0 } else { 127.0 };
    type F = __m256;
    type I = __m256i;
    type B = __m256i;
    type W = __m256i;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, x: __m256) {
        unsafe { _mm256_storeu_ps(to, x) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn div(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn round(x: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x) }
    }
    #[inline(always)]
    unsafe fn scale(x: __m256, n: __m256) -> __m256 {
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }
    #[inline(always)]
    unsafe fn sum(x: __m256) -> f32 {
        let mut all = [0.0f32; 8];
        unsafe { _mm256_storeu_ps(all.as_mut_ptr(), x) };
        all.iter().sum()
    }
    #[inline(always)]
    unsafe fn highest(x: __m256) -> f32 {
        let mut all = [0.0f32; 8];
        unsafe { _mm256_storeu_ps(all.as_mut_ptr(), x) };
        all.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn lowest(x: __m256) -> f32 {
        let mut all = [0.0f32; 8];
        unsafe { _mm256_storeu_ps(all.as_mut_ptr(), x) };
        all.into_iter().fold(f32::INFINITY, f32::min)
    }
    #[inline(always)]
    unsafe fn store_u8(to: *mut u8, x: __m256) {
        unsafe {
            let whole = _mm256_cvtps_epi32(x);
            let [low, high] = [
                _mm256_castsi256_si128(whole),
                _mm256_extracti128_si256::<1>(whole),
            ];
            let words = _mm_packus_epi32(low, high);
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words));
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, x: __m256) {
        unsafe {
            let bits = _mm256_castps_si256(x);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
            let high = _mm256_srli_epi32::<16>(_mm256_add_epi32(bits, half));
            let [low, top] = [
                _mm256_castsi256_si128(high),
                _mm256_extracti128_si256::<1>(high),
            ];
            _mm_storeu_si128(to.cast(), _mm_packus_epi32(low, top));
        }
    }

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const u8) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_i4(from: *const u8) -> [__m256i; 2] {
        unsafe {
            let both = _mm256_loadu_si256(from.cast());
            [_mm256_slli_epi16::<4>(both), both]
                .map(|x| _mm256_and_si256(x, _mm256_set1_epi8(0xF0u8 as i8)))
        }
    }
    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: *const u8, b: __m256i) -> __m256i {
        unsafe {
            let a = _mm256_set1_epi32(a.cast::<i32>().read_unaligned());
            if VNNI {
                _mm256_dpbusd_avx_epi32(sum, a, b)
            } else {
                let pairs = _mm256_maddubs_epi16(a, b);
                _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            }
        }
    }
    #[inline(always)]
    unsafe fn to_f32(x: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(x) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m256 {
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_pairs(from: *const u16) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: __m256, a: *const u16, b: __m256i) -> __m256 {
        unsafe {
            let both = a.cast::<u32>().read_unaligned();
            let low = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(b));
            let top = _mm256_set1_epi32(0xFFFF_0000u32 as i32);
            let high = _mm256_castsi256_ps(_mm256_and_si256(b, top));
            let a = [both << 16, both & 0xFFFF_0000].map(|x| _mm256_set1_ps(f32::from_bits(x)));
            _mm256_fmadd_ps(a[1], high, _mm256_fmadd_ps(a[0], low, sum))
        }
    }
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
