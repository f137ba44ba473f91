//! Korean: Sino-Korean numbers, native ones before counters, letters by their names.

use std::ops::Range;

use super::super::vocabulary::UNKNOWN;
use super::scan::{Part, Token};
use super::{Kind, MAX_DIGITS, Piece, Pieces, part_at};

const DIGITS: [&str; 10] = ["영", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구"];
const PLACES: [&str; 4] = ["", "십", "백", "천"];
const MYRIADS: [&str; 4] = ["", "만", "억", "조"];
const NATIVE: [&str; 10] = [
    "", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉",
];
const NATIVE_TENS: [&str; 10] = [
    "", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔",
];

/// Counters that take native numbers, and up to which number people say them so.
const COUNTERS: [(&str, usize); 56] = [
    ("살", 99),
    ("시", 12),
    ("시간", 24),
    ("번째", 99),
    ("번", 9),
    ("대", 9),
    ("배", 9),
    ("개", 29),
    ("명", 29),
    ("사람", 29),
    ("분이", 9),
    ("마리", 29),
    ("잔", 29),
    ("병", 29),
    ("권", 29),
    ("장", 29),
    ("가지", 29),
    ("달", 29),
    ("해", 9),
    ("켤레", 29),
    ("벌", 29),
    ("그루", 29),
    ("송이", 29),
    ("채", 29),
    ("척", 29),
    ("자루", 29),
    ("군데", 29),
    ("곳", 29),
    ("바퀴", 29),
    ("줄", 29),
    ("통", 29),
    ("판", 29),
    ("끼", 29),
    ("방울", 29),
    ("조각", 29),
    ("그릇", 29),
    ("접시", 29),
    ("쌍", 29),
    ("건", 29),
    ("차례", 29),
    ("모금", 29),
    ("숟가락", 29),
    ("스푼", 29),
    ("포기", 29),
    ("다발", 29),
    ("봉지", 29),
    ("상자", 29),
    ("팀", 29),
    ("편", 29),
    ("곡", 29),
    ("마디", 29),
    ("걸음", 29),
    ("입", 9),
    ("알", 29),
    ("박스", 29),
    ("컵", 29),
];
/// First syllables of what follows a counter that is really one: particles and suffixes.
const PARTICLES: &str =
    "을를이가은는의에로으와과도만씩째쯤정간반밖까부당전후동안마보였입짜나여내미더인중";
const CURRENCIES: [(char, &str); 5] = [
    ('$', "달러"),
    ('€', "유로"),
    ('£', "파운드"),
    ('₩', "원"),
    ('¥', "엔"),
];
const SYMBOLS: [(char, &str); 10] = [
    ('&', "앤드"),
    ('@', "골뱅이"),
    ('+', "플러스"),
    ('=', "이퀄"),
    ('%', "퍼센트"),
    ('#', "샵"),
    ('°', "도"),
    ('℃', "도"),
    ('㎡', "제곱미터"),
    ('×', "곱하기"),
];
const MEASURES: [(&str, &str); 22] = [
    ("km", "킬로미터"),
    ("m", "미터"),
    ("cm", "센티미터"),
    ("mm", "밀리미터"),
    ("kg", "킬로그램"),
    ("g", "그램"),
    ("mg", "밀리그램"),
    ("t", "톤"),
    ("l", "리터"),
    ("ml", "밀리리터"),
    ("kb", "킬로바이트"),
    ("mb", "메가바이트"),
    ("gb", "기가바이트"),
    ("tb", "테라바이트"),
    ("hz", "헤르츠"),
    ("khz", "킬로헤르츠"),
    ("mhz", "메가헤르츠"),
    ("ghz", "기가헤르츠"),
    ("kw", "킬로와트"),
    ("w", "와트"),
    ("v", "볼트"),
    ("ms", "밀리초"),
];
/// Names of the Latin letters.
const LETTERS: [&str; 26] = [
    "에이",
    "비",
    "씨",
    "디",
    "이",
    "에프",
    "지",
    "에이치",
    "아이",
    "제이",
    "케이",
    "엘",
    "엠",
    "엔",
    "오",
    "피",
    "큐",
    "알",
    "에스",
    "티",
    "유",
    "브이",
    "더블유",
    "엑스",
    "와이",
    "제트",
];
/// The longest word in capitals that is spelled.
const MAX_SPELLED: usize = 5;

pub(super) fn words(words: &[&str], scanned: &[Vec<Part>]) -> Vec<Vec<Piece>> {
    let one = |(index, word): (usize, &&str)| {
        let next = scanned.get(index + 1).and_then(|parts| parts.first());
        let mut say = Say {
            pieces: Pieces::new(word),
            parts: &scanned[index],
            next: next.map(|part| &part.token),
            at: 0,
        };
        while let Some(part) = say.parts.get(say.at) {
            say.at += 1;
            say.part(part);
        }
        say.pieces.list
    };
    words.iter().enumerate().map(one).collect()
}

/// One word being said.
struct Say<'a> {
    pieces: Pieces<'a>,
    parts: &'a [Part<'a>],
    /// What the next word begins with.
    next: Option<&'a Token<'a>>,
    at: usize,
}

impl<'a> Say<'a> {
    /// Says the part, and those after it that belong to it.
    fn part(&mut self, part: &Part) {
        let at = part.at.clone();
        match &part.token {
            Token::Letters(text) => match letters(text) {
                Some(said) => self.pieces.push(at, said, Kind::Letters),
                None => self.pieces.written(part),
            },
            Token::Number { whole, fraction } => {
                let sign = self.at.checked_sub(2).map(|before| &self.parts[before]);
                let sign = sign.and_then(|sign| Some((sign.at.start, currency(sign)?)));
                let start = sign.map_or(at.start, |(start, _)| start);
                self.number(start..at.end, whole, *fraction);
                if let Some((start, unit)) = sign {
                    self.pieces.said(start..at.end, unit);
                }
            }
            Token::Clock(parts) => self.pieces.said(at, &clock(parts)),
            Token::Groups(groups) => {
                let said: Vec<_> = groups.iter().map(|group| one_by_one(group, "공")).collect();
                self.pieces.said(at, &said.join(" "));
            }
            Token::Date(parts) => {
                let [year, month, day] = [0, 1, 2].map(|i| parts[i]);
                let said = format!(
                    "{} 년 {}월 {} 일",
                    sino(year),
                    self::month(month),
                    sino(day)
                );
                self.pieces.said(at, &said);
            }
            Token::Ratio(a, b) => self
                .pieces
                .said(at, &format!("{}분의 {}", sino(b), sino(a))),
            Token::Symbol(c) => self.symbol(part, *c),
        }
    }

    fn symbol(&mut self, part: &Part, c: char) {
        let number = matches!(self.token(), Some(Token::Number { .. }));
        let latin = matches!(self.token(), Some(Token::Letters(text)) if letters(text).is_some());
        let inside = self.at > 1;
        let said = match c {
            // Said after its number.
            _ if number && currency(part).is_some() => return,
            '-' | '−' if number && !inside => "마이너스",
            '-' | '−' | '–' | '~' | '∼' if number && inside => "에서",
            '~' | '∼' if number => "약",
            '.' if latin && inside => "닷",
            _ => SYMBOLS
                .iter()
                .find(|row| row.0 == c)
                .map_or("", |row| row.1),
        };
        match said {
            "" => self.pieces.written(part),
            said => self.pieces.said(part.at.clone(), said),
        }
        // "20°C" is 이십 도.
        if c == '°' && matches!(self.token(), Some(Token::Letters("C"))) {
            self.at += 1;
        }
    }

    /// The token that comes next in this word.
    fn token(&self) -> Option<&'a Token<'a>> {
        part_at(self.parts, self.at, Some)
    }

    /// A number; what it counts decides how it is said.
    fn number(&mut self, at: Range<usize>, whole: &str, fraction: Option<&str>) {
        let last = self.at == self.parts.len();
        let after = match self.token().or(self.next.filter(|_| last)) {
            Some(Token::Letters(text)) => *text,
            _ => "",
        };
        let first = after.chars().next().unwrap_or(' ');
        if let Some(digits) = fraction {
            let said = format!("{} 점 {}", sino(whole), one_by_one(digits, "영"));
            self.pieces.said(at, &said);
            return self.unit(after, last);
        }
        match first {
            // "1만" is said 만, and "1억" 일억.
            '십' | '백' | '천' | '만' if whole == "1" && !last => {}
            '십' | '백' | '천' | '만' | '억' | '조' if !last => {
                self.pieces.joined(at, &sino(whole))
            }
            '월' => self.pieces.joined(at, &month(whole)),
            _ if whole.len() > 1 && whole.starts_with('0') => {
                self.pieces.said(at, &one_by_one(whole, "공"));
            }
            _ => {
                let said = match (native(whole, after), after.starts_with("번째")) {
                    (Some(said), true) if said == "한" => "첫".to_owned(),
                    (Some(said), _) => said,
                    (None, _) => sino(whole),
                };
                self.pieces.said(at, &said);
            }
        }
        self.unit(after, last);
    }

    /// The unit after a number, in Latin letters.
    fn unit(&mut self, letters: &str, last: bool) {
        let lower = letters.to_ascii_lowercase();
        let measure = MEASURES.iter().find(|row| row.0 == lower);
        if let (Some((_, said)), false) = (measure, last) {
            self.pieces.said(self.parts[self.at].at.clone(), said);
            self.at += 1;
        }
    }
}

fn currency(part: &Part) -> Option<&'static str> {
    let Token::Symbol(sign) = part.token else {
        return None;
    };
    CURRENCIES.iter().find(|row| row.0 == sign).map(|row| row.1)
}

/// A number from its digits in Sino-Korean.
fn sino(digits: &str) -> String {
    let trimmed = digits.trim_start_matches('0');
    if trimmed.len() > MAX_DIGITS {
        return one_by_one(digits, "영");
    }
    if trimmed.is_empty() {
        return DIGITS[0].to_owned();
    }
    let (mut said, count) = (String::new(), trimmed.len());
    let mut group = String::new();
    for (index, digit) in trimmed.bytes().enumerate() {
        let (place, digit) = (count - 1 - index, usize::from(digit - b'0'));
        if digit > 1 || (digit == 1 && place % 4 == 0) {
            group.push_str(DIGITS[digit]);
        }
        if digit > 0 {
            group.push_str(PLACES[place % 4]);
        }
        if place % 4 == 0 && !group.is_empty() {
            // Ten thousand is 만, not 일만.
            let bare = place == 4 && group == "일" && said.is_empty();
            said.push_str(if bare { "" } else { &group });
            said.push_str(MYRIADS[place / 4]);
            group.clear();
        }
    }
    said
}

/// A number in native Korean as it stands before a counter; `None` when `after` is no counter that takes one.
fn native(digits: &str, after: &str) -> Option<String> {
    let number: usize = digits
        .parse()
        .ok()
        .filter(|&number| (1..100).contains(&number))?;
    let fits = |(counter, most): &&(&str, usize)| {
        let rest = after.strip_prefix(counter);
        let particle = |rest: &str| rest.chars().next().is_none_or(|c| PARTICLES.contains(c));
        number <= *most && rest.is_some_and(particle)
    };
    COUNTERS.iter().find(fits)?;
    Some(match number {
        20 => "스무".to_owned(),
        _ => format!("{}{}", NATIVE_TENS[number / 10], NATIVE[number % 10]),
    })
}

/// A month's number: 유월 and 시월 are irregular.
fn month(digits: &str) -> String {
    match digits.trim_start_matches('0') {
        "6" => "유".to_owned(),
        "10" => "시".to_owned(),
        other => sino(other),
    }
}

fn one_by_one(digits: &str, zero: &str) -> String {
    let said = digits.bytes().map(|digit| match digit {
        b'0' => zero,
        other => DIGITS[usize::from(other - b'0')],
    });
    said.collect()
}

fn clock(parts: &[&str]) -> String {
    let hour = native(parts[0].trim_start_matches('0'), "시").unwrap_or_else(|| sino(parts[0]));
    let mut said = format!("{hour} 시");
    for (part, unit) in parts[1..].iter().zip(["분", "초"]) {
        if *part != "00" {
            said.push_str(&format!(" {} {unit}", sino(part)));
        }
    }
    said
}

/// How Latin letters are said: capitals by their names, others in as many unknown syllables as they have groups of vowels.
fn letters(text: &str) -> Option<String> {
    if !text.starts_with(|c: char| c.is_alphabetic() && c < '\u{250}') {
        return None;
    }
    let name = |c: char| LETTERS[usize::from(c as u8 - b'A')];
    let capitals = text.chars().all(|c| c.is_ascii_uppercase()) && text.len() <= MAX_SPELLED;
    if capitals {
        return Some(text.chars().map(name).collect());
    }
    if text.len() == 1 && text.is_ascii() {
        return Some(name(text.chars().next()?.to_ascii_uppercase()).to_owned());
    }
    let vowel = |c: char| "aeiouy".contains(c.to_ascii_lowercase()) || !c.is_ascii();
    let mut before = false;
    let groups = text
        .chars()
        .filter(|&c| !std::mem::replace(&mut before, vowel(c)) && vowel(c));
    Some(String::from(UNKNOWN).repeat(groups.count().max(1)))
}

#[cfg(test)]
mod tests {
    use super::super::super::vocabulary::UNKNOWN;
    use super::super::{text, words};

    #[track_caller]
    fn check(cases: &[(&str, &str)]) {
        for (written, want) in cases {
            let list: Vec<_> = written.split(' ').collect();
            assert_eq!(text(&list, "ko").join(" "), *want, "{written}");
        }
    }

    #[test]
    fn numbers_are_said() {
        check(&[
            ("0", "영"),
            ("7", "칠"),
            ("10", "십"),
            ("11", "십일"),
            ("21", "이십일"),
            ("100", "백"),
            ("110", "백십"),
            ("1000", "천"),
            ("1234", "천이백삼십사"),
            ("10000", "만"),
            ("15,000", "만오천"),
            ("110000", "십일만"),
            ("100000000", "일억"),
            ("123456789", "일억이천삼백사십오만육천칠백팔십구"),
            ("1000000010000", "일조일만"),
            ("3만", "삼만"),
            ("1만", "만"),
            ("1억", "일억"),
            ("5천만", "오천만"),
            ("3.5", "삼 점 오"),
            ("0.05", "영 점 영오"),
            ("-5", "마이너스 오"),
            ("3~5", "삼 에서 오"),
            ("007", "공공칠"),
            ("1/2", "이분의 일"),
            ("제3회", "제 삼 회"),
            ("99999999999999999", &"구".repeat(17)),
        ]);
    }

    #[test]
    fn counters_decide_the_kind_of_number() {
        check(&[
            ("3개", "세 개"),
            ("3개를", "세 개를"),
            ("3 개", "세 개"),
            ("3개월", "삼 개월"),
            ("2명", "두 명"),
            ("2명이", "두 명이"),
            ("20살", "스무 살"),
            ("21살", "스물한 살"),
            ("35살이", "서른다섯 살이"),
            ("4마리", "네 마리"),
            ("12시", "열두 시"),
            ("13시", "십삼 시"),
            ("1시 15분", "한 시 십오 분"),
            ("3시간", "세 시간"),
            ("3 시작", "삼 시작"),
            ("1번째", "첫 번째"),
            ("2번째", "두 번째"),
            ("5번지", "오 번지"),
            ("20대", "이십 대"),
            ("3대", "세 대"),
            ("100명", "백 명"),
            ("3층", "삼 층"),
            ("5분", "오 분"),
            ("30초", "삼십 초"),
            ("1,234원", "천이백삼십사 원"),
        ]);
    }

    #[test]
    fn dates_times_and_telephones_are_said() {
        check(&[
            ("2024년", "이천이십사 년"),
            ("3월 5일", "삼월 오 일"),
            ("6월 10월", "유월 시월"),
            ("2024-06-05", "이천이십사 년 유월 오 일"),
            ("3:30", "세 시 삼십 분"),
            ("15:00", "십오 시"),
            ("1:15:30", "한 시 십오 분 삼십 초"),
            ("00:05", "영 시 오 분"),
            ("010-1234-5678", "공일공 일이삼사 오육칠팔"),
            ("02-345-6789", "공이 삼사오 육칠팔구"),
        ]);
    }

    #[test]
    fn symbols_units_and_letters_are_said() {
        check(&[
            ("50%", "오십 퍼센트"),
            ("3.5%가", "삼 점 오 퍼센트 가"),
            ("$3", "삼 달러"),
            ("₩1,000", "천 원"),
            ("5km", "오 킬로미터"),
            ("2.5kg을", "이 점 오 킬로그램 을"),
            ("20°C", "이십 도"),
            ("16GB", "십육 기가바이트"),
            ("AI", "에이아이"),
            ("API가", "에이피아이가"),
            ("ABC마트", "에이비씨마트"),
            ("x축", "엑스축"),
            ("A+B", "에이 플러스 비"),
            ("R&D", "알 앤드 디"),
            ("안녕하세요.", "안녕하세요."),
            ("", ""),
        ]);
        assert_eq!(text(&["Python을"], "ko"), [format!("{UNKNOWN}{UNKNOWN}을")]);
        assert_eq!(
            text(&["naver.com"], "ko"),
            [format!("{UNKNOWN}{UNKNOWN} 닷 {UNKNOWN}")]
        );
    }

    #[test]
    fn pieces_know_what_they_stand_for() {
        let pieces = &words(&["약$1,234을"], "ko")[0];
        let said: Vec<_> = pieces
            .iter()
            .map(|p| (p.written.clone(), p.text.trim()))
            .collect();
        assert_eq!(
            said,
            [
                (0..3, "약"),
                (3..9, "천이백삼십사"),
                (3..9, "달러"),
                (9..12, "을")
            ]
        );
    }
}
