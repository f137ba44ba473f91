//! Attention of the encoder: every frame to all frames (Vaswani et al. 2017, section 3.2), in bf16 with sums in f32 and a
//! running softmax (Milakov and Gimelshein 2018).

use std::ops::Range;

use crate::arch::Arch;
use crate::body::{PANEL, bf16_sums, exp2, kernel, with_rows};
use crate::buffer::{Line, lines, numbers, numbers_mut};
use crate::cache::MOST;
use crate::isa::Isa;
use crate::rows::to_bf16;

/// The keys and values of one layer for all frames, packed for [`KvTiles::attend`] in tiles of 64 frames and one head.
pub struct KvTiles {
    shape: TileShape,
    frames: usize,
    tiles: Vec<Line>,
}

#[derive(Clone, Copy)]
struct TileShape {
    heads: usize,
    /// Columns of a head.
    each: usize,
}

/// The packed keys and values of 64 frames, all heads.
pub struct KvTile<'a> {
    shape: TileShape,
    data: &'a mut [Line],
}

impl TileShape {
    fn pairs(self) -> usize {
        self.each.div_ceil(2)
    }

    /// Columns of a tile of values.
    fn wide(self) -> usize {
        self.each.next_multiple_of(PANEL)
    }

    /// Numbers in the keys of one tile, and in keys and values.
    fn sizes(self) -> (usize, usize) {
        let keys = self.pairs() * 2 * PANEL;
        (keys, keys + self.wide() * PANEL)
    }
}

impl KvTiles {
    /// Room for `frames` frames of `heads` heads of `each` columns.
    ///
    /// # Panics
    /// When a head has no columns or more than 256, or there are no frames or heads, or beyond 2²⁰ and 2¹².
    pub fn new(frames: usize, heads: usize, each: usize) -> Self {
        // What is computed from these numbers does not overflow.
        let fine = (1..=1 << 20).contains(&frames) && (1..=1 << 12).contains(&heads);
        assert!(
            fine && (1..=MOST).contains(&each),
            "{frames} frames, {heads} heads of {each}"
        );
        let shape = TileShape { heads, each };
        let tiles = frames.div_ceil(PANEL) * heads;
        Self {
            shape,
            frames,
            tiles: lines::<u16>(tiles * shape.sizes().1),
        }
    }

    /// The tiles in order; each takes 64 frames, the last one what is left.
    pub fn tiles_mut(&mut self) -> impl Iterator<Item = KvTile<'_>> {
        let shape = self.shape;
        let tile = shape.heads * shape.sizes().1 * size_of::<u16>() / size_of::<Line>();
        self.tiles
            .chunks_exact_mut(tile)
            .map(move |data| KvTile { shape, data })
    }

    /// Attends from some rows of queries to all frames; all heads, in the caller's thread.
    ///
    /// `q` are rows of `heads · each` bf16 numbers, already multiplied by log₂e / √each; `out` are as many rows.
    /// `scratch` is grown to what is needed and may hold anything.
    ///
    /// # Panics
    /// When `q` and `out` are not whole rows of the same number.
    pub fn attend(&self, isa: Isa, q: &[u16], out: &mut [f32], scratch: &mut AttendScratch) {
        let width = self.shape.heads * self.shape.each;
        assert!(
            q.len() == out.len() && q.len().is_multiple_of(width),
            "whole rows in and out"
        );
        scratch.scores.resize(ROWS * SEGMENT * PANEL, 0.0);
        scratch.chances.resize(ROWS * SEGMENT * PANEL, 0);
        scratch.values.resize(ROWS * self.shape.wide(), 0.0);
        let job = AttendJob {
            q: q.as_ptr(),
            rows: q.len() / width,
            shape: self.shape,
            frames: self.frames,
            tiles: numbers::<u16>(&self.tiles).as_ptr(),
            scores: scratch.scores.as_mut_ptr(),
            chances: scratch.chances.as_mut_ptr(),
            values: scratch.values.as_mut_ptr(),
            out: out.as_mut_ptr(),
        };
        // SAFETY: the lengths were checked and made above.
        unsafe { attend(isa, &job) };
    }
}

/// Memory that [`KvTiles::attend`] works in.
#[derive(Default)]
pub struct AttendScratch {
    scores: Vec<f32>,
    chances: Vec<u16>,
    values: Vec<f32>,
}

impl KvTile<'_> {
    /// Packs up to 64 rows of keys and values; what a row holds is `[q, k, v]`, each of `heads · each` columns.
    ///
    /// # Panics
    /// When there are more than 64 rows or they are not whole.
    pub fn store(&mut self, isa: Isa, qkv: &[f32], narrow: &mut Vec<u16>) {
        let TileShape { heads, each } = self.shape;
        let width = heads * each;
        let rows = qkv.len() / (3 * width);
        assert!(
            rows <= PANEL && qkv.len() == rows * 3 * width,
            "up to 64 whole rows"
        );
        narrow.resize(qkv.len(), 0);
        to_bf16(isa, qkv, 1.0, narrow);
        let (keys, size) = self.shape.sizes();
        let wide = self.shape.wide();
        let tiles = numbers_mut::<u16>(self.data).chunks_exact_mut(size);
        for (head, tile) in tiles.enumerate() {
            let (k, v) = tile.split_at_mut(keys);
            for (row, all) in narrow.chunks_exact(3 * width).enumerate() {
                let key = &all[width + head * each..][..each];
                for (pair, out) in key.chunks(2).zip(k.chunks_exact_mut(2 * PANEL)) {
                    let out = &mut out[2 * row..][..2];
                    match *pair {
                        [a, b] => (out[0], out[1]) = (a, b),
                        [a] => out[0] = a,
                        _ => {}
                    }
                }
            }
            for (two, out) in narrow.chunks(6 * width).zip(v.chunks_exact_mut(2 * wide)) {
                let value = |row: usize| &two[(3 * row + 2) * width + head * each..][..each];
                let pairs = out.chunks_exact_mut(2).zip(value(0));
                if two.len() == 6 * width {
                    pairs
                        .zip(value(1))
                        .for_each(|((out, &a), &b)| (out[0], out[1]) = (a, b));
                } else {
                    pairs.for_each(|(out, &a)| (out[0], out[1]) = (a, 0));
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct AttendJob {
    q: *const u16,
    rows: usize,
    shape: TileShape,
    frames: usize,
    tiles: *const u16,
    scores: *mut f32,
    chances: *mut u16,
    values: *mut f32,
    out: *mut f32,
}

kernel! {
    /// Attends from rows of queries to all tiles.
    attend = attend_body(&AttendJob)
}

#[inline(always)]
unsafe fn attend_body<A: Arch, const N: usize>(job: &AttendJob) {
    for head in 0..job.shape.heads {
        let mut row = 0;
        while row < job.rows {
            let rows = (job.rows - row).min(A::ROWS);
            // SAFETY: the rows lie inside the job's, and the scratch holds six.
            unsafe { with_rows!(rows, attend_rows::<A, N>(job, head, row)) };
            row += rows;
        }
    }
}

/// Rows that are attended at once, at most.
const ROWS: usize = 6;
/// Tiles of keys between two looks at the highest score: what `M` rows score in them stays in the first-level cache.
const SEGMENT: usize = 8;

#[inline(always)]
unsafe fn attend_rows<A: Arch, const M: usize, const N: usize>(
    job: &AttendJob,
    head: usize,
    row: usize,
) {
    let TileShape { heads, each } = job.shape;
    let (width, wide) = (heads * each, job.shape.wide());
    let tiles = job.frames.div_ceil(PANEL);
    // SAFETY: the caller's.
    unsafe {
        // Rows at a distance that the compiler knows leave it registers for sums.
        let mut q = [0u16; ROWS * MOST];
        for (m, q) in q.chunks_exact_mut(MOST).enumerate().take(M) {
            let from = job.q.add((row + m) * width + head * each);
            std::ptr::copy_nonoverlapping(from, q.as_mut_ptr(), each);
        }
        let q = q.as_ptr();
        let (mut tops, mut totals) = ([f32::NEG_INFINITY; M], [0.0; M]);
        job.values.write_bytes(0, M * wide);
        for first in (0..tiles).step_by(SEGMENT) {
            let tiles = first..(first + SEGMENT).min(tiles);
            let highest = score::<A, M, N>(job, q, head, tiles.clone());
            let mut shrinks = [1.0; M];
            for m in 0..M {
                let top = highest[m].max(tops[m]);
                shrinks[m] = power::<A>(tops[m] - top);
                tops[m] = top;
                let at = m * SEGMENT * PANEL;
                let (scores, out) = (job.scores.add(at), job.chances.add(at));
                totals[m] = totals[m] * shrinks[m] + chances::<A>(scores, top, tiles.len(), out);
            }
            for column in (0..each).step_by(N * A::LANES) {
                gather::<A, M, N>(job, head, tiles.clone(), column, &shrinks);
            }
        }
        for (m, total) in totals.into_iter().enumerate() {
            let whole = A::splat(1.0 / total);
            for at in (0..each).step_by(A::LANES) {
                let x = A::mul(A::load(job.values.add(m * wide + at)), whole);
                write::<A>(
                    x,
                    job.out.add((row + m) * width + head * each + at),
                    each - at,
                );
            }
        }
    }
}

/// `2ˣ` of one number, as [`exp2`] has it.
#[inline(always)]
unsafe fn power<A: Arch>(x: f32) -> f32 {
    let mut all = [0.0f32; 16];
    // SAFETY: the caller's; `all` is as long as the longest vector.
    unsafe { A::store(all.as_mut_ptr(), exp2::<A, 3>(A::splat(x))) };
    all[0]
}

/// Fills the scores of some tiles, for `M` rows, and returns the highest of each row; frames beyond the last have none.
#[inline(always)]
unsafe fn score<A: Arch, const M: usize, const N: usize>(
    job: &AttendJob,
    q: *const u16,
    head: usize,
    tiles: Range<usize>,
) -> [f32; M] {
    let (heads, size) = (job.shape.heads, job.shape.sizes().1);
    // SAFETY: the caller's.
    unsafe {
        let mut tops = [A::splat(f32::NEG_INFINITY); M];
        for index in tiles.clone() {
            let k = job.tiles.add((index * heads + head) * size);
            let from = (index - tiles.start) * PANEL;
            for part in (0..PANEL).step_by(N * A::LANES) {
                let mut sums = [[A::splat(0.0); N]; M];
                let k = k.add(part * 2);
                let next = k.wrapping_add(heads * size);
                bf16_sums::<A, M, N>(&mut sums, job.shape.pairs(), q, MOST, k, next);
                for (m, sums) in sums.into_iter().enumerate() {
                    for (n, sum) in sums.into_iter().enumerate() {
                        let at = part + n * A::LANES;
                        let scores = job.scores.add(m * SEGMENT * PANEL + from + at);
                        A::store(scores, sum);
                        if (index + 1) * PANEL <= job.frames {
                            tops[m] = A::max(tops[m], sum);
                        }
                    }
                }
            }
        }
        let last = tiles.end * PANEL > job.frames;
        std::array::from_fn(|m| {
            let mut top = A::highest(tops[m]);
            if last {
                // The last tile holds frames and what lies beyond them.
                let scores = job.scores.add(m * SEGMENT * PANEL);
                let (partial, end) = ((tiles.end - 1 - tiles.start) * PANEL, tiles.len() * PANEL);
                let frames = job.frames - tiles.start * PANEL;
                for at in partial..frames {
                    top = top.max(*scores.add(at));
                }
                for at in frames..end {
                    *scores.add(at) = f32::NEG_INFINITY;
                }
            }
            top
        })
    }
}

/// Adds the values of some tiles, weighted by their chances, to what is summed, which shrinks first.
#[inline(always)]
unsafe fn gather<A: Arch, const M: usize, const N: usize>(
    job: &AttendJob,
    head: usize,
    tiles: Range<usize>,
    column: usize,
    shrinks: &[f32; M],
) {
    let (heads, wide) = (job.shape.heads, job.shape.wide());
    let (key_size, size) = job.shape.sizes();
    // SAFETY: the caller's.
    unsafe {
        let mut sums = [[A::splat(0.0); N]; M];
        for (m, sums) in sums.iter_mut().enumerate() {
            for (n, sum) in sums.iter_mut().enumerate() {
                let value = A::load(job.values.add(m * wide + column + n * A::LANES));
                *sum = A::mul(value, A::splat(shrinks[m]));
            }
        }
        for index in tiles.clone() {
            // A panel of values is as wide as a head; its pairs lie `wide` columns apart.
            let v = job
                .tiles
                .add((index * heads + head) * size + key_size + column * 2);
            let p = job.chances.add((index - tiles.start) * PANEL).cast_const();
            value_sums::<A, M, N>(&mut sums, p, v, wide, v.wrapping_add(heads * size));
        }
        for (m, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                A::store(job.values.add(m * wide + column + n * A::LANES), sum);
            }
        }
    }
}

/// Adds the values of one tile, weighted by their chances.
#[inline(always)]
unsafe fn value_sums<A: Arch, const M: usize, const N: usize>(
    sums: &mut [[A::F; N]; M],
    chances: *const u16,
    v: *const u16,
    wide: usize,
    next: *const u16,
) {
    const STRIDE: usize = SEGMENT * PANEL;
    // SAFETY: the caller's.
    unsafe {
        if wide == PANEL {
            bf16_sums::<A, M, N>(sums, PANEL / 2, chances, STRIDE, v, next);
            return;
        }
        for pair in 0..PANEL / 2 {
            let v = v.add(pair * 2 * wide);
            bf16_sums::<A, M, N>(sums, 1, chances.add(pair * 2), STRIDE, v, v);
        }
    }
}

/// Turns the scores (of base 2) of some tiles into chances that are not yet divided by their sum, which it returns.
#[inline(always)]
unsafe fn chances<A: Arch>(scores: *const f32, top: f32, tiles: usize, out: *mut u16) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let (top, mut sums) = (A::splat(top), [A::splat(0.0); 4]);
        for at in (0..tiles * PANEL).step_by(4 * A::LANES) {
            for (i, sum) in sums.iter_mut().enumerate() {
                let at = at + i * A::LANES;
                // What follows is rounded to 8 bits: a third power is enough.
                let x = exp2::<A, 3>(A::sub(A::load(scores.add(at)), top));
                *sum = A::add(*sum, x);
                A::store_bf16(out.add(at), x);
            }
        }
        A::sum(A::add(A::add(sums[0], sums[1]), A::add(sums[2], sums[3])))
    }
}

/// Stores the first `room` values of a vector.
#[inline(always)]
pub(crate) unsafe fn write<A: Arch>(x: A::F, out: *mut f32, room: usize) {
    // SAFETY: the caller's; `spare` is as long as the longest vector.
    unsafe {
        if room >= A::LANES {
            A::store(out, x);
        } else if room > 0 {
            let mut spare = [0.0f32; 16];
            A::store(spare.as_mut_ptr(), x);
            std::ptr::copy_nonoverlapping(spare.as_ptr(), out, room);
        }
    }
}
