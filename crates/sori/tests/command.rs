//! The program as a user meets it: real files, wrong files, Ctrl-C, no room.

mod place;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sori_testing::{shared, wav};

use place::{Place, err, out, text};

fn english() -> PathBuf {
    shared("media/synthetic/en_2_f.wav")
}

#[test]
fn words_are_printed_and_no_file_is_written() {
    let place = Place::new();
    let output = place.run(&["transcribe", text(&english())]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("interview"), "{}", out(&output));
    assert_eq!(
        err(&output).matches("sori models pull").count(),
        1,
        "the starter is announced once"
    );
    assert!(place.files().is_empty());
}

#[test]
fn a_models_name_is_the_model_and_not_a_folder_that_lies_about() {
    let place = Place::new();
    for name in ["auto", "starter", "mine", "base"] {
        fs::create_dir(place.path().join(name)).expect("a folder");
    }
    let starter = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/starter");
    let imported = place.run(&["models", "import", "mine", starter]);
    assert_eq!(imported.status.code(), Some(0), "{}", err(&imported));
    for name in ["auto", "starter", "mine"] {
        let output = place.run(&["transcribe", text(&english()), "--model", name]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    }
    let weights = place.path().join("models/mine/model.safetensors");
    fs::write(weights, "cut short").expect("writable");
    let output = place.run(&["transcribe", text(&english()), "--model", "mine"]);
    assert!(err(&output).contains("mine"), "{}", err(&output));
    assert!(!err(&output).contains("config.json"), "{}", err(&output));
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    // What is no installed model's name is a folder's.
    let output = place.run(&["transcribe", text(&english()), "--model", "base"]);
    let folder = "base/config.json: no such file";
    assert!(err(&output).contains(folder), "{}", err(&output));
}

#[test]
fn every_format_is_written_and_nothing_else() {
    let place = Place::new();
    let output = place.run(&[
        "transcribe",
        text(&english()),
        "--format",
        "all",
        "-o",
        "out",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let mut names: Vec<_> = fs::read_dir(place.path().join("out"))
        .expect("made")
        .map(|e| e.expect("readable").file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "en_2_f.TextGrid",
            "en_2_f.csv",
            "en_2_f.ctm",
            "en_2_f.docx",
            "en_2_f.html",
            "en_2_f.json",
            "en_2_f.rttm",
            "en_2_f.srt",
            "en_2_f.tsv",
            "en_2_f.txt",
            "en_2_f.vtt",
            "en_2_f.whisperx.json"
        ]
    );
    let json = fs::read(place.path().join("out/en_2_f.json")).expect("written");
    let document: sori_timeline::Document =
        serde_json::from_slice(&json).expect("it is a document");
    document.check().expect("it is sound");
    assert_eq!(
        document.metadata.model_versions["transcribe"]
            .sha256
            .as_ref()
            .map(String::len),
        Some(64)
    );
}

#[test]
fn one_bad_file_does_not_stop_the_others() {
    let place = Place::new();
    let bad = place.path().join("bad.mp3");
    fs::write(&bad, b"this is not sound").expect("writable");
    fs::copy(english(), place.path().join("a 한글.wav")).expect("writable");
    let output = place.run(&[
        "transcribe",
        "bad.mp3",
        "missing.wav",
        "*.wav",
        "--format",
        "srt",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("bad.mp3") && err(&output).contains("missing.wav"),
        "{}",
        err(&output)
    );
    assert_eq!(place.files(), ["a 한글.srt", "a 한글.wav", "bad.mp3"]);
}

#[track_caller]
fn refused(arguments: &[&str], status: i32, message: &str) {
    let place = Place::new();
    let output = place.run(arguments);
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {}",
        err(&output)
    );
    assert!(
        err(&output).contains(message),
        "{arguments:?}: {}",
        err(&output)
    );
    assert!(place.files().is_empty());
}

#[test]
fn wrong_arguments_are_refused_with_a_remedy() {
    let file = english();
    let file = text(&file);
    refused(&["transcribe"], 2, "FILE");
    refused(&["transcribe", file, "--format", "doc"], 1, "srt");
    refused(&["transcribe", file, "--model", "bass"], 1, "bass");
    refused(&["transcribe", file, "--language", "xx"], 1, "en, ko");
    refused(&["transcribe", file, "--beam-size", "0"], 1, "--beam-size");
    refused(
        &["transcribe", file, "--temperature", "9"],
        1,
        "--temperature",
    );
    refused(&["transcribe", file, "--threads", "0"], 1, "--threads");
    refused(
        &["transcribe", file, "--vad", "silero"],
        1,
        "sori models pull silero-vad",
    );
    refused(&["transcribe", "no*such"], 1, "no file fits");
    refused(&["transcribe", file, "--model", file], 1, "not a GGML");
}

#[test]
fn the_starter_needs_a_writable_library_and_says_so() {
    let place = Place::new();
    fs::write(place.path().join("models"), b"a file").expect("writable");
    let output = place.run(&["transcribe", text(&english())]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("SORI_MODELS"), "{}", err(&output));
}

#[test]
fn standard_input_and_progress_for_programs() {
    let place = Place::new();
    let mut command = place.command(&[
        "transcribe",
        "-",
        "--format",
        "json",
        "--progress",
        "json",
        "--beam-size",
        "3",
    ]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let sound = fs::read(english()).expect("readable");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(&sound)
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(place.files(), ["stdin.json"]);
    let errors = err(&output);
    let lines: Vec<serde_json::Value> = errors
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .collect();
    assert!(
        lines.iter().any(|l| l["seconds"].as_f64() > Some(1.0)),
        "{errors}"
    );
}

#[test]
fn each_channel_is_a_document_and_silence_is_said() {
    let place = Place::new();
    let silent = place.path().join("silent.wav");
    wav::write(&silent, &vec![0.0; 32_000], 16_000).expect("writable");
    let output = place.run(&["transcribe", "silent.wav"]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""));
    assert!(err(&output).contains("no speech"));
    let stereo = shared("media/codecs/jfk_48k_s24_stereo.wav");
    let output = place.run(&[
        "transcribe",
        text(&stereo),
        "--channel",
        "each",
        "--format",
        "txt",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(
        place.files(),
        [
            "jfk_48k_s24_stereo.1.txt",
            "jfk_48k_s24_stereo.2.txt",
            "silent.wav"
        ]
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_no_half_written_file() {
    let place = Place::new();
    let one = wav::read(&english());
    let hour: Vec<f32> = one
        .samples
        .iter()
        .copied()
        .cycle()
        .take(22_050 * 3600)
        .collect();
    wav::write(&place.path().join("long.wav"), &hour, 22_050).expect("writable");
    let mut child = place
        .command(&[
            "transcribe",
            "long.wav",
            "--format",
            "srt",
            "--progress",
            "json",
        ])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // The first line of progress says that work has begun.
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().expect("piped")));
    assert!(lines.any(|l| l.is_ok_and(|l| l.contains("\"seconds\""))));
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill is there");
    assert!(kill.success());
    lines.for_each(drop);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert_eq!(place.files(), ["long.wav"]);
}

#[test]
fn the_doctor_names_kernels_and_models() {
    let output = Place::new().run(&["doctor"]);
    assert_eq!(output.status.code(), Some(0));
    for part in ["kernels", "ffmpeg", "models in", "starter"] {
        assert!(out(&output).contains(part), "{}", out(&output));
    }
}
