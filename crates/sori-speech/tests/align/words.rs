//! Words and their times, end to end, with a network that is right by construction.

use proptest::prelude::*;
use sori_speech::align::{AlignedWord, Utterance};
use sori_testing::{golden, shared};
use sori_timeline::TimeSource;

use super::tone_network::{FRAME, open, say, token};

/// Writes a word into frames from `start` to `end`: its letters evenly spread, one frame each, a blank between equal ones, and
/// the delimiter in the last frame. False when there is no room for that.
fn write(frames: &mut [usize], word: &str, start: usize, end: usize) -> bool {
    let letters: Vec<_> = word.chars().filter_map(token).collect();
    let mut places: Vec<usize> = Vec::new();
    for index in 0..letters.len() {
        let next = places.last().map_or(start, |place| {
            place + 1 + usize::from(letters[index] == letters[index - 1])
        });
        places.push(next.max(start + index * (end - 1 - start) / letters.len()));
    }
    if places.last().is_none_or(|&place| place >= end - 1) {
        return false;
    }
    for (place, letter) in places.into_iter().zip(letters) {
        frames[place] = letter;
    }
    frames[end - 1] = 1;
    true
}

/// The words of a real recording, their real times (shared/media/speech), and sound that says them then.
fn real() -> (Vec<String>, Vec<(f64, f64)>, Vec<f32>) {
    let list = golden::json(&shared("media/speech/en_acoustic_corpus.words.json"));
    let (mut words, mut times, mut frames) = (Vec::new(), Vec::new(), vec![0; 1350]);
    for entry in list.as_array().expect("a list of words") {
        let time = |key: &str| entry[key].as_f64().expect("a time");
        let word = entry["word"].as_str().expect("a word").to_owned();
        let frame = |key: &str| (time(key) * 50.0).round() as usize;
        // Some were said faster than 20 ms a letter.
        if write(&mut frames, &word, frame("start"), frame("end")) {
            times.push((time("start"), time("end")));
            words.push(word);
        }
    }
    (words, times, say(&frames))
}

fn within(found: &AlignedWord, want: (f64, f64), slack: f64) -> bool {
    (found.start - want.0).abs() <= slack && (found.end - want.1).abs() <= slack
}

/// A frame, and the half frame by which the words were moved to whole frames.
const SLACK: f64 = 0.03 + 1e-9;

#[test]
fn words_of_a_real_recording_come_back_within_a_frame() {
    let (words, times, pcm) = real();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let found = open().align(&pcm, &words, "en").expect("the network runs");
    assert!(words.len() > 50);
    for ((word, &time), found) in words.iter().zip(&times).zip(&found) {
        assert!(
            within(found, time, SLACK),
            "{word} at {time:?}: {} to {}",
            found.start,
            found.end
        );
        assert_eq!(found.time_source, TimeSource::Aligned);
        assert!(found.score > 0.5, "{word}: {}", found.score);
        let letters: String = found.characters.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(letters, **word);
    }
}

#[test]
fn a_long_sound_is_aligned_across_its_windows() {
    let (words, times, pcm) = real();
    let long: Vec<_> = (0..3).flat_map(|_| pcm.iter().copied()).collect();
    let list: Vec<_> = (0..3)
        .flat_map(|_| words.iter().map(String::as_str))
        .collect();
    let found = open().align(&long, &list, "en").expect("the network runs");
    for (index, found) in found.iter().enumerate() {
        let later = (index / words.len() * pcm.len()) as f64 / 16_000.0;
        let (start, end) = times[index % words.len()];
        assert!(
            within(found, (start + later, end + later), SLACK),
            "{index}"
        );
    }
}

#[test]
fn neighbours_speech_in_the_margin_is_left_out() {
    let (words, times, pcm) = real();
    // From the sixth word to the last but five; the sound has two words more on each side.
    let inner: Vec<_> = words[5..words.len() - 5]
        .iter()
        .map(String::as_str)
        .collect();
    let sample = |seconds: f64| (seconds * 50.0).round() as usize * FRAME;
    let (from, to) = (sample(times[3].0), sample(times[words.len() - 4].1));
    let margin = from as f64 / 16_000.0;
    let found = open()
        .align(&pcm[from..to], &inner, "en")
        .expect("the network runs");
    for (found, (start, end)) in found.iter().zip(&times[5..]) {
        assert!(
            within(found, (start - margin, end - margin), SLACK),
            "{start}"
        );
    }
}

/// What is said in another form than it is written, and what is not said.
#[test]
fn numbers_and_symbols_are_aligned_as_they_are_said() {
    let mut frames = vec![0; 100];
    for (word, start, end) in [
        ("pay", 10, 20),
        ("three", 20, 36),
        ("dollars", 36, 50),
        ("now", 60, 70),
    ] {
        write(&mut frames, word, start, end);
    }
    let words = ["Pay", "$3", "—", "NOW!"];
    let found = open()
        .align(&say(&frames), &words, "en")
        .expect("the network runs");
    for (index, want) in [(0, (0.2, 0.4)), (1, (0.4, 1.0)), (3, (1.2, 1.4))] {
        assert!(
            within(&found[index], want, SLACK),
            "{index}: {:?}",
            found[index]
        );
    }
    assert_eq!(found[1].characters.len(), 1);
    assert_eq!(found[1].characters[0].text, "$3");
    assert_eq!(found[2].time_source, TimeSource::Interpolated);
    assert_eq!((found[2].start, found[2].end), (found[1].end, found[1].end));

    let mut frames = vec![0; 60];
    for (word, start, end) in [
        ("나", 10, 16),
        ("삼", 20, 24),
        ("가", 24, 30),
        ("라", 40, 44),
    ] {
        write(&mut frames, word, start, end);
    }
    // 각 is not in the vocabulary and begins as 가 does.
    let found = open()
        .align(&say(&frames), &["나", "3각", "라"], "ko")
        .expect("the network runs");
    for (found, want) in found.iter().zip([(0.2, 0.32), (0.4, 0.6), (0.8, 1.0)]) {
        assert!((found.start - want.0).abs() < SLACK, "{found:?}");
        assert_eq!(found.time_source, TimeSource::Aligned);
    }
}

#[test]
fn what_cannot_be_aligned_is_shared_out() {
    let aligner = open();
    let found = aligner
        .align(&say(&[0; 3]), &["many", "words"], "en")
        .expect("the network runs");
    assert!(
        found
            .iter()
            .all(|word| word.time_source == TimeSource::Interpolated)
    );
    assert_eq!((found[0].start, found[1].end), (0.0, 0.06));
    let hours = vec![0.0; 16_000 * 601];
    let found = aligner.align(&hours, &["a"], "en").expect("nothing runs");
    assert_eq!(found[0].time_source, TimeSource::Interpolated);
    assert_eq!(aligner.align(&[], &[], "en").expect("nothing runs"), []);
    assert_eq!(aligner.align_all(&[]).expect("nothing runs").len(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_text_gets_times_in_order(
        texts in prop::collection::vec(prop::collection::vec("\\PC{0,6}|[0-9$%:/~,.가-힣A-Za-z-]{0,9}|.{0,3}", 0..12), 1..4),
        frames in prop::collection::vec(0usize..36, 0..80),
        extra in 0usize..FRAME,
        language in prop::sample::select(vec!["en", "ko", "ja", "de", ""]),
    ) {
        thread_local!(static ALIGNER: sori_speech::align::Aligner = open());
        let mut pcm = say(&frames);
        pcm.resize(pcm.len() + extra, 0.1);
        let words: Vec<Vec<&str>> = texts.iter().map(|text| text.iter().map(String::as_str).collect()).collect();
        let utterances: Vec<_> = words.iter().map(|words| Utterance { pcm: &pcm, words, language }).collect();
        let found = ALIGNER.with(|aligner| aligner.align_all(&utterances)).expect("the network runs");
        prop_assert_eq!(found.len(), words.len());
        for (found, words) in found.iter().zip(&words) {
            prop_assert_eq!(found.len(), words.len());
            let mut before = 0.0;
            for word in found {
                prop_assert!(before <= word.start && word.start <= word.end);
                prop_assert!((0.0..=1.0).contains(&word.score));
                let mut inside = word.start;
                for character in &word.characters {
                    prop_assert!(inside <= character.start && character.start <= character.end);
                    inside = character.end;
                }
                prop_assert!(inside <= word.end);
                before = word.end;
            }
            prop_assert!(before <= pcm.len() as f64 / 16_000.0);
        }
    }
}
