//! English, as spoken in America.

use super::scan::{Part, Token};
use super::{MAX_DIGITS, Piece, Pieces, part_at};

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] = [
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];
const THOUSANDS: [&str; 6] = [
    "",
    "thousand",
    "million",
    "billion",
    "trillion",
    "quadrillion",
];
/// Words that a currency waits for: "$3 million" is three million dollars.
const MAGNITUDES: [&str; 5] = ["hundred", "thousand", "million", "billion", "trillion"];
/// Units after a number, as written and as said; the first for one, the second for many.
const MEASURES: [(&str, &str, &str); 26] = [
    ("km", "kilometer", "kilometers"),
    ("m", "meter", "meters"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("kg", "kilogram", "kilograms"),
    ("g", "gram", "grams"),
    ("mg", "milligram", "milligrams"),
    ("lb", "pound", "pounds"),
    ("lbs", "pound", "pounds"),
    ("oz", "ounce", "ounces"),
    ("ft", "foot", "feet"),
    ("l", "liter", "liters"),
    ("ml", "milliliter", "milliliters"),
    ("mph", "mile per hour", "miles per hour"),
    ("kph", "kilometer per hour", "kilometers per hour"),
    ("hz", "hertz", "hertz"),
    ("khz", "kilohertz", "kilohertz"),
    ("mhz", "megahertz", "megahertz"),
    ("ghz", "gigahertz", "gigahertz"),
    ("kb", "kilobyte", "kilobytes"),
    ("mb", "megabyte", "megabytes"),
    ("gb", "gigabyte", "gigabytes"),
    ("tb", "terabyte", "terabytes"),
    ("ms", "millisecond", "milliseconds"),
    ("hr", "hour", "hours"),
    ("min", "minute", "minutes"),
];
/// Currencies: the sign, one, many, and a hundredth.
const CURRENCIES: [(char, &str, &str, bool); 5] = [
    ('$', "dollar", "dollars", true),
    ('€', "euro", "euros", true),
    ('£', "pound", "pounds", true),
    ('₩', "won", "won", false),
    ('¥', "yen", "yen", false),
];
const SYMBOLS: [(char, &str); 9] = [
    ('&', "and"),
    ('@', "at"),
    ('+', "plus"),
    ('=', "equals"),
    ('%', "percent"),
    ('°', "degrees"),
    ('℃', "degrees celsius"),
    ('℉', "degrees fahrenheit"),
    ('×', "times"),
];

pub(super) fn words(words: &[&str], scanned: &[Vec<Part>]) -> Vec<Vec<Piece>> {
    // The currency that waits for a magnitude in the next word.
    let mut owed: Option<&str> = None;
    let mut all = Vec::with_capacity(words.len());
    for (index, (word, parts)) in words.iter().zip(scanned).enumerate() {
        let next = scanned.get(index + 1).and_then(|parts| parts.first());
        let magnitude = next.is_some_and(|part| match part.token {
            Token::Letters(text) => is_magnitude(text),
            _ => false,
        });
        let mut say = Say {
            pieces: Pieces::new(word),
            parts,
            at: 0,
            magnitude,
            owed: None,
        };
        while say.at < parts.len() {
            let part = &parts[say.at];
            say.part(part);
            if let (Some(unit), Token::Letters(_)) = (owed, &part.token) {
                say.pieces.said(part.at.clone(), unit);
                owed = None;
            }
        }
        owed = say.owed;
        all.push(say.pieces.list);
    }
    all
}

fn is_magnitude(text: &str) -> bool {
    MAGNITUDES
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

/// One word being said.
struct Say<'a> {
    pieces: Pieces<'a>,
    parts: &'a [Part<'a>],
    at: usize,
    /// Whether the next word is a magnitude.
    magnitude: bool,
    /// The currency to be said after it.
    owed: Option<&'static str>,
}

impl Say<'_> {
    /// Says the part, and those after it that belong to it.
    fn part(&mut self, part: &Part) {
        let at = part.at.clone();
        self.at += 1;
        match &part.token {
            Token::Letters(_) => self.pieces.written(part),
            Token::Number { whole, fraction } => self.number(at.start, whole, *fraction),
            Token::Clock(parts) => self.pieces.said(at, &clock(parts)),
            Token::Groups(groups) => {
                let said: Vec<_> = groups.iter().map(|group| one_by_one(group, "oh")).collect();
                self.pieces.said(at, &said.join(" "));
            }
            Token::Date(parts) => {
                let said = [year(parts[0]), plain(parts[1]), plain(parts[2])];
                self.pieces.said(at, &said.join(" "));
            }
            Token::Ratio(a, b) => self.pieces.said(at, &ratio(a, b)),
            Token::Symbol(c) => self.symbol(part, *c),
        }
    }

    fn symbol(&mut self, part: &Part, c: char) {
        let at = part.at.clone();
        let number = part_at(self.parts, self.at, |token| match token {
            Token::Number { whole, fraction } => Some((whole.clone(), *fraction)),
            _ => None,
        });
        let letters = part_at(self.parts, self.at, |token| {
            matches!(token, Token::Letters(_)).then_some(())
        });
        let currency = CURRENCIES.iter().find(|row| row.0 == c);
        match (currency, number, c) {
            (Some(&currency), Some((whole, fraction)), _) => {
                self.at += 1;
                self.money(at.start, currency, (&whole, fraction));
            }
            (None, Some(_), '-' | '−' | '–' | '~') => {
                let said = match self.at {
                    1 if c == '~' => "about",
                    1 => "minus",
                    _ => "to",
                };
                self.pieces.said(at, said);
            }
            (None, Some(_), '#') => self.pieces.said(at, "number"),
            (None, None, '#') if letters.is_some() => self.pieces.said(at, "hashtag"),
            (None, None, '.') if letters.is_some() && self.at > 1 => self.pieces.said(at, "dot"),
            _ => match SYMBOLS.iter().find(|row| row.0 == c) {
                Some((_, said)) => self.pieces.said(at, said),
                None => self.pieces.written(part),
            },
        }
    }

    /// A number and the letters after it that change how it is said.
    fn number(&mut self, start: usize, whole: &str, fraction: Option<&str>) {
        let letters = part_at(self.parts, self.at, |token| match token {
            Token::Letters(text) => Some(*text),
            _ => None,
        });
        let lower = letters.map(str::to_ascii_lowercase).unwrap_or_default();
        let end_of = |at: usize| self.parts[at - 1].at.end;
        let number = decimal(whole, fraction);
        let said = match (lower.as_str(), fraction) {
            ("st" | "nd" | "rd" | "th", None) => Some(ordinal(whole)),
            ("s" | "'s" | "’s", None) => Some(plural(&natural(whole))),
            ("k", _) => Some(format!("{number} thousand")),
            ("bn", _) => Some(format!("{number} billion")),
            ("am" | "pm", None) => Some(format!("{number} {} m", &lower[..1])),
            (unit, _) => MEASURES
                .iter()
                .find(|row| row.0 == unit)
                .map(|row| format!("{number} {}", if number == "one" { row.1 } else { row.2 })),
        };
        match said {
            Some(said) => {
                self.at += 1;
                self.pieces.said(start..end_of(self.at), &said);
            }
            None => {
                let end = end_of(self.at);
                // With commas it is no year.
                let said = if end - start == whole.len() {
                    natural(whole)
                } else {
                    number
                };
                self.pieces.said(start..end, &said);
            }
        }
    }

    fn money(
        &mut self,
        start: usize,
        (_, one, many, cents): (char, &'static str, &'static str, bool),
        (whole, fraction): (&str, Option<&str>),
    ) {
        let suffix = part_at(self.parts, self.at, |token| match token {
            Token::Letters("k" | "K") => Some(" thousand"),
            Token::Letters("m" | "M") => Some(" million"),
            Token::Letters("b" | "B" | "bn" | "BN") => Some(" billion"),
            Token::Letters("t" | "T") => Some(" trillion"),
            _ => None,
        });
        let unit = if whole == "1" && fraction.is_none() && suffix.is_none() {
            one
        } else {
            many
        };
        self.at += usize::from(suffix.is_some());
        let last = self.at == self.parts.len();
        let said = match (suffix, fraction) {
            (None, _) if self.magnitude && last => {
                self.owed = Some(many);
                decimal(whole, fraction)
            }
            (None, Some(part)) if cents && part.len() == 2 => {
                let unit = if whole == "1" { one } else { many };
                match (plain(whole), plain(part)) {
                    (whole, part) if part == "zero" => format!("{whole} {unit}"),
                    (whole, part) => format!("{whole} {unit} {part}"),
                }
            }
            (suffix, _) => format!(
                "{}{} {unit}",
                decimal(whole, fraction),
                suffix.unwrap_or("")
            ),
        };
        self.pieces
            .said(start..self.parts[self.at - 1].at.end, &said);
    }
}

/// A number below a thousand.
fn hundreds(number: usize) -> String {
    let (hundred, rest) = (number / 100, number % 100);
    let mut said = Vec::new();
    if hundred > 0 {
        said.push(format!("{} hundred", UNITS[hundred]));
    }
    match rest {
        0 => {}
        1..20 => said.push(UNITS[rest].to_owned()),
        _ if rest % 10 == 0 => said.push(TENS[rest / 10].to_owned()),
        _ => said.push(format!("{} {}", TENS[rest / 10], UNITS[rest % 10])),
    }
    said.join(" ")
}

/// A number from its digits.
fn plain(digits: &str) -> String {
    let trimmed = digits.trim_start_matches('0');
    let (false, Ok(number)) = (
        digits.len() > MAX_DIGITS,
        format!("0{trimmed}").parse::<u64>(),
    ) else {
        return one_by_one(digits, "zero");
    };
    if number == 0 {
        return UNITS[0].to_owned();
    }
    let mut groups = Vec::new();
    let mut rest = number;
    for name in THOUSANDS {
        let group = hundreds((rest % 1000) as usize);
        if !group.is_empty() {
            groups.insert(0, format!("{group} {name}").trim_end().to_owned());
        }
        rest /= 1000;
    }
    groups.join(" ")
}

/// A number as it is most often meant: four digits from 1100 to 2099 are a year, zeros in front are said.
fn natural(digits: &str) -> String {
    match digits.parse::<u32>() {
        Ok(1100..2100) if digits.len() == 4 => year(digits),
        _ if digits.len() > 1 && digits.starts_with('0') => one_by_one(digits, "oh"),
        _ => plain(digits),
    }
}

fn year(digits: &str) -> String {
    let number: usize = digits.parse().unwrap_or(0);
    match (number / 100, number % 100) {
        (11..=99, 0) if !number.is_multiple_of(1000) => {
            format!("{} hundred", hundreds(number / 100))
        }
        (20, 1..=9) => plain(digits),
        (11..=99, small @ 1..=9) => format!("{} oh {}", hundreds(number / 100), UNITS[small]),
        (11..=99, rest @ 10..) => format!("{} {}", hundreds(number / 100), hundreds(rest)),
        _ => plain(digits),
    }
}

fn one_by_one(digits: &str, zero: &str) -> String {
    let said = digits.bytes().map(|digit| match digit {
        b'0' => zero,
        other => UNITS[usize::from(other - b'0')],
    });
    said.collect::<Vec<_>>().join(" ")
}

fn decimal(whole: &str, fraction: Option<&str>) -> String {
    match fraction {
        None => plain(whole),
        Some(digits) => format!("{} point {}", plain(whole), one_by_one(digits, "oh")),
    }
}

fn ordinal(digits: &str) -> String {
    let said = plain(digits);
    let (before, last) = said.rsplit_once(' ').unwrap_or(("", &said));
    let last = match last {
        "one" => "first".to_owned(),
        "two" => "second".to_owned(),
        "three" => "third".to_owned(),
        "five" => "fifth".to_owned(),
        "eight" => "eighth".to_owned(),
        "nine" => "ninth".to_owned(),
        "twelve" => "twelfth".to_owned(),
        other => match other.strip_suffix('y') {
            Some(stem) => format!("{stem}ieth"),
            None => format!("{other}th"),
        },
    };
    format!("{before} {last}").trim_start().to_owned()
}

/// "nineteen ninety" in the plural: "nineteen nineties".
fn plural(said: &str) -> String {
    match said.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if said.ends_with('x') => format!("{said}es"),
        None => format!("{said}s"),
    }
}

fn clock(parts: &[&str]) -> String {
    let hour = plain(parts[0]);
    let minutes = match parts[1] {
        "00" if parts.len() == 2 => String::new(),
        small if small.starts_with('0') => format!(" oh {}", plain(small)),
        other => format!(" {}", plain(other)),
    };
    let seconds = parts
        .get(2)
        .map_or(String::new(), |part| format!(" {}", plain(part)));
    format!("{hour}{minutes}{seconds}")
}

fn ratio(a: &str, b: &str) -> String {
    let part = match (a, b) {
        ("1", "2") => return "one half".to_owned(),
        ("24", "7") => return "twenty four seven".to_owned(),
        (_, "3") if a.len() == 1 => "third".to_owned(),
        (_, "4") if a.len() == 1 => "quarter".to_owned(),
        (_, "5" | "6" | "8" | "10") if a.len() == 1 => ordinal(b),
        _ => return format!("{} {}", plain(a), plain(b)),
    };
    let many = if a == "1" { "" } else { "s" };
    format!("{} {part}{many}", plain(a))
}

#[cfg(test)]
mod tests {
    use super::super::{text, words};

    #[track_caller]
    fn check(cases: &[(&str, &str)]) {
        for (written, want) in cases {
            let list: Vec<_> = written.split(' ').collect();
            assert_eq!(text(&list, "en").join(" "), *want, "{written}");
        }
    }

    #[test]
    fn numbers_are_said() {
        check(&[
            ("0", "zero"),
            ("7", "seven"),
            ("13", "thirteen"),
            ("20", "twenty"),
            ("42", "forty two"),
            ("100", "one hundred"),
            ("115", "one hundred fifteen"),
            ("1000", "one thousand"),
            ("1,234", "one thousand two hundred thirty four"),
            ("1234", "twelve thirty four"),
            ("2,345", "two thousand three hundred forty five"),
            ("10000", "ten thousand"),
            ("1,000,001", "one million one"),
            (
                "1,002,003,004",
                "one billion two million three thousand four",
            ),
            ("007", "oh oh seven"),
            ("3.14", "three point one four"),
            ("0.5", "zero point five"),
            ("2.05", "two point oh five"),
            ("-5", "minus five"),
            ("3-5", "three to five"),
            ("~10", "about ten"),
            ("99999999999999999", &["nine"; 17].join(" ")),
        ]);
    }

    #[test]
    fn ordinals_and_years_are_said() {
        check(&[
            ("1st", "first"),
            ("2nd", "second"),
            ("3rd", "third"),
            ("12th", "twelfth"),
            ("20th", "twentieth"),
            ("21st", "twenty first"),
            ("100th", "one hundredth"),
            ("1999", "nineteen ninety nine"),
            ("1905", "nineteen oh five"),
            ("1900", "nineteen hundred"),
            ("2000", "two thousand"),
            ("2007", "two thousand seven"),
            ("2024", "twenty twenty four"),
            ("1990s", "nineteen nineties"),
            ("2019-2020", "twenty nineteen to twenty twenty"),
            ("2024-03-05", "twenty twenty four three five"),
        ]);
    }

    #[test]
    fn money_units_and_times_are_said() {
        check(&[
            ("$1", "one dollar"),
            ("$3.50", "three dollars fifty"),
            ("$1.00", "one dollar"),
            ("$0.5", "zero point five dollars"),
            ("€20", "twenty euros"),
            ("£1.99", "one pound ninety nine"),
            ("₩1,000", "one thousand won"),
            ("$3M", "three million dollars"),
            ("$2.5bn", "two point five billion dollars"),
            ("$3 million", "three million dollars"),
            (
                "$3.5 billion, please",
                "three point five billion dollars, please",
            ),
            ("50%", "fifty percent"),
            ("99.9%", "ninety nine point nine percent"),
            ("5k", "five thousand"),
            ("5km", "five kilometers"),
            ("1kg", "one kilogram"),
            ("60mph", "sixty miles per hour"),
            ("20°C", "twenty degrees C"),
            ("3:30", "three thirty"),
            ("3:05", "three oh five"),
            ("12:00", "twelve"),
            ("3:30pm", "three thirty pm"),
            ("3pm", "three p m"),
            ("1:02:03", "one oh two three"),
            ("1/2", "one half"),
            ("3/4", "three quarters"),
            ("24/7", "twenty four seven"),
        ]);
    }

    #[test]
    fn telephones_symbols_and_mixtures_are_said() {
        check(&[
            ("555-1234", "five five five one two three four"),
            (
                "800-555-0199",
                "eight oh oh five five five oh one nine nine",
            ),
            ("AT&T", "AT and T"),
            ("me@example.com", "me at example dot com"),
            ("C++", "C plus plus"),
            ("#1", "number one"),
            ("#love", "hashtag love"),
            ("MP3", "MP three"),
            ("4K's", "four K's"),
            ("well-known,", "well-known,"),
            ("don't", "don't"),
            ("...", "..."),
            ("", ""),
        ]);
    }

    #[test]
    fn pieces_know_what_they_stand_for() {
        let pieces = &words(&["($1,234.50)"], "en")[0];
        let said: Vec<_> = pieces
            .iter()
            .map(|p| (p.written.clone(), p.text.trim()))
            .collect();
        assert_eq!(
            said,
            [
                (0..1, "("),
                (1..10, "one thousand two hundred thirty four dollars fifty"),
                (10..11, ")")
            ]
        );
    }
}
