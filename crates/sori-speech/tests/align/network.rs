//! Log-probabilities against transformers' `Wav2Vec2ForCTC` on rule-made weights (reference/align_golden.py).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sori_infer::InferErrorKind;
use sori_speech::align::Aligner;
use sori_testing::golden;
use sori_testing::lcg_weights::{fill, rule};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Configuration and weights of a network of reference/align_golden.py.
fn network(name: &str) -> (Value, Weights) {
    let network = golden::json(&path("align_network.json"))[name].clone();
    let tensors = network["tensors"].as_array().expect("a list of tensors");
    let one = |tensor: &Value| {
        let name = tensor[0].as_str().expect("a name").to_owned();
        let shape: Vec<usize> = serde_json::from_value(tensor[1].clone()).expect("a shape");
        let values = fill(&name, &shape);
        (name, (shape, values))
    };
    (network["config"].clone(), tensors.iter().map(one).collect())
}

fn write_safetensors(weights: &Weights, path: &Path) {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, (shape, values)) in weights {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let bytes = [&length[..], header.as_bytes(), &data].concat();
    fs::write(path, bytes).expect("the folder is writable");
}

/// 26 letters and what is special, as many tokens as the networks have.
fn tokens() -> Value {
    let letters = ('a'..='z').map(String::from);
    let special = ["<pad>", "|", "'", "<unk>"].map(str::to_owned);
    let all = special.into_iter().chain(letters).zip(0..);
    all.map(|(token, id)| (token, json!(id)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn folder(config: &Value, tokens: &Value, weights: &Weights) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, value: &Value| {
        fs::write(folder.path().join(name), value.to_string()).expect("the folder is writable");
    };
    write("config.json", config);
    write("vocab.json", tokens);
    write_safetensors(weights, &folder.path().join("model.safetensors"));
    folder
}

/// Compares with the golden of this name, within 1e-3.
#[track_caller]
fn check(aligner: &Aligner, name: &str) {
    let want = golden::npy(&path(&format!("align_{name}.npy")));
    let sound = rule("sound", 20_000, 0.3);
    let found = aligner.emissions(&[&sound]).expect("the network runs");
    assert_eq!(
        [found[0].frames(), found[0].vocabulary],
        want.shape[..],
        "{name}"
    );
    let worst = golden::max_abs_diff(&found[0].values, &want.values);
    println!("{name}: {worst:.1e}");
    assert!(worst < 1e-3, "{name}: {worst}");
}

#[test]
fn both_kinds_of_network_equal_the_reference() {
    for name in ["base", "large"] {
        let (config, weights) = network(name);
        let folder = folder(&config, &tokens(), &weights);
        check(
            &Aligner::open(folder.path()).expect("the folder is whole"),
            name,
        );
    }
}

#[test]
fn the_older_names_of_weight_norm_mean_the_same() {
    let (config, weights) = network("base");
    let older = |name: String| {
        let name = name.replace("parametrizations.weight.original0", "weight_g");
        name.replace("parametrizations.weight.original1", "weight_v")
    };
    let weights: Weights = weights
        .into_iter()
        .map(|(name, tensor)| (older(name), tensor))
        .collect();
    assert!(weights.keys().any(|name| name.ends_with("weight_v")));
    let folder = folder(&config, &tokens(), &weights);
    check(
        &Aligner::open(folder.path()).expect("the folder is whole"),
        "base",
    );
}

#[test]
fn a_language_has_its_own_adapter_and_vocabulary() {
    let (config, weights) = network("mms");
    let (adapter, mut rest): (Weights, Weights) = weights
        .into_iter()
        .partition(|(name, _)| name.contains("adapter_layer") || name.starts_with("lm_head"));
    // The folder's own adapter is that of another language.
    for (name, (shape, _)) in &adapter {
        rest.insert(name.clone(), (shape.clone(), fill("another", shape)));
    }
    let languages = json!({"kor": tokens(), "eng": tokens()});
    let folder = folder(&config, &languages, &rest);
    write_safetensors(&adapter, &folder.path().join("adapter.kor.safetensors"));
    check(
        &Aligner::open_for(folder.path(), "ko").expect("the folder is whole"),
        "mms",
    );
    check(
        &Aligner::open_for(folder.path(), "kor").expect("the folder is whole"),
        "mms",
    );
    let missing =
        |result: Result<Aligner, sori_infer::InferError>| result.err().map(|error| error.kind());
    assert_eq!(
        missing(Aligner::open_for(folder.path(), "xx")),
        Some(InferErrorKind::Missing)
    );
    assert_eq!(
        missing(Aligner::open_for(folder.path(), "en")),
        Some(InferErrorKind::Io)
    );
    assert_eq!(missing(Aligner::open(folder.path())), None);
}

#[test]
fn sounds_heard_together_are_heard_alike() {
    let (config, weights) = network("base");
    let folder = folder(&config, &tokens(), &weights);
    let aligner = Aligner::open(folder.path()).expect("the folder is whole");
    let sound = rule("sound", 60_000, 0.3);
    let parts = [&sound[..30_000], &[][..], &sound[..100], &sound[30_000..]];
    let together = aligner.emissions(&parts).expect("the network runs");
    for (part, together) in parts.iter().zip(together) {
        let alone = aligner
            .emissions(&[part])
            .expect("the network runs")
            .remove(0);
        assert!(golden::max_abs_diff(&alone.values, &together.values) < 1e-4);
        assert!(alone.frames() > 0);
    }
}

/// The norm over time sees one window, and attention ends at its edges: frames differ, but not by much.
#[test]
fn long_sounds_are_heard_in_windows() {
    let (config, weights) = network("large");
    let folder = folder(&config, &tokens(), &weights);
    let aligner = Aligner::open(folder.path()).expect("the folder is whole");
    let sound = rule("sound", 16_000 * 70, 0.3);
    let whole = aligner
        .emissions(&[&sound])
        .expect("the network runs")
        .remove(0);
    assert_eq!(whole.frames(), (16_000 * 70 - 400) / 320 + 1);
    // Frame 1400 is the last of the first window, 1401 the first of the second, which hears from frame 1300 on.
    let second = aligner.emissions(&[&sound[1300 * 320..1300 * 320 + 480_000]]);
    let second = second.expect("the network runs").remove(0);
    let rows = 1401 * 30..1401 * 30 + 30 * 1000;
    let part = &second.values[101 * 30..101 * 30 + 30 * 1000];
    assert!(golden::max_abs_diff(&whole.values[rows], part) < 0.1);
}

#[test]
fn folders_that_do_not_fit_are_refused() {
    let (config, weights) = network("base");
    let kind = |config: &Value, tokens: &Value, weights: &Weights| {
        let folder = folder(config, tokens, weights);
        Aligner::open(folder.path()).err().map(|error| error.kind())
    };
    assert_eq!(kind(&config, &tokens(), &weights), None);
    let mut other = config.clone();
    other["hidden_size"] = json!(64);
    assert_eq!(
        kind(&other, &tokens(), &weights),
        Some(InferErrorKind::Shape)
    );
    other["model_type"] = json!("hubert");
    assert_eq!(
        kind(&other, &tokens(), &weights),
        Some(InferErrorKind::Unsupported)
    );
    let more = json!({"<pad>": 0, "a": 30});
    assert_eq!(kind(&config, &more, &weights), Some(InferErrorKind::Shape));
    assert_eq!(
        kind(&config, &json!([1]), &weights),
        Some(InferErrorKind::Damaged)
    );
    let mut fewer = weights.clone();
    fewer.retain(|name, _| !name.contains("layers.1."));
    assert_eq!(
        kind(&config, &tokens(), &fewer),
        Some(InferErrorKind::Missing)
    );
    let empty = tempfile::tempdir().expect("a temporary folder");
    assert_eq!(
        Aligner::open(empty.path()).err().map(|e| e.kind()),
        Some(InferErrorKind::Io)
    );
}
