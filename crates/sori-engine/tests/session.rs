//! Sessions with the starter model and the built-in voice activity detector: real sound, whole path.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use sori_engine::{DocumentOptions, Event, Models, Pace, Session, SessionOptions};
use sori_infer::linear::Compute;
use sori_media::{AudioOptions, AudioReader};
use sori_speech::diarize::ListenOptions;
use sori_speech::transcribe::{TranscribeOptions, Whisper};
use sori_speech::vad::{VadModel, VadOptions};
use sori_testing::shared;
use sori_testing::tone::{self, Shape};
use sori_timeline::Document;
use sori_timeline::score::{Edits, cer, wer};

fn starter(compute: Compute) -> Whisper {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/starter");
    Whisper::open(&folder, compute).expect("the starter is in the repository")
}

fn session(whisper: &Whisper, pace: Pace) -> Session<'_> {
    let models = Models {
        whisper,
        vad: Some(VadModel::Builtin),
        voices: None,
        aligner: None,
        versions: BTreeMap::new(),
    };
    let options = SessionOptions {
        transcribe: TranscribeOptions::default(),
        vad: VadOptions::default(),
        listen: ListenOptions::default(),
        features: None,
        keep_frames: false,
        pace,
    };
    Session::new(models, options, &|| 0.0).expect("the default options fit")
}

fn document(whisper: &Whisper, pieces: &[&[f32]]) -> Document {
    let mut session = session(whisper, Pace::Batch);
    for piece in pieces {
        session.push(piece).expect("the detector runs");
    }
    session.end().expect("the detector runs");
    let options = DocumentOptions {
        speakers: None,
        known: None,
        clock: &|| 0.0,
    };
    session
        .finish(None, Vec::new(), &mut |_| {})
        .document(&options, &mut |_| {})
}

/// A shared recording at 16 kHz and its text.
fn spoken(name: &str) -> (Vec<f32>, String) {
    let path = shared(&format!("media/synthetic/{name}.wav"));
    let mut reader = AudioReader::open(&path, &AudioOptions::default()).expect("it opens");
    let mut pcm = Vec::new();
    while let Some(block) = reader.next_block().expect("it decodes") {
        pcm.extend(&block.channels[0]);
    }
    let text = std::fs::read_to_string(path.with_extension("txt")).expect("its text is beside it");
    (pcm, text.trim().to_owned())
}

const ENGLISH: [&str; 4] = ["en_1", "en_2_f", "en_3_slt", "en_4_rms"];
const KOREAN: [&str; 4] = ["ko_1", "ko_2", "ko_3", "ko_4_f"];

#[test]
fn the_starter_reads_synthetic_english_and_korean() {
    for compute in [Compute::F32, Compute::Int8] {
        let whisper = starter(compute);
        let score = |names: [&str; 4], language: &str, measure: fn(&str, &str) -> Edits| {
            let mut sum = Edits::default();
            for name in names {
                let (pcm, text) = spoken(name);
                let found = document(&whisper, &[&pcm]);
                found.check().expect("the document is sound");
                assert_eq!(found.language, language, "{name}");
                let spelled = &found.segments[0];
                assert!(
                    spelled
                        .words
                        .iter()
                        .all(|w| w.start <= w.end && w.score > 0.0)
                );
                sum += measure(&text, &found.text);
            }
            sum.rate()
        };
        let (english, korean) = (score(ENGLISH, "en", wer), score(KOREAN, "ko", cer));
        println!("{compute:?}: English WER {english:.3}, Korean CER {korean:.3}");
        assert!(english <= 0.20, "English WER {english}");
        assert!(korean <= 0.10, "Korean CER {korean}");
    }
}

#[test]
fn there_is_no_text_where_there_is_no_speech() {
    let whisper = starter(Compute::Int8);
    let shape = Shape::seconds(25.0);
    let sounds = [
        ("silence", tone::silence(shape)),
        ("white noise", tone::white_noise(shape, 1)),
        ("faint noise", tone::white_noise(shape.level(0.003), 2)),
        ("pink noise", tone::pink_noise(shape, 3)),
        ("a tone", tone::sine(shape, 440.0)),
        ("a sweep", tone::chirp(shape, 80.0, 6000.0)),
        ("a chord", tone::chord(shape, 220.0)),
        ("music", tone::music(shape, 4)),
        ("one sample", vec![0.5]),
        ("nothing", Vec::new()),
        ("no number", vec![f32::NAN; 16000]),
    ];
    for (name, sound) in sounds {
        let found = document(&whisper, &[&sound]);
        assert!(found.segments.is_empty(), "{name}: {}", found.text);
        found.check().expect("the document is sound");
    }
}

#[test]
fn speech_keeps_its_place_between_long_silences() {
    let whisper = starter(Compute::Int8);
    let (first, _) = spoken("en_2_f");
    let (second, _) = spoken("ko_3");
    // Silences longer than what a session keeps of its sound.
    let silence = vec![0.0; 16000 * 70];
    let sound = [&silence[..], &first, &silence, &second, &silence].concat();
    let found = document(&whisper, &[&sound]);
    found.check().expect("the document is sound");
    let length = first.len() as f64 / 16000.0;
    let (early, late) = (
        &found.segments[0],
        &found.segments[found.segments.len() - 1],
    );
    assert!((early.start - 70.0).abs() < 0.5, "{}", early.start);
    assert!((late.start - 140.0 - length).abs() < 0.5, "{}", late.start);
    assert_eq!(
        (early.language.as_deref(), late.language.as_deref()),
        (Some("en"), Some("ko"))
    );
    let spans = found
        .segments
        .iter()
        .all(|s| s.end <= 70.0 + length + 0.5 || s.start >= 139.5 + length);
    assert!(spans, "a segment lies in the silence");
}

#[test]
fn a_live_session_tells_a_segment_before_the_sound_ends() {
    let whisper = starter(Compute::Int8);
    let (pcm, _) = spoken("en_2_f");
    let mut session = session(&whisper, Pace::Live);
    let sound = [&pcm[..], &vec![0.0; 16000 * 5]].concat();
    for piece in sound.chunks(1600) {
        session.push(piece).expect("the detector runs");
        while session.work() {}
    }
    let told = std::iter::from_fn(|| session.poll()).any(|e| matches!(e, Event::Segment(_)));
    assert!(told, "no segment five seconds after the last word");
}

#[test]
fn integers_agree_with_f32_under_forced_decoding() {
    let exact = starter(Compute::F32);
    let [int8, int4] = [Compute::Int8, Compute::Int4].map(starter);
    let (mut same, mut all) = ([0, 0], 0);
    for name in ENGLISH.iter().chain(&KOREAN) {
        let (pcm, text) = spoken(name);
        let mel = exact.mel(&pcm);
        let tokens: Vec<u32> = std::iter::once(exact.spec().steering.start)
            .chain(exact.spec().language(&name[..2]))
            .chain(exact.spec().steering.transcribe)
            .chain(exact.spec().steering.no_timestamps)
            .chain(exact.spec().tokenizer.encode(&format!(" {text}")))
            .collect();
        let choices = |whisper: &Whisper| -> Vec<usize> {
            let logits = whisper.forced_logits(&whisper.hear(&mel), &tokens);
            let best = |row: &[f32]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            logits
                .chunks_exact(exact.spec().sizes.vocabulary)
                .filter_map(best)
                .collect()
        };
        let expected = choices(&exact);
        all += expected.len();
        for (same, network) in same.iter_mut().zip([&int8, &int4]) {
            let chosen = choices(network);
            *same += expected.iter().zip(&chosen).filter(|(a, b)| a == b).count();
        }
    }
    println!("int8 and int4 agree in {same:?} of {all} positions");
    for same in same {
        assert!(same as f64 >= 0.98 * all as f64, "{same} of {all}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// The master test: the cuts of the sound leave no trace in the document.
    #[test]
    fn sound_in_pieces_gives_the_same_document(cuts in prop::collection::vec(1usize..40_000, 1..12)) {
        let whisper = starter(Compute::F32);
        let (first, _) = spoken("en_4_rms");
        let (second, _) = spoken("ko_4_f");
        let sound = [&first[..], &vec![0.0; 24_000], &second].concat();
        let (mut pieces, mut rest) = (Vec::new(), &sound[..]);
        for cut in cuts.iter().cycle().take(400) {
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = later;
        }
        pieces.push(rest);
        prop_assert_eq!(document(&whisper, &pieces), document(&whisper, &[&sound]));
    }
}
