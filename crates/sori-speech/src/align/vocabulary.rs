//! What a CTC network can write, and how a character is written with it.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::trellis::Label;

/// Stands in spoken text for one syllable whose sound is not known.
pub const UNKNOWN: char = '\u{FFFD}';

const SYLLABLES: std::ops::RangeInclusive<char> = '가'..='힣';
/// Syllables that share an onset, and those that share an onset and a vowel (The Unicode Standard, section 3.12).
const PER_ONSET: u32 = 588;
const PER_VOWEL: u32 = 28;
const ONSETS: &str = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ";
/// Final consonants from the first to the last; none comes before them.
const FINALS: &str = "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ";
/// Final clusters and their parts, for vocabularies that have only the parts.
const CLUSTERS: [(char, &str); 11] = [
    ('ㄳ', "ㄱㅅ"),
    ('ㄵ', "ㄴㅈ"),
    ('ㄶ', "ㄴㅎ"),
    ('ㄺ', "ㄹㄱ"),
    ('ㄻ', "ㄹㅁ"),
    ('ㄼ', "ㄹㅂ"),
    ('ㄽ', "ㄹㅅ"),
    ('ㄾ', "ㄹㅌ"),
    ('ㄿ', "ㄹㅍ"),
    ('ㅀ', "ㄹㅎ"),
    ('ㅄ', "ㅂㅅ"),
];

/// The characters of a network's vocabulary. Tokens of several characters (`<pad>`, `[UNK]`) are not written.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    ids: HashMap<char, u32>,
    /// Korean syllables by onset and vowel; empty where the vocabulary has no syllables.
    syllables: HashMap<u32, Vec<u32>>,
    /// The token for nothing new.
    pub blank: u32,
    /// The token between words.
    pub delimiter: Option<u32>,
}

impl Vocabulary {
    /// The vocabulary of these tokens; `delimiter` is the text of the token between words, usually `|`.
    pub fn new<'a>(
        tokens: impl IntoIterator<Item = (&'a str, u32)>,
        blank: u32,
        delimiter: &str,
    ) -> Self {
        let mut vocabulary = Self {
            ids: HashMap::new(),
            syllables: HashMap::new(),
            blank,
            delimiter: None,
        };
        for (token, id) in tokens {
            if id == blank {
                continue;
            }
            if token == delimiter {
                vocabulary.delimiter = Some(id);
                continue;
            }
            let mut composed = token.nfc();
            if let (Some(c), None) = (composed.next(), composed.next()) {
                vocabulary.ids.insert(c, id);
                if SYLLABLES.contains(&c) {
                    vocabulary.syllables.entry(bucket(c)).or_default().push(id);
                }
            }
        }
        // Equal labels are equal lists.
        vocabulary.syllables.values_mut().for_each(|ids| ids.sort());
        vocabulary
    }

    /// The largest id of a character.
    pub fn last_id(&self) -> u32 {
        let ids = self.ids.values().copied();
        ids.chain(self.delimiter).max().unwrap_or(0)
    }

    /// Whether every letter and digit of `text` can be written.
    pub fn writes(&self, text: &str) -> bool {
        let mut spoken = text.nfc().filter(|c| c.is_alphanumeric());
        spoken.all(|c| self.id(c).is_some())
    }

    /// What a character of composed (NFC) text sounds like: itself in either case; its jamo; any syllable of the same onset and
    /// vowel; what it is made of (é → e, ３ → 3); a star for other letters, digits and [`UNKNOWN`]; nothing for the rest.
    pub fn labels(&self, c: char) -> Vec<Label> {
        if let Some(id) = self.id(c) {
            return vec![Label::Token(id)];
        }
        if SYLLABLES.contains(&c) {
            let same = || self.syllables.get(&bucket(c)).cloned().map(Label::Any);
            let jamo = self.jamo(c);
            return jamo.unwrap_or_else(|| vec![same().unwrap_or(Label::Star)]);
        }
        let plain = match c {
            '’' | '‘' | 'ʼ' | '`' => '\'',
            '‐'..='―' | '−' => '-',
            other => other,
        };
        let parts = plain.nfkd().filter_map(|part| self.id(part));
        let parts: Vec<_> = parts.map(Label::Token).collect();
        let sounds = (c.is_alphanumeric() && !is_combining_mark(c)) || c == UNKNOWN;
        if parts.is_empty() && sounds {
            vec![Label::Star]
        } else {
            parts
        }
    }

    fn id(&self, c: char) -> Option<u32> {
        let single = |mut other: Box<dyn Iterator<Item = char>>| {
            let first = other.next().filter(|_| other.next().is_none())?;
            self.ids.get(&first).copied()
        };
        let exact = self.ids.get(&c).copied();
        exact
            .or_else(|| single(Box::new(c.to_lowercase())))
            .or_else(|| single(Box::new(c.to_uppercase())))
    }

    /// A syllable in conjoining or in compatibility jamo, whichever the vocabulary has.
    fn jamo(&self, syllable: char) -> Option<Vec<Label>> {
        let tokens = |ids: Option<Vec<u32>>| Some(ids?.into_iter().map(Label::Token).collect());
        let conjoining = || {
            let parts = [syllable].into_iter().nfd();
            tokens(parts.map(|part| self.ids.get(&part).copied()).collect())
        };
        let code = syllable as u32 - '가' as u32;
        let vowel = char::from_u32('ㅏ' as u32 + code % PER_ONSET / PER_VOWEL)?;
        let mut parts = vec![ONSETS.chars().nth((code / PER_ONSET) as usize)?, vowel];
        if let Some(last) = (code % PER_VOWEL).checked_sub(1) {
            let last = FINALS.chars().nth(last as usize)?;
            let cluster = CLUSTERS.iter().find(|(whole, _)| *whole == last);
            match cluster.filter(|_| !self.ids.contains_key(&last)) {
                Some((_, pair)) => parts.extend(pair.chars()),
                None => parts.push(last),
            }
        }
        let compatible = || {
            tokens(
                parts
                    .iter()
                    .map(|part| self.ids.get(part).copied())
                    .collect(),
            )
        };
        conjoining().or_else(compatible)
    }
}

fn bucket(syllable: char) -> u32 {
    (syllable as u32 - '가' as u32) / PER_VOWEL
}

#[cfg(test)]
mod tests {
    use super::*;
    use Label::{Any, Star, Token};

    fn vocabulary(tokens: &[&'static str]) -> Vocabulary {
        Vocabulary::new(tokens.iter().copied().zip(0..), 0, "|")
    }

    #[track_caller]
    fn check(vocabulary: &Vocabulary, text: &str, want: &[Label]) {
        let found: Vec<_> = text.chars().flat_map(|c| vocabulary.labels(c)).collect();
        assert_eq!(found, want, "{text}");
    }

    #[test]
    fn letters_are_found_in_either_case_and_without_accents() {
        let upper = vocabulary(&["<pad>", "|", "A", "B", "'", "E"]);
        assert_eq!((upper.blank, upper.delimiter), (0, Some(1)));
        check(&upper, "aBé’", &[Token(2), Token(3), Token(5), Token(4)]);
        check(&upper, "字3.?\u{301}", &[Star, Star]);
        check(
            &vocabulary(&["<pad>", "é", "ß"]),
            "Éß",
            &[Token(1), Token(2)],
        );
        assert!(upper.writes("a-b") && !upper.writes("a1"));
    }

    #[test]
    fn korean_is_written_in_syllables() {
        let syllables = vocabulary(&["[PAD]", "|", "가", "각", "나", "간"]);
        check(&syllables, "가나", &[Token(2), Token(4)]);
        // 갂 is unknown; 가, 각 and 간 begin like it. Nothing begins like 뷁.
        check(&syllables, "갂뷁", &[Any(vec![2, 3, 5]), Star]);
    }

    #[test]
    fn korean_is_written_in_jamo() {
        let compatible = vocabulary(&["[PAD]", "|", "ㄱ", "ㅏ", "ㅅ", "ㅎ", "ㅣ"]);
        check(&compatible, "가", &[Token(2), Token(3)]);
        check(&compatible, "갃", &[Token(2), Token(3), Token(2), Token(4)]);
        check(&compatible, "힣", &[Token(5), Token(6), Token(5)]);
        check(&compatible, "나", &[Star]);
        let conjoining = vocabulary(&["[PAD]", "|", "\u{1100}", "\u{1161}", "\u{11A8}"]);
        check(&conjoining, "각", &[Token(2), Token(3), Token(4)]);
    }
}
