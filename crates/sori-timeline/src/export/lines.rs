//! Pieces of text that are never split, and lines made of them.

use std::ops::Range;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::Segment;

/// A word as it stands in the text, with the punctuation around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Atom<'a> {
    pub text: &'a str,
    /// Whether a space stands in front of it in the text.
    pub spaced: bool,
    pub start: f64,
    pub end: f64,
}

impl Atom<'_> {
    /// Columns it takes; at least one, so that the number of atoms in a line is bounded.
    pub fn columns(&self) -> usize {
        self.text.width().max(1)
    }

    /// How good it is to break after this atom: 3 after a sentence, 2 after a clause, else 0.
    pub fn weight_of_break(&self) -> u8 {
        let closing = ['"', '\'', ')', ']', '”', '’', '」', '』', '）'];
        match self.text.trim_end_matches(closing).chars().next_back() {
            Some('.' | '?' | '!' | '…' | '。' | '？' | '！') => 3,
            Some(',' | ';' | ':' | '、' | '，' | '；' | '：') => 2,
            _ => 0,
        }
    }
}

/// The atoms of a segment. All of its text is in them, in order, but for white space.
///
/// They are its words where the text holds all words in order; otherwise the text is split at spaces (and between the
/// characters of scripts that write none) and the segment's time is shared out by width.
pub(super) fn atoms(segment: &Segment) -> Vec<Atom<'_>> {
    from_words(segment).unwrap_or_else(|| interpolated(segment))
}

/// The atoms of a segment's words, one for each; `None` where the text does not hold all of them in order.
pub(super) fn from_words(segment: &Segment) -> Option<Vec<Atom<'_>>> {
    let text = segment.text.as_str();
    // Where each atom begins, and where the one in front of it ends: not the same when a space lies between.
    let mut begins: Vec<usize> = Vec::with_capacity(segment.words.len());
    let mut ends = Vec::with_capacity(segment.words.len());
    let mut cursor = 0;
    for word in &segment.words {
        let spoken = word.word.trim();
        if spoken.is_empty() {
            return None;
        }
        let found = cursor + text[cursor..].find(spoken)?;
        let between = &text[cursor..found];
        if begins.is_empty() {
            begins.push(text.len() - text.trim_start().len());
        } else {
            match between.find(char::is_whitespace) {
                // What touches the word in front stays with it, what comes after the space goes with this one.
                Some(space) => {
                    let rest = &between[space..];
                    ends.push(cursor + space);
                    begins.push(cursor + space + (rest.len() - rest.trim_start().len()));
                }
                None => {
                    ends.push(found);
                    begins.push(found);
                }
            }
        }
        cursor = found + spoken.len();
    }
    ends.push(text.trim_end().len());
    if begins.is_empty() {
        return None;
    }
    let atom = |(index, word): (usize, &crate::Word)| Atom {
        text: &text[begins[index]..ends[index]],
        spaced: index > 0 && begins[index] > ends[index - 1],
        start: word.start,
        end: word.end,
    };
    Some(segment.words.iter().enumerate().map(atom).collect())
}

fn interpolated(segment: &Segment) -> Vec<Atom<'_>> {
    let mut atoms: Vec<Atom<'_>> = Vec::new();
    for piece in segment.text.split_whitespace() {
        let mut spaced = !atoms.is_empty();
        let mut begin = 0;
        let mut previous = ' ';
        for (at, character) in piece.char_indices() {
            let unspaced = is_unspaced(character) || is_unspaced(previous);
            if at > begin && unspaced && character.is_alphanumeric() {
                atoms.push(Atom {
                    text: &piece[begin..at],
                    spaced,
                    start: 0.0,
                    end: 0.0,
                });
                (begin, spaced) = (at, false);
            }
            previous = character;
        }
        atoms.push(Atom {
            text: &piece[begin..],
            spaced,
            start: 0.0,
            end: 0.0,
        });
    }
    let total: usize = atoms.iter().map(Atom::columns).sum();
    let seconds_per_column = (segment.end - segment.start) / total.max(1) as f64;
    let mut columns = 0;
    for atom in &mut atoms {
        atom.start = segment.start + columns as f64 * seconds_per_column;
        columns += atom.columns();
        atom.end = segment.start + columns as f64 * seconds_per_column;
    }
    atoms
}

/// Whether the script of this character is written without spaces between words: Kana, Han, Thai, Lao, Khmer, Burmese.
fn is_unspaced(character: char) -> bool {
    matches!(character, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' | '\u{0e00}'..='\u{0eff}'
        | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
        && character.width().is_some()
}

/// Columns of a line made of these atoms.
pub(super) fn columns(atoms: &[Atom<'_>]) -> usize {
    let spaces = atoms.iter().skip(1).filter(|atom| atom.spaced).count();
    spaces + atoms.iter().map(Atom::columns).sum::<usize>()
}

/// Ranges of atoms, one a line: each as full as `width` columns and `words` atoms allow, and never empty.
pub(super) fn wrap(atoms: &[Atom<'_>], width: usize, words: usize) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut begin = 0;
    let mut used = 0;
    for (index, atom) in atoms.iter().enumerate() {
        let more = atom.columns() + usize::from(atom.spaced);
        if index > begin && (used + more > width || index - begin >= words) {
            lines.push(begin..index);
            begin = index;
        }
        used = if index == begin {
            atom.columns()
        } else {
            used + more
        };
    }
    if begin < atoms.len() {
        lines.push(begin..atoms.len());
    }
    lines
}

/// [`wrap`] with the smallest width that takes no more lines, so that the lines of a cue are about as long as each other.
pub(super) fn wrap_evenly(atoms: &[Atom<'_>], width: usize, words: usize) -> Vec<Range<usize>> {
    let widest = wrap(atoms, width, words);
    let floor = columns(atoms).div_ceil(widest.len().max(1));
    (floor..width)
        .map(|narrow| wrap(atoms, narrow, words))
        .find(|lines| lines.len() <= widest.len())
        .unwrap_or(widest)
}
