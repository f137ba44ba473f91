//! How fast and how fluently was spoken: syllables, rates, pauses and hesitations, from words in time.
//!
//! Syllables are counted in the text. Korean: one for every block, digits as they are read (the Sino-Korean way). English: by
//! rules, right for 99 of 100 frequent words in the tests. Chinese characters and Japanese kana count one each. Other Latin,
//! Greek and Cyrillic text: groups of vowels. Other scripts: one for every run of letters, for want of better.

mod english;
mod syllables;

use sori_timeline::{Delivery, Word};

pub use syllables::syllables;

/// Shortest gap between words that is a pause, in seconds (Goldman-Eisler 1968; shorter ones are part of articulation).
const PAUSE_SECONDS: f64 = 0.25;

/// Words that are hesitations whatever follows, by language; the first line is for all languages but those below it.
const HESITATIONS: [(&str, &[&str]); 7] = [
    ("", &["uh", "uhm", "hmm", "hm", "mm", "mmm"]),
    (
        "en",
        &[
            "uh", "uhh", "um", "umm", "uhm", "er", "err", "erm", "hm", "hmm", "mm", "mmm",
        ],
    ),
    ("ko", &["음", "으음", "음음", "어", "어어", "흠", "으흠"]),
    (
        "ja",
        &[
            "えー",
            "えーと",
            "えっと",
            "ええと",
            "あのー",
            "うーん",
            "んー",
        ],
    ),
    ("de", &["äh", "ähm", "öh", "öhm", "hm", "hmm"]),
    ("fr", &["euh", "heu", "hum", "hmm"]),
    ("es", &["eh", "em", "hmm", "mmm"]),
];
/// Korean words that are hesitations only where the voice hangs: before `…`, `~`, `-` or a comma. Else they mean "that", "I",
/// "there", "oh".
const HANGING: [&str; 6] = ["그", "저", "저기", "에", "아", "뭐"];

/// Delivery of one turn: the words of one speaker, in order, with nobody else's between. `language` is an ISO 639-1 code.
///
/// Rates are 0 where there is no time to divide by.
pub fn delivery(words: &[Word], language: &str) -> Delivery {
    delivery_over(&[words], language)
}

/// Delivery of a speaker over several turns. Time and gaps between turns do not count.
pub fn delivery_over(turns: &[&[Word]], language: &str) -> Delivery {
    let (mut delivery, mut seconds, mut words) = (Delivery::default(), 0.0f64, 0usize);
    for turn in turns {
        words += turn.len();
        for word in *turn {
            delivery.syllables += syllables(&word.word, language);
            delivery.fillers += usize::from(is_hesitation(&word.word, language));
        }
        if let [first, .., last] | [first @ last] = turn {
            seconds += (last.end - first.start).max(0.0);
        }
        for pair in turn.windows(2) {
            let gap = pair[1].start - pair[0].end;
            if gap >= PAUSE_SECONDS {
                delivery.pauses += 1;
                delivery.pause_seconds += gap;
            }
        }
    }
    let rate = |count: usize, seconds: f64| {
        if seconds > 0.0 {
            (count as f64 / seconds) as f32
        } else {
            0.0
        }
    };
    delivery.speaking_rate = rate(delivery.syllables, seconds);
    delivery.articulation_rate = rate(delivery.syllables, seconds - delivery.pause_seconds);
    delivery.words_per_minute = 60.0 * rate(words, seconds);
    delivery
}

/// Whether a word, with the punctuation that clings to it, is a hesitation such as "uh" or "음".
pub fn is_hesitation(word: &str, language: &str) -> bool {
    let text = word
        .trim_matches(|c: char| !c.is_alphanumeric())
        .to_lowercase();
    let listed = HESITATIONS.iter().find(|(code, _)| *code == language);
    let (_, list) = listed.unwrap_or(&HESITATIONS[0]);
    let hangs = || word.ends_with(['…', '~', '-', '—', ',']) || word.ends_with("..");
    list.contains(&text.as_str())
        || (language == "ko" && HANGING.contains(&text.as_str()) && hangs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: &str, start: f64, end: f64) -> Word {
        Word {
            word: word.into(),
            start,
            end,
            ..Word::default()
        }
    }

    #[test]
    fn rates_pauses_and_hesitations_of_a_turn() {
        let words = [
            word("Uh,", 10.0, 10.3),
            word("hello", 10.5, 11.0),
            word("again.", 11.25, 12.0),
            word("Maybe.", 12.9, 14.0),
        ];
        let one = delivery(&words, "en");
        assert_eq!((one.syllables, one.fillers, one.pauses), (7, 1, 2));
        assert!((one.pause_seconds - 1.15).abs() < 1e-9);
        assert!((one.speaking_rate - 7.0 / 4.0).abs() < 1e-6);
        assert!((one.articulation_rate - 7.0 / 2.85).abs() < 1e-6);
        assert!((one.words_per_minute - 60.0).abs() < 1e-4);
        let two = delivery_over(&[&words[..2], &words[3..]], "en");
        assert_eq!((two.syllables, two.pauses), (5, 0));
        assert!((two.speaking_rate - 5.0 / 2.1).abs() < 1e-6);
    }

    #[test]
    fn nothing_and_words_without_length_have_no_rates() {
        assert_eq!(delivery(&[], "ko"), Delivery::default());
        let still = delivery(&[word("네", 3.0, 3.0)], "ko");
        assert_eq!((still.syllables, still.speaking_rate), (1, 0.0));
        let backwards = delivery(&[word("a", 5.0, 6.0), word("b", 1.0, 2.0)], "en");
        assert_eq!((backwards.pauses, backwards.articulation_rate), (0, 0.0));
    }

    #[test]
    fn hesitations_are_told_from_words() {
        let check = |language: &str, yes: &[&str], no: &[&str]| {
            for word in yes {
                assert!(is_hesitation(word, language), "{word}");
            }
            for word in no {
                assert!(!is_hesitation(word, language), "{word}");
            }
        };
        check(
            "en",
            &["Uh,", "um", "Hmm...", "er"],
            &["her", "uh-huh", "I", "", "..."],
        );
        check(
            "ko",
            &["음", "음,", "어...", "그…", "저기,", "에~"],
            &["그", "저", "음악", "어제", "뭐?", "아!"],
        );
        check("de", &["ähm", "Äh,"], &["um", "er"]);
        check("xx", &["uh"], &["um", "er"]);
    }
}
