//! Words and voices brought together: who said which words, segments that do not mix speakers, totals of each speaker.

use std::collections::BTreeMap;

use sori_speech::attribute::{Attribution, WordSpan, attribute};
use sori_speech::diarize::{Activations, Diarization, Turn as Voice};
use sori_timeline::{Segment, SegmentSpeaker, Speaker, TimeSource, Turn, Word};

use crate::heard::HeardSegment;

/// Names of the voices of a diarization, by their number.
pub(crate) struct Names(Vec<String>);

impl Names {
    /// `SPEAKER_00`, `SPEAKER_01`, … in the order in which the voices are first heard; `known` names some of them.
    pub(crate) fn new(diarization: &Diarization, known: &BTreeMap<usize, String>) -> Self {
        let mut names = vec![String::new(); diarization.centroids.len()];
        let taken: Vec<&String> = known.values().collect();
        let mut labels = (0..)
            .map(|n| format!("SPEAKER_{n:02}"))
            .filter(|label| !taken.contains(&label));
        for voice in diarization.turns.iter().map(|t| t.speaker) {
            if names[voice].is_empty() {
                let label = known.get(&voice).cloned().or_else(|| labels.next());
                names[voice] = label.expect("there is always another number");
            }
        }
        Self(names)
    }

    /// The name of a voice.
    pub(crate) fn of(&self, voice: usize) -> String {
        self.0[voice].clone()
    }

    /// The turns with names.
    pub(crate) fn turns(&self, turns: &[Voice]) -> Vec<Turn> {
        let mut turns: Vec<Turn> = turns
            .iter()
            .map(|t| Turn {
                start: t.start,
                end: t.end,
                speaker: self.of(t.speaker),
            })
            .collect();
        turns.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.end.total_cmp(&b.end)));
        turns
    }
}

/// Silence inside a word from which it is taken to begin after it, in seconds.
const SILENCE: f64 = 0.15;
/// Score in 255ths below which nobody is taken to talk.
const TALKS: u8 = 100;

/// Moves the start of a word past the last silence in it. Attention times a word from the end of the one before, so that the
/// first word of a turn seems to begin in the turn before.
fn begin_after_silence(word: &mut Word, activations: &Activations) {
    let step = activations.frame_seconds();
    let first = ((word.start - activations.time(0)) / step).ceil().max(0.0) as usize;
    let (mut silent, mut begin) = (0usize, None);
    for frame in first..activations.frames() {
        let time = activations.time(frame);
        if time >= word.end {
            break;
        }
        if activations.row(frame).iter().all(|&score| score < TALKS) {
            silent += 1;
        } else {
            if silent as f64 * step >= SILENCE {
                begin = Some(time);
            }
            silent = 0;
        }
    }
    word.start = begin.unwrap_or(word.start);
}

/// Gives every word its speaker and cuts segments where the speaker changes.
pub(crate) fn attribute_segments(
    heard: &[HeardSegment],
    diarization: &Diarization,
    names: &Names,
) -> Vec<HeardSegment> {
    let mut heard = heard.to_vec();
    for segment in heard.iter_mut().map(|part| &mut part.segment) {
        let attention = |w: &&mut Word| w.time_source == TimeSource::Attention;
        for word in segment.words.iter_mut().filter(attention) {
            begin_after_silence(word, &diarization.activations);
        }
        segment.start = segment.words.first().map_or(segment.start, |w| w.start);
    }
    let mut spans = Vec::new();
    for part in &heard {
        if part.segment.words.is_empty() {
            spans.push(span(part.segment.start, part.segment.end, true));
        }
        let last = part.segment.words.len().saturating_sub(1);
        spans.extend(part.segment.words.iter().enumerate().map(|(i, w)| {
            let end = i == last || w.word.ends_with(['.', '?', '!', '。', '？', '！', '…']);
            span(w.start, w.end, end)
        }));
    }
    let mut found = attribute(&spans, &diarization.activations).into_iter();
    let mut out = Vec::new();
    for mut part in heard {
        let count = part.segment.words.len().max(1);
        let who: Vec<Attribution> = found.by_ref().take(count).collect();
        for (word, one) in part.segment.words.iter_mut().zip(&who) {
            word.speaker = one.speaker.map(|s| names.of(s));
            word.speaker_score = one.speaker.map(|_| one.confidence);
            word.other_speaker = one.second.map(|s| names.of(s));
        }
        if part.segment.words.is_empty() {
            part.segment.speaker = who
                .first()
                .and_then(|one| one.speaker)
                .map(|s| speaker(&names.of(s)));
            out.push(part);
        } else {
            cut(part, &mut out);
        }
    }
    for (id, part) in out.iter_mut().enumerate() {
        part.segment.id = id;
    }
    out
}

fn span(start: f64, end: f64, ends_sentence: bool) -> WordSpan {
    WordSpan {
        start,
        end,
        ends_sentence,
        timed: true,
    }
}

fn speaker(name: &str) -> SegmentSpeaker {
    SegmentSpeaker {
        speaker_id: name.to_owned(),
    }
}

/// Cuts a segment where its words change their speaker.
fn cut(part: HeardSegment, out: &mut Vec<HeardSegment>) {
    let HeardSegment { segment, tallies } = part;
    let texts = texts(&segment.text, &segment.words);
    let changes = |i: &usize| segment.words[*i].speaker != segment.words[*i - 1].speaker;
    let mut edges: Vec<usize> = (1..segment.words.len()).filter(changes).collect();
    edges.insert(0, 0);
    edges.push(segment.words.len());
    for edge in edges.windows(2) {
        let words = segment.words[edge[0]..edge[1]].to_vec();
        let whole = edge[0] == 0 && edge[1] == segment.words.len();
        out.push(HeardSegment {
            tallies: tallies.get(edge[0]..edge[1]).unwrap_or_default().to_vec(),
            segment: Segment {
                start: if edge[0] == 0 {
                    segment.start
                } else {
                    words[0].start
                },
                end: if edge[1] == segment.words.len() {
                    segment.end
                } else {
                    words[words.len() - 1].end
                },
                speaker: words[0].speaker.as_deref().map(speaker),
                text: if whole {
                    segment.text.clone()
                } else {
                    texts[edge[0]..edge[1]].concat().trim().to_owned()
                },
                words,
                ..segment.clone()
            },
        });
    }
}

/// The pieces of a text that begin with each word; joined words with spaces where the words are not the text's.
fn texts(text: &str, words: &[Word]) -> Vec<String> {
    let mut starts = Vec::new();
    let mut at = 0;
    for word in words {
        let Some(found) = text[at..].find(&word.word) else {
            return words.iter().map(|w| format!("{} ", w.word)).collect();
        };
        starts.push(at + found);
        at += found + word.word.len();
    }
    // What stands before the first word goes with it.
    starts[0] = 0;
    starts.push(text.len());
    starts
        .windows(2)
        .map(|edge| text[edge[0]..edge[1]].to_owned())
        .collect()
}

/// Totals by name, from turns and words; acoustics are added by the caller.
pub(crate) fn totals(turns: &[Turn], segments: &[Segment]) -> BTreeMap<String, Speaker> {
    let mut speakers: BTreeMap<String, Speaker> = BTreeMap::new();
    for turn in turns {
        let one = speakers.entry(turn.speaker.clone()).or_default();
        one.total_duration += turn.end - turn.start;
        one.turns += 1;
    }
    add_overlaps(turns, &mut speakers);
    let sum: f64 = speakers.values().map(|s| s.total_duration).sum();
    for one in speakers.values_mut() {
        one.share = (one.total_duration / sum.max(1e-9)) as f32;
    }
    for name in segments
        .iter()
        .flat_map(|s| &s.words)
        .filter_map(|w| w.speaker.as_ref())
    {
        if let Some(one) = speakers.get_mut(name) {
            one.words += 1;
        }
    }
    speakers
}

/// Adds to each speaker the seconds in which somebody else speaks too.
fn add_overlaps(turns: &[Turn], speakers: &mut BTreeMap<String, Speaker>) {
    let mut edges: Vec<(f64, bool, &str)> = turns
        .iter()
        .flat_map(|t| [(t.start, true, &*t.speaker), (t.end, false, &*t.speaker)])
        .collect();
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut active: Vec<&str> = Vec::new();
    let mut before = 0.0;
    for (time, starts, name) in edges {
        if active.len() > 1 {
            for one in &active {
                if let Some(speaker) = speakers.get_mut(*one) {
                    speaker.overlap_duration += time - before;
                }
            }
        }
        before = time;
        if starts {
            active.push(name);
        } else if let Some(at) = active.iter().position(|&one| one == name) {
            active.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: &str, start: f64, speaker: &str) -> Word {
        Word {
            word: word.into(),
            start,
            end: start + 0.4,
            speaker: Some(speaker.into()),
            ..Word::default()
        }
    }

    #[test]
    fn segments_are_cut_where_the_speaker_changes_and_keep_the_text() {
        for (text, words, expected) in [
            (
                "Hello there. Hi!",
                vec![
                    word("Hello", 0.0, "A"),
                    word("there.", 0.5, "A"),
                    word("Hi!", 1.0, "B"),
                ],
                vec!["Hello there.", "Hi!"],
            ),
            (
                "今日は晴れ",
                vec![
                    word("今日", 0.0, "A"),
                    word("は", 0.5, "A"),
                    word("晴れ", 1.0, "B"),
                ],
                vec!["今日は", "晴れ"],
            ),
            (
                "other text",
                vec![word("네", 0.0, "A"), word("맞아요", 0.5, "B")],
                vec!["네", "맞아요"],
            ),
            ("one", vec![word("one", 0.0, "A")], vec!["one"]),
        ] {
            let segment = Segment {
                end: 2.0,
                text: text.into(),
                words,
                ..Segment::default()
            };
            let mut out = Vec::new();
            cut(
                HeardSegment {
                    segment,
                    tallies: Vec::new(),
                },
                &mut out,
            );
            let texts: Vec<_> = out.iter().map(|p| p.segment.text.as_str()).collect();
            assert_eq!(texts, expected);
            assert_eq!(
                (out[0].segment.start, out[out.len() - 1].segment.end),
                (0.0, 2.0)
            );
            for part in &out {
                let name = part.segment.speaker.as_ref().map(|s| &s.speaker_id);
                assert!(
                    part.segment
                        .words
                        .iter()
                        .all(|w| w.speaker.as_ref() == name)
                );
            }
        }
    }

    #[test]
    fn a_word_begins_after_the_last_silence_in_it() {
        // Frames of 0.1 s: talk, 0.3 s of silence, talk.
        let scores = [255, 255, 0, 0, 0, 255, 255, 255];
        let activations = Activations::new(0.1, 0.05, 1, scores.to_vec());
        for (start, end, expected) in [
            (0.1, 0.7, 0.55),
            (0.6, 0.8, 0.6),
            (0.0, 0.2, 0.0),
            // Silence to its end says nothing about its beginning.
            (0.1, 0.45, 0.1),
        ] {
            let mut one = Word {
                end,
                ..word("the", start, "A")
            };
            begin_after_silence(&mut one, &activations);
            assert!(
                (one.start - expected).abs() < 1e-9,
                "{start}-{end}: {}",
                one.start
            );
        }
    }

    #[test]
    fn totals_count_overlap_once() {
        let turn = |start, end, speaker: &str| Turn {
            start,
            end,
            speaker: speaker.into(),
        };
        let turns = [
            turn(0.0, 4.0, "A"),
            turn(1.0, 2.0, "B"),
            turn(1.5, 3.0, "C"),
            turn(5.0, 6.0, "A"),
        ];
        let speakers = totals(&turns, &[]);
        let of = |name: &str| {
            let one = &speakers[name];
            (one.total_duration, one.overlap_duration, one.turns)
        };
        assert_eq!(of("A"), (5.0, 2.0, 2));
        assert_eq!(of("B"), (1.0, 1.0, 1));
        assert_eq!(of("C"), (1.5, 1.5, 1));
        assert!((speakers.values().map(|s| s.share).sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
