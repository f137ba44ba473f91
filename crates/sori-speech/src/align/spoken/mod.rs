//! How digits, symbols and foreign letters in written words are said.
//!
//! An acoustic model writes "three dollars fifty" where a recogniser writes "$3.50", so the words are spoken first and each
//! spoken piece keeps its place in what was written. English and Korean have rules; elsewhere text stays as it is. A guess is
//! enough: the aligner needs about the right sounds in about the right number.

mod english;
mod korean;
mod scan;

use std::ops::Range;

use super::vocabulary::UNKNOWN;
use scan::{Part, Token, scan};

/// The most digits that are said as a number; longer ones are said digit by digit.
const MAX_DIGITS: usize = 16;

/// What a piece of spoken text is to the written one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The same.
    Written,
    /// Letters, spelled or else only counted in syllables ([`UNKNOWN`]): for vocabularies that lack
    /// them.
    Letters,
    /// Digits and symbols in words, with spaces between these.
    Said,
}

/// A piece of spoken text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The bytes of the written word that it stands for.
    pub written: Range<usize>,
    /// How it is said.
    pub text: String,
    /// What it is to the written text.
    pub kind: Kind,
}

/// Returns the pieces of each word as spoken in `language` (ISO 639-1). Punctuation has no piece, or stands in a written one.
///
/// ```
/// use sori_speech::align::spoken;
/// let said = |word, language| spoken::text(&[word], language).concat();
/// assert_eq!(said("$3.50", "en"), "three dollars fifty");
/// assert_eq!(said("1,234원", "ko"), "천이백삼십사 원");
/// ```
pub fn words(words: &[&str], language: &str) -> Vec<Vec<Piece>> {
    let scanned: Vec<_> = words.iter().map(|word| scan(word)).collect();
    match language {
        "en" => english::words(words, &scanned),
        "ko" => korean::words(words, &scanned),
        _ => {
            let whole = |word: &&str| Piece {
                written: 0..word.len(),
                text: (*word).to_owned(),
                kind: Kind::Written,
            };
            words.iter().map(|word| vec![whole(word)]).collect()
        }
    }
}

/// Returns each word as spoken, in one text.
pub fn text(written: &[&str], language: &str) -> Vec<String> {
    let join = |pieces: Vec<Piece>| {
        let mut text = String::new();
        for piece in pieces {
            text.push_str(&piece.text);
        }
        text
    };
    words(written, language).into_iter().map(join).collect()
}

/// The pieces of a word as they are collected.
struct Pieces<'a> {
    word: &'a str,
    list: Vec<Piece>,
    /// Whether what comes next clings to what was said.
    clings: bool,
}

impl<'a> Pieces<'a> {
    fn new(word: &'a str) -> Self {
        Self {
            word,
            list: Vec::new(),
            clings: false,
        }
    }

    /// Text as it is written.
    fn written(&mut self, part: &Part) {
        self.push(
            part.at.clone(),
            self.word[part.at.clone()].to_owned(),
            Kind::Written,
        );
    }

    /// Text that is said in other words. A space parts it from letters before and after.
    fn said(&mut self, written: Range<usize>, text: &str) {
        self.push(written, text.to_owned(), Kind::Said);
    }

    /// Text that is said in other words; what follows clings to it.
    fn joined(&mut self, written: Range<usize>, text: &str) {
        self.said(written, text);
        self.clings = true;
    }

    fn push(&mut self, written: Range<usize>, mut text: String, kind: Kind) {
        // Punctuation clings to what is before it.
        let sounds = text.chars().any(|c| c.is_alphanumeric() || c == UNKNOWN);
        let apart = |last: &Piece| last.kind == Kind::Said || kind == Kind::Said;
        if self.list.last().is_some_and(apart) && sounds && !self.clings {
            text.insert(0, ' ');
        }
        self.clings = false;
        if !text.is_empty() {
            self.list.push(Piece {
                written,
                text,
                kind,
            });
        }
    }
}

/// The part at `index`, if its token passes.
fn part_at<'a, 'b, T>(
    parts: &'b [Part<'a>],
    index: usize,
    pass: impl Fn(&'b Token<'a>) -> Option<T>,
) -> Option<T> {
    parts.get(index).and_then(|part| pass(&part.token))
}
