use serde_json::{Value, json};
use sori_timeline::{ModelVersion, Segment};

use super::*;
use crate::deepgram::ListenRequest;

fn document(language: &str, segments: &[&[(&str, f64, &str)]]) -> Document {
    let segment = |(id, words): (usize, &&[(&str, f64, &str)])| {
        let words: Vec<_> = words
            .iter()
            .map(|(word, start, speaker)| Word {
                word: (*word).into(),
                start: *start,
                end: start + 0.25,
                score: 0.75,
                speaker: (!speaker.is_empty()).then(|| (*speaker).into()),
                speaker_score: (!speaker.is_empty()).then_some(0.5),
                ..Word::default()
            })
            .collect();
        let texts: Vec<_> = words.iter().map(|w| w.word.as_str()).collect();
        Segment {
            id,
            start: words[0].start,
            end: words[words.len() - 1].end,
            text: texts.join(spacer(language)),
            words,
            ..Segment::default()
        }
    };
    let segments: Vec<_> = segments.iter().enumerate().map(segment).collect();
    let texts: Vec<_> = segments.iter().map(|s| s.text.as_str()).collect();
    let mut document = Document {
        text: texts.join(" "),
        language: language.into(),
        language_probability: Some(0.5),
        duration: 5.0,
        segments,
        ..Document::default()
    };
    let models = [
        ("segmentation", "sori-segmentation"),
        ("transcribe", "whisper-base"),
    ];
    document.metadata.model_versions = models
        .into_iter()
        .map(|(role, name)| {
            let model = ModelVersion {
                name: name.into(),
                sha256: None,
            };
            (role.to_owned(), model)
        })
        .collect();
    document
}

fn talk() -> Document {
    let (a, b) = ("SPEAKER_01", "SPEAKER_00");
    document(
        "en",
        &[
            &[
                ("Hello,", 0.0, a),
                ("World.", 0.25, a),
                ("It", 0.5, a),
                ("rains.", 0.75, a),
            ],
            &[("“Hi!”", 1.0, b), ("Bye.", 3.0, b)],
        ],
    )
}

fn view(document: &Document, query: &str) -> Value {
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let request = ListenRequest::parse(&pairs).expect(query);
    let recording = Recording {
        request_id: "0198c0de-0000-7000-8000-000000000000".into(),
        sha256: "ab".repeat(32),
        created_ms: 1_700_000_000_123,
    };
    json!(response(document, &request.shape, &recording))
}

#[test]
fn plain_text_is_lower_case_without_punctuation() {
    let all = view(&talk(), "");
    let best = &all["results"]["channels"][0]["alternatives"][0];
    assert_eq!(best["transcript"], "hello world it rains hi bye");
    assert_eq!(best["confidence"], 0.75);
    assert_eq!(
        best["words"][0],
        json!({"word": "hello", "start": 0.0, "end": 0.25, "confidence": 0.75})
    );
    assert!(best.get("paragraphs").is_none() && all["results"].get("utterances").is_none());
    assert!(
        all["results"]["channels"][0]
            .get("detected_language")
            .is_none()
    );
    let japanese = document("ja", &[&[("今日は", 0.0, ""), ("雨。", 0.5, "")]]);
    let all = view(&japanese, "utterances=true");
    assert_eq!(
        all["results"]["channels"][0]["alternatives"][0]["transcript"],
        "今日は雨"
    );
    assert_eq!(all["results"]["utterances"][0]["transcript"], "今日は雨");
}

#[test]
fn words_bear_speakers_and_punctuation_where_asked() {
    let all = view(&talk(), "diarize=true&punctuate=true&detect_language=true");
    let channel = &all["results"]["channels"][0];
    assert_eq!(channel["detected_language"], "en");
    assert_eq!(channel["language_confidence"], 0.5);
    let best = &channel["alternatives"][0];
    assert_eq!(best["transcript"], "Hello, World. It rains. “Hi!” Bye.");
    let word = json!({"word": "hi", "start": 1.0, "end": 1.25, "confidence": 0.75, "speaker": 1,
        "speaker_confidence": 0.5, "punctuated_word": "“Hi!”"});
    assert_eq!(best["words"][4], word);
    assert_eq!(best["words"][0]["speaker"], 0);
}

#[test]
fn utterances_end_at_pauses_and_speakers() {
    for (query, expected) in [
        (
            "utterances=true&diarize=true&punctuate=true",
            vec!["Hello, World. It rains.", "“Hi!”", "Bye."],
        ),
        ("utterances=true", vec!["hello world it rains hi", "bye"]),
        (
            "utterances=true&utt_split=2",
            vec!["hello world it rains hi bye"],
        ),
    ] {
        let all = view(&talk(), query);
        let utterances = all["results"]["utterances"].as_array().expect("a list");
        let texts: Vec<_> = utterances
            .iter()
            .map(|u| u["transcript"].as_str().expect("text"))
            .collect();
        assert_eq!(texts, expected, "{query}");
        let ids: std::collections::HashSet<_> =
            utterances.iter().map(|u| u["id"].as_str()).collect();
        assert_eq!(ids.len(), utterances.len());
        let words: usize = utterances
            .iter()
            .map(|u| u["words"].as_array().map_or(0, Vec::len))
            .sum();
        assert_eq!(words, 6);
    }
    let first = &view(&talk(), "utterances=true&diarize=true")["results"]["utterances"][0];
    assert_eq!(
        (
            &first["start"],
            &first["end"],
            &first["speaker"],
            &first["channel"]
        ),
        (&json!(0.0), &json!(1.0), &json!(0), &json!(0))
    );
}

#[test]
fn paragraphs_hold_sentences_of_one_speaker() {
    let all = view(&talk(), "paragraphs=true&diarize=true");
    let found = &all["results"]["channels"][0]["alternatives"][0]["paragraphs"];
    assert_eq!(
        found["transcript"],
        "\nSpeaker 0: Hello, World. It rains.\n\nSpeaker 1: “Hi!” Bye."
    );
    let first = json!({"sentences": [{"text": "Hello, World.", "start": 0.0, "end": 0.5}, {"text": "It rains.", "start": 0.5, "end": 1.0}],
        "speaker": 0, "num_words": 4, "start": 0.0, "end": 1.0});
    assert_eq!(found["paragraphs"][0], first);
    let alone = view(&talk(), "smart_format=true");
    let alone = &alone["results"]["channels"][0]["alternatives"][0]["paragraphs"];
    assert_eq!(alone["transcript"], "\nHello, World. It rains. “Hi!” Bye.");
    assert_eq!(alone["paragraphs"].as_array().map(Vec::len), Some(1));
}

#[test]
fn metadata_names_the_request_and_the_models() {
    let all = view(&talk(), "tag=x&extra=a:b&summarize=v2&diarize=true");
    let metadata = &all["metadata"];
    assert_eq!(metadata["created"], "2023-11-14T22:13:20.123Z");
    assert_eq!(
        (&metadata["duration"], &metadata["channels"]),
        (&json!(5.0), &json!(1))
    );
    assert_eq!(
        (&metadata["tags"], &metadata["extra"]),
        (&json!(["x"]), &json!({"a": "b"}))
    );
    assert_eq!(metadata["warnings"][0]["parameter"], "summarize");
    let models = metadata["models"].as_array().expect("a list");
    let names: Vec<_> = models
        .iter()
        .map(|id| &metadata["model_info"][id.as_str().expect("text")]["name"])
        .collect();
    assert_eq!(names.len(), 2);
    assert!(names.contains(&&json!("whisper-base")));
    assert_eq!(metadata["diarize_info"]["arch"], "sori-segmentation");
}

#[test]
fn a_document_without_speech_is_an_empty_answer() {
    let all = view(&Document::default(), "utterances=true&paragraphs=true");
    let best = json!({"transcript": "", "confidence": 0.0, "words": [], "paragraphs": {"transcript": "", "paragraphs": []}});
    assert_eq!(
        all["results"],
        json!({"channels": [{"alternatives": [best]}], "utterances": []})
    );
}
