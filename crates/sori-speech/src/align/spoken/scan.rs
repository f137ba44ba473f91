//! A written word cut into letters, numbers and symbols.

use std::ops::Range;

/// One part of a word and its place in it, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part<'a> {
    pub at: Range<usize>,
    pub token: Token<'a>,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// Letters of one kind, Latin or not, with marks and apostrophes between them.
    Letters(&'a str),
    /// A number: its digits without commas, and those after the decimal point.
    Number {
        whole: String,
        fraction: Option<&'a str>,
    },
    /// A time of day.
    Clock(Vec<&'a str>),
    /// Groups of digits joined by hyphens, as telephone numbers are.
    Groups(Vec<&'a str>),
    /// Year, month and day.
    Date(Vec<&'a str>),
    /// Two numbers with a slash between them.
    Ratio(&'a str, &'a str),
    /// Any other character.
    Symbol(char),
}

/// The parts of a word, which cover all of it.
pub(super) fn scan(word: &str) -> Vec<Part<'_>> {
    let (mut parts, mut at) = (Vec::new(), 0);
    while let Some(c) = word[at..].chars().next() {
        let rest = &word[at..];
        let (token, length) = match c {
            '0'..='9' => digits(rest),
            c if c.is_alphabetic() => {
                let length = letters(rest);
                (Token::Letters(&rest[..length]), length)
            }
            c => (Token::Symbol(c), c.len_utf8()),
        };
        parts.push(Part {
            at: at..at + length,
            token,
        });
        at += length;
    }
    parts
}

fn is_latin(c: char) -> bool {
    c.is_alphabetic() && c < '\u{250}'
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’')
}

/// Length of the letters that text begins with.
fn letters(text: &str) -> usize {
    let latin = text.chars().next().is_some_and(is_latin);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|&(_, next)| next);
        let inside = is_apostrophe(c) && next.is_some_and(char::is_alphabetic);
        let mark = unicode_normalization::char::is_combining_mark(c);
        let same = c.is_alphabetic() && is_latin(c) == latin;
        if !(same || inside || mark) {
            return at;
        }
    }
    text.len()
}

fn run(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit());
    &text[..end.unwrap_or(text.len())]
}

/// Runs of digits with `mark` between them.
fn joined(text: &str, mark: char) -> Vec<&str> {
    let mut groups = vec![run(text)];
    let mut rest = &text[groups[0].len()..];
    while let Some(after) = rest.strip_prefix(mark) {
        let group = run(after);
        if group.is_empty() {
            break;
        }
        groups.push(group);
        rest = &after[group.len()..];
    }
    groups
}

fn width(groups: &[&str]) -> usize {
    groups.iter().map(|group| group.len() + 1).sum::<usize>() - 1
}

fn value(text: &str) -> u32 {
    text.parse().unwrap_or(u32::MAX)
}

/// The token that text beginning with a digit begins with, and its length.
fn digits(text: &str) -> (Token<'_>, usize) {
    let clock = joined(text, ':');
    let minutes = |part: &&str| part.len() == 2 && value(part) < 60;
    if (2..=3).contains(&clock.len()) && value(clock[0]) <= 24 && clock[1..].iter().all(minutes) {
        let length = width(&clock);
        return (Token::Clock(clock), length);
    }
    for mark in ['-', '.', '/'] {
        let parts = joined(text, mark);
        let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
        let date = parts.len() == 3
            && lengths[0] == 4
            && (1..=12).contains(&value(parts[1]))
            && (1..=31).contains(&value(parts[2]));
        let phone = mark != '/'
            && match parts.len() {
                2 => mark == '-' && matches!(lengths[..], [3 | 4, 4]) && !years(&parts),
                3.. => mark == '-' || lengths[1..].iter().all(|&length| length >= 3),
                _ => false,
            };
        let length = width(&parts);
        if date {
            return (Token::Date(parts), length);
        }
        if phone {
            return (Token::Groups(parts), length);
        }
        if mark == '/' && parts.len() == 2 {
            return (Token::Ratio(parts[0], parts[1]), length);
        }
    }
    number(text)
}

/// Whether two groups are years: then a hyphen is "to".
fn years(groups: &[&str]) -> bool {
    groups
        .iter()
        .all(|group| (1000..2200).contains(&value(group)))
}

fn number(text: &str) -> (Token<'_>, usize) {
    let groups = joined(text, ',');
    let grouped = groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
    let groups = if grouped { &groups[..] } else { &groups[..1] };
    let length = width(groups);
    let fraction = text[length..].strip_prefix('.').map(run);
    let fraction = fraction.filter(|digits| !digits.is_empty());
    let token = Token::Number {
        whole: groups.concat(),
        fraction,
    };
    (
        token,
        length + fraction.map_or(0, |digits| digits.len() + 1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, want: &str) {
        let parts = scan(word);
        let mut end = 0;
        for part in &parts {
            assert_eq!(part.at.start, end, "{word}");
            end = part.at.end;
        }
        assert_eq!(end, word.len(), "{word}");
        let show = |part: &Part| match &part.token {
            Token::Letters(text) => (*text).to_owned(),
            Token::Number { whole, fraction } => format!("{whole}.{}", fraction.unwrap_or("")),
            Token::Clock(parts) => format!("clock{parts:?}"),
            Token::Groups(parts) => format!("groups{parts:?}"),
            Token::Date(parts) => format!("date{parts:?}"),
            Token::Ratio(a, b) => format!("{a}over{b}"),
            Token::Symbol(c) => c.to_string(),
        };
        let found: Vec<_> = parts.iter().map(show).collect();
        assert_eq!(found.join(" "), want.replace('\'', "\""), "{word}");
    }

    #[test]
    fn words_are_cut_into_letters_numbers_and_symbols() {
        for (word, want) in [
            ("hello,", "hello ,"),
            ("1,234.5원", "1234.5 원"),
            ("1,23", "1. , 23."),
            ("12,345,678", "12345678."),
            ("3:30", "clock['3', '30']"),
            ("3:75", "3. : 75."),
            ("010-1234-5678", "groups['010', '1234', '5678']"),
            ("555-1234", "groups['555', '1234']"),
            ("2019-2020", "2019. - 2020."),
            ("3-5", "3. - 5."),
            ("2024-03-05", "date['2024', '03', '05']"),
            ("1/2", "1over2"),
            ("AI가", "AI 가"),
            ("3.", "3. ."),
            ("", ""),
        ] {
            check(word, want);
        }
        check("don’t", "don’t");
        assert_eq!(scan("it's").len(), 1);
    }
}
