//! The encoder in 8-bit integers.
//!
//! A window's frames are cut into blocks of rows, which members of the team take one by one. Within a layer a block needs the
//! others only for their keys and values, so that each task runs from one layer's attention to the next layer's keys and
//! values while its rows stay in the cache, and the team meets once a layer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sori_infer::kernels::{
    AttendScratch, KvBlock, KvCache, KvTile, KvTiles, QuantRows, Then, norm, to_bf16,
};

use super::fast::{Fast, Layer};

/// Frames that keys and values are packed by: blocks are multiples of it.
const TILE: usize = 64;

/// Memory for one window.
#[derive(Default)]
pub(super) struct WindowArena {
    /// The first convolution's output as bf16, with a frame of zeros before and after.
    frames: Vec<u16>,
    blocks: Vec<Block>,
    /// Keys and values of the layer that is attended to, and of the next one.
    tiles: Option<[KvTiles; 2]>,
    scratch: Vec<Mutex<Scratch>>,
}

/// Some rows of the window.
#[derive(Default)]
struct Block {
    /// Activations.
    x: Vec<f32>,
    /// Queries as bf16, for the layer that comes.
    q: Vec<u16>,
}

/// What a member of the team works in.
#[derive(Default)]
struct Scratch {
    rows: QuantRows,
    wide: Vec<f32>,
    mixed: Vec<f32>,
    narrow: Vec<u16>,
    attend: AttendScratch,
}

/// One task: a block, the tiles that its keys and values go to, and those for the decoder.
struct Task<'a> {
    first: usize,
    block: &'a mut Block,
    tiles: Vec<KvTile<'a>>,
    heard: Vec<KvBlock>,
}

impl Fast {
    /// Hears one window: log-mel `(mels, 2 · audio_context)`, row-major.
    pub(super) fn hear(&self, mel: &[f32]) -> KvCache {
        self.window_arenas.with(|arena| self.hear_in(arena, mel))
    }

    fn hear_in(&self, arena: &mut WindowArena, mel: &[f32]) -> KvCache {
        let (frames, width, heads) = (
            self.sizes.audio_context,
            self.sizes.width,
            self.sizes.audio_heads,
        );
        let rows = block_rows(frames, self.team.threads());
        arena.prepare(frames, width, rows, self.team.threads());
        let tiles = arena
            .tiles
            .get_or_insert_with(|| [(); 2].map(|()| KvTiles::new(frames, heads, width / heads)));
        let scratch = &arena.scratch;
        self.first_convolution(&mut arena.frames, scratch, rows, mel);
        let convolved = &arena.frames;
        for layer in 0..=self.encoder.len() {
            let [now, next] = tiles;
            let per_block = rows / TILE;
            let mut packed: Vec<_> = next.tiles_mut().collect();
            let mut tasks = Vec::new();
            for (index, block) in arena.blocks.iter_mut().enumerate() {
                let taken = per_block.min(packed.len());
                // Made by the caller: memory that several threads take from is given back in pieces.
                let blocks = if layer == self.encoder.len() {
                    taken
                } else {
                    0
                };
                tasks.push(Task {
                    first: index * rows,
                    block,
                    tiles: packed.drain(..taken).collect(),
                    heard: (0..blocks)
                        .map(|_| KvBlock::new(self.cache_shape()))
                        .collect(),
                });
            }
            self.team.each(&mut tasks, |task, member| {
                let scratch = &mut *lock(&scratch[member]);
                match layer.checked_sub(1) {
                    None => self.second_convolution(convolved, task),
                    Some(before) => self.rest_of(&self.encoder[before], now, task.block, scratch),
                }
                match self.encoder.get(layer) {
                    Some(layer) => self.keys(layer, task, scratch),
                    None => self.for_decoder(task, scratch),
                }
            });
            if layer == self.encoder.len() {
                let blocks = tasks.into_iter().flat_map(|task| task.heard).collect();
                return KvCache::of(self.cache_shape(), blocks, frames);
            }
            tiles.swap(0, 1);
        }
        unreachable!("the last turn returns")
    }

    /// Fills `out` with the first convolution over the mel frames, time first.
    fn first_convolution(
        &self,
        out: &mut [u16],
        scratch: &[Mutex<Scratch>],
        rows: usize,
        mel: &[f32],
    ) {
        let (mels, width) = (self.sizes.mels, self.sizes.width);
        let frames = 2 * self.sizes.audio_context;
        let inside = &mut out[width..(frames + 1) * width];
        let mut parts: Vec<_> = inside.chunks_mut(rows * width).enumerate().collect();
        self.team.each(&mut parts, |(index, out), member| {
            let Scratch {
                wide,
                mixed,
                narrow,
                ..
            } = &mut *lock(&scratch[member]);
            let (first, count) = (*index * rows, out.len() / width);
            // The frames from one before the first to one after the last; zeros beyond the ends.
            mixed.clear();
            mixed.resize((count + 2) * mels, 0.0);
            for (row, to) in mixed.chunks_exact_mut(mels).enumerate() {
                if let Some(frame) = (first + row).checked_sub(1).filter(|&f| f < frames) {
                    for (channel, x) in to.iter_mut().enumerate() {
                        *x = mel[channel * frames + frame];
                    }
                }
            }
            // An odd number of channels is read in pairs, one number beyond the last row.
            narrow.resize(mixed.len() + 1, 0);
            narrow[mixed.len()] = 0;
            to_bf16(self.isa, mixed, 1.0, &mut narrow[..mixed.len()]);
            wide.resize(out.len(), 0.0);
            self.conv1
                .multiply(self.isa, narrow, mels, Then::Gelu, wide);
            to_bf16(self.isa, wide, 1.0, out);
        });
    }

    /// A block's rows after the second convolution, with their positions.
    fn second_convolution(&self, convolved: &[u16], task: &mut Task) {
        let width = self.sizes.width;
        let x = &mut task.block.x;
        // Output t hears frames 2t − 1 to 2t + 1, of which frame 0 is the second row.
        let from = &convolved[2 * task.first * width..];
        self.conv2
            .multiply(self.isa, from, 2 * width, Then::Gelu, x);
        let places = &self.audio_positions[task.first * width..];
        for (x, place) in x.iter_mut().zip(places) {
            *x += place;
        }
    }

    /// Queries, keys and values of a block's rows.
    fn keys(&self, layer: &Layer, task: &mut Task, scratch: &mut Scratch) {
        let width = self.sizes.width;
        let Block { x, q } = &mut *task.block;
        scratch
            .rows
            .norm_quantise(self.isa, x, layer.own_norm.norm());
        scratch.wide.resize(3 * x.len(), 0.0);
        layer
            .qkv
            .multiply(self.isa, &scratch.rows, Then::Store, &mut scratch.wide);
        let softer = std::f32::consts::LOG2_E / ((width / self.sizes.audio_heads) as f32).sqrt();
        for (row, q) in scratch
            .wide
            .chunks_exact(3 * width)
            .zip(q.chunks_exact_mut(width))
        {
            to_bf16(self.isa, &row[..width], softer, q);
        }
        for (tile, rows) in task
            .tiles
            .iter_mut()
            .zip(scratch.wide.chunks(TILE * 3 * width))
        {
            tile.store(self.isa, rows, &mut scratch.narrow);
        }
    }

    /// What follows a layer's keys: attention, and the feed-forward part.
    fn rest_of(&self, layer: &Layer, tiles: &KvTiles, block: &mut Block, scratch: &mut Scratch) {
        let (isa, width) = (self.isa, self.sizes.width);
        let Block { x, q } = block;
        let Scratch {
            rows,
            wide,
            mixed,
            attend,
            ..
        } = scratch;
        mixed.resize(x.len(), 0.0);
        tiles.attend(isa, q, mixed, attend);
        rows.quantise(isa, mixed, width);
        layer.out.multiply(isa, rows, Then::Add, x);
        rows.norm_quantise(isa, x, layer.mlp_norm.norm());
        wide.resize(4 * x.len(), 0.0);
        layer.up.multiply(isa, rows, Then::Gelu, wide);
        rows.quantise(isa, wide, 4 * width);
        layer.down.multiply(isa, rows, Then::Add, x);
    }

    /// Keys and values of a block's rows for every layer of the decoder.
    fn for_decoder(&self, task: &mut Task, scratch: &mut Scratch) {
        let (isa, width) = (self.isa, self.sizes.width);
        let x = &task.block.x;
        scratch.mixed.resize(x.len(), 0.0);
        norm(isa, x, self.encoder_norm.norm(), &mut scratch.mixed);
        scratch.rows.quantise(isa, &scratch.mixed, width);
        scratch.wide.resize(2 * x.len(), 0.0);
        for (layer, (_, cross)) in self.decoder.iter().enumerate() {
            cross
                .kv
                .multiply(isa, &scratch.rows, Then::Store, &mut scratch.wide);
            for (block, rows) in task
                .heard
                .iter_mut()
                .zip(scratch.wide.chunks(TILE * 2 * width))
            {
                block.store(isa, layer, rows);
            }
        }
    }
}

impl WindowArena {
    fn prepare(&mut self, frames: usize, width: usize, rows: usize, members: usize) {
        self.frames.resize((2 * frames + 2) * width, 0);
        self.blocks
            .resize_with(frames.div_ceil(rows), Default::default);
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let count = (frames - index * rows).min(rows) * width;
            block.x.resize(count, 0.0);
            block.q.resize(count, 0);
        }
        self.scratch.resize_with(members, Default::default);
    }
}

/// Rows of a block: as few rounds of the team as possible, then as many rows as fit, up to three tiles.
fn block_rows(frames: usize, members: usize) -> usize {
    let cost = |tiles: usize| frames.div_ceil(tiles * TILE).div_ceil(members) * tiles;
    let best = (1..=3).rev().min_by_key(|&tiles| cost(tiles));
    best.expect("there are three choices") * TILE
}

fn lock(scratch: &Mutex<Scratch>) -> MutexGuard<'_, Scratch> {
    // What a panic left behind is overwritten.
    scratch.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_share_the_frames_evenly() {
        for (members, rows) in [(1, 192), (2, 192), (3, 128), (8, 192), (24, 64), (12, 128)] {
            assert_eq!(block_rows(1500, members), rows, "{members}");
        }
    }
}
