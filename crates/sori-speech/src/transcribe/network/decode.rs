//! The decoder in integers: a step for some rows of tokens, its matrices shared among the team by columns.

use sori_infer::kernels::{
    KvCache, Looking, QuantMatrix, QuantRows, Then, attend_cached, head_scores, norm,
};

use super::fast::{Fast, Layer};
use super::{Heard, Memory, Row};

/// Memory for one step.
#[derive(Default)]
pub(super) struct StepArena {
    x: Vec<f32>,
    rows: QuantRows,
    qkv: Vec<f32>,
    q: Vec<f32>,
    mixed: Vec<f32>,
    wide: Vec<f32>,
}

impl Fast {
    /// See [`Network::read`](super::Network::read).
    pub(super) fn read(
        &self,
        rows: &mut [Row],
        watched: &[(usize, usize)],
        scores: &mut Vec<Vec<f32>>,
        hidden: &mut Vec<f32>,
    ) {
        self.step_arenas.with(|arena| {
            self.read_in(arena, rows, watched, scores);
            hidden.resize(arena.x.len(), 0.0);
            norm(self.isa, &arena.x, self.decoder_norm.norm(), hidden);
        });
    }

    fn read_in(
        &self,
        arena: &mut StepArena,
        rows: &mut [Row],
        watched: &[(usize, usize)],
        scores: &mut Vec<Vec<f32>>,
    ) {
        let (isa, width) = (self.isa, self.sizes.width);
        self.embed(rows, &mut arena.x);
        let all = arena.x.len();
        for buffer in [&mut arena.q, &mut arena.mixed] {
            buffer.resize(all, 0.0);
        }
        let mut seen = vec![Vec::new(); watched.len()];
        for (index, (layer, cross)) in self.decoder.iter().enumerate() {
            self.own_attention(arena, rows, index, layer);
            self.add(arena, &layer.out);
            arena.rows.norm_quantise(isa, &arena.x, cross.norm.norm());
            cross
                .q
                .multiply_by(&self.team, isa, &arena.rows, Then::Store, &mut arena.q);
            let groups = looking_at_windows(rows);
            for (place, &(_, head)) in watched.iter().enumerate().filter(|(_, w)| w.0 == index) {
                let first = &arena.q[..rows[0].tokens.len() * width];
                seen[place] = head_scores(isa, groups[0].cache, index, head, first);
            }
            attend_cached(&self.team, isa, index, &groups, &arena.q, &mut arena.mixed);
            self.add(arena, &cross.out);
            arena
                .rows
                .norm_quantise(isa, &arena.x, layer.mlp_norm.norm());
            arena.wide.resize(4 * all, 0.0);
            layer
                .up
                .multiply_by(&self.team, isa, &arena.rows, Then::Gelu, &mut arena.wide);
            arena.rows.quantise(isa, &arena.wide, 4 * width);
            layer
                .down
                .multiply_by(&self.team, isa, &arena.rows, Then::Add, &mut arena.x);
        }
        scores.append(&mut seen);
        for row in rows {
            cache_mut(row.memory, self).advance(row.tokens.len());
        }
    }

    /// See [`Network::logits`](super::Network::logits).
    pub(super) fn logits(&self, hidden: &[f32], scores: &mut Vec<f32>) {
        self.step_arenas.with(|arena| {
            arena.rows.quantise(self.isa, hidden, self.sizes.width);
            scores.resize(arena.rows.rows() * self.sizes.vocabulary, 0.0);
            self.logits
                .multiply_by(&self.team, self.isa, &arena.rows, Then::Store, scores);
        });
    }

    /// Adds the product of what attention mixed to the activations.
    fn add(&self, arena: &mut StepArena, matrix: &QuantMatrix) {
        arena
            .rows
            .quantise(self.isa, &arena.mixed, self.sizes.width);
        matrix.multiply_by(&self.team, self.isa, &arena.rows, Then::Add, &mut arena.x);
    }

    fn embed(&self, rows: &mut [Row], x: &mut Vec<f32>) {
        let width = self.sizes.width;
        let tokens: usize = rows.iter().map(|row| row.tokens.len()).sum();
        x.resize(tokens * width, 0.0);
        let mut each = x.chunks_exact_mut(width);
        for row in rows {
            let past = cache_mut(row.memory, self).len();
            for ((&token, position), x) in row.tokens.iter().zip(past..).zip(&mut each) {
                self.logits.row(token as usize, x);
                let place = &self.text_positions[position * width..][..width];
                for (x, place) in x.iter_mut().zip(place) {
                    *x += place;
                }
            }
        }
    }

    /// Fills `arena.mixed` with the attention of each row to its own tokens, which are remembered.
    fn own_attention(&self, arena: &mut StepArena, rows: &mut [Row], index: usize, layer: &Layer) {
        let (isa, width) = (self.isa, self.sizes.width);
        arena
            .rows
            .norm_quantise(isa, &arena.x, layer.own_norm.norm());
        arena.qkv.resize(3 * arena.x.len(), 0.0);
        layer
            .qkv
            .multiply_by(&self.team, isa, &arena.rows, Then::Store, &mut arena.qkv);
        for (qkv, q) in arena
            .qkv
            .chunks_exact(3 * width)
            .zip(arena.q.chunks_exact_mut(width))
        {
            q.copy_from_slice(&qkv[..width]);
        }
        let mut each = arena.qkv.chunks_exact(3 * width);
        for row in rows.iter_mut() {
            let cache = cache_mut(row.memory, self);
            for (ahead, qkv) in each.by_ref().take(row.tokens.len()).enumerate() {
                cache.store(isa, index, ahead, &qkv[width..]);
            }
        }
        let groups: Vec<_> = rows.iter().map(looking_back).collect();
        attend_cached(&self.team, isa, index, &groups, &arena.q, &mut arena.mixed);
    }
}

/// A row that looks at its own tokens, each at those up to itself.
fn looking_back<'a>(row: &'a Row) -> Looking<'a> {
    let Memory::Fast(cache) = &*row.memory else {
        unreachable!("memory was made when the row was embedded");
    };
    Looking {
        cache,
        rows: row.tokens.len(),
        first_sees: cache.len() + 1,
        more: 1,
    }
}

/// Rows in groups that look at one window: the beams of a search stand side by side.
fn looking_at_windows<'a>(rows: &[Row<'a>]) -> Vec<Looking<'a>> {
    let mut groups: Vec<Looking> = Vec::new();
    for row in rows {
        let Heard::Fast(cache) = row.heard else {
            panic!("a window is decoded by the network that heard it");
        };
        match groups
            .last_mut()
            .filter(|group| std::ptr::eq(group.cache, cache))
        {
            Some(group) => group.rows += row.tokens.len(),
            None => groups.push(Looking {
                cache,
                rows: row.tokens.len(),
                first_sees: cache.len(),
                more: 0,
            }),
        }
    }
    groups
}

fn cache_mut<'a>(memory: &'a mut Memory, network: &Fast) -> &'a mut KvCache {
    if !matches!(memory, Memory::Fast(_)) {
        *memory = Memory::Fast(KvCache::new(network.cache_shape()));
    }
    match memory {
        Memory::Fast(cache) => cache,
        _ => unreachable!("it was made so above"),
    }
}
