//! Conversations that are known: who talks when, and what each voice is like.

use sori_testing::tone::Random;

use super::*;
use crate::diarize::clustering;
use crate::diarize::{ClusterOptions, Grid, Method, SAMPLE_RATE, Slices, Window};

const GRID: Grid = Grid {
    window: 160_000,
    step: 32_000,
    frames: 589,
    frame_step: 270,
    frame_size: 991,
};
const DIMENSION: usize = 8;
const HOW: SliceOptions = SliceOptions {
    merge: 0.55,
    voices: 0.7,
};
const ANY: Bounds = Bounds {
    least: 1,
    most: usize::MAX,
};

/// What windows and slices hear of a conversation.
struct Talk {
    /// Who talks from when on, in seconds; the last entry is the end.
    turns: Vec<(f64, Option<usize>)>,
    /// The voice of each person as slices hear it, and as windows do.
    slices: Vec<[f32; DIMENSION]>,
    windows: Vec<[f32; DIMENSION]>,
    /// The local speaker that each person is in every window.
    local: Vec<u8>,
}

/// A voice along one axis, and a little along the last.
fn voice(axis: usize, along_last: f32) -> [f32; DIMENSION] {
    let mut voice = [0.0; DIMENSION];
    voice[axis] = 1.0;
    voice[DIMENSION - 1] += along_last;
    voice
}

impl Talk {
    /// Two minutes of this many people who are nothing alike, in turns of 2 to 6 s with pauses of 0.5 s.
    fn of(people: usize) -> Self {
        let mut random = Random::new(7);
        let (mut turns, mut at) = (Vec::new(), 0.0);
        for turn in 0.. {
            turns.push((at, Some(turn % people)));
            at += 4.0 + random.normal().clamp(-2.0, 2.0);
            turns.push((at, None));
            at += 0.5;
            if at > 120.0 {
                break;
            }
        }
        let voices: Vec<_> = (0..people).map(|person| voice(person, 0.0)).collect();
        Self {
            turns,
            slices: voices.clone(),
            windows: voices,
            local: (0..people as u8).collect(),
        }
    }

    fn who(&self, seconds: f64) -> Option<usize> {
        let before = self.turns.iter().take_while(|turn| turn.0 <= seconds);
        before.last().and_then(|turn| turn.1)
    }

    fn chunks(&self) -> Chunks {
        let mut random = Random::new(11);
        let end = self.turns.last().expect("somebody talks").0;
        let samples = (end * f64::from(SAMPLE_RATE)) as u64;
        let windows = (0..GRID.windows(samples)).map(|index| {
            let first = GRID.first_frame(index);
            let time = |frame: usize| GRID.time(first + frame);
            let who = (0..GRID.frames as usize).map(|frame| self.who(time(frame)));
            let masks: Vec<u8> = who
                .map(|who| who.map_or(0, |person| 1 << self.local[person]))
                .collect();
            let mut window = Window::new(&masks, &[]);
            for voice in window.voices_mut() {
                let person = self.local.iter().position(|&l| l == voice.speaker);
                voice.embedding = self.windows[person.expect("a mask is of a person")].to_vec();
            }
            window
        });
        let windows = windows.collect();
        let mut slices = Slices {
            length: 25_600,
            step: 6_400,
            embeddings: Vec::new(),
        };
        for index in 0..((samples - 25_600) / 6_400) as usize {
            let (from, to) = slices.span(index);
            let mut heard = vec![0f32; DIMENSION];
            for part in 0..16 {
                let at = from + (to - from) * (f64::from(part) + 0.5) / 16.0;
                if let Some(person) = self.who(at) {
                    heard
                        .iter_mut()
                        .zip(self.slices[person])
                        .for_each(|(sum, value)| *sum += value / 16.0);
                }
            }
            if heard.iter().any(|&value| value != 0.0) {
                heard
                    .iter_mut()
                    .for_each(|value| *value += 0.1 * random.normal() as f32);
            } else {
                heard.clear();
            }
            slices.embeddings.push(heard);
        }
        Chunks::new(GRID, samples, DIMENSION, windows)
            .and_then(|chunks| chunks.with_slices(slices))
            .expect("the parts fit")
    }

    /// Share of the frames with speech in which the path has the person's most common cluster.
    fn agreement(&self, path: &Path) -> f64 {
        let clusters = path.clusters.centroids.len();
        let mut table = vec![vec![0usize; clusters]; self.slices.len()];
        for (frame, &cluster) in path.main.iter().enumerate() {
            if let Some(person) = self.who(GRID.time(frame)) {
                table[person][cluster] += 1;
            }
        }
        let most: Vec<usize> = table
            .iter()
            .map(|row| vectors::first_highest(row.iter().map(|&n| n as f64)))
            .collect();
        let right: usize = table.iter().zip(&most).map(|(row, &c)| row[c]).sum();
        let distinct = most.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(distinct.len(), most.len(), "two people share a cluster");
        right as f64 / table.iter().flatten().sum::<usize>() as f64
    }
}

#[test]
fn people_are_found_and_followed() {
    for people in [1, 2, 3, 4] {
        let talk = Talk::of(people);
        let chunks = talk.chunks();
        let path = cluster(&chunks, &HOW, ANY).expect("there are slices");
        assert_eq!(path.clusters.centroids.len(), people);
        let right = talk.agreement(&path);
        assert!(right > 0.97, "{people} people: {right}");
        assert!(!contradicted(&chunks, &path.clusters), "{people} people");
        // What a centroid is like is what its person is like, and not of unit length.
        for (person, expected) in talk.slices.iter().enumerate() {
            let near = path
                .clusters
                .centroids
                .rows()
                .filter(|row| row[person] > 0.6);
            assert_eq!(near.count(), 1, "{expected:?}");
        }
        // Local speaker and person are one here, so that every window names it alike where it talks long enough.
        for person in 0..people {
            let voices = chunks.windows().iter().zip(&path.clusters.labels);
            let mut labels: Vec<_> = voices
                .flat_map(|(window, labels)| window.voices().iter().zip(labels))
                .filter(|(voice, _)| usize::from(voice.speaker) == person)
                .filter(|(voice, _)| voice.alone >= 60)
                .map(|(_, label)| *label)
                .collect();
            labels.dedup();
            assert_eq!(labels.len(), 1, "person {person} of {people}");
        }
    }
}

#[test]
fn a_moment_that_sounds_a_little_different_is_no_person() {
    // Somebody like the first person (cosine 0.5) who talks once, for so many seconds.
    let with = |seconds: f64| {
        let mut talk = Talk::of(2);
        let end = talk.turns.last().expect("somebody talks").0;
        talk.turns.extend([(end, Some(2)), (end + seconds, None)]);
        talk.turns.push((end + seconds + 1.0, None));
        let mut other = voice(2, 0.0);
        (other[0], other[2]) = (0.5, 0.75f32.sqrt());
        talk.slices.push(other);
        talk.windows.push(other);
        talk.local.push(2);
        talk.chunks()
    };
    let people = |chunks: &Chunks, bounds| {
        let path = cluster(chunks, &HOW, bounds).expect("there are slices");
        path.clusters.centroids.len()
    };
    let told = Bounds { least: 3, most: 3 };
    let (short, long) = (with(2.8), with(8.0));
    assert_eq!((people(&short, ANY), people(&long, ANY)), (2, 3));
    assert_eq!(people(&short, told), 3);
}

#[test]
fn two_who_say_little_are_two_in_a_short_recording() {
    // As long and as like (cosine 0.5) as the moment that is no person among two minutes.
    let mut other = voice(1, 0.0);
    (other[0], other[1]) = (0.5, 0.75f32.sqrt());
    let voices = vec![voice(0, 0.0), other];
    let talk = Talk {
        turns: vec![
            (0.0, Some(0)),
            (4.0, None),
            (4.5, Some(1)),
            (7.3, None),
            (8.3, None),
        ],
        slices: voices.clone(),
        windows: voices,
        local: vec![0, 1],
    };
    let path = cluster(&talk.chunks(), &HOW, ANY).expect("there are slices");
    assert_eq!(path.clusters.centroids.len(), 2);
}

#[test]
fn people_are_told_apart_where_windows_take_them_for_one() {
    let talk = Talk {
        local: vec![0, 0],
        ..Talk::of(2)
    };
    let path = cluster(&talk.chunks(), &HOW, ANY).expect("there are slices");
    assert_eq!(path.clusters.centroids.len(), 2);
    assert!(talk.agreement(&path) > 0.97);
}

#[test]
fn a_told_number_is_kept_to() {
    let two = Talk::of(2).chunks();
    let four = Talk::of(4).chunks();
    // Cosine 0.9: one person, if nobody says that there are two.
    let alike = Talk {
        slices: vec![voice(0, 3.0), voice(1, 3.0)],
        ..Talk::of(2)
    };
    let alike_chunks = alike.chunks();
    for (chunks, least, most, expected) in [
        (&two, 1, 1, 1),
        (&two, 3, 3, 3),
        (&four, 2, 2, 2),
        (&four, 1, 3, 3),
        (&four, 5, usize::MAX, 5),
        (&alike_chunks, 1, usize::MAX, 1),
        (&alike_chunks, 2, 2, 2),
    ] {
        let path = cluster(chunks, &HOW, Bounds { least, most }).expect("there are slices");
        let found = path.clusters.centroids.len();
        assert_eq!(found, expected, "{least} to {most}");
        assert!(path.main.iter().all(|&cluster| cluster < found));
    }
}

#[test]
fn windows_that_contradict_are_believed() {
    // Over a telephone: slices sound alike, windows do not.
    let telephone = Talk {
        slices: vec![voice(0, 0.0); 2],
        ..Talk::of(2)
    };
    let chunks = telephone.chunks();
    let path = cluster(&chunks, &HOW, ANY).expect("there are slices");
    assert_eq!(path.clusters.centroids.len(), 1);
    assert!(contradicted(&chunks, &path.clusters));
    let options = ClusterOptions::new(Method::Slices(HOW));
    let (clusters, main) = clustering::cluster(&chunks, &options).expect("no PLDA is given");
    assert_eq!((clusters.centroids.len(), main), (2, None));

    let (clusters, main) =
        clustering::cluster(&Talk::of(2).chunks(), &options).expect("no PLDA is given");
    assert_eq!(clusters.centroids.len(), 2);
    assert!(main.is_some(), "nothing contradicts");
}

#[test]
fn without_a_slice_of_one_voice_there_is_no_path() {
    let talk = Talk::of(2);
    let chunks = talk.chunks();
    let without = chunks
        .clone()
        .with_slices(Slices::default())
        .expect("no slice is of another length");
    assert!(cluster(&without, &HOW, ANY).is_none());
    let (clusters, main) = clustering::cluster(&without, &ClusterOptions::new(Method::Slices(HOW)))
        .expect("no PLDA is given");
    assert_eq!((clusters.centroids.len(), main), (2, None));
    let empty = Slices {
        embeddings: vec![Vec::new(); chunks.slices().embeddings.len()],
        ..chunks.slices().clone()
    };
    let silent = chunks.with_slices(empty).expect("empty ones fit");
    assert!(cluster(&silent, &HOW, ANY).is_none());
}
