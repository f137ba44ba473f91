//! Features to scores of tokens: the transformer of wav2vec 2.0 (Baevski et al. 2020) with a linear head, as
//! `Wav2Vec2ForCTC` of transformers (`modeling_wav2vec2.py`).

use rayon::prelude::*;
use sori_infer::InferError;
use sori_infer::attention::{Attend, attend};
use sori_infer::linear::Linear;
use sori_infer::ops::{LayerNorm, add, gelu};

use super::config::Config;
use super::weights::{Weights, frames_first};

pub(super) struct Encoder {
    width: usize,
    heads: usize,
    /// Whether norms stand before what they norm (`do_stable_layer_norm`).
    norms_first: bool,
    projection_norm: LayerNorm,
    projection: Linear,
    positions: Positions,
    norm: LayerNorm,
    layers: Vec<Layer>,
    head: Linear,
    vocabulary: usize,
}

struct Layer {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm: LayerNorm,
    up: Linear,
    down: Linear,
    final_norm: LayerNorm,
    adapter: Option<Adapter>,
}

/// Extra weights for a language (Pratap et al. 2023, "Scaling Speech Technology to 1,000+ Languages").
struct Adapter {
    norm: LayerNorm,
    down: Linear,
    up: Linear,
}

/// Where frames are, by a grouped convolution over their neighbours.
struct Positions {
    groups: Vec<Linear>,
    kernel: usize,
    width: usize,
}

impl Encoder {
    pub(super) fn load(weights: &Weights, config: &Config) -> Result<Self, InferError> {
        let width = config.hidden_size;
        let features = *config
            .conv_dim
            .last()
            .expect("the configuration has layers");
        let vocabulary = weights.rows("lm_head.weight")?;
        let layer = |index| Layer::load(weights, config, &format!("encoder.layers.{index}"));
        Ok(Self {
            width,
            heads: config.num_attention_heads,
            norms_first: config.do_stable_layer_norm,
            projection_norm: weights.norm("feature_projection.layer_norm", features)?,
            projection: weights.linear("feature_projection.projection", [width, features])?,
            positions: Positions::load(weights, config)?,
            norm: weights.norm("encoder.layer_norm", width)?,
            layers: (0..config.num_hidden_layers)
                .map(layer)
                .collect::<Result<_, _>>()?,
            head: weights.linear("lm_head", [vocabulary, width])?,
            vocabulary,
        })
    }

    /// Tokens that the head gives scores for.
    pub(super) fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Scores `(frames, vocabulary)` for features `(frames, channels)` of several sounds of so many frames each, one after the
    /// other. Linear layers see all frames at once, attention those of one sound.
    pub(super) fn forward(&self, features: &[f32], frames: &[usize]) -> Vec<f32> {
        let mut x = self
            .projection
            .forward(&self.projection_norm.forward(features));
        let ends = frames.iter().scan(0, |end, &count| {
            *end += count;
            Some((*end - count) * self.width..*end * self.width)
        });
        let places: Vec<_> = ends.filter(|place| !place.is_empty()).collect();
        for place in &places {
            let positions = self.positions.forward(&x[place.clone()]);
            add(&mut x[place.clone()], &positions);
        }
        if !self.norms_first {
            x = self.norm.forward(&x);
        }
        for layer in &self.layers {
            x = self.layer(layer, x, &places);
        }
        if self.norms_first {
            x = self.norm.forward(&x);
        }
        self.head.forward(&x)
    }

    fn layer(&self, layer: &Layer, mut x: Vec<f32>, places: &[std::ops::Range<usize>]) -> Vec<f32> {
        if self.norms_first {
            let mixed = self.attention(layer, &layer.norm.forward(&x), places);
            add(&mut x, &mixed);
            let fed = layer.feed_forward(&layer.final_norm.forward(&x));
            add(&mut x, &fed);
            if let Some(adapter) = &layer.adapter {
                let mut narrow = adapter.down.forward(&adapter.norm.forward(&x));
                narrow.iter_mut().for_each(|value| *value = value.max(0.0));
                add(&mut x, &adapter.up.forward(&narrow));
            }
            return x;
        }
        let mixed = self.attention(layer, &x, places);
        add(&mut x, &mixed);
        let mut x = layer.norm.forward(&x);
        let fed = layer.feed_forward(&x);
        add(&mut x, &fed);
        layer.final_norm.forward(&x)
    }

    fn attention(&self, layer: &Layer, x: &[f32], places: &[std::ops::Range<usize>]) -> Vec<f32> {
        let [q, k, v] = [&layer.q, &layer.k, &layer.v].map(|linear| linear.forward(x));
        let one = |place: &std::ops::Range<usize>| Attend {
            q: &q[place.clone()],
            k: &k[place.clone()],
            v: &v[place.clone()],
            heads: self.heads,
            width: self.width,
            causal: None,
        };
        let each: Vec<_> = places.iter().map(one).collect();
        layer.out.forward(&attend(&each).concat())
    }
}

impl Layer {
    fn load(weights: &Weights, config: &Config, name: &str) -> Result<Self, InferError> {
        let (width, wide) = (config.hidden_size, config.intermediate_size);
        let linear = |part: &str, shape| weights.linear(&format!("{name}.{part}"), shape);
        let norm = |part: &str| weights.norm(&format!("{name}.{part}"), width);
        let adapter = |narrow: usize| {
            Ok::<_, InferError>(Adapter {
                norm: norm("adapter_layer.norm")?,
                down: linear("adapter_layer.linear_1", [narrow, width])?,
                up: linear("adapter_layer.linear_2", [width, narrow])?,
            })
        };
        Ok(Self {
            q: linear("attention.q_proj", [width, width])?,
            k: linear("attention.k_proj", [width, width])?,
            v: linear("attention.v_proj", [width, width])?,
            out: linear("attention.out_proj", [width, width])?,
            norm: norm("layer_norm")?,
            up: linear("feed_forward.intermediate_dense", [wide, width])?,
            down: linear("feed_forward.output_dense", [width, wide])?,
            final_norm: norm("final_layer_norm")?,
            adapter: config.adapter_attn_dim.map(adapter).transpose()?,
        })
    }

    fn feed_forward(&self, x: &[f32]) -> Vec<f32> {
        let mut wide = self.up.forward(x);
        gelu(&mut wide);
        self.down.forward(&wide)
    }
}

impl Positions {
    fn load(weights: &Weights, config: &Config) -> Result<Self, InferError> {
        let (width, kernel) = (config.hidden_size, config.num_conv_pos_embeddings);
        let each = width / config.num_conv_pos_embedding_groups;
        let name = "encoder.pos_conv_embed.conv";
        let weight = weights.normed(name, [width, each, kernel])?;
        let bias = weights.get(&format!("{name}.bias"), &[width])?;
        let group = |(weight, bias): (&[f32], &[f32])| {
            let weight = frames_first(weight, each, kernel);
            Linear::new(&weight, each * kernel, Some(bias.to_vec()))
        };
        let parts = weight
            .chunks_exact(each * each * kernel)
            .zip(bias.chunks_exact(each));
        Ok(Self {
            groups: parts.map(group).collect(),
            kernel,
            width,
        })
    }

    /// What is to be added to frames `(frames, width)`.
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let (frames, each) = (x.len() / self.width, self.width / self.groups.len());
        // As many frames as came: an even kernel reaches one frame less to the right.
        let before = self.kernel / 2;
        let padded = frames + self.kernel - 1;
        let group = |(index, linear): (usize, &Linear)| {
            let mut own = vec![0.0; padded * each];
            let rows = own[before * each..].chunks_exact_mut(each);
            for (to, from) in rows.zip(x.chunks_exact(self.width)) {
                to.copy_from_slice(&from[index * each..][..each]);
            }
            let mut out = linear.forward_windows(&own, each);
            gelu(&mut out);
            out
        };
        let parts: Vec<_> = self.groups.par_iter().enumerate().map(group).collect();
        let mut positions = vec![0.0; x.len()];
        for (index, part) in parts.iter().enumerate() {
            for (to, from) in positions
                .chunks_exact_mut(self.width)
                .zip(part.chunks_exact(each))
            {
                to[index * each..][..each].copy_from_slice(from);
            }
        }
        positions
    }
}
