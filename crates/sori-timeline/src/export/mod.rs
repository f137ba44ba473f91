//! The document in the shapes that other programs read.
//!
//! | format | for |
//! |---|---|
//! | [`json`] | everything, the native document |
//! | [`whisperx`] | readers of WhisperX's JSON |
//! | [`srt`], [`vtt`] | subtitles, cut into cues by [`CueOptions`] |
//! | [`txt`] | reading, one line a segment |
//! | [`tsv`] | spreadsheets; openai-whisper's columns |

use std::{io::Write, str::FromStr};

use crate::{Document, ErrorKind, TimelineError};

mod cues;
mod lines;
mod plain;
mod subtitles;
mod whisperx;

pub use cues::CueOptions;
pub use plain::{tsv, txt};
pub use subtitles::{srt, vtt};
pub use whisperx::whisperx;

/// Writes the native document as indented JSON with a final newline.
///
/// # Errors
/// [`ErrorKind::Encode`] when a time is not finite, [`ErrorKind::Write`] when the output fails.
pub fn json(document: &Document, out: &mut dyn Write) -> Result<(), TimelineError> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    Ok(out.write_all(b"\n")?)
}

/// A format that a document can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The native document.
    Json,
    /// WhisperX's JSON.
    WhisperX,
    /// SubRip subtitles.
    Srt,
    /// WebVTT subtitles.
    Vtt,
    /// Plain text.
    Txt,
    /// Tab-separated times and text.
    Tsv,
}

impl Format {
    /// Every format, in the order they are listed to people.
    pub const ALL: [Self; 6] = [
        Self::Json,
        Self::Srt,
        Self::Vtt,
        Self::Txt,
        Self::Tsv,
        Self::WhisperX,
    ];

    /// The name people type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::WhisperX => "whisperx",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Txt => "txt",
            Self::Tsv => "tsv",
        }
    }

    /// The ending of a file in this format, without the leading dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::WhisperX => "whisperx.json",
            other => other.name(),
        }
    }

    /// Writes the document in this format; `options` matter to subtitles only.
    ///
    /// # Errors
    /// Those of the function of that format.
    pub fn write(
        self,
        document: &Document,
        options: &CueOptions,
        out: &mut dyn Write,
    ) -> Result<(), TimelineError> {
        match self {
            Self::Json => json(document, out),
            Self::WhisperX => whisperx(document, out),
            Self::Srt => srt(document, options, out),
            Self::Vtt => vtt(document, options, out),
            Self::Txt => txt(document, out),
            Self::Tsv => tsv(document, out),
        }
    }
}

impl FromStr for Format {
    type Err = TimelineError;

    fn from_str(name: &str) -> Result<Self, TimelineError> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| {
                let known: Vec<_> = Self::ALL.iter().map(|format| format.name()).collect();
                let problem = format!(
                    "no format is called {name:?}; use one of {}",
                    known.join(", ")
                );
                TimelineError::new(ErrorKind::Option, "format".into(), problem)
            })
    }
}
