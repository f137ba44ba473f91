//! Files of other programs, whole and damaged.

use proptest::prelude::*;
use sori_timeline::{
    Document, ErrorKind, Segment, SegmentSpeaker, Transcript, Turn, Utterance, Word,
    export::{ExportOptions, Format},
    read::{self, Kind, MAX_BYTES},
};

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

fn read_as(kind: Kind, text: &str) -> Vec<Transcript> {
    read::read(kind, text.as_bytes()).unwrap()
}

#[test]
fn turns_are_read_by_recording() {
    let text = "\u{feff};; a comment\r\nSPKR-INFO b 1 <NA> <NA> <NA> unknown 김 <NA>\r\n\
        SPEAKER b 1 1.5 0.25 <NA> <NA> 김 <NA> <NA>\r\n\nSPEAKER a 1 0 1 <NA> <NA> A <NA>\n";
    let read = read_as(Kind::Rttm, text);
    let found: Vec<_> = read
        .iter()
        .map(|t| (t.recording.as_str(), t.turns.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            ("a", Some(&[turn(0.0, 1.0, "A")][..])),
            ("b", Some(&[turn(1.5, 1.75, "김")][..]))
        ]
    );
    assert!(
        read.iter()
            .all(|t| t.utterances.is_none() && t.words.is_none())
    );
    assert_eq!(read_as(Kind::Rttm, "")[0].turns, Some(Vec::new()));
}

#[test]
fn utterances_and_words_are_read() {
    let stm = "m 1 A 0.5 2 <o,f0,female> hello   there\nm 1 B 1 3\nm 1 B 3 4 ignore_time_segment_in_scoring\n";
    let read = read_as(Kind::Stm, stm);
    assert_eq!(
        read[0].spoken(),
        [
            said("A", 0.5, 2.0, "hello   there"),
            said("B", 1.0, 3.0, "")
        ]
    );
    assert_eq!(
        read[0].turns,
        Some(vec![turn(0.5, 2.0, "A"), turn(1.0, 3.0, "B")])
    );
    assert_eq!((read[0].words.as_ref(), read[0].timed), (None, true));

    let ctm = "m 1 0.5 0.5 안녕 0.9\nm 1 1.0 0 <NA>\nm A 1.0 0.25 there 0.9 lex 김\n";
    let read = read_as(Kind::Ctm, ctm);
    let words = [said("", 0.5, 1.0, "안녕"), said("김", 1.0, 1.25, "there")];
    assert_eq!(read[0].words.as_deref(), Some(&words[..]));

    let seglst = r#"[{"session_id":"b","speaker":1,"start_time":0,"end_time":2.5,"words":"a b"},
        {"session_id":"a","words":"c"},{"session_id":"a","start_time":1,"end_time":2,"words":"d"}]"#;
    let read = read_as(Kind::SegLst, seglst);
    assert_eq!((read[0].timed, read[1].timed), (false, true));
    assert_eq!(read[0].text(), "c\nd");
    assert_eq!(read[1].spoken(), [said("1", 0.0, 2.5, "a b")]);

    let whisperx = r#"{"segments":[{"start":1,"end":3,"text":" a 1 b","speaker":"S",
        "words":[{"word":"a","start":1,"end":1.5},{"word":"1"},{"word":"b","start":2,"end":3,"speaker":"T"}]}]}"#;
    let read = read_as(Kind::WhisperX, whisperx);
    let words = [
        said("S", 1.0, 1.5, "a"),
        said("S", 1.5, 1.5, "1"),
        said("T", 2.0, 3.0, "b"),
    ];
    assert_eq!(read[0].spoken(), words);

    let read = read_as(
        Kind::Txt,
        "SPEAKER_00 [00:01]: Hello: [1:2]: x\n\n김 민 [1:00:01]: 네\nplain [a]: text\nUNKNOWN [00:02]:\n",
    );
    let spoken = [
        said("SPEAKER_00", 0.0, 0.0, "Hello: [1:2]: x"),
        said("김 민", 0.0, 0.0, "네"),
        said("", 0.0, 0.0, "plain [a]: text"),
        said("", 0.0, 0.0, ""),
    ];
    assert_eq!(read[0].spoken(), spoken);
    assert!(read[0].turns.is_none() && !read[0].timed);
}

#[test]
fn the_kind_is_told_by_name_then_by_content() {
    for (name, content, kind) in [
        ("x.RTTM", "", Kind::Rttm),
        ("x.stm", "", Kind::Stm),
        ("x.ctm", "", Kind::Ctm),
        ("x.txt", "[1]", Kind::Txt),
        ("x.whisperx.json", "{}", Kind::WhisperX),
        ("x.json", "\u{feff} [", Kind::SegLst),
        ("x.json", "{\"segments\":[]}", Kind::WhisperX),
        ("x.json", "{\"segments\":[],\"duration\":1}", Kind::Document),
        ("x.json", "{\"segments\":", Kind::Document),
        (
            "-",
            ";; c\nSPEAKER a 1 0 1 <NA> <NA> A <NA> <NA>",
            Kind::Rttm,
        ),
        ("-", "a 1 A 0 1 hello", Kind::Stm),
        ("-", "a 1 0.1 0.2 hello 0.9", Kind::Ctm),
        ("-", "hello", Kind::Txt),
        ("-", "", Kind::Txt),
    ] {
        assert_eq!(
            Kind::of(name, content.as_bytes()),
            kind,
            "{name} {content:?}"
        );
    }
}

#[test]
fn damage_is_named_with_its_line() {
    for (kind, text, place) in [
        (Kind::Rttm, "\nSPEAKER a 1 0", "line 2"),
        (
            Kind::Rttm,
            "SPEAKER a 1 x 1 <NA> <NA> A <NA> <NA>",
            "line 1",
        ),
        (
            Kind::Rttm,
            "SPEAKER a 1 nan 1 <NA> <NA> A <NA> <NA>",
            "line 1",
        ),
        (
            Kind::Rttm,
            "SPEAKER a 1 0 -1 <NA> <NA> A <NA> <NA>",
            "line 1",
        ),
        (Kind::Stm, "a 1 A 0", "line 1"),
        (Kind::Stm, "a 1 A 2 1 x", "line 1"),
        (Kind::Ctm, "a 1 0 1", "line 1"),
        (Kind::Ctm, "a 1 0 1e300 x", "line 1"),
        (Kind::SegLst, "[\n1]", "line 2 column 1"),
        (Kind::WhisperX, "{}", "line 1 column 2"),
        (Kind::Document, "{\"text\":", "line 1 column 8"),
    ] {
        let error = read::read(kind, text.as_bytes()).unwrap_err();
        assert_eq!(
            (error.kind(), error.place()),
            (ErrorKind::Parse, place),
            "{text:?}: {error}"
        );
    }
    let error = read::read(Kind::Txt, b"a\n\xff").unwrap_err();
    assert_eq!((error.kind(), error.place()), (ErrorKind::Parse, "line 2"));
    let error = read::read(Kind::Txt, &vec![b' '; MAX_BYTES + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(read::uem(b"a 1 0").unwrap_err().place(), "line 1");
    let uem = read::uem(";; x\na 1 0 1\na 1 2 3.5\n회의 1 0 1".as_bytes()).unwrap();
    assert_eq!(
        (uem["a"].as_slice(), uem.len()),
        (&[(0.0, 1.0), (2.0, 3.5)][..], 2)
    );
}

#[test]
fn what_is_written_is_read_back() {
    let word = |word: &str, start, end| Word {
        word: word.into(),
        start,
        end,
        ..Word::default()
    };
    let segment = |id, speaker: &str, words: Vec<Word>| Segment {
        id,
        start: words[0].start,
        end: words[words.len() - 1].end,
        text: words
            .iter()
            .map(|w| w.word.as_str())
            .collect::<Vec<_>>()
            .join(" "),
        speaker: Some(SegmentSpeaker {
            speaker_id: speaker.into(),
        }),
        words,
        ..Segment::default()
    };
    let document = Document {
        duration: 4.0,
        segments: vec![
            segment(
                0,
                "A",
                vec![word("good", 0.5, 1.0), word("morning", 1.0, 1.25)],
            ),
            segment(
                1,
                "김",
                vec![word("안녕", 1.5, 2.0), word("하세요", 2.0, 2.75)],
            ),
        ],
        ..Document::default()
    };
    let whole = Transcript::from(&document);
    let reread = |format: Format, kind| {
        let mut bytes = Vec::new();
        format
            .write(&document, &ExportOptions::default(), &mut bytes)
            .unwrap();
        assert_eq!(Kind::of(&format!("x.{}", format.extension()), &bytes), kind);
        read::read(kind, &bytes).unwrap().remove(0)
    };
    assert_eq!(reread(Format::Json, Kind::Document), whole);
    assert_eq!(reread(Format::WhisperX, Kind::WhisperX), whole);
    assert_eq!(reread(Format::Rttm, Kind::Rttm).turns, whole.turns);
    assert_eq!(reread(Format::Txt, Kind::Txt).text(), whole.text());
    let words = reread(Format::Ctm, Kind::Ctm).words.unwrap();
    let times = |words: &[Utterance]| {
        words
            .iter()
            .map(|w| (w.start, w.end, w.text.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(times(&words), times(whole.spoken()));
}

proptest! {
    /// No text makes a reader panic, and what it gives is finite.
    #[test]
    fn no_text_breaks_a_reader(
        text in "(([a-zA-Z;<>{}\\[\\]:\",.김]{0,4}|SPEAKER|-?[0-9]{1,3}(\\.[0-9])?|nan|inf|1e999)[ \n\t]){0,40}",
    ) {
        for kind in [Kind::Document, Kind::WhisperX, Kind::SegLst, Kind::Stm, Kind::Ctm, Kind::Rttm, Kind::Txt] {
            for transcript in read::read(kind, text.as_bytes()).unwrap_or_default() {
                prop_assert!(transcript.spoken().iter().all(|said| said.start.is_finite() && said.end.is_finite()));
                prop_assert!(transcript.turns.iter().flatten().all(|turn| turn.end >= turn.start));
            }
        }
        let _ = (Kind::of("-", text.as_bytes()), read::uem(text.as_bytes()));
    }
}
