//! The one error type of this crate, and the warnings of a reader that went on.

use std::fmt;
use std::io;

/// What went wrong, for code that has to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MediaErrorKind {
    /// There is no such file.
    NotFound,
    /// The operating system refused to read.
    Io,
    /// The file has no bytes, or no sound in it.
    Empty,
    /// No decoder at hand reads this format, or it has no audio track.
    Unsupported,
    /// The format is known but the data in it is damaged beyond use.
    Corrupt,
    /// A limit was reached: channels, sample rate, length, bytes to spool, or more sound than the size of the file can hold.
    TooLarge,
    /// A third-party decoder panicked.
    Decoder,
    /// Only ffmpeg could read this, and it is switched off or not installed.
    FfmpegMissing,
    /// ffmpeg could not read this either, or stopped giving sound.
    FfmpegFailed,
}

/// Why a recording could not be read: its kind, the file, the byte where it happened if known, and what to do next.
#[derive(Debug, thiserror::Error)]
pub struct MediaError {
    kind: MediaErrorKind,
    path: String,
    offset: Option<u64>,
    message: String,
    #[source]
    source: Option<io::Error>,
}

impl MediaError {
    pub(crate) fn new(kind: MediaErrorKind, path: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            path: path.into(),
            offset: None,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn io(path: &str, error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => MediaErrorKind::NotFound,
            _ => MediaErrorKind::Io,
        };
        Self {
            source: Some(error),
            ..Self::new(kind, path, "cannot be read")
        }
    }

    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What went wrong, for code that has to decide.
    pub fn kind(&self) -> MediaErrorKind {
        self.kind
    }

    /// The file as the caller named it, or `stdin`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The byte near which it happened. Decoders read ahead, so it may lie up to 64 KiB behind the cause.
    pub fn offset(&self) -> Option<u64> {
        self.offset
    }
}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        match self.offset {
            Some(offset) => write!(f, " (near byte {offset})"),
            None => Ok(()),
        }
    }
}

/// What a reader put up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarningKind {
    /// The file ends in the middle: cut off, or a live recording that was never finished. All before is decoded.
    Truncated,
    /// Packets could not be decoded and are silence of their length.
    LostPackets,
    /// The rest of the file could not be read.
    Unreadable,
    /// The container's time stamps jump; up to ten minutes become silence, more is closed up.
    Gap,
    /// Samples were not finite numbers and are zero.
    NotFinite,
    /// The built-in decoders refused and ffmpeg reads this file.
    Fallback,
}

/// Something that was wrong with a recording and did not stop the reader. Repeats of a kind are counted, not listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Warning {
    /// What it was.
    pub kind: WarningKind,
    /// Where the first lies, in seconds of the output.
    pub at_seconds: f64,
    /// The byte near which the first lies, where that is known.
    pub offset: Option<u64>,
    /// How many there were.
    pub count: u64,
    /// The first in words.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:.2} s", self.at_seconds)?;
        if let Some(offset) = self.offset {
            write!(f, ", near byte {offset}")?;
        }
        write!(f, ": {}", self.message)?;
        if self.count > 1 {
            write!(f, " ({} times)", self.count)?;
        }
        Ok(())
    }
}
