//! The forward pass in integers: its weights, and the memory it works in.
//!
//! Products are int8 (weights per column, activations per row), attention of the encoder and the convolutions bf16, keys and
//! values of the decoder int8, everything between them f32; the decoder's weights have 4 bits where that is asked for, but for
//! those that make keys and values of a window. [`encode`](super::encode) and [`decode`](super::decode) run it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sori_infer::kernels::{
    Bf16Matrix, Bits, Buffer, CacheShape, Isa, MAX_HEAD_COLUMNS, QuantMatrix, Team,
};
use sori_infer::linear::Compute;
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
    pub(super) fn load(
        checkpoint: &Checkpoint,
        sizes: Sizes,
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
        let place = cache.and_then(|cache| Place::of(cache, path, decoder_bits(options)));
        if let Some(mut parts) = place.as_ref().and_then(|place| place.kept())
            && let Ok(network) = Self::build(&mut parts, sizes, options)
        {
            return Ok(network);
        }
        let mut parts = Parts::fresh(checkpoint, place);
        let network = Self::build(&mut parts, sizes, options)?;
        parts.close();
        Ok(network)
    }

    fn build(parts: &mut Parts, sizes: Sizes, options: &LoadOptions) -> Result<Self, InferError> {
        let width = sizes.width;
        let bits = decoder_bits(options);
        // The encoder's products are bound by arithmetic and not by memory.
        let (encode, decode) = (
            Kind {
                width,
                bits: Bits::Eight,
            },
            Kind { width, bits },
        );
        let encoder = (0..sizes.audio_layers)
            .map(|i| layer(parts, &format!("encoder.layers.{i}"), encode))
            .collect::<Result<Vec<_>, _>>()?;
        let mut decoder = Vec::new();
        for name in (0..sizes.text_layers).map(|i| format!("decoder.layers.{i}")) {
            let own = layer(parts, &name, decode)?;
            decoder.push((own, cross(parts, &name, decode)?));
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

/// The integers that the decoder's weights are kept in.
fn decoder_bits(options: &LoadOptions) -> Bits {
    match options.compute {
        Compute::Int4 => Bits::Four,
        Compute::Int8 | Compute::F32 => Bits::Eight,
    }
}

/// What the matrices of a layer have in common.
#[derive(Clone, Copy)]
struct Kind {
    width: usize,
    bits: Bits,
}

fn layer(parts: &mut Parts, name: &str, kind: Kind) -> Result<Layer, InferError> {
    let Kind { width, bits } = kind;
    let attention = format!("{name}.self_attn");
    Ok(Layer {
        own_norm: parts.norm(&format!("{name}.self_attn_layer_norm"), width)?,
        qkv: beside(parts, &attention, &["q", "k", "v"], kind)?,
        out: beside(parts, &attention, &["out"], kind)?,
        mlp_norm: parts.norm(&format!("{name}.final_layer_norm"), width)?,
        up: linear(parts, &format!("{name}.fc1"), [4 * width, width], bits)?,
        down: linear(parts, &format!("{name}.fc2"), [width, 4 * width], bits)?,
    })
}

fn cross(parts: &mut Parts, name: &str, kind: Kind) -> Result<Cross, InferError> {
    let attention = format!("{name}.encoder_attn");
    // Computed for whole windows, as the encoder.
    let whole = Kind {
        bits: Bits::Eight,
        ..kind
    };
    Ok(Cross {
        norm: parts.norm(&format!("{attention}_layer_norm"), kind.width)?,
        q: beside(parts, &attention, &["q"], kind)?,
        kv: beside(parts, &attention, &["k", "v"], whole)?,
        out: beside(parts, &attention, &["out"], kind)?,
    })
}

/// Several projections of one input as one matrix; those of keys have no bias.
fn beside(
    parts: &mut Parts,
    attention: &str,
    projections: &[&str],
    Kind { width, bits }: Kind,
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
