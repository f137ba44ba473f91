//! `sori work` as a server meets it: a real process, orders on its stdin, reports from its stdout.

// Other suites use the rest of it.
#[allow(dead_code)]
mod place;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::Duration;

use place::{Place, err, text};
use serde_json::{Value, json};
use sori_server::work::{DOCUMENT, FailureKind, HEARD, JOURNAL, PAGE, PROFILE, Report};

/// How long a report may take on a machine that does much else; nothing depends on it but how long a failure takes.
const PATIENCE: Duration = Duration::from_secs(240);

/// A conversation of two synthetic voices, 28 s.
fn conversation() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples/conversation.wav")
}

/// A WAV file of 16-bit samples at 16 kHz.
fn sound(path: &Path, data: &[u8], channels: u16) {
    let length = data.len() as u32;
    let header = [
        &b"RIFF"[..],
        &(36 + length).to_le_bytes(),
        b"WAVEfmt ",
        &16u32.to_le_bytes(),
        &1u16.to_le_bytes(),
        &channels.to_le_bytes(),
        &16_000u32.to_le_bytes(),
        &(32_000 * u32::from(channels)).to_le_bytes(),
        &(2 * channels).to_le_bytes(),
        &16u16.to_le_bytes(),
        b"data",
        &length.to_le_bytes(),
        data,
    ];
    fs::write(path, header.concat()).expect("writable");
}

/// The conversation so many times, at `path`.
fn long(path: &Path, times: usize) {
    let bytes = fs::read(conversation()).expect("it is there");
    sound(path, &bytes[44..].repeat(times), 1);
}

/// A worker and what it says.
struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    // Unbounded: a test is told no more than its jobs give. The reading thread closes it at the end of stdout.
    reports: Receiver<Report>,
}

impl Worker {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut child = place
            .command(&[&["work"], arguments].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let report = serde_json::from_str(&line).expect("a report of the contract");
                if sender.send(report).is_err() {
                    break;
                }
            }
        });
        Self {
            stdin: child.stdin.take(),
            child,
            reports,
        }
    }

    /// A worker that is ready.
    fn ready(place: &Place, arguments: &[&str]) -> Self {
        let worker = Self::start(place, arguments);
        match worker.next() {
            Some(Report::Ready { models }) => assert_eq!(models["transcribe"], "starter"),
            other => panic!("not ready: {other:?}"),
        }
        worker
    }

    fn order(&mut self, order: &Value) {
        let stdin = self.stdin.as_mut().expect("it is open");
        writeln!(stdin, "{order}").expect("the worker reads");
    }

    /// The next report; none at the end.
    fn next(&self) -> Option<Report> {
        match self.reports.recv_timeout(PATIENCE) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("the worker hangs"),
            report => report.ok(),
        }
    }

    /// The reports of a job up to its end, which is the last.
    fn whole(&self) -> Vec<Report> {
        let mut all = Vec::new();
        loop {
            let report = self.next().expect("a job has an end");
            let over = matches!(
                report,
                Report::Done { .. } | Report::Failed { .. } | Report::Cancelled { .. }
            );
            all.push(report);
            if over {
                return all;
            }
        }
    }

    /// How a job failed.
    #[track_caller]
    fn failed(&self) -> (FailureKind, String) {
        match self.whole().pop() {
            Some(Report::Failed { kind, message, .. }) => (kind, message),
            other => panic!("it did not fail: {other:?}"),
        }
    }

    /// The exit status, once it has ended.
    fn ended(&mut self) -> Option<i32> {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                return status.code();
            }
            sleep(Duration::from_millis(20));
        }
        panic!("the worker does not end")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn order(job: &str, media: &Path, folder: &Path, options: Value) -> Value {
    fs::create_dir_all(folder).expect("writable");
    json!({"order": "analyze", "job": job, "attempt": 1, "media": media, "folder": folder, "options": options})
}

/// A document but for times of the clock.
fn document(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut document: Value = serde_json::from_slice(&bytes).expect("it is JSON");
    let metadata = document["metadata"].as_object_mut().expect("it has some");
    for key in ["processing_time", "stages"] {
        assert!(metadata.remove(key).is_some(), "{key}");
    }
    document
}

#[test]
fn a_job_gives_what_sori_analyze_gives() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    fs::copy(conversation(), at("talk.wav")).expect("writable");
    let output = place.run(&["analyze", "talk.wav"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let mut worker = Worker::ready(&place, &[]);
    let mut first = order("one", &at("talk.wav"), &at("job"), json!({}));
    first["name"] = json!("말.wav");
    worker.order(&first);
    let reports = worker.whole();
    assert!(
        matches!(&reports[0], Report::Started { duration: Some(d), .. } if (28.0..29.0).contains(d))
    );
    let (mut percents, mut ids) = (Vec::new(), Vec::new());
    for report in &reports {
        match report {
            Report::Progress {
                job,
                percent,
                done_seconds,
                ..
            } => {
                assert!(job == "one" && *done_seconds < 29.0);
                percents.push(*percent);
            }
            Report::Segment {
                id,
                start,
                end,
                text,
                ..
            } => {
                assert!(start <= end && !text.is_empty());
                ids.push(*id);
            }
            _ => {}
        }
    }
    assert!(
        percents.is_sorted() && percents.last() == Some(&100),
        "{percents:?}"
    );
    assert!(
        !ids.is_empty() && ids.iter().copied().eq(0..ids.len()),
        "{ids:?}"
    );
    let Some(Report::Done {
        partial,
        duration,
        stages,
        warnings,
        ..
    }) = reports.last()
    else {
        panic!("{reports:?}")
    };
    assert!(
        !partial && (28.0..29.0).contains(duration) && warnings.is_empty(),
        "{reports:?}"
    );
    assert!(stages.iter().any(|s| s.stage == "transcribe"));
    let found = document(&at("job").join(DOCUMENT));
    assert_eq!(found, document(&at("talk.json")));
    let page = fs::read_to_string(at("job").join(PAGE)).expect("it was written");
    assert!(page.contains("말.wav") && page.contains("media-src blob:"));

    // Only who spoke is decided anew, and a model of another service is stood in for.
    let mut again = order(
        "two",
        Path::new("gone.wav"),
        &at("job"),
        json!({"speakers": 1}),
    );
    again["rerun"] = json!(true);
    worker.order(&again);
    assert!(matches!(worker.whole().last(), Some(Report::Done { .. })));
    let one = document(&at("job").join(DOCUMENT));
    assert_eq!(one["speakers"].as_object().map(|s| s.len()), Some(1));
    assert_eq!(one["text"], found["text"]);
    let foreign = json!({"model": "whisper-1", "diarize": false, "features": []});
    worker.order(&order("three", &at("talk.wav"), &at("other"), foreign));
    let last = worker.whole().pop();
    assert!(
        matches!(&last, Some(Report::Done { warnings, .. }) if warnings[0].contains("whisper-1")),
        "{last:?}"
    );
    let plain = document(&at("other").join(DOCUMENT));
    assert_eq!(
        plain["metadata"]["warnings"][0]
            .as_str()
            .map(|w| w.contains("whisper-1")),
        Some(true)
    );
    assert_eq!(plain["metadata"]["model_versions"].get("embedding"), None);
}

#[test]
fn remembered_voices_come_with_the_order() {
    let place = Place::new();
    let folder = fs::read_dir(sori_testing::shared("media/speakers")).expect("it is there");
    let mut clips: Vec<PathBuf> = folder.map(|e| e.expect("readable").path()).collect();
    clips.retain(|path| text(path).contains("/1998-"));
    clips.sort();
    let mut arguments = vec!["enroll", "Mina"];
    arguments.extend(clips.iter().map(|path| text(path)));
    let output = place.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let voices = fs::read_dir(place.path().join("models/voices")).expect("it is there");
    let paths = voices.map(|e| e.expect("readable").path());
    let profiles: Vec<Value> = paths
        .filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok())
        .collect();
    assert_eq!(profiles.len(), 1);
    let mut worker = Worker::ready(&place, &[]);
    for (names, found) in [(true, "Mina"), (false, "SPEAKER_00")] {
        let folder = place.path().join(found);
        let mut order = order(
            found,
            &clips[0],
            &folder,
            json!({"names": names, "speakers": 1}),
        );
        order["profiles"] = json!([profiles[0], {"name": "damaged"}]);
        worker.order(&order);
        let last = worker.whole().pop();
        let Some(Report::Done { warnings, .. }) = last else {
            panic!("{last:?}")
        };
        assert_eq!(
            warnings.iter().any(|w| w.contains("left out")),
            names,
            "{warnings:?}"
        );
        let document = document(&folder.join(DOCUMENT));
        let speakers = document["speakers"].as_object().expect("it has some");
        assert!(speakers.contains_key(found), "{speakers:?}");
    }
}

#[test]
fn a_killed_worker_goes_on_where_it_was() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    long(&at("long.wav"), 8);
    let length = |folder: &str| fs::metadata(at(folder).join(JOURNAL)).map_or(0, |m| m.len());
    let mut worker = Worker::ready(&place, &[]);
    worker.order(&order("calm", &at("long.wav"), &at("calm"), json!({})));
    assert!(matches!(worker.whole().last(), Some(Report::Done { .. })));
    let whole = length("calm");
    drop(worker);
    // Killed twice, each time a quarter of the way further.
    for share in [1, 2] {
        let mut worker = Worker::ready(&place, &[]);
        worker.order(&order("job", &at("long.wav"), &at("job"), json!({})));
        while length("job") < whole * share / 4 {
            match worker.next() {
                Some(Report::Done { .. }) | None => panic!("it was not killed in time"),
                Some(_) => {}
            }
        }
        worker.child.kill().expect("it runs");
        worker.child.wait().expect("it ran");
        assert!(!at("job").join(DOCUMENT).exists());
        assert!(length("job") < whole, "it was not killed in time");
    }
    let before = fs::read(at("job").join(JOURNAL)).expect("it is there");
    let mut worker = Worker::ready(&place, &[]);
    worker.order(&order("job", &at("long.wav"), &at("job"), json!({})));
    assert!(matches!(worker.whole().last(), Some(Report::Done { .. })));
    assert_eq!(
        document(&at("job").join(DOCUMENT)),
        document(&at("calm").join(DOCUMENT))
    );
    let after = fs::read(at("job").join(JOURNAL)).expect("it is there");
    // What stood in it was not found out again: the same results are in both journals, each once.
    assert_eq!(after.len() as u64, whole);
    let same = before
        .iter()
        .zip(&after)
        .take_while(|(a, b)| a == b)
        .count();
    let kept = 2 * whole / 5;
    assert!(same as u64 > kept, "{same} of {}", before.len());
}

#[test]
fn a_job_is_cancelled_and_the_next_one_done() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    long(&at("long.wav"), 20);
    fs::copy(conversation(), at("talk.wav")).expect("writable");
    let mut worker = Worker::ready(&place, &[]);
    worker.order(&order("long", &at("long.wav"), &at("job"), json!({})));
    assert!(matches!(worker.next(), Some(Report::Started { .. })));
    worker.order(&json!({"order": "cancel", "job": "another"}));
    worker.order(&json!({"order": "cancel", "job": "long"}));
    assert!(matches!(worker.whole().last(), Some(Report::Cancelled { job }) if job == "long"));
    assert!(!at("job").join(DOCUMENT).exists() && !at("job").join(HEARD).exists());
    worker.order(&order("short", &at("talk.wav"), &at("next"), json!({})));
    assert!(matches!(worker.whole().last(), Some(Report::Done { .. })));
}

#[test]
fn a_worker_ends_with_its_input() {
    let place = Place::new();
    long(&place.path().join("long.wav"), 20);
    let mut worker = Worker::ready(&place, &[]);
    let folder = place.path().join("job");
    worker.order(&order(
        "long",
        &place.path().join("long.wav"),
        &folder,
        json!({}),
    ));
    assert!(matches!(worker.next(), Some(Report::Started { .. })));
    worker.stdin = None;
    assert_eq!(worker.ended(), Some(0));
    assert!(!folder.join(DOCUMENT).exists());
    for nonsense in ["hello", r#"{"order":"reboot"}"#, "[]"] {
        let mut worker = Worker::start(&place, &[]);
        writeln!(worker.stdin.as_mut().expect("it is open"), "{nonsense}").expect("it reads");
        assert_eq!(worker.ended(), Some(2), "{nonsense}");
    }
}

#[test]
fn what_cannot_be_done_fails_by_kind_and_the_next_job_works() {
    let place = Place::new();
    let at = |name: &str| place.path().join(name);
    fs::copy(conversation(), at("talk.wav")).expect("writable");
    fs::write(at("page.wav"), b"<html>no sound</html>").expect("writable");
    fs::write(at("empty.wav"), b"").expect("writable");
    long(&at("long.wav"), 2);
    sound(&at("wide.wav"), &[0; 320_000], 10);
    let limits = ["--max-seconds", "40", "--max-channels", "8"];
    let mut worker = Worker::ready(&place, &limits);
    for (media, options, kind, message) in [
        ("page.wav", json!({}), FailureKind::Input, "page.wav"),
        ("empty.wav", json!({}), FailureKind::Input, "empty.wav"),
        ("absent.wav", json!({}), FailureKind::Input, "absent.wav"),
        ("long.wav", json!({}), FailureKind::Input, "limit"),
        ("wide.wav", json!({}), FailureKind::Input, "channels"),
        (
            "talk.wav",
            json!({"beams": 2}),
            FailureKind::Options,
            "beams",
        ),
        (
            "talk.wav",
            json!({"speakers": 0}),
            FailureKind::Options,
            "speakers",
        ),
        (
            "talk.wav",
            json!({"language": "xx"}),
            FailureKind::Options,
            "xx",
        ),
        (
            "talk.wav",
            json!({"vad": "silero"}),
            FailureKind::Model,
            "silero",
        ),
    ] {
        worker.order(&order(media, &at(media), &at("job"), options.clone()));
        let (found, said) = worker.failed();
        assert_eq!(found, kind, "{media} {options}: {said}");
        assert!(said.contains(message), "{media} {options}: {said}");
    }
    let mut rerun = order("rerun", &at("talk.wav"), &at("none"), json!({}));
    rerun["rerun"] = json!(true);
    worker.order(&rerun);
    assert_eq!(worker.failed().0, FailureKind::Input);
    worker.order(&order("good", &at("talk.wav"), &at("job"), json!({})));
    assert!(matches!(worker.whole().last(), Some(Report::Done { .. })));
}

/// The conversation between two times in seconds, at `path`.
fn part(path: &Path, from: f64, to: f64) {
    let bytes = fs::read(conversation()).expect("it is there");
    let at = |seconds: f64| 44 + 2 * (seconds * 16_000.0) as usize;
    sound(path, &bytes[at(from)..at(to)], 1);
}

#[test]
fn a_voice_is_enrolled_or_refused_with_the_reason() {
    let place = Place::new();
    let folder = place.path().join("job");
    fs::create_dir_all(&folder).expect("writable");
    let enroll = |job: &str, media: &[PathBuf]| json!({"order": "enroll", "job": job, "attempt": 1, "name": "민아", "media": media, "folder": folder});
    let mut worker = Worker::ready(&place, &[]);
    let (short, silent, text) = (
        place.path().join("short.wav"),
        place.path().join("silent.wav"),
        place.path().join("notes.txt"),
    );
    part(&short, 6.5, 10.4);
    sound(&silent, &[0; 64_000], 1);
    fs::write(&text, "no sound").expect("writable");
    for (media, words) in [
        (&[conversation()][..], "recording 1: 2 people speak in it"),
        (std::slice::from_ref(&short), "8 s needed"),
        (&[short.clone(), silent], "recording 2: nobody speaks"),
        (&[text], "recording 1: "),
    ] {
        worker.order(&enroll("refused", media));
        let (kind, message) = worker.failed();
        assert_eq!(kind, FailureKind::Input, "{message}");
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(!folder.join(PROFILE).exists());
    let speaker = fs::read_dir(sori_testing::shared("media/speakers")).expect("it is there");
    let mut clips: Vec<_> = speaker.map(|e| e.expect("readable").path()).collect();
    clips.retain(|path| path.to_string_lossy().contains("/1998-"));
    clips.sort();
    worker.order(&enroll("one", &clips));
    let reports = worker.whole();
    assert!(
        matches!(reports.last(), Some(Report::Done { duration, .. }) if *duration > 8.0),
        "{reports:?}"
    );
    let profile = fs::read(folder.join(PROFILE)).expect("it was written");
    let profile: Value = serde_json::from_slice(&profile).expect("it is JSON");
    assert_eq!(
        (&profile["name"], &profile["clips"]),
        (&json!("민아"), &json!(clips.len()))
    );
    // The next job gets it.
    let mut named = order("two", &clips[0], &folder, json!({}));
    named["profiles"] = json!([profile]);
    worker.order(&named);
    worker.whole();
    let speakers = &document(&folder.join(DOCUMENT))["speakers"];
    assert!(speakers.get("민아").is_some(), "{speakers}");
}

#[test]
fn samples_of_voices_name_the_speakers_of_one_job() {
    let place = Place::new();
    let (folder, anna, ben) = (
        place.path().join("job"),
        place.path().join("anna.wav"),
        place.path().join("ben.wav"),
    );
    part(&anna, 6.5, 10.4);
    part(&ben, 11.2, 14.2);
    let mut worker = Worker::ready(&place, &[]);
    let mut named = order("one", &conversation(), &folder, json!({"align": "off"}));
    named["references"] = json!([{"name": "Anna", "media": anna}, {"name": "벤", "media": ben}]);
    worker.order(&named);
    let names = |report: Option<Report>| {
        let Some(Report::Done { warnings, .. }) = report else {
            panic!("not done: {report:?}");
        };
        let document = document(&folder.join(DOCUMENT));
        let speakers = document["speakers"].as_object().expect("an object");
        (speakers.keys().cloned().collect::<Vec<_>>(), warnings)
    };
    let (found, warnings) = names(worker.whole().pop());
    assert_eq!(found, ["Anna", "벤"]);
    assert!(
        warnings.iter().any(|w| w.contains("sample 2 has")),
        "{warnings:?}"
    );
    // Known in that job only.
    worker.order(&order(
        "two",
        &conversation(),
        &folder,
        json!({"align": "off"}),
    ));
    let (found, _) = names(worker.whole().pop());
    assert_eq!(found, ["SPEAKER_00", "SPEAKER_01"]);
    named["references"] = json!([{"name": "Anna", "media": conversation()}]);
    worker.order(&named);
    let (kind, message) = worker.failed();
    assert!(
        kind == FailureKind::Input && message.contains("sample 1: 2 people speak"),
        "{kind:?} {message}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_ends_a_job_or_its_worker() {
    let place = Place::new();
    long(&place.path().join("long.wav"), 4);
    for mebibytes in ["8", "40"] {
        let mut worker = Worker::start(&place, &["--memory-mb", mebibytes]);
        let order = order(
            "job",
            &place.path().join("long.wav"),
            &place.path().join("job"),
            json!({}),
        );
        // It may have ended before it reads.
        let _ = writeln!(worker.stdin.as_mut().expect("it is open"), "{order}");
        loop {
            match worker.next() {
                Some(Report::Done { .. }) => panic!("{mebibytes} MiB were enough"),
                Some(Report::Failed { .. }) => break,
                Some(_) => {}
                None => {
                    assert_ne!(worker.ended(), Some(0), "{mebibytes}");
                    break;
                }
            }
        }
    }
}
