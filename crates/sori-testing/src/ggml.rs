//! whisper.cpp's GGML files with weights made by [rule](crate::rule_weights), in every number format.
//!
//! Layout: whisper.cpp models/convert-pt-to-ggml.py and `whisper_model_load`; which tensors are quantised:
//! examples/quantize; rounding: ggml/src/ggml-quants.c, `quantize_row_*_ref`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use half::f16;

use crate::rule_weights::{Dims, tensor, tensors};

/// Positions of encoder and decoder.
const CONTEXTS: [usize; 2] = [1500, 448];
/// Bins of a spectrum of 400 samples.
const BINS: usize = 201;

/// A number format; the blocked ones hold 32 values a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// 4 bits around zero.
    Q4_0,
    /// 4 bits above a minimum.
    Q4_1,
    /// 5 bits around zero.
    Q5_0,
    /// 5 bits above a minimum.
    Q5_1,
    /// 8 bits around zero.
    Q8_0,
}

impl Format {
    /// Every format, the most exact first.
    pub const ALL: [Self; 7] = [
        Self::F32,
        Self::F16,
        Self::Q8_0,
        Self::Q5_1,
        Self::Q5_0,
        Self::Q4_1,
        Self::Q4_0,
    ];

    /// Numbers in `enum ggml_type` and `enum ggml_ftype`, the latter with the version of the quantised formats.
    fn ids(self) -> [usize; 2] {
        match self {
            Self::F32 => [0, 0],
            Self::F16 => [1, 1],
            Self::Q4_0 => [2, 2002],
            Self::Q4_1 => [3, 2003],
            Self::Q5_0 => [6, 2008],
            Self::Q5_1 => [7, 2009],
            Self::Q8_0 => [8, 2007],
        }
    }

    /// The values in this format.
    ///
    /// # Panics
    /// When a blocked format is given a number of values that is no multiple of 32.
    pub fn pack(self, values: &[f32]) -> Vec<u8> {
        let (blocks, rest) = values.as_chunks::<32>();
        match self {
            Self::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Self::F16 => values.iter().copied().flat_map(half).collect(),
            _ => {
                assert!(rest.is_empty(), "blocks hold 32 values");
                blocks.iter().flat_map(|x| self.block(x)).collect()
            }
        }
    }

    fn block(self, x: &[f32; 32]) -> Vec<u8> {
        let least = x.iter().copied().fold(f32::INFINITY, f32::min);
        let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // The first value of the greatest magnitude, with its sign.
        let extreme = x
            .iter()
            .fold(0f32, |m, &v| if v.abs() > m.abs() { v } else { m });
        let steps = |scale: f32, from: f32, centre: f32, top: u8| {
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            x.map(|v| (((v - from) * inverse + centre) as u8).min(top))
        };
        match self {
            Self::Q4_0 => {
                let scale = extreme / -8.0;
                narrow(&[scale], false, steps(scale, 0.0, 8.5, 15))
            }
            Self::Q4_1 => {
                let scale = (most - least) / 15.0;
                narrow(&[scale, least], false, steps(scale, least, 0.5, 15))
            }
            Self::Q5_0 => {
                let scale = extreme / -16.0;
                narrow(&[scale], true, steps(scale, 0.0, 16.5, 31))
            }
            Self::Q5_1 => {
                let scale = (most - least) / 31.0;
                narrow(&[scale, least], true, steps(scale, least, 0.5, 31))
            }
            _ => {
                let scale = extreme.abs() / 127.0;
                let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
                let bytes = x.map(|v| (v * inverse).round() as i8 as u8);
                half(scale).into_iter().chain(bytes).collect()
            }
        }
    }
}

fn half(value: f32) -> [u8; 2] {
    f16::from_f32(value).to_le_bytes()
}

/// A block: its numbers in half precision, the fifth bits if there are any, the low four bits of values `i` and `i + 16`.
fn narrow(head: &[f32], fifth: bool, q: [u8; 32]) -> Vec<u8> {
    let mut block: Vec<u8> = head.iter().copied().flat_map(half).collect();
    if fifth {
        let bits = (0..32).fold(0u32, |bits, i| bits | u32::from(q[i] >> 4) << i);
        block.extend(bits.to_le_bytes());
    }
    block.extend((0..16).map(|i| (q[i] & 15) | (q[i + 16] & 15) << 4));
    block
}

/// Writes a GGML file of the rule's network. `vocabulary` holds the text tokens in order of their ids. The mel bank is left
/// zero: the product computes its own.
///
/// # Errors
/// When the file cannot be written.
pub fn write(dims: &Dims, vocabulary: &[Vec<u8>], format: Format, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"lmgg")?;
    let [audio, text] = CONTEXTS;
    let (width, heads) = (dims.width, dims.heads);
    numbers(&mut file, &[dims.vocabulary])?;
    numbers(&mut file, &[audio, width, heads, dims.encoder_layers])?;
    numbers(&mut file, &[text, width, heads, dims.decoder_layers])?;
    numbers(&mut file, &[dims.mels, format.ids()[1], dims.mels, BINS])?;
    file.write_all(&vec![0; 4 * dims.mels * BINS])?;
    numbers(&mut file, &[vocabulary.len()])?;
    for token in vocabulary {
        numbers(&mut file, &[token.len()])?;
        file.write_all(token)?;
    }
    for (name, shape) in tensors(dims) {
        let own = tensor_format(&name, &shape, format);
        // Biases of convolutions are columns, for ggml to broadcast along time.
        let column = name.contains(".conv") && name.ends_with("bias");
        let mut sizes = if column { vec![1] } else { Vec::new() };
        sizes.extend(shape.iter().rev());
        let ggml = ggml_name(&name);
        numbers(&mut file, &[sizes.len(), ggml.len(), own.ids()[0]])?;
        numbers(&mut file, &sizes)?;
        file.write_all(ggml.as_bytes())?;
        file.write_all(&own.pack(&tensor(&name, &shape)))?;
    }
    file.flush()
}

fn numbers(file: &mut impl Write, numbers: &[usize]) -> io::Result<()> {
    for &number in numbers {
        file.write_all(&(number as u32).to_le_bytes())?;
    }
    Ok(())
}

/// The format of one tensor in a file of `format`: vectors and positions stay f32, convolutions are never blocked.
fn tensor_format(name: &str, shape: &[usize], format: Format) -> Format {
    match (format, shape.len()) {
        (_, 1) => Format::F32,
        (Format::F32, _) => Format::F32,
        _ if name.ends_with("embed_positions.weight") => Format::F32,
        (_, 3) => Format::F16,
        _ => format,
    }
}

/// A tensor's name in openai/whisper, which GGML files keep (models/convert-h5-to-ggml.py, `conv_map`).
fn ggml_name(name: &str) -> String {
    let name = name.strip_prefix("model.").unwrap_or(name);
    let name = name.replace("embed_positions.weight", "positional_embedding");
    let parts = name.split('.').enumerate().map(|(place, part)| match part {
        "layers" => "blocks",
        "self_attn" => "attn",
        "encoder_attn" => "cross_attn",
        "self_attn_layer_norm" => "attn_ln",
        "encoder_attn_layer_norm" => "cross_attn_ln",
        "final_layer_norm" => "mlp_ln",
        "q_proj" => "query",
        "k_proj" => "key",
        "v_proj" => "value",
        "out_proj" => "out",
        "fc1" => "mlp.0",
        "fc2" => "mlp.2",
        "embed_tokens" => "token_embedding",
        "layer_norm" if place == 1 && name.starts_with("encoder") => "ln_post",
        "layer_norm" => "ln",
        other => other,
    });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
        })
    }

    /// The hashes are of what `gguf.quants.quantize` of gguf 0.19.0 (Python), ggml's own port of its C code, makes of the same
    /// numbers.
    #[test]
    fn blocks_are_those_of_ggml() {
        let values = tensor("wide.bias", &[1 << 15]);
        for (format, length, expected) in [
            (Format::Q8_0, 34_816, 0xf4d8_ef73_6b09_b498),
            (Format::Q5_1, 24_576, 0xf666_e4e1_efde_e4cb),
            (Format::Q5_0, 22_528, 0x6c51_4b3a_1875_a47e),
            (Format::Q4_1, 20_480, 0xea83_2cdf_cced_bc5e),
            (Format::Q4_0, 18_432, 0x986e_1a17_737f_0fd2),
        ] {
            let packed = format.pack(&values);
            assert_eq!(
                (packed.len(), hash(&packed)),
                (length, expected),
                "{format:?}"
            );
            let zeros = format.pack(&[0.0; 32]);
            assert!(
                zeros[..2].iter().all(|&b| b == 0 || b == 0x80),
                "{format:?}"
            );
        }
    }

    #[test]
    fn names_are_those_of_whisper() {
        for (name, expected) in [
            ("model.encoder.conv1.bias", "encoder.conv1.bias"),
            (
                "model.encoder.embed_positions.weight",
                "encoder.positional_embedding",
            ),
            ("model.encoder.layer_norm.bias", "encoder.ln_post.bias"),
            ("model.decoder.layer_norm.bias", "decoder.ln.bias"),
            (
                "model.decoder.embed_tokens.weight",
                "decoder.token_embedding.weight",
            ),
            (
                "model.encoder.layers.3.self_attn_layer_norm.bias",
                "encoder.blocks.3.attn_ln.bias",
            ),
            (
                "model.decoder.layers.0.encoder_attn.k_proj.weight",
                "decoder.blocks.0.cross_attn.key.weight",
            ),
            (
                "model.decoder.layers.0.encoder_attn_layer_norm.weight",
                "decoder.blocks.0.cross_attn_ln.weight",
            ),
            (
                "model.decoder.layers.11.fc2.weight",
                "decoder.blocks.11.mlp.2.weight",
            ),
        ] {
            assert_eq!(ggml_name(name), expected);
        }
    }
}
