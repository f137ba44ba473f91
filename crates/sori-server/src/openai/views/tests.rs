use serde_json::{Value, json};
use sori_timeline::{SegmentSpeaker, Word};

use super::super::Deltas;
use super::*;

/// A word from tenth to tenth of a second.
fn word(word: &str, start: f64, end: f64) -> Word {
    Word {
        word: word.into(),
        start,
        end,
        score: 0.25,
        ..Word::default()
    }
}

fn said(id: usize, speaker: &str, words: Vec<Word>) -> Segment {
    let texts: Vec<_> = words.iter().map(|word| word.word.as_str()).collect();
    Segment {
        id,
        start: words[0].start,
        end: words[words.len() - 1].end,
        text: texts.join(" "),
        speaker: (!speaker.is_empty()).then(|| SegmentSpeaker {
            speaker_id: speaker.into(),
        }),
        avg_logprob: -0.25,
        compression_ratio: 0.9,
        no_speech_prob: 0.01,
        words,
        ..Segment::default()
    }
}

/// Two people who say three sentences.
fn talk(first: &str, second: &str) -> Document {
    let segments = vec![
        said(
            0,
            first,
            vec![word("Hello,", 0.1, 0.5), word("world.", 0.6, 1.0)],
        ),
        said(1, second, vec![word("“Hi!”", 1.2004, 1.5)]),
        said(2, second, vec![word("Bye.", 2.0, 2.25)]),
    ];
    let texts: Vec<_> = segments.iter().map(|s| s.text.as_str()).collect();
    Document {
        text: texts.join(" "),
        language: "en".into(),
        duration: 2.50049,
        segments,
        ..Document::default()
    }
}

fn wanted(format: ResponseFormat) -> Wanted {
    Wanted {
        format,
        segments: true,
        ..Wanted::default()
    }
}

fn value(document: &Document, wanted: &Wanted) -> Value {
    match answer(document, wanted).expect("the document is sound") {
        Answer::Json(view) => serde_json::to_value(view),
        Answer::Verbose(view) => serde_json::to_value(view),
        Answer::Diarized(view) => serde_json::to_value(view),
        Answer::Text(text) => Ok(Value::String(text)),
    }
    .expect("it is JSON")
}

const TEXT: &str = "Hello, world. “Hi!” Bye.";

#[test]
fn json_has_text_and_usage() {
    let document = talk("", "");
    let expected = json!({"text": TEXT, "languages": [{"code": "en"}], "usage": {"type": "duration", "seconds": 2.5}});
    let plain = wanted(ResponseFormat::Json);
    assert_eq!(value(&document, &plain), expected);
    let translated = Wanted {
        translated: true,
        ..plain.clone()
    };
    assert_eq!(value(&document, &translated), json!({"text": TEXT}));
    let sure = Wanted {
        logprobs: true,
        ..plain
    };
    let logprobs = value(&document, &sure)["logprobs"].take();
    assert_eq!(
        logprobs[0],
        json!({"token": "Hello,", "logprob": -1.3863, "bytes": b"Hello,"})
    );
    assert_eq!(logprobs[1]["token"], " world.");
    let tokens: Vec<_> = logprobs
        .as_array()
        .expect("a list")
        .iter()
        .map(|l| l["token"].as_str().expect("text"))
        .collect();
    assert_eq!(tokens.concat(), TEXT);
}

#[test]
fn verbose_json_has_what_was_asked_for() {
    let document = talk("", "");
    let plain = wanted(ResponseFormat::VerboseJson);
    let view = value(&document, &plain);
    assert_eq!(view["task"], "transcribe");
    assert_eq!(view["language"], "english");
    assert_eq!(view["duration"], 2.5);
    assert!(view.get("words").is_none());
    let segment = json!({"id": 1, "seek": 120, "start": 1.2, "end": 1.5, "text": " “Hi!”", "tokens": [], "temperature": 0.0,
        "avg_logprob": -0.25, "compression_ratio": 0.9, "no_speech_prob": 0.01});
    assert_eq!(view["segments"][1], segment);
    let texts = view["segments"].as_array().expect("a list").iter();
    let joined: String = texts.map(|s| s["text"].as_str().expect("text")).collect();
    assert_eq!(joined.trim_start(), TEXT);
    let words = Wanted {
        words: true,
        segments: false,
        ..plain.clone()
    };
    let view = value(&document, &words);
    assert!(view.get("segments").is_none());
    assert_eq!(
        view["words"][0],
        json!({"word": "Hello", "start": 0.1, "end": 0.5})
    );
    assert_eq!(view["words"][2]["word"], "Hi");
    let translated = value(
        &Document {
            language: "ko".into(),
            ..document
        },
        &Wanted {
            translated: true,
            ..plain
        },
    );
    assert_eq!(
        (&translated["task"], &translated["language"]),
        (&json!("translate"), &json!("english"))
    );
}

#[test]
fn diarized_json_calls_speakers_by_letter_or_name() {
    let diarized = wanted(ResponseFormat::DiarizedJson);
    for (first, second, labels, text) in [
        (
            "SPEAKER_01",
            "SPEAKER_00",
            ["A", "B", "B"],
            "A: Hello, world.\nB: “Hi!” Bye.",
        ),
        (
            "agent",
            "SPEAKER_00",
            ["agent", "A", "A"],
            "agent: Hello, world.\nA: “Hi!” Bye.",
        ),
        (
            "SPEAKER_00",
            "A",
            ["B", "A", "A"],
            "B: Hello, world.\nA: “Hi!” Bye.",
        ),
        (
            "SPEAKER_00",
            "",
            ["A", "UNKNOWN", "UNKNOWN"],
            "A: Hello, world.\nUNKNOWN: “Hi!” Bye.",
        ),
        ("", "", ["A", "A", "A"], "A: Hello, world. “Hi!” Bye."),
    ] {
        let view = value(&talk(first, second), &diarized);
        let found: Vec<_> = view["segments"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|s| s["speaker"].clone())
            .collect();
        assert_eq!(found, labels, "{first} {second}");
        assert_eq!(view["text"], text);
    }
    let view = value(&talk("SPEAKER_00", "SPEAKER_01"), &diarized);
    let segment = json!({"type": "transcript.text.segment", "id": "seg_002", "start": 1.2, "end": 1.5, "text": "“Hi!”", "speaker": "B"});
    assert_eq!(view["segments"][1], segment);
    assert_eq!(
        (&view["task"], &view["duration"]),
        (&json!("transcribe"), &json!(2.5))
    );
    assert_eq!(letter(25), "Z");
    assert_eq!(letter(26), "AA");
    assert_eq!(letter(26 * 27), "AAA");
}

#[test]
fn plain_bodies_are_the_exports() {
    let document = talk("SPEAKER_00", "SPEAKER_01");
    assert_eq!(
        value(&document, &wanted(ResponseFormat::Text)),
        format!("{TEXT}\n")
    );
    let speakers = Wanted {
        speakers: true,
        ..wanted(ResponseFormat::Text)
    };
    let dialogue = "SPEAKER_00 [00:00]: Hello, world.\nSPEAKER_01 [00:01]: “Hi!” Bye.\n";
    assert_eq!(value(&document, &speakers), dialogue);
    let srt = value(&document, &wanted(ResponseFormat::Srt));
    assert!(
        srt.as_str()
            .expect("text")
            .starts_with("1\n00:00:00,100 --> 00:00:01,000\n")
    );
    let vtt = value(&document, &wanted(ResponseFormat::Vtt));
    assert!(
        vtt.as_str()
            .expect("text")
            .starts_with("WEBVTT\n\n00:00:00.100 --> ")
    );
}

#[test]
fn a_stream_gives_the_text_once_and_its_end() {
    let document = talk("SPEAKER_00", "SPEAKER_01");
    let events = |heard: &[&str], wanted: &Wanted| -> Vec<Value> {
        let mut deltas = Deltas::default();
        let mut events: Vec<_> = heard.iter().filter_map(|text| deltas.heard(text)).collect();
        events.extend(deltas.finish(&document, wanted));
        let json = |event| serde_json::to_value::<super::super::StreamEvent>(event).expect("JSON");
        events.into_iter().map(json).collect()
    };
    let plain = wanted(ResponseFormat::Json);
    let live = events(&["Hello, world.", "", " “Hi!”", "Bye."], &plain);
    for all in [&live, &events(&[], &plain)] {
        let (done, deltas) = all.split_last().expect("there is an end");
        let text: String = deltas
            .iter()
            .map(|d| d["delta"].as_str().expect("text"))
            .collect();
        assert!(deltas.iter().all(|d| d["type"] == "transcript.text.delta"));
        assert_eq!(text, TEXT);
        let expected = json!({"type": "transcript.text.done", "text": TEXT, "languages": [{"code": "en"}],
            "usage": {"type": "duration", "seconds": 2.5}});
        assert_eq!(*done, expected);
    }
    let diarized = events(&["Hello, world."], &wanted(ResponseFormat::DiarizedJson));
    let kinds: Vec<_> = diarized
        .iter()
        .map(|e| e["type"].as_str().expect("text"))
        .collect();
    let segment = "transcript.text.segment";
    assert_eq!(
        kinds,
        [
            "transcript.text.delta",
            segment,
            segment,
            segment,
            "transcript.text.done"
        ]
    );
    assert_eq!(diarized[2]["speaker"], "B");
}

#[test]
fn a_document_without_speech_is_an_empty_answer() {
    let silence = Document {
        duration: 3.0,
        ..Document::default()
    };
    let view = value(&silence, &wanted(ResponseFormat::VerboseJson));
    assert_eq!((&view["text"], &view["segments"]), (&json!(""), &json!([])));
    assert_eq!(
        value(&silence, &wanted(ResponseFormat::DiarizedJson))["segments"],
        json!([])
    );
    assert_eq!(
        value(&silence, &wanted(ResponseFormat::Json))["languages"],
        json!([])
    );
}
