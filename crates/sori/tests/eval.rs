//! `sori eval` as a user meets it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use sori_testing::shared;
use tempfile::TempDir;

/// A folder to work in.
struct Place(TempDir);

impl Place {
    /// With these files in it.
    fn with(files: &[(&str, &str)]) -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary folder"));
        for (name, text) in files {
            let path = place.path(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, text).expect("writable");
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_sori"))
            .arg("eval")
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .expect("the program starts")
    }

    /// The JSON that it prints, and how it ends.
    fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.run(&[arguments, &["--json"]].concat());
        let value = serde_json::from_slice(&output.stdout);
        (
            value.unwrap_or_else(|e| panic!("{e}: {}", err(&output))),
            output.status.code(),
        )
    }
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn near(found: &Value, expected: f64) {
    let value = found.as_f64().unwrap_or(f64::NAN);
    assert!((value - expected).abs() < 1e-6, "{found}, not {expected}");
}

/// Three words of one, two of the other; the result splits the first turn late and hears one word wrong.
const STM: &str = "talk 1 A 0.0 3.0 good morning all\ntalk 1 B 3.0 5.0 안녕 하세요\n";
const RTTM: &str =
    "SPEAKER talk 1 0.0 3.0 <NA> <NA> A <NA> <NA>\nSPEAKER talk 1 3.0 2.0 <NA> <NA> B <NA> <NA>\n";
const RESULT: &str = r#"{"text":"","language":"en","duration":5,"segments":[
  {"id":0,"start_time":0,"end_time":2.5,"text":"good morning, ALL!","speaker":{"speaker_id":"S0"},"words":[]},
  {"id":1,"start_time":2.5,"end_time":5,"text":"안녕 했어요","speaker":{"speaker_id":"S1"},"words":[]}]}"#;

#[test]
fn every_measure_that_the_files_allow_is_shown() {
    let place = Place::with(&[("정답.stm", STM), ("결과.json", RESULT)]);
    let output = place.run(&["--ref", "정답.stm", "--hyp", "결과.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    for shown in [
        "정답\n",
        "WER           20.00 %   1 of 5 words: 1 replaced, 0 missing, 0 too many",
        "CER           10.53 %   2 of 19 characters",
        "cpWER         20.00 %",
        "tcpWER        20.00 %",
        "DER           10.00 %   0.00 s missed, 0.00 s false alarm, 0.50 s confused of 5.00 s",
        "JER           18.33 %   mean of 2 speakers",
        "A = S0, B = S1",
    ] {
        assert!(text.contains(shown), "{shown:?} is not in\n{text}");
    }
    assert!(
        !text.contains("word start"),
        "neither side knows when words were said"
    );
}

#[test]
fn json_has_counts_options_and_pairs() {
    let place = Place::with(&[("a.stm", STM), ("a.json", RESULT)]);
    let (found, status) = place.json(&["--ref", "a.stm", "--hyp", "a.json", "--collar", "1"]);
    assert_eq!(status, Some(0));
    let one = &found["recordings"][0];
    assert_eq!(
        (
            one["wer"]["substitutions"].as_u64(),
            one["wer"]["reference"].as_u64()
        ),
        (Some(1), Some(5))
    );
    near(&one["cer"]["rate"], 2.0 / 19.0);
    near(&one["der"]["confusion"], 0.0);
    near(&one["der"]["total"], 3.0);
    near(&one["jer"]["rate"], 0.0);
    near(&found["macro"]["cp_wer"], 0.2);
    near(&found["options"]["collar"], 1.0);
    assert_eq!(one["speakers"][1]["hypothesis"], "S1");
    assert!(one.get("word_times").is_none());
}

#[test]
fn word_times_need_words_on_both_sides() {
    let truth = "a 1 0.0 0.5 하나\na 1 0.5 0.5 둘\na 1 1.0 0.5 셋\n";
    let found = "a 1 0.03 0.5 하나\na 1 0.65 0.5 둘\na 1 1.0 0.7 넷\n";
    let place = Place::with(&[("a.ctm", truth), ("b.ctm", found)]);
    let (json, status) = place.json(&["--ref", "a.ctm", "--hyp", "b.ctm"]);
    let times = &json["recordings"][0]["word_times"];
    assert_eq!(
        (
            status,
            times["matched"].as_u64(),
            times["reference"].as_u64()
        ),
        (Some(0), Some(2), Some(3))
    );
    near(&times["start"]["mean"], 0.09);
    near(&times["start"]["within_50_ms"], 0.5);
    let text = out(&place.run(&["--ref", "a.ctm", "--hyp", "b.ctm"]));
    assert!(
        text.contains("word start      90 ms") && text.contains("2 of 3 words found"),
        "{text}"
    );
}

#[test]
fn folders_are_paired_by_name_and_files_complete_each_other() {
    let place = Place::with(&[
        ("정답/회의.stm", &STM.replace("talk", "x")),
        ("정답/회의.rttm", &RTTM.replace("3.0 2.0", "3.0 1.0")),
        ("정답/둘째.txt", "one two three four"),
        ("정답/회의.wav", "no text at all"),
        ("결과/회의.json", RESULT),
        ("결과/회의.txt", "is passed over for the richer file"),
        ("결과/둘째.txt", "one two three five"),
    ]);
    let (found, status) = place.json(&["--ref", "정답", "--hyp", "결과"]);
    assert_eq!(status, Some(0));
    let names: Vec<_> = found["recordings"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|r| r["recording"].as_str())
        .collect();
    assert_eq!(names, [Some("둘째"), Some("회의")]);
    near(&found["total"]["wer"]["rate"], 2.0 / 9.0);
    near(&found["macro"]["wer"], (0.2 + 0.25) / 2.0);
    // The RTTM is what the turns are taken from: 4 s, of which 0.5 are confused, and the result talks a second longer.
    near(&found["total"]["der"]["rate"], 1.5 / 4.0);
    let text = out(&place.run(&["--ref", "정답/", "--hyp", "결과/"]));
    let row = text
        .lines()
        .find(|line| line.starts_with("둘째"))
        .expect("a row each");
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["둘째", "25.00", "%", "20.00", "%", "-", "-", "-", "-"]
    );
    assert!(
        text.contains("All together") && text.contains("\ntotal"),
        "{text}"
    );
}

#[test]
fn an_empty_rttm_is_silence_alone_and_nothing_beside_a_text() {
    let place = Place::with(&[
        ("ref/a.stm", STM),
        ("hyp/a.txt", "good morning"),
        ("hyp/a.rttm", ""),
    ]);
    let (found, _) = place.json(&["--ref", "ref", "--hyp", "hyp"]);
    assert!(found["total"]["der"].is_null() && found["total"]["wer"].is_object());
    let (found, _) = place.json(&["--ref", "ref", "--hyp", "hyp/a.rttm"]);
    near(&found["total"]["der"]["rate"], 1.0);
}

#[test]
fn recordings_of_one_file_are_paired_by_their_names() {
    let two = RTTM.to_owned() + &RTTM.replace("talk", "other");
    let place = Place::with(&[
        ("all.rttm", &two),
        ("one.rttm", RTTM),
        ("part.uem", "talk 1 0 2\nother 1 1 2\n"),
    ]);
    let (found, status) = place.json(&[
        "--ref", "all.rttm", "--hyp", "all.rttm", "--uem", "part.uem",
    ]);
    assert_eq!(
        (status, found["recordings"].as_array().map(Vec::len)),
        (Some(0), Some(2))
    );
    near(&found["total"]["der"]["total"], 3.0);

    let output = place.run(&["--ref", "all.rttm", "--hyp", "one.rttm"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err(&output).contains("other: no result has this name"),
        "{}",
        err(&output)
    );
    assert!(
        out(&output).starts_with("talk\n"),
        "the others are measured"
    );

    let output = place.run(&[
        "--ref", "one.rttm", "--hyp", "one.rttm", "--uem", "part.uem",
    ]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn real_turns_score_nothing_against_themselves() {
    let truth = shared("media/diar/pyannote_sample.rttm");
    let truth = truth.to_str().expect("test paths are UTF-8");
    let (found, status) = Place::with(&[]).json(&["--ref", truth, "--hyp", truth]);
    assert_eq!(status, Some(0));
    near(&found["total"]["der"]["rate"], 0.0);
    near(&found["total"]["jer"]["rate"], 0.0);
    assert!(found["total"]["der"]["total"].as_f64() > Some(10.0));
}

#[test]
fn what_cannot_be_scored_says_why() {
    let place = Place::with(&[
        ("a.txt", "hello"),
        ("a.rttm", RTTM),
        ("bad.rttm", "SPEAKER a 1 x\n"),
        ("bad.uem", "a 1\n"),
        ("other.uem", "x 1 0 1\ny 1 0 1\n"),
        ("binary.txt", "x"),
        ("empty/note.md", ""),
    ]);
    fs::write(place.path("binary.txt"), [0xff, 0xfe, 0x00]).expect("writable");
    for (arguments, status, message) in [
        (
            &["--ref", "a.txt", "--hyp", "a.rttm"][..],
            1,
            "nothing in common",
        ),
        (&["--ref", "a.rttm", "--hyp", "bad.rttm"], 1, "line 1"),
        (&["--ref", "a.rttm", "--hyp", "none.rttm"], 1, "none.rttm"),
        (&["--ref", "a.txt", "--hyp", "binary.txt"], 1, "UTF-8"),
        (&["--ref", "empty", "--hyp", "a.txt"], 1, "holds no file"),
        (
            &["--ref", "a.rttm", "--hyp", "a.rttm", "--uem", "bad.uem"],
            1,
            "bad.uem",
        ),
        (
            &["--ref", "a.rttm", "--hyp", "a.rttm", "--uem", "other.uem"],
            1,
            "UEM",
        ),
        (
            &["--ref", "a.rttm", "--hyp", "a.rttm", "--collar=-1"],
            2,
            "0 to 3600",
        ),
        (&["--ref", "a.txt"], 2, "--hyp"),
    ] {
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
    }
}

#[test]
fn help_has_examples() {
    let output = Place::with(&[]).run(&["--help"]);
    assert!(out(&output).contains("sori eval --ref") && out(&output).contains("NIST"));
}
