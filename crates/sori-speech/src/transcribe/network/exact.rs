//! The forward pass in f32.

use sori_infer::InferError;
use sori_infer::attention::{Attend, attend, head_scores};
use sori_infer::linear::Linear;
use sori_infer::ops::{LayerNorm, add, gelu};

use super::super::spec::Sizes;
use super::super::weights::Checkpoint;
use super::{Heard, Memory, Row};

/// Both halves, with packed weights.
pub(in super::super) struct Exact {
    sizes: Sizes,
    conv1: Linear,
    conv2: Linear,
    audio_positions: Vec<f32>,
    encoder: Vec<Layer>,
    encoder_norm: LayerNorm,
    embedding: Vec<f32>,
    text_positions: Vec<f32>,
    decoder: Vec<Layer>,
    decoder_norm: LayerNorm,
    logits: Linear,
}

struct Layer {
    own_norm: LayerNorm,
    own: Projections,
    cross: Option<(LayerNorm, Projections)>,
    mlp_norm: LayerNorm,
    up: Linear,
    down: Linear,
}

struct Projections {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

/// What the encoder heard: keys and values of each decoder layer.
pub(in super::super) struct ExactHeard(Vec<(Vec<f32>, Vec<f32>)>);

/// Keys and values of the tokens so far.
#[derive(Clone, Default)]
pub(in super::super) struct ExactMemory {
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    tokens: usize,
}

struct Loader<'a> {
    checkpoint: &'a Checkpoint<'a>,
    width: usize,
}

impl Loader<'_> {
    fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        with_bias: bool,
    ) -> Result<Linear, InferError> {
        let weight = self
            .checkpoint
            .tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = with_bias
            .then(|| self.checkpoint.tensor(&format!("{name}.bias"), &[outputs]))
            .transpose()?;
        Ok(Linear::new(&weight, inputs, bias))
    }

    /// A convolution of three frames as a product.
    fn conv(&self, name: &str, channels: usize) -> Result<Linear, InferError> {
        let weight = self
            .checkpoint
            .tensor(&format!("{name}.weight"), &[self.width, channels, 3])?;
        let bias = self
            .checkpoint
            .tensor(&format!("{name}.bias"), &[self.width])?;
        Ok(Linear::new(&weight, channels * 3, Some(bias)))
    }

    fn norm(&self, name: &str) -> Result<LayerNorm, InferError> {
        let read = |part| {
            self.checkpoint
                .tensor(&format!("{name}.{part}"), &[self.width])
        };
        Ok(LayerNorm {
            weight: read("weight")?,
            bias: read("bias")?,
        })
    }

    fn projections(&self, name: &str) -> Result<Projections, InferError> {
        let linear = |part: &str, bias| {
            self.linear(&format!("{name}.{part}_proj"), self.width, self.width, bias)
        };
        Ok(Projections {
            q: linear("q", true)?,
            k: linear("k", false)?,
            v: linear("v", true)?,
            out: linear("out", true)?,
        })
    }

    fn layer(&self, name: &str, with_cross: bool) -> Result<Layer, InferError> {
        let cross = || {
            Ok::<_, InferError>((
                self.norm(&format!("{name}.encoder_attn_layer_norm"))?,
                self.projections(&format!("{name}.encoder_attn"))?,
            ))
        };
        Ok(Layer {
            own_norm: self.norm(&format!("{name}.self_attn_layer_norm"))?,
            own: self.projections(&format!("{name}.self_attn"))?,
            cross: with_cross.then(cross).transpose()?,
            mlp_norm: self.norm(&format!("{name}.final_layer_norm"))?,
            up: self.linear(&format!("{name}.fc1"), self.width, 4 * self.width, true)?,
            down: self.linear(&format!("{name}.fc2"), 4 * self.width, self.width, true)?,
        })
    }
}

impl Exact {
    /// Reads and packs all weights, one tensor at a time.
    pub(super) fn load(checkpoint: &Checkpoint, sizes: Sizes) -> Result<Self, InferError> {
        let load = Loader {
            checkpoint,
            width: sizes.width,
        };
        let stack = |half: &str, count, cross| {
            (0..count)
                .map(|i| load.layer(&format!("{half}.layers.{i}"), cross))
                .collect::<Result<Vec<_>, _>>()
        };
        let table = checkpoint.tensor(
            "decoder.embed_tokens.weight",
            &[sizes.vocabulary, sizes.width],
        )?;
        Ok(Self {
            sizes,
            conv1: load.conv("encoder.conv1", sizes.mels)?,
            conv2: load.conv("encoder.conv2", sizes.width)?,
            audio_positions: checkpoint.tensor(
                "encoder.embed_positions.weight",
                &[sizes.audio_context, sizes.width],
            )?,
            encoder: stack("encoder", sizes.audio_layers, false)?,
            encoder_norm: load.norm("encoder.layer_norm")?,
            text_positions: checkpoint.tensor(
                "decoder.embed_positions.weight",
                &[sizes.text_context, sizes.width],
            )?,
            decoder: stack("decoder", sizes.text_layers, true)?,
            decoder_norm: load.norm("decoder.layer_norm")?,
            logits: Linear::new(&table, sizes.width, None),
            embedding: table,
        })
    }

    /// Hears one window: log-mel `(mels, 2 · audio_context)`, row-major.
    pub(super) fn hear(&self, mel: &[f32]) -> ExactHeard {
        let (frames, width) = (2 * self.sizes.audio_context, self.sizes.width);
        let mut x = self
            .conv1
            .forward(&neighbours(mel, self.sizes.mels, frames, 1, |c, t| {
                c * frames + t
            }));
        gelu(&mut x);
        let mut x = self
            .conv2
            .forward(&neighbours(&x, width, frames, 2, |c, t| t * width + c));
        gelu(&mut x);
        add(&mut x, &self.audio_positions);
        for layer in &self.encoder {
            let normed = layer.own_norm.forward(&x);
            let (q, k, v) = layer.own.all(&normed);
            let one = Attend {
                q: &q,
                k: &k,
                v: &v,
                heads: self.sizes.audio_heads,
                width,
                causal: None,
            };
            let mixed = attend(&[one])
                .pop()
                .expect("one attention gives one output");
            add(&mut x, &layer.own.out.forward(&mixed));
            layer.feed_forward(&mut x);
        }
        let x = self.encoder_norm.forward(&x);
        ExactHeard(
            self.decoder
                .iter()
                .filter_map(|l| l.cross.as_ref())
                .map(|(_, p)| (p.k.forward(&x), p.v.forward(&x)))
                .collect(),
        )
    }

    /// Extends each row by its tokens; returns the last hidden states `(all new tokens, width)`.
    ///
    /// With `watched` (layer, head) pairs, their cross-attention scores `(new tokens, audio_context)` of the first row are
    /// added to `scores` in the order of the pairs.
    pub(super) fn read(
        &self,
        rows: &mut [Row],
        watched: &[(usize, usize)],
        scores: &mut Vec<Vec<f32>>,
    ) -> Vec<f32> {
        let width = self.sizes.width;
        let mut x: Vec<f32> = rows.iter().flat_map(|row| self.embed(row)).collect();
        for row in rows.iter_mut() {
            memory_mut(row.memory)
                .layers
                .resize_with(self.decoder.len(), Default::default);
        }
        let mut seen = vec![Vec::new(); watched.len()];
        for (index, layer) in self.decoder.iter().enumerate() {
            let (q, k, v) = layer.own.all(&layer.own_norm.forward(&x));
            let mixed = self.own_attention(rows, index, [&q, &k, &v]);
            add(&mut x, &layer.own.out.forward(&mixed));
            if let Some((norm, cross)) = &layer.cross {
                let q = cross.q.forward(&norm.forward(&x));
                let each: Vec<_> = split(rows, &q, width)
                    .zip(rows.iter())
                    .map(|(q, row)| Attend {
                        q,
                        k: &heard(row.heard).0[index].0,
                        v: &heard(row.heard).0[index].1,
                        heads: self.sizes.text_heads,
                        width,
                        causal: None,
                    })
                    .collect();
                for (place, _) in watched.iter().enumerate().filter(|(_, w)| w.0 == index) {
                    seen[place] = head_scores(&each[0], watched[place].1);
                }
                let mixed = attend(&each).concat();
                add(&mut x, &cross.out.forward(&mixed));
            }
            layer.feed_forward(&mut x);
        }
        scores.append(&mut seen);
        for row in rows {
            memory_mut(row.memory).tokens += row.tokens.len();
        }
        self.decoder_norm.forward(&x)
    }

    /// The scores of all tokens `(rows, vocabulary)` after hidden states `(rows, width)`.
    pub(super) fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        self.logits.forward(hidden)
    }

    fn embed(&self, row: &Row) -> Vec<f32> {
        let width = self.sizes.width;
        let mut x = Vec::with_capacity(row.tokens.len() * width);
        for (&token, position) in row
            .tokens
            .iter()
            .zip(memory(row.memory).map_or(0, |m| m.tokens)..)
        {
            let embedded = &self.embedding[token as usize * width..][..width];
            let place = &self.text_positions[position * width..][..width];
            x.extend(embedded.iter().zip(place).map(|(e, p)| e + p));
        }
        x
    }

    fn own_attention(&self, rows: &mut [Row], layer: usize, [q, k, v]: [&[f32]; 3]) -> Vec<f32> {
        let width = self.sizes.width;
        let mut at = 0;
        for row in rows.iter_mut() {
            let new = at..at + row.tokens.len() * width;
            let memory = &mut memory_mut(row.memory).layers[layer];
            memory.0.extend(&k[new.clone()]);
            memory.1.extend(&v[new.clone()]);
            at = new.end;
        }
        let each: Vec<_> = split(rows, q, width)
            .zip(rows.iter())
            .map(|(q, row)| {
                let memory = memory(row.memory).expect("it was extended above");
                let (k, v) = &memory.layers[layer];
                Attend {
                    q,
                    k,
                    v,
                    heads: self.sizes.text_heads,
                    width,
                    causal: Some(memory.tokens),
                }
            })
            .collect();
        attend(&each).concat()
    }
}

/// What this network heard; another's is a mistake of the caller.
fn heard(heard: &Heard) -> &ExactHeard {
    match heard {
        Heard::Exact(heard) => heard,
        Heard::Fast(_) => panic!("a window is decoded by the network that heard it"),
    }
}

fn memory(memory: &Memory) -> Option<&ExactMemory> {
    match memory {
        Memory::Exact(memory) => Some(memory),
        Memory::Empty | Memory::Fast(_) => None,
    }
}

fn memory_mut(memory: &mut Memory) -> &mut ExactMemory {
    if !matches!(memory, Memory::Exact(_)) {
        *memory = Memory::Exact(ExactMemory::default());
    }
    match memory {
        Memory::Exact(memory) => memory,
        _ => unreachable!("it was made so above"),
    }
}

impl Projections {
    fn all(&self, x: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        (self.q.forward(x), self.k.forward(x), self.v.forward(x))
    }
}

impl Layer {
    fn feed_forward(&self, x: &mut [f32]) {
        let mut wide = self.up.forward(&self.mlp_norm.forward(x));
        gelu(&mut wide);
        add(x, &self.down.forward(&wide));
    }
}

/// Each row's part of `data`, which has `width` values for every new token.
fn split<'a>(rows: &[Row], data: &'a [f32], width: usize) -> impl Iterator<Item = &'a [f32]> {
    let lengths: Vec<_> = rows.iter().map(|row| row.tokens.len() * width).collect();
    lengths.into_iter().scan(0, move |at, length| {
        *at += length;
        Some(&data[*at - length..*at])
    })
}

/// Every `stride`-th frame with its two neighbours, as rows `(frames / stride, channels · 3)`; zeros beyond the ends.
fn neighbours(
    data: &[f32],
    channels: usize,
    frames: usize,
    stride: usize,
    at: impl Fn(usize, usize) -> usize,
) -> Vec<f32> {
    let mut rows = Vec::with_capacity(frames / stride * channels * 3);
    for t in (0..frames).step_by(stride) {
        for c in 0..channels {
            rows.extend(
                [t.wrapping_sub(1), t, t + 1]
                    .map(|t| if t < frames { data[at(c, t)] } else { 0.0 }),
            );
        }
    }
    rows
}
