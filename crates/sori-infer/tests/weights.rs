//! Weight files of every format, whole and damaged: what they hold, or an error that names the file; never a panic.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sori_infer::weights::{GgmlFile, SafetensorsSet};
use sori_infer::{InferError, InferErrorKind};
use sori_testing::ggml::{self, Format};
use sori_testing::rule_weights::{self, Dims};
use tempfile::TempDir;

/// A network that no one could use, with every kind of tensor.
const DIMS: Dims = Dims {
    mels: 2,
    width: 32,
    heads: 1,
    encoder_layers: 1,
    decoder_layers: 1,
    vocabulary: 40,
    alignment_heads: &[],
};

/// Where the fields of the GGML files that [`ggml_bytes`] makes lie: the mel bank's sizes, the count of tokens, the first
/// token's length and the first tensor (`encoder.conv1.weight`).
const BANK: usize = 48;
const TOKENS: usize = BANK + 8 + 4 * 2 * 201;
const TENSOR: usize = TOKENS + 4 + 3 * (4 + 2);

fn ggml_bytes(format: Format) -> Vec<u8> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("ggml.bin");
    let tokens = [b"ab".to_vec(), b"cd".to_vec(), vec![0xff, 0]];
    ggml::write(&DIMS, &tokens, format, &path).expect("the folder is writable");
    fs::read(path).expect("written above")
}

/// Opens bytes as a GGML file and reads every tensor of the network.
fn read_ggml(bytes: &[u8]) -> Result<GgmlFile, InferError> {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("ggml-odd.bin");
    fs::write(&path, bytes).expect("the folder is writable");
    let file = GgmlFile::open(&path)?;
    for name in ["encoder.conv1.weight", "decoder.ln.bias"] {
        file.tensor(name)?;
    }
    Ok(file)
}

#[track_caller]
fn refused<T>(result: Result<T, InferError>, kind: InferErrorKind, says: &[&str]) {
    let error = result.err().expect("refused");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for part in says {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[test]
fn every_ggml_format_holds_the_weights_within_its_steps() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("ggml.bin");
    // The largest error of a value in parts of its block's greatest magnitude. A range from -1 to 1 has 15 or 31 steps, or
    // 8 or 16 from zero of which the last is missing on one side; scales and minima are rounded to 11 bits.
    for (format, error) in [
        (Format::F32, 0.0),
        (Format::F16, 1.0 / 2048.0),
        (Format::Q8_0, 0.5 / 127.0 + 0.0006),
        (Format::Q5_1, 1.0 / 31.0 + 0.0015),
        (Format::Q5_0, 1.0 / 16.0 + 0.0006),
        (Format::Q4_1, 1.0 / 15.0 + 0.0015),
        (Format::Q4_0, 1.0 / 8.0 + 0.0006),
    ] {
        ggml::write(&DIMS, &[], format, &path).expect("the folder is writable");
        let file = GgmlFile::open(&path).expect("a whole file");
        assert_eq!(
            (file.sizes.vocabulary, file.sizes.text_layers),
            (DIMS.vocabulary, 1)
        );
        for (ours, theirs) in [
            ("encoder.conv1.weight", "model.encoder.conv1.weight"),
            ("encoder.conv2.bias", "model.encoder.conv2.bias"),
            (
                "encoder.positional_embedding",
                "model.encoder.embed_positions.weight",
            ),
            (
                "decoder.token_embedding.weight",
                "model.decoder.embed_tokens.weight",
            ),
            (
                "decoder.blocks.0.mlp.0.weight",
                "model.decoder.layers.0.fc1.weight",
            ),
            (
                "decoder.blocks.0.cross_attn.key.weight",
                "model.decoder.layers.0.encoder_attn.k_proj.weight",
            ),
        ] {
            let shape = rule_weights::tensors(&DIMS)
                .into_iter()
                .find(|t| t.0 == theirs)
                .expect("a tensor of the network")
                .1;
            let read = file.tensor(ours).expect("a whole tensor");
            let plain: Vec<_> = read.shape.iter().copied().filter(|&d| d != 1).collect();
            assert_eq!(plain, shape, "{ours}");
            let expected = rule_weights::tensor(theirs, &shape);
            assert_eq!(read.data.len(), expected.len());
            for (got, want) in read.data.chunks(32).zip(expected.chunks(32)) {
                let most = want.iter().fold(0f32, |m, v| m.max(v.abs()));
                let off = sori_testing::golden::max_abs_diff(got, want);
                assert!(off <= error * most, "{format:?} {ours}: {off} of {most}");
            }
        }
    }
}

#[test]
fn a_cut_ggml_file_is_refused_wherever_it_ends() {
    let bytes = ggml_bytes(Format::Q5_0);
    let head = (0..TENSOR + 64).step_by(7);
    let tail = (1..40).map(|i| bytes.len() * i / 40);
    for end in head.chain(tail).chain([bytes.len() - 1]) {
        let error = read_ggml(&bytes[..end]).expect_err("cut files are refused");
        assert!(
            error.to_string().contains("ggml-odd.bin: "),
            "{end}: {error}"
        );
    }
    read_ggml(&bytes).expect("the whole file is read");
}

#[test]
fn ggml_claims_that_cannot_be_are_refused() {
    use InferErrorKind::{Damaged, Foreign, Unsupported};
    let whole = ggml_bytes(Format::F16);
    let before = peak_kib();
    for (at, number, kind, says) in [
        (0, 0x6767_6d6d, Foreign, "not a GGML Whisper file"),
        (4, -1, Damaged, "a length of -1"),
        (8, i32::MAX, Damaged, "a length of 2147483647"),
        (40, 1 << 20, Damaged, "at most 256"),
        (BANK, -5, Damaged, "at byte 52"),
        (BANK, 4096, Damaged, "beyond the file's end"),
        (BANK + 4, i32::MAX, Damaged, "at most 65536"),
        (TOKENS, 1 << 20, Damaged, "at byte"),
        (TOKENS, i32::MIN, Damaged, "at byte"),
        (TOKENS + 4, i32::MAX, Damaged, "at most 4096"),
        (TENSOR, 5, Damaged, "at most 4"),
        (TENSOR + 4, i32::MAX, Damaged, "at most 256"),
        (
            TENSOR + 8,
            12,
            Unsupported,
            "q4_0, q4_1, q5_0, q5_1 and q8_0",
        ),
        (TENSOR + 8, -1, Unsupported, "tensor format -1"),
        (TENSOR + 12, 1 << 24, Damaged, "beyond the file's end"),
        (TENSOR + 16, i32::MAX, Damaged, "a length of"),
        (TENSOR + 16, 1 << 24, Damaged, "at byte"),
        (TENSOR + 20, -1, Damaged, "a length of -1"),
        (TENSOR + 24, -1, Damaged, "not text"),
    ] {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&i32::to_le_bytes(number));
        refused(read_ggml(&bytes), kind, &["ggml-odd.bin: ", says]);
    }
    let mut absent = whole.clone();
    absent[TENSOR + 24] = b'x';
    refused(
        read_ggml(&absent),
        InferErrorKind::Missing,
        &["no tensor named encoder.conv1.weight"],
    );
    // 2^24 · 2^24 · 2^24 · 2^24 values, and half a block.
    for (format, sizes, says) in [
        (0, [1 << 24; 4], "impossible shape"),
        (2, [16, 1, 1, 1], "impossible shape"),
        (0, [1 << 24, 64, 1, 1], "beyond the file's end"),
    ] {
        let mut bytes = whole[..TENSOR].to_vec();
        for number in [4, 1, format].into_iter().chain(sizes) {
            bytes.extend(i32::to_le_bytes(number));
        }
        bytes.push(b'x');
        refused(read_ggml(&bytes), Damaged, &["ggml-odd.bin: ", says]);
    }
    // The claims above go up to 4 GiB and more; nothing of that was reserved.
    assert!(peak_kib() < before + (1 << 20), "memory for mere claims");
}

/// The most address space this process ever had, in KiB; 0 where the system does not tell.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmPeak:"));
    peak.and_then(|p| p.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

/// A safetensors file of this header and so many zero bytes.
fn safetensors(header: &str, body: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.resize(bytes.len() + body, 0);
    bytes
}

fn folder_with(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("the folder is writable");
    }
    folder
}

fn read_safetensors(folder: &Path) -> Result<Vec<f32>, InferError> {
    Ok(SafetensorsSet::open(folder)?.tensor("w")?.data)
}

#[test]
fn safetensors_of_three_types_are_widened() {
    let header = r#"{"__metadata__":{"format":"pt"},
        "w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
        "h":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]},
        "b":{"dtype":"BF16","shape":[2,1],"data_offsets":[12,16]},
        "i":{"dtype":"I32","shape":[],"data_offsets":[16,20]}}"#;
    let mut bytes = safetensors(header, 0);
    bytes.extend([1.5f32, -2.0].map(f32::to_le_bytes).concat());
    bytes.extend([0x00, 0x3c, 0x01, 0x00]); // 1, the least subnormal
    bytes.extend([0x80, 0x3f, 0x80, 0xff, 1, 0, 0, 0]); // 1, -∞
    let folder = folder_with(&[("model.safetensors", &bytes)]);
    let set = SafetensorsSet::open(folder.path()).expect("a whole file");
    for (name, shape, data) in [
        ("w", vec![2], [1.5, -2.0]),
        ("h", vec![1, 2], [1.0, 5.960_464_5e-8]),
        ("b", vec![2, 1], [1.0, f32::NEG_INFINITY]),
    ] {
        let tensor = set.tensor(name).expect("a whole tensor");
        assert_eq!(
            (tensor.shape, tensor.data),
            (shape, data.to_vec()),
            "{name}"
        );
    }
    refused(
        set.tensor("i"),
        InferErrorKind::Unsupported,
        &["model.safetensors: ", "tensor i is I32"],
    );
    refused(
        set.tensor("z"),
        InferErrorKind::Missing,
        &["no tensor named z"],
    );
}

#[test]
fn safetensors_claims_that_cannot_be_are_refused() {
    use InferErrorKind::{Damaged, Io};
    let good = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let with = |from: &str, to: &str| safetensors(&good.replace(from, to), 8);
    let giant = |length: u64| [&length.to_le_bytes()[..], good.as_bytes()].concat();
    let before = peak_kib();
    for (what, bytes, kind) in [
        ("nothing", Vec::new(), Io),
        ("half a length", vec![1, 0, 0], Io),
        ("a length alone", giant(1 << 20)[..8].to_vec(), Damaged),
        ("a header of 2^64 bytes", giant(u64::MAX), Damaged),
        ("a header of 2^63 bytes", giant(1 << 63), Damaged),
        ("a header of 4 GiB", giant(1 << 32), Damaged),
        (
            "a header one byte too long",
            giant(good.len() as u64 + 1),
            Damaged,
        ),
        ("a header that is no JSON", safetensors("{w}", 8), Damaged),
        (
            "a deep header",
            safetensors(&"[".repeat(1 << 20), 8),
            Damaged,
        ),
        (
            "a deep unknown key",
            with("\"F32\"", &"{\"a\":".repeat(1 << 16)),
            Damaged,
        ),
        ("a list for a header", safetensors("[]", 8), Damaged),
        ("a GGML file", ggml_bytes(Format::Q4_0), Damaged),
        ("an unknown type", with("F32", "F128"), Damaged),
        ("a negative size", with("[2]", "[-2]"), Damaged),
        (
            "a size of 10^30",
            with("[2]", "[1000000000000000000000000000000]"),
            Damaged,
        ),
        (
            "more values than 2^64",
            with("[2]", "[4294967296,4294967296,4294967296]"),
            Damaged,
        ),
        ("a shape of other length", with("[2]", "[3]"), Damaged),
        ("offsets the wrong way", with("[0,8]", "[8,0]"), Damaged),
        (
            "an offset that is negative",
            with("[0,8]", "[-8,0]"),
            Damaged,
        ),
        ("data not at the start", with("[0,8]", "[4,12]"), Damaged),
        (
            "a tensor outside the file",
            safetensors(
                &good
                    .replace("[2]", "[1073741824]")
                    .replace("[0,8]", "[0,4294967296]"),
                8,
            ),
            Damaged,
        ),
        ("data cut short", safetensors(good, 7), Damaged),
    ] {
        let folder = folder_with(&[("model.safetensors", &bytes)]);
        let error = read_safetensors(folder.path()).expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.to_string().contains("model.safetensors: "), "{error}");
    }
    assert!(peak_kib() < before + (1 << 20), "memory for mere claims");
}

#[test]
fn shards_are_joined_and_never_leave_the_folder() {
    use InferErrorKind::{Damaged, Io, Missing};
    let shard = safetensors(
        r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
        8,
    );
    let other = safetensors(
        r#"{"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        4,
    );
    let index = |name: &str| format!(r#"{{"weight_map":{{"v":"b.safetensors","w":{name}}}}}"#);
    let open = |index: &str| {
        let folder = folder_with(&[
            ("model.safetensors.index.json", index.as_bytes()),
            ("a.safetensors", &shard),
            ("b.safetensors", &other),
        ]);
        let outside: PathBuf = folder.path().join("../sori-outside.safetensors");
        assert!(!outside.exists());
        read_safetensors(folder.path())
    };
    assert_eq!(
        open(&index(r#""a.safetensors""#)).expect("two shards"),
        [0.0; 2]
    );
    for name in [
        r#""../a.safetensors""#,
        r#""..""#,
        r#"".""#,
        r#""/""#,
        r#""/etc/passwd""#,
        r#""x/../../a.safetensors""#,
        r#""./a.safetensors""#,
        r#""a.safetensors/""#,
        r#""""#,
        r#""..\\a.safetensors""#,
    ] {
        let says = ["model.safetensors.index.json: ", "leads out of the folder"];
        refused(open(&index(name)), Damaged, &says);
    }
    refused(
        open(&index(r#""c.safetensors""#)),
        Io,
        &["c.safetensors: no such file"],
    );
    refused(open(&index(r#""a\u0000""#)), Io, &["cannot be read"]);
    refused(
        open(&index(r#""b.safetensors""#)),
        Missing,
        &["no tensor named w"],
    );
    for text in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"weight_map":{"w":1}}"#,
        &"[".repeat(1 << 20),
    ] {
        refused(
            open(text),
            Damaged,
            &["model.safetensors.index.json: not a shard index"],
        );
    }
    let nothing = folder_with(&[]);
    refused(
        read_safetensors(nothing.path()),
        Missing,
        &["neither model.safetensors nor"],
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn random_damage_never_panics(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..24),
        cut in prop::option::of(any::<prop::sample::Index>()),
        format in prop::sample::select(Format::ALL.to_vec()),
    ) {
        let header = r#"{"w":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},"v":{"dtype":"BF16","shape":[3],"data_offsets":[32,38]}}"#;
        for (mut bytes, early, ggml) in [(ggml_bytes(format), TENSOR + 64, true), (safetensors(header, 38), 140, false)] {
            for (index, value, is_early) in &hits {
                // Headers are where the claims are.
                let at = if *is_early { index.index(early) } else { index.index(bytes.len()) };
                bytes[at] = *value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let error = if ggml {
                read_ggml(&bytes).err()
            } else {
                let folder = folder_with(&[("model.safetensors", &bytes)]);
                read_safetensors(folder.path()).err()
            };
            if let Some(error) = error {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
