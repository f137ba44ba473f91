//! Word and character error rates with their edit counts.

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
/// let edits = sori_testing::score::wer("Ask not, what.", "ask what now");
/// assert_eq!(edits.total(), 2);
/// ```
pub fn wer(reference: &str, hypothesis: &str) -> Edits {
    let (reference, hypothesis) = (normalise(reference), normalise(hypothesis));
    let words = |text: &'_ str| {
        text.split(' ')
            .filter(|w| !w.is_empty())
            .map(String::from)
            .collect()
    };
    let (reference, hypothesis): (Vec<_>, Vec<_>) = (words(&reference), words(&hypothesis));
    edits(&reference, &hypothesis)
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

/// The smallest number of edits between two sequences (Levenshtein), split by kind. Memory is one row.
pub fn edits<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Edits {
    let inserted = |count| Edits {
        insertions: count,
        ..Edits::default()
    };
    let mut row: Vec<Edits> = (0..=hypothesis.len()).map(inserted).collect();
    for unit in reference {
        let mut diagonal = row[0];
        row[0].deletions += 1;
        for (at, heard) in hypothesis.iter().enumerate() {
            let (left, above) = (row[at], row[at + 1]);
            let substituted = diagonal.substitutions + usize::from(unit != heard);
            let choices = [
                Edits {
                    substitutions: substituted,
                    ..diagonal
                },
                Edits {
                    deletions: above.deletions + 1,
                    ..above
                },
                Edits {
                    insertions: left.insertions + 1,
                    ..left
                },
            ];
            diagonal = above;
            row[at + 1] = choices
                .into_iter()
                .min_by_key(Edits::total)
                .expect("there are three choices");
        }
    }
    Edits {
        reference: reference.len(),
        ..row[hypothesis.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
