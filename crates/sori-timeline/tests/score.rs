//! The scores against pyannote.metrics 4.2.0 and meeteval 0.4.3 (`reference/scores.py` made the golden files).

use serde_json::Value;
use sori_timeline::{
    ErrorKind, Turn, Utterance,
    score::{
        DiarizationOptions, Edits, MAX_SPEAKERS, TcpOptions, cp_wer, der, jer, tcp_wer, word_times,
    },
};

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).expect("the golden file lies beside this test");
    serde_json::from_slice(&bytes).expect("the golden file is JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn turns(value: &Value) -> Vec<Turn> {
    let turn = |turn: &Value| Turn {
        start: number(&turn[0]),
        end: number(&turn[1]),
        speaker: turn[2].as_str().expect("a name").to_owned(),
    };
    list(value).iter().map(turn).collect()
}

fn utterances(value: &Value) -> Vec<Utterance> {
    let said = |said: &Value| Utterance {
        speaker: said["speaker"].as_str().expect("a name").to_owned(),
        start: number(&said["start_time"]),
        end: number(&said["end_time"]),
        text: said["words"].as_str().expect("words").to_owned(),
    };
    list(value).iter().map(said).collect()
}

fn uem(value: &Value) -> Option<Vec<(f64, f64)>> {
    let spans = value.as_array()?.iter();
    Some(
        spans
            .map(|span| (number(&span[0]), number(&span[1])))
            .collect(),
    )
}

fn near(found: f64, expected: &Value, what: &str) {
    let expected = number(expected);
    assert!(
        (found - expected).abs() < 1e-6,
        "{what}: {found}, not {expected}"
    );
}

/// Compares one case with `out`: keys `der_<collar>_<skip_overlap>` and `jer`.
fn check_diarization(case: &Value, place: &str, uem: Option<Vec<(f64, f64)>>) -> usize {
    let (reference, hypothesis) = (turns(&case["ref"]), turns(&case["hyp"]));
    let mut settings = 0;
    for (key, expected) in case["out"].as_object().expect("results") {
        if expected.is_null() {
            continue; // pyannote divides by zero
        }
        let mut parts = key.split('_').skip(1);
        let options = DiarizationOptions {
            collar: parts
                .next()
                .map_or(0.0, |collar| collar.parse().expect("a number")),
            skip_overlap: parts.next() == Some("1"),
            uem: uem.clone(),
        };
        let what = format!("{place} {key}");
        settings += 1;
        if key.starts_with("jer") {
            near(
                jer(&reference, &hypothesis, &options).unwrap().rate(),
                expected,
                &what,
            );
            continue;
        }
        let found = der(&reference, &hypothesis, &options).unwrap();
        near(found.total, &expected["total"], &what);
        near(found.correct, &expected["correct"], &what);
        near(found.missed, &expected["missed detection"], &what);
        near(found.false_alarm, &expected["false alarm"], &what);
        near(found.confusion, &expected["confusion"], &what);
        near(found.rate(), &expected["diarization error rate"], &what);
    }
    settings
}

#[test]
fn diarization_errors_equal_pyannotes() {
    let golden = golden("metrics.json");
    let mut settings = 0;
    for (at, case) in list(&golden["der"]).iter().enumerate() {
        settings += check_diarization(case, &format!("der[{at}]"), Some(vec![(0.0, 60.0)]));
    }
    assert_eq!(settings, 60 * 7);
}

#[test]
fn diarization_errors_equal_pyannotes_in_any_uem() {
    let golden = golden("scores.json");
    let cases = list(&golden["der"]);
    for (at, case) in cases.iter().enumerate() {
        check_diarization(case, &format!("der[{at}]"), uem(&case["uem"]));
    }
    assert!(cases.iter().any(|case| case["uem"].is_null()) && cases.len() >= 40);
}

fn check_words(found: &Edits, expected: &Value, what: &str) {
    let count = |name: &str| expected[name].as_u64().expect("a count") as usize;
    let expected = Edits {
        substitutions: count("sub"),
        deletions: count("dele"),
        insertions: count("ins"),
        reference: count("length"),
    };
    assert_eq!(*found, expected, "{what}");
}

#[test]
fn speaker_word_errors_equal_meetevals() {
    for name in ["metrics.json", "scores.json"] {
        let golden = golden(name);
        let cases = list(&golden["cpwer"]);
        assert!(cases.len() >= 40);
        for (at, case) in cases.iter().enumerate() {
            let (reference, hypothesis) = (utterances(&case["ref"]), utterances(&case["hyp"]));
            let what = format!("{name} cpwer[{at}]");
            check_words(
                &cp_wer(&reference, &hypothesis).unwrap().edits,
                &case["cpwer"],
                &what,
            );
            for (key, expected) in case.as_object().expect("a case") {
                let Some(collar) = key.strip_prefix("tcpwer_collar") else {
                    continue;
                };
                let collar = collar.parse().expect("a number");
                let found = tcp_wer(&reference, &hypothesis, &TcpOptions { collar }).unwrap();
                check_words(&found.edits, expected, &format!("{what} {key}"));
            }
        }
    }
}

fn turn(start: f64, end: f64, speaker: &str) -> Turn {
    let speaker = speaker.to_owned();
    Turn {
        start,
        end,
        speaker,
    }
}

fn said(speaker: &str, start: f64, end: f64, text: &str) -> Utterance {
    let (speaker, text) = (speaker.to_owned(), text.to_owned());
    Utterance {
        speaker,
        start,
        end,
        text,
    }
}

#[test]
fn nothing_and_nonsense_have_a_rate() {
    let options = DiarizationOptions::default();
    let someone = [turn(0.0, 1.0, "A")];
    let nonsense = [
        turn(f64::NAN, 1.0, "A"),
        turn(3.0, 2.0, "B"),
        turn(0.0, f64::INFINITY, "C"),
    ];
    type Case<'a> = (&'a [Turn], &'a [Turn], f64, f64);
    let cases: [Case; 4] = [
        (&[], &[], 0.0, 1.0),
        (&[], &someone, 1.0, 1.0),
        (&someone, &[], 1.0, 1.0),
        (&someone, &nonsense, 1.0, 1.0),
    ];
    for (reference, hypothesis, der_rate, jer_rate) in cases {
        assert_eq!(
            der(reference, hypothesis, &options).unwrap().rate(),
            der_rate
        );
        assert_eq!(
            jer(reference, hypothesis, &options).unwrap().rate(),
            jer_rate
        );
    }
    let empty = cp_wer(&[], &[]).unwrap();
    assert_eq!((empty.edits.rate(), empty.pairs.len()), (0.0, 0));
    let spoken = [said("A", f64::NAN, f64::INFINITY, "a b")];
    let heard = [said("x", 0.0, 1.0, "a")];
    assert_eq!(cp_wer(&spoken, &heard).unwrap().edits.total(), 1);
    assert_eq!(
        tcp_wer(&spoken, &heard, &TcpOptions::default())
            .unwrap()
            .edits
            .total(),
        3,
        "what has no time meets nothing"
    );
}

#[test]
fn what_cannot_be_scored_says_why() {
    let crowd: Vec<Turn> = (0..=MAX_SPEAKERS)
        .map(|at| turn(0.0, 1.0, &at.to_string()))
        .collect();
    let one = [turn(0.0, 1.0, "A")];
    let options = DiarizationOptions::default();
    for (error, place) in [
        (der(&crowd, &one, &options).unwrap_err(), "reference"),
        (jer(&one, &crowd, &options).unwrap_err(), "hypothesis"),
    ] {
        assert_eq!((error.kind(), error.place()), (ErrorKind::Limit, place));
    }
    for collar in [-0.1, f64::NAN, 3601.0] {
        let options = DiarizationOptions {
            collar,
            ..options.clone()
        };
        assert_eq!(
            der(&one, &one, &options).unwrap_err().kind(),
            ErrorKind::Option
        );
        let error = tcp_wer(&[], &[], &TcpOptions { collar }).unwrap_err();
        assert_eq!((error.kind(), error.place()), (ErrorKind::Option, "collar"));
    }
    let heap: Vec<Utterance> = (0..17_000)
        .map(|at| said("A", 0.0, 1.0, &at.to_string()))
        .collect();
    assert_eq!(
        word_times(&heap, &heap).unwrap_err().kind(),
        ErrorKind::Limit
    );
}

#[test]
fn ten_hours_of_words_are_aligned_by_time() {
    let words: Vec<Utterance> = (0..100_000)
        .map(|at| {
            said(
                "A",
                at as f64 * 0.36,
                at as f64 * 0.36 + 0.3,
                ["a", "b", "c"][at % 3],
            )
        })
        .collect();
    let mut late = words.clone();
    for (at, word) in late.iter_mut().enumerate() {
        word.start += 0.06;
        word.end += 0.12;
        if at % 100 == 0 {
            word.text = "x".into();
        }
    }
    let times = word_times(&words, &late).unwrap();
    assert_eq!((times.reference, times.starts.len()), (100_000, 99_000));
    let (start, end) = (times.start(), times.end());
    assert!((start.mean - 0.06).abs() < 1e-9 && (end.p95 - 0.12).abs() < 1e-6);
    assert_eq!(
        (start.within, end.within),
        ([0.0, 1.0, 1.0], [0.0, 0.0, 1.0])
    );
    let found = tcp_wer(&words, &late, &TcpOptions::default()).unwrap();
    assert_eq!(
        (found.edits.substitutions, found.edits.total()),
        (1000, 1000)
    );
    assert_eq!(cp_wer(&words, &late).unwrap().edits, found.edits);
}

#[test]
fn deviations_are_summed_up_as_numpy_does() {
    let reference: Vec<Utterance> = (0..4)
        .map(|at| said("", f64::from(at), f64::from(at) + 0.5, &at.to_string()))
        .collect();
    let mut hypothesis = reference.clone();
    for (word, late) in hypothesis.iter_mut().zip([0.0, 0.05, 0.1, 0.4]) {
        word.start += late;
    }
    let mut times = word_times(&reference, &hypothesis).unwrap();
    let start = times.start();
    for (found, expected) in [
        (start.mean, 0.1375),
        (start.median, 0.075),
        (start.p95, 0.355),
        (start.within[0], 0.5),
        (start.within[1], 0.75),
        (times.end().p95, 0.0),
        (times.found(), 1.0),
    ] {
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    }
    times += word_times(&reference, &[]).unwrap();
    assert_eq!(times.found(), 0.5);
}
