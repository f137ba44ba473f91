//! The catalogue: what ships parses, and what is hostile or mistyped does not.

use proptest::prelude::*;
use sori_infer::catalogue::{Catalogue, ModelErrorKind, ModelKind, Source};

#[test]
fn the_builtin_catalogue_has_every_whisper_and_the_vad() {
    let catalogue = Catalogue::builtin();
    let names = [
        "tiny",
        "base",
        "small",
        "medium",
        "large-v1",
        "large-v2",
        "large-v3",
        "large-v3-turbo",
        "tiny.en",
        "base.en",
        "small.en",
        "medium.en",
        "distil-small.en",
        "distil-medium.en",
        "distil-large-v2",
        "distil-large-v3",
        "ggml-tiny",
        "ggml-base-q5_1",
        "ggml-small-q8_0",
        "ggml-medium-q5_0",
        "ggml-large-v3-turbo-q8_0",
    ];
    for name in names {
        let entry = catalogue
            .entry(name)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(entry.kind, ModelKind::Whisper, "{name}");
        let english = name.contains(".en") || name.starts_with("distil");
        assert_eq!(entry.speaks("ko"), !english, "{name}");
        assert!(entry.speaks("en"), "{name}");
    }
    let vad = catalogue.entry("vad").expect("an alias");
    assert_eq!(
        (vad.name.as_str(), vad.kind, vad.size()),
        ("silero-vad", ModelKind::Vad, Some(2_327_524))
    );
    let kinds: Vec<_> = vad.files[0]
        .sources
        .iter()
        .map(std::mem::discriminant)
        .collect();
    assert_eq!(kinds.len(), 3);
    assert!(
        matches!(&vad.files[0].sources[1], Source::Pip { package, .. } if package == "silero-vad==6.2.3")
    );
    assert_eq!(
        catalogue.entry("turbo").expect("an alias").name,
        "large-v3-turbo"
    );
}

#[test]
fn weights_have_sizes_and_checksums_and_pinned_sources() {
    for entry in Catalogue::builtin().entries() {
        assert!(
            !entry.licence.is_empty() && !entry.about.is_empty() && entry.rank > 0,
            "{}",
            entry.name
        );
        for file in &entry.files {
            let place = format!("{}/{}", entry.name, file.name);
            let packaged = file.sources.iter().any(|s| matches!(s, Source::Pip { .. }));
            let weights = !file.name.ends_with(".json");
            if weights && (packaged || entry.kind == ModelKind::Whisper) {
                assert!(file.size.is_some() && file.sha256.is_some(), "{place}");
            }
            for source in &file.sources {
                if let Source::Url(url) = source {
                    let pinned = url.split('/').any(|part| {
                        part.len() == 40 && part.bytes().all(|b| b.is_ascii_hexdigit())
                    });
                    let recorded = file.sha256.is_none() && url.contains("/resolve/main/");
                    assert!(pinned || recorded, "{place}: {url} can change");
                }
            }
        }
    }
}

#[test]
fn a_bigger_model_ranks_higher_and_a_smaller_file_of_it_lower() {
    let catalogue = Catalogue::builtin();
    let order = [
        "ggml-tiny-q5_1",
        "ggml-tiny-q8_0",
        "ggml-tiny",
        "tiny",
        "ggml-base-q5_1",
        "base",
        "small",
        "medium",
        "large-v1",
        "large-v2",
        "ggml-large-v3-turbo-q8_0",
        "large-v3-turbo",
        "ggml-large-v3-q5_0",
        "large-v3",
    ];
    let ranks: Vec<u32> = order
        .iter()
        .map(|name| catalogue.entry(name).expect("known").rank)
        .collect();
    assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
}

#[test]
fn an_unknown_name_suggests_the_nearest() {
    let error = Catalogue::builtin()
        .entry("large-v3-trubo")
        .expect_err("unknown");
    assert_eq!(error.kind(), ModelErrorKind::UnknownName);
    assert!(
        error.to_string().contains("did you mean `large-v3-turbo`?"),
        "{error}"
    );
    let error = Catalogue::builtin()
        .entry(&"x".repeat(1 << 20))
        .expect_err("unknown");
    assert!(error.to_string().len() < 300);
}

#[test]
fn speakers_and_alignment_have_models_for_each_part() {
    let catalogue = Catalogue::builtin();
    for (name, full, kind, language) in [
        (
            "segmentation",
            "segmentation-3.0",
            ModelKind::Segmentation,
            "ko",
        ),
        (
            "pyannote-whisperx",
            "segmentation-whisperx",
            ModelKind::Segmentation,
            "ko",
        ),
        ("resemblyzer", "resemblyzer", ModelKind::Embedding, "ko"),
        ("resnet34", "wespeaker-resnet34", ModelKind::Embedding, "en"),
        ("campplus", "wespeaker-campplus", ModelKind::Embedding, "en"),
        ("plda", "community-1-plda", ModelKind::Plda, "en"),
        (
            "wav2vec2-base-960h",
            "wav2vec2-en",
            ModelKind::Aligner,
            "en",
        ),
        ("align-ko", "wav2vec2-ko", ModelKind::Aligner, "ko"),
        ("mms", "mms-fa", ModelKind::Aligner, "tr"),
    ] {
        let entry = catalogue
            .entry(name)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((entry.name.as_str(), entry.kind), (full, kind));
        assert!(entry.speaks(language), "{name}");
    }
    let aligners = |language: &str| {
        let entries = catalogue.entries().iter();
        entries
            .filter(|e| e.kind == ModelKind::Aligner && e.speaks(language))
            .max_by_key(|e| e.rank)
            .map(|e| e.name.clone())
    };
    for language in ["en", "ko", "fr", "de", "es", "it", "ja", "zh"] {
        assert_eq!(aligners(language), Some(format!("wav2vec2-{language}")));
    }
    assert_eq!(aligners("th"), None, "no Latin letters, no model");
}

fn model(extra: &str, file: &str) -> String {
    format!(
        "[[model]]\nname = \"m\"\nkind = \"whisper\"\nrank = 1\nlanguages = [\"*\"]\nlicence = \"MIT\"\n{extra}\n\
         files = [ {{ {file} }} ]\n"
    )
}

const FILE: &str = r#"name = "a.bin", sources = ["https://h.example/a.bin"]"#;

#[test]
fn a_hostile_or_mistyped_catalogue_is_refused_with_its_place() {
    assert!(Catalogue::parse(&model("", FILE)).is_ok());
    let sum = "a".repeat(64);
    let cases = [
        (
            model("lisence = \"MIT\"", FILE),
            "unknown key `lisence`, did you mean `licence`?",
        ),
        (
            model("", r#"name = "a", sha265 = "x""#),
            "unknown key `sha265`, did you mean `sha256`?",
        ),
        (
            "models = []".into(),
            "unknown key `models`, did you mean `model`?",
        ),
        ("model = 3".into(), "`model` must be a list"),
        ("a = [".into(), "is not TOML"),
        (
            model("", FILE).replace("\"m\"", "\"../m\""),
            "cannot be a model's name",
        ),
        (
            model("aliases = [\"m\"]", FILE),
            "the name `m` is given twice",
        ),
        (
            model("", FILE) + &model("", FILE),
            "the name `m` is given twice",
        ),
        (
            model("repo = \"a/b\"", FILE),
            "`repo` and `revision` belong together",
        ),
        (
            model("repo = \"../../x\"\nrevision = \"main\"", r#"name = "a""#),
            "is not an address",
        ),
        (
            model("", r#"name = "../a", sources = ["https://h/a"]"#),
            "is not a plain file name",
        ),
        (
            model("", r#"name = "/etc/passwd", sources = ["https://h/a"]"#),
            "is not a plain file name",
        ),
        (
            model("", r#"name = "sori-model.json", sources = ["https://h/a"]"#),
            "is not a plain file name",
        ),
        (
            model("", r#"name = "con.bin", sources = ["https://h/a"]"#),
            "is not a plain file name",
        ),
        (model("", r#"name = "a""#), "has no source"),
        (
            model("", r#"name = "a", sources = ["http://h/a"]"#),
            "is not an address",
        ),
        (
            model("", r#"name = "a", sources = ["file:///etc/passwd"]"#),
            "is not an address",
        ),
        (
            model("", r#"name = "a", sources = ["https://h/a\r\nX: y"]"#),
            "is not an address",
        ),
        (
            model(
                "",
                r#"name = "a", sources = [{ pip = "--index-url=x==1", path = "a" }]"#,
            ),
            "a package source is",
        ),
        (
            model("", r#"name = "a", sources = [{ pip = "x", path = "a" }]"#),
            "a package source is",
        ),
        (
            model(
                "",
                r#"name = "a", sources = [{ npm = "git+ssh://x", path = "a" }]"#,
            ),
            "a package source is",
        ),
        (
            model(
                "",
                r#"name = "a", sources = [{ npm = "@/x@1", path = "a" }]"#,
            ),
            "a package source is",
        ),
        (
            model(
                "",
                r#"name = "a", sources = [{ pip = "x==1", path = "a", sdist = "abc" }]"#,
            ),
            "`sdist` must be 64",
        ),
        (
            model(
                "",
                &format!(
                    r#"name = "a", sources = [{{ npm = "x@1", path = "a", sdist = "{sum}" }}]"#
                ),
            ),
            "a package source is",
        ),
        (
            model(
                "",
                r#"name = "a", sources = [{ npm = "x@1", path = "../a" }]"#,
            ),
            "is not a path inside",
        ),
        (
            model("", r#"name = "a", size = -1, sources = ["https://h/a"]"#),
            "`size` must be bytes",
        ),
        (
            model("", r#"name = "a", size = 9e9, sources = ["https://h/a"]"#),
            "`size` must be bytes",
        ),
        (
            model(
                "",
                r#"name = "a", size = 999999999999999, sources = ["https://h/a"]"#,
            ),
            "`size` must be bytes",
        ),
        (
            model(
                "",
                r#"name = "a", sha256 = "ABC", sources = ["https://h/a"]"#,
            ),
            "`sha256` must be 64",
        ),
        (
            model(
                "",
                &format!("{FILE} }}, {{ name = \"A.BIN\", sources = [\"https://h/a\"]"),
            ),
            "is given twice",
        ),
        (" ".repeat(2 << 20), "more than a catalogue has"),
    ];
    for (text, expected) in cases {
        let error = Catalogue::parse(&text).expect_err(&text);
        assert_eq!(error.kind(), ModelErrorKind::Catalogue, "{text}");
        assert!(
            error.to_string().contains(expected),
            "{error}\nexpected: {expected}"
        );
    }
    let plain_http = format!(r#"name = "a", sha256 = "{sum}", sources = ["http://h/a"]"#);
    assert!(
        Catalogue::parse(&model("", &plain_http)).is_ok(),
        "a checksum makes http safe"
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(\\[\\[model\\]\\]|[ -~\n]){0,200}") {
        let _ = Catalogue::parse(&text);
    }

    #[test]
    fn what_parses_has_only_plain_names(name in "[a-zA-Z0-9./\\\\:_-]{1,12}") {
        let text = model("", &format!("name = '{name}', sources = ['https://h.example/a']"));
        if let Ok(catalogue) = Catalogue::parse(&text) {
            let file = &catalogue.entries()[0].files[0].name;
            let path = std::path::Path::new(file);
            prop_assert_eq!(path.file_name().and_then(|n| n.to_str()), Some(file.as_str()));
            prop_assert!(!file.contains(['/', '\\', ':']) && !file.starts_with('.'));
        }
    }
}
