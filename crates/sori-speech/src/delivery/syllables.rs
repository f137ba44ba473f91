//! How many syllables a piece of text has when it is said.

use unicode_normalization::UnicodeNormalization;

use super::english;

/// What a run of characters is counted by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    /// One syllable each: Hangul blocks, Chinese characters, kana.
    Blocks,
    /// Letters whose vowels count.
    Letters,
    Digits,
}

/// Syllables of a word of text in a language (ISO 639-1), at least 1 if it has a letter or a digit.
pub fn syllables(word: &str, language: &str) -> usize {
    // A word is short; what is not is no word, and must cost no more.
    let chars: Vec<char> = word.nfc().take(200).collect();
    let spelled: Vec<Option<Script>> = (0..chars.len()).map(|at| script(&chars, at)).collect();
    let mut count = 0;
    let mut start = 0;
    while start < chars.len() {
        let run = spelled[start..]
            .iter()
            .take_while(|script| **script == spelled[start])
            .count();
        let text = &chars[start..start + run];
        count += match spelled[start] {
            Some(Script::Blocks) => text.iter().filter(|c| !is_small(**c)).count(),
            Some(Script::Letters) if matches!(language, "en" | "ko" | "ja" | "zh") => {
                english::syllables(&text.iter().collect::<String>())
            }
            Some(Script::Letters) => vowel_groups(text).max(1),
            Some(Script::Digits) => number(text, language),
            None => text
                .iter()
                .map(|c| if *c == '%' { percent(language) } else { 0 })
                .sum(),
        };
        start += run;
    }
    count
}

/// Script of a character; a comma or a point between digits is theirs, an apostrophe between letters too.
fn script(chars: &[char], at: usize) -> Option<Script> {
    let c = chars[at];
    let beside =
        |is: fn(&char) -> bool| at > 0 && is(&chars[at - 1]) && chars.get(at + 1).is_some_and(is);
    match c {
        '가'..='힣'
        | '\u{3041}'..='\u{30fe}'
        | '\u{3400}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' => Some(Script::Blocks),
        '0'..='9' => Some(Script::Digits),
        ',' | '.' if beside(char::is_ascii_digit) => Some(Script::Digits),
        '\'' | '\u{2019}' if beside(|c| c.is_alphabetic()) => Some(Script::Letters),
        _ if c.is_alphabetic() => Some(Script::Letters),
        _ => None,
    }
}

/// Kana that share the beat of the one before, and marks.
fn is_small(c: char) -> bool {
    matches!(
        c,
        'ぁ' | 'ぃ'
            | 'ぅ'
            | 'ぇ'
            | 'ぉ'
            | 'ゃ'
            | 'ゅ'
            | 'ょ'
            | 'ァ'
            | 'ィ'
            | 'ゥ'
            | 'ェ'
            | 'ォ'
            | 'ャ'
            | 'ュ'
            | 'ョ'
            | '・'
    )
}

fn vowel_groups(text: &[char]) -> usize {
    let base = |c: &char| c.to_lowercase().nfd().next().unwrap_or(*c);
    let vowels = text
        .iter()
        .map(|c| "aeiouyæøœаеиоуыэюяєіαεηιουω".contains(base(c)));
    let mut before = false;
    vowels
        .filter(|&vowel| !std::mem::replace(&mut before, vowel) && vowel)
        .count()
}

fn percent(language: &str) -> usize {
    if language == "ko" { 3 } else { 2 }
}

/// Syllables of a number as it is read: grouped digits, and after a point digit by digit.
fn number(text: &[char], language: &str) -> usize {
    let mut whole: Vec<usize> = Vec::new();
    let mut fraction: Option<Vec<usize>> = None;
    for c in text {
        match (c.to_digit(10), &mut fraction) {
            (Some(digit), Some(fraction)) => fraction.push(digit as usize),
            (Some(digit), None) => whole.push(digit as usize),
            (None, fraction) => {
                if *c == '.' {
                    fraction.get_or_insert_default();
                }
            }
        }
    }
    let single = |digits: &[usize]| -> usize {
        let korean = language == "ko";
        digits
            .iter()
            .map(|&digit| if korean { 1 } else { english::DIGITS[digit] })
            .sum()
    };
    // What begins with 0 and what is longer than a trillion is a code, said digit by digit.
    let code = whole.len() > 12 || (whole.len() > 1 && whole[0] == 0);
    let whole = match language {
        _ if code => single(&whole),
        "ko" => sino_korean(&whole),
        _ => {
            let year = english::year(&whole).filter(|_| !text.contains(&','));
            year.unwrap_or_else(|| english::cardinal(&whole))
        }
    };
    whole + fraction.map_or(0, |digits| 1 + single(&digits))
}

/// Syllables of a number in Sino-Korean (이천이십육): one for each digit but 0, one for each 십, 백, 천, 만 and 억; a 1 before
/// one of those is not said (but 일억 is).
fn sino_korean(digits: &[usize]) -> usize {
    if digits.iter().all(|&digit| digit == 0) {
        return 1;
    }
    let len = digits.len();
    let said = |at: usize, digit: usize| -> usize {
        let place = len - 1 - at;
        let unit = usize::from(!place.is_multiple_of(4));
        let ten_thousand_alone = place == 4 && at == 0 && digit == 1;
        match digit {
            0 => 0,
            1 if unit == 1 || ten_thousand_alone => unit,
            _ => 1 + unit,
        }
    };
    let groups = (1..3).filter(|group| {
        let end = len.saturating_sub(4 * group);
        digits[end.saturating_sub(4)..end]
            .iter()
            .any(|&digit| digit > 0)
    });
    digits
        .iter()
        .enumerate()
        .map(|(at, &digit)| said(at, digit))
        .sum::<usize>()
        + groups.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn korean_blocks_and_numbers_as_they_are_read() {
        for (text, count) in [
            ("안녕하세요.", 5),
            ("2026년", 6),                                           // 이천이십육년
            ("10", 1),                                               // 십
            ("11", 2),                                               // 십일
            ("100", 1),                                              // 백
            ("305", 3),                                              // 삼백오
            ("10000", 1),                                            // 만
            ("12,000원", 4),                                         // 만이천원
            ("210000", 4),                                           // 이십일만
            ("100000000", 2),                                        // 일억
            ("0", 1),                                                // 영
            ("3.5%", 6),                                             // 삼점오퍼센트
            ("010", 3),                                              // 공일공
            ("\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}", 2), // 한글 in single letters
            ("ㅋㅋ", 1),
        ] {
            assert_eq!(syllables(text, "ko"), count, "{text}");
        }
    }

    #[test]
    fn other_languages_and_signs() {
        for (language, text, count) in [
            ("ja", "こんにちは", 5),
            ("ja", "きょう", 2),
            ("zh", "你好", 2),
            ("es", "corazón", 3),
            ("de", "Größe", 2),
            ("fr", "été", 2),
            ("ru", "хорошо", 3),
            ("hi", "नमस्ते", 2),
            ("en", "", 0),
            ("en", "...", 0),
            ("en", "well-known", 2),
            ("xx", "Brr", 1),
        ] {
            assert_eq!(syllables(text, language), count, "{text}");
        }
        assert!(syllables(&"ba".repeat(10_000), "en") <= 100);
    }
}
