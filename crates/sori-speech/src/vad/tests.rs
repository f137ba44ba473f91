use std::path::Path;

use proptest::prelude::*;
use sori_testing::{
    golden, shared,
    tone::{self, Random, Shape},
    wav,
};

use super::*;

/// Longest span and window of the tests, that of Whisper.
const WINDOW: f64 = 30.0;

fn silero() -> VadModel {
    VadModel::Silero(OnnxModel::load(&shared("models/vad/silero_vad.onnx"), 1).unwrap())
}

fn probabilities(model: VadModel, pcm: &[f32]) -> Vec<f32> {
    let (mut vad, mut out) = (Vad::new(model), Vec::new());
    vad.push(pcm, &mut out).unwrap();
    vad.finish(&mut out).unwrap();
    out
}

fn spans(model: VadModel, pcm: &[f32]) -> Vec<Span> {
    let frame_seconds = Vad::new(model.clone()).frame_seconds();
    segment(
        &probabilities(model, pcm),
        frame_seconds,
        &VadOptions::default(),
        WINDOW,
    )
}

fn segment(probabilities: &[f32], frame: f64, options: &VadOptions, max: f64) -> Vec<Span> {
    let (mut segmenter, mut out) = (Segmenter::new(options, frame, max).unwrap(), Vec::new());
    probabilities
        .iter()
        .for_each(|&probability| segmenter.push(probability, &mut out));
    segmenter.finish(probabilities.len() as f64 * frame, &mut out);
    out
}

fn speech(path: &str) -> Vec<f32> {
    let sound = wav::read(&shared(&format!("media/{path}")));
    assert_eq!(sound.channels, 1, "{path}");
    // Every second or third sample is good enough to tell speech from silence.
    let step = (sound.sample_rate / SAMPLE_RATE) as usize;
    assert_eq!(sound.sample_rate, SAMPLE_RATE * step as u32, "{path}");
    sound
        .samples
        .chunks(step)
        .map(|chunk| chunk.iter().sum::<f32>() / step as f32)
        .collect()
}

#[test]
fn silero_equals_its_golden_run() {
    // reference: onnxruntime on the CPU, 64 samples of context, shared/models/MANIFEST.md.
    let found = probabilities(silero(), &speech("diar/pyannote_sample.wav"));
    let golden = golden::npy(&shared("models/golden/silero_pyannote_sample.npy")).values;
    assert!(found.len() - golden.len() <= 1);
    let worst = golden::max_abs_diff(&found[..golden.len()], &golden);
    assert!(worst <= 1e-4, "largest difference {worst}");
}

#[test]
fn what_is_no_speech_gives_no_span() {
    let mut beeps = tone::sine(Shape::seconds(10.0), 1000.0);
    beeps
        .iter_mut()
        .enumerate()
        .for_each(|(at, x)| *x *= f32::from(u8::from(at % 16_000 < 8_000)));
    let mut starting = tone::silence(Shape::seconds(3.0));
    starting.extend(tone::white_noise(Shape::seconds(5.0).level(0.1), 4));
    let mut click = tone::silence(Shape::seconds(4.0));
    click[30_000..30_400].fill(0.9);
    let mut sounds = vec![
        ("nothing".to_owned(), Vec::new()),
        ("silence".to_owned(), tone::silence(Shape::seconds(10.0))),
        ("beeps".to_owned(), beeps),
        ("noise that starts".to_owned(), starting),
        ("click".to_owned(), click),
        ("constant".to_owned(), vec![0.5; 80_000]),
        ("not numbers".to_owned(), vec![f32::NAN; 80_000]),
    ];
    for level in [0.001, 0.02, 0.3, 0.5] {
        let shape = Shape::seconds(10.0).level(level);
        sounds.push((format!("white noise {level}"), tone::white_noise(shape, 1)));
        sounds.push((format!("pink noise {level}"), tone::pink_noise(shape, 2)));
        for seed in 0..3 {
            sounds.push((format!("music {seed} {level}"), tone::music(shape, seed)));
        }
        sounds.push((format!("chirp {level}"), tone::chirp(shape, 80.0, 4000.0)));
        for hz in [50.0, 110.0, 220.0, 440.0, 1000.0, 3000.0] {
            sounds.push((format!("sine {hz} Hz {level}"), tone::sine(shape, hz)));
            sounds.push((format!("chord {hz} Hz {level}"), tone::chord(shape, hz)));
        }
    }
    sounds.push(("dog".to_owned(), dog()));
    for (name, sound) in sounds {
        assert_eq!(spans(VadModel::Builtin, &sound), [], "{name}");
    }
}

/// A dog's bark, 44.1 kHz in the file: resampled by linear interpolation, which only makes it brighter.
fn dog() -> Vec<f32> {
    let sound = wav::read(&shared("media/events/dog_1-100032-A-0.wav"));
    let step = f64::from(sound.sample_rate) / f64::from(SAMPLE_RATE);
    let count = (sound.samples.len() as f64 / step) as usize - 1;
    let at = |index: usize| {
        let place = index as f64 * step;
        let (before, part) = (place as usize, place.fract() as f32);
        sound.samples[before] * (1.0 - part) + sound.samples[before + 1] * part
    };
    (0..count).map(at).collect()
}

#[test]
fn the_builtin_detector_finds_what_silero_finds() {
    for path in [
        "diar/pyannote_sample.wav",
        "noise/dfn_clean.wav",
        "noise/dfn_noisy.wav",
    ] {
        let pcm = speech(path);
        let reference = probabilities(silero(), &pcm);
        let found = spans(VadModel::Builtin, &pcm);
        let voiced: Vec<f64> = (0..reference.len())
            .filter(|&frame| reference[frame] > 0.5)
            .map(|frame| (frame as f64 + 0.5) * 0.032)
            .collect();
        let covered = |time: &&f64| found.iter().any(|s| s.start <= **time && **time <= s.end);
        let recall = voiced.iter().filter(covered).count() as f64 / voiced.len() as f64;
        assert!(recall >= 0.95, "{path}: {recall}");
    }
}

#[test]
fn synthetic_voices_at_any_level_are_speech() {
    for name in [
        "ko_1", "ko_2", "ko_3", "ko_4_f", "en_1", "en_2_f", "en_3_slt", "en_4_rms",
    ] {
        let path = shared(&format!("media/synthetic/{name}.wav"));
        let sound = wav::read(&path);
        let ratio = f64::from(sound.sample_rate) / f64::from(SAMPLE_RATE);
        let count = (sound.samples.len() as f64 / ratio) as usize;
        for gain in [1.0, 0.1, 0.01] {
            let pcm: Vec<f32> = (0..count)
                .map(|n| sound.samples[(n as f64 * ratio) as usize] * gain)
                .collect();
            let speech: f64 = spans(VadModel::Builtin, &pcm)
                .iter()
                .map(Span::seconds)
                .sum();
            let share = speech / (count as f64 / f64::from(SAMPLE_RATE));
            assert!(share > 0.8, "{name} at {gain}: {share}");
        }
    }
}

#[test]
fn options_are_checked() {
    let base = VadOptions::default;
    for (options, name) in [
        (
            VadOptions {
                threshold: 0.0,
                ..base()
            },
            "threshold",
        ),
        (
            VadOptions {
                threshold: f32::NAN,
                ..base()
            },
            "threshold",
        ),
        (
            VadOptions {
                neg_threshold: Some(0.6),
                ..base()
            },
            "neg_threshold",
        ),
        (
            VadOptions {
                min_speech_ms: 20_000,
                ..base()
            },
            "min_speech_ms",
        ),
        (
            VadOptions {
                min_silence_ms: 20_000,
                ..base()
            },
            "min_silence_ms",
        ),
        (
            VadOptions {
                speech_pad_ms: 20_000,
                ..base()
            },
            "speech_pad_ms",
        ),
    ] {
        assert_eq!(options.validate().unwrap_err().option(), name);
    }
    for (frame, max) in [(0.032, 0.5), (0.0, 30.0), (0.032, f64::NAN), (0.032, 1e9)] {
        let error = Segmenter::new(&base(), frame, max).unwrap_err();
        assert_eq!(error.option(), "max_span_seconds");
    }
}

/// Frames of 100 ms: `9` is a probability of 0.9, and so on.
fn digits(text: &str, options: &VadOptions, max: f64) -> Vec<(i64, i64)> {
    let probabilities: Vec<f32> = text
        .bytes()
        .map(|digit| f32::from(digit - b'0') / 10.0 + 0.01)
        .collect();
    let ms = |seconds: f64| (seconds * 1000.0).round() as i64;
    let found = segment(&probabilities, 0.1, options, max);
    found
        .iter()
        .map(|span| (ms(span.start), ms(span.end)))
        .collect()
}

#[test]
fn spans_follow_the_rules_of_silero() {
    let bare = VadOptions {
        speech_pad_ms: 0,
        ..VadOptions::default()
    };
    let padded = VadOptions {
        speech_pad_ms: 200,
        ..VadOptions::default()
    };
    for (text, options, expected) in [
        ("0000000000", &bare, vec![]),
        ("0099999000000", &bare, vec![(200, 700)]),
        // Between the thresholds speech goes on; it does not start there.
        ("0044499994444440000", &bare, vec![(500, 1500)]),
        // A short silence does not end it, a short sound does not start it.
        ("0099900999000000", &bare, vec![(200, 1000)]),
        ("0099000000000", &bare, vec![]),
        // It reaches the end of the stream.
        ("000009999", &bare, vec![(500, 900)]),
        ("0000099990", &padded, vec![(300, 1000)]),
        (
            "0999000000000999900000",
            &padded,
            vec![(0, 600), (1100, 1900)],
        ),
        // Neighbours share a gap that is too small for both paddings.
        (
            "0009990000999900000",
            &VadOptions {
                min_silence_ms: 200,
                ..padded.clone()
            },
            vec![(100, 800), (800, 1600)],
        ),
    ] {
        assert_eq!(digits(text, options, WINDOW), expected, "{text}");
    }
}

#[test]
fn a_long_span_is_cut_where_speech_is_least_likely() {
    let bare = VadOptions {
        speech_pad_ms: 0,
        ..VadOptions::default()
    };
    // 2 s at most: the least likely frame of the last third is the 17th; what is left is short and kept.
    let text = "999999969999999995999990000000";
    assert_eq!(digits(text, &bare, 2.0), [(0, 1700), (1700, 2300)]);
    let endless = "9".repeat(1000);
    let found = digits(&endless, &VadOptions::default(), 3.0);
    assert!(found.iter().all(|(start, end)| end - start <= 3000));
    assert_eq!(
        found.iter().map(|(start, end)| end - start).sum::<i64>(),
        100_000
    );
}

#[test]
fn windows_are_full_and_cut_at_the_longest_pause() {
    let pack = |spans: &[(f64, f64)]| {
        let (mut packer, mut out) = (Packer::new(30.0), Vec::new());
        spans
            .iter()
            .for_each(|&(start, end)| packer.push(Span { start, end }, &mut out));
        packer.finish(&mut out);
        out.iter()
            .map(|w| (w.start, w.end, w.spans.len()))
            .collect::<Vec<_>>()
    };
    for (spans, expected) in [
        (&[][..], vec![]),
        (&[(1.0, 5.0), (6.0, 29.0)][..], vec![(1.0, 29.0, 2)]),
        // The pause of 1.5 s in the second half is the place, not the last one.
        (
            &[(0.0, 16.0), (17.5, 24.0), (24.5, 28.0), (28.2, 40.0)][..],
            vec![(0.0, 16.0, 1), (17.5, 40.0, 3)],
        ),
        // Two seconds of silence are not worth computing.
        (
            &[(0.0, 3.0), (5.5, 9.0)][..],
            vec![(0.0, 3.0, 1), (5.5, 9.0, 1)],
        ),
        (
            &[(0.0, 10.0), (11.0, 40.0)][..],
            vec![(0.0, 10.0, 1), (11.0, 40.0, 1)],
        ),
        (
            &[(0.0, 75.0)][..],
            vec![(0.0, 25.0, 1), (25.0, 50.0, 1), (50.0, 75.0, 1)],
        ),
    ] {
        assert_eq!(pack(spans), expected);
    }
}

#[test]
fn a_foreign_network_is_an_error() {
    let path = shared("models/denoise/gtcrn_simple.onnx");
    let mut vad = Vad::new(VadModel::Silero(OnnxModel::load(&path, 1).unwrap()));
    assert!(vad.push(&[0.0; 512], &mut Vec::new()).is_err());
    assert!(OnnxModel::load(Path::new("nowhere.onnx"), 1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pushing a sound in pieces gives the same probabilities as pushing it whole, bit for bit.
    #[test]
    fn pieces_give_what_the_whole_gives(seed in any::<u64>(), with_silero in any::<bool>()) {
        let model = || if with_silero { silero() } else { VadModel::Builtin };
        let pcm = &speech("noise/dfn_noisy.wav")[..40_000];
        let whole = probabilities(model(), pcm);
        let (mut random, mut vad, mut out) = (Random::new(seed), Vad::new(model()), Vec::new());
        let mut rest = pcm;
        while !rest.is_empty() {
            let count = (random.next() as usize % 3000).min(rest.len());
            vad.push(&rest[..count], &mut out).unwrap();
            rest = &rest[count..];
        }
        vad.finish(&mut out).unwrap();
        prop_assert_eq!(&out, &whole);
        prop_assert_eq!(out.len(), pcm.len().div_ceil(if with_silero { 512 } else { 256 }));
        // After its end the stream starts anew.
        out.clear();
        vad.push(pcm, &mut out).unwrap();
        vad.finish(&mut out).unwrap();
        prop_assert_eq!(out, whole);
    }
}

proptest! {
    /// Spans are in order, inside the stream and no longer than allowed, windows likewise, and no frame of speech is lost
    /// but in spans that are too short.
    #[test]
    fn spans_and_windows_keep_their_bounds(
        levels in prop::collection::vec((0.0..1.0f32, 1usize..60), 0..40),
        max in 5.0..30.0f64,
        speech_pad_ms in 0u32..600,
        min_silence_ms in 0u32..1000,
    ) {
        let options = VadOptions { speech_pad_ms, min_silence_ms, min_speech_ms: 0, ..VadOptions::default() };
        let frames: Vec<f32> =
            levels.iter().flat_map(|&(level, count)| vec![level; count]).collect();
        let found = segment(&frames, 0.032, &options, max);
        let total = frames.len() as f64 * 0.032;
        let mut free = 0.0;
        for span in &found {
            prop_assert!(span.start >= free - 1e-9 && span.end > span.start, "{found:?}");
            prop_assert!(span.seconds() <= max + 1e-9 && span.end <= total + 1e-9, "{found:?}");
            free = span.end;
        }
        for (frame, level) in frames.iter().enumerate().filter(|(_, level)| **level >= 0.5) {
            let time = (frame as f64 + 0.5) * 0.032;
            let covered = found.iter().any(|span| span.start <= time && time <= span.end);
            prop_assert!(covered, "frame {frame} at {level} in {found:?}");
        }
        let (mut packer, mut windows) = (Packer::new(max), Vec::new());
        found.iter().for_each(|&span| packer.push(span, &mut windows));
        packer.finish(&mut windows);
        let packed: Vec<Span> = windows.iter().flat_map(|w| w.spans.clone()).collect();
        prop_assert_eq!(packed, found);
        for window in windows {
            prop_assert!(window.seconds() <= max + 1e-9);
        }
    }
}
