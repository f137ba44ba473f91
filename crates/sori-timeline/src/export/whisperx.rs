//! WhisperX's JSON.

use std::io::Write;

use serde::Serialize;

use crate::{Document, TimelineError, Word, number};

#[derive(Serialize)]
struct Root<'a> {
    segments: Vec<Piece<'a>>,
    word_segments: Vec<TimedWord<'a>>,
    language: &'a str,
}

#[derive(Serialize)]
struct Piece<'a> {
    #[serde(serialize_with = "number::seconds")]
    start: f64,
    #[serde(serialize_with = "number::seconds")]
    end: f64,
    text: &'a str,
    words: Vec<TimedWord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<&'a str>,
}

#[derive(Serialize)]
struct TimedWord<'a> {
    word: &'a str,
    #[serde(serialize_with = "number::seconds")]
    start: f64,
    #[serde(serialize_with = "number::seconds")]
    end: f64,
    #[serde(serialize_with = "number::score")]
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<&'a str>,
}

impl<'a> From<&'a Word> for TimedWord<'a> {
    fn from(word: &'a Word) -> Self {
        Self {
            word: &word.word,
            start: word.start,
            end: word.end,
            score: word.score,
            speaker: word.speaker.as_deref(),
        }
    }
}

/// Writes `segments[].words[]`, `word_segments` and `language`, the shape of WhisperX's aligned result, with
/// `speaker` in segments and words as after its diarization.
///
/// # Errors
/// [`crate::ErrorKind::Encode`] when a time is not finite, [`crate::ErrorKind::Write`] when the output fails.
pub fn whisperx(document: &Document, out: &mut dyn Write) -> Result<(), TimelineError> {
    let segments = &document.segments;
    let root = Root {
        segments: segments
            .iter()
            .map(|segment| Piece {
                start: segment.start,
                end: segment.end,
                text: &segment.text,
                words: segment.words.iter().map(TimedWord::from).collect(),
                speaker: segment.speaker.as_ref().map(|of| of.speaker_id.as_str()),
            })
            .collect(),
        word_segments: segments
            .iter()
            .flat_map(|s| &s.words)
            .map(TimedWord::from)
            .collect(),
        language: &document.language,
    };
    serde_json::to_writer_pretty(&mut *out, &root)?;
    Ok(out.write_all(b"\n")?)
}
