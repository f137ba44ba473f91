//! Against pyannote: the goldens of `shared/research/speakers/golden.py` (pyannote.audio 4.0.7, scipy, with a stable sort).

use std::{collections::BTreeMap, path::Path};

use sori_testing::{
    golden::{self, Array},
    shared,
};
use sori_timeline::score::{DiarizationOptions, der};

use super::*;

type Goldens = BTreeMap<String, Array<f64>>;

fn goldens(name: &str) -> Goldens {
    golden::npz_f64(&shared(&format!("research/speakers/gold/{name}.npz")))
}

fn floats(array: &Array<f64>) -> Vec<f32> {
    array.values.iter().map(|&value| value as f32).collect()
}

/// Turns as rows of start, end and speaker, in the order of [`Turn`]s; times to within a hundredth of a millisecond.
#[track_caller]
fn assert_turns(found: &[Turn], rows: &Array<f64>, what: &str) {
    let mut expected: Vec<&[f64]> = rows.values.chunks_exact(3).collect();
    expected.sort_by(|a, b| a.partial_cmp(b).expect("times are numbers"));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (turn, row) in found.iter().zip(expected) {
        let close = (turn.start - row[0]).abs() < 1e-5 && (turn.end - row[1]).abs() < 1e-5;
        assert!(
            close && turn.speaker == row[2] as usize,
            "{what}: {turn:?} is not {row:?}"
        );
    }
}

const PYANNET: Grid = Grid {
    window: 160_000,
    step: 16_000,
    frames: 589,
    frame_step: 270,
    frame_size: 991,
};

#[test]
fn masks_counts_and_turns_are_those_of_pyannote() {
    let gold = goldens("post");
    let classes = powerset::powerset_classes(3, 2);
    let masks = powerset::powerset_masks(&floats(&gold["logits"]), &classes);
    let expected = gold["multilabel"].values.chunks_exact(3);
    let expected = expected.map(|row| row[0] as u8 | (row[1] as u8) << 1 | (row[2] as u8) << 2);
    assert!(masks.iter().copied().eq(expected), "masks");

    let windows: Vec<Window> = masks
        .chunks_exact(589)
        .map(|masks| Window::new(masks, &[]))
        .collect();
    let labels: Vec<Vec<Option<usize>>> = (windows.iter().zip(gold["hard"].values.chunks_exact(3)))
        .map(|(window, row)| {
            let label = |voice: &Voice| row[usize::from(voice.speaker)] as usize;
            window
                .voices()
                .iter()
                .map(|voice| Some(label(voice)))
                .collect()
        })
        .collect();
    let chunks = Chunks::new(PYANNET, 160_000 + 7 * 16_000, 4, windows).expect("the parts fit");

    let (mut counts, mut sums, mut discrete) = (Vec::new(), Vec::new(), Vec::new());
    let mut highest = Vec::new();
    count::sweep(&chunks, &labels, 4, |frame| {
        counts.push(f64::from(frame.count));
        sums.extend(frame.sums.iter().map(|&sum| f64::from(sum)));
        count::highest(frame.sums, frame.count as usize, &mut highest);
        discrete.extend((0..4).map(|cluster| f64::from(u8::from(highest.contains(&cluster)))));
    });
    assert_eq!(counts, gold["count"].values);
    assert_eq!(sums, gold["act"].values);
    assert_eq!(discrete, gold["dia"].values);

    let clusters = clustering::Clusters {
        labels,
        centroids: clustering::Points {
            dimension: 4,
            values: vec![0.0; 16],
        },
    };
    let mut turns = reconstruct::reconstruct(&chunks, &clusters, None, usize::MAX).turns;
    assert_turns(&turns, &gold["seg"], "turns");
    reconstruct::smooth(&mut turns, 0.2, 0.1);
    assert_turns(&turns, &gold["seg_min"], "smoothed turns");
}

/// The whole of clustering and reconstruction on `sample.wav`, with scores and embeddings as pyannote's networks gave them.
#[test]
fn a_recording_is_divided_as_by_pyannote() {
    let gold = goldens("pipe");
    let plda = Plda::open(&shared("research/speakers/gold/plda")).expect("both files are whole");
    let grid = Grid {
        window: 80_000,
        step: 8_000,
        frames: 293,
        ..PYANNET
    };
    for (name, method) in [("agg", Method::AHC), ("vbx", Method::community_1(&plda))] {
        let scores = floats(&gold[&format!("{name}_segmentation")]);
        let embeddings = floats(&gold[&format!("{name}_embeddings")]);
        let windows = scores
            .chunks_exact(293 * 3)
            .zip(embeddings.chunks_exact(3 * 256));
        let windows = windows.map(|(scores, embeddings)| {
            let mut window = Window::new(&powerset::sigmoid_masks(scores, 3, 0.5, 0.5), scores);
            for voice in window.voices_mut() {
                voice.embedding = embeddings[usize::from(voice.speaker) * 256..][..256].to_vec();
            }
            window
        });
        let chunks = Chunks::new(grid, 480_000, 256, windows.collect()).expect("the parts fit");
        let found = cluster(&chunks, &ClusterOptions::new(method)).expect("the PLDA fits");
        assert_turns(&found.turns, &gold[&format!("{name}_turns")], name);
        assert_turns(&found.exclusive, &gold[&format!("{name}_excl")], name);
    }
}

/// The chain of the original VBx on the recording its authors ship, scored as they do: NIST's collar of 0.25 s, overlap left out.
/// (`reference/vbx_golden.py`; BUTSpeechFIT/VBx at 57466e6 says DER 7.06.)
#[test]
fn es2005a_has_the_error_that_the_authors_of_vbx_report() {
    let golden = golden::npz_f64(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/vbx_es2005a.npz"
    )));
    let features = clustering::Points {
        dimension: 128,
        values: golden["features"].values.clone(),
    };
    let init: Vec<usize> = golden["init"]
        .values
        .iter()
        .map(|&value| value as usize)
        .collect();
    let options = VbxOptions {
        evidence: 0.3,
        speaker_cost: 17.0,
        smoothing: 5.0,
        stay: 0.99,
        rounds: 40,
        least_gain: 1e-6,
    };
    let found = vbx::vbx(&features, &golden["phi"].values, &init, &options);
    let labels = found.gamma.chunks_exact(found.pi.len()).map(|row| {
        let best = |best: usize, speaker: usize| {
            if row[speaker] > row[best] {
                speaker
            } else {
                best
            }
        };
        (0..row.len()).fold(0, best)
    });
    // Segments of 1.5 s overlap: equal neighbours are joined, others meet in the middle (`merge_adjacent_labels`).
    let mut turns: Vec<Turn> = Vec::new();
    for (span, speaker) in golden["spans"].values.chunks_exact(2).zip(labels) {
        let (start, end) = (span[0], span[1]);
        match turns.last_mut() {
            Some(last) if start <= last.end + 1e-6 && last.speaker == speaker => last.end = end,
            Some(last) if start < last.end => {
                last.end = (start + last.end) / 2.0;
                let start = last.end;
                turns.push(Turn {
                    start,
                    end,
                    speaker,
                });
            }
            _ => turns.push(Turn {
                start,
                end,
                speaker,
            }),
        }
    }
    let named = |start: f64, end: f64, speaker: usize| sori_timeline::Turn {
        start,
        end,
        speaker: speaker.to_string(),
    };
    let rows = |name: &str| -> Vec<sori_timeline::Turn> {
        golden[name]
            .values
            .chunks_exact(3)
            .map(|row| named(row[0], row[1], row[2] as usize))
            .collect()
    };
    let turns: Vec<_> = turns
        .iter()
        .map(|turn| named(turn.start, turn.end, turn.speaker))
        .collect();
    let rate = |reference: &[sori_timeline::Turn], options| {
        der(reference, &turns, &options)
            .expect("few speakers")
            .rate()
    };
    let nist = DiarizationOptions {
        collar: 0.5,
        skip_overlap: true,
        uem: None,
    };
    let error = 100.0 * rate(&rows("reference"), nist);
    assert!((error - 7.06).abs() <= 0.01, "DER {error:.3} %");
    // Their times are rounded to milliseconds.
    assert!(rate(&rows("shipped"), DiarizationOptions::default()) < 1e-4);
}

/// Three people who talk one after the other, three windows each, with embeddings along one axis each.
fn three_voices() -> Chunks {
    let windows = (0..9).map(|index| {
        let mut window = Window::new(&[1; 589], &[]);
        let mut embedding = vec![0.1; 4];
        embedding[index / 3] = 1.0 + index as f32 * 0.01;
        window.voices_mut()[0].embedding = embedding;
        window
    });
    let grid = Grid {
        step: 160_000,
        ..PYANNET
    };
    Chunks::new(grid, 9 * 160_000, 4, windows.collect()).expect("the parts fit")
}

#[test]
fn the_number_of_speakers_can_be_given_or_bounded() {
    let chunks = three_voices();
    let found = |speakers, min_speakers, max_speakers| {
        let options = ClusterOptions {
            speakers,
            min_speakers,
            max_speakers,
            ..ClusterOptions::new(Method::AHC)
        };
        let found = cluster(&chunks, &options).expect("there is no PLDA");
        assert_eq!(found.activations.speakers(), found.centroids.len());
        let numbers: Vec<usize> = found.exclusive.iter().map(|turn| turn.speaker).collect();
        assert!(numbers.is_sorted(), "numbered as they appear: {numbers:?}");
        found.centroids.len()
    };
    for (speakers, least, most, expected) in [
        (None, None, None, 3),
        (Some(2), None, None, 2),
        (Some(1), Some(3), None, 1),
        (None, Some(5), None, 5),
        (None, None, Some(2), 2),
        (None, Some(4), Some(2), 4),
        (Some(0), None, None, 3),
        // pyannote cuts after a merge, so that at least one happens.
        (Some(99), None, None, 8),
    ] {
        assert_eq!(
            found(speakers, least, most),
            expected,
            "{speakers:?} {least:?} {most:?}"
        );
    }
}

#[test]
fn nobody_is_found_where_nobody_talks() {
    let silent = vec![Window::new(&[0; 589], &[]); 2];
    for (samples, windows) in [(0, vec![]), (170_000, silent)] {
        let chunks = Chunks::new(PYANNET, samples, 4, windows).expect("the parts fit");
        let found = cluster(&chunks, &ClusterOptions::new(Method::AHC)).expect("there is no PLDA");
        assert!(found.turns.is_empty() && found.exclusive.is_empty() && found.centroids.is_empty());
    }
}
