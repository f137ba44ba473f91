//! Every kernel, on every instruction set of this machine, against plain loops in f64 over odd sizes.

use proptest::prelude::*;
use sori_kernels::{
    AttendScratch, Bf16Matrix, Bits, CacheShape, Isa, KvBlock, KvCache, KvTiles, Looking, Norm,
    QuantMatrix, QuantRows, Team, Then, attend_cached, head_scores, norm, to_bf16,
};

/// Numbers of −1 to 1 from a seed.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn bf16(x: f32) -> f32 {
    let mut out = [0];
    to_bf16(named("portable"), &[x], 1.0, &mut out);
    f32::from_bits(u32::from(out[0]) << 16)
}

fn named(name: &str) -> Isa {
    Isa::named(name).expect("every machine has the portable set")
}

fn erf_gelu(x: f64) -> f64 {
    // erf by its series; beyond 4 it is one to eight digits.
    let z = x / std::f64::consts::SQRT_2;
    if z.abs() > 4.0 {
        return x.max(0.0);
    }
    let (mut term, mut sum) = (z, z);
    for n in 1..60 {
        term *= -z * z / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    0.5 * x * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * sum)
}

/// What a value should be, and the size of what it was made from: a sum whose terms cancel errs by them, not by itself.
#[derive(Clone, Copy, Default)]
struct Want {
    value: f64,
    size: f64,
}

#[track_caller]
fn close(got: &[f32], want: &[Want], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (&g, w)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(g) - w.value).abs();
        assert!(
            error <= tolerance * w.size,
            "{what}: value {i} is {g}, not {} (of {})",
            w.value,
            w.size
        );
    }
}

/// What a product should be, given what stands in the output before; its size is that of the row and of the weights.
fn plain(
    x: &[f32],
    w: &[f32],
    bias: &[f32],
    inputs: usize,
    then: Then,
    before: &[f32],
) -> Vec<Want> {
    let outputs = bias.len();
    let mut want = Vec::new();
    for (row, x) in x.chunks(inputs).enumerate() {
        let highest = x.iter().fold(0.0f64, |m, &x| m.max(f64::from(x).abs()));
        for (o, w) in w.chunks(inputs).enumerate() {
            let dot: f64 = x
                .iter()
                .zip(w)
                .map(|(&a, &b)| f64::from(a) * f64::from(b))
                .sum();
            let y = dot + f64::from(bias[o]);
            let before = f64::from(before[row * outputs + o]);
            let value = match then {
                Then::Store => y,
                Then::Gelu => erf_gelu(y),
                Then::Add => y + before,
            };
            // The rest is for the rounding of sums and of erf.
            let rest = 0.02 * (1.0 + f64::from(bias[o]).abs() + before.abs());
            let size = highest * length(w) + rest;
            want.push(Want { value, size });
        }
    }
    want
}

/// The Euclidean norm.
fn length(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

fn thens() -> impl Strategy<Value = Then> {
    prop_oneof![Just(Then::Store), Just(Then::Gelu), Just(Then::Add)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn integer_products(bits in prop_oneof![Just(Bits::Eight), Just(Bits::Four)], (rows, inputs, outputs) in (1usize..20, 1usize..150, 1usize..200), then in thens(), seed: u64) {
        let (x, w, bias) = (noise(rows * inputs, seed), noise(inputs * outputs, seed ^ 1), noise(outputs, seed ^ 2));
        let before = noise(rows * outputs, seed ^ 3);
        let matrix = QuantMatrix::pack(&w, inputs, Some(&bias), bits);
        // The weights that the matrix really has: what is left is the rounding of activations.
        let mut kept = vec![0.0; w.len()];
        for (o, row) in kept.chunks_mut(inputs).enumerate() {
            matrix.row(o, row);
        }
        let want = plain(&x, &kept, &bias, inputs, then, &before);
        let team = Team::new(3);
        for isa in Isa::available() {
            let mut a = QuantRows::default();
            a.quantise(isa, &x, inputs);
            let mut out = before.clone();
            matrix.multiply(isa, &a, then, &mut out);
            // Seven standard deviations of an activation's error: a step (of 127 in twice the highest) by the root of 12.
            let tolerance = 7.0 * 2.0 / 127.0 / 12f64.sqrt();
            close(&out, &want, tolerance, &format!("{isa:?} {rows}x{inputs}x{outputs} {then:?}"));
            let mut shared = before.clone();
            matrix.multiply_by(&team, isa, &a, then, &mut shared);
            prop_assert_eq!(&out, &shared);
        }
    }

    #[test]
    fn bf16_products((rows, inputs, outputs) in (1usize..20, 1usize..150, 1usize..200), then in thens(), seed: u64) {
        let round = |x: Vec<f32>| x.into_iter().map(bf16).collect::<Vec<_>>();
        let (x, w) = (round(noise(rows * inputs, seed)), round(noise(inputs * outputs, seed ^ 1)));
        let (bias, before) = (noise(outputs, seed ^ 2), noise(rows * outputs, seed ^ 3));
        let matrix = Bf16Matrix::pack(&w, inputs, &bias);
        let want = plain(&x, &w, &bias, inputs, then, &before);
        for isa in Isa::available() {
            let mut a = vec![0; x.len() + 1];
            to_bf16(isa, &x, 1.0, &mut a[..x.len()]);
            let mut out = before.clone();
            matrix.multiply(isa, &a, inputs, then, &mut out);
            close(&out, &want, 3e-5, &format!("{isa:?} {rows}x{inputs}x{outputs} {then:?}"));
        }
    }

    #[test]
    fn norms(rows in 1usize..4, width in 1usize..100, seed: u64) {
        let (x, weight, bias) = (noise(rows * width, seed), noise(width, seed ^ 1), noise(width, seed ^ 2));
        let mut want = Vec::new();
        for x in x.chunks(width) {
            let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
            let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (variance + 1e-5).sqrt();
            want.extend((0..width).map(|i| {
                let value = (f64::from(x[i]) - mean) * scale * f64::from(weight[i]) + f64::from(bias[i]);
                Want { value, size: 1.0 + scale }
            }));
        }
        for isa in Isa::available() {
            let mut out = vec![0.0; x.len()];
            norm(isa, &x, Norm { weight: &weight, bias: &bias }, &mut out);
            close(&out, &want, 1e-5, &format!("{isa:?} {rows}x{width}"));
        }
    }

    #[test]
    fn encoder_attention((frames, heads, each) in (1usize..200, 1usize..4, 1usize..130), seed: u64) {
        let width = heads * each;
        let qkv: Vec<f32> = noise(frames * 3 * width, seed).into_iter().map(|x| bf16(x * 2.0)).collect();
        let part = |frame: usize, which: usize, head: usize| &qkv[(frame * 3 + which) * width + head * each..][..each];
        let softer = std::f32::consts::LOG2_E / (each as f32).sqrt();
        let mut want = vec![Want::default(); frames * width];
        for (frame, head) in (0..frames).flat_map(|f| (0..heads).map(move |h| (f, h))) {
            let scores: Vec<f64> = (0..frames).map(|key| {
                let dot: f64 = part(frame, 0, head).iter().zip(part(key, 1, head))
                    .map(|(&q, &k)| f64::from(bf16(q * softer)) * f64::from(k)).sum();
                dot.exp2()
            }).collect();
            let total: f64 = scores.iter().sum();
            for (key, score) in scores.iter().enumerate() {
                for (c, &v) in part(key, 2, head).iter().enumerate() {
                    let want = &mut want[frame * width + head * each + c];
                    want.value += score / total * f64::from(v);
                    want.size += score / total * f64::from(v).abs();
                }
            }
        }
        for isa in Isa::available() {
            let mut tiles = KvTiles::new(frames, heads, each);
            for (mut tile, rows) in tiles.tiles_mut().zip(qkv.chunks(64 * 3 * width)) {
                tile.store(isa, rows, &mut Vec::new());
            }
            let q: Vec<f32> = qkv.chunks(3 * width).flat_map(|row| &row[..width]).copied().collect();
            let mut narrow = vec![0; q.len()];
            to_bf16(isa, &q, softer, &mut narrow);
            let mut out = vec![0.0; q.len()];
            tiles.attend(isa, &narrow, &mut out, &mut AttendScratch::default());
            // Chances are rounded to 8 bits, and powers are of the third order: at most 2⁻⁸ and 6e-4 of each.
            close(&out, &want, 4.5e-3, &format!("{isa:?} {frames} frames, {heads} heads of {each}"));
        }
    }

    #[test]
    fn cached_attention((past, rows, more) in (0usize..150, 1usize..8, 0usize..2), (heads, each) in (1usize..3, 1usize..130), seed: u64) {
        let shape = CacheShape { layers: 2, heads, each };
        let (width, len) = (heads * each, past + rows);
        let (kv, q) = (noise(len * 2 * width, seed), noise(rows * width, seed ^ 1));
        let sees = |row: usize| if more == 1 { past + row + 1 } else { len };
        let scale = 1.0 / (each as f64).sqrt();
        let (mut want, mut all_scores) = (vec![Want::default(); rows * width], Vec::new());
        for (row, head) in (0..rows).flat_map(|r| (0..heads).map(move |h| (r, h))) {
            let at = |position: usize, which: usize| &kv[(position * 2 + which) * width + head * each..][..each];
            let score = |position: usize| q[row * width + head * each..][..each].iter().zip(at(position, 0))
                .map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() * scale;
            if head == heads - 1 {
                all_scores.extend((0..len).map(|p| Want { value: score(p), size: 1.0 }));
            }
            let chances: Vec<f64> = (0..sees(row)).map(|p| score(p).exp()).collect();
            let total: f64 = chances.iter().sum();
            let highest = chances.iter().copied().fold(0.0, f64::max) / total;
            for (position, chance) in chances.iter().enumerate() {
                for (c, &v) in at(position, 1).iter().enumerate() {
                    let want = &mut want[row * width + head * each + c];
                    want.value += chance / total * f64::from(v);
                    want.size = highest * (chances.len() as f64).sqrt();
                }
            }
        }
        let team = Team::new(2);
        for isa in Isa::available() {
        let mut cache = KvCache::new(shape);
        for layer in 0..2 {
            let sign = if layer == 1 { 1.0 } else { -0.5 };
            let kv: Vec<f32> = kv.iter().map(|x| x * sign).collect();
            for (ahead, row) in kv.chunks(2 * width).enumerate() {
                cache.store(isa, layer, ahead, row);
            }
        }
        cache.advance(len);
        let looking = Looking { cache: &cache, rows, first_sees: sees(0), more };
            let mut out = vec![0.0; rows * width];
            attend_cached(&team, isa, 1, &[looking], &q, &mut out);
            // Keys, values, queries and chances each have 8 bits (7 on the weakest sets).
            close(&out, &want, 0.025, &format!("{isa:?} {past}+{rows}, {heads} heads of {each}"));
            let scores = head_scores(isa, &cache, 1, heads - 1, &q);
            close(&scores, &all_scores, 0.025, &format!("{isa:?} scores"));
        }
    }
}

#[test]
fn scores_that_rise_over_a_window_shrink_what_was_summed() {
    // Longer than one and two segments, with keys that match the better the later they come; the tiles are used twice.
    for (frames, first) in [(530, 0.0), (1025, 1.0)] {
        let rising = |frame: usize| (frame as f32 / 40.0 + first).min(20.0);
        let qkv = |scale: f32| -> Vec<f32> {
            (0..frames)
                .flat_map(|f| [[2.0; 4], [rising(f) * scale; 4], [f as f32; 4]].concat())
                .collect()
        };
        for isa in Isa::available() {
            let mut tiles = KvTiles::new(frames, 1, 4);
            let mut out = vec![0.0; frames * 4];
            for scale in [-1.0, 1.0] {
                let qkv = qkv(scale);
                for (mut tile, rows) in tiles.tiles_mut().zip(qkv.chunks(64 * 12)) {
                    tile.store(isa, rows, &mut Vec::new());
                }
                let mut q = vec![0; frames * 4];
                to_bf16(
                    isa,
                    &vec![2.0; frames * 4],
                    std::f32::consts::LOG2_E / 2.0,
                    &mut q,
                );
                tiles.attend(isa, &q, &mut out, &mut AttendScratch::default());
            }
            let softer = f64::from(bf16(std::f32::consts::LOG2_E)) * 4.0;
            let chances: Vec<f64> = (0..frames)
                .map(|f| (f64::from(bf16(rising(f))) * softer).exp2())
                .collect();
            let mean = chances
                .iter()
                .enumerate()
                .map(|(f, c)| f64::from(bf16(f as f32)) * c)
                .sum::<f64>()
                / chances.iter().sum::<f64>();
            close(
                &out,
                &vec![
                    Want {
                        value: mean,
                        size: mean
                    };
                    frames * 4
                ],
                4.5e-3,
                &format!("{isa:?} {frames}"),
            );
        }
    }
}

#[test]
fn a_number_that_is_none_makes_zeros_of_its_row_wherever_it_stands() {
    let matrix = QuantMatrix::pack(&noise(40, 1), 40, Some(&[0.5]), Bits::Eight);
    for (isa, place) in Isa::available().flat_map(|isa| (0..40).map(move |place| (isa, place))) {
        let mut row = noise(40, 2);
        row[place] = if place % 2 == 0 {
            f32::NAN
        } else {
            f32::NEG_INFINITY
        };
        let (mut a, mut out) = (QuantRows::default(), [0.0]);
        a.quantise(isa, &row, 40);
        matrix.multiply(isa, &a, Then::Store, &mut out);
        assert_eq!(out, [0.5], "{isa:?} place {place}");
        a.quantise(isa, &[1e-38; 40], 40);
        matrix.multiply(isa, &a, Then::Store, &mut out);
        assert_eq!(out, [0.5], "{isa:?} too small for a scale");
    }
}

#[test]
fn rows_of_zeros_and_of_infinity_give_the_bias() {
    let (w, bias) = (noise(64, 1), noise(8, 2));
    for bits in [Bits::Eight, Bits::Four] {
        let matrix = QuantMatrix::pack(&w, 8, Some(&bias), bits);
        for isa in Isa::available() {
            for row in [[0.0; 8], [f32::INFINITY; 8], [f32::NAN; 8]] {
                let mut a = QuantRows::default();
                a.quantise(isa, &row, 8);
                let mut out = [0.0; 8];
                matrix.multiply(isa, &a, Then::Store, &mut out);
                assert_eq!(out[..], bias[..], "{isa:?} {bits:?} {row:?}");
            }
        }
    }
}

/// Weights of 4 bits are near those packed; the largest of a group may be cut where that lowers the squared error.
#[test]
fn weights_of_four_bits_are_near_those_packed() {
    for inputs in [1, 31, 32, 33, 100] {
        let w = noise(inputs * 70, inputs as u64);
        let matrix = QuantMatrix::pack(&w, inputs, None, Bits::Four);
        let mut row = vec![0.0; inputs];
        for (output, w) in w.chunks(inputs).enumerate() {
            matrix.row(output, &mut row);
            let mut error = 0.0f32;
            for (w, row) in w.chunks(32).zip(row.chunks(32)) {
                let largest = w.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                let most = w
                    .iter()
                    .zip(row)
                    .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
                assert!(
                    most <= 2.0 / 9.0 * largest,
                    "{inputs} inputs, row {output}: {most} of {largest}"
                );
                error += w.iter().zip(row).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            }
            // A step of an eighth of the largest, by the root of 12.
            let size = (length(w) as f32).powi(2);
            assert!(
                error <= 0.01 * size + 1e-9,
                "{inputs} inputs, row {output}: {error} of {size}"
            );
        }
        let (panels, columns) = matrix.parts();
        let again = |inputs| {
            QuantMatrix::from_parts([70, inputs], Bits::Four, panels.clone(), columns.clone())
        };
        assert!(again(inputs).is_some() && again(inputs + 32).is_none());
    }
}

#[test]
fn clones_of_a_cache_are_independent_and_blocks_equal_rows() {
    let shape = CacheShape {
        layers: 1,
        heads: 2,
        each: 8,
    };
    let (first, second) = (noise(70 * 32, 1), noise(32, 2));
    let mut one = KvCache::new(shape);
    for (ahead, row) in first.chunks(32).enumerate() {
        one.store(Isa::best(), 0, ahead, row);
    }
    one.advance(70);
    let mut other = one.clone();
    other.store(Isa::best(), 0, 0, &second);
    other.advance(1);
    let q = noise(16, 3);
    let isa = Isa::best();
    let before = head_scores(isa, &one, 0, 1, &q);
    assert_eq!(before[..], head_scores(isa, &other, 0, 1, &q)[..70]);
    one.store(Isa::best(), 0, 0, &noise(32, 4));
    one.advance(1);
    assert_ne!(
        head_scores(isa, &one, 0, 1, &q)[70],
        head_scores(isa, &other, 0, 1, &q)[70]
    );
    let blocks = first.chunks(64 * 32).map(|rows| {
        let mut block = KvBlock::new(shape);
        block.store(Isa::best(), 0, rows);
        block
    });
    let whole = KvCache::of(shape, blocks.collect(), 70);
    assert_eq!(before, head_scores(isa, &whole, 0, 1, &q));
}
