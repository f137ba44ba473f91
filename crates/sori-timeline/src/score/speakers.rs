//! Who said what: word errors under the best pairing of speakers.

use super::{
    alignment::{Timed, align},
    check_crowd,
    text::{Edits, Numbers, edits, normalise},
};
use crate::{ErrorKind, TimelineError, Utterance, assignment::assign};

/// Word errors and the pairing of speakers that gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matched {
    /// The errors of all pairs; words of a speaker without partner are deletions or insertions.
    pub edits: Edits,
    /// Speakers of the reference and of the hypothesis, paired; one is missing where the other has no partner.
    pub pairs: Vec<(Option<String>, Option<String>)>,
}

/// How [`tcp_wer`] compares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TcpOptions {
    /// Seconds by which a word of the hypothesis may lie beside its place, 0 to 3600. meeteval and its challenges use 5.
    pub collar: f64,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self { collar: 5.0 }
    }
}

/// The words of one speaker in order of their utterances: numbers and places in time.
#[derive(Default)]
struct Stream<'a> {
    speaker: &'a str,
    words: Vec<u32>,
    places: Vec<(f64, f64)>,
}

/// Concatenated minimum-permutation word errors (Watanabe et al. 2020): each speaker's words in a row, speakers paired
/// so that the errors are fewest. Texts go through [`normalise`]. Equal to meeteval's `cpwer`.
///
/// # Errors
/// [`ErrorKind::Limit`] when a side has more than [`super::MAX_SPEAKERS`] speakers.
pub fn cp_wer(reference: &[Utterance], hypothesis: &[Utterance]) -> Result<Matched, TimelineError> {
    matched(reference, hypothesis, |reference, hypothesis| {
        Ok(edits(&reference.words, &hypothesis.words))
    })
}

/// Time-constrained [`cp_wer`] (von Neumann et al. 2023): words match or replace each other only when they lie at the
/// same time. A word of the reference covers its share of its utterance by characters; a word of the hypothesis the
/// middle of its share, `collar` seconds to either side. Equal to meeteval's `tcpwer`.
///
/// # Errors
/// [`ErrorKind::Option`] for a collar out of range, [`ErrorKind::Limit`] as for [`cp_wer`] and when too many words lie
/// within the collar of each other.
pub fn tcp_wer(
    reference: &[Utterance],
    hypothesis: &[Utterance],
    options: &TcpOptions,
) -> Result<Matched, TimelineError> {
    let collar = options.collar;
    if !(0.0..=3600.0).contains(&collar) {
        return Err(TimelineError::new(
            ErrorKind::Option,
            "collar".into(),
            "it is out of range, use 0 to 3600 seconds".into(),
        ));
    }
    matched(reference, hypothesis, |reference, hypothesis| {
        Ok(align(&intervals(reference), &points(hypothesis, collar))?.0)
    })
}

fn intervals(stream: &Stream) -> Vec<Timed> {
    let timed = |(&unit, &(start, end))| Timed { unit, start, end };
    stream.words.iter().zip(&stream.places).map(timed).collect()
}

fn points(stream: &Stream, collar: f64) -> Vec<Timed> {
    let timed = |(&unit, &(start, end)): (&u32, &(f64, f64))| {
        let middle = (end + start) / 2.0;
        Timed {
            unit,
            start: middle - collar,
            end: middle + collar,
        }
    };
    stream.words.iter().zip(&stream.places).map(timed).collect()
}

/// The errors under the pairing of speakers that has the fewest.
fn matched(
    reference: &[Utterance],
    hypothesis: &[Utterance],
    measure: impl Fn(&Stream, &Stream) -> Result<Edits, TimelineError>,
) -> Result<Matched, TimelineError> {
    let (reference, hypothesis) = (in_order(reference), in_order(hypothesis));
    let mut numbers = Numbers::default();
    let reference = streams(&reference, &mut numbers, "reference")?;
    let hypothesis = streams(&hypothesis, &mut numbers, "hypothesis")?;
    let size = reference.len().max(hypothesis.len());
    let nobody = Stream::default();
    let mut table = Vec::with_capacity(size * size);
    for row in 0..size {
        for column in 0..size {
            let spoken = reference.get(row).unwrap_or(&nobody);
            let heard = hypothesis.get(column).unwrap_or(&nobody);
            table.push(measure(spoken, heard)?);
        }
    }
    let costs: Vec<f64> = table.iter().map(|edits| edits.total() as f64).collect();
    let mut matched = Matched::default();
    let name = |stream: &Stream| stream.speaker.to_owned();
    for (row, column) in assign(&costs, size).into_iter().enumerate() {
        let column = column.expect("a square table of finite costs pairs every row");
        matched.edits += table[row * size + column];
        let pair = (
            reference.get(row).map(name),
            hypothesis.get(column).map(name),
        );
        matched.pairs.push(pair);
    }
    Ok(matched)
}

/// The utterances with their normalised texts, in order of their start.
pub(super) fn in_order(side: &[Utterance]) -> Vec<(&Utterance, String)> {
    let mut side: Vec<_> = side
        .iter()
        .map(|said| (said, normalise(&said.text)))
        .collect();
    side.sort_by(|a, b| a.0.start.total_cmp(&b.0.start));
    side
}

/// A stream for each speaker, in order of their first utterance.
fn streams<'a>(
    texts: &'a [(&'a Utterance, String)],
    numbers: &mut Numbers<'a>,
    side: &str,
) -> Result<Vec<Stream<'a>>, TimelineError> {
    let mut streams: Vec<Stream> = Vec::new();
    for (said, text) in texts {
        let speaker = said.speaker.as_str();
        let known = streams.iter().position(|stream| stream.speaker == speaker);
        let at = known.unwrap_or(streams.len());
        if known.is_none() {
            check_crowd(at + 1, side)?;
            streams.push(Stream {
                speaker,
                ..Stream::default()
            });
        }
        places(said, text, |word, start, end| {
            streams[at].words.push(numbers.of(word));
            streams[at].places.push((start, end));
        });
    }
    Ok(streams)
}

/// Each word of an utterance with its share of the time, by characters (meeteval's `character_based`).
pub(super) fn places<'a>(said: &Utterance, text: &'a str, mut each: impl FnMut(&'a str, f64, f64)) {
    let characters: usize = super::text::words(text)
        .map(|word| word.chars().count())
        .sum();
    let per_character = (said.end - said.start) / characters.max(1) as f64;
    let mut before = 0;
    for word in super::text::words(text) {
        let after = before + word.chars().count();
        let (start, end) = match (before, after == characters) {
            (0, true) => (said.start, said.end),
            _ => (
                said.start + per_character * before as f64,
                said.start + per_character * after as f64,
            ),
        };
        each(word, start, end);
        before = after;
    }
}
