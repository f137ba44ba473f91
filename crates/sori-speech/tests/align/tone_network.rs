//! A network that is right by construction: it hears tone `n` as token `n`, and silence as blank. So sound can be made that
//! says given words at given times.

use std::f32::consts::TAU;
use std::fs;

use serde_json::json;
use sori_speech::align::Aligner;

/// Samples of a frame; every tone has whole periods in it.
pub const FRAME: usize = 320;
/// The vocabulary; token 0 is blank.
pub const TOKENS: &str = "_|'abcdefghijklmnopqrstuvwxyz가나다라삼세에이";

pub fn token(c: char) -> Option<usize> {
    TOKENS.chars().position(|other| other == c)
}

fn wave(token: usize, sample: usize, shift: f32) -> f32 {
    let cycles = (10 + token) as f32 * sample as f32 / FRAME as f32;
    (TAU * (cycles + shift)).cos()
}

/// Sound in which each frame says its token.
pub fn say(frames: &[usize]) -> Vec<f32> {
    let frame = |&token: &usize| {
        let level = if token == 0 { 0.0 } else { 0.9 };
        (0..FRAME).map(move |sample| level * wave(token, sample, 0.1))
    };
    frames.iter().flat_map(frame).collect()
}

pub fn open() -> Aligner {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, value: serde_json::Value| {
        fs::write(folder.path().join(name), value.to_string()).expect("the folder is writable");
    };
    write(
        "config.json",
        json!({"conv_dim": [1], "conv_kernel": [FRAME], "conv_stride": [FRAME], "pad_token_id": 0}),
    );
    let tokens = TOKENS
        .chars()
        .zip(0..)
        .map(|(c, id): (char, u32)| (c.to_string(), json!(id)));
    write(
        "vocab.json",
        tokens.collect::<serde_json::Map<_, _>>().into(),
    );
    write("preprocessor_config.json", json!({"do_normalize": false}));
    fs::write(folder.path().join("model.onnx"), onnx()).expect("the folder is writable");
    Aligner::open(folder.path()).expect("the folder is whole")
}

/// A field of a protocol buffer that has a length.
fn field(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length > 127 {
        bytes.push(length as u8 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

/// A field that is a small number.
fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn node(operator: &str, inputs: &[&str], output: &str, attribute: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = inputs.iter().flat_map(|name| field(1, name)).collect();
    bytes.extend(field(2, output));
    bytes.extend(field(4, operator));
    bytes.extend(attribute);
    field(1, bytes)
}

/// An attribute that is a list of numbers.
fn ints(name: &str, values: &[u16]) -> Vec<u8> {
    let mut bytes = field(1, name);
    for &value in values {
        bytes.extend([8 << 3, value as u8 | 128, (value >> 7) as u8]);
    }
    // Field 20, the attribute's type: a list of integers.
    bytes.extend([0xA0, 1, 7]);
    field(5, bytes)
}

fn tensor(name: &str, kind: u8, dimensions: &[u16], data: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &dimension in dimensions {
        bytes.extend([1 << 3, dimension as u8 | 128, (dimension >> 7) as u8]);
    }
    bytes.extend(number(2, kind));
    bytes.extend(field(8, name));
    bytes.extend(field(9, data));
    field(5, bytes)
}

/// The network in ONNX: the energy of each tone in each frame, from two convolutions a quarter of a period apart.
fn onnx() -> Vec<u8> {
    let tokens = TOKENS.chars().count();
    let filter = |shift: f32| -> Vec<u8> {
        let one = move |token: usize| {
            let level = if token == 0 { 0.0 } else { 2.0 / FRAME as f32 };
            (0..FRAME).map(move |sample| level * wave(token, sample, shift))
        };
        (0..tokens)
            .flat_map(one)
            .flat_map(f32::to_le_bytes)
            .collect()
    };
    let bias: Vec<u8> = (0..tokens)
        .flat_map(|t| if t == 0 { 0.5f32 } else { 0.0 }.to_le_bytes())
        .collect();
    let stride = [
        ints("strides", &[FRAME as u16]),
        ints("pads", &[0, 0]),
        ints("dilations", &[1]),
    ];
    let stride = stride.concat();
    let shape = [tokens as u16, 1, FRAME as u16];
    let graph = [
        node("Unsqueeze", &["input_values", "axis"], "sound", &[]),
        node("Conv", &["sound", "cosine", "bias"], "c", &stride),
        node("Conv", &["sound", "sine"], "s", &stride),
        node("Mul", &["c", "c"], "cc", &[]),
        node("Mul", &["s", "s"], "ss", &[]),
        node("Add", &["cc", "ss"], "energy", &[]),
        node("Mul", &["energy", "gain"], "scores", &[]),
        node(
            "Transpose",
            &["scores"],
            "logits",
            &ints("perm", &[0, 2, 1]),
        ),
        field(2, "tones"),
        tensor("axis", 7, &[1], 1i64.to_le_bytes().to_vec()),
        tensor("cosine", 1, &shape, filter(0.0)),
        tensor("sine", 1, &shape, filter(0.25)),
        tensor("bias", 1, &[tokens as u16], bias),
        tensor("gain", 1, &[1], 12f32.to_le_bytes().to_vec()),
        field(11, field(1, "input_values")),
        field(12, field(1, "logits")),
    ];
    let version = [field(1, ""), number(2, 13)].concat();
    [number(1, 8), field(7, graph.concat()), field(8, version)].concat()
}
