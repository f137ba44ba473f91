//! The HTML page: that nothing in a document becomes markup, that it needs nothing else, and how large it grows.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sori_timeline::{
    AcousticFeatures, Document, ErrorKind, Identity, ModelVersion, Segment, SegmentSpeaker,
    Speaker, StageFailure, TimeSource, Turn, Word,
    export::{AudioSource, Curves, PageMedia, page},
};

const HOSTILE: &str =
    "</script><img src=x onerror='alert(1)'>\"--><!--<script>&amp;\u{0}\u{2028}]]>";

fn word(text: &str, start: f64, speaker: &str) -> Word {
    Word {
        word: text.into(),
        start,
        end: start + 0.25,
        score: 0.9,
        time_source: TimeSource::Aligned,
        speaker: Some(speaker.into()),
        ..Word::default()
    }
}

fn segment(id: usize, start: f64, speaker: &str, text: &str) -> Segment {
    let words = text.split_whitespace().enumerate();
    let words: Vec<Word> = words
        .map(|(at, text)| word(text, start + 0.3 * at as f64, speaker))
        .collect();
    Segment {
        id,
        start,
        end: words.last().unwrap().end,
        speaker: Some(SegmentSpeaker {
            speaker_id: speaker.into(),
        }),
        text: text.into(),
        words,
        ..Segment::default()
    }
}

/// Two speakers; an uncertain word, an estimated time, a word in an overlap, a sound.
fn document() -> Document {
    let mut first = segment(0, 1.0, "SPEAKER_00", "Well, hello there.");
    let mut second = segment(1, 1.5, "Ann", "Hello!");
    first.words[1].score = 0.3;
    first.words[2].time_source = TimeSource::Interpolated;
    second.words[0].other_speaker = Some("SPEAKER_00".into());
    second.words[0].acoustic_features = Some(Box::new(AcousticFeatures {
        volume_db: Some(-20.4),
        pitch_hz: Some(201.6),
        spectral_centroid: Some(1500.0),
        ..AcousticFeatures::default()
    }));
    let turn = |start, end, speaker: &str| Turn {
        start,
        end,
        speaker: speaker.into(),
    };
    let total = |total_duration, share| Speaker {
        total_duration,
        share,
        ..Speaker::default()
    };
    Document {
        text: "Well, hello there. Hello!".into(),
        language: "en".into(),
        duration: 4.0,
        segments: vec![first, second],
        speakers: [
            ("SPEAKER_00".into(), total(0.85, 0.75)),
            ("Ann".into(), total(0.25, 0.25)),
        ]
        .into(),
        turns: vec![turn(1.0, 1.85, "SPEAKER_00"), turn(1.5, 1.75, "Ann")],
        ..Document::default()
    }
}

fn written(document: &Document, media: &PageMedia) -> String {
    let mut bytes = Vec::new();
    page(document, media, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// What stands between the first `from` and the next `to`.
fn between<'a>(html: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = html.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    rest.split_once(to)
        .unwrap_or_else(|| panic!("no {to} after {from}"))
        .0
}

fn data(html: &str) -> Value {
    serde_json::from_str(between(html, "id=\"data\">", "</script>")).unwrap()
}

#[test]
fn words_keep_their_marks_and_the_data_block_its_shape() {
    let html = written(&document(), &PageMedia::default());
    assert_eq!(
        between(&html, "<h2 class=\"quiet\">Transcript</h2>\n", "</main>"),
        "<article class=\"turn s0\" data-s=\"0\"><h3 class=\"who\">Speaker 1</h3>\
         <button class=\"at\" type=\"button\">0:01</button><p dir=\"auto\"><span>Well,</span> \
         <span class=\"unsure\">hello</span> <span class=\"estimate\">there.</span></p></article>\n\
         <article class=\"turn s1\" data-s=\"1\"><h3 class=\"who\">Ann</h3>\
         <button class=\"at\" type=\"button\">0:01</button><p dir=\"auto\">\
         <span class=\"over o0\" data-o=\"0\">Hello!</span></p></article>\n"
    );
    let mut data = data(&html);
    data.as_object_mut().unwrap().remove("say").unwrap();
    assert_eq!(
        data,
        json!({
            "key": data["key"], "duration": 4000, "names": ["Speaker 1", "Ann"],
            "turns": [[0, 1000, 1850], [1, 1500, 1750]],
            "words": {
                "start": [1000, 1300, 1600, 1500], "length": [250, 250, 250, 250], "score": [90, 30, 90, 90],
                "volume": [null, null, null, -20], "pitch": [null, null, null, 202],
                "centroid": [null, null, null, 1500],
            },
        })
    );
}

#[test]
fn hostile_text_stays_text() {
    let mut document = document();
    let clean = written(
        &document,
        &PageMedia {
            title: "x".into(),
            ..PageMedia::default()
        },
    );
    document.text = HOSTILE.into();
    document.language = HOSTILE.into();
    document.segments = vec![segment(0, 1.0, HOSTILE, HOSTILE)];
    document.segments[0].words[0].other_speaker = Some(HOSTILE.into());
    document.turns[0].speaker = HOSTILE.into();
    document.partial = true;
    let identity = Identity {
        name: HOSTILE.into(),
        probability: 0.5,
        accepted: false,
    };
    document.speakers = [(
        HOSTILE.into(),
        Speaker {
            identity: Some(identity),
            ..Speaker::default()
        },
    )]
    .into();
    let made = &mut document.metadata;
    made.generator = HOSTILE.into();
    made.warnings = vec![HOSTILE.into()];
    made.failures = vec![StageFailure {
        stage: HOSTILE.into(),
        reason: HOSTILE.into(),
    }];
    let model = ModelVersion {
        name: HOSTILE.into(),
        sha256: Some(HOSTILE.into()),
    };
    made.model_versions = [(HOSTILE.into(), model)].into();
    let audio = AudioSource::Linked {
        path: HOSTILE.into(),
    };
    let html = written(
        &document,
        &PageMedia {
            title: HOSTILE.into(),
            audio,
            curves: None,
        },
    );
    // The data and the transcript hold it, but neither as an element nor as the end of a script.
    assert_eq!(
        html.matches("</script>").count(),
        clean.matches("</script>").count()
    );
    assert_eq!(
        html.matches("<script").count(),
        clean.matches("<script").count()
    );
    for forbidden in ["<img", "<!--", "\u{0}"] {
        assert!(!html.contains(forbidden), "{forbidden:?} got through");
    }
    assert_eq!(data(&html)["names"][0], HOSTILE);
    assert!(html.contains("&lt;/script&gt;&lt;img"));
    assert!(
        data(&html)["audio"]["url"]
            .as_str()
            .unwrap()
            .starts_with("%3C/script%3E")
    );
}

#[test]
fn the_policy_allows_this_style_and_this_script_and_no_connection() {
    let html = written(&document(), &PageMedia::default());
    let policy = between(&html, "Content-Security-Policy\" content=\"", "\"");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    let script = html
        .rsplit_once("<script>")
        .unwrap()
        .1
        .split_once("</script>")
        .unwrap()
        .0;
    for (kind, text) in [
        ("style", between(&html, "<style>", "</style>")),
        ("script", script),
    ] {
        let hash = STANDARD.encode(Sha256::digest(text));
        assert!(
            policy.contains(&format!("{kind}-src 'sha256-{hash}';")),
            "{kind} does not run under {policy}"
        );
    }
    for reference in ["http:", "https:", "@import", "url(", " style=", " onclick="] {
        assert!(!html.contains(reference), "the page refers to {reference}");
    }
}

#[test]
fn sound_comes_from_where_it_was_said() {
    let html = |audio| {
        written(
            &document(),
            &PageMedia {
                audio,
                ..PageMedia::default()
            },
        )
    };
    let none = html(AudioSource::None);
    assert!(none.contains("media-src 'none'") && data(&none)["audio"].is_null());
    let linked = html(AudioSource::Linked {
        path: "a b/c#1.mp3".into(),
    });
    assert!(linked.contains("media-src 'self' file:;"));
    assert_eq!(data(&linked)["audio"], json!({"url": "a%20b/c%231.mp3"}));
    let bytes: Vec<u8> = (0..=255).collect();
    let embedded = html(AudioSource::Embedded {
        mime: "audio/wav".into(),
        bytes: bytes.clone(),
    });
    assert!(embedded.contains("media-src blob:;"));
    assert_eq!(data(&embedded)["audio"], json!({"mime": "audio/wav"}));
    assert_eq!(
        STANDARD
            .decode(between(&embedded, "id=\"recording\">", "</script>"))
            .unwrap(),
        bytes
    );
}

#[test]
fn the_page_speaks_the_documents_language_and_says_what_is_missing() {
    let mut document = Document {
        language: "ko".into(),
        partial: true,
        ..Document::default()
    };
    document.metadata.failures = vec![StageFailure {
        stage: "align".into(),
        reason: "no weights".into(),
    }];
    let html = written(&document, &PageMedia::default());
    assert!(html.starts_with("<!doctype html>\n<html lang=\"ko\">"));
    assert!(html.contains("<b>align</b> no weights") && html.contains("말소리가 없습니다."));
    assert!(!html.contains("class=\"speakers\"") && !html.contains("{{"));
    document.language = "fr".into();
    document.partial = false;
    let html = written(&document, &PageMedia::default());
    assert!(
        html.contains("<html lang=\"en\">") && html.contains("<main id=\"transcript\" lang=\"fr\"")
    );
    assert!(!html.contains("role=\"alert\""));
}

#[test]
fn one_hour_stays_under_a_megabyte() {
    let mut document = Document {
        duration: 3600.0,
        language: "en".into(),
        ..Document::default()
    };
    for id in 0..1000 {
        let start = 3.6 * id as f64;
        let speaker = format!("SPEAKER_0{}", id % 3);
        let mut segment = segment(
            id,
            start,
            &speaker,
            "ten words that stand for what people say in hours",
        );
        for word in &mut segment.words {
            word.acoustic_features = document_sound();
        }
        document.turns.push(Turn {
            start,
            end: segment.end,
            speaker,
        });
        document.segments.push(segment);
    }
    document.check().unwrap();
    let many = 360_000;
    let curves = Curves {
        hop_seconds: 0.01,
        peaks: vec![0.5; many],
        loudness_db: vec![Some(-23.0); many],
        pitch_hz: vec![Some(120.0); many],
    };
    let html = written(
        &document,
        &PageMedia {
            curves: Some(curves),
            ..PageMedia::default()
        },
    );
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    assert_eq!(data(&html)["curves"]["hop"], json!(0.1));
}

fn document_sound() -> Option<Box<AcousticFeatures>> {
    document().segments.pop()?.words.pop()?.acoustic_features
}

#[test]
fn curves_without_a_hop_are_refused() {
    for hop_seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let curves = Some(Curves {
            hop_seconds,
            ..Curves::default()
        });
        let media = PageMedia {
            curves,
            ..PageMedia::default()
        };
        let error = page(&document(), &media, &mut Vec::new()).unwrap_err();
        assert_eq!(
            (error.kind(), error.place()),
            (ErrorKind::Option, "hop_seconds")
        );
    }
}
