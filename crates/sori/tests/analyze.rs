//! `sori analyze`, `enroll` and `voices` as a user meets them.

mod place;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use place::{Place, err, out, text};
use sori_testing::{shared, wav};
use sori_timeline::Document;

/// A conversation of two synthetic voices, 28 s.
fn conversation() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples/conversation.wav")
}

/// Clear recordings of one person.
fn person(speaker: &str) -> Vec<String> {
    let folder = fs::read_dir(shared("media/speakers")).expect("it is there");
    let paths = folder.map(|entry| entry.expect("readable").path());
    let mut paths: Vec<String> = paths
        .map(|path| text(&path).to_owned())
        .filter(|path| path.contains(&format!("/{speaker}-")))
        .collect();
    paths.sort();
    paths
}

impl Place {
    /// Runs the program, which must succeed, and gives what it printed.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            err(&output)
        );
        out(&output)
    }

    /// Runs the program, which must refuse with these words.
    #[track_caller]
    fn refused(&self, arguments: &[&str], status: i32, message: &str) {
        let output = self.run(arguments);
        let said = err(&output);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }

    fn document(&self, name: &str) -> Document {
        let bytes = fs::read(self.path().join(name)).expect("it was written");
        let document: Document = serde_json::from_slice(&bytes).expect("it is a document");
        document.check().expect("it is sound");
        document
    }

    fn enroll(&self, name: &str, speaker: &str) {
        let files = person(speaker);
        let mut arguments = vec!["enroll", name];
        arguments.extend(files.iter().map(String::as_str));
        self.done(&arguments);
    }
}

#[test]
fn a_conversation_is_written_and_its_speakers_are_found_anew() {
    let place = Place::new();
    fs::copy(conversation(), place.path().join("talk.wav")).expect("writable");
    let printed = place.done(&["analyze", "talk.wav", "--frames"]);
    assert!(printed.contains("2 speakers"), "{printed}");
    let written = [
        "talk.frames.npz",
        "talk.html",
        "talk.json",
        "talk.sori",
        "talk.wav",
    ];
    assert_eq!(place.files(), written);
    let two = place.document("talk.json");
    assert_eq!(two.speakers.len(), 2);
    for part in ["transcribe", "vad", "segmentation", "embedding"] {
        assert!(two.metadata.model_versions.contains_key(part), "{part}");
    }
    let kept = fs::read(place.path().join("talk.sori")).expect("written");
    sori_engine::Heard::load(&kept[..]).expect("it is what was heard and nothing else");

    // Deciding anew needs no sound, and everything but the speakers stays.
    fs::remove_file(place.path().join("talk.wav")).expect("it is there");
    let again = ["analyze", "talk.wav", "--rerun", "speakers", "--speakers"];
    place.done(&[&again[..], &["1", "--format", "json"]].concat());
    let one = place.document("talk.json");
    assert_eq!(one.speakers.len(), 1);
    assert_eq!(one.text, two.text);
    place.done(&[&again[..], &["2", "--format", "json"]].concat());
    assert_eq!(place.document("talk.json").turns, two.turns);
    assert_eq!(
        fs::read(place.path().join("talk.sori")).expect("it stays"),
        kept
    );
}

#[test]
fn stages_are_written_when_heard_and_when_read_again() {
    let place = Place::new();
    let file = conversation();
    let arguments = [
        "analyze",
        text(&file),
        "--format",
        "json",
        "--dump-stage",
        "vad,transcribe,diarize,speakers",
    ];
    place.done(&arguments);
    let stages = ["diarize", "speakers", "transcribe", "vad"];
    let names: BTreeSet<String> = stages.map(|s| format!("conversation.{s}.json")).into();
    let words = |place: &Place| {
        let path = place.path().join("conversation.transcribe.json");
        serde_json::from_slice::<serde_json::Value>(&fs::read(path).expect("written"))
            .expect("it is JSON")
    };
    let first = words(&place);
    assert!(first[0]["segment"]["words"][0]["word"].is_string());
    assert!(
        first[0]["tallies"][0].is_object(),
        "acoustics are in it too"
    );
    for name in &names {
        assert!(place.files().contains(name), "{name}");
        fs::remove_file(place.path().join(name)).expect("it is there");
    }
    place.done(&[&arguments[..], &["--rerun", "speakers"]].concat());
    assert!(names.is_subset(&place.files().into_iter().collect()));
    assert_eq!(words(&place), first);
    for stage in ["align", "acoustics"] {
        place.refused(
            &["analyze", text(&file), "--dump-stage", stage],
            2,
            "vad, transcribe, diarize, speakers",
        );
    }
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let place = Place::new();
    let file = conversation();
    for (options, status, message) in [
        (&["--speakers", "0"][..], 1, "above 0"),
        (
            &["--min-speakers", "3", "--max-speakers", "2"],
            1,
            "--min-speakers 3",
        ),
        (
            &["--no-speakers", "--speakers", "2"],
            2,
            "cannot be used with",
        ),
        (&["--features", "none", "--frames"], 1, "--features none"),
        (&["--clustering", "vbx"], 1, "PLDA"),
        (&["--rerun", "speakers"], 1, "run `sori analyze"),
    ] {
        place.refused(
            &[&["analyze", text(&file)], options].concat(),
            status,
            message,
        );
    }
    // What only hearing can do is not promised of what was heard.
    for option in [
        &["--no-speakers"][..],
        &["--exact"],
        &["--frames"],
        &["--segmentation", "starter"],
        &["--embedding", "starter"],
        &["--align", "off"],
        &["--features", "volume"],
    ] {
        let arguments = [&["analyze", text(&file), "--rerun", "speakers"], option].concat();
        place.refused(&arguments, 2, option[0]);
    }
    assert!(place.files().is_empty());

    for folder in ["a", "b"] {
        fs::create_dir(place.path().join(folder)).expect("writable");
        fs::copy(&file, place.path().join(folder).join("talk.wav")).expect("writable");
    }
    place.refused(
        &["analyze", "a/talk.wav", "b/talk.wav"],
        1,
        "would write the same files",
    );
    assert_eq!(place.files(), ["a", "b"]);
}

#[test]
fn a_recording_heard_without_voices_has_none_to_find() {
    let place = Place::new();
    let file = conversation();
    let file = text(&file);
    place.done(&["analyze", file, "--no-speakers", "--format", "json"]);
    let document = place.document("conversation.json");
    assert!(document.speakers.is_empty() && !document.text.is_empty());
    place.refused(
        &["analyze", file, "--rerun", "speakers"],
        1,
        "was heard without voices",
    );
    fs::write(place.path().join("conversation.sori"), b"SORI-S\0\x01old").expect("writable");
    place.refused(
        &["analyze", file, "--rerun", "speakers"],
        1,
        "analyze the recording again",
    );
}

#[test]
fn a_voice_is_remembered_named_and_forgotten() {
    let place = Place::new();
    assert!(place.done(&["voices", "list"]).contains("sori enroll"));
    place.enroll("Mina", "1998");
    let recording = person("1998").remove(0);
    place.done(&["analyze", &recording, "--format", "json"]);
    let stem = PathBuf::from(&recording).with_extension("json");
    let stem = stem.file_name().expect("a name").to_string_lossy();
    let names =
        |place: &Place| -> Vec<String> { place.document(&stem).speakers.into_keys().collect() };
    assert_eq!(names(&place), ["Mina"]);
    // The name is that of now.
    place.done(&["voices", "rename", "Mina", "민아"]);
    let again = [
        "analyze", &recording, "--rerun", "speakers", "--format", "json",
    ];
    place.done(&again);
    assert_eq!(names(&place), ["민아"]);
    place.done(&[&again[..], &["--no-names"]].concat());
    assert_eq!(names(&place), ["SPEAKER_00"]);
    place.done(&["voices", "delete", "민아"]);
    place.done(&again);
    assert_eq!(names(&place), ["SPEAKER_00"]);
    assert!(place.done(&["voices", "list"]).contains("sori enroll"));
}

#[test]
fn only_one_clear_voice_of_enough_speech_is_remembered() {
    let place = Place::new();
    let talk = conversation();
    place.refused(&["enroll", "Both", text(&talk)], 1, "2 people speak");
    let short = shared("media/synthetic/en_3_slt.wav");
    place.refused(&["enroll", "Short", text(&short)], 1, "8 s needed");
    let silent = place.path().join("silent.wav");
    wav::write(&silent, &vec![0.0; 32_000], 16_000).expect("writable");
    place.refused(&["enroll", "Nobody", "silent.wav"], 1, "nobody speaks");
    assert!(place.done(&["voices", "list"]).contains("no voice"));
}

#[test]
fn voices_are_changed_by_names_that_are_known() {
    let place = Place::new();
    place.enroll("Mina", "1998");
    place.enroll("Jun", "2033");
    place.refused(&["enroll", "Mina", text(&conversation())], 1, "--replace");
    for (arguments, message) in [
        (&["merge", "Mina", "Mina"][..], "is one voice already"),
        (&["merge", "Mina", "Nobody"], "no voice is called Nobody"),
        (&["merge", "Nobody", "Mina"], "no voice is called Nobody"),
        (
            &["rename", "Nobody", "Somebody"],
            "no voice is called Nobody",
        ),
        (&["rename", "Mina", "Jun"], "sori voices merge Mina Jun"),
        (&["delete", "Nobody"], "no voice is called Nobody"),
    ] {
        place.refused(&[&["voices"], arguments].concat(), 1, message);
    }
    let listed = place.done(&["voices", "list"]);
    let clips = |speaker: &str| person(speaker).len();
    for (name, speaker) in [("Jun", "2033"), ("Mina", "1998")] {
        let line = listed.lines().find(|line| line.starts_with(name));
        let recordings = format!("in {} recordings", clips(speaker));
        assert!(line.is_some_and(|l| l.contains(&recordings)), "{listed}");
    }
    place.done(&["voices", "merge", "Jun", "Mina"]);
    let listed = place.done(&["voices", "list"]);
    let all = format!("in {} recordings", clips("1998") + clips("2033"));
    assert!(
        listed.starts_with("Mina") && listed.contains(&all),
        "{listed}"
    );
    assert_eq!(listed.lines().count(), 1);
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_no_half_written_file() {
    let place = Place::new();
    let once = wav::read(&conversation());
    let rate = once.sample_rate;
    let half_an_hour = once.samples.into_iter().cycle();
    let samples: Vec<f32> = half_an_hour.take(1800 * rate as usize).collect();
    wav::write(&place.path().join("long.wav"), &samples, rate).expect("writable");
    let mut child = place
        .command(&["analyze", "long.wav", "--frames", "--progress", "json"])
        .stdout(Stdio::null())
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
