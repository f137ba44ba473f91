//! How fast this machine can multiply at best: the products of a register tile, again and again, with nothing to load.

use std::hint::black_box;

use crate::arch::Arch;
use crate::body::kernel;
use crate::isa::Isa;

/// Multiplies 8-bit integers in registers; returns how many products were added. Time it to learn a core's peak.
pub fn multiply_int8(isa: Isa, rounds: usize) -> usize {
    run(isa, rounds, true)
}

/// As [`multiply_int8`] with bf16 numbers.
pub fn multiply_bf16(isa: Isa, rounds: usize) -> usize {
    run(isa, rounds, false)
}

fn run(isa: Isa, rounds: usize, int8: bool) -> usize {
    let mut job = ProbeJob {
        rounds,
        int8,
        products: 0,
    };
    // SAFETY: the body reads arrays of its own.
    unsafe { probe(isa, &mut job) };
    job.products
}

struct ProbeJob {
    rounds: usize,
    int8: bool,
    products: usize,
}

kernel! {
    /// Multiplies in registers.
    probe = probe_body(&mut ProbeJob)
}

#[inline(always)]
unsafe fn probe_body<A: Arch, const N: usize>(job: &mut ProbeJob) {
    // As long as four vectors; what one product is made of must not serve another.
    let (bytes, pairs) = (black_box([1u8; 256]), black_box([0x3F80u16; 128]));
    // SAFETY: the arrays are long enough for every vector of a tile.
    let sum = unsafe {
        if job.int8 {
            let b: [A::B; N] =
                std::array::from_fn(|n| A::load_i8(bytes.as_ptr().add(4 * n * A::LANES)));
            let mut sums = [[A::zero(); N]; 4];
            for _ in 0..job.rounds {
                let a = black_box(bytes.as_ptr());
                for (m, sums) in sums.iter_mut().enumerate() {
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = A::dot(*sum, a.add(4 * m), b);
                    }
                }
            }
            sums.as_flattened()
                .iter()
                .map(|&x| A::sum(A::to_f32(x)))
                .sum::<f32>()
        } else {
            let b: [A::W; N] =
                std::array::from_fn(|n| A::load_pairs(pairs.as_ptr().add(2 * n * A::LANES)));
            let mut sums = [[A::splat(0.0); N]; 4];
            for _ in 0..job.rounds {
                let a = black_box(pairs.as_ptr());
                for (m, sums) in sums.iter_mut().enumerate() {
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = A::dot_pairs(*sum, a.add(2 * m), b);
                    }
                }
            }
            sums.as_flattened().iter().map(|&x| A::sum(x)).sum::<f32>()
        }
    };
    black_box(sum);
    job.products = job.rounds * 4 * N * A::LANES * if job.int8 { 4 } else { 2 };
}
