//! Reading what other programs and people write about a recording.
//!
//! | kind | tells |
//! |---|---|
//! | [`Kind::Document`] | everything: the native JSON |
//! | [`Kind::WhisperX`] | utterances, words, speakers |
//! | [`Kind::SegLst`] | utterances of many recordings, with speakers (CHiME, meeteval) |
//! | [`Kind::Stm`] | utterances of many recordings, with speakers (NIST) |
//! | [`Kind::Ctm`] | words of many recordings, rarely with speakers (NIST) |
//! | [`Kind::Rttm`] | turns of many recordings (NIST) |
//! | [`Kind::Txt`] | text, or the dialogue that [`crate::export::txt`] writes |
//!
//! Every byte is taken for hostile: sizes are bounded, times are finite, errors name the line.

use crate::{Document, ErrorKind, TimelineError, Transcript};

mod json;
mod lines;

pub use lines::uem;

/// The largest input in bytes: 64 MiB, some thousand hours of words.
pub const MAX_BYTES: usize = 64 << 20;

/// What an input is. In the order in which they are preferred where several tell the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Sori's own document.
    Document,
    /// WhisperX's JSON, also that of whisper and faster-whisper with `segments`.
    WhisperX,
    /// Segment-wise long-form speech transcription annotation: a JSON list.
    SegLst,
    /// NIST segment time marks: `<recording> <channel> <speaker> <start> <end> [<label>] words …`.
    Stm,
    /// NIST time-marked conversation: `<recording> <channel> <start> <length> <word> [<confidence>]`.
    Ctm,
    /// NIST rich transcription time marks: `SPEAKER <recording> <channel> <start> <length> …`.
    Rttm,
    /// Nothing but text.
    Txt,
}

impl Kind {
    /// What a file is, by the ending of its name, and by its content where that does not tell.
    ///
    /// ```
    /// use sori_timeline::read::Kind;
    /// assert_eq!(Kind::of("a.rttm", b""), Kind::Rttm);
    /// assert_eq!(Kind::of("truth.json", b"[]"), Kind::SegLst);
    /// assert_eq!(Kind::of("-", b"a 1 0.5 0.2 hello"), Kind::Ctm);
    /// assert_eq!(Kind::of("-", b"Hello, how are you?"), Kind::Txt);
    /// ```
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        let name = name.to_ascii_lowercase();
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        match ending {
            "rttm" => Self::Rttm,
            "stm" => Self::Stm,
            "ctm" => Self::Ctm,
            "txt" => Self::Txt,
            _ if name.ends_with("seglst.json") => Self::SegLst,
            _ if name.ends_with("whisperx.json") => Self::WhisperX,
            _ => Self::of_content(bytes),
        }
    }

    fn of_content(bytes: &[u8]) -> Self {
        let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1 << 16)]);
        match head
            .trim_start_matches('\u{feff}')
            .trim_start()
            .chars()
            .next()
        {
            Some('[') => return Self::SegLst,
            Some('{') => return json::kind(bytes),
            _ => {}
        }
        lines::kind(&head)
    }
}

/// Reads what is known of each recording, in order of their names; a file that names none has one recording without name.
///
/// # Errors
/// [`ErrorKind::Limit`] above [`MAX_BYTES`], [`ErrorKind::Parse`] with the line for what does not belong there.
pub fn read(kind: Kind, bytes: &[u8]) -> Result<Vec<Transcript>, TimelineError> {
    let text = text(bytes)?;
    match kind {
        Kind::Document => {
            let document: Document = serde_json::from_str(text).map_err(json::broken)?;
            Ok(vec![Transcript::from(&document)])
        }
        Kind::WhisperX => json::whisperx(text),
        Kind::SegLst => json::seglst(text),
        Kind::Stm => lines::stm(text),
        Kind::Ctm => lines::ctm(text),
        Kind::Rttm => lines::rttm(text),
        Kind::Txt => Ok(vec![lines::txt(text)]),
    }
}

/// The bytes as text, without a byte order mark.
fn text(bytes: &[u8]) -> Result<&str, TimelineError> {
    if bytes.len() > MAX_BYTES {
        let problem = format!("it has more than {} MiB; split it", MAX_BYTES >> 20);
        return Err(TimelineError::new(
            ErrorKind::Limit,
            "input".into(),
            problem,
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        parse(line, "it is not UTF-8; convert the file")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// What is wrong with a line, counted from 1.
fn parse(line: usize, problem: &str) -> TimelineError {
    TimelineError::new(ErrorKind::Parse, format!("line {line}"), problem.into())
}
