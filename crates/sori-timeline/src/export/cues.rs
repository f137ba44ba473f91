//! Cutting a document into subtitle cues.

use std::collections::BTreeMap;
use std::ops::Range;

use super::lines::{Atom, atoms, columns, wrap, wrap_evenly};
use crate::{Document, ErrorKind, TimelineError};

/// A pause between two words that always ends a cue, in seconds.
const LONG_PAUSE: f64 = 1.0;
/// A pause that is a fair place to end a cue which has to end somewhere, in seconds.
const SHORT_PAUSE: f64 = 0.2;

/// How subtitles are cut. The defaults follow common broadcast practice: two lines of 42 columns, 7 seconds at most.
#[derive(Debug, Clone, PartialEq)]
pub struct CueOptions {
    /// Columns in a line, 8 to 1000; wide characters (Hangul, Han, Kana) take two. A longer word stands alone. The
    /// speaker's name is not counted.
    pub max_line_width: usize,
    /// Lines in a cue, 1 to 20.
    pub max_line_count: usize,
    /// Words in a line, at least 1.
    pub max_words_per_line: Option<usize>,
    /// Seconds that a cue covers, 0.5 to 60; only a single longer word may exceed it.
    pub max_cue_seconds: f64,
    /// Seconds that a cue stays at least, 0 to 10, where the next one leaves room.
    pub min_cue_seconds: f64,
    /// Seconds kept free between two cues, 0 to 1.
    pub min_gap_seconds: f64,
    /// Marks each word as it is spoken: WebVTT time tags, in SRT one cue a word with `<u>`.
    pub highlight_words: bool,
}

impl Default for CueOptions {
    fn default() -> Self {
        Self {
            max_line_width: 42,
            max_line_count: 2,
            max_words_per_line: None,
            max_cue_seconds: 7.0,
            min_cue_seconds: 0.5,
            min_gap_seconds: 0.0,
            highlight_words: false,
        }
    }
}

impl CueOptions {
    /// Checks every option against its range.
    ///
    /// # Errors
    /// [`ErrorKind::Option`] that names the first option out of range.
    pub fn validate(&self) -> Result<(), TimelineError> {
        let words = self.max_words_per_line.unwrap_or(1);
        let rules = [
            (
                (8..=1000).contains(&self.max_line_width),
                "max_line_width",
                "8 to 1000",
            ),
            (
                (1..=20).contains(&self.max_line_count),
                "max_line_count",
                "1 to 20",
            ),
            (words >= 1, "max_words_per_line", "at least 1"),
            (
                (0.5..=60.0).contains(&self.max_cue_seconds),
                "max_cue_seconds",
                "0.5 to 60",
            ),
            (
                (0.0..=10.0).contains(&self.min_cue_seconds),
                "min_cue_seconds",
                "0 to 10",
            ),
            (
                (0.0..=1.0).contains(&self.min_gap_seconds),
                "min_gap_seconds",
                "0 to 1",
            ),
        ];
        match rules.iter().find(|(holds, ..)| !holds) {
            None => Ok(()),
            Some((_, name, range)) => Err(TimelineError::new(
                ErrorKind::Option,
                (*name).to_owned(),
                format!("it is out of range, use {range}"),
            )),
        }
    }

    fn words(&self) -> usize {
        self.max_words_per_line.unwrap_or(usize::MAX)
    }

    fn fits(&self, atoms: &[Atom<'_>]) -> bool {
        let seconds = atoms[atoms.len() - 1].end - atoms[0].start;
        let lines = wrap(atoms, self.max_line_width, self.words());
        seconds <= self.max_cue_seconds && lines.len() <= self.max_line_count
    }
}

/// One subtitle: lines of atoms, times in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cue<'a> {
    pub start_ms: u64,
    pub end_ms: u64,
    pub atoms: Vec<Atom<'a>>,
    pub lines: Vec<Range<usize>>,
    pub speaker: Option<&'a str>,
}

/// The cues of a document in order of their start: never empty, each at least 1 ms long, those of one speaker never over
/// one another. Cues of speakers who talk at the same time do overlap; players show both.
pub(super) fn cues<'a>(
    document: &'a Document,
    options: &CueOptions,
) -> Result<Vec<Cue<'a>>, TimelineError> {
    options.validate()?;
    let mut cues = Vec::new();
    for segment in &document.segments {
        let all = atoms(segment);
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(next_cut(rest, options));
            cues.push(Cue {
                start_ms: milliseconds(head[0].start),
                end_ms: milliseconds(head[head.len() - 1].end),
                lines: wrap_evenly(head, options.max_line_width, options.words()),
                atoms: head.to_vec(),
                speaker: segment.speaker.as_ref().map(|of| of.speaker_id.as_str()),
            });
            rest = tail;
        }
    }
    settle_times(&mut cues, options);
    cues.sort_by_key(|cue| cue.start_ms);
    Ok(cues)
}

/// Number of atoms in the next cue, at least one.
fn next_cut(atoms: &[Atom<'_>], options: &CueOptions) -> usize {
    let pause = |at: usize| atoms[at].start - atoms[at - 1].end;
    let mut count = 1;
    while count < atoms.len() && options.fits(&atoms[..=count]) {
        let sentence = atoms[count - 1].weight_of_break() == 3;
        // A sentence of a few columns is not worth a cue of its own.
        let full_enough = columns(&atoms[..count]) * 3 >= options.max_line_width;
        if pause(count) >= LONG_PAUSE || (sentence && full_enough) {
            return count;
        }
        count += 1;
    }
    if count == atoms.len() {
        return count;
    }
    // The cue is full: give back up to half of it to end at the best place, and not to leave a lone word behind.
    let worth = |at: usize| {
        let pause = u8::from(pause(at) > SHORT_PAUSE);
        let rest = &atoms[at..atoms.len().min(at + options.max_line_width)];
        let leaves_enough = columns(rest) * 3 >= options.max_line_width;
        (
            atoms[at - 1].weight_of_break().max(pause),
            leaves_enough,
            at,
        )
    };
    (count / 2 + 1..=count)
        .max_by_key(|&at| worth(at))
        .unwrap_or(count)
}

/// Makes each cue start after the one of the same speaker in front of it has ended, and stay long enough where there is
/// room.
fn settle_times(cues: &mut [Cue<'_>], options: &CueOptions) {
    let (shortest, gap) = (
        milliseconds(options.min_cue_seconds),
        milliseconds(options.min_gap_seconds),
    );
    let mut free: BTreeMap<Option<&str>, u64> = BTreeMap::new();
    let mut next_start = vec![u64::MAX; cues.len()];
    let mut latest: BTreeMap<Option<&str>, u64> = BTreeMap::new();
    for (next, cue) in next_start.iter_mut().zip(&*cues).rev() {
        *next = latest.insert(cue.speaker, cue.start_ms).unwrap_or(u64::MAX);
    }
    for (cue, next) in cues.iter_mut().zip(next_start) {
        let free = free.entry(cue.speaker).or_default();
        cue.start_ms = cue.start_ms.max(*free);
        let wanted = cue.end_ms.max(cue.start_ms.saturating_add(shortest));
        cue.end_ms = wanted.min(next.saturating_sub(gap)).max(cue.start_ms + 1);
        *free = cue.end_ms;
    }
}

/// Whole milliseconds; what is negative or not a number is 0, and the largest is some 30 million years.
pub(super) fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1e3).round().clamp(0.0, 1e18) as u64
}
