//! The forward pass in integers: its weights, and the memory it works in.
//!
//! Products are int8 (weights per column or, of the decoder where that is asked for, 4 bits in groups; activations per row), attention of the encoder and the convolutions bf16, keys and
//! values of the decoder int8, everything between them f32. [`encode`](super::encode) and [`decode`](super::decode) run it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sori_infer::kernels::{
    Bf16Matrix, Bits, Buffer, CacheShape, Isa, MAX_HEAD_COLUMNS, QuantMatrix, Team,
};
use sori_infer::{InferError, InferErrorKind};

use super::super::options::LoadOptions;
use super::super::spec::Sizes;
use super::super::weights::Checkpoint;
use super::decode::StepArena;
use super::encode::WindowArena;
use super::parts::{NormParts, Parts, Place, Raw};

/// Both halves, packed.
pub(in super::super) struct Fast {
    pub(super) sizes: Sizes,
    pub(super) isa: Isa,
    pub(super) team: Team,
    pub(super) conv1: Bf16Matrix,
    pub(super) conv2: Bf16Matrix,
    pub(super) audio_positions: Buffer<f32>,
    pub(super) encoder: Vec<Layer>,
    pub(super) encoder_norm: NormParts,
    pub(super) text_positions: Buffer<f32>,
    pub(super) decoder: Vec<(Layer, Cross)>,
    pub(super) decoder_norm: NormParts,
    /// Also the embedding: its rows are the tokens.
    pub(super) logits: QuantMatrix,
    pub(super) window_arenas: Pool<WindowArena>,
    pub(super) step_arenas: Pool<StepArena>,
}

/// What every layer has: attention to its own sequence, and the feed-forward part.
pub(super) struct Layer {
    pub own_norm: NormParts,
    /// Queries, keys and values side by side.
    pub qkv: QuantMatrix,
    pub out: QuantMatrix,
    pub mlp_norm: NormParts,
    pub up: QuantMatrix,
    pub down: QuantMatrix,
}

/// A decoder layer's attention to the window.
pub(super) struct Cross {
    pub norm: NormParts,
    pub q: QuantMatrix,
    /// Keys and values side by side.
    pub kv: QuantMatrix,
    pub out: QuantMatrix,
}

/// Memory to work in that is used again: as many pieces as were ever needed at once.
pub(super) struct Pool<T>(Mutex<Vec<T>>);

impl<T: Default> Pool<T> {
    fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Lends a piece to `work`.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = lock().pop();
        let mut piece = free.unwrap_or_default();
        let result = work(&mut piece);
        lock().push(piece);
        result
    }
}

impl Fast {
    /// Maps what was packed before, or reads and packs all weights, one tensor at a time.
    ///
    /// The decoder's weights have `bits`; those of the encoder, whose products are bound by arithmetic and not by memory, 8.
    pub(super) fn load(
        checkpoint: &Checkpoint,
        sizes: Sizes,
        bits: Bits,
        options: &LoadOptions,
        path: &Path,
    ) -> Result<Self, InferError> {
        let heads = sizes.audio_heads.min(sizes.text_heads);
        if sizes.width / heads > MAX_HEAD_COLUMNS {
            let message = format!(
                "integers take heads of at most {MAX_HEAD_COLUMNS} columns: use f32 (--compute f32) for this model"
            );
            return Err(InferError::new(InferErrorKind::Unsupported, path, message));
        }
        let cache = options.cache.as_deref();
        let place = cache.and_then(|cache| Place::of(cache, path, bits));
        if let Some(mut parts) = place.as_ref().and_then(|place| place.kept())
            && let Ok(network) = Self::build(&mut parts, sizes, bits, options)
        {
            return Ok(network);
        }
        let mut parts = Parts::fresh(checkpoint, place);
        let network = Self::build(&mut parts, sizes, bits, options)?;
        parts.close();
        Ok(network)
    }

    fn build(
        parts: &mut Parts,
        sizes: Sizes,
        bits: Bits,
        options: &LoadOptions,
    ) -> Result<Self, InferError> {
        let width = sizes.width;
        let encoder = (0..sizes.audio_layers)
            .map(|i| layer(parts, &format!("encoder.layers.{i}"), width, Bits::Eight))
            .collect::<Result<Vec<_>, _>>()?;
        let mut decoder = Vec::new();
        for name in (0..sizes.text_layers).map(|i| format!("decoder.layers.{i}")) {
            let own = layer(parts, &name, width, bits)?;
            decoder.push((own, cross(parts, &name, width, bits)?));
        }
        let table = "decoder.embed_tokens.weight";
        let shape = [sizes.vocabulary, width];
        Ok(Self {
            sizes,
            isa: options.isa,
            team: Team::new(options.threads),
            conv1: conv(parts, "encoder.conv1", width, sizes.mels)?,
            conv2: conv(parts, "encoder.conv2", width, width)?,
            audio_positions: parts.plain(
                "encoder.embed_positions.weight",
                &[sizes.audio_context, width],
            )?,
            encoder,
            encoder_norm: parts.norm("encoder.layer_norm", width)?,
            text_positions: parts.plain(
                "decoder.embed_positions.weight",
                &[sizes.text_context, width],
            )?,
            decoder,
            decoder_norm: parts.norm("decoder.layer_norm", width)?,
            logits: parts
                .quantised(table, shape, bits, |c| Ok((c.tensor(table, &shape)?, None)))?,
            window_arenas: Pool::new(),
            step_arenas: Pool::new(),
        })
    }

    /// Sizes of the decoder's caches.
    pub(super) fn cache_shape(&self) -> CacheShape {
        CacheShape {
            layers: self.sizes.text_layers,
            heads: self.sizes.text_heads,
            each: self.sizes.width / self.sizes.text_heads,
        }
    }
}

fn layer(parts: &mut Parts, name: &str, width: usize, bits: Bits) -> Result<Layer, InferError> {
    Ok(Layer {
        own_norm: parts.norm(&format!("{name}.self_attn_layer_norm"), width)?,
        qkv: beside(
            parts,
            &format!("{name}.self_attn"),
            &["q", "k", "v"],
            width,
            bits,
        )?,
        out: beside(parts, &format!("{name}.self_attn"), &["out"], width, bits)?,
        mlp_norm: parts.norm(&format!("{name}.final_layer_norm"), width)?,
        up: linear(parts, &format!("{name}.fc1"), [4 * width, width], bits)?,
        down: linear(parts, &format!("{name}.fc2"), [width, 4 * width], bits)?,
    })
}

fn cross(parts: &mut Parts, name: &str, width: usize, bits: Bits) -> Result<Cross, InferError> {
    let attention = format!("{name}.encoder_attn");
    Ok(Cross {
        norm: parts.norm(&format!("{attention}_layer_norm"), width)?,
        q: beside(parts, &attention, &["q"], width, bits)?,
        // Computed for whole windows, as the encoder.
        kv: beside(parts, &attention, &["k", "v"], width, Bits::Eight)?,
        out: beside(parts, &attention, &["out"], width, bits)?,
    })
}

/// Several projections of one input as one matrix; those of keys have no bias.
fn beside(
    parts: &mut Parts,
    attention: &str,
    projections: &[&str],
    width: usize,
    bits: Bits,
) -> Result<QuantMatrix, InferError> {
    let name = format!("{attention}.{}_proj", projections.concat());
    parts.quantised(
        &name,
        [projections.len() * width, width],
        bits,
        |checkpoint| {
            let (mut weight, mut bias) = (Vec::new(), Vec::new());
            for projection in projections {
                let name = format!("{attention}.{projection}_proj");
                weight.extend(checkpoint.tensor(&format!("{name}.weight"), &[width, width])?);
                if *projection == "k" {
                    bias.resize(bias.len() + width, 0.0);
                } else {
                    bias.extend(checkpoint.tensor(&format!("{name}.bias"), &[width])?);
                }
            }
            Ok((weight, Some(bias)))
        },
    )
}

fn linear(
    parts: &mut Parts,
    name: &str,
    shape: [usize; 2],
    bits: Bits,
) -> Result<QuantMatrix, InferError> {
    parts.quantised(name, shape, bits, |checkpoint| -> Result<Raw, InferError> {
        let weight = checkpoint.tensor(&format!("{name}.weight"), &shape)?;
        let bias = checkpoint.tensor(&format!("{name}.bias"), &[shape[0]])?;
        Ok((weight, Some(bias)))
    })
}

/// A convolution over three frames as a product with three frames that lie one after the other.
fn conv(
    parts: &mut Parts,
    name: &str,
    outputs: usize,
    channels: usize,
) -> Result<Bf16Matrix, InferError> {
    parts.bf16(name, [outputs, 3 * channels], |checkpoint| {
        let weight = checkpoint.tensor(&format!("{name}.weight"), &[outputs, channels, 3])?;
        let bias = checkpoint.tensor(&format!("{name}.bias"), &[outputs])?;
        let by_frame = |row: &[f32]| -> Vec<f32> {
            (0..3 * channels)
                .map(|i| row[i % channels * 3 + i / channels])
                .collect()
        };
        Ok((
            weight
                .chunks_exact(3 * channels)
                .flat_map(by_frame)
                .collect(),
            bias,
        ))
    })
}
