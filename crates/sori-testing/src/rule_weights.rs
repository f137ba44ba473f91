//! Whisper models whose weights follow from their names: true sizes for parity and speed tests, with nothing to download.
//!
//! The rule, the same in `reference/rule_weights.py` (row-major element `i` of the tensor `name`, arithmetic mod 2^64):
//!
//! ```text
//! seed  = FNV-1a-64(name)
//! z     = splitmix64_finaliser(seed + (i + 1) * 0x9E3779B97F4A7C15)
//! value = f32(2 * (z >> 40) / 2^24 - 1) * f32(scale)
//! ```
//!
//! The scales are chosen so that an untrained network behaves like a trained one where it matters: logits spread over
//! several units, peaked cross-attention, changing tokens, some sequences that end.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

const AUDIO_POSITIONS: usize = 1500;
const TEXT_POSITIONS: usize = 448;
/// Timestamp tokens from 0.00 s to 30.00 s in steps of 0.02 s; always the last of the vocabulary.
const TIMESTAMPS: usize = 1501;
/// Id of `<|endoftext|>` and number of byte-pair ranks in the multilingual vocabulary.
const END_OF_TEXT: usize = 50257;

/// Public Whisper sizes (multilingual).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 38 million parameters.
    Tiny,
    /// 73 million parameters.
    Base,
    /// 242 million parameters.
    Small,
    /// 809 million parameters: the large-v3 encoder with four decoder layers.
    Turbo,
}

/// Shape of a Whisper network; the feed-forward layers are four times `width`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dims {
    /// Mel bands per frame.
    pub mels: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Attention heads per layer.
    pub heads: usize,
    /// Encoder layers.
    pub encoder_layers: usize,
    /// Decoder layers.
    pub decoder_layers: usize,
    /// Tokens, the special ones included: 51865, or 51866 with Cantonese.
    pub vocabulary: usize,
    /// `(layer, head)` of the cross-attentions that follow time in the real checkpoint (openai-whisper's `_ALIGNMENT_HEADS`).
    pub alignment_heads: &'static [(usize, usize)],
}

/// Dimensions of the real checkpoint of that size.
pub fn whisper_dims(size: Size) -> Dims {
    let (mels, width, heads, encoder_layers, decoder_layers, vocabulary) = match size {
        Size::Tiny => (80, 384, 6, 4, 4, 51865),
        Size::Base => (80, 512, 8, 6, 6, 51865),
        Size::Small => (80, 768, 12, 12, 12, 51865),
        Size::Turbo => (128, 1280, 20, 32, 4, 51866),
    };
    let alignment_heads: &[(usize, usize)] = match size {
        Size::Tiny => &[(2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5)],
        Size::Base => &[
            (3, 1),
            (4, 2),
            (4, 3),
            (4, 7),
            (5, 1),
            (5, 2),
            (5, 4),
            (5, 6),
        ],
        Size::Small => &[
            (5, 3),
            (5, 9),
            (8, 0),
            (8, 4),
            (8, 7),
            (8, 8),
            (9, 0),
            (9, 7),
            (9, 9),
            (10, 5),
        ],
        Size::Turbo => &[(2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14)],
    };
    Dims {
        mels,
        width,
        heads,
        encoder_layers,
        decoder_layers,
        vocabulary,
        alignment_heads,
    }
}

/// Name and row-major shape of every tensor, as a Hugging Face `model.safetensors` has them (the output projection is tied
/// to `model.decoder.embed_tokens.weight` and therefore absent).
pub fn tensors(dims: &Dims) -> Vec<(String, Vec<usize>)> {
    let width = dims.width;
    let mut list = vec![
        (
            "model.encoder.conv1.weight".to_owned(),
            vec![width, dims.mels, 3],
        ),
        ("model.encoder.conv1.bias".to_owned(), vec![width]),
        (
            "model.encoder.conv2.weight".to_owned(),
            vec![width, width, 3],
        ),
        ("model.encoder.conv2.bias".to_owned(), vec![width]),
        (
            "model.encoder.embed_positions.weight".to_owned(),
            vec![AUDIO_POSITIONS, width],
        ),
    ];
    for layer in 0..dims.encoder_layers {
        block(
            &mut list,
            &format!("model.encoder.layers.{layer}"),
            width,
            &["self_attn"],
        );
    }
    affine(&mut list, "model.encoder.layer_norm", &[width]);
    let embedding = "model.decoder.embed_tokens.weight".to_owned();
    list.push((embedding, vec![dims.vocabulary, width]));
    let positions = "model.decoder.embed_positions.weight".to_owned();
    list.push((positions, vec![TEXT_POSITIONS, width]));
    for layer in 0..dims.decoder_layers {
        let prefix = format!("model.decoder.layers.{layer}");
        block(&mut list, &prefix, width, &["self_attn", "encoder_attn"]);
    }
    affine(&mut list, "model.decoder.layer_norm", &[width]);
    list
}

fn block(list: &mut Vec<(String, Vec<usize>)>, prefix: &str, width: usize, attentions: &[&str]) {
    for attention in attentions {
        for projection in ["q_proj", "v_proj", "out_proj"] {
            affine(
                list,
                &format!("{prefix}.{attention}.{projection}"),
                &[width, width],
            );
        }
        list.push((
            format!("{prefix}.{attention}.k_proj.weight"),
            vec![width, width],
        ));
        affine(list, &format!("{prefix}.{attention}_layer_norm"), &[width]);
    }
    affine(list, &format!("{prefix}.fc1"), &[4 * width, width]);
    affine(list, &format!("{prefix}.fc2"), &[width, 4 * width]);
    affine(list, &format!("{prefix}.final_layer_norm"), &[width]);
}

fn affine(list: &mut Vec<(String, Vec<usize>)>, name: &str, shape: &[usize]) {
    list.push((format!("{name}.weight"), shape.to_vec()));
    list.push((format!("{name}.bias"), vec![shape[0]]));
}

/// Values of one tensor, row-major; `name` is the Hugging Face name and decides the seed and the scale.
pub fn tensor(name: &str, shape: &[usize]) -> Vec<f32> {
    values(name, shape).collect()
}

/// Values of one tensor, made one by one: the embedding of the largest size alone has 265 MB.
fn values(name: &str, shape: &[usize]) -> Box<dyn Iterator<Item = f32>> {
    let count: usize = shape.iter().product();
    if name == "model.encoder.embed_positions.weight" {
        let width = shape[1];
        return Box::new((0..count).map(move |i| sinusoid(i / width, i % width, width)));
    }
    let (seed, scale) = (fnv1a(name), scale(name, shape));
    let drawn = (0..count as u64).map(move |i| signed_unit(seed, i) * scale);
    if name.contains("layer_norm") && name.ends_with("weight") {
        return Box::new(drawn.map(|value| value + 1.0));
    }
    if !name.ends_with("embed_tokens.weight") {
        return Box::new(drawn);
    }
    let (rows, width) = (shape[0], shape[1]);
    Box::new(drawn.enumerate().map(move |(i, value)| match i / width {
        END_OF_TEXT => value * 4.0,
        row if row + TIMESTAMPS >= rows => value * 1.15,
        _ => value,
    }))
}

fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

/// Element `i` of the stream, in `[-1, 1)` and exact in f32.
fn signed_unit(seed: u64, i: u64) -> f32 {
    let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    ((z >> 40) as i64 - (1 << 23)) as f32 / (1 << 23) as f32
}

/// Half-width of the uniform distribution; `sqrt(3)` of it is the standard deviation.
fn scale(name: &str, shape: &[usize]) -> f32 {
    let scale = if name.contains("layer_norm") || name.ends_with("bias") {
        0.1
    } else if name.ends_with("embed_tokens.weight") {
        0.3 * 3f64.sqrt()
    } else if name.ends_with("embed_positions.weight") {
        1.2 * 3f64.sqrt()
    } else {
        let fan_in: usize = shape[1..].iter().product();
        gain(name) * (3.0 / fan_in as f64).sqrt()
    };
    scale as f32
}

/// Standard deviation of a linear layer's output for an input of unit power, tuned on the tiny and base sizes.
fn gain(name: &str) -> f64 {
    let encoder = name.contains(".encoder.");
    let cross = name.contains("encoder_attn");
    match name.rsplit('.').nth(1) {
        Some("conv1" | "conv2") => 2.0,
        Some("fc1") => 1.5,
        Some("q_proj" | "k_proj") if cross => 3.0,
        Some("q_proj" | "k_proj") if encoder => 1.2,
        Some("q_proj" | "k_proj") => 2.5,
        Some("out_proj") if cross => 1.5,
        Some("out_proj") if !encoder => 2.5,
        Some("fc2") if !encoder => 3.0,
        _ => 1.0,
    }
}

/// Encoder position, in f64 and rounded once (openai-whisper's `sinusoids`, which is f32 throughout and so 1e-4 off at
/// late positions; the reference run loads these values instead).
fn sinusoid(position: usize, channel: usize, width: usize) -> f32 {
    let half = width / 2;
    let rate = (-(10_000f64.ln()) / (half - 1) as f64 * (channel % half) as f64).exp();
    let angle = position as f64 * rate;
    (if channel < half {
        angle.sin()
    } else {
        angle.cos()
    }) as f32
}

/// Byte-pair ranks of the multilingual vocabulary, in order (`multilingual.tiktoken` of openai-whisper, MIT). The last of the
/// 50257 is empty, as it is there.
pub fn multilingual() -> Vec<Vec<u8>> {
    let packed = include_bytes!("../data/multilingual.tiktoken.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_string(&mut text)
        .expect("the file in the repository is gzip of ASCII");
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(token, _)| base64(token))
        .collect()
}

/// Bytes of standard base64 text; padding ends it.
fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0u32, 0);
    for symbol in text.bytes() {
        let six = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        buffer = (buffer << 6 | u32::from(six)) & 0xFFFF;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
        }
    }
    bytes
}

/// Writes a Hugging Face checkpoint folder: `config.json`, `generation_config.json`, `preprocessor_config.json`,
/// `vocab.json`, `added_tokens.json` and `model.safetensors` (f32). There is no `merges.txt`: a pair's rank is the id of its
/// union. `vocabulary` holds the ranks in order, usually [`multilingual`]. Memory stays small at every size.
///
/// # Errors
/// When a file cannot be written.
pub fn write_hf_folder(dims: &Dims, vocabulary: &[Vec<u8>], folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let write = |name: &str, value: Value| fs::write(folder.join(name), value.to_string());
    write("config.json", config(dims))?;
    write("generation_config.json", generation_config(dims))?;
    write("preprocessor_config.json", preprocessor_config(dims))?;
    let ranks = vocabulary.iter().enumerate();
    let ranks = ranks.map(|(id, token)| (token.iter().map(|&b| visible(b)).collect(), json!(id)));
    write("vocab.json", Value::Object(ranks.collect()))?;
    let special = special_tokens(dims).into_iter().zip(END_OF_TEXT..);
    write(
        "added_tokens.json",
        Value::Object(special.map(|(t, id)| (t, json!(id))).collect()),
    )?;
    write_safetensors(dims, &folder.join("model.safetensors"))
}

fn write_safetensors(dims: &Dims, path: &Path) -> io::Result<()> {
    let list = tensors(dims);
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut end = 0;
    for (name, shape) in &list {
        let start = end;
        end += 4 * shape.iter().product::<usize>();
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for (name, shape) in &list {
        for value in values(name, shape) {
            file.write_all(&value.to_le_bytes())?;
        }
    }
    file.flush()
}

/// GPT-2's printable stand-in for a byte, as `vocab.json` spells tokens.
fn visible(byte: u8) -> char {
    let code = match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => u32::from(byte),
        0..=0x20 => 0x100 + u32::from(byte),
        0x7F..=0xA0 => 0x121 + u32::from(byte) - 0x7F,
        0xAD => 0x143,
    };
    char::from_u32(code).expect("every code is below U+0144")
}

/// Language codes in the order of their tokens; the last needs a vocabulary of 51866.
const LANGUAGES: &str = "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur \
    hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg \
    sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue";

fn languages(dims: &Dims) -> impl Iterator<Item = &'static str> {
    let other_special = 8; // end of text, start of transcript, the six of `special_tokens` after the languages
    LANGUAGES
        .split(' ')
        .take(dims.vocabulary - END_OF_TEXT - TIMESTAMPS - other_special)
}

/// Special tokens in the order of their ids, from [`END_OF_TEXT`] on.
fn special_tokens(dims: &Dims) -> Vec<String> {
    let task = [
        "translate",
        "transcribe",
        "startoflm",
        "startofprev",
        "nospeech",
        "notimestamps",
    ];
    let words = ["endoftext", "startoftranscript"]
        .into_iter()
        .chain(languages(dims))
        .chain(task);
    let mut tokens: Vec<String> = words.map(|word| format!("<|{word}|>")).collect();
    tokens.extend((0..TIMESTAMPS).map(|i| format!("<|{:.2}|>", i as f64 * 0.02)));
    tokens
}

/// Ids of brackets, notes and speaker marks that are never spoken (openai-whisper's `non_speech_tokens`).
#[rustfmt::skip]
const NON_SPEECH: [u32; 82] = [
    1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92, 93, 359,
    503, 522, 542, 873, 893, 902, 918, 922, 931, 1350, 1853, 1982, 2460, 2627, 3246, 3253, 3268,
    3536, 3846, 3961, 4183, 4667, 6585, 6647, 7273, 9061, 9383, 10428, 10929, 11938, 12033,
    12331, 12562, 13793, 14157, 14635, 15265, 15618, 16553, 16604, 18362, 18956, 20075, 21675,
    22520, 26130, 26161, 26435, 28279, 29464, 31650, 32302, 32470, 36865, 42863, 47425, 49870,
    50254,
];

fn config(dims: &Dims) -> Value {
    json!({
        "activation_function": "gelu",
        "architectures": ["WhisperForConditionalGeneration"],
        "bos_token_id": END_OF_TEXT,
        "d_model": dims.width,
        "decoder_attention_heads": dims.heads,
        "decoder_ffn_dim": 4 * dims.width,
        "decoder_layers": dims.decoder_layers,
        "decoder_start_token_id": END_OF_TEXT + 1,
        "encoder_attention_heads": dims.heads,
        "encoder_ffn_dim": 4 * dims.width,
        "encoder_layers": dims.encoder_layers,
        "eos_token_id": END_OF_TEXT,
        "is_encoder_decoder": true,
        "max_length": TEXT_POSITIONS,
        "max_source_positions": AUDIO_POSITIONS,
        "max_target_positions": TEXT_POSITIONS,
        "model_type": "whisper",
        "num_hidden_layers": dims.encoder_layers,
        "num_mel_bins": dims.mels,
        "pad_token_id": END_OF_TEXT,
        "scale_embedding": false,
        "torch_dtype": "float32",
        "vocab_size": dims.vocabulary,
    })
}

fn generation_config(dims: &Dims) -> Value {
    let timestamps = dims.vocabulary - TIMESTAMPS;
    let [translate, transcribe, no_timestamps] = [timestamps - 6, timestamps - 5, timestamps - 1];
    let mut suppress: Vec<usize> = NON_SPEECH.iter().map(|&id| id as usize).collect();
    // Start of transcript; then the tasks, the two other starts and no-speech.
    suppress.push(END_OF_TEXT + 1);
    suppress.extend(translate..no_timestamps);
    let language = |(i, code)| (format!("<|{code}|>"), json!(END_OF_TEXT + 2 + i));
    let languages: Map<String, Value> = languages(dims).enumerate().map(language).collect();
    json!({
        "alignment_heads": dims.alignment_heads,
        "begin_suppress_tokens": [220, END_OF_TEXT],
        "bos_token_id": END_OF_TEXT,
        "decoder_start_token_id": END_OF_TEXT + 1,
        "eos_token_id": END_OF_TEXT,
        "forced_decoder_ids": [[1, null], [2, transcribe]],
        "is_multilingual": true,
        "lang_to_id": languages,
        "max_initial_timestamp_index": 50,
        "max_length": TEXT_POSITIONS,
        "no_timestamps_token_id": no_timestamps,
        "pad_token_id": END_OF_TEXT,
        "prev_sot_token_id": timestamps - 3,
        "return_timestamps": false,
        "suppress_tokens": suppress,
        "task_to_id": {"transcribe": transcribe, "translate": translate},
    })
}

fn preprocessor_config(dims: &Dims) -> Value {
    json!({
        "chunk_length": 30,
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": dims.mels,
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": 480_000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": false,
        "sampling_rate": 16_000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, shape, first and last value, and the sum of all bit patterns, from `reference/rule_weights.py`.
    type Golden = (&'static str, &'static [usize], f32, f32, u64);

    #[rustfmt::skip]
    const GOLDEN: [Golden; 11] = [
        ("model.encoder.conv1.weight", &[384, 80, 3], 0.16807722, -0.13281599, 194348894317712),
        ("model.encoder.conv2.bias", &[384], -0.0066739204, -0.020472277, 836165510952),
        ("model.encoder.layers.0.self_attn.q_proj.weight", &[384, 384], 0.06793955, 0.05784521, 309324999688236),
        ("model.encoder.layers.3.fc2.weight", &[384, 1536], -0.011437227, 0.03599351, 1233132632852801),
        ("model.decoder.embed_tokens.weight", &[51865, 384], -0.5036823, 0.18739812, 42201330556304207),
        ("model.decoder.embed_positions.weight", &[448, 384], 0.18264651, -0.9447075, 368034244116924),
        ("model.decoder.layers.1.encoder_attn.out_proj.weight", &[384, 384], 0.11768909, -0.1269638, 309681679388175),
        ("model.decoder.layers.2.encoder_attn.k_proj.weight", &[384, 384], 0.11001566, -0.13535552, 311177733413381),
        ("model.decoder.layers.2.fc1.weight", &[1536, 384], 0.11623154, -0.091928296, 1239373275065048),
        ("model.decoder.layer_norm.weight", &[384], 1.0657483, 0.9025777, 409020319151),
        ("model.decoder.layers.3.final_layer_norm.bias", &[384], 0.006790829, 0.09249153, 763181318833),
    ];

    #[test]
    fn weights_equal_the_reference_bit_for_bit() {
        for (name, shape, first, last, bits) in GOLDEN {
            let made = tensor(name, shape);
            assert_eq!(made.len(), shape.iter().product::<usize>(), "{name}");
            assert_eq!((made[0], made[made.len() - 1]), (first, last), "{name}");
            assert_eq!(
                made.iter().map(|v| u64::from(v.to_bits())).sum::<u64>(),
                bits,
                "{name}"
            );
        }
    }

    #[test]
    fn encoder_positions_are_the_sinusoids() {
        let made = tensor(
            "model.encoder.embed_positions.weight",
            &[AUDIO_POSITIONS, 384],
        );
        // Position, channel, value from `reference/rule_weights.py`; the last bit belongs to the C library.
        for (position, channel, value) in [
            (1499, 0, -0.4442207f32),
            (1499, 191, 0.14933926),
            (1499, 192, -0.8959174),
            (7, 100, 0.056315426),
            (1499, 383, 0.98878604),
        ] {
            assert!(
                (made[position * 384 + channel] - value).abs() < 1e-7,
                "{position} {channel}"
            );
        }
    }

    #[test]
    fn tensors_are_those_of_the_real_checkpoint() {
        for (size, count, parameters) in [
            (Size::Tiny, 167, 37_760_640),
            (Size::Base, 245, 72_593_920),
            (Size::Turbo, 587, 808_878_080),
        ] {
            let list = tensors(&whisper_dims(size));
            let total: usize = list
                .iter()
                .map(|(_, shape)| shape.iter().product::<usize>())
                .sum();
            assert_eq!((list.len(), total), (count, parameters), "{size:?}");
        }
    }

    #[test]
    fn vocabulary_is_complete() {
        let ranks = multilingual();
        assert_eq!(ranks.len(), END_OF_TEXT);
        assert_eq!(
            (ranks[0].as_slice(), ranks[264].as_slice()),
            (&b"!"[..], &b" the"[..])
        );
        assert!(ranks[END_OF_TEXT - 1].is_empty());
        for size in [Size::Tiny, Size::Turbo] {
            let dims = whisper_dims(size);
            let special = special_tokens(&dims);
            assert_eq!(END_OF_TEXT + special.len(), dims.vocabulary);
            assert_eq!(special.last().map(String::as_str), Some("<|30.00|>"));
        }
    }

    #[test]
    fn folder_is_readable_and_holds_the_rule() {
        let real = whisper_dims(Size::Tiny);
        let small = Dims {
            width: 8,
            heads: 2,
            encoder_layers: 1,
            decoder_layers: 1,
            ..real
        };
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        write_hf_folder(&small, &multilingual(), folder.path()).expect("the folder is writable");
        let bytes = fs::read(folder.path().join("model.safetensors")).expect("written above");
        let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("valid JSON");
        let mut end = 0;
        for (name, shape) in tensors(&small) {
            let entry = &header[&name];
            let at = |i: usize| entry["data_offsets"][i].as_u64().expect("an offset") as usize;
            assert_eq!(
                (at(0), entry["shape"].clone()),
                (end, json!(shape)),
                "{name}"
            );
            end = at(1);
            let data = &bytes[8 + length + at(0)..8 + length + at(1)];
            let read = data
                .chunks_exact(4)
                .map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]]));
            assert!(read.eq(values(&name, &shape)), "{name}");
        }
        assert_eq!((8 + length) % 8, 0);
        assert_eq!(bytes.len(), 8 + length + end);
        let json = |name: &str| -> Value {
            let text = fs::read(folder.path().join(name)).expect("written above");
            serde_json::from_slice(&text).expect("valid JSON")
        };
        assert_eq!(json("vocab.json")["\u{120}the"], 264);
        assert_eq!(
            json("vocab.json").as_object().map(Map::len),
            Some(END_OF_TEXT)
        );
        assert_eq!(json("added_tokens.json")["<|notimestamps|>"], 50363);
        let generation = json("generation_config.json");
        assert_eq!(generation["task_to_id"]["transcribe"], 50359);
        assert_eq!(generation["lang_to_id"]["<|su|>"], 50357);
        let suppressed = generation["suppress_tokens"].as_array().expect("a list");
        assert_eq!(
            suppressed[82..],
            [50258, 50358, 50359, 50360, 50361, 50362].map(|id| json!(id))
        );
    }
}
