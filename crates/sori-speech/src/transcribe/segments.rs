//! One window's text cut into segments: at time tokens where the model wrote them, else at sentence ends and pauses.

use sori_timeline::{Segment, TimeSource, Word};

use super::tokenizer::Tokenizer;
use super::transcriber::AudioWindow;
use super::words::{TimedWord, join};

/// A silence between words that ends a segment, in seconds.
const PAUSE: f64 = 1.0;
/// The longest segment before any sentence end or shorter pause is taken, in seconds.
const LONG: f64 = 15.0;

/// A decoded window before it is cut.
pub(super) struct Pieces<'a> {
    pub window: &'a AudioWindow,
    pub text: &'a str,
    /// The words in time; empty when word times are not wanted.
    pub words: Vec<TimedWord>,
    /// All tokens, time tokens included.
    pub tokens: &'a [u32],
    /// The token of time 0, when the model wrote time tokens.
    pub first_time: Option<u32>,
    pub tokenizer: &'a Tokenizer,
    /// The language written.
    pub language: &'a str,
}

/// Cuts a window's text into segments; everything but text, words and times is the template's.
pub(super) fn into_segments(pieces: Pieces, template: &Segment) -> Vec<Segment> {
    let window = pieces.window;
    let end = window.start + window.pcm.len() as f64 / 16000.0;
    let timed = pieces
        .first_time
        .map(|first| time_pieces(pieces.tokens, first));
    if pieces.words.is_empty() {
        return match timed {
            Some(timed) => timed
                .into_iter()
                .map(|p| Segment {
                    start: window.start + p.start,
                    end: p.end.map_or(end, |e| (window.start + e).min(end)),
                    text: pieces.tokenizer.decode(p.tokens).trim().to_owned(),
                    ..template.clone()
                })
                .filter(|s| !s.text.is_empty() && s.end >= s.start)
                .collect(),
            None => {
                let (from, to) = (
                    window.speech.first().map_or(window.start, |s| s.0),
                    window.speech.last().map_or(end, |s| s.1),
                );
                vec![Segment {
                    start: from.max(window.start),
                    end: to.min(end),
                    text: pieces.text.to_owned(),
                    ..template.clone()
                }]
            }
        };
    }
    let breaks: Vec<usize> = timed
        .iter()
        .flatten()
        .scan(0, |at, p| {
            *at += p.tokens.len();
            Some(*at)
        })
        .collect();
    let mut groups: Vec<(String, Vec<Word>)> = vec![Default::default()];
    let mut read = 0;
    for word in join(pieces.words, pieces.language) {
        let (_, group) = groups.last().expect("there is always a group");
        let new = match &timed {
            Some(_) => breaks.contains(&read),
            None => ends(group, window.start + word.start, &window.speech),
        };
        read += word.tokens;
        let last = groups
            .iter()
            .rev()
            .find_map(|g| g.1.last())
            .map_or(window.start, |w| w.end);
        if new {
            groups.push(Default::default());
        }
        let (text, group) = groups.last_mut().expect("there is always a group");
        text.push_str(&word.text);
        let word = place(word, window, last, end);
        if !word.word.is_empty() {
            group.push(word);
        }
    }
    groups
        .into_iter()
        .filter(|(_, words)| !words.is_empty())
        .map(|(text, words)| Segment {
            start: words[0].start,
            end: words[words.len() - 1].end,
            text: text.trim().to_owned(),
            words,
            ..template.clone()
        })
        .collect()
}

/// Whether a segment ends before a word that starts at `next`.
fn ends(group: &[Word], next: f64, speech: &[(f64, f64)]) -> bool {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return false;
    };
    let gap = next - last.end;
    let sentence = last.word.ends_with(['.', '!', '?', '…', '。', '！', '？']);
    let silent = speech.windows(2).any(|s| {
        s[0].1 >= first.start && s[1].0 <= next + 0.3 && s[0].1 <= next && s[1].0 - s[0].1 >= PAUSE
    });
    gap >= PAUSE || silent && gap > 0.2 || sentence || (last.end - first.start > LONG && gap > 0.3)
}

/// A word in the recording's time: inside the window, after the word before it, and not in the silence around speech.
fn place(word: TimedWord, window: &AudioWindow, last: f64, end: f64) -> Word {
    let (mut from, mut to) = (window.start + word.start, window.start + word.end);
    let touched: Vec<_> = window
        .speech
        .iter()
        .filter(|s| s.0 < to && from < s.1)
        .collect();
    if let (Some(first), Some(final_)) = (touched.first(), touched.last()) {
        (from, to) = (from.max(first.0), to.min(final_.1));
    }
    let from = from.clamp(last.min(end), end);
    Word {
        word: word.text.trim().to_owned(),
        start: from,
        end: to.clamp(from, end),
        score: word.score.clamp(0.0, 1.0),
        time_source: TimeSource::Attention,
        ..Word::default()
    }
}

/// Text tokens between two time tokens; the end may be missing.
struct TimePiece<'a> {
    start: f64,
    end: Option<f64>,
    tokens: &'a [u32],
}

fn time_pieces(tokens: &[u32], first: u32) -> Vec<TimePiece<'_>> {
    let seconds = |t: u32| f64::from(t - first) * 0.02;
    let (mut found, mut at, mut start) = (Vec::new(), 0, 0.0);
    while at < tokens.len() {
        if tokens[at] >= first {
            start = seconds(tokens[at]);
            at += 1;
            continue;
        }
        let until = tokens[at..]
            .iter()
            .position(|&t| t >= first)
            .map_or(tokens.len(), |n| at + n);
        found.push(TimePiece {
            start,
            end: tokens.get(until).map(|&t| seconds(t)),
            tokens: &tokens[at..until],
        });
        at = until;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn window(speech: &[(f64, f64)]) -> AudioWindow {
        AudioWindow {
            start: 100.0,
            pcm: vec![0.0; 16000 * 10],
            speech: speech.to_vec(),
        }
    }

    fn word(text: &str, start: f64, end: f64) -> TimedWord {
        TimedWord {
            text: text.into(),
            tokens: 1,
            start,
            end,
            score: 0.5,
        }
    }

    #[track_caller]
    fn check(words: Vec<TimedWord>, speech: &[(f64, f64)], want: &[(&str, f64, f64)]) {
        let tokenizer = Tokenizer::new(Vec::new(), HashMap::new(), false);
        let window = window(speech);
        let text: String = words.iter().map(|w| w.text.as_str()).collect();
        let pieces = Pieces {
            window: &window,
            text: text.trim(),
            words,
            tokens: &[],
            first_time: None,
            tokenizer: &tokenizer,
            language: "en",
        };
        let got = into_segments(pieces, &Segment::default());
        let got: Vec<_> = got
            .iter()
            .map(|s| (s.text.as_str(), s.start, s.end))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn segments_end_at_sentences_and_pauses() {
        check(
            vec![
                word(" one", 0.0, 1.0),
                word(".", 1.0, 1.1),
                word(" two", 1.5, 2.0),
            ],
            &[(100.0, 102.0)],
            &[("one.", 100.0, 101.0), ("two", 101.5, 102.0)],
        );
        check(
            vec![word(" one", 0.0, 1.0), word(" two", 2.5, 3.0)],
            &[(100.0, 103.0)],
            &[("one", 100.0, 101.0), ("two", 102.5, 103.0)],
        );
        check(
            vec![word(" 하나", 0.0, 1.0), word(" 둘", 1.0, 3.0)],
            &[(100.0, 103.0)],
            &[("하나 둘", 100.0, 103.0)],
        );
    }

    #[test]
    fn words_do_not_reach_into_silence_or_back() {
        check(
            vec![word(" a", 0.0, 3.0), word(" b", 2.0, 9.0)],
            &[(100.5, 103.0), (103.5, 104.0)],
            &[("a b", 100.5, 104.0)],
        );
    }

    #[test]
    fn time_tokens_bound_their_text() {
        let pieces = time_pieces(&[1000, 5, 6, 1050, 1050, 7, 1100, 8], 1000);
        let got: Vec<_> = pieces
            .iter()
            .map(|p| (p.start, p.end, p.tokens.to_vec()))
            .collect();
        assert_eq!(
            got,
            [
                (0.0, Some(1.0), vec![5, 6]),
                (1.0, Some(2.0), vec![7]),
                (2.0, None, vec![8])
            ]
        );
    }
}
