//! Tokens to words (openai/whisper tokenizer.py `split_to_word_tokens`, timing.py `merge_punctuations`).

use unicode_normalization::UnicodeNormalization;

use super::tokenizer::Tokenizer;

/// Languages written without spaces between words.
const UNSPACED: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];
/// Python's `string.punctuation`.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
/// Marks that belong to the word after them.
const OPENING: &str = "\"'“¿([{-「『《";
/// Marks that belong to the word before them.
const CLOSING: &str = "\"'.。,，!！?？:：”)]}、」』》…";

/// A word's text, with the space before it, and how many tokens it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TokenWord {
    pub text: String,
    pub tokens: usize,
}

/// Splits text tokens into words; every token belongs to exactly one.
pub(super) fn split(tokenizer: &Tokenizer, tokens: &[u32], language: &str) -> Vec<TokenWord> {
    let characters = split_characters(tokenizer, tokens);
    let mut words: Vec<TokenWord> = Vec::new();
    for piece in characters {
        // As Python's `in`: one mark, or marks in this very order.
        let punctuation = PUNCTUATION.contains(piece.text.trim());
        match words.last_mut() {
            Some(last)
                if !(UNSPACED.contains(&language)
                    || piece.text.starts_with(' ')
                    || punctuation) =>
            {
                last.text.push_str(&piece.text);
                last.tokens += piece.tokens;
            }
            _ => words.push(piece),
        }
    }
    for word in &mut words {
        word.text = word.text.nfc().collect();
    }
    words
}

/// Splits tokens where they end on a whole character.
fn split_characters(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<TokenWord> {
    let (mut pieces, mut bytes, mut count) = (Vec::new(), Vec::new(), 0);
    for (i, &token) in tokens.iter().enumerate() {
        bytes.extend_from_slice(tokenizer.bytes(token));
        count += 1;
        let cut = std::str::from_utf8(&bytes).is_err_and(|e| e.error_len().is_none());
        if !cut || i + 1 == tokens.len() {
            pieces.push(TokenWord {
                text: String::from_utf8_lossy(&bytes).into_owned(),
                tokens: count,
            });
            (bytes, count) = (Vec::new(), 0);
        }
    }
    pieces
}

/// A word with its place in time, in seconds from the window's start.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TimedWord {
    pub text: String,
    pub tokens: usize,
    pub start: f64,
    pub end: f64,
    pub score: f32,
}

/// Joins what is one word on paper: where words are spaced, all up to the next space ("o'clock", "well-known,"); elsewhere
/// punctuation to its neighbour (timing.py `merge_punctuations`).
pub(super) fn join(words: Vec<TimedWord>, language: &str) -> Vec<TimedWord> {
    let is = |marks: &str, text: &str| {
        !text.trim().is_empty() && text.trim().chars().all(|c| marks.contains(c))
    };
    let spaced = !UNSPACED.contains(&language);
    let mut joined: Vec<TimedWord> = Vec::with_capacity(words.len());
    for word in words {
        let Some(last) = joined.last_mut() else {
            joined.push(word);
            continue;
        };
        let closing = is(CLOSING, &word.text);
        let opened = is(OPENING, &last.text);
        if word.text.starts_with(' ') || !(spaced || closing || opened) {
            joined.push(word);
            continue;
        }
        if opened {
            (last.end, last.score) = (word.end, word.score);
        } else if !closing {
            let (before, after) = (last.tokens as f32, word.tokens as f32);
            last.score = (last.score * before + word.score * after) / (before + after);
            last.end = word.end;
        }
        last.text.push_str(&word.text);
        last.tokens += word.tokens;
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn bytes() -> Tokenizer {
        Tokenizer::new(
            (0..=255u8).map(|b| vec![b]).collect(),
            HashMap::new(),
            false,
        )
    }

    #[track_caller]
    fn check(text: &str, language: &str, want: &[&str]) {
        let t = bytes();
        let ids = t.encode(text);
        let words = split(&t, &ids, language);
        assert_eq!(
            words.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(),
            want
        );
        assert_eq!(words.iter().map(|w| w.tokens).sum::<usize>(), ids.len());
    }

    #[test]
    fn words_are_split_at_spaces_and_marks_or_characters() {
        check(" hello, world", "en", &[" hello", ",", " world"]);
        check(" 값싼 물건", "ko", &[" 값싼", " 물건"]);
        check("日本語", "ja", &["日", "本", "語"]);
        check("", "en", &[]);
        check("\u{fffd}x", "en", &["\u{fffd}x"]);
    }

    #[test]
    fn marks_join_their_words() {
        let word = |text: &str, start: f64| TimedWord {
            text: text.into(),
            tokens: 1,
            start,
            end: start + 1.0,
            score: 1.0,
        };
        let joined = join(
            vec![
                word(" \"", 0.0),
                word("yes", 1.0),
                word(",", 2.0),
                word("\"", 3.0),
                word(" he", 4.0),
            ],
            "en",
        );
        assert_eq!(
            joined.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(),
            [" \"yes,\"", " he"]
        );
        assert_eq!(
            (joined[0].start, joined[0].end, joined[0].tokens),
            (0.0, 2.0, 4)
        );
        let joined = join(
            vec![word(" o", 0.0), word("'", 1.0), word("clock", 2.0)],
            "en",
        );
        assert_eq!((joined[0].text.as_str(), joined[0].end), (" o'clock", 3.0));
        let joined = join(
            vec![word("日", 0.0), word("。", 1.0), word("本", 2.0)],
            "ja",
        );
        assert_eq!(
            joined.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(),
            ["日。", "本"]
        );
    }
}
