//! Words without the punctuation that clings to them, for dialects whose words stand bare.

/// What may stand before a word (openai/whisper `transcribe.py`, `prepend_punctuations`).
const BEFORE: &[char] = &[
    '"', '\'', '“', '¿', '(', '[', '{', '-', '¡', '‘', '«', '「', '『',
];
/// What may stand after a word (the same, `append_punctuations`).
const AFTER: &[char] = &[
    '"', '\'', '.', '。', ',', '，', '!', '！', '?', '？', ':', '：', '”', ')', ']', '}', '、',
    ';', '…', '’', '»', '」', '』', '-',
];

/// The word without punctuation around it; the whole where nothing else would be left.
///
/// ```
/// # use sori_server::punctuation::bare;
/// assert_eq!(bare("“Hello,”"), "Hello");
/// assert_eq!(bare("don't."), "don't");
/// assert_eq!(bare("..."), "...");
/// ```
pub fn bare(word: &str) -> &str {
    let inner = word
        .trim()
        .trim_start_matches(BEFORE)
        .trim_end_matches(AFTER);
    if inner.is_empty() { word.trim() } else { inner }
}

/// Whether a sentence ends with this word, quotes and brackets aside.
pub fn ends_sentence(word: &str) -> bool {
    word.trim_end_matches(['"', '\'', '”', '’', ')', ']', '}', '」', '』', '»'])
        .ends_with(['.', '?', '!', '。', '？', '！', '…'])
}

/// What stands between two words of a language: nothing where it is written without spaces (openai/whisper `tokenizer.py`,
/// `split_to_word_tokens`), else a space.
pub fn spacer(language: &str) -> &'static str {
    match language {
        "zh" | "ja" | "th" | "lo" | "my" | "yue" => "",
        _ => " ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_people_end_them() {
        for (word, ends) in [
            ("end.", true),
            ("end.”", true),
            ("(Really?)", true),
            ("네。", true),
            ("Mr", false),
            ("and,", false),
            ("", false),
        ] {
            assert_eq!(ends_sentence(word), ends, "{word}");
        }
    }
}
