//! Syllables of English words by rules of spelling.
//!
//! Groups of vowels, less silent ones, plus vowels side by side that are two syllables, plus words that follow no rule.

/// Syllables of "zero" to "nine".
pub(super) const DIGITS: [usize; 10] = [2, 1, 1, 1, 1, 1, 1, 2, 1, 1];
/// Syllables of "ten" to "nineteen".
const TEENS: [usize; 10] = [1, 3, 1, 2, 2, 2, 2, 3, 2, 2];
/// Syllables of "hundred", and of "thousand", "million" and "billion".
const POWER: usize = 2;

/// Frequent words, or starts of words, that the rules get wrong.
const WORDS: [(&str, usize); 26] = [
    ("business", 2),
    ("cafe", 2),
    ("cement", 2),
    ("colonel", 2),
    ("conscience", 2),
    ("dr", 2),
    ("element", 3),
    ("evening", 2),
    ("friend", 1),
    ("hundred", 2),
    ("maybe", 2),
    ("mr", 2),
    ("mrs", 2),
    ("naked", 2),
    ("ocean", 2),
    ("ok", 2),
    ("parliament", 3),
    ("people", 2),
    ("recipe", 3),
    ("sacred", 2),
    ("soldier", 2),
    ("tongue", 1),
    ("vs", 2),
    ("w", 3),
    ("wednesday", 2),
    ("wicked", 2),
];
/// Words that others begin with, whose last e stays silent there.
const BEGINNINGS: [(&str, usize); 10] = [
    ("some", 1),
    ("any", 2),
    ("every", 2),
    ("there", 1),
    ("where", 1),
    ("home", 1),
    ("life", 1),
    ("time", 1),
    ("house", 1),
    ("nine", 1),
];
/// Vowels side by side that are two syllables, but not after these letters where a syllable comes before.
const PARTED: [(&str, &str); 22] = [
    ("ia", "ctsghl"),
    ("ciat", ""),
    ("tiat", ""),
    ("liab", ""),
    ("io", "ctsgxhnl"),
    ("iu", "g"),
    ("ii", ""),
    ("iet", ""),
    ("ien", "ctsn"),
    ("eo", "g"),
    ("ua", "g"),
    ("uou", ""),
    ("uen", "g"),
    ("uel", "g"),
    ("uet", "g"),
    ("uin", "g"),
    ("uid", "g"),
    ("uity", ""),
    ("oem", ""),
    ("oet", ""),
    ("reali", ""),
    ("cooper", ""),
];
/// Endings whose first e is silent after a consonant.
const SILENT: [&str; 6] = ["e", "ely", "eful", "eless", "ement", "eness"];

/// Syllables of an English word of letters and apostrophes, at least 1.
pub(super) fn syllables(word: &str) -> usize {
    let lower: String = word.to_lowercase().replace('\u{2019}', "'");
    let letters =
        |text: &str| -> String { text.chars().filter(char::is_ascii_alphabetic).collect() };
    let (stem, clitic) = match lower.strip_suffix("n't") {
        Some(stem) => (letters(stem), "n't"),
        None => lower.split_once('\'').map_or_else(
            || (letters(&lower), ""),
            |(stem, tail)| (letters(stem), tail),
        ),
    };
    let spoken = |c: char| "aeiouy".contains(c);
    // TV, BBC: letters without vowels that are not a sound such as "hmm".
    let spelled = stem.len() > 1 && !stem.contains(spoken) && word.chars().all(char::is_uppercase);
    let count = if spelled && listed(&stem).is_none() {
        stem.len()
    } else {
        of_stem(&stem)
    };
    let hard = !stem.ends_with(spoken);
    let more = match clitic {
        "n't" => stem.ends_with(['d', 's', 't']) || stem.ends_with("ve"),
        "ll" | "d" | "ve" => hard,
        "s" => ["s", "x", "z", "ch", "sh", "ce", "ge", "se", "ze"]
            .iter()
            .any(|end| stem.ends_with(end)),
        _ => false,
    };
    count + usize::from(more)
}

/// Syllables of a word that no rule fits, also with an s at its end.
fn listed(word: &str) -> Option<usize> {
    let singular = word.strip_suffix('s').filter(|singular| singular.len() > 2);
    let found = |word: &str| WORDS.iter().find(|(listed, _)| *listed == word);
    found(word)
        .or_else(|| found(singular?))
        .map(|(_, count)| *count)
}

fn of_stem(word: &str) -> usize {
    if let Some(count) = listed(word) {
        return count;
    }
    for (beginning, count) in BEGINNINGS {
        let rest = word.strip_prefix(beginning).unwrap_or_default();
        if rest.len() > 1 && groups(rest) > 0 && !rest.starts_with(['e', 'o', 'y']) || rest == "one"
        {
            return count + of_stem(rest);
        }
    }
    // A u after q is no vowel.
    let word = word.replace("qu", "q");
    let count = (groups(&word) + parted(&word)).saturating_sub(silent(&word));
    count.max(1)
}

/// Whether each letter sounds as a vowel: a y before one, at the start or between two, is a consonant.
fn vowels(word: &str) -> Vec<bool> {
    let letters = word.as_bytes();
    let plain = |at: usize| {
        letters
            .get(at)
            .is_some_and(|letter| b"aeiou".contains(letter))
    };
    (0..letters.len())
        .map(|at| {
            plain(at) || (letters[at] == b'y' && !(plain(at + 1) && (at == 0 || plain(at - 1))))
        })
        .collect()
}

fn groups(word: &str) -> usize {
    let mut before = false;
    let starts = vowels(word)
        .into_iter()
        .filter(|&vowel| !std::mem::replace(&mut before, vowel) && vowel);
    starts.count()
}

/// Syllables that groups hide: two vowels side by side, and a syllabic m.
fn parted(word: &str) -> usize {
    let pairs = PARTED.iter().flat_map(|(pair, not_after)| {
        word.match_indices(pair).filter(move |(at, _)| {
            let before = &word[..*at];
            groups(before) == 0 || !before.ends_with(|c| not_after.contains(c))
        })
    });
    let plural = word.strip_suffix('s').unwrap_or(word);
    let later = |ending: &str| {
        plural
            .strip_suffix(ending)
            .is_some_and(|before| groups(before) > 0)
    };
    let at_end = later("ier")
        || later("iest")
        || later("ea")
        || later("ean")
        || later("tio")
        || ["eing", "oing", "uing", "iing"]
            .iter()
            .any(|ending| plural.ends_with(ending))
        || plural
            .strip_suffix("ying")
            .is_some_and(|before| !before.ends_with(['a', 'e', 'o', 'u']))
        || plural.ends_with("sm")
        || plural.ends_with("thm");
    let create = word.contains("creat") && !word.contains("creatu");
    // Neighbours in "behavior" and "marriage" are one syllable after all.
    let together = word.contains("vior") || word.contains("iage");
    (pairs.count() + usize::from(at_end) + usize::from(create))
        .saturating_sub(usize::from(together))
}

/// Groups of vowels that are not said.
fn silent(word: &str) -> usize {
    let before = |ending: &str| {
        let stem = word.strip_suffix(ending)?;
        // There must be a syllable left, and a consonant before the e, which is a y in "eyes" and "played".
        let consonant = !stem.ends_with(['a', 'e', 'i', 'o', 'u']);
        let vowel_y = stem.ends_with('y') && !vowels(word)[stem.len() - 1];
        (groups(stem) > 0 && consonant && (!stem.ends_with('y') || vowel_y)).then_some(stem)
    };
    // "table", "tables" and "settled" have an l that is a syllable; "called" has not.
    let syllabic = |stem: &str| {
        let stem = stem.strip_suffix('l').unwrap_or("a");
        !stem.ends_with(['a', 'e', 'i', 'o', 'u', 'y', 'l', 'r', 'w'])
    };
    let sibilant = |stem: &str| {
        ["s", "x", "z", "c", "g", "ch", "sh"]
            .iter()
            .any(|end| stem.ends_with(end))
    };
    let e = SILENT
        .iter()
        .any(|ending| before(ending).is_some_and(|stem| *ending != "e" || !syllabic(stem)));
    let es = before("es").is_some_and(|stem| !sibilant(stem) && !syllabic(stem));
    let ed = before("ed").is_some_and(|stem| !stem.ends_with(['t', 'd']) && !syllabic(stem));
    // "league" and "dialogue", not "argue".
    let gue = word
        .strip_suffix("gue")
        .is_some_and(|stem| stem.ends_with(['a', 'e', 'i', 'o']));
    usize::from(e || es || ed || gue) + usize::from(word.ends_with("ically"))
}

/// Syllables of a year, 1100 to 1999 and 2010 to 2099; `None` for other numbers.
pub(super) fn year(digits: &[usize]) -> Option<usize> {
    let value = value(digits);
    if digits.len() != 4 || !matches!(value, 1100..2000 | 2010..2100) {
        return None;
    }
    let end = match value % 100 {
        0 => POWER,
        // "oh five"
        below_ten @ 1..10 => 1 + DIGITS[below_ten],
        end => below_thousand(end),
    };
    Some(below_thousand(value / 100) + end)
}

/// Syllables of a number of at most 12 digits.
pub(super) fn cardinal(digits: &[usize]) -> usize {
    let (mut rest, mut count) = (value(digits), 0);
    if rest == 0 {
        return DIGITS[0];
    }
    for group in 0..4 {
        let part = rest % 1000;
        if part > 0 {
            count += below_thousand(part) + if group > 0 { POWER } else { 0 };
        }
        rest /= 1000;
    }
    count
}

fn value(digits: &[usize]) -> usize {
    digits.iter().fold(0, |value, digit| 10 * value + digit)
}

fn below_thousand(value: usize) -> usize {
    let (hundreds, tens, ones) = (value / 100, value / 10 % 10, value % 10);
    let hundreds = if hundreds > 0 {
        DIGITS[hundreds] + POWER
    } else {
        0
    };
    let one = if ones > 0 { DIGITS[ones] } else { 0 };
    hundreds
        + match tens {
            0 => one,
            1 => TEENS[ones],
            7 => 3 + one,
            _ => 2 + one,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts as in the CMU Pronouncing Dictionary, of the most frequent and of awkward words.
    const KNOWN: &str = "the 1 be 1 to 1 of 1 and 1 a 1 in 1 that 1 have 1 I 1 it 1 you 1 he 1 with 1 they 1 we 1 say 1 her 1 she 1 \
        or 1 my 1 one 1 all 1 would 1 there 1 their 1 what 1 so 1 up 1 out 1 about 2 who 1 get 1 which 1 go 1 me 1 when 1 make 1 can 1 \
        like 1 time 1 no 1 just 1 him 1 know 1 take 1 people 2 into 2 year 1 your 1 good 1 some 1 could 1 them 1 see 1 other 2 than 1 \
        then 1 now 1 look 1 only 2 come 1 its 1 over 2 think 1 also 2 back 1 after 2 use 1 two 1 how 1 our 1 work 1 first 1 well 1 way 1 \
        even 2 new 1 want 1 because 2 any 2 these 1 give 1 day 1 most 1 us 1 was 1 are 1 were 1 been 1 has 1 had 1 did 1 said 1 \
        walked 1 wanted 2 needed 2 called 1 tried 1 played 1 used 1 asked 1 settled 2 handled 2 makes 1 houses 2 changes 2 tables 2 \
        watches 2 table 2 little 2 whole 1 while 1 something 2 someone 2 sometimes 2 everything 3 everyone 3 anyone 3 anything 3 \
        therefore 2 lifetime 2 nineteen 2 ninety 2 being 2 going 2 doing 2 saying 2 trying 2 studying 3 player 2 royal 2 beyond 2 eyes 1 \
        eye 1 idea 3 area 3 korea 3 korean 3 real 1 really 2 reality 4 create 2 created 3 creature 2 media 3 social 2 special 2 \
        material 4 variable 4 giant 2 million 2 opinion 3 question 2 nation 2 radio 3 period 3 serious 3 previous 3 religious 3 \
        region 2 video 3 science 2 quiet 2 society 4 client 2 patient 2 audience 3 experience 4 earlier 3 easiest 3 priest 1 actual 3 \
        situation 4 language 2 influence 3 fluid 2 cruel 2 poem 2 rhythm 2 socialism 4 movement 2 careful 2 completely 3 lovely 2 \
        basically 3 technique 2 league 1 argue 2 business 2 hundred 2 friend 1 friends 1 maybe 2 queue 1 beautiful 3 university 5 \
        don't 1 didn't 2 isn't 2 couldn't 2 can't 1 aren't 1 haven't 2 it's 1 we'll 1 it'll 2 boss's 2 I'm 1 they're 1 analysis 4 \
        important 3 understand 3 computer 3 president 3 development 4 government 3 information 4 family 3 house 1 system 2 program 2";

    #[test]
    fn words_have_the_syllables_of_the_dictionary() {
        let known: Vec<&str> = KNOWN.split_whitespace().collect();
        let wrong: Vec<String> = known
            .chunks(2)
            .filter(|pair| syllables(pair[0]).to_string() != pair[1])
            .map(|pair| format!("{} {} not {}", pair[0], syllables(pair[0]), pair[1]))
            .collect();
        println!("{} words, wrong: {wrong:?}", known.len() / 2);
        assert!(wrong.len() * 100 <= known.len() / 2, "{wrong:?}");
    }

    #[test]
    fn numbers_and_letters_as_they_are_said() {
        let count = |text: &str| super::super::syllables(text, "en");
        for (text, expected) in [
            ("0", 2),
            ("7", 2),
            ("12", 1),
            ("15", 2),
            ("77", 5),
            ("100", 3),
            ("1,234", 9),   // one thousand two hundred thirty four
            ("1984", 5),    // nineteen eighty four
            ("1905", 4),    // nineteen oh five
            ("2026", 5),    // twenty twenty six
            ("1000000", 3), // one million
            ("3.14", 4),    // three point one four
            ("50%", 4),
            ("007", 6), // zero zero seven
            ("TV", 2),
            ("BBC", 3),
            ("hmm", 1),
            ("MR", 2),
            ("THE", 1),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
    }
}
