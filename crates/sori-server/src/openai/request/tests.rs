use super::*;

fn parse(task: JobTask, fields: &[(&str, &str)]) -> Result<TranscriptionRequest, FieldError> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    TranscriptionRequest::parse(task, &fields.iter().map(owned).collect::<Vec<_>>())
}

fn transcription(fields: &[(&str, &str)]) -> TranscriptionRequest {
    parse(JobTask::Transcribe, fields).unwrap_or_else(|error| panic!("{fields:?}: {error}"))
}

#[test]
fn a_bare_request_is_the_least_work() {
    let request = transcription(&[("model", "whisper-1")]);
    assert_eq!(request.options.model.as_deref(), Some("whisper-1"));
    assert!(!request.options.diarize);
    assert_eq!(request.options.align, Some(JobAlign::Off));
    assert_eq!(request.options.features, Some(Vec::new()));
    assert_eq!(request.wanted.format, ResponseFormat::Json);
    assert!(request.wanted.segments && !request.wanted.words && !request.wanted.stream);
}

#[test]
fn lists_are_read_with_and_without_brackets() {
    for name in [
        "timestamp_granularities",
        "timestamp_granularities[]",
        "timestamp_granularities[0]",
    ] {
        let request = transcription(&[("response_format", "verbose_json"), (name, "word")]);
        assert!(request.wanted.words && !request.wanted.segments, "{name}");
        assert_eq!(request.options.align, None, "{name}");
    }
    let both = transcription(&[
        ("timestamp_granularities[]", "segment"),
        ("timestamp_granularities[]", "word"),
    ]);
    assert!(both.wanted.words && both.wanted.segments);
    let json = transcription(&[("timestamp_granularities", r#"["word","segment"]"#)]);
    assert_eq!(json.wanted, both.wanted);
    assert!(transcription(&[("include[]", "logprobs")]).wanted.logprobs);
    let keywords = transcription(&[
        ("keywords[]", "Sori"),
        ("keywords[]", " 소리 "),
        ("hotwords", "WhisperX"),
    ]);
    assert_eq!(
        keywords.options.hotwords.as_deref(),
        Some("Sori, 소리, WhisperX")
    );
}

#[test]
fn languages_become_codes() {
    for (fields, expected) in [
        (&[][..], None),
        (&[("language", "auto")], None),
        (&[("language", "")], None),
        (&[("language", "en-US")], Some("en")),
        (&[("language", "Korean")], Some("ko")),
        (
            &[("languages[]", "en"), ("languages[]", "ko")],
            Some("en,ko"),
        ),
        (&[("language", "ko"), ("languages[]", "en")], Some("ko")),
    ] {
        let request = transcription(fields);
        assert_eq!(request.options.language.as_deref(), expected, "{fields:?}");
    }
}

#[test]
fn speakers_are_told_apart_where_the_answer_shows_them() {
    for (fields, diarize) in [
        (&[("response_format", "srt")][..], false),
        (&[("response_format", "srt"), ("diarize", "true")], true),
        (&[("response_format", "diarized_json")], true),
        (
            &[("response_format", "diarized_json"), ("max_speakers", "3")],
            true,
        ),
    ] {
        assert_eq!(transcription(fields).options.diarize, diarize, "{fields:?}");
    }
}

#[test]
fn voices_come_as_data_urls() {
    let request = transcription(&[
        ("response_format", "diarized_json"),
        ("known_speaker_names[]", "agent"),
        (
            "known_speaker_references[]",
            "data:audio/wav;base64,UklGRg==",
        ),
    ]);
    let known = KnownSpeaker {
        name: "agent".into(),
        sample: b"RIFF".to_vec(),
    };
    assert_eq!(request.known_speakers, [known]);
    assert_eq!(
        format!("{:?}", request.known_speakers),
        "[KnownSpeaker(4 bytes)]"
    );
}

#[test]
fn translations_are_into_english_and_have_no_speakers() {
    let request = parse(
        JobTask::Translate,
        &[("model", "m"), ("stream", "true"), ("language", "xx")],
    )
    .expect("unknown fields are tolerated");
    assert_eq!(request.options.task, Some(JobTask::Translate));
    assert!(request.wanted.translated && !request.wanted.stream);
    let error = parse(JobTask::Translate, &[("response_format", "diarized_json")]);
    assert_eq!(error.expect_err("no speakers").param, "response_format");
}

#[test]
fn what_clients_send_besides_is_tolerated() {
    for fields in [
        &[("chunking_strategy", "auto")][..],
        &[(
            "chunking_strategy",
            r#"{"type":"server_vad","threshold":0.4}"#,
        )],
        &[
            ("chunking_strategy[type]", "server_vad"),
            ("chunking_strategy[silence_duration_ms]", "200"),
        ],
        &[
            ("user", "me"),
            ("model", "gpt-9-transcribe"),
            ("", ""),
            ("[", "]"),
        ],
        &[("stream", "False"), ("temperature", "1")],
    ] {
        transcription(fields);
    }
}

#[test]
fn wrong_values_are_refused_by_name() {
    let reference = (
        "known_speaker_references[]",
        "data:audio/wav;base64,UklGRg==",
    );
    for (fields, param) in [
        (&[("response_format", "xml")][..], "response_format"),
        (
            &[("timestamp_granularities[]", "phoneme")],
            "timestamp_granularities",
        ),
        (&[("include", "words")], "include"),
        (&[("stream", "maybe")], "stream"),
        (&[("temperature", "1.5")], "temperature"),
        (&[("temperature", "NaN")], "temperature"),
        (&[("temperature", "hot")], "temperature"),
        (&[("language", "klingon")], "language"),
        (&[("languages[]", "en"), ("languages[]", "xx")], "languages"),
        (&[("chunking_strategy", "manual")], "chunking_strategy"),
        (&[("chunking_strategy", "[]")], "chunking_strategy"),
        (
            &[("chunking_strategy", r#"{"threshold":0.5}"#)],
            "chunking_strategy",
        ),
        (
            &[("chunking_strategy[type]", "client_vad")],
            "chunking_strategy",
        ),
        (
            &[(
                "chunking_strategy",
                r#"{"type":"server_vad","threshold":2}"#,
            )],
            "chunking_strategy",
        ),
        (
            &[("known_speaker_names[]", "agent")],
            "known_speaker_references",
        ),
        (
            &[
                ("known_speaker_names[]", "a"),
                ("known_speaker_references[]", "https://x/y.wav"),
            ],
            "known_speaker_references",
        ),
        (
            &[
                ("known_speaker_names[]", "a"),
                ("known_speaker_references[]", "data:audio/wav;base64,%%"),
            ],
            "known_speaker_references",
        ),
        (
            &[
                ("known_speaker_names[]", "a"),
                ("known_speaker_names[]", "a"),
                reference,
                reference,
            ],
            "known_speaker_names",
        ),
        (
            &[("response_format", "diarized_json"), ("diarize", "false")],
            "diarize",
        ),
        (&[("diarize", "true"), ("speakers", "0")], "speakers"),
        (&[("speakers", "2")], "speakers"),
        (&[("prompt", "a\0b")], "prompt"),
    ] {
        let error = parse(JobTask::Transcribe, fields).expect_err(&format!("{fields:?}"));
        assert_eq!(error.param, param, "{fields:?}");
    }
}
