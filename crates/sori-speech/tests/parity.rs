//! Our Whisper against openai/whisper's, number by number, on rule-made weights of the true sizes and real sound.
//!
//! The goldens come from reference/make_goldens.py; reference/README.md describes their fields and tolerances.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sori_infer::linear::Compute;
use sori_media::{AudioOptions, AudioReader};
use sori_speech::transcribe::{AudioWindow, Search, Task, TranscribeOptions, Transcriber, Whisper};
use sori_testing::rule_weights::{Size, multilingual, whisper_dims, write_hf_folder};
use sori_testing::{golden, shared};

fn load(size: Size) -> Whisper {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_hf_folder(&whisper_dims(size), &multilingual(), folder.path())
        .expect("the folder is writable");
    Whisper::open(folder.path(), Compute::F32).expect("rule-made weights load")
}

fn read(name: &str) -> Value {
    golden::json(
        &PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(name),
    )
}

/// The 30 s of a shared recording that a golden's window names.
fn sound(window: &Value) -> Vec<f32> {
    let path = shared(&format!(
        "media/{}",
        window["file"].as_str().expect("a file")
    ));
    let mut reader =
        AudioReader::open(Path::new(&path), &AudioOptions::default()).expect("the recording opens");
    let mut pcm = Vec::new();
    while let Some(block) = reader.next_block().expect("the recording decodes") {
        pcm.extend(&block.channels[0]);
    }
    let from = (window["offset"].as_f64().expect("an offset") * 16000.0) as usize;
    pcm[from..pcm.len().min(from + 480_000)].to_vec()
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| v.as_u64().expect("an id") as u32)
        .collect()
}

fn floats(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| v.as_f64().expect("a number") as f32)
        .collect()
}

fn check_logits(whisper: &Whisper, name: &str) {
    let golden = read(name);
    let (tokens, stride) = (
        ids(&golden["tokens"]),
        golden["stride"].as_u64().expect("a stride") as usize,
    );
    let vocabulary = whisper.spec().sizes.vocabulary;
    let mut worst = 0.0f32;
    for window in golden["windows"].as_array().expect("windows") {
        let heard = whisper.hear(&whisper.mel(&sound(window)));
        let logits = whisper.forced_logits(&heard, &tokens);
        for (row, want) in logits
            .chunks_exact(vocabulary)
            .zip(window["positions"].as_array().expect("positions"))
        {
            let strided: Vec<f32> = row.iter().step_by(stride).copied().collect();
            worst = worst.max(golden::max_abs_diff(&strided, &floats(&want["strided"])));
            let top: Vec<f32> = ids(&want["top_ids"])
                .iter()
                .map(|&id| row[id as usize])
                .collect();
            worst = worst.max(golden::max_abs_diff(&top, &floats(&want["top"])));
        }
    }
    println!("{name}: worst logit error {worst:e}");
    assert!(worst <= 1e-3, "{name}: worst logit error {worst}");
}

/// The options of a golden run: what it says, and nothing retried or dropped.
fn options(run: &Value) -> TranscribeOptions {
    let beams = run["beam_size"].as_u64();
    TranscribeOptions {
        languages: vec![run["language"].as_str().expect("a language").to_owned()],
        task: if run["task"] == "translate" {
            Task::Translate
        } else {
            Task::Transcribe
        },
        search: beams.map_or(Search::Greedy, |size| Search::Beam {
            size: size as usize,
            patience: run["patience"].as_f64().unwrap_or(1.0) as f32,
            length_penalty: run["length_penalty"].as_f64().map(|p| p as f32),
        }),
        temperatures: vec![0.0],
        compression_ratio_threshold: f32::INFINITY,
        logprob_threshold: f32::NEG_INFINITY,
        no_speech_threshold: 2.0,
        initial_prompt: run["prompt"].as_str().map(str::to_owned),
        timestamp_tokens: run["without_timestamps"] != true,
        word_times: false,
        max_tokens: run["sample_len"].as_u64().map(|n| n as usize),
        ..Default::default()
    }
}

fn check_decoding(whisper: &Whisper, name: &str) {
    let golden = read(name);
    let windows = golden["windows"].as_array().expect("windows");
    assert!(windows.len() >= 50);
    for (run, settings) in golden["runs"].as_object().expect("runs") {
        let mut transcriber =
            Transcriber::new(whisper, options(settings)).expect("the options fit the model");
        let wanted: Vec<_> = windows
            .iter()
            .filter_map(|w| Some((w, w["results"].get(run)?)))
            .collect();
        for (window, _) in &wanted {
            transcriber.push(AudioWindow {
                start: 0.0,
                pcm: sound(window),
                speech: vec![(0.0, 30.0)],
            });
        }
        while transcriber.step() {}
        for (place, (window, want)) in wanted.iter().enumerate() {
            let got = transcriber.take().expect("every window has a text");
            let at = format!(
                "{name} {run} window {place} ({} at {})",
                window["file"], window["offset"]
            );
            assert_eq!(got.tokens, ids(&want["tokens"]), "{at}");
            let near =
                |a: f32, b: &Value| (f64::from(a) - b.as_f64().expect("a number")).abs() < 1e-3;
            assert!(
                near(got.avg_logprob, &want["avg_logprob"]),
                "{at}: {} for {}",
                got.avg_logprob,
                want["avg_logprob"]
            );
            assert!(near(got.no_speech_prob, &want["no_speech_prob"]), "{at}");
        }
        println!(
            "{name} {run}: {} windows with the same tokens",
            wanted.len()
        );
    }
}

fn check_languages(whisper: &Whisper, name: &str) {
    for window in read(name)["windows"].as_array().expect("windows") {
        let found = whisper.languages(&whisper.hear(&whisper.mel(&sound(window))), &[]);
        for ((code, chance), want) in found
            .iter()
            .zip(window["languages"].as_array().expect("languages"))
        {
            assert_eq!(code, want[0].as_str().expect("a code"));
            assert!((f64::from(*chance) - want[1].as_f64().expect("a probability")).abs() < 1e-3);
        }
    }
}

fn check_words(whisper: &Whisper, name: &str) {
    let golden = read(name);
    let heads: Vec<(usize, usize)> =
        serde_json::from_value(golden["alignment_heads"].clone()).expect("pairs");
    assert_eq!(whisper.spec().alignment_heads, heads);
    for window in golden["windows"].as_array().expect("windows") {
        let heard = whisper.hear(&whisper.mel(&sound(window)));
        let language = whisper
            .spec()
            .language(window["language"].as_str().expect("a language"));
        let samples = window["num_frames"].as_u64().expect("frames") as usize * 160;
        let laid = whisper.lay(
            &heard,
            &ids(&window["tokens"]),
            language,
            Task::Transcribe,
            samples,
        );
        let want: Vec<(usize, usize)> = ids(&window["text_indices"])
            .into_iter()
            .zip(ids(&window["time_indices"]))
            .map(|(i, j)| (i as usize, j as usize))
            .collect();
        assert_eq!(laid.path, want, "{name}: the path of {}", window["text"]);
    }
}

#[test]
fn tiny_equals_openai_whisper() {
    let whisper = load(Size::Tiny);
    check_logits(&whisper, "tiny_logits.json");
    check_languages(&whisper, "tiny_language.json");
    check_words(&whisper, "tiny_words.json");
    check_decoding(&whisper, "tiny_decode.json");
}

#[test]
fn base_equals_openai_whisper() {
    let whisper = load(Size::Base);
    check_logits(&whisper, "base_logits.json");
    check_languages(&whisper, "base_language.json");
    check_words(&whisper, "base_words.json");
    check_decoding(&whisper, "base_decode.json");
}

#[test]
fn tokens_equal_openai_whispers() {
    let whisper = load(Size::Tiny);
    let (golden, tokenizer) = (read("tokenizer.json"), &whisper.spec().tokenizer);
    for case in golden["encode"].as_array().expect("cases") {
        let text = case["text"].as_str().expect("a text");
        assert_eq!(tokenizer.encode(text), ids(&case["ids"]), "{text:?}");
    }
    let mut non_speech = ids(&golden["special"][0]["non_speech"]);
    non_speech.sort_unstable();
    assert_eq!(tokenizer.non_speech(), non_speech);
    let steering = &whisper.spec().steering;
    for (name, id) in [
        ("eot", Some(steering.end)),
        ("sot", Some(steering.start)),
        ("no_speech", steering.no_speech),
        ("timestamp_begin", steering.first_timestamp),
    ] {
        assert_eq!(
            id.map(u64::from),
            golden["special"][0][name].as_u64(),
            "{name}"
        );
    }
}
