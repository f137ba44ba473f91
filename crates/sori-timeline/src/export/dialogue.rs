//! What is said as a dialogue: who, from when on, what.

use super::plain::one_line;
use crate::Document;

/// What stands for the speaker of what nobody is known to have said.
const UNKNOWN: &str = "UNKNOWN";

/// What one speaker says without another in between.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Paragraph<'a> {
    /// `None` when the whole document knows no speakers.
    pub speaker: Option<&'a str>,
    pub start: f64,
    pub text: String,
}

/// The paragraphs of a document: consecutive segments of one speaker in one; without speakers, one a segment.
pub(super) fn paragraphs(document: &Document) -> Vec<Paragraph<'_>> {
    let spoken = document
        .segments
        .iter()
        .any(|segment| segment.speaker.is_some());
    let mut paragraphs: Vec<Paragraph> = Vec::new();
    for segment in &document.segments {
        let text = one_line(&segment.text);
        let speaker = segment.speaker.as_ref().map(|of| of.speaker_id.as_str());
        let speaker = spoken.then(|| speaker.unwrap_or(UNKNOWN));
        match paragraphs.last_mut() {
            _ if text.is_empty() => {}
            Some(last) if spoken && last.speaker == speaker => {
                last.text.push(' ');
                last.text.push_str(&text);
            }
            _ => paragraphs.push(Paragraph {
                speaker,
                start: segment.start,
                text,
            }),
        }
    }
    paragraphs
}

/// `minutes:seconds`, with hours in front where there are any; the seconds are cut, not rounded.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = seconds.clamp(0.0, 1e15) as u64;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match hours {
        0 => format!("{minutes:02}:{:02}", seconds % 60),
        _ => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::clock;

    #[test]
    fn clocks_hold_any_hour() {
        for (seconds, text) in [
            (0.0, "00:00"),
            (59.999, "00:59"),
            (61.0, "01:01"),
            (3600.0, "1:00:00"),
            (360_000.0, "100:00:00"),
            (f64::NAN, "00:00"),
            (-1.0, "00:00"),
        ] {
            assert_eq!(clock(seconds), text);
        }
    }
}
