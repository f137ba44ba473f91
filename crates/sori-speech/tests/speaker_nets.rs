//! The speaker networks against torch: pyannote's PyanNet and WeSpeaker's ResNet34, number by number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sori_infer::InferErrorKind;
use sori_infer::library::Library;
use sori_infer::weights::{Tensor, Tensors};
use sori_speech::diarize::embedding::Embedding;
use sori_speech::diarize::segmentation::{Heads, Segmentation};
use sori_speech::diarize::{
    ClusterOptions, ListenOptions, Listener, Method, Mode, Networks, cluster,
};
use sori_testing::golden::{Array, max_abs_diff, npy, npz};
use sori_testing::{lcg_weights, shared, wav};

fn sample() -> Vec<f32> {
    wav::read(&shared("media/diar/pyannote_sample.wav")).samples
}

fn gold(name: &str) -> BTreeMap<String, Array> {
    npz(&shared(&format!("research/speakers/gold/{name}.npz")))
}

/// Tensors of these names and shapes by the rule of `golden.py`, whose names there begin with `prefix`.
fn rule_made(prefix: &str, shapes: Vec<(String, Vec<usize>)>) -> BTreeMap<String, Tensor> {
    let tensors = shapes.into_iter().map(|(name, shape)| {
        let data = lcg_weights::fill(&format!("{prefix}.{name}"), &shape);
        (name, Tensor { shape, data })
    });
    tensors.collect()
}

/// The shapes of segmentation-3.0's network, filters left out.
fn pyannet(classes: usize) -> Vec<(String, Vec<usize>)> {
    let mut shapes = vec![];
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    add("sincnet.wav_norm1d.weight".into(), &[1]);
    add("sincnet.wav_norm1d.bias".into(), &[1]);
    for (stage, channels) in [80, 60, 60].into_iter().enumerate() {
        add(format!("sincnet.norm1d.{stage}.weight"), &[channels]);
        add(format!("sincnet.norm1d.{stage}.bias"), &[channels]);
    }
    for (stage, inputs) in [(1, 80), (2, 60)] {
        add(format!("sincnet.conv1d.{stage}.weight"), &[60, inputs, 5]);
        add(format!("sincnet.conv1d.{stage}.bias"), &[60]);
    }
    for layer in 0..4 {
        for suffix in ["", "_reverse"] {
            let name = |part: &str| format!("lstm.{part}_l{layer}{suffix}");
            let inputs = if layer == 0 { 60 } else { 256 };
            add(name("weight_ih"), &[512, inputs]);
            add(name("weight_hh"), &[512, 128]);
            add(name("bias_ih"), &[512]);
            add(name("bias_hh"), &[512]);
        }
    }
    for (name, outputs, inputs) in [
        ("linear.0", 128, 256),
        ("linear.1", 128, 128),
        ("classifier", classes, 128),
    ] {
        add(format!("{name}.weight"), &[outputs, inputs]);
        add(format!("{name}.bias"), &[outputs]);
    }
    shapes
}

/// The filters' edges before training, as `asteroid_filterbanks.ParamSincFB` sets them: even on the mel scale.
fn sinc_start() -> BTreeMap<String, Tensor> {
    let mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
    let hz = |mel: f64| 700.0 * (10f64.powf(mel / 2595.0) - 1.0);
    let (low, high) = (mel(30.0), mel(7900.0));
    let edges: Vec<f64> = (0..=40)
        .map(|i| hz(low + (high - low) * f64::from(i) / 40.0))
        .collect();
    let half = (0..125).map(f64::from);
    let window = half
        .clone()
        .map(|i| 0.54 - 0.46 * (std::f64::consts::TAU * i / 250.0).cos());
    let n = half.map(|i| std::f64::consts::TAU * (i - 125.0) / 16_000.0);
    let tensor = |shape: &[usize], values: Vec<f64>| Tensor {
        shape: shape.to_vec(),
        data: values.into_iter().map(|v| v as f32).collect(),
    };
    let bands = edges.windows(2).map(|e| e[1] - e[0]).collect();
    [
        ("low_hz_", tensor(&[40, 1], edges[..40].to_vec())),
        ("band_hz_", tensor(&[40, 1], bands)),
        ("window_", tensor(&[125], window.collect())),
        ("n_", tensor(&[1, 125], n.collect())),
    ]
    .into_iter()
    .map(|(part, tensor)| (format!("sincnet.conv1d.0.filterbank.{part}"), tensor))
    .collect()
}

#[test]
fn powerset_scores_equal_pyannote() {
    let mut tensors = rule_made("seg", pyannet(7));
    tensors.extend(sinc_start());
    let net = Segmentation::from_tensors(&Tensors::new(Path::new("rule"), tensors)).unwrap();
    let spec = net.spec();
    assert_eq!((spec.window_samples, spec.frames), (160_000, 589));
    assert_eq!((spec.frame_step, spec.frame_size), (270, 991));
    assert_eq!(
        (spec.speakers, spec.max_together, spec.classes()),
        (3, 2, 7)
    );
    assert_eq!(spec.heads, Heads::Powerset);
    let pcm = sample();
    let windows: Vec<&[f32]> = pcm.chunks_exact(160_000).collect();
    let found = net.scores(&windows).concat();
    let off = max_abs_diff(&found, &gold("net_powerset")["logp"].values);
    eprintln!("largest difference of log-probabilities {off}");
    assert!(off <= 1e-4, "{off}");
}

#[test]
fn a_batch_equals_its_windows_and_short_windows_are_padded() {
    let mut tensors = rule_made("seg", pyannet(3));
    tensors.extend(sinc_start());
    let net = Segmentation::from_tensors(&Tensors::new(Path::new("rule"), tensors)).unwrap();
    assert_eq!(net.spec().heads, Heads::Sigmoid);
    let pcm = sample();
    let mut padded = pcm[..70_000].to_vec();
    padded.resize(80_000, 0.0);
    let windows = [
        &pcm[..80_000],
        &pcm[..70_000],
        &pcm[9_000..100_000],
        &padded,
    ];
    let together = net.scores(&windows);
    assert_eq!(together.len(), 4);
    assert!(max_abs_diff(&together[1], &together[3]) < 1e-6);
    for (one, window) in together.iter().zip(windows) {
        assert_eq!(one.len(), 293 * 3);
        assert!(max_abs_diff(one, &net.scores(&[window])[0]) < 1e-5);
    }
    assert!(net.scores(&[]).is_empty());
    let silence = net.scores(&[&[]]);
    assert!(silence[0].iter().all(|score| score.is_finite()));
}

/// The shapes of WeSpeaker's ResNet34.
fn resnet34() -> Vec<(String, Vec<usize>)> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![];
    let mut conv = |name: String, norm: String, shape: &[usize]| {
        shapes.push((format!("{name}.weight"), shape.to_vec()));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.push((format!("{norm}.{part}"), shape[..1].to_vec()));
        }
    };
    conv("conv1".into(), "bn1".into(), &[32, 1, 3, 3]);
    let mut inputs = 32;
    for (stage, depth) in [3, 4, 6, 3].into_iter().enumerate() {
        let outputs = 32 << stage;
        for block in 0..depth {
            let name = |part: &str| format!("layer{}.{block}.{part}", stage + 1);
            conv(name("conv1"), name("bn1"), &[outputs, inputs, 3, 3]);
            conv(name("conv2"), name("bn2"), &[outputs, outputs, 3, 3]);
            if inputs != outputs {
                conv(
                    name("shortcut.0"),
                    name("shortcut.1"),
                    &[outputs, inputs, 1, 1],
                );
            }
            inputs = outputs;
        }
    }
    shapes.push(("seg_1.weight".into(), vec![256, 5120]));
    shapes.push(("seg_1.bias".into(), vec![256]));
    shapes
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn resnet_vectors_equal_pyannote() {
    let tensors = rule_made("emb", resnet34());
    let net = Embedding::from_tensors(&Tensors::new(Path::new("rule"), tensors)).unwrap();
    assert_eq!((net.spec().name, net.spec().dimensions), ("resnet34", 256));
    let gold = gold("resnet");
    let frames = net.frames(&sample()[..160_000]);
    let masks = gold["masks"].values.chunks_exact(589);
    let mut cases: Vec<(&[f32], &[f32])> =
        masks.zip(gold["emb"].values.chunks_exact(256)).collect();
    cases.push((&[1.0], &gold["emb_no_mask"].values));
    for (mask, want) in cases {
        let found = net.pool(&frames, mask).expect("masks with frames");
        let (cosine, off) = (cosine(&found, want), max_abs_diff(&found, want));
        eprintln!("cosine {cosine:.8}, largest difference {off}");
        assert!(cosine >= 0.999999 && off < 1e-4, "{cosine} {off}");
    }
    assert_eq!(net.pool(&frames, &[0.0; 589]), None);
    assert_eq!(net.pool(&frames, &[]), None);
    assert_eq!(net.pool(&net.frames(&[0.1; 399]), &[1.0]), None);
    assert!(net.pool(&net.frames(&[0.1; 400]), &[1.0]).is_some());
}

/// A file of `tests/golden`.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The shapes of CAM++ in WeSpeaker's size.
fn campplus() -> Vec<(String, Vec<usize>)> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![];
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    let norm = |add: &mut dyn FnMut(String, &[usize]), name: String, count: usize| {
        for part in ["weight", "bias", "running_mean", "running_var"] {
            add(format!("{name}.{part}"), &[count]);
        }
    };
    let squares = [
        "conv1",
        "layer1.0.conv1",
        "layer1.0.conv2",
        "layer1.1.conv1",
        "layer1.1.conv2",
    ];
    let more = [
        "layer2.0.conv1",
        "layer2.0.conv2",
        "layer2.1.conv1",
        "layer2.1.conv2",
        "conv2",
    ];
    for name in squares.into_iter().chain(more) {
        let inputs = if name == "conv1" { 1 } else { 32 };
        add(format!("head.{name}.weight"), &[32, inputs, 3, 3]);
        norm(&mut add, format!("head.{}", name.replace("conv", "bn")), 32);
    }
    for stage in ["layer1", "layer2"] {
        add(format!("head.{stage}.0.shortcut.0.weight"), &[32, 32, 1, 1]);
        norm(&mut add, format!("head.{stage}.0.shortcut.1"), 32);
    }
    add("xvector.tdnn.linear.weight".into(), &[128, 320, 5]);
    norm(&mut add, "xvector.tdnn.nonlinear.batchnorm".into(), 128);
    let mut width = 128;
    for (block, layers) in [12, 24, 16].into_iter().enumerate() {
        for layer in 1..=layers {
            let name = |part: &str| format!("xvector.block{}.tdnnd{layer}.{part}", block + 1);
            norm(&mut add, name("nonlinear1.batchnorm"), width);
            add(name("linear1.weight"), &[128, width, 1]);
            norm(&mut add, name("nonlinear2.batchnorm"), 128);
            add(name("cam_layer.linear_local.weight"), &[32, 128, 3]);
            add(name("cam_layer.linear1.weight"), &[64, 128, 1]);
            add(name("cam_layer.linear1.bias"), &[64]);
            add(name("cam_layer.linear2.weight"), &[32, 64, 1]);
            add(name("cam_layer.linear2.bias"), &[32]);
            width += 32;
        }
        let name = |part: &str| format!("xvector.transit{}.{part}", block + 1);
        norm(&mut add, name("nonlinear.batchnorm"), width);
        add(name("linear.weight"), &[width / 2, width, 1]);
        width /= 2;
    }
    norm(&mut add, "xvector.out_nonlinear.batchnorm".into(), width);
    add("xvector.dense.linear.weight".into(), &[512, 2 * width, 1]);
    add(
        "xvector.dense.nonlinear.batchnorm.running_mean".into(),
        &[512],
    );
    add(
        "xvector.dense.nonlinear.batchnorm.running_var".into(),
        &[512],
    );
    shapes
}

#[test]
fn campplus_vectors_equal_torch() {
    let tensors = rule_made("cam", campplus());
    let net = Embedding::from_tensors(&Tensors::new(Path::new("rule"), tensors)).unwrap();
    assert_eq!((net.spec().name, net.spec().dimensions), ("cam++", 512));
    let frames = net.frames(&sample()[..160_000]);
    let mut some = [0.0; 589];
    some[100..300].fill(1.0);
    let masks = [&[1.0][..], &some];
    let want = npy(&golden("campplus.npy"));
    for (mask, want) in masks.into_iter().zip(want.values.chunks_exact(512)) {
        let found = net.pool(&frames, mask).expect("masks with frames");
        let (cosine, off) = (cosine(&found, want), max_abs_diff(&found, want));
        eprintln!("cosine {cosine:.8}, largest difference {off}");
        assert!(cosine >= 0.999999 && off < 1e-4, "{cosine} {off}");
    }
    assert_eq!(net.pool(&frames, &[0.0; 3]), None);
    assert_eq!(net.pool(&net.frames(&[0.1; 399]), &[1.0]), None);
    assert!(net.pool(&net.frames(&[0.1; 400]), &[1.0]).is_some());
}

#[test]
fn exports_to_onnx_are_the_networks_they_came_from() {
    for name in ["resnet_tiny", "campplus_tiny"] {
        let net = Embedding::open(&golden(&format!("{name}.onnx"))).unwrap();
        let frames = net.frames(&sample()[..64_000]);
        let found = net.pool(&frames, &[1.0]).expect("all frames");
        let off = max_abs_diff(&found, &npy(&golden(&format!("{name}.npy"))).values);
        eprintln!("{name}: largest difference {off}");
        assert!(off < 1e-4, "{name}: {off}");
    }
}

#[test]
fn other_networks_are_refused() {
    let whole = rule_made("emb", resnet34());
    let refused = |tensors: BTreeMap<String, Tensor>| {
        let tensors = Tensors::new(Path::new("rule"), tensors);
        Embedding::from_tensors(&tensors).err().map(|e| e.kind())
    };
    assert_eq!(refused(BTreeMap::new()), Some(InferErrorKind::Unsupported));
    let cut = [
        ("layer2.0.shortcut.0.weight", InferErrorKind::Shape),
        ("layer4.2.bn2.running_var", InferErrorKind::Missing),
        ("seg_1.weight", InferErrorKind::Missing),
    ];
    for (name, kind) in cut {
        let mut tensors = whole.clone();
        tensors.remove(name);
        assert_eq!(refused(tensors), Some(kind), "{name}");
    }
    for name in [
        "layer1.1.conv1.weight",
        "bn1.bias",
        "seg_1.weight",
        "seg_1.bias",
    ] {
        for (shape, data) in [
            (vec![0, 1, 1], vec![]),
            (vec![1], vec![0.5]),
            (vec![], vec![0.5]),
        ] {
            let mut tensors = whole.clone();
            tensors.insert(name.to_owned(), Tensor { shape, data });
            assert_eq!(refused(tensors), Some(InferErrorKind::Shape), "{name}");
        }
    }
    let mut pyannet = rule_made("seg", pyannet(7));
    pyannet.extend(sinc_start());
    for name in [
        "lstm.bias_ih_l0",
        "linear.0.weight",
        "sincnet.conv1d.1.weight",
        "classifier.bias",
    ] {
        let mut tensors = pyannet.clone();
        let (shape, data) = (vec![0], vec![]);
        tensors.insert(name.to_owned(), Tensor { shape, data });
        let error = Segmentation::from_tensors(&Tensors::new(Path::new("rule"), tensors)).err();
        assert_eq!(
            error.map(|e| e.kind()),
            Some(InferErrorKind::Shape),
            "{name}"
        );
    }
}

/// The file of a network that is not ours to ship, if it is installed.
fn installed(name: &str) -> Option<PathBuf> {
    let root = Library::default_root(&|key| std::env::var(key).ok());
    let model = Library::open(root).and_then(|library| library.get(name));
    match model {
        Ok(model) => Some(model.load_path()),
        Err(_) => {
            eprintln!("SKIPPED: install the model with `sori models pull {name}`");
            None
        }
    }
}

#[test]
fn sigmoid_scores_equal_pyannote() {
    let Some(path) = installed("segmentation-whisperx") else {
        return;
    };
    let net = Segmentation::open(&path).unwrap();
    let spec = net.spec();
    assert_eq!(
        (spec.heads, spec.window_samples, spec.frames),
        (Heads::Sigmoid, 80_000, 293)
    );
    let pcm = sample();
    let windows: Vec<&[f32]> = pcm.chunks_exact(80_000).collect();
    let found = net.scores(&windows).concat();
    let off = max_abs_diff(&found, &gold("net_real")["scores"].values);
    eprintln!("largest difference of probabilities {off}");
    assert!(off <= 1e-4, "{off}");
}

#[test]
fn the_published_export_gives_what_the_runtime_gives() {
    use sori_infer::runtime::{OnnxModel, Tensor};
    let Some(path) = installed("segmentation-3.0") else {
        return;
    };
    let net = Segmentation::open(&path).unwrap();
    let pcm = &sample()[..160_000];
    let model = OnnxModel::load(&path, 2).unwrap();
    let input = Tensor::f32(&[1, 1, 160_000], pcm.to_vec());
    let want = model.run(&[("input", &input)], &["output"]).unwrap();
    let off = max_abs_diff(&net.scores(&[pcm])[0], want[0].as_f32().unwrap());
    eprintln!("largest difference of log-probabilities {off}");
    assert!(off <= 1e-4, "{off}");
}

#[test]
fn resemblyzer_vectors_equal_the_package() {
    let Some(path) = installed("resemblyzer") else {
        return;
    };
    let net = Embedding::open(&path).unwrap();
    assert_eq!((net.spec().name, net.spec().dimensions), ("ge2e", 256));
    let pcm = sample();
    let quiet: Vec<f32> = pcm[50_000..134_800].iter().map(|x| x * 0.01).collect();
    let want = npy(&golden("ge2e.npy"));
    let parts = [&pcm[..160_000], &pcm[48_000..64_000], &quiet];
    for (part, want) in parts.into_iter().zip(want.values.chunks_exact(256)) {
        let mut found = net.pool(&net.frames(part), &[1.0]).expect("all frames");
        // The package keeps what all voices have in common.
        let mean = include_bytes!("../src/diarize/embedding/ge2e_mean.f32");
        for (value, mean) in found.iter_mut().zip(mean.as_chunks().0) {
            *value += f32::from_le_bytes(*mean);
        }
        let off = max_abs_diff(&found, want);
        eprintln!(
            "cosine {:.8}, largest difference {off}",
            cosine(&found, want)
        );
        assert!(off < 1e-4, "{off}");
    }
    // Half of a stretch by a mask is what that half alone gives, where it is loud enough to be left as it is.
    let loud: Vec<f32> = pcm[..160_000].iter().map(|x| x * 1e3).collect();
    let frames = net.frames(&loud);
    let half: Vec<f32> = (0..589).map(|at| f32::from(at < 295)).collect();
    let found = net.pool(&frames, &half).expect("half of the frames");
    let alone = net.frames(&loud[..80_000]);
    let alone = net.pool(&alone, &[1.0]).expect("all frames");
    let off = max_abs_diff(&found, &alone);
    assert!(off < 1e-4, "{off}");
    assert_eq!(net.pool(&frames, &[0.0; 9]), None);
}

/// Over a telephone slices of both voices sound alike: what windows hold apart is not to become one.
#[test]
fn two_people_on_a_telephone_are_told_apart_in_both_modes() {
    let Some((ears, voice)) = installed("segmentation-3.0").zip(installed("resemblyzer")) else {
        return;
    };
    let networks = Networks {
        segmentation: &Segmentation::open(&ears).unwrap(),
        embedding: &Embedding::open(&voice).unwrap(),
    };
    let rttm = std::fs::read_to_string(shared("media/diar/pyannote_sample.rttm")).unwrap();
    for mode in [Mode::Fast, Mode::Exact] {
        let options = ListenOptions {
            mode,
            ..ListenOptions::default()
        };
        let mut listener = Listener::new(networks, options).unwrap();
        listener.push(&sample());
        let options = ClusterOptions::new(Method::suited("ge2e"));
        let found = cluster(&listener.finish(), &options).unwrap();
        let last = found.exclusive.iter().map(|turn| turn.speaker).max();
        assert_eq!(last, Some(1), "{mode:?}");
        // Seconds in which each of the two talks and each speaker is found.
        let mut both = [[0.0; 2]; 2];
        for line in rttm.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [start, long] = [3, 4].map(|i| fields[i].parse::<f64>().unwrap());
            for turn in &found.exclusive {
                let shared = turn.end.min(start + long) - turn.start.max(start);
                both[usize::from(fields[7] == "speaker91")][turn.speaker] += shared.max(0.0);
            }
        }
        let right = (both[0][0] + both[1][1]).max(both[0][1] + both[1][0]);
        let all: f64 = both.as_flattened().iter().sum();
        assert!(right > 0.85 * all, "{mode:?}: {both:?}");
    }
}
