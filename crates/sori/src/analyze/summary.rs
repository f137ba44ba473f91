//! What `sori analyze` shows of a document: the dialogue and a table of the speakers.

use std::io::{Write, stdout};

use sori_timeline::Document;

use crate::hear::stamp;

/// Widest bar of the share of talk, in columns.
const BAR: usize = 24;

/// Prints the dialogue and who spoke how much. A closed pipe is the reader's choice, not an error.
pub fn print(file: &str, suffix: &str, document: &Document) {
    let _ = write(file, suffix, document);
}

fn write(file: &str, suffix: &str, document: &Document) -> std::io::Result<()> {
    let mut out = stdout().lock();
    let people = match document.speakers.len() {
        0 => String::new(),
        1 => ", 1 speaker".to_owned(),
        n => format!(", {n} speakers"),
    };
    writeln!(
        out,
        "{file}{suffix}  {} · {}{people}",
        stamp(document.duration),
        document.language
    )?;
    if document.segments.is_empty() {
        return writeln!(out, "  no speech was found");
    }
    writeln!(out)?;
    let mut before = None;
    for segment in &document.segments {
        let who = segment.speaker.as_ref().map(|s| s.speaker_id.as_str());
        if who.is_some() && who != before {
            writeln!(out, "  {}", who.unwrap_or_default())?;
        }
        before = who;
        writeln!(out, "  {}  {}", stamp(segment.start), segment.text)?;
    }
    if document.speakers.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    for (name, speaker) in &document.speakers {
        let bar = "█".repeat((speaker.share * BAR as f32).round() as usize);
        let pitch = speaker.acoustic_features.as_ref().and_then(|a| a.pitch_hz);
        let pitch = pitch.map_or_else(String::new, |hz| format!(", {hz:.0} Hz"));
        let rate = speaker.delivery.as_ref().map(|d| d.words_per_minute);
        let rate = rate.map_or_else(String::new, |wpm| format!(", {wpm:.0} words/min"));
        writeln!(
            out,
            "  {name:<12} {bar:<BAR$} {:>3.0} %  {:.1} s in {} turns{rate}{pitch}",
            speaker.share * 100.0,
            speaker.total_duration,
            speaker.turns
        )?;
    }
    Ok(())
}
