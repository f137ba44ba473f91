//! Plain text and tables.

use std::io::Write;

use super::dialogue::{clock, paragraphs};
use crate::{AcousticFeatures, Document, TimelineError};

/// Writes the text of each segment on a line of its own; where speakers are known, a dialogue: a line for each change of
/// the speaker, `SPEAKER_00 [00:01]: …`.
///
/// # Errors
/// When the output fails.
pub fn txt(document: &Document, out: &mut dyn Write) -> Result<(), TimelineError> {
    for said in paragraphs(document) {
        match said.speaker {
            None => writeln!(out, "{}", said.text)?,
            Some(speaker) => {
                let (speaker, at) = (one_line(speaker), clock(said.start));
                writeln!(out, "{speaker} [{at}]: {}", said.text)?;
            }
        }
    }
    Ok(())
}

/// Writes `start`, `end` (whole milliseconds) and `text` of each segment, tab-separated under a header, as
/// openai-whisper's `WriteTSV` does.
///
/// # Errors
/// When the output fails.
pub fn tsv(document: &Document, out: &mut dyn Write) -> Result<(), TimelineError> {
    writeln!(out, "start\tend\ttext")?;
    for segment in &document.segments {
        let (start, end) = ((segment.start * 1e3).round(), (segment.end * 1e3).round());
        writeln!(out, "{start:.0}\t{end:.0}\t{}", one_line(&segment.text))?;
    }
    Ok(())
}

/// The columns of [`csv`].
const COLUMNS: &str = "start,end,word,score,speaker,volume_db,pitch_hz,spectral_centroid,spectral_rolloff,\
spectral_bandwidth,spectral_flatness,zero_crossing_rate";

/// Writes a table with one row a word under a header: times in seconds, what it is, how sure, who, and how it sounded.
/// What is not known is empty. A segment without words is one row, with its text in place of the word.
///
/// Comma-separated as in RFC 4180, but for line ends, which are `\n`.
///
/// # Errors
/// When the output fails.
pub fn csv(document: &Document, out: &mut dyn Write) -> Result<(), TimelineError> {
    writeln!(out, "{COLUMNS}")?;
    for segment in &document.segments {
        let speaker = segment.speaker.as_ref().map(|of| of.speaker_id.as_str());
        if segment.words.is_empty() && !segment.text.trim().is_empty() {
            let (times, text) = (times(segment.start, segment.end), cell(&segment.text));
            let features = features(segment.acoustic_features.as_deref());
            let speaker = cell(speaker.unwrap_or(""));
            writeln!(out, "{times},{text},,{speaker}{features}")?;
        }
        for word in &segment.words {
            let (times, text) = (times(word.start, word.end), cell(&word.word));
            let features = features(word.acoustic_features.as_deref());
            let speaker = cell(word.speaker.as_deref().or(speaker).unwrap_or(""));
            let score = value(Some(word.score));
            writeln!(out, "{times},{text}{score},{speaker}{features}")?;
        }
    }
    Ok(())
}

fn times(start: f64, end: f64) -> String {
    format!("{start:.3},{end:.3}")
}

/// The columns from `volume_db` on.
fn features(features: Option<&AcousticFeatures>) -> String {
    let nothing = AcousticFeatures::default();
    let of = features.unwrap_or(&nothing);
    [
        of.volume_db,
        of.pitch_hz,
        of.spectral_centroid,
        of.spectral_rolloff,
        of.spectral_bandwidth,
        of.spectral_flatness,
        of.zero_crossing_rate,
    ]
    .map(value)
    .concat()
}

/// A comma and the value to four decimals, or nothing for what is not known or not finite.
fn value(value: Option<f32>) -> String {
    match value.filter(|value| value.is_finite()) {
        Some(value) => format!(",{}", (f64::from(value) * 1e4).round() / 1e4),
        None => ",".into(),
    }
}

/// A text as one field.
fn cell(text: &str) -> String {
    let text = one_line(text);
    if text.contains([',', '"']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

/// The text without outer space, with each tab or line break as a space: both would break the row.
pub(super) fn one_line(text: &str) -> String {
    text.trim()
        .replace(['\t', '\n', '\r', '\u{2028}', '\u{2029}'], " ")
}
