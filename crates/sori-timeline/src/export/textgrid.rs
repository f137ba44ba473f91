//! Praat's TextGrid.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

use super::{cues::milliseconds, plain::one_line};
use crate::{Document, TimelineError, Transcript, transcript::speakers};

/// Intervals of a tier in whole milliseconds; they touch or leave gaps, and never overlap.
type Tier = Vec<(u64, u64, String)>;

/// Writes a Praat TextGrid (long text format, UTF-8).
///
/// Two interval tiers for each speaker, named as the Montreal Forced Aligner does: `SPEAKER_00 - segments` and
/// `SPEAKER_00 - words`; then `speakers`, in which `A + B` stands where both talk. What has no speaker, which is all when
/// speakers are not known, is in `segments` and `words`. What overlaps within a tier is cut where the next begins.
///
/// # Errors
/// When the output fails.
pub fn textgrid(document: &Document, out: &mut dyn Write) -> Result<(), TimelineError> {
    let mut tiers: BTreeMap<(&str, &str), Tier> = BTreeMap::new();
    for segment in &document.segments {
        let speaker = segment
            .speaker
            .as_ref()
            .map_or("", |of| of.speaker_id.as_str());
        let tier = tiers.entry((speaker, "segments")).or_default();
        tier.push(interval(segment.start, segment.end, &segment.text));
        for word in &segment.words {
            let speaker = word.speaker.as_deref().unwrap_or(speaker);
            let tier = tiers.entry((speaker, "words")).or_default();
            tier.push(interval(word.start, word.end, &word.word));
        }
    }
    let mut named: Vec<(String, Tier)> = Vec::new();
    for ((speaker, what), tier) in tiers {
        let name = match speaker {
            "" => what.to_owned(),
            speaker => format!("{} - {what}", one_line(speaker)),
        };
        named.push((name, tier));
    }
    let turns = talking(document);
    if !turns.is_empty() {
        named.push(("speakers".into(), turns));
    }
    if named.is_empty() {
        named.push(("segments".into(), Tier::new()));
    }
    let ends = named
        .iter()
        .flat_map(|(_, tier)| tier.iter().map(|interval| interval.1));
    // Praat knows no grid without length.
    let end = ends
        .chain([milliseconds(document.duration), 1])
        .max()
        .unwrap_or(1);
    let mut text = String::from("File type = \"ooTextFile\"\nObject class = \"TextGrid\"\n\n");
    let size = named.len();
    let _ = write!(
        text,
        "xmin = 0 \nxmax = {} \ntiers? <exists> \nsize = {size} \nitem []: \n",
        Seconds(end)
    );
    for (at, (name, tier)) in named.into_iter().enumerate() {
        write_tier(&mut text, at + 1, &name, &filled(tier, end));
    }
    Ok(out.write_all(text.as_bytes())?)
}

fn interval(start: f64, end: f64, text: &str) -> (u64, u64, String) {
    (milliseconds(start), milliseconds(end), one_line(text))
}

/// Who talks when: an interval for each stretch in which the same speakers talk.
fn talking(document: &Document) -> Tier {
    let turns = Transcript::from(document).turns.unwrap_or_default();
    let names = speakers(turns.iter().map(|turn| turn.speaker.as_str()));
    let mut edges: Vec<(u64, bool, &str)> = Vec::new();
    for turn in &turns {
        let (start, end) = (milliseconds(turn.start), milliseconds(turn.end));
        if end > start {
            edges.extend([
                (start, true, turn.speaker.as_str()),
                (end, false, &turn.speaker),
            ]);
        }
    }
    edges.sort();
    let mut open: BTreeMap<&str, usize> = names.into_iter().map(|name| (name, 0)).collect();
    let mut tier = Tier::new();
    let mut from = 0;
    for (at, begins, speaker) in edges {
        let who: Vec<String> = open
            .iter()
            .filter(|(_, turns)| **turns > 0)
            .map(|(name, _)| one_line(name))
            .collect();
        if at > from && !who.is_empty() {
            let who = who.join(" + ");
            match tier.last_mut() {
                Some(last) if last.1 == from && last.2 == who => last.1 = at,
                _ => tier.push((from, at, who)),
            }
        }
        from = at;
        let turns = open
            .get_mut(speaker)
            .expect("every speaker of a turn is among the names");
        match begins {
            true => *turns += 1,
            false => *turns -= 1,
        }
    }
    tier
}

/// The tier without gaps or overlaps from 0 to `end`: what is between is an interval without text, what begins before
/// the one in front ends cuts it, what has no length gets a millisecond or joins the one in front.
fn filled(mut tier: Tier, end: u64) -> Tier {
    tier.retain(|interval| !interval.2.is_empty());
    tier.sort_by_key(|interval| interval.0);
    let mut filled = Tier::new();
    for at in 0..tier.len() {
        let next = tier.get(at + 1).map_or(end, |next| next.0.min(end));
        let (start, stop, text) = &mut tier[at];
        let free = filled.last().map_or(0, |last: &(u64, u64, String)| last.1);
        let start = (*start).min(end - 1).max(free);
        let stop = (*stop).min(next).max(start + 1).min(end);
        if stop <= start {
            if let Some(last) = filled.last_mut() {
                last.2.push(' ');
                last.2.push_str(text);
            }
            continue;
        }
        if start > free {
            filled.push((free, start, String::new()));
        }
        filled.push((start, stop, std::mem::take(text)));
    }
    let free = filled.last().map_or(0, |last| last.1);
    if free < end {
        filled.push((free, end, String::new()));
    }
    filled
}

fn write_tier(text: &mut String, number: usize, name: &str, tier: &Tier) {
    let (name, size) = (name.replace('"', "\"\""), tier.len());
    let end = Seconds(tier.last().map_or(0, |last| last.1));
    let _ = write!(
        text,
        "    item [{number}]:\n        class = \"IntervalTier\" \n        name = \"{name}\" \n        xmin = 0 \n        \
         xmax = {end} \n        intervals: size = {size} \n"
    );
    for (at, (start, stop, said)) in tier.iter().enumerate() {
        let (at, start, stop) = (at + 1, Seconds(*start), Seconds(*stop));
        let said = said.replace('"', "\"\"");
        let _ = write!(
            text,
            "        intervals [{at}]:\n            xmin = {start} \n            xmax = {stop} \n            \
             text = \"{said}\" \n"
        );
    }
}

/// Milliseconds, written as seconds without a rounding error.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 % 1000 {
            0 => write!(f, "{}", self.0 / 1000),
            rest => write!(f, "{}.{rest:03}", self.0 / 1000),
        }
    }
}
