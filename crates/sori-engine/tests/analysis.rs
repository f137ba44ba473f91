//! The whole analysis on the bundled conversation, with the models that are in the repository.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use sori_engine::{DocumentOptions, Heard, Models, Pace, Session, SessionOptions, Stage, Voices};
use sori_infer::linear::Compute;
use sori_media::{AudioOptions, AudioReader};
use sori_speech::acoustics::Features;
use sori_speech::diarize::embedding::Embedding;
use sori_speech::diarize::segmentation::Segmentation;
use sori_speech::diarize::{ClusterOptions, ListenOptions, Method, Mode, Networks, Plda};
use sori_speech::profile::EmbedderId;
use sori_speech::transcribe::{TranscribeOptions, Whisper};
use sori_speech::vad::{VadModel, VadOptions};
use sori_timeline::Document;
use sori_timeline::read::{Kind, read};
use sori_timeline::score::{DiarizationOptions, der};

struct Ears {
    whisper: Whisper,
    segmentation: Segmentation,
    embedding: Embedding,
}

fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn embedder() -> EmbedderId {
    EmbedderId {
        name: "resnet".to_owned(),
        checksum: "ab".repeat(32),
    }
}

impl Ears {
    fn new(compute: Compute) -> Self {
        let network =
            |name: &str| repository(&format!("models/starter-speakers/{name}.safetensors"));
        Self {
            whisper: Whisper::open(&repository("models/starter"), compute).expect("it is there"),
            segmentation: Segmentation::open(&network("segmentation")).expect("it is there"),
            embedding: Embedding::open(&network("embedding")).expect("it is there"),
        }
    }

    fn hear(&self, mode: Mode, pieces: &[&[f32]]) -> Heard {
        let models = Models {
            whisper: &self.whisper,
            vad: Some(VadModel::Builtin),
            voices: Some(Voices {
                networks: Networks {
                    segmentation: &self.segmentation,
                    embedding: &self.embedding,
                },
                embedder: embedder(),
            }),
            aligner: None,
            versions: BTreeMap::new(),
        };
        let options = SessionOptions {
            transcribe: TranscribeOptions::default(),
            vad: VadOptions::default(),
            listen: ListenOptions {
                mode,
                ..ListenOptions::default()
            },
            features: Some(Features::default()),
            keep_frames: false,
            pace: Pace::Batch,
        };
        let mut session = Session::new(models, options, &|| 0.0).expect("the options fit");
        for piece in pieces {
            session.push(piece).expect("the detector runs");
        }
        session.end().expect("the detector runs");
        session.finish(None, Vec::new(), &mut |_| {})
    }

    fn suited(&self) -> ClusterOptions<'static> {
        ClusterOptions::new(Method::suited(self.embedding.spec().name))
    }
}

fn document(heard: &Heard, speakers: ClusterOptions<'_>) -> Document {
    let options = DocumentOptions {
        speakers: Some(speakers),
        known: None,
        clock: &|| 0.0,
    };
    heard.document(&options, &mut |_| {})
}

fn conversation() -> Vec<f32> {
    let path = repository("samples/conversation.wav");
    let mut reader = AudioReader::open(&path, &AudioOptions::default()).expect("it opens");
    let mut pcm = Vec::new();
    while let Some(block) = reader.next_block().expect("it decodes") {
        pcm.extend(&block.channels[0]);
    }
    pcm
}

#[test]
fn a_conversation_becomes_a_whole_document() {
    let ears = Ears::new(Compute::Int8);
    let pcm = conversation();
    let truth = std::fs::read(repository("samples/conversation.rttm")).expect("it is there");
    let truth = &read(Kind::Rttm, &truth).expect("it is an RTTM")[0];
    let turns = truth.turns.as_deref().expect("an RTTM has turns");
    for mode in [Mode::Fast, Mode::Exact] {
        let found = document(&ears.hear(mode, &[&pcm]), ears.suited());
        found.check().expect("the document is sound");
        assert!(!found.partial, "{:?}", found.metadata.failures);
        assert_eq!(found.speakers.len(), 2, "{mode:?}");
        let error = der(turns, &found.turns, &DiarizationOptions::default()).expect("few speakers");
        println!("{mode:?}: DER {:.1} %", 100.0 * error.rate());
        assert!(error.rate() < 0.15, "{mode:?}: {error:?}");
        for segment in &found.segments {
            let speaker = segment.speaker.as_ref().map(|s| &s.speaker_id);
            assert!(segment.words.iter().all(|w| w.speaker.as_ref() == speaker));
            assert!(segment.acoustic_features.is_some() && segment.delivery.is_some());
            for word in &segment.words {
                let sound = word.acoustic_features.as_ref().expect("it was measured");
                assert!(
                    sound.pitch_hz.is_none_or(|hz| (50.0..500.0).contains(&hz)),
                    "{word:?}"
                );
            }
        }
        for speaker in found.speakers.values() {
            let sound = speaker.acoustic_features.as_ref().expect("it was measured");
            assert!(
                sound
                    .loudness_lufs
                    .is_some_and(|l| (-40.0..0.0).contains(&l))
            );
            assert!(speaker.words > 20 && speaker.total_duration > 5.0);
        }
        // One of the two voices is a woman's.
        let pitch = |name: &str| {
            let sound = found.speakers[name].acoustic_features.as_ref();
            sound.and_then(|a| a.pitch_hz).expect("it is voiced")
        };
        assert!(pitch("SPEAKER_00") > 1.3 * pitch("SPEAKER_01"));
    }
}

#[test]
fn what_was_heard_is_kept_and_divided_anew() {
    let ears = Ears::new(Compute::Int8);
    let heard = ears.hear(Mode::Fast, &[&conversation()]);
    let mut kept = Vec::new();
    heard.save(&mut kept).expect("memory takes it");
    let again = Heard::load(&kept[..]).expect("it was written whole");
    assert_eq!(again.embedder(), Some(&embedder()));
    let two = document(&heard, ears.suited());
    let read_back = document(&again, ears.suited());
    assert_eq!(two.turns, read_back.turns);
    assert_eq!(two.speakers.len(), read_back.speakers.len());
    let one = document(
        &again,
        ClusterOptions {
            speakers: Some(1),
            ..ears.suited()
        },
    );
    assert_eq!(one.speakers.len(), 1);
    assert_eq!(one.text, two.text);
    for cut in [0, 4, 8, 100, kept.len() / 2, kept.len() - 1] {
        assert!(Heard::load(&kept[..cut]).is_err(), "{cut} bytes");
    }
    let mut broken = kept.clone();
    for at in (8..broken.len()).step_by(997) {
        broken[at] ^= 0x55;
        // Whatever it is taken for, nothing falls over.
        if let Ok(heard) = Heard::load(&broken[..]) {
            document(&heard, ears.suited());
        }
    }
}

#[test]
fn a_failed_stage_leaves_the_others_their_results() {
    let ears = Ears::new(Compute::Int8);
    let heard = ears.hear(Mode::Fast, &[&conversation()]);
    // A PLDA for embeddings of another length.
    let plda =
        Plda::open(&sori_testing::shared("research/speakers/gold/plda")).expect("it is whole");
    let found = document(&heard, ClusterOptions::new(Method::community_1(&plda)));
    assert!(found.partial);
    let failure = &found.metadata.failures[0];
    assert_eq!(failure.stage, Stage::Speakers.name());
    assert!(failure.reason.contains("PLDA"), "{}", failure.reason);
    assert!(found.speakers.is_empty() && !found.segments.is_empty());
    assert!(found.segments.iter().all(|s| s.speaker.is_none()));
    found.check().expect("the document is sound");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    /// The master test, over every stage: the cuts of the sound leave no trace in the document.
    #[test]
    fn sound_in_pieces_gives_the_same_analysis(cuts in prop::collection::vec(1usize..60_000, 1..12)) {
        let ears = Ears::new(Compute::F32);
        let sound = conversation();
        let (mut pieces, mut rest) = (Vec::new(), &sound[..]);
        for cut in cuts.iter().cycle().take(400) {
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            pieces.push(piece);
            rest = later;
        }
        pieces.push(rest);
        let whole = ears.hear(Mode::Fast, &[&sound]);
        let cut = ears.hear(Mode::Fast, &pieces);
        prop_assert_eq!(&cut.curves.peaks, &whole.curves.peaks);
        prop_assert_eq!(document(&cut, ears.suited()), document(&whole, ears.suited()));
    }
}
