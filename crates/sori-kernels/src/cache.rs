//! The decoder's keys and values, kept as 8-bit integers.
//!
//! A [`KvCache`] holds all layers' keys and values in blocks of 64 positions, which clones share until they write. In a
//! block every layer and head has one record, read front to back: keys packed as the weights of a product, values likewise,
//! and for each position the scale of its key, the scaled sum of its key, and the scale of its value.

use std::sync::Arc;

use crate::arch::Arch;
use crate::body::{PANEL, kernel};
use crate::buffer::{LINE, Line, bytes_of, lines, numbers_mut};
use crate::isa::Isa;
use crate::rows::LEAST;

/// Sizes of a cache: what a position has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Layers.
    pub layers: usize,
    /// Heads of each layer.
    pub heads: usize,
    /// Columns of each head.
    pub each: usize,
}

impl CacheShape {
    /// What is computed from these numbers does not overflow.
    fn check(self) {
        let fine = (1..=4096).contains(&self.layers) && (1..=4096).contains(&self.heads);
        assert!(
            fine && (1..=MOST).contains(&self.each),
            "sizes of a cache: {self:?}"
        );
    }

    pub(crate) fn keys(self) -> usize {
        self.each.next_multiple_of(4) * PANEL
    }

    pub(crate) fn wide(self) -> usize {
        self.each.next_multiple_of(PANEL)
    }

    /// Bytes before the scales, and of a whole record.
    pub(crate) fn record(self) -> (usize, usize) {
        let scales = self.keys() + self.wide() * PANEL;
        (scales, scales + 3 * PANEL * size_of::<f32>())
    }

    fn block(self) -> usize {
        self.layers * self.heads * self.record().1
    }
}

/// Columns that a head may have.
pub const MOST: usize = 256;

/// Keys and values of a sequence, in 8-bit integers; clones are cheap and independent.
#[derive(Clone)]
pub struct KvCache {
    shape: CacheShape,
    blocks: Vec<Arc<Vec<Line>>>,
    len: usize,
}

/// 64 positions of a cache, to be filled by whoever computes them.
pub struct KvBlock {
    shape: CacheShape,
    lines: Vec<Line>,
}

impl KvBlock {
    /// An empty block.
    ///
    /// # Panics
    /// When a head has no columns or more than 256, or there are no layers or heads, or more than 4096.
    pub fn new(shape: CacheShape) -> Self {
        shape.check();
        let lines = lines::<u8>(shape.block());
        Self { shape, lines }
    }

    /// Stores the keys and values of a layer at the first positions; a row of `kv` is `[k, v]`, each of `heads · each` columns.
    ///
    /// # Panics
    /// When there are more than 64 rows, they are not whole, or there is no such layer.
    pub fn store(&mut self, isa: Isa, layer: usize, kv: &[f32]) {
        let width = self.shape.heads * self.shape.each;
        let rows = kv.len() / (2 * width);
        assert!(
            rows <= PANEL && rows * 2 * width == kv.len(),
            "up to 64 whole rows"
        );
        for (row, kv) in kv.chunks_exact(2 * width).enumerate() {
            put(isa, self.shape, &mut self.lines, layer, row, kv);
        }
    }
}

impl KvCache {
    /// A cache that holds nothing.
    ///
    /// # Panics
    /// When a head has no columns or more than 256, or there are no layers or heads, or more than 4096.
    pub fn new(shape: CacheShape) -> Self {
        shape.check();
        Self {
            shape,
            blocks: Vec::new(),
            len: 0,
        }
    }

    /// A cache of blocks, of which the first `len` positions count.
    ///
    /// # Panics
    /// When the blocks are too few or of another shape.
    pub fn of(shape: CacheShape, blocks: Vec<KvBlock>, len: usize) -> Self {
        assert!(len <= blocks.len() * PANEL, "blocks for all positions");
        assert!(
            blocks.iter().all(|b| b.shape == shape),
            "blocks of one shape"
        );
        let blocks = blocks.into_iter().map(|b| Arc::new(b.lines)).collect();
        Self { shape, blocks, len }
    }

    /// Positions that count.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position counts.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stores what a layer computed for a position, `ahead` after the last that counts; `kv` is as a row of [`KvBlock::store`].
    ///
    /// # Panics
    /// When `kv` is not one row, there is no such layer, or the block of 64 before it is not there.
    pub fn store(&mut self, isa: Isa, layer: usize, ahead: usize, kv: &[f32]) {
        assert_eq!(kv.len(), 2 * self.shape.heads * self.shape.each, "one row");
        let at = self
            .len
            .checked_add(ahead)
            .expect("positions are counted from those that are stored");
        assert!(
            at / PANEL <= self.blocks.len(),
            "positions are stored in order"
        );
        if at / PANEL == self.blocks.len() {
            self.blocks.push(Arc::new(lines::<u8>(self.shape.block())));
        }
        let block = Arc::make_mut(&mut self.blocks[at / PANEL]);
        put(isa, self.shape, block, layer, at % PANEL, kv);
    }

    /// Sizes.
    pub fn shape(&self) -> CacheShape {
        self.shape
    }

    /// Blocks that are stored.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The record of one layer and head in each block.
    pub(crate) fn records(&self, layer: usize, head: usize) -> impl Iterator<Item = &[u8]> {
        assert!(
            layer < self.shape.layers && head < self.shape.heads,
            "a layer and head of the cache"
        );
        let (at, record) = (layer * self.shape.heads + head, self.shape.record().1);
        let blocks = self.blocks.iter();
        blocks.map(move |block| &bytes_of(block)[at * record..][..record])
    }

    /// Makes the next `count` positions count, once all layers have stored theirs.
    ///
    /// # Panics
    /// When they were not stored.
    pub fn advance(&mut self, count: usize) {
        self.len = self.len.saturating_add(count);
        assert!(
            self.len <= self.blocks.len() * PANEL,
            "positions are stored first"
        );
    }
}

/// Quantises the keys and values of one position.
fn put(isa: Isa, shape: CacheShape, block: &mut [Line], layer: usize, position: usize, kv: &[f32]) {
    assert!(layer < shape.layers, "layer {layer} of {}", shape.layers);
    let (scales, record) = shape.record();
    let (k, v) = kv.split_at(shape.heads * shape.each);
    let lines = record / LINE;
    let records = block[layer * shape.heads * lines..].chunks_exact_mut(lines);
    let mut whole = [0; MOST];
    for ((k, v), lines) in k.chunks(shape.each).zip(v.chunks(shape.each)).zip(records) {
        let bytes = numbers_mut::<u8>(lines);
        let (key_scale, sum) = quantise(isa, k, &mut whole);
        let (keys, rest) = bytes.split_at_mut(shape.keys());
        let fours = whole[..k.len()].chunks(4);
        for (group, four) in keys.chunks_exact_mut(4 * PANEL).zip(fours) {
            let place = &mut group[4 * position..][..4];
            match <[u8; 4]>::try_from(four) {
                Ok(four) => place.copy_from_slice(&four),
                Err(_) => place[..four.len()].copy_from_slice(four),
            }
        }
        let (value_scale, _) = quantise(isa, v, &mut whole);
        let values = &mut rest[position / 4 * 4 * shape.wide()..][..4 * shape.wide()];
        for (four, &q) in values.chunks_exact_mut(4).zip(&whole[..v.len()]) {
            four[position % 4] = q;
        }
        let scales = &mut numbers_mut::<f32>(&mut lines[scales / LINE..]);
        scales[position] = key_scale;
        scales[PANEL + position] = key_scale * sum;
        scales[2 * PANEL + position] = value_scale;
    }
}

/// Writes every number as −127 to 127, in two's complement; returns the scale and the sum of what was written. A number that
/// is not finite makes zeros of all.
fn quantise(isa: Isa, x: &[f32], out: &mut [u8; MOST]) -> (f32, f32) {
    assert!(x.len() <= MOST, "heads of at most {MOST} columns");
    let mut job = SignedJob {
        x: x.as_ptr(),
        len: x.len(),
        out: out.as_mut_ptr(),
        scale: 0.0,
        sum: 0.0,
    };
    // SAFETY: the length is the numbers' and at most the output's.
    unsafe { signed_kernel(isa, &mut job) };
    (job.scale, job.sum)
}

struct SignedJob {
    x: *const f32,
    len: usize,
    out: *mut u8,
    scale: f32,
    sum: f32,
}

kernel! {
    /// Quantises one head of one position.
    signed_kernel = signed_body(&mut SignedJob)
}

#[inline(always)]
unsafe fn signed_body<A: Arch, const N: usize>(job: &mut SignedJob) {
    // SAFETY: the caller's; what is beyond the last whole vector is worked on in a copy.
    unsafe {
        let whole = job.len / A::LANES * A::LANES;
        let mut rest = [0.0f32; 16];
        std::ptr::copy_nonoverlapping(job.x.add(whole), rest.as_mut_ptr(), job.len - whole);
        let part = |at: usize| {
            A::load(if at < whole {
                job.x.add(at)
            } else {
                rest.as_ptr()
            })
        };
        let (mut top, mut odd) = (A::splat(0.0), A::splat(0.0));
        for at in (0..job.len).step_by(A::LANES) {
            let x = part(at);
            top = A::max(top, A::max(x, A::sub(A::splat(0.0), x)));
            // What is not finite leaves something that is not a number.
            odd = A::add(odd, A::sub(x, x));
        }
        let largest = A::highest(top);
        let usable = largest > LEAST && A::sum(odd) == 0.0;
        if !usable {
            job.out.write_bytes(0, job.len);
            return;
        }
        job.scale = largest / 127.0;
        let per = A::splat(127.0 / largest);
        let mut sum = A::splat(0.0);
        for at in (0..job.len).step_by(A::LANES) {
            let x = A::round(A::mul(part(at), per));
            sum = A::add(sum, x);
            let mut bytes = [0u8; 16];
            A::store_u8(bytes.as_mut_ptr(), A::add(x, A::splat(128.0)));
            // With the top bit turned, x + 128 of 0 to 255 is x in two's complement.
            let bytes = u128::from_ne_bytes(bytes) ^ u128::from_ne_bytes([0x80; 16]);
            let count = (job.len - at).min(A::LANES);
            std::ptr::copy_nonoverlapping(bytes.to_ne_bytes().as_ptr(), job.out.add(at), count);
        }
        job.sum = A::sum(sum);
    }
}
