//! Word and character error rates with their edit counts.

use std::collections::HashMap;
use std::ops::AddAssign;

use unicode_normalization::UnicodeNormalization;

/// What turns a hypothesis into its reference, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Edits {
    /// Units that differ.
    pub substitutions: usize,
    /// Units of the reference that the hypothesis lacks.
    pub deletions: usize,
    /// Units of the hypothesis that the reference lacks.
    pub insertions: usize,
    /// Units of the reference.
    pub reference: usize,
}

impl Edits {
    /// All edits.
    pub fn total(&self) -> usize {
        self.substitutions + self.deletions + self.insertions
    }

    /// Edits per unit of the reference. An empty reference gives 0 when nothing was inserted, else 1.
    pub fn rate(&self) -> f64 {
        if self.reference == 0 {
            return if self.total() == 0 { 0.0 } else { 1.0 };
        }
        self.total() as f64 / self.reference as f64
    }
}

/// Sums over a corpus: the rate of a sum weights each utterance by its length.
impl AddAssign for Edits {
    fn add_assign(&mut self, other: Self) {
        self.substitutions += other.substitutions;
        self.deletions += other.deletions;
        self.insertions += other.insertions;
        self.reference += other.reference;
    }
}

/// Word errors between two texts, both put through [`normalise`] first.
///
/// ```
/// let edits = sori_timeline::score::wer("Ask not, what.", "ask what now");
/// assert_eq!(edits.total(), 2);
/// ```
pub fn wer(reference: &str, hypothesis: &str) -> Edits {
    let (reference, hypothesis) = (normalise(reference), normalise(hypothesis));
    let mut numbers = Numbers::default();
    let mut words = |text| -> Vec<u32> { words(text).map(|word| numbers.of(word)).collect() };
    edits(&words(&reference), &words(&hypothesis))
}

/// The words of a normalised text.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

/// A number for each different word, so that words compare in one step.
#[derive(Default)]
pub(crate) struct Numbers<'a>(HashMap<&'a str, u32>);

impl<'a> Numbers<'a> {
    pub fn of(&mut self, word: &'a str) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(word).or_insert(next)
    }
}

/// Character errors between two texts, both put through [`normalise`] and stripped of spaces, over composed (NFC)
/// characters: the usual measure for Korean, where spacing is a matter of taste.
pub fn cer(reference: &str, hypothesis: &str) -> Edits {
    let characters = |text: &str| {
        normalise(text)
            .chars()
            .filter(|c| *c != ' ')
            .collect::<Vec<_>>()
    };
    edits(&characters(reference), &characters(hypothesis))
}

/// The text composed (NFC), in lower case, without punctuation and symbols, words separated by one space. Apostrophes
/// vanish (`don't` is `dont`), everything else that is no letter or digit separates words.
pub fn normalise(text: &str) -> String {
    let apostrophe = |c: &char| !matches!(c, '\'' | '’' | 'ʼ');
    let plain: String = text
        .nfc()
        .flat_map(char::to_lowercase)
        .filter(apostrophe)
        .map(|c| {
            if c.is_alphanumeric() || is_mark(c) {
                c
            } else {
                ' '
            }
        })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Combining marks that NFC cannot compose belong to the letter before them.
fn is_mark(character: char) -> bool {
    unicode_normalization::char::is_combining_mark(character)
}

/// The smallest number of edits between two sequences (Levenshtein), split by kind.
///
/// Where several ways cost the same, the one that Kaldi's `LevenshteinEditDistance` takes is counted: a match or
/// substitution only when it is strictly cheaper than a deletion and an insertion. Memory is one row; time is O(n d) for
/// d edits (Ukkonen 1985: only cells that a path of at most d edits can reach).
pub fn edits<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Edits {
    let (n, m) = (reference.len(), hypothesis.len());
    let mut limit = n.abs_diff(m) + FIRST_SLACK;
    loop {
        let Cell {
            total,
            substitutions,
        } = banded(reference, hypothesis, limit);
        if total <= limit {
            // Insertions less deletions are the difference of the lengths, whatever the way.
            let shifts = total - substitutions;
            let deletions = (shifts + n - m) / 2;
            return Edits {
                substitutions,
                deletions,
                insertions: shifts - deletions,
                reference: n,
            };
        }
        limit *= 2;
    }
}

/// Edits beyond the difference of the lengths that are looked for first.
const FIRST_SLACK: usize = 64;

/// Edits on the way to a place in both sequences, and the substitutions among them.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub total: usize,
    pub substitutions: usize,
}

/// Which edit leads to a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Both,
    Deletion,
    Insertion,
}

impl Cell {
    pub const UNREACHED: Self = Self::shifts(usize::MAX / 2);

    /// So many deletions or insertions and nothing else.
    pub const fn shifts(total: usize) -> Self {
        Self {
            total,
            substitutions: 0,
        }
    }

    pub fn shifted(self) -> Self {
        Self {
            total: self.total + 1,
            ..self
        }
    }

    pub fn paired(self, equal: bool) -> Self {
        Self {
            total: self.total + usize::from(!equal),
            substitutions: self.substitutions + usize::from(!equal),
        }
    }

    /// The cheapest of the three ways to a cell, by Kaldi's rule for equal ones.
    pub fn best(both: Self, deletion: Self, insertion: Self) -> (Self, Step) {
        if both.total < insertion.total && both.total < deletion.total {
            (both, Step::Both)
        } else if deletion.total < insertion.total {
            (deletion, Step::Deletion)
        } else {
            (insertion, Step::Insertion)
        }
    }
}

/// The cheapest way that stays where a way of at most `limit` edits can be; dearer ways may be missed.
fn banded<T: PartialEq>(reference: &[T], hypothesis: &[T], limit: usize) -> Cell {
    let (n, m) = (reference.len(), hypothesis.len());
    // A cell (i, j) costs at least |j - i| up to there and |(m - n) - (j - i)| from there on.
    let slack = (limit - n.abs_diff(m)) / 2;
    let (below, above) = (slack + n.saturating_sub(m), slack + m.saturating_sub(n));
    let mut row = vec![Cell::UNREACHED; m + 1];
    for (j, cell) in row.iter_mut().enumerate().take(above + 1) {
        *cell = Cell::shifts(j);
    }
    for (i, unit) in reference
        .iter()
        .enumerate()
        .map(|(at, unit)| (at + 1, unit))
    {
        let first = i.saturating_sub(below).max(1);
        let last = m.min(i + above);
        if first > m + 1 {
            return Cell::UNREACHED;
        }
        let mut diagonal = row[first - 1];
        row[first - 1] = match i <= below {
            true => Cell::shifts(i),
            false => Cell::UNREACHED,
        };
        for j in first..=last {
            let upper = row[j];
            let both = diagonal.paired(*unit == hypothesis[j - 1]);
            row[j] = Cell::best(both, upper.shifted(), row[j - 1].shifted()).0;
            diagonal = upper;
        }
    }
    row[m]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn edits_are_counted_by_kind() {
        for (reference, hypothesis, substitutions, deletions, insertions) in [
            ("", "", 0, 0, 0),
            ("a b c", "a b c", 0, 0, 0),
            ("a b c", "a x c", 1, 0, 0),
            ("a b c", "a c", 0, 1, 0),
            ("a c", "a b c", 0, 0, 1),
            ("a b c", "", 0, 3, 0),
            ("", "a b", 0, 0, 2),
            ("a b c d", "x a b d", 0, 1, 1),
        ] {
            let words = reference.split_whitespace().count();
            let expected = Edits {
                substitutions,
                deletions,
                insertions,
                reference: words,
            };
            assert_eq!(
                wer(reference, hypothesis),
                expected,
                "{reference:?} {hypothesis:?}"
            );
        }
    }

    #[test]
    fn case_punctuation_and_spacing_do_not_count() {
        assert_eq!(
            wer("Don't panic — it's 42!", "dont panic its 42").total(),
            0
        );
        assert_eq!(
            cer("안녕하세요, 반갑습니다.", "안녕 하세요 반갑습니다").total(),
            0
        );
        // Decomposed jamo are the same text.
        assert_eq!(
            cer("한글", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}").total(),
            0
        );
        assert_eq!(
            cer("한글", "한굴"),
            Edits {
                substitutions: 1,
                reference: 2,
                ..Edits::default()
            }
        );
    }

    #[test]
    fn rates_sum_over_a_corpus() {
        let mut sum = wer("a b c", "a b");
        sum += wer("d", "e");
        assert_eq!((sum.total(), sum.reference, sum.rate()), (2, 4, 0.5));
        assert_eq!(wer("", "x").rate(), 1.0);
        assert_eq!(wer("", "").rate(), 0.0);
    }

    /// The whole table, as one would write it down.
    fn plain(reference: &[u8], hypothesis: &[u8]) -> Cell {
        let mut row: Vec<Cell> = (0..=hypothesis.len()).map(Cell::shifts).collect();
        for (i, unit) in reference.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], Cell::shifts(i + 1));
            for (j, heard) in hypothesis.iter().enumerate() {
                let upper = row[j + 1];
                row[j + 1] = Cell::best(
                    diagonal.paired(unit == heard),
                    upper.shifted(),
                    row[j].shifted(),
                )
                .0;
                diagonal = upper;
            }
        }
        row[hypothesis.len()]
    }

    proptest! {
        /// The band loses nothing, neither totals nor kinds.
        #[test]
        fn the_band_equals_the_whole_table(
            reference in prop::collection::vec(0u8..6, 0..300),
            cut in 0usize..300,
            tail in prop::collection::vec(0u8..6, 0..300),
        ) {
            let mut hypothesis = reference[..cut.min(reference.len())].to_vec();
            hypothesis.extend(tail);
            let found = edits(&reference, &hypothesis);
            let whole = plain(&reference, &hypothesis);
            prop_assert_eq!(found.total(), whole.total);
            prop_assert_eq!(found.substitutions, whole.substitutions);
            prop_assert_eq!(reference.len() + found.insertions, hypothesis.len() + found.deletions);
        }
    }
}
