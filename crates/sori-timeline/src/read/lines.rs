//! Formats of one record a line.

use std::collections::BTreeMap;

use super::{Kind, parse, text};
use crate::{TimelineError, Transcript, Turn, Utterance};

/// The largest time in seconds that is believed: some 30 years.
const MAX_SECONDS: f64 = 1e9;

/// Words that NIST's files put in place of text: none of them was said.
const NOT_SAID: [&str; 6] = [
    "ignore_time_segment_in_scoring",
    "inter_segment_gap",
    "<ALT_BEGIN>",
    "<ALT>",
    "<ALT_END>",
    "<NA>",
];

/// The lines that hold records, with their numbers from 1: not the empty ones and not the comments (`;;`).
fn records(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with(";;"))
}

/// What the first records look like; text when they look like nothing else.
pub(super) fn kind(head: &str) -> Kind {
    let Some((_, line)) = records(head).next() else {
        return Kind::Txt;
    };
    let fields: Vec<&str> = line.split_whitespace().collect();
    let time = |at: usize| {
        let field = fields.get(at).and_then(|field| field.parse().ok());
        field.is_some_and(|seconds: f64| seconds.is_finite())
    };
    let count = fields.len();
    if fields[0] == "SPEAKER" && count >= 8 && time(3) && time(4) {
        Kind::Rttm
    } else if count >= 5 && time(3) && time(4) {
        Kind::Stm
    } else if (5..=8).contains(&count) && time(2) && time(3) {
        Kind::Ctm
    } else {
        Kind::Txt
    }
}

/// The field as a time.
fn seconds(line: usize, field: &str, what: &str) -> Result<f64, TimelineError> {
    match field.parse() {
        Ok(seconds) if f64::abs(seconds) <= MAX_SECONDS => Ok(seconds),
        _ => Err(parse(
            line,
            &format!("its {what} is {field:?} and should be a number of seconds"),
        )),
    }
}

/// The fields as a span from one time to another.
fn span(line: usize, start: &str, end: &str) -> Result<(f64, f64), TimelineError> {
    let (start, end) = (seconds(line, start, "start")?, seconds(line, end, "end")?);
    if end < start {
        return Err(parse(line, "it ends before it starts"));
    }
    Ok((start, end))
}

/// The fields as a span from a time on for a length.
fn stretch(line: usize, start: &str, length: &str) -> Result<(f64, f64), TimelineError> {
    let (start, length) = (
        seconds(line, start, "start")?,
        seconds(line, length, "length")?,
    );
    if length < 0.0 {
        return Err(parse(line, "its length is below 0"));
    }
    Ok((start, start + length))
}

pub(super) fn rttm(text: &str) -> Result<Vec<Transcript>, TimelineError> {
    let mut recordings: BTreeMap<&str, Vec<Turn>> = BTreeMap::new();
    for (line, record) in records(text) {
        let fields: Vec<&str> = record.split_whitespace().collect();
        if fields[0] != "SPEAKER" {
            continue;
        }
        if fields.len() < 8 {
            return Err(parse(line, "a SPEAKER line of RTTM has at least 8 fields"));
        }
        let (start, end) = stretch(line, fields[3], fields[4])?;
        let speaker = fields[7].to_owned();
        let turns = recordings.entry(fields[1]).or_default();
        turns.push(Turn {
            start,
            end,
            speaker,
        });
    }
    // A file in which nobody speaks is about a recording all the same.
    if recordings.is_empty() {
        recordings.insert("", Vec::new());
    }
    let transcript = |(recording, turns): (&str, Vec<Turn>)| Transcript {
        recording: recording.to_owned(),
        turns: Some(turns),
        ..Transcript::default()
    };
    Ok(recordings.into_iter().map(transcript).collect())
}

pub(super) fn stm(text: &str) -> Result<Vec<Transcript>, TimelineError> {
    let mut recordings: BTreeMap<&str, Vec<Utterance>> = BTreeMap::new();
    for (line, record) in records(text) {
        let mut rest = record;
        let mut fields = [""; 5];
        for field in &mut fields {
            let (first, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            (*field, rest) = (first, tail.trim_start());
        }
        if fields[4].is_empty() {
            return Err(parse(line, "a line of STM has at least 5 fields"));
        }
        let (start, end) = span(line, fields[3], fields[4])?;
        if rest.starts_with('<')
            && let Some((_, said)) = rest.split_once('>')
        {
            rest = said.trim_start();
        }
        let utterances = recordings.entry(fields[0]).or_default();
        if NOT_SAID.iter().any(|tag| rest.eq_ignore_ascii_case(tag)) {
            continue;
        }
        utterances.push(Utterance {
            speaker: fields[2].to_owned(),
            start,
            end,
            text: rest.to_owned(),
        });
    }
    Ok(timed(recordings))
}

pub(super) fn ctm(text: &str) -> Result<Vec<Transcript>, TimelineError> {
    let mut recordings: BTreeMap<&str, Vec<Utterance>> = BTreeMap::new();
    for (line, record) in records(text) {
        let fields: Vec<&str> = record.split_whitespace().collect();
        if fields.len() < 5 {
            return Err(parse(line, "a line of CTM has at least 5 fields"));
        }
        let words = recordings.entry(fields[0]).or_default();
        if NOT_SAID.contains(&fields[4]) {
            continue;
        }
        let (start, end) = stretch(line, fields[2], fields[3])?;
        // Confidence, type and speaker are optional (NIST RT-09).
        let speaker = fields.get(7).filter(|speaker| **speaker != "<NA>");
        words.push(Utterance {
            speaker: speaker.copied().unwrap_or_default().to_owned(),
            start,
            end,
            text: fields[4].to_owned(),
        });
    }
    Ok(timed(recordings))
}

/// A transcript for each recording; one without name when nothing is said.
fn timed(mut recordings: BTreeMap<&str, Vec<Utterance>>) -> Vec<Transcript> {
    if recordings.is_empty() {
        recordings.insert("", Vec::new());
    }
    recordings
        .into_iter()
        .map(|(recording, said)| Transcript::of(recording.to_owned(), said, true))
        .collect()
}

/// Each line an utterance; of a line such as `SPEAKER_00 [00:01]: …` the speaker is told from the text.
pub(super) fn txt(text: &str) -> Transcript {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let utterance = |line| {
        let (speaker, said) = dialogue(line).unwrap_or(("", line));
        Utterance {
            speaker: speaker.to_owned(),
            text: said.to_owned(),
            ..Utterance::default()
        }
    };
    Transcript::of(String::new(), lines.map(utterance).collect(), false)
}

/// Speaker and text of a line of [`crate::export::txt`].
fn dialogue(line: &str) -> Option<(&str, &str)> {
    let (head, said) = line.split_once("]: ").or_else(|| line.split_once("]:"))?;
    let (speaker, clock) = head.rsplit_once(" [")?;
    let parts: Vec<&str> = clock.split(':').collect();
    let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_clock = (2..=3).contains(&parts.len()) && parts.iter().all(digits);
    let speaker = if speaker == "UNKNOWN" { "" } else { speaker };
    is_clock.then_some((speaker, said))
}

/// Reads the stretches of each recording that are to be scored: `<recording> <channel> <start> <end>` a line (NIST UEM).
///
/// # Errors
/// As for [`super::read`].
pub fn uem(bytes: &[u8]) -> Result<BTreeMap<String, Vec<(f64, f64)>>, TimelineError> {
    let mut stretches: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (line, record) in records(text(bytes)?) {
        let fields: Vec<&str> = record.split_whitespace().collect();
        if fields.len() < 4 {
            return Err(parse(line, "a line of UEM has 4 fields"));
        }
        let of = stretches.entry(fields[0].to_owned()).or_default();
        of.push(span(line, fields[2], fields[3])?);
    }
    Ok(stretches)
}
