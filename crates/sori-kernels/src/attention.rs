//! Attention of the encoder: every frame to all frames (Vaswani et al. 2017, section 3.2), in bf16 with sums in f32.

use crate::arch::Arch;
use crate::body::{PANEL, bf16_sums, exp2, kernel, with_rows};
use crate::buffer::{Line, lines, numbers, numbers_mut};
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
    pub fn new(frames: usize, heads: usize, each: usize) -> Self {
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
        let keys = self.frames.next_multiple_of(PANEL);
        scratch.scores.resize(6 * keys, 0.0);
        scratch.chances.resize(6 * keys, 0);
        // The last head's odd column is multiplied by zeros, yet it is read.
        scratch.q.clear();
        scratch.q.extend_from_slice(q);
        scratch.q.push(0);
        let job = AttendJob {
            q: scratch.q.as_ptr(),
            rows: q.len() / width,
            shape: self.shape,
            frames: self.frames,
            tiles: numbers::<u16>(&self.tiles).as_ptr(),
            scores: scratch.scores.as_mut_ptr(),
            chances: scratch.chances.as_mut_ptr(),
            out: out.as_mut_ptr(),
        };
        // SAFETY: the lengths were checked and made above.
        unsafe { attend(isa, &job) };
    }
}

/// Memory that [`KvTiles::attend`] works in.
#[derive(Default)]
pub struct AttendScratch {
    q: Vec<u16>,
    scores: Vec<f32>,
    chances: Vec<u16>,
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
                    out[2 * row..][..pair.len()].copy_from_slice(pair);
                }
                let value = &all[2 * width + head * each..][..each];
                let out = &mut v[row / 2 * 2 * wide..][..2 * wide];
                for (place, &x) in out[row % 2..].iter_mut().step_by(2).zip(value) {
                    *place = x;
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

#[inline(always)]
unsafe fn attend_rows<A: Arch, const M: usize, const N: usize>(
    job: &AttendJob,
    head: usize,
    row: usize,
) {
    let TileShape { heads, each } = job.shape;
    let (width, keys) = (heads * each, job.frames.next_multiple_of(PANEL));
    let (key_size, size) = job.shape.sizes();
    // SAFETY: the caller's.
    unsafe {
        let q = job.q.add(row * width + head * each);
        let tile = |index: usize| job.tiles.add((index * heads + head) * size);
        for index in 0..keys / PANEL {
            for part in (0..PANEL).step_by(N * A::LANES) {
                let mut sums = [[A::splat(0.0); N]; M];
                let k = tile(index).add(part * 2);
                bf16_sums::<A, M, N>(&mut sums, job.shape.pairs(), q, width, k);
                for (m, sums) in sums.into_iter().enumerate() {
                    for (n, sum) in sums.into_iter().enumerate() {
                        let at = m * keys + index * PANEL + part + n * A::LANES;
                        A::store(job.scores.add(at), sum);
                    }
                }
            }
        }
        let mut totals = [0.0; M];
        for (m, total) in totals.iter_mut().enumerate() {
            let scores = job.scores.add(m * keys);
            *total = chances::<A>(scores, job.frames, keys, job.chances.add(m * keys));
        }
        for column in (0..each).step_by(N * A::LANES) {
            let mut sums = [[A::splat(0.0); N]; M];
            for index in 0..keys / PANEL {
                let v = tile(index).add(key_size);
                // A panel of values is as wide as a head; its pairs lie `wide` columns apart.
                let p = job.chances.add(index * PANEL).cast_const();
                value_sums::<A, M, N>(&mut sums, p, keys, v.add(column * 2), job.shape.wide());
            }
            for (m, sums) in sums.into_iter().enumerate() {
                let whole = A::splat(1.0 / totals[m]);
                for (n, sum) in sums.into_iter().enumerate() {
                    let at = column + n * A::LANES;
                    let out = job.out.add((row + m) * width + head * each + at);
                    write::<A>(A::mul(sum, whole), out, each.saturating_sub(at));
                }
            }
        }
    }
}

/// Adds the values of one tile, weighted by their chances.
#[inline(always)]
unsafe fn value_sums<A: Arch, const M: usize, const N: usize>(
    sums: &mut [[A::F; N]; M],
    chances: *const u16,
    stride: usize,
    v: *const u16,
    wide: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if wide == PANEL {
            bf16_sums::<A, M, N>(sums, PANEL / 2, chances, stride, v);
            return;
        }
        for pair in 0..PANEL / 2 {
            let v = v.add(pair * 2 * wide);
            bf16_sums::<A, M, N>(sums, 1, chances.add(pair * 2), stride, v);
        }
    }
}

/// Turns scores (of base 2) into chances that are not yet divided by their sum, which it returns; frames beyond the last
/// get none.
#[inline(always)]
unsafe fn chances<A: Arch>(scores: *mut f32, frames: usize, keys: usize, out: *mut u16) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        for at in frames..keys {
            *scores.add(at) = f32::NEG_INFINITY;
        }
        let mut tops = [A::splat(f32::NEG_INFINITY); 4];
        for at in (0..keys).step_by(4 * A::LANES) {
            for (i, top) in tops.iter_mut().enumerate() {
                *top = A::max(*top, A::load(scores.add(at + i * A::LANES)));
            }
        }
        let top = A::max(A::max(tops[0], tops[1]), A::max(tops[2], tops[3]));
        let top = A::splat(A::highest(top));
        let mut sums = [A::splat(0.0); 4];
        for at in (0..keys).step_by(4 * A::LANES) {
            for (i, sum) in sums.iter_mut().enumerate() {
                let at = at + i * A::LANES;
                let x = exp2::<A>(A::sub(A::load(scores.add(at)), top));
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
