//! One network in every file format: the same words and numbers; damaged files: an error that names the file, never a panic.

use std::fs;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sori_infer::linear::Compute;
use sori_speech::transcribe::{Spec, Whisper};
use sori_testing::ggml::{self, Format};
use sori_testing::rule_weights::{Dims, Size, multilingual, whisper_dims, write_hf_folder};
use sori_testing::tone;
use tempfile::TempDir;

/// A small network with the real vocabulary.
fn dims(width: usize, layers: usize, vocabulary: usize) -> Dims {
    Dims {
        width,
        heads: 2,
        encoder_layers: layers,
        decoder_layers: layers,
        vocabulary,
        alignment_heads: &[],
        ..whisper_dims(Size::Tiny)
    }
}

fn hf_folder(dims: &Dims) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    write_hf_folder(dims, &multilingual(), folder.path()).expect("the folder is writable");
    folder
}

fn ggml_file(dims: &Dims, format: Format, folder: &Path) -> PathBuf {
    let path = folder.join(format!("ggml-{format:?}.bin"));
    ggml::write(dims, &multilingual(), format, &path).expect("the folder is writable");
    path
}

fn open(path: &Path) -> Whisper {
    Whisper::open(path, Compute::F32).unwrap_or_else(|e| panic!("{e}"))
}

/// Tensors of a safetensors file: name, shape and f32 values.
fn tensors(path: &Path) -> Vec<(String, Value, Vec<f32>)> {
    let bytes = fs::read(path).expect("a file of the test");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let (header, data) = bytes[8..].split_at(length);
    let header: Map<String, Value> = serde_json::from_slice(header).expect("valid JSON");
    let entries = header
        .into_iter()
        .filter(|(name, _)| name != "__metadata__");
    let offset =
        |entry: &Value, i: usize| entry["data_offsets"][i].as_u64().expect("a number") as usize;
    entries
        .map(|(name, entry)| {
            let raw = data[offset(&entry, 0)..offset(&entry, 1)]
                .as_chunks::<4>()
                .0;
            let values = raw.iter().map(|&b| f32::from_le_bytes(b)).collect();
            (name, entry["shape"].clone(), values)
        })
        .collect()
}

fn write_tensors(tensors: &[(String, Value, Vec<f32>)], dtype: &str, path: &Path) {
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape, values) in tensors {
        let start = data.len();
        for &value in values {
            match dtype {
                "F16" => data.extend(f16::from_f32(value).to_le_bytes()),
                "BF16" => data.extend(bf16::from_f32(value).to_le_bytes()),
                _ => data.extend(value.to_le_bytes()),
            }
        }
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    fs::write(path, [&length[..], header.as_bytes(), &data].concat()).expect("a writable folder");
}

/// Splits a folder's weights into shards of every third tensor, with their index.
fn shard(folder: &Path) {
    let all = tensors(&folder.join("model.safetensors"));
    let mut map = Map::new();
    for part in 0..3 {
        let name = format!("model-{}-of-3.safetensors", part + 1);
        let own: Vec<_> = all.iter().skip(part).step_by(3).cloned().collect();
        map.extend(own.iter().map(|t| (t.0.clone(), json!(name))));
        write_tensors(&own, "F32", &folder.join(name));
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    fs::write(
        folder.join("model.safetensors.index.json"),
        index.to_string(),
    )
    .expect("a writable folder");
    fs::remove_file(folder.join("model.safetensors")).expect("it was there");
}

/// Scores after a forced beginning, heard against something like music.
fn logits(model: &Whisper) -> Vec<f32> {
    let sound = tone::music(tone::Shape::seconds(8.0), 3);
    let heard = model.hear(&model.mel(&sound));
    let s = &model.spec().steering;
    let mut tokens = vec![s.start];
    tokens.extend(
        [model.spec().language("ko"), s.transcribe, s.no_timestamps]
            .into_iter()
            .flatten(),
    );
    tokens.extend(
        model
            .spec()
            .tokenizer
            .encode(" The quick brown fox, 안녕하세요."),
    );
    model.forced_logits(&heard, &tokens)
}

/// Root mean square of the difference in parts of the standard deviation of `exact`.
fn distance(found: &[f32], exact: &[f32]) -> f64 {
    assert_eq!(found.len(), exact.len());
    let n = exact.len() as f64;
    let mean = exact.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let power =
        |f: &dyn Fn(usize) -> f64| ((0..exact.len()).map(|i| f(i).powi(2)).sum::<f64>() / n).sqrt();
    power(&|i| f64::from(found[i] - exact[i])) / power(&|i| f64::from(exact[i]) - mean)
}

#[test]
fn every_format_gives_the_same_scores_within_its_precision() {
    let dims = dims(64, 2, 51865);
    let folder = hf_folder(&dims);
    let weights = folder.path().join("model.safetensors");
    let exact = logits(&open(folder.path()));
    assert!(exact.iter().all(|x| x.is_finite()));
    let whole = tensors(&weights);
    let mut found = Vec::new();
    for dtype in ["F16", "BF16"] {
        write_tensors(&whole, dtype, &weights);
        found.push((
            dtype.to_owned(),
            distance(&logits(&open(folder.path())), &exact),
        ));
    }
    write_tensors(&whole, "F32", &weights);
    shard(folder.path());
    found.push((
        "shards".to_owned(),
        distance(&logits(&open(folder.path())), &exact),
    ));
    for format in Format::ALL {
        let model = open(&ggml_file(&dims, format, folder.path()));
        found.push((format!("{format:?}"), distance(&logits(&model), &exact)));
    }
    let of = |name: &str| {
        found
            .iter()
            .find(|f| f.0 == name)
            .expect("measured above")
            .1
    };
    for (name, most) in [
        ("shards", 1e-6),
        ("F32", 1e-6),
        ("F16", 5e-3),
        ("BF16", 3e-2),
        ("Q8_0", 0.05),
        ("Q5_1", 0.3),
        ("Q5_0", 0.3),
        ("Q4_1", 0.5),
        ("Q4_0", 0.5),
    ] {
        for (_, off) in found.iter().filter(|f| f.0 == name) {
            assert!(*off <= most, "{name} is {off} off: {found:?}");
        }
    }
    let five = [of("Q5_1"), of("Q5_0")];
    assert!(five.iter().all(|&f| of("Q8_0") < f), "{found:?}");
    assert!(
        five.iter().all(|&f| f < of("Q4_1") && f < of("Q4_0")),
        "{found:?}"
    );
}

#[test]
fn both_kinds_know_the_same_tokens() {
    let dims = dims(32, 1, 51865);
    let folder = hf_folder(&dims);
    let ggml = ggml_file(&dims, Format::Q8_0, folder.path());
    let (a, b) = (open(folder.path()), open(&ggml));
    let (a, b) = (a.spec(), b.spec());
    assert_eq!(a.sizes, b.sizes);
    assert_eq!(a.framing, b.framing);
    assert_eq!(format!("{:?}", a.steering), format!("{:?}", b.steering));
    assert_eq!(a.steering.languages.len(), 99);
    assert_eq!(
        (a.steering.start, a.steering.first_timestamp),
        (50258, Some(50364))
    );
    for (part, [ours, theirs]) in [
        ("suppressed", [&a.suppressed, &b.suppressed]),
        ("not first", [&a.not_first, &b.not_first]),
    ] {
        let sorted = |ids: &[u32]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids
        };
        assert_eq!(sorted(ours), sorted(theirs), "{part}");
    }
    for text in [
        "",
        " ",
        "Hello, world! It's 3:45 p.m.",
        "   many   spaces\t\tand\nlines\n\n",
        "안녕하세요, 회의를 시작하겠습니다.",
        "日本語と中文，混ぜて。",
        "Größe über naïve cafés",
        "مرحبا بالعالم",
        "👩‍👩‍👧 e\u{301} \u{0}\u{7f}",
        "<|endoftext|> [music] ♪♪",
        "don't we'll I'm they've",
        "0123456789 $1,234.56",
    ] {
        let ids = a.tokenizer.encode(text);
        assert_eq!(ids, b.tokenizer.encode(text), "{text:?}");
        assert!(ids.iter().all(|&id| id < a.steering.end), "{text:?}");
        assert_eq!(
            a.tokenizer.decode(&ids),
            b.tokenizer.decode(&ids),
            "{text:?}"
        );
        assert_eq!(
            a.tokenizer.decode(&ids).chars().count() == 0,
            text.is_empty()
        );
    }
}

#[test]
fn the_english_only_vocabulary_has_no_languages() {
    let dims = dims(32, 1, 51864);
    let text = &multilingual()[..50256];
    let folder = TempDir::new().expect("a temporary folder");
    write_hf_folder(&dims, text, folder.path()).expect("the folder is writable");
    // The rule's folders are multilingual: the special tokens of the English ones begin one id earlier.
    let file = folder.path().join("added_tokens.json");
    let added: Map<String, Value> = read(&file);
    let mut names: Vec<_> = added
        .iter()
        .map(|(n, id)| (id.as_u64(), n.clone()))
        .collect();
    names.sort_unstable();
    let mut names: Vec<_> = names.into_iter().map(|n| n.1).collect();
    let su = names
        .iter()
        .position(|n| n == "<|jw|>")
        .expect("a language");
    names.insert(su + 1, "<|su|>".to_owned());
    let ids: Map<_, _> = names.into_iter().zip((50256..).map(Value::from)).collect();
    fs::write(&file, Value::Object(ids).to_string()).expect("the folder is writable");
    let path = folder.path().join("ggml-en.bin");
    ggml::write(&dims, text, Format::Q5_1, &path).expect("the folder is writable");
    let (a, b) = (open(folder.path()), open(&path));
    let names = |spec: &Spec| format!("{:?}", spec.steering);
    assert_eq!(names(a.spec()), names(b.spec()));
    let s = &b.spec().steering;
    assert!(s.languages.is_empty());
    assert_eq!((s.end, s.start, s.transcribe), (50256, 50257, Some(50358)));
    assert_eq!(
        (s.no_timestamps, s.first_timestamp),
        (Some(50362), Some(50363))
    );
    assert!(logits(&b).iter().all(|x| x.is_finite()));
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&fs::read(path).expect("a file of the test")).expect("valid JSON")
}

/// The message with which a checkpoint is refused.
#[track_caller]
fn refusal(path: &Path, what: &str) -> String {
    let error = Whisper::open(path, Compute::Int8).err().expect(what);
    error.to_string()
}

#[test]
fn damaged_folders_are_refused_by_file() {
    let folder = hf_folder(&dims(32, 1, 51865));
    let at = |name: &str| folder.path().join(name);
    let config = |key: &'static str, value: Value| {
        let mut whole: Value = read(&at("config.json"));
        whole[key] = value;
        ("config.json", Some(whole.to_string()))
    };
    let added = |from: &str, to: &str| {
        let whole = fs::read_to_string(at("added_tokens.json")).expect("a file of the test");
        ("added_tokens.json", Some(whole.replacen(from, to, 1)))
    };
    let text = |name: &'static str, text: &str| (name, Some(text.to_owned()));
    let mut cases = vec![
        config("encoder_attention_heads", json!(0)),
        config("decoder_attention_heads", json!(7)),
        config("vocab_size", json!(1_000_000_000_000u64)),
        config("vocab_size", json!(-1)),
        config("vocab_size", json!(100)),
        config("d_model", json!(1e30)),
        config("d_model", json!(0)),
        config("encoder_layers", json!(u64::MAX)),
        config("decoder_layers", json!(0)),
        config("num_mel_bins", json!(1u64 << 40)),
        config("max_source_positions", json!(0)),
        config("max_target_positions", Value::Null),
        added(":50257", ":99999999999"),
        text("vocab.json", r#"{"a": 4000000000}"#),
        text("vocab.json", r#"{"語": 0}"#),
        text("preprocessor_config.json", r#"{"hop_length": 0}"#),
        text("preprocessor_config.json", r#"{"n_fft": 1000000000000}"#),
    ];
    for name in [
        "config.json",
        "vocab.json",
        "added_tokens.json",
        "model.safetensors",
    ] {
        cases.push((name, None));
    }
    for name in [
        "config.json",
        "vocab.json",
        "added_tokens.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        for damage in ["", "{", "7", "\u{0}\u{0}\u{0}\u{0}", &"[".repeat(100_000)] {
            cases.push(text(name, damage));
        }
    }
    for (name, damage) in cases {
        let whole = fs::read(at(name)).ok();
        match &damage {
            Some(text) => fs::write(at(name), text).expect("the folder is writable"),
            None => fs::remove_file(at(name)).expect("it was there"),
        }
        let what = format!("{name}: {:.40}", damage.as_deref().unwrap_or("absent"));
        let message = refusal(folder.path(), &what);
        assert!(message.contains(name), "{what}: {message}");
        match whole {
            Some(bytes) => fs::write(at(name), bytes).expect("the folder is writable"),
            None => fs::remove_file(at(name)).expect("it was there"),
        }
    }
    open(folder.path());
    fs::write(at("added_tokens.json"), "{}").expect("the folder is writable");
    let message = refusal(folder.path(), "no special tokens");
    assert!(message.contains("<|endoftext|>"), "{message}");
}

#[test]
fn weights_of_another_network_are_refused() {
    let folder = hf_folder(&dims(32, 1, 51865));
    let weights = folder.path().join("model.safetensors");
    let whole = tensors(&weights);
    let place = folder.path().display().to_string();
    for name in [
        "model.encoder.conv2.weight",
        "model.decoder.layers.0.fc2.bias",
    ] {
        let mut less = whole.clone();
        less.retain(|t| t.0 != name);
        write_tensors(&less, "F32", &weights);
        let message = refusal(folder.path(), name);
        let plain = name.trim_start_matches("model.");
        assert!(
            message.starts_with(&place) && message.contains(plain),
            "{message}"
        );
    }
    for (name, shape) in [
        ("model.encoder.conv1.weight", json!([32, 3, 80])),
        ("model.decoder.embed_tokens.weight", json!([32, 51865])),
        ("model.encoder.layer_norm.bias", json!([4, 8])),
    ] {
        let mut other = whole.clone();
        other.iter_mut().find(|t| t.0 == name).expect("a tensor").1 = shape;
        write_tensors(&other, "F32", &weights);
        let message = refusal(folder.path(), name);
        assert!(message.contains("the configuration says"), "{message}");
    }
    // A file with a layer less, a wider one, and one for more words than it has.
    let ggml = ggml_file(&dims(32, 1, 51865), Format::F16, folder.path());
    for (at, number, says) in [
        (12, 64, "differ in width"),
        (16, 0, "0 encoder heads"),
        (16, 3, "cannot be split"),
        (20, 2, "encoder.blocks.1"),
        (24, 4, "4 text context"),
        (24, 447, "configuration says"),
        (4, 51866, "configuration says"),
        (4, 0, "0 vocabulary"),
        (4, 300, "<|endoftext|>"),
        (40, 81, "configuration says"),
    ] {
        let mut bytes = fs::read(&ggml).expect("written above");
        bytes[at..at + 4].copy_from_slice(&i32::to_le_bytes(number));
        let other = folder.path().join("ggml-other.bin");
        fs::write(&other, bytes).expect("the folder is writable");
        let message = refusal(&other, says);
        assert!(
            message.contains("ggml-other.bin: ") && message.contains(says),
            "{message}"
        );
    }
}

#[test]
fn cut_files_are_refused_wherever_they_end() {
    let dims = dims(32, 1, 51865);
    let folder = hf_folder(&dims);
    let ggml = ggml_file(&dims, Format::Q4_0, folder.path());
    let (cut, weights) = (
        folder.path().join("cut.bin"),
        folder.path().join("model.safetensors"),
    );
    let (ggml, hf) = (
        fs::read(ggml).expect("written above"),
        fs::read(&weights).expect("written"),
    );
    for i in 0..40 {
        for (bytes, path, open) in [(&ggml, &cut, cut.as_path()), (&hf, &weights, folder.path())] {
            let end = bytes.len() * i / 40;
            fs::write(path, &bytes[..end]).expect("the folder is writable");
            let message = refusal(open, &format!("cut at {end}"));
            let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
            assert!(message.contains(name), "cut at {end}: {message}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn random_damage_never_panics(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        // Written once: a case damages a file in place and mends it.
        static FILES: std::sync::OnceLock<(TempDir, PathBuf)> = std::sync::OnceLock::new();
        let (folder, ggml) = FILES.get_or_init(|| {
            let dims = dims(32, 1, 51865);
            let folder = hf_folder(&dims);
            let ggml = ggml_file(&dims, Format::Q5_0, folder.path());
            (folder, ggml)
        });
        for name in [
            "config.json",
            "generation_config.json",
            "preprocessor_config.json",
            "vocab.json",
            "added_tokens.json",
            "model.safetensors",
            "ggml-Q5_0.bin",
        ] {
            let path = folder.path().join(name);
            let whole = fs::read(&path).expect("written above");
            let mut bytes = whole.clone();
            for (index, value, early) in &hits {
                // Headers are where the claims are; in JSON a digit is the damage that parses.
                let at = index.index(if *early { bytes.len().min(4096) } else { bytes.len() });
                bytes[at] = if bytes[at].is_ascii_digit() { b'0' + value % 10 } else { *value };
            }
            fs::write(&path, bytes).expect("the folder is writable");
            let opened = Whisper::open(if name.ends_with("bin") { ggml } else { folder.path() }, Compute::Int8);
            if let Ok(model) = opened {
                prop_assert!(model.mel(&[0.1; 1600]).iter().all(|x| x.is_finite()), "{}", name);
            }
            fs::write(&path, whole).expect("the folder is writable");
        }
    }
}
