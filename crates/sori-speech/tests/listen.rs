//! Listening to a recording with small networks made by a rule.

use std::collections::BTreeMap;
use std::path::Path;

use sori_infer::weights::{Tensor, Tensors};
use sori_speech::diarize::{
    Chunks, ListenOptions, Listener, Mode, Networks, embedding::Embedding,
    segmentation::Segmentation,
};
use sori_testing::{lcg_weights, shared, wav};

fn made(shapes: &[(String, Vec<usize>)]) -> Tensors {
    let tensor = |(name, shape): &(String, Vec<usize>)| {
        let data = lcg_weights::fill(&format!("small.{name}"), shape);
        let shape = shape.clone();
        (name.clone(), Tensor { shape, data })
    };
    Tensors::new(
        Path::new("rule"),
        shapes.iter().map(tensor).collect::<BTreeMap<_, _>>(),
    )
}

/// PyanNet with three sigmoids, filters of noise and one narrow LSTM.
fn segmentation() -> Segmentation {
    let mut shapes = Vec::new();
    let mut add = |name: &str, shape: &[usize]| shapes.push((name.to_owned(), shape.to_vec()));
    add("sincnet.wav_norm1d.weight", &[1]);
    add("sincnet.wav_norm1d.bias", &[1]);
    add("sincnet.conv1d.0.filterbank.low_hz_", &[4, 1]);
    add("sincnet.conv1d.0.filterbank.band_hz_", &[4, 1]);
    add("sincnet.conv1d.0.filterbank.window_", &[125]);
    add("sincnet.conv1d.0.filterbank.n_", &[1, 125]);
    for (stage, inputs) in [(1, 8), (2, 6)] {
        add(&format!("sincnet.conv1d.{stage}.weight"), &[6, inputs, 5]);
        add(&format!("sincnet.conv1d.{stage}.bias"), &[6]);
    }
    for (stage, channels) in [8, 6, 6].into_iter().enumerate() {
        add(&format!("sincnet.norm1d.{stage}.weight"), &[channels]);
        add(&format!("sincnet.norm1d.{stage}.bias"), &[channels]);
    }
    for suffix in ["", "_reverse"] {
        add(&format!("lstm.weight_ih_l0{suffix}"), &[32, 6]);
        add(&format!("lstm.weight_hh_l0{suffix}"), &[32, 8]);
        add(&format!("lstm.bias_ih_l0{suffix}"), &[32]);
        add(&format!("lstm.bias_hh_l0{suffix}"), &[32]);
    }
    for (name, outputs, inputs) in [
        ("linear.0", 8, 16),
        ("linear.1", 8, 8),
        ("classifier", 3, 8),
    ] {
        add(&format!("{name}.weight"), &[outputs, inputs]);
        add(&format!("{name}.bias"), &[outputs]);
    }
    Segmentation::from_tensors(&made(&shapes)).expect("the names and shapes are those of PyanNet")
}

/// WeSpeaker's ResNet with one block of four channels in each stage.
fn embedding() -> Embedding {
    resnet([1; 4])
}

/// WeSpeaker's ResNet of so many blocks of four channels in each stage.
fn resnet(depths: [usize; 4]) -> Embedding {
    let mut shapes = Vec::new();
    let mut conv = |name: &str, norm: &str, shape: &[usize]| {
        shapes.push((format!("{name}.weight"), shape.to_vec()));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            shapes.push((format!("{norm}.{part}"), shape[..1].to_vec()));
        }
    };
    conv("conv1", "bn1", &[4, 1, 3, 3]);
    for (stage, depth) in (1..).zip(depths) {
        for block in 0..depth {
            let name = |part: &str| format!("layer{stage}.{block}.{part}");
            for index in ["1", "2"] {
                conv(
                    &name(&format!("conv{index}")),
                    &name(&format!("bn{index}")),
                    &[4, 4, 3, 3],
                );
            }
            if stage > 1 && block == 0 {
                conv(&name("shortcut.0"), &name("shortcut.1"), &[4, 4, 1, 1]);
            }
        }
    }
    shapes.push(("seg_1.weight".into(), vec![16, 2 * 4 * 10]));
    shapes.push(("seg_1.bias".into(), vec![16]));
    Embedding::from_tensors(&made(&shapes)).expect("the names and shapes are those of a ResNet")
}

fn listen(
    networks: Networks,
    mode: Mode,
    pieces: impl Iterator<Item = impl AsRef<[f32]>>,
) -> Chunks {
    let options = ListenOptions {
        mode,
        ..Default::default()
    };
    let mut listener = Listener::new(networks, options).expect("the network is of a common size");
    pieces.for_each(|piece| listener.push(piece.as_ref()));
    listener.finish()
}

#[test]
fn how_the_sound_is_cut_changes_nothing() {
    let (segmentation, embedding) = (segmentation(), embedding());
    let networks = Networks {
        segmentation: &segmentation,
        embedding: &embedding,
    };
    let sound = wav::read(&shared("media/diar/pyannote_sample.wav"))
        .samples
        .repeat(3);
    let mut voices = 0;
    // A batch of windows is complete after 12.5 s in exact mode, 31 s in fast; blocks of slices begin 20 s apart.
    let exact = [0.0, 0.01, 3.0, 14.0].map(|seconds| (Mode::Exact, seconds));
    let fast = [0.01, 3.0, 24.0, 36.0, 55.0].map(|seconds| (Mode::Fast, seconds));
    for (mode, seconds) in exact.into_iter().chain(fast) {
        let pcm = &sound[..(seconds * 16_000.0) as usize];
        let whole = listen(networks, mode, [pcm].iter());
        assert_eq!(whole.samples(), pcm.len() as u64);
        assert_eq!(whole.windows().len(), whole.grid().windows(whole.samples()));
        let cut = listen(networks, mode, pcm.chunks(70_013));
        assert!(whole == cut, "{mode:?}, {seconds} s in pieces");
        assert_eq!(whole.levels().len(), pcm.len().div_ceil(270));
        let heard = whole.windows().iter().flat_map(|window| window.voices());
        voices += heard.filter(|voice| voice.embedding.len() == 16).count();
    }
    assert!(
        voices > 60,
        "only {voices} voices: the small network hears too little for this test"
    );
}

#[test]
fn in_exact_mode_a_window_is_embedded_alone() {
    let (segmentation, embedding) = (segmentation(), embedding());
    let networks = Networks {
        segmentation: &segmentation,
        embedding: &embedding,
    };
    let sound = wav::read(&shared("media/diar/pyannote_sample.wav")).samples;
    let exact = listen(networks, Mode::Exact, [&sound].iter());
    let mut compared = 0;
    for (at, window) in exact.windows().iter().enumerate() {
        let frames = embedding.frames(&sound[at * 8_000..][..80_000]);
        for voice in window.voices() {
            let masks: Vec<u8> = window.masks().collect();
            let talks = |mask: &u8| {
                f32::from(u8::from(if voice.alone > 2 {
                    *mask == 1 << voice.speaker
                } else {
                    mask & (1 << voice.speaker) != 0
                }))
            };
            let weights: Vec<f32> = masks.iter().map(talks).collect();
            assert_eq!(
                embedding.pool(&frames, &weights).unwrap_or_default(),
                voice.embedding
            );
            compared += 1;
        }
    }
    assert!(compared > 20, "only {compared} voices");
}

#[test]
fn slices_are_embedded_where_they_are_of_use() {
    let segmentation = segmentation();
    let sound = wav::read(&shared("media/diar/pyannote_sample.wav")).samples;
    // 14 s end within the second batch of windows.
    let sound = &sound[..14 * 16_000];
    for (depths, mode, sliced) in [
        ([1, 1, 1, 1], Mode::Exact, true),
        ([3, 4, 6, 3], Mode::Exact, false),
        ([3, 4, 6, 3], Mode::Fast, true),
    ] {
        let embedding = resnet(depths);
        let networks = Networks {
            segmentation: &segmentation,
            embedding: &embedding,
        };
        let whole = listen(networks, mode, [sound].iter());
        let slices = &whole.slices().embeddings;
        let name = embedding.spec().name;
        assert_eq!(!slices.is_empty(), sliced, "{name}, {mode:?}");
        assert!(whole == listen(networks, mode, sound.chunks(70_013)));
        let voices = whole.windows().iter().flat_map(|window| window.voices());
        let embedded = voices.filter(|voice| !voice.embedding.is_empty());
        assert!(embedded.count() > 5, "{name}, {mode:?}");
    }
}
