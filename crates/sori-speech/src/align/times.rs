//! Frames to seconds: where words and characters begin and end.
//!
//! A CTC network says most tokens in a frame or two, near where they begin, and blank for the rest. So a character begins
//! where its first label does and ends at the next label, but no later than a label usually lasts: the median way from one
//! label to the next within the words of the utterance, or the mean way within its own word where that is longer, for a word
//! that is drawn out ends late; half as much again before a delimiter, which is heard when a word ends. A pause therefore
//! belongs to no word.

use sori_timeline::TimeSource;

use super::characters::Transcript;
use super::trellis::{Label, Span};
use super::{AlignedCharacter, AlignedWord};

/// Frames that a label lasts where the utterance cannot tell.
const USUAL: usize = 4;
/// Fewest and most frames that a label may usually last.
const BOUNDS: (usize, usize) = (2, 10);
/// Most frames that a label of a drawn-out word lasts.
const DRAWN: usize = 16;

/// Frames and seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Seconds from the sound's start to the first frame's.
    pub first: f64,
    /// Seconds from frame to frame.
    pub step: f64,
    /// Seconds that the sound lasts.
    pub duration: f64,
}

impl Clock {
    fn seconds(&self, frame: usize) -> f64 {
        (self.first + frame as f64 * self.step).min(self.duration)
    }
}

/// The times of all words. Without `spans` every word's time is shared out.
pub(super) fn words(
    words: &[&str],
    transcript: &Transcript,
    spans: Option<&[Span]>,
    clock: Clock,
) -> Vec<AlignedWord> {
    let mut aligned = vec![None; words.len()];
    for (written, character) in characters(transcript, spans.unwrap_or(&[]), clock) {
        let word: &mut Option<AlignedWord> = &mut aligned[written];
        let word = word.get_or_insert_with(|| AlignedWord {
            start: character.start,
            end: character.end,
            score: 0.0,
            time_source: TimeSource::Aligned,
            characters: Vec::new(),
        });
        word.end = character.end;
        word.characters.push(character);
    }
    for word in aligned.iter_mut().flatten() {
        let total: f32 = word
            .characters
            .iter()
            .map(|character| character.score)
            .sum();
        word.score = total / word.characters.len() as f32;
    }
    share_out(words, aligned, clock.duration)
}

/// The characters that have labels, each with its word.
fn characters(
    transcript: &Transcript,
    spans: &[Span],
    clock: Clock,
) -> Vec<(usize, AlignedCharacter)> {
    let (usual, own) = (usual(transcript, spans), own(transcript, spans));
    let mut found: Vec<(usize, AlignedCharacter)> = Vec::new();
    let (mut last, mut labels) = (None, 0.0);
    for (index, span) in spans.iter().enumerate() {
        let Some(owner) = transcript.owners[index] else {
            continue;
        };
        let next = spans.get(index + 1).map_or(usize::MAX, |next| next.start);
        let mut lasts = usual.max(own[transcript.written[owner].word]);
        // A delimiter is trusted half as far again, for what ends a word is longer (final lengthening).
        if transcript.owners.get(index + 1) == Some(&None) {
            lasts += lasts.div_ceil(2);
        }
        let end = clock.seconds(span.end.max(next.min(span.start + lasts)));
        // What stands for an unknown sound says nothing of the network's trust.
        let score = match transcript.labels[index] {
            Label::Star => 0.0,
            _ => span.score.exp().clamp(0.0, 1.0),
        };
        match found.last_mut().filter(|_| last == Some(owner)) {
            Some((_, character)) => {
                labels += 1.0;
                character.score += (score - character.score) / labels;
                character.end = end;
            }
            None => {
                labels = 1.0;
                let written = &transcript.written[owner];
                let character = AlignedCharacter {
                    text: written.text.clone(),
                    start: clock.seconds(span.start),
                    end,
                    score,
                };
                found.push((written.word, character));
            }
        }
        last = Some(owner);
    }
    found
}

/// Frames from one label to the next within words: the median.
fn usual(transcript: &Transcript, spans: &[Span]) -> usize {
    let inside = transcript.owners.windows(2).zip(spans.windows(2));
    let inside = inside.filter(|(owners, _)| owners.iter().all(Option::is_some));
    let mut steps: Vec<_> = inside
        .map(|(_, pair)| pair[1].start - pair[0].start)
        .collect();
    steps.sort_unstable();
    let median = steps.get(steps.len() / 2).copied();
    median.unwrap_or(USUAL).clamp(BOUNDS.0, BOUNDS.1)
}

/// Frames from one label to the next within each word: the mean.
fn own(transcript: &Transcript, spans: &[Span]) -> Vec<usize> {
    let words = transcript.written.last().map_or(0, |last| last.word + 1);
    let mut ways: Vec<Option<(usize, usize, usize)>> = vec![None; words];
    for (owner, span) in transcript.owners.iter().zip(spans) {
        let Some(owner) = *owner else { continue };
        let way = &mut ways[transcript.written[owner].word];
        let (first, _, steps) = way.unwrap_or((span.start, span.start, 0));
        *way = Some((first, span.start, steps + usize::from(way.is_some())));
    }
    let mean = |way: Option<(usize, usize, usize)>| match way {
        Some((first, last, steps @ 1..)) => (last - first).div_ceil(steps).min(DRAWN),
        _ => 0,
    };
    ways.into_iter().map(mean).collect()
}

/// Gives words without a time the room between their neighbours, by their letters and digits.
fn share_out(words: &[&str], aligned: Vec<Option<AlignedWord>>, duration: f64) -> Vec<AlignedWord> {
    let mut all: Vec<AlignedWord> = Vec::with_capacity(words.len());
    let mut rest = aligned.into_iter().peekable();
    while let Some(next) = rest.next() {
        if let Some(word) = next {
            all.push(word);
            continue;
        }
        let first = all.len();
        let mut count = 1;
        while rest.next_if(Option::is_none).is_some() {
            count += 1;
        }
        let from = all.last().map_or(0.0, |word| word.end);
        let to = rest
            .peek()
            .and_then(Option::as_ref)
            .map_or(duration, |word| word.start);
        let letters = |word: &&str| word.chars().filter(|c| c.is_alphanumeric()).count() as f64;
        let total: f64 = words[first..first + count].iter().map(letters).sum();
        let mut start = from;
        for word in &words[first..first + count] {
            let share = letters(word) / total.max(1.0) * (to - from).max(0.0);
            let end = (start + share).clamp(start, to.max(start));
            all.push(AlignedWord {
                start,
                end,
                score: 0.0,
                time_source: TimeSource::Interpolated,
                characters: Vec::new(),
            });
            start = end;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::characters::Written;
    use super::*;

    const CLOCK: Clock = Clock {
        first: 0.0,
        step: 0.5,
        duration: 20.0,
    };

    /// Single-letter labels; spaces are delimiters.
    fn transcript(text: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        for (word, text) in text.iter().enumerate() {
            for c in text.chars() {
                transcript.labels.push(Label::Token(c as u32));
                transcript.owners.push(Some(transcript.written.len()));
                let text = c.to_string();
                transcript.written.push(Written { word, text });
            }
            transcript.labels.push(Label::Token(0));
            transcript.owners.push(None);
        }
        transcript.labels.pop();
        transcript.owners.pop();
        transcript
    }

    fn spans(starts: &[usize]) -> Vec<Span> {
        let span = |&start: &usize| Span {
            start,
            end: start + 1,
            score: -0.1,
        };
        starts.iter().map(span).collect()
    }

    fn times(words: &[AlignedWord]) -> Vec<(f64, f64)> {
        words.iter().map(|word| (word.start, word.end)).collect()
    }

    #[test]
    fn words_end_at_the_delimiter_or_when_a_label_usually_does() {
        let found = words(
            &["abc", "d"],
            &transcript(&["abc", "d"]),
            Some(&spans(&[2, 5, 8, 10, 20])),
            CLOCK,
        );
        // Labels last three frames; the delimiter comes after two.
        assert_eq!(times(&found), [(1.0, 5.0), (10.0, 11.5)]);
        assert_eq!(found[0].characters[1].end, 4.0);
        assert!((found[0].score - 0.905).abs() < 1e-3);
        assert!(
            found
                .iter()
                .all(|word| word.time_source == TimeSource::Aligned)
        );
    }

    #[test]
    fn words_without_sound_share_the_room_between_neighbours() {
        let mut one = transcript(&["ab", "c"]);
        one.written[2].word = 4;
        let list = ["ab", "-", "xy", "z", "c", "!"];
        let found = words(&list, &one, Some(&spans(&[0, 4, 8, 20])), CLOCK);
        assert_eq!(
            times(&found),
            [
                (0.0, 4.0),
                (4.0, 4.0),
                (4.0, 8.0),
                (8.0, 10.0),
                (10.0, 12.0),
                (12.0, 12.0)
            ]
        );
        assert_eq!(found[3].time_source, TimeSource::Interpolated);
    }

    #[test]
    fn without_a_path_all_is_shared_out() {
        let found = words(&["ab", "cd"], &transcript(&["ab", "cd"]), None, CLOCK);
        assert_eq!(times(&found), [(0.0, 10.0), (10.0, 20.0)]);
    }
}
