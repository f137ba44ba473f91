//! The document in the shapes that other programs read.
//!
//! | format | for |
//! |---|---|
//! | [`json`] | everything, the native document |
//! | [`whisperx`] | readers of WhisperX's JSON |
//! | [`srt`], [`vtt`] | subtitles, cut into cues by [`CueOptions`], with the speakers |
//! | [`txt`] | reading: one line a segment, or a dialogue |
//! | [`docx`] | word processors: the dialogue |
//! | [`tsv`] | spreadsheets; openai-whisper's columns |
//! | [`page`] | looking and listening in a browser, one self-contained HTML file |
//! | [`csv`] | data analysis: one row a word, with its acoustic features |
//! | [`rttm`], [`ctm`] | tools that score speakers and words |
//! | [`textgrid`] | phonetics in Praat |

use std::{io::Write, str::FromStr};

use crate::{Document, ErrorKind, TimelineError};

mod cues;
mod dialogue;
mod docx;
mod lines;
mod nist;
mod page;
mod plain;
mod subtitles;
mod textgrid;
mod whisperx;

pub use cues::CueOptions;
pub use docx::docx;
pub use nist::{ctm, rttm};
pub use page::{AudioSource, Curves, PageMedia, page};
pub use plain::{csv, tsv, txt};
pub use subtitles::{srt, vtt};
pub use textgrid::textgrid;
pub use whisperx::whisperx;

/// Writes the native document as indented JSON with a final newline.
///
/// # Errors
/// [`ErrorKind::Encode`] when a time is not finite, [`ErrorKind::Write`] when the output fails.
pub fn json(document: &Document, out: &mut dyn Write) -> Result<(), TimelineError> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    Ok(out.write_all(b"\n")?)
}

/// What a document does not know and some formats need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExportOptions {
    /// Name of the recording: its title in DOCX, its id in RTTM and CTM.
    pub recording: String,
    /// How subtitles are cut.
    pub cues: CueOptions,
    /// What the page shows and plays.
    pub page: PageMedia,
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
    /// Plain text, a dialogue where speakers are known.
    Txt,
    /// Tab-separated times and text.
    Tsv,
    /// A table of words.
    Csv,
    /// Who spoke when, for diarization tools.
    Rttm,
    /// Words and times, for scoring tools.
    Ctm,
    /// Praat's tiers.
    TextGrid,
    /// A word processor document.
    Docx,
    /// A page to read and listen to.
    Html,
}

impl Format {
    /// Every format, in the order they are listed to people.
    pub const ALL: [Self; 12] = [
        Self::Json,
        Self::Html,
        Self::Srt,
        Self::Vtt,
        Self::Txt,
        Self::Tsv,
        Self::Csv,
        Self::Docx,
        Self::WhisperX,
        Self::Rttm,
        Self::Ctm,
        Self::TextGrid,
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
            Self::Csv => "csv",
            Self::Rttm => "rttm",
            Self::Ctm => "ctm",
            Self::TextGrid => "textgrid",
            Self::Docx => "docx",
            Self::Html => "html",
        }
    }

    /// The ending of a file in this format, without the leading dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::WhisperX => "whisperx.json",
            Self::TextGrid => "TextGrid",
            other => other.name(),
        }
    }

    /// Writes the document in this format.
    ///
    /// # Errors
    /// Those of the function of that format.
    pub fn write(
        self,
        document: &Document,
        options: &ExportOptions,
        out: &mut dyn Write,
    ) -> Result<(), TimelineError> {
        let recording = options.recording.as_str();
        match self {
            Self::Json => json(document, out),
            Self::WhisperX => whisperx(document, out),
            Self::Srt => srt(document, &options.cues, out),
            Self::Vtt => vtt(document, &options.cues, out),
            Self::Txt => txt(document, out),
            Self::Tsv => tsv(document, out),
            Self::Csv => csv(document, out),
            Self::Rttm => rttm(document, recording, out),
            Self::Ctm => ctm(document, recording, out),
            Self::TextGrid => textgrid(document, out),
            Self::Docx => docx(document, recording, out),
            Self::Html => page(document, &options.page, out),
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
