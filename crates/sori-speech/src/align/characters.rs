//! Words to the labels that are looked for in the sound, and back.

use unicode_normalization::UnicodeNormalization;

use super::spoken::{self, Kind};
use super::trellis::Label;
use super::vocabulary::Vocabulary;

/// Languages written without spaces between words: their networks write no delimiter.
const UNSPACED: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];

/// A written character, or several that are spoken as one: "1,234".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The word it is in.
    pub word: usize,
    /// Its text, composed (NFC).
    pub text: String,
}

/// What is looked for in the sound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The labels, in order.
    pub labels: Vec<Label>,
    /// For each label the number of what it is written as; `None` for delimiters.
    pub owners: Vec<Option<usize>>,
    /// The characters that have labels, in order.
    pub written: Vec<Written>,
}

/// Returns the labels of these words in `language` (ISO 639-1): letters that the vocabulary has as they are, digits, symbols and
/// foreign letters as they are said. A word of which nothing is said has none.
pub fn transcript(words: &[&str], language: &str, vocabulary: &Vocabulary) -> Transcript {
    let mut transcript = Transcript::default();
    for (word, pieces) in spoken::words(words, language).into_iter().enumerate() {
        let before = transcript.labels.len();
        if !UNSPACED.contains(&language) {
            transcript.delimit(vocabulary);
        }
        for piece in pieces {
            if piece.text.starts_with(' ') {
                transcript.delimit(vocabulary);
            }
            let written = &words[word][piece.written.clone()];
            let as_it_is = match piece.kind {
                Kind::Written => true,
                Kind::Letters => vocabulary.writes(written),
                Kind::Said => false,
            };
            if as_it_is {
                transcript.letters(word, written, vocabulary);
            } else {
                transcript.said(word, written, &piece.text, vocabulary);
            }
        }
        // The delimiter waits until something is said.
        if transcript.owners[before..].iter().all(Option::is_none) {
            transcript.cut(before);
        }
    }
    while transcript.owners.last() == Some(&None) {
        transcript.cut(transcript.labels.len() - 1);
    }
    transcript
}

impl Transcript {
    fn cut(&mut self, length: usize) {
        self.labels.truncate(length);
        self.owners.truncate(length);
    }

    /// A delimiter, unless one is there or nothing is.
    fn delimit(&mut self, vocabulary: &Vocabulary) {
        if let (Some(id), Some(Some(_))) = (vocabulary.delimiter, self.owners.last()) {
            self.labels.push(Label::Token(id));
            self.owners.push(None);
        }
    }

    /// Text whose characters are labels each.
    fn letters(&mut self, word: usize, text: &str, vocabulary: &Vocabulary) {
        for c in text.nfc() {
            let labels = vocabulary.labels(c);
            if labels.is_empty() {
                // "well-known" is heard as two words.
                if c.is_whitespace() || "-/_‐‑–—".contains(c) {
                    self.delimit(vocabulary);
                }
                continue;
            }
            let text = c.to_string();
            self.written.push(Written { word, text });
            self.own(labels);
        }
    }

    /// Text that is spoken in other words.
    fn said(&mut self, word: usize, written: &str, text: &str, vocabulary: &Vocabulary) {
        let whole = Written {
            word,
            text: written.nfc().collect(),
        };
        // A number and its currency are one.
        let mut new = self.written.last() != Some(&whole);
        for c in text.nfc() {
            if c.is_whitespace() {
                self.delimit(vocabulary);
                continue;
            }
            let labels = vocabulary.labels(c);
            if labels.is_empty() {
                continue;
            }
            if std::mem::take(&mut new) {
                self.written.push(whole.clone());
            }
            self.own(labels);
        }
    }

    /// Labels of what was written last.
    fn own(&mut self, labels: Vec<Label>) {
        let owner = Some(self.written.len() - 1);
        self.owners.extend(labels.iter().map(|_| owner));
        self.labels.extend(labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels as text: `*` for stars, `~` for any of several, `|` for delimiters.
    #[track_caller]
    fn check(tokens: &str, language: &str, words: &[&str], want: &str, owners: &str) {
        let tokens: Vec<_> = tokens.chars().map(String::from).collect();
        let list = tokens.iter().map(String::as_str).zip(0..);
        let found = transcript(words, language, &Vocabulary::new(list, 0, "|"));
        let show = |label: &Label| match label {
            Label::Token(id) => tokens[*id as usize].clone(),
            Label::Any(_) => "~".to_owned(),
            Label::Star => "*".to_owned(),
        };
        assert_eq!(
            found.labels.iter().map(show).collect::<String>(),
            want,
            "{words:?}"
        );
        let written = |owner: &usize| {
            let Written { word, text } = &found.written[*owner];
            format!("{word}{text}")
        };
        let mut shown: Vec<_> = found.owners.iter().flatten().map(written).collect();
        shown.dedup();
        assert_eq!(shown.join(" "), owners, "{words:?}");
    }

    const ENGLISH: &str = "_|'ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    #[test]
    fn english_words_are_letters_and_what_is_said() {
        check(ENGLISH, "en", &["It's", "a"], "IT'S|A", "0I 0t 0' 0s 1a");
        check(
            ENGLISH,
            "en",
            &["$2", "—", "ok!"],
            "TWO|DOLLARS|OK",
            "0$2 2o 2k",
        );
        check(ENGLISH, "en", &["—", "a-b", "…"], "A|B", "1a 1b");
        check(
            ENGLISH,
            "en",
            &["café", "ｘ", "Ω"],
            "CAFE|X|*",
            "0c 0a 0f 0é 1ｘ 2Ω",
        );
        check(ENGLISH, "fr", &["3", "a"], "*|A", "03 1a");
        check(ENGLISH, "en", &["", " ", "!"], "", "");
        check("_abc", "en", &["a", "b"], "ab", "0a 1b");
    }

    #[test]
    fn korean_words_are_syllables() {
        let syllables = "_|가나다사삼에이개일십세";
        check(
            syllables,
            "ko",
            &["3개", "나가"],
            "세|개|나가",
            "03 0개 1나 1가",
        );
        check(
            syllables,
            "ko",
            &["$13", "AI"],
            "십삼|~*|에이*이",
            "0$13 1AI",
        );
        check(syllables, "ko", &["깁"], "*", "0깁");
        check(syllables, "ko", &["갑"], "~", "0갑");
        check("_|가abc", "ko", &["A가"], "a가", "0A 0가");
        // Decomposed text is composed first.
        check(syllables, "ko", &["\u{1102}\u{1161}"], "나", "0나");
    }

    #[test]
    fn unspaced_languages_have_no_delimiters() {
        check(
            "_|日本語",
            "ja",
            &["日", "本", "。", "人"],
            "日本*",
            "0日 1本 3人",
        );
    }
}
