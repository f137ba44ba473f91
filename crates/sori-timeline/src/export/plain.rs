//! Plain text and tab-separated values.

use std::io::Write;

use crate::{Document, TimelineError};

/// Writes the text of each segment on a line of its own.
///
/// # Errors
/// When the output fails.
pub fn txt(document: &Document, out: &mut dyn Write) -> Result<(), TimelineError> {
    for segment in &document.segments {
        writeln!(out, "{}", one_line(&segment.text))?;
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

/// The text without outer space, with each tab or line break as a space: both would break the row.
fn one_line(text: &str) -> String {
    text.trim()
        .replace(['\t', '\n', '\r', '\u{2028}', '\u{2029}'], " ")
}
