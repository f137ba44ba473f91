//! Sessions that are killed and begun again, with the models that are in the repository and an aligner with weights made by
//! rule: the same document, and nothing that stands in the journal is computed again.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use sori_engine::{DocumentOptions, Event, Journal, Models, Pace, Session, SessionOptions, Voices};
use sori_infer::linear::Compute;
use sori_media::{AudioOptions, AudioReader};
use sori_speech::acoustics::Features;
use sori_speech::align::Aligner;
use sori_speech::diarize::embedding::Embedding;
use sori_speech::diarize::segmentation::Segmentation;
use sori_speech::diarize::{ClusterOptions, ListenOptions, Method, Mode, Networks};
use sori_speech::profile::EmbedderId;
use sori_speech::transcribe::{TranscribeOptions, Whisper};
use sori_speech::vad::{VadModel, VadOptions};
use sori_testing::{golden, lcg_weights};
use sori_timeline::Document;

const FINGERPRINT: [u8; 32] = [3; 32];

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// A small network of alignment, which hears nothing sensible.
fn aligner() -> Aligner {
    let network = golden::json(&repository(
        "crates/sori-speech/tests/golden/align_network.json",
    ))["base"]
        .clone();
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for tensor in network["tensors"].as_array().expect("a list of tensors") {
        let name = tensor[0].as_str().expect("a name");
        let shape: Vec<usize> = serde_json::from_value(tensor[1].clone()).expect("a shape");
        let start = data.len();
        let values = lcg_weights::fill(name, &shape);
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
        header.insert(name.to_owned(), entry);
    }
    let header = Value::Object(header).to_string();
    let weights = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &data,
    ]
    .concat();
    let letters = ('a'..='z').map(String::from);
    let special = ["<pad>", "|", "'", "<unk>"].map(str::to_owned);
    let tokens: serde_json::Map<_, _> = special
        .into_iter()
        .chain(letters)
        .zip(0..)
        .map(|(token, id)| (token, json!(id)))
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("the folder is writable");
    };
    write("config.json", network["config"].to_string().as_bytes());
    write("vocab.json", Value::Object(tokens).to_string().as_bytes());
    write("model.safetensors", &weights);
    Aligner::open(folder.path()).expect("the folder is whole")
}

struct Ears {
    whisper: Whisper,
    segmentation: Segmentation,
    embedding: Embedding,
    aligner: Aligner,
    pcm: Vec<f32>,
}

/// What a session gave.
struct Heard {
    document: Document,
    /// The records of the journal, each whole.
    records: Vec<Vec<u8>>,
}

impl Ears {
    fn new(compute: Compute) -> Self {
        let network =
            |name: &str| repository(&format!("models/starter-speakers/{name}.safetensors"));
        let path = repository("samples/conversation.wav");
        let mut reader = AudioReader::open(&path, &AudioOptions::default()).expect("it opens");
        let mut pcm = Vec::new();
        while let Some(block) = reader.next_block().expect("it decodes") {
            pcm.extend(&block.channels[0]);
        }
        let pcm = [&pcm[..], &vec![0.0; 24_000], &pcm].concat();
        Self {
            whisper: Whisper::open(&repository("models/starter"), compute).expect("it is there"),
            segmentation: Segmentation::open(&network("segmentation")).expect("it is there"),
            embedding: Embedding::open(&network("embedding")).expect("it is there"),
            aligner: aligner(),
            pcm,
        }
    }

    fn hear(&self, options: &SessionOptions, past: Option<Journal>) -> Heard {
        let models = Models {
            whisper: &self.whisper,
            vad: Some(VadModel::Builtin),
            voices: Some(Voices {
                networks: Networks {
                    segmentation: &self.segmentation,
                    embedding: &self.embedding,
                },
                embedder: EmbedderId {
                    name: "resnet".to_owned(),
                    checksum: "ab".repeat(32),
                },
            }),
            aligner: Some(&self.aligner),
            versions: BTreeMap::new(),
        };
        let mut session = Session::new(models, options.clone(), &|| 0.0).expect("they fit");
        if let Some(past) = past {
            session.remember(past);
        }
        let mut records = Vec::new();
        let mut poll = |session: &mut Session| {
            while let Some(event) = session.poll() {
                if let Event::Record(record) = event {
                    records.push(record);
                }
            }
        };
        for block in self.pcm.chunks(16_000) {
            session.push(block).expect("the detector runs");
            poll(&mut session);
        }
        session.end().expect("the detector runs");
        while session.work() {
            poll(&mut session);
        }
        poll(&mut session);
        let clustering = ClusterOptions::new(Method::suited(self.embedding.spec().name));
        let options = DocumentOptions {
            speakers: Some(clustering),
            known: None,
            clock: &|| 0.0,
        };
        let heard = session.finish(None, Vec::new(), &mut |_| {});
        Heard {
            document: heard.document(&options, &mut |_| {}),
            records,
        }
    }
}

/// The first line in which documents differ.
fn difference(one: &Document, other: &Document) -> Option<String> {
    let lines = |document: &Document| -> Vec<String> {
        format!("{document:#?}")
            .lines()
            .map(str::to_owned)
            .collect()
    };
    let (one, other) = (lines(one), lines(other));
    let at = one.iter().zip(&other).position(|(a, b)| a != b);
    let at = at.or((one.len() != other.len()).then_some(0))?;
    let from = at.saturating_sub(4);
    Some(format!("{:#?} is not {:?}", &one[from..=at], other[at]))
}

fn options(transcribe: TranscribeOptions, mode: Mode) -> SessionOptions {
    SessionOptions {
        transcribe,
        vad: VadOptions::default(),
        listen: ListenOptions {
            mode,
            ..ListenOptions::default()
        },
        features: Some(Features::default()),
        keep_frames: false,
        pace: Pace::Batch,
    }
}

/// Hears all, then again with a journal that ends after each of `cuts` (shares of its bytes).
#[track_caller]
fn check(name: &str, ears: &Ears, options: &SessionOptions, cuts: &[f64]) {
    let undisturbed = ears.hear(options, None);
    assert!(undisturbed.records.is_empty(), "nobody asked for a journal");
    let first = ears.hear(options, Some(Journal::default()));
    assert_eq!(
        difference(&undisturbed.document, &first.document),
        None,
        "{name}"
    );
    assert!(first.records.len() > 8, "{}", first.records.len());
    let whole = [Journal::header(&FINGERPRINT), first.records.concat()].concat();
    for cut in cuts {
        let end = (whole.len() as f64 * cut) as usize;
        let journal = Journal::read(&whole[..end], &FINGERPRINT);
        let kept = journal.length() as usize;
        let again = ears.hear(options, Some(journal));
        let difference = difference(&again.document, &undisturbed.document);
        assert_eq!(difference, None, "{name}, cut at {cut}");
        // Each record is written once, before the death or after it: nothing is computed twice but what was in work.
        let mut all = Journal::header(&FINGERPRINT).len();
        let mut records: Vec<&[u8]> = Vec::new();
        for record in &first.records {
            all += record.len();
            records.extend((all <= kept).then_some(&record[..]));
        }
        records.extend(again.records.iter().map(|r| &r[..]));
        let different: HashSet<_> = records.iter().collect();
        let expected: HashSet<_> = first.records.iter().map(|r| &r[..]).collect();
        assert_eq!(records.len(), first.records.len(), "{name}, cut at {cut}");
        assert!(
            different.iter().all(|r| expected.contains(*r)),
            "{name}, cut at {cut}"
        );
    }
}

/// Options with which most windows are tried again by chance.
fn by_chance() -> TranscribeOptions {
    TranscribeOptions {
        logprob_threshold: -0.01,
        temperatures: vec![0.0, 0.5, 1.0],
        best_of: 2,
        ..TranscribeOptions::default()
    }
}

#[test]
fn a_session_that_was_killed_goes_on_where_it_was() {
    let ears = Ears::new(Compute::Int8);
    let cuts: Vec<f64> = (0..=7).map(|i| f64::from(i) / 7.0).collect();
    let told = TranscribeOptions {
        condition_on_previous: true,
        ..TranscribeOptions::default()
    };
    let plain = options(TranscribeOptions::default(), Mode::Fast);
    check("plain", &ears, &plain, &cuts);
    check(
        "exact",
        &ears,
        &options(TranscribeOptions::default(), Mode::Exact),
        &[0.4, 0.9],
    );
    check(
        "by chance",
        &ears,
        &options(by_chance(), Mode::Fast),
        &[0.2, 0.5, 0.8],
    );
    check("told", &ears, &options(told, Mode::Fast), &[0.3, 0.5, 0.7]);
}

#[test]
fn damaged_and_foreign_records_change_nothing() {
    let ears = Ears::new(Compute::Int8);
    let options = options(TranscribeOptions::default(), Mode::Fast);
    let first = ears.hear(&options, Some(Journal::default()));
    let whole = [Journal::header(&FINGERPRINT), first.records.concat()].concat();
    let (windows, bytes) = (first.records.len(), whole.len());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(6)
    });
    let case = (0..bytes, 1..=255u8, any::<bool>());
    runner
        .run(&case, |(at, flip, order)| {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            if order {
                // The records in another order, the last first.
                let records: Vec<u8> = first.records.iter().rev().flatten().copied().collect();
                bytes = [Journal::header(&FINGERPRINT), records].concat();
            }
            let journal = Journal::read(&bytes[..], &FINGERPRINT);
            let again = ears.hear(&options, Some(journal));
            prop_assert_eq!(difference(&again.document, &first.document), None);
            prop_assert!(again.records.len() <= windows);
            Ok(())
        })
        .expect("the document is the same");
}
