//! The space-separated formats of NIST's evaluations.

use std::io::Write;

use super::lines::atoms;
use crate::{Document, TimelineError, Transcript};

/// Writes who spoke when as RTTM: `SPEAKER <recording> 1 <start> <length> <NA> <NA> <speaker> <NA> <NA>`.
///
/// From the turns, or the segments of each speaker where there are none; nothing when speakers are not known. White space
/// in names becomes `_`.
///
/// # Errors
/// When the output fails.
pub fn rttm(
    document: &Document,
    recording: &str,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    let recording = field(recording);
    for turn in Transcript::from(document).turns.unwrap_or_default() {
        let (start, length) = span(turn.start, turn.end);
        let speaker = field(&turn.speaker);
        writeln!(
            out,
            "SPEAKER {recording} 1 {start} {length} <NA> <NA> {speaker} <NA> <NA>"
        )?;
    }
    Ok(())
}

/// Writes the words as CTM: `<recording> 1 <start> <length> <word> <confidence>`, in order of their start.
///
/// A segment without words shares its time out among what its text holds, without confidence.
///
/// # Errors
/// When the output fails.
pub fn ctm(document: &Document, recording: &str, out: &mut dyn Write) -> Result<(), TimelineError> {
    let recording = field(recording);
    let mut rows: Vec<(f64, String)> = Vec::new();
    let mut row = |start: f64, end: f64, word: &str, score: Option<f32>| {
        let (from, length) = span(start, end);
        let word = field(word);
        let score = score.map_or_else(String::new, |score| format!(" {score:.4}"));
        rows.push((
            start,
            format!("{recording} 1 {from} {length} {word}{score}"),
        ));
    };
    for segment in &document.segments {
        for word in &segment.words {
            row(word.start, word.end, &word.word, Some(word.score));
        }
        if segment.words.is_empty() {
            for atom in atoms(segment) {
                row(atom.start, atom.end, atom.text, None);
            }
        }
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (_, row) in rows {
        writeln!(out, "{row}")?;
    }
    Ok(())
}

/// Start and length to 1 ms, such that start and length together are the end.
fn span(start: f64, end: f64) -> (String, String) {
    let whole = |seconds: f64| (seconds * 1e3).round() / 1e3;
    let (start, end) = (whole(start), whole(end));
    (format!("{start:.3}"), format!("{:.3}", end - start))
}

/// A text as one field: no white space, not empty.
fn field(text: &str) -> String {
    let parts: Vec<&str> = text.split_whitespace().collect();
    match parts.is_empty() {
        true => "<NA>".into(),
        false => parts.join("_"),
    }
}
