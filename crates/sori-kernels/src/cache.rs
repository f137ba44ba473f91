//! The decoder's keys and values, kept as 8-bit integers.
//!
//! A [`KvCache`] holds all layers' keys and values in blocks of 64 positions, which clones share until they write. In a
//! block every layer and head has one record, read front to back: keys packed as the weights of a product, values likewise,
//! and for each position the scale of its key, the scaled sum of its key, and the scale of its value.

use std::sync::Arc;

use crate::body::PANEL;
use crate::buffer::{LINE, Line, bytes_of, lines, numbers_mut};

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
    pub fn new(shape: CacheShape) -> Self {
        let lines = lines::<u8>(shape.block());
        Self { shape, lines }
    }

    /// Stores the keys and values of a layer at the first positions; a row of `kv` is `[k, v]`, each of `heads · each` columns.
    ///
    /// # Panics
    /// When there are more than 64 rows, they are not whole, or there is no such layer.
    pub fn store(&mut self, layer: usize, kv: &[f32]) {
        let width = self.shape.heads * self.shape.each;
        let rows = kv.len() / (2 * width);
        assert!(
            rows <= PANEL && rows * 2 * width == kv.len(),
            "up to 64 whole rows"
        );
        for (row, kv) in kv.chunks_exact(2 * width).enumerate() {
            put(self.shape, &mut self.lines, layer, row, kv);
        }
    }
}

impl KvCache {
    /// A cache that holds nothing.
    pub fn new(shape: CacheShape) -> Self {
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
    /// When `kv` is not one row, there is no such layer, or positions before it are not stored.
    pub fn store(&mut self, layer: usize, ahead: usize, kv: &[f32]) {
        assert_eq!(kv.len(), 2 * self.shape.heads * self.shape.each, "one row");
        let at = self.len + ahead;
        if at / PANEL == self.blocks.len() {
            self.blocks.push(Arc::new(lines::<u8>(self.shape.block())));
        }
        let block = Arc::make_mut(&mut self.blocks[at / PANEL]);
        put(self.shape, block, layer, at % PANEL, kv);
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
        self.len += count;
        assert!(
            self.len <= self.blocks.len() * PANEL,
            "positions are stored first"
        );
    }
}

/// Quantises the keys and values of one position.
fn put(shape: CacheShape, block: &mut [Line], layer: usize, position: usize, kv: &[f32]) {
    assert!(layer < shape.layers, "layer {layer} of {}", shape.layers);
    let (scales, record) = shape.record();
    let (k, v) = kv.split_at(shape.heads * shape.each);
    let lines = record / LINE;
    let records = block[layer * shape.heads * lines..].chunks_exact_mut(lines);
    for ((k, v), lines) in k.chunks(shape.each).zip(v.chunks(shape.each)).zip(records) {
        let bytes = numbers_mut::<u8>(lines);
        let mut sum = 0;
        let key_scale = quantise(k, |i, q| {
            bytes[(i / 4 * PANEL + position) * 4 + i % 4] = q as u8;
            sum += i32::from(q);
        });
        let values = &mut bytes[shape.keys() + position / 4 * 4 * shape.wide()..];
        let value_scale = quantise(v, |i, q| values[i * 4 + position % 4] = q as u8);
        let scales = &mut numbers_mut::<f32>(&mut lines[scales / LINE..]);
        scales[position] = key_scale;
        scales[PANEL + position] = key_scale * sum as f32;
        scales[2 * PANEL + position] = value_scale;
    }
}

/// Gives every number as −127 to 127 to `store`; returns the scale. Numbers that are not finite count as zeros.
fn quantise(x: &[f32], mut store: impl FnMut(usize, i8)) -> f32 {
    let largest = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let usable = largest > 0.0 && largest.is_finite();
    let (per, scale) = if usable {
        (127.0 / largest, largest / 127.0)
    } else {
        (0.0, 0.0)
    };
    for (i, &x) in x.iter().enumerate() {
        // Adding 1.5 · 2²³ rounds to a whole number, whose low byte is then the lowest of the sum.
        store(i, (x * per + 12_582_912.0).to_bits() as i8);
    }
    scale
}
