//! SubRip and WebVTT.

use std::{borrow::Cow, io::Write};

use super::{
    CueOptions,
    cues::{Cue, cues, milliseconds},
    lines::Atom,
};
use crate::{Document, TimelineError};

/// Writes SubRip subtitles. With `highlight_words`, one cue a word with that word underlined, as openai-whisper does.
///
/// A known speaker stands in front as WhisperX writes it, `[SPEAKER_00]: `. SubRip knows no escapes: `-->` is written `->`, and `&` and `<` stand as they are.
///
/// # Errors
/// [`crate::ErrorKind::Option`] for options out of range, [`crate::ErrorKind::Write`] when the output fails.
pub fn srt(
    document: &Document,
    options: &CueOptions,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    let mut number = 0;
    let mut entry = |start: u64, end: u64, text: &str| {
        number += 1;
        let (start, end) = (clock(start, ','), clock(end, ','));
        let mut text = Cow::from(text);
        while text.contains("-->") {
            text = text.replace("-->", "->").into();
        }
        write!(out, "{number}\n{start} --> {end}\n{text}\n\n")
    };
    for cue in cues(document, options)? {
        let prefix = cue
            .speaker
            .map_or_else(String::new, |speaker| format!("[{}]: ", flat(speaker)));
        let plain = prefix.clone() + &render(&cue, |_, atom| flat(atom.text));
        if !options.highlight_words {
            entry(cue.start_ms, cue.end_ms, &plain)?;
            continue;
        }
        let mut shown = cue.start_ms;
        for (index, atom) in cue.atoms.iter().enumerate() {
            let start = milliseconds(atom.start).clamp(shown, cue.end_ms);
            let end = milliseconds(atom.end).clamp(start, cue.end_ms);
            if start > shown {
                entry(shown, start, &plain)?;
            }
            if end > start {
                let text = render(&cue, |at, atom| match flat(atom.text) {
                    text if at == index => format!("<u>{text}</u>").into(),
                    text => text,
                });
                entry(start, end, &(prefix.clone() + &text))?;
            }
            shown = end;
        }
        if cue.end_ms > shown {
            entry(shown, cue.end_ms, &plain)?;
        }
    }
    Ok(())
}

/// Writes WebVTT subtitles, with a voice tag (`<v SPEAKER_00>`) where the speaker is known. With `highlight_words`, a time
/// tag stands in front of each word that starts inside its cue.
///
/// # Errors
/// [`crate::ErrorKind::Option`] for options out of range, [`crate::ErrorKind::Write`] when the output fails.
pub fn vtt(
    document: &Document,
    options: &CueOptions,
    out: &mut dyn Write,
) -> Result<(), TimelineError> {
    writeln!(out, "WEBVTT\n")?;
    for cue in cues(document, options)? {
        // W3C WebVTT 4.2.2: a time tag is later than the cue's start and the tag in front of it, and before its end.
        let mut last = cue.start_ms;
        let text = render(&cue, |_, atom| {
            let at = milliseconds(atom.start);
            let text = vtt_text(atom.text);
            if options.highlight_words && at > last && at < cue.end_ms {
                last = at;
                return format!("<{}>{text}", clock(at, '.')).into();
            }
            text
        });
        let (start, end) = (clock(cue.start_ms, '.'), clock(cue.end_ms, '.'));
        let voice = cue
            .speaker
            .map_or_else(String::new, |speaker| format!("<v {}>", vtt_text(speaker)));
        write!(out, "{start} --> {end}\n{voice}{text}\n\n")?;
    }
    Ok(())
}

fn render<'a>(cue: &Cue<'a>, mut show: impl FnMut(usize, &Atom<'a>) -> Cow<'a, str>) -> String {
    let mut text = String::new();
    for (row, line) in cue.lines.iter().enumerate() {
        if row > 0 {
            text.push('\n');
        }
        for at in line.clone() {
            let atom = &cue.atoms[at];
            if at > line.start && atom.spaced {
                text.push(' ');
            }
            text.push_str(&show(at, atom));
        }
    }
    text
}

/// WebVTT's cue text escapes; `-->` disappears with its `>`.
fn vtt_text(text: &str) -> Cow<'_, str> {
    let text = flat(text);
    if !text.contains(['&', '<', '>']) {
        return text;
    }
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .into()
}

/// The text with each control character as a space: a line break would end the cue, a NUL is not allowed.
fn flat(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.replace(char::is_control, " ").into()
    } else {
        text.into()
    }
}

/// `hours:minutes:seconds`, a separator and milliseconds; the hours take as many digits as they need, two at least.
fn clock(ms: u64, separator: char) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!(
        "{hours:02}:{minutes:02}:{seconds:02}{separator}{:03}",
        ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::clock;

    #[test]
    fn clocks_hold_any_hour() {
        for (ms, text) in [
            (0, "00:00:00,000"),
            (3_723_004, "01:02:03,004"),
            (360_000_000, "100:00:00,000"),
            (u64::MAX, "5124095576030:25:51,615"),
        ] {
            assert_eq!(clock(ms, ','), text);
        }
    }
}
